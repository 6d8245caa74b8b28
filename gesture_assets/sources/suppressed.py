"""The suppression list: users whom nobody may score, from a file that people keep by hand.

Belongs here: reading `data/suppressed.csv` and refusing what cannot be meant. Does not belong here: suppressions that
follow from features (`rules/sets/`), what a suppressed score looks like (`rules/scorer.py`).
"""

import hashlib
from pathlib import Path

import polars as pl

from gesture_assets.errors import SourceError, listing

IDS = {"user_id": pl.String, "mailchimp_id": pl.String}
SPAN = {"since": pl.Date, "until": pl.Date}  # days, both included; empty: without beginning or end
COLUMNS = {**IDS, "reason": pl.String, **SPAN}


def read_suppressed(path: Path) -> tuple[pl.DataFrame, str]:
    """The rows of the CSV file at `path` in `COLUMNS`, and the hash of its content; no rows where there is no file.

    Raises `SourceError` for unknown or missing columns, for a row that names nobody or gives no reason, and for ids and
    days of the wrong form, each with its line.
    """
    if not path.exists():
        return pl.DataFrame(schema=COLUMNS), ""
    content = path.read_bytes()
    try:
        rows = pl.read_csv(content, infer_schema=False)
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise _refusal(path, expected="a CSV file in UTF-8 with a header", found=str(error).splitlines()[0]) from error
    rows = rows.rename(str.strip)
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


def _refusal(path: Path, *, expected: str, found: str) -> SourceError:
    return SourceError(
        "The suppression list cannot be used.",
        expected=expected,
        found=found,
        where=str(path),
        next_step=f"mend {path.name}, then  gesture run",
    )
