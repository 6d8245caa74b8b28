"""Commands that make something: nights, a demo world, the Dagster UI.

Belongs here: which days a run takes, one Dagster run over them, where to look afterwards. Does not belong here: what a
night does (`defs/`).
"""

import logging
import os
import sys
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Any

import typer

from gesture_assets.cli.console import console, now, progress, run_info
from gesture_assets.errors import ConfigError, SourceError
from gesture_assets.settings import Settings, load_settings


def run(
    date_: Annotated[datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="One day.")] = None,
    from_: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day.")] = None,
    to: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day.")] = None,
    select: Annotated[str, typer.Option(help="Assets to materialise, such as user_features or rule_scores+.")] = "*",
    force_reason: Annotated[str, typer.Option(help="Open closed gates; the reason is kept in the ledger.")] = "",
    restate_reason: Annotated[str, typer.Option(help="Let today's CRM overwrite a stored past day.")] = "",
) -> None:
    """Run the nightly: every day that is landed and not yet live, or the days given."""
    settings = load_settings()
    today = now().date()
    if date_ and (from_ or to):
        raise ConfigError.bad_value("--date", expected="it, or --from and --to", found="both", where="the command line",
                                    next_step="gesture run --help")  # fmt: skip
    first = date_ or from_
    last = date_ or to or (datetime.combine(today - timedelta(days=1), datetime.min.time()) if from_ else None)
    if to and not from_:
        first = to
    pending, notes = _pending(settings, until=today - timedelta(days=1))
    if first and last:
        days = _span(first.date(), last.date(), settings, today)
        landed = [day for day in days if day in pending["landed"]]
        ranges = [(landed[0], landed[-1])] if landed else [(days[0], days[-1])]
    else:
        ranges = _ranges(sorted(pending["waiting"]), pending["landed"])
    for note in notes:
        console().print(note, style="yellow", highlight=False, markup=False)
    if not ranges:
        console().print("Everything that has landed is live. Nothing to do.", highlight=False)
        where_to_look(settings)
        return
    reasons = (force_reason, restate_reason)
    for start, end in ranges:
        if run_range(settings, start, end, select, *reasons):
            continue
        sound = _sound_days(settings, start, end)
        if sound:
            console().print(f"{sound[0]} to {sound[1]} are sound and are run without the rest.", highlight=False)
            run_range(settings, *sound, select, *reasons)
        raise typer.Exit(1)
    where_to_look(settings)


def _sound_days(settings: Settings, start: date, end: date) -> tuple[date, date] | None:
    """The days of a failed range before the first one that a gate rejected; later ones would count without it."""
    from gesture_assets.warehouse.publish import rejected_days

    rejected = [day for day in rejected_days(settings) if start <= day <= end]
    return (start, min(rejected) - timedelta(days=1)) if rejected and min(rejected) > start else None


def _span(first: date, last: date, settings: Settings, today: date) -> list[date]:
    if not settings.partitions_start <= first <= last < today:
        raise ConfigError.bad_value(
            "The days",
            expected=f"days from {settings.partitions_start} to {today - timedelta(days=1)}, first not after last",
            found=f"{first} to {last}", where="the command line",
            next_step="give other days, or set GESTURE_PARTITIONS_START for older ones",
        )  # fmt: skip
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _pending(settings: Settings, *, until: date) -> tuple[dict[str, set[date]], list[str]]:
    """Days that are landed, and those of them that are not live or were built from other files; remarks."""
    from gesture_assets.contracts import all_contracts
    from gesture_assets.sources.description import load_descriptions
    from gesture_assets.sources.landing import find_files
    from gesture_assets.sources.personal import pseudonym_key
    from gesture_assets.warehouse.landing_index import LandingIndex
    from gesture_assets.warehouse.publish import live_days
    from gesture_assets.warehouse.warehouse import Warehouse

    files = list(find_files(settings.landing, load_descriptions(settings.user_sources), settings.user_sources))
    with progress("looking at what landed"), Warehouse.of(settings).open(run_info("gesture run", until)) as session:
        index = LandingIndex(session, pseudonym_key(settings))
        index.refresh(files)
        landed = index.landed_days()
        live = live_days(session, all_contracts(settings.tags))
    if not landed:
        raise SourceError(
            "There is nothing to run.",
            expected="files in data/landing/<source>/", found="none", where=str(settings.landing),
            next_step="gesture demo-data  (a world to try), or land your own files (README)",
        )  # fmt: skip
    notes = []
    if early := [day for day in landed if day < settings.partitions_start]:
        notes.append(
            f"{len(early)} landed days before {settings.partitions_start} are left out (first {min(early)}); "
            "GESTURE_PARTITIONS_START sets the first day."
        )
    if late := [day for day in landed if day > until]:
        notes.append(f"{len(late)} landed days are not over yet and wait (first {min(late)}).")
    usable = {day for day in landed if settings.partitions_start <= day <= until}
    waiting = {day for day in usable if day not in live or landed[day] not in live[day].split(",")}
    return {"landed": usable, "waiting": waiting}, notes


def _ranges(days: Sequence[date], landed: set[date]) -> list[tuple[date, date]]:
    """Runs of `days` without a landed day between them that is not to be run."""
    ranges: list[tuple[date, date]] = []
    previous: date | None = None
    for day in sorted(landed):
        if day in days:
            ranges.append((ranges.pop()[0], day) if ranges and ranges[-1][1] == previous else (day, day))
        previous = day
    return ranges


def _dagster_instance(settings: Settings) -> Any:
    from gesture_assets.dagster_home import prepare

    prepare(settings)
    import dagster as dg

    return dg.DagsterInstance.get()


def run_range(settings: Settings, start: date, end: date, select: str, force_reason: str, restate_reason: str) -> bool:
    """One Dagster run over start…end, in this process, recorded for the Dagster UI. Whether it succeeded."""
    import warnings

    with progress("starting Dagster"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Dagster announces beta and preview features that we use on purpose
        instance = _dagster_instance(settings)
        from gesture_assets.definitions import defs

        logging.getLogger("dagster").setLevel(logging.CRITICAL)
        job = defs.resolve_job_def("nightly")
        keys = None if select == "*" else _selected(select)
        tags = {"dagster/asset_partition_range_start": str(start), "dagster/asset_partition_range_end": str(end)}
        window = str(start) if start == end else f"{start} to {end}"
        logging.getLogger("gesture_assets").info("nightly for %s", window)
        result = job.execute_in_process(
            instance=instance,
            partition_key=str(start) if start == end else None,
            tags=None if start == end else tags,
            raise_on_error=False,
            asset_selection=sorted(keys) if keys else None,
            run_config={
                "resources": {
                    "warehouse": {"config": {"force_reason": force_reason, "restate_reason": restate_reason}}
                },
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )
    if not result.success:
        failures = [event for event in result.all_node_events if event.event_type_value == "STEP_FAILURE"]
        for event in failures:
            data = event.event_specific_data
            failure = getattr(data, "user_failure_data", None)
            text = failure.description if failure else str(getattr(data, "error_display_string", event.message))
            console(stderr=True).print(text, style="red", highlight=False, markup=False, soft_wrap=True)
        console(stderr=True).print(
            f"The night of {window} failed (run {result.run_id[:8]}). The published file is unchanged.",
            style="bold red",
        )
    return bool(result.success)


def _selected(select: str) -> Any:
    """The asset keys of a selection, with the tables that one step can only build together."""
    import dagster as dg

    from gesture_assets.definitions import defs

    graph = defs.resolve_asset_graph()
    try:
        keys = dg.AssetSelection.from_string(select).required_multi_asset_neighbors().resolve(graph)
    except dg.DagsterError:  # unknown names and a syntax of its own that it cannot read
        keys = set()
    if not keys:
        known = [key.to_user_string() for key in graph.get_all_asset_keys()]
        raise ConfigError.unknown_name(
            "The selection",
            select,
            known,
            where="--select",
            next_step="gesture run --select user_features+  (the table and all that follows it)",
        )
    return keys


def where_to_look(settings: Settings) -> None:
    """What was made, and where to look next."""
    from rich.table import Table

    from gesture_assets.warehouse.publish import read_published

    if not settings.published.exists():
        return
    con = read_published(settings.published)
    rows = con.execute(
        "select table_name, as_of_date, day_count, row_count, verdict from manifest order by table_name"
    ).fetchall()
    snapshot = con.execute("select any_value(snapshot_id) from manifest").fetchone()
    bands = con.execute(
        "select band, users from analytics.bands where as_of_date = (select max(as_of_date) from rule_scores)"
    ).fetchall()
    con.close()
    table = Table(
        title=f"Published {settings.published} (snapshot {snapshot[0] if snapshot else ''})", title_justify="left"
    )
    for name, justify in (
        ("table", "left"),
        ("newest day", "left"),
        ("days", "right"),
        ("rows", "right"),
        ("gate", "left"),
    ):
        table.add_column(name, justify=justify)  # pyright: ignore[reportArgumentType]
    for name, day, days, count, verdict in rows:
        table.add_row(name, str(day or "–"), str(days), f"{count:,}", str(verdict))
    terminal = console()
    terminal.print(table)
    terminal.print("Users by band: " + ", ".join(f"{count:,} {band}" for band, count in bands), highlight=False)
    terminal.print(
        "Next:  gesture rank --n 20  |  gesture explain  |  gesture gates  |  gesture dev (the Dagster UI)  |  "
        f"{settings.published} in any tool that reads DuckDB",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


def demo_data(
    users: Annotated[int, typer.Option(help="People in the demo world.")] = 2_000,
    days: Annotated[int, typer.Option(help="Days of history.")] = 60,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 7,
    end: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day. Default: yesterday.")] = None,
    poison: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Land one broken file for this day, and nothing else.")
    ] = None,
    if_empty: Annotated[bool, typer.Option("--if-empty", help="Only when nothing has landed yet.")] = False,
) -> None:
    """Write a demo world: landing files and a CRM database that take the same path as real data."""
    from gesture_assets.sources.demo_world import write_demo_world, write_poison_day

    settings = load_settings()
    terminal = console()
    if poison:
        path = write_poison_day(landing=settings.landing, day=poison.date(), seed=seed)
        terminal.print(f"Landed {path}: a third of its rows are malformed. See what the gates do:", highlight=False)
        terminal.print(f"  gesture run --date {poison.date()}", highlight=False)
        return
    if if_empty and any(settings.landing.glob("*/*")):
        terminal.print(f"{settings.landing} holds files already; no demo world is written.", highlight=False)
        return
    if settings.default_crm.exists() and not (settings.data_dir / "demo_truth.parquet").exists():
        raise ConfigError.bad_value(
            "The demo world", expected="no CRM database of your own in the way", found=str(settings.default_crm),
            where=str(settings.data_dir), next_step="GESTURE_DATA_DIR=/another/folder gesture demo-data",
        )  # fmt: skip
    with progress("writing the demo world"):
        world = write_demo_world(
            landing=settings.landing, crm=settings.default_crm, truth=settings.data_dir / "demo_truth.parquet",
            users=users, days=days, seed=seed, end=end.date() if end else now().date() - timedelta(days=1),
            progress=logging.getLogger("gesture_assets").info,
        )  # fmt: skip
    terminal.print(
        f"Wrote {world.events:,} events in {len(world.event_files)} files below {settings.landing}, and "
        f"{world.subscribers:,} subscribers to {world.crm}. "
        f"Planted: {world.duplicates:,} duplicates, {world.late:,} late, {world.malformed:,} malformed "
        f"and {world.future:,} future rows, {world.bots} bots.",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    terminal.print("Next:  gesture run", highlight=False)


def dev(
    port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Start the Dagster UI and its daemon, with storage under data/dagster_home."""
    from gesture_assets.dagster_home import prepare

    workspace = prepare(load_settings()) / "workspace.yaml"
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(workspace), "-h", host, "-p", str(port)]
    os.execv(sys.executable, command)


# ---- looking -------------------------------------------------------------------------------------------------------
