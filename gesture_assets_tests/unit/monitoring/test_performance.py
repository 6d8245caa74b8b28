"""Performance: what scores turned out to be worth, by band and segment, and the estimate before anybody knows."""

import math
from datetime import date, timedelta
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
import pytest

from gesture_assets.errors import ConfigError
from gesture_assets.models.evaluation import METRICS, Evaluation, evaluate
from gesture_assets.monitoring.performance import (
    ESTIMATED,
    RANKING,
    against_baseline,
    backtest,
    estimated,
    matured,
    ranking,
    realised,
    segment_gaps,
)
from gesture_assets.warehouse.warehouse import connect

DAY = date(2025, 12, 1)


def world(rows: int = 3_000, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes and probabilities that can be taken at their word."""
    random = np.random.default_rng(seed)
    probability = random.beta(1, 8, rows)
    return (random.random(rows) < probability).astype(int), probability


def judged(y: Any, p: Any, **columns: Any) -> pl.DataFrame:
    people = [f"p{n}" for n in range(len(y))]
    return pl.DataFrame({"label": y, "probability": p, "person_id": people, **columns})


SCORES = pl.DataFrame(
    [("ada", 60.0, "high"), ("ben", 10.0, "low"), ("cem", None, "suppressed"), ("dee", 30.0, "medium")],
    schema=["user_id", "score", "band"],
    orient="row",
).with_columns(as_of_date=pl.lit(DAY))
OUTCOMES = pl.DataFrame(
    {
        "as_of_date": [DAY] * 4 + [DAY + timedelta(days=1)],
        "user_id": ["ada", "ben", "cem", "dee", "ada"],
        "person_id": ["ada", "ben", "cem", "dee", "ada"],
        "label": [1, 0, 1, None, 0],
        "matures_on": [DAY + timedelta(days=30)] * 5,
        "is_eligible": [True, True, True, False, True],
    }
)


def test_only_stored_scores_with_a_known_outcome_are_judged() -> None:
    rows = matured(nw.from_native(SCORES.lazy()), nw.from_native(OUTCOMES.lazy())).collect().to_native()
    assert sorted(rows.select("user_id", "score", "band", "label").rows()) == [
        ("ada", 60.0, "high", 1),
        ("ben", 10.0, "low", 0),
    ]


def test_what_was_realised_is_what_the_evaluation_measures() -> None:
    y, p = world()
    evaluation = realised(judged(y, p, country=["de"] * 3_000), threshold=0.2, segments=["country"], bootstrap=5)
    assert evaluation.metrics["roc_auc"].value == evaluate(y, p, threshold=0.2, bootstrap=1).metrics["roc_auc"].value
    assert (evaluation.threshold, set(evaluation.segments)) == (0.2, {("country", "de")})
    with pytest.raises(ConfigError, match="no rows"):
        realised(judged([], []).cast({"label": pl.Int64, "probability": pl.Float64}), threshold=0.2)


def figures(rows: int = 3_000) -> Evaluation:
    y, p = world(rows)
    return realised(judged(y, p), threshold=0.2, bootstrap=50)


@pytest.mark.parametrize("metric", ["roc_auc", "precision", "f1", "ece"])
@pytest.mark.parametrize(("drop", "verdict"), [(0.0499, "fine"), (0.05, "fine"), (0.0501, "degraded"), (-0.2, "fine")])
def test_a_metric_is_degraded_beyond_its_limit_only(metric: str, drop: float, verdict: str) -> None:
    evaluation = figures()
    value = evaluation.metrics[metric].value
    before = value - drop if metric == "ece" else value + drop
    rows = against_baseline({metric: before}, evaluation)
    row = rows.row(by_predicate=pl.col("metric") == metric, named=True)
    assert (row["drop"], row["limit"], row["verdict"]) == (pytest.approx(drop, abs=1e-12), 0.05, verdict)
    assert (row["rows"], row["positives"]) == (evaluation.rows, evaluation.positives)
    assert rows.filter(pl.col("metric") != metric)["verdict"].unique().to_list() == ["fine"]
    assert rows.filter(pl.col("metric") != metric)["drop"].null_count() == rows.height - 1


def test_the_brier_score_is_reported_and_degrades_nothing() -> None:
    row = against_baseline({"brier": 0.0}, figures()).filter(metric="brier").row(0, named=True)
    assert row["drop"] == row["value"] > 0.05
    assert (row["limit"], row["verdict"], row["is_beyond_noise"]) == (None, "fine", True)


def test_a_fall_within_the_interval_is_not_beyond_noise() -> None:
    evaluation = figures()
    auc = evaluation.metrics["roc_auc"]
    for baseline, beyond in ((auc.high - 1e-6, False), (auc.high + 1e-6, True), (auc.low - 0.1, False)):
        assert (
            against_baseline({"roc_auc": baseline}, evaluation).filter(metric="roc_auc")["is_beyond_noise"].item()
            == beyond
        )


def test_fewer_than_20_of_either_outcome_are_no_verdict() -> None:
    for positives, verdict in ((19, "too_few_rows"), (20, "fine")):
        y = [1] * positives + [0] * 100
        evaluation = realised(judged(y, [0.5] * len(y)), threshold=0.2, bootstrap=5)
        assert set(against_baseline({}, evaluation)["verdict"]) == {verdict}


def test_the_estimate_is_worked_out_by_hand() -> None:
    estimates = {name: estimate.value for name, estimate in estimated([0.4, 0.8], threshold=0.5).items()}
    # 1.2 buyers are expected and 0.8 of them called; pairs: 0.8 × 0.6 in order, 0.08 + 0.12 of users with themselves.
    expected = {"precision": 0.8, "recall": 0.8 / 1.2, "f1": 1.6 / 2.2, "brier": 0.2, "roc_auc": 0.68 / 0.96}
    assert estimates == pytest.approx(expected, abs=1e-12)
    assert tuple(estimates) == ESTIMATED


@pytest.mark.parametrize("seed", range(5))
def test_on_calibrated_scores_the_estimate_is_near_what_comes(seed: int) -> None:
    y, p = world(seed=seed)
    actual = evaluate(y, p, threshold=0.2, bootstrap=1).metrics
    estimates = estimated(p, threshold=0.2)
    assert abs(estimates["roc_auc"].value - actual["roc_auc"].value) <= 0.03
    assert abs(estimates["f1"].value - actual["f1"].value) <= 0.05


@pytest.mark.slow
def test_the_interval_holds_what_comes_about_as_often_as_it_says() -> None:
    held: dict[str, int] = dict.fromkeys(ESTIMATED, 0)
    for seed in range(100):
        y, p = world(800, seed)
        actual = evaluate(y, p, threshold=0.2, bootstrap=1).metrics
        for name, estimate in estimated(p, threshold=0.2, seed=seed).items():
            held[name] += estimate.low <= actual[name].value <= estimate.high
    assert all(88 <= count <= 100 for count in held.values()), held


def test_a_mix_of_scores_that_tells_nobody_apart_is_estimated_lower() -> None:
    _, p = world()
    flat = np.full(len(p), p.mean())
    assert estimated(flat, threshold=0.2)["roc_auc"].value == pytest.approx(0.5)
    assert estimated(p, threshold=0.2)["roc_auc"].value > 0.7


def test_the_estimate_is_repeatable_and_knows_where_it_knows_nothing() -> None:
    _, p = world(200)
    assert estimated(p, threshold=0.2) == estimated(p[::-1], threshold=0.2)
    nobody = estimated(p * 0.1, threshold=0.5)["precision"]
    assert math.isnan(nobody.value)
    assert math.isnan(nobody.low)
    assert all(math.isnan(estimate.value) for estimate in estimated([], threshold=0.5).values())


COHORT = pl.DataFrame(
    {
        "as_of_date": [DAY] * 50 + [DAY - timedelta(days=30)] * 4,
        "band": ["high"] * 10 + ["low"] * 40 + ["high"] * 4,
        "label": [1] * 4 + [0] * 6 + [1] + [0] * 39 + [0] * 4,
    }
)


@pytest.mark.parametrize("engine", ["polars", "duckdb"])
def test_the_backtest_counts_buyers_by_band(engine: str) -> None:
    with connect() as connection:
        connection.register("cohort", COHORT.to_arrow())
        frame: Any = connection.sql("from cohort") if engine == "duckdb" else COHORT.lazy()
        bands = pl.DataFrame(backtest(nw.from_native(frame)).collect("polars").to_native())
    bands = bands.sort("as_of_date", "band")
    assert bands.select("as_of_date", "band", "user_count", "buyer_count").rows() == [
        (DAY - timedelta(days=30), "high", 4, 0),
        (DAY, "high", 10, 4),
        (DAY, "low", 40, 1),
    ]
    assert bands["conversion_rate"].to_list() == pytest.approx([0, 0.4, 0.025])
    # Wilson's intervals of 0 of 4, 4 of 10 and 1 of 40, as printed in tables.
    assert bands["low"].round(4).to_list() == pytest.approx([0, 0.1682, 0.0044], abs=1e-4)
    assert bands["high"].round(4).to_list() == pytest.approx([0.4899, 0.6873, 0.1288], abs=1e-4)
    assert bands["lift"].to_list() == [None, pytest.approx(4), pytest.approx(0.25)]


def test_rules_are_judged_by_their_order_alone() -> None:
    scores = [90.0, 80, 70, 60, 50, 40, 30, 20, 10, 1]
    rows = pl.DataFrame({"label": [1, 1, 0, 1, 0, 0, 0, 0, 0, 0], "score": scores, "person_id": list("abcdefghij")})
    ranked = ranking(rows, bootstrap=5)
    values = dict(ranked.select("metric", "value").iter_rows())
    assert set(values) == set(RANKING)
    # Of 21 pairs of buyer and other, one is the wrong way round; the upper fifth buys, and one of the other eight.
    assert values["roc_auc"] == pytest.approx(20 / 21)
    assert (values["precision_top_20"], values["lift_top_20"]) == (1, pytest.approx(8))
    assert values["lift_decile_1"] == pytest.approx(10 / 3)
    assert set(RANKING) - set(METRICS) == {f"lift_decile_{n}" for n in range(1, 11)}


def segment(name: str, positives: int, negatives: int, wrong: int) -> list[tuple[str, int, float]]:
    """Buyers above all others, but for `wrong` of the others, who are above everybody."""
    return [
        *((name, 1, 0.5) for _ in range(positives)),
        *((name, 0, 0.9 if n < wrong else 0.1) for n in range(negatives)),
    ]


def test_a_segment_is_served_much_worse_with_rows_enough_and_beyond_chance_only() -> None:
    rows = [
        *segment("best", 50, 100, 0),
        *segment("worse", 50, 100, 20),
        *segment("near", 50, 100, 8),
        *segment("few buyers", 19, 100, 90),
        *segment("tiny", 2, 3, 3),
    ]
    frame = pl.DataFrame(rows, schema=["country", "label", "probability"], orient="row")
    people = frame.with_columns(person_id=pl.int_range(pl.len()).cast(pl.String))
    gaps = segment_gaps(realised(people, threshold=0.2, segments=["country"]))
    by_name = {row["segment"]: row for row in gaps.to_dicts()}
    assert {name: row["verdict"] for name, row in by_name.items()} == {
        "best": "fine",
        "worse": "wide",
        "near": "fine",
        "few buyers": "too_few_rows",
        "tiny": "too_few_rows",
    }
    assert by_name["worse"]["gap"] == pytest.approx(0.2)
    assert by_name["near"]["gap"] == pytest.approx(0.08)
    assert (by_name["few buyers"]["gap"], by_name["tiny"]["roc_auc"]) == (None, None)


def test_a_wide_gap_that_chance_explains_is_fine() -> None:
    rows = [*segment("one", 20, 20, 0), *segment("other", 20, 20, 3)]
    frame = pl.DataFrame(rows, schema=["country", "label", "probability"], orient="row")
    people = frame.with_columns(person_id=pl.int_range(pl.len()).cast(pl.String))
    gaps = segment_gaps(realised(people, threshold=0.2, segments=["country"]), largest=0.1)
    assert gaps.filter(segment="other")["gap"].item() == pytest.approx(0.15)
    assert set(gaps["verdict"]) == {"fine"}
