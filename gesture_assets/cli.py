"""The `gesture` command: what the rooms can do, one line each.

Belongs here: arguments, the clock, what a person sees. Does not belong here: any work of its own. Exit codes: 0 done,
1 a gate did not pass or a run failed, 2 the arguments, settings or sources cannot be used, 3 the warehouse is busy.
"""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gesture_assets.errors import ConfigError, GateClosed, GestureError, SourceError, WarehouseBusy
from gesture_assets.settings import Settings, load_settings

if TYPE_CHECKING:
    from gesture_assets.warehouse.warehouse import RunInfo

# Heavy libraries are imported where they are needed, so that `gesture --help` answers at once.

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Who is about to buy, why, and whether tonight's answer can be trusted.",
)
rules_app = typer.Typer(no_args_is_help=True, help="Look at rule sets.")
config_app = typer.Typer(no_args_is_help=True, help="Look at the settings.")
publish_app = typer.Typer(invoke_without_command=True, help="Publish again, or go back to the file before.")
app.add_typer(rules_app, name="rules")
app.add_typer(config_app, name="config")
app.add_typer(publish_app, name="publish")

Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"])]


def main() -> None:
    """Run the command; our errors become four lines and an exit code."""
    try:
        app()
    except GestureError as error:
        _console(stderr=True).print(error.report, style="red", highlight=False, markup=False, soft_wrap=True)
        code = 3 if isinstance(error, WarehouseBusy) else 2 if isinstance(error, ConfigError | SourceError) else 1
        sys.exit(code)


def _console(*, stderr: bool = False) -> Any:
    from rich.console import Console

    return Console(stderr=stderr)


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


@contextmanager
def _progress(title: str) -> Iterator[None]:
    """Log lines of the rooms as they come: a moving line on a terminal, plain lines elsewhere."""
    console = _console()
    logger = logging.getLogger("gesture_assets")
    before = logger.level, logger.propagate
    moving: AbstractContextManager[Any] = nullcontext()
    if not console.is_terminal:
        handler: logging.Handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        moving = progress = Progress(*columns, console=console, transient=True)
        task = progress.add_task(title, total=None)

        class Shown(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                progress.update(task, description=record.getMessage()[:100].replace("[", "\\["))
                if record.levelno >= logging.WARNING:
                    progress.console.print(record.getMessage(), style="yellow", markup=False)

        handler = Shown()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        with moving:
            yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before


# ---- running -------------------------------------------------------------------------------------------------------


@app.command()
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
    today = _now().date()
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
        _console().print(note, style="yellow", highlight=False, markup=False)
    if not ranges:
        _console().print("Everything that has landed is live. Nothing to do.", highlight=False)
        _where_to_look(settings)
        return
    reasons = (force_reason, restate_reason)
    for start, end in ranges:
        if _run_range(settings, start, end, select, *reasons):
            continue
        sound = _sound_days(settings, start, end)
        if sound:
            _console().print(f"{sound[0]} to {sound[1]} are sound and are run without the rest.", highlight=False)
            _run_range(settings, *sound, select, *reasons)
        raise typer.Exit(1)
    _where_to_look(settings)


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
    with _progress("looking at what landed"), Warehouse.of(settings).open(_run_info("gesture run", until)) as session:
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


def _run_info(step: str, *days: date) -> "RunInfo":
    import uuid

    from gesture_assets.warehouse.warehouse import RunInfo

    return RunInfo(str(uuid.uuid4()), _now(), days, step)


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


def _run_range(settings: Settings, start: date, end: date, select: str, force_reason: str, restate_reason: str) -> bool:
    """One Dagster run over start…end, in this process, recorded for the Dagster UI. Whether it succeeded."""
    import warnings

    with _progress("starting Dagster"), warnings.catch_warnings():
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
            _console(stderr=True).print(text, style="red", highlight=False, markup=False, soft_wrap=True)
        _console(stderr=True).print(
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


def _where_to_look(settings: Settings) -> None:
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
    console = _console()
    console.print(table)
    console.print("Users by band: " + ", ".join(f"{count:,} {band}" for band, count in bands), highlight=False)
    console.print(
        "Next:  gesture rank --n 20  |  gesture explain  |  gesture gates  |  gesture dev (the Dagster UI)  |  "
        f"{settings.published} in any tool that reads DuckDB",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


@app.command("demo-data")
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
    console = _console()
    if poison:
        path = write_poison_day(landing=settings.landing, day=poison.date(), seed=seed)
        console.print(f"Landed {path}: a third of its rows are malformed. See what the gates do:", highlight=False)
        console.print(f"  gesture run --date {poison.date()}", highlight=False)
        return
    if if_empty and any(settings.landing.glob("*/*")):
        console.print(f"{settings.landing} holds files already; no demo world is written.", highlight=False)
        return
    if settings.default_crm.exists() and not (settings.data_dir / "demo_truth.parquet").exists():
        raise ConfigError.bad_value(
            "The demo world", expected="no CRM database of your own in the way", found=str(settings.default_crm),
            where=str(settings.data_dir), next_step="GESTURE_DATA_DIR=/another/folder gesture demo-data",
        )  # fmt: skip
    with _progress("writing the demo world"):
        world = write_demo_world(
            landing=settings.landing, crm=settings.default_crm, truth=settings.data_dir / "demo_truth.parquet",
            users=users, days=days, seed=seed, end=end.date() if end else _now().date() - timedelta(days=1),
            progress=logging.getLogger("gesture_assets").info,
        )  # fmt: skip
    console.print(
        f"Wrote {world.events:,} events in {len(world.event_files)} files below {settings.landing}, and "
        f"{world.subscribers:,} subscribers to {world.crm}. "
        f"Planted: {world.duplicates:,} duplicates, {world.late:,} late, {world.malformed:,} malformed "
        f"and {world.future:,} future rows, {world.bots} bots.",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    console.print("Next:  gesture run", highlight=False)


@app.command()
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


def _published(settings: Settings) -> Any:
    from gesture_assets.warehouse.publish import read_published

    return read_published(settings.published)


def _shown(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table on a terminal; tab-separated lines in a pipe."""
    console = _console()
    if not console.is_terminal:
        print("\t".join(columns))
        for row in rows:
            print("\t".join("" if value is None else str(value) for value in row))
        return
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    console.print(table)


def _as_of(con: Any, day: datetime | None, settings: Settings) -> date:
    newest = con.execute("select min(as_of_date), max(as_of_date) from rule_scores").fetchone()
    wanted = day.date() if day else newest[1]
    if not con.execute("select 1 from rule_scores where as_of_date = ? limit 1", [wanted]).fetchone():
        raise GateClosed(
            f"There are no scores for {wanted}.", expected=f"a day from {newest[0]} to {newest[1]} that was published",
            found="none of that day", where=str(settings.published), next_step=f"gesture run --date {wanted}",
        )  # fmt: skip
    return wanted


@app.command()
def rank(
    n: Annotated[int, typer.Option(min=1, help="Length of the list.")] = 20,
    day: Annotated[
        datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Default: the newest day.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write it as CSV as well; safe to open in a spreadsheet.")] = None,
) -> None:
    """Whom to talk to first, and why."""
    import narwhals as nw

    from gesture_assets.rules.scorer import rank as ranked

    settings = load_settings()
    con = _published(settings)
    wanted = _as_of(con, day, settings)
    scores = nw.from_native(con.sql(f"select * from rule_scores where as_of_date = date '{wanted}'"))
    columns = ("rank", "user_id", "score", "band", "explanation", "last_event_at")
    top = ranked(scores, n).select(*columns).sort("rank").collect()
    rows = [(*row[:2], f"{row[2]:.2f}", *row[3:]) for row in top.rows()]
    _shown(f"Top {len(rows)} of {wanted}", columns, rows)
    if csv:
        _write_csv(csv, columns, rows)


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """CSV whose cells a spreadsheet takes for text: one that starts like a formula gets an apostrophe (OWASP)."""
    import csv

    _require_folder(path)

    def safe(value: Any) -> Any:
        return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value

    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows([safe(value) for value in row] for row in rows)


def _require_folder(path: Path) -> None:
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError.bad_value("The file", expected="a file name in a folder that exists", found=str(path),
                                    where="the command line", next_step="give another path")  # fmt: skip


@app.command()
def export(
    table: Annotated[str, typer.Argument(help="Table or view of the published file, such as validated_subscribers.")],
    to: Annotated[Path, typer.Option(help="CSV file to write.")],
    day: Annotated[datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="One day only.")] = None,
) -> None:
    """Write a published table as CSV that is safe to open in a spreadsheet."""
    settings = load_settings()
    con = _published(settings)
    known = {
        f"{schema}.{name}" if schema != "main" else name
        for schema, name in con.execute(
            "select table_schema, table_name from information_schema.tables where table_catalog = 'gesture'"
        ).fetchall()
    }
    if table not in known:
        raise ConfigError.unknown_name(
            "The table", table, known, where=str(settings.published), next_step="gesture export --help"
        )
    fields = con.execute(f"describe {table}").fetchall()
    if day and "as_of_date" not in {name for name, *_ in fields}:
        raise ConfigError.bad_value(
            "--date", expected="a table with a column as_of_date", found=table, where="the command line",
            next_step=f"gesture export {table} --to {to}",
        )  # fmt: skip
    _require_folder(to)
    selected = ", ".join(
        f"if(left({name}, 1) in ('=', '+', '-', '@', chr(9), chr(13)), '''' || {name}, {name}) as {name}"
        if kind == "VARCHAR" else name
        for name, kind, *_ in fields
    )  # fmt: skip
    where = f"where as_of_date = date '{day.date()}'" if day else ""
    quoted = str(to).replace("'", "''")
    written = con.execute(
        f"copy (select {selected} from {table} {where} order by all) to '{quoted}' (header)"
    ).fetchone()
    _console().print(f"Wrote {written[0]:,} rows to {to}", highlight=False)


@app.command()
def explain(
    user_id: Annotated[
        str | None, typer.Option(help="One user; without it, every rule and what it adds on average.")
    ] = None,
    day: Annotated[
        datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Default: the newest day.")
    ] = None,
) -> None:
    """Why a score is what it is."""
    settings = load_settings()
    con = _published(settings)
    wanted = _as_of(con, day, settings)
    if user_id is None:
        import narwhals as nw

        from gesture_assets.rules.scorer import global_explanation

        parts = nw.from_native(con.sql(f"select * from rule_contributions where as_of_date = date '{wanted}'"))
        table = global_explanation(parts).collect()
        columns = table.columns
        rows = [tuple(f"{v:.3f}" if isinstance(v, float) else v for v in row) for row in table.rows()]
        _shown(f"What the rules add, {wanted}", columns, rows)
        return
    score = con.execute(
        "select score, band, points, rule_set, rule_set_version, last_event_at from rule_scores "
        "where as_of_date = ? and user_id = ?",
        [wanted, user_id],
    ).fetchone()
    if score is None:
        near = con.execute(
            "select user_id from rule_scores where as_of_date = ? order by levenshtein(user_id, ?), user_id limit 3",
            [wanted, user_id],
        ).fetchall()
        raise ConfigError.unknown_name(
            "The user",
            user_id,
            [row[0] for row in near],
            where=f"rule_scores of {wanted}",
            next_step="gesture rank --n 20",
        )
    parts = con.execute(
        "select rule_id, value, weight, scaled, decay, points, because from rule_contributions "
        "where as_of_date = ? and user_id = ? order by points desc, rule_id",
        [wanted, user_id],
    ).fetchall()
    rows = [
        (
            r[0],
            "unknown" if r[1] is None else f"{r[1]:g}",
            f"{r[2]:g}",
            f"{r[3]:.3f}",
            f"{r[4]:.3f}",
            f"{r[5]:.2f}",
            r[6],
        )
        for r in parts
    ]
    rows.append(("sum", "", f"{sum(r[2] for r in parts):g}", "", "", f"{sum(r[5] for r in parts):.2f}", ""))
    _shown(
        f"{user_id} on {wanted}: score {score[0]:.2f} ({score[1]}), rule set {score[3]} {score[4]}, "
        f"last event {score[5]}",
        ("rule", "value", "weight", "scaled", "decay", "points", "because"), rows,
    )  # fmt: skip


@app.command()
def gates(
    day: Annotated[
        datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="One day; default: the newest.")
    ] = None,
) -> None:
    """What passed its audit, what did not, and what only warned. Exit code 1 when something is closed."""
    from gesture_assets.warehouse.publish import gate_report

    settings = load_settings()
    rows = gate_report(settings, day.date() if day else None)
    if not rows:
        raise GateClosed(
            f"There are no gates of {day.date() if day else 'any day'}.",
            expected="a day that was audited", found="none",
            where=f"{settings.warehouse}, table gate_ledger", next_step="gesture gates",
        )  # fmt: skip
    _shown("Gates", ("table", "day", "attempt", "verdict", "rows", "not passed"), rows)
    if any(row[3] == "FAIL" for row in rows):
        raise typer.Exit(1)


@rules_app.command("lint")
def rules_lint(
    name: Annotated[str | None, typer.Argument(help="Rule set; default: the one that scores.")] = None,
) -> None:
    """Judge a rule set: what cannot work is an error, what looks unmeant a warning. Exit code 1 with any finding."""
    from gesture_assets.contracts import feature_registry
    from gesture_assets.rules.lint import lint
    from gesture_assets.rules.rule_set import load_rule_set

    settings = load_settings()
    features = feature_registry(settings.tags)
    names = [feature.name for feature in features]
    rule_set = load_rule_set(name or settings.rule_set, user_folder=settings.user_rules, features=names)
    findings = lint(rule_set, features)
    for finding in findings:
        print(finding)
    print(f"{rule_set.name} {rule_set.version}: {len(rule_set.rules)} rules, {len(findings)} findings")
    if findings:
        raise typer.Exit(1)


@publish_app.callback()
def publish(context: typer.Context) -> None:
    """Publish the newest live day again."""
    if context.invoked_subcommand:
        return
    settings = load_settings()
    from gesture_assets.contracts import all_contracts
    from gesture_assets.warehouse.publish import live_days
    from gesture_assets.warehouse.warehouse import Warehouse

    with Warehouse.of(settings).open(_run_info("gesture publish", _now().date())) as session:
        live = live_days(session, all_contracts(settings.tags))
    if not live:
        raise GateClosed("Nothing can be published.", expected="a day on which every table has passed", found="none",
                         where=str(settings.warehouse), next_step="gesture run")  # fmt: skip
    if not _run_range(settings, max(live), max(live), "published_warehouse", "", ""):
        raise typer.Exit(1)
    _where_to_look(settings)


@publish_app.command("rollback")
def publish_rollback() -> None:
    """Let readers have the file that was published before the current one."""
    from gesture_assets.contracts import all_contracts
    from gesture_assets.warehouse.publish import rollback
    from gesture_assets.warehouse.warehouse import Warehouse

    settings = load_settings()
    with Warehouse.of(settings).locked("gesture publish rollback"):
        path = rollback(settings.data_dir / "published", settings.published, all_contracts(settings.tags))
    _console().print(f"{settings.published} is {path.name} again", highlight=False)


@config_app.command("show")
def config_show(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Every setting, its value, and where the value comes from."""
    import json

    settings = load_settings()
    rows = []
    for name, info in Settings.model_fields.items():
        value = getattr(settings, name)
        variable = f"GESTURE_{name.upper()}"
        shown = "***" if name == "pseudonym_key" and value else value
        shown = _without_password(shown) if name == "crm_url" and value else shown
        rows.append((name, shown, variable if variable in os.environ else "default", info.description or ""))
    if as_json:
        print(
            json.dumps(
                {r[0]: {"value": r[1], "source": r[2], "description": r[3]} for r in rows}, default=str, indent=2
            )
        )
        return
    shorten = [(r[0], f"{len(r[1])} tags" if r[0] == "tags" else r[1], r[2], r[3]) for r in rows]
    _shown("Settings", ("setting", "value", "source", "meaning"), shorten)


def _without_password(url: Any) -> str:
    import sqlalchemy as sa

    return sa.make_url(str(url)).render_as_string(hide_password=True)


if __name__ == "__main__":
    main()
