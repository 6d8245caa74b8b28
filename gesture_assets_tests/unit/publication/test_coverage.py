"""Coverage of the gates is what the ledger saw: a read that is not declared is a gap, and no night is no coverage."""

from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import date, timedelta
from io import StringIO

import duckdb
import pytest
import typer

from gesture_assets.cli.judge import gates_coverage
from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.contracts.contract import PARTITION, Column, Contract
from gesture_assets.errors import GateClosed
from gesture_assets.publication.coverage import NIGHTS, READERS_OF_ALL, AuditedDay, Edge, Evidence, audited_days, edges
from gesture_assets.publication.publish import require_night
from gesture_assets.settings import Settings
from gesture_assets.vocabulary.severity import Severity
from gesture_assets.warehouse.audit import CheckOutcome
from gesture_assets.warehouse.ledger import LEDGER_COLUMNS, LedgerRow, Verdict, append
from gesture_assets_tests.good_night import DAY, NIGHT

TABLES = catalogue(Settings.model_fields["tags"].default).tables


def table(name: str, *upstream: str) -> Contract:
    day = Column(PARTITION, "DATE", "Day.")
    return Contract(name, "One row.", "A table.", (day,), (), "shop", "x@y.example", upstream, is_nightly=False)


def audited(name: str, *read: str, ago: int = 0, run_id: str = "r", **made_of: str) -> AuditedDay:
    """An audit of `name` for which `read` was read, so many days before the day."""
    day = DAY - timedelta(days=ago)
    return AuditedDay(name, day, run_id, {f"{one}@{day}": "hash" for one in read} | made_of)


def evidence(found: list[Edge]) -> dict[tuple[str, str], Evidence]:
    return {(edge.table, edge.reader): edge.evidence for edge in found}


def gaps(found: list[Edge]) -> dict[tuple[str, str], str]:
    return {(edge.table, edge.reader): edge.gap for edge in found if edge.gap}


HIDES, SHOES, LACES = table("hides"), table("shoes", "hides"), table("laces", "hides")
SHOP = (HIDES, SHOES, LACES)


# ---- what is read ------------------------------------------------------------------


def test_what_is_read_and_declared_is_guarded_by_the_checks_that_block() -> None:
    found = edges([audited("shoes", "hides"), audited("laces", "hides")], SHOP)
    assert evidence(found) == {("hides", "laces"): Evidence.READ, ("hides", "shoes"): Evidence.READ}
    assert gaps(found) == {}
    checks = [check.name for check in HIDES.checks]
    assert "row_count_is_near_its_usual_level" in checks
    assert [list(edge.checks) for edge in found] == [
        [name for name in checks if name != "row_count_is_near_its_usual_level"]
    ] * len(found)
    strict = edges([audited("shoes", "hides")], SHOP, ("row_count_is_near_its_usual_level",))
    assert [list(edge.checks) for edge in strict] == [checks] * len(strict)


def test_what_is_read_and_not_declared_is_a_gap() -> None:
    found = edges([audited("hides"), audited("shoes", "hides", "laces"), audited("laces", "hides")], SHOP)
    assert evidence(found)["laces", "shoes"] is Evidence.READ
    ((edge, gap),) = gaps(found).items()
    assert edge == ("laces", "shoes")
    assert "does not name it as upstream" in gap


def test_a_table_without_a_contract_is_a_gap() -> None:
    found = edges([audited("shoes", "hides", "glue")], SHOP)
    assert gaps(found) == {("glue", "shoes"): "the table has no contract, so nothing audits it"}


def test_a_table_none_of_whose_checks_block_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = {check.name: "only to see it" for check in HIDES.checks}
    monkeypatch.setattr("gesture_assets.vocabulary.severity.WARN_ONLY", everything)
    found = edges([audited("shoes", "hides")], SHOP)
    assert gaps(found) == dict.fromkeys(evidence(found), "no check of the table blocks")


def test_what_is_declared_and_not_read_is_said_and_is_no_gap() -> None:
    found = edges([audited("shoes", ago=n) for n in range(NIGHTS)], SHOP)
    assert evidence(found)["hides", "shoes"] is Evidence.ASKED
    assert gaps(found) == {}
    before = edges([audited("shoes"), audited("shoes", "hides", ago=1)], SHOP)
    assert evidence(before)["hides", "shoes"] is Evidence.READ_BEFORE


def test_what_was_read_before_it_was_mended_is_no_gap() -> None:
    assert gaps(edges([audited("shoes", "hides"), audited("shoes", "laces", ago=1)], SHOP)) == {}


def test_a_table_that_was_never_audited_is_not_counted_as_read() -> None:
    found = edges([audited("shoes", "hides")], SHOP)
    assert evidence(found)["hides", "laces"] is Evidence.NEVER_AUDITED
    assert [edge.reader for edge in found if edge.is_read] == ["shoes"]


def test_tables_of_one_step_share_what_they_declare() -> None:
    box = table("boxes")
    same = {"build": "key of the step"}
    found = edges([audited("shoes", "hides", **same), audited("boxes", "hides", **same, before="x")], (*SHOP, box))
    assert evidence(found)["hides", "boxes"] is Evidence.READ
    assert gaps(found) == {}
    for other in (audited("boxes", "hides", build="of another step"), audited("boxes", "hides", run_id="s", **same)):
        apart = edges([audited("shoes", "hides", **same), other], (*SHOP, box))
        assert set(gaps(apart)) == {("hides", "boxes")}


def test_a_step_may_read_its_own_earlier_days() -> None:
    found = edges([audited("shoes", "hides", "shoes", "laces"), audited("laces", "hides", "shoes", "laces")], SHOP)
    assert set(evidence(found)) == {("hides", "shoes"), ("hides", "laces")}
    assert gaps(found) == {}


def test_what_else_was_looked_at_is_no_table() -> None:
    one = AuditedDay("shoes", DAY, "r", {"landing": "x", "champion": "none", f"hides@{DAY}": "y"})
    assert one.read == {"hides"}


# ---- who asks for every table --------------------------------------------------------


def test_publishing_asks_for_every_nightly_table() -> None:
    nightly = {contract.name for contract in TABLES if contract.is_nightly}
    found = edges([], TABLES)
    asking = {(edge.table, edge.reader) for edge in found if edge.evidence is Evidence.ASKS_FOR_ALL}
    assert asking == {(name, reader) for name in nightly for reader in READERS_OF_ALL}
    assert not any(edge.is_read for edge in found)


def ledger_row(
    name: str, *, day: date = DAY, verdict: Verdict = Verdict.PASS, attempt: int = 1, read: tuple[str, ...] = ()
) -> LedgerRow:
    inputs = {f"{one}@{day}": "hash" for one in read}
    checks = (CheckOutcome("a_check", verdict is not Verdict.FAIL, Severity.ERROR, "3 rows"),)
    return LedgerRow(name, day, attempt, verdict, 1, "h", inputs, checks, None, "r", False, NIGHT)


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS_OF_ALL)
def test_each_nightly_table_can_keep_a_night_from_leaving(open_session: Callable, reader: str) -> None:
    nightly = [contract for contract in TABLES if contract.is_nightly]
    with open_session(DAY) as session:
        append(session.connection, [ledger_row(contract.name) for contract in nightly])
        assert set(require_night(session, nightly, reader=reader)) == {contract.name for contract in nightly}
        for contract in nightly:
            session.connection.execute("begin transaction")
            append(session.connection, [ledger_row(contract.name, verdict=Verdict.FAIL, attempt=2)])
            with pytest.raises(GateClosed, match=rf"{contract.name}@{DAY} FAIL"):
                require_night(session, nightly, reader=reader)
            session.connection.execute("rollback")


# ---- the ledger ---------------------------------------------------------------------


@pytest.fixture
def ledger(connection: duckdb.DuckDBPyConnection) -> Callable[..., None]:
    """Plant rows: table, days ago, attempt, verdict, what was read."""
    connection.execute(f"create table gate_ledger ({', '.join(f'{name} {kind}' for name, kind, _ in LEDGER_COLUMNS)})")
    marks = ", ".join("?" for _ in LEDGER_COLUMNS)

    def plant(name: str, ago: int, attempt: int, verdict: str, *read: str) -> None:
        row = ledger_row(name, day=DAY - timedelta(days=ago), verdict=Verdict(verdict), attempt=attempt, read=read)
        connection.execute(f"insert into gate_ledger values ({marks})", row.values())

    return plant


def test_the_newest_audit_of_each_day_is_looked_at(
    connection: duckdb.DuckDBPyConnection, ledger: Callable[..., None]
) -> None:
    ledger("shoes", 1, 1, "PASS", "glue")
    ledger("shoes", 1, 2, "FAIL", "hides")
    ledger("shoes", 0, 1, "PASS", "hides", "laces")
    ledger("hides", 3, 1, "PASS")
    seen = [(one.table, one.day, sorted(one.read)) for one in audited_days(connection)]
    yesterday = DAY - timedelta(days=1)
    assert seen == [
        ("shoes", DAY, ["hides", "laces"]),
        ("shoes", yesterday, ["hides"]),
        ("hides", DAY - timedelta(days=3), []),
    ]


def test_a_gate_that_was_opened_by_hand_and_an_absent_source_are_no_audits(
    connection: duckdb.DuckDBPyConnection, ledger: Callable[..., None]
) -> None:
    ledger("shoes", 0, 1, "FAIL", "hides")
    ledger("shoes", 0, 2, "OVERRIDE")
    ledger("laces", 0, 1, "ABSENT")
    assert [(one.table, sorted(one.read)) for one in audited_days(connection)] == [("shoes", ["hides"])]


def test_days_before_the_last_nights_are_not_looked_at(
    connection: duckdb.DuckDBPyConnection, ledger: Callable[..., None]
) -> None:
    for ago in range(NIGHTS + 2):
        ledger("shoes", ago, 1, "PASS", *(["hides"] if ago >= NIGHTS else []))
    assert evidence(edges(audited_days(connection), SHOP))["hides", "shoes"] is Evidence.ASKED
    longer = audited_days(connection, nights=NIGHTS + 1)
    assert evidence(edges(longer, SHOP))["hides", "shoes"] is Evidence.READ_BEFORE


# ---- the command ---------------------------------------------------------------------


def run_command() -> tuple[int, str]:
    """Exit code and output of `gesture gates coverage`."""
    out = StringIO()
    with redirect_stdout(out):
        try:
            gates_coverage()
        except typer.Exit as left:
            return left.exit_code, out.getvalue()
    return 0, out.getvalue()


def test_before_the_first_night_nothing_is_guarded(settings: Settings, open_session: Callable) -> None:
    with pytest.raises(GateClosed, match="No night has run yet"):
        gates_coverage()
    with open_session(DAY):
        pass
    assert settings.warehouse.exists()
    with pytest.raises(GateClosed, match="No night has run yet"):
        gates_coverage()


def test_the_command_says_what_was_read_and_ends_with_1_for_a_gap(open_session: Callable) -> None:
    with open_session(DAY) as session:
        append(session.connection, [ledger_row("daily_activity", read=("raw_events",))])
    code, out = run_command()
    assert code == 0
    assert "raw_events\tdaily_activity\t" in out
    assert "sessions\tdaily_activity\t" in out
    assert "100% of 1 edges that were read are guarded; 1 gates were asked though no row behind them was read, " in out
    with open_session(DAY) as session:
        append(session.connection, [ledger_row("daily_activity", attempt=2, read=("raw_events", "rule_scores"))])
    code, out = run_command()
    assert code == 1
    assert "50% of 2 edges that were read are guarded" in out


def test_where_only_the_published_file_is_it_is_looked_at(settings: Settings) -> None:
    with duckdb.connect(str(settings.published)) as con:
        con.execute(f"create table gate_ledger ({', '.join(f'{name} {kind}' for name, kind, _ in LEDGER_COLUMNS)})")
        values = ledger_row("daily_activity", read=("raw_events", "sessions")).values()
        con.execute(f"insert into gate_ledger values ({', '.join('?' for _ in values)})", values)
    assert "100% of 2 edges" in run_command()[1]
