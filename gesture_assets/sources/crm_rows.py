"""The CRM's rows: text in our columns becomes typed rows without personal data, and what could not be read is counted.

Belongs here: what ids, dates, ratings, countries and amounts mean. Does not belong here: reading the CRM (`crm.py`),
what makes a subscriber valid (`subscribers/validate.py`).
"""

import re

import duckdb

from gesture_assets.sources.crm import WHITE_SPACE, CrmContent
from gesture_assets.sources.crm_description import CrmDescription
from gesture_assets.sources.ids import fault_sql, id_sql
from gesture_assets.sources.personal import EMAIL, keyed_hash_sql, may_be_email_sql, normal_email_sql
from gesture_assets.vocabulary.currencies import CODES, SIGNS
from gesture_assets.vocabulary.missing_values import is_missing_sql, unpadded_sql
from gesture_assets.vocabulary.personal_data import holds_address_sql, holds_number_sql, masked_sql, may_be_number_sql
from gesture_assets.vocabulary.sql import literal

WHOLE_NUMBER = r"-?\d+(\.0+)?"  # a column of decimals writes 4 as 4.0
# A day that begins with another number has its month or its day there, two digits of its year, or means "never".
YEAR_FIRST = r"^(197[1-9]|19[89]\d|2[01]\d\d)\D"
OFFSET = r":\d{2}(\.\d+)?(Z|[+-]\d{2}(:?\d{2})?)$"
# How people write offsets -> as the engine reads them: the words for none, after a space, behind minutes.
WRITTEN_OFFSETS = {
    r" ?(UTC|GMT|Z)$": "Z",
    r"(:\d{2}(\.\d+)?) ([+-]\d{2}(:?\d{2})?)$": r"\1\3",
    r"^(\S+[ T]\d{1,2}:\d{2})(Z|[+-]\d{2}(:?\d{2})?)$": r"\1:00\2",
}
MONEY = "decimal(18, 2)"
MINUS = "\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d"  # as typesetters write it
GAPS = " \u00a0\u2009\u202f'\u2019"
THOUSANDS = {".": "," + GAPS, ",": "." + GAPS}  # the decimal sign -> what parts thousands
# What an amount is written of, in this order.
AMOUNT_PARTS = (
    "sign_first", "currency_before", "sign_before", "figures", "sign_after", "currency_after", "sign_last",
)  # fmt: skip
NO_ROWS = "(select 1 as occurrence where false)"
# The columns of ours that rows are made of, by table.
WANTED = {
    "Subscribers": ("mailchimp_id", "user_email", "member_rating", "optin_time", "country_code"),
    "Tags": ("mailchimp_id", "tag", "tagged_at"),
    "Transactions": (
        "mailchimp_id",
        "user_email",
        "purchased_at",
        "amount",
        "currency",
        "transaction_id",
        "product_id",
    ),
}

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
        counts, present = ["null", "null"], content.tables[name].columns
        if (product := PRODUCTS.get(name)) in present:
            number = f"try_cast({_trimmed(product)} as double)"
            is_odd = f"{product} is not null and not coalesce({number} between {least} and {most}, false)"
            counts[0] = f"count(*) filter (where {is_odd})"
        if (written := DATES.get(name)) in present:
            is_date = f"regexp_matches({_trimmed(written)}, '{WHOLE_DATE}')"
            if content.description.date_formats:
                is_date = f"({is_date} or {_formatted_sql(written, content.description)} is not null)"
            is_date += f" and {_date_sql(written, content.description)} is not null"
            is_there = "true" if name in NEEDS_DATE else f"{written} is not null"
            counts[1] = f"count(*) filter (where {is_there} and not coalesce({is_date}, false))"
        odd[name] = connection.execute(f"select {', '.join(counts)} from {rows}").fetchone() or (None, None)
    return odd


def unreadable_values(connection: duckdb.DuckDBPyConnection, content: CrmContent) -> dict[str, dict[str, int]]:
    """Table -> column -> filled cells that cannot be read as what the column means, and so are missing from here on.

    Of other columns those that are no text in UTF-8. Dates that are no such are counted by `odd_values`, those of tags
    here.
    """
    typed = {
        "Subscribers": {"member_rating": RATING, "country_code": COUNTRY},
        "Tags": {"tagged_at": _date_sql("tagged_at", content.description)},
        "Transactions": {"amount": _money_sql(content.description)},
    }
    counts = dict[str, dict[str, int]]()
    for name, rows in _registered(connection, content).items():
        present = [one for one in WANTED[name] if one in content.tables[name].columns and one != DATES.get(name)]
        filters = [
            f"count(*) filter (where not {is_missing_sql(_trimmed(column))} and {typed[name][column]} is null)"
            if column in typed[name]
            else f"count(*) filter (where {_holds_no_text(column)})"
            for column in present
        ]
        parts = f", {_amount_parts_sql(content.description)} as amount_parts" if "amount" in present else ""
        query = f"select {', '.join(filters)} from (select *{parts} from {rows})"
        found = connection.execute(query).fetchone() if filters else ()
        counts[name] = {column: count for column, count in zip(present, found or (), strict=True) if count}
    return counts


def currencies(connection: duckdb.DuckDBPyConnection, content: CrmContent) -> tuple[str | None, int]:
    """The currency of most amounts, None where none is said, and how many amounts are of another one."""
    if "amount" not in _columns(content, "Transactions"):
        return None, 0
    rows = _registered(connection, content)["Transactions"]
    counts = connection.execute(
        f"""select {CURRENCY} as said, count(*)
        from (select {_texts(content, "Transactions")}, {_amount_parts_sql(content.description)} as amount_parts
            from {rows})
        where said is not null and {_money_sql(content.description)} is not null
        group by all order by count(*) desc, said"""
    ).fetchall()
    return (counts[0][0], sum(count for _, count in counts[1:])) if counts else (None, 0)


def canonical_crm(
    connection: duckdb.DuckDBPyConnection, content: CrmContent, key: str
) -> tuple[duckdb.DuckDBPyRelation, duckdb.DuckDBPyRelation, duckdb.DuckDBPyRelation]:
    """Typed relations without personal data: subscribers, tags, purchases; of a table that is absent no row.

    subscribers: mailchimp_id, email_key, email_domain, is_email_well_formed, member_rating, optin_date, country,
    masked_row, occurrence (the row's place in the CRM); tags: mailchimp_id, tag, tagged_date (null where the CRM does
    not date tags); purchases: mailchimp_id, email_key (of whom it names by either), purchased_date, amount. Dates are
    days in UTC. Ids are text, those that are addresses or numbers of phones hashed. What cannot be read as its type is
    null; so is an amount that is not of the currency of most (`currencies`). A purchase whose row stands there again,
    with its transaction_id and all else that is read, counts once; lines of one order that differ count each.
    """
    rows = _registered(connection, content)
    text = {name: _texts(content, name) for name in WANTED}
    email = normal_email_sql(_trimmed("user_email"))
    email_key = f"if(nullif({email}, '') is null, null, {keyed_hash_sql(email, key)})"
    row = f"""to_json(struct_pack(mailchimp_id := {crm_id_sql(key)}, user_full_name := '***', user_email := '***',
        member_rating := member_rating, optin_time := optin_time, country_code := country_code))::varchar"""
    # In a row whose columns have shifted an address may stand anywhere.
    masked = f"if({holds_address_sql(row)}, {masked_sql(row)}, {row})"
    subscribers = connection.sql(
        f"""select {crm_id_sql(key)} as mailchimp_id, {email_key} as email_key,
            nullif(split_part({email}, '@', 2), '') as email_domain,
            coalesce(regexp_full_match({_trimmed("user_email")}, '{EMAIL.strip("^$")}'), false) as is_email_well_formed,
            {RATING} as member_rating, {_date_sql("optin_time", content.description)} as optin_date,
            {COUNTRY} as country,
            {masked} as masked_row, occurrence
        from (select occurrence, {text["Subscribers"]} from {rows["Subscribers"]})"""
    )
    tags = connection.sql(
        f"""select {crm_id_sql(key)} as mailchimp_id, lower(nullif({_trimmed("tag")}, '')) as tag,
            {_date_sql("tagged_at", content.description)} as tagged_date
        from (select {text["Tags"]} from {rows.get("Tags", NO_ROWS)})"""
    )
    currency, _ = currencies(connection, content)
    is_ours = f"coalesce({CURRENCY} = {literal(currency)}, true)" if currency else "true"
    sold = WANTED["Transactions"]
    purchases = connection.sql(
        f"""select {crm_id_sql(key)} as mailchimp_id, {email_key} as email_key,
            {_date_sql("purchased_at", content.description)} as purchased_date,
            if({is_ours}, {_money_sql(content.description)}, null) as amount
        from (select occurrence, {text["Transactions"]}, {_amount_parts_sql(content.description)} as amount_parts
            from {rows.get("Transactions", NO_ROWS)})
        qualify nullif({_trimmed("transaction_id")}, '') is null
            or row_number() over (partition by {", ".join(map(_trimmed, sold))} order by occurrence) = 1"""
    )
    return subscribers, tags, purchases


def _columns(content: CrmContent, name: str) -> list[str]:
    return content.tables[name].columns if name in content.tables else []


def _texts(content: CrmContent, name: str) -> str:
    """The columns that are worked with, null where the table has none of that name and where a cell is no text."""
    present = _columns(content, name)
    texts = {column: f"if({_holds_no_text(column)}, null, {column})" for column in present}
    return ", ".join(f"{texts.get(column, 'null::varchar')} as {column}" for column in WANTED[name])


def _holds_no_text(column: str) -> str:
    """Whether a cell holds bytes that were no UTF-8: two words that differ in them are one by now."""
    return f"contains({column}, '\ufffd')"


def _registered(connection: duckdb.DuckDBPyConnection, content: CrmContent) -> dict[str, str]:
    """Let the engine see the CRM's tables, each row with its `occurrence`: table -> what it calls it."""
    names = {name: f"crm_{name.lower()}" for name in content.tables}
    for name, registered in names.items():
        connection.register(registered, content.tables[name].with_row_index("occurrence").to_arrow())
    return names


def _trimmed(column: str) -> str:
    """`column` without what stands unseen around it, such as the end of a line of another system."""
    return unpadded_sql(column, WHITE_SPACE)


def crm_id_sql(key: str) -> str:
    """The id as one text for one value; null where it names nobody, or would show or round who it is."""
    text = _trimmed("mailchimp_id")
    is_number = f"not {may_be_email_sql(text)} and {may_be_number_sql(text)} and {holds_number_sql(text)}"
    hashed = f"'phone:' || left({keyed_hash_sql(text, key)}, 32)"
    return (
        f"case when {fault_sql(text)} is not null then null when {is_number} then {hashed} "
        f"else {id_sql(text, missing=(), key=key)} end"
    )


def _rating_sql() -> str:
    text = _trimmed("member_rating")
    number = f"if(regexp_full_match({text}, '{WHOLE_NUMBER}'), try_cast(split_part({text}, '.', 1) as smallint), null)"
    return f"(case when {number} between 1 and 5 then {number} end)"


def _country_sql() -> str:
    code = f"upper({_trimmed('country_code')})"
    return f"(case when {code} = 'UK' then 'GB' when regexp_full_match({code}, '[A-Z][A-Z]') then {code} end)"


def _amount_parts_sql(description: CrmDescription) -> str:
    """The `AMOUNT_PARTS` of the column amount, all empty where it is no amount.

    Around its figures may stand white space, a currency, a sign on either side, or brackets for what is negative. A
    hyphen is a minus.
    """
    point, thousands, space = description.decimal, THOUSANDS[description.decimal], f"[{WHITE_SPACE}]*"
    # 1,234,567 or, in India, 12,34,567; behind the sign of a decimal a dash is as good as noughts.
    figures = rf"((?:\d{{1,3}}(?:[{thousands}]\d{{2,3}})*[{thousands}]\d{{3}}|\d+)?(?:[{point}]\d+)?)(?:[.,]-{{1,2}})?"
    before, after, currency = "([-+(]?)", "([-)]?)", f"({'|'.join((*CODES, *map(re.escape, SIGNS)))})?"
    form = f"(?i)^{space.join((before, currency, before, figures, after, currency, after))}$"
    text = f"translate({_trimmed('amount')}, {literal(MINUS)}, {literal('-' * len(MINUS))})"
    return f"regexp_extract({text}, {literal(form)}, {list(AMOUNT_PARTS)})"


def _money_sql(description: CrmDescription) -> str:
    """The amount in whole units and hundredths, of its `amount_parts`; null for what is no amount."""
    signs = " || ".join(f"amount_parts.{part}" for part in AMOUNT_PARTS if part.startswith("sign"))
    number = f"replace(translate(amount_parts.figures, {literal(THOUSANDS[description.decimal])}, ''), ',', '.')"
    number = f"try_cast({number} as decimal(38, 6))"
    if description.minor_units > 1:
        number = f"{number} / {description.minor_units}"
    return (
        f"case when {signs} in ('', '+') then try_cast({number} as {MONEY}) "
        f"when {signs} in ('-', '()') then try_cast(-({number}) as {MONEY}) end"
    )


def _currency_sql() -> str:
    """The currency of an amount: what the CRM says it is, else the code or sign beside its figures, the last of two.

    A sign of several currencies, such as $, is one of its own: it is added to no other.
    """
    beside = [f"nullif(amount_parts.currency_{side}, '')" for side in ("after", "before")]
    written = f"upper(coalesce(nullif({_trimmed('currency')}, ''), {', '.join(beside)}))"
    signs = ", ".join(f"{literal(sign)}: {literal(code)}" for sign, code in SIGNS.items())
    return f"coalesce(map {{{signs}}}[{written}], {written})"


def _formatted_sql(column: str, description: CrmDescription) -> str:
    formats = ", ".join(map(literal, description.date_formats))
    return f"(try_strptime({_trimmed(column)}, [{formats}])::timestamptz at time zone 'UTC')"


def _date_sql(column: str, description: CrmDescription) -> str:
    """`column` as a day in UTC, an offset counted where there is one.

    Null for what has none of the description's forms and does not begin with its year.
    """
    text = _trimmed(column)
    for written, meant in WRITTEN_OFFSETS.items():
        text = f"regexp_replace({text}, '{written}', '{meant}', 'i')"
    zoned = f"try_cast({text} as timestamptz) at time zone 'UTC'"
    read = (
        f"case when not regexp_matches({text}, '{YEAR_FIRST}') then null "
        f"when regexp_matches({text}, '{OFFSET}') then {zoned} "
        f"when regexp_matches({text}, '[A-Za-z]/[A-Za-z]') then {zoned} "  # an abbreviation is of several zones
        f"else try_cast({text} as timestamp) end"
    )
    return (
        f"coalesce({_formatted_sql(column, description)}, {read})::date"
        if description.date_formats
        else f"({read})::date"
    )


RATING, COUNTRY, CURRENCY = _rating_sql(), _country_sql(), _currency_sql()
