"""What holds for all events: the order of rows means nothing, and days add up to the whole."""

import random
from collections import Counter
from datetime import date, timedelta
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from gesture_assets.events.roll_up import daily_activity
from gesture_assets.events.sessionise import filed_sessions, sessionise
from gesture_assets.events.tables import DAILY_ACTIVITY, SESSIONS
from gesture_assets_tests.events_by_hand import (
    MONDAY,
    Frame,
    collected,
    deduplicate,
    event,
    events_table,
    lazy,
    random_events,
)

seeds = st.integers(0, 10_000)
worlds = st.builds(random_events, seeds, st.integers(0, 60))
NOBODY = pl.DataFrame(schema={"event_id": pl.String})


def deduplicated(rows: pl.DataFrame, before: pl.DataFrame = NOBODY) -> pl.DataFrame:
    return collected(deduplicate(lazy(rows), lazy(before)))


@st.composite
def copies(draw: st.DrawFn) -> pl.DataFrame:
    """Landed rows: few ids, few moments of arrival, two files with lines of their own."""
    keys = draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.sampled_from("ab")), max_size=25))
    return events_table(
        *(
            event(
                event_id=f"e{number}",
                received_at=event(minutes)["received_at"],
                landing_file=f"{file}.csv",
                landing_line=line,
            )
            for line, (number, minutes, file) in enumerate(keys, start=2)
        )
    )


@given(copies(), seeds)
def test_deduplication_knows_no_order_and_nothing_to_do_twice(rows: pl.DataFrame, seed: int) -> None:
    once = deduplicated(rows)
    assert deduplicated(once).equals(once)
    assert deduplicated(rows.sample(fraction=1, shuffle=True, seed=seed)).equals(once)
    assert set(once["event_id"]) == set(rows["event_id"])
    assert once.height == once["event_id"].n_unique()
    assert deduplicated(rows, once.select("event_id")).is_empty()
    earliest = rows.group_by("event_id").agg(pl.col("received_at").min())
    assert set(once.select("event_id", "received_at").rows()) == set(earliest.rows())


@given(copies(), copies())
def test_days_one_after_the_other_keep_what_they_would_keep_together(first: pl.DataFrame, second: pl.DataFrame) -> None:
    kept = deduplicated(first)
    more = deduplicated(second, kept.select("event_id"))
    together = deduplicated(pl.concat([first, second.with_columns(landing_file=pl.lit("z.csv"))]))
    assert sorted([*kept["event_id"], *more["event_id"]]) == sorted(together["event_id"])


def filed_by_nights(events: list[dict[str, Any]], nights: list[list[date]]) -> pl.DataFrame:
    """Each night files its days in one go, knowing nothing that became known after them."""
    history, frames = events_table(*events), []
    for days in nights:
        new = history.filter(pl.col("as_of_date").is_in(days))
        known = history.filter(pl.col("as_of_date") <= max(days))
        frames.append(collected(filed_sessions(lazy(new), lazy(known)), SESSIONS))
    return pl.concat(frames)


@given(worlds, seeds)
def test_filed_visits_add_up_to_the_visits_of_all_events(events: list[dict[str, Any]], seed: int) -> None:
    dice = random.Random(seed)
    nights: list[list[date]] = [[]]
    for n in range(9):  # random_events knows its last event within these days
        if nights[-1] and dice.random() < 0.5:
            nights.append([])
        nights[-1].append(MONDAY + timedelta(days=n))
    filed = filed_by_nights(events, nights)
    whole = collected(sessionise(lazy(events_table(*events))))
    content = [name for name in SESSIONS.column_names if name not in ("as_of_date", "filed")]
    standing = filed.group_by(content).agg(pl.col("filed").cast(pl.Int32).sum()).filter(pl.col("filed") != 0)
    assert standing["filed"].is_in([1]).all()
    assert standing.select(content).sort(content).rows() == whole.select(content).sort(content).rows()
    sums = Counter[str]()
    for user, count in filed.select("user_id", "filed").rows():
        sums[user] += count
    assert dict(sums) == dict(Counter(whole["user_id"]))


@given(worlds)
def test_no_event_is_lost_or_counted_twice(events: list[dict[str, Any]]) -> None:
    history = lazy(events_table(*events))
    sessions = filed_sessions(history, history)
    activity = collected(daily_activity(history, sessions), DAILY_ACTIVITY)
    assert activity["event_count"].sum() == len(events)
    by_type = Counter(f"{row['event_type']}_count" for row in events)
    sums = activity.select(name for name in activity.columns if name in by_type).sum().to_dicts()
    assert (sums[0] if by_type else {}) == dict(by_type)
    assert activity["session_count"].sum() == collected(sessionise(history)).height


@given(worlds)
def test_the_room_s_answer_does_not_depend_on_the_order_of_rows(events: list[dict[str, Any]]) -> None:
    def activity(rows: Frame) -> pl.DataFrame:
        return collected(daily_activity(rows, filed_sessions(rows, rows)), DAILY_ACTIVITY)

    ordered = events_table(*events)
    assert activity(lazy(ordered)).equals(activity(lazy(ordered.reverse())))
