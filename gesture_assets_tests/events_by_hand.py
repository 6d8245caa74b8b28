"""Rows of contracted tables written by hand: what matters to a test is named, the rest is as usual.

Belongs here: making frames, and comparing them. Does not belong here: expectations.
"""

import random
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

import narwhals as nw
import polars as pl

from gesture_assets.contracts.contract import Contract
from gesture_assets.events import accept
from gesture_assets.events.tables import RAW_EVENTS
from gesture_assets.vocabulary.event_types import EVENT_TYPE_NAMES
from gesture_assets.vocabulary.features import DEVICES

Frame = nw.LazyFrame[Any]

MONDAY, TUESDAY, WEDNESDAY = date(2026, 3, 9), date(2026, 3, 10), date(2026, 3, 11)
NOON = datetime(2026, 3, 9, 12)  # of Monday

POLARS_TYPES = {
    "VARCHAR": pl.String,
    "DATE": pl.Date,
    "TIMESTAMP": pl.Datetime("us"),
    "BOOLEAN": pl.Boolean,
    "DOUBLE": pl.Float64,
    "DECIMAL(18,2)": pl.Decimal(18, 2),
    "TINYINT": pl.Int8,
    "SMALLINT": pl.Int16,
    "INTEGER": pl.Int32,
    "BIGINT": pl.Int64,
}


def schema_of(contract: Contract) -> dict[str, Any]:
    """The contract's columns with their types in Polars."""
    return {column.name: POLARS_TYPES[column.type] for column in contract.columns}


# A row of raw_events, and what the landed row says besides.
EVENT_SCHEMA = {
    **schema_of(RAW_EVENTS),
    "known_user_id": pl.String,
    "reason": pl.String,
    "masked_row": pl.String,
    "unreadable": pl.String,
    "redacted": pl.String,
    "is_link": pl.Boolean,
    "is_bot_agent": pl.Boolean,
}


def event(minutes: float = 0, **values: Any) -> dict[str, Any]:
    """A page view of u so many minutes after noon, known on its own day unless `as_of_date` says otherwise."""
    at = NOON + timedelta(minutes=minutes)
    usual = {
        "as_of_date": at.date(),
        "user_id": "u",
        "event_type": "page_view",
        "event_at": at,
        "received_at": at,
        "source": "native",
        "is_bot": False,
        "is_bot_agent": False,
        "is_dwell_imputed": False,
        "landing_file": "a.csv",
    }
    return {**dict.fromkeys(EVENT_SCHEMA), **usual, **values}


def table(rows: Iterable[dict[str, Any]], schema: dict[str, Any]) -> pl.DataFrame:
    """`rows` as a frame; a column that a row does not have is null."""
    return pl.DataFrame([{**dict.fromkeys(schema), **row} for row in rows], schema=schema)


def events_table(*events: dict[str, Any]) -> pl.DataFrame:
    """`events` with ids and lines of their own where they have none."""
    own = (
        {"event_id": row["event_id"] or f"e{n:04}", "landing_line": row["landing_line"] or n}
        for n, row in enumerate(events, start=2)
    )
    return table(({**row, **more} for row, more in zip(events, own, strict=True)), EVENT_SCHEMA)


def lazy(rows: pl.DataFrame) -> Frame:
    """The frame as the rooms take it."""
    return nw.from_native(rows.lazy())


def collected(frame: Frame, contract: Contract | None = None) -> pl.DataFrame:
    """The rows of `frame`, sorted by all columns, in the contract's columns and types where there is one."""
    found = frame.collect("polars").to_native()
    if contract is not None:
        assert tuple(found.columns) == contract.column_names
        found = found.cast(schema_of(contract))  # type: ignore[arg-type]
    return found.sort(sorted(found.columns), nulls_last=True)


def random_events(seed: int, size: int, *, days: int = 4, users: str = "uvwx") -> list[dict[str, Any]]:
    """Events with everything that makes rooms disagree: late ones, ties, nulls, own sessions, bots, thirds of cents."""
    dice = random.Random(seed)
    made = []
    for _ in range(size):
        minutes = dice.choice((dice.randrange(days * 1440), dice.randrange(0, days * 1440, 360)))
        day = (NOON + timedelta(minutes=minutes)).date()
        made.append(
            event(
                minutes,
                user_id=dice.choice(users),
                event_type=dice.choice(EVENT_TYPE_NAMES),
                as_of_date=day + timedelta(days=dice.choice((0, 0, 0, 0, 1, 2))),
                source_session_id=dice.choice((None, None, None, "s1", "s2")),
                dwell_seconds=dice.choice((None, 0.0, 0.1, 0.7, 1 / 3, 33.3335)),
                device=dice.choice((None, *DEVICES)),
                country=dice.choice((None, "GB", "DE")),
                city=dice.choice((None, "Bath", "Köln")),
                email_key=dice.choice((None, None, "k1", "k2")),
                account_balance_usd=dice.choice((None, 1.1, 2.2)),
                recent_pages_viewed=dice.choice((None, 1, 2)),
                is_bounce=dice.choice((None, None, True, False)),
                is_spam=dice.choice((None, True, False)),
                is_repeat_session=dice.choice((None, True, False)),
                is_bot=dice.random() < 0.1,
            )
        )
    return made


def deduplicate(events: Frame, filed_before: Frame) -> Frame:
    """The events that stay, as a night puts it together."""
    return accept.without(events, accept.copies(events, filed_before))
