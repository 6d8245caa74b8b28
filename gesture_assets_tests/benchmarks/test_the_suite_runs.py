"""The benchmarks at tiny sizes: they run, compare equals, and write what they found. Figures are not judged here.

`make test` runs one small part as the command does, and one night with its parts timed; `make proof` the others.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gesture_assets_tests.benchmarks import product
from gesture_assets_tests.benchmarks.__main__ import arguments
from gesture_assets_tests.benchmarks.by_hand import Script
from gesture_assets_tests.benchmarks.history import let_a_champion_serve
from gesture_assets_tests.benchmarks.plain_pandas import score_file
from gesture_assets_tests.benchmarks.suite import NOT_BY_HAND, differences
from gesture_assets_tests.benchmarks.world import LAST, Size, write_world

ROOT = Path(__file__).resolve().parents[2]


def run_suite(out: Path, *arguments: str) -> dict[str, Any]:
    """The parts that a run of the suite wrote to `out`, by name."""
    command = [sys.executable, "-m", "gesture_assets_tests.benchmarks", "--out", str(out), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {part["part"]: part for part in json.loads(out.read_text())["parts"]}


@pytest.mark.parametrize("name", [name for names in product.PARTS.values() for name in names])
def test_what_is_timed_is_there(name: str) -> None:
    assert product.holders(name)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("gesture_assets.warehouse.session:Session._hashes", AttributeError),
        ("gesture_assets.warehouse.relations:no_hashes", AttributeError),
        ("gesture_assets.warehouse.nowhere:hashes", ImportError),
    ],
)
def test_a_name_that_is_not_there_is_not_passed_over(name: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"_hashes|nowhere"):
        product.holders(name)


@pytest.mark.slow
def test_a_night_is_timed_in_parts_equals_the_one_by_hand_and_can_have_a_champion(data_dir: Path) -> None:
    size = Size(2_000, 300, 2)
    write_world(size, data_dir)
    with product.timed() as watch:
        seconds = product.run(size.dates[0], LAST)
    assert set(watch.parts) == set(product.PARTS)
    assert all(spent > 0 for spent in watch.parts.values())
    assert sum(watch.parts.values()) < seconds["whole"]
    assert {"whole", "sessions", "published_warehouse"} <= set(seconds)

    let_a_champion_serve()
    warehouse = data_dir / "warehouse.duckdb"
    ours = product.contents(warehouse, LAST)
    Script.of(data_dir, LAST).run()
    made = product.contents(warehouse, LAST)
    assert {"raw_events", "sessions", "user_features", "rule_scores", "rule_contributions"} <= set(made)
    assert differences(ours, made) == {}


@pytest.mark.proof
def test_a_night_is_compared_with_the_same_tables_made_by_hand(tmp_path: Path) -> None:
    sizes = ("--events", "4000", "--users", "200", "--days", "3")
    part = run_suite(tmp_path / "bench.json", *sizes, "--only", "night", "--keep", str(tmp_path / "worlds"))["night"]
    assert part["figures"]["differences"] == {}
    assert {"user_features", "rule_scores", "rule_contributions", "raw_events", "sessions"}.isdisjoint(
        part["figures"]["not_by_hand"]
    )
    ours, by_hand = part["figures"]["night"], part["figures"]["by_hand"]
    assert {"audit", "hashing", "staging", "promotion", "publishing"} <= set(ours["parts"])
    assert sum(ours["parts"].values()) == pytest.approx(ours["seconds"])
    compared = ours["seconds"] - sum(ours["steps"][step] for step in NOT_BY_HAND if step in ours["steps"])
    ratio = compared / by_hand["seconds"]
    assert part["limits"][0]["found"] == pytest.approx(ratio)
    assert part["limits"][0]["holds"] == (ratio <= 1.5)


@pytest.mark.proof
def test_small_nights_are_compared_with_an_empty_job(tmp_path: Path) -> None:
    sizes = ("--events", "0", "--users", "60", "--days", "4")
    part = run_suite(tmp_path / "bench.json", *sizes, "--only", "cost")["cost"]
    figures, limits = part["figures"], {limit["what"]: limit["found"] for limit in part["limits"]}
    spent = {name: run["processor_seconds"] for name, run in figures.items()}
    assert set(spent) == {
        "nights_in_one_run",
        "floor",
        "cold_night",
        "cold_night_of_new_code",
        "warm_nights",
        "warm_nights_of_more_tables",
        "nothing_changed",
    }
    assert limits["a cold night ÷ the floor"] == pytest.approx(spent["cold_night"] / spent["floor"])
    assert spent["nothing_changed"] < spent["warm_nights"] < spent["cold_night"]
    assert 1 < limits["MB of run storage"] < 1_000


@pytest.mark.proof
def test_what_is_acted_on_in_demo_worlds_is_no_worse_than_the_rules(tmp_path: Path) -> None:
    sizes = ("--users", "500", "--days", "80")
    part = run_suite(tmp_path / "bench.json", *sizes, "--only", "demo_model")["demo_model"]
    figures, limits = part["figures"], {limit["what"]: limit for limit in part["limits"]}
    assert limits["ROC AUC of the blend less the better of rules and trees"]["holds"]
    assert limits["ROC AUC acted on less the rules'"]["holds"]
    assert figures["oracle"]["roc_auc"] > figures["mean"]["blend"]["roc_auc"] > 0.8
    assert len(figures["worlds"]) == 3


@pytest.mark.slow
def test_landing_is_compared_with_one_statement(tmp_path: Path) -> None:
    sizes = ("--events", "3000", "--users", "100", "--days", "3")
    part = run_suite(tmp_path / "bench.json", *sizes, "--only", "landing")["landing"]
    figures = part["figures"]
    assert 2_500 < figures["landing"]["rows"] < 3_500
    assert all(figures[name]["processor_seconds"] > 0 for name in ("landing", "by_hand"))
    assert len(part["limits"]) == 2


@pytest.mark.slow
def test_models_are_compared_with_xgboost_s_own_calls(tmp_path: Path) -> None:
    part = run_suite(tmp_path / "bench.json", "--users", "600", "--only", "models")["models"]
    figures = part["figures"]
    assert set(figures) == {"model_training", "model_scoring", "model_reasons"}
    assert all(run["seconds"] > 0 and run["xgboost_seconds"] > 0 and run["rows"] == 600 for run in figures.values())
    assert 600 * 5 < figures["model_reasons"]["reasons"] <= 600 * 11
    assert len(part["limits"]) == 6


@pytest.mark.slow
def test_lists_of_pings_are_those_of_the_loop_over_users(tmp_path: Path) -> None:
    part = run_suite(tmp_path / "bench.json", "--events", "4000", "--users", "120", "--only", "pings")["pings"]
    figures, limits = part["figures"], {limit["what"]: limit for limit in part["limits"]}
    assert limits["users whose lists are not the loop's"]["holds"]
    assert figures["loop_of_document_004"]["users"] == 30
    assert figures["lists"]["users"] == 120
    assert sum(figures["lists"]["parts"].values()) == pytest.approx(figures["lists"]["seconds"])
    assert len(limits) == 4


@pytest.mark.proof
def test_the_second_stage_is_judged_on_a_log_that_others_made(tmp_path: Path, reference: Path) -> None:
    part = run_suite(tmp_path / "bench.json", "--users", "2500", "--only", "kuairand")["kuairand"]
    figures, limits = part["figures"], {limit["what"]: limit for limit in part["limits"]}
    assert figures["users"] == 2_500
    for fold in ("earlier", "test"):
        table = figures[f"{fold}_reranking"]["table"]
        assert table["constant"]["auc"]["value"] == 0.5
        # An order by chance and a constant are alike; so few users say no more than that it is better than either.
        assert table["random"]["ndcg"]["low"] < table["constant"]["ndcg"]["value"] < table["random"]["ndcg"]["high"]
        assert limits[f"{fold} days: ndcg of the ranker less that of heuristic, lower bound"]["holds"]
        assert figures[f"{fold}_reranking"]["ranker_less"]["random"]["auc"]["low"] > 0.1
        lists = figures[f"{fold}_catalogue"]
        assert lists["table"]["ranker"]["novelty"] == 1
        assert lists["ranker_less"]["random"]["ndcg"]["low"] > 0
    assert limits["GB at most"]["holds"]


def test_plain_pandas_scores_whoever_sent_an_event(tmp_path: Path) -> None:
    write_world(Size(2_000, 100, 1, keeps_sessions=True), tmp_path, form="csv")
    events = tmp_path / "landing" / "native" / f"events-{LAST}.csv"
    found = score_file(events, tmp_path)
    scores = duckdb.sql(f"from '{tmp_path / 'user_scores.csv'}'")
    sent = duckdb.sql(
        f"""select distinct coalesce(user_id, 'anon:' || anonymous_id) from '{events}'
        where event_at is not null and coalesce(user_id, anonymous_id) is not null"""
    )
    assert {row[0] for row in scores.project("user_id").fetchall()} >= {row[0] for row in sent.fetchall()}
    assert found["users"] == len(scores) > 50
    assert scores.aggregate("min(score) >= 1 and max(score) <= 100 and count(distinct score) > 10").fetchone() == (
        True,
    )
    assert len(duckdb.sql(f"from '{tmp_path / 'top_users.csv'}'")) == 20


def test_an_unknown_part_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "nights"])
    with pytest.raises(SystemExit) as ended:
        arguments()
    assert ended.value.code == 2
    assert "unknown parts nights" in capsys.readouterr().err
