"""The shop clickstream with known incidents through whole nights: what stands in the tables, when, and over nothing."""

import shutil
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gesture_assets_tests.running import failures, published, run_night

FIRST, LAST = date(2024, 1, 4), date(2024, 6, 29)
REFERENCE_COMPLETE = date(2024, 2, 7)  # the week, and the four weeks before it
LANDED_AT = datetime.fromisoformat("2024-07-01T02:00")  # the events bring no time of arrival
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
        patch.setenv("GESTURE_DATA_DIR", str(folder))
        patch.setenv("GESTURE_PSEUDONYM_KEY", "a key for tests only")
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
