"""The page of a night is one file that loads nothing; each number has the SQL that gives it, whatever is missing."""

import re
import shutil
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from html import unescape
from pathlib import Path

import duckdb
import pytest

from gesture_assets.features.feature_registry import feature_registry
from gesture_assets.publication.publish import publish
from gesture_assets.records.opening import RECORDS
from gesture_assets.reports.night_report import KEPT, keep_page, night_report
from gesture_assets.reports.page import Page
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.warehouse import Warehouse
from gesture_assets_tests.good_night import CONTRACTS, DAY, NIGHT

pytestmark = pytest.mark.slow

OF_A_CHAMPION = (
    "feature_profiles",
    "feature_statistics",
    "drift_reports",
    "event_mix_drift",
    "performance_report",
    "score_backtest",
    "model_scores",
    "candidate_model",
    "feature_importance",
    "alerts",
    "data_quality_trend",
    "training_attempts",
    "daily_activity",
)
AskPage = Callable[..., tuple[str, duckdb.DuckDBPyConnection]]


@pytest.fixture(scope="module")
def good(good_night_warehouse: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published file of one good night."""
    folder = tmp_path_factory.mktemp("night")
    warehouse, link = Path(shutil.copy(good_night_warehouse, folder)), folder / "gesture.duckdb"
    with Warehouse(warehouse, 10, create=RECORDS).open(RunInfo("run-0001", NIGHT, (DAY,), "a_night")) as session:
        publish(
            session,
            contracts=tuple(CONTRACTS.values()),
            features=feature_registry(()),
            folder=folder / "published",
            link=link,
            warehouse=warehouse,
            keep=1,
        )
    return link.resolve()


@pytest.fixture
def page_of(good: Path, tmp_path: Path) -> Iterator[AskPage]:
    """The page of a copy of the file after something was done to it, and the copy."""
    path = Path(shutil.copyfile(good, tmp_path / "gesture.duckdb"))
    con = duckdb.connect(str(path))

    def paged(day: date = DAY, *, first: str = "select 1") -> tuple[str, duckdb.DuckDBPyConnection]:
        con.execute(first)
        return night_report(con, tmp_path / "models", day).html(), con

    yield paged
    con.close()


def statements(text: str) -> list[str]:
    return [unescape(sql) for sql in re.findall(r"<pre>(.*?)</pre>", text, re.S)]


def test_each_number_has_the_sql_that_gives_it(page_of: AskPage) -> None:
    text, con = page_of()
    boxes = re.findall(r"<dt>([^<]+)</dt><dd><strong>([^<]+)</strong>.*?<pre>(.*?)</pre>", text, re.S)
    assert len(boxes) >= 4
    for name, shown, sql in boxes:
        rows = con.execute(unescape(sql)).fetchall()
        assert shown == (str(rows[0][0]) if rows else "no day was due yet"), name
    for sql in statements(text):
        con.execute(sql)
    assert text.count("<table>") + text.count("<figure>") <= len(statements(text))


@pytest.mark.slow
def test_the_page_is_small_loads_nothing_and_is_the_same_each_time(page_of: AskPage) -> None:
    text, _ = page_of()
    assert len(text) < 5_000_000
    assert "http" not in text.replace("http-equiv", "")
    assert page_of()[0] == text


def test_it_shows_what_sounded_what_is_decided_and_what_became_of_bands(page_of: AskPage) -> None:
    text = unescape(page_of()[0])
    for words in (
        "drift/number/visits",
        "The model is old.",
        "Lift by band of rules, after 90 days",
        "Users by the rules' band",
    ):
        assert words in text
    assert "its reference is gone" in text  # the model's folder is not there


def test_without_a_champion_it_says_what_is_missing(page_of: AskPage) -> None:
    text, con = page_of(first="; ".join(f"delete from {table}" for table in OF_A_CHAMPION))
    for words in (
        "No champion: nothing is held against a training yet.",
        "There are too few weeks of events to compare.",
        "No scores are old enough",
        "No scores are 90 days old.",
        "the rules serve",
        "No training was tried yet.",
        "Nothing sounded.",
        "Nobody bought yet.",
        "No day was due since the first night.",
    ):
        assert words in text
    for sql in statements(text):
        con.execute(sql)


def test_a_day_without_anything_is_a_page_too(page_of: AskPage) -> None:
    text, _ = page_of(DAY - timedelta(days=400))
    assert "Nothing was decided that night." in text


def test_the_newest_pages_are_kept(tmp_path: Path) -> None:
    days = [DAY + timedelta(days=n) for n in range(KEPT + 2)]
    for day in days:
        keep_page(Page(f"Night of {day}"), tmp_path / "reports", day)
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == [f"night-{day}.html" for day in days[2:]]
