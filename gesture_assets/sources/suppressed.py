"""The suppression list: users whom nobody may score, from a file that people keep by hand.

Belongs here: reading `data/suppressed.csv` and refusing what cannot be meant. Does not belong here: suppressions that
follow from features (`rules/sets/`), what a suppressed score looks like (`rules/scorer.py`).
"""

import hashlib
from pathlib import Path

import duckdb
import polars as pl

from gesture_assets.errors import SourceError, listing
from gesture_assets.sources.crm_rows import crm_id_sql
from gesture_assets.sources.ids import id_sql
from gesture_assets.vocabulary.missing_values import unpadded_sql

IDS = {"user_id": pl.String, "mailchimp_id": pl.String}
SPAN = {"since": pl.Date, "until": pl.Date}  # days, both included; empty: without beginning or end
COLUMNS = {**IDS, "reason": pl.String, **SPAN}


def read_suppressed(path: Path) -> tuple[pl.DataFrame, str]:
    """The rows of the CSV file at `path` in `COLUMNS`, and the hash of its content; no rows where there is no file.

    Ids are as people write them (`as_at_the_door`). Raises `SourceError` for unknown or missing columns, for a
    row that names nobody or gives no reason, and for ids and days of the wrong form, each with its line.
    """
    if not path.exists():
        return pl.DataFrame(schema=COLUMNS), ""
    content = path.read_bytes()
    try:
        rows = pl.read_csv(content, infer_schema=False).rename(str.strip)
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise _refusal(path, expected="a CSV file in UTF-8 with a header", found=str(error).splitlines()[0]) from error
    unknown = set(rows.columns) - set(COLUMNS)
    if unknown or "reason" not in rows.columns or not set(IDS) & set(rows.columns):
        expected = "the columns reason and user_id or mailchimp_id, and since and until where wanted"
        raise _refusal(path, expected=expected, found=listing(rows.columns))
    texts = rows.with_columns(pl.all().str.strip_chars().replace("", None)).with_columns(
        pl.lit(None, pl.String).alias(name) for name in COLUMNS if name not in rows.columns
    )
    typed = texts.with_columns(pl.col(*SPAN).str.to_date("%Y-%m-%d", strict=False)).select(*COLUMNS)
    nobody = typed["user_id"].is_null() & typed["mailchimp_id"].is_null()
    faults = {
        "a user_id or a mailchimp_id": nobody,
        "a reason": typed["reason"].is_null(),
        **{f"a day as {name}, such as 2026-03-04": typed[name].is_null() & texts[name].is_not_null() for name in SPAN},
    }
    for expected, is_wrong in faults.items():
        if is_wrong.any():
            # Values stay where they are: an id column may hold what it should not.
            lines = [number + 2 for number in is_wrong.arg_true()]
            raise _refusal(path, expected=f"{expected} in every row", found=f"none in line {listing(lines)}")
    return typed, hashlib.sha256(content).hexdigest()[:32]


def as_at_the_door(connection: duckdb.DuckDBPyConnection, rows: pl.DataFrame, key: str) -> pl.DataFrame:
    """`rows` of a list with ids as events and the CRM have them by now: 700.0 is 700, an address its hash by `key`."""
    connection.register("suppression_list", rows.to_arrow())
    read = f"""select {id_sql(unpadded_sql("user_id"), missing=(), key=key)} as user_id,
        {crm_id_sql(key)} as mailchimp_id, * exclude (user_id, mailchimp_id) from suppression_list"""
    typed = pl.DataFrame(connection.execute(read).to_arrow_table()).select(*COLUMNS)
    connection.unregister("suppression_list")
    return typed


def _refusal(path: Path, *, expected: str, found: str) -> SourceError:
    return SourceError(
        "The suppression list cannot be used.",
        expected=expected,
        found=found,
        where=str(path),
        next_step=f"mend {path.name}, then  gesture run",
    )
