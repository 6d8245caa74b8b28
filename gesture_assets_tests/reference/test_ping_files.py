"""Document 004's files as the product exports them: after nights over its data by the weights of its script."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from gesture_assets.cli.layout import export_pings
from gesture_assets.settings import load_settings
from gesture_assets.sources.description import SHIPPED
from gesture_assets_tests.conftest import use_settings
from gesture_assets_tests.reference.test_pings import FILES, LAST, land
from gesture_assets_tests.running import failures, run_night, warehouse

FIRST = date(2024, 2, 19)
USERS = ("u1", "u2", "u3")


@pytest.fixture(scope="module")
def data_dir(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two nights: what happened before the first of them arrived on it."""
    folder = tmp_path_factory.mktemp("ping_files") / "data"
    land(folder, {reference / "pings" / name: source for name, source in FILES.items()})
    at = pl.col("event_timestamp")
    log = folder / "landing" / "ping_interactions" / "interactions.csv"
    pl.read_csv(log).with_columns(received_at=pl.max_horizontal(at, pl.lit(f"{FIRST} 00:00:00"))).write_csv(log)
    (folder / "sources").mkdir()
    described = (SHIPPED / "ping_interactions.toml").read_text(encoding="utf-8")
    (folder / "sources" / "ping_interactions.toml").write_text(described + 'received_at = ["received_at"]\n')
    with pytest.MonkeyPatch.context() as patch:
        use_settings(patch, folder)
        patch.setenv("GESTURE_PING_WEIGHTS", "script")
        result = run_night(FIRST, LAST, select="+ping_recommendations or new_vs_existing_users")
        assert result.success, failures(result)
        yield folder


@pytest.fixture(scope="module")
def written(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    with warehouse(data_dir) as con:
        export_pings(con, LAST, folder, load_settings(), USERS)
    return folder


def header(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0]


def test_the_files_and_their_headers_are_the_documents(written: Path, reference: Path) -> None:
    expected = {path.name.removeprefix("expected_"): path for path in (reference / "pings").glob("expected_*.csv")}
    files = {path.name: path for path in written.rglob("*.csv")}
    assert files.keys() == expected.keys()
    assert {name: header(path) for name, path in files.items()} == {
        name: header(path) for name, path in expected.items()
    }
    assert {path.relative_to(written).as_posix() for path in written.rglob("recs_*")} == {
        f"recs/recs_{user}.csv" for user in USERS
    }


@pytest.mark.parametrize("name", ["ping_global", "user_ping", "top10_pings", "watch_time_ratio_stats"])
def test_engagement_has_the_documents_values_in_its_order(written: Path, reference: Path, name: str) -> None:
    found, expected = (
        pl.read_csv(folder, try_parse_dates=True)
        for folder in (written / f"{name}.csv", reference / "pings" / f"expected_{name}.csv")
    )
    if name == "top10_pings":
        expected = expected.cast({"created_at": pl.Datetime("us")})
    assert_frame_equal(found, expected, abs_tol=1e-9, rel_tol=0, check_dtypes=False)


def test_the_watch_by_group_is_the_documents_of_those_who_had_signed_up(written: Path, reference: Path) -> None:
    """Its newest user signed up after the last interaction, so that new is another week; all views are somebody's."""
    rows = pl.read_csv(written / "avg_watch_by_group.csv", schema_overrides={"is_new": pl.String})
    assert set(rows["is_new"]) <= {"False", "True"}
    people = pl.read_csv(reference / "pings" / "users.csv", try_parse_dates=True).filter(pl.col("signup_date") <= LAST)
    groups = pl.read_csv(written / "avg_pings_by_group.csv")
    assert groups["user_count"].sum() == people.height


def test_an_id_that_looks_like_a_path_or_a_formula_stays_in_the_folder(data_dir: Path, tmp_path: Path) -> None:
    with duckdb.connect() as con:
        con.execute(f"attach '{data_dir / 'warehouse.duckdb'}' as live (read_only)")
        tables = ("ping_engagement", "pings", "ping_weights", "user_ping_engagement", "watch_time_stats")
        for table in (*tables, "new_vs_existing_users", "ping_recommendations"):
            con.execute(f"create table {table} as from live.main.{table}")
        evil = "../../=cmd()"
        con.execute("update ping_recommendations set user_id = $1, category = '=1+1' where user_id = 'u1'", [evil])
        con.execute("update user_ping_engagement set user_id = '=cmd()' where user_id = 'u1'")
        export_pings(con, LAST, tmp_path / "out", load_settings(), [evil])
    (path,) = (tmp_path / "out" / "recs").iterdir()
    assert path.name == "recs_..%2F..%2F%3Dcmd%28%29.csv"
    assert set(pl.read_csv(path)["category"]) == {"'=1+1"}
    assert "'=cmd()" in set(pl.read_csv(tmp_path / "out" / "user_ping.csv")["user_id"])
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
