"""Frames become matrices: vocabularies frozen, the unseen counted and never fatal, identifiers refused."""

import math
from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesture_assets.errors import ConfigError, ModelMismatch
from gesture_assets.models.matrix import NEVER_INPUTS, Encoding, encode, fit_encoding, with_flags


def people() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "visit_count": [3, None, 1, 0, 7, 2],
            "is_subscriber": [True, False, None, True, True, False],
            "country": ["de", "us", "us", None, "us", "de"],
            "rate": [0.5, math.inf, math.nan, None, -1.5, 1e300],
            "grade": ["low", "high", "middle", "low", None, "odd"],
            "nothing": [None] * 6,
        }
    )


FEATURES = ["visit_count", "is_subscriber", "country", "rate", "grade", "nothing"]
GRADES = {"grade": ["low", "middle", "high"]}


def test_a_matrix_holds_numbers_ranks_and_gaps() -> None:
    encoding = fit_encoding(people(), FEATURES, ordinal=GRADES, fewest_rows=1)
    matrix = encode(people(), encoding)
    nan = math.nan
    expected = [
        [3, 1, 1, 0.5, 0],
        [nan, 0, 0, nan, 2],
        [1, nan, 0, nan, 1],
        [0, 1, nan, nan, 0],
        [7, 1, 0, -1.5, nan],
        [2, 0, 1, nan, nan],
    ]
    np.testing.assert_array_equal(matrix, np.array(expected, dtype=np.float32))
    assert matrix.dtype == np.float32
    assert matrix.flags.c_contiguous
    assert [column.kind for column in encoding.inputs] == ["numeric", "boolean", "categorical", "numeric", "ordinal"]


def test_a_column_without_a_value_is_dropped_and_reported() -> None:
    encoding = fit_encoding(people(), FEATURES, fewest_rows=1)
    assert encoding.empty == ("nothing",)
    assert "nothing" not in encoding.names
    encode(people().drop("nothing"), encoding)  # nobody needs it any more
    with pytest.raises(ConfigError, match="only missing values in nothing"):
        fit_encoding(people(), ["nothing"])


def test_a_column_of_nan_or_infinities_carries_nothing_either() -> None:
    frame = pl.DataFrame({"a": [1.0, 2.0], "b": [math.nan, math.inf]})
    assert fit_encoding(frame, ["a", "b"]).empty == ("b",)


def test_an_unseen_category_is_other() -> None:
    encoding = fit_encoding(people(), ["country"], fewest_rows=1)
    tonight = pl.DataFrame({"country": ["zz", "us", None, "yy"]})
    np.testing.assert_array_equal(encode(tonight, encoding)[:, 0], np.array([2, 0, np.nan, 2], dtype=np.float32))


def test_a_vocabulary_keeps_the_most_frequent_and_names_ties_by_the_alphabet() -> None:
    frame = pl.DataFrame({"city": ["b"] * 5 + ["a"] * 5 + ["c"] * 6 + ["d"] * 2 + ["e"]})
    by_rows = fit_encoding(frame, ["city"], fewest_rows=2).inputs[0]
    assert by_rows.values == ("c", "a", "b", "d")
    assert by_rows.other_share == pytest.approx(1 / 19)
    limited = fit_encoding(frame.reverse(), ["city"], most_values=2, fewest_rows=2).inputs[0]
    assert limited.values == ("c", "a")
    assert limited.other_share == pytest.approx(8 / 19)


def test_minus_999_stands_for_a_missing_number_where_it_is_wished_for() -> None:
    encoding = fit_encoding(people(), FEATURES, missing="-999", fewest_rows=1)
    matrix = encode(people(), encoding)
    assert matrix[1, 0] == matrix[1, 3] == matrix[3, 2] == -999
    assert not np.isnan(matrix).any()


def crm() -> pl.DataFrame:
    """Subscribers of two countries and three grades; ratings follow the country, and visits nothing."""
    return pl.DataFrame(
        {
            "rating": [5, 5, 4, None, 1, 1, 2, None, None, 3],
            "country": ["de", "de", "de", "de", "us", "us", "us", "us", "fr", "fr"],
            "grade": ["low", "high", "low", "high", "low", "high", "low", "high", None, None],
            "visits": [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, math.nan, 1.0],
            "known": range(10),
        }
    )


def imputing(frame: pl.DataFrame, features: list[str]) -> Encoding:
    return fit_encoding(frame, features, ordinal=GRADES, missing="imputed", fewest_rows=2)


def test_a_missing_number_is_what_is_usual_among_those_who_tell_most_about_it() -> None:
    encoding = imputing(crm(), crm().columns)
    assert [(fill.name, fill.peers) for fill in encoding.fills] == [("rating", "country"), ("visits", "grade")]
    assert encoding.fills[0].medians == (5, 1, 3)  # de, us; fr has one rating only, so that everybody's median stands
    assert encoding.names == (*crm().columns, "imputed_rating", "imputed_visits")
    assert encoding.columns == tuple(crm().columns)
    matrix = encode(crm(), encoding)
    assert matrix[:, 0].tolist() == [5, 5, 4, 5, 1, 1, 2, 1, 3, 3]
    assert matrix[:, 5].tolist() == [0, 0, 0, 1, 0, 0, 0, 1, 1, 0]
    assert matrix[8, 3] == 1  # whose grade is unknown as well: everybody's median
    flagged = with_flags(crm(), encoding)
    assert flagged["imputed_rating"].to_list() == [bool(flag) for flag in matrix[:, 5]]
    assert flagged["imputed_visits"].sum() == 1
    assert Encoding.from_json(encoding.to_json()) == encoding


def test_what_is_usual_is_learnt_once_and_a_row_s_fill_depends_on_that_row() -> None:
    encoding = imputing(crm(), crm().columns)
    strangers = pl.DataFrame(
        {
            "rating": [None, None],
            "country": ["zz", "de"],
            "grade": [None, None],
            "visits": [4.0, 4.0],
            "known": [1, None],
        },
        schema=crm().schema,
    )
    assert encode(strangers, encoding)[:, 0].tolist() == [3, 5]
    assert np.isnan(encode(strangers, encoding)[1, 4])  # training had no gap there to learn from
    assert np.array_equal(encode(strangers[1:], encoding), encode(strangers, encoding)[1:], equal_nan=True)


def test_without_peers_everybody_s_median_stands() -> None:
    (fill,) = imputing(crm(), ["rating", "known"]).fills
    assert (fill.peers, fill.median, fill.medians) == ("", 3, ())


@pytest.mark.parametrize("name", sorted(NEVER_INPUTS))
def test_an_identifier_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        fit_encoding(pl.DataFrame({name: [1, 2], "visit_count": [1, 2]}), ["visit_count", name])


def test_personal_columns_of_the_crm_are_among_the_refused() -> None:
    assert {"mailchimp_id", "user_full_name", "user_email", "optin_time", "email_provider"} <= NEVER_INPUTS
    assert {"user_id", "first_event_at", "last_event_at"} <= NEVER_INPUTS


def test_a_feature_twice_and_a_date_are_refused() -> None:
    frame = pl.DataFrame({"a": [1, 2], "seen": [date(2026, 3, 9)] * 2})
    with pytest.raises(ConfigError, match="twice: a"):
        fit_encoding(frame, ["a", "a"])
    with pytest.raises(ConfigError, match=r"'seen'.*\n.*number, true and false, or text"):
        fit_encoding(frame, ["a", "seen"])


def test_a_missing_column_names_both_lists() -> None:
    frame = pl.DataFrame({f"f{number}": [1, 2] for number in range(8)})
    encoding = fit_encoding(frame, frame.columns)
    with pytest.raises(ModelMismatch) as refused:
        encode(frame.drop("f3", "f5"), encoding)
    assert "f3, f5 missing" in str(refused.value)
    assert "expected: f0, f1, f2, f3, f4 and 3 more" in str(refused.value)
    assert "found: f0, f1, f2, f4, f6 and 1 more" in str(refused.value)
    with pytest.raises(ModelMismatch, match="f9 missing"):
        fit_encoding(frame, ["f1", "f9"])


def test_text_where_the_model_was_given_numbers_is_refused() -> None:
    encoding = fit_encoding(people(), ["visit_count", "is_subscriber"])
    with pytest.raises(ModelMismatch, match=r"visit_count \(String\)"):
        encode(people().with_columns(pl.col("visit_count").cast(pl.String)), encoding)


def test_an_encoding_survives_its_file() -> None:
    encoding = fit_encoding(people(), FEATURES, ordinal=GRADES, missing="-999", fewest_rows=1)
    assert Encoding.from_json(encoding.to_json()) == encoding
    assert Encoding.from_json(encoding.to_json()).to_json() == encoding.to_json()


def test_a_frame_without_rows_is_a_matrix_without_rows() -> None:
    encoding = fit_encoding(people(), FEATURES, fewest_rows=1)
    assert encode(people().clear(), encoding).shape == (0, 5)


VALUES = st.lists(
    st.tuples(st.none() | st.integers(-(2**40), 2**40), st.none() | st.floats(), st.none() | st.sampled_from("abcxyz")),
    min_size=1,
    max_size=30,
)


@given(VALUES)
def test_a_row_is_encoded_alike_alone_and_among_others(rows: list[tuple]) -> None:
    schema = {"n": pl.Int64, "r": pl.Float64, "c": pl.String}
    training = pl.DataFrame({"n": [1], "r": [1.0], "c": ["a"]}, schema=schema)
    encoding = fit_encoding(training, ["n", "r", "c"], fewest_rows=1)
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    together = encode(frame, encoding)
    assert not np.isinf(together).any()
    alone = np.vstack([encode(frame[place], encoding) for place in range(len(frame))])
    assert together.tobytes() == alone.tobytes()
    assert encode(frame.reverse(), encoding).tobytes() == together[::-1].tobytes()
