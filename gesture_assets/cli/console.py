"""What a person sees: console, progress, tables, CSV files. And the clock, which no room may look at.

Belongs here: what several commands share. Does not belong here: a command.
"""

import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gesture_assets.errors import ConfigError, DiskFull, GateClosed
from gesture_assets.settings import Settings

if TYPE_CHECKING:
    from gesture_assets.warehouse.run_info import RunInfo

Day = Annotated[datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="One day; default: the newest.")]

# ANSI escape sequences, then the control characters that are left; tabs and line ends are text.
CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")

AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


def unknown_user(con: Any, user: str, *days: date, next_step: str, table: str = "rule_scores") -> ConfigError:
    """The error for a user without a row of `table` on any of `days`, naming those whose ids are like theirs."""
    near = con.execute(
        f"select user_id, count(*) over () from {table} where list_contains(?, as_of_date) group by user_id "
        "order by levenshtein(user_id, ?), user_id limit 3",
        [list(days), user],
    ).fetchall()
    where = f"{table} of {', '.join(map(str, days))}"
    return ConfigError.unknown_name(
        "The user",
        user,
        [row[0] for row in near],
        where=where,
        next_step=next_step,
        count=near[0][1] if near else None,
    )


def console(*, stderr: bool = False) -> Any:
    """The terminal, or what stands for it. It shows text as it is: an id may look like markup."""
    from rich.console import Console

    class Terminal(Console):
        def render_str(self, text: str, **options: Any) -> Any:
            return super().render_str(plain(text), **options)

    terminal = Terminal(stderr=stderr, markup=False, emoji=False)
    terminal.soft_wrap = not terminal.is_terminal  # a line in a pipe stays one
    return terminal


def plain(text: str) -> str:
    """`text` without what a terminal takes for an order: escape sequences and control characters."""
    return CONTROL.sub("", text)


def now() -> datetime:
    """The moment (UTC, naive): the only look at a clock."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


@contextmanager
def progress(title: str) -> Iterator[None]:
    """Log lines of the rooms as they come: a moving line on a terminal, plain lines elsewhere."""
    terminal = console()
    logger = logging.getLogger("gesture_assets")
    before = logger.level, logger.propagate
    moving: AbstractContextManager[Any] = nullcontext()
    if not terminal.is_terminal:
        handler: logging.Handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        moving = progress = Progress(*columns, console=terminal, transient=True)
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


def run_info(step: str, *days: date) -> "RunInfo":
    """Who looks into the warehouse outside a Dagster run."""
    import uuid

    from gesture_assets.warehouse.run_info import RunInfo

    return RunInfo(str(uuid.uuid4()), now(), days, step)


def published(settings: Settings) -> Any:
    """A connection to the published file."""
    from gesture_assets.publication.reading import read_published

    return read_published(settings.published)


def rule_set_of_day(con: Any, day: date) -> Any:
    """The rule set that scored `day`."""
    from gesture_assets.rules.rule_set import RuleSet

    name, content = con.execute("select rule_set, content from rule_sets where as_of_date = ?", [day]).fetchone()
    return RuleSet.of_content(name, content)


def say_remarks(settings: Settings) -> None:
    """Say beside a list what it cannot say itself: that it is late, that a night failed."""
    from gesture_assets.contracts.catalogue import catalogue
    from gesture_assets.monitoring.alerts import NIGHT_FAILED
    from gesture_assets.publication.reading import NOT_PASSED, open_alerts, remarks

    said = remarks(settings, catalogue(settings.tags).nightly, now())
    if not any(remark.startswith(NOT_PASSED) for remark in said):  # what is no verdict of a gate
        failed = [alert for alert in open_alerts(settings) if alert.key.startswith(NIGHT_FAILED)]
        said += [f"{alert.what} Why:  gesture alerts list" for alert in failed]
    for remark in said:
        console(stderr=True).print(remark, style="yellow", highlight=False, markup=False, soft_wrap=True)


NARROWEST = 8  # of a column whose words are broken


def shown(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table on a terminal, or a block of lines for each row where it is too wide; tab-separated lines in a pipe.

    Nothing is ever cut off. The title stands above, for it says of which day all this is.
    """
    terminal = console()
    if not terminal.is_terminal:
        print(plain(title).replace("\t", " "))
        print("\t".join(columns))
        for row in rows:
            print("\t".join("" if value is None else " ".join(plain(str(value)).split("\t")) for value in row))
        return
    from rich.table import Table

    cells = [["" if value is None else plain(str(value)) for value in row] for row in rows]
    widths = _widths(columns, cells, terminal.width)
    if widths is None:
        terminal.print(title, style="italic", highlight=False)
        longest = max(map(len, columns))
        for row in cells:
            for name, cell in zip(columns, row, strict=True):
                terminal.print(f"{name:<{longest}}  {cell}", highlight=False, soft_wrap=True)
            terminal.print()
        return
    table = Table(title=title, title_justify="left")
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column, overflow="fold", width=width)
    for row in cells:
        table.add_row(*row)
    terminal.print(table)


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """Widths of the columns of a table that is `width` wide, in which at most the widest column breaks words.

    None where even that would leave it too little.
    """
    from rich.cells import cell_len

    cells = list(zip(columns, *rows, strict=True))
    words = [max((cell_len(word) for cell in column for word in cell.split()), default=1) for column in cells]
    wanted = [max(map(cell_len, column)) for column in cells]
    room = width - 3 * len(columns) - 1  # beside lines and blanks
    if (beyond := sum(words) - room) > 0:
        widest = words.index(max(words))
        words[widest] -= beyond
        return words if words[widest] >= NARROWEST else None
    left = max(sum(wanted) - sum(words), 1)
    share = min((room - sum(words)) / left, 1)
    return [word + int((want - word) * share) for word, want in zip(words, wanted, strict=True)]


def landed_events(con: Any) -> bool:
    """Whether a published day ever had events: a verdict on them, whatever it is."""
    said = "select 1 from gate_ledger where table_name = 'raw_events' and verdict <> 'ABSENT' limit 1"
    return con.execute(said).fetchone() is not None


def as_of(con: Any, day: datetime | None, settings: Settings) -> date:
    """`day`, or the newest published one. Raises `GateClosed` when it holds no scores."""
    newest = con.execute("select min(as_of_date), max(as_of_date) from rule_scores").fetchone()
    chosen = day.date() if day else newest[1]
    if newest[1] is None and not landed_events(con):
        raise GateClosed(
            "Nobody has a score: no events have landed.",
            expected="events of a website or an app, of which scores are made",
            found="none",
            where=str(settings.landing),
            next_step="land events (README), then  gesture run; lists of short videos:  gesture recs --help",
        )
    if newest[1] is None:
        raise GateClosed(
            "Nobody has a score yet.",
            expected="a published day with scores",
            found="none: a day was published by force without its rows, or nobody has been seen",
            where=str(settings.published),
            next_step="gesture gates  (what did not pass, and why)",
        )
    if not con.execute("select 1 from rule_scores where as_of_date = ? limit 1", [chosen]).fetchone():
        raise GateClosed(
            f"There are no scores for {chosen}.",
            expected=f"a day from {newest[0]} to {newest[1]} that was published",
            found="none of that day",
            where=str(settings.published),
            next_step=f"leave --date out for {newest[1]}; what has landed since comes with  gesture run",
        )
    return chosen


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]], settings: Settings) -> None:
    """CSV whose cells a spreadsheet takes for text: one that starts like a formula gets an apostrophe (OWASP)."""
    import csv

    require_target(path, settings)

    def safe(value: Any) -> Any:
        value = plain(value) if isinstance(value, str) else value
        return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value

    with writing(path, path), path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows([safe(value) for value in row] for row in rows)


@contextmanager
def writing(path: Path, *parts: Path) -> Iterator[None]:
    """While the file `path` is written: that its disk is full is said of that disk, and none of `parts` is left."""
    from gesture_assets.warehouse.space import raise_unwritable

    advice = "make room there, or give another path"
    try:
        with raise_unwritable(f"{path.name}, which is written from what is live,", path.parent, next_step=advice):
            yield
    except DiskFull:
        for part in parts:
            if part.is_file():
                part.unlink()
        raise


def require_not_kept(path: Path, settings: Settings) -> None:
    """Refuse to write over what the product keeps, also where a link leads to it."""
    if any(settings.keeps(place) for place in (path.parent.resolve() / path.name, path.resolve())):
        raise ConfigError.bad_value(
            "The file",
            expected="a file of your own: what the product keeps is not written over",
            found=str(path),
            where="the command line",
            next_step=f"give a path elsewhere, or the name of a .csv or .html file in {settings.data_dir}",
        )


def require_target(path: Path, settings: Settings) -> None:
    """Refuse a path that no file can be written to, and one of what the product keeps."""
    require_not_kept(path, settings)
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError.bad_value(
            "The file",
            expected="a file name in a folder that exists",
            found=str(path),
            where="the command line",
            next_step="give another path",
        )
