"""Landing files: CSV, JSON lines or Parquet of any described source as canonical rows, with a reason for each refusal.

Belongs here: finding files, opening one, and what is asked of its rows before they are put into our words. Does not
belong here: reading a format (`readers.py`), what makes a row acceptable (`canonical.py`), remembering which files were
seen (`landing_index.py`). Every row of a file comes out exactly once, accepted or with a reason; personal columns never
leave here.
"""

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import duckdb

from gesture_assets.errors import SourceError, listing
from gesture_assets.sources.canonical import Fields, Shape, canonical_sql
from gesture_assets.sources.columns import expressions_of, local_times, opened_cells
from gesture_assets.sources.description import SourceDescription, description_of
from gesture_assets.sources.landing_file import FORMATS, LONGEST_LINE, LandingFile, ending_of_format, refusal
from gesture_assets.sources.long_lines import Lines, look_through
from gesture_assets.sources.paths import column_of
from gesture_assets.sources.personal import holds_ip, is_personal
from gesture_assets.sources.readers import Reading, read_rows
from gesture_assets.sources.spellings import normal
from gesture_assets.vocabulary.personal_data import (
    EMAIL_PATTERN,
    IP_PATTERN,
    IPV6_PATTERN,
    NUMBER_PATTERNS,
    ODD_SIGNS,
    masked_sql,
    plain_signs_sql,
)
from gesture_assets.vocabulary.sql import literal

log = logging.getLogger(__name__)

IGNORED_ENDINGS = (".tmp", ".part", ".crdownload")
SNIFFED_ROWS = 1_000  # rows in which an unnamed IP-address column would show
DWELL_WHERE_ALL_IS_MISSING = 30.0  # seconds (document 004)
# A header without a sign that the address or the number of a person has.
ORDINARY_HEADER = re.compile(r"[A-Za-z_$. -]*\d{0,4}")
# What no name of a file may hold: names are kept with each row.
PERSONAL_PARTS = [
    re.compile(pattern)
    for pattern in (EMAIL_PATTERN, IPV6_PATTERN, IP_PATTERN, *(f"{number}(?:[^0-9]|$)" for number in NUMBER_PATTERNS))
]
PLAIN_SIGNS = str.maketrans(ODD_SIGNS)


@dataclass(frozen=True)
class OpenFile:
    """A file whose rows can be selected: `sql` gives them, canonical, with `reason` and a nullable `filing_day`.

    Those of a text file are in the scratch file, in `table`, until `drop_rows` lets go of them.
    """

    file: LandingFile
    reading: Reading
    shape: Shape
    table: str
    row_count: int
    personal_columns: tuple[str, ...] = field(default=())
    unused_columns: tuple[str, ...] = field(default=())
    found_columns: Mapping[str, str | None] = field(default_factory=dict)  # with the type, where the format shows one

    @property
    def sql(self) -> str:
        """A query for the rows."""
        return rows_sql(self)


def rows_sql(*files: OpenFile) -> str:
    """A query for the rows of `files`: one for all that are of the same shape."""
    shapes: list[tuple[Shape, dict[str, Reading]]] = []
    for opened in files:
        readings = next((found for shape, found in shapes if shape == opened.shape), None)
        if readings is None:
            shapes.append((opened.shape, readings := {}))
        readings[opened.file.name] = opened.reading
    return f"({' union all '.join(f'select * from {canonical_sql(*alike)}' for alike in shapes)})"


def find_files(
    landing: Path, descriptions: Mapping[str, SourceDescription], user_folder: Path
) -> Iterator[LandingFile]:
    """Every landing file in order of names, also of linked folders.

    Raises for a folder without description, a file of unknown format or outside the folders of sources, and what is
    neither file nor folder, such as a link to nothing: nothing that landed is passed over in silence.
    """
    for folder in sorted(landing.glob("*")):
        if not folder.is_dir():
            _refuse_loose(folder, landing)
            continue
        files = sorted(_files_below(folder, landing))
        if not files:
            continue
        source = description_of(folder.name, dict(descriptions), user_folder)
        for path in files:
            kind = FORMATS.get(ending_of_format(path))
            name = path.relative_to(landing).as_posix()
            if kind is None or (source.format not in ("any", kind)):
                raise _unreadable(
                    path,
                    landing,
                    expected="CSV, JSON lines or Parquet (.csv, .jsonl, .parquet, also .gz and .zst)"
                    if source.format == "any"
                    else f"{source.format}, as the description of {source.name} says",
                    found=path.name,
                    next_step="rename or move the file, then  gesture run",
                )
            if not _is_text(name):
                raise _unreadable(
                    path,
                    landing,
                    expected="a name in UTF-8",
                    found=_shown(path.name),
                    next_step="rename the file, then  gesture run",
                )
            plain = name.translate(PLAIN_SIGNS)
            if any(part.search(plain) for part in PERSONAL_PARTS):
                for part in PERSONAL_PARTS:
                    plain = part.sub("***", plain)
                raise _unreadable(
                    landing / plain,
                    landing,
                    expected="a name without the address or the number of a person or a machine",
                    found="such a name, *** here",
                    next_step="rename the file, then  gesture run",
                )
            yield LandingFile(path, name, source, kind)


def landed_folders(landing: Path) -> set[str]:
    """The folders of `landing` that have a file to read. Raises where one cannot be read."""
    return {folder.name for folder in landing.glob("*/") if any(_files_below(folder, landing))}


def _files_below(folder: Path, landing: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """The files of `folder` and those below it; `above` are the folders that led here, as they truly lie."""
    try:
        real, entries = folder.resolve(), sorted(folder.iterdir())
    except OSError as error:
        raise _unreadable(
            folder, landing, expected="a folder that can be read", found=error.strerror or str(error)
        ) from error
    if real in above:
        raise _unreadable(folder, landing, expected="a folder with files", found="a link back to a folder it lies in")
    for entry in entries:
        if entry.is_dir():
            yield from _files_below(entry, landing, (*above, real))
        elif not _is_ignored(entry) and _is_there(entry, landing):
            yield entry


def _is_ignored(path: Path) -> bool:
    """Whether a file is somebody's mark, or still being written."""
    return path.name.startswith((".", "_")) or path.name.lower().endswith(IGNORED_ENDINGS)


def _is_there(path: Path, landing: Path) -> bool:
    """Whether there is a file at `path`, which may have gone since it was seen; refuses what is none."""
    if path.is_file():
        return True
    if path.is_symlink() or path.exists():
        found = f"a link to {path.readlink()}, which is not there" if path.is_symlink() else "no file and no folder"
        raise _unreadable(path, landing, expected="a file", found=_shown(found))
    return False


def _refuse_loose(path: Path, landing: Path) -> None:
    """Refuse a file of events that lies in no source's folder; any other file there is only named."""
    if _is_ignored(path) or not _is_there(path, landing):
        return
    if ending_of_format(path) not in FORMATS:
        log.warning("%s is passed over: it lies in no source's folder and is no file of events", _shown(path.name))
        return
    raise _unreadable(
        path,
        landing,
        expected="files in the folder of their source, such as data/landing/native/",
        found=f"{_shown(path.name)}, which lies beside these folders",
        next_step="move the file into the folder of its source, then  gesture run",
    )


def _unreadable(path: Path, landing: Path, *, expected: str, found: str, next_step: str = "") -> SourceError:
    """The refusal of a file or folder below `landing` of which nothing can be read."""
    return SourceError(
        f"The landing file {_shown(path.relative_to(landing).as_posix())} cannot be read.",
        expected=expected,
        found=found,
        where=_shown(str(path)),
        next_step=next_step or "mend it or move it out of data/landing, then  gesture run",
    )


def _is_text(name: str) -> bool:
    """Whether a name of the file system is text: its bytes may be anything."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(name: str) -> str:
    """`name` as it can be printed."""
    return name.encode(errors="backslashreplace").decode()


def content_hash(file: LandingFile) -> str:
    """SHA-256 of the file's bytes, 32 hex digits of it. Raises `SourceError` where it may not be read."""
    with readable(file), file.path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:32]


@contextmanager
def readable(file: LandingFile) -> Iterator[None]:
    """Let what the engine or the system says about `file` come out as `SourceError`; what it says of others passes."""
    try:
        yield
    except OSError as error:
        raise refusal(file, expected="a file that can be read", found=error.strerror or str(error)) from error
    except (duckdb.OutOfMemoryException, duckdb.FatalException, duckdb.InterruptException):
        raise
    except duckdb.Error as error:
        # A full disk or a lost scratch file is no fault of this file.
        if isinstance(error, duckdb.IOException) and str(file.path) not in str(error):
            raise
        message = str(error).splitlines()[0][:300]
        raise refusal(file, expected=f"a readable {file.format} file", found=message) from error


def open_file(
    connection: duckdb.DuckDBPyConnection, file: LandingFile, *, table: str, key: str, indexed_at: datetime
) -> OpenFile:
    """Make the rows of `file` selectable. Text formats are read once, into `table` of the scratch file.

    `key` makes the pseudonyms, `indexed_at` is when the file was first seen: the arrival of rows that have no clock of
    arrival. Raises `SourceError` for an empty or unreadable file, a wrong delimiter, a missing column.
    """
    with readable(file):
        return _opened(connection, file, table=table, key=key, indexed_at=indexed_at)


def _opened(
    connection: duckdb.DuckDBPyConnection, file: LandingFile, *, table: str, key: str, indexed_at: datetime
) -> OpenFile:
    if file.path.stat().st_size == 0:
        raise refusal(file, expected="a header and rows", found="an empty file (0 bytes): an export was cut short")
    reading = read_rows(connection, file, table, _lines(file))
    headers = reading.columns
    expressions = expressions_of(file, reading)
    if file.format != "jsonl":
        _require_columns(file, headers, expressions)
    arrival = Fields(file.source, expressions).named("received_at")
    if expressions.get("received_at") and not _has_values(connection, reading.unnumbered, arrival):
        expressions["received_at"] = None  # a clock that nobody reads is none, as in a file without the column
    keys = _json_keys(connection, reading.rows) if file.format == "jsonl" else []
    personal, unused = _unmapped(connection, file, reading, keys)
    is_blank = f"nullif({Fields(file.source, expressions).id('event_id', key)} is null, false)"
    lacks_ids = expressions.get("event_id") is None or _has_values(connection, reading.unnumbered, is_blank)
    imputed = None
    if "dwell_seconds" in file.source.impute:
        number = Fields(file.source, expressions).number("dwell_seconds")
        imputed = _typical_dwell(connection, reading.unnumbered, number)
    shape = Shape(
        file.source,
        file.format,
        headers,
        reading.types,
        expressions,
        opened_cells(file, reading),
        key,
        local_times(file, reading),
        indexed_at if expressions.get("received_at") is None else None,
        reading.personal,
        lacks_ids,
        imputed,
    )
    counted = reading.unnumbered if file.format == "parquet" else table
    rows = connection.execute(f"select count(*) from {counted}").fetchone() or (0,)
    shown = _shown_headers(connection, [*personal, *unused, *reading.types, *keys])
    found = {shown[header]: kind for header, kind in {**reading.types, **dict.fromkeys(keys)}.items()}
    personal, unused = (tuple(dict.fromkeys(shown[header] for header in headers)) for headers in (personal, unused))
    return OpenFile(file, reading, shape, table, rows[0], personal, unused, found)


def _shown_headers(connection: duckdb.DuckDBPyConnection, headers: Iterable[str]) -> dict[str, str]:
    """Header -> as it may be shown: an export may have addresses and numbers of people for names of columns."""
    headers = list(dict.fromkeys(headers))
    odd = [header for header in headers if not ORDINARY_HEADER.fullmatch(header)]
    query = f"select header, {masked_sql(plain_signs_sql('header'))} from (select unnest(?::varchar[]) as header)"
    masked = dict[str, str](connection.execute(query, [odd]).fetchall()) if odd else {}
    return {header: masked.get(header, header) for header in headers}


def _require_columns(file: LandingFile, headers: Mapping[str, str], expressions: Mapping[str, str | None]) -> None:
    """Refuse a file without a column that every row of its kind needs; one id, of a user or of a visitor, is enough."""
    missing = [
        f"{name} (one of: {', '.join(file.source.columns[name])})"
        for name in file.source.row_kind.needed
        if name in file.source.columns
        and expressions[name] is None
        and not (name == "user_id" and expressions.get("anonymous_id"))
    ]
    if not missing:
        return
    names = list(headers)
    if len(names) == 1 and (other := [d for d in ",;\t|" if d in names[0] and d != file.source.delimiter]):
        raise refusal(
            file,
            expected=f"columns separated by {file.source.delimiter!r}",
            found=f"one column, {names[0]!r}, which looks separated by {other[0]!r}",
            next_step=f"set  delimiter = {other[0]!r}  in data/sources/{file.source.name}.toml, then  gesture run",
        )
    raise refusal(file, expected=f"the column {listing(missing)}", found=f"columns {listing(names, 12)}")


def _unmapped(
    connection: duckdb.DuckDBPyConnection, file: LandingFile, reading: Reading, keys: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Headers that the description does not map: those of personal data, and the others (of JSON lines none)."""
    mapped = {name for header in file.source.headers for name in (header, normal(header), normal(column_of(header)))}
    columns = {**reading.columns, **_json_headers(keys, reading.columns)}
    unmapped = [header for header in columns if header not in mapped and normal(header) not in mapped]
    personal = [header for header in unmapped if header in reading.personal or is_personal(header)]
    if file.format == "jsonl":
        personal = [header for header in personal if _has_values(connection, reading.unnumbered, columns[header])]
    others = [header for header in unmapped if header not in personal]
    personal += _ip_columns(connection, reading.rows, columns, others)
    unused = [] if file.format == "jsonl" else sorted(header for header in unmapped if header not in personal)
    return tuple(sorted(personal)), tuple(unused)


def _lines(file: LandingFile) -> Lines:
    """The lines of a text file that is too large to be sure of them.

    Refuses a compressed file that was cut short: the engine would read what is there and say nothing.
    """
    if not file.compression and (file.format == "parquet" or file.path.stat().st_size <= LONGEST_LINE):
        return Lines()
    try:
        with file.stream() as stream:
            return look_through(stream)
    except OSError as error:
        if error.errno:  # the system's, not the decoder's
            raise
        raise refusal(
            file, expected="a whole compressed file", found=f"{error}: cut short, or not compressed at all"
        ) from error


def _has_values(connection: duckdb.DuckDBPyConnection, rows: str, expression: str) -> bool:
    """Whether `expression` is not null in any of the rows."""
    query = f"select 1 from {rows} where {expression} is not null limit 1"
    return connection.execute(query).fetchone() is not None


def _json_keys(connection: duckdb.DuckDBPyConnection, rows: str) -> list[str]:
    """The fields that the first JSON lines have at their top, in order of names."""
    keys = connection.execute(
        f"select distinct unnest(json_keys(document)) from (select document from {rows} limit {SNIFFED_ROWS})"
    ).fetchall()
    return sorted(key for (key,) in keys if key and key.isprintable() and not set('"\\') & set(key))


def _json_headers(keys: Iterable[str], paths: Iterable[str]) -> dict[str, str]:
    """Those of `keys` into which none of `paths` reaches: field -> SQL."""
    reached = {path.split(".")[0] for path in paths}
    return {key: "json_extract_string(document, " + literal(f'$."{key}"') + ")" for key in keys if key not in reached}


def _ip_columns(
    connection: duckdb.DuckDBPyConnection, rows: str, headers: Mapping[str, str], unmapped: Sequence[str]
) -> list[str]:
    """Headers whose first rows hold IP addresses, whatever they are called."""
    if not unmapped:
        return []
    # One condition over all values: a condition a column takes the engine a time that grows with their square.
    names = ", ".join(map(literal, unmapped))
    values = ", ".join(f"({headers[header]})::varchar" for header in unmapped)
    hits = connection.execute(
        f"""select distinct header from (
            select unnest([{names}]) as header, unnest([{values}]) as value
            from (select * from {rows} limit {SNIFFED_ROWS}))
        where {holds_ip("value")}"""
    ).fetchall()
    return [header for (header,) in hits]


def _typical_dwell(connection: duckdb.DuckDBPyConnection, rows: str, number: str) -> float:
    """The median of a file's dwell times in seconds, those below zero left out; 30 where there are none."""
    medians = connection.execute(f"select median(dwell) from (select {number} as dwell from {rows}) where dwell >= 0")
    return next((value for (value,) in medians.fetchall() if value is not None), DWELL_WHERE_ALL_IS_MISSING)
