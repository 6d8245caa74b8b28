"""Cross-fitting: nobody is judged by a model that has seen them or their day; calibrated on what such models say."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.models.cross_fitting import OutOfFold, calibrated, cross_calibrated, out_of_fold
from gesture_assets.models.splits import crossed_split
from gesture_assets.models.training import Model, train

DAYS = [date(2026, 1, 5) + timedelta(days=14 * n) for n in range(4)]


def world(people: int = 600, seed: int = 4) -> pl.DataFrame:
    """Everybody on four days; visits speak for a purchase."""
    random = np.random.default_rng(seed)
    rows = people * len(DAYS)
    visits = random.poisson(3, rows)
    frame = pl.DataFrame(
        {
            PARTITION: [day for day in DAYS for _ in range(people)],
            "user_id": [f"u{number:04}" for number in range(people)] * len(DAYS),
            "visit_count": visits,
            "primary_device": random.choice(["mobile", "desktop"], rows),
            "label": (random.random(rows) < 1 / (1 + np.exp(3 - 0.5 * visits))).astype(np.int16),
        }
    ).with_columns(person_id="user_id")
    split = crossed_split(frame, DAYS, fewest=150)
    return split.rename({PARTITION: "feature_date"}).sort("feature_date", "user_id")


FRAME = world()


def fit(rows: pl.DataFrame) -> Model:
    return train(rows, "label", ["visit_count"], min_rows=1)


def test_each_judged_row_is_asked_of_a_model_of_others_on_earlier_days() -> None:
    seen: list[pl.DataFrame] = []

    def noting(rows: pl.DataFrame) -> Model:
        seen.append(rows)
        return fit(rows)

    judged = out_of_fold(FRAME, noting)
    assert judged.rows.equals(FRAME.filter(pl.col("split") != "train"))
    days = judged.rows["feature_date"].unique()
    assert len(seen) == 5 * len(days) == 10  # the last day alone holds too few buyers
    for rows in seen:
        assert rows["fold"].n_unique() == 4
        assert rows["feature_date"].max() < days.max()  # type: ignore[operator]
    (row,) = judged.rows[[17]].rows(named=True)
    others = FRAME.filter(pl.col("feature_date") < row["feature_date"], pl.col("fold") != row["fold"])
    assert judged.margins[17] == fit(others).margins(judged.rows[[17]])[0]


def test_the_label_of_a_judged_person_teaches_nobody_who_judges_them() -> None:
    somebody = FRAME["person_id"][0]
    flipped = FRAME.with_columns(
        label=pl.when(pl.col("person_id") == somebody).then(1 - pl.col("label")).otherwise(pl.col("label"))
    )
    is_theirs = (FRAME.filter(pl.col("split") != "train")["person_id"] == somebody).to_numpy()
    before, after = (out_of_fold(frame, fit).margins for frame in (FRAME, flipped))
    assert np.array_equal(before[is_theirs], after[is_theirs])
    assert not np.array_equal(before, after)


def test_a_calibrated_model_expects_as_many_buyers_as_came() -> None:
    judged = out_of_fold(FRAME, fit)
    model = calibrated(fit(FRAME.filter(pl.col("split") != "test")), judged)
    expected = model.probabilities_of(judged.margins, judged.scopes).sum()
    assert expected == pytest.approx(judged.rows["label"].sum(), rel=0.03)
    honest = cross_calibrated(model, judged)
    assert honest.sum() == pytest.approx(judged.rows["label"].sum(), rel=0.1)
    assert not np.array_equal(honest, model.probabilities_of(judged.margins, judged.scopes))


def test_a_judged_person_s_outcome_does_not_calibrate_their_own_honest_probability() -> None:
    judged = out_of_fold(FRAME, fit)
    model = fit(FRAME)
    fold = judged.rows["fold"][0]
    inside = pl.col("fold") == fold
    others = judged.rows.with_columns(label=pl.when(inside).then(1 - pl.col("label")).otherwise(pl.col("label")))
    changed = OutOfFold(others, judged.margins, judged.scopes)
    own = (judged.folds == fold).to_numpy()
    before, after = (cross_calibrated(model, one, choice="sigmoid") for one in (judged, changed))
    assert np.array_equal(before[own], after[own])
    assert not np.array_equal(before[~own], after[~own])


def test_a_segment_without_buyers_is_calibrated_with_everybody() -> None:
    from gesture_assets.models.segments import with_members

    def divided(rows: pl.DataFrame) -> Model:
        return with_members(fit(rows), ["primary_device=mobile"], rows)

    judged = out_of_fold(FRAME, divided)
    assert set(judged.scopes) == {"global", "primary_device=mobile"}
    poor = judged.rows.with_columns(
        label=pl.when(pl.col("primary_device") == "mobile").then(pl.lit(0, pl.Int16)).otherwise(pl.col("label"))
    )
    model = calibrated(divided(FRAME), OutOfFold(poor, judged.margins, judged.scopes))
    assert model.members["primary_device=mobile"].calibrator.method != "none"
    alone = calibrated(divided(FRAME), judged)
    assert alone.members["primary_device=mobile"].calibrator != alone.calibrator
