"""The sentinel names what knows the outcome, and accuses nobody else."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gesture_assets.models.leakage import screen


def world(rows: int = 4000, share: float = 0.07) -> pl.DataFrame:
    random = np.random.default_rng(11)
    bought = random.random(rows) < share
    visits = random.poisson(2 + 2 * bought)
    return pl.DataFrame(
        {
            "bought": bought,
            "visit_count": visits,
            "purchased_amount": np.where(bought, random.gamma(2, 50, rows), 0.0),
            "invoice": [f"i{n}" if one else None for n, one in enumerate(bought)],
            "user_name": [f"name {n}" for n in range(rows)],
            "country": random.choice(["de", "us", "fr"], rows),
            "days_since_invoice": np.where(bought, random.random(rows), np.nan),
            "nothing": [None] * rows,
            "constant": [1] * rows,
        },
        schema_overrides={"nothing": pl.Float64},
    )


def test_a_planted_leak_is_named_and_honest_features_are_not() -> None:
    frame = world()
    found = screen(frame, "bought", [name for name in frame.columns if name != "bought"])
    verdicts = dict(zip(found["feature"], found["verdict"], strict=True))
    assert verdicts == {
        "visit_count": "fine", "purchased_amount": "leak", "invoice": "leak", "user_name": "fine", "country": "fine",
        "days_since_invoice": "leak", "nothing": "fine", "constant": "fine",
    }  # fmt: skip
    assert "AUC of 1.000" in found.filter(pl.col("feature") == "purchased_amount")["because"][0]
    assert found.filter(pl.col("feature") == "constant")["auc"][0] is None


def test_single_feature_figures_are_scikit_learn_s() -> None:
    from sklearn.metrics import roc_auc_score

    frame = world()
    expected = roc_auc_score(frame["bought"], frame["visit_count"])
    assert screen(frame, "bought", ["visit_count"])["auc"][0] == pytest.approx(expected, abs=1e-12)
    turned = screen(frame.with_columns(-pl.col("visit_count")), "bought", ["visit_count"])["auc"][0]
    assert turned == pytest.approx(expected, abs=1e-12)


def test_the_leads_data_has_two_suspects(reference: Path) -> None:
    leads = pl.read_csv(reference / "leads" / "xeducation_lead_scoring.csv", infer_schema_length=None)
    features = [name for name in leads.columns if name not in ("Converted", "Prospect ID", "Lead Number")]
    found = screen(leads, "Converted", features).filter(pl.col("verdict") != "fine")
    assert sorted(found["feature"]) == ["Lead Quality", "Tags"]


def test_no_column_of_the_subscribers_is_accused(reference: Path) -> None:
    rows = pl.read_csv(reference / "crm" / "bsu_subscribers.csv")
    found = screen(rows, "made_purchase", ["member_rating", "optin_time", "country_code", "tag_count"])
    assert set(found["verdict"]) == {"fine"}
