"""A model from the warehouse: trained, judged, serving from a day on, explained; and what happens without one."""

import json
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from gesture_assets.definitions import defs
from gesture_assets.defs.common import NOW_TAG
from gesture_assets.settings import load_settings
from gesture_assets.sources.demo_world import write_demo_world
from gesture_assets.warehouse import registry
from gesture_assets.warehouse.warehouse import Warehouse
from gesture_assets_tests.nights import content_hashes, failures, published, run_night, warehouse

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),  # MLflow's own, about its own
]

LAST = date(2026, 3, 10)
DAYS = 75
TONIGHT = "model_scores+"


def run_training(day: date, at: str, **config: Any) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def("train").execute_in_process(
        partition_key=str(day), tags={NOW_TAG: at}, raise_on_error=False,
        run_config={"ops": {"candidate_model": {"config": config}}} if config else None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A world of 75 days, all of it live but the last; a model trained on the day before and serving since."""
    data_dir = tmp_path_factory.mktemp("models") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GESTURE_DATA_DIR", str(data_dir))
        patch.setenv("GESTURE_PSEUDONYM_KEY", "a key for tests only")
        data_dir.mkdir()
        write_demo_world(
            landing=data_dir / "landing", crm=data_dir / "crm_database.sqlite",
            truth=data_dir / "demo_truth.parquet", users=900, days=DAYS, seed=5, end=LAST,
        )  # fmt: skip
        before = run_night(LAST - timedelta(days=DAYS - 1), LAST - timedelta(days=1))
        assert before.success, failures(before)
        first = published(data_dir).execute("select source, count(*) from intent_scores group by all").fetchall()
        trained = run_training(LAST - timedelta(days=1), "2026-03-10T03:00")
        assert trained.success, failures(trained)
        night = run_night(LAST)
        assert night.success, failures(night)
        yield data_dir, dict(first)


def ask(data_dir: Path, query: str) -> list[tuple[Any, ...]]:
    return published(data_dir).execute(query).fetchall()


def test_without_a_champion_the_rules_serve_and_say_so(world: tuple[Path, dict[str, int]]) -> None:
    data_dir, before = world
    assert set(before) <= {"rules_fallback", "suppressed"}
    (reasons,) = ask(
        data_dir, f"select count(*) from intent_scores where as_of_date < date '{LAST}' - 1 and source = 'model'"
    )
    assert reasons == (0,)


def test_everybody_is_scored_or_excluded_and_the_score_to_act_on_is_the_model_s(world: tuple[Path, Any]) -> None:
    data_dir, _ = world
    con = published(data_dir)
    scored = con.execute(f"from model_scores where as_of_date = '{LAST}'").pl()
    users = con.execute(f"select count(*) from user_features where as_of_date = '{LAST}'").fetchone()
    excluded = con.execute(
        f"select reason, count(*) from model_exclusions where as_of_date = '{LAST}' group by all"
    ).fetchall()
    assert (len(scored) + sum(count for _, count in excluded),) == users
    assert {reason for reason, _ in excluded} >= {"already_converted", "no_activity"}
    assert scored["score"].is_between(1, 100).all()
    assert scored["percentile"].mean() == pytest.approx(0.5, abs=1e-9)
    assert scored["feature_hash"].n_unique() > 0.9 * len(scored)
    acted = con.execute(f"from intent_scores where as_of_date = '{LAST}' and source = 'model'").pl()
    assert len(acted) == len(scored)
    assert (acted["score"] == acted["model_score"]).all()
    assert acted["is_disagreement"].to_list() == (acted["difference"] > 40).to_list()


def test_reasons_sum_to_the_margin_and_say_no_number_that_is_not_there(world: tuple[Path, Any]) -> None:
    data_dir, _ = world
    con = published(data_dir)
    apart = con.execute(
        f"""select max(abs(margin - total)) from model_scores join
        (select user_id, sum(contribution) as total from score_reasons where as_of_date = '{LAST}' group by all)
        using (user_id) where as_of_date = '{LAST}'"""
    ).fetchone()
    assert apart is not None
    assert apart[0] < 1e-4
    most = con.execute("select direction, max(place) from score_reasons group by all").fetchall()
    assert dict(most) == {"up": 5, "down": 5, "rest": 0}


def test_a_candidate_resolves_to_its_data_features_rules_code_and_runs(world: tuple[Path, Any]) -> None:
    data_dir, _ = world
    (row,) = published(data_dir).execute("from candidate_model").pl().rows(named=True)
    card = json.loads((load_settings().models / row["model_version"] / "version.json").read_text())
    card.pop("as_of_date")
    assert card == {name: row[name] for name in card}
    assert "user_id" not in json.loads(row["features"])
    assert "rule_score" in json.loads(row["features"])
    assert "purchase_count" not in json.loads(row["features"])
    figures = dict(
        published(data_dir)
        .execute("select metric, value from model_evaluation where part = 'test' and segment = 'all'")
        .fetchall()
    )
    assert figures["roc_auc"] > 0.7
    behaviours = ask(data_dir, "select metric, is_met from model_evaluation where part = 'behaviour'")
    assert len(behaviours) == 5
    assert [name for name, is_met in behaviours if not is_met] == []
    sums = ask(data_dir, "select round(sum(gain), 9), round(sum(shap), 9) from feature_importance")
    assert sums == [(1.0, 1.0)]


def test_the_days_before_keep_their_scores_and_each_score_has_one_model(world: tuple[Path, Any]) -> None:
    data_dir, _ = world
    rows = ask(data_dir, "select model_version, effective_from, action, reason from model_activations")
    version = rows[0][0]
    assert rows == [(version, LAST - timedelta(days=1), "promoted", "no model served before")]
    assert ask(data_dir, "select distinct as_of_date, model_version from model_scores") == [(LAST, version)]


def test_scoring_again_gives_the_same_rows_and_another_batch_the_same_user(world: tuple[Path, Any]) -> None:
    data_dir, _ = world
    before = content_hashes(data_dir)
    again = run_night(LAST, select="model_scores")
    assert again.success, failures(again)
    assert content_hashes(data_dir) == before
    from gesture_assets.models.scoring import score_users
    from gesture_assets.models.versions import load_version

    (version,) = ask(data_dir, "select distinct model_version from model_scores")[0]
    model = load_version(load_settings().models, version)
    con = published(data_dir)
    features = con.execute(
        f"""select f.*, r.score as rule_score from user_features f join rule_scores r using (as_of_date, user_id)
        where as_of_date = '{LAST}' order by user_id"""
    ).pl()
    kept = con.execute(f"select user_id, margin from model_scores where as_of_date = '{LAST}' order by user_id").pl()
    alone = score_users(model, features.filter(pl.col("user_id") == kept["user_id"][7]))
    assert alone["margin"][0] == kept["margin"][7]
    everybody = score_users(model, features.reverse()).filter(pl.col("user_id").is_in(kept["user_id"].implode()))
    assert np.array_equal(everybody.sort("user_id")["margin"].to_numpy(), kept["margin"].to_numpy())


@pytest.fixture
def copy(world: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A world of one's own to break."""
    data_dir = Path(shutil.copytree(world[0], tmp_path / "data", symlinks=True))
    monkeypatch.setenv("GESTURE_DATA_DIR", str(data_dir))
    return data_dir


def test_a_champion_whose_files_are_gone_leaves_the_night_to_the_rules(copy: Path) -> None:
    shutil.rmtree(load_settings().models)
    result = run_night(LAST, select=TONIGHT)
    assert result.success, failures(result)
    found = dict(
        ask(
            copy,
            f"""select coalesce(fallback_reason, source), count(*) from intent_scores
            where as_of_date = '{LAST}' group by all""",
        )
    )
    assert found["champion_unavailable"] > 100
    assert "model" not in found
    warned = [
        event.asset_check_evaluation_data for event in result.all_events
        if event.event_type_value == "ASSET_CHECK_EVALUATION"
    ]  # fmt: skip
    (serves,) = [one for one in warned if one.check_name == "the_model_serves"]
    assert not serves.passed


def test_a_challenger_serves_only_when_it_is_better_beyond_noise_or_by_hand(copy: Path) -> None:
    champion = ask(copy, "select model_version from model_activations")[0][0]
    same = run_training(LAST, "2026-03-11T03:00", parameters={"n_estimators": "20"})
    assert same.success, failures(same)
    con = warehouse(copy)
    decision, because, parent = con.execute(
        f"select decision, because, parent_version from candidate_model where as_of_date = '{LAST}'"
    ).fetchone()  # type: ignore[misc]
    con.close()
    assert (decision, parent) == ("kept", champion), because
    assert "roc_auc" in because
    forced = run_training(
        LAST, "2026-03-11T04:00", parameters={"n_estimators": "20"}, force_reason="a trial of the board's"
    )
    assert forced.success, failures(forced)
    with Warehouse.of(load_settings()).open(_run_info()) as session:
        history = registry.activations(session.connection)
        assert [one.reason for one in history][-1] == "by hand: a trial of the board's"
        assert registry.champion(session.connection, LAST) == champion
        assert registry.champion(session.connection, LAST + timedelta(days=1)) == history[-1].model_version != champion
        assert registry.previous(session.connection) == champion


def test_a_leak_is_named_and_stops_the_training(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gesture_assets.models import leakage

    monkeypatch.setattr(leakage, "LEAK_AUC", 0.6)  # honest features tell this much
    result = run_training(LAST, "2026-03-11T03:00")
    assert not result.success
    said = failures(result)
    assert "no_feature_knows_the_outcome" in said
    assert "feature=" in said
    assert not [event for event in result.all_events if event.step_key == "candidate_model" and event.is_step_success]


def _run_info() -> Any:
    from gesture_assets.cli.console import run_info

    return run_info("a test", LAST)


def test_too_few_days_are_refused_with_the_command(copy: Path) -> None:
    result = run_training(LAST - timedelta(days=40), "2026-03-11T03:00")
    assert not result.success
    assert "next: gesture run --from" in failures(result)
