"""The tables of `events/`: the rows of a good night, and for each of their own checks a fault that it catches.

Belongs here: what distinguishes the rows, the faults, and what differs from the derived faults of shared checks. Does
not belong here: those (`faults.py`).
"""

from gesture_assets_tests.gates.faults import (
    ADDRESS,
    COPY,
    NEGATIVE,
    NO_ROWS,
    STRAY,
    UNUSUAL,
    Fault,
    Faults,
    Rows,
    change,
    copied_row,
    first_row,
    noticed_also_by,
    other_columns,
    stray_row,
)
from gesture_assets_tests.gates.world import COLUMNS_FOUND

NOTHING_LANDED = "0 as landed_count, 0 as accepted_count, 0 as duplicate_count, 0 as quarantined_count"
NUMBER = "no_text_holds_a_phone_or_account_number"
NOTHING_DONE = "0 as page_view_count, 0 as event_count"

GOOD: dict[str, Rows] = {
    "raw_events": [
        {
            "event_id": f"e{n}",
            "user_id": "ada" if n < 10 else "bob",
            "event_type": "page_view",
            "device": "desktop",
            "country": "DE",
            "landing_file": "a.csv",
            "landing_line": n,
        }
        for n in range(20)
    ],
    "quarantined_events": [{"reason": "future_ts", "landing_file": "a.csv", "landing_line": 20}],
    "landing_reconciliation": [
        {
            "landing_file": "a.csv",
            "landed_count": 22,
            "accepted_count": 20,
            "duplicate_count": 1,
            "quarantined_count": 1,
            "found_columns": COLUMNS_FOUND,
        }
    ],
    "identity_links": [{"anonymous_user_id": "anon:v1", "user_id": "ada"}],
    "sessions": [{"session_id": who, "filed": 1, "user_id": who, "event_count": 10} for who in ("ada", "bob")],
    "daily_activity": [{"user_id": who, "page_view_count": 10, "event_count": 10} for who in ("ada", "bob")],
    "activity_to_date": [{"user_id": who, "page_view_count": 10, "event_count": 10} for who in ("ada", "bob")],
}

FAULTS: dict[str, Faults] = {
    "raw_events": {
        "every_event_has_a_known_type": first_row("event_type = 'teleport'"),
        "no_event_comes_from_the_future": first_row("event_at = received_at + interval 301 second"),
        "no_event_is_older_than_a_year": first_row("event_at = received_at - interval 366 day"),
        "every_event_is_filed_when_it_became_known": change(
            "received_at = received_at + interval 1 day where rowid = 0"
        ),
        "every_device_is_known": first_row("device = 'toaster'"),
        "every_country_is_an_iso_code": first_row("country = 'USA'"),
        "no_text_holds_a_phone_or_account_number": first_row("city = 'call +49 151 23456789'"),
        "no_city_is_the_place_of_a_house": first_row("city = 'Berlin, Musterstr. 12'"),
        "no_dwell_time_is_negative": first_row("dwell_seconds = -0.1"),
        "scroll_depths_lie_between_0_and_100": first_row("scroll_depth_pct = 100.1"),
        "bots_are_a_small_share": change("is_bot = true where landing_line < 5"),
        "late_events_are_few": change("event_at = event_at - interval 1 day where landing_line < 3"),
    },
    "quarantined_events": {
        "every_reason_is_known": first_row("reason = 'bad hair day'"),
        "no_text_holds_a_phone_or_account_number": first_row("event_name = 'paid 4111111111111111'"),
    },
    "landing_reconciliation": {
        "every_landed_row_is_accounted_for": first_row("landed_count = landed_count + 1"),
        "accepted_and_quarantined_rows_are_where_they_should_be": first_row(
            "accepted_count = accepted_count + 1, landed_count = landed_count + 1"
        ),
        "a_day_is_not_made_of_repeats_alone": first_row(
            "accepted_count = 0, duplicate_count = 21", "accepted_and_quarantined_rows_are_where_they_should_be"
        ),
        "at_most_5_percent_of_rows_are_quarantined": Fault(
            "update {table} set quarantined_count = 2, landed_count = 23; "
            "insert into quarantined_events select * replace (21 as landing_line) from quarantined_events"
        ),
        "every_filled_number_and_flag_is_read": first_row("unreadable_count = 1, unreadable_values = 'is_spam 1'"),
        "at_most_5_percent_of_rows_hold_unreadable_values": first_row(
            "unreadable_count = 2, unreadable_values = 'dwell_seconds 2'", "every_filled_number_and_flag_is_read"
        ),
        "no_file_brings_personal_columns": first_row("personal_columns = 'ip_address'"),
        "no_value_says_who_somebody_is": first_row("redacted_count = 1, redacted_values = 'city 1'"),
        "every_column_of_a_file_is_used": first_row("unused_columns = 'shoe_size'"),
        **other_columns(),
        NO_ROWS: noticed_also_by("accepted_and_quarantined_rows_are_where_they_should_be"),
        STRAY: stray_row(NOTHING_LANDED),
        COPY: copied_row(NOTHING_LANDED, UNUSUAL),
    },
    "sessions": {
        "no_session_ends_before_it_starts": first_row("ended_at = started_at - interval 1 second"),
        "every_session_has_an_event": first_row("event_count = 0"),
        "every_session_is_filed_or_withdrawn": first_row("filed = 0"),
        NEGATIVE: first_row("event_count = -1", "every_session_has_an_event"),
    },
    "daily_activity": {
        "event_counts_add_up": change("event_count = if(user_id = 'ada', 11, 9)"),
        "every_accepted_event_is_counted_once": first_row("page_view_count = 11, event_count = 11"),
        "no_activity_is_dated_after_it_was_known": first_row("activity_date = activity_date + 1"),
        NO_ROWS: noticed_also_by("every_accepted_event_is_counted_once"),
        STRAY: stray_row(NOTHING_DONE),
        COPY: copied_row(NOTHING_DONE),
        NEGATIVE: first_row("page_view_count = -1, search_count = 11"),
    },
    "activity_to_date": {
        "every_event_known_by_then_is_counted_once": first_row("event_count = 11"),
        COPY: copied_row(NOTHING_DONE),
    },
}

# Ids are of one event on all days; what holds everything until a day is right for the first day only.
ON_SEVERAL_DAYS = {
    "raw_events": "select * replace (event_id || as_of_date as event_id) from dated",
    "activity_to_date": "from dated qualify as_of_date = min(as_of_date) over ()",
}

BOUNDARIES: list[tuple[str, str, set[str]]] = [
    ("quarantined_events", "delete from quarantined_events", set()),
    *(
        ("raw_events", f"update raw_events set {assignments}", expected)
        for assignments, expected in (
            ("event_at = received_at + interval 5 minute where rowid = 0", set[str]()),
            ("event_at = received_at - interval 365 day where rowid = 0", set()),
            ("is_bot = true where rowid < 4", set()),
            ("event_at = event_at - interval 1 day where rowid < 2", set()),
            ("city = '203.0.113.7' where rowid = 0", {ADDRESS}),
            ("city = 'from 2001:db8:0:1:1:1:1:1 today' where rowid = 0", {ADDRESS}),
            ("city = 'v1.2.3 at 10:05:33' where rowid = 0", set()),
            ("city = 'jörg@bücher.example' where rowid = 0", {ADDRESS}),
            ("city = 'by o''brien@пример.рф' where rowid = 0", {ADDRESS}),
            ("city = 'ann@b.xn--p1ai' where rowid = 0", {ADDRESS}),
            ("city = 'u@ga@1773050400.a1b2' where rowid = 0", set()),
            ("properties = '?e=ann%40b.example' where rowid = 0", {ADDRESS}),
            ("event_id = 'DE89370400440532013000' where rowid = 0", {NUMBER}),
            ("landing_file = 'of +4915123456789.csv' where rowid = 0", {NUMBER}),
            ("event_id = 'DE89370400440532013001' where rowid = 0", set()),
        )
    ),
]
