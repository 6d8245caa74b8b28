"""The tails are SciPy's to the last bit, found in its module alone or through the package."""

import sys
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from gesture_assets.compat import scipy_tails
from gesture_assets.compat.scipy_tails import hypergeometric_tails, kolmogorov_smirnov_tail
from gesture_assets.monitoring.statistics import Moments, benjamini_hochberg, chi_square, welch_p_value


@pytest.fixture(autouse=True)
def found_anew() -> Iterator[None]:
    """No test uses the function that another has found."""
    scipy_tails._kolmogorov.cache_clear()
    yield
    scipy_tails._kolmogorov.cache_clear()


@pytest.mark.parametrize("name", [scipy_tails.KOLMOGOROV, "of_another_version"])
@pytest.mark.parametrize("rows", [1, 2, 100, 140, 141, 1_000, 100_001])
def test_the_tail_of_kolmogorov_and_smirnov_is_scipy_s(rows: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scipy_tails, "KOLMOGOROV", name)
    shares = [0, 0.5 / rows, 1 / rows, *(np.array([0.3, 0.7, 1.2, 2.5]) / np.sqrt(rows)), 0.5, 0.9, 1]
    assert [kolmogorov_smirnov_tail(share, rows) for share in shares] == stats.kstwo.sf(shares, rows).tolist()


def test_its_function_is_the_same_of_the_module_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    through_package = kolmogorov_smirnov_tail(0.05, 500)
    for name in [name for name in sys.modules if name.startswith("scipy.stats")]:
        monkeypatch.delitem(sys.modules, name)
    scipy_tails._kolmogorov.cache_clear()
    assert kolmogorov_smirnov_tail(0.05, 500) == through_package
    assert "scipy.stats" not in sys.modules
    assert "scipy.stats._ksstats" not in sys.modules


@pytest.mark.parametrize("names", [scipy_tails.HYPERGEOMETRIC, ("of_another", "version")])
def test_the_tails_of_drawing_without_putting_back_are_scipy_s(
    names: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scipy_tails, "HYPERGEOMETRIC", names)
    random = np.random.default_rng(3)
    draws, others = random.choice([0, 1, 2, 50, 10_000], (2, 300))
    drawn, marked_others = random.integers(0, draws + 1), random.integers(0, others + 1)
    population = (draws + others, drawn + marked_others, draws)
    expected = stats.hypergeom.cdf(drawn, *population), stats.hypergeom.sf(drawn - 1, *population)
    for ours, theirs in zip(hypergeometric_tails(drawn, *population), expected, strict=True):
        assert np.array_equal(ours, theirs, equal_nan=True)


def test_the_tests_made_of_them_are_scipy_s_too() -> None:
    random = np.random.default_rng(4)
    for _ in range(200):
        then, now = (Moments(*random.normal(3, 1, 2).tolist(), size) for size in (30, int(random.integers(2, 90))))
        test = stats.ttest_ind_from_stats(
            now.mean, now.deviation, now.size, then.mean, then.deviation, then.size, equal_var=False
        )
        assert welch_p_value(then, now) == test.pvalue
        counts = random.integers(0, 40, (2, 5)) + 1
        statistic, p_value = chi_square(*counts)
        assert p_value == stats.chi2.sf(statistic, 4)
        p_values = random.random(20) ** 4
        assert benjamini_hochberg(p_values.tolist()) == stats.false_discovery_control(p_values).tolist()
