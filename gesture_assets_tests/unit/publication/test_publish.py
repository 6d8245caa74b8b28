"""The published file: what is in it, that it explains itself, and that a reader finds an old or a new one, whole."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import narwhals as nw
import pytest

from gesture_assets.errors import ContractBreach, GateClosed, NotEnoughMemory
from gesture_assets.features.feature_registry import feature_registry
from gesture_assets.monitoring.alerts import OPENED, Alert, Change
from gesture_assets.publication.dressing import explain
from gesture_assets.publication.health import HEALTH
from gesture_assets.publication.order import rolled_back, snapshot_of
from gesture_assets.publication.publish import Published, flip, publish, rollback
from gesture_assets.publication.reading import read_published
from gesture_assets.records import alert_log
from gesture_assets.records.opening import RECORDS
from gesture_assets.rules.tables import RULE_SCORES
from gesture_assets.settings import Settings
from gesture_assets.vocabulary.personal_data import EMAIL_PATTERN, IP_PATTERN, IPV6_PATTERN
from gesture_assets.vocabulary.severity import Severity
from gesture_assets.warehouse.format import ROW_GROUP
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.session import Session
from gesture_assets.warehouse.warehouse import Warehouse
from gesture_assets_tests.good_night import CONTRACTS, DAY, GOOD, NIGHT
from gesture_assets_tests.unit.publication.test_compaction import pieces

pytestmark = pytest.mark.slow  # whole files are published

ROOT = Path(__file__).resolve().parents[3]
TABLES = tuple(CONTRACTS.values())
FEATURES = feature_registry(Settings.model_fields["tags"].default)


def publish_from(
    session: Session, settings: Settings, keep: int = 3, deadline: int = 6, memory_limit: str | None = None
) -> Published:
    return publish(
        session,
        contracts=TABLES,
        features=FEATURES,
        folder=settings.data_dir / "published",
        link=settings.published,
        warehouse=settings.warehouse,
        keep=keep,
        deadline=deadline,
        memory_limit=memory_limit,
    )


@pytest.fixture(scope="module")
def good_warehouse(good_night_warehouse: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse that holds one good night, to be copied."""
    path = Path(shutil.copy(good_night_warehouse, tmp_path_factory.mktemp("good")))
    with Warehouse(path, 10, create=RECORDS).open(RunInfo("run-0001", NIGHT, (DAY,), "a_night")) as session:
        alert = Alert(
            "model/unavailable", Severity.ERROR, "scoring", "It is gone.", "data/models", "gesture models list"
        )
        alert_log.append(session.connection, [Change(alert, 1, DAY, OPENED)], now=NIGHT)
        # A day that was rejected because of an address, and never mended.
        (one,) = session.commit((CONTRACTS["identity_links"], _leak(session)))
        assert one.bad_days
        session.connection.execute("delete from warehouse.main.gate_ledger where verdict = 'FAIL'")
    return path


def _leak(session: Session) -> nw.LazyFrame:
    return nw.from_native(
        session.connection.sql(
            f"select date '{DAY}' as as_of_date, 'anon:v2' as anonymous_user_id, 'ada@example.com' as user_id, "
            f"timestamp '{DAY} 12:00:00' as linked_at"
        )
    )


@pytest.fixture
def night(good_warehouse: Path, settings: Settings, open_session: Callable) -> Callable:
    """`with night() as session:` — a good night that waits to be published."""
    shutil.copyfile(good_warehouse, settings.warehouse)

    def opened(minutes: int = 0) -> AbstractContextManager[Session]:
        return open_session(DAY, now=NIGHT + timedelta(minutes=minutes), run_id=f"run-{minutes:04}")

    return opened


@pytest.fixture(scope="module")
def file(good_warehouse: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """The published file, opened as an analyst would."""
    folder = tmp_path_factory.mktemp("published")
    warehouse, link = folder / "warehouse.duckdb", folder / "gesture.duckdb"
    shutil.copyfile(good_warehouse, warehouse)
    with Warehouse(warehouse, 10, create=RECORDS).open(RunInfo("run-0002", NIGHT, (DAY,), "publish")) as session:
        publish(
            session,
            contracts=TABLES,
            features=FEATURES,
            folder=folder / "published",
            link=link,
            warehouse=warehouse,
            keep=3,
        )
    con = duckdb.connect(str(link), read_only=True, config={"autoinstall_known_extensions": "false"})
    yield con
    con.close()


# ---- what is in it ------------------------------------------------------------


def test_every_table_holds_what_passed(file: duckdb.DuckDBPyConnection) -> None:
    for name, rows in GOOD.items():
        assert file.execute(f"select count(*) from {name} where as_of_date = ?", [DAY]).fetchone() == (len(rows),)


def test_every_view_of_the_analysts_schema_answers(file: duckdb.DuckDBPyConnection) -> None:
    found = file.execute("select view_name from duckdb_views() where schema_name = 'analytics'").fetchall()
    views = [row[0] for row in found]
    answers = {name: file.execute(f"select count(*) from analytics.{name}").fetchone() for name in views}
    assert len(views) >= 11
    assert [name for name, answer in answers.items() if not answer or not answer[0]] == []
    who = file.execute("select user_id, score from analytics.current_rule_scores order by score desc").fetchall()
    assert who == [("ada", 60.0), ("bob", 40.0), ("cyd", 1.0)]


def test_a_fresh_backfill_of_an_old_day_hides_no_missing_yesterday(
    night: Callable, settings: Settings, open_session: Callable
) -> None:
    with open_session(DAY, now=NIGHT + timedelta(days=2), run_id="backfill") as session:
        publish_from(session, settings)
    con = read_published(settings.published)
    fresh = con.execute(
        "select as_of_date, is_live, was_on_time from analytics.day_freshness "
        "where table_name = 'rule_scores' order by 1"
    ).fetchall()
    due = con.execute("select distinct due_at from analytics.day_freshness where as_of_date = ?", [DAY]).fetchall()
    con.close()
    missing = [DAY + timedelta(days=n) for n in (1, 2)]
    assert fresh == [(DAY, True, True), *((day, False, False) for day in missing)]
    assert due == [(datetime.combine(DAY, datetime.min.time()) + timedelta(hours=30),)]


@pytest.mark.parametrize(("deadline", "is_on_time"), [(1, False), (6, True)])
def test_freshness_goes_by_the_deadline_of_the_settings(
    night: Callable, settings: Settings, deadline: int, is_on_time: bool
) -> None:
    with night() as session:  # what it holds went live at two
        publish_from(session, settings, deadline=deadline)
    con = read_published(settings.published)
    said = con.execute(
        "select due_at, was_on_time from analytics.day_freshness where table_name = 'rule_scores' and as_of_date = ?",
        [DAY],
    ).fetchall()
    comment = con.execute("select comment from duckdb_views() where view_name = 'day_freshness'").fetchone()
    con.close()
    assert said == [(datetime.combine(DAY, datetime.min.time()) + timedelta(days=1, hours=deadline), is_on_time)]
    assert comment is not None
    assert f"by 0{deadline}:00 UTC" in comment[0]


def test_every_table_and_every_column_is_explained(file: duckdb.DuckDBPyConnection) -> None:
    tables = file.execute("select schema_name, table_name from duckdb_tables() where comment is null").fetchall()
    columns = file.execute(
        "select schema_name, table_name, column_name from duckdb_columns() where comment is null and not internal"
    ).fetchall()
    assert (tables, columns) == ([], [])
    assert file.execute("select view_name from duckdb_views() where comment is null and not internal").fetchall() == []


def test_a_column_of_a_view_has_the_meaning_of_the_column_that_it_is_taken_from(
    file: duckdb.DuckDBPyConnection,
) -> None:
    described = "select column_name, description, unit, personal_data from dim_column where table_name = ? order by 1"
    views = {"analytics.current_features": "user_features", "analytics.score_versions": "superseded.rule_scores"}
    for view, table in views.items():
        assert file.execute(described, [view]).fetchall() == file.execute(described, [table]).fetchall()
    own = (
        "select description from dim_column where table_name = 'analytics.day_freshness' and column_name = 'as_of_date'"
    )
    assert file.execute(own).fetchall() == [("Day that was due.",)]


def test_views_stand_in_the_warehouse_and_follow_its_tables(night: Callable) -> None:
    with night() as session:
        con = session.connection

        def written() -> list[tuple[str, str]]:
            return con.execute(
                """select made_of, (
                    select comment from duckdb_columns() where database_name = 'warehouse'
                    and table_name = 'current_rule_scores' and column_name = 'score')
                from warehouse.main.written_views"""
            ).fetchall()

        explain(con, TABLES)
        (first,) = written()
        assert first[1] == next(column.meaning for column in RULE_SCORES.columns if column.name == "score")
        con.execute("comment on view warehouse.analytics.current_rule_scores is 'untouched'")
        explain(con, TABLES)
        assert written() == [first]
        comment = "select comment from duckdb_views() where view_name = 'current_rule_scores'"
        assert con.execute(comment).fetchall() == [("untouched",)]  # nothing has changed: no view is written again
        con.execute("alter table warehouse.main.rule_scores add column odd integer")
        explain(con, TABLES)
        assert written() != [first]
        assert con.execute(comment).fetchall() != [("untouched",)]
        assert "odd" in con.sql("from warehouse.analytics.current_rule_scores").columns


def test_the_dictionary_lists_every_column_of_every_table_and_view(file: duckdb.DuckDBPyConnection) -> None:
    columns = """select if(schema_name = 'main', '', schema_name || '.') || table_name, column_name, data_type
        from duckdb_columns() where not internal order by all"""
    listed = "select table_name, column_name, type from dim_column order by all"
    assert file.execute(listed).fetchall() == file.execute(columns).fetchall()
    assert file.execute("select count(*) from dim_column where description = ''").fetchall() == [(0,)]


def test_a_table_without_rows_says_why(file: duckdb.DuckDBPyConnection) -> None:
    tables = file.execute("select schema_name, table_name, comment from duckdb_tables()").fetchall()
    empty = {
        f"{schema}.{table}": comment
        for schema, table, comment in tables
        if not file.execute(f"select 1 from {schema}.{table} limit 1").fetchone()
    }
    assert {"main.restatements", "superseded.rule_scores"} <= set(empty)
    assert [name for name, comment in empty.items() if "No rows yet: " not in comment] == []
    assert "No rows yet: no day has changed after it was published." in empty["main.restatements"]
    said = [name for schema, name, comment in tables if schema == "main" and "No rows yet" in comment]
    assert said
    assert not [name for name in said if GOOD.get(name)]


WAYS = {
    "opened by the link": ("", "gesture"),
    "opened by the file": ("", "gesture"),
    "attached under another name": ("attach '{link}' as readers (read_only)", "readers"),
    "attached without a name": ("attach '{link}' (read_only)", "gesture"),
    "attached beside tables of the same names": (
        "create table rule_scores(x int); create table manifest(x int); attach '{link}' as g (read_only)",
        "g",
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_tables_and_views_answer_however_the_file_is_opened(
    night: Callable, settings: Settings, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with night() as session:
        publish_from(session, settings)
    monkeypatch.chdir(tmp_path)
    link = os.path.relpath(settings.published)
    statement, name = WAYS[way]
    path = settings.published.resolve() if way == "opened by the file" else link
    con = duckdb.connect() if statement else duckdb.connect(str(path), read_only=True)
    with con:
        con.execute(statement.format(link=link))
        views = con.execute(
            "select view_name from duckdb_views() where database_name = ? and schema_name = 'analytics'", [name]
        ).fetchall()
        assert len(views) >= 21
        for (view,) in views:
            assert con.execute(f"select * from {name}.analytics.{view}").description
        assert con.execute(f"select count(*) from {name}.main.rule_scores").fetchall() == [(len(GOOD["rule_scores"]),)]


def test_the_manifest_and_the_freshness_have_a_row_for_every_table(file: duckdb.DuckDBPyConnection) -> None:
    rows = file.execute("select table_name, as_of_date, row_count, verdict, snapshot_id from manifest").fetchall()
    snapshot_id = "20260310T020000-run-0002"
    assert sorted(rows) == sorted((name, DAY, len(good), "PASS", snapshot_id) for name, good in GOOD.items())
    fresh = file.execute("select table_name, as_of_date, verdict from analytics.data_freshness").fetchall()
    # The good night is long past: an old file says so whoever opens it, by the clock.
    assert file.execute("select distinct timeliness from analytics.data_freshness").fetchall() == [("LATE",)]
    assert sorted(fresh) == sorted((name, DAY, "PASS") for name in GOOD)


def test_no_text_of_any_schema_looks_like_an_address(file: duckdb.DuckDBPyConnection) -> None:
    columns = file.execute(
        "select schema_name, table_name, column_name from duckdb_columns() where data_type = 'VARCHAR' and not internal"
    ).fetchall()
    assert len(columns) > 100
    pattern = f"{EMAIL_PATTERN}|{IP_PATTERN}|{IPV6_PATTERN}"
    leaks = [
        (schema, table, column)
        for schema, table, column in columns
        if column not in ("owner", "checks")  # our own addresses, and JSON about checks
        and file.execute(f"select 1 from {schema}.{table} where regexp_matches({column}, '{pattern}')").fetchone()
    ]
    assert leaks == []


def test_rejected_rows_and_bookkeeping_are_not_published(file: duckdb.DuckDBPyConnection) -> None:
    found = file.execute("select schema_name, table_name from duckdb_tables()").fetchall()
    assert {schema for schema, _ in found} <= {"main", "superseded"}
    assert {name for schema, name in found if schema == "main"} == {
        *GOOD,
        "gate_ledger",
        "manifest",
        "dim_column",
        "dim_feature",
        "restatements",
        "audit_log",
        "quarantine_replays",
        "model_activations",
        "ping_ranker_activations",
        "alert_log",
        *HEALTH,
    }


# ---- how it is changed ------------------------------------------------------------

READER = """
import duckdb, sys
con = duckdb.connect(sys.argv[1], read_only=True)
print(con.execute("select any_value(snapshot_id) from manifest").fetchone()[0], flush=True)
sys.stdin.readline()
print(con.execute("select any_value(snapshot_id) || ' ' || count(*) from manifest, rule_contributions").fetchone()[0])
"""


def snapshot(link: Path) -> str:
    with read_published(link) as con:
        row = con.execute("select any_value(snapshot_id) from manifest").fetchone()
    assert row
    return row[0]


def test_a_reader_keeps_the_old_file_while_a_new_one_is_published(night: Callable, settings: Settings) -> None:
    with night(1) as session:
        first = publish_from(session, settings, keep=1)
    command = [sys.executable, "-c", READER, str(settings.published)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout
        assert reader.stdout.readline().strip() == first.snapshot_id
        with night(2) as session:
            second = publish_from(session, settings, keep=1)
        assert not first.path.exists()
        answer, _ = reader.communicate("go on\n", timeout=20)
    assert answer.split() == [first.snapshot_id, str(len(GOOD) * len(GOOD["rule_contributions"]))]
    assert snapshot(settings.published) == second.snapshot_id


def test_a_failure_before_the_flip_leaves_the_old_file(night: Callable, settings: Settings) -> None:
    with night(1) as session:
        first = publish_from(session, settings)
    in_the_way = settings.published.with_name(f".{settings.published.name}.{os.getpid()}")
    in_the_way.mkdir()
    with night(2) as session, pytest.raises(OSError, match=r"gesture\.duckdb"):
        publish_from(session, settings)
    assert snapshot(settings.published) == first.snapshot_id
    in_the_way.rmdir()
    with night(3) as session:
        assert publish_from(session, settings).snapshot_id == snapshot(settings.published)


PUBLISHER = """
import sys
from pathlib import Path
from gesture_assets.settings import load_settings
from gesture_assets.records.opening import warehouse_of
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets_tests.good_night import DAY, NIGHT
from gesture_assets_tests.unit.publication.test_publish import publish_from
from datetime import timedelta
settings = load_settings()
print("ready", flush=True)
for second in range(1, 1000):
    run = RunInfo(f"run-{second:04}", NIGHT + timedelta(seconds=second), (DAY,), "publish")
    with warehouse_of(settings).open(run) as session:
        publish_from(session, settings)
"""


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(0.02, marks=pytest.mark.proof),
        pytest.param(0.3, marks=pytest.mark.slow),
        pytest.param(0.55, marks=pytest.mark.proof),
    ],
)
def test_a_killed_publication_leaves_a_whole_file(night: Callable, settings: Settings, moment: float) -> None:
    with night(0) as session:
        publish_from(session, settings)
    command = [sys.executable, "-c", PUBLISHER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as publisher:
        assert publisher.stdout
        assert publisher.stdout.readline() == "ready\n"
        time.sleep(moment)
        os.kill(publisher.pid, signal.SIGKILL)
    with read_published(settings.published) as con:
        assert con.execute("select count(*) from analytics.current_scores").fetchone() == (3,)
    with night(60) as session:
        last = publish_from(session, settings)
    assert snapshot(settings.published) == last.snapshot_id
    assert [path.name for path in (settings.data_dir / "published").iterdir() if ".tmp" in path.name] == []


def test_old_files_are_pruned_and_the_current_one_never(night: Callable, settings: Settings) -> None:
    names = []
    for minute in range(1, 5):
        with night(minute) as session:
            names.append(publish_from(session, settings, keep=2).snapshot_id)
    folder = settings.data_dir / "published"
    assert sorted(path.name for path in folder.iterdir()) == names[-2:]
    assert snapshot_of(rollback(folder, settings.published, TABLES)) == names[-2]
    with night(0) as session:  # an older moment: its file sorts before the others
        oldest = publish_from(session, settings, keep=1)
    assert settings.published.resolve() == oldest.path.resolve()
    assert [path.name for path in folder.iterdir()] == [oldest.snapshot_id]


def test_a_rollback_flips_back_to_the_file_before(night: Callable, settings: Settings) -> None:
    folder = settings.data_dir / "published"
    with night(1) as session:
        first = publish_from(session, settings)
    with pytest.raises(GateClosed, match="an older published file"):
        rollback(folder, settings.published, TABLES)
    with night(2) as session:
        publish_from(session, settings)
    rollback(folder, settings.published, TABLES)
    assert snapshot(settings.published) == first.snapshot_id
    assert len(list(folder.iterdir())) == 2


def test_a_rollback_goes_back_along_what_readers_had_although_the_clock_was_set_back(
    night: Callable, settings: Settings
) -> None:
    folder, link = settings.published_files, settings.published
    names = []
    for minute in (30, 10, 20):
        with night(minute) as session:
            names.append(publish_from(session, settings).snapshot_id)
    assert [snapshot_of(rollback(folder, link, TABLES)) for _ in range(2)] == [names[1], names[0]]
    with pytest.raises(GateClosed, match="an older published file"):
        rollback(folder, link, TABLES)


def test_what_was_rolled_back_is_known_until_something_is_published_and_is_not_gone_back_to(
    night: Callable, settings: Settings
) -> None:
    folder, link = settings.published_files, settings.published
    names = []
    for minute in (1, 2):
        with night(minute) as session:
            names.append(publish_from(session, settings).snapshot_id)
        assert rolled_back(folder, link) == []
    rollback(folder, link, TABLES)
    assert rolled_back(folder, link) == names[1:]
    with night(3) as session:
        publish_from(session, settings)
    assert rolled_back(folder, link) == []
    assert snapshot_of(rollback(folder, link, TABLES)) == names[0]


def test_files_of_a_version_that_kept_no_order_are_gone_back_along_by_name(night: Callable, settings: Settings) -> None:
    names = []
    for minute in (1, 2, 3):
        with night(minute) as session:
            names.append(publish_from(session, settings).snapshot_id)
        old = settings.published_files / f"gesture-{names[-1]}.duckdb"
        settings.published.resolve().rename(old)
        flip(settings.published, old)
    settings.published.with_name(f"{settings.published.name}.order").unlink()
    assert rolled_back(settings.published_files, settings.published) == []
    assert snapshot_of(rollback(settings.published_files, settings.published, TABLES)) == names[1]


@pytest.mark.parametrize("change", ["delete from {}", "update {} set run_id = 'older', recorded_at = '2026-03-01'"])
def test_an_older_state_than_readers_have_is_published_for_a_reason_only(
    night: Callable, settings: Settings, open_session: Callable, change: str
) -> None:
    with night(1) as session:
        first = publish_from(session, settings)
        session.connection.execute(
            "insert into warehouse.main.gate_ledger select * replace (partition - 1 as partition, 0 as row_count) "
            "from warehouse.main.gate_ledger"
        )
    with night(2) as session:
        second = publish_from(session, settings)
        where = f"where partition < date '{DAY}'"
        session.connection.execute(f"{change.format('warehouse.main.gate_ledger')} {where}")
    with night(3) as session, pytest.raises(GateClosed, match="not older than what readers have") as refused:
        publish_from(session, settings)
    assert str(DAY - timedelta(days=1)) in str(refused.value)
    assert "gesture publish --force --reason" in refused.value.next_step
    assert snapshot(settings.published) == second.snapshot_id != first.snapshot_id
    with open_session(
        DAY, now=NIGHT + timedelta(minutes=4), run_id="forced", force_reason="the copy is right"
    ) as session:
        assert publish_from(session, settings).snapshot_id == snapshot(settings.published)


def test_a_warehouse_that_was_built_anew_is_no_older_state(night: Callable, settings: Settings) -> None:
    with night(1) as session:
        publish_from(session, settings)
        session.connection.execute("update warehouse.main.gate_ledger set run_id = 'anew', recorded_at = '2026-03-11'")
    with night(2) as session:
        assert publish_from(session, settings).snapshot_id == snapshot(settings.published)


def test_nothing_is_published_before_the_first_night(settings: Settings) -> None:
    with pytest.raises(GateClosed, match="nothing published yet"):
        read_published(settings.published)


def test_a_day_with_a_table_that_has_not_passed_is_not_published(night: Callable, settings: Settings) -> None:
    with night(1) as session:
        first = publish_from(session, settings)
        (one,) = session.commit((CONTRACTS["identity_links"], _leak(session)))
        assert one.bad_days
    with night(2) as session, pytest.raises(GateClosed, match=f"identity_links@{DAY} FAIL"):
        publish_from(session, settings)
    assert snapshot(settings.published) == first.snapshot_id


def test_a_day_that_was_never_built_is_not_published(
    night: Callable, settings: Settings, open_session: Callable
) -> None:
    del night  # it puts the warehouse in place
    next_day = date(2026, 3, 10)
    with (
        open_session(next_day, now=datetime.fromisoformat("2026-03-11T02:00")) as session,
        pytest.raises(GateClosed, match="raw_events@2026-03-10 never audited"),
    ):
        publish_from(session, settings)
    assert not settings.published.exists()


def test_scores_that_were_edited_by_hand_are_not_published(night: Callable, settings: Settings) -> None:
    with night(1) as session:
        session.connection.execute("update warehouse.main.rule_scores set score = 100 where user_id = 'cyd'")
        with pytest.raises(ContractBreach, match="the rows of rule_scores that passed their audit"):
            publish_from(session, settings)
    assert not settings.published.exists()


def test_a_copy_is_dressed_with_the_memory_that_is_allowed(night: Callable, settings: Settings) -> None:
    with pytest.raises(NotEnoughMemory), night() as session:
        publish_from(session, settings, memory_limit="1MB")
    with night(1) as session:
        assert publish_from(session, settings, memory_limit="400MB").snapshot_id == snapshot(settings.published)


def test_pieces_of_rows_stay_as_they_were_written(night: Callable, settings: Settings) -> None:
    """One writer by another way than `format.attach`, and a checkpoint writes the whole file again."""
    with night() as session:
        session.connection.execute(f"create table warehouse.main.long as select n from range({4 * ROW_GROUP}) as t(n)")
        publish_from(session, settings)
        session.connection.execute("create table warehouse.main.longer as from warehouse.main.long")
    for path, table in ((settings.warehouse, "long"), (settings.warehouse, "longer"), (settings.published, "long")):
        assert pieces(path.resolve(), table) == [ROW_GROUP] * 4, (path.name, table)
