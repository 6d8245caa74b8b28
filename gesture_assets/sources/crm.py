"""The CRM: a database or a folder of CSV exports, read and never written, in our columns as a description says.

Belongs here: opening it, recognising which description it is of, and its rows as text. Does not belong here: what a
description may say (`crm_description.py`), what the text means (`crm_rows.py`), which day a snapshot stands for
(`nights/subscribers.py`).
"""

import csv
import hashlib
import logging
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import ascii_uppercase
from typing import Protocol, TextIO
from urllib.parse import quote, quote_plus

import polars as pl
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from gesture_assets.errors import ConfigError, SourceError, listing
from gesture_assets.settings import Settings
from gesture_assets.sources.crm_description import (
    CrmDescription,
    found_columns,
    is_absent,
    like,
    load_crm_descriptions,
    missing_parts,
    tables_of,
)
from gesture_assets.sources.uneven_csv import records
from gesture_assets.vocabulary.countries import COUNTRY_CODES

log = logging.getLogger(__name__)

OTHER_EXPORTS = (".gz", ".zst", ".zip", ".tsv", ".xlsx", ".xls", ".json", ".jsonl", ".parquet")  # that may be meant
BUSY_SECONDS = 30  # a CRM that is being written is waited for this long
# All that may stand unseen around a value: what Unicode calls white space, and signs without a width.
WHITE_SPACE = "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000\u200b\u2060\ufeff" + "".join(
    map(chr, range(0x2000, 0x200B))
)
SHORT = 15  # characters of a Salesforce id without those that say the case of its letters
DELIMITERS = ",;\t|"  # one of which stands in the header of a CSV file most often
# Countries by their English name, in every CRM; a description may translate further values.
VALUES = {"country_code": {name.lower(): code for name, code in COUNTRY_CODES.items()}}

Types = Mapping[str, str | None]  # column -> the database's type, where it says one
# What drivers and readers raise for what they cannot open or read.
UNREADABLE = (SQLAlchemyError, ImportError, ValueError, OSError, pl.exceptions.PolarsError)
LOCKED = "database is locked"


class CrmSource(Protocol):
    """Where a CRM's tables are: what a database and a folder have in common."""

    @property
    def names(self) -> Sequence[str]:
        """The tables, or files without their ending."""
        ...

    def types(self, name: str) -> Types:
        """The columns of a table, in its order."""
        ...

    def rows(self, name: str, headers: Sequence[str]) -> tuple[pl.DataFrame, Sequence[str]]:
        """These columns of a table, as text, bytes that are no UTF-8 as U+FFFD; and where its broken rows stand."""
        ...


@dataclass(frozen=True)
class CrmContent:
    """Our tables as text in our columns, as they stood; one that the CRM does without is not there.

    `columns` holds each table's columns in the CRM's own order, `types` those with their types, `broken` the places
    (file and line) of rows that are no such: their quotes do not close, or they have more fields than the header.
    """

    tables: dict[str, pl.DataFrame]
    columns: dict[str, tuple[str, ...]]
    types: dict[str, Types]
    broken: dict[str, tuple[str, ...]]
    content_hash: str
    where: str
    description: CrmDescription


def crm_url(settings: Settings) -> str | None:
    """The URL or folder to read: the setting, else the default file or folder where it has something, else None."""
    if settings.crm_url is not None:
        return settings.crm_url
    if settings.default_crm.exists():
        return f"sqlite:///{settings.default_crm}"
    return str(settings.crm_folder) if any(_csv_files(settings.crm_folder)) else None


def shown_url(url: str) -> str:
    """`url` as it may be shown: without a password, wherever it stands."""
    try:
        if Path(url).is_dir():
            return url
        parsed = sa.make_url(url)
    except (SQLAlchemyError, ValueError, OSError):
        return "GESTURE_CRM_URL"
    hidden = parsed.set(query={name: "***" if _is_secret(name) else value for name, value in parsed.query.items()})
    return hidden.render_as_string(hide_password=True)


def _is_secret(name: str) -> bool:
    return re.search("(?i)pass|pwd|secret|token|key|cred|odbc_connect", name) is not None


def _without_secrets(text: str, url: str) -> str:
    """`text` without the secrets of `url`, as they are written there and as they are meant."""
    try:
        parsed = sa.make_url(url)
    except (SQLAlchemyError, ValueError):
        return text.replace(url, "***")
    values = [str(parsed.password or "")]
    for name, value in parsed.query.items():
        if _is_secret(name):
            values += [value] if isinstance(value, str) else value
    for secret in sorted({*values, *map(quote, values), *map(quote_plus, values)} - {""}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def read_crm(url: str, user_folder: Path, name: str = "") -> CrmContent:
    """Read the CRM at once, by the description `name` or the one that fits.

    `user_folder` holds a company's own descriptions. Raises `SourceError` when the CRM is missing, locked or as no
    description says, and `ConfigError` for a description that cannot be used.
    """
    descriptions = load_crm_descriptions(user_folder)
    if name and name not in descriptions:
        raise ConfigError.unknown_name(
            "The CRM description",
            name,
            descriptions,
            where="GESTURE_CRM_DESCRIPTION",
            next_step=f"set it to a known name, or write {user_folder}/{name}.toml, then  gesture run",
        )
    where = shown_url(url)
    with _opened(url, where) as source:
        description = _fitting([descriptions[name]] if name else list(descriptions.values()), source, where)
        tables, types, broken = dict[str, pl.DataFrame](), dict[str, Types](), dict[str, tuple[str, ...]]()
        for ours, table in description.tables.items():
            if is_absent(description, ours, source.names, source.types):
                continue
            held_by = tables_of(table, source.names)
            types[ours] = {column: kind for one in held_by for column, kind in source.types(one).items()}
            read = [_in_our_columns(description, ours, source, one) for one in held_by]
            tables[ours] = pl.concat([rows for rows, _ in read], how="diagonal")
            broken[ours] = tuple(place for _, places in read for place in places)
    digest = hashlib.sha256()
    for ours, frame in tables.items():
        digest.update(f"{ours}:{frame.columns}:{frame.height}:{broken[ours]}".encode())
        digest.update(frame.hash_rows(seed=0).sort().to_numpy().tobytes())
    columns = {ours: tuple(of_table) for ours, of_table in types.items()}
    return CrmContent(tables, columns, types, broken, digest.hexdigest()[:32], where, description)


def _fitting(descriptions: Sequence[CrmDescription], source: CrmSource, where: str) -> CrmDescription:
    """The first of `descriptions` whose tables and columns are all there; else what each lacks is told."""
    missing = dict[str, list[str]]()
    for description in descriptions:
        missing[description.name] = missing_parts(description, source.names, source.types)
        if not missing[description.name]:
            return description
    raise _refusal(
        where,
        expected=f"the tables and columns of a CRM description: {listing(missing)}",
        found="; ".join(
            [f"tables {listing(source.names)}", *(f"for {name} {', '.join(parts)}" for name, parts in missing.items())]
        ),
        next_step="set GESTURE_CRM_URL to the right database or folder, or describe it in data/crm/<name>.toml "
        "(README, 'Bring your own data'), then  gesture run",
    )


def _in_our_columns(
    description: CrmDescription, ours: str, source: CrmSource, name: str
) -> tuple[pl.DataFrame, Sequence[str]]:
    """The rows of the CRM's table `name` that count, in our columns, and the places of those that are broken."""
    table, headers = description.tables[ours], source.types(name)
    found = found_columns(table, headers)
    written = {header.strip().lower(): header for header in headers}
    conditions = {written[header.lower()]: patterns for header, patterns in table.where.items()}
    needed = dict.fromkeys([*(header for several in found.values() for header in several), *conditions])
    rows, broken = source.rows(name, list(needed))
    for header, patterns in conditions.items():
        rows = rows.filter(pl.col(header).str.strip_chars(WHITE_SPACE).str.contains(f"^{like(patterns)}$"))
    if description.decimal == ",":  # of text: the database writes its own numbers with a point
        typed = [header for header in found.get("amount", ()) if _is_number(headers[header])]
        rows = rows.with_columns(pl.col(typed).str.replace(".", ",", literal=True))
    rows = rows.select(_first_filled(several).alias(column) for column, several in found.items())
    for column, separator in table.lists.items():
        if column in rows.columns:
            # A value in quotes may hold what separates them.
            parts = pl.col(column).str.extract_all(rf'"[^"]*"|[^{re.escape(separator)}]+')
            rows = rows.with_columns(parts if ours == "Tags" else parts.list.first())
            rows = rows.explode(column).drop_nulls(column) if ours == "Tags" else rows
            rows = rows.with_columns(pl.col(column).str.strip_chars(WHITE_SPACE + '"'))
    if description.salesforce_ids and "mailchimp_id" in rows.columns:
        rows = rows.with_columns(_salesforce_ids(pl.col("mailchimp_id").str.strip_chars(WHITE_SPACE)))
    for column in (VALUES | table.values).keys() & set(rows.columns):
        values = VALUES.get(column, {}) | {
            theirs.lower(): value for theirs, value in table.values.get(column, {}).items()
        }
        key = pl.col(column).str.strip_chars(WHITE_SPACE).str.to_lowercase()
        rows = rows.with_columns(key.replace_strict(values, default=pl.col(column)).alias(column))
    return rows, broken


def _is_number(kind: str | None) -> bool:
    """Whether a database's type `kind` is one of numbers; of a file nobody knows."""
    return any(name in (kind or "") for name in ("INT", "REAL", "FLOAT", "DOUBLE", "NUMERIC", "DECIMAL", "MONEY"))


def _first_filled(headers: Sequence[str]) -> pl.Expr:
    """The first of the columns that is filled; of a single one its text as it stands."""
    if len(headers) == 1:
        return pl.col(headers[0])
    filled = [pl.when(pl.col(name).str.strip_chars(WHITE_SPACE) != "").then(pl.col(name)) for name in headers]
    return pl.coalesce(filled)


def _salesforce_ids(ids: pl.Expr) -> pl.Expr:
    """Salesforce's ids of 18 characters for those of 15: the last three say where capital letters stand."""
    signs = list(ascii_uppercase + "012345")
    capitals = [ids.str.contains(f"^.{{{place}}}[A-Z]").cast(pl.Int64) * 2 ** (place % 5) for place in range(SHORT)]
    said = [
        pl.sum_horizontal(capitals[at : at + 5]).replace_strict(range(len(signs)), signs, return_dtype=pl.String)
        for at in range(0, SHORT, 5)
    ]
    is_short = ids.str.contains(f"^[A-Za-z0-9]{{{SHORT}}}$")
    return pl.when(is_short).then(pl.concat_str(ids, *said)).otherwise(ids)


def _refusal(where: str, *, expected: str, found: str, next_step: str = "") -> SourceError:
    return SourceError(
        "The CRM cannot be read; subscribers stay as they were.",
        expected=expected,
        found=found,
        where=where,
        next_step=next_step or "set GESTURE_CRM_URL to the right database or folder, or mend it, then  gesture run",
    )


# ---- a database ----


@contextmanager
def _opened(url: str, where: str) -> Iterator[CrmSource]:
    """The CRM at `url`; what goes wrong while it is read comes out as a `SourceError`."""
    try:
        if Path(url).is_dir():
            yield _Folder(Path(url))
            return
        engine = sa.create_engine(*_read_only(url))
        with engine.connect() as connection:
            if isinstance(raw := connection.connection.driver_connection, sqlite3.Connection):
                raw.text_factory = lambda text: text.decode(errors="replace")
            yield _Database(connection, where)
        engine.dispose()
    except UNREADABLE as error:
        message = _without_secrets((str(error).splitlines() or [type(error).__name__])[0], url)
        if LOCKED in message:
            raise _refusal(
                where,
                expected=f"a database that can be read within {BUSY_SECONDS} seconds",
                found="another process is writing it and holds it locked",
                next_step="let the other process finish, then  gesture run",
            ) from None
        raise _refusal(where, expected="a readable database, or a folder of CSV files", found=message) from None


@dataclass(frozen=True)
class _Database:
    connection: sa.Connection
    where: str

    @cached_property
    def _inspector(self) -> sa.Inspector:
        return sa.inspect(self.connection)

    @property
    def names(self) -> Sequence[str]:
        return [*self._inspector.get_table_names(), *self._inspector.get_view_names()]

    def types(self, name: str) -> Types:
        """A view may not know its types. The inspector asks the database once."""
        return {
            str(column["name"]): None
            if isinstance(column["type"], sa.types.NullType)
            else type(column["type"]).__name__.upper()
            for column in self._inspector.get_columns(name)
        }

    def rows(self, name: str, headers: Sequence[str]) -> tuple[pl.DataFrame, Sequence[str]]:
        columns = [sa.cast(sa.column(header), sa.String).label(header) for header in headers]
        query = sa.select(*columns).select_from(sa.table(name))
        try:
            frame = pl.read_database(query, self.connection, schema_overrides=dict.fromkeys(headers, pl.String))
        except UNREADABLE as error:
            if LOCKED in str(error):
                raise
            # Drivers quote the row that they stumble over, so their own words are not passed on.
            raise _refusal(
                f"{self.where}, table {name}",
                expected="rows that the database can give as text",
                found=f"{type(getattr(error, 'orig', None) or error).__name__}, whose words may show a person",
                next_step="mend the row that the database's own client refuses as well, then  gesture run",
            ) from None
        return frame, ()


def _read_only(url: str) -> tuple[str | sa.URL]:
    """SQLite is opened so that it cannot be written, not even by its own journal; others by their rights."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        return (url,)
    path = Path(parsed.database)
    if not path.is_file():
        raise _refusal(shown_url(url), expected=f"the SQLite file {path}", found="no such file")
    # Quoted: a folder may be called "a?b", which would open another file.
    query = {"mode": "ro", "uri": "true", "timeout": str(BUSY_SECONDS)}
    return (sa.URL.create("sqlite", database=f"file:{quote(str(path.resolve()))}", query=query),)


# ---- a folder of exports ----


@dataclass(frozen=True)
class _Folder:
    folder: Path

    @cached_property
    def _files(self) -> Mapping[str, Path]:
        paths = _csv_files(self.folder)
        for path in sorted(self.folder.glob("*")):
            if path.suffix.lower() in OTHER_EXPORTS:
                log.warning("%s is passed over: a folder of a CRM is read from .csv files", path.name)
        counts = Counter(path.stem.lower() for path in paths)
        if repeated := [path.name for path in paths if counts[path.stem.lower()] > 1]:
            raise _refusal(
                str(self.folder),
                expected="file names that differ by more than letter case",
                found=listing(repeated),
                next_step="leave one of them in the folder, then  gesture run",
            )
        return {path.stem: path for path in paths}

    @cached_property
    def _headers(self) -> Mapping[str, "_Header"]:
        return {name: _header(path) for name, path in self._files.items()}

    @property
    def names(self) -> Sequence[str]:
        return list(self._files)

    def types(self, name: str) -> Types:
        return dict.fromkeys(self._headers[name].columns)

    def rows(self, name: str, headers: Sequence[str]) -> tuple[pl.DataFrame, Sequence[str]]:
        """A row that is too short ends in nulls; one that is too long has shifted, and says nothing."""
        path, header = self._files[name], self._headers[name]
        counts = Counter(column.strip().lower() for column in header.columns)
        if repeated := [column for column in headers if counts[column.strip().lower()] > 1]:
            raise _refusal(
                str(path),
                expected="columns whose name occurs once",
                found=f"{listing(repeated)} more than once",
                next_step="rename or leave out the one that is not meant, then  gesture run",
            )
        places = [header.columns.index(column) for column in headers]
        if (frame := _well_formed(path, header)) is not None:
            return frame.select(pl.nth(place).alias(column) for place, column in zip(places, headers, strict=True)), ()
        values, broken = [list[str | None]() for _ in headers], list[str]()
        with _text(path) as text:
            text.readline()
            for line, record, is_whole in records(text, header.delimiter, len(header.columns)):
                fields = _fields(record, header.delimiter) if is_whole else None
                if fields is None or len(fields) > len(header.columns):
                    broken.append(f"{path.name}:{line}")
                    continue
                for column, place in zip(values, places, strict=True):
                    column.append(fields[place] or None if place < len(fields) else None)
        return pl.DataFrame(dict(zip(headers, values, strict=True)), dict.fromkeys(headers, pl.String)), broken


@dataclass(frozen=True)
class _Header:
    columns: Sequence[str]
    delimiter: str


def _well_formed(path: Path, header: _Header) -> pl.DataFrame | None:
    """The rows of a file of which every line is a record that fits the header, read at once; else None.

    The other files are read line by line, which takes seven times as long and says where they are broken.
    """
    with _text(path) as text:
        text.readline()
        lines = pl.Series([text.read()], dtype=pl.String).str.split("\n").explode()
    lines = lines.filter(lines != "")
    apart = re.escape(header.delimiter)
    value = f'(?:[^"{apart}]*|"(?:[^"]|"")*")'
    if not lines.str.contains(f"^{value}(?:{apart}{value}){{0,{len(header.columns) - 1}}}$").all():
        return None
    places = header.delimiter.join(str(place) for place in range(len(header.columns)))
    even = "\n".join([places, *lines]).encode()
    return pl.read_csv(even, separator=header.delimiter, infer_schema=False).with_columns(pl.all().replace("", None))


def _header(path: Path) -> _Header:
    with _text(path) as text:
        line = text.readline()
    if "\0" in line:
        raise _refusal(
            str(path),
            expected="text in UTF-8",
            found="zero bytes: UTF-16, or no text at all",
            next_step="save the file as UTF-8, then  gesture run",
        )
    delimiter = max(DELIMITERS, key=line.count)
    return _Header(_fields(line, delimiter), delimiter)


def _fields(record: str, delimiter: str) -> list[str]:
    return next(csv.reader([record], delimiter=delimiter), [])


def _text(path: Path) -> TextIO:
    return path.open(encoding="utf-8-sig", errors="replace")


def _csv_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix.lower() == ".csv")
