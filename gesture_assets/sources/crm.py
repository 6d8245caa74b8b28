"""The CRM: subscribers, tags and transactions, read by SQLAlchemy URL, never written, pseudonymised on the way in.

Belongs here: opening it, recognising a foreign schema, and typed frames without names or addresses. Does not belong
here: what makes a subscriber valid (`subscribers/validate.py`), which day a snapshot stands for
(`nights/subscribers.py`).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import duckdb
import polars as pl
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from gesture_assets.errors import SourceError, listing
from gesture_assets.settings import Settings
from gesture_assets.sources.personal import EMAIL, keyed_hash_sql, normal_email_sql
from gesture_assets.subscribers.tables import CRM_TABLES, OPTIONAL_CRM_COLUMNS

BUSY_SECONDS = 30  # a CRM that is being written is waited for this long


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


def read_crm(url: str) -> CrmContent:
    """Read the CRM in one transaction. Raises `SourceError` when it is missing, locked or of another schema."""
    where = sa.make_url(url).render_as_string(hide_password=True)
    try:
        engine = sa.create_engine(*_read_only(url))
        with engine.connect() as connection:
            types = _columns(connection, where)
            columns = {name: tuple(of_table) for name, of_table in types.items()}
            tables = {name: _table(connection, name, columns[name]) for name in CRM_TABLES}
        engine.dispose()
    except SQLAlchemyError as error:
        message = str(error).splitlines()[0]
        if "database is locked" in message:
            raise _refusal(
                where,
                expected=f"a database that can be read within {BUSY_SECONDS} seconds",
                found="another process is writing it and holds it locked",
                next_step="let the other process finish, then  gesture run",
            ) from error
        raise _refusal(where, expected="a readable database", found=message) from error
    digest = hashlib.sha256()
    for name, frame in tables.items():
        digest.update(f"{name}:{frame.columns}:{frame.height}".encode())
        digest.update(frame.hash_rows(seed=0).sort().to_numpy().tobytes())
    return CrmContent(tables, columns, types, digest.hexdigest()[:32], where)


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
PRODUCTS = {"Transactions": "product_id"}
WHOLE_DATE = r"^\d{4}-\d{2}-\d{2}([ T]|$)"


def odd_values(content: CrmContent, product_ids: tuple[int, int]) -> dict[str, tuple[int | None, int | None]]:
    """Table -> rows with a product outside `product_ids`, and rows with a date that does not begin with YYYY-MM-DD.

    None where the table has no such column. What is missing is not odd.
    """

    def count(frame: pl.DataFrame, is_odd: pl.Expr) -> int:
        return int(frame.select(is_odd.fill_null(value=True).sum()).item())

    odd: dict[str, tuple[int | None, int | None]] = {}
    for name, frame in content.tables.items():
        products = dates = None
        if name in PRODUCTS:
            text = pl.col(PRODUCTS[name]).str.strip_chars()
            is_usual = text.cast(pl.Float64, strict=False).is_between(*product_ids)
            products = count(frame, text.is_not_null() & ~is_usual.fill_null(value=False))
        if name in DATES:
            text = pl.col(DATES[name]).str.strip_chars()
            is_date = (
                text.str.contains(WHOLE_DATE)
                & text.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False).is_not_null()
            )
            dates = count(frame, text.is_not_null() & ~is_date)
        odd[name] = (products, dates)
    return odd


def canonical_crm(
    connection: duckdb.DuckDBPyConnection, content: CrmContent, key: str
) -> tuple[duckdb.DuckDBPyRelation, duckdb.DuckDBPyRelation, duckdb.DuckDBPyRelation]:
    """Typed relations without personal data: subscribers, tags, purchases.

    subscribers: mailchimp_id, email_key, email_domain, is_email_well_formed, member_rating, optin_date, country,
    masked_row; tags: mailchimp_id, tag, tagged_date (null where the CRM does not date tags); purchases: email_key,
    purchased_date. What cannot be read as its type is null, and the audit says so.
    """
    frames = {name: content.tables[name].to_arrow() for name in CRM_TABLES}
    for name, frame in frames.items():
        connection.register(f"crm_{name.lower()}", frame)
    email = normal_email_sql("user_email")
    email_key = f"if(nullif({email}, '') is null, null, {keyed_hash_sql(email, key)})"
    # A decimal id is no id: it would be rounded onto somebody else's.
    identity = r"if(regexp_full_match(trim(mailchimp_id), '-?\d+'), try_cast(trim(mailchimp_id) as bigint), null)"
    country = "upper(nullif(trim(country_code), ''))"
    subscribers = connection.sql(
        rf"""select {identity} as mailchimp_id, {email_key} as email_key,
            nullif(split_part({email}, '@', 2), '') as email_domain,
            coalesce(regexp_full_match(trim(user_email), '{EMAIL.strip("^$")}'), false) as is_email_well_formed,
            if(regexp_full_match(trim(member_rating), '-?\d+'), try_cast(member_rating as smallint), null)
                as member_rating,
            try_cast(trim(optin_time) as timestamp)::date as optin_date,
            if({country} = 'UK', 'GB', {country}) as country,
            to_json(struct_pack(mailchimp_id := mailchimp_id, user_full_name := '***', user_email := '***',
                member_rating := member_rating, optin_time := optin_time, country_code := country_code))::varchar
                as masked_row
        from crm_subscribers"""
    )
    tagged = (
        "try_cast(trim(tagged_at) as timestamp)::date"
        if "tagged_at" in content.tables["Tags"].columns
        else "null::date"
    )
    tags = connection.sql(
        f"select {identity} as mailchimp_id, lower(trim(tag)) as tag, {tagged} as tagged_date from crm_tags"
    )
    purchases = connection.sql(
        f"select {email_key} as email_key, try_cast(trim(purchased_at) as timestamp)::date as purchased_date "
        "from crm_transactions"
    )
    return subscribers, tags, purchases
