"""Commands that make something: nights, a demo world, the Dagster UI.

Belongs here: which days a run takes, one Dagster run over them, where to look afterwards. Does not belong here: what a
night does (`defs/`).
"""

import logging
import os
import re
import signal
import sys
import uuid
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gesture_assets.cli.console import console, now, progress, run_info
from gesture_assets.cli.screen import where_to_look
from gesture_assets.errors import ConfigError, SourceError, listing
from gesture_assets.settings import Settings, settings_as_far_as_usable

if TYPE_CHECKING:
    from gesture_assets.nights.steps import Step
    from gesture_assets.warehouse.run_info import RunInfo

# A name as it stands in a selection: by itself or as key:"…"; neither a word of the syntax nor of another attribute.
SYNTAX = "and|or|not|key|tag|owner|group|kind|code_location|sinks|roots|status|column|table_name|column_tag"
NAME_IN_SELECTION = re.compile(rf"""(?<![\w:="*/<.-])(?:key:)?"?(?!(?:{SYNTAX})\b)([A-Za-z_]\w*)"?(?![\w:*/<.-])""")
PUBLICATION = 'key:"published_warehouse" or key:"validation_results"'  # the steps that build nothing


def run(
    date_: Annotated[datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="One day.")] = None,
    from_: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day.")] = None,
    to: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day.")] = None,
    select: Annotated[str, typer.Option(help="Assets to materialise, such as user_features or rule_scores+.")] = "*",
    force: Annotated[bool, typer.Option("--force", help="Open closed gates; the ledger keeps the --reason.")] = False,
    restate: Annotated[bool, typer.Option("--restate", help="Let old days change that are published already.")] = False,
    restate_crm: Annotated[bool, typer.Option("--restate-crm", help="The same, from today's CRM as well.")] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build also what has not changed.")] = False,
    reason: Annotated[str, typer.Option(help="Why, for --force and --restate; it is kept.")] = "",
) -> None:
    """Run the nightly: every day that is landed and not yet live, or the days given."""
    from gesture_assets.publication.reading import newest_published_day

    require_reason(reason, asked={"--force": force, "--restate": restate or restate_crm}, command="gesture run")
    settings = settings_as_far_as_usable()
    if select != "*":
        _require_known(settings, select)
    today = now().date()
    if date_ and (from_ or to):
        raise ConfigError.bad_value(
            "--date",
            expected="it, or --from and --to",
            found="both",
            where="the command line",
            next_step="gesture run --help",
        )
    if to and not from_:
        raise ConfigError.bad_value(
            "--to",
            expected="--from with it, or --date for one day",
            found="--to alone",
            where="the command line",
            next_step=f"gesture run --from {day} --to {min(to.date(), today - timedelta(days=1))}"
            if (day := newest_published_day(settings, to.date()))
            else "gesture run",
        )
    if rebuild and not (date_ or from_):
        raise ConfigError.bad_value(
            "--rebuild",
            expected="the days that are to be built again",
            found="none: without days only what is not live is run",
            where="the command line",
            next_step=f"gesture run --date {day} --rebuild"
            if (day := newest_published_day(settings, today))
            else "gesture run",
        )
    first = date_ or from_
    last = date_ or to or (datetime.combine(today - timedelta(days=1), datetime.min.time()) if from_ else None)
    days = days_between(first.date(), last.date(), settings, today) if first and last else []
    from gesture_assets.warehouse.run_queue import RunQueue

    # Known as under way from here on: a run of a later day that starts at the same moment waits for this one.
    with RunQueue.beside(settings.warehouse).register(str(uuid.uuid4()), "gesture run", days, goes_first=False):
        exceptions = {
            "force_reason": reason if force else "",
            "restate_crm": restate_crm,
            "rebuild": rebuild,
            "restate_reason": reason if restate or restate_crm else "",
        }
        _run_days(settings, today, days, select, exceptions)


def note(settings: Settings, *, action: str, what: str, days: Collection[date] = (), reason: str = "") -> str:
    """Write the one row that this command leaves in the audit log, before it changes anything.

    Returns the run id in that row, for the command's (first) run.
    """
    from gesture_assets.records import audit_log
    from gesture_assets.records.opening import warehouse_of

    run = run_info(f"gesture {action}", *(sorted(days) or [now().date()]))
    with warehouse_of(settings).open(run) as session:
        audit_log.note(
            session.connection, now=run.now, action=action, what=what, days=days, reason=reason, run_id=run.run_id
        )
    return run.run_id


def _run_days(
    settings: Settings, today: date, days: Sequence[date], select: str, exceptions: Mapping[str, Any]
) -> None:
    """Run `days`, or what is landed and not live; a range that a bad day spoils is run up to that day."""
    from gesture_assets.publication.reading import rollback_in_words
    from gesture_assets.warehouse.warehouse import kept_open

    run_id = ""
    with kept_open(settings.warehouse):
        waiting = pending(settings, until=today - timedelta(days=1))
        if days:
            _require_something_landed(settings, days, waiting)
            landed = [day for day in days if day in waiting.landed]
            ranges = [(landed[0], landed[-1])] if landed else [(days[0], days[-1])]
        else:
            ranges = day_ranges(sorted(waiting.missing), waiting.landed)
            exceptions = {**exceptions, "restate_reason": exceptions["restate_reason"] or waiting.restate_reason}
        stays = [] if days else waiting.stays
        for remark in (*waiting.notes, *(stays if ranges else ())):
            console().print(remark, style="yellow", highlight=False, markup=False, soft_wrap=True)
        if ranges:
            given = [name for name in ("force", "restate") if exceptions[f"{name}_reason"]]
            run_id = note(
                settings,
                action=" and ".join(given) or "run",
                what=select,
                days=[day for span in ranges for day in span],
                reason=exceptions["restate_reason"] or exceptions["force_reason"],
            )
        elif waiting.unpublished:
            if not publish_waiting(settings, waiting):
                raise typer.Exit(1)
        else:
            if held := rollback_in_words(settings):
                console().print(held, style="yellow", highlight=False, soft_wrap=True)
            console().print(f"{_why_nothing_is_to_do(waiting)} Nothing to do.", highlight=False)
    # While the warehouse is kept open nobody else looks into it, and the screen is to say what failed.
    if ranges and not run_ranges(settings, ranges, select, exceptions, run_id=run_id):
        raise typer.Exit(1)
    where_to_look(settings, is_new=bool(ranges or waiting.unpublished), also=stays)


def _require_something_landed(settings: Settings, days: Sequence[date], waiting: "Pending") -> None:
    """Refuse days of which there is nothing to run: mistyped, they would fail and leave an alert that nothing ends."""
    if not (waiting.row_counts.keys() | waiting.live).isdisjoint(days):
        return
    landed = waiting.landed or waiting.row_counts
    raise ConfigError.bad_value(
        "The days",
        expected=f"a day on which something landed, from {min(landed)} to {max(landed)}",
        found=_window(days[0], days[-1]),
        where=str(settings.landing),
        next_step="gesture run  (every day that has landed and is not live)",
    )


def publish_waiting(settings: Settings, waiting: "Pending") -> bool:
    """Publish the days that are live and that readers do not have, unless somebody took them back. Whether it was done.

    Says that they wait, and why.
    """
    from gesture_assets.publication.reading import rollback_in_words

    days = sorted(waiting.unpublished)
    if held := rollback_in_words(settings):
        console().print(held, style="yellow", highlight=False, soft_wrap=True)
        return False
    console().print(
        f"{listing(days)} passed every gate and {'is' if len(days) == 1 else 'are'} not published: a run ended before.",
        style="yellow",
        highlight=False,
        soft_wrap=True,
    )
    return publish_day(settings, max(waiting.live))


def publish_day(settings: Settings, day: date, *, force_reason: str = "") -> bool:
    """Publish what is live, whose newest day is `day`, and the report on its checks. Whether it succeeded."""
    run_id = note(settings, action="publish", what="published_warehouse", days=[day], reason=force_reason)
    with saying_what_readers_have(settings) as outcome:
        outcome.done = run_range(settings, day, day, PUBLICATION, force_reason, run_id=run_id)
    return outcome.done


@dataclass
class Outcome:
    """Whether what a command does was done."""

    done: bool = False


@contextmanager
def saying_what_readers_have(settings: Settings) -> Iterator[Outcome]:
    """Say at the end of what was not done whether the published file has changed since its beginning."""
    readers_had, outcome = settings.published.resolve(), Outcome()
    is_over = False
    try:
        yield outcome
        is_over = True
    except typer.Exit:
        is_over = True
        raise
    finally:
        if is_over and not outcome.done:
            readers = "The published file is unchanged." if readers_had.exists() else "Nothing is published yet."
            if settings.published.resolve() != readers_had:
                readers = "What was done before that is published."
            console(stderr=True).print(readers, style="bold red")


def _why_nothing_is_to_do(waiting: "Pending") -> str:
    """That every day is live, but for those that the remarks said are left out."""
    if not waiting.landed:
        return "No landed day can be run."
    return "Every other landed day is live." if waiting.notes else "Every landed day is live."


def run_ranges(
    settings: Settings,
    ranges: Sequence[tuple[date, date]],
    select: str,
    exceptions: Mapping[str, Any],
    *,
    run_id: str = "",
) -> bool:
    """A run for each range, up to the first that fails; of that one the days before the first bad one are run.

    The first run gets `run_id`, where one is given.
    """
    with saying_what_readers_have(settings) as outcome:
        outcome.done = _run_each(settings, ranges, select, exceptions, run_id)
    return outcome.done


def _run_each(
    settings: Settings, ranges: Sequence[tuple[date, date]], select: str, exceptions: Mapping[str, Any], run_id: str
) -> bool:
    for start, end in ranges:
        goes_on = bool(exceptions["force_reason"]) and select == "*"
        done = run_range(settings, start, end, select, **exceptions, run_id=run_id, goes_on=goes_on)
        run_id = ""
        if not done and goes_on:
            done = _run_past_closed_gates(settings, start, end, exceptions)
            if not done:
                console(stderr=True).print(f"The night of {_window(start, end)} failed.", style="bold red")
        if done:
            continue
        if sound := _sound_days(settings, start, end):
            console().print(f"{sound[0]} to {sound[1]} are sound and are run without the rest.", highlight=False)
            run_range(settings, *sound, select, **exceptions)
            console(stderr=True).print(
                f"The days after {sound[1]} were left out, up to {ranges[-1][1]}: a gate rejected the first of them "
                "(above). When that is mended:  gesture run",
                style="bold red",
                highlight=False,
                soft_wrap=True,
            )
        return False
    return True


def _run_past_closed_gates(settings: Settings, start: date, end: date, exceptions: Mapping[str, Any]) -> bool:
    """Run what follows the tables that did not pass, on their last good version. Whether that went well."""
    from gesture_assets.nights.all_steps import nightly_steps
    from gesture_assets.publication.reading import rejected_tables

    closed: set[str] = set()
    while found := rejected_tables(settings, start, end) - closed:
        closed |= found
        console().print(
            f"{listing(found)} did not pass. By force, what follows is built on what is live of them: the last good "
            "version, or nothing where there was none.",
            style="yellow",
            highlight=False,
            soft_wrap=True,
        )
        steps = [step for step in nightly_steps() if not closed.intersection(table.name for table in step.tables)]
        names = [name for step in steps for name in ([table.name for table in step.tables] or [step.name])]
        selected = " or ".join(f'key:"{name}"' for name in names)
        if run_range(settings, start, end, selected, **exceptions, goes_on=True):
            return True
    return False


def _window(start: date, end: date) -> str:
    return str(start) if start == end else f"{start} to {end}"


def _sound_days(settings: Settings, start: date, end: date) -> tuple[date, date] | None:
    """The days of a failed range before the first one that a gate rejected; later ones would count without it."""
    from gesture_assets.publication.reading import rejected_days

    rejected = [day for day in rejected_days(settings) if start <= day <= end]
    return (start, min(rejected) - timedelta(days=1)) if rejected and min(rejected) > start else None


def days_between(first: date, last: date, settings: Settings, today: date) -> list[date]:
    """The days from `first` to `last`. Raises `ConfigError` for some that are no partitions, which nothing runs."""
    if not settings.partitions_start <= first <= last < today:
        raise ConfigError.bad_value(
            "The days",
            expected=f"days from {settings.partitions_start} to {today - timedelta(days=1)}, first not after last",
            found=_window(first, last),
            where="the command line",
            next_step="gesture catchup --dry-run  shows what has landed; GESTURE_PARTITIONS_START sets the first day",
        )
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


@dataclass(frozen=True)
class Pending:
    """What is to be done: landed days, those that are not live, those live before further files came for them."""

    landed: frozenset[date]
    missing: frozenset[date]
    touched: frozenset[date]
    notes: tuple[str, ...]
    live: frozenset[date] = frozenset()
    row_counts: Mapping[date, int] = field(default_factory=dict)  # landed rows by day
    unpublished: frozenset[date] = frozenset()  # live, and readers do not have them: a run was killed before
    rejected: frozenset[date] = frozenset()  # some table's last audit of them failed
    half_built: frozenset[date] = frozenset()  # of those missing: their tables were not all made from each other
    cut_off: frozenset[date] = frozenset()  # days of runs whose process is gone
    restate_reason: str = ""  # for which half-built days that readers had were to change

    @property
    def stays(self) -> list[str]:
        """What stays as readers have it although more has landed by now, in a sentence."""
        if not self.touched:
            return []
        late = f"Files landed late for {listing(self.touched)}, already published: these stay as they are until  "
        return [f'{late}gesture catchup --restate --reason "why"']


def require_reason(reason: str, *, asked: Mapping[str, bool], command: str) -> None:
    """Refuse an exception without a reason, and a reason for nothing. `asked` says which options were given."""
    given = [option for option, is_given in asked.items() if is_given]
    if bool(given) != bool(reason.strip()):
        raise ConfigError.bad_value(
            "--reason",
            expected=f"one with {' or '.join(asked)}",
            found=f"none with {listing(given)}" if given else "one without any of them",
            where="the command line",
            next_step=f'{command} {next(iter(given or asked))} --reason "why"',
        )


def pending(settings: Settings, *, until: date) -> Pending:
    """What landed up to `until` and what of it is live, looking at the landing folder first."""
    from gesture_assets.contracts.catalogue import catalogue
    from gesture_assets.publication.reading import half_built_days, landed_for, live_days, unpublished_days
    from gesture_assets.records.opening import warehouse_of
    from gesture_assets.sources.description import load_descriptions
    from gesture_assets.sources.landing import find_files
    from gesture_assets.sources.landing_index import LandingIndex, ping_indexes
    from gesture_assets.sources.personal import pseudonym_key
    from gesture_assets.warehouse.restatement import last_reasons

    cut_off = _end_killed_runs(settings)
    files = list(find_files(settings.landing, load_descriptions(settings.user_sources), settings.user_sources))
    with progress("looking at what landed"), warehouse_of(settings).open(run_info("gesture run", until)) as session:
        key = pseudonym_key(settings)
        index = LandingIndex(session, key)
        index.refresh(files)
        landed = index.landed_days()
        of_pings = ping_indexes(session, key, files)
        watched = of_pings["interaction"].landed_days() if of_pings else {}
        watched_then = landed_for(session, "ping_interactions")
        nightly = catalogue(settings.tags).nightly
        live = live_days(session, nightly)
        verdicts = {table.name: session.latest(table.name) for table in nightly}
        unpublished = unpublished_days(session.connection, live, verdicts, settings.published)
        half_built = half_built_days(session.connection, nightly, live)
        reasons = last_reasons(session.connection, half_built)
        row_counts = Counter(index.row_counts()) + Counter(of_pings["interaction"].row_counts() if of_pings else {})
        emptied = index.emptied_days(files, set(live) - set(landed))
    if not landed and not watched:
        raise SourceError(
            "There is nothing to run.",
            expected="files in data/landing/<source>/",
            found="none",
            where=str(settings.landing),
            next_step=_how_to_land(settings),
        )
    notes = []
    days = landed or watched
    if early := [day for day in days if day < settings.partitions_start]:
        notes.append(
            f"{len(early)} landed days before {settings.partitions_start} are left out (first {min(early)}); "
            "GESTURE_PARTITIONS_START sets the first day."
        )
    if late := [day for day in days if day > until]:
        notes.append(f"{len(late)} landed days are not over yet and wait (first {min(late)}).")
    if emptied:
        notes.append(
            f"{listing(sorted(emptied))} stays as it is, though {listing(sorted(set(emptied.values())))} holds nothing "
            "of it any more: if that is not meant, put the rows back."
        )
    usable = {day for day in days if settings.partitions_start <= day <= until}
    differs = {day for day in usable & set(landed) if day in live and landed[day] not in live[day].split(",")}
    differs |= {
        day for day in usable & set(watched) & set(live) if watched[day] not in watched_then.get(day, "").split(",")
    }
    # The newest complete day may still grow; what is older has been read, where it was published.
    touched = {day for day in differs if day < until and day not in unpublished}
    # What readers have as it is stays so, but for the newest day: the first model scores the day of its training.
    half = {day for day in half_built if day in usable and (day in unpublished or day == max(live))}
    missing = {day for day in usable if day not in live} | (differs - touched) | half
    if half:
        behind = sorted({table for day in half for table in half_built[day]})
        # In one run, or the first publication would find the other days half-built.
        missing |= {day for day in usable if min(half) <= day <= max(half)}
        notes.append(
            f"{listing(sorted(half))} {'is' if len(half) == 1 else 'are'} built in part, and {listing(behind)} "
            f"{'is' if len(behind) == 1 else 'are'} behind: a run ended before its last step."
        )
    return Pending(
        frozenset(usable),
        frozenset(missing),
        frozenset(touched),
        tuple(notes),
        frozenset(live),
        row_counts,
        frozenset(unpublished & usable - missing),
        frozenset(day for table in verdicts.values() for day, entry in table.items() if not entry.is_open),
        frozenset(half),
        cut_off,
        "; ".join(sorted({reasons[day] for day in half if day in reasons})),
    )


def _has_landed(settings: Settings) -> bool:
    return any(settings.landing.glob("*/*"))


def _how_to_land(settings: Settings) -> str:
    """What to do where nothing has landed."""
    from gesture_assets.sources.crm import crm_url

    if crm_url(settings):
        return f"land your events in {settings.landing}/<source>/ (README), then  gesture run"
    return "gesture demo-data  (a world to try), or land your own files (README)"


def not_refused(next_step: str, settings: Settings) -> str:
    """`next_step`; where that is a night, which the rooms ask for whatever is in its way, what comes before one."""
    from gesture_assets.publication.reading import why_no_night

    if next_step != "gesture run":
        return next_step
    if not _has_landed(settings):
        return _how_to_land(settings)
    if not settings.published.exists() and (why := why_no_night(settings)):
        return f"a night failed: {why}  (why), then  gesture run"
    return next_step


def day_ranges(days: Sequence[date], landed: Collection[date]) -> list[tuple[date, date]]:
    """Runs of `days` without a landed day between them that is not to be run."""
    ranges: list[tuple[date, date]] = []
    previous: date | None = None
    for day in sorted(landed):
        if day in days:
            ranges.append((ranges.pop()[0], day) if ranges and ranges[-1][1] == previous else (day, day))
        previous = day
    return ranges


def _end_killed_runs(settings: Settings) -> frozenset[date]:
    """Let Dagster know of runs whose process is gone, if any: people would wait for them. Returns their days."""
    from gesture_assets.warehouse.run_queue import RunQueue

    queue = RunQueue.beside(settings.warehouse)
    days = queue.killed_days()
    if queue.killed_runs():
        queue.end_killed_runs(_dagster_instance(settings))
    return days


def _dagster_instance(settings: Settings) -> Any:
    from gesture_assets.cli.dagster_home import opened_alone, prepare, raise_unusable_storage

    prepare(settings)
    import dagster as dg

    with raise_unusable_storage(), opened_alone():
        return dg.DagsterInstance.get()


def run_range(
    settings: Settings,
    start: date,
    end: date,
    select: str = "*",
    force_reason: str = "",
    restate_reason: str = "",
    *,
    restate_crm: bool = False,
    rebuild: bool = False,
    run_id: str = "",
    job_name: str = "nightly",
    config: Mapping[str, Any] | None = None,
    goes_on: bool = False,
) -> bool:
    """One Dagster run over start…end, in this process, recorded for the Dagster UI. Whether it succeeded.

    Its id is `run_id`, or a new one. `config`: step -> its configuration. `goes_on`: the caller goes on past tables
    that do not pass: it is said that they do not, and is no failure of the night.
    """
    import warnings

    with progress("starting Dagster"), warnings.catch_warnings(), ExitStack() as stack:
        warnings.simplefilter("ignore")  # Dagster announces beta and preview features that we use on purpose
        instance = _dagster_instance(settings)
        from gesture_assets.cli.dagster_home import raise_unusable_storage
        from gesture_assets.compat.dagster_interrupts import listening, was_interrupted
        from gesture_assets.compat.dagster_watchers import watch_in_silence
        from gesture_assets.definitions import load_definitions
        from gesture_assets.defs.resource import GOES_ON_TAG
        from gesture_assets.warehouse.run_queue import RunQueue
        from gesture_assets.warehouse.space import raise_unwritable

        watch_in_silence()
        stack.enter_context(listening())
        stack.enter_context(raise_unusable_storage())

        # Dagster's own storage is on the same disk, and has no words of its own for why nothing can be written.
        stack.enter_context(raise_unwritable(f"The run of {start} to {end}", settings.warehouse))
        queue = RunQueue.beside(settings.warehouse)
        queue.end_killed_runs(instance)
        logging.getLogger("dagster").setLevel(logging.CRITICAL)
        tags = {"dagster/asset_partition_range_start": str(start), "dagster/asset_partition_range_end": str(end)}
        tags = ({} if start == end else tags) | ({GOES_ON_TAG: "true"} if goes_on else {})
        window = _window(start, end)
        logging.getLogger("gesture_assets").info("%s for %s", job_name, window)
        info = run_info(job_name, *(start + timedelta(days=n) for n in range((end - start).days + 1)))
        info = replace(info, run_id=run_id) if run_id else info
        first = not info.is_only_backfill
        stack.enter_context(queue.register(info.run_id, f"{job_name} of {window}", info.days, goes_first=first))
        definitions = load_definitions(settings, _steps_at_hand(settings, info, job_name) if select == "*" else None)
        job = definitions.resolve_job_def(job_name)
        keys = None if select == "*" else _selected(settings, definitions, select)
        result = job.execute_in_process(
            instance=instance,
            run_id=info.run_id,
            partition_key=str(start) if start == end else None,
            tags=tags,
            raise_on_error=False,
            asset_selection=sorted(keys) if keys else None,
            run_config={
                "resources": {
                    "warehouse": {
                        "config": {
                            "force_reason": force_reason,
                            "restate_reason": restate_reason,
                            "restate_crm": restate_crm,
                            "rebuild": rebuild,
                        }
                    }
                },
                "ops": {step: {"config": values} for step, values in (config or {}).items()},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )
        is_interrupted = was_interrupted()
    if not result.success:
        failures = [event for event in result.all_node_events if event.event_type_value == "STEP_FAILURE"]
        for text in dict.fromkeys(map(_words_of, failures)):  # an interrupted run says so once
            console(stderr=True).print(
                text, style="yellow" if goes_on else "red", highlight=False, markup=False, soft_wrap=True
            )
        if not goes_on:
            what = "training" if job_name.startswith("train") else "night"
            console(stderr=True).print(f"The {what} of {window} failed (run {result.run_id[:8]}).", style="bold red")
        errors = [getattr(event.event_specific_data, "error", None) for event in result.all_events]
        if is_interrupted or any(map(_is_interrupted, errors)):
            raise typer.Exit(130)  # Ctrl-C: nothing more is wanted, and the step that was cut off still holds the lock
    return bool(result.success)


def _steps_at_hand(settings: Settings, run: "RunInfo", job_name: str) -> "Sequence[Step]":
    """Every step but those of what never landed: Dagster takes its time for each, whether or not it has anything."""
    from gesture_assets.contracts.catalogue import catalogue
    from gesture_assets.nights.all_steps import all_steps
    from gesture_assets.nights.night import Night
    from gesture_assets.nights.ping_lists import weights_of
    from gesture_assets.nights.steps import with_source
    from gesture_assets.pings.tables import PING_WEIGHTS
    from gesture_assets.records.opening import warehouse_of

    days = run.days if job_name == "nightly" else ()
    with warehouse_of(settings).open(run) as session:
        steps = with_source(all_steps(), Night(session, settings, catalogue(settings.tags), days))
    if any(PING_WEIGHTS in step.tables for step in steps):
        weights_of(settings)  # refused before a night begins, and not in the middle of it
    return steps


def _words_of(failed: Any) -> str:
    """What the step of the event `failed` says of its failure: our errors in their own words."""
    from gesture_assets.defs.resource import INTERRUPTED

    data = failed.event_specific_data
    failure = getattr(data, "user_failure_data", None)
    if failure is None and _is_interrupted(getattr(data, "error", None)):
        return INTERRUPTED  # it came while Dagster was between a step's parts, and has no words for it
    return failure.description if failure else str(getattr(data, "error_display_string", failed.message))


def _is_interrupted(error: Any) -> bool:
    """Whether Dagster's `error` is Ctrl-C; inside a query it is the cause of the engine's own error."""
    while error is not None:
        if error.cls_name in ("DagsterExecutionInterruptedError", "KeyboardInterrupt"):
            return True
        error = error.cause
    return False


def _require_known(settings: Settings, select: str) -> None:
    """Refuse a selection of nothing that is known, whether or not there is a day to run."""
    import warnings

    from gesture_assets.cli.dagster_home import prepare

    prepare(settings)
    from gesture_assets.definitions import load_definitions

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Dagster announces beta and preview features that we use on purpose
        _selected(settings, load_definitions(settings), select)


def _selected(settings: Settings, definitions: Any, select: str) -> Any:
    """The asset keys of a selection that a night makes, with the tables that one step can only build together.

    What follows a table is all that follows it. A training is no part of a night, whatever it is built from.
    """
    import dagster as dg

    from gesture_assets.nights.all_steps import all_steps
    from gesture_assets.publication.reading import how_to_train

    graph = definitions.resolve_asset_graph()
    known = [key.to_user_string() for key in graph.get_all_asset_keys()]
    # A name that is nothing's selects nothing, and says nothing, beside others.
    unknown = [name for name in NAME_IN_SELECTION.findall(select) if name not in known]
    # Without the word key Dagster reads an older syntax, whose + means the next step and not all that follows.
    text = NAME_IN_SELECTION.sub(lambda name: f'key:"{name[1]}"', select)
    try:
        keys = dg.AssetSelection.from_string(text).required_multi_asset_neighbors().resolve(graph)
    except dg.DagsterError:  # unknown names and a syntax of its own that it cannot read
        keys = set()
    asked_for = {dg.AssetKey(table.name) for step in all_steps() if not step.is_nightly for table in step.tables}
    if keys and not keys - asked_for:
        raise ConfigError.bad_value(
            "The selection",
            expected="tables of a night",
            found=select,
            where="--select",
            next_step="gesture why-changed" if keys == {dg.AssetKey("score_changes")} else how_to_train(settings),
        )
    if unknown or not keys:
        raise ConfigError.unknown_name(
            "The selection",
            unknown[0] if unknown else select,
            known,
            where="--select",
            next_step="gesture run --select user_features+  (the table and all that follows it)",
        )
    return keys - asked_for


def demo_data(
    users: Annotated[int, typer.Option(help="People in the demo world.")] = 2_000,
    days: Annotated[int, typer.Option(help="Days of history.")] = 60,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 7,
    end: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day. Default: yesterday.")] = None,
    poison: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Land one broken file for this day, and nothing else.")
    ] = None,
    if_empty: Annotated[bool, typer.Option("--if-empty", help="Only when nothing has landed yet.")] = False,
    pings: Annotated[bool, typer.Option("--pings", help="Short videos of the last 14 days as well.")] = False,
) -> None:
    """Write a demo world: landing files and a CRM database that take the same path as real data."""
    from gesture_assets.demo.world import write_poison_day

    settings = settings_as_far_as_usable()
    terminal = console()
    if poison:
        _require_in_world(settings, poison.date())
        path = write_poison_day(landing=settings.landing, day=poison.date(), seed=seed)
        terminal.print(f"Landed {path}: a third of its rows are malformed. See what the gates do:", highlight=False)
        terminal.print(f"  gesture run --date {poison.date()}", highlight=False)
        return
    last = end.date() if end else None
    if write_world(settings, users=users, days=days, seed=seed, end=last, if_empty=if_empty, pings=pings):
        terminal.print("Next:  gesture run", highlight=False)


def write_world(
    settings: Settings,
    *,
    users: int,
    days: int,
    seed: int = 7,
    end: date | None = None,
    if_empty: bool = False,
    pings: bool = False,
) -> bool:
    """Write a demo world that ends on `end`, yesterday by default, and say what is in it; whether that was done.

    With `if_empty` none is written where something has landed, and that is said. With `pings` it has short videos.
    """
    from gesture_assets.demo.pings import write_demo_pings
    from gesture_assets.demo.world import write_demo_world

    if if_empty and _has_landed(settings):
        console().print(f"{settings.landing} holds files already; no demo world is written.", highlight=False)
        return False
    if settings.default_crm.exists() and not (settings.data_dir / "demo_truth.parquet").exists():
        raise ConfigError.bad_value(
            "The demo world",
            expected="no CRM database of your own in the way",
            found=str(settings.default_crm),
            where=str(settings.data_dir),
            next_step="GESTURE_DATA_DIR=/another/folder gesture demo-data",
        )
    end = end or now().date() - timedelta(days=1)
    with progress("writing the demo world"):
        world = write_demo_world(
            landing=settings.landing,
            crm=settings.default_crm,
            truth=settings.data_dir / "demo_truth.parquet",
            users=users,
            days=days,
            seed=seed,
            end=end,
            progress=logging.getLogger("gesture_assets").info,
        )
    console().print(
        f"Wrote {world.events:,} events in {len(world.event_files)} files below {settings.landing}, and "
        f"{world.subscribers:,} subscribers to {world.crm}. "
        f"Planted: {world.duplicates:,} duplicates, {world.late:,} late, {world.malformed:,} malformed "
        f"and {world.future:,} future rows, {world.bots} bots.",
        highlight=False,
        soft_wrap=True,
    )
    if pings:
        truth = settings.data_dir / "demo_ping_truth.parquet"
        videos = write_demo_pings(landing=settings.landing, truth=truth, users=users, days=days, seed=seed, end=end)
        console().print(
            f"And {videos.interaction_count:,} interactions of {videos.user_count:,} users with {videos.ping_count:,} "
            f"short videos; what everybody would think of each: {truth}",
            highlight=False,
            soft_wrap=True,
        )
    return True


def _require_in_world(settings: Settings, day: date) -> None:
    """Refuse to poison a day of which nothing else has landed: nobody could run it."""
    names = [re.search(r"\d{4}-\d{2}-\d{2}(?=\.)", path.name) for path in settings.landing.glob("native/events-*")]
    landed = sorted(date.fromisoformat(found[0]) for found in names if found)
    if not landed:
        raise ConfigError.bad_value(
            "--poison",
            expected="a demo world in which a day can be poisoned",
            found="none",
            where=str(settings.landing),
            next_step="gesture demo-data",
        )
    if not landed[0] <= day <= landed[-1]:
        raise ConfigError.bad_value(
            "--poison",
            expected=f"a day of the demo world, {landed[0]} to {landed[-1]}",
            found=day,
            where=str(settings.landing),
            next_step=f"gesture demo-data --poison {landed[-1]}",
        )


def dev(
    port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Start the Dagster UI and its daemon, with storage under data/dagster_home."""
    from gesture_assets.cli.dagster_home import prepare

    settings = settings_as_far_as_usable()
    workspace = prepare(settings) / "workspace.yaml"
    _dagster_instance(settings)  # Dagster has no words of its own for a storage that it cannot use
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(workspace), "-h", host, "-p", str(port)]
    # Dagster lets SIGTERM do what Ctrl-C does, which a shell's background and others have made nothing.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    os.execv(sys.executable, command)


# ---- looking -------------------------------------------------------------------------------------------------------
