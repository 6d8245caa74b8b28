"""The training set: mature days far enough apart, and the rules' score beside the features."""

from datetime import date, timedelta
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gesture_assets.errors import TrainingRefused
from gesture_assets.models.training_set import training_advice, training_days, with_rule_score
from gesture_assets_tests.events_by_hand import lazy

FIRST = date(2026, 1, 1)
LIVE = [FIRST + timedelta(days=n) for n in range(90)]
KNOWN_UNTIL = LIVE[-1]
quick = settings(max_examples=40, deadline=None, derandomize=True, database=None)


def test_the_newest_mature_day_comes_first_and_the_others_a_fortnight_apart() -> None:
    chosen = training_days(LIVE, known_until=KNOWN_UNTIL)
    assert chosen == tuple(FIRST + timedelta(days=n) for n in (3, 17, 31, 45, 59))
    assert training_days(LIVE, known_until=KNOWN_UNTIL, at_most=3) == chosen[-3:]


def test_where_a_day_is_missing_the_next_older_one_stands_in() -> None:
    gap = [day for day in LIVE if day != FIRST + timedelta(days=45)]
    chosen = training_days(gap, known_until=KNOWN_UNTIL, at_most=3)
    assert chosen == tuple(FIRST + timedelta(days=n) for n in (30, 44, 59))


@quick
@given(
    st.sets(st.integers(0, 200), max_size=120),
    st.integers(0, 220),
    st.integers(1, 60),
    st.integers(1, 30),
    st.integers(1, 9),
)
def test_days_are_live_mature_in_order_and_far_enough_apart(
    live: set[int], until: int, horizon: int, apart: int, at_most: int
) -> None:
    days = {FIRST + timedelta(days=n) for n in live}
    known_until = FIRST + timedelta(days=until)
    chosen = training_days(days, known_until=known_until, horizon=horizon, apart=apart, at_most=at_most, at_least=0)
    assert set(chosen) <= days
    assert all(day + timedelta(days=horizon) <= known_until for day in chosen)
    assert all((later - earlier).days >= apart for earlier, later in pairwise(chosen))
    assert len(chosen) <= at_most
    if chosen:
        assert chosen[-1] == max(day for day in days if day + timedelta(days=horizon) <= known_until)
        earlier = [day for day in days if (chosen[0] - day).days >= apart]
        assert len(chosen) == at_most or not earlier


def test_too_short_a_history_is_refused_with_the_command_that_builds_the_missing_days() -> None:
    with pytest.raises(TrainingRefused, match="too few days") as refused:
        training_days(LIVE[:58], known_until=LIVE[57])
    assert refused.value.expected.startswith("3 days with features, 14 or more apart, up to 2026-01-28")
    assert refused.value.found == "2026-01-14, 2026-01-28"
    # The history begins on the first of January: what is missing cannot be run, and when there is enough is known.
    assert refused.value.next_step.startswith("gesture train --date 2026-02-28, when that day is live")
    with pytest.raises(TrainingRefused) as refused:  # of a day in the past: that one is live by now
        training_days(LIVE, known_until=LIVE[20])
    assert refused.value.next_step.startswith("gesture train --date 2026-02-28  (")
    older = [FIRST - timedelta(days=40), *LIVE[5:58]]
    with pytest.raises(TrainingRefused) as refused:
        training_days(older, known_until=LIVE[57], at_least=4)
    assert refused.value.next_step.startswith("gesture run --from 2025-12-17 --to 2026-01-28")
    assert training_days(LIVE[:58], known_until=LIVE[57], at_least=2) == (date(2026, 1, 14), date(2026, 1, 28))


def test_the_advice_to_train_is_one_that_is_not_refused() -> None:
    assert training_advice(LIVE) == "gesture train"
    assert training_advice(LIVE[:58]).startswith("gesture train --date 2026-02-28, when that day is live")
    assert training_advice(LIVE[:1], horizon=7).startswith("gesture train --date 2026-02-05, when that day is live")
    # What was refused for something else than days is not advised once more before there can be more buyers.
    refused = training_advice(LIVE, refused_on=LIVE[-14])
    assert refused.startswith(f"gesture train --date {KNOWN_UNTIL + timedelta(days=1)}, when that day is live")
    assert training_advice(LIVE, refused_on=LIVE[-15]) == "gesture train"


def test_the_rule_score_of_a_night_is_joined_as_in_training() -> None:
    features = pl.DataFrame({"as_of_date": [FIRST] * 3, "user_id": ["a", "b", "c"], "visit_count": [1, 2, 3]})
    scores = pl.DataFrame({"as_of_date": [FIRST] * 2, "user_id": ["c", "a"], "score": [30.5, 10.5]})
    night = with_rule_score(lazy(features), lazy(scores)).collect("polars").to_native()
    assert isinstance(night, pl.DataFrame)
    assert night.sort("user_id")["rule_score"].to_list() == [10.5, None, 30.5]
