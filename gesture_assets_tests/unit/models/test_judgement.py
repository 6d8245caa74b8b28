"""Whether a candidate is to serve: better beyond noise, well behaved, and within the budget of churn."""

import numpy as np
import polars as pl
import pytest

from gesture_assets.models.behaviour import Behaviour
from gesture_assets.models.evaluation import Comparison, compare
from gesture_assets.models.judgement import decide
from gesture_assets.monitoring.score_changes import Churn, churn

RANDOM = np.random.default_rng(7)
OUTCOME = pl.Series((RANDOM.random(2_000) < 0.3).astype(np.int64))
NOISE = RANDOM.random(2_000)
BETTER = 0.5 * NOISE + 0.4 * OUTCOME.to_numpy()
BANDS = {"high": 70.0, "medium": 40.0}


def compared(champion: np.ndarray, challenger: np.ndarray) -> Comparison:
    return compare(OUTCOME, champion, challenger)


def users(score: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame({"user_id": [f"u{n}" for n in range(len(score))], "score": score})


def scaled(times: float) -> Churn:
    score = 1 + 60 * NOISE
    return churn(users(score), users(np.clip(score * times, 1, 100)), BANDS)


def test_the_first_model_serves_when_it_behaves() -> None:
    assert decide([], None, None) == (True, "no model served before")


def test_a_better_model_serves_and_an_equal_one_does_not() -> None:
    promoted, because = decide([], compared(NOISE, BETTER), "v1", churned=scaled(1.0))
    assert promoted
    assert because.startswith("better: ")
    assert decide([], compared(BETTER, BETTER), "v1")[0] is False
    assert decide([], compared(BETTER, NOISE), "v1")[0] is False


def test_a_better_model_whose_scale_is_another_is_held_for_approval() -> None:
    promoted, because = decide([], compared(NOISE, BETTER), "v1", churned=scaled(1.8))
    assert not promoted
    assert because.startswith("better, and held for approval (gesture models activate): ")
    assert "beyond the budget" in because
    assert decide([], compared(NOISE, BETTER), "v1", churned=scaled(1.8), forced="seen")[0]


@pytest.mark.parametrize("forced", ["", "I insist"])
def test_a_model_that_misbehaves_never_serves(forced: str) -> None:
    broken = Behaviour(
        "more_requests_never_lower_a_score", passed=False, observed=0.3, limit=0.0, severity="ERROR",
        because="3 of 10 fell", rows=10,
    )  # fmt: skip
    promoted, because = decide([broken], compared(NOISE, BETTER), "v1", forced=forced)
    assert not promoted
    assert "more_requests_never_lower_a_score" in because
