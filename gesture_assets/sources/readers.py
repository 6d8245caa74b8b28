"""Readers: the rows of a CSV, JSON-lines or Parquet file as a relation of the engine, with the lines they stand in.

Belongs here: the SQL that reads a format (the engine's own readers do the work), and what cannot be read at all. Does
not belong here: what a column means and what makes a row acceptable (`canonical.py`).
"""

import csv
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb

from gesture_assets.errors import listing
from gesture_assets.sources.landing_file import BUFFER, CHUNK, LONGEST_LINE, LandingFile, refusal
from gesture_assets.sources.long_lines import Lines, count_blank_lines, write_cut
from gesture_assets.sources.paths import (
    column_of,
    kinds_of,
    nested_sql,
    opened_sql,
    path_sql,
    place_of,
    rest_of,
)
from gesture_assets.sources.personal import is_personal
from gesture_assets.sources.spellings import find_spellings, normal
from gesture_assets.sources.uneven_csv import has_blank_lines, refused_end, write_evenly
from gesture_assets.sources.whole_json import read_whole, whole_json
from gesture_assets.vocabulary.sql import identifier, literal

# What the engine says where line ends are of several kinds, which its reader of quoted fields refuses.
SEVERAL_LINE_ENDS = "invalid state"


@dataclass(frozen=True)
class Reading:
    """The rows of a file: a relation `rows` with its own columns, `line`, and `broken` (the text of no row, or null).

    `unnumbered` are the same without lines and refused records: cheaper to read where only values count.
    `columns` are the headers in lower case with the SQL that gives each, `types` those with their type, where the
    format shows one. `nested` are fields of JSON lines that hold text, or another kind of value than paths go on in,
    with the SQL of it as text. `personal` are headers that name personal data as they are written, in words or with
    capital letters. `ways` are paths into JSON -> as the file spells them, where it does so in capital letters or
    padded. `clear` are columns that hold JSON -> whether it says each field once, where some do not.
    """

    rows: str
    unnumbered: str
    columns: Mapping[str, str]
    types: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    nested: Mapping[str, str] = field(default_factory=dict[str, str])
    personal: frozenset[str] = frozenset()
    ways: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    clear: Mapping[str, str] = field(default_factory=dict[str, str])


def read_rows(connection: duckdb.DuckDBPyConnection, file: LandingFile, table: str, lines: Lines) -> Reading:
    """The rows of `file`, in their own columns. Text formats are read once, into `table` of the scratch file.

    `lines` are those that the file is known to have: where the engine finds others, it reads again with more care.
    Raises `SourceError` for a header that cannot be used, and what the engine raises for content that is of no such
    format.
    """
    if file.format == "parquet":
        return _with_cells(connection, file, _read_parquet(connection, file))
    with one_thread(connection) if file.path.stat().st_size <= BUFFER else nullcontext():
        if file.format == "jsonl":
            return _read_jsonl(connection, file, table, lines)
        return _with_cells(connection, file, _read_csv(connection, file, table, lines))


def drop_rows(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Let go of what `read_rows` has read into `table`."""
    connection.execute(f"drop table if exists {table}")
    _drop_rejects(connection, _rejects(table))


@contextmanager
def one_thread(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Work with one thread, where there are few rows in a piece: a second one costs more than it does."""
    threads = connection.execute("select current_setting('threads')").fetchone()
    connection.execute("set threads = 1")
    try:
        yield
    finally:
        connection.execute(f"set threads = {threads[0] if threads else 1}")


def _rejects(table: str) -> str:
    """The name of the table of refused records beside `table`."""
    return table.rsplit(".", 1)[-1] + "_rejects"


LONGEST_NUMBER = 38  # figures of a decimal that the engine reads
MOST_COLUMNS = 4_096  # beyond them the engine takes minutes to bind a query


def _read_csv(connection: duckdb.DuckDBPyConnection, file: LandingFile, table: str, lines: Lines) -> Reading:
    delimiter = file.delimiter
    options = f"delim={literal(delimiter)}, quote='\"', escape='\"', auto_detect=false, all_varchar=true"
    header = _first_line(file)
    if not header.strip():
        raise refusal(file, expected="a header in the first line", found="nothing readable there")
    written = next(csv.reader([header], delimiter=delimiter))
    personal = frozenset(normal(name) for name in written if is_personal(name))
    names = [normal(name) for name in written]
    names = [name or f"column_{position}" for position, name in enumerate(names)]
    _refuse_headers(file, names)
    own = own_names(names)
    columns = "{" + ", ".join(f"{name}: 'VARCHAR'" for name in own.values()) + "}"
    rejects = _rejects(table)

    def read(path: str, compression: str | None, *, in_parts: bool) -> None:
        _drop_rejects(connection, rejects)
        connection.execute(
            f"""create or replace table {table} as select *
            from read_csv({path}, {options}, header=true, columns={columns}, {_options(compression, in_parts)},
                store_rejects=true, rejects_table='{rejects}', rejects_scan='{rejects}_scans')"""
        )

    is_uneven = lines.has_long
    try:
        if not is_uneven:
            read(file.sql, file.compression, in_parts=True)
            is_uneven = _lacks_lines(connection, table, rejects, file, lines, own.values())
            is_uneven = is_uneven or _is_uneven(connection, rejects, file)
    except duckdb.InvalidInputException as error:
        if SEVERAL_LINE_ENDS not in str(error):
            raise
        is_uneven = True
    if is_uneven:
        with tempfile.TemporaryDirectory() as folder:
            read(literal(write_evenly(file, Path(folder) / "rows.csv", len(names))), None, in_parts=False)
        tail = '"' + refused_end(delimiter, len(names))
        connection.execute(
            f"""update {rejects} set csv_line = replace(trim(csv_line, chr(10))[2:-{len(tail) + 1}], '""', '"')
            where starts_with(csv_line, '"') and ends_with(trim(csv_line, chr(10)), {literal(tail)})"""
        )
    # Text that cannot be split into columns cannot be masked by column either.
    text = "'*** (hidden: the file has columns of personal data)'" if personal else "text"
    rows = f"""(select *, null::varchar as broken from {_numbered(connection, table, rejects, header_lines=1)}
        union all by name select line, {text} as broken from {_refused(rejects)})"""
    return Reading(rows, table, own, dict.fromkeys(names), personal=personal)


def _options(compression: str | None, in_parts: bool) -> str:
    """The options that all text files are read with; names of folders are no columns.

    `in_parts` lets several threads read: where a part begins, the engine looks for a line that it can read, and those
    before it are in no count.
    """
    lines = f"max_line_size={LONGEST_LINE}, buffer_size={BUFFER}, parallel={str(in_parts).lower()}"
    return f"compression={literal(compression or 'none')}, hive_partitioning=false, {lines}"


def _lacks_lines(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    rejects: str,
    file: LandingFile,
    lines: Lines,
    columns: Iterable[str],
) -> bool:
    """Whether records were read or refused from fewer lines than `file` has, as far as those are known.

    Values of `columns` of a CSV may hold line ends, and lines may be blank: both are dear to count, and only counted
    where the records alone do not tell.
    """
    if lines.count is None:
        return False

    def asked(query: str) -> int:
        return int((connection.execute(query).fetchone() or (0,))[0] or 0)

    missing = lines.count - (file.format == "csv")
    missing -= asked(f"select (select count(*) from {table}) + (select count(*) from {_refused(rejects)})")
    if missing and file.format == "csv":
        ends = "coalesce(sum(length({0}) - length(replace({0}, chr(10), ''))), 0)"
        missing -= asked(f"select {' + '.join(ends.format(name) for name in columns)} from {table}")
        missing -= asked(f"select {ends.format('text')} from {_refused(rejects)}")
    if missing:
        with file.stream() as stream:
            missing -= count_blank_lines(stream)
    return missing != 0


def _refuse_headers(file: LandingFile, names: Sequence[str]) -> None:
    """Raise `SourceError` for more columns than any export has, and for names that occur twice."""
    if len(names) > MOST_COLUMNS:
        raise refusal(file, expected=f"at most {MOST_COLUMNS:,} columns", found=f"{len(names):,} columns")
    if repeated := sorted(name for name, count in Counter(names).items() if count > 1):
        raise refusal(file, expected="column names that occur once", found=f"{listing(repeated)} more than once")


def own_names(headers: Iterable[str]) -> dict[str, str]:
    """Header -> the name of its column here: what a file calls its columns is none of ours, such as `line`."""
    return {header: f"column_{place}" for place, header in enumerate(headers, 1)}


def _first_line(file: LandingFile) -> str:
    """The first line of a text file. Raises `SourceError` where it is no UTF-8: the engine would take the next one."""
    with file.stream() as stream:
        line = re.split(rb"[\r\n]", stream.read(CHUNK), maxsplit=1)[0]
    try:
        if b"\0" not in line:
            return line.decode()
        found = "zero bytes: UTF-16, or no text at all"
    except UnicodeDecodeError as error:
        found = f"the byte 0x{line[error.start]:02x} at place {error.start + 1}, which is no UTF-8"
    raise refusal(
        file, expected="a header in UTF-8", found=found, next_step="save the file as UTF-8, then  gesture run"
    )


def _drop_rejects(connection: duckdb.DuckDBPyConnection, rejects: str) -> None:
    for leftover in (rejects, f"{rejects}_scans"):
        connection.execute(f"drop table if exists {leftover}")


def _refused(rejects: str) -> str:
    """The refused records of a file, with their text."""
    text = "coalesce(trim(min(csv_line), chr(10) || chr(13)), '')"
    return f"(select line, {text} as text from {rejects} group by line)"


def _numbered(connection: duckdb.DuckDBPyConnection, table: str, rejects: str, *, header_lines: int) -> str:
    """The records that were read into `table`, in the order of their file, with the line of each.

    Where they stand in the table tells it, and how many were refused before. Of refused records that follow each other
    only the last has a shift, or rows behind them would match several.
    """
    if not connection.execute(f"select 1 from {rejects} limit 1").fetchone():
        return f"(select *, rowid + {1 + header_lines} as line from {table})"
    return f"""(
        select accepted.* exclude (place), place + {header_lines} + coalesce(refused_before, 0) as line
        from (select *, rowid + 1 as place from {table}) as accepted asof left join (
            select accepted_before, max(refused_before) as refused_before from (
                select line - row_number() over (order by line) - {header_lines} as accepted_before,
                    row_number() over (order by line) as refused_before from {_refused(rejects)})
            group by accepted_before) on place > accepted_before)"""


def _is_uneven(connection: duckdb.DuckDBPyConnection, rejects: str, file: LandingFile) -> bool:
    """Whether refused records took others with them, or blank lines, which only refused records count."""
    refused = connection.execute(
        f"""select count(*), count(*) filter (error_type not in ('MISSING COLUMNS', 'TOO MANY COLUMNS')
            or regexp_matches(trim(csv_line, chr(10) || chr(13)), '[\n\r]')) from {rejects}"""
    ).fetchone()
    if not refused or not refused[0]:
        return False
    return bool(refused[1]) or has_blank_lines(file)


def _read_jsonl(connection: duckdb.DuckDBPyConnection, file: LandingFile, table: str, lines: Lines) -> Reading:
    rejects = _rejects(table)
    if _is_wide(file):
        raise refusal(
            file,
            expected="JSON lines in UTF-8",
            found="UTF-16",
            next_step="save the file as UTF-8, then  gesture run",
        )

    def read(path: str, compression: str | None, *, in_parts: bool) -> None:
        _drop_rejects(connection, rejects)
        connection.execute(
            f"""create or replace table {table} as select text
            from read_csv({path}, delim='\x01', quote='', escape='', header=false, auto_detect=false,
                {_options(compression, in_parts)}, columns={{'text': 'VARCHAR'}}, strict_mode=false,
                store_rejects=true, rejects_table='{rejects}', rejects_scan='{rejects}_scans')"""
        )

    if whole := whole_json(file):
        _drop_rejects(connection, rejects)
        connection.execute(f"create temp table {rejects} (line bigint, csv_line varchar)")
        read_whole(connection, file, table, whole)
    elif lines.has_long:
        with tempfile.TemporaryDirectory() as folder:
            read(literal(write_cut(file, Path(folder) / "rows.jsonl")), None, in_parts=False)
    else:
        read(file.sql, file.compression, in_parts=True)
        if _lacks_lines(connection, table, rejects, file, lines, ()):
            read(file.sql, file.compression, in_parts=False)
    # CASE, because AND would ask for the type of what is no JSON.
    is_object = "case when json_valid(text) then json_type(text) = 'OBJECT' else false end"
    path = file.source.event_list
    unnumbered = objects = f"(select text as document from {table} where {is_object})"
    if path:
        unnumbered = f"(select * from {_events_of(f'(select *, 0 as line, null as broken from {objects})', path)})"
        objects = f"(from {objects} union all select entry from {unnumbered})"
    spellings = find_spellings(connection, objects, "document", file.source.headers)
    is_clear = f"case when {is_object} then {spellings.says_once('text')} else false end"
    rows = f"""(
        select if({is_clear}, text, '{{}}') as document, line, if({is_clear}, null, text) as broken
        from {_numbered(connection, table, rejects, header_lines=0)} where text is not null and trim(text) <> ''
        union all select '{{}}', line, text from {_refused(rejects)})"""
    if path:
        rows = _events_of(rows, path)
        if spellings.twice:
            is_clear = f"{spellings.says_once('document')} and {spellings.says_once('entry')}"
            rows = f"""(select if({is_clear}, document, '{{}}') as document, entry, line,
                coalesce(broken, if({is_clear}, null, entry)) as broken from {rows})"""
    paths = sorted({*file.source.headers, "context.ip"})
    nested = _fields_of_text(connection, unnumbered, paths, spellings.ways)
    within, clear = _spelt_in_cells(connection, unnumbered, nested, paths)
    ways, columns = {**spellings.ways, **within}, dict[str, str]()
    for path in paths:
        if rest_of(path) and column_of(path) in nested:
            cell = clear_sql(nested[column_of(path)], clear.get(column_of(path)))
            columns[path] = first_of(nested_sql(cell, rest_of(way)) for way in within.get(path, [path]))
        else:
            columns[path] = first_of(path_sql("document", way) for way in ways.get(path, [path]))
    return Reading(rows, unnumbered, columns, nested=nested, ways=spellings.ways, clear=clear)


def _with_cells(connection: duckdb.DuckDBPyConnection, file: LandingFile, reading: Reading) -> Reading:
    """`reading`, with the spellings of paths that go on in its columns."""
    columns = reading.columns
    paths = [path for path in file.source.headers if rest_of(path) and normal(path) not in columns]
    names = {column for path in paths if (column := normal(column_of(path))) in columns}
    cells = {name: f"({columns[name]})::varchar" for name in sorted(names)}
    ways, clear = _spelt_in_cells(connection, reading.unnumbered, cells, paths)
    return replace(reading, ways=ways, clear=clear)


def _spelt_in_cells(
    connection: duckdb.DuckDBPyConnection, rows: str, cells: Mapping[str, str], paths: Iterable[str]
) -> tuple[dict[str, Sequence[str]], dict[str, str]]:
    """How the text of `cells` (column -> SQL over `rows`) spells those of `paths` that go on in them.

    And of cells that do not say each field once: column -> whether a row does.
    """
    ways, clear = dict[str, Sequence[str]](), dict[str, str]()
    for column, cell in cells.items():
        opened: dict[str, dict[str, str]] = {}
        for path in paths:
            if (rest := rest_of(path)) and normal(column_of(path)) == normal(column):
                document, inner = opened_sql(cell, rest)
                opened.setdefault(document, {})[path] = inner
        for document, inners in opened.items():
            spellings = find_spellings(connection, rows, document, inners.values())
            for path, inner in inners.items():
                if inner in spellings.ways:
                    start = path[: len(path) - len(rest_of(path))]
                    skipped = len(inner) - len(rest_of(path))
                    ways[path] = [start + way[skipped:] for way in spellings.ways[inner]]
            if spellings.twice:
                clear[column] = " and ".join(filter(None, [clear.get(column), spellings.says_once(document)]))
    return ways, clear


def _is_wide(file: LandingFile) -> bool:
    """Whether the file begins as UTF-16 does: with its mark, or two signs of JSON, each beside a zero byte."""
    with file.stream() as stream:
        # Blanks alone are none: lines of one zero byte each look the same.
        begins = rb"\xff\xfe|\xfe\xff|(?:[\[{]\0[^\0]|\s\0[^\0\s])\0|\0(?:[\[{]\0[^\0]|\s\0[^\0\s])"
        return re.match(begins, stream.read(4)) is not None


def clear_sql(cell: str, is_clear: str | None) -> str:
    """The SQL expression `cell`, null where it is not clear which of two fields it means."""
    return f"if({is_clear}, {cell}, null)" if is_clear else cell


def first_of(values: Iterable[str]) -> str:
    """The first of the SQL expressions `values` that says something."""
    first, *others = values
    return f"coalesce({', '.join((first, *others))})" if others else first


def _fields_of_text(
    connection: duckdb.DuckDBPyConnection,
    rows: str,
    paths: Sequence[str],
    ways: Mapping[str, Sequence[str]],
) -> dict[str, str]:
    """The fields that `paths` go on from and no path ends in, where some document of `rows` holds what they cannot.

    That is text, which may be JSON, or a value of another kind. Each with the SQL of its text. Opening texts is dear:
    most exports hold objects.
    """
    fields = sorted({column_of(path) for path in paths if rest_of(path)} - set(paths))
    tops = {name: _tops(name, paths, ways) for name in fields}
    texts = {name: first_of(path_sql("document", top) for top in tops[name]) for name in fields}
    kinds = (kinds_of(rest_of(path) for path in paths if column_of(path) == name) for name in fields)
    expected = [", ".join(map(literal, ["NULL", *names])) for names in kinds]
    others = (f"{_type_sql(tops[name])} not in ({those})" for name, those in zip(fields, expected, strict=True))
    asked = ", ".join(f"coalesce(bool_or({is_other}), false)" for is_other in others)
    found = connection.execute(f"select {asked} from {rows}").fetchone() if fields else ()
    return {name: text for (name, text), is_other in zip(texts.items(), found or (), strict=True) if is_other}


def _tops(name: str, paths: Iterable[str], ways: Mapping[str, Sequence[str]]) -> list[str]:
    """The spellings of the field `name` at the top that `paths` begin in, its own first."""
    spelt = (column_of(way) for path in paths if column_of(path) == name for way in ways.get(path, ()))
    return list(dict.fromkeys((name, *spelt)))


def is_text_sql(ways: Iterable[str]) -> str:
    """Whether `document` holds text at a path, of which `ways` are the spellings."""
    return f"{_type_sql(ways)} = 'VARCHAR'"


def _type_sql(ways: Iterable[str]) -> str:
    return first_of(f"json_type(document, {literal(place_of(way))})" for way in ways)


def _events_of(records: str, path: str) -> str:
    """The events of `records`, each of which holds a list of them at `path`: a row an event, numbered as they follow.

    An event has its own fields and, but for those, its record's; `entry` are its own. A record without a list, and an
    entry that is no object, is `broken`; an empty list is no event.
    """
    at, none = literal(f"$.{path}"), literal(json.dumps({path: None}))
    without = f"json_merge_patch(document, {none})"
    return f"""(
        select if(is_event, json_merge_patch({without}, entry)::varchar, '{{}}') as document, entry::varchar as entry,
            row_number() over (order by line, place) as line,
            coalesce(broken, if(is_event, null, coalesce(entry::varchar, document))) as broken
        from (select *, coalesce(json_type(entry) = 'OBJECT', false) as is_event from (
            select document, line, broken, unnest(entries) as entry, generate_subscripts(entries, 1) as place from (
                select *, if(coalesce(json_type(document, {at}) = 'ARRAY', false),
                    json_extract(document, {literal(f"$.{path}[*]")}), [null::json]) as entries from {records}))))"""


def _read_parquet(connection: duckdb.DuckDBPyConnection, file: LandingFile) -> Reading:
    path = file.sql
    described = connection.execute(f"describe from read_parquet({path})").fetchall()
    wide = connection.execute(f"select name from parquet_schema({path}) where precision > {LONGEST_NUMBER}").fetchall()
    if wide:
        raise refusal(
            file,
            expected=f"numbers of at most {LONGEST_NUMBER} figures",
            found=f"more in {listing(name for (name,) in wide)}, which the engine would take for others",
            next_step="export the column as text or as a shorter number, then  gesture run",
        )
    names = {row[0]: row[1] for row in described}
    headers = [normal(name) for name in names]
    # Of two names that are one but for their case the engine gives the second another: none is written so.
    written = {name for (name,) in connection.execute(f"select name from parquet_schema({path})").fetchall()}
    _refuse_headers(file, [*headers, *(normal(re.sub(r"_\d+$", "", name)) for name in names if name not in written)])
    zone = file.source.time_zone
    local = "" if zone == "UTC" else f" at time zone {literal(zone)} at time zone 'UTC'"
    # Times become UTC, without a zone they are the source's own.
    own = own_names(headers)
    selected = ", ".join(
        (
            f"({identifier(name)} at time zone 'UTC')"
            if kind == "TIMESTAMP WITH TIME ZONE"
            else f"(try_cast({identifier(name)} as timestamp){local})"
            if kind.startswith(("TIMESTAMP", "DATE"))
            else _value_of(identifier(name), kind)
        )
        + f" as {own[normal(name)]}"
        for name, kind in names.items()
    )
    has_own = "file_row_number" in headers  # which the engine's number of a row cannot stand beside
    number, option = ("row_number() over ()", "") if has_own else ("file_row_number + 1", ", file_row_number=true")
    rows = f"(select {selected}, {number} as line, null::varchar as broken from read_parquet({path}{option}))"
    unnumbered = f"(select {selected} from read_parquet({path}))"
    personal = frozenset(normal(name) for name in names if is_personal(name))
    return Reading(rows, unnumbered, own, {normal(name): kind for name, kind in names.items()}, personal=personal)


def _value_of(value: str, kind: str) -> str:
    """A value of Parquet that is no time: doubles stay, what is nested becomes JSON, everything else text."""
    if kind == "DOUBLE":
        return value
    if kind == "BLOB":  # text of a writer that did not say so; what is none stays as it can be written
        return f"coalesce(try(decode({value})), {value}::varchar)"
    if kind.startswith(("STRUCT", "MAP")) or kind.endswith("]"):
        return f"to_json({value})::varchar"
    return f"{value}::varchar"
