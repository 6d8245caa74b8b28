"""A model from the warehouse: trained, judged, serving from a day on, explained; and what happens without one."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from gesture_assets.cli import app
from gesture_assets.cli.console import run_info
from gesture_assets.cli.models import VALIDATION_SPLIT, say_next, say_outcome
from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.errors import ConfigError, GateClosed
from gesture_assets.events.tables import DAILY_ACTIVITY
from gesture_assets.frames import Frame
from gesture_assets.models.judgement import SOONER, TIMED, sooner_rows
from gesture_assets.models.tuning import SPACE
from gesture_assets.models.versions import load_version
from gesture_assets.nights import training_rows
from gesture_assets.nights.night import Night
from gesture_assets.nights.runner import NightResult
from gesture_assets.nights.steps import Markdown
from gesture_assets.nights.workshop import Again
from gesture_assets.publication.reading import half_built_days
from gesture_assets.records import activations as registry
from gesture_assets.records.opening import warehouse_of
from gesture_assets.records.tracking import Tracking
from gesture_assets.reports.model_report import model_report
from gesture_assets.settings import load_settings
from gesture_assets_tests.advice import commands_in, refusal
from gesture_assets_tests.conftest import use_settings
from gesture_assets_tests.running import (
    content_hashes,
    failures,
    outcomes,
    published,
    run_night,
    run_training,
    warehouse,
)
from gesture_assets_tests.worlds import CHAMPION_LAST as LAST
from gesture_assets_tests.worlds import FIRST_MODEL, ROOT, copy_world, world_in_use

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),  # MLflow's own, about its own
]

TONIGHT = "model_scores+"


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_world("champion", tmp_path_factory.mktemp("champion") / "data")


@pytest.fixture
def world(shared_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A world of 75 days whose last night is the first that a model scored; not to be changed."""
    use_settings(monkeypatch, shared_folder)
    return shared_folder


@pytest.fixture
def copy(copied_world: Callable[[str], Path]) -> Path:
    """One of one's own to break."""
    return copied_world("champion")


@pytest.fixture
def challenged(copied_world: Callable[[str], Path]) -> Path:
    """One in which a training of the next night kept its model as challenger."""
    return copied_world("challenged")


def ask(data_dir: Path, query: str) -> list[tuple[Any, ...]]:
    return published(data_dir).execute(query).fetchall()


def test_without_a_champion_the_rules_serve_and_say_so(world: Path) -> None:
    before = dict(
        ask(world, f"select source, count(*) from intent_scores where as_of_date < date '{LAST}' group by all")
    )
    assert set(before) <= {"rules_fallback", "suppressed"}


def test_everybody_is_scored_or_excluded_and_the_score_to_act_on_is_the_model_s(world: Path) -> None:
    con = published(world)
    scored = con.execute(f"from model_scores where as_of_date = '{LAST}'").pl()
    users = con.execute(f"select count(*) from user_features where as_of_date = '{LAST}'").fetchone()
    excluded = con.execute(
        f"select reason, count(*) from model_exclusions where as_of_date = '{LAST}' group by all"
    ).fetchall()
    assert (len(scored) + sum(count for _, count in excluded),) == users
    assert {reason for reason, _ in excluded} >= {"already_converted", "no_activity"}
    assert scored["score"].is_between(1, 100).all()
    assert set(scored["model_scope"]) == {"global"}
    assert scored["percentile"].mean() == pytest.approx(0.5, abs=1e-9)
    assert scored["feature_hash"].n_unique() > 0.9 * len(scored)
    acted = con.execute(f"from intent_scores where as_of_date = '{LAST}' and source = 'model'").pl()
    assert len(acted) == len(scored)
    assert (acted["score"] == acted["model_score"]).all()
    assert acted["is_disagreement"].to_list() == (acted["rank_difference"] > 40).to_list()


def test_every_list_is_the_same_list(world: Path) -> None:
    head = ask(world, "select rank, user_id, score, explanation from analytics.current_top_users order by rank")
    assert len(head) == 20
    assert head == ask(world, "select rank, user_id, score, explanation from analytics.call_list limit 20")
    ranked = [line.split("\t") for line in gesture("rank", "--n", "20").splitlines()]
    shown = [row[:4] for row in ranked if row[0].isdigit()]
    assert shown == [[str(rank), user, f"{score:.0f}", why] for rank, user, score, why in head]
    bought = "select user_id from user_features where (purchase_count > 0 or made_purchase > 0)"
    assert not ask(world, f"from analytics.call_list semi join ({bought} and as_of_date = '{LAST}') using (user_id)")


def test_a_band_beside_the_score_to_act_on_says_that_it_is_the_rules(world: Path) -> None:
    columns: dict[str, set[str]] = {}
    for relation, column in ask(world, "select table_name, column_name from dim_column"):
        columns.setdefault(relation, set()).add(column)
    acted_on = {relation for relation, names in columns.items() if "scale" in names}
    assert not {relation for relation in acted_on if "band" in columns[relation]}
    banded = {relation for relation in acted_on if "rule_band" in columns[relation]}
    assert {"top_users", *(f"analytics.{name}" for name in ("current_scores", "call_list", "user_360"))} <= banded
    by_rules = f"(select user_id, band from rule_scores where as_of_date = '{LAST}')"
    for relation in sorted(banded):
        of_day = f"(from {relation} where as_of_date = '{LAST}')"
        assert not ask(world, f"from {of_day} join {by_rules} using (user_id) where rule_band <> band")
    people = ask(world, "select rule_band, people from analytics.revenue_by_band order by 1")
    assert people == ask(world, f"select band, count(*) from {by_rules} group by all order by 1")


def test_reasons_sum_to_the_margin_and_say_no_number_that_is_not_there(world: Path) -> None:
    con = published(world)
    apart = con.execute(
        f"""select max(abs(margin - total)) from model_scores join
        (select user_id, sum(contribution) as total from score_reasons where as_of_date = '{LAST}' group by all)
        using (user_id) where as_of_date = '{LAST}'"""
    ).fetchone()
    assert apart is not None
    assert apart[0] < 1e-4
    most = con.execute("select direction, max(place) from score_reasons group by all").fetchall()
    assert dict(most) == {"up": 5, "down": 5, "rest": 0}


def test_a_candidate_resolves_to_its_data_features_rules_code_and_runs(world: Path) -> None:
    (row,) = published(world).execute("from candidate_model").pl().rows(named=True)
    card = json.loads((load_settings().models / row["model_version"] / "version.json").read_text())
    card.pop("as_of_date")
    assert card["data_verdict"] in ("enough", "more would help", "too little to tell")
    assert card["training_seconds"] > 0
    assert card == {name: row[name] for name in card}
    assert "user_id" not in json.loads(row["features"])
    assert "rule_score" in json.loads(row["features"])
    assert "purchase_count" not in json.loads(row["features"])
    figures = dict(
        published(world)
        .execute("select metric, value from model_evaluation where part = 'test' and segment = 'all'")
        .fetchall()
    )
    assert figures["roc_auc"] > 0.7
    behaviours = ask(world, "select metric, is_met from model_evaluation where part = 'behaviour'")
    assert len(behaviours) == 6
    assert [name for name, is_met in behaviours if not is_met] == []
    sums = ask(world, "select round(sum(gain), 9), round(sum(shap), 9) from feature_importance")
    assert sums == [(1.0, 1.0)]


def test_the_days_before_keep_their_scores_and_each_score_has_one_model(world: Path) -> None:
    rows = ask(world, "select model_version, effective_from, action, reason from model_activations")
    version, *_, reason = rows[0]
    assert rows == [(version, LAST - timedelta(days=1), "promoted", reason)]
    assert reason.startswith(f"by hand: {FIRST_MODEL}; passed over: "), "it was no better than the rules"
    assert ask(world, "select distinct as_of_date, model_version from model_scores") == [(LAST, version)]


def test_on_a_champion_s_first_night_next_to_nothing_drifts_and_what_does_was_looked_at(world: Path) -> None:
    con = published(world)
    rows = con.execute(f"from drift_reports where as_of_date = '{LAST}'").pl()
    inputs = con.execute("select unnest(features::json::varchar[]) from candidate_model").fetchall()
    assert set(rows["feature"]) == {*(name for (name,) in inputs), "label", "probability"}
    # The reference ends on the night before; what drifts is what its older days could not know yet.
    assert set(rows.filter(verdict="drift")["feature"]) == {"days_since_first_event", "profile_completeness"}
    assert len(rows.filter(verdict="moderate")) <= 2
    # Nobody is told, as scores were made without the move, and are the same within a hundredth of a point.
    untold = rows.filter(pl.col("verdict").is_in(["drift", "moderate"]), ~pl.col("matters"), pl.col("importance") > 0)
    assert untold["score_moves"].drop_nulls().len() == len(untold) > 0
    assert untold["score_moves"].max() < 0.01  # type: ignore[operator]
    assert all("scores move by 0.0 points for it" in sentence for sentence in untold["sentence"])
    unjudged = rows.filter(verdict="too_few_rows")
    assert set(unjudged["kind"]) == {"label", "calibration"}
    assert all("a verdict needs 200 each" in sentence for sentence in unjudged["sentence"])


def test_scoring_again_gives_the_same_rows_and_another_batch_the_same_user(copy: Path) -> None:
    before = content_hashes(copy)
    again = run_night(LAST, select="model_scores")
    assert again.success, failures(again)
    assert content_hashes(copy) == before
    from gesture_assets.models.scoring import score_users

    (version,) = ask(copy, "select distinct model_version from model_scores")[0]
    model = load_version(load_settings().models, version)
    con = published(copy)
    features = con.execute(
        f"""select f.*, r.score as rule_score from user_features f join rule_scores r using (as_of_date, user_id)
        where as_of_date = '{LAST}' order by user_id"""
    ).pl()
    kept = con.execute(f"select user_id, margin from model_scores where as_of_date = '{LAST}' order by user_id").pl()
    alone = score_users(model, features.filter(pl.col("user_id") == kept["user_id"][7]))
    assert alone["margin"][0] == kept["margin"][7]
    everybody = score_users(model, features.reverse()).filter(pl.col("user_id").is_in(kept["user_id"].implode()))
    assert np.array_equal(everybody.sort("user_id")["margin"].to_numpy(), kept["margin"].to_numpy())


def test_a_champion_whose_files_are_gone_leaves_the_night_to_the_rules(copy: Path) -> None:
    shutil.rmtree(load_settings().models)
    result = run_night(LAST, select=TONIGHT)
    assert result.success, failures(result)
    assert "| all tables |" in str(result.results["published_warehouse"].notes["reliability"])
    found = dict(
        ask(
            copy,
            f"""select coalesce(fallback_reason, source), count(*) from intent_scores
            where as_of_date = '{LAST}' group by all""",
        )
    )
    assert found["champion_unavailable"] > 100
    assert "model" not in found
    assert [check.passed for (_, name), check in outcomes(result).items() if name == "the_model_serves"] == [False]


@pytest.fixture(scope="module")
def forced_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NightResult]:
    with world_in_use("challenged", tmp_path_factory.mktemp("forced")) as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GESTURE_SEGMENT_MODELS", "primary_device")
        result = run_training(
            LAST,
            at="2026-03-11T04:00",
            parameters={"n_estimators": "20"},
            validation_split=0.3,
            force_reason="a trial of the board's",
        )
    assert result.success, failures(result)
    return folder, result


@pytest.fixture
def forced(forced_once: tuple[Path, NightResult], monkeypatch: pytest.MonkeyPatch) -> tuple[Path, NightResult]:
    """The world with a challenger, and a training whose model serves because somebody said so."""
    use_settings(monkeypatch, forced_once[0])
    return forced_once


def test_a_challenger_that_is_not_better_beyond_noise_is_kept(challenged: Path) -> None:
    champion = ask(challenged, "select model_version from model_activations")[0][0]
    con = warehouse(challenged)
    decision, because, parent = con.execute(
        f"select decision, because, parent_version from candidate_model where as_of_date = '{LAST}'"
    ).fetchone()  # type: ignore[misc]
    con.close()
    assert (decision, parent) == ("kept", champion), because
    assert "roc_auc" in because


def test_a_day_that_another_model_scored_than_serves_is_built_in_part(challenged: Path) -> None:
    first, second = version_of(challenged), candidate(challenged, "model_version")
    nightly = catalogue(load_settings().tags).nightly
    with warehouse_of(load_settings()).open(run_info("a test", LAST)) as session:
        for version, behind in (("", []), (second, [LAST]), (registry.RULES, [LAST]), (first, [])):
            if version:  # as a training that is killed leaves it, before the day is scored
                registry.activate(
                    session.connection, version, since=LAST, now=session.run.now, action="activated", reason="a test"
                )
            found = half_built_days(session.connection, nightly, [LAST])
            assert found == {day: ["model_scores"] for day in behind}, version


def test_a_model_can_be_made_to_serve_by_hand(forced: tuple[Path, NightResult]) -> None:
    folder, _ = forced
    champion = version_of(folder)
    with warehouse_of(load_settings()).open(run_info("a test", LAST)) as session:
        history = registry.activations(session.connection)
        assert [one.reason for one in history][-1].partition("; passed over: ")[0] == "by hand: a trial of the board's"
        assert registry.champion(session.connection, LAST) == champion
        assert registry.champion(session.connection, LAST + timedelta(days=1)) == history[-1].model_version != champion
        assert registry.previous(session.connection) == champion


def test_where_nearly_half_of_the_profiles_is_unknown_gaps_are_filled_and_flagged_if_wished_for(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (known,) = ask(
        copy,
        f"""select count(member_rating) / count(*), count(subscriber_country) / count(*) from user_features
        where is_subscriber and as_of_date = '{LAST}'""",
    )
    assert all(0.45 < share < 0.65 for share in known)
    monkeypatch.setenv("GESTURE_MISSING_NUMBERS", "imputed")
    trained = run_training(LAST - timedelta(days=1), at="2026-03-10T04:00", force_reason="a trial of filled gaps")
    assert trained.success, failures(trained)
    night = run_night(LAST, select=TONIGHT)
    assert night.results["model_scores"].notes["users_scored_per_second"] > 0
    assert night.success, failures(night)
    ((version, missing),) = ask(
        copy,
        f"select model_version, missing_numbers from candidate_model semi join "
        f"(from model_scores where as_of_date = '{LAST}') using (model_version)",
    )
    assert missing == "imputed"
    flags = ask(
        copy,
        "select user_id, feature, feature_value from score_reasons "
        f"where as_of_date = '{LAST}' and feature like 'imputed_%'",
    )
    filled = {f"imputed_{fill.name}" for fill in load_version(load_settings().models, version).encoding.fills}
    assert "imputed_optin_days" in filled
    assert set() < {flag for _, flag, _ in flags} <= filled
    tonight = f"select user_id from user_features where as_of_date = '{LAST}'"
    gaps = {
        (user, flag)
        for flag in filled
        for (user,) in ask(copy, f"{tonight} and {flag.removeprefix('imputed_')} is null")
    }
    assert all(said == ("yes" if (user, flag) in gaps else "no") for user, flag, said in flags)
    assert not ask(copy, "from score_reasons anti join analytics.reason_codes using (reason_code)")
    areas = dict(
        ask(
            copy,
            "select model_version, value from model_evaluation where part = 'test' "
            "and segment = 'all' and metric = 'roc_auc' order by recorded_at",
        )
    )
    assert areas[version] > 0.7


def test_what_the_crm_of_today_says_without_a_date_is_not_learnt_from(world: Path) -> None:
    last = f"date '{LAST}'"
    known = "count(member_rating) + count(subscriber_country)"
    learnt = "as_of_date in (select feature_date from training_set)"
    assert ask(world, f"select {known} from user_features where {learnt}") == [(0,)]
    ((tonight,),) = ask(world, f"select {known} from user_features where as_of_date = {last}")
    assert tonight > 0
    undated = "feature in ('member_rating', 'subscriber_country')"
    assert set(ask(world, f"select auc, verdict from feature_screening where {undated}")) == {(None, "fine")}


def test_what_happened_after_its_day_stops_the_training_by_name(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features_on = training_rows.features_on

    def with_a_later_event(night: Night, day: date) -> Frame:
        later = nw.col("last_event_at").dt.offset_by("40d")
        return features_on(night, day).with_columns(last_event_at=later)

    monkeypatch.setattr(training_rows, "features_on", with_a_later_event)
    result = run_training(LAST, at="2026-03-11T03:00")
    assert not result.success
    assert "no_feature_knows_the_outcome: 1 row; " in failures(result)
    assert "feature=last_event_at" in failures(result)
    assert "rows are dated after their as-of day" in failures(result)
    assert result.closed == ("candidate_model",)


def test_what_ranks_the_outcome_well_alone_is_shown_to_a_person(world: Path) -> None:
    strong = ask(world, "select feature, auc from feature_screening where auc >= 0.8 order by auc desc, feature")
    listed = ", ".join(f"{name} {auc:.3f}" for name, auc in strong)
    told = "Features that rank the outcome alone with an AUC from 0.80: "
    assert told + (f"{listed}. Is each" if strong else "none.") in gesture("models", "show", version_of(world))


def test_a_feature_that_counts_the_label_s_window_stops_the_training_by_name(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features_on = training_rows.features_on

    def with_later_days(night: Night, day: date) -> Frame:
        window = nw.col("activity_date") > day, nw.col("activity_date") <= day + timedelta(days=30)
        later = night.read(DAILY_ACTIVITY, through=LAST).filter(*window)
        days = later.group_by("user_id").agg(nw.col("activity_date").n_unique().cast(nw.Int16).alias("later"))
        counted = nw.col("active_day_count_30d") + nw.col("later").fill_null(0)
        rows = features_on(night, day).join(days, on="user_id", how="left")
        return rows.with_columns(counted.alias("active_day_count_30d")).drop("later")

    monkeypatch.setattr(training_rows, "features_on", with_later_days)
    result = run_training(LAST, at="2026-03-11T03:00")
    assert not result.success
    assert "no_feature_knows_the_outcome: 1 row; " in failures(result)
    assert "feature=active_day_count_30d" in failures(result)
    assert "than what was known by the end of their day gives" in failures(result)
    assert result.closed == ("candidate_model",)


def test_a_model_that_is_worse_than_the_rules_is_refused_by_them_where_no_model_has_served(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The planted model behaves, and goes by what says nothing of who buys; the blend would stand on the rules.
    planted = ("account_balance_usd", "gender", "primary_device")
    others = (name for name in training_rows.possible_inputs(load_settings()) if name not in planted)
    monkeypatch.setenv("GESTURE_EXCLUDED_FEATURES", ", ".join(others))
    monkeypatch.setenv("GESTURE_MODEL_RECIPE", "document_001")
    with duckdb.connect(str(copy / "warehouse.duckdb")) as con:
        con.execute("delete from model_activations")
    result = run_training(LAST, at="2026-03-11T03:00")
    assert result.success, failures(result)
    assert (candidate(copy, "decision"), candidate(copy, "parent_version")) == ("kept", None)
    words = r"worse: roc_auc 0\.5\d+ against 0\.8\d+ of the rules: (-0\.\d+) \((-0\.\d+) to (-0\.\d+)\)"
    found = re.fullmatch(words, candidate(copy, "because"))
    assert found, candidate(copy, "because")
    con = warehouse(copy)
    gain = con.execute(
        "select value, low, high from model_evaluation where metric = 'roc_auc_gain_of_model' and model_version = ?",
        [candidate(copy, "model_version")],
    ).fetchall()
    assert gain == [tuple(pytest.approx(float(figure), abs=1e-4) for figure in found.groups())]
    assert con.execute("from model_activations").fetchall() == []
    con.close()


def test_too_few_days_are_refused_with_the_command(copy: Path) -> None:
    result = run_training(LAST - timedelta(days=40), at="2026-03-11T03:00")
    assert not result.success
    # No day is missing: it is too early, and the first day that has enough is named, which is live already.
    assert "next: gesture train --date 2026-02-22  (the history begins on 2025-12-26)" in failures(result)


def test_scores_are_made_again_from_what_is_published_and_other_features_are_noticed(copy: Path) -> None:
    scored = ask(copy, f"select count(*) from model_scores where as_of_date = '{LAST}'")[0][0]
    assert f"{scored:,} scores of {LAST} were made again" in gesture("models", "verify")
    with duckdb.connect(str((copy / "gesture.duckdb").resolve())) as con:
        con.execute(
            f"update user_features set event_count = event_count + 1 where as_of_date = '{LAST}' "
            f"and user_id = (select min(user_id) from model_scores where as_of_date = '{LAST}')"
        )
    refused = CliRunner().invoke(app, ["models", "verify", "--date", str(LAST)])
    assert refused.exit_code == 1
    assert "1 with other features" in str(refused.exception)
    before = CliRunner().invoke(app, ["models", "verify", "--date", str(LAST - timedelta(days=1))])
    assert f"next: gesture models verify --date {LAST}" in str(before.exception)


# ---- what stands beside it ------------------------------------------------------------------------------------------


def gesture(*arguments: str) -> str:
    """What the command prints, in this process and this test's folder."""
    done = CliRunner().invoke(app, arguments)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def version_of(data_dir: Path) -> str:
    return ask(data_dir, "select model_version from model_activations order by activation desc limit 1")[0][0]


def test_the_test_part_is_kept_and_gives_the_figures_that_are_published(world: Path) -> None:
    from sklearn.metrics import roc_auc_score

    from gesture_assets.models.versions import judged_rows

    version = version_of(world)
    rows = judged_rows(load_settings().models, version)
    counted = "select count(*), sum(label)::int from training_set where split <> 'train'"
    assert ask(world, counted) == [(len(rows), rows["label"].sum())]
    figures = dict(
        ask(world, "select metric, value from analytics.model_figures where part = 'test' and segment = 'all'")
    )
    assert figures["roc_auc"] == pytest.approx(roc_auc_score(rows["label"], rows["probability"]), abs=1e-12)
    assert figures["base_rate"] == pytest.approx(rows["label"].mean())
    sooner = sooner_rows(version, rows, rows["probability"].to_numpy())
    columns = [name for name in ("metric", "value", "target", "is_met", "because") if name in sooner.columns]
    asked = f"select {', '.join(columns)} from analytics.model_figures where metric in ('{SOONER}', '{TIMED}')"
    assert sorted(ask(world, asked)) == sorted(sooner.select(columns).rows())
    assert rows.filter(label=1)["bought_on"].null_count() < rows["label"].sum()
    points = rows["rule_score"].fill_null(0)
    by_rules = ask(world, "select value from model_evaluation where part = 'rules' and metric = 'roc_auc'")
    assert by_rules == [(pytest.approx(roc_auc_score(rows["label"], points), abs=1e-12),)]
    gains = dict(ask(world, "select part, value from model_evaluation where metric like 'roc_auc_gain%'"))
    without = ask(
        world,
        "select value from model_evaluation where part = 'without_rule_score' and segment = 'all' "
        "and metric = 'roc_auc'",
    )
    assert gains["rules"] == pytest.approx(figures["roc_auc"] - by_rules[0][0])
    assert gains["without_rule_score"] == pytest.approx(figures["roc_auc"] - without[0][0])
    (points_of_curve,) = ask(world, "select count(*) from model_evaluation where part = 'learning_curve'")[0]
    assert points_of_curve >= 2


def test_the_table_of_document_001_has_its_columns_and_the_champion(world: Path) -> None:
    (row,) = published(world).execute("from analytics.model_metrics").pl().rows(named=True)
    assert list(row) == [
        "id",
        "model_version",
        "model_type",
        "precision",
        "recall",
        "f1_score",
        "auc_roc",
        "accuracy",
        "conversion_rate",
        "contact_success_rate",
        "avg_prediction_score",
        "training_samples",
        "validation_samples",
        "feature_count",
        "training_duration",
        "is_active",
        "deployed_at",
        "created_at",
        "updated_at",
    ]
    assert row["model_version"] == version_of(world)
    assert row["is_active"]
    assert row["feature_count"] > 100
    assert [name for name, value in row.items() if value is None] == ["contact_success_rate"]


def test_views_show_when_a_score_was_made_both_scores_and_every_reason_code(world: Path) -> None:
    from gesture_assets.models.reasons import REST_CODE, reason_code

    con = published(world)
    scored = con.execute("from analytics.current_model_scores").pl()
    assert scored["prediction_time"].null_count() == 0
    both = con.execute("from analytics.current_scores where model_score is not null").pl()
    assert len(both) == len(scored)
    ranks = {name: (both[name].rank() - 0.5) / len(both) * 100 for name in ("rule_score", "probability")}
    assert (both["rank_difference"] - (ranks["rule_score"] - ranks["probability"]).abs()).abs().max() < 1e-9
    assert both["is_disagreement"].to_list() == (both["rank_difference"] > 40).to_list()
    codes = dict(con.execute("select coalesce(feature, 'rest'), reason_code from analytics.reason_codes").fetchall())
    assert codes.pop("rest") == REST_CODE
    assert codes == {feature: reason_code(feature) for feature in codes}
    unknown = con.execute("select reason_code from score_reasons anti join analytics.reason_codes using (reason_code)")
    assert unknown.fetchall() == []


PICTURES = {"reliability", "lift", "roc", "precision_recall", "importance", "distribution", "learning_curve"}


def test_a_training_shows_its_pictures_and_which_segments_have_too_few_for_a_model(
    forced: tuple[Path, NightResult],
) -> None:
    folder, result = forced
    notes = result.results["candidate_model"].notes
    pictures = {name: note for name, note in notes.items() if "](data:image/svg+xml;base64," in str(note)}
    shown = {name for name, note in pictures.items() if isinstance(note, Markdown)}
    assert shown == PICTURES
    segments = json.loads(candidate(folder, "segment_models"))
    assert "primary_device=mobile" in segments  # of whom a world this small has too few for a model of their own
    assert {said.split(" ")[0] for said in segments.values()} == {"global:"}


def test_what_a_training_was_told_stands_in_mlflow(forced: tuple[Path, NightResult]) -> None:
    folder, result = forced
    tracking = Tracking(load_settings().mlflow_database, load_settings().mlflow_artifacts)
    run = tracking.client.get_run(str(result.results["candidate_model"].notes["mlflow_run_id"])).data
    told = {name: run.params[name] for name in ("n_estimators", "max_depth", "validation_split")}
    assert told == {"n_estimators": "20", "max_depth": "3", "validation_split": "0.3"}
    assert run.tags["because"].startswith("by hand: a trial of the board's")
    con = warehouse(folder)
    (share,) = con.execute(
        """select count(distinct person_id) filter (random_split = 'validation') / count(distinct person_id)
        from training_set where as_of_date = ?""",
        [LAST],
    ).fetchone()
    con.close()
    assert (share, Again().validation_split) == (pytest.approx(0.3, abs=0.01), VALIDATION_SPLIT)


def test_a_version_trained_once_more_is_equal_whatever_came_since(
    forced: tuple[Path, NightResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = forced
    version, models = version_of(folder), load_settings().models
    before, versions = content_hashes(folder), sorted(path.name for path in models.glob("v*"))
    # Neither other settings nor another champion matter: the card says what it was trained with.
    monkeypatch.setenv("GESTURE_EXCLUDED_FEATURES", "rule_score,event_count_7d")
    monkeypatch.setenv("GESTURE_LABEL_HORIZON_DAYS", "20")
    said = gesture("train", "--from-version", version)
    assert f"equals {version}, difference 0" in said
    after = content_hashes(folder)
    assert {key: digest for key, digest in after.items() if before.get(key) != digest} == {}
    assert sorted(path.name for path in models.glob("v*")) == versions
    assert "equals" in Tracking(load_settings().mlflow_database, load_settings().mlflow_artifacts).reproduced(version)
    with pytest.raises(ConfigError, match="it alone"):
        gesture("train", "--from-version", version, "--params", "max_depth=3")


def candidate(data_dir: Path, column: str) -> str:
    """What `column` says of the newest candidate."""
    con = warehouse(data_dir)
    (found,) = con.execute(f"select {column} from candidate_model where as_of_date = '{LAST}'").fetchone()
    con.close()
    return found


def test_two_versions_are_compared_on_the_newer_one_s_test_part(challenged: Path) -> None:
    old, new = version_of(challenged), candidate(challenged, "model_version")
    found = json.loads(gesture("models", "compare", new, old, "--json"))
    assert (found["older"], found["newer"]) == (old, new)
    assert found["parameters"] == {"max_depth": [3, 2], "n_estimators": [100, 20]}
    assert found["features_of_older_only"] == found["features_of_newer_only"] == []
    con = warehouse(challenged)
    judged = dict(
        con.execute(
            "select model_version, value from model_evaluation where part = 'test' and segment = 'all' "
            f"and metric = 'roc_auc' and as_of_date = '{LAST}'"
        ).fetchall()
    )
    con.close()
    figures = found["metrics"]["roc_auc"]
    # As they serve, on the last day; by its own judgement the newer one is asked out of fold.
    assert judged == {old: pytest.approx(figures["older"], abs=0.02), new: pytest.approx(figures["newer"], abs=0.05)}
    assert figures["low"] <= figures["difference"] <= figures["high"]
    assert "max_depth" in gesture("models", "compare", old, new)
    with pytest.raises(ConfigError, match="is not known"):
        gesture("models", "compare", old, "v1")


def test_a_training_that_is_kept_ends_with_what_its_data_can_tell_and_commands_that_work(
    challenged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = candidate(challenged, "model_version")
    card = json.loads((challenged / "models" / version / "version.json").read_text())
    assert card["decision"] == "kept"
    say_outcome(load_settings(), card)
    say_next(version, LAST + timedelta(days=15))
    said = capsys.readouterr().out
    assert f"Is there enough data? {card['data_verdict']}: {card['data_because']}." in said
    assert f"gesture train --date {LAST + timedelta(days=15)}  once it is live" in said
    for command in commands_in(said):
        assert refusal(command, strict=True) == "", command


# ---- looking --------------------------------------------------------------------------------------------------------


def test_a_report_is_one_file_whose_numbers_come_with_the_sql_that_gives_them(world: Path, tmp_path: Path) -> None:
    gesture("report", "model", "--out", str(tmp_path / "model.html"))
    text = (tmp_path / "model.html").read_text(encoding="utf-8")
    assert len(text) < 5_000_000
    assert "http" not in text.replace("http-equiv", "")
    boxes = re.findall(r"<dt>([^<]+)</dt><dd><strong>([^<]+)</strong>.*?<pre>(.*?)</pre>", text, re.S)
    assert len(boxes) >= 5
    con = published(world)
    for _, shown, sql in boxes:
        assert f"{con.execute(unescape(sql)).fetchone()[0]:.3f}" == shown
    for sql in re.findall(r"<pre>(.*?)</pre>", text, re.S):
        assert con.execute(unescape(sql)).fetchall()
    assert text.count("<img alt=") == len(PICTURES) + 1  # tonight's scores too
    assert version_of(world) in text
    gesture("report", "model", "--out", str(tmp_path / "again.html"))
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == text
    with pytest.raises(GateClosed, match="no page about the model"):
        gesture("report", "model", "--version", "v1", "--out", str(tmp_path / "none.html"))


def test_where_no_version_ever_served_the_page_is_of_the_newest_and_says_so(world: Path, tmp_path: Path) -> None:
    shutil.copy((world / "gesture.duckdb").resolve(), tmp_path / "gesture.duckdb")
    con = duckdb.connect(str(tmp_path / "gesture.duckdb"))
    assert "does not serve" not in model_report(con, world / "models").html()
    version = version_of(world)
    con.execute("delete from model_activations")
    page = model_report(con, world / "models").html()
    assert f"Model {version}" in page
    assert "It does not serve: the rules do" in page
    con.execute("delete from candidate_model")
    for named in ("", version):
        with pytest.raises(GateClosed, match="no page about the model") as refused:
            model_report(con, world / "models", named)
        assert refused.value.next_step.startswith("gesture publish ")
    with pytest.raises(GateClosed) as refused:
        model_report(con, tmp_path / "no_models")
    assert refused.value.next_step == "gesture models list"
    con.close()


def test_explain_shows_rules_and_model_and_the_score_to_act_on(world: Path) -> None:
    user, score, probability = ask(
        world,
        "select user_id, model_score, probability from intent_scores where source = 'model' "
        f"and as_of_date = '{LAST}' order by probability desc, user_id limit 1",
    )[0]
    said = gesture("explain", user)
    assert f"score {score:.0f}, probability {probability:.4f}" in said
    for sentence, code in ask(
        world, f"select sentence, reason_code from score_reasons where user_id = '{user}' and as_of_date = '{LAST}'"
    ):
        assert f"{sentence}\t" in said
        assert code in said
    assert f"To act on: {score:.0f} (probability {probability:.4f}), from the model; rules and model rank them " in said
    assert re.search(r"rank them \d+ percentiles apart$", said, re.MULTILINE)
    excluded = ask(
        world,
        "select user_id from intent_scores where source = 'rules_fallback' and fallback_reason = "
        f"'already_converted' and as_of_date = '{LAST}' order by 1 limit 1",
    )[0][0]
    assert "from the rules, as the model gives none (already_converted)" in gesture("explain", "--user-id", excluded)


def test_why_changed_says_why_the_model_s_score_moved_as_well(copy: Path) -> None:
    day = LAST - timedelta(days=1)
    scored = run_night(day, select=TONIGHT, restate_reason="it has a champion now")
    assert scored.success, failures(scored)
    user, *scores = (
        warehouse(copy)
        .execute(
            "select user_id, a.score, b.score from model_scores a join model_scores b using (user_id) "
            "where a.as_of_date = ? and b.as_of_date = ? order by abs(a.score - b.score) desc, user_id",
            [day, LAST],
        )
        .fetchall()[0]
    )
    said = json.loads(gesture("why-changed", user, "--json"))["model"]
    assert [said["before"], said["after"]] == scores
    parts = ("late_data", "decay_and_time", "new_behaviour", "rule_edit", "model_swap")
    assert sum(said[part] for part in parts) == pytest.approx(said["change"], abs=1e-6)
    assert (abs(said["change"]) > 0, said["model_swap"], said["unexplained"]) == (True, 0, 0)


def test_the_layout_of_document_000_holds_a_model_that_plain_xgboost_reads(world: Path, tmp_path: Path) -> None:
    import xgboost

    gesture("export", "--layout", "scoring-csv", "--to", str(tmp_path))
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")} == {
        "data/raw_events.csv",
        "data/user_features.csv",
        "data/user_scores.csv",
        "data/top_users.csv",
        "data/user_model_scores.csv",
        "models/xgb_model.json",
        "models/training_metrics.json",
    }
    booster = xgboost.Booster(model_file=tmp_path / "models" / "xgb_model.json")
    rows = pl.read_csv(tmp_path / "data" / "user_model_scores.csv", infer_schema_length=None)
    names = booster.feature_names
    assert names
    found = booster.predict(xgboost.DMatrix(rows.select(names).cast(pl.Float32).to_numpy(), feature_names=names))
    assert np.array_equal(found, rows["raw_probability"].cast(pl.Float32).to_numpy())
    kept = ask(world, f"select user_id, probability from model_scores where as_of_date = '{LAST}' order by 1")
    assert rows.sort("user_id").select("user_id", "probability").rows() == kept
    metrics = json.loads((tmp_path / "models" / "training_metrics.json").read_text())
    assert metrics["test"]["roc_auc"] > 0.7
    features = (tmp_path / "data" / "user_features.csv").read_text().splitlines()[0]
    assert features.startswith("user_id,location_city,gender,primary_device,account_balance_usd")
    before = gesture("export", "--layout", "scoring-csv", "--to", str(tmp_path / "b"), "--date", "2026-03-01")
    assert "No model scored 2026-03-01" in before
    assert not (tmp_path / "b" / "models" / "xgb_model.json").exists()
    assert (tmp_path / "b" / "data" / "user_scores.csv").exists()
    with pytest.raises(ConfigError, match="a table, or --layout"):
        gesture("export", "rule_scores", "--layout", "scoring-csv", "--to", str(tmp_path))


# ---- searching ------------------------------------------------------------------------------------------------------


def children(tracking: Tracking, parent: str) -> list[Any]:
    return tracking.client.search_runs([tracking.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")


@pytest.mark.parametrize("sampler", [pytest.param("random", marks=pytest.mark.proof), "tpe"])
def test_a_search_killed_on_its_way_goes_on_and_its_parent_has_every_trial(copy: Path, sampler: str) -> None:
    trials = 40 if sampler == "random" else 16
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "gesture_assets.cli",
        "train",
        "--tune",
        "--trials",
        str(trials),
        "--sampler",
        sampler,
    ]
    journal = copy / "tuning.journal"
    environment = os.environ | {"DAGSTER_HOME": str(copy / "dagster_home")}
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and finished(journal) < 3:
            time.sleep(0.02)
        process.kill()
    made = finished(journal)
    assert 3 <= made < trials
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    tracking = Tracking(load_settings().mlflow_database, load_settings().mlflow_artifacts)
    found = tracking.client.search_runs([tracking.experiment_id], f"tags.trials = '{trials}'")
    assert [(run.info.status, int(run.data.tags["resumed"])) for run in found] == [("FINISHED", made)]
    tried = children(tracking, found[0].info.run_id)
    assert len(tried) == trials
    for run in tried:
        assert all(low <= float(run.data.params[name]) <= high for name, (low, high) in SPACE.items())
    best = max(tried, key=lambda run: run.data.metrics["roc_auc"])
    assert {name: found[0].data.params[name] for name in SPACE} == {name: best.data.params[name] for name in SPACE}
    assert not tracking.client.search_runs([tracking.experiment_id], "attributes.status = 'RUNNING'")
    names = {one.path for one in tracking.client.list_artifacts(found[0].info.run_id, "pictures")}
    assert names == {f"pictures/{name}.svg" for name in PICTURES}
    (folder,) = [one.path for one in tracking.client.list_artifacts(found[0].info.run_id) if one.path.startswith("v")]
    kept = {Path(one.path).name for one in tracking.client.list_artifacts(found[0].info.run_id, folder)}
    assert kept >= {"X_test.parquet", "y_test.parquet", "training_metrics.json", "version.json"}


def finished(journal: Path) -> int:
    """Trials that are finished by what the journal says; the line that is being written does not count."""
    lines = journal.read_text().split("\n")[:-1] if journal.exists() else []
    return sum(1 for line in lines if json.loads(line).get("op_code") == 6 and json.loads(line).get("state") == 1)
