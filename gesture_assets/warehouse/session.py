"""An open warehouse: read behind the gates, commit so that nothing goes live before its audit has passed.

Belongs here: what callers do with an open warehouse. Does not belong here: how (`gates.py`, `staging.py`,
`window_audit.py`, `promotion.py`, `relations.py`), opening the file (`warehouse.py`), what is expected of a table
(`contracts/`), Dagster (`defs/`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import ParamSpec, TypeVar

import duckdb
import narwhals as nw
import polars as pl

from gesture_assets.contracts.catalogue import ancestors
from gesture_assets.contracts.contract import PARTITION, Contract
from gesture_assets.errors import ContractBreach, GateClosed, listing
from gesture_assets.frames import Frame
from gesture_assets.warehouse import landed_days, ledger, promotion, queries, relations, staging
from gesture_assets.warehouse.audit import CheckOutcome
from gesture_assets.warehouse.commits import DayVerdict, TableCommit
from gesture_assets.warehouse.gates import Gates, Known
from gesture_assets.warehouse.ledger import Built, LedgerRow, Verdict, Verdicts
from gesture_assets.warehouse.named_steps import NamedSteps
from gesture_assets.warehouse.relations import EMPTY_HASH
from gesture_assets.warehouse.restatement import published_hashes
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.schemas import LIVE
from gesture_assets.warehouse.staging import Frames, Staging
from gesture_assets.warehouse.window_audit import StagedWindow

P = ParamSpec("P")
R = TypeVar("R")
NONE: Mapping[str, str] = MappingProxyType({})
NO_KEYS: Mapping[date, str] = MappingProxyType({})


@dataclass
class Session:
    """An open warehouse: the connection, the run that holds it, and what it has read so far.

    Where a method takes `days`, they are the days that are being built; those of the run unless others are given.
    """

    connection: duckdb.DuckDBPyConnection
    run: RunInfo
    published: Path | None = None  # the link that readers use: what it holds changes only for a reason
    blocking: tuple[str, ...] = ()  # checks that would only report, and block here
    reads: list[str] = field(default_factory=list, init=False)  # tables that were read, in order, once each
    known: Known = field(default_factory=Known)
    shelf: Path | None = None  # the folder of written queries
    _inputs: dict[str, str] = field(default_factory=dict, init=False)
    _gates: Gates = field(init=False)
    _steps: NamedSteps = field(init=False)
    _staging: Staging = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is asked and nothing staged yet."""
        self._gates = Gates(self.connection, self.run, self.known)
        self._steps = NamedSteps(self.connection)
        self._staging = Staging(self._steps)

    # ---- reading -------------------------------------------------------------------------------------------------

    def read(
        self,
        contract: Contract,
        *,
        on: date | None = None,
        since: date | None = None,
        through: date | None = None,
        days: Sequence[date] | None = None,
    ) -> Frame:
        """The live rows of `contract`: of the day `on`, or of each day from `since` (default: first) `through` a day.

        With `through`, each landed day of the span needs its PASS, so a forgotten day is a closed gate and not a silent
        gap. Raises `GateClosed`; with a `force_reason` the closed gates are opened and the ledger says so.
        """
        self.ensure(contract)  # its own step may not have run since it gained a column
        digest = self.require(contract, on=on, since=since, through=through, days=days)
        since, through = on or since, on or through
        self._inputs[f"{contract.name}@{through}"] = digest
        if contract.name not in self.reads:
            self.reads.append(contract.name)
        after = f"{PARTITION} >= date '{since}' and " if since else ""
        return self._select(contract, f"{after}{PARTITION} <= date '{through}'")

    def require(
        self,
        contract: Contract,
        *,
        on: date | None = None,
        since: date | None = None,
        through: date | None = None,
        days: Sequence[date] | None = None,
    ) -> str:
        """Ask for all that `read` asks for, without reading: a hash over the span, every landed day of which passed."""
        days = self.run.days if days is None else days
        if on is not None:
            since = through = on
        assert through is not None
        required = [through] if on is not None else self.required_days(since=since, through=through, days=days)
        try:
            digest = self._require(contract, required, days)
        except GateClosed as refusal:
            if not contract.is_nightly:  # no night builds it
                refusal.next_step = f"gesture train --date {max(required)}"
            if not self.run.force_reason:
                raise
            for table in ancestors(contract.name):
                self._gates.open_by_hand(table, [day for day in required if day in days])
            self._gates.open_by_hand(contract.name, required)
            self.ensure(contract)  # what was never built is read as empty
            digest = self._gates.require(contract.name, required, built=days)
        if (asked := (contract.name, *required, since)) not in self.known.verified:
            self.verify_unchanged(contract, required, since=since)
            self.known.verified.add(asked)
        return digest

    def select(self, contract: Contract, where: str = "true", *, columns: Sequence[str] | None = None) -> Frame:
        """The live rows of `contract` that answer the condition, behind no gate.

        For what is judged by who reads it, such as what the training of the model in use left, and a table's own rows.
        """
        self.ensure(contract)
        return self._select(contract, where, columns)

    def digest(self, contract: Contract, *, through: date, days: Sequence[date] | None = None) -> str | None:
        """What `read` would note of `contract` as its input up to a day; None where a gate is closed."""
        days = self.run.days if days is None else days
        try:
            return self._gates.require(contract.name, self.required_days(through=through, days=days), built=days)
        except GateClosed:
            return None

    @property
    def inputs_read(self) -> Mapping[str, str]:
        """`table@day`, the last that was read -> a hash over all that was."""
        return MappingProxyType(self._inputs)

    def landed_days(self) -> frozenset[date]:
        """Every day on which something landed, as far as the index knows."""
        if self.known.landed_days is None:
            self.known.landed_days = landed_days.landed_days(self.connection)
        return self.known.landed_days

    def required_days(
        self, *, through: date, since: date | None = None, days: Sequence[date] | None = None
    ) -> list[date]:
        """What must have passed: each day of the span on which something landed, `through` itself, and `days` in it.

        A range asks no less of a day than the day alone would.
        """
        asked = self.landed_days().union(self.run.days if days is None else days)
        return sorted({day for day in asked if day <= through and (since is None or day >= since)} | {through})

    def live_counts(self, table: str, days: Sequence[date]) -> dict[date, int]:
        """Day -> live rows, for the span of `days`."""
        return relations.count_rows(self.connection, f"{LIVE}.{table}", days)

    def hashes(self, table: str, days: Sequence[date]) -> dict[date, tuple[int, str]]:
        """Day -> (row count, content hash), the same whatever the order of rows."""
        return relations.hashes(self.connection, table, days)

    def verify_unchanged(self, contract: Contract, days: Sequence[date], *, since: date | None) -> None:
        """Refuse rows that are not the ones which passed: somebody wrote past the gate."""
        verdicts = self._gates.latest(contract.name)
        live = self.live_counts(contract.name, [since or date.min, *days])
        changed = [day for day in days if live.get(day, 0) != verdicts[day].row_count]
        changed += [day for day in live if day not in verdicts]
        newest = max(days)
        if not changed and verdicts[newest].verdict is Verdict.PASS and live.get(newest):
            changed = self.not_as_passed(contract, {newest: verdicts[newest].content_hash})
        if changed:
            raise ContractBreach(
                f"{self.run.step} cannot be built for {self.run.window}.",
                expected=f"the rows of {contract.name} that passed their audit",
                found=f"other rows on {listing(changed)}",
                where="data/warehouse.duckdb, which only `gesture` may write",
                next_step=f"gesture run --date {min(changed)}",
            )

    def not_as_passed(self, contract: Contract, passed: Mapping[date, str]) -> list[date]:
        """The days whose live rows have another content hash than the one that `passed` (day -> hash)."""
        unknown = [day for day, digest in passed.items() if (contract.name, day, digest) not in self.known.hashed]
        live = self.hashes(relations.content(contract), unknown) if unknown else {}
        changed = [day for day in unknown if live.get(day, (0, EMPTY_HASH))[1] != passed[day]]
        self.known.hashed.update((contract.name, day, passed[day]) for day in unknown if day not in changed)
        return changed

    def latest(self, table: str) -> Verdicts:
        """Day -> the latest verdict of `table`."""
        return self._gates.latest(table)

    def built_with(self, table: str, days: Sequence[date]) -> dict[date, Built]:
        """Day -> what made it, for those of `days` whose latest audit of `table` passed."""
        return self._gates.built_with(table, days)

    def _require(self, contract: Contract, required: Sequence[date], days: Sequence[date]) -> str:
        """The hash over `required`, once the gates are seen to be open."""
        # What stands behind it is asked first: a table that passed is no good once its own input has failed.
        for table in ancestors(contract.name):
            self._gates.require(table, [day for day in required if day in days], built=days)
        return self._gates.require(contract.name, required, built=days)

    def _select(self, contract: Contract, where: str, columns: Sequence[str] | None = None) -> Frame:
        names = ", ".join(contract.column_names if columns is None else columns)
        return nw.from_native(self.connection.sql(f"select {names} from {LIVE}.{contract.name} where {where}"))

    # ---- writing -------------------------------------------------------------------------------------------------

    def commit(
        self,
        *staged: tuple[Contract, Frames],
        days: Sequence[date] | None = None,
        inputs: Mapping[str, str] = NONE,
        keys: Mapping[date, str] = NO_KEYS,
        version: str | None = None,
    ) -> tuple[TableCommit, ...]:
        """Stage, audit and promote tables for `days`; all of them go live for a day, or none.

        A table comes as one frame, or as several that are staged one after the other, such as one a day. `inputs`:
        hashes of what the rows are made of beside tables that were read; `keys`: day -> the key of its build
        (`unchanged.py`); `version`: of the rules or the model.

        Where a window does not pass as a whole, its good days go live, and bad ones are rejected by name and their
        rows kept in `rejected.<table>`. The commit does not raise on bad data: look at
        `bad_days`.
        """
        days = self.run.days if days is None else days
        sql = [self._staging.stage(contract, frames, self.run) for contract, frames in staged]
        contracts = [contract for contract, _ in staged]
        for contract in contracts:
            self.ensure(contract)  # checks may look at earlier days
        window = StagedWindow(self.connection, contracts, days, self.blocking)
        whole = window.audit(days)
        by_day = window.by_day(whole)
        origin = promotion.Origin(self.run, {**self._inputs, **inputs}, keys, version)
        readers = promotion.Readers(self.published, self._readers_have) if self.published else None
        verdicts = promotion.promote(self.connection, contracts, by_day, origin, readers, self.latest)
        for contract, verdicts_of_table in zip(contracts, verdicts, strict=True):
            self.known.committed(contract.name, verdicts_of_table)
        return tuple(
            TableCommit(contract, verdicts_of_table, whole[contract.name].outcomes, sql_of_table)
            for contract, verdicts_of_table, sql_of_table in zip(contracts, verdicts, sql, strict=True)
        )

    def _readers_have(self) -> dict[str, dict[date, str]]:
        """Table -> day -> content hash of what is published; a file that is published once never changes."""
        assert self.published is not None
        file = self.published.resolve()
        if file not in self.known.published:
            self.known.published[file] = published_hashes(self.connection, file)
        return self.known.published[file]

    def keep(self, contract: Contract, verdict: Verdict, days: Sequence[date] | None = None) -> tuple[TableCommit, ...]:
        """Leave the live rows of `days` as they are and say so in the ledger.

        For ABSENT: there is no such source and nothing to audit. Readers pass, and find no rows.
        """
        days = self.run.days if days is None else days
        attempts = ledger.next_attempts(self.latest(contract.name), days)
        self.ensure(contract)
        self._gates.record(
            [
                LedgerRow.of_run(
                    self.run,
                    table_name=contract.name,
                    partition=day,
                    attempt=attempts[day],
                    verdict=verdict,
                    row_count=0,
                    content_hash=EMPTY_HASH,
                    input_hashes=dict(self._inputs),
                )
                for day in days
            ]
        )
        outcomes = tuple(
            CheckOutcome(check.name, True, check.severity, "nothing to check, the source is not configured")
            for check in contract.checks
        )
        verdicts = tuple(DayVerdict(day, True, 0, EMPTY_HASH, attempts[day], False, outcomes) for day in days)
        return (TableCommit(contract, verdicts, outcomes),)

    def ensure(self, contract: Contract) -> None:
        """Create the live table, or add the columns that its contract has gained; a changed type is refused."""
        if contract not in self.known.ensured:
            relations.ensure(self.connection, contract)
            self.known.ensured.add(contract)

    def set_aside(self, name: str, frames: Frames) -> Frame:
        """The rows of `frames` as a table that lives as long as the session: for what is read more than once."""
        return self._staging.set_aside(name, frames)

    def in_memory(self, rows: pl.DataFrame) -> AbstractContextManager[Frame]:
        """`rows` as a frame of the engine, which reads them where they are (`staging.in_memory`)."""
        return staging.in_memory(self.connection, rows.to_arrow())

    def in_parts(self, frame: Frame, *, by: str, rows: int) -> Iterator[pl.DataFrame]:
        """`frame` in memory, about `rows` rows at a time (`staging.in_parts`)."""
        return staging.in_parts(frame, by=by, rows=rows)

    def query(self, build: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What `build` returns of its frames; its SQL is written once (`queries.py`)."""
        return queries.query(self._steps, self.shelf, build, *args, **kwargs)

    def name_step(self, name: str, frame: Frame) -> Frame:
        """`frame` as a named part of the query that it goes into (`NamedSteps.name_step`)."""
        return self._steps.name_step(name, frame)
