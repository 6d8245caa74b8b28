"""Values that may say who somebody is, in columns that are kept: ids are hashed, all others are left out, and counted.

Belongs here: looking for them in rows that were read, once a value, and hiding them. Does not belong here: what they
look like (`vocabulary/personal_data.py`), columns that are never kept (`personal.py`), the gate behind
(`events/tables.py`).
"""

import duckdb

from gesture_assets.sources.kinds import Kind
from gesture_assets.sources.landing_file import QUARANTINED_TEXT
from gesture_assets.sources.personal import keyed_hash_sql, masked_json_sql
from gesture_assets.vocabulary.personal_data import (
    holds_address_sql,
    holds_card_sql,
    holds_number_sql,
    holds_street_sql,
    masked_sql,
    may_be_number_sql,
    may_be_personal_sql,
    plain_signs_sql,
)


def refused_row_sql(text: str) -> str:
    """The SQL expression `text`, a row as it stands in its file, as the quarantine may show it."""
    return f"left({masked_sql(masked_json_sql(text))}, {QUARANTINED_TEXT})"


def mask_refused_rows(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Mask what the rows of `table` that have a reason against them show of themselves."""
    signs = f"select bool_or(strlen(masked_row) <> length(masked_row)) from {table} where masked_row is not null"
    ((is_odd,),) = connection.execute(signs).fetchall()
    if is_odd:  # written plainly only where there is something to mask, for the others show what is wrong with them
        looks = " or ".join(holds("plain") for holds in (holds_address_sql, holds_number_sql, holds_card_sql))
        connection.execute(
            f"""update {table} set masked_row = plain
            from (select rowid as place, {plain_signs_sql("masked_row")} as plain from {table}) as written
            where {table.rsplit(".", 1)[-1]}.rowid = place and plain <> masked_row and ({looks})"""
        )
    if is_odd is not None:
        connection.execute(
            f"update {table} set masked_row = {refused_row_sql('masked_row')} where masked_row is not null"
        )


def hide_personal_values(connection: duckdb.DuckDBPyConnection, table: str, key: str, kind: Kind) -> None:
    """Hide what may identify a person in rows of the `kind`, and name the columns of each such row in `redacted`.

    An id becomes a hash with `key`, the same for all ways to write a number; of `properties` only the value goes. A
    refused row is masked as a whole.
    """
    mask_refused_rows(connection, table)
    # What is looked for is dear even to prepare, and nearly always there is nothing that may be it.
    signs = " union all ".join(
        f"select '{name}' where exists {_with_signs(table, name, kind)}" for name in kind.hideable
    )
    names = [name for (name,) in connection.execute(signs).fetchall()]
    if not names:
        return
    found = "found_" + table.rsplit(".", 1)[-1]
    looks = " union all ".join(_look(table, name, key, kind) for name in names)
    connection.execute(f"create or replace temp table {found} as {looks}")
    names = [name for (name,) in connection.execute(f"select distinct name from {found} order by all").fetchall()]
    for name in names:
        connection.execute(
            f"""update {table} as rows set {name} = shown, redacted = concat_ws(' ', redacted, '{name}')
            from {found} where name = '{name}' and rows.{name} = value"""
        )
    if {"known_user_id", "anonymous_id"} & set(names):
        connection.execute(
            f"""update {table} set user_id = coalesce(known_user_id, 'anon:' || anonymous_id)
            where redacted is not null"""
        )
    connection.execute(f"drop table {found}")


def _with_signs(table: str, name: str, kind: Kind) -> str:
    """The values of a column that hold a sign of what is looked for; addresses in ids were hashed or refused before."""
    if name == "event_id":  # nearly all are distinct: telling them apart costs more than looking twice
        return f"(select {name} as value from {table} where {may_be_number_sql(name)})"
    sign = may_be_number_sql("value") if name in kind.hashed else may_be_personal_sql("value")
    if name == "city":
        sign = f"({sign} or regexp_matches(value, '[0-9]'))"
    return f"(select value from (select distinct {name} as value from {table}) where {sign})"


def _look(table: str, name: str, key: str, kind: Kind) -> str:
    """The values of a column that are to be hidden, and what is shown instead."""
    if name in kind.hashed:
        spelt = "regexp_replace(regexp_replace(upper(plain), '%2B', '+'), '[^0-9A-Z+]|%20', '', 'g')"
        shown = f"'number:' || left({keyed_hash_sql(spelt, key)}, 32)"
        is_personal = holds_number_sql("plain")
    else:
        is_personal = f"({holds_address_sql('plain')} or {holds_number_sql('plain')})"
        shown = masked_sql("plain") if name == "properties" else "null::varchar"
    if name in kind.worded:
        is_personal = f"({is_personal} or {holds_card_sql('plain')})"
    if name == "city":
        is_personal = f"({is_personal} or {holds_street_sql('plain')})"
    values = f"select distinct value, {plain_signs_sql('value')} as plain from {_with_signs(table, name, kind)}"
    return f"select '{name}' as name, value, {shown} as shown from ({values}) where {is_personal}"
