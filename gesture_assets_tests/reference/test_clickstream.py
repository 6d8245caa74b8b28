"""The shop clickstream with known incidents through whole nights: what landed, its visits, what alarms and when."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gesture_assets_tests.conftest import use_settings
from gesture_assets_tests.running import failures, published, run_night

ROOT = Path(__file__).resolve().parents[2]
FIRST, LAST = date(2024, 1, 4), date(2024, 6, 29)  # nothing happened on 2024-01-05: a day without rows has no night
REFERENCE_COMPLETE = date(2024, 2, 7)  # the week, and the four weeks before it
LANDED_AT = datetime(2024, 7, 1, 2)  # the events bring no time of arrival
EVENTS = Path("clickstream") / "events_with_known_drift.csv.gz"
ALARMED = "verdict in ('drift', 'moderate')"


@pytest.fixture(scope="module")
def shop(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """What is published after one run over all days of the shop."""
    folder = tmp_path_factory.mktemp("shop") / "data"
    landing = folder / "landing" / "shop_clickstream"
    landing.mkdir(parents=True)
    shutil.copy(reference / EVENTS, landing)
    with pytest.MonkeyPatch.context() as patch:
        use_settings(patch, folder)
        result = run_night(FIRST, LAST, now=LANDED_AT)
        assert result.success, failures(result)
    with published(folder) as con:
        yield con


def ask(con: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return con.execute(query).fetchall()


def alarms(con: duckdb.DuckDBPyConnection, first: str, last: str) -> set[tuple[str, str]]:
    """(segment, name) of what alarmed in these nights."""
    return set(
        ask(
            con,
            f"select segment, name from event_mix_drift where as_of_date between '{first}' and '{last}' and {ALARMED}",
        )
    )


# ---- what landed -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_event_of_the_clickstream_is_accepted(shop: duckdb.DuckDBPyConnection) -> None:
    landed = ask(
        shop,
        "select sum(landed_count), sum(accepted_count), sum(duplicate_count), sum(quarantined_count) "
        "from landing_reconciliation",
    )
    assert landed == [(31_106, 31_106, 0, 0)]
    assert ask(
        shop,
        "select count(*), count(distinct event_id), count(distinct user_id), min(as_of_date), max(as_of_date) "
        "from raw_events",
    ) == [(31_106, 31_106, 600, FIRST, LAST)]
    assert ask(shop, "select count(*) from quarantined_events") == [(0,)]


@pytest.mark.slow
def test_the_visits_are_the_source_s_own(shop: duckdb.DuckDBPyConnection) -> None:
    assert ask(shop, "select count(distinct source_session_id) from raw_events") == [(3_605,)]
    visits = ask(
        shop,
        "select count(*), sum(event_count) from (select session_id, event_count from sessions "
        "group by all having sum(filed) = 1)",
    )
    assert visits == [(3_605, 31_106)]


@pytest.mark.slow
def test_the_planted_payment_incident_is_seen_in_the_events(shop: duckdb.DuckDBPyConnection) -> None:
    ((inside, outside),) = ask(
        shop,
        """select count(*) filter (where as_of_date between '2024-05-19' and '2024-06-07') / 20,
            count(*) filter (where as_of_date < '2024-05-19') / (date '2024-05-19' - date '2024-01-04')
        from raw_events where event_type = 'chat_message'""",
    )
    assert inside > 3 * outside


# ---- what alarms -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_nights_with_an_alarm_can_be_read(
    shop: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    nights = ask(
        shop,
        f"""select as_of_date, count(*), list(segment || ', ' || name order by effect desc, segment, name)[:3]
        from event_mix_drift where {ALARMED} group by all order by 1""",
    )
    with capsys.disabled():
        for night, count, most in nights:
            print(f"\n{night}  {count:2}  {'; '.join(most)}", end="")
    assert nights
    alarmed = f"select as_of_date, count(*) from event_mix_drift where {ALARMED} group by all order by 1"
    told = "select as_of_date, count(*) from alerts where alert_key like 'events/%' group by all order by 1"
    assert ask(shop, told) == ask(shop, alarmed)


@pytest.mark.slow
def test_the_payment_incident_is_alarmed_within_four_nights(shop: duckdb.DuckDBPyConnection) -> None:
    found = alarms(shop, "2024-05-19", "2024-05-22")
    assert {("all", "payment_error"), ("all", "payment_details → purchase")} <= found
    (first,) = ask(shop, "select min(as_of_date) from alerts where alert_key = 'events/all/type/payment_error'")
    assert first == (date(2024, 5, 20),)


@pytest.mark.slow
def test_the_checkout_bug_is_alarmed_within_seven_nights_and_as_one_of_mobile(shop: duckdb.DuckDBPyConnection) -> None:
    assert ("all", "checkout_bug") in alarms(shop, "2024-04-09", "2024-04-15")
    assert "mobile" in {segment for segment, _ in alarms(shop, "2024-04-09", "2024-05-09")}


@pytest.mark.slow
def test_weeks_without_an_incident_have_two_nights_with_an_alarm_at_most(shop: duckdb.DuckDBPyConnection) -> None:
    ((nights,),) = ask(
        shop,
        f"""select count(distinct as_of_date) from event_mix_drift
        where as_of_date between '2024-03-10' and '2024-04-08' and {ALARMED}""",
    )
    assert nights <= 2


@pytest.mark.slow
def test_the_weeks_of_a_young_source_are_too_few_rows(shop: duckdb.DuckDBPyConnection) -> None:
    first = ask(shop, "select min(as_of_date) from event_mix_drift where verdict <> 'too_few_rows'")
    assert first == [(REFERENCE_COMPLETE,)]


@pytest.mark.slow
def test_the_viral_article_left_no_crowd_in_the_events(shop: duckdb.DuckDBPyConnection, reference: Path) -> None:
    # The data set says "new visitors, few buyers". What its rows say of those days, beside the four weeks before:
    rows = ask(
        shop,
        f"""with events as (
            select *, timestamp::date as happened_on, min(timestamp::date) over (partition by user_id) as first_on
            from read_csv('{reference / EVENTS}')
        ), visits as (
            select happened_on between '2024-02-29' and '2024-03-03' as is_viral, session_id, happened_on,
                any_value(first_on = happened_on) as is_first, any_value(user_lifecycle = 'new') as is_new,
                any_value(acquisition_channel = 'social') as is_social, bool_or(event = 'purchase') as has_bought
            from events where happened_on between '2024-02-01' and '2024-03-03' group by all
        )
        select is_viral, count(distinct happened_on), count(*), count(*) filter (is_first), count(*) filter (is_new),
            count(*) filter (is_social), count(*) filter (has_bought)
        from visits group by all order by 1""",
    )
    # days, visits, first visits, visits of new users, from social media, with a purchase
    assert rows == [(False, 28, 239, 121, 150, 43, 31), (True, 4, 48, 17, 21, 6, 4)]
    # A day had 4.25 new users, and 4.3 before; of visits they are fewer. So nothing may be said to be found.
    assert alarms(shop, "2024-02-29", "2024-03-09") == set()
    shares = ask(
        shop,
        """select bool_and(rate_current < rate_reference), min(p_value) > 0.01 from event_mix_drift
        where as_of_date between '2024-02-29' and '2024-03-09' and segment = 'all' and kind = 'new_visitors'""",
    )
    assert shares == [(True, True)]


# ---- without the data ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_without_reference_data_these_tests_are_skipped_with_the_reason(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    environment = {**os.environ, "GESTURE_REFERENCE_DATA": str(nowhere)}
    here = Path(__file__).parent
    names = [str(here / name) for name in ("test_scoring_csv.py", "test_crm.py", "test_clickstream.py")]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-rs",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:randomly",
            *names,
            "--deselect",
            f"{Path(__file__).relative_to(ROOT)}::{sys._getframe().f_code.co_name}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"the reference data is not at {nowhere}" in done.stdout
    assert "passed" not in done.stdout
    assert "failed" not in done.stdout
