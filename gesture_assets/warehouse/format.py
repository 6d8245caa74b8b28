"""Which private files can be opened: their format, the way from an older one to ours, and what to do about the others.

Belongs here: the table `warehouse_format`, migrations, and what is wrong with a file that DuckDB refuses. Does not
belong here: columns that a contract gains (`Session.ensure` adds them when the table is next built).
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

import duckdb

from gesture_assets.errors import ConfigError, listing
from gesture_assets.vocabulary.sql import literal
from gesture_assets.warehouse.relations import create_table
from gesture_assets.warehouse.schemas import LIVE
from gesture_assets.warehouse.transaction import transaction

log = logging.getLogger(__name__)

TABLE = f"{LIVE}.warehouse_format"
FORMAT_COLUMNS = (
    ("version", "INTEGER not null", "Format of the file."),
    ("written_by", "VARCHAR not null", "Who brought it to that."),
)
# Rows that the engine writes as one piece; its own are 122,880. What is less than a piece is written a second time with
# the next rows, and at a checkpoint pieces are merged where fewer than three whole ones stand between two that are not:
# with wide tables, which have few rows a night, a quarter of the file. So pieces are small.
ROW_GROUP = 16_384
FORMAT = 1  # counts up whenever an older version of this code could not work with the file any more

Migration = Callable[[duckdb.DuckDBPyConnection], None]
# Format -> what turns it into the next one. Files of format 0 are those from before the table; they differ in nothing.
MIGRATIONS: Mapping[int, Migration] = MappingProxyType({0: lambda connection: None})


def attach(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> None:
    """Attach a file of ours to be written, as `name`.

    Whoever writes it by another way merges all of its row groups into larger ones at the next checkpoint.
    """
    connection.execute(f"attach {literal(path)} as {name} (row_group_size {ROW_GROUP})")


def create_file(path: Path) -> None:
    """Make an empty DuckDB file at `path` in one step, so that a process killed meanwhile leaves no broken one."""
    beside = path.with_name(path.name + ".new")
    for leftover in (beside, beside.with_name(beside.name + ".wal")):
        leftover.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    duckdb.connect(str(beside)).close()
    beside.replace(path)


def migrate(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    *,
    migrations: Mapping[int, Migration] = MIGRATIONS,
    ours: int = FORMAT,
) -> None:
    """Bring the attached `warehouse` to our format, in one transaction, or leave it alone.

    Raises `ConfigError` for a file of a newer format, one without a way to ours, and a database that is not ours.
    """
    present, written_by = _format_of(connection, path)
    if present == ours:
        return
    steps = range(present, ours)
    missing = [number for number in steps if number not in migrations]
    if present > ours or missing:
        raise ConfigError(
            "The warehouse cannot be opened; nothing was written to it.",
            expected=f"format {ours}" + (f", or an older one from {_oldest(migrations, ours)}" if missing else ""),
            found=f"format {present}, written by {written_by}; this is {_we()}",
            where=f"{path}, table warehouse_format",
            next_step=f"install {written_by} or newer, then  gesture run"
            if present > ours
            else f"open it once with a version between, or start anew:  mv {path} {path}.old && gesture run",
        )
    with transaction(connection):
        for number in steps:
            migrations[number](connection)
        create_table(connection, TABLE, FORMAT_COLUMNS)
        connection.execute(f"delete from {TABLE}")
        connection.execute(f"insert into {TABLE} values (?, ?)", [ours, _we()])
    if written_by:
        log.info("the warehouse was brought from format %s to %s", present, ours)


def _format_of(connection: duckdb.DuckDBPyConnection, path: Path) -> tuple[int, str]:
    """The format of the attached file and who wrote it; 0 for a new file and one from before the table."""
    tables = {
        name
        for (name,) in connection.execute(
            "select table_name from duckdb_tables() where database_name = 'warehouse' and schema_name = 'main'"
        ).fetchall()
    }
    if "warehouse_format" in tables:
        row = connection.execute(f"select version, written_by from {TABLE}").fetchone()
        if row:
            return row
    if tables and "gate_ledger" not in tables:
        raise ConfigError(
            "The warehouse cannot be opened; nothing was written to it.",
            expected="a file that this product wrote",
            found=f"a DuckDB file of something else, with the tables {listing(tables)}",
            where=str(path),
            next_step=f"mv {path} {path}.old, then  gesture run",
        )
    return 0, "a version before formats were counted" if tables else ""


def unreadable(path: Path, error: Exception, next_step: str = "") -> ConfigError | None:
    """What to say about the file at `path`, which DuckDB refuses with `error`; None where the error is another one.

    The next step is to restore the private file from the published one, unless another is given.
    """
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        header = stream.read(84)
    text = str(error).splitlines()[0]
    if header[8:12] != b"DUCK":
        damage = "a file that is no DuckDB file" if header else "an empty file"
    elif "version number" in text:
        writer = header[52:84].split(b"\0")[0].decode("ascii", errors="replace") or "another version"
        return ConfigError(
            f"{path.name} cannot be opened; nothing was written to it.",
            expected=f"a file that DuckDB {duckdb.__version__} reads",
            found=f"one written by DuckDB {writer}",
            where=str(path),
            next_step="install the DuckDB that wrote it, or  " + (next_step or restoring(path)),
        )
    elif any(sign in text for sign in (f'bytes from file "{path}"', "Corrupt database", "deserialize")):
        damage = f"a damaged or truncated file ({text[:160]})"
    else:
        return None
    return ConfigError(
        f"{path.name} cannot be opened; nothing was written to it.",
        expected="a whole DuckDB file",
        found=damage,
        where=str(path),
        next_step=next_step or restoring(path),
    )


@contextmanager
def raise_unreadable(path: Path) -> Iterator[None]:
    """Let damage come out as such that is found only when the rows are read."""
    try:
        yield
    except duckdb.Error as error:
        if refusal := unreadable(path, error):
            raise refusal from error
        raise


def restoring(path: Path) -> str:
    """The commands that put the published file in the place of a lost private one: it holds every table that passed."""
    published = path.with_name("gesture.duckdb")
    return f"mv {path} {path}.old && cp -L {published} {path} && gesture run"


def _oldest(migrations: Mapping[int, Migration], ours: int) -> int:
    """The oldest format from which there is an unbroken way to ours."""
    oldest = ours
    while oldest - 1 in migrations:
        oldest -= 1
    return oldest


def _we() -> str:
    try:
        return f"gesture_assets {metadata.version('gesture_assets')}"
    except metadata.PackageNotFoundError:
        return "gesture_assets from a checkout"
