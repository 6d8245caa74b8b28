"""Measures of quality: scikit-learn's values, intervals that hold, a challenger that is better beyond noise only."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gesture_assets.errors import ConfigError
from gesture_assets.models.evaluation import (
    METRICS,
    Evaluation,
    LearningCurve,
    best_threshold,
    compare,
    evaluate,
    importance,
    learning_curve,
)
from gesture_assets.models.measures import Sample, replicate_weights
from gesture_assets.models.parameters import Parameters
from gesture_assets.models.training import Model, train
from gesture_assets_tests.calibration_error import expected_calibration_error


def judged(rows: int = 3_000, seed: int = 3, digits: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated probabilities, rounded so that many tie, and their outcomes."""
    random = np.random.default_rng(seed)
    probability = np.round(random.beta(1, 8, rows), digits)
    return (random.random(rows) < probability).astype(int), probability


def test_every_measure_is_scikit_learn_s() -> None:
    from sklearn import metrics

    y, p = judged()
    values = {name: estimate.value for name, estimate in evaluate(y, p, threshold=0.2, bootstrap=2).metrics.items()}
    called = p >= 0.2
    expected = {
        "roc_auc": metrics.roc_auc_score(y, p),
        "pr_auc": metrics.average_precision_score(y, p),
        "precision": metrics.precision_score(y, called),
        "recall": metrics.recall_score(y, called),
        "f1": metrics.f1_score(y, called),
        "accuracy": metrics.accuracy_score(y, called),
        "log_loss": metrics.log_loss(y, np.clip(p, 2.3e-16, 1)),
        "brier": metrics.brier_score_loss(y, p),
        "ece": expected_calibration_error(y, p),
        "sum_ratio": p.sum() / y.sum(),
    }
    for name, value in expected.items():
        assert values[name] == pytest.approx(value, rel=1e-12, abs=1e-12), name
    assert set(METRICS) - set(expected) == {"precision_top_20", "lift_top_20"}


def test_the_top_fifth_and_the_deciles_are_counted_by_hand() -> None:
    y = [1, 1, 0, 1, 0, 0, 0, 0, 0, 1]
    p = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05]
    evaluation = evaluate(y, p, bootstrap=5)
    assert evaluation.metrics["precision_top_20"].value == 1.0
    assert evaluation.metrics["lift_top_20"].value == pytest.approx(1.0 / (2 / 8))
    assert [lift.value for lift in evaluation.deciles] == pytest.approx([2.5, 2.5, 0, 2.5, 0, 0, 0, 0, 0, 2.5])
    assert (evaluation.rows, evaluation.positives, evaluation.probability_sum) == (10, 4, pytest.approx(4.55))


def test_users_that_tie_at_the_edge_of_the_top_count_in_part() -> None:
    evaluation = evaluate([1, 0, 1, 0, 0], [0.5] * 5, bootstrap=5)
    assert evaluation.metrics["precision_top_20"].value == pytest.approx(0.4)
    assert evaluation.metrics["lift_top_20"].value == pytest.approx(1.0)
    assert evaluation.metrics["roc_auc"].value == 0.5


@pytest.mark.slow
def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    true = evaluate(*judged(400_000, 99), bootstrap=1).metrics
    held = dict.fromkeys(("roc_auc", "brier", "lift_top_20"), 0)
    for seed in range(60):
        evaluation = evaluate(*judged(1_000, seed), bootstrap=200, seed=seed).metrics
        for name in held:
            held[name] += evaluation[name].low <= true[name].value <= evaluation[name].high
    assert all(50 <= count <= 60 for count in held.values()), held


def test_the_order_of_rows_does_not_matter() -> None:
    y, p = judged()
    order = np.random.default_rng(1).permutation(len(y))
    first, second = evaluate(y, p, bootstrap=20), evaluate(y[order], p[order], bootstrap=20)
    assert first.frame().equals(second.frame())
    assert first.reliability.equals(second.reliability)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.5, 1.0])), min_size=1, max_size=40))
def test_no_judgement_fails_and_every_value_is_in_its_range(rows: list[tuple[int, float]]) -> None:
    y, p = zip(*rows, strict=True)
    evaluation = evaluate(y, p, bootstrap=5)
    for name in ("roc_auc", "pr_auc", "precision", "recall", "f1", "accuracy", "brier", "ece", "precision_top_20"):
        estimate = evaluation.metrics[name]
        assert math.isnan(estimate.value) or -1e-12 <= estimate.value <= 1 + 1e-12
        assert math.isnan(estimate.low) or estimate.low <= estimate.high
    assert math.isnan(evaluation.metrics["roc_auc"].value) == (len(set(y)) == 1)


def test_replicates_measured_together_are_each_what_they_are_alone() -> None:
    y, p = (values.astype(float) for values in judged(300))
    sample = Sample(y, p, 0.2)
    (together,) = replicate_weights(len(y), np.arange(300) // 2, 40, 1)
    alone = np.concatenate([sample.measure(drawn[None]) for drawn in together])
    assert np.array_equal(sample.measure(together).view(np.int64), alone.view(np.int64))


def test_segments_are_judged_alone_and_small_ones_named() -> None:
    y, p = judged()
    country = pl.Series(["de"] * 2_000 + ["us"] * 980 + [None] * 19 + ["fr"])
    evaluation = evaluate(y, p, segments={"country": country}, bootstrap=5)
    assert set(evaluation.segments) == {("country", "de"), ("country", "us")}
    assert evaluation.too_small == (("country", "fr"), ("country", "missing"))
    alone = evaluate(y[:2_000], p[:2_000], bootstrap=5)
    assert evaluation.segments["country", "de"].metrics == alone.metrics
    areas = [evaluation.segments["country", name].metrics["roc_auc"].value for name in ("de", "us")]
    assert evaluation.gap("country") == pytest.approx(max(areas) - min(areas))
    assert math.isnan(evaluation.gap("city"))
    frame = evaluation.frame()
    assert len(frame) == 3 * (len(METRICS) + 10)
    assert frame.filter(pl.col("segment") == "us", pl.col("metric") == "brier")["rows"].item() == 980


def test_rows_of_one_user_are_drawn_together() -> None:
    y, p = judged(300)
    many = (np.repeat(y, 10), np.repeat(p, 10))
    users = pl.Series(np.repeat(np.arange(300), 10))

    def width(evaluation: Evaluation) -> float:
        return evaluation.metrics["roc_auc"].high - evaluation.metrics["roc_auc"].low

    single = width(evaluate(y, p))
    assert width(evaluate(*many, groups=users)) == pytest.approx(single, rel=0.3)
    assert width(evaluate(*many)) < single / 2


@pytest.mark.parametrize(
    ("y", "p", "message"),
    [
        ([], [], "no rows"),
        ([0, 2], [0.1, 0.2], "other outcomes"),
        ([0, 1], [0.1, 1.2], "other probabilities"),
        ([0, 1], [0.1, math.nan], "other probabilities"),
        ([0, 1], [0.1], "1 values"),
    ],
)
def test_what_cannot_be_judged_is_refused(y: list, p: list, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate(y, p)


def test_the_best_threshold_has_the_highest_f1_of_all() -> None:
    y, p = judged(500)
    best = best_threshold(y, p)
    f1 = {at: evaluate(y, p, threshold=at, bootstrap=1).metrics["f1"].value for at in np.unique(p)}
    assert f1[best] == max(f1.values())


def test_two_infinite_lifts_have_no_difference_and_decide_nothing() -> None:
    # Every buyer is in the top fifth of both, and some replicates draw no buyer at all.
    y, p = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0], [0.9, 0.3, 0.3, 0.2, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1]
    comparison = compare(y, p, [*p[:-1], 0.35], decided_by="lift_top_20", bootstrap=200)
    lift = comparison.metrics["lift_top_20"]
    assert (lift.champion, lift.challenger) == (math.inf, math.inf)
    assert math.isnan(lift.difference.value)
    assert comparison.verdict == "within noise"
    auc = comparison.metrics["roc_auc"].difference
    assert auc.low <= auc.value <= auc.high


def test_rows_of_one_outcome_have_nothing_to_compare_by() -> None:
    comparison = compare([0, 0, 0], [0.1, 0.2, 0.3], [0.3, 0.2, 0.1], bootstrap=20)
    assert math.isnan(comparison.metrics["roc_auc"].difference.value)
    assert math.isnan(comparison.metrics["roc_auc"].difference.low)
    assert comparison.verdict == "within noise"


@pytest.mark.slow
def test_a_challenger_is_better_only_beyond_noise() -> None:
    y, p = judged(4_000, digits=6)
    random = np.random.default_rng(2)
    much_worse = np.clip(p + random.normal(0, 0.1, len(p)), 0, 1)
    hardly_worse = np.clip(p + random.normal(0, 0.002, len(p)), 0, 1)
    assert compare(y, much_worse, p).verdict == "better"
    assert compare(y, p, much_worse).verdict == "worse"
    assert compare(y, hardly_worse, p).verdict == "within noise"
    assert compare(y, p, p).metrics["roc_auc"].difference.value == 0
    assert compare(y, p, p).verdict == "within noise"
    by_loss = compare(y, much_worse, p, decided_by="brier")
    assert by_loss.verdict == "better"
    assert by_loss.metrics["brier"].difference.high < 0
    with pytest.raises(ConfigError, match="'auc' is not known"):
        compare(y, p, p, decided_by="auc")


def test_a_paired_difference_is_known_better_than_its_parts() -> None:
    y, p = judged(4_000, digits=6)
    noisy = np.clip(p + np.random.default_rng(2).normal(0, 0.02, len(p)), 0, 1)
    comparison = compare(y, noisy, p).metrics["roc_auc"]
    apart = evaluate(y, p).metrics["roc_auc"]
    assert comparison.difference.high - comparison.difference.low < (apart.high - apart.low) / 2
    assert comparison.difference.value == pytest.approx(comparison.challenger - comparison.champion)
    order = np.random.default_rng(1).permutation(len(y))
    again = compare(y[order], noisy[order], p[order]).metrics["roc_auc"]
    assert again.difference == comparison.difference


def visitors(rows: int, seed: int) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    features = {"strong": random.normal(size=rows), "weak": random.normal(size=rows), "idle": random.normal(size=rows)}
    margin = -2 + 2 * features["strong"] + 0.5 * features["weak"]
    return pl.DataFrame(features | {"bought": (random.random(rows) < 1 / (1 + np.exp(-margin))).astype(int)})


@pytest.fixture(scope="module")
def model() -> Model:
    return train(visitors(2_000, 1), "bought", ["strong", "weak", "idle"], parameters=Parameters(max_depth=3))


def test_importance_ranks_what_matters_and_sums_to_1(model: Model) -> None:
    test = visitors(1_000, 2)
    table = importance(model, test, test["bought"], names={"strong": "The strong one"})
    assert table["feature"].to_list() == ["strong", "weak", "idle"]
    assert table["name"].to_list() == ["The strong one", "weak", "idle"]
    for kind in ("gain", "permutation", "shap"):
        assert table[kind].sum() == pytest.approx(1)
        assert table[kind][0] > 0.5
        assert (table[kind] >= 0).all()
    assert table.equals(importance(model, test, test["bought"], names={"strong": "The strong one"}))


def test_a_model_that_learnt_nothing_has_no_important_feature() -> None:
    flat = visitors(200, 1)
    idle = train(flat, "bought", ["idle"], parameters=Parameters(gamma=1e6))
    assert importance(idle, flat, flat["bought"]).row(0)[2:] == (0, 0, 0)


def many_weak_signs(rows: int, seed: int) -> pl.DataFrame:
    """Twenty features that each say a little: a few hundred rows are not enough to hear all of them."""
    random = np.random.default_rng(seed)
    signs = random.normal(size=(rows, 20))
    bought = random.random(rows) < 1 / (1 + np.exp(1 - 0.5 * signs.sum(axis=1)))
    return pl.DataFrame(signs, schema=[f"sign_{number}" for number in range(20)]).with_columns(bought=bought)


def curve_of(
    frame: pl.DataFrame, test: pl.DataFrame, names: list[str], parameters: Parameters | None = None
) -> LearningCurve:
    def predicted_from(part: pl.DataFrame) -> np.ndarray:
        return train(part, "bought", names, parameters=parameters, min_rows=50).probabilities(test)

    return learning_curve(frame, "bought", test, predicted_from)


def test_more_rows_help_where_they_do_and_are_not_asked_for_where_they_do_not() -> None:
    names = [f"sign_{number}" for number in range(20)]
    starving = curve_of(many_weak_signs(600, 5), many_weak_signs(4_000, 9), names)
    assert [point.rows / 600 for point in starving.points] == pytest.approx([0.125, 0.25, 0.5, 1], abs=0.005)
    assert starving.verdict == "more would help"
    assert starving.last_gain.low > 0
    test = visitors(4_000, 9)
    simple = Parameters(max_depth=2, n_estimators=20)
    sated = curve_of(visitors(8_000, 5), test, ["strong"], simple)
    assert sated.verdict == "enough"
    assert "4000 to 8000 rows" in sated.because
    areas = [point.roc_auc.value for point in starving.points]
    assert areas == sorted(areas)


def test_too_little_to_tell_is_a_verdict() -> None:
    few = curve_of(visitors(90, 5), visitors(100, 6), ["strong"])
    assert few.verdict == "too little to tell"
    assert "1 of 4 parts" in few.because
    wide = curve_of(visitors(800, 5), visitors(60, 6), ["strong"])
    assert wide.verdict == "too little to tell"
    assert "only known to lie between" in wide.because
