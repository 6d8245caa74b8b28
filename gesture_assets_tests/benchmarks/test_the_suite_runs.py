"""The benchmarks at tiny sizes: they run, compare equals, and write what they found. Figures are not judged here."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run_suite(out: Path, *arguments: str) -> dict[str, Any]:
    """The parts that a run of the suite wrote to `out`, by name."""
    command = [sys.executable, "-m", "gesture_assets_tests.benchmarks", "--out", str(out), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {part["part"]: part for part in json.loads(out.read_text())["parts"]}


@pytest.mark.slow
def test_a_night_is_compared_with_the_same_tables_made_by_hand(tmp_path: Path) -> None:
    sizes = ("--events", "4000", "--users", "200", "--days", "5")
    part = run_suite(tmp_path / "bench.json", *sizes, "--only", "night", "--keep", str(tmp_path / "worlds"))["night"]
    # The warehouse's optin_quarter is one too small in the first month of a quarter: 1 ÷ 3 becomes a DECIMAL in SQL.
    assert part["figures"]["differences"] in ({}, {"user_features": ["optin_quarter"]})
    shares = part["figures"]["night"]["parts"]
    assert {"audit", "hashing", "staging", "promotion", "publishing"} <= set(shares)
    assert sum(shares.values()) == pytest.approx(part["figures"]["night"]["seconds"])
    ratio = part["figures"]["night"]["seconds"] / part["figures"]["by_hand"]["seconds"]
    assert part["limits"][0]["found"] == pytest.approx(ratio)
    assert part["limits"][0]["holds"] == (ratio <= 1.5)


@pytest.mark.slow
def test_files_to_scores_are_compared_with_pandas(tmp_path: Path) -> None:
    part = run_suite(tmp_path / "bench.json", "--events", "2000", "--users", "100", "--only", "pandas")["pandas"]
    assert part["figures"]["pandas"]["users"] > 50
    assert part["figures"]["from_csv"]["peak_bytes"] > 50_000_000


def test_an_unknown_part_is_refused_by_name() -> None:
    command = [sys.executable, "-m", "gesture_assets_tests.benchmarks", "--only", "nights"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "unknown parts nights" in done.stderr
