"""The decision to retrain: every trigger alone, on both sides of its boundary, and what stops them all."""

from dataclasses import replace
from datetime import date, datetime, timedelta

import narwhals as nw
import polars as pl
import pytest

from gesture_assets.monitoring.retraining import (
    TRIGGERS,
    RetrainingState,
    Thresholds,
    decide_retraining,
    new_feedback,
)
from gesture_assets.settings import load_settings
from gesture_assets.warehouse.warehouse import connect

NOW = datetime(2026, 3, 10, 2, 0)
FIGURES = {"f1": 0.60, "roc_auc": 0.85, "precision": 0.75}
# A champion of yesterday, nothing new, nothing worse, nothing drifted.
QUIET = RetrainingState(NOW, NOW - timedelta(days=1), 0, 100, FIGURES, FIGURES)
WEEK = timedelta(days=7)


def decided(state: RetrainingState, thresholds: Thresholds | None = None) -> tuple[bool, list[str]]:
    decision = decide_retraining(state, thresholds)
    return decision.should_retrain, [code for code, _ in decision.reasons]


def fallen(metric: str, by: float) -> RetrainingState:
    return replace(QUIET, current=FIGURES | {metric: FIGURES[metric] - by})


def test_a_young_model_that_does_well_stays() -> None:
    decision = decide_retraining(QUIET)
    assert (decision.should_retrain, decision.reasons, decision.blocked_by) == (False, (), ())


TRUTH = [
    ("7 days", replace(QUIET, trained_at=NOW - WEEK), None),
    ("7 days and a second", replace(QUIET, trained_at=NOW - WEEK - timedelta(seconds=1)), "model_age"),
    ("49 new outcomes", replace(QUIET, new_feedback=49), None),
    ("50 new outcomes", replace(QUIET, new_feedback=50), "new_feedback"),
    *(
        (f"{metric} falls by {by}", fallen(metric, by), trigger if by > 0.05 else None)
        for metric, trigger in (("f1", "f1_drop"), ("roc_auc", "auc_drop"), ("precision", "precision_drop"))
        for by in (-0.2, 0.0499, 0.05, 0.0501)
    ),
    ("drift in a tenth less a bit", replace(QUIET, drifted={"a": 0.06, "b": 0.0399}), None),
    ("drift in a tenth", replace(QUIET, drifted={"a": 0.07, "b": 0.03}), "drift"),
    ("drift in what the model ignores", replace(QUIET, drifted={"a": 0.0}), None),
    ("no champion", replace(QUIET, trained_at=None), "no_champion"),
]


@pytest.mark.parametrize(("state", "trigger"), [row[1:] for row in TRUTH], ids=[row[0] for row in TRUTH])
def test_each_trigger_alone_fires_beyond_its_boundary_only(state: RetrainingState, trigger: str | None) -> None:
    assert decided(state) == (trigger is not None, [trigger] if trigger else [])
    # One sample less than is needed: never, and what called for it is told all the same.
    few = decide_retraining(replace(state, training_samples=99))
    assert not few.should_retrain
    assert [code for code, _ in few.reasons] == ([trigger] if trigger else [])
    assert few.blocked_by == (("too_few_samples", "There are 99 samples to learn from, and 100 are needed."),)


def test_a_difference_that_binary_fractions_make_is_no_fall() -> None:
    assert 0.75 - 0.70 > 0.05
    assert decided(replace(QUIET, current=FIGURES | {"precision": 0.70})) == (False, [])


def test_what_is_not_known_triggers_nothing() -> None:
    assert decided(replace(QUIET, current={})) == (False, [])
    assert decided(replace(QUIET, baseline={})) == (False, [])
    assert decided(replace(QUIET, current=FIGURES | {"f1": float("nan")})) == (False, [])


def test_all_triggers_together_are_told_in_order_and_with_their_numbers() -> None:
    state = replace(
        QUIET,
        trained_at=NOW - timedelta(days=9, hours=6),
        new_feedback=61,
        drifted={"visits": 0.3, "country": 0.12},
        current={"f1": 0.5, "roc_auc": 0.7, "precision": 0.6},
    )
    decision = decide_retraining(state)
    assert decision.should_retrain
    assert [code for code, _ in decision.reasons] == list(TRIGGERS[1:])
    assert [sentence for _, sentence in decision.reasons] == [
        "The model is 9 days, 6:00:00 old; 7 days are allowed.",
        "61 people have an outcome that it does not know; 50 are enough.",
        "f1 fell by 0.1000, from 0.6000 to 0.5000; 0.05 is allowed.",
        "roc_auc fell by 0.1500, from 0.8500 to 0.7000; 0.05 is allowed.",
        "precision fell by 0.1500, from 0.7500 to 0.6000; 0.05 is allowed.",
        "country, visits drifted, which make 42% of what it goes by.",
    ]


def test_without_a_champion_nothing_else_is_asked() -> None:
    assert decided(replace(QUIET, trained_at=None, new_feedback=500)) == (True, ["no_champion"])


def test_a_setting_changes_the_decision() -> None:
    three_days = replace(QUIET, trained_at=NOW - timedelta(days=4))
    assert decided(three_days) == (False, [])
    thresholds = Thresholds.of(load_settings({"RETRAIN_INTERVAL_DAYS": "3"}))
    assert decided(three_days, thresholds) == (True, ["model_age"])
    assert Thresholds.of(load_settings({})) == Thresholds()


TRAINED_ON = date(2026, 3, 1)
OUTCOMES = pl.DataFrame(
    [
        ("known for long", TRAINED_ON, 0),
        ("known for long", date(2026, 3, 5), 0),
        ("matured since", date(2026, 3, 2), 0),
        ("matured since", date(2026, 3, 3), 0),
        ("bought since", TRAINED_ON, 0),
        ("bought since", date(2026, 3, 4), 1),
        ("had bought", TRAINED_ON, 1),
        ("had bought", date(2026, 3, 4), 1),
    ],
    schema={"person_id": pl.String, "matures_on": pl.Date, "label": pl.Int16},
    orient="row",
)


def test_people_are_new_feedback_once_and_only_with_something_new() -> None:
    assert new_feedback(nw.from_native(OUTCOMES.lazy()), trained_on=TRAINED_ON) == 2
    assert new_feedback(nw.from_native(OUTCOMES.lazy()), trained_on=date(2026, 3, 5)) == 0
    assert new_feedback(nw.from_native(OUTCOMES.clear().lazy()), trained_on=TRAINED_ON) == 0
    with connect() as connection:
        connection.register("outcomes", OUTCOMES.to_arrow())
        assert new_feedback(nw.from_native(connection.sql("from outcomes")), trained_on=TRAINED_ON) == 2
