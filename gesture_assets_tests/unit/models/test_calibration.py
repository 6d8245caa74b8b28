"""Probabilities that can be taken at their word: chosen on rows not fitted on, rising, never certain."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gesture_assets.errors import ConfigError
from gesture_assets.models.calibration import (
    Calibrator,
    Choice,
    confidence,
    fit_calibrator,
    reliability_bins,
)
from gesture_assets_tests.calibration_error import expected_calibration_error


def world(rows: int, shape: str = "sigmoid", seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Margins that are twice too sure of themselves ("sigmoid"), or know three steps only ("steps")."""
    random = np.random.default_rng(seed)
    margin = random.normal(-2, 2, rows)
    true = (
        1 / (1 + np.exp(-margin / 2)) if shape == "sigmoid" else np.select([margin < -3, margin < 0], [0.02, 0.3], 0.6)
    )
    return margin.astype(np.float32), (random.random(rows) < true).astype(np.float32)


def test_overconfident_margins_are_drawn_in_by_a_sigmoid() -> None:
    margin, outcome = world(20_000)
    calibrator = fit_calibrator(margin, outcome)
    assert calibrator.method == "sigmoid"
    assert calibrator.slope == pytest.approx(0.5, abs=0.03)
    assert calibrator.intercept == pytest.approx(0, abs=0.06)
    fresh_margin, fresh_outcome = world(20_000, seed=8)
    mended = calibrator.probabilities(fresh_margin)
    raw = Calibrator().probabilities(fresh_margin)
    assert expected_calibration_error(fresh_outcome, mended) < 0.02
    assert expected_calibration_error(fresh_outcome, raw) > 0.05
    assert mended.sum() == pytest.approx(fresh_outcome.sum(), rel=0.05)


def test_steps_are_followed_by_an_isotonic_curve() -> None:
    margin, outcome = world(20_000, "steps")
    calibrator = fit_calibrator(margin, outcome)
    assert calibrator.method == "isotonic"
    assert calibrator.brier["isotonic"] < calibrator.brier["sigmoid"]
    fresh_margin, fresh_outcome = world(20_000, "steps", seed=8)
    assert expected_calibration_error(fresh_outcome, calibrator.probabilities(fresh_margin)) < 0.02


def test_the_sigmoid_is_the_one_scikit_learn_finds() -> None:
    from sklearn.linear_model import LogisticRegression

    margin, outcome = world(5_000)
    calibrator = fit_calibrator(margin, outcome, choice="sigmoid")
    positives, negatives = outcome.sum(), len(outcome) - outcome.sum()
    # Platt's targets as weights: each row counts in part as the other outcome.
    high, low = (positives + 1) / (positives + 2), 1 / (negatives + 2)
    weight = np.concatenate([np.where(outcome == 1, high, low), np.where(outcome == 1, 1 - high, 1 - low)])
    twice = np.concatenate([margin, margin])[:, None].astype(float)
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    fitted.fit(twice, np.repeat([1, 0], len(margin)), sample_weight=weight)
    assert calibrator.slope == pytest.approx(fitted.coef_[0, 0], rel=1e-4)
    assert calibrator.intercept == pytest.approx(fitted.intercept_[0], rel=1e-3, abs=1e-4)


def test_few_positives_leave_the_sigmoid_only() -> None:
    margin, outcome = world(20_000, "steps")
    few = np.concatenate([np.flatnonzero(outcome == 1)[:49], np.flatnonzero(outcome == 0)])
    calibrator = fit_calibrator(margin[few], outcome[few])
    assert calibrator.method == "sigmoid"
    assert set(calibrator.brier) == {"sigmoid"}


def test_one_outcome_only_cannot_be_calibrated_on() -> None:
    with pytest.raises(ConfigError, match="10 rows, all with outcome 0"):
        fit_calibrator(np.zeros(10), np.zeros(10))
    with pytest.raises(ConfigError, match="no row"):
        fit_calibrator([], [])


def test_margins_that_point_the_wrong_way_say_nothing() -> None:
    margin, outcome = world(2_000)
    probabilities = fit_calibrator(-margin, outcome, choice="sigmoid").probabilities([-5.0, 0.0, 5.0])
    assert probabilities == pytest.approx([outcome.mean()] * 3)


def test_margins_that_separate_the_outcomes_stay_short_of_certainty() -> None:
    margin = np.linspace(-5, 5, 400)
    outcome = (margin > 0).astype(float)
    for choice in ("sigmoid", "isotonic"):
        probabilities = fit_calibrator(margin, outcome, choice=choice).probabilities([-1e9, -5, 5, 1e9])
        assert 0 < probabilities.min() < 0.01 < 0.99 < probabilities.max() < 1


def test_the_order_of_rows_does_not_matter() -> None:
    margin, outcome = world(3_000)
    order = np.random.default_rng(3).permutation(3_000)
    assert fit_calibrator(margin, outcome) == fit_calibrator(margin[order], outcome[order])


@cache
def fitted(choice: str) -> Calibrator:
    return fit_calibrator(*world(4_000, "steps"), choice=choice)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("choice", ["none", "sigmoid", "isotonic"])
@settings(deadline=None)
@given(margins=st.lists(st.floats(-60, 60, width=32), min_size=1, max_size=70))
def test_a_probability_rises_with_the_margin_and_is_the_same_alone(choice: str, margins: list[float]) -> None:
    calibrator = fitted(choice)
    at = np.array(sorted(margins), dtype=np.float32)
    together = calibrator.probabilities(at)
    assert (np.diff(together) >= 0).all()
    assert ((together > 0) & (together < 1)).all()
    assert together.tobytes() == np.concatenate([calibrator.probabilities(at[[i]]) for i in range(len(at))]).tobytes()
    assert calibrator.probabilities(at[::-1]).tobytes() == together[::-1].tobytes()


@pytest.mark.parametrize("choice", ["none", "sigmoid", "isotonic"])
def test_a_calibrator_survives_its_file(choice: str) -> None:
    assert Calibrator.from_dict(fitted(choice).to_dict()) == fitted(choice)


def test_reliability_bins_are_those_of_scikit_learn() -> None:
    from sklearn.calibration import calibration_curve

    margin, outcome = world(5_003)
    probability = Calibrator().probabilities(margin)
    ours = reliability_bins(outcome, probability)
    share, mean = calibration_curve(outcome, probability, n_bins=10, strategy="quantile")
    assert ours["rows"].sum() == 5_003
    assert ours["rows"].max() - ours["rows"].min() <= 1
    # Its edges lie between rows, ours on them: a row at an edge may stand one bin further.
    np.testing.assert_allclose(ours["share_positive"], share, atol=5e-3)
    np.testing.assert_allclose(ours["mean_probability"], mean, atol=5e-3)


def test_equal_probabilities_share_a_bin() -> None:
    bins = reliability_bins([0, 0, 1, 1, 0, 1], [0.1, 0.1, 0.1, 0.8, 0.8, 0.8], bins=3)
    assert bins.rows() == [(1, 3, 1, pytest.approx(0.1), pytest.approx(1 / 3)), (2, 3, 2, pytest.approx(0.8), 2 / 3)]
    assert expected_calibration_error([0, 0, 1, 1, 0, 1], [0.1, 0.1, 0.1, 0.8, 0.8, 0.8]) == pytest.approx(
        (7 / 30 + 2 / 15) / 2
    )


@given(st.lists(st.integers(0, 10**7) | st.none(), min_size=1))
def test_confidence_lies_in_0_to_1_and_never_falls_with_more_events(counts: list[int | None]) -> None:
    sorted_counts = np.array(sorted(0 if count is None else count for count in counts), dtype=float)
    values = confidence(sorted_counts, [0.2] * len(sorted_counts))
    assert ((values >= 0) & (values < 1)).all()
    assert (np.diff(values) >= 0).all()


def test_confidence_is_what_its_definition_says() -> None:
    assert confidence([0, 10, 30, 100], [0.0] * 4) == pytest.approx([0, 0.276, 0.482, 0.685], abs=1e-3)
    # Half of what ten times the odds are, and all of it; nothing was ever fitted.
    half = np.log(10) / 2 / 1.96
    assert confidence([100] * 3, [half, 2 * half, np.inf]) == pytest.approx([0.685 / 2, 0, 0], abs=1e-3)
    assert confidence([np.nan], [0.1])[0] == 0


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_the_error_of_a_probability_is_how_far_it_moves_from_one_drawing_to_the_next(method: Choice) -> None:
    asked = np.array([-4.0, -2.0, 0.0])
    fits = [fit_calibrator(*world(2_000, seed=seed), choice=method) for seed in range(60)]
    probabilities = np.array([fit.probabilities(asked) for fit in fits])
    moved = np.log(probabilities / (1 - probabilities)).std(axis=0)
    said = np.median([fit.errors(asked) for fit in fits], axis=0)
    # Between its levels the isotonic curve is surer than each of them, and its levels are not drawn beforehand.
    least, most = (0.7, 1.4) if method == "sigmoid" else (0.4, 3.0)
    assert ((least < said / moved) & (said / moved < most)).all(), (said, moved)


def test_where_few_rows_are_alike_less_is_known() -> None:
    fitted = fit_calibrator(*world(2_000), choice="sigmoid")
    near, far = fitted.errors([-2.0, 8.0])
    assert near < far / 2
    assert fitted.errors([-2.0])[0] > fit_calibrator(*world(20_000), choice="sigmoid").errors([-2.0])[0] * 2
    assert Calibrator().errors([0.0])[0] == np.inf
    assert Calibrator.from_dict(fitted.to_dict()) == fitted
