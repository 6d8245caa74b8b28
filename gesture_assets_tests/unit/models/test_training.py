"""Training: the same from the same, every odd input with its own outcome, every user scored alike in any company."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesture_assets.errors import ConfigError, ModelMismatch, TrainingRefused
from gesture_assets.models.parameters import Parameters
from gesture_assets.models.training import Model, outcomes, train

FEATURES = ["visit_count", "rate", "is_subscriber", "country"]


def world(rows: int, seed: int = 5) -> pl.DataFrame:
    """Visitors who buy the likelier the more they visit; `country` helps, some rates are missing."""
    random = np.random.default_rng(seed)
    visits, rate = random.poisson(3, rows), random.normal(size=rows)
    country = random.choice(["de", "us", "fr"], rows, p=[0.5, 0.3, 0.2])
    margin = -4 + 0.6 * visits + 0.8 * rate + (country == "fr")
    return pl.DataFrame(
        {
            "user_id": [f"u{number}" for number in range(rows)],
            "visit_count": visits,
            "rate": np.where(random.random(rows) < 0.1, np.nan, rate),
            "is_subscriber": random.random(rows) < 0.5,
            "country": country,
            "bought": random.random(rows) < 1 / (1 + np.exp(-margin)),
        }
    )


@pytest.fixture(scope="module")
def model() -> Model:
    return train(world(2_000), "bought", FEATURES, validation=world(1_000, 6))


def test_the_defaults_are_those_of_the_source_document() -> None:
    parameters = Parameters().as_dict()
    expected = {
        "objective": "binary:logistic",
        "eval_metric": "logloss",
        "max_depth": 6,
        "learning_rate": 0.1,
        "n_estimators": 100,
        "subsample": 0.8,
        "colsample_bytree": 0.8,
        "seed": 42,
    }
    assert {name: parameters[name] for name in expected} == expected


def test_parameters_are_overridden_by_name() -> None:
    parameters = Parameters().overridden({"max_depth": "4", "learning_rate": 0.05, "random_state": 7})
    assert (parameters.max_depth, parameters.learning_rate, parameters.seed, parameters.n_estimators) == (
        4,
        0.05,
        7,
        100,
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"depth": 4}, "'depth' is not known"),
        ({"scale_pos_weight": 20}, "classes are never weighted"),
        ({"max_depth": 40}, "whole number from 1 to 16"),
        ({"max_depth": 4.5}, "whole number from 1 to 16"),
        ({"learning_rate": "fast"}, "a number from 0.001 to 1"),
        ({"subsample": 0}, "a number from 0.1 to 1"),
        ({"learning_rate": True}, "a number from 0.001 to 1"),
        ({"objective": "reg:squarederror"}, "expected: binary:logistic"),
    ],
)
def test_an_unknown_or_impossible_parameter_is_refused(given: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Parameters().overridden(given)


def test_two_trainings_with_one_seed_are_equal_to_the_last_byte(model: Model, tmp_path: Path) -> None:
    again = train(world(2_000), "bought", FEATURES, validation=world(1_000, 6))
    model.save(tmp_path / "one")
    again.save(tmp_path / "two")
    for name in ("booster.json", "model.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert model.fingerprint == again.fingerprint
    other_seed = train(world(2_000), "bought", FEATURES, parameters=Parameters(seed=43))
    assert other_seed.fingerprint != again.fingerprint


def test_the_number_of_threads_does_not_show() -> None:
    few = Parameters(n_estimators=5)
    fingerprints = {
        train(world(2_000), "bought", FEATURES, parameters=few, threads=count).fingerprint for count in (1, 2, 3)
    }
    assert len(fingerprints) == 1


def test_a_model_survives_its_files_to_the_last_bit(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path)
    loaded = Model.load(tmp_path)
    fresh = world(500, 8)
    assert loaded.fingerprint == model.fingerprint
    assert loaded.margins(fresh).tobytes() == model.margins(fresh).tobytes()
    assert loaded.probabilities(fresh).tobytes() == model.probabilities(fresh).tobytes()
    assert (loaded.features, loaded.target, loaded.rows, loaded.base_rate, loaded.parameters) == (
        model.features,
        model.target,
        2_000,
        model.base_rate,
        model.parameters,
    )


def test_a_folder_without_a_model_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(ModelMismatch, match=r"no booster\.json and no model\.json"):
        Model.load(tmp_path)


@pytest.fixture(scope="module")
def together(model: Model) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Margins, probabilities and contributions of everybody in `FRESH`, scored at once."""
    return model.margins(FRESH), model.probabilities(FRESH), model.contributions(FRESH)


@given(places=st.lists(st.integers(0, 999), min_size=1, max_size=300))
def test_a_user_is_scored_alike_alone_in_any_batch_and_in_any_order(
    model: Model, together: tuple[np.ndarray, np.ndarray, np.ndarray], places: list[int]
) -> None:
    margins, probabilities, contributions = together
    for batch in (places, places[:1]):
        assert model.margins(FRESH[batch]).tobytes() == margins[batch].tobytes()
        assert model.probabilities(FRESH[batch]).tobytes() == probabilities[batch].tobytes()
        assert model.contributions(FRESH[batch[:20]]).tobytes() == contributions[batch[:20]].tobytes()


FRESH = world(1_000, 9)


def test_probabilities_sum_to_the_positives_and_contributions_to_the_margin(model: Model) -> None:
    fresh = world(4_000, 10)
    probability = model.probabilities(fresh)
    assert probability.sum() == pytest.approx(fresh["bought"].sum(), rel=0.1)
    assert ((probability > 0) & (probability < 1)).all()
    difference = model.contributions(fresh).sum(axis=1, dtype=np.float64) - model.margins(fresh)
    assert np.abs(difference).max() < 1e-4


def test_an_unseen_category_is_scored(model: Model) -> None:
    tonight = world(50, 11).with_columns(country=pl.lit("zz"))
    assert ((model.probabilities(tonight) > 0) & (model.probabilities(tonight) < 1)).all()


def test_a_missing_feature_is_named(model: Model) -> None:
    with pytest.raises(ModelMismatch, match="rate missing"):
        model.probabilities(FRESH.drop("rate"))


def test_nobody_to_score_is_nobody_scored(model: Model) -> None:
    assert len(model.probabilities(FRESH.clear())) == 0
    assert model.contributions(FRESH.clear()).shape == (0, 5)


def test_too_few_rows_train_nothing() -> None:
    with pytest.raises(TrainingRefused, match=r"at least 100 rows\n  found: 99 rows"):
        train(world(99), "bought", FEATURES)
    assert train(world(99), "bought", FEATURES, min_rows=50).rows == 99


@pytest.mark.parametrize("outcome", [0, 1])
def test_one_outcome_only_trains_nothing(outcome: int) -> None:
    with pytest.raises(TrainingRefused, match=f"all with outcome {outcome}"):
        train(world(200).with_columns(bought=pl.lit(outcome)), "bought", FEATURES)


def test_a_column_without_values_is_reported_and_not_needed_later() -> None:
    empty = world(200).with_columns(tag_count=pl.lit(None, pl.Int32))
    model = train(empty, "bought", [*FEATURES, "tag_count"])
    assert model.encoding.empty == ("tag_count",)
    assert model.features == (*FEATURES, "tag_count")
    assert len(model.margins(FRESH)) == len(FRESH)


def test_missing_numbers_train_either_way() -> None:
    for missing in ("native", "-999", "imputed"):
        model = train(world(500), "bought", FEATURES, missing=missing)
        assert model.encoding.missing == missing
        assert np.isfinite(model.margins(FRESH)).all()


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pl.Series([0, 1, None, 1]), "1 rows without it"),
        (pl.Series([0, 1, 2, 1]), "values from 0 to 2"),
        (pl.Series(["yes", "no", "no", "no"]), "type String"),
    ],
)
def test_a_target_is_zeros_and_ones(column: pl.Series, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        outcomes(pl.DataFrame({"y": column}), "y")


def test_the_target_is_no_feature() -> None:
    with pytest.raises(ConfigError, match="one of the features"):
        train(world(200), "bought", [*FEATURES, "bought"])
    with pytest.raises(ConfigError, match="no column 'sold'"):
        train(world(200), "sold", FEATURES)


def test_a_promised_direction_is_kept() -> None:
    noisy = world(600)
    model = train(noisy, "bought", FEATURES, monotone={"visit_count": 1})
    steps = pl.concat([FRESH[:200].with_columns(visit_count=pl.lit(count)) for count in range(12)])
    margins = model.margins(steps).reshape(12, 200)
    assert (np.diff(margins, axis=0) >= 0).all()
    free = train(noisy, "bought", FEATURES).margins(steps).reshape(12, 200)
    assert (np.diff(free, axis=0) < 0).any()
    with pytest.raises(ConfigError, match="'country'"):
        train(noisy, "bought", FEATURES, monotone={"country": 1})


def test_without_a_validation_part_probabilities_are_xgboost_s_own() -> None:
    model = train(world(500), "bought", FEATURES)
    assert model.calibrator.method == "none"
    margins = model.margins(FRESH).astype(float)
    assert model.probabilities(FRESH) == pytest.approx(1 / (1 + np.exp(-margins)))
    with pytest.raises(ConfigError, match="a validation part"):
        train(world(500), "bought", FEATURES, calibration="sigmoid")


def test_ratings_are_an_order(model: Model) -> None:
    rated = world(600).with_columns(grade=pl.col("visit_count").clip(1, 3).replace_strict([1, 2, 3], ["c", "b", "a"]))
    graded = train(rated, "bought", ["grade"], ordinal={"grade": ["c", "b", "a"]}, monotone={"grade": 1})
    margins = graded.margins(pl.DataFrame({"grade": ["c", "b", "a"]}))
    assert (np.diff(margins) > 0).all()
