"""Segments: a model of their own where it is better, the global one for all others, and everything else as ever."""

import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gesture_assets.errors import ModelMismatch
from gesture_assets.models.evaluation import Estimate, LearningCurve, importance
from gesture_assets.models.judgement import SEGMENT_MODEL, beside_rows
from gesture_assets.models.parameters import Parameters
from gesture_assets.models.reasons import REST, reasons, sentences
from gesture_assets.models.scoring import score_users, scored_columns
from gesture_assets.models.segments import Segment, judged_segments, too_few, with_members
from gesture_assets.models.tables import GLOBAL
from gesture_assets.models.training import Model, train
from gesture_assets.models.versions import load_version, save_version, version_name

MOBILE, TABLET = "primary_device=mobile", "primary_device=tablet"
FEATURES = ["visit_count", "rate"]  # not the device, so that the global model cannot tell what it means


def world(rows: int, seed: int) -> pl.DataFrame:
    """Users of whom many visits speak for a purchase, but against it on a phone; a few have a tablet, some nothing."""
    random = np.random.default_rng(seed)
    visits, rate = random.poisson(3, rows), random.normal(size=rows)
    device = random.choice(["desktop", "mobile", "tablet", None], rows, p=[0.6, 0.3, 0.02, 0.08])
    margin = -1 + np.where(device == "mobile", -0.8, 0.8) * (visits - 3) + 0.5 * rate
    return pl.DataFrame(
        {
            "user_id": [f"u{number}" for number in range(rows)],
            "feature_date": [datetime(2026, 3, 1).date()] * rows,
            "person_id": [f"p{number}" for number in range(rows)],
            "event_count": visits,
            "visit_count": visits,
            "rate": np.where(random.random(rows) < 0.1, np.nan, rate),
            "primary_device": pl.Series(device.tolist(), dtype=pl.String),
            "is_subscriber": random.random(rows) < 0.5,
            "label": (random.random(rows) < 1 / (1 + np.exp(-margin))).astype(np.int16),
        }
    )


PIECES = {"train": world(3_000, 1), "validation": world(2_000, 2)}
FRESH = world(600, 3)
ON_PHONES = (FRESH["primary_device"] == "mobile").fill_null(value=False).to_numpy()


@pytest.fixture(scope="module")
def plain() -> Model:
    few = Parameters(n_estimators=30, max_depth=4)
    return train(PIECES["train"], "label", FEATURES, parameters=few, validation=PIECES["validation"])


@pytest.fixture(scope="module")
def divided(plain: Model) -> tuple[Model, dict[str, Segment]]:
    segments = judged_segments(plain, "primary_device", PIECES["train"], PIECES["validation"])
    own = [scope for scope, segment in segments.items() if segment.is_own]
    return with_members(plain, own, PIECES["train"]), segments


@pytest.fixture(scope="module")
def model(divided: tuple[Model, dict[str, Segment]]) -> Model:
    return divided[0]


def test_a_large_segment_of_its_own_kind_has_its_own_model_and_a_small_one_the_global(
    plain: Model, divided: tuple[Model, dict[str, Segment]]
) -> None:
    model, segments = divided
    assert set(segments) == {MOBILE, TABLET, "primary_device=desktop", "primary_device=missing"}
    assert segments[MOBILE].sentence.startswith("own: better: roc_auc 0.")
    assert segments[TABLET].sentence.startswith("global: ")
    assert "40 of each or 120 buyers beside others are needed" in segments[TABLET].because
    assert set(model.members) == {scope for scope, segment in segments.items() if segment.is_own}
    scored = score_users(model, FRESH)
    expected = np.where(ON_PHONES, MOBILE, scored["model_scope"].to_numpy())
    assert scored["model_scope"].to_list() == expected.tolist()
    small = FRESH["primary_device"] == "tablet"
    assert set(scored.filter(small)["model_scope"]) == {GLOBAL}
    before = score_users(plain, FRESH)
    assert set(before["model_scope"]) == {GLOBAL}
    assert scored.filter(small).equals(before.filter(small))
    everybody = model.scopes(FRESH) == GLOBAL
    assert scored.filter(everybody).equals(before.filter(everybody))


def test_a_segment_that_is_like_all_others_keeps_the_global_model(plain: Model) -> None:
    segments = judged_segments(plain, "is_subscriber", PIECES["train"], PIECES["validation"])
    assert not any(segment.is_own for segment in segments.values())
    assert with_members(plain, [], PIECES["train"]).fingerprint == plain.fingerprint
    assert {segment.sentence.split(" roc_auc")[0] for segment in segments.values()} <= {
        "global: within noise:",
        "global: worse:",
    }
    assert all(segment.comparison for segment in segments.values())


def test_what_a_segment_s_own_model_gained_is_kept_with_its_interval(divided: tuple[Model, dict[str, Segment]]) -> None:
    _, segments = divided
    compared = {scope: segment.comparison for scope, segment in segments.items() if segment.comparison}
    gained, none = compared[MOBILE], LearningCurve((), Estimate(0, 0, 0), "enough", "")
    rows = beside_rows("v1", against_rules=gained, without_rules=gained, curve=none, segments=segments)
    gains = rows.filter(pl.col("part") == SEGMENT_MODEL).rows_by_key("segment", named=True, unique=True)
    assert set(gains) == set(compared)
    assert TABLET not in gains
    assert 0 < gains[MOBILE]["low"] <= gains[MOBILE]["value"] == gained.metrics["roc_auc"].difference.value
    assert gains[MOBILE]["sample_count"] == (PIECES["validation"]["primary_device"] == "mobile").sum()


@pytest.mark.parametrize(
    ("buyers", "others", "is_enough"),
    [
        (40, 40, True),
        (39, 4_000, False),
        (4_000, 39, True),
        (119, 39, False),
        (120, 1, True),
        (120, 0, False),
        (0, 120, False),
    ],
)
def test_forty_of_each_or_a_hundred_and_twenty_buyers_are_enough(buyers: int, others: int, is_enough: bool) -> None:
    judged = pl.Series([1, 0] * 10)
    assert (too_few(pl.Series([1] * buyers + [0] * others), judged) == "") == is_enough
    assert "9 buyers and 10 others to be judged by" in too_few(pl.Series([1, 0] * 40), judged[1:])


def test_a_user_is_scored_alike_alone_in_any_batch_and_in_any_order(model: Model) -> None:
    users = FRESH.select(scored_columns(model))  # all that it takes, the device among them
    scored = score_users(model, users)
    for batch in (range(599, -1, -1), range(0, 600, 7), [3], [int(ON_PHONES.argmax())]):
        places = list(batch)
        assert score_users(model, users[places]).equals(scored[places])
        assert model.contributions(users[places]).tobytes() == model.contributions(users)[places].tobytes()
    assert score_users(model, users.clear()).schema == scored.schema
    assert model.contributions(users.clear()).shape == (0, 3)


def test_a_segment_s_probabilities_are_calibrated_by_its_own_outcomes(model: Model) -> None:
    own, phones = model.members[MOBILE], FRESH.filter(pl.Series(ON_PHONES))
    assert own.calibrator != model.calibrator
    assert model.probabilities(FRESH)[ON_PHONES].tobytes() == own.probabilities(phones).tobytes()
    many = world(20_000, 4).filter(pl.col("primary_device") == "mobile")
    assert model.probabilities(many).sum() == pytest.approx(many["label"].sum(), rel=0.1)


def test_reasons_add_up_to_the_margin_of_the_model_that_scored_and_name_it(model: Model) -> None:
    rows = sentences(pl.concat(reasons(model, FRESH, chunk=100)))
    sums = rows.group_by("user_id", maintain_order=True).agg(pl.col("contribution").sum())
    assert np.abs(sums["contribution"].to_numpy() - model.margins(FRESH)).max() < 1e-4
    for user, sentence in rows.filter(pl.col("direction") == REST).select("user_id", "sentence").rows():
        scope = model.scopes(FRESH)[int(user[1:])]
        start = "Start and everything else" if scope == GLOBAL else f"Start for {scope} and everything else"
        assert sentence.startswith(f"{start} (odds × ")


def test_importance_is_of_all_models_together(plain: Model, model: Model) -> None:
    both = [importance(scorer, FRESH, FRESH["label"]) for scorer in (plain, model)]
    for name in ("gain", "permutation", "shap"):
        assert both[1][name].sum() == pytest.approx(1)
        assert both[0].sort("feature")[name].to_list() != both[1].sort("feature")[name].to_list()


TESTED = FRESH[:1].with_columns(probability=pl.lit(0.5))


def saved(model: Model, folder: Path) -> tuple[str, Path]:
    version = version_name(datetime(2026, 3, 10), model.fingerprint)
    return version, save_version(model, {"model_version": version}, folder, figures={}, tested=TESTED)


def test_a_version_keeps_its_segments_models_to_the_last_bit(plain: Model, model: Model, tmp_path: Path) -> None:
    assert model.fingerprint != plain.fingerprint
    again = with_members(plain, list(model.members), PIECES["train"])
    assert again.fingerprint == model.fingerprint
    version, _ = saved(model, tmp_path)
    loaded = load_version(tmp_path, version)
    assert loaded.fingerprint == model.fingerprint
    assert list(loaded.members) == list(model.members)
    assert score_users(loaded, FRESH).equals(score_users(model, FRESH))


def test_a_version_without_a_file_of_a_segment_or_with_another_is_refused(model: Model, tmp_path: Path) -> None:
    version, folder = saved(model, tmp_path)
    own = folder / "segments" / MOBILE
    shutil.copy(folder / "booster.json", own / "booster.json")  # that of the global model
    with pytest.raises(ModelMismatch, match="changed after the training"):
        load_version(tmp_path, version)
    (own / "booster.json").unlink()
    with pytest.raises(ModelMismatch, match=r"(?s)no booster\.json.*segments"):
        load_version(tmp_path, version)
