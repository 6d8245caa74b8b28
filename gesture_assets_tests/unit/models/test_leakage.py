"""The sentinel names what knows the outcome, and accuses nobody else."""

from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gesture_assets.errors import ConfigError
from gesture_assets.models.leakage import (
    differs_from_its_past,
    importance_drops,
    known_too_early,
    rank_auc,
    screen,
    strong_alone,
)


def world(rows: int = 4000, share: float = 0.07) -> pl.DataFrame:
    random = np.random.default_rng(11)
    bought = random.random(rows) < share
    visits = random.poisson(2 + 2 * bought)
    return pl.DataFrame(
        {
            "bought": bought,
            "visit_count": visits,
            "purchased_amount": np.where(bought, random.gamma(2, 50, rows), 0.0),
            "invoice": [f"i{n}" if is_buyer else None for n, is_buyer in enumerate(bought)],
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
    screening = screen(frame, "bought", [name for name in frame.columns if name != "bought"])
    verdicts = dict(zip(screening["feature"], screening["verdict"], strict=True))
    assert verdicts == {
        "visit_count": "fine",
        "purchased_amount": "leak",
        "invoice": "leak",
        "user_name": "fine",
        "country": "fine",
        "days_since_invoice": "leak",
        "nothing": "fine",
        "constant": "fine",
    }
    assert "AUC of 1.000" in screening.filter(pl.col("feature") == "purchased_amount")["because"][0]
    assert screening.filter(pl.col("feature") == "constant")["auc"][0] is None


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
    screening = screen(leads, "Converted", features).filter(pl.col("verdict") != "fine")
    assert sorted(screening["feature"]) == ["Lead Quality", "Tags"]


def test_no_column_of_the_subscribers_is_accused(reference: Path) -> None:
    rows = pl.read_csv(reference / "crm" / "bsu_subscribers.csv")
    screening = screen(rows, "made_purchase", ["member_rating", "optin_time", "country_code", "tag_count"])
    assert set(screening["verdict"]) == {"fine"}


def verdicts(screening: pl.DataFrame) -> dict[str, str]:
    return dict(zip(screening["feature"], screening["verdict"], strict=True))


def test_a_leak_is_told_by_name_and_figure_beside_what_is_only_suspected() -> None:
    inputs = ["visit_count", "purchased_amount", "country"]
    screening = screen(world(), "bought", inputs, suspects={"visit_count": "somebody said so"})
    assert verdicts(screening) == {"visit_count": "suspect", "purchased_amount": "leak", "country": "fine"}
    because = dict(screening.select("feature", "because").iter_rows())
    assert because["visit_count"] == "somebody said so"
    assert because["purchased_amount"].startswith("alone it ranks the outcome with an AUC of 1.000")


def test_missing_numbers_rank_where_they_tell_most() -> None:
    outcome = pl.Series("bought", [0, 0, 1, 1] * 20)
    frame = pl.DataFrame(
        {
            "bought": outcome,
            "only_others": [1.0, 2.0, None, None] * 20,
            "only_buyers": [None, None, 2.0, float("nan")] * 20,
        }
    )
    screening = dict(screen(frame, "bought", ["only_others", "only_buyers"]).select("feature", "auc").iter_rows())
    assert screening == {"only_others": 1.0, "only_buyers": 0.75}


def test_the_auc_of_a_category_is_that_of_its_rate_in_other_folds() -> None:
    random = np.random.default_rng(2)
    kind = random.choice(["a", "b", "c"], 30_000)
    chance = np.select([kind == "a", kind == "b"], [0.05, 0.1], 0.4)
    frame = pl.DataFrame(
        {"kind": kind, "bought": random.random(30_000) < chance, "id": [f"i{n}" for n in range(30_000)]}
    )
    screening = dict(screen(frame, "bought", ["kind", "id"]).select("feature", "auc").iter_rows())
    outcome = frame["bought"].cast(pl.Int64)
    assert screening["kind"] == pytest.approx(rank_auc(outcome, pl.Series(chance)), abs=0.003)
    assert screening["id"] == pytest.approx(0.5, abs=1e-9)


def test_the_order_of_columns_and_of_rows_decides_no_verdict() -> None:
    frame = world()
    names = [name for name in frame.columns if name != "bought"]
    mixed = screen(frame.sample(fraction=1, shuffle=True, seed=5), "bought", names[::-1])
    assert verdicts(mixed) == verdicts(screen(frame, "bought", names))


def test_values_that_decide_both_ways_are_suspected_and_one_way_is_not() -> None:
    random = np.random.default_rng(3)
    bought = random.random(6_000) < 0.3
    won = np.where(bought, np.where(random.random(6_000) < 0.2, "closed", "open"), "open")
    stage = np.where(~bought & (random.random(6_000) < 0.2), "lost", won)
    frame = pl.DataFrame({"bought": bought, "won": won, "stage": stage, "code": pl.Series(stage).rank("dense")})
    screening = screen(frame, "bought", ["won", "stage", "code"])
    assert verdicts(screening) == {"won": "fine", "stage": "suspect", "code": "suspect"}
    assert screening["because"][1].startswith("single values decide the outcome both ways: 1 of them for ")


def test_a_strong_feature_is_suspected_and_so_is_nothing_on_a_few_rows() -> None:
    random = np.random.default_rng(4)
    bought = random.random(5_000) < 0.1
    strong = bought * 2.2 + random.normal(size=5_000)
    frame = pl.DataFrame({"bought": bought, "strong": strong})
    screening = screen(frame, "bought", ["strong"])
    assert 0.9 < screening["auc"][0] < 0.98
    assert verdicts(screening) == {"strong": "suspect"}
    assert verdicts(screen(frame.head(60), "bought", ["strong"])) == {"strong": "fine"}
    few = pl.DataFrame({"bought": [True] * 9 + [False] * 500, "perfect": [1] * 9 + [0] * 500})
    assert screen(few, "bought", ["perfect"]).select("auc", "verdict").row(0) == (1.0, "fine")


def dated() -> pl.DataFrame:
    day = date(2026, 3, 9)
    return pl.DataFrame(
        {
            "as_of_date": [day] * 3,
            "bought": [0, 1, 0],
            "seen_on": [day, day, None],
            "paid_at": [datetime(2026, 3, 9, 23, 59), datetime(2026, 3, 10), datetime(2026, 3, 12)],
            "paid_on": [day, day + timedelta(days=1), day],
            "days_since_last_call": [0, 3, None],
            "days_since_payment": [0, -1, None],
            "balance": [-5, 1, 2],
        }
    )


def test_what_is_dated_after_its_day_is_a_leak() -> None:
    frame = dated()
    names = [name for name in frame.columns if name not in ("as_of_date", "bought")]
    late = known_too_early(frame, names)
    assert late == {
        "paid_at": "2 rows are dated after their as-of day",
        "paid_on": "1 rows are dated after their as-of day",
        "days_since_payment": "1 rows are dated after their as-of day",
    }
    assert verdicts(screen(frame, "bought", names)) == {name: "leak" if name in late else "fine" for name in names}


def test_a_feature_that_later_days_have_changed_is_named() -> None:
    rows = pl.DataFrame(
        {"user_id": ["a", "b", "c"], "visits": [1, 2, 3], "country": ["de", None, "fr"], "points": [1.0, 2.0, 3.0]}
    )
    known = rows.drop("points").sample(fraction=1.0, shuffle=True, seed=1)
    assert differs_from_its_past(rows, known, ["visits", "country", "points"]) == {}
    changed = known.with_columns(visits=pl.col("visits") - (pl.col("user_id") == "b"))
    told = {"visits": "1 of 3 rows hold another value than what was known by the end of their day gives"}
    assert differs_from_its_past(rows, changed, ["visits", "country"]) == told
    assert set(differs_from_its_past(rows, known.filter(pl.col("user_id") != "a"), ["visits"])) == {"visits"}


def test_what_ranks_well_alone_is_listed_the_strongest_first() -> None:
    areas = {"a": 0.81, "b": 0.79, "c": 0.97, "d": None, "e": 0.81}
    screening = pl.DataFrame({"feature": list(areas), "auc": list(areas.values())})
    assert list(strong_alone(screening).items()) == [("c", 0.97), ("a", 0.81), ("e", 0.81)]


def test_a_feature_that_carries_the_training_only_is_named() -> None:
    train = {"visits": 0.05, "campaign_id": 0.04, "country": 0.008, "noise": -0.001}
    test = {"visits": 0.03, "campaign_id": 0.0005, "country": 0.0005}
    assert importance_drops(train, test) == {"campaign_id": "41% of the importance in training, 2% on test rows"}
    assert importance_drops({"visits": 0.0}, {"visits": 0.0}) == {}


@pytest.mark.parametrize(
    ("label", "features", "message"),
    [
        ("sold", ["visits"], "no column 'sold'"),
        ("bought", ["clicks"], "no column 'clicks'"),
        ("bought", ["bought"], "it is one of them"),
        ("holes", ["visits"], "nulls"),
    ],
)
def test_what_cannot_be_screened_is_refused(label: str, features: list[str], message: str) -> None:
    frame = pl.DataFrame({"bought": [0, 1], "visits": [1, 2], "holes": [None, 1]})
    with pytest.raises(ConfigError) as refused:
        screen(frame, label, features)
    assert refused.value.found == message


def test_one_outcome_only_accuses_nobody() -> None:
    frame = pl.DataFrame({"bought": [0] * 50, "visits": range(50), "kind": ["a", "b"] * 25})
    screening = screen(frame, "bought", ["visits", "kind"])
    assert screening["auc"].null_count() == 2
    assert set(screening["verdict"]) == {"fine"}
