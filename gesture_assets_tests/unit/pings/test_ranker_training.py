"""A training of the second stage: its folds, its sentinels, its decision, and the files that it leaves."""

import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import narwhals as nw
import numpy as np
import polars as pl
import pytest

from gesture_assets.demo.pings import write_demo_pings
from gesture_assets.errors import ModelMismatch, TrainingRefused
from gesture_assets.frames import Frame, to_polars
from gesture_assets.models.versions import CARD, known_versions
from gesture_assets.pings import ranker_training
from gesture_assets.pings.engagement import event_scores
from gesture_assets.pings.ranker import Settings
from gesture_assets.pings.ranker_files import load_ranker, ranker_version, save_ranker
from gesture_assets.pings.ranker_training import TrainedRanker, days_of, trained_ranker
from gesture_assets.pings.weights import load_ping_weights

WEIGHTS = load_ping_weights("recent", user_folder=Path("none"))
QUICK = Settings(rounds=40)
LAST = date(2026, 3, 10)
NOW = datetime(2026, 3, 11, 2)
World = tuple[pl.DataFrame, pl.DataFrame]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Scored events of 150 people in eight days, with tastes of their own; and the catalogue."""
    folder = tmp_path_factory.mktemp("pings")
    wrote = write_demo_pings(landing=folder, truth=folder / "truth.parquet", users=150, days=8, seed=5, end=LAST)
    events = pl.concat([pl.read_csv(path, infer_schema_length=None) for path in wrote.interaction_files])
    at = pl.col("event_timestamp").str.to_datetime(strict=True).cast(pl.Datetime("us"))
    events = events.select("user_id", "ping_id", "event_type", pl.col("watch_time_sec").cast(pl.Float64), event_at=at)
    pings = pl.read_csv(wrote.catalogue).with_columns(
        pl.col("duration_sec").cast(pl.Float64),
        pl.col("created_at").str.to_datetime().cast(pl.Datetime("us")),
        catalogue_row=pl.int_range(1, pl.len() + 1),
    )
    return to_polars(event_scores(frame(events), frame(pings), WEIGHTS.events)), pings


@pytest.fixture(scope="module")
def trained(world: World) -> TrainedRanker:
    return training(*world)


def frame(table: pl.DataFrame) -> Frame:
    return nw.from_native(table.lazy())


def training(scored: pl.DataFrame, pings: pl.DataFrame, **options: int) -> TrainedRanker:
    return trained_ranker(frame(scored), pings, WEIGHTS, seed=1, settings=QUICK, **options)


def test_folds_follow_each_other_and_too_few_days_are_refused() -> None:
    days = [LAST + timedelta(days=n) for n in range(40)]
    for n in (4, 7, 8, 13, 40):
        folds = days_of(days[:n])
        assert [*folds.taught, *folds.judged] == days[:n]
        assert folds.choosing == folds.taught[-len(folds.judged) :]
        assert len(folds.judged) == min(7, n // 4)
    with pytest.raises(TrainingRefused, match="4 days") as refused:
        days_of(days[:3])
    assert "3 days" in refused.value.found


def test_a_ranker_that_knows_tastes_is_better_than_every_plain_order_and_says_by_how_much(
    trained: TrainedRanker,
) -> None:
    assert trained.is_better
    table = trained.evaluation.filter(pl.col("measure") == "ndcg").sort("policy")
    assert table["policy"].to_list() == ["heuristic", "hit_rate", "random", "ranker", "recent_hits", "shortest_first"]
    of = {row["policy"]: row for row in table.to_dicts()}
    for name in ("heuristic", "hit_rate", "recent_hits", "shortest_first", "random"):
        assert of[name]["gain"] == pytest.approx(of["ranker"]["value"] - of[name]["value"])
        assert 0 < of[name]["gain_low"] <= of[name]["gain"] <= of[name]["gain_high"]
    assert of["ranker"]["gain"] is None
    assert f"{of['ranker']['value']:.4f}" in trained.because
    hardest = min((row for name, row in of.items() if name != "ranker"), key=lambda row: row["gain_low"])
    assert hardest["policy"] in trained.because


def test_one_that_orders_well_and_whose_lists_hold_less_of_what_was_liked_does_not_serve(
    world: World, trained: TrainedRanker, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = trained.evaluation.filter(pl.col("measure") == "list_ndcg")
    assert sorted(lists["policy"]) == ["heuristic", "ranker"]
    assert lists.filter(pl.col("policy") == "heuristic")["gain_high"].item() >= 0
    in_order_of = ranker_training.in_order_of
    # The same scores, the worst first: what it says of impressions is as good as before.
    monkeypatch.setattr(
        ranker_training,
        "in_order_of",
        lambda rows, scores, version: in_order_of(rows, scores.with_columns(-pl.col("ranker_score")), version),
    )
    found = training(*world)
    assert not found.is_better
    assert found.because.startswith(trained.because)
    assert "its lists hold less of what was liked" in found.because


def test_what_is_chance_to_everybody_is_not_promoted(world: World) -> None:
    scored, pings = world
    chance = np.random.default_rng(3)
    # Who did what with which ping is shuffled within each day: nothing is left to learn.
    by_day = scored.with_columns(day=pl.col("event_at").dt.date()).partition_by("day", maintain_order=True)
    shuffled = pl.concat(
        part.with_columns(pl.col(name).gather(chance.permutation(part.height)) for name in ("user_id", "ping_id"))
        for part in by_day
    )
    found = training(shuffled.drop("day"), pings)
    assert not found.is_better
    assert "random" in found.evaluation["policy"].to_list()


def test_equal_rows_in_any_order_give_the_same_ranker_and_judgement(world: World, trained: TrainedRanker) -> None:
    scored, pings = world
    again = training(scored.sample(fraction=1, shuffle=True, seed=2), pings.sample(fraction=1, shuffle=True, seed=3))
    assert again.ranker.fingerprint == trained.ranker.fingerprint
    assert again.evaluation.equals(trained.evaluation)
    assert again.because == trained.because


def test_of_many_impressions_those_of_some_users_are_taken(world: World, trained: TrainedRanker) -> None:
    few = training(*world, most_rows=3_000)
    assert few.user_count < trained.user_count
    assert few.ranker.row_count + few.judged_rows < 4_000
    assert training(*world, most_rows=3_000).ranker.fingerprint == few.ranker.fingerprint


def leak(known: Callable[..., pl.DataFrame]) -> Callable[..., pl.DataFrame]:
    """Features that know whether the user liked the ping on the day itself."""

    def knows_more(rows: pl.DataFrame, history: pl.DataFrame, *others: object) -> pl.DataFrame:
        found = known(rows, history, *others)
        later = history.group_by("user_id", "ping_id").agg(hits=pl.col("is_good").sum().cast(pl.Float64))
        hits = found.join(later, on=["user_id", "ping_id"], how="left", maintain_order="left")["hits"].fill_null(0.0)
        return found.with_columns(user_ping_hit_rate=hits)

    return knows_more


def test_a_feature_that_knows_what_came_later_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranker_training, "known_as_of", leak(ranker_training.known_as_of))
    with pytest.raises(TrainingRefused, match="user_ping_hit_rate"):
        training(*world)


def test_a_ranker_read_from_its_files_scores_as_before_and_changed_files_are_refused(
    trained: TrainedRanker, tmp_path: Path
) -> None:
    version = ranker_version(trained.ranker, NOW)
    path = save_ranker(trained.ranker, {"ranker_version": version, "because": trained.because}, tmp_path)
    save_ranker(trained.ranker, {"ranker_version": version, "because": trained.because}, tmp_path)
    assert known_versions(tmp_path) == [version] == [path.name]
    assert json.loads((path / CARD).read_text())["because"] == trained.because
    loaded = load_ranker(tmp_path, version)
    chance = np.random.default_rng(1)
    rows = pl.DataFrame({name: chance.random(50) for name in trained.ranker.features})
    assert loaded.scores(rows).equals(trained.ranker.scores(rows))
    assert (loaded.objective, loaded.settings) == (trained.ranker.objective, trained.ranker.settings)
    booster = path / "ranker.json"
    content = json.loads(booster.read_bytes())
    content["learner"]["gradient_booster"]["model"]["trees"][0]["split_conditions"][0] += 0.5
    booster.write_text(json.dumps(content))
    with pytest.raises(ModelMismatch, match="cannot be used"):
        load_ranker(tmp_path, version)
    booster.write_bytes(booster.read_bytes()[:300])
    with pytest.raises(ModelMismatch, match="cannot be used"):
        load_ranker(tmp_path, version)
    for broken in ("{", '{"objective": "rank:ndcg", "settings": {"depth": 3}}'):
        (path / "about.json").write_text(broken)
        with pytest.raises(ModelMismatch, match="cannot be used"):
            load_ranker(tmp_path, version)
    booster.unlink()
    with pytest.raises(ModelMismatch, match="cannot be loaded"):
        load_ranker(tmp_path, version)
