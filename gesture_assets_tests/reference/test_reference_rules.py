"""The rule set of document 000 against what that project published: 20 scores, their labels, reasons and order."""

import os
from datetime import date
from pathlib import Path

import narwhals as nw
import polars as pl
import pytest

from gesture_assets.features.feature_registry import feature_registry
from gesture_assets.rules.rule_set import load_rule_set
from gesture_assets.rules.scorer import rank, score

AS_OF = date(2026, 2, 1)
OURS = {
    "signups": "signup_count",
    "calendar_bookings": "calendar_booking_count",
    "demo_request_clicks": "demo_request_click_count",
    "pricing_page_views": "pricing_page_view_count",
    "page_views": "page_view_count",
    "last_event_ts": "last_event_at",
}


@pytest.fixture
def published() -> Path:
    default = Path(__file__).parents[3] / "shared" / "reference"
    folder = Path(os.environ.get("GESTURE_REFERENCE_DATA", default)) / "gesture_events"
    if not (folder / "top_users.csv").exists():
        pytest.skip(f"no reference data in {folder}; set GESTURE_REFERENCE_DATA to the folder with gesture_events/")
    return folder


@pytest.fixture
def ranked(published: Path, tmp_path: Path) -> pl.DataFrame:
    features = pl.read_csv(published / "user_features.csv", try_parse_dates=True).rename(OURS)
    rule_set = load_rule_set(
        "scoring_reference", user_folder=tmp_path, features={feature.name for feature in feature_registry(())}
    )
    scores, _ = score(nw.from_native(features.with_columns(as_of_date=AS_OF).lazy()), rule_set)
    return rank(scores, 20).collect().to_native()


@pytest.fixture
def expected(published: Path) -> pl.DataFrame:
    return pl.read_csv(published / "top_users.csv")


def test_the_twenty_published_users_come_out_in_the_published_order(ranked, expected):
    assert ranked["user_id"].to_list() == expected["user_id"].to_list()


def test_every_published_score_is_met_to_a_hundredth(ranked, expected):
    both = expected.select("user_id", published="score").join(ranked, on="user_id", how="left")
    assert both.height == 20
    assert both.filter((pl.col("score") - pl.col("published")).abs().fill_null(100) > 0.01).is_empty()


def test_every_published_label_is_met(ranked, expected):
    assert ranked["band"].to_list() == expected["score_label"].to_list()


def test_every_published_explanation_is_met_to_the_letter(ranked, expected):
    assert ranked["explanation"].to_list() == expected["explanation"].to_list()
