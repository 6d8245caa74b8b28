"""Landed rows to events: the first copy counts, machines are flagged, the first link holds, no row is lost."""

from datetime import datetime, timedelta
from typing import Any

import narwhals as nw
import polars as pl
import pytest

from gesture_assets.events import accept
from gesture_assets.events.tables import (
    IDENTITY_LINKS,
    IGNORED,
    LANDING_RECONCILIATION,
    QUARANTINED_EVENTS,
    REASONS,
    TYPES_NAMED,
)
from gesture_assets_tests.events_by_hand import MONDAY, NOON, TUESDAY, Frame, deduplicate, event, events_table, lazy


def landed(*rows: dict[str, Any]) -> Frame:
    usual = [{"event_id": f"e{n}", "landing_line": n, "dwell_seconds": 5.0} for n in range(2, len(rows) + 2)]
    table = events_table(*(event(**{**known, **row}) for known, row in zip(usual, rows, strict=True)))
    return lazy(table.drop("is_bot"))


def ids(*event_ids: str) -> Frame:
    return nw.from_native(pl.LazyFrame({"event_id": list(event_ids)}, schema={"event_id": pl.String}))


def rows(frame: Frame, *columns: str) -> list[tuple]:
    values = frame.select(*columns).collect().rows()
    return sorted(values, key=lambda row: [(value is not None, value) for value in row])


def second(n: int) -> datetime:
    return NOON + timedelta(seconds=n)


def test_of_three_copies_the_one_received_first_is_kept() -> None:
    events = landed(
        {"event_id": "e", "received_at": second(3)},
        {"event_id": "e", "received_at": second(1)},
        {"event_id": "e", "received_at": second(2)},
        {"event_id": "f"},
    )
    deduplicated = deduplicate(events, ids())
    assert rows(deduplicated, "event_id", "landing_line") == [("e", 3), ("f", 5)]


def test_of_copies_received_at_once_the_first_in_file_and_line_is_kept() -> None:
    events = landed(
        {"event_id": "e", "landing_file": "b.csv", "landing_line": 2},
        {"event_id": "e", "landing_file": "a.csv", "landing_line": 10},
        {"event_id": "e", "landing_file": "a.csv", "landing_line": 9},
    )
    assert rows(deduplicate(events, ids()), "landing_file", "landing_line") == [("a.csv", 9)]


def test_a_copy_of_an_earlier_day_is_no_event() -> None:
    events = landed({"event_id": "e"}, {"event_id": "f"}, {"event_id": "f"}, {"event_id": "g"})
    assert rows(deduplicate(events, ids("e", "f", "x")), "event_id") == [("g",)]


def test_events_that_differ_are_all_kept() -> None:
    assert rows(deduplicate(landed({}, {}, {}), ids()), "event_id") == [("e2",), ("e3",), ("e4",)]


def test_a_refused_row_takes_no_event_s_place() -> None:
    both = landed({"event_id": "e", "reason": "too_old", "received_at": second(0)}, {"event_id": "e"})
    assert rows(deduplicate(accept.accepted(both), ids()), "event_id", "landing_line") == [("e", 3)]


def bots(*events: dict[str, Any]) -> set[tuple]:
    return set(accept.flag_bots(landed(*events)).select("user_id", "is_bot").collect().rows())


def test_a_user_agent_makes_a_bot_of_all_that_a_user_did_that_day() -> None:
    assert bots({"is_bot_agent": True}, {}, {"user_id": "v"}) == {("u", True), ("v", False)}


@pytest.mark.parametrize(("count", "is_bot"), [(30, False), (31, True)])
def test_more_than_thirty_events_in_a_minute_are_a_machine_s(count: int, is_bot: bool) -> None:
    assert bots(*({"event_at": second(n)} for n in range(count))) == {("u", is_bot)}


def test_thirty_one_events_over_two_minutes_are_a_human_s() -> None:
    assert bots(*({"event_at": second(30 + n)} for n in range(31))) == {("u", False)}


@pytest.mark.parametrize(
    ("count", "dwell", "is_bot"), [(99, 0.0, False), (100, 0.0, True), (100, None, True), (100, 0.1, False)]
)
def test_a_hundred_events_without_time_on_a_page_are_a_machine_s(count: int, dwell: float | None, is_bot: bool) -> None:
    assert bots(*({"event_at": second(60 * n), "dwell_seconds": dwell} for n in range(count))) == {("u", is_bot)}


def test_a_dwell_time_that_was_put_in_is_no_sign_of_a_reader() -> None:
    put_in = [{"event_at": second(60 * n), "dwell_seconds": 30.0, "is_dwell_imputed": True} for n in range(100)]
    assert bots(*put_in) == {("u", True)}
    assert bots(*put_in[:-1], {"event_at": second(6_000), "dwell_seconds": 30.0}) == {("u", False)}


def test_another_day_is_judged_by_itself() -> None:
    events = [{"is_bot_agent": True}, {"as_of_date": TUESDAY}]
    flagged = accept.flag_bots(landed(*events))
    assert rows(flagged, "as_of_date", "is_bot") == [(MONDAY, True), (TUESDAY, False)]


def test_flagging_loses_no_event_and_makes_none() -> None:
    events = landed({"is_bot_agent": True}, {}, {"user_id": "v"}, {"user_id": "v"})
    assert rows(accept.flag_bots(events), "event_id") == rows(events, "event_id")


def links(events: Frame, calls: Frame | None = None) -> list[tuple]:
    frame = accept.identity_links(events, calls or landed())
    assert tuple(frame.collect_schema().names()) == IDENTITY_LINKS.column_names
    return rows(frame, *IDENTITY_LINKS.column_names)


def test_an_event_with_both_ids_makes_a_visitor_known() -> None:
    events = landed({"anonymous_id": "x", "known_user_id": "u"}, {"anonymous_id": "y"}, {"known_user_id": "v"})
    assert links(events) == [(MONDAY, "anon:x", "u", NOON, None)]


def test_the_first_link_wins() -> None:
    events = landed(
        {"anonymous_id": "x", "known_user_id": "later", "event_at": second(2)},
        {"anonymous_id": "x", "known_user_id": "first", "event_at": second(1)},
        {"anonymous_id": "x", "known_user_id": "first", "event_at": second(3)},
    )
    assert links(events) == [(MONDAY, "anon:x", "first", second(1), None)]


def test_a_day_says_what_it_showed_whatever_earlier_days_did() -> None:
    events = landed(
        {"anonymous_id": "x", "known_user_id": "known", "event_at": second(5)},
        {"anonymous_id": "x", "known_user_id": "late", "event_at": second(1), "as_of_date": TUESDAY},
    )
    assert links(events) == [(MONDAY, "anon:x", "known", second(5), None), (TUESDAY, "anon:x", "late", second(1), None)]


def test_a_call_that_is_no_event_says_who_a_visitor_is_unless_its_time_cannot_be() -> None:
    call = {"is_link": True, "reason": IGNORED, "anonymous_id": "x", "known_user_id": "u"}
    rows_landed = landed(
        {"anonymous_id": "y", "known_user_id": "v"},
        {**call},
        {**call, "anonymous_id": "late", "event_at": second(1) + timedelta(days=1)},
        {**call, "anonymous_id": "never", "event_at": None},
        {**call, "anonymous_id": "left out", "is_link": False},
    )
    calls = accept.identity_calls(rows_landed)
    assert rows(calls, "anonymous_id") == [("x",)]


def test_every_reason_is_set_aside_with_the_check_it_would_have_failed() -> None:
    refused = [{"reason": reason, "masked_row": reason} for reason in REASONS]
    frame = accept.quarantined_events(landed({}, *refused))
    assert tuple(frame.collect_schema().names()) == QUARANTINED_EVENTS.column_names
    assert {row[0] for row in rows(frame, "reason")} == set(REASONS)
    checks = dict(rows(frame, "reason", "check_name"))
    assert checks["future_ts"] == "no_event_comes_from_the_future"
    assert checks["missing_user_id"] == "no_required_value_is_missing"


def test_nothing_is_set_aside_where_nothing_is_wrong() -> None:
    assert rows(accept.quarantined_events(landed({}, {})), "reason") == []


def test_every_landed_row_is_accounted_for_by_file_and_day() -> None:
    everything = landed(
        {"event_id": "e"},
        {"event_id": "e"},
        {"event_id": "f"},
        {"reason": "too_old"},
        {"event_id": "late", "as_of_date": TUESDAY},
        {"event_id": "g", "landing_file": "b.csv"},
        {"event_id": "f", "landing_file": "b.csv"},
        {"reason": "future_ts", "landing_file": "c.csv"},
    )
    files = nw.from_native(
        pl.LazyFrame(
            {
                "landing_file": ["a.csv", "b.csv"],
                "personal_columns": ["ip", None],
                "unused_columns": [None, "mood"],
                "found_columns": ['{"ip": null}', None],
            }
        )
    )
    events = deduplicate(accept.accepted(everything), ids())
    frame = accept.reconciliation(everything, events, files)
    assert rows(frame, "landing_file", "as_of_date", "unreadable_count", "unreadable_values") == [
        ("a.csv", MONDAY, 0, None),
        ("a.csv", TUESDAY, 0, None),
        ("b.csv", MONDAY, 0, None),
        ("c.csv", MONDAY, 0, None),
    ]
    assert tuple(frame.collect_schema().names()) == LANDING_RECONCILIATION.column_names
    counts = ("landed_count", "accepted_count", "duplicate_count", "quarantined_count", "late_count")
    assert rows(
        frame, "landing_file", "as_of_date", *counts, "personal_columns", "unused_columns", "found_columns"
    ) == [
        ("a.csv", MONDAY, 4, 2, 1, 1, 0, "ip", None, '{"ip": null}'),
        ("a.csv", TUESDAY, 1, 1, 0, 0, 1, "ip", None, '{"ip": null}'),
        ("b.csv", MONDAY, 2, 1, 1, 0, 0, None, "mood", None),
        ("c.csv", MONDAY, 1, 0, 0, 1, 0, None, None, None),
    ]


def test_rows_left_out_on_purpose_are_counted_by_type_and_not_set_aside() -> None:
    kinds = [f"kind {number:02}" for number in range(TYPES_NAMED + 2)]
    many = [{"event_id": kind, "reason": IGNORED, "event_name": kind} for kind in (*kinds, kinds[3])]
    everything = landed(
        {"event_id": "e"},
        {"event_id": "f", "reason": "too_old"},
        {"event_id": "g", "reason": IGNORED, "event_name": "ping", "landing_file": "b.csv"},
        *many,
    )
    names = ("landing_file", "personal_columns", "unused_columns", "found_columns")
    files = nw.from_native(pl.LazyFrame(schema=dict.fromkeys(names, pl.String)))
    frame = accept.reconciliation(everything, accept.accepted(everything), files)
    listed = ", ".join(["kind 03 2", *(f"{kind} 1" for kind in kinds[:10] if kind != "kind 03")])
    assert rows(frame, "landing_file", "landed_count", "accepted_count", "duplicate_count", "quarantined_count") == [
        ("a.csv", 15, 1, 0, 1),
        ("b.csv", 1, 0, 0, 0),
    ]
    assert rows(frame, "landing_file", "ignored_count", "ignored_types") == [
        ("a.csv", 13, listed),
        ("b.csv", 1, "ping 1"),
    ]
    assert rows(accept.quarantined_events(everything), "reason") == [("too_old",)]


def test_values_that_cannot_be_read_are_counted_by_file_and_column() -> None:
    both = "dwell_seconds is_spam"
    everything = landed(
        {"event_id": "a", "landing_file": "a.csv", "unreadable": both},
        {"event_id": "b", "landing_file": "a.csv", "unreadable": "dwell_seconds"},
        {"event_id": "c", "landing_file": "a.csv", "redacted": "known_user_id city"},
        {"event_id": "d", "landing_file": "b.csv", "unreadable": "recent_pages_viewed", "reason": "future_ts"},
        {"event_id": "e", "landing_file": "c.csv"},
    )
    names = ("landing_file", "personal_columns", "unused_columns", "found_columns")
    files = nw.from_native(pl.LazyFrame(schema=dict.fromkeys(names, pl.String)))
    frame = accept.reconciliation(everything, accept.accepted(everything), files)
    assert rows(frame, "landing_file", "landed_count", "unreadable_count", "unreadable_values") == [
        ("a.csv", 3, 2, "dwell_seconds 2, is_spam 1"),
        ("b.csv", 1, 1, "recent_pages_viewed 1"),
        ("c.csv", 1, 0, None),
    ]
    assert rows(frame, "landing_file", "redacted_count", "redacted_values") == [
        ("a.csv", 1, "known_user_id 1, city 1"),
        ("b.csv", 0, None),
        ("c.csv", 0, None),
    ]


def test_an_address_in_a_call_is_its_user_s_the_last_one_of_the_day() -> None:
    call = {"is_link": True, "reason": IGNORED, "known_user_id": "u", "user_id": "u", "email_key": "old"}
    events = landed({"known_user_id": "v", "user_id": "v", "email_key": "in an event"})
    calls = landed(
        {**call},
        {**call, "email_key": "new", "event_at": second(2)},
        {**call, "email_key": None, "event_at": second(3)},
        {**call, "known_user_id": None, "user_id": "anon:x", "anonymous_id": "x", "email_key": "of a visitor"},
    )
    assert links(events, calls) == [
        (MONDAY, "email:anon:x", "anon:x", NOON, "of a visitor"),
        (MONDAY, "email:u", "u", second(2), "new"),
    ]
