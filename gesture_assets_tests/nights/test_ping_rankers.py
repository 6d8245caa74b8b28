"""The training of a ranker, on a landed world of short videos: what it leaves, and from when on it serves."""

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from gesture_assets.demo.pings import write_demo_pings
from gesture_assets.errors import TrainingRefused
from gesture_assets.models.versions import CARD
from gesture_assets.nights import ping_rankers, runner
from gesture_assets.nights.runner import NightResult
from gesture_assets.pings.ranker_files import load_ranker
from gesture_assets.records import activations
from gesture_assets.settings import load_settings
from gesture_assets_tests.running import failures, run_night, warehouse

pytestmark = pytest.mark.slow  # each needs days of lists

LAST = date(2026, 3, 10)
FIRST = LAST - timedelta(days=7)


@pytest.fixture
def built(data_dir: Path) -> Path:
    """Eight days of 120 people, their interactions in the warehouse."""
    truth = data_dir / "truth.parquet"
    write_demo_pings(landing=data_dir / "landing", truth=truth, users=120, days=8, seed=5, end=LAST)
    night = run_night(FIRST, LAST, select="+ping_weights")
    assert night.success, failures(night)
    return data_dir


def trained(day: date, *, minute: int = 0, **options: Any) -> NightResult:
    at = datetime.fromisoformat(f"{LAST + timedelta(days=1)}T03:{minute:02}")
    return runner.run_steps(ping_rankers.STEPS, load_settings(), [day], now=at, options=options)


def asked(data_dir: Path, query: str) -> list[tuple]:
    with warehouse(data_dir) as con:
        return con.execute(query).fetchall()


def serving(data_dir: Path, day: date) -> str | None:
    with warehouse(data_dir) as con:
        return activations.champion(con, day, activations.RANKERS)


def test_a_better_ranker_orders_lists_from_the_next_day_on_and_its_card_says_what_it_is(built: Path) -> None:
    result = trained(LAST)
    assert result.success, failures(result)
    ((version, decision, because, objective),) = asked(
        built, "select ranker_version, decision, because, objective from ping_rankers"
    )
    assert (decision, "NDCG@10" in because) == ("promoted", True)
    assert [serving(built, day) for day in (FIRST, LAST, LAST + timedelta(days=1))] == [None, None, version]
    folder = load_settings().models / "pings"
    assert load_ranker(folder, version).objective == objective
    assert json.loads((folder / version / CARD).read_text())["because"] == because
    gains = "select policy, gain_low > 0 from ping_ranker_evaluation where measure = 'ndcg' and gain is not null"
    assert dict(asked(built, gains))["heuristic"] is True
    assert asked(built, f"select action, reason from audit_log where object = '{version}'") == [
        ("ranker promoted", because)
    ]
    assert not asked(built, "select 1 from model_activations")

    again = trained(LAST, minute=1)
    assert again.success, failures(again)
    prints = asked(built, "select distinct fingerprint, data_hash from ping_rankers")
    assert len(prints) == 1  # what it learned from is the same, so is the ranker


def test_too_few_days_are_refused_and_one_that_is_not_better_serves_only_by_force(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = trained(FIRST + timedelta(days=2))
    assert isinstance(refused.failures["ping_rankers"], TrainingRefused)
    assert asked(built, "select count(*) from audit_log where action = 'training refused'") == [(1,)]
    # As good as the heuristic is not better: its judgement is that of a ranker which learned nothing.
    monkeypatch.setattr(
        "gesture_assets.pings.ranker.Ranker.scores",
        lambda ranker, frame: frame["heuristic"].alias("score").cast(pl.Float32),
    )
    kept = trained(LAST)
    assert kept.success, failures(kept)
    assert asked(built, "select decision from ping_rankers") == [("kept",)]
    assert serving(built, LAST + timedelta(days=1)) is None
    forced = trained(LAST, minute=1, force_reason="a trial with ten people")
    assert forced.success, failures(forced)
    ((version, because),) = asked(built, "select ranker_version, because from ping_rankers where decision = 'promoted'")
    assert because.startswith("by force (a trial with ten people), not by its judgement: NDCG@10")
    assert serving(built, LAST + timedelta(days=1)) == version


def test_lists_of_later_days_are_in_the_ranker_s_order_and_those_of_before_stay(built: Path) -> None:
    def night(day: date, **options: Any) -> list[tuple]:
        done = run_night(day, select="+recommendation_evaluation", **options)
        assert done.success, failures(done)
        return asked(built, f"select * from ping_recommendations where as_of_date = '{day}' order by all")

    before = LAST - timedelta(days=1)
    assert run_night(FIRST, before, select="+ping_recommendations").success
    last = night(before)
    result = trained(before)
    assert result.success, failures(result)
    served = serving(built, LAST)
    assert served
    lists = night(LAST)
    late = trained(before, minute=5)  # lists up to LAST are made: it orders those after them
    assert late.success, failures(late)
    ((newest, since),) = asked(
        built, "select model_version, effective_from from ping_ranker_activations order by activation desc limit 1"
    )
    assert (since, serving(built, LAST)) == (LAST + timedelta(days=1), served)
    assert newest != served
    assert night(before, restate_reason="again") == last  # the day of the training keeps its lists
    assert night(LAST, restate_reason="again") == lists  # whatever the order in which days are built
    newest = f"select distinct as_of_date, ranker_version from ping_recommendations where as_of_date >= '{before}'"
    assert sorted(asked(built, newest)) == [(before, None), (LAST, served)]
    of_last = f"from ping_recommendations where as_of_date = '{LAST}'"
    differing = asked(
        built,
        f"select count(*) from (select user_id, rank, row_number() over (partition by user_id order by score desc) "
        f"as by_score {of_last}) where rank <> by_score",
    )
    assert differing[0][0] > 100
    most = asked(built, f"select max(place) from ping_candidates where as_of_date = '{LAST}'")
    assert most == [(50,)]
    assert asked(built, f"select count(*) from ping_candidates where as_of_date = '{before}'") == [(0,)]
    # Who likes what is known of a demo world: the ranker's lists are nearer to it than those of the scores.
    gains = asked(
        built,
        f"""with truth as (from read_parquet('{built / "truth.parquet"}')),
        by_score as (select user_id, ping_id from ping_candidates where as_of_date = '{LAST}' and place <= 10),
        shown as (select user_id, ping_id {of_last})
        select (select avg(expected_points) from shown join truth using (user_id, ping_id)),
        (select avg(expected_points) from by_score join truth using (user_id, ping_id))""",
    )
    assert gains[0][0] > gains[0][1]


def test_a_ranker_whose_files_are_gone_closes_the_lists_until_somebody_decides(built: Path) -> None:
    assert run_night(FIRST, LAST - timedelta(days=1), select="+ping_recommendations").success
    assert trained(LAST - timedelta(days=1)).success
    version = serving(built, LAST)
    (load_settings().models / "pings" / str(version) / "ranker.json").unlink()
    refused = run_night(LAST, select="+ping_recommendations")
    assert "gesture recs activate heuristic" in str(refused.failures["ping_recommendations"])
    with duckdb.connect(str(built / "warehouse.duckdb")) as con:
        activations.activate(
            con,
            activations.HEURISTIC,
            since=LAST,
            now=datetime(2026, 3, 11, 4),
            action="activated",
            reason="its files are gone",
            table=activations.RANKERS,
        )
    assert run_night(LAST, select="+ping_recommendations").success
    assert asked(built, f"select count(ranker_version) from ping_recommendations where as_of_date = '{LAST}'") == [(0,)]
