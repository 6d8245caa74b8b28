"""The warehouse: stage, audit, promote. The only code that writes a table.

Belongs here: opening the private DuckDB file under the writer's lock, reading behind the gate ledger, and committing
frames so that nothing goes live before its audit has passed. Does not belong here: what is expected of a table
(`contracts/`), how an audit runs (`audit.py`), the file for everybody else (`publish.py`), Dagster (`defs/`).
"""

import logging
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import duckdb
import narwhals as nw
import polars as pl

from gesture_assets.contracts.catalogue import ancestors
from gesture_assets.contracts.contract import PARTITION, PROVENANCE, Contract
from gesture_assets.errors import ConfigError, ContractBreach, GateClosed, GestureError, listing
from gesture_assets.frames import Frame
from gesture_assets.records import activations as registry
from gesture_assets.records import alert_log, audit_log, quarantine
from gesture_assets.settings import Settings
from gesture_assets.vocabulary.personal_data import masked_sql
from gesture_assets.warehouse import ledger, restatement
from gesture_assets.warehouse.audit import AUDIT_SCHEMA, Audit, CheckOutcome, audit, not_evaluated, together
from gesture_assets.warehouse.format import create_file, roll_back, settle, told_when_unreadable
from gesture_assets.warehouse.ledger import LedgerRow, Verdict
from gesture_assets.warehouse.lock import attach_when_free, writer_lock
from gesture_assets.warehouse.run_queue import Turns
from gesture_assets.warehouse.space import told_when_full

log = logging.getLogger(__name__)

LIVE, STAGE, REJECTED, SUPERSEDED = "warehouse.main", "scratch.stage", "warehouse.rejected", "warehouse.superseded"

STEPS = "scratch.steps"
A_STEP = re.compile(rf"\b{re.escape(STEPS)}\.(\w+)")

EMPTY_HASH = "0" * 32

# Among the input hashes of a ledger row: all that the day was built from (unchanged.py), the table's days before it.
BUILD, BEFORE = "build", "before"


@dataclass(frozen=True)
class RunInfo:
    """Who writes: Dagster run, the moment it started (UTC, naive), its days, and the reasons given for exceptions."""

    run_id: str
    now: datetime
    days: tuple[date, ...]
    step: str
    force_reason: str | None = None  # opens closed gates, recorded in the ledger
    restate_reason: str | None = None  # lets old days change that readers already have
    restate_crm: bool = False  # … and today's CRM take the place of what it was on an old day
    rebuild: bool = False  # builds also what has not changed

    @property
    def insists(self) -> bool:
        """Whether everything is to be built, unchanged or not."""
        return bool(self.rebuild or self.force_reason or self.restate_reason or self.restate_crm)

    @property
    def is_only_backfill(self) -> bool:
        """Whether no day of the run is the last complete one."""
        return bool(self.days) and all(map(self.is_backfill, self.days))

    @property
    def window(self) -> str:
        """`2026-03-04`, or `2026-03-01 to 2026-03-04`."""
        return str(self.days[0]) if len(self.days) == 1 else f"{self.days[0]} to {self.days[-1]}"

    def is_backfill(self, day: date) -> bool:
        """Whether a newer day than `day` was already complete when the run started."""
        return day < self.now.date() - timedelta(days=1)


@dataclass(frozen=True)
class DayVerdict:
    """How one day of one table ended. `is_changed` says whether live rows were replaced."""

    day: date
    passed: bool
    row_count: int
    content_hash: str
    attempt: int
    is_changed: bool


@dataclass(frozen=True)
class TableCommit:
    """What a commit did with one table: an audit for the whole window, or one a day where the whole did not pass."""

    contract: Contract
    days: tuple[DayVerdict, ...]
    outcomes: tuple[CheckOutcome, ...]
    sql: str = ""

    @property
    def row_count(self) -> int:
        """Rows that are live after the commit, over the good days."""
        return sum(day.row_count for day in self.days if day.passed)

    @property
    def bad_days(self) -> tuple[DayVerdict, ...]:
        """Days that were rejected."""
        return tuple(day for day in self.days if not day.passed)

    @property
    def content_hash(self) -> str:
        """One hash over the good days."""
        import hashlib

        return hashlib.sha256(
            "".join(f"{d.day}:{d.content_hash};" for d in self.days if d.passed).encode()
        ).hexdigest()[:32]


def joined(commits: Sequence[Sequence[TableCommit]]) -> tuple[TableCommit, ...]:
    """The commits of a step's tables, made for a part of its days each, as one per table."""
    return tuple(
        replace(
            of[-1],
            days=tuple(day for commit in of for day in commit.days),
            outcomes=tuple(map(together, zip(*(commit.outcomes for commit in of), strict=True))),
        )
        for of in zip(*commits, strict=True)
    )


Frames = Frame | Iterable[Frame]


@dataclass
class Session:
    """An open warehouse: the connection, the run that holds it, and what it has read so far."""

    connection: duckdb.DuckDBPyConnection
    run: RunInfo
    published: Path | None = None  # the link that readers use: what it holds changes only for a reason
    blocking: tuple[str, ...] = ()  # checks that would only report, and block here
    input_hashes: dict[str, str] = field(default_factory=dict)
    build_keys: dict[date, str] = field(default_factory=dict)  # unchanged.py: what each day is built from, in one word
    verdicts: dict[str, ledger.Verdicts] = field(default_factory=dict)  # by table, as far as they were asked for
    steps: dict[str, str] = field(default_factory=dict)  # the SQL of each named part of a query

    # ---- reading -------------------------------------------------------------------------------------------------

    def read(
        self, contract: Contract, *, on: date | None = None, since: date | None = None, through: date | None = None
    ) -> Frame:
        """The live rows of `contract`: of the day `on`, or of each day from `since` (default: first) `through` a day.

        With `through`, each landed day of the span needs its PASS, so a forgotten day is a closed gate and not a silent
        gap. Raises `GateClosed`; with a `force_reason` the closed gates are opened and the ledger says so.
        """
        if on is not None:
            since = through = on
        assert through is not None
        days = [through] if on is not None else self.required_days(since=since, through=through)
        try:
            # What stands behind it is asked first: a table that passed is no good once its own input has failed.
            for table in ancestors(contract.name):
                self._require(table, [day for day in days if day in self.run.days])
            digest = self._require(contract.name, days)
        except GateClosed:
            if not self.run.force_reason:
                raise
            for table in ancestors(contract.name):
                self._override(table, [day for day in days if day in self.run.days])
            self._override(contract.name, days)
            self.ensure(contract)  # what was never built is read as empty
            digest = self._require(contract.name, days)
        self.verify_unchanged(contract, days, since=since)
        self.input_hashes[f"{contract.name}@{through}"] = digest
        names = ", ".join(contract.column_names)
        after = f"{PARTITION} >= date '{since}' and " if since else ""
        relation = self.connection.sql(
            f"select {names} from {LIVE}.{contract.name} where {after}{PARTITION} <= date '{through}'"
        )
        return nw.from_native(relation)

    def digest(self, contract: Contract, *, through: date) -> str | None:
        """What `read` would note of `contract` as its input up to a day; None where a gate is closed."""
        try:
            return self._require(contract.name, self.required_days(through=through))
        except GateClosed:
            return None

    def _require(self, table: str, days: Sequence[date]) -> str:
        return ledger.require(
            self.connection,
            table=table,
            days=days,
            reader=self.run.step,
            window=self.run.window,
            verdicts=self._latest(table),
        )

    def _latest(self, table: str) -> ledger.Verdicts:
        """The latest verdicts of `table`; asked once, for nobody else writes while the warehouse is open here."""
        if table not in self.verdicts:
            self.verdicts[table] = ledger.latest(self.connection, table)
        return self.verdicts[table]

    def _record(self, rows: Sequence[LedgerRow]) -> None:
        ledger.append(self.connection, rows)
        self.verdicts.clear()

    def expected_days(self, *, through: date, since: date | None = None) -> list[date]:
        """Every day of the span on which something landed, and `through` itself."""
        landed = sorted(self.landed_days())
        return [day for day in landed if day < through and (since is None or day >= since)] + [through]

    def landed_days(self) -> set[date]:
        """Every day on which something landed, as far as the index knows."""
        rows = self.connection.execute(f"select distinct {PARTITION} from {LIVE}.landing_days").fetchall()
        return {day for (day,) in rows}

    def required_days(self, *, through: date, since: date | None = None) -> list[date]:
        """The expected days, and those of the run: a range asks no less of a day than the day alone would."""
        own = {day for day in self.run.days if day <= through and (since is None or day >= since)}
        return sorted(own.union(self.expected_days(since=since, through=through)))

    def _override(self, table: str, days: Sequence[date]) -> None:
        """Open the closed gates of `table`@`days`, leaving a row each that says who did it and why."""
        verdicts = self._latest(table)
        closed = [day for day in days if day not in verdicts or verdicts[day][0] is Verdict.FAIL]
        if not closed:
            return
        attempts = ledger.next_attempts(self.connection, table, closed)
        live = self.live_counts(table, closed)
        hashes = ledger.live_hashes(self.connection, table)
        rows = [
            LedgerRow(
                table,
                day,
                attempts[day],
                Verdict.OVERRIDE,
                live.get(day, 0),
                hashes.get(day, EMPTY_HASH),
                {},
                (),
                None,
                self.run.run_id,
                self.run.is_backfill(day),
                self.run.now,
                self.run.force_reason,
            )
            for day in closed
        ]
        self._record(rows)
        log.warning("%s: opened %s@%s by hand: %s", self.run.step, table, listing(closed), self.run.force_reason)

    def live_counts(self, table: str, days: Sequence[date]) -> dict[date, int]:
        """Day -> live rows, for the span of `days`."""
        if not days or not self._has("main", table):
            return {}
        return dict(
            self.connection.execute(
                f"select {PARTITION}, count(*) from {LIVE}.{table} where {PARTITION} between ? and ? group by all",
                [min(days), max(days)],
            ).fetchall()
        )

    def verify_unchanged(self, contract: Contract, days: Sequence[date], *, since: date | None) -> None:
        """Refuse rows that are not the ones which passed: somebody wrote past the gate."""
        verdicts = self._latest(contract.name)
        live = self.live_counts(contract.name, [since or date.min, *days])
        changed = [day for day in days if live.get(day, 0) != verdicts[day][2]]
        changed += [day for day in live if day not in verdicts]
        newest = max(days)
        if not changed and verdicts[newest][0] is Verdict.PASS and live.get(newest):
            table = f"(select {', '.join(contract.column_names)} from {LIVE}.{contract.name})"
            if self.hashes(table, [newest]).get(newest, (0, ""))[1] != verdicts[newest][3]:
                changed = [newest]
        if changed:
            raise ContractBreach(
                f"{self.run.step} cannot be built for {self.run.window}.",
                expected=f"the rows of {contract.name} that passed their audit",
                found=f"other rows on {listing(changed)}",
                where="data/warehouse.duckdb, which only `gesture` may write",
                next_step=f"gesture run --date {min(changed)}",
            )

    # ---- writing -------------------------------------------------------------------------------------------------

    def commit(self, *tables: tuple[Contract, Frames], version: str | None = None) -> tuple[TableCommit, ...]:
        """Stage, audit and promote `tables` for the days of the run; all of them go live for a day, or none.

        A table comes as one frame, or as several that are staged one after the other, such as one a day.

        A window that does not pass as a whole is audited in halves, down to the days: good days go live, bad ones are
        rejected by name and their rows kept in `rejected.<table>`. The commit does not raise on bad data: look at
        `bad_days`.
        """
        sql = {contract.name: self._stage(contract, frame) for contract, frame in tables}
        contracts = [contract for contract, _ in tables]
        whole = self._audit(contracts, self.run.days)
        by_day = self._tell_days_apart(contracts, self.run.days, whole)
        good = [day for day, audits in by_day.items() if all(one.passed for one in audits.values())]
        return tuple(
            TableCommit(
                contract,
                verdicts,
                whole[contract.name].outcomes,
                sql[contract.name],
            )
            for contract, verdicts in self._promote(contracts, by_day, good, version)
        )

    def keep(self, contract: Contract, verdict: Verdict) -> tuple[TableCommit, ...]:
        """Leave the live rows of the run's days as they are and say so in the ledger.

        For ABSENT: there is no such source and nothing to audit. Readers pass, and find no rows.
        """
        attempts = ledger.next_attempts(self.connection, contract.name, self.run.days)
        self.ensure(contract)
        rows = [self._row(contract, day, attempts[day], verdict, 0, EMPTY_HASH, (), None) for day in self.run.days]
        self._record(rows)
        outcomes = tuple(
            CheckOutcome(check.name, True, check.severity, "nothing to check, the source is not configured")
            for check in contract.checks
        )
        days = tuple(DayVerdict(day, True, 0, EMPTY_HASH, attempts[day], False) for day in self.run.days)
        return (TableCommit(contract, days, outcomes),)

    def set_aside(self, name: str, frames: Frames) -> Frame:
        """The rows of `frames` as a table that lives as long as the session: for what is read more than once."""
        table = f"scratch.main.{name}"
        self._write(table, frames)
        return nw.from_native(self.connection.table(table))

    def in_parts(self, frame: Frame, *, by: str, rows: int) -> Iterator[pl.DataFrame]:
        """`frame` in memory, about `rows` rows at a time, with `row_hash`, a hash of each row's values.

        Which rows come together follows from their column `by`; their order is not promised.
        """
        relation = frame.to_native()
        (count,) = relation.count("*").fetchone()
        parts = max(1, -(-count // rows))
        hashed = relation.project("*, printf('%016x', hash(columns(*))) as row_hash")
        for part in range(parts):
            yield pl.DataFrame(hashed.filter(f"hash({by}) % {parts} = {part}").to_arrow_table())

    def name_step(self, name: str, frame: Frame) -> Frame:
        """`frame` as a named part of the query that it goes into, a CTE.

        Each further step binds everything below it again. Bound against an empty table of the same columns, a query of
        many steps is planned in a fraction of the time, and reads like one.
        """
        relation = frame.to_native()
        columns = ", ".join(f'"{column}" {kind}' for column, kind in zip(relation.columns, relation.types, strict=True))
        step = f"{name}_{len(self.steps) + 1}"
        self.connection.execute(f"create table {STEPS}.{step} ({columns})")
        self.steps[step] = relation.sql_query()
        return nw.from_native(self.connection.table(f"{STEPS}.{step}"))

    def _with_steps(self, query: str) -> str:
        """`query`, and before it the named steps that it is made of."""
        used, named = [], set(A_STEP.findall(query))
        for step, sql in reversed(self.steps.items()):
            if step in named:
                used.append(f"{step} as ({sql})")
                named.update(A_STEP.findall(sql))
        steps = f"with {', '.join(reversed(used))} " if used else ""
        return A_STEP.sub(r"\1", steps + query)

    def _stage(self, contract: Contract, frames: Frames) -> str:
        """Write the frames into the scratch database; returns the SQL of the last."""
        table = f"{STAGE}.{contract.name}"
        sql = self._write(table, frames)
        log.info("%s: staged %s rows", contract.name, f"{self._count(table):,}")
        return sql

    def _write(self, table: str, frames: Frames) -> str:
        """Make `table` of the frames, one after the other; returns the SQL of the last."""
        sql = ""
        for position, frame in enumerate([frames] if isinstance(frames, nw.LazyFrame) else frames):
            native = frame.to_native()
            if isinstance(native, duckdb.DuckDBPyRelation):
                sql = query = self._with_steps(native.sql_query())
            else:
                self.connection.register("frame_in_memory", frame.collect().to_arrow())
                query = "select * from frame_in_memory"
            verb = f"insert into {table} by name" if position else f"create or replace table {table} as"
            self.connection.execute(f"{verb} {query}")
        return sql

    def _count(self, table: str) -> int:
        row = self.connection.execute(f"select count(*) from {table}").fetchone()
        return row[0] if row else 0

    def _tell_days_apart(
        self, contracts: Sequence[Contract], days: Sequence[date], audits: dict[str, Audit]
    ) -> dict[date, dict[str, Audit]]:
        """Day -> its audits, where `audits` are those of all `days`: halves that do not pass are halved again."""
        passed = all(one.passed for one in audits.values())
        if passed or len(days) == 1 or not all(one.is_structured for one in audits.values()):
            return dict.fromkeys(days, audits)
        middle = len(days) // 2
        return {
            day: one
            for half in (days[:middle], days[middle:])
            for day, one in self._tell_days_apart(contracts, half, self._audit(contracts, half)).items()
        }

    def _audit(self, contracts: Sequence[Contract], days: Sequence[date]) -> dict[str, Audit]:
        """Audit what is staged, seen through views that hold `days` only."""
        values = ", ".join(f"(date '{day}')" for day in days)
        self.connection.execute(
            f"create or replace view {AUDIT_SCHEMA}.requested_days as select * from (values {values}) t({PARTITION})"
        )
        for contract in contracts:
            # A day of a range sees its own rows, and the strays that belong to no day: they put every day in doubt.
            others = self._days_sql([day for day in self.run.days if day not in days])
            only = f" where {PARTITION} is null or {PARTITION} not in ({others})" if others else ""
            self.connection.execute(
                f"create or replace view {AUDIT_SCHEMA}.{contract.name} as select * from {STAGE}.{contract.name}{only}"
            )
            self.ensure(contract)
        audits: dict[str, Audit] = {}
        crashed: dict[str, GestureError] = {}
        for contract in contracts:
            try:
                audits[contract.name] = audit(self.connection, contract, self.blocking)
            except GestureError as error:
                crashed[contract.name] = error
        if crashed and all(one.is_structured for one in audits.values()):
            raise next(iter(crashed.values()))
        # A check that looks at a sister table cannot be evaluated where the sister's structure does not hold.
        audits |= {contract.name: not_evaluated(contract) for contract in contracts if contract.name in crashed}
        for name, one in audits.items() if len(days) == len(self.run.days) else ():
            failed = f"failed {listing(c.in_short for c in one.breaches)}" if one.breaches else "passed"
            log.info("%s: %s checks %s", name, len(one.outcomes), failed)
        return audits

    def hashes(self, table: str, days: Sequence[date]) -> dict[date, tuple[int, str]]:
        """Day -> (row count, content hash), the same whatever the order of rows."""
        rows = self.connection.execute(
            f"""select {PARTITION}, count(*), printf('%016x', bit_xor(hash(t))),
                printf('%016x', (sum(hash(t)::hugeint) % 18446744073709551616::hugeint)::ubigint)
            from {table} as t where {PARTITION} between ? and ? group by all""",
            [min(days), max(days)],
        ).fetchall()
        return {day: (count, xor + total) for day, count, xor, total in rows}

    def _promote(
        self,
        contracts: Sequence[Contract],
        by_day: Mapping[date, Mapping[str, Audit]],
        good: Sequence[date],
        version: str | None,
    ) -> list[tuple[Contract, tuple[DayVerdict, ...]]]:
        """One transaction: rows of good days and the ledger rows of all days, or nothing."""
        results = []
        old = [day for day in good if self.run.is_backfill(day)]
        readers_have = {
            contract.name: restatement.published_hashes(self.connection, self.published, contract.name)
            if old and self.published
            else {}
            for contract in contracts
        }
        self.connection.execute("begin transaction")
        try:
            for contract in contracts:
                structured = by_day[self.run.days[0]][contract.name].is_structured
                staged = self.hashes(f"{STAGE}.{contract.name}", self.run.days) if structured else {}
                live = self._live_hashes(contract, staged)
                attempts = ledger.next_attempts(self.connection, contract.name, self.run.days)
                verdicts = []
                for day in self.run.days:
                    count, digest = staged.get(day, (0, EMPTY_HASH))
                    changed = day in good and live.get(day, EMPTY_HASH if count == 0 else None) != digest
                    verdicts.append(DayVerdict(day, day in good, count, digest, attempts[day], changed))
                restated = {
                    v.day: (readers_have[contract.name][v.day], v.content_hash)
                    for v in verdicts
                    if v.is_changed
                    and v.day in old
                    and readers_have[contract.name].get(v.day, v.content_hash) != v.content_hash
                }
                before = ledger.earlier_days(
                    live | {v.day: v.content_hash for v in verdicts if v.passed}, self.run.days
                )
                keys = {
                    day: {BUILD: self.build_keys[day], BEFORE: before[day]} if day in self.build_keys else {}
                    for day in self.run.days
                }
                self._restate(contract, restated)
                self._replace(contract, [v.day for v in verdicts if v.is_changed])
                self._clear_rejected(contract, [v.day for v in verdicts if v.passed])
                self._reject(contract, [v.day for v in verdicts if not v.passed], structured=structured)
                self._record(
                    [
                        self._row(
                            contract,
                            v.day,
                            v.attempt,
                            Verdict.PASS if v.passed else Verdict.FAIL,
                            v.row_count,
                            v.content_hash,
                            by_day[v.day][contract.name].outcomes,
                            version,
                            keys[v.day],
                        )
                        for v in verdicts
                    ],
                )
                results.append((contract, tuple(verdicts)))
            self.connection.execute("commit")
        except BaseException:
            roll_back(self.connection)
            raise
        for contract, verdicts in results:
            live_days = sum(v.passed for v in verdicts)
            log.info("%s: %s of %s days live", contract.name, live_days, len(verdicts))
        return results

    def _restate(self, contract: Contract, hashes: Mapping[date, tuple[str, str]]) -> None:
        """Note how days that readers already have will differ; refuse it where no reason was given."""
        if not hashes:
            return
        found = restatement.differences(self.connection, contract, list(hashes), staged=f"{STAGE}.{contract.name}")
        if not self.run.restate_reason:
            raise restatement.refusal(self.run.step, found)
        for one in found:
            restatement.record(
                self.connection,
                one,
                hashes=hashes[one.day],
                reason=self.run.restate_reason,
                run_id=self.run.run_id,
                now=self.run.now,
            )
            log.warning("restated %s", one.in_short)

    def _row(
        self,
        contract: Contract,
        day: date,
        attempt: int,
        verdict: Verdict,
        count: int,
        digest: str,
        outcomes: Sequence[CheckOutcome],
        version: str | None,
        keys: Mapping[str, str] = MappingProxyType({}),
    ) -> LedgerRow:
        return LedgerRow(
            contract.name,
            day,
            attempt,
            verdict,
            count,
            digest,
            self.input_hashes | dict(keys),
            outcomes,
            version,
            self.run.run_id,
            self.run.is_backfill(day),
            self.run.now,
            self.run.force_reason,
        )

    def _days_sql(self, days: Sequence[date]) -> str:
        return ", ".join(f"date '{day}'" for day in days)

    def _replace(self, contract: Contract, days: Sequence[date]) -> None:
        if not days:
            return
        live, window = f"{LIVE}.{contract.name}", f"{PARTITION} in ({self._days_sql(days)})"
        if contract.keeps_history:
            self.connection.execute(
                f"insert into {SUPERSEDED}.{contract.name} by name "
                f"select *, ?::timestamp as superseded_at from {live} where {window}",
                [self.run.now],
            )
        self.connection.execute(f"delete from {live} where {window}")
        newest_complete = self.run.now.date() - timedelta(days=1)
        self.connection.execute(
            f"""insert into {live} by name select *, ?::timestamp as recorded_at, ? as run_id,
            {PARTITION} < ?::date as is_backfill from {STAGE}.{contract.name} where {window}
            order by {", ".join(dict.fromkeys((PARTITION, *contract.key)))}""",
            [self.run.now, self.run.run_id, newest_complete],
        )

    def _live_hashes(self, contract: Contract, staged: Mapping[date, tuple[int, str]]) -> dict[date, str]:
        """Day -> content hash of the newest PASS; where equal rows are staged, of the rows that really are live.

        Otherwise a day that somebody edited by hand would pass for unchanged, and a re-run would not mend it.
        """
        recorded = ledger.live_hashes(self.connection, contract.name)
        repeated = [day for day, (_, digest) in staged.items() if recorded.get(day) == digest]
        if repeated:
            table = f"(select {', '.join(contract.column_names)} from {LIVE}.{contract.name})"
            found = self.hashes(table, repeated)
            recorded |= {day: found.get(day, (0, EMPTY_HASH))[1] for day in repeated}
        return recorded

    def _clear_rejected(self, contract: Contract, days: Sequence[date]) -> None:
        """Forget the rejected rows of `days`, which have passed since; rows of another structure belong to no day."""
        if not days or not self._has("rejected", contract.name):
            return
        kept = f"{REJECTED}.{contract.name}"
        described = [row[:2] for row in self.connection.execute(f"describe {kept}").fetchall()]
        if described[:-2] == [(column.name, column.type) for column in contract.columns]:
            self.connection.execute(f"delete from {kept} where {PARTITION} in ({self._days_sql(days)})")
        else:
            self.connection.execute(f"drop table {kept}")

    def _reject(self, contract: Contract, days: Sequence[date], *, structured: bool) -> None:
        """Keep the rows of `days` for whoever looks into the matter; a second rejection of a day replaces the first."""
        if not days:
            return
        kept, staged = f"{REJECTED}.{contract.name}", f"{STAGE}.{contract.name}"
        columns = [row[:2] for row in self.connection.execute(f"describe {staged}").fetchall()]
        if self._has("rejected", contract.name):
            known = [row[:2] for row in self.connection.execute(f"describe {kept}").fetchall()]
            if known[:-2] != columns or not structured:
                self.connection.execute(f"drop table {kept}")
        only = f" where {PARTITION} in ({self._days_sql(days)})" if structured else ""
        # Rows may be rejected because they hold an address; it must not stay in the warehouse for that.
        shown = ", ".join(
            f"{masked_sql(_identifier(name))} as {_identifier(name)}" if kind == "VARCHAR" else _identifier(name)
            for name, kind in columns
        )
        if self._has("rejected", contract.name):
            self.connection.execute(f"delete from {kept}{only}")
        else:
            self.connection.execute(
                f"create table {kept} as select *, null::timestamp as rejected_at, null::varchar as run_id "
                f"from {staged} limit 0"
            )
        self.connection.execute(
            f"insert into {kept} select {shown}, ?::timestamp, ? from {staged}{only}", [self.run.now, self.run.run_id]
        )

    def _has(self, schema: str, table: str) -> bool:
        try:
            # The catalogue takes five times as long to answer.
            self.connection.execute(f"from warehouse.{schema}.{table} limit 0")
        except duckdb.CatalogException:
            return False
        return True

    def ensure(self, contract: Contract) -> None:
        """Create the live table, or add the columns that its contract has gained; a changed type is refused.

        The table and the one of its replaced versions change together: a process killed in between leaves neither.
        """
        self.connection.execute("begin transaction")
        try:
            self._ensure(contract)
            self.connection.execute("commit")
        except BaseException:
            roll_back(self.connection)
            raise

    def _ensure(self, contract: Contract) -> None:
        table = f"{LIVE}.{contract.name}"
        if not self._has("main", contract.name):
            self.connection.execute(contract.ddl(LIVE))
            for statement in comments(contract, LIVE):
                self.connection.execute(statement)
            if contract.keeps_history:
                self.connection.execute(
                    f"create table if not exists {SUPERSEDED}.{contract.name} as "
                    f"select *, null::timestamp as superseded_at from {table} limit 0"
                )
            return
        described = self.connection.execute(f"describe {table}").fetchall()
        found = {row[0]: row[1] for row in described}
        required = {row[0] for row in described if row[2] == "NO"}
        for column in contract.columns:
            if column.nullable and column.name in required:  # may be unknown since a later version
                self.connection.execute(f"alter table {table} alter column {column.name} drop not null")
            if column.name not in found and column.nullable:
                self.connection.execute(f"alter table {table} add column {column.name} {column.type}")
                self.connection.execute(f"comment on column {table}.{column.name} is '{_quoted(column.meaning)}'")
                if self._has("superseded", contract.name):
                    history = f"{SUPERSEDED}.{contract.name}"
                    self.connection.execute(f"alter table {history} add column {column.name} {column.type}")
            elif found.get(column.name) != column.type:
                raise ConfigError.bad_value(
                    f"The warehouse's table {contract.name}",
                    expected=f"{column.name} {column.type}",
                    found=f"{column.name} {found.get(column.name, 'missing')}",
                    where="data/warehouse.duckdb",
                    next_step="it was written by another version: move data/warehouse.duckdb away, then  gesture run",
                )


def comments(contract: Contract, schema: str) -> Iterator[str]:
    """`COMMENT ON` for the table and each of its columns: the data dictionary travels inside the file."""
    columns = {column.name: column.meaning for column in contract.columns}
    columns |= {name: meaning for name, (_, meaning) in PROVENANCE.items()}
    return comments_on(f"{schema}.{contract.name}", f"{contract.grain} {contract.description}", columns)


def comments_on(table: str, said: str, columns: Mapping[str, str]) -> Iterator[str]:
    """`COMMENT ON` for `table`, of which `said` is told, and for `columns` (name -> meaning)."""
    said, *meanings = (text.replace("'", "''") for text in (said, *columns.values()))
    yield f"comment on table {table} is '{said}'"
    for name, meaning in zip(columns, meanings, strict=True):
        yield f"comment on column {table}.{name} is '{meaning}'"


@dataclass(frozen=True)
class Warehouse:
    """Where the private file is and how patiently to wait for it."""

    path: Path
    lock_timeout_seconds: float
    threads: int | None = None
    memory_limit: str | None = None
    published: Path | None = None
    blocking: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> "Warehouse":
        """The warehouse that `settings` describe."""
        return cls(
            settings.warehouse,
            settings.lock_timeout_seconds,
            settings.duckdb_threads,
            settings.duckdb_memory_limit,
            settings.published,
            settings.blocking_checks,
        )

    @contextmanager
    def locked(self, holder: str, ahead: Callable[[], str | None] = lambda: None) -> Iterator[None]:
        """Hold the writer's lock without opening the file; `ahead` names whom to let pass before."""
        lock = self.path.with_suffix(".lock")
        with writer_lock(lock, holder=holder, timeout_seconds=self.lock_timeout_seconds, ahead=ahead):
            yield

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """Let a full disk and a damaged file come out as what they are."""
        with told_when_full(doing, self.path), told_when_unreadable(self.path):
            yield

    @contextmanager
    def open(self, run: RunInfo) -> Iterator[Session]:
        """The open warehouse, for this process alone; a backfill lets the nightly pass, between any two of its steps.

        Raises `WarehouseBusy` naming the holder when time is up, `DiskFull`, and `ConfigError` for a file that cannot
        be worked with: damaged, somebody else's, or of a newer version.
        """
        ahead = Turns.beside(self.path).first if run.is_only_backfill else lambda: None
        doing = f"{run.step} for {run.window}" if run.days else run.step
        with self._told(doing), self.locked(f"{run.step}, run {run.run_id[:8]}", ahead):
            spill = self.path.with_suffix(".spill")
            shutil.rmtree(spill, ignore_errors=True)  # a killed run leaves one behind
            connection = connect(self.threads, self.memory_limit)
            try:
                if not self.path.exists():
                    create_file(self.path)
                attach_when_free(
                    connection, self.path, name="warehouse", holder=run.step, timeout_seconds=self.lock_timeout_seconds
                )
                settle(connection, self.path)
                # Staged rows live for minutes: compressing them costs more than all audits. What memory cannot hold
                # goes to the spill folder.
                connection.execute("attach ':memory:' as scratch")
                connection.execute(f"set temp_directory = '{_quoted(spill)}'")
                for schema in ("warehouse.rejected", "warehouse.superseded", STAGE, STEPS, AUDIT_SCHEMA):
                    connection.execute(f"create schema if not exists {schema}")
                ledger.create(connection)
                restatement.create(connection)
                audit_log.create(connection)
                registry.create(connection)
                alert_log.create(connection)
                quarantine.create(connection)
                connection.execute(
                    f"create table if not exists {LIVE}.landing_days "
                    f"(content_hash varchar not null, {PARTITION} date not null, row_count bigint not null)"
                )
                yield Session(connection, run, self.published, self.blocking)
            finally:
                connection.close()
                shutil.rmtree(spill, ignore_errors=True)


def connect(threads: int | None = None, memory_limit: str | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory connection in UTC, offline: it never installs or loads an extension by itself."""
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    connection.execute("set autoinstall_known_extensions = false")
    connection.execute("set autoload_known_extensions = false")
    if threads:
        connection.execute(f"set threads = {threads}")
    if memory_limit:
        connection.execute(f"set memory_limit = '{_quoted(memory_limit)}'")
    return connection


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _quoted(text: object) -> str:
    return str(text).replace("'", "''")
