"""The tables of `pings/`: the rows of a good night, and for each of their own checks a fault that it catches.

Belongs here: what distinguishes the rows, the faults, and what differs from the derived faults of shared checks. Does
not belong here: those (`faults.py`).
"""

from gesture_assets_tests.gates.events import NOTHING_LANDED
from gesture_assets_tests.gates.faults import (
    COPY,
    STRAY,
    Fault,
    Faults,
    Rows,
    change,
    copied_row,
    first_row,
    other_columns,
    stray_row,
)
from gesture_assets_tests.gates.world import COLUMNS_FOUND

LANDED = {"landing_file": "watched.csv", "landed_count": 22, "accepted_count": 20, "quarantined_count": 1}

GOOD: dict[str, Rows] = {
    "ping_interactions": [
        {
            "event_id": f"i{n}",
            "user_id": "ada" if n < 10 else "bob",
            "ping_id": "p1",
            "event_type": "view",
            "landing_file": "watched.csv",
            "landing_line": n,
        }
        for n in range(20)
    ],
    "pings": [{"ping_id": f"p{n}", "landing_file": "videos.csv", "catalogue_row": n} for n in (1, 2)],
    "ping_users": [
        {"user_id": who, "country": "DE", "landing_file": "people.csv", "catalogue_row": n}
        for n, who in enumerate(("ada", "bob"), 1)
    ],
    "quarantined_ping_rows": [{"reason": "unknown_ping", "landing_file": "watched.csv", "landing_line": 20}],
    "ping_reconciliation": [
        {**LANDED, "duplicate_count": 1, "found_columns": COLUMNS_FOUND},
        {"landing_file": "videos.csv", "landed_count": 2, "accepted_count": 2},
        {"landing_file": "people.csv", "landed_count": 2, "accepted_count": 2},
    ],
}

NUMBER = "no_text_holds_a_phone_or_account_number"

FAULTS: dict[str, Faults] = {
    "ping_interactions": {
        "every_interaction_has_a_known_type": first_row("event_type = 'teleport'"),
        "no_interaction_comes_from_the_future": first_row("event_at = received_at + interval 301 second"),
        "no_interaction_is_older_than_a_year": first_row("event_at = received_at - interval 366 day"),
        "every_interaction_is_filed_when_it_became_known": change(
            "received_at = received_at + interval 1 day where rowid = 0"
        ),
        "no_watch_time_is_negative": first_row("watch_time_sec = -0.1"),
        "every_interaction_is_with_a_known_ping": first_row("ping_id = 'p3'"),
        "no_interaction_precedes_its_ping": Fault(
            "update pings set created_at = (select max(event_at) from {table}) + interval 1 second"
        ),
        "no_interaction_precedes_the_sign_up": Fault(
            "update ping_users set signup_date = (select max(event_at)::date from {table}) + 1"
        ),
        NUMBER: first_row("user_id = 'DE89370400440532013000'"),
        STRAY: stray_row("", "every_interaction_is_with_a_known_ping"),
    },
    "pings": {
        "every_duration_is_above_zero": first_row("duration_sec = 0"),
        NUMBER: first_row("category = 'call +49 151 23456789'"),
    },
    "ping_users": {
        "every_country_is_an_iso_code": first_row("country = 'USA'"),
        "every_age_is_possible": first_row("age = 121"),
        NUMBER: first_row("user_id = 'DE89370400440532013000'"),
    },
    "quarantined_ping_rows": {
        "every_reason_is_known": first_row("reason = 'bad hair day'"),
        NUMBER: first_row("event_name = 'paid 4111111111111111'"),
    },
    "ping_reconciliation": {
        "every_landed_row_is_accounted_for": first_row("landed_count = landed_count + 1"),
        "accepted_and_quarantined_rows_are_where_they_should_be": first_row(
            "accepted_count = accepted_count + 1, landed_count = landed_count + 1"
        ),
        "a_day_is_not_made_of_repeats_alone": change(
            "accepted_count = 0, duplicate_count = landed_count - quarantined_count",
            "accepted_and_quarantined_rows_are_where_they_should_be",
        ),
        "at_most_5_percent_of_rows_are_quarantined": Fault(
            "update {table} set quarantined_count = 2, landed_count = 23 where rowid = 0; insert into "
            "quarantined_ping_rows select * replace (21 as landing_line) from quarantined_ping_rows"
        ),
        "every_filled_number_and_flag_is_read": first_row("unreadable_count = 1, unreadable_values = 'duration_sec 1'"),
        "at_most_5_percent_of_rows_hold_unreadable_values": first_row(
            "unreadable_count = 2, unreadable_values = 'duration_sec 2'", "every_filled_number_and_flag_is_read"
        ),
        "no_file_brings_personal_columns": first_row("personal_columns = 'ip_address'"),
        "no_value_says_who_somebody_is": first_row("redacted_count = 1, redacted_values = 'user_id 1'"),
        "every_column_of_a_file_is_used": first_row("unused_columns = 'shoe_size'"),
        **other_columns(),
        STRAY: stray_row(NOTHING_LANDED),
        COPY: copied_row(NOTHING_LANDED),
    },
}

# Ids are of one interaction on all days.
ON_SEVERAL_DAYS = {"ping_interactions": "select * replace (event_id || as_of_date as event_id) from dated"}

BOUNDARIES: list[tuple[str, str, set[str]]] = [
    ("quarantined_ping_rows", "delete from quarantined_ping_rows", set()),
    ("ping_interactions", "update pings set created_at = (select min(event_at) from ping_interactions)", set()),
    ("ping_interactions", "update ping_users set signup_date = (select min(event_at) from ping_interactions)", set()),
    ("ping_interactions", "update ping_interactions set watch_time_sec = 0", set()),
    ("pings", "update pings set duration_sec = 0.001", set()),
    ("ping_users", "update ping_users set age = 120", set()),
]
