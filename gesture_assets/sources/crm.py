"""The CRM: subscribers, tags and transactions, read by SQLAlchemy URL, never written, pseudonymised on the way in.

Belongs here: opening it, recognising a foreign schema, and typed frames without names or addresses. Does not belong
here: what makes a subscriber valid (`subscribers/validate.py`), which day a snapshot stands for
(`nights/subscribers.py`).
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

import duckdb
import polars as pl
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from gesture_assets.errors import SourceError, listing
from gesture_assets.settings import Settings
from gesture_assets.sources.personal import EMAIL, keyed_hash_sql, normal_email_sql
from gesture_assets.subscribers.tables import CRM_TABLES, OPTIONAL_CRM_COLUMNS, QUARANTINE_TOLERANCE
from gesture_assets.vocabulary.sql import literal

BUSY_SECONDS = 30  # a CRM that is being written is waited for this long
# All that may stand unseen around a value: what Unicode calls white space, and signs without a width.
WHITE_SPACE = "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000\u200b\u2060\ufeff" + "".join(
    map(chr, range(0x2000, 0x200B))
)
WHOLE_NUMBER = r"-?\d+(\.0+)?"  # a column of decimals writes 7 as 7.0
# A day that begins with another number has its month or its day there, two digits of its year, or means "never".
YEAR_FIRST = r"^(197[1-9]|19[89]\d|2[01]\d\d)\D"
OFFSET = r":\d{2}(\.\d+)?(Z|[+-]\d{2}(:?\d{2})?)$"
# How people write offsets -> as the engine reads them: the words for none, after a space, behind minutes.
WRITTEN_OFFSETS = {
    r" ?(UTC|GMT|Z)$": "Z",
    r"(:\d{2}(\.\d+)?) ([+-]\d{2}(:?\d{2})?)$": r"\1\3",
    r"^(\S+[ T]\d{1,2}:\d{2})(Z|[+-]\d{2}(:?\d{2})?)$": r"\1:00\2",
}
# The share of ids that may be no whole numbers before the CRM is refused: a subscriber needs one, a tag is left out.
IDS_OF_TEXT = {"Subscribers": QUARANTINE_TOLERANCE, "Tags": 0.5}


@dataclass(frozen=True)
class CrmContent:
    """The three tables as text, as they stood; `columns` holds each table's columns in the CRM's own order."""

    tables: dict[str, pl.DataFrame]
    columns: dict[str, tuple[str, ...]]
    types: dict[str, dict[str, str | None]]  # table -> column -> the database's type, where it says one
    content_hash: str
    where: str


def crm_url(settings: Settings) -> str | None:
    """The URL to read: the setting, else the default file where it exists, else None (this company has no CRM here)."""
    if settings.crm_url is not None:
        return settings.crm_url
    return f"sqlite:///{settings.default_crm}" if settings.default_crm.exists() else None


def shown_url(url: str) -> str:
    """`url` as it may be shown: without a password, wherever it stands."""
    try:
        parsed = sa.make_url(url)
    except SQLAlchemyError:
        return "GESTURE_CRM_URL"
    hidden = parsed.set(query={name: "***" if _is_secret(name) else value for name, value in parsed.query.items()})
    return hidden.render_as_string(hide_password=True)


def _is_secret(name: str) -> bool:
    return re.search("(?i)pass|pwd|secret|token|key|cred|odbc_connect", name) is not None


def _without_secrets(text: str, url: str) -> str:
    """`text` without the secrets of `url`, as they are written there and as they are meant."""
    try:
        parsed = sa.make_url(url)
    except SQLAlchemyError:
        return text.replace(url, "***")
    values = [str(parsed.password or "")]
    for name, value in parsed.query.items():
        if _is_secret(name):
            values += [value] if isinstance(value, str) else value
    for secret in sorted({*values, *map(quote, values), *map(quote_plus, values)} - {""}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def read_crm(url: str) -> CrmContent:
    """Read the CRM in one transaction. Raises `SourceError` when it is missing, locked or of another schema."""
    where = shown_url(url)
    try:
        engine = sa.create_engine(*_read_only(url))
        with engine.connect() as connection:
            types = _columns(connection, where)
            columns = {name: tuple(of_table) for name, of_table in types.items()}
            tables = {name: _table(connection, name, columns[name]) for name in CRM_TABLES}
        engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        message = _without_secrets(str(error).splitlines()[0], url)
        if "database is locked" in message:
            raise _refusal(
                where,
                expected=f"a database that can be read within {BUSY_SECONDS} seconds",
                found="another process is writing it and holds it locked",
                next_step="let the other process finish, then  gesture run",
            ) from None
        # Drivers quote what they were given, so their own words are not passed on.
        raise _refusal(where, expected="a readable database", found=message) from None
    _refuse_ids_of_text(tables, where)
    digest = hashlib.sha256()
    for name, frame in tables.items():
        digest.update(f"{name}:{frame.columns}:{frame.height}".encode())
        digest.update(frame.hash_rows(seed=0).sort().to_numpy().tobytes())
    return CrmContent(tables, columns, types, digest.hexdigest()[:32], where)


def _refuse_ids_of_text(tables: Mapping[str, pl.DataFrame], where: str) -> None:
    """Refuse a CRM whose ids are text: each would be nobody's, and the audit could not say whose."""
    for name, tolerance in IDS_OF_TEXT.items():
        ids = tables[name]["mailchimp_id"].str.strip_chars(WHITE_SPACE).replace("", None).drop_nulls()
        odd = ids.filter(~ids.str.contains(f"^{WHOLE_NUMBER}$"))
        if odd.len() > tolerance * ids.len() + 1:
            raise _refusal(
                where,
                expected=f"whole numbers as mailchimp_id in {name}",
                found=f"{odd.len():,} of {ids.len():,} ids that are none, the first a text of {len(odd[0])} characters",
                next_step="number the ids in a table that stays, let a view give the numbers "
                "(README, 'Bring your own data'), then  gesture run",
            )


def _refusal(where: str, *, expected: str, found: str, next_step: str = "") -> SourceError:
    return SourceError(
        "The CRM cannot be read; subscribers stay as they were.",
        expected=expected,
        found=found,
        where=where,
        next_step=next_step or "set GESTURE_CRM_URL to the right database, or mend it, then  gesture run",
    )


def _read_only(url: str) -> tuple[str | sa.URL]:
    """SQLite is opened so that it cannot be written, not even by its own journal; others by their rights."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        return (url,)
    path = Path(parsed.database)
    if not path.is_file():
        raise _refusal(str(parsed), expected=f"the SQLite file {path}", found="no such file")
    # Quoted: a folder may be called "a?b", which would open another file.
    query = {"mode": "ro", "uri": "true", "timeout": str(BUSY_SECONDS)}
    return (sa.URL.create("sqlite", database=f"file:{quote(str(path.resolve()))}", query=query),)


def _columns(connection: sa.Connection, where: str) -> dict[str, dict[str, str | None]]:
    """Table -> column -> type, in the CRM's own order; a view may not know its types."""
    inspector = sa.inspect(connection)
    present = {name.lower(): name for name in (*inspector.get_table_names(), *inspector.get_view_names())}
    if missing := [name for name in CRM_TABLES if name.lower() not in present]:
        raise _refusal(
            where, expected=f"tables {listing(CRM_TABLES)}", found=f"{listing(present.values())}; no {listing(missing)}"
        )
    types_by_table: dict[str, dict[str, str | None]] = {}
    for name, expected in CRM_TABLES.items():
        types = {str(column["name"]): column["type"] for column in inspector.get_columns(present[name.lower()])}
        columns = list(types)
        if absent := [column for column in expected if column not in columns]:
            raise _refusal(
                where,
                expected=f"{name} with the columns {', '.join(expected)}",
                found=f"{', '.join(columns)}; no {listing(absent)}",
            )
        types_by_table[name] = {
            column: None if isinstance(kind, sa.types.NullType) else type(kind).__name__.upper()
            for column, kind in types.items()
        }
    return types_by_table


def _table(connection: sa.Connection, name: str, present: tuple[str, ...]) -> pl.DataFrame:
    names = [*CRM_TABLES[name], *(column for column in OPTIONAL_CRM_COLUMNS.get(name, ()) if column in present)]
    columns = [sa.cast(sa.column(column), sa.String).label(column) for column in names]
    query = sa.select(*columns).select_from(sa.table(name))
    return pl.read_database(query, connection, schema_overrides=dict.fromkeys(names, pl.String))


DATES = {"Subscribers": "optin_time", "Transactions": "purchased_at"}
NEEDS_DATE = ("Transactions",)  # an opt-in may be unknown; a purchase without a day says nothing of any day
PRODUCTS = {"Transactions": "product_id"}
WHOLE_DATE = r"^\d{4}-\d{2}-\d{2}([ T]|$)"


def odd_values(
    connection: duckdb.DuckDBPyConnection, content: CrmContent, product_ids: tuple[int, int]
) -> dict[str, tuple[int | None, int | None]]:
    """Table -> rows with a product outside `product_ids`, and rows with a date that cannot be used.

    Dates begin with YYYY-MM-DD. None where the table has no such column. What is missing is not odd, but for the date
    of a purchase.
    """
    least, most = product_ids
    odd: dict[str, tuple[int | None, int | None]] = {}
    for name, rows in _registered(connection, content).items():
        wrong: list[str] = []
        if product := PRODUCTS.get(name):
            number = f"try_cast({_trimmed(product)} as double)"
            wrong.append(f"{product} is not null and not coalesce({number} between {least} and {most}, false)")
        if written := DATES.get(name):
            is_date = f"regexp_matches({_trimmed(written)}, '{WHOLE_DATE}') and {_date_sql(written)} is not null"
            is_there = "true" if name in NEEDS_DATE else f"{written} is not null"
            wrong.append(f"{is_there} and not coalesce({is_date}, false)")
        counts = ", ".join(f"count(*) filter (where {condition})" for condition in wrong) or "null"
        found = iter(connection.execute(f"select {counts} from {rows}").fetchone() or ())
        odd[name] = (next(found) if name in PRODUCTS else None, next(found) if name in DATES else None)
    return odd


def canonical_crm(
    connection: duckdb.DuckDBPyConnection, content: CrmContent, key: str
) -> tuple[duckdb.DuckDBPyRelation, duckdb.DuckDBPyRelation, duckdb.DuckDBPyRelation]:
    """Typed relations without personal data: subscribers, tags, purchases.

    subscribers: mailchimp_id, email_key, email_domain, is_email_well_formed, member_rating, optin_date, country,
    masked_row; tags: mailchimp_id, tag, tagged_date (null where the CRM does not date tags); purchases: email_key,
    purchased_date. Dates are days in UTC. What cannot be read as its type is null, and the audit says so.
    """
    rows = _registered(connection, content)
    written = _trimmed("user_email")
    email = normal_email_sql(written)
    email_key = f"if(nullif({email}, '') is null, null, {keyed_hash_sql(email, key)})"
    identity = _whole_sql("mailchimp_id", "bigint")
    country = f"upper(nullif({_trimmed('country_code')}, ''))"
    subscribers = connection.sql(
        rf"""select {identity} as mailchimp_id, {email_key} as email_key,
            nullif(split_part({email}, '@', 2), '') as email_domain,
            coalesce(regexp_full_match({written}, '{EMAIL.strip("^$")}'), false) as is_email_well_formed,
            {_whole_sql("member_rating", "smallint")} as member_rating,
            {_date_sql("optin_time")} as optin_date,
            if({country} = 'UK', 'GB', {country}) as country,
            to_json(struct_pack(mailchimp_id := mailchimp_id, user_full_name := '***', user_email := '***',
                member_rating := member_rating, optin_time := optin_time, country_code := country_code))::varchar
                as masked_row
        from {rows["Subscribers"]}"""
    )
    tagged = _date_sql("tagged_at") if "tagged_at" in content.tables["Tags"].columns else "null::date"
    tags = connection.sql(
        f"select {identity} as mailchimp_id, lower({_trimmed('tag')}) as tag, {tagged} as tagged_date "
        f"from {rows['Tags']}"
    )
    purchases = connection.sql(
        f"select {email_key} as email_key, {_date_sql('purchased_at')} as purchased_date from {rows['Transactions']}"
    )
    return subscribers, tags, purchases


def _registered(connection: duckdb.DuckDBPyConnection, content: CrmContent) -> dict[str, str]:
    """Let the engine see the CRM's tables: table -> what it calls it."""
    names = {name: f"crm_{name.lower()}" for name in CRM_TABLES}
    for name, registered in names.items():
        connection.register(registered, content.tables[name].to_arrow())
    return names


def _trimmed(column: str) -> str:
    """`column` without what stands unseen around it, such as the end of a line of another system."""
    return f"trim({column}, {literal(WHITE_SPACE)})"


def _whole_sql(column: str, type: str) -> str:
    """`column` as a whole number; null where it is none: a decimal id would be rounded onto somebody else's."""
    text = _trimmed(column)
    return f"if(regexp_full_match({text}, '{WHOLE_NUMBER}'), try_cast(split_part({text}, '.', 1) as {type}), null)"


def _date_sql(column: str) -> str:
    """`column` as a day in UTC, an offset counted where there is one; null for what does not begin with its year."""
    text = _trimmed(column)
    for written, read in WRITTEN_OFFSETS.items():
        text = f"regexp_replace({text}, '{written}', '{read}', 'i')"
    zoned = f"try_cast({text} as timestamptz) at time zone 'UTC'"
    return (
        f"(case when not regexp_matches({text}, '{YEAR_FIRST}') then null "
        f"when regexp_matches({text}, '{OFFSET}') then {zoned} "
        f"else coalesce(try_cast({text} as timestamp), {zoned}) end)::date"
    )
