"""What a step is, and running one: look whether anything changed, ask the gates, build, commit.

Belongs here: the order of these, the same for every step and every runner. Does not belong here: what a step builds
(the modules beside this one), who runs it (`runner.py` for tests and tools, `defs/` for Dagster).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pydantic import BaseModel

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.contracts.contract import Contract
from gesture_assets.errors import ContractBreach, GestureError, listing
from gesture_assets.nights.night import Days, Night
from gesture_assets.publication.checks import PublicationCheck
from gesture_assets.settings import Settings
from gesture_assets.vocabulary.personal_data import hide_keys
from gesture_assets.vocabulary.severity import Severity
from gesture_assets.warehouse.audit import NOT_EVALUATED
from gesture_assets.warehouse.commits import TableCommit, join_commits
from gesture_assets.warehouse.ledger import Verdict
from gesture_assets.warehouse.staging import Frames
from gesture_assets.warehouse.unchanged import build_keys, still_live

NEXT_STEP = "next_step"  # the column of a failed check's rows that says what to do about them
ColumnSources = Mapping[str, Sequence[tuple[str, str]]]  # column -> the columns (table, column) that it is made of


class Markdown(str):
    """A note that is shown as Markdown."""


@dataclass(frozen=True)
class Check:
    """A check of a step that fills no table: its name, a sentence that is true when it passes, and what it is about."""

    name: str
    description: str
    severity: Severity = Severity.ERROR


@dataclass(frozen=True)
class Built:
    """What a step made for some days: the tables to commit, and what there is to say of them.

    `inputs` are what was read beside tables, by name; `counts` are added up over the parts of a range; `version` is
    that of the rules or the model; `when_live` is done once every table has passed; `absent` says why there is nothing.
    """

    tables: Mapping[Contract, Frames] = field(default_factory=dict[Contract, Frames])
    notes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    counts: Counter[Any] = field(default_factory=Counter[Any])
    inputs: Mapping[str, str] = field(default_factory=dict[str, str])
    version: str | None = None
    when_live: Callable[[], None] = lambda: None
    checks: Sequence[PublicationCheck] = ()
    failure: GestureError | None = None  # of a step without tables, whose checks say what is wrong
    absent: str = ""


@dataclass(frozen=True)
class Step:
    """Tables that are built together, and the function that builds them for some days.

    `sources`: day -> what the step reads beside tables, from which it follows whether anything has changed; a step that
    is always built has none. `rows`: day -> rows of the widest table, by which a long range is cut into parts that fit
    in memory. `look_first` is done before anything is asked. `summary` turns the counts of all parts into notes.
    `has_source`: whether anything ever landed that it could be built from; where not, its tables are absent.
    """

    name: str
    build: Callable[[Night, Days], Built]
    tables: tuple[Contract, ...] = ()
    sources: Callable[[Night], Mapping[date, str] | None] | None = lambda night: {}
    rows: Callable[[Night], Mapping[date, int]] | None = None
    look_first: Callable[[Night], object] = lambda night: None
    has_source: Callable[[Night], bool] = lambda night: True
    summary: Callable[[Night, Counter[Any]], Mapping[str, Any]] = lambda night, counts: {}
    column_sources: Callable[[Settings], Mapping[str, ColumnSources]] = lambda settings: {}
    code_version: Callable[[Settings], str | None] = lambda settings: None
    options: type[BaseModel] | None = None
    checks: tuple[Check, ...] = ()
    kinds: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict[str, tuple[str, ...]]
    )  # table -> formats of its source
    group: str = ""  # of a step without tables, as are the owner, what it is about, and the file it makes
    owner: str = ""
    about: str = ""
    path: str = ""

    @property
    def is_nightly(self) -> bool:
        """Whether a night is not whole without it."""
        return all(table.is_nightly for table in self.tables)

    @property
    def upstream(self) -> tuple[str, ...]:
        """The tables that it is built from; a step that fills none comes after all of a night's."""
        if not self.tables:
            return tuple(table.name for table in catalogue().nightly)
        own = {table.name for table in self.tables}
        return tuple(dict.fromkeys(name for table in self.tables for name in table.upstream if name not in own))


@dataclass(frozen=True)
class StepResult:
    """How a step ended: its commits with their audits, and what there is to say."""

    step: Step
    days: tuple[date, ...]
    commits: tuple[TableCommit, ...]
    notes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    checks: Sequence[PublicationCheck] = ()
    failure: GestureError | None = None
    is_unchanged: bool = False


def run_step(
    step: Step, night: Night, *, when_cut_off: Callable[[Sequence[TableCommit]], None] = lambda commits: None
) -> StepResult:
    """Build `step` for the days of `night`, unless nothing that it is made of has changed.

    The result holds the error that names what was rejected, where something was: whoever runs the step reports the
    checks first. When building raises, `when_cut_off` is told which parts of a range are live all the same.
    """
    try:
        return _run_step(step, night, when_cut_off)
    except BaseException as error:
        hide_keys(error)  # it is kept by Dagster, and told to people
        raise


def _run_step(step: Step, night: Night, when_cut_off: Callable[[Sequence[TableCommit]], None]) -> StepResult:
    step.look_first(night)
    night = night.without_quiet_days()
    keys: Mapping[date, str] = {}
    tables = [night.contract(table) for table in step.tables]
    if tables and step.sources and (sources := step.sources(night)) is not None:
        keys = build_keys(night.session, tables, night.settings, sources, night.days)
        live = None if night.session.run.is_forced else still_live(night.session, tables, keys, night.days)
        if live is not None:
            return StepResult(step, night.days, live, {"skipped": "unchanged"}, is_unchanged=True)
    if tables and step.is_nightly:
        for name in step.upstream:
            window = {"since": night.days[0], "through": night.days[-1]}
            night.session.require(night.tables[name], **window, days=night.days)
        if step.upstream and all(_is_absent(night, name) for name in step.upstream):
            why = f"there is nothing of {listing(step.upstream)}"
            nothing = Built(dict.fromkeys(step.tables, ()), absent=why)
            return StepResult(step, night.days, _commit(nothing, night, keys), {"absent": why})
    parts = [night.days]
    if step.rows and len(night.days) > 1:
        parts = list(night.chunks(step.rows(night), columns=max(len(table.columns) for table in tables)))
    done: list[tuple[TableCommit, ...]] = []
    counts, last = Counter[Any](), Built()
    try:
        for days in parts:
            part = night.part(days)
            last = step.build(part, days)
            done.append(_commit(last, part, keys))
            counts.update(last.counts)
    except BaseException:
        when_cut_off(join_commits(done))
        raise
    commits = join_commits(done)
    bad = [commit for commit in commits if commit.bad_days]
    if not bad and not last.failure:
        last.when_live()
    return StepResult(
        step,
        night.days,
        commits,
        {**last.notes, **step.summary(night, counts)},
        last.checks,
        rejection(bad, is_restated=bool(night.session.run.restate_reason)) if bad else last.failure,
    )


def with_source(steps: Sequence[Step], night: Night) -> list[Step]:
    """Those of `steps` that have a source. The tables of the others are noted as absent on days of which nothing is
    known of them, so that a night is whole without running what would find nothing.
    """
    found = [step for step in steps if step.has_source(night)]
    for step in steps:
        for table in step.tables if step.is_nightly and step not in found else ():
            verdicts = night.session.latest(table.name)
            if unknown := [day for day in night.days if day not in verdicts]:
                night.session.keep(night.contract(table), Verdict.ABSENT, unknown)
    return found


def _is_absent(night: Night, table: str) -> bool:
    """Whether `table` has no source on any of the days."""
    verdicts = night.session.latest(table)
    return all(day in verdicts and verdicts[day].verdict is Verdict.ABSENT for day in night.days)


def _commit(built: Built, night: Night, keys: Mapping[date, str]) -> tuple[TableCommit, ...]:
    session, tables = night.session, [(night.contract(table), frames) for table, frames in built.tables.items()]
    if built.absent:
        return tuple(commit for table, _ in tables for commit in session.keep(table, Verdict.ABSENT, night.days))
    if not tables:
        return ()
    return session.commit(*tables, days=night.days, inputs=built.inputs, keys=keys, version=built.version)


def rejection(bad: Sequence[TableCommit], *, is_restated: bool = False) -> ContractBreach:
    """The error that names rejected days, checks and rows. `is_restated`: so is what is to be typed next."""
    days = sorted({verdict.day for commit in bad for verdict in commit.bad_days})
    # A sister table that passed is rejected with the one that did not; only breaches are worth naming.
    breaches = [
        (commit, outcome)
        for commit in bad
        for outcome in commit.outcomes
        if outcome.blocks and outcome.observed != NOT_EVALUATED
    ]
    samples = [row for _, outcome in breaches for row in outcome.sample[:2]]
    rows = [listing(f"{name}={value}" for name, value in row.items() if name != NEXT_STEP) for row in samples]
    # A row that says what to do about it knows more than the check does.
    recovery = next((row[NEXT_STEP] for row in samples if NEXT_STEP in row), "")
    recovery = recovery or (breaches[0][1].recovery if breaches else "look at rejected.<table>")
    if is_restated:
        recovery = recovery.replace("gesture run --date DAY", 'gesture run --date DAY --restate --reason "why"')
    return ContractBreach(
        f"{listing({commit.contract.name for commit, _ in breaches} or {c.contract.name for c in bad})} "
        f"did not pass the audit for {listing(days)}; the last good version stays live.",
        expected=listing(f"{commit.contract.name}: {outcome.name}" for commit, outcome in breaches),
        found="; ".join([listing(outcome.in_short for _, outcome in breaches), *rows[:3]]),
        where=f"data/warehouse.duckdb, {listing(f'rejected.{commit.contract.name}' for commit in bad)}",
        next_step=recovery.replace("DAY", str(days[0])),
    )
