"""What people do is watched by visitor-day: incidents are named by segment, bursts and growth are none."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import duckdb
import narwhals as nw
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from gesture_assets.monitoring.event_mix import EVENT_MIX, FEWEST_OF_NEW, MOST_TYPES, event_mix
from gesture_assets.monitoring.statistics import ALARMS
from gesture_assets.monitoring.visitor_days import COUNTED, Counted, of_events

NIGHT = date(2026, 3, 9)
SCHEMA = {"day": pl.Date, "user_id": pl.String, "segment": pl.String, "event_type": pl.String, "event_count": pl.Int64}

Row = tuple[date, str, str | None, str, int]


def lazy(rows: list[Row]) -> nw.LazyFrame[Any]:
    return nw.from_native(pl.DataFrame(rows, schema=SCHEMA, orient="row").lazy())


def mix(rows: list[Row], night: date = NIGHT) -> pl.DataFrame:
    watched = event_mix(Counted.of(lazy(rows)), night)
    assert watched.schema == EVENT_MIX
    return watched


def no_cart_but_a_crash(day: date, segment: str, did: dict[str, int], random: np.random.Generator) -> None:
    if day > NIGHT - timedelta(days=7):
        did.pop("cart", None)
        did["crash"] = 1


def world(days: int = 70, visitors: int = 30, *, change: Callable[..., None] | None = None, seed: int = 1) -> list[Row]:
    """A shop, a quarter of its visitors new: all look, three in ten fill a cart, eight in ten of these pay."""
    random = np.random.default_rng(seed)
    rows: list[Row] = []
    users = 1
    for back in reversed(range(days)):
        day = NIGHT - timedelta(days=back)
        for _ in range(visitors):
            is_new = random.random() < 0.25
            users += is_new
            user, segment = (
                f"u{users if is_new else random.integers(users)}",
                ["desktop", "mobile"][int(random.random() < 0.4)],
            )
            did = {"view": int(random.geometric(0.2))}
            if random.random() < 0.3:
                did["cart"] = 1
                if random.random() < 0.8:
                    did["pay"] = 1
            if change is not None:
                change(day, segment, did, random)
            rows += [(day, user, segment, name, number) for name, number in did.items()]
    return rows


def alarms(watched: pl.DataFrame) -> set[tuple[str, str, str]]:
    return set(watched.filter(pl.col("verdict").is_in(ALARMS)).select("segment", "kind", "name").rows())


def rows_of(watched: pl.DataFrame, segment: str, name: str) -> dict[str, Any]:
    return watched.filter(pl.col("segment") == segment, pl.col("name") == name).row(0, named=True)


def test_an_ordinary_week_is_silent_and_steps_are_found_in_the_reference() -> None:
    watched = mix(world())
    assert alarms(watched) == set()
    assert set(watched.filter(pl.col("kind") == "step")["name"]) == {"view → cart", "cart → pay"}
    assert rows_of(watched, "all", "cart → pay")["rate_reference"] == pytest.approx(0.8, abs=0.06)


@pytest.mark.slow
def test_nights_without_an_incident_are_silent_in_the_long_run() -> None:
    assert sum(bool(alarms(mix(world(seed=seed)))) for seed in range(2, 42)) <= 1


def test_a_bug_of_one_segment_is_named_with_step_and_segment() -> None:
    def no_pay_on_mobile(day: date, segment: str, did: dict[str, int], random: np.random.Generator) -> None:
        if segment == "mobile" and day > NIGHT - timedelta(days=6) and random.random() < 0.8:
            did.pop("pay", None)

    watched = mix(world(change=no_pay_on_mobile))
    assert ("mobile", "step", "cart → pay") in alarms(watched)
    assert all(segment != "desktop" for segment, _, _ in alarms(watched))
    assert rows_of(watched, "mobile", "cart → pay")["sentence"].startswith("mobile, cart → pay: drift; ")


def test_a_new_event_type_is_named_when_three_people_have_it() -> None:
    rows = world()
    for number, expected in ((FEWEST_OF_NEW - 1, False), (FEWEST_OF_NEW, True)):
        new: list[Row] = [(NIGHT, f"u{user}", "desktop", "crash", 1) for user in range(number)]
        new += [(NIGHT, "u0", "desktop", "crash", 50)]
        watched = mix(rows + new)
        assert (("all", "type", "crash") in alarms(watched)) is expected
        assert rows_of(watched, "all", "crash")["is_new"]
    assert "crash: new; 0.0% → " in rows_of(watched, "all", "crash")["sentence"]


def test_a_vanished_event_type_is_named() -> None:
    def no_cart(day: date, segment: str, did: dict[str, int], random: np.random.Generator) -> None:
        if day > NIGHT - timedelta(days=7):
            did.pop("cart", None)

    watched = mix(world(change=no_cart))
    row = rows_of(watched, "all", "cart")
    assert (row["is_vanished"], row["rate_current"], row["verdict"]) == (True, 0.0, "drift")
    assert "cart: vanished; " in row["sentence"]


def test_one_busy_user_is_no_change_of_the_mix() -> None:
    busy: list[Row] = [(NIGHT - timedelta(days=back), "robot", "desktop", "cart", 400) for back in range(2)]
    watched = mix(world() + busy)
    mixed = rows_of(watched, "all", "mix")
    assert mixed["psi"] > 0.1  # of events it is a sensation
    assert mixed["design_effect"] > 50
    assert alarms(watched) == set()


def test_days_of_one_user_count_for_fewer_when_they_are_alike() -> None:
    # Ten users of four days each who all do it, ten who never do: 80 visitor-days that are worth 20.
    rows: list[Row] = []
    for back in (*range(4), *range(10, 14)):
        for user in range(20):
            rows += [(NIGHT - timedelta(days=back), f"u{user}", None, "view", 1)]
            rows += [(NIGHT - timedelta(days=back), f"u{user}", None, "pay", 1)] if user < 10 else []
    row = rows_of(mix(rows), "all", "pay")
    assert (row["n_reference"], row["n_current"], row["rate_current"]) == (80, 80, 0.5)
    # Σ(y − px)² = 40 × 4 over 160 × ¼, and 40 users of 39.
    assert row["design_effect"] == pytest.approx(4 * 40 / 39)
    assert "unknown" in set(mix(rows)["segment"])


def test_a_crowd_of_new_visitors_is_a_shift() -> None:
    old = world()
    crowd: list[Row] = [
        (NIGHT - timedelta(days=back), f"reader{back}_{number}", "mobile", "view", 1)
        for back in range(3)
        for number in range(20)
    ]
    watched = mix(old + crowd)
    assert ("all", "new_visitors", "new_visitors") in alarms(watched)
    row = rows_of(watched, "all", "new_visitors")
    assert row["rate_current"] > row["rate_reference"]
    first_days = (
        pl.DataFrame(old + crowd, schema=SCHEMA, orient="row").group_by("user_id").agg(first_day=pl.col("day").min())
    )
    lately = [row for row in old + crowd if row[0] > NIGHT - timedelta(days=35)]
    with_first_days = event_mix(Counted.of(lazy(lately), nw.from_native(first_days.lazy())), NIGHT)
    assert rows_of(with_first_days, "all", "new_visitors")["rate_current"] == row["rate_current"]


def test_a_volume_that_doubles_is_an_alarm_and_growth_is_none() -> None:
    def grown(factor: float) -> list[Row]:
        rows = []
        for back in range(42):
            visitors = round(20 * factor) if back < 7 else 20
            rows += [
                (NIGHT - timedelta(days=back), f"u{back % 7}_{n}", "web", "view", 1 + (n + back) % 2)
                for n in range(visitors)
            ]
        return rows

    assert ("all", "volume", "volume") not in alarms(mix(grown(1.8)))
    watched = mix(grown(2.2))
    assert ("all", "volume", "volume") in alarms(watched)
    assert "everybody, volume: moderate; 30.0 → 66.0 events a day" in rows_of(watched, "all", "volume")["sentence"]


def test_nothing_is_judged_before_a_source_was_seen_for_the_whole_reference() -> None:
    for days in (9, 34):
        watched = mix(world(days=days, change=no_cart_but_a_crash))
        assert set(watched["kind"]) == {"type", "step", "new_visitors", "mix", "volume"} - (
            {"step"} if days == 9 else set()
        )
        assert set(watched["verdict"]) == {"too_few_rows"}
        assert watched["q_value"].null_count() == len(watched)
    complete = mix(world(days=35, change=no_cart_but_a_crash))
    assert {("all", "type", "cart"), ("all", "type", "crash"), ("mobile", "type", "crash")} <= alarms(complete)
    # Whether a visitor is new, only the four weeks before the reference can tell.
    for days, is_judged in ((62, False), (63, True)):
        assert (rows_of(mix(world(days=days)), "all", "new_visitors")["verdict"] != "too_few_rows") is is_judged


def test_nothing_at_all_is_no_error() -> None:
    assert mix([]).is_empty()
    assert mix(world(), NIGHT + timedelta(days=100)).is_empty()


@pytest.mark.slow
def test_of_very_many_visitors_some_are_drawn_and_tell_the_same_story(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = world(visitors=400, change=no_cart_but_a_crash)
    everybody = mix(rows)
    monkeypatch.setattr("gesture_assets.monitoring.event_mix.MOST_VISITORS", 2_000)
    sampled = mix(rows)
    lately = {user for day, user, *_ in rows if day > NIGHT - timedelta(days=35)}
    assert len(lately) > 5_000
    assert_frame_equal(sampled, mix(rows[::-1]), rel_tol=1e-12)  # the same visitors, in whatever order the rows come
    key = ["segment", "kind", "name"]
    both = everybody.join(sampled, on=key, suffix="_sampled", how="full", coalesce=True)
    assert len(both) == len(everybody) == len(sampled)
    volume = pl.col("kind") == "volume"
    counted = [name for name in everybody.columns if name not in ("q_value", "sentence", *key)]
    for name in counted:  # volumes are of everybody
        assert both.filter(volume, ~pl.col(name).eq_missing(pl.col(f"{name}_sampled"))).is_empty(), name
    drawn = both.filter(~volume).select(share=pl.col("n_reference_sampled") / pl.col("n_reference"))["share"]
    expected = 2_000 / len(lately)
    assert 0.8 * expected < drawn.min() <= drawn.max() < 1.2 * expected
    assert alarms(sampled) == alarms(everybody)


def test_both_engines_and_both_sources_tell_the_same() -> None:
    rows = world(visitors=8)
    table = (
        pl.DataFrame(rows, schema=SCHEMA, orient="row")
        .group_by("day", "user_id", "segment", "event_type")
        .agg(pl.col("event_count").sum())
    )
    of_polars = event_mix(Counted.of(nw.from_native(table.lazy())), NIGHT)
    with duckdb.connect() as con:
        con.register("counts", table.to_arrow())
        of_duckdb = event_mix(Counted.of(nw.from_native(con.table("counts"))), NIGHT)
    assert_frame_equal(of_duckdb, of_polars, rel_tol=1e-12)
    events = table.select(
        "user_id",
        event_at=pl.col("day").cast(pl.Datetime),
        device="segment",
        event_name="event_type",
        repeat="event_count",
    )
    events = events.select(pl.exclude("repeat").repeat_by("repeat")).explode(
        "user_id", "event_at", "device", "event_name"
    )
    again = of_events(nw.from_native(events.lazy())).collect().to_polars()
    assert again.sort(again.columns).equals(table.select(COUNTED).sort(again.columns))


def test_a_night_among_others_knows_what_it_would_have_known_alone() -> None:
    rows = world(visitors=8)
    in_part_late = pl.Series([day + timedelta(days=n % 11 // 9) for n, (day, *_) in enumerate(rows)])
    filed = pl.DataFrame(rows, schema=SCHEMA, orient="row").with_columns(as_of_date=in_part_late)
    counted = Counted.of(nw.from_native(filed.lazy()))
    for night in (NIGHT - timedelta(days=3), NIGHT - timedelta(days=1), NIGHT):
        known = filed.filter(pl.col("as_of_date") <= night).drop("as_of_date")
        assert filed.filter(pl.col("day") == night).height - known.filter(pl.col("day") == night).height > 0
        assert event_mix(counted, night).equals(event_mix(Counted.of(nw.from_native(known.lazy())), night))


def test_a_type_that_is_called_other_is_one_of_the_others() -> None:
    names = ["other", *(f"t{n:02}" for n in range(MOST_TYPES + 4))]
    rows = [
        (NIGHT - timedelta(days=back), f"u{user}", "web", name, 1)
        for back in range(20)
        for place, name in enumerate(names)
        for user in range(60 - place)
    ]
    watched = mix(rows).filter(pl.col("segment") == "all", pl.col("kind") == "type")
    assert watched.height == watched["name"].n_unique() == MOST_TYPES
    assert "t38" in watched["name"]
    assert "t39" not in watched["name"]


def test_moments_become_days() -> None:
    events = pl.DataFrame(
        {
            "user_id": ["a"] * 3,
            "event_name": ["view"] * 3,
            "device": ["web"] * 3,
            "event_at": [datetime(2026, 3, 9, 0, 0), datetime(2026, 3, 9, 23, 59), datetime(2026, 3, 10)],
        }
    )
    counted = of_events(nw.from_native(events.lazy())).collect().to_polars().sort("day")
    assert counted.rows() == [(NIGHT, "a", "web", "view", 2), (NIGHT + timedelta(days=1), "a", "web", "view", 1)]
