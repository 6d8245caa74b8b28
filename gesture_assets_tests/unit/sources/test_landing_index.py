"""The landing index: which files were seen, which days their rows belong to, and what is loaded for a window."""

import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from gesture_assets.errors import SourceError
from gesture_assets.events.tables import IGNORED, LANDING_RECONCILIATION
from gesture_assets.frames import to_polars
from gesture_assets.settings import Settings
from gesture_assets.sources import landing_index
from gesture_assets.sources.description import SHIPPED, load_descriptions
from gesture_assets.sources.landing import find_files
from gesture_assets.sources.landing_index import LandingIndex
from gesture_assets.warehouse.session import Session
from gesture_assets_tests.conftest import NOW

ROOT = Path(__file__).resolve().parents[3]
D7, D8, D9 = date(2026, 3, 7), date(2026, 3, 8), date(2026, 3, 9)
HEADER = "event_id,user_id,event_type,event_at\n"


class Landing:
    """An open index over the landing folder of the test."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self.session, self.settings, self.con = session, settings, session.connection
        self.index = LandingIndex(session, "a key")

    def drop(self, name: str, *rows: str, nobody: str = "") -> Path:
        """Put a file of the native source into the landing folder; a row is `id day`, without user that of `nobody`."""
        path = self.settings.landing / "native" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        split = (row.split(" ") for row in rows)
        path.write_text(
            HEADER + "".join(f"{i},{'' if i == nobody else 'ada'},page_view,{when}T10:00:00Z\n" for i, when in split)
        )
        return path

    def refresh(self) -> list[str]:
        return self.index.refresh(self.files())

    def files(self) -> list:
        folder = self.settings.user_sources
        return list(find_files(self.settings.landing, load_descriptions(folder), folder))

    def days(self) -> dict[date, int]:
        """Day -> rows, as the index has them."""
        return dict(
            self.con.execute(
                "select as_of_date, sum(row_count)::integer from warehouse.main.landing_days group by all order by all"
            ).fetchall()
        )

    def load(self, *days: date) -> list[tuple]:
        landed = to_polars(self.index.load(self.files(), days).select("as_of_date", "event_id", "reason"))
        return landed.sort(pl.all(), nulls_last=True).rows()

    def copies(self) -> dict[str, str | None]:
        return dict(self.con.execute("select landing_file, copy_of from warehouse.main.landing_files").fetchall())


@pytest.fixture
def landing(open_session: Callable, settings: Settings) -> Iterator[Landing]:
    with open_session(D8, D9, step="landed_events") as session:
        yield Landing(session, settings)


def test_a_file_is_filed_by_the_days_of_its_rows(landing: Landing) -> None:
    landing.drop("a.csv", "e1 2026-03-08", "e2 2026-03-08", "e3 2026-03-09")
    assert landing.refresh() == ["native/a.csv"]
    assert landing.days() == {D8: 2, D9: 1}
    assert landing.load(D9) == [(D9, "e3", None)]
    assert landing.load(D8, D9) == [(D8, "e1", None), (D8, "e2", None), (D9, "e3", None)]


def test_a_file_dropped_twice_is_loaded_once(landing: Landing) -> None:
    landing.drop("a.csv", "e1 2026-03-09")
    landing.drop("b.csv", "e1 2026-03-09")
    landing.refresh()
    assert landing.copies() == {"native/a.csv": None, "native/b.csv": "native/a.csv"}
    assert landing.load(D9) == [(D9, "e1", None)]
    assert landing.days() == {D9: 1}


def test_a_day_of_nothing_but_rows_left_out_is_none_on_which_something_landed(
    landing: Landing, settings: Settings
) -> None:
    settings.user_sources.mkdir(parents=True, exist_ok=True)
    shipped = (SHIPPED / "native.toml").read_text()
    (settings.user_sources / "native.toml").write_text(f'ignore = ["ping"]\n{shipped}')
    path = landing.drop("a.csv", "e1 2026-03-08")
    pings = [f"p{n},ada,ping,{when}" for n, when in enumerate(("2026-03-07", "2026-03-07", "2026-03-09", "never"))]
    path.write_text(path.read_text() + "\n".join(pings) + "\n")
    landing.refresh()
    assert landing.index.landed_days().keys() == landing.session.landed_days() == {D8}
    assert landing.days() == {D7: 2, D8: 2, D9: 1}, "what has no time is filed with what is wanted"
    assert landing.load(D7, D8, D9) == [
        (D7, "p0", IGNORED),
        (D7, "p1", IGNORED),
        (D8, "e1", None),
        (D8, "p3", IGNORED),
        (D9, "p2", IGNORED),
    ]
    only_pings = path.with_name("b.csv")
    only_pings.write_text(HEADER + "p9,ada,ping,never\n")
    landing.refresh()
    assert landing.index.landed_days().keys() == {D8}


def test_a_file_that_was_only_touched_is_not_read_again(landing: Landing) -> None:
    path = landing.drop("a.csv", "e1 2026-03-09")
    landing.refresh()
    assert landing.refresh() == []
    seen = "select indexed_at, row_count from warehouse.main.landing_files"
    before, days = landing.con.execute(seen).fetchall(), landing.index.landed_days()
    os.utime(path, ns=(1, 1))
    landing.refresh()
    assert landing.con.execute(seen).fetchall() == before
    assert landing.index.landed_days() == days
    assert landing.refresh() == []


def test_a_file_that_grows_without_end_is_read_as_far_as_it_is(
    landing: Landing, caplog: pytest.LogCaptureFixture
) -> None:
    path, is_done = landing.drop("grows.csv", "e0 2026-03-09"), threading.Event()
    landing.drop("whole.csv", "w1 2026-03-09")

    def write_on() -> None:
        with path.open("a") as file:
            for number in itertools.count(1):
                file.write(f"e{number},ada,page_view,2026-03-09T10:00:00Z\n")
                file.flush()
                if is_done.wait(0.001):
                    return

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        assert set(landing.refresh()) == {"native/grows.csv", "native/whole.csv"}
    finally:
        is_done.set()
        writer.join()
    assert "still being written: native/grows.csv" in caplog.text
    read = {event for _, event, _ in landing.load(D9)}
    assert read >= {"e0", "w1"}
    assert landing.refresh() == ["native/grows.csv"], "the next night reads the rest"
    assert len(landing.load(D9)) == path.read_text().count("ada") + 1


def test_a_changed_file_moves_its_days(landing: Landing) -> None:
    landing.drop("a.csv", "e1 2026-03-08")
    landing.refresh()
    hashes = landing.index.landed_days()
    landing.drop("a.csv", "e1 2026-03-09", "e2 2026-03-09")
    assert landing.refresh() == ["native/a.csv"]
    assert landing.days() == {D9: 2}
    assert landing.index.landed_days().keys() == {D9}
    assert landing.index.landed_days() != hashes


def test_a_mended_description_has_its_files_read_again(open_session: Callable, settings: Settings) -> None:
    seen = "select indexed_at, row_count from warehouse.main.landing_files"
    with open_session(D8, D9) as session:
        landing = Landing(session, settings)
        landing.drop("a.csv").write_text(f"{HEADER}e1,ada,page_view,2026-03-08T03:00:00\n")
        landing.refresh()
        before, days = landing.con.execute(seen).fetchall(), landing.index.landed_days()
        assert landing.days() == {D8: 1}
    settings.user_sources.mkdir(parents=True)
    shipped = SHIPPED / "native.toml"
    (settings.user_sources / "native.toml").write_text(f'time_zone = "Asia/Tokyo"\n{shipped.read_text()}')
    with open_session(D8, D9, now=NOW + timedelta(hours=1)) as session:
        landing = Landing(session, settings)
        assert landing.refresh() == ["native/a.csv"]
        assert landing.days() == {D7: 1}
        assert landing.con.execute(seen).fetchall() == before  # it is no later than it was
        assert landing.index.landed_days().keys() != days.keys()
        assert landing.refresh() == []


@pytest.mark.parametrize("change", ["removed", "changed"])
def test_a_copy_counts_itself_when_its_original_is_gone(landing: Landing, change: str) -> None:
    original = landing.drop("a.csv", "e1 2026-03-08")
    landing.drop("b.csv", "e1 2026-03-08")
    landing.refresh()
    if change == "removed":
        original.unlink()
    else:
        landing.drop("a.csv", "e2 2026-03-09")
    landing.refresh()
    assert landing.copies()["native/b.csv"] is None
    assert landing.load(D8) == [(D8, "e1", None)]
    assert landing.days() == ({D8: 1} if change == "removed" else {D8: 1, D9: 1})
    assert landing.refresh() == []


def test_a_file_removed_before_it_went_live_is_forgotten(landing: Landing) -> None:
    landing.drop("a.csv", "e1 2026-03-08")
    gone = landing.drop("b.csv", "e2 2026-03-09")
    landing.refresh()
    gone.unlink()
    landing.refresh()
    assert landing.days() == {D8: 1}
    with pytest.raises(SourceError, match="landed rows for these days"):
        landing.load(D9)


def go_live(landing: Landing, name: str) -> None:
    landing.session.ensure(LANDING_RECONCILIATION)
    landing.con.execute(
        "insert into warehouse.main.landing_reconciliation by name select ?::date as as_of_date, 'native' as source, "
        "? as landing_file, 1 as landed_count, 1 as accepted_count, 0 as duplicate_count, 0 as quarantined_count, "
        "0 as late_count, now()::timestamp as recorded_at, 'r' as run_id, false as is_backfill",
        [D9, name],
    )


def test_a_file_removed_after_it_went_live_cannot_be_rebuilt_from_nothing(landing: Landing) -> None:
    gone = landing.drop("a.csv", "e1 2026-03-09")
    landing.drop("b.csv", "e2 2026-03-08")
    landing.refresh()
    go_live(landing, "native/a.csv")
    gone.unlink()
    landing.refresh()
    assert landing.days() == {D8: 1, D9: 1}
    with pytest.raises(SourceError, match=r"native/a.csv, which held 1 rows") as refusal:
        landing.load(D9)
    assert "put the file back" in str(refusal.value)
    assert landing.load(D8) == [(D8, "e2", None)]


def test_a_reason_rebuilds_a_day_without_the_file_that_is_gone(open_session: Callable, settings: Settings) -> None:
    with open_session(D9, force_reason="the sender withdrew it") as session:
        landing = Landing(session, settings)
        gone = landing.drop("a.csv", "e1 2026-03-09")
        landing.drop("b.csv", "e2 2026-03-09")
        landing.refresh()
        go_live(landing, "native/a.csv")
        gone.unlink()
        landing.refresh()
        assert landing.load(D9) == [(D9, "e2", None)]


def test_a_day_whose_only_file_is_gone_is_an_error_even_with_a_reason(
    open_session: Callable, settings: Settings
) -> None:
    with open_session(D9, force_reason="the sender withdrew it") as session:
        landing = Landing(session, settings)
        gone = landing.drop("a.csv", "e1 2026-03-09")
        landing.refresh()
        go_live(landing, "native/a.csv")
        gone.unlink()
        landing.refresh()
        with pytest.raises(SourceError, match="landed rows for these days"):
            landing.load(D9)


def test_rows_without_a_time_are_filed_under_the_day_of_most_rows(landing: Landing) -> None:
    landing.drop("a.csv", "e1 2026-03-08", "e2 2026-03-09", "e3 2026-03-09", "e4 someday")
    landing.refresh()
    assert landing.days() == {D8: 1, D9: 3}
    assert landing.load(D9) == [(D9, "e2", None), (D9, "e3", None), (D9, "e4", "unparsable_timestamp")]
    assert landing.load(D8) == [(D8, "e1", None)]


def test_a_tie_between_days_goes_to_the_first(landing: Landing) -> None:
    landing.drop("a.csv", "e1 2026-03-08", "e2 2026-03-09", "e3 someday")
    landing.refresh()
    assert landing.days() == {D8: 2, D9: 1}


@pytest.mark.parametrize("kept_rows", [landing_index.KEPT_ROWS, 0])
def test_a_refused_row_on_a_day_of_its_own_is_filed_under_the_day_of_most_rows(
    landing: Landing, monkeypatch: pytest.MonkeyPatch, kept_rows: int
) -> None:
    monkeypatch.setattr(landing_index, "KEPT_ROWS", kept_rows)  # read for the index and kept, or once more
    landing.drop("a.csv", "e1 2026-03-08", "e2 2026-03-09", "e3 2026-03-09", "e4 2026-01-01", nobody="e4")
    landing.refresh()
    assert landing.days() == {D8: 1, D9: 3}
    assert landing.load(D9) == [(D9, "e2", None), (D9, "e3", None), (D9, "e4", "missing_user_id")]


def test_refused_rows_that_are_no_few_stay_on_their_day(landing: Landing) -> None:
    landing.drop("a.csv", "e1 2026-03-09", "no 2026-03-08", "no 2026-03-08", "e2 2026-03-07", nobody="no")
    landing.refresh()
    assert landing.days() == {D7: 1, D8: 2, D9: 1}


def test_a_file_without_any_dated_row_is_refused(landing: Landing) -> None:
    landing.drop("a.csv", "e1 2026-03-09")
    landing.drop("b.csv", "e2 someday", "e3 never")
    with pytest.raises(SourceError, match=r"native/b.csv cannot be read as native") as refusal:
        landing.refresh()
    assert "2 rows without one, such as unparsable_timestamp" in str(refusal.value)
    assert "timestamp_format" in str(refusal.value)


def test_a_file_of_future_rows_is_quarantined_on_the_day_it_landed(landing: Landing) -> None:
    landing.drop("a.csv", "e1 2026-03-09")
    landing.drop("b.csv", "e2 2027-03-09", "e3 2028-03-09", "e4 someday")
    landing.refresh()
    landed_on = landing.session.run.now.date()
    assert landing.days() == {D9: 1, landed_on: 3}
    reasons = [reason for _, _, reason in landing.load(landed_on)]
    assert sorted(reasons) == ["future_ts", "future_ts", "unparsable_timestamp"]
    assert landing.load(D9) == [(D9, "e1", None)]


def test_a_window_in_which_nothing_landed_is_an_error(landing: Landing) -> None:
    landing.drop("a.csv", "e1 2026-03-07")
    landing.refresh()
    with pytest.raises(SourceError, match="landed rows for these days"):
        landing.load(D8, D9)


NO_ROOM = """
import resource, sys
from datetime import date, datetime
from gesture_assets.errors import DiskFull
from gesture_assets.settings import load_settings
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.warehouse import Warehouse
from gesture_assets_tests.unit.sources.test_landing_index import Landing
settings, run = load_settings(), RunInfo("run-full", datetime(2026, 3, 10, 2), (date(2026, 3, 9),), "landed_events")
try:
    with Warehouse.of(settings).open(run) as session:
        landing = Landing(session, settings)
        landing.refresh()
        days = [date.fromordinal(date(2025, 1, 1).toordinal() + n) for n in range(400)]
        landing.drop("b.csv", *(f"e{day} {day}" for day in days))
        session.connection.execute("checkpoint warehouse")
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        landing.refresh()
except DiskFull as error:
    print(error)
"""


@pytest.mark.slow
def test_a_full_disk_while_a_file_is_indexed_is_told_as_one_and_the_index_stays(
    open_session: Callable, settings: Settings
) -> None:
    with open_session(D9) as session:
        Landing(session, settings).drop("a.csv", "e1 2026-03-09")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", NO_ROOM], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "landed_events for 2026-03-09 could not be finished; nothing that was live has changed." in done.stdout, done
    assert "found: the largest file size that this process may write is reached; " in done.stdout
    with open_session(D9) as session:
        landing = Landing(session, settings)
        assert landing.days() == {D9: 1}
        assert landing.refresh() == ["native/b.csv"]
        assert len(landing.days()) == 401
