"""Ids of users, visitors, events and visits: one text for one id, none for what names nobody, no address.

Belongs here: the SQL that reads an id, and what is held against it. Does not belong here: which column holds it
(`columns.py`), what an address is (`personal.py`).
"""

from collections.abc import Collection

from gesture_assets.sources.personal import (
    holds_ip,
    keyed_hash_sql,
    may_be_email_sql,
    normal_email_sql,
    plain_email_sql,
)
from gesture_assets.vocabulary.missing_values import is_missing_sql, unpadded_sql, without_unseen_sql
from gesture_assets.vocabulary.personal_data import plain_signs_sql

# Nearly every id is of letters and figures, one of which is no zero: no missing word, no address, no fraction is. All
# others are looked at closely, which costs a few times as much.
ORDINARY = "[A-Za-z0_-]*[1-9][A-Za-z0-9_-]*"
WHOLE_DOUBLES, WHOLE_FLOATS = 2**53, 2**24  # whole numbers are exact up to here
# A double that is not exact, or a number that was written short: whoever wrote it left out figures, and then two people
# have one id.
ROUNDED = r"\s*[+-]?(\d+(\.\d+[eE]\+?|[eE]\+)\d+|(\d{17,}|9\d{15})\.0+)\s*"

RESERVED = "(subscriber|anon):.*"  # as ids of ours begin
STRUCTURE = r"^\s*[\[{]"  # how objects and lists begin, and texts of other kinds, too


def id_sql(text: str, *, missing: Collection[str], key: str) -> str:
    """The SQL expression `text` as an id, null where it is missing; one that is an e-mail address is hashed with `key`.

    `missing`: words that name nobody in this source, beside those that never do. 700.0 is 700, however it came about.
    """
    cleaned = f"nfc_normalize({without_unseen_sql(unpadded_sql(text))})"  # é is one letter, or an e and its accent
    hashed = f"'email:' || left({keyed_hash_sql(normal_email_sql(plain_email_sql(cleaned)), key)}, 32)"
    whole = rf"regexp_replace({cleaned}, '^([+-]?\d+)\.0+$', '\1')"
    return (
        f"case when {_is_ordinary(text)} then {text} when {is_missing_sql(text, missing)} then null "
        f"when {may_be_email_sql(text)} then {hashed} else {whole} end"
    )


def fault_sql(text: str, *, is_person: bool = False) -> str:
    """The reason against the SQL expression `text` as an id, null where there is none; `is_person`: of somebody."""
    reserved = f"when regexp_full_match({text}, '{RESERVED}') then 'reserved_id'" if is_person else ""
    return f"""case when {_is_ordinary(text)} or {may_be_email_sql(text)} or {is_missing_sql(text)} then null
                {reserved} when {holds_ip(plain_signs_sql(text))} then 'personal_id'
                when {is_structure_sql(text)} then 'structured_id'
                when regexp_full_match({text}, '{ROUNDED}') then 'inexact_id' end"""


def is_structure_sql(text: str) -> str:
    """Whether the SQL expression `text` is an object or a list as JSON; null or false where it is none."""
    return f"case when regexp_matches({text}, '{STRUCTURE}') then json_valid({text}) end"


def filled_sql(text: str, missing: Collection[str]) -> str:
    """The SQL expression `text`, null where it is missing."""
    return f"case when {_is_ordinary(text)} then {text} when not {is_missing_sql(text, missing)} then {text} end"


def typed_id_sql(value: str, kind: str) -> str:
    """A value of a column of the type `kind` as the text of an id: numbers that are equal have one text.

    One that is not exact becomes what no id may be.
    """
    if kind == "DOUBLE":
        return (
            f"case when isnan({value}) or isinf({value}) then null when abs({value}) > {WHOLE_DOUBLES - 1} "
            f"then format('{{:.16e}}', {value}) when {value} = trunc({value}) then {value}::bigint::varchar "
            f"else {value}::varchar end"
        )
    if kind == "FLOAT":  # which is text by now
        number = f"try_cast({value} as double)"
        return f"if(abs({number}) > {WHOLE_FLOATS - 1}, format('{{:.8e}}', {number}), {value})"
    if kind.startswith("DECIMAL") and not kind.endswith(",0)"):
        return f"rtrim(rtrim({value}, '0'), '.')"
    return value


def _is_ordinary(text: str) -> str:
    return f"regexp_full_match({text}, '{ORDINARY}')"
