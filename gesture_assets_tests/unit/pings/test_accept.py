"""Landed rows of short videos: which become rows of the tables, once each, and which are set aside."""

from datetime import date, datetime
from typing import Any

import narwhals as nw
import polars as pl

from gesture_assets.frames import to_polars
from gesture_assets.pings.accept import catalogue, interactions, one_by_one, quarantined, standing, with_known_pings

D1, D2 = date(2026, 3, 9), date(2026, 3, 10)
NOON = datetime(2026, 3, 9, 12)
PLACE = {"source": "s", "landing_file": "s/a.csv", "reason": None, "masked_row": None, "as_of_date": D1}
NONE = nw.from_native(pl.LazyFrame({"event_id": []}, schema={"event_id": pl.String}))


def frame(*rows: dict[str, Any], **types: Any) -> nw.LazyFrame[Any]:
    texts = {"reason": pl.String, "masked_row": pl.String, "event_name": pl.String}
    placed = [{**PLACE, "landing_line": n, **row} for n, row in enumerate(rows, 2)]
    overrides = {name: kind for name, kind in {**texts, **types}.items() if name in placed[0]}
    return nw.from_native(pl.LazyFrame(placed, schema_overrides=overrides))


def told(rows: nw.LazyFrame[Any], *names: str) -> list[tuple]:
    return sorted(to_polars(rows.select(*names)).rows())


def watched(event_id: str, event_type: str = "view", **more: Any) -> dict[str, Any]:
    row = {"event_id": event_id, "event_type": event_type, "user_id": "u1", "ping_id": "p1", "watch_time_sec": 3.0}
    return {**row, "event_at": NOON, "received_at": NOON, "event_name": event_type, **more}


def test_an_interaction_with_a_ping_that_its_day_does_not_know_is_set_aside_and_shown() -> None:
    rows = frame(watched("a"), watched("b", ping_id="p2"), watched("c", as_of_date=D2), watched("d", reason="too_old"))
    judged = with_known_pings(rows, frame({"ping_id": "p1"}, {"ping_id": "p2", "as_of_date": D2}))
    found = {row[0]: row[1:] for row in to_polars(judged.select("event_id", "reason", "masked_row")).rows()}
    shown = "user_id: u1, ping_id: {}, event_type: view"
    assert found == {
        "a": (None, None),
        "b": ("unknown_ping", shown.format("p2")),
        "c": ("unknown_ping", shown.format("p1")),
        "d": ("too_old", None),
    }
    aside = told(quarantined(judged, "interaction").filter(nw.col("reason") == "unknown_ping"), "kind", "check_name")
    assert aside == [("interaction", "every_interaction_is_with_a_known_ping")] * 2


def test_copies_are_removed_of_this_day_and_of_earlier_ones() -> None:
    rows = frame(watched("a"), watched("a"), watched("b"), watched("c"), watched("d", reason="too_old"))
    earlier = nw.from_native(pl.LazyFrame({"event_id": ["c"]}))
    assert told(interactions(rows, earlier), "event_id", "landing_line") == [("a", 2), ("b", 4)]


def test_a_row_that_tells_several_becomes_an_interaction_for_each_and_only_a_view_was_watched() -> None:
    rows = frame(watched("a", "impression view like"), watched("b", "like"), watched("c", "impression"))
    assert told(one_by_one(rows), "event_id", "event_type", "watch_time_sec") == [
        ("a:impression", "impression", None),
        ("a:like", "like", None),
        ("a:view", "view", 3.0),
        ("b", "like", 3.0),
        ("c", "impression", 3.0),
    ]


def test_a_catalogue_keeps_its_order_and_has_every_id_once_a_day() -> None:
    def video(ping_id: str | None, category: str | None, **more: Any) -> dict[str, Any]:
        return {"ping_id": ping_id, "category": category, **more}

    rows = frame(
        video("p9", "a"),
        video("p1", None),
        video("p9", "a"),  # the same once more
        video("p1", "b"),  # another of that id
        video(None, "c", reason="missing_ping_id", masked_row="***"),
        video("p0", "a"),
        video("p0", "z", source="another"),
        video("p9", "a", as_of_date=D2),
    )
    judged = catalogue(rows, key="ping_id", content=("ping_id", "category"))
    assert told(standing(judged), "as_of_date", "catalogue_row", "ping_id", "category") == [
        (D1, 1, "p0", "z"),
        (D1, 2, "p9", "a"),
        (D1, 3, "p1", None),
        (D2, 1, "p9", "a"),
    ]
    aside = judged.filter(~nw.col("reason").is_null())
    assert told(aside, "landing_line", "reason", "masked_row") == [
        (5, "repeated_id", "ping_id: p1, category: b"),
        (6, "missing_ping_id", "***"),
        (7, "repeated_id", "ping_id: p0, category: a"),
    ]
    assert told(judged.filter(nw.col("is_copy")), "landing_line") == [(4,)]
    assert told(quarantined(judged, "ping"), "check_name") == [("each_key_occurs_once",)] * 2 + [
        ("no_required_value_is_missing",)
    ]
