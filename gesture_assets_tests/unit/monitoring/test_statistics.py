"""The statistics are the field's own: golden numbers, SciPy's to the last digits, and what must hold of any counts."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, fisher_exact, ks_2samp, wasserstein_distance

from gesture_assets.monitoring.statistics import (
    benjamini_hochberg,
    chi_square,
    distances,
    exact_p_values,
    jensen_shannon,
    ks_p_value,
    population_stability_index,
    verdict,
)

few = settings(max_examples=60, deadline=None, derandomize=True, database=None)
histograms = st.integers(1, 12).flatmap(
    lambda size: st.tuples(*[st.lists(st.integers(0, 1000), min_size=size, max_size=size).filter(any)] * 2)
)
samples = st.lists(st.floats(-1e6, 1e6) | st.integers(-3, 3).map(float), min_size=3, max_size=80)


@pytest.mark.parametrize(
    ("current", "expected"), [((0.40, 0.30, 0.20, 0.10), 0.228217), ((0.45, 0.30, 0.15, 0.10), 0.315200)]
)
def test_the_psi_is_the_golden_one(current: tuple[float, ...], expected: float) -> None:
    assert population_stability_index([0.25] * 4, current) == pytest.approx(expected, abs=5e-7)


def test_an_empty_bin_costs_a_finite_amount() -> None:
    # 0.5 against 0.0001 and 0.5 against 1, by hand.
    by_hand = 0.4999 * math.log(5000) + 0.5 * math.log(2)
    assert population_stability_index([5, 5], [0, 10]) == pytest.approx(by_hand, rel=1e-12)


@few
@given(histograms)
def test_a_psi_knows_no_direction_and_is_zero_of_equal_shares_only(both: tuple[list[int], list[int]]) -> None:
    reference, current = both
    psi = population_stability_index(reference, current)
    assert psi == pytest.approx(population_stability_index(current, reference), rel=1e-12)
    assert psi >= 0
    assert population_stability_index(reference, [3 * count for count in reference]) == pytest.approx(0, abs=1e-15)


@few
@given(histograms)
def test_jensen_shannon_is_scipy_s(both: tuple[list[int], list[int]]) -> None:
    ours, theirs = jensen_shannon(*both), jensenshannon(*both)
    assert ours == pytest.approx(theirs, abs=1e-7)  # the root of a rounding error, where both are alike
    assert ours**2 == pytest.approx(theirs**2, abs=1e-14)
    assert 0 <= ours <= math.sqrt(math.log(2)) + 1e-12


@few
@given(samples, samples)
def test_distances_from_counts_are_scipy_s_from_rows(reference: list[float], current: list[float]) -> None:
    counted = [np.unique(np.array(rows), return_counts=True) for rows in (reference, current)]
    apart = distances(*counted[0], *counted[1])
    theirs: Any = ks_2samp(reference, current, method="asymp")
    assert apart.ks == pytest.approx(theirs.statistic, abs=1e-12)
    assert apart.wasserstein == pytest.approx(wasserstein_distance(reference, current), rel=1e-12, abs=1e-12)
    assert ks_p_value(apart.ks, len(reference), len(current)) == pytest.approx(theirs.pvalue, abs=1e-12)
    assert apart.clipped == apart.wasserstein


def test_clipped_values_count_as_far_as_the_nearer_end() -> None:
    reference = np.array([0.0]), np.array([4])
    current = np.array([0.0, 1000.0]), np.array([3, 1])
    apart = distances(*reference, *current, low=-10, high=10)
    assert (apart.ks, apart.wasserstein, apart.clipped) == (0.25, 250.0, 2.5)


def test_chi_square_is_scipy_s_and_says_nothing_of_one_column() -> None:
    reference, current = [30, 14, 0, 6], [20, 20, 0, 12]
    theirs: Any = chi2_contingency([[30, 14, 6], [20, 20, 12]], correction=False)
    assert chi_square(reference, current) == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-12)
    assert chi_square(reference, current, design_effect=2)[0] == pytest.approx(theirs.statistic / 2, rel=1e-12)
    assert chi_square([5, 0], [7, 0]) == (0.0, 1.0)
    assert chi_square([5, 1], [0, 0]) == (0.0, 1.0)


def test_an_exact_p_value_is_twice_the_smaller_tail() -> None:
    one_sided: Any = fisher_exact([[3, 57], [0, 900]], alternative="greater")
    p_values = exact_p_values([(3, 60, 0, 900), (5, 50, 50, 500), (0, 0, 0, 0)])
    assert p_values == [pytest.approx(2 * one_sided.pvalue, rel=1e-9), 1.0, 1.0]
    assert exact_p_values([]) == []


def test_what_was_not_tested_has_no_q_value_and_counts_for_nothing() -> None:
    # 0.01 × 3/1, 0.02 × 3/2 and 0.5 × 3/3; the first may not exceed the second.
    assert benjamini_hochberg([0.01, None, 0.02, 0.5]) == pytest.approx([0.03, None, 0.03, 0.5])
    assert benjamini_hochberg([None]) == [None]


@pytest.mark.parametrize(
    ("effect", "q_value", "is_enough", "expected"),
    [
        (9.0, 1e-9, False, "too_few_rows"),
        (9.0, 0.02, True, "stable"),
        (0.99, 1e-9, True, "stable"),
        (1.0, 0.01, True, "moderate"),
        (2.5, 1e-9, True, "moderate"),
        (2.51, 1e-9, True, "drift"),
        (9.0, None, True, "stable"),
    ],
)
def test_a_verdict_needs_rows_certainty_and_an_effect(
    effect: float, q_value: float | None, is_enough: bool, expected: str
) -> None:
    assert verdict(effect, q_value, is_enough=is_enough) == expected


def test_histograms_that_do_not_fit_are_refused_with_their_lengths() -> None:
    with pytest.raises(ValueError, match="2 bins and 3"):
        population_stability_index([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="3 and 0 in all"):
        jensen_shannon([1, 2], [0, 0])
