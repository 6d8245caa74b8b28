"""Behaviour: each test passes where a model is sensible and fails where it is not."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from gesture_assets.models.behaviour import (
    Behaviour,
    behaviours,
    no_segment_is_served_much_worse,
    one_more_never_lowers_a_score,
    scores_are_not_all_alike,
    scores_do_not_depend_on_company_or_order,
    scores_do_not_depend_on_who_somebody_is,
    segment_aucs,
    with_one_more_event,
)
from gesture_assets.models.training import Model, train

FEATURES = ["demo_request_click_count_30d", "event_count_30d", "country"]


def world(rows: int = 1_500, seed: int = 4) -> pl.DataFrame:
    """Users who buy the likelier the more demos they asked for; half of them live in a country of two."""
    random = np.random.default_rng(seed)
    demos, others = random.poisson(0.8, rows), random.poisson(4, rows)
    margin = -3 + 1.2 * demos + 0.2 * others
    return pl.DataFrame(
        {
            "user_id": [f"u{n}" for n in range(rows)],
            "mailchimp_id": np.arange(rows),
            "demo_request_click_count_30d": demos,
            "event_count_30d": demos + others,
            "days_since_last_demo_request_click": pl.Series([int(n % 9) if n % 2 else None for n in range(rows)]),
            "country": random.choice(["DE", "US"], rows),
            "label": (random.random(rows) < 1 / (1 + np.exp(-margin))).astype(np.int16),
        }
    )


@dataclass(frozen=True)
class Formula:
    """A model that is a formula."""

    formula: Callable[[pl.DataFrame], np.ndarray]

    def probabilities(self, frame: pl.DataFrame) -> np.ndarray:
        return self.formula(frame)


def of(expression: pl.Expr) -> Formula:
    return Formula(lambda frame: frame.select(expression.cast(pl.Float64)).to_series().to_numpy())


@pytest.fixture(scope="module")
def model() -> Model:
    more = {"demo_request_click_count_30d": 1, "event_count_30d": 1}
    return train(world(), "label", FEATURES, validation=world(seed=5), monotone=more)  # pyright: ignore[reportArgumentType]


def test_a_sensible_model_passes_every_test(model: Model) -> None:
    tests = behaviours(model, world(seed=6), segments=("country",))
    assert [test.name for test in tests] == [
        "one_more_demo_request_click_never_lowers_a_score",
        "scores_do_not_depend_on_who_somebody_is",
        "scores_do_not_depend_on_company_or_order",
        "scores_are_not_all_alike",
        "no_segment_is_served_much_worse",
    ]
    assert [test.name for test in tests if not test.passed] == []
    assert {test.severity for test in tests[:-1]} == {"ERROR"}
    assert tests[-1].severity == "WARN"
    assert all(test.observed <= test.limit for test in tests)


def test_one_more_event_is_one_more_in_every_count_of_it_and_of_all_events() -> None:
    frame = world(10).with_columns(
        demo_request_click_count=pl.lit(4), signup_count_30d=pl.lit(1), event_count=pl.lit(9)
    )
    more = with_one_more_event(frame, "demo_request_click")
    for name in ("demo_request_click_count", "demo_request_click_count_30d", "event_count", "event_count_30d"):
        assert more[name].equals(frame[name] + 1)
    assert set(more["days_since_last_demo_request_click"]) == {0}
    same = ["user_id", "mailchimp_id", "signup_count_30d", "country", "label"]
    assert more.select(same).equals(frame.select(same))
    assert more.schema == frame.schema


def test_a_model_that_holds_a_demo_request_against_users_is_found() -> None:
    against = of(0.5 - 0.04 * pl.col("demo_request_click_count_30d"))
    test = one_more_never_lowers_a_score(against, world())
    assert (test.passed, test.observed) == (False, 1.0)
    assert "mean probability changes by -0.0400" in test.because


def test_a_fall_counts_by_how_far_and_how_many() -> None:
    frame = world(1_000).with_columns(place=pl.int_range(1_000))

    def falls(rows: int, by: float) -> Behaviour:
        """The first `rows` users fall by `by`, all others rise by 0.01."""
        clicked_today = pl.col("days_since_last_demo_request_click") == 0
        change = pl.when(pl.col("place") < rows).then(-by).otherwise(0.01)
        return one_more_never_lowers_a_score(
            of(0.5 + pl.when(clicked_today.fill_null(False)).then(change).otherwise(0)),
            frame.with_columns(days_since_last_demo_request_click=pl.lit(5)),
        )

    assert (falls(50, 0.05).observed, falls(50, 0.05).passed) == (0.05, True)
    assert (falls(51, 0.05).observed, falls(51, 0.05).passed) == (0.051, False)
    assert (falls(100, 0.019).observed, falls(100, 0.019).passed) == (0.0, True)
    assert not falls(40, 0.4).passed  # few fall, so far that the mean does


def test_a_model_that_knows_persons_is_found() -> None:
    knows = of(0.2 + 0.1 * (pl.col("mailchimp_id") % 2))
    test = scores_do_not_depend_on_who_somebody_is(knows, world())
    assert not test.passed
    assert test.observed == pytest.approx(0.5, abs=0.05)
    by_name = Formula(lambda frame: (frame["user_id"].str.len_chars() / 100).to_numpy())
    assert not scores_do_not_depend_on_who_somebody_is(by_name, world()).passed


def test_a_model_that_looks_at_the_others_is_found() -> None:
    count = pl.col("event_count_30d")
    assert not scores_do_not_depend_on_company_or_order(of(count / count.max()), world()).passed
    by_place = of(pl.int_range(pl.len()) / 10_000)
    assert scores_do_not_depend_on_company_or_order(by_place, world()).observed > 0.9
    by_column = Formula(lambda frame: np.full(frame.height, 0.1 if frame.columns[0] == "user_id" else 0.2))
    assert not scores_do_not_depend_on_company_or_order(by_column, world()).passed


def test_a_constant_model_is_found_unless_there_are_too_few_users_to_tell() -> None:
    nearly = of(pl.when(pl.int_range(pl.len()) < 40).then(0.2).otherwise(0.1))
    assert scores_are_not_all_alike(nearly, world(1_000)).observed == 0.96
    assert not scores_are_not_all_alike(nearly, world(1_000)).passed
    assert scores_are_not_all_alike(nearly, world(800)).passed
    everybody_alike = Formula(lambda frame: np.full(frame.height, 0.1))
    assert not scores_are_not_all_alike(everybody_alike, world(20)).passed
    assert scores_are_not_all_alike(everybody_alike, world(19)).passed


def test_a_segment_that_is_served_much_worse_is_named(model: Model) -> None:
    frame = world(4_000, seed=8)
    blind = Formula(
        lambda rows: np.where(
            (rows["country"] == "US").to_numpy(),
            np.random.default_rng(1).random(rows.height) / 10,
            model.probabilities(rows),
        )
    )
    test = no_segment_is_served_much_worse(blind, frame, segments=("country", "no_such_column"))
    assert not test.passed
    assert test.observed > 0.1
    assert test.because.startswith("country: AUC 0.")
    assert "for US" in test.because.split(",")[0]
    assert test.severity == "WARN"


def test_small_segments_and_chance_accuse_nobody(model: Model) -> None:
    frame = world(1_500, seed=9)
    rare = frame.with_columns(country=pl.when(pl.int_range(pl.len()) < 15).then(pl.lit("FR")).otherwise("country"))
    assert ("country", "FR") not in segment_aucs(model, rare, segments=("country",))
    dealt = frame.with_columns(segment=(pl.int_range(pl.len()) % 15).cast(pl.String))
    aucs = [auc for auc, _ in segment_aucs(model, dealt, segments=("segment",)).values()]
    assert max(aucs) - min(aucs) > 0.1
    assert no_segment_is_served_much_worse(model, dealt, segments=("segment",)).passed


def test_missing_values_are_a_segment(model: Model) -> None:
    frame = world().with_columns(region=pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("north")))
    aucs = segment_aucs(model, frame, segments=("region",))
    assert set(aucs) == {("region", "missing"), ("region", "north")}
    assert all(0.5 < auc < 1 and 0 < error < 0.1 for auc, error in aucs.values())
