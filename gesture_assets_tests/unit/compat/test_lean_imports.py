"""What stands in for a module is that module for whoever uses it, and leaves no trace."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gesture_assets.compat.lean_imports import absent, deferred

# What a night with a champion imports and asks, and what may still be asked afterwards.
NIGHT = """
import sys, duckdb, numpy
from gesture_assets.compat.lean_imports import UNUSED_BY_GX, deferred
from gesture_assets.models.parameters import Parameters
from gesture_assets.models.training import fit_booster
from gesture_assets.monitoring import statistics
with deferred(*UNUSED_BY_GX):
    import gesture_assets.warehouse.suites
rows = numpy.arange(20, dtype="float32").reshape(10, 2)
fit_booster(rows, rows[:, 0] % 2, Parameters())
assert 0 < statistics.ks_p_value(0.1, 300, 400) < 1
assert statistics.exact_p_values([(1, 10, 2, 20)]) and statistics.chi_square([1, 2], [3, 4])
assert not {"sklearn", "scipy.stats", "altair"} & set(sys.modules), "imported all the same"

from sklearn.isotonic import IsotonicRegression
from scipy.stats import kstwo
from great_expectations.expectations.core import expect_column_kl_divergence_to_be_less_than as of_gx
assert of_gx.stats.entropy([1.0]) == 0
"""


@pytest.fixture
def heavy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module that nobody has imported yet."""
    (tmp_path / "heavy_module.py").write_text("answer = 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "heavy_module"
    sys.modules.pop("heavy_module", None)


def test_a_deferred_module_is_imported_when_something_of_it_is_asked_for(heavy: str) -> None:
    with deferred(heavy):
        module = __import__(heavy)
        assert "answer" not in vars(module)
    assert heavy not in sys.modules
    assert module.answer == 42
    assert vars(sys.modules[heavy])["answer"] == 42


def test_a_deferred_module_can_be_asked_while_it_is_deferred(heavy: str) -> None:
    with deferred(heavy):
        assert __import__(heavy).answer == 42
    assert vars(sys.modules[heavy])["answer"] == 42


def test_an_absent_module_can_be_imported_afterwards(heavy: str) -> None:
    with absent(heavy), pytest.raises(ImportError):
        __import__(heavy)
    assert __import__(heavy).answer == 42


def test_a_module_that_is_there_already_stays(heavy: str) -> None:
    before = __import__(heavy)
    with absent(heavy), deferred(heavy):
        assert __import__(heavy) is before
    assert sys.modules[heavy] is before


@pytest.mark.slow
def test_a_night_with_a_champion_needs_neither_scikit_learn_nor_scipy_s_statistics() -> None:
    done = subprocess.run([sys.executable, "-c", NIGHT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
