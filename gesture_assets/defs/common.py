"""What every asset of the code location shares: partitions, contracts, gates, the open warehouse.

Belongs here: the translation between our warehouse and Dagster: contracts to specs and checks, commits to events, our
errors to failures. Does not belong here: any table of its own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Any, Self

import dagster as dg
import duckdb
import polars as pl

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.contracts.contract import PARTITION, PROVENANCE, Contract
from gesture_assets.errors import ContractBreach, GateClosed, GestureError, TrainingRefused, listing
from gesture_assets.frames import Frame
from gesture_assets.publication import validation_results
from gesture_assets.records import audit_log
from gesture_assets.records.opening import warehouse_of
from gesture_assets.settings import Settings, load_settings
from gesture_assets.vocabulary.severity import Severity, severity_of
from gesture_assets.warehouse.audit import NOT_EVALUATED, CheckOutcome
from gesture_assets.warehouse.commits import TableCommit, joined
from gesture_assets.warehouse.ledger import Verdict
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.run_queue import RunQueue
from gesture_assets.warehouse.session import Session
from gesture_assets.warehouse.staging import Frames
from gesture_assets.warehouse.unchanged import build_keys, still_live
from gesture_assets.warehouse.warehouse import Warehouse

SETTINGS = load_settings()  # shapes the code location: first partition, tag columns, rule set
USER_FEATURES = catalogue(SETTINGS.tags)["user_features"]
VALIDATED_SUBSCRIBERS = catalogue(SETTINGS.tags)["validated_subscribers"]

DAILY = dg.DailyPartitionsDefinition(start_date=SETTINGS.partitions_start.isoformat(), timezone="UTC")
# A backfill of many days is one run: the engine sees all days at once, and the warehouse is opened once a table.
ONE_RUN = dg.BackfillPolicy.single_run()
# Failures of the machine (memory, disk) may pass; bad data, closed gates and defects do not, and are not tried again.
RETRIES = dg.RetryPolicy(max_retries=SETTINGS.retry_count, delay=30, backoff=dg.Backoff.EXPONENTIAL)
MACHINE_FAILURES = (OSError, MemoryError, duckdb.IOException, duckdb.OutOfMemoryException)
NOW_TAG = "gesture/now"
ROWS_AT_ONCE = 4_000_000
# Types of contracts, as frames in memory have them.
TYPES = {
    "DATE": pl.Date,
    "VARCHAR": pl.String,
    "BOOLEAN": pl.Boolean,
    "SMALLINT": pl.Int16,
    "INTEGER": pl.Int32,
    "BIGINT": pl.Int64,
    "DOUBLE": pl.Float64,
    "VARCHAR[]": pl.List(pl.String),
    "BIGINT[]": pl.List(pl.Int64),
    "DOUBLE[]": pl.List(pl.Float64),
}
SKIPPED = {"skipped": "unchanged"}
MOST_BUILDERS = 100  # times a step waits for runs that build what it needs

ColumnSources = Mapping[str, Sequence[tuple[str, str]]]
Events = Iterator[dg.MaterializeResult | dg.AssetCheckResult]


def gates(*of: Contract) -> list[dg.AssetCheckSpec]:
    """A Dagster check for every expectation of the contracts; those that block say so."""
    return [
        dg.AssetCheckSpec(
            name=check.name,
            asset=contract.name,
            description=f"{check.name.replace('_', ' ').capitalize()}. When it fails: {check.recovery}.",
            blocking=severity is Severity.ERROR,
            metadata={"severity": severity.value, "expectation": check.type},
        )
        for contract in of
        for check in contract.checks
        for severity in [severity_of(check.name, SETTINGS.blocking_checks)]
    ]


def spec(contract: Contract, *, kinds: Sequence[str] = (), version: str | None = None) -> dg.AssetSpec:
    """The Dagster face of a contract: description, columns, group, owner, kinds, dependencies."""
    columns = [
        dg.TableColumn(
            c.name,
            c.type,
            c.description + (f" Unit: {c.unit}." if c.unit else ""),
            dg.TableColumnConstraints(nullable=c.nullable),
        )
        for c in contract.columns
    ] + [dg.TableColumn(name, kind, meaning) for name, (kind, meaning) in PROVENANCE.items()]
    return dg.AssetSpec(
        contract.name,
        deps=contract.upstream,
        description=f"{contract.grain}\n\n{contract.description}",
        metadata={
            "dagster/column_schema": dg.TableSchema(columns),
            "dagster/relation_identifier": f"gesture.main.{contract.name}",
            "dagster/partition_expr": PARTITION,
            "grain": contract.grain,
            "key": ", ".join((PARTITION, *contract.key)),
        },
        group_name=contract.group,
        owners=[contract.owner],
        kinds={"duckdb", *kinds},
        tags={"layer": contract.group},
        code_version=version,
        partitions_def=DAILY,
    )


def step(
    name: str,
    *of: Contract,
    kinds: Mapping[str, Sequence[str]] = MappingProxyType({}),
    version: str | None = None,
) -> Callable[[Callable[..., Events]], dg.AssetsDefinition]:
    """The decorator of a function that builds the tables `of` together, for a day or a range in one run.

    `kinds` names the formats of a source by table, `version` what the code version of the tables is.
    """
    return dg.multi_asset(
        name=name,
        specs=[spec(contract, kinds=kinds.get(contract.name, ()), version=version) for contract in of],
        check_specs=gates(*of),
        partitions_def=DAILY,
        backfill_policy=ONE_RUN,
        retry_policy=RETRIES,
    )


def run_moment(instance: dg.DagsterInstance, run: dg.DagsterRun) -> datetime:
    """The moment of `run` (UTC, naive): its tag, or when it was created."""
    tagged = run.tags.get(NOW_TAG)
    if tagged:
        now = datetime.fromisoformat(tagged)
    else:
        record = instance.get_run_record_by_id(run.run_id)
        assert record is not None
        now = record.create_timestamp
    return now.astimezone(UTC).replace(tzinfo=None) if now.tzinfo else now


def run_days(tags: Mapping[str, str]) -> tuple[date, ...]:
    """The days that a run is for, in order."""
    first = tags.get("dagster/asset_partition_range_start", tags.get("dagster/partition"))
    last = tags.get("dagster/asset_partition_range_end", first)
    if not first or not last:
        return ()
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    return tuple(start + timedelta(days=n) for n in range((end - start).days + 1))


def run_info(
    context: dg.AssetExecutionContext,
    *,
    force_reason: str = "",
    restate_reason: str = "",
    restate_crm: bool = False,
    rebuild: bool = False,
) -> RunInfo:
    """Who writes and for which days. The moment is the run's own start, so no asset looks at a clock."""
    return RunInfo(
        run_id=context.run.run_id,
        now=run_moment(context.instance, context.run),
        days=tuple(sorted(date.fromisoformat(key) for key in context.partition_keys)),
        step=context.op_execution_context.op.name,
        force_reason=force_reason.strip() or None,
        restate_reason=restate_reason.strip() or None,
        restate_crm=restate_crm,
        rebuild=rebuild,
    )


@dataclass
class Night:
    """An open warehouse inside an asset: reads stand behind the ledger, commits come back as Dagster events."""

    session: Session
    context: dg.AssetExecutionContext
    settings: Settings
    days: tuple[date, ...]  # that are being built, in order
    inputs: dict[str, str] = field(default_factory=dict)  # hashes of sources beside tables
    keys: Mapping[date, str] = field(default_factory=dict)  # of the builds, by day

    def leave_out_quiet_days(self) -> None:
        """Take days on which nothing landed out of a range: a shop may close on Sundays, and has nothing to build then.

        A night of its own for such a day fails: a sender that stopped looks the same, and somebody should know.
        """
        landed = self.session.landed_days()
        busy = tuple(day for day in self.days if day in landed)
        if len(self.days) > 1 and busy and busy != self.days:
            quiet = [str(day) for day in self.days if day not in landed]
            self.context.log.warning(f"nothing landed on {listing(quiet)}: left out")
            self.days = busy

    def read(self, contract: Contract, **window: date | None) -> Frame:
        """See `Session.read`."""
        return self.session.read(contract, **window, days=self.days)

    def require(self, *contracts: Contract) -> None:
        """Refuse to go on where a gate of the run's days is closed, also for tables that are read only now and then."""
        for contract in contracts:
            self.read(contract, since=self.days[0], through=self.days[-1])

    def counts(self, contract: Contract) -> dict[date, int]:
        """Day of the run -> live rows of `contract`."""
        return self.session.live_counts(contract.name, self.days)

    def chunks(self, counts: Mapping[date, int]) -> Iterator[tuple[date, ...]]:
        """The run's days in pieces that hold about `ROWS_AT_ONCE` rows by `counts` (day -> rows), a day at least.

        Planning a query costs the same for one day as for many, and many large days at once would not fit in memory.
        """
        chunk: list[date] = []
        filled = 0
        for day in self.days:
            if chunk and filled + counts.get(day, 0) > ROWS_AT_ONCE:
                yield tuple(chunk)
                chunk, filled = [], 0
            chunk.append(day)
            filled += counts.get(day, 0)
        yield tuple(chunk)

    def commit(
        self,
        *tables: tuple[Contract, Frames],
        version: str | None = None,
        notes: Mapping[str, Any] = MappingProxyType({}),
        sources: Mapping[str, ColumnSources] = MappingProxyType({}),
    ) -> Events:
        """Stage, audit and promote `tables`, and report it. `notes` are added to the first table's metadata.

        `sources`: table -> column -> the columns (table, column) that it is made of, for Dagster's column lineage.
        """
        yield from self.report(self._commit(tables, version), notes, sources)

    def _commit(self, tables: Sequence[tuple[Contract, Frames]], version: str | None) -> tuple[TableCommit, ...]:
        return self.session.commit(*tables, days=self.days, inputs=self.inputs, keys=self.keys, version=version)

    def commit_chunks(
        self,
        counts: Mapping[date, int],
        build: Callable[[], Sequence[tuple[Contract, Frames]]],
        *,
        version: str | None = None,
    ) -> tuple[TableCommit, ...]:
        """Build and commit the run's days a chunk at a time (`chunks`); `report` what is returned.

        For tables of many rows a day: staged at once, those of a long range would not fit in memory. A chunk is live
        before the next one is built, as if each was a run of its own; `days` are those of the chunk meanwhile.
        """
        whole, done = self.days, list[tuple[TableCommit, ...]]()
        try:
            for days in list(self.chunks(counts)):
                self.days = days
                done.append(self._commit(build(), version))
        except BaseException:
            self.days = whole
            for commit in joined(done):
                self._log_good_days(commit, self._metadata(commit))
            raise
        finally:
            self.days = whole
        return joined(done)

    def unchanged(self, *tables: Contract, sources: Mapping[date, str] = MappingProxyType({})) -> Events | None:
        """What to report instead of building `tables`, where nothing they are made of has changed; else None.

        `sources`: day -> what the step reads beside tables of the warehouse. All days of the run are built, or none is.
        """
        session = self.session
        self.keys = build_keys(session, tables, self.settings, sources, self.days)
        kept = None if session.run.is_forced else still_live(session, tables, self.keys, self.days)
        if kept is None:
            return None
        return self.report(kept, SKIPPED, every=True)

    def absent(self, *tables: Contract, why: str) -> Events:
        """Note that there is nothing to build these tables from."""
        for contract in tables:
            yield from self.report(self.session.keep(contract, Verdict.ABSENT, self.days), {"absent": why})

    def report(
        self,
        commits: Sequence[TableCommit],
        notes: Mapping[str, Any] = MappingProxyType({}),
        sources: Mapping[str, ColumnSources] = MappingProxyType({}),
        *,
        every: bool = False,
    ) -> Events:
        """The events of `commits`; `notes` stand with the first table, or with `every` one."""
        for commit in commits:
            for outcome in commit.outcomes:
                yield _check_result(commit.contract, outcome)
        bad = [commit for commit in commits if commit.bad_days]
        for position, commit in enumerate(commits):
            metadata = self._metadata(commit) | dict(notes if every or position == 0 else {})
            if commit.contract.name in sources:
                metadata["dagster/column_lineage"] = _lineage(sources[commit.contract.name])
            if not bad:
                yield dg.MaterializeResult(
                    asset_key=commit.contract.name, metadata=metadata, data_version=dg.DataVersion(commit.content_hash)
                )
            else:
                self._log_good_days(commit, metadata)
        if bad:
            raise rejection(bad, self.session.run)

    def _metadata(self, commit: TableCommit) -> dict[str, Any]:
        return _metadata(commit, replace(self.session.run, days=self.days))

    def _log_good_days(self, commit: TableCommit, metadata: Mapping[str, Any]) -> None:
        """Good days of a range are live although the step fails."""
        for verdict in commit.days:
            if verdict.passed:
                self.context.log_event(
                    dg.AssetMaterialization(commit.contract.name, partition=str(verdict.day), metadata=metadata)
                )


def rejection(bad: Sequence[TableCommit], run: RunInfo) -> GestureError:
    """The error that names the rejected days, the checks and the rows."""
    days = sorted({verdict.day for commit in bad for verdict in commit.bad_days})
    # A sister table that passed is rejected with the one that did not; only breaches are worth naming.
    breaches = [
        (commit, outcome)
        for commit in bad
        for outcome in commit.outcomes
        if outcome.blocks and outcome.observed != NOT_EVALUATED
    ]
    rows = [f"{listing(f'{k}={v}' for k, v in row.items())}" for _, outcome in breaches for row in outcome.sample[:2]]
    recovery = breaches[0][1].recovery if breaches else "look at rejected.<table>"
    return ContractBreach(
        f"{listing({commit.contract.name for commit, _ in breaches} or {c.contract.name for c in bad})} "
        f"did not pass the audit for {listing(days)}; the last good version stays live.",
        expected=listing(f"{commit.contract.name}: {outcome.name}" for commit, outcome in breaches),
        found="; ".join([listing(o.in_short for _, o in breaches), *rows[:3]]),
        where=f"data/warehouse.duckdb, {listing(f'rejected.{commit.contract.name}' for commit in bad)}",
        next_step=recovery.replace("DAY", str(days[0])),
    )


def _check_result(contract: Contract, outcome: CheckOutcome) -> dg.AssetCheckResult:
    metadata: dict[str, Any] = {"observed": outcome.observed, "recovery": outcome.recovery}
    if outcome.found:
        metadata["found"] = dg.MetadataValue.int(outcome.found)
    if outcome.sample:
        metadata["sample"] = dg.MetadataValue.md(markdown(outcome.sample))
        metadata["sample_is_cut"] = outcome.found > len(outcome.sample)
    if outcome.sql:
        metadata["sql"] = dg.MetadataValue.md(f"```sql\n{outcome.sql}\n```")
    severity = dg.AssetCheckSeverity.ERROR if outcome.severity is Severity.ERROR else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        asset_key=contract.name,
        check_name=outcome.name,
        passed=outcome.passed,
        severity=severity,
        metadata=metadata,
        description=None if outcome.passed else f"{outcome.observed}; {outcome.recovery}",
    )


def _lineage(sources: ColumnSources) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        {name: [dg.TableColumnDep(dg.AssetKey(table), column) for table, column in of] for name, of in sources.items()}
    )


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """`rows`, one at least, as a table of Markdown."""
    header = list(rows[0])
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(row.get(name, "")) for name in header) + " |" for row in rows]
    return "\n".join(lines)


def _metadata(commit: TableCommit, run: RunInfo) -> dict[str, Any]:
    days = [
        {
            "day": v.day,
            "rows": f"{v.row_count:,}",
            "attempt": v.attempt,
            "verdict": "PASS" if v.passed else "FAIL",
            "changed": "yes" if v.is_changed else "no",
            "content hash": v.content_hash[:12],
        }
        for v in commit.days[-31:]
    ]
    failed = [outcome.name for outcome in commit.outcomes if not outcome.passed]
    metadata: dict[str, Any] = {
        "dagster/row_count": dg.MetadataValue.int(commit.row_count),
        "column_count": dg.MetadataValue.int(len(commit.contract.columns)),
        "window": run.window,
        "content_hash": commit.content_hash,
        "is_backfill": all(run.is_backfill(verdict.day) for verdict in commit.days),
        "checks": f"{len(commit.outcomes) - len(failed)} of {len(commit.outcomes)} passed"
        + (f"; not: {listing(failed)}" if failed else ""),
        "days": dg.MetadataValue.md(markdown(days)),
    }
    if commit.bad_days:
        metadata["rejected_rows"] = dg.MetadataValue.int(sum(verdict.row_count for verdict in commit.bad_days))
    if commit.sql:
        metadata["sql"] = dg.MetadataValue.md(f"```sql\n{commit.sql[:20_000]}\n```")
    return metadata


class WarehouseResource(dg.ConfigurableResource):
    """The warehouse, and the reasons for exceptions that a run may be given."""

    force_reason: str = ""
    restate_reason: str = ""
    restate_crm: bool = False
    rebuild: bool = False  # build also what has not changed

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Self]:
        """The warehouse for a whole run, which other processes know to be under way."""
        run = context.run
        if run is None or context.instance is None:
            yield self
            return
        days = run_days(run.tags)
        info = RunInfo(run.run_id, run_moment(context.instance, run), days, "nightly")
        what = f"{'backfill' if info.is_only_backfill else 'nightly'} of {info.window}" if days else "a run"
        queue = RunQueue.beside(load_settings().warehouse)
        with queue.register(run.run_id, what, days, goes_first=not info.is_only_backfill):
            yield self

    @contextmanager
    def open(self, context: dg.AssetExecutionContext) -> Iterator[Night]:
        """The open warehouse. Our errors become failures with their four parts, and are not tried again."""
        settings = load_settings()
        run = run_info(
            context,
            force_reason=self.force_reason,
            restate_reason=self.restate_reason,
            restate_crm=self.restate_crm,
            rebuild=self.rebuild,
        )
        own = warehouse_of(settings)
        try:
            with own.open(run) as session:
                night = Night(session, context, settings, run.days)
                night.leave_out_quiet_days()
                try:
                    yield night
                except TrainingRefused as refusal:
                    audit_log.note(
                        session.connection,
                        now=run.now,
                        action="training refused",
                        what=run.step,
                        days=run.days,
                        reason=refusal.report,
                        run_id=run.run_id,
                    )
                    raise
                finally:
                    validation_results.write(session.connection, settings.validation_results, run, night.days)
        except GestureError as error:
            if isinstance(error, GateClosed) and _was_being_built(own, run, error):
                raise dg.RetryRequested(max_retries=MOST_BUILDERS) from error
            raise dg.Failure(error.report, allow_retries=False) from error
        except MACHINE_FAILURES:
            raise
        except Exception as error:
            raise dg.Failure(f"{type(error).__name__}: {error}", allow_retries=False) from error


def _was_being_built(warehouse: Warehouse, run: RunInfo, refusal: GateClosed) -> bool:
    """Whether other runs were building the days that `run` lacks; they have ended when this returns."""
    try:
        return RunQueue.beside(warehouse.path).wait_for_builders(
            run.run_id,
            run.days,
            refusal,
            waiter=f"{run.step} for {run.window}",
            timeout_seconds=warehouse.lock_timeout_seconds,
        )
    except GateClosed:  # the patience is over
        return False
