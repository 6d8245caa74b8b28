"""Quarantined rows: what lies there, what of it would be accepted today, and what was let in again.

Belongs here: questions to the live quarantine and the table that remembers replays. Does not belong here: what makes a
row acceptable (`sources/landing.py`), building days again (`cli/run.py`). A landing file stays where it landed, so a
row that was set aside can be read again once its source's description is mended.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

import duckdb

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.warehouse.audit_log import who

if TYPE_CHECKING:  # the warehouse makes this module's table
    from gesture_assets.sources.landing import LandingFile
    from gesture_assets.warehouse.landing_index import LandingIndex
    from gesture_assets.warehouse.warehouse import Session

LIVE = "warehouse.main"
TABLE = f"{LIVE}.quarantine_replays"

# Column, type, meaning: analysts read it.
REPLAY_COLUMNS = (
    ("partition", "DATE not null", "Day under which the rows lay in quarantine."),
    ("landing_file", "VARCHAR not null", "File they stand in, below data/landing."),
    ("reason_before", "VARCHAR not null", "Why they had been set aside."),
    ("accepted", "BIGINT not null", "Rows that are read as events now."),
    ("still_quarantined", "BIGINT not null", "Rows that stay in quarantine, for this reason or another."),
    ("who", "VARCHAR not null", "Who let them in: the operating system's name of the user."),
    ("recorded_at", "TIMESTAMP not null", "When (UTC)."),
    ("reason", "VARCHAR not null", "Why, as given."),
)


@dataclass(frozen=True)
class Replay:
    """What reading the quarantined rows of one day, file and reason again gives. `days` are those they belong to."""

    day: date
    landing_file: str
    reason_before: str
    accepted: int
    still_quarantined: int
    days: tuple[date, ...]


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the table where there is none."""
    columns = ", ".join(f"{name} {kind}" for name, kind, _ in REPLAY_COLUMNS)
    connection.execute(f"create table if not exists {TABLE} ({columns})")


def summary(connection: duckdb.DuckDBPyConnection, day: date | None) -> list[tuple[date, str, str, str, int, float]]:
    """Day, source, file, reason, rows, and their share of the file's rows of that day."""
    return connection.execute(
        f"""select {PARTITION}, source, landing_file, reason, count(*), count(*) / any_value(landed_count)
        from {LIVE}.quarantined_events
        left join (select {PARTITION}, landing_file, landed_count from {LIVE}.landing_reconciliation) as landed
            using ({PARTITION}, landing_file)
        where {PARTITION} = coalesce(?, {PARTITION}) group by all order by all""",
        [day],
    ).fetchall()


def rows(
    connection: duckdb.DuckDBPyConnection, *, day: date | None, reason: str | None, file: str | None, limit: int
) -> list[tuple[date, str, str, str, str]]:
    """Day, place (file:record), reason, check and masked row, of the first `limit` rows that fit."""
    return connection.execute(
        f"""select {PARTITION}, landing_file || ':' || landing_line, reason, check_name, masked_row
        from {LIVE}.quarantined_events
        where {PARTITION} = coalesce(?, {PARTITION}) and reason = coalesce(?, reason)
            and landing_file = coalesce(?, landing_file)
        order by {PARTITION}, landing_file, landing_line limit ?""",
        [day, reason, file, limit],
    ).fetchall()


def look_again(
    session: "Session", index: "LandingIndex", files: Mapping[str, "LandingFile"], day: date | None
) -> list[Replay]:
    """Read the quarantined rows (of `day`, else of every day) again, by the descriptions as they are now."""
    con = session.connection
    where = f"where {PARTITION} = coalesce(?, {PARTITION})"
    found = []
    for (name,) in con.execute(
        f"select distinct landing_file from {LIVE}.quarantined_events {where} order by 1", [day]
    ).fetchall():
        if name not in files:
            continue
        groups = con.execute(
            f"""select {PARTITION}, before.reason, count(*) filter (again.reason is null),
                count(*) filter (again.reason is not null),
                list(distinct again.filing_day) filter (again.reason is null)
            from {LIVE}.quarantined_events as before
            join ({index.read_again(files[name])}) as again on again.landing_line = before.landing_line
            {where} and before.landing_file = ? group by all order by all""",
            [day, name],
        ).fetchall()
        found += [
            Replay(at, name, reason, accepted, still, tuple(sorted({at, *(days or [])})))
            for at, reason, accepted, still, days in groups
        ]
    return found


def record(session: "Session", replays: Sequence[Replay], *, reason: str, now: datetime) -> None:
    """Remember what is let in."""
    marks = ", ".join("?" for _ in REPLAY_COLUMNS)
    session.connection.executemany(
        f"insert into {TABLE} values ({marks})",
        [
            (one.day, one.landing_file, one.reason_before, one.accepted, one.still_quarantined, who(), now, reason)
            for one in replays
        ],
    )
