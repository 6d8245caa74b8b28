"""Landing files: CSV, JSON lines or Parquet of any described source as canonical rows, with a reason for each refusal.

Belongs here: finding files, the SQL that reads one (the engine's own readers do the work), what makes a row acceptable.
Does not belong here: remembering which files were seen (`sources/landing_index.py`), deduplication and bots
(`events/`). Every row of a file comes out exactly once, accepted or with a reason; personal columns never leave here.
"""

import csv
import hashlib
import io
import re
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from gesture_assets.errors import SourceError, listing
from gesture_assets.events.tables import MINUTES_AHEAD, OLDEST_DAYS
from gesture_assets.sources.description import (
    FLAG_COLUMNS,
    INTEGER_COLUMNS,
    NUMBER_COLUMNS,
    TIME_COLUMNS,
    SourceDescription,
    description_of,
)
from gesture_assets.sources.personal import EMAIL, is_personal, keyed_hash_sql, masked_json_sql, normal_email_sql
from gesture_assets.vocabulary.event_types import EVENT_TYPE_NAMES
from gesture_assets.vocabulary.personal_data import EMAIL_PATTERN, IP_PATTERN, IPV6_PATTERN, masked_sql

FORMATS = {"csv": "csv", "tsv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "json": "jsonl", "parquet": "parquet"}
COMPRESSIONS = ("gz", "zst")
IGNORED_ENDINGS = (".tmp", ".part", ".crdownload")
# A row longer than this is no event; it is quarantined instead of filling the memory.
LONGEST_LINE = 8 * 1024 * 1024
SNIFFED_ROWS = 1_000  # rows in which an unnamed IP-address column would show
CHUNK = 1024 * 1024
# Without the group that looks at what follows: it would swallow what the next address begins with.
ADDRESSES = re.compile("|".join((EMAIL_PATTERN, *(p[: p.rindex("([^")] for p in (IPV6_PATTERN, IP_PATTERN)))))
# What the engine says where line ends are of several kinds, which its reader of quoted fields refuses.
SEVERAL_LINE_ENDS = "invalid state"
QUOTED_LINES = 100  # a field that runs over more lines than these is taken for one whose quote was never closed
KEPT_TEXT = 4_000  # characters of a refused row that the quarantine keeps
# A time outside is a sender's "never" or a wrong unit, and some of them cannot even be added to.
FIRST_TIME, LAST_TIME = "1970-01-02", "2200-01-01"
DWELL_WHERE_ALL_IS_MISSING = 30.0  # seconds (document 004)
LARGEST_NUMBER = 1e15  # more seconds, percent or dollars than there are, and whole numbers are exact up to here

csv.field_size_limit(LONGEST_LINE)

BOT_AGENTS = "bot|crawl|spider|slurp|headless|python-requests|curl/|wget|scrapy|phantomjs|monitoring"
AGENT_FAMILIES = (
    (BOT_AGENTS, "bot"),
    ("edg(e|a|ios)?/", "Edge"),
    ("opr/|opera", "Opera"),
    ("firefox|fxios", "Firefox"),
    ("samsungbrowser", "Samsung Internet"),
    ("chrome|crios", "Chrome"),
    ("safari", "Safari"),
)
DEVICES = {
    "desktop": ("desktop", "web", "pc", "laptop", "computer"),
    "mobile": ("mobile", "phone", "smartphone", "ios", "android"),
    "tablet": ("tablet", "ipad"),
}


@dataclass(frozen=True)
class LandingFile:
    """A file below the landing folder. `name` is its path there, with forward slashes."""

    path: Path
    name: str
    source: SourceDescription
    format: str


@dataclass(frozen=True)
class OpenFile:
    """A file whose rows can be selected: `sql` gives them, canonical, with `reason` and a nullable `filing_day`."""

    file: LandingFile
    sql: str
    personal_columns: tuple[str, ...] = field(default=())
    unused_columns: tuple[str, ...] = field(default=())
    found_columns: Mapping[str, str | None] = field(default_factory=dict)  # with the type, where the format shows one


def find_files(
    landing: Path, descriptions: Mapping[str, SourceDescription], user_folder: Path
) -> Iterator[LandingFile]:
    """Every landing file in order of names. Raises for a folder without description and a file of unknown format."""
    for folder in sorted(path for path in landing.glob("*") if path.is_dir()):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        files = [f for f in files if not f.name.startswith((".", "_")) and not f.name.endswith(IGNORED_ENDINGS)]
        if not files:
            continue
        source = description_of(folder.name, dict(descriptions), user_folder)
        for path in files:
            endings = [ending.lstrip(".").lower() for ending in path.suffixes]
            kind = FORMATS.get(
                endings[-2] if endings[-1:] and endings[-1] in COMPRESSIONS and endings[1:] else (endings or [""])[-1]
            )
            name = path.relative_to(landing).as_posix()
            if kind is None or (source.format not in ("any", kind)):
                raise SourceError(
                    f"The landing file {name} cannot be read.",
                    expected="CSV, JSON lines or Parquet (.csv, .jsonl, .parquet, also .gz and .zst)"
                    if source.format == "any"
                    else f"{source.format}, as the description of {source.name} says",
                    found=path.name,
                    where=str(path),
                    next_step="rename or move the file, then  gesture run",
                )
            yield LandingFile(path, name, source, kind)


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
        raise _refusal(file, expected="a file that can be read", found=error.strerror or str(error)) from error
    except (duckdb.OutOfMemoryException, duckdb.FatalException, duckdb.InterruptException):
        raise
    except duckdb.Error as error:
        # A full disk or a lost scratch file is no fault of this file.
        if isinstance(error, duckdb.IOException) and str(file.path) not in str(error):
            raise
        said = str(error).splitlines()[0][:300]
        raise _refusal(file, expected=f"a readable {file.format} file", found=said) from error


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
        raise _refusal(file, expected="a header and rows", found="an empty file (0 bytes): an export was cut short")
    _check_compression(file)
    reader = {"csv": _open_csv, "jsonl": _open_jsonl, "parquet": _open_parquet}[file.format]
    rows, headers, types = reader(connection, file, table)
    expressions = {canonical: _pick(file, headers, names) for canonical, names in file.source.columns.items()}
    missing = [
        f"{name} (one of: {', '.join(file.source.columns[name])})"
        for name in ("event_type", "event_at", "user_id")
        if name in file.source.columns
        and expressions[name] is None
        and not (name == "user_id" and expressions.get("anonymous_id"))
    ]
    if missing and file.format != "jsonl":
        seen = list(headers)
        if len(seen) == 1 and (other := [d for d in ",;\t|" if d in seen[0] and d != file.source.delimiter]):
            raise _refusal(
                file,
                expected=f"columns separated by {file.source.delimiter!r}",
                found=f"one column, {seen[0]!r}, which looks separated by {other[0]!r}",
                next_step=f"set  delimiter = {other[0]!r}  in data/sources/{file.source.name}.toml, then  gesture run",
            )
        raise _refusal(file, expected=f"the column {listing(missing)}", found=f"columns {listing(seen, 12)}")
    used = {header for names in file.source.columns.values() for header in names} | set(file.source.properties)
    keys = _json_keys(connection, rows) if file.format == "jsonl" else []
    held = headers | _json_headers(keys, headers)
    unmapped = [header for header in held if header not in used]
    personal = [header for header in unmapped if is_personal(header)]
    if file.format == "jsonl":
        personal = [header for header in personal if _has_values(connection, rows, held[header])]
    personal += _ip_columns(connection, rows, held, [header for header in unmapped if header not in personal])
    event_id = expressions.get("event_id")
    is_blank = f"nullif(nullif(trim(({event_id})::varchar), '') is null, false)"
    lacks_ids = event_id is None or _has_values(connection, rows, is_blank)
    dwell = expressions.get("dwell_seconds")
    imputed = _typical_dwell(connection, rows, dwell) if "dwell_seconds" in file.source.impute else None
    sql = _canonical_sql(
        file, rows, headers, expressions, key=key, indexed_at=indexed_at, lacks_ids=lacks_ids, imputed_dwell=imputed
    )
    unused = [header for header in unmapped if header not in personal]
    unused = [] if file.format == "jsonl" else sorted(unused)
    return OpenFile(file, sql, tuple(sorted(personal)), tuple(unused), types | dict.fromkeys(keys))


def _check_compression(file: LandingFile) -> None:
    """Refuse a compressed file that was cut short: the engine would read what is there and say nothing."""
    if not file.path.name.lower().endswith(COMPRESSIONS):
        return
    try:
        with pa.input_stream(file.path, compression="detect") as stream:
            while stream.read(CHUNK):
                pass
    except OSError as error:
        if error.errno:  # the system's, not the decoder's
            raise
        raise _refusal(
            file, expected="a whole compressed file", found=f"{error}: cut short, or not compressed at all"
        ) from error


def _has_values(connection: duckdb.DuckDBPyConnection, rows: str, expression: str) -> bool:
    """Whether `expression` is not null in any readable row."""
    query = f"select 1 from {rows} where broken is null and {expression} is not null limit 1"
    return connection.execute(query).fetchone() is not None


def _json_keys(connection: duckdb.DuckDBPyConnection, rows: str) -> list[str]:
    """The fields that the first JSON lines have at their top, in order of names."""
    found = connection.execute(
        f"select distinct unnest(json_keys(document)) from (select document from {rows} limit {SNIFFED_ROWS})"
    ).fetchall()
    return sorted(key for (key,) in found if key and key.isprintable() and not set('"\\') & set(key))


def _json_headers(keys: Iterable[str], paths: Iterable[str]) -> dict[str, str]:
    """Those of `keys` into which none of `paths` reaches: field -> SQL."""
    reached = {path.split(".")[0] for path in paths}
    return {key: "json_extract_string(document, " + _quote(f'$."{key}"') + ")" for key in keys if key not in reached}


def _refusal(file: LandingFile, *, expected: str, found: str, next_step: str | None = None) -> SourceError:
    return SourceError(
        f"The landing file {file.name} cannot be read as {file.source.name}; nothing of it was loaded.",
        expected=expected,
        found=ADDRESSES.sub("***", found),  # where the header is missing, this is a row
        where=str(file.path),
        next_step=next_step or "mend the file or move it out of data/landing, then  gesture run",
    )


# ---- readers: each gives a relation with the columns of the file, `line` and `broken`, header -> SQL expression, and
# header -> type where the format shows one --

Reading = tuple[str, dict[str, str], dict[str, str | None]]


def _quote(text: object) -> str:
    return "'" + str(text).replace("'", "''") + "'"


def _normal(header: str) -> str:
    return header.strip().lstrip("\ufeff").lower()


def _open_csv(connection: duckdb.DuckDBPyConnection, file: LandingFile, table: str) -> Reading:
    delimiter = "\t" if ".tsv" in file.path.name else file.source.delimiter
    options = f"delim={_quote(delimiter)}, quote='\"', escape='\"', auto_detect=false, all_varchar=true"
    options += f", max_line_size={LONGEST_LINE}, buffer_size={4 * LONGEST_LINE}"
    header = _first_line(file)
    if not header.strip():
        raise _refusal(file, expected="a header in the first line", found="nothing readable there")
    names = [_normal(name) for name in next(csv.reader([header], delimiter=delimiter))]
    names = [name or f"column_{position}" for position, name in enumerate(names)]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise _refusal(file, expected="column names that occur once", found=f"{listing(repeated)} more than once")
    columns = "{" + ", ".join(f"{_quote(name)}: 'VARCHAR'" for name in names) + "}"
    rejects = table.rsplit(".", 1)[-1] + "_rejects"

    def read(path: Path) -> None:
        _drop_rejects(connection, rejects)
        connection.execute(
            f"""create or replace table {table} as select *, row_number() over () as accepted_number
            from read_csv({_quote(path)}, {options}, header=true, columns={columns}, store_rejects=true,
                rejects_table='{rejects}', rejects_scan='{rejects}_scans')"""
        )

    try:
        read(file.path)
        is_uneven = _is_uneven(connection, rejects, file.path)
    except duckdb.InvalidInputException as error:
        if SEVERAL_LINE_ENDS not in str(error):
            raise
        is_uneven = True
    if is_uneven:
        with tempfile.TemporaryDirectory() as folder:
            read(_evened(file.path, Path(folder) / "rows.csv", delimiter, len(names)))
        tail = '"' + _refused_end(delimiter, len(names))
        connection.execute(
            f"""update {rejects} set csv_line = replace(trim(csv_line, chr(10))[2:-{len(tail) + 1}], '""', '"')
            where starts_with(csv_line, '"') and ends_with(trim(csv_line, chr(10)), {_quote(tail)})"""
        )
    texts = ", ".join(f"null::varchar as {_identifier(name)}" for name in names)
    own = ", ".join(_identifier(name) for name in names)
    # Text that cannot be split into columns cannot be masked by column either.
    text = "'*** (hidden: the file has columns of personal data)'" if any(map(is_personal, names)) else "text"
    rows = f"""(
        with {_refused_sql(rejects, header_lines=1)}
        select {own}, accepted_number + 1 + coalesce(refused_before, 0) as line, null::varchar as broken
        from {table} asof left join shift on accepted_number > accepted_before
        union all select {texts}, line, {text} from refused)"""
    return rows, {name: _identifier(name) for name in names}, dict.fromkeys(names)


def _first_line(file: LandingFile) -> str:
    """The first line of a text file. Raises `SourceError` where it is no UTF-8: the engine would take the next one."""
    with pa.input_stream(file.path, compression="detect") as stream:
        line = re.split(rb"[\r\n]", stream.read(CHUNK), maxsplit=1)[0]
    try:
        if b"\0" not in line:
            return line.decode()
        found = "zero bytes: UTF-16, or no text at all"
    except UnicodeDecodeError as error:
        found = f"the byte 0x{line[error.start]:02x} at place {error.start + 1}, which is no UTF-8"
    raise _refusal(
        file, expected="a header in UTF-8", found=found, next_step="save the file as UTF-8, then  gesture run"
    )


def _drop_rejects(connection: duckdb.DuckDBPyConnection, rejects: str) -> None:
    for leftover in (rejects, f"{rejects}_scans"):
        connection.execute(f"drop table if exists {leftover}")


def _refused_sql(rejects: str, *, header_lines: int) -> str:
    """Two named queries: the refused records with their text, and by how much they shift the numbers of what follows.

    Of refused records that follow each other only the last has a shift, or rows behind them would match several.
    """
    return f"""refused as (
            select line, coalesce(trim(min(csv_line), chr(10) || chr(13)), '') as text from {rejects} group by line),
        shift as (
            select accepted_before, max(refused_before) as refused_before from (
                select line - row_number() over (order by line) - {header_lines} as accepted_before,
                    row_number() over (order by line) as refused_before from refused)
            group by accepted_before)"""


def _is_uneven(connection: duckdb.DuckDBPyConnection, rejects: str, path: Path) -> bool:
    """Whether refused records took others with them, or blank lines, which only refused records count."""
    refused = connection.execute(
        f"""select count(*), count(*) filter (error_type not in ('MISSING COLUMNS', 'TOO MANY COLUMNS')
            or regexp_matches(trim(csv_line, chr(10) || chr(13)), '[\n\r]')) from {rejects}"""
    ).fetchone()
    if not refused or not refused[0]:
        return False
    return bool(refused[1]) or _has_blank_lines(path)


def _has_blank_lines(path: Path) -> bool:
    with pa.input_stream(path, compression="detect") as stream:
        last = b""
        while chunk := stream.read(CHUNK):
            chunk = last + chunk
            if any(pair in chunk for pair in (b"\n\n", b"\n\r", b"\r\r")):
                return True
            last = chunk[-1:]
    return False


def _evened(path: Path, copy: Path, delimiter: str, width: int) -> Path:
    """Write `path`, unpacked, to `copy`: line feeds as line ends, no blank lines, and no quote that stays open.

    A line with a quote that does not close as the header's `width` columns ask for is no record. It is written as one
    quoted field and more fields than there are columns, which the reader refuses without touching its neighbours.
    """
    # Every byte is a sign of latin-1, so nothing is changed that is not looked at; line ends become line feeds.
    with (
        pa.input_stream(path, compression="detect") as stream,
        io.TextIOWrapper(stream, encoding="latin-1", newline=None) as text,  # pyright: ignore[reportArgumentType]
        copy.open("w", encoding="latin-1", newline="\n") as written,
    ):
        written.write(text.readline())
        ahead: deque[str] = deque()
        while line := ahead.popleft() if ahead else text.readline():
            if line == "\n":
                continue
            taken = _record_lines(line, ahead, text, delimiter, width)
            if taken is None:
                broken = line.rstrip("\n")[:KEPT_TEXT].replace('"', '""')
                written.write(f'"{broken}"{_refused_end(delimiter, width)}\n')
            else:
                written.write(line)
                written.writelines(ahead.popleft() for _ in range(taken))
    return copy


def _refused_end(delimiter: str, width: int) -> str:
    return delimiter * width + "-"


def _record_lines(line: str, ahead: deque[str], text: io.TextIOBase, delimiter: str, width: int) -> int | None:
    """How many lines after `line` belong to its record; None where it is none. `ahead` is filled from `text`."""
    if len(line) > LONGEST_LINE:
        return None
    if '"' not in line:
        return 0
    record, taken = line, 0
    while True:
        # Lines without a quote cannot close one: parsing waits for those that may.
        if taken == 0 or '"' in ahead[taken - 1]:
            try:
                fields = next(csv.reader(io.StringIO(record, newline=""), delimiter=delimiter, strict=True))
            except csv.Error as error:
                if str(error) != "unexpected end of data":
                    return None
            else:
                return taken if taken == 0 or len(fields) == width else None
        if taken == len(ahead):
            ahead.extend(following := [text.readline()] if taken < QUOTED_LINES else [])
            if not following or not following[0]:
                if ahead and not ahead[-1]:
                    ahead.pop()
                return None
        record += ahead[taken]
        taken += 1
        if taken > QUOTED_LINES or len(record) > LONGEST_LINE:
            return None


def _open_jsonl(connection: duckdb.DuckDBPyConnection, file: LandingFile, table: str) -> Reading:
    rejects = table.rsplit(".", 1)[-1] + "_rejects"
    _drop_rejects(connection, rejects)
    connection.execute(
        f"""create or replace table {table} as select text, row_number() over () as accepted_number
        from read_csv({_quote(file.path)}, delim='\x01', quote='', escape='', header=false, auto_detect=false,
            columns={{'text': 'VARCHAR'}}, max_line_size={LONGEST_LINE}, buffer_size={4 * LONGEST_LINE},
            strict_mode=false, store_rejects=true, rejects_table='{rejects}', rejects_scan='{rejects}_scans')"""
    )
    # CASE, because AND would ask for the type of what is no JSON.
    is_object = "case when json_valid(text) then json_type(text) = 'OBJECT' else false end"
    rows = f"""(
        with {_refused_sql(rejects, header_lines=0)}
        select if({is_object}, text, '{{}}') as document, accepted_number + coalesce(refused_before, 0) as line,
            if({is_object}, null, text) as broken
        from {table} asof left join shift on accepted_number > accepted_before
        where text is not null and trim(text) <> ''
        union all select '{{}}', line, text from refused)"""
    paths = {path for names in file.source.columns.values() for path in names} | set(file.source.properties)
    paths |= {"context.ip"}
    return rows, {path: f"json_extract_string(document, {_quote('$.' + path)})" for path in sorted(paths)}, {}


def _open_parquet(connection: duckdb.DuckDBPyConnection, file: LandingFile, table: str) -> Reading:
    scan = f"read_parquet({_quote(file.path)}, file_row_number=true)"
    described = connection.execute(f"describe select * exclude (file_row_number) from {scan}").fetchall()
    names = {row[0]: row[1] for row in described}
    normal = [_normal(name) for name in names]
    if repeated := sorted({name for name in normal if normal.count(name) > 1}):
        raise _refusal(file, expected="column names that occur once", found=f"{listing(repeated)} more than once")
    columns = {_normal(name): _identifier(name) for name in names}
    zone = file.source.time_zone
    local = "" if zone == "UTC" else f" at time zone {_quote(zone)} at time zone 'UTC'"
    # Times become UTC, without a zone they are the source's own; everything else becomes text.
    selected = ", ".join(
        f"({_identifier(name)} at time zone 'UTC') as {_identifier(name)}"
        if kind == "TIMESTAMP WITH TIME ZONE"
        else f"(try_cast({_identifier(name)} as timestamp){local}) as {_identifier(name)}"
        if kind.startswith(("TIMESTAMP", "DATE"))
        else f"{_identifier(name)}::varchar as {_identifier(name)}"
        for name, kind in names.items()
    )
    rows = f"(select {selected}, file_row_number + 1 as line, null::varchar as broken from {scan})"
    return rows, columns, {_normal(name): kind for name, kind in names.items()}


def _holds_ip(text: str) -> str:
    return f"(regexp_matches({text}, '{IP_PATTERN}') or regexp_matches({text}, '{IPV6_PATTERN}'))"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _pick(file: LandingFile, headers: Mapping[str, str], names: Sequence[str]) -> str | None:
    """The SQL expression for the first of `names` that the file has; JSON lines may hold any of them."""
    if file.format == "jsonl":
        found = [headers[name] for name in names if name in headers]
        return f"coalesce({', '.join(found)})" if found else None
    return next((headers[_normal(name)] for name in names if _normal(name) in headers), None)


def _ip_columns(
    connection: duckdb.DuckDBPyConnection, rows: str, headers: Mapping[str, str], unmapped: Sequence[str]
) -> list[str]:
    """Headers whose first rows hold IP addresses, whatever they are called."""
    if not unmapped:
        return []
    looks = ", ".join(f"coalesce(bool_or({_holds_ip(f'({headers[h]})::varchar')}), false)" for h in unmapped)
    found = connection.execute(f"select {looks} from (select * from {rows} limit {SNIFFED_ROWS})").fetchone()
    return [header for header, hit in zip(unmapped, found or (), strict=False) if hit]


# ---- rows in our words -----------------------------------------------------------------------------------------------


def _number_sql(text: str) -> str:
    """A finite double from text. Not a number is more than any, so it fails as the infinite does."""
    number = f"try_cast({text} as double)"
    return f"if(abs({number}) <= {LARGEST_NUMBER}, {number}, null)"


def _typical_dwell(connection: duckdb.DuckDBPyConnection, rows: str, dwell: str | None) -> float:
    """The median of a file's dwell times in seconds, those below zero left out; 30 where there are none."""
    if dwell is None:
        return DWELL_WHERE_ALL_IS_MISSING
    number = _number_sql(f"nullif(trim(({dwell})::varchar), '')")
    found = connection.execute(f"select median(dwell) from (select {number} as dwell from {rows}) where dwell >= 0")
    return next((value for (value,) in found.fetchall() if value is not None), DWELL_WHERE_ALL_IS_MISSING)


def _time_sql(text: str, source: SourceDescription) -> str:
    """A UTC timestamp from text: an offset counts where there is one, else the source's time zone."""
    zone = _quote(source.time_zone)
    local = (
        f"try_strptime({text}, {_quote(source.timestamp_format)})"
        if source.timestamp_format
        else f"try_cast({text} as timestamp)"
    )
    naive = local if source.time_zone == "UTC" else f"(({local} at time zone {zone}) at time zone 'UTC')"
    if source.timestamp_format:
        return naive
    offset = r"\d{2}:?\d{2}.*(Z|z|[+-]\d{2}(:?\d{2})?)$"
    digits = f"length(split_part({text}, '.', 1))"
    unit = f"case when {digits} > 17 then 1e9 when {digits} > 14 then 1e6 when {digits} > 11 then 1e3 else 1 end"
    epoch = f"to_timestamp(try_cast({text} as double) / {unit})"
    return (
        f"case when regexp_matches({text}, '{offset}') then try_cast({text} as timestamptz) at time zone 'UTC' "
        rf"when regexp_full_match({text}, '\d{{9,19}}(\.\d+)?') then {epoch} at time zone 'UTC' else {naive} end"
    )


def _canonical_sql(
    file: LandingFile,
    rows: str,
    headers: Mapping[str, str],
    expressions: Mapping[str, str | None],
    *,
    key: str,
    indexed_at: datetime,
    lacks_ids: bool,
    imputed_dwell: float | None,
) -> str:
    source = file.source

    def text(name: str) -> str:
        found = expressions.get(name)
        constant = source.constants.get(name)
        cleaned = f"nullif(trim(({found})::varchar), '')" if found else "null::varchar"
        return f"coalesce({cleaned}, {_quote(constant)})" if constant is not None else cleaned

    def flag(name: str) -> str:
        word = f"lower({text(name)})"
        return (
            f"case when {word} in ('1', 'true', 't', 'yes', 'y', '1.0') then true "
            f"when {word} in ('0', 'false', 'f', 'no', 'n', '0.0') then false end"
        )

    times = dict.fromkeys(TIME_COLUMNS, "null::timestamp")
    for name in TIME_COLUMNS:
        if found := expressions.get(name):
            # Parquet keeps its types: a timestamp there needs no parsing.
            parsed = _time_sql(f"trim(({found})::varchar)", source)
            times[name] = f"if(typeof({found}) = 'TIMESTAMP', try_cast({found} as timestamp), {parsed})"
    bounded = ", ".join(
        f"if({name} between timestamp '{FIRST_TIME}' and timestamp '{LAST_TIME}', {name}, null) as {name}"
        for name in TIME_COLUMNS
    )
    has_arrival = expressions.get("received_at") is not None
    fields = ", ".join(f"{_identifier(header)} := {expression}" for header, expression in headers.items())
    document = "document" if file.format == "jsonl" else f"to_json(struct_pack({fields}))::varchar"
    # Masking is dear: the columns are carried along, and only refused rows are written out.
    carried = {header: f"raw_{number}" for number, header in enumerate(headers)} if file.format != "jsonl" else {}
    raw = ", ".join(f"{headers[header]} as {name}" for header, name in carried.items()) or "document"
    masked = masked_sql(_masked_document(file, carried))
    broken = masked_json_sql("broken") if file.format == "jsonl" else "broken"
    kept = f"left(coalesce({broken}, {masked}), {KEPT_TEXT})"
    event_id = text("event_id")
    if lacks_ids:
        # Identical rows of one file are separate events; the n-th copy in another file is the same event.
        content = f"md5({document})"
        event_id = f"coalesce({event_id}, {content} || '-' || row_number() over (partition by {content} order by line))"
    agent = f"lower({text('user_agent')})"
    family = " ".join(f"when regexp_matches({agent}, '{pattern}') then '{name}'" for pattern, name in AGENT_FAMILIES)
    said_device = f"lower({text('device')})"
    device = " ".join(f"when {_in_sql(said_device, words)} then '{name}'" for name, words in DEVICES.items())
    event_name = f"lower({text('event_type')})"
    known = {name.lower(): ours for name, ours in source.event_types.items()} or {n: n for n in EVENT_TYPE_NAMES}
    mapped = " ".join(f"when {_quote(name)} then '{ours}'" for name, ours in known.items())
    country = f"upper({text('country')})"
    properties = (
        "json_object("
        + ", ".join(f"{_quote(p)}, {headers[p]}" for p in source.properties if p in headers)
        + ")::varchar"
        if any(p in headers for p in source.properties)
        else "null::varchar"
    )
    numbers = [f"{_number_sql(text(name))} as {name}" for name in NUMBER_COLUMNS]
    dwell, is_imputed = "dwell_seconds", "false"
    if imputed_dwell is not None:
        dwell, is_imputed = f"coalesce(dwell_seconds, {imputed_dwell!r}::double)", "dwell_seconds is null"
    numbers += [f"try_cast(try_cast({text(name)} as double) as integer) as {name}" for name in INTEGER_COLUMNS]
    email = normal_email_sql(text("email"))
    ahead, oldest = f"interval {MINUTES_AHEAD} minute", f"interval {OLDEST_DAYS} day"
    arrival = "received_at" if has_arrival else f"timestamp '{indexed_at:%Y-%m-%d %H:%M:%S}'"
    is_email = f"regexp_full_match(id, '{EMAIL.strip('^$')}')"

    def pseudonym(name: str) -> str:
        plain = text(name)
        hashed = f"'email:' || left({keyed_hash_sql(normal_email_sql(plain), key)}, 32)"
        return f"if(contains({plain}, '@') and {is_email.replace('(id,', f'({plain},')}, {hashed}, {plain})"

    return f"""(
    with fields as (
        select line, broken, {event_id} as event_id, {pseudonym("user_id")} as known_user_id,
            {pseudonym("anonymous_id")} as anonymous_id, {event_name} as event_name,
            case {event_name} {mapped} end as event_type,
            {times["event_at"]} as event_at, {times["received_at"]} as received_at,
            {text("source_session_id")} as source_session_id,
            case when {text("device")} is null then null {device} else 'other' end as device,
            case when {country} = 'UK' then 'GB'
                when regexp_full_match({country}, '[A-Z][A-Z]') then {country} end as country,
            {text("city")} as city, lower({text("gender")}) as gender, lower({text("channel")}) as channel,
            lower({text("lifecycle")}) as lifecycle,
            if(regexp_full_match({email}, '{EMAIL.strip("^$")}'), {keyed_hash_sql(email, key)}, null) as email_key,
            {", ".join(f"{flag(name)} as {name}" for name in FLAG_COLUMNS)},
            coalesce(regexp_matches({agent}, '{BOT_AGENTS}'), false) as is_bot_agent,
            case when {agent} is null then null {family} else 'other' end as user_agent_family,
            {", ".join(numbers)}, {properties} as properties, {raw}
        from {rows}
    ), timed as (select * replace ({bounded}) from fields), judged as (
        select *, coalesce(known_user_id, 'anon:' || anonymous_id) as user_id,
            case when broken is not null then 'unreadable_row'
                when coalesce(known_user_id, anonymous_id) is null then 'missing_user_id'
                when {_holds_ip("known_user_id")} or {_holds_ip("anonymous_id")} then 'personal_id'
                when event_name is null then 'missing_event_type'
                when event_type is null then 'unknown_event_type'
                when event_at is null then 'unparsable_timestamp'
                when {"received_at is null" if has_arrival else "false"} then 'unparsable_received_at'
                when event_at > {arrival} + {ahead} then 'future_ts'
                when {f"event_at < received_at - {oldest}" if has_arrival else "false"} then 'too_old'
            end as reason
        from timed
    )
    select {_quote(file.name)} as landing_file, '{source.name}' as source, line::bigint as landing_line, reason,
        case when reason is null then greatest(event_at::date, coalesce(received_at, event_at)::date)
            when received_at is not null then received_at::date
            when event_at is not null and reason <> 'future_ts' then event_at::date end as filing_day,
        event_id, user_id, known_user_id, anonymous_id, event_type, event_name, event_at,
        coalesce(received_at, event_at) as received_at, source_session_id, device, country, city, gender, channel,
        lifecycle, email_key, is_repeat_session, is_bounce, is_spam, is_bot_agent, user_agent_family,
        {dwell} as dwell_seconds, {is_imputed} as is_dwell_imputed,
        {", ".join(name for name in (*NUMBER_COLUMNS, *INTEGER_COLUMNS) if name != "dwell_seconds")}, properties,
        case when reason is not null then {masked_sql(kept)} end as masked_row
    from judged)"""


def _in_sql(expression: str, words: Sequence[str]) -> str:
    return f"{expression} in ({', '.join(_quote(word) for word in words)})"


def _masked_document(file: LandingFile, headers: Mapping[str, str]) -> str:
    """The row as JSON, personal columns as ***, for the quarantine."""
    if file.format == "jsonl":
        return masked_json_sql("document")
    fields = ", ".join(
        f"{_identifier(header)} := "
        + (f"if({expression} is null, null, '***')" if is_personal(header) else f"({expression})::varchar")
        for header, expression in headers.items()
    )
    return f"to_json(struct_pack({fields}))::varchar"
