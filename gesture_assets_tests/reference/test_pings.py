"""Document 004's own files, and KuaiRand's log, through the door of short videos."""

import shutil
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from gesture_assets_tests.conftest import use_settings
from gesture_assets_tests.running import failures, run_night, warehouse

FIRST, LAST = date(2024, 2, 1), date(2024, 2, 20)
FILES = {"interactions.csv": "ping_interactions", "pings.csv": "pings", "users.csv": "ping_users"}
PRECEDES = ("no_interaction_precedes_its_ping", "no_interaction_precedes_the_sign_up")


def land(folder: Path, files: Mapping[Path, str]) -> None:
    for file, source in files.items():
        (folder / "landing" / source).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / "landing" / source)


@pytest.fixture(scope="module")
def data_dir(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("pings") / "data"
    land(folder, {reference / "pings" / name: source for name, source in FILES.items()})
    with pytest.MonkeyPatch.context() as patch:
        use_settings(patch, folder)
        result = run_night(FIRST, LAST, select="ping_interactions")
        assert result.success, failures(result)
        yield folder


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder."""
    use_settings(monkeypatch, tmp_path / "data")
    return tmp_path / "data"


def test_every_row_of_the_documents_files_is_there_in_its_order(data_dir: Path, reference: Path) -> None:
    theirs = pl.read_csv(reference / "pings" / "interactions.csv", try_parse_dates=True).sort(pl.all())
    with warehouse(data_dir) as con:
        ours = con.execute("select user_id, ping_id, event_type, watch_time_sec, event_at from ping_interactions").pl()
        assert ours.sort(pl.all()).rows() == theirs.rows()
        catalogue = con.execute(
            "select ping_id, creator_id, main_hashtag, category, duration_sec, created_at from pings "
            "where as_of_date = '2024-02-20' order by catalogue_row"
        ).pl()
        assert catalogue.rows() == pl.read_csv(reference / "pings" / "pings.csv", try_parse_dates=True).rows()
        users = con.execute(
            "select user_id, country, signup_date, age from ping_users where as_of_date = '2024-02-01' "
            "order by catalogue_row"
        ).pl()
        theirs = pl.read_csv(reference / "pings" / "users.csv", try_parse_dates=True)
        assert users.rows() == theirs.with_columns(pl.col("country").replace("UK", "GB")).rows()  # as ISO 3166 has it
        assert con.execute("select count(*) from quarantined_ping_rows").fetchall() == [(0,)]


def test_interactions_before_their_ping_or_their_user_are_told_of(data_dir: Path) -> None:
    with warehouse(data_dir) as con:
        for table, condition, rows in (
            ("pings", "event_at < created_at", 88),
            ("ping_users", "event_at < signup_date", 77),
        ):
            query = f"select count(*) from ping_interactions join {table} using (as_of_date, "
            query += f"{'ping_id' if table == 'pings' else 'user_id'}) where {condition}"
            assert con.execute(query).fetchall() == [(rows,)]
        warned = con.execute(
            "select distinct name from (select unnest(checks::json[]) as check_, check_->>'name' as name, "
            "(check_->>'passed')::boolean as passed from gate_ledger where table_name = 'ping_interactions') "
            "where not passed"
        ).fetchall()
        assert {name for (name,) in warned} >= set(PRECEDES)


# ---- KuaiRand: several interactions in a row ----

SECOND_WEEK = "kuairand_pure_standard_20220501_0508.parquet"
KUAIRAND = {
    "kuairand_pure_standard_20220425_0430.parquet": "kuairand_log",
    SECOND_WEEK: "kuairand_log",
    "kuairand_video_features_basic_pure.csv": "kuairand_videos",
    "kuairand_user_features_pure.csv": "kuairand_users",
}


@pytest.mark.slow
def test_a_log_of_impressions_becomes_interactions_and_its_copies_are_counted(shelf: Path, reference: Path) -> None:
    folder = reference / "short_video"
    land(shelf, {folder / name: source for name, source in KUAIRAND.items()})
    result = run_night("2022-04-24", "2022-05-08", select="ping_interactions")
    assert result.success, failures(result)
    log = pl.read_parquet([folder / name for name, source in KUAIRAND.items() if source == "kuairand_log"])
    distinct = log.unique()
    assert log.height - distinct.height == 5_460
    expected = {
        "impression": distinct.height,
        "view": distinct.filter((pl.col("is_click") > 0) | (pl.col("play_time_ms") > 0)).height,
        **{
            ours: distinct.filter(pl.col(theirs) > 0).height
            for ours, theirs in {
                "like": "is_like",
                "follow_creator": "is_follow",
                "comment": "is_comment",
                "share": "is_forward",
            }.items()
        },
    }
    with warehouse(shelf) as con:
        counts = "select event_type, count(*) from ping_interactions group by all"
        assert dict(con.execute(counts).fetchall()) == expected
        of_the_log = "from ping_reconciliation where source = 'kuairand_log'"
        assert con.execute(
            f"select sum(landed_count), sum(accepted_count), sum(duplicate_count), sum(quarantined_count) {of_the_log}"
        ).fetchall() == [(log.height, distinct.height, 5_460, 0)]
        (seconds,) = con.execute(
            "select sum(watch_time_sec) from ping_interactions where event_type = 'view'"
        ).fetchone()
        assert seconds == pytest.approx(distinct["play_time_ms"].sum() / 1000)
        videos = (
            "select count(*), count(duration_sec), min(duration_sec) > 0 from pings where as_of_date = '2022-05-01'"
        )
        assert con.execute(videos).fetchall() == [(7_583, 7_583 - 239, True)]
