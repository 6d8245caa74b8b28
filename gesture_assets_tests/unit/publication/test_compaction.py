"""Files that give free space back: when they are rewritten, that nothing is lost, and what a crash leaves."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gesture_assets.publication.compaction import LARGEST_FREE_SHARE, compact, free_share
from gesture_assets.warehouse.format import ROW_GROUP

ROWS = "select range as n, 'text ' || range as said, random() as noise from range(150000)"


def wasteful(path: Path) -> Path:
    """A file of which most is free, with all that a warehouse or published file holds besides rows."""
    with duckdb.connect(str(path)) as con:
        con.execute("create schema superseded; create schema analytics")
        con.execute(f"create table kept (n bigint not null, said varchar, noise double); insert into kept {ROWS}")
        con.execute("comment on table kept is 'what stays'; comment on column kept.n is 'number'")
        con.execute("create table superseded.kept as from kept limit 10")
        con.execute("create view analytics.numbers as select n from kept")
        con.execute("comment on view analytics.numbers is 'numbers'; comment on column analytics.numbers.n is 'number'")
        con.execute("create view analytics.halves as select n / 2 as half from analytics.numbers")
        con.execute("create macro analytics.above(x) as table select n from analytics.numbers where n > x")
        con.execute(f"create table gone as {ROWS}; checkpoint; drop table gone; checkpoint")
        # Room in the middle of the file: DuckDB cuts off only what is free at its end.
        con.execute(f"create table early as {ROWS.replace('150000', '450000')}")
        con.execute(f"create table late as {ROWS} limit 75000; checkpoint")
        con.execute("drop table early; checkpoint")
    return path


def content(path: Path) -> dict[str, Any]:
    with duckdb.connect(str(path), read_only=True) as con:
        return {
            query: con.execute(query).fetchall()
            for query in (
                "from kept",
                "from superseded.kept order by all",
                "from analytics.halves",
                "from analytics.above(149990)",
                "select count(*), sum(noise) from late",
                "select table_name, column_name, data_type, is_nullable, comment from duckdb_columns() "
                "where not internal order by all",
                "select table_name, comment from duckdb_tables() order by all",
                "select view_name, comment from duckdb_views() where not internal order by all",
            )
        }


def pieces(path: Path, table: str) -> list[int]:
    """Rows of each row group of `table`, in their order."""
    query = f"""select sum(count)::bigint from pragma_storage_info('{table}')
    where segment_type <> 'VALIDITY' and column_id = 0 group by row_group_id order by row_group_id"""
    with duckdb.connect(str(path), read_only=True) as con:
        return [row[0] for row in con.execute(query).fetchall()]


def test_a_file_with_much_free_space_is_rewritten_whole(tmp_path: Path) -> None:
    path = wasteful(tmp_path / "it's.duckdb")
    before, size = content(path), path.stat().st_size
    assert free_share(path) > LARGEST_FREE_SHARE
    assert compact(path, smallest_bytes=0)
    assert content(path) == before
    assert path.stat().st_size < 0.8 * size
    assert free_share(path) <= 0.02
    assert max(pieces(path, "kept")) == ROW_GROUP
    assert not compact(path, smallest_bytes=0)
    assert [file.name for file in tmp_path.iterdir()] == ["it's.duckdb"]


def test_a_compact_or_small_file_is_left_alone(tmp_path: Path) -> None:
    path = wasteful(tmp_path / "small.duckdb")
    inode = path.stat().st_ino
    assert not compact(path)
    assert path.stat().st_ino == inode


def test_a_file_stays_as_it_is_where_the_copy_would_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = wasteful(tmp_path / "large.duckdb")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    assert not compact(path, smallest_bytes=0)
    assert "no room to compact" in caplog.text


@pytest.mark.slow
def test_a_killed_compaction_leaves_the_file_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    path = wasteful(tmp_path / "killed.duckdb")
    before = content(path)
    killed = (
        "import os, signal, sys; from pathlib import Path; import gesture_assets.publication.compaction as compaction\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "compaction.compact(Path(sys.argv[1]), smallest_bytes=0)"
    )
    ended = subprocess.run([sys.executable, "-c", killed, str(path)], check=False, env=dict(os.environ))
    assert ended.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    assert content(path) == before
    assert compact(path, smallest_bytes=0)
    assert [file.name for file in tmp_path.iterdir()] == ["killed.duckdb"]


@pytest.mark.slow
def test_rebuilt_days_keep_the_file_within_12_tenths_of_its_rows(tmp_path: Path) -> None:
    path, fresh = tmp_path / "nights.duckdb", tmp_path / "fresh.duckdb"
    counts = ", ".join(f"(random() * 50)::integer as c{n}" for n in range(4))
    day = f"select date '2026-01-01' + {{}} as day, 'u' || range as who, {counts} from range(60000)"
    with duckdb.connect(str(path)) as con:
        con.execute(f"create table days as {day.format(0)} limit 0")
        for n in range(30):
            con.execute(f"insert into days {day.format(n)}")
            con.execute("checkpoint")
    for first in (0, 10, 20):
        with duckdb.connect(str(path)) as con:
            for n in range(first, first + 10):
                con.execute(f"begin; delete from days where day = date '2026-01-01' + {n}")
                con.execute(f"insert into days {day.format(n)}; commit; checkpoint")
        compact(path, smallest_bytes=0)
        with duckdb.connect() as con:
            con.execute(f"attach '{path}' as old (read_only); attach '{fresh}' as new; copy from database old to new")
        assert path.stat().st_size <= 1.2 * fresh.stat().st_size
        fresh.unlink()
