"""The tables of `features/`: the rows of a good night, and for each of their own checks a fault that it catches.

Belongs here: what distinguishes the rows, the faults, and what differs from the derived faults of shared checks. Does
not belong here: those (`faults.py`).
"""

from gesture_assets.contracts.contract import PARTITION
from gesture_assets_tests.gates.faults import (
    ADDRESS,
    COPY,
    MISSING,
    STRAY,
    Faults,
    Rows,
    change,
    copied_row,
    first_row,
    noticed_also_by,
    stray_row,
)
from gesture_assets_tests.gates.world import NOON, PROBABILITIES, SCORES

GOOD: dict[str, Rows] = {
    "user_features": [
        {"user_id": who, "last_event_at": NOON, "member_rating": 3, "made_purchase": int(who not in PROBABILITIES)}
        for who in SCORES
    ],
    "engagement_fences": [
        {
            "metric": "event_count_30d",
            "user_count": 20,
            "lower_quartile": 1,
            "median": 2,
            "upper_quartile": 3,
            "low_fence": -2,
            "high_fence": 6,
            "outlier_count": 1,
            "outlier_share": 0.05,
        }
    ],
    "engagement_outliers": [
        {"user_id": "ada", "metric": "event_count_30d", "value": 7, "low_fence": -2, "high_fence": 6}
    ],
}

FAULTS: dict[str, Faults] = {
    "user_features": {
        "every_share_lies_between_0_and_1": first_row("bounce_rate = 1.1"),
        "no_window_counts_more_than_a_longer_one": first_row("event_count_1d = 1"),
        "nothing_is_known_before_it_happened": first_row(f"last_event_at = {PARTITION} + interval 1 day"),
        "member_rating_is_between_1_and_5": first_row("member_rating = 6"),
        "scores_use_last_evening_s_activity": change("last_event_at = last_event_at - interval 1 day"),
    },
    "engagement_fences": {
        "quartiles_and_fences_are_in_order": first_row("median = 4"),
        "every_outlier_is_listed_and_counted": first_row("outlier_count = 2"),
        "at_most_5_percent_of_active_users_are_outliers": first_row("outlier_share = 0.06"),
        STRAY: stray_row("0 as outlier_count"),
        MISSING: first_row("median = null"),
        COPY: copied_row("0 as outlier_count"),
        ADDRESS: noticed_also_by("every_outlier_is_listed_and_counted"),
    },
    "engagement_outliers": {
        "every_outlier_lies_beyond_a_fence": first_row("value = 6"),
    },
}
