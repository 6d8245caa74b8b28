"""The curve of the rules' points: fitted on outcomes, blended by how many buyers there are, told rule by rule."""

import numpy as np
import polars as pl
import pytest

from gesture_assets.models.parameters import BLEND, RECIPES
from gesture_assets.models.reasons import RULE, reasons, sentences
from gesture_assets.models.rule_curve import BUYERS_OF_HALF, RULE_SCORE, RuleCurve, fit_rule_curve
from gesture_assets.models.training import Model, train

SLOPE, INTERCEPT = 1.5, -5.0


def world(rows: int, seed: int = 3) -> pl.DataFrame:
    """Users who buy by their points, and a little by their visits, of which the points know nothing."""
    random = np.random.default_rng(seed)
    points, visits = random.gamma(2, 10, rows), random.poisson(3, rows)
    margin = SLOPE * np.log1p(points) + INTERCEPT + 0.4 * (visits - 3)
    return pl.DataFrame(
        {
            "user_id": [f"u{number}" for number in range(rows)],
            RULE_SCORE: pl.Series(points).set(pl.Series(random.random(rows) < 0.02), None),
            "visit_count": visits,
            "bought": random.random(rows) < 1 / (1 + np.exp(-margin)),
        }
    )


FRESH = world(400, 9)


@pytest.fixture(scope="module")
def model() -> Model:
    return train(world(4_000), "bought", [RULE_SCORE, "visit_count"], parameters=RECIPES[BLEND], is_blended=True)


def test_the_curve_finds_the_odds_behind_the_points() -> None:
    random = np.random.default_rng(1)
    points = random.gamma(2, 10, 50_000)
    outcome = random.random(50_000) < 1 / (1 + np.exp(-(SLOPE * np.log1p(points) + INTERCEPT)))
    curve = fit_rule_curve(points, outcome, is_blended=True)
    assert (curve.slope, curve.intercept) == pytest.approx((SLOPE, INTERCEPT), abs=0.15)
    assert curve.margins([None, -3.0, 0.0]).tolist() == [curve.intercept] * 3


@pytest.mark.parametrize(("buyers", "weight"), [(10, 20 / 21), (BUYERS_OF_HALF, 0.5), (1_800, 0.1)])
def test_the_rules_weigh_the_less_the_more_buyers_are_known(buyers: int, weight: float) -> None:
    outcome = np.repeat([1, 0], [buyers, 2_000])
    points = np.linspace(50, 1, len(outcome))
    assert fit_rule_curve(points, outcome, is_blended=True).weight == pytest.approx(weight)
    assert fit_rule_curve(points, outcome, is_blended=False).weight == 0


def test_a_margin_is_that_of_the_trees_and_the_curve_by_weight(model: Model) -> None:
    assert model.curve
    plain = train(world(4_000), "bought", [RULE_SCORE, "visit_count"], parameters=RECIPES[BLEND])
    assert plain.curve
    assert plain.blend is None
    by_hand = (1 - model.curve.weight) * plain.margins(FRESH) + model.curve.weight * model.curve.margins(
        FRESH[RULE_SCORE].to_numpy()
    )
    assert np.abs(model.margins(FRESH) - by_hand).max() < 1e-5
    assert np.array_equal(model.margins(FRESH)[7:8], model.margins(FRESH[7:8]))


def test_a_model_keeps_its_curve(model: Model, tmp_path) -> None:
    model.save(tmp_path)
    again = Model.load(tmp_path)
    assert again.curve == model.curve
    assert again.fingerprint == model.fingerprint
    assert np.array_equal(again.margins(FRESH), model.margins(FRESH))


def test_rows_without_points_have_no_curve() -> None:
    assert train(world(400).drop(RULE_SCORE), "bought", ["visit_count"]).curve is None
    left_out = train(world(400), "bought", ["visit_count"], is_blended=True)
    assert isinstance(left_out.curve, RuleCurve)
    assert left_out.blend is None  # it says what points mean of whom the model does not score, and no more


def by_rule() -> pl.DataFrame:
    """Three quarters of everybody's points by asking, a quarter by reading; nothing of whom nothing is known."""
    known = FRESH.filter(pl.col(RULE_SCORE).is_not_null())
    parts = (("asked", 0.75, 2.0), ("read", 0.25, 5.5))
    return pl.concat(
        known.select(
            "user_id",
            rule_id=pl.lit(rule),
            points=pl.col(RULE_SCORE) * share,
            value=pl.lit(value),
            because=pl.lit(f"Times {rule}: {value:g}."),
        )
        for rule, share, value in parts
    )


def test_what_the_points_add_is_told_rule_by_rule_and_still_sums_to_the_margin(model: Model) -> None:
    rows = sentences(pl.concat(reasons(model, FRESH, by_rule())))
    sums = rows.group_by("user_id", maintain_order=True).agg(pl.col("contribution").sum())
    assert np.abs(sums["contribution"].to_numpy() - model.margins(FRESH)).max() < 1e-4
    known = FRESH.filter(pl.col(RULE_SCORE) > 20)["user_id"].implode()
    told = rows.filter(pl.col("user_id").is_in(known))
    asked, read = (told.filter(pl.col("feature") == RULE + rule) for rule in ("asked", "read"))
    assert len(asked) == len(read) == len(known.item())
    assert (asked["contribution"] / read["contribution"] - 3).abs().max() < 1e-3  # pyright: ignore
    assert set(asked["value"]) == {"2"}
    assert set(read["value"]) == {"5.5"}
    assert asked["sentence"].str.contains(r"^Times asked: 2 \(odds × [\d.]+\)$").all()
    assert RULE_SCORE not in told["feature"].drop_nulls().to_list()


def test_points_that_nobody_gave_are_told_as_one(model: Model) -> None:
    unknown = FRESH.filter(pl.col(RULE_SCORE).is_null())
    rows = pl.concat(reasons(model, unknown, by_rule()))
    assert not rows["feature"].str.starts_with(RULE).any()


def test_points_of_which_half_is_taken_away_are_told_as_one(model: Model) -> None:
    somebody = FRESH.filter(pl.col(RULE_SCORE) > 20)[:1]
    parts = pl.DataFrame(
        {
            "user_id": [somebody["user_id"][0]] * 2,
            "rule_id": ["asked", "left"],
            "points": [30.0, -20.0],
            "value": [1.0, 1.0],
            "because": ["Asked.", "Left."],
        }
    )
    features = pl.concat(reasons(model, somebody, parts))["feature"].to_list()
    assert RULE_SCORE in features
    assert not any(feature and feature.startswith(RULE) for feature in features)
