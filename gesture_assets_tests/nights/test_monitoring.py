"""What a champion's nights say about themselves: drift, how scores turned out, whether to train, who is told."""

import logging
import shutil
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gesture_assets.cli.console import run_info
from gesture_assets.monitoring.tables import DRIFT, PERFORMANCE
from gesture_assets.nights.runner import run_steps
from gesture_assets.nights.score_changes import STEPS as SCORE_CHANGES
from gesture_assets.records import alert_log
from gesture_assets.records.opening import warehouse_of
from gesture_assets.settings import load_settings
from gesture_assets_tests.running import content_hashes, failures, run_night, warehouse
from gesture_assets_tests.worlds import SERVED, TRAINED, copy_world
from gesture_assets_tests.worlds import WATCHED_FEATURES as FEATURES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),  # MLflow's own, about its own
]

NIGHTS = tuple(SERVED[-1] + timedelta(days=n) for n in range(1, 5))
TO_ALERTS = "+alerts"
MONITORING = "drift_reports or performance_report or alerts"
KEY = "drift/number/search_count_7d"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A champion has served from the day it was trained on until its first outcomes; not to be changed."""
    return copy_world("watched", tmp_path_factory.mktemp("watched") / "data")


@pytest.fixture
def copy(copied_world: Callable[[str], Path]) -> Path:
    """A world of one's own to break."""
    return copied_world("watched")


def night(first: date, last: date | None = None, *, select: str = TO_ALERTS, now: datetime | None = None) -> None:
    result = run_night(first, last, select=select, now=now)
    assert result.success, failures(result)


def ask(data_dir: Path, query: str) -> list[tuple[Any, ...]]:
    with warehouse(data_dir) as con:
        return con.execute(query).fetchall()


def logged(data_dir: Path, key: str = KEY) -> list[tuple[date, str]]:
    return ask(data_dir, f"select night, change from alert_log where alert_key = '{key}' order by entry")


# ---- drift ---------------------------------------------------------------------------------------------------------


def test_every_day_that_a_champion_serves_has_profiles_statistics_and_a_report(world: Path) -> None:
    expected = [(day, 1) for day in SERVED]
    for table, rows in (("feature_profiles", len(FEATURES) + 1), ("drift_reports", len(FEATURES) + 1)):
        found = ask(
            world,
            f"""select as_of_date, count(distinct model_version) from {table}
            where kind in ('number', 'category', 'score') group by 1 having count(*) = {rows} order by 1""",
        )
        assert found == expected
    histories = ask(
        world,
        """select as_of_date, max(day_count) from feature_statistics
        where baseline = 'weekly' group by 1 having count(*) = """
        f"{len(FEATURES) + 1} order by 1",
    )
    assert histories == [(day, min(known, 7)) for known, day in enumerate(SERVED)]
    outcomes = (
        "select distinct as_of_date, kind from drift_reports where kind in ('label', 'calibration') and n_current > 0"
    )
    assert sorted(ask(world, outcomes)) == [(SERVED[-1], "calibration"), (SERVED[-1], "label")]


def test_a_range_and_single_nights_in_any_order_give_the_same_rows(copy: Path) -> None:
    tables = {one.name for one in (*DRIFT, *PERFORMANCE)} | {"retrain_decision", "alerts"}

    def hashes() -> dict[tuple[str, date], str]:
        return {key: digest for key, digest in content_hashes(copy).items() if key[0] in tables and key[1] in SERVED}

    before = hashes()
    assert len(before) == len(tables) * len(SERVED)
    for part in ("drift_population", "drift_outcomes"):  # what the training looked like is worked out again
        (found,) = load_settings().models.glob(f"*/{part}.parquet")
        found.unlink()
    for day in (SERVED[-1], SERVED[2], SERVED[4]):
        night(day, select=MONITORING)
        assert hashes() == before
    night(SERVED[1], SERVED[-1], select=MONITORING)
    assert hashes() == before


def land_with_searches(data_dir: Path, day: date) -> None:
    """Land `day` as a faulty release sends it: three searches with every event."""
    path = data_dir / "landing" / "native" / f"events-{day}.parquet"
    rows = pl.read_parquet(path)
    searches = [rows.with_columns(event_type=pl.lit("search"), event_id=pl.col("event_id") + f"-{n}") for n in range(3)]
    pl.concat([rows, *searches]).write_parquet(path)


def test_a_planted_shift_is_one_alert_until_it_is_mended(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert logged(copy) == []
    landed = copy / "landing" / "native"
    as_it_was = {day: (landed / f"events-{day}.parquet").read_bytes() for day in NIGHTS[:3]}
    for number, day in enumerate(NIGHTS[:3], 1):
        land_with_searches(copy, day)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            night(day)
        assert any(KEY in line for line in caplog.messages) is (number < 3)  # somebody knows by the third night
        assert ask(copy, f"select as_of_date from alerts where alert_key = '{KEY}' and as_of_date = '{day}'")
        (row,) = ask(
            copy,
            f"select verdict, importance > 0 from drift_reports where as_of_date = '{day}' "
            "and feature = 'search_count_7d'",
        )
        assert row == ("drift", True)
        with warehouse_of(load_settings()).open(run_info("a test", day)) as session:
            (one,) = [one for one in alert_log.incidents(session.connection) if one.alert.key == KEY]
            assert (one.night_count, one.first_seen, one.last_seen) == (number, NIGHTS[0], day)
            if number == 2:
                now = datetime.combine(day, datetime.min.time()) + timedelta(days=1, hours=9)
                alert_log.acknowledge(session.connection, KEY, now=now, note="the release is known")
    known = [(NIGHTS[0], "opened"), (NIGHTS[1], "repeated"), (NIGHTS[1], "acknowledged"), (NIGHTS[2], "repeated")]
    assert logged(copy) == known

    everything = ask(copy, "select count(*) from alert_log")
    tomorrow = datetime.combine(NIGHTS[3], datetime.min.time()) + timedelta(hours=2)
    night(NIGHTS[0], select=MONITORING, now=tomorrow)  # an old day, alarm and all
    assert ask(copy, "select count(*) from alert_log") == everything

    for day, content in as_it_was.items():
        (landed / f"events-{day}.parquet").write_bytes(content)
    night(NIGHTS[0], NIGHTS[3])
    assert logged(copy) == [*known, (NIGHTS[3], "resolved")]
    assert ask(copy, f"select count(*) from alerts where alert_key = '{KEY}'") == [(0,)]
    judged = ask(
        copy,
        "select as_of_date, reasons, model_age_days, new_feedback_count from retrain_decision "
        f"where as_of_date >= '{TRAINED}' order by 1",
    )
    for _, reasons, age, feedback in judged:
        assert ("model_age" in reasons) is (age > 7)
        assert ("new_feedback" in reasons) is (feedback >= 50)
    assert [day for day, reasons, _, _ in judged if "model_age" in reasons] == list(NIGHTS)


# ---- performance and the decision ----------------------------------------------------------------------------------


def test_the_cohort_whose_horizon_ends_that_night_is_judged_beside_its_baseline(world: Path) -> None:
    cohorts = ask(world, "select as_of_date, cohort_date from performance_report where basis = 'realised' group by all")
    assert cohorts == [(SERVED[-1], TRAINED)]
    by_metric = dict(
        ask(
            world,
            """select metric, (sample_count, buyer_count, baseline_value, value)
        from performance_report where basis = 'realised' and segment = 'all'""",
        )
    )
    trained = dict(ask(world, "select metric, value from model_evaluation where part = 'test' and segment = 'all'"))
    users, buyers, baseline, auc = by_metric["roc_auc"]
    assert baseline == trained["roc_auc"]
    rows = ask(
        world,
        f"""select probability, user_id in (
            select user_id from daily_activity where purchase_count > 0 and not is_bot
                and activity_date > date '{TRAINED}' and activity_date <= date '{SERVED[-1]}'
        ) from model_scores where as_of_date = '{TRAINED}'""",
    )
    from sklearn.metrics import roc_auc_score

    bought = [label for _, label in rows]
    assert (users, buyers) == (len(rows), sum(bought))
    assert auc == pytest.approx(roc_auc_score(bought, [probability for probability, _ in rows]))
    bases = ask(world, f"select distinct basis from performance_report where as_of_date = '{SERVED[-1]}'")
    assert {basis for (basis,) in bases} == {"realised", "rules", "estimated"}


def test_without_a_champion_a_training_is_called_for_once_there_are_samples(copy: Path) -> None:
    young, later = date(2026, 1, 27), TRAINED - timedelta(days=2)
    for day in (young, later):
        night(day, select="drift_reports or performance_report", now=datetime(2026, 3, 7, 2))
    rows = ask(
        copy,
        f"""select as_of_date, should_retrain, reasons, training_sample_count >= 100, because
        from retrain_decision where as_of_date < '{TRAINED}' order by 1""",
    )
    assert [row[:4] for row in rows] == [(young, False, "no_champion", False), (later, True, "no_champion", True)]
    assert "There are 0 samples to learn from, and 100 are needed." in rows[0][4]


def test_a_champion_without_its_files_is_an_alarm_of_the_same_night(copy: Path) -> None:
    shutil.rmtree(load_settings().models)
    night(NIGHTS[0])
    found = ask(
        copy, f"select severity from alerts where as_of_date = '{NIGHTS[0]}' and alert_key = 'model/unavailable'"
    )
    assert found == [("ERROR",)]
    assert logged(copy, "model/unavailable") == [(NIGHTS[0], "opened")]
    assert ask(copy, f"select count(*) from drift_reports where as_of_date = '{NIGHTS[0]}'") == [(0,)]


# ---- why scores moved ----------------------------------------------------------------------------------------------


def test_reasons_of_a_change_sum_to_it_for_every_user(copy: Path) -> None:
    done = run_steps(SCORE_CHANGES, load_settings(), [SERVED[-1]], now=datetime(2026, 3, 7, 9))
    assert done.success, failures(done)
    parts: Sequence[str] = ("late_data", "decay_and_time", "new_behaviour", "rule_edit", "model_swap", "unexplained")
    rows = ask(
        copy,
        f"""select count(*), max(abs(change - ({" + ".join(parts)}))), max(abs(change - (after - before))),
            max(abs(unexplained)), count(*) filter (new_behaviour > 0), count(*) filter (decay_and_time < 0)
        from score_changes where as_of_date = '{SERVED[-1]}'""",
    )
    ((users, apart, difference, unexplained, active, faded),) = rows
    assert users > 10
    assert max(apart, difference, unexplained) < 1e-6
    assert active > 0
    assert faded > 0
