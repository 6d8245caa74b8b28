"""The tables of `rules/`: the rows of a good night, and for each of their own checks a fault that it catches.

Belongs here: what distinguishes the rows, the faults, and what differs from the derived faults of shared checks. Does
not belong here: those (`faults.py`).
"""

from gesture_assets_tests.gates.faults import (
    COPY,
    MISSING,
    NO_ROWS,
    STRAY,
    Fault,
    Faults,
    Rows,
    change,
    copied_row,
    first_row,
    noticed_also_by,
)
from gesture_assets_tests.gates.world import SCORES

EVERYBODY = "every_user_with_features_has_a_score"
KEPT = "every_score_names_a_rule_set_version_that_is_kept"

GOOD: dict[str, Rows] = {
    "rule_sets": [{"rule_count": 2, "content": "{}"}],
    "rule_scores": [{"user_id": who, "score": score, "points": score} for who, score in SCORES.items()],
    "rule_contributions": [
        {"user_id": who, "rule_id": rule, "points": p}
        for who, score in SCORES.items()
        for rule, p in (("r1", score - 1), ("r2", 1.0))
    ],
}

FAULTS: dict[str, Faults] = {
    "rule_scores": {
        "only_suppressed_users_have_no_score": first_row("score = null"),
        "no_score_leaves_1_to_100": first_row("score = 101, points = 101", "every_score_is_its_points_within_1_to_100"),
        "every_score_has_a_band": first_row("band = null", MISSING),
        "every_score_is_its_points_within_1_to_100": first_row("points = 61"),
        KEPT: first_row("rule_set_version = 'rother'"),
        EVERYBODY: Fault("delete from {table} where user_id = 'cyd'"),
        "new_rules_leave_most_people_where_they_were": Fault(
            "insert into warehouse.main.rule_sets select * replace (as_of_date - 1 as as_of_date, 'before' as "
            "rule_set_version) from warehouse.main.rule_sets; "
            "update warehouse.main.rule_scores set band = 'of before'"
        ),
        "scores_are_not_all_alike": change("score = 40, points = 40"),
        NO_ROWS: noticed_also_by(EVERYBODY),
        STRAY: noticed_also_by(EVERYBODY, KEPT),
        COPY: noticed_also_by(EVERYBODY),
    },
    "rule_contributions": {
        "contributions_sum_to_the_points": first_row("points = points + 1"),
        "every_score_has_its_contributions": Fault("delete from {table} where user_id = 'ada'"),
        "contributions_and_scores_come_from_one_rule_set": first_row("rule_set_version = 'old'"),
        COPY: copied_row("0 as points"),
    },
}

BOUNDARIES: list[tuple[str, str, set[str]]] = [
    ("rule_scores", f"update rule_scores set {assignments} where rowid = 0", expected)
    for assignments, expected in (
        ("points = 0.5, score = 0.5", {"no_score_leaves_1_to_100", "every_score_is_its_points_within_1_to_100"}),
        ("points = 180, score = 100", set[str]()),
        ("points = -3, score = 1", set()),
        ("score = null, suppression_reason = 'competitor'", set()),
        ("suppression_reason = 'competitor'", {"only_suppressed_users_have_no_score"}),
    )
]
