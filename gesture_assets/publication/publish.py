"""Publishing: the audited warehouse becomes one file for everybody else, whole or not at all.

Belongs here: copying, verifying and flipping in. Does not belong
here: deciding whether a night may be published (its gates did). A reader who has the old file open keeps it.
"""

import logging
import os
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Self

import duckdb

from gesture_assets.contracts.contract import Contract
from gesture_assets.errors import ContractBreach, GateClosed, listing
from gesture_assets.features.feature_registry import Feature
from gesture_assets.publication.checks import PublicationCheck, as_an_analyst, differences, holds_what_passed
from gesture_assets.publication.compaction import compact
from gesture_assets.publication.dressing import dress, explain
from gesture_assets.publication.order import (
    current_snapshot,
    file_of,
    note_published,
    remove_all_but,
    snapshots,
    snapshots_before,
    write_order,
)
from gesture_assets.publication.reading import open_days, unpublished_days
from gesture_assets.vocabulary.sql import literal
from gesture_assets.warehouse import ledger
from gesture_assets.warehouse.format import attach
from gesture_assets.warehouse.run_info import window_of
from gesture_assets.warehouse.session import Session
from gesture_assets.warehouse.space import require_room
from gesture_assets.warehouse.warehouse import connect

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """A published file: its snapshot id, where it is, its size, the newest day in it, and how it was found to hold."""

    snapshot_id: str
    path: Path
    byte_count: int
    newest_day: date
    holds: PublicationCheck


class NotWhatPassed(ContractBreach):
    """A file does not hold what passed its audit and was not flipped in; `check` says where it differs."""

    check: PublicationCheck

    @classmethod
    def of(cls, check: PublicationCheck, path: Path, *, next_step: str) -> Self:
        """The refusal of the file at `path` because of its failed `check`; `next_step` mends it."""
        refusal = cls(
            "The published file was not changed.",
            expected="a copy that holds what passed its audit",
            found=f"other row counts in {check.metadata.get('differences', 'none: it holds no day')}",
            where=str(path),
            next_step=next_step,
        )
        refusal.check = check
        return refusal


def require_night(
    session: Session,
    contracts: Sequence[Contract],
    *,
    days: Sequence[date] | None = None,
    reader: str = "published_warehouse",
) -> dict[str, str]:
    """Table -> hash over `days` (default: those of the run), every one of which has passed.

    Raises `GateClosed` naming what has not.
    """
    days = session.run.days if days is None else days
    verdicts = ledger.latest(session.connection)  # the last gate asks anew, whatever the session knows
    return {
        contract.name: ledger.require(
            session.connection,
            table=contract.name,
            days=days,
            reader=reader,
            window=window_of(days),
            verdicts=verdicts.get(contract.name, {}),
        )
        for contract in contracts
    }


def publish(
    session: Session,
    *,
    contracts: Sequence[Contract],
    features: Sequence[Feature],
    folder: Path,
    link: Path,
    warehouse: Path,
    keep: int,
    deadline: int = 6,
    memory_limit: str | None = None,
    days: Sequence[date] | None = None,
) -> Published:
    """Copy the warehouse, dress and verify the copy, and let `link` point to it. The warehouse is closed meanwhile.

    `memory_limit`: what rewriting and dressing a file may take (default: that of a connection).
    `deadline`: hour (UTC) of the next day by which a day is to be live, for the file's tables and views about it.
    `days`: the night that must be whole (default: the days of the run). Raises `GateClosed` when a table of these has
    not passed, or when readers have what is newer (unless the run has a reason to force it), `ContractBreach` when
    their rows were edited by hand since, its kind `NotWhatPassed` when the copy is not what was audited; in each case,
    as after a crash at any point, `link` stays where it was.
    """
    for contract in contracts:
        session.ensure(contract)  # before the first training there is no table of models
    nightly = [contract for contract in contracts if contract.is_nightly]
    days = session.run.days if days is None else days
    require_night(session, nightly, days=days)
    for contract in nightly:
        session.verify_unchanged(contract, days, since=days[0])
    if not session.run.force_reason:
        _require_nothing_newer(session, nightly, link)
        _require_whole(session, nightly, link)
    now = session.run.now
    snapshot_id = f"{now:%Y%m%dT%H%M%S}-{session.run.run_id[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder, link)
    require_room(f"The publication of {window_of(days)}", folder, warehouse.stat().st_size)
    part, path = folder / f"{snapshot_id}.tmp", file_of(folder, link, snapshot_id)
    con = session.connection
    explain(con, contracts)
    con.execute("checkpoint warehouse")
    con.execute("use memory")
    con.execute("detach warehouse")  # a copy of a file that is open could miss its last pages
    try:
        compact(warehouse, memory_limit=memory_limit)
        shutil.copyfile(warehouse, part)
        dress(
            part,
            contracts,
            features,
            snapshot_id=snapshot_id,
            run_id=session.run.run_id,
            now=now,
            deadline=deadline,
            memory_limit=memory_limit,
        )
        compact(part, memory_limit=memory_limit)  # what did not pass is not in it, and leaves room
        holds, newest = verify(part, contracts)
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
    except BaseException:
        _sweep(folder, link)  # a copy that is of no use must not keep the disk full
        raise
    finally:
        attach(con, warehouse, "warehouse")  # what went wrong is still to be written there
    path.parent.mkdir(exist_ok=True)
    part.replace(path)
    before = [*snapshots_before(folder, link), *filter(None, [current_snapshot(link)])]
    flip(link, path)
    note_published(link, before)
    _prune(folder, link, keep)
    log.info("published snapshot %s", snapshot_id)
    # The same bytes, by their final name.
    holds = replace(holds, metadata={**holds.metadata, "file": f"{snapshot_id}/{path.name}"})
    return Published(snapshot_id, path, path.stat().st_size, newest, holds)


def _sweep(folder: Path, link: Path) -> None:
    """Remove what a publication leaves behind that was killed or found no room."""
    for leftover in folder.glob("*.tmp*"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()
    for empty in folder.glob("*/"):
        if not any(empty.iterdir()):
            empty.rmdir()
    for leftover in link.parent.glob(f".{link.name}.*"):
        if leftover.is_symlink() or leftover.name.startswith(f".{link.name}.order."):
            leftover.unlink()


def flip(link: Path, target: Path) -> None:
    """Let `link` point to `target` in one step: a reader finds the old file or the new one, never none."""
    beside = link.with_name(f".{link.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    beside.symlink_to(os.path.relpath(target, link.parent))
    beside.replace(link)


def _prune(folder: Path, link: Path, keep: int) -> None:
    """Remove all but the `keep` files that readers had last, never the one that they have."""
    remove_all_but([*snapshots(folder, link)[-keep:], current_snapshot(link)], folder, link)


def _require_whole(session: Session, contracts: Sequence[Contract], link: Path) -> None:
    """Refuse days whose tables were not all made from each other, but those that readers have so already."""
    verdicts = {contract.name: session.latest(contract.name) for contract in contracts}
    behind = ledger.outdated(session.connection, contracts)
    live = open_days(list(verdicts.values())) & behind.keys()
    if days := sorted(unpublished_days(session.connection, live, verdicts, link)):
        raise GateClosed(
            f"{listing(days)} cannot be published: built in part.",
            expected="tables that were made from each other",
            found=f"{listing(behind[days[0]])} of {days[0]}, made before what they read was replaced",
            where="the ledger of the warehouse",
            next_step="gesture run",
        )


def _require_nothing_newer(session: Session, contracts: Sequence[Contract], link: Path) -> None:
    """Refuse a state that is older than what readers have: a copy of the warehouse may have been put back.

    A day is older where its audit that readers have is unknown here, and no later one is known.
    """
    newest = """select table_name, partition, arg_max(attempt, attempt), arg_max(run_id, attempt),
        max(recorded_at) from {ledger} where verdict = 'PASS' group by all"""
    try:
        with closing(connect()) as con:
            con.execute(f"attach {literal(link.resolve())} as readers (read_only)")
            theirs = con.execute(newest.format(ledger="readers.main.gate_ledger")).fetchall()
    except (duckdb.Error, OSError):  # there is none, or nobody can read it
        return
    audits = f"select table_name, partition, attempt, run_id from {ledger.LEDGER}"
    known = set(session.connection.execute(audits).fetchall())
    ours = session.connection.execute(newest.format(ledger=ledger.LEDGER)).fetchall()
    passed_at = {(table, day): at for table, day, _, _, at in ours}
    names = {contract.name for contract in contracts}
    newer = {
        day
        for table, day, attempt, run_id, at in theirs
        if table in names
        and (table, day, attempt, run_id) not in known
        and ((table, day) not in passed_at or passed_at[table, day] < at)
    }
    if newer:
        raise GateClosed(
            "The published file was not changed.",
            expected="a state that is not older than what readers have",
            found=f"readers have a newer one of {listing(sorted(newer, reverse=True))}",
            where=f"{link}, table gate_ledger",
            next_step='gesture run  builds what is missing; or go back:  gesture publish --force --reason "why"',
        )


def verify(path: Path, contracts: Sequence[Contract], *, next_step: str = "") -> tuple[PublicationCheck, date]:
    """The check that the file at `path` holds what passed, and its newest day. Raises `NotWhatPassed` if it does not.

    Its next step is to build the days again that differ, unless another is given.
    """
    check, newest = holds_what_passed(path, contracts)
    if not check.passed or newest is None:
        raise NotWhatPassed.of(check, path, next_step=next_step or _rebuilding(path, contracts))
    return check, newest


def _rebuilding(path: Path, contracts: Sequence[Contract]) -> str:
    """The command that builds the days again on which the file at `path` differs from what passed."""
    with as_an_analyst(path) as con:
        days = [difference.day for difference in differences(con, contracts)]
    if not days:
        return "gesture run"
    first, last = min(days), max(days)
    return f"gesture run --date {first}" if first == last else f"gesture run --from {first} --to {last}"


def rollback(folder: Path, link: Path, contracts: Sequence[Contract]) -> Path:
    """Let `link` point to the file that readers had before the current one. Raises `GateClosed` when there is none.

    What is rolled back stays so until somebody publishes anew: see `order.rolled_back`.
    """
    had, older = snapshots(folder, link), snapshots_before(folder, link)
    if not older or not link.exists():
        raise GateClosed(
            "The published file was not changed.",
            expected="an older published file",
            found=listing(had),
            where=str(folder),
            next_step="gesture publish",
        )
    path = file_of(folder, link, older[-1])
    verify(path, contracts, next_step="gesture publish  (a new file of what is live)")
    write_order(link, had)
    flip(link, path)
    return path
