"""Reasons: they add up to the margin, carry a stable code, and say no number that is not stored."""

import re

import numpy as np
import polars as pl
import pytest

from gesture_assets.errors import ConfigError
from gesture_assets.features.feature_registry import feature_registry
from gesture_assets.models.matrix import FLAG
from gesture_assets.models.reasons import REST_CODE, reason_code, reason_codes, reasons, sentences
from gesture_assets.models.training import Model, train
from gesture_assets.vocabulary.event_types import EVENT_TYPES


def world(rows: int, seed: int = 5) -> pl.DataFrame:
    """Eight numbers of falling weight, a flag, and a country, with gaps."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(rows, 8))
    margin = -1 + numbers @ np.array([1.5, -1.2, 0.9, -0.7, 0.5, -0.4, 0.3, -0.2])
    frame = pl.DataFrame(numbers, schema=[f"number_{place}" for place in range(8)])
    return frame.with_columns(
        user_id=pl.Series([f"u{place}" for place in range(rows)]),
        number_0=pl.when(pl.Series(random.random(rows) < 0.9)).then(pl.col("number_0")),
        visit_count=pl.Series(random.poisson(3, rows)),
        is_subscriber=pl.Series(random.random(rows) < 0.5),
        country=pl.Series(random.choice(["de", "us", "fr"], rows)),
        bought=pl.Series(random.random(rows) < 1 / (1 + np.exp(-margin))),
    )


FEATURES = [*(f"number_{place}" for place in range(8)), "visit_count", "is_subscriber", "country"]
FRESH = world(500, 6).with_columns(country=pl.col("country").replace("fr", "zz"))


@pytest.fixture(scope="module")
def model() -> Model:
    return train(world(2_000), "bought", FEATURES)


@pytest.fixture(scope="module")
def reason_rows(model: Model) -> pl.DataFrame:
    return pl.concat(reasons(model, FRESH))


def test_a_user_s_rows_add_up_to_the_margin(model: Model, reason_rows: pl.DataFrame) -> None:
    sums = reason_rows.group_by("user_id", maintain_order=True).agg(pl.col("contribution").sum())
    assert sums["user_id"].to_list() == FRESH["user_id"].to_list()
    assert np.abs(sums["contribution"].to_numpy() - model.margins(FRESH)).max() < 1e-4


def test_the_weightiest_five_each_way_are_those_of_the_contributions(model: Model, reason_rows: pl.DataFrame) -> None:
    contributions = model.contributions(FRESH)[:, :-1]
    by_user = {key[0]: part for key, part in reason_rows.partition_by("user_id", as_dict=True).items()}
    for place in range(0, 500, 25):
        own = dict(zip(model.encoding.names, contributions[place].astype(float), strict=True))
        listed = by_user[f"u{place}"]
        for direction, sign in (("up", 1), ("down", -1)):
            expected = sorted(
                ((name, own[name]) for name in own if own[name] * sign > 0), key=lambda reason: -reason[1] * sign
            )
            rows = listed.filter(pl.col("direction") == direction)
            assert rows.select("feature", "contribution").rows() == expected[:5]
            assert rows["place"].to_list() == list(range(1, len(expected[:5]) + 1))
        rest = listed.filter(pl.col("direction") == "rest").row(0, named=True)
        assert (rest["place"], rest["feature"], rest["value"], rest["code"]) == (0, None, None, REST_CODE)


def test_values_are_the_users_own_as_people_write_them(reason_rows: pl.DataFrame) -> None:
    own = FRESH.with_columns(
        pl.col("is_subscriber").replace_strict({True: "yes", False: "no"}, return_dtype=pl.String),
        pl.col("visit_count").cast(pl.String),
    )
    listed = reason_rows.join(own, on="user_id")
    for name in ("is_subscriber", "visit_count", "country"):
        rows = listed.filter(pl.col("feature") == name)
        assert len(rows) > 20
        assert rows["value"].to_list() == rows[name].to_list()
    rows = listed.filter(pl.col("feature") == "number_0")
    assert rows["value"].null_count() == rows["number_0"].null_count() > 0
    filled = rows.drop_nulls("value")
    assert filled["value"].cast(pl.Float64).to_list() == pytest.approx(filled["number_0"].to_list(), abs=6e-5)


def test_a_user_has_the_same_reasons_alone_in_any_batch_and_in_any_order(
    model: Model, reason_rows: pl.DataFrame
) -> None:
    alone = pl.concat([part for place in (0, 77, 499) for part in reasons(model, FRESH[place])])
    assert alone.equals(reason_rows.filter(pl.col("user_id").is_in(["u0", "u77", "u499"])))
    in_chunks = pl.concat(reasons(model, FRESH, chunk=64))
    assert in_chunks.equals(reason_rows)
    backwards = pl.concat(reasons(model, FRESH.reverse()))
    assert backwards.filter(pl.col("user_id") == "u77").equals(reason_rows.filter(pl.col("user_id") == "u77"))


def test_every_number_of_a_sentence_is_stored_in_its_row(reason_rows: pl.DataFrame) -> None:
    rows = sentences(reason_rows, {name: f"the {name.split('_')[0]}" for name in FEATURES})
    assert rows["sentence"].null_count() == 0
    for row in rows[:300].iter_rows(named=True):
        numbers = [float(text) for text in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", row["sentence"])]
        value = [] if row["feature"] in (None, "country", "is_subscriber") or row["value"] is None else [row["value"]]
        assert numbers == [*(float(text) for text in value), row["odds_factor"]]
    assert rows["odds_factor"].to_numpy() == pytest.approx(np.exp(rows["contribution"].to_numpy()), rel=0.006)
    unknown = rows.filter(pl.col("value").is_null(), pl.col("feature").is_not_null())
    assert unknown["sentence"].str.contains("the number: unknown").all()


def test_a_sentence_reads_like_one(model: Model) -> None:
    row = pl.concat(reasons(model, FRESH[:1].with_columns(number_1=pl.lit(-3.0))))
    sentence = sentences(row, {"number_1": "Days away"}).filter(pl.col("feature") == "number_1")["sentence"].item()
    assert re.fullmatch(r"Days away: -3 \(odds × \d+(\.\d+)?\)", sentence)


def test_codes_are_stable_and_no_two_features_of_the_registry_share_one() -> None:
    assert reason_code("pricing_page_view_count_7d") == "R-709F95"
    names = [feature.name for feature in feature_registry(tuple(kind.name for kind in EVENT_TYPES))]
    names += [FLAG + name for name in names]
    codes = reason_codes(names)
    assert len(set(codes.values())) == len(names) > 100
    assert all(re.fullmatch(r"R-[0-9A-F]{6}", code) for code in codes.values())


def test_two_features_with_one_code_are_refused() -> None:
    with pytest.raises(ConfigError, match="R-2AC3CF, which is the code of tag_418"):
        reason_codes(["tag_418", "tag_2974"])  # the first two tags by number that share one


def test_nobody_scored_has_no_reasons(model: Model) -> None:
    assert list(reasons(model, FRESH.clear())) == []
