"""Quarantined rows: what lies there, what of it would be accepted today, and what was let in again.

Belongs here: questions to the quarantine, also that of rejected days, and the table that remembers replays. Does not
belong here: what makes a row acceptable (`sources/landing.py`), building days again (`cli/run.py`). A landing file
stays where it landed, so a row that was set aside can be read again once its source's description is mended.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import duckdb

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.errors import ConfigError, GateClosed
from gesture_assets.events.tables import IGNORED, REASONS
from gesture_assets.pings.tables import PING_REASONS, REPEATED_ID, UNKNOWN_PING
from gesture_assets.records.audit_log import who
from gesture_assets.sources.catalogues import newest_catalogues
from gesture_assets.sources.kinds import EVENT, INTERACTION, PING
from gesture_assets.sources.landing import LandingFile
from gesture_assets.sources.landing_index import LandingIndex
from gesture_assets.warehouse.relations import create_table, has_table
from gesture_assets.warehouse.schemas import LIVE, REJECTED
from gesture_assets.warehouse.session import Session

TABLE = f"{LIVE}.quarantine_replays"
QUARANTINES = ("quarantined_events", "quarantined_ping_rows")
RECONCILIATIONS = ("landing_reconciliation", "ping_reconciliation")
ALL_REASONS = {**PING_REASONS, **REASONS}

# Column, type, meaning: analysts read it.
REPLAY_COLUMNS = (
    ("partition", "DATE not null", "Day under which the rows lay in quarantine."),
    ("landing_file", "VARCHAR not null", "File they stand in, below data/landing."),
    ("reason_before", "VARCHAR not null", "Why they had been set aside."),
    ("accepted", "BIGINT not null", "Rows that are read as events now, or of types that are left out by now."),
    ("still_quarantined", "BIGINT not null", "Rows that stay in quarantine, for this reason or another."),
    ("who", "VARCHAR not null", "Who let them in: the operating system's name of the user."),
    ("recorded_at", "TIMESTAMP not null", "When (UTC)."),
    ("reason", "VARCHAR not null", "Why, as given."),
    ("run_id", "VARCHAR not null", "Dagster run that built the days again."),
)


@dataclass(frozen=True)
class Replay:
    """What reading the quarantined rows of one day, file and reason again gives. `days` are those they belong to.

    `accepted` are all that are set aside no more, also where their type is left out by now.
    """

    day: date
    landing_file: str
    reason_before: str
    accepted: int
    still_quarantined: int
    days: tuple[date, ...]


def create_quarantine_replays(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the table where there is none."""
    create_table(connection, TABLE, REPLAY_COLUMNS)


def require_built(connection: duckdb.DuckDBPyConnection) -> None:
    """Raise `GateClosed` where no night has made the tables yet."""
    if not any(has_table(connection, f"{LIVE}.{table}") for table in RECONCILIATIONS):
        raise GateClosed(
            "There is no quarantine yet.",
            expected="a night that has read landing files",
            found="none",
            where="data/warehouse.duckdb, table quarantined_events",
            next_step="gesture run",
        )


def require_known(
    connection: duckdb.DuckDBPyConnection, *, day: date | None, reason: str | None = None, file: str | None = None
) -> None:
    """Refuse a reason and a file that are none, and a day whose landing files no night has read: a slip of the keyboard
    is not to read as if nothing were wrong.
    """
    require_built(connection)
    read = _of_all_days(connection, RECONCILIATIONS, f"{PARTITION}, landing_file")
    if reason is not None and reason not in ALL_REASONS:
        raise ConfigError.unknown_name(
            "The reason", reason, ALL_REASONS, where="table quarantined_events", next_step="gesture quarantine list"
        )
    files = [name for (name,) in connection.execute(f"select distinct landing_file from {read}").fetchall()]
    if file is not None and file not in files:
        raise ConfigError.unknown_name(
            "The landing file", file, files, where="table landing_reconciliation", next_step="gesture quarantine list"
        )
    days = [at for (at,) in connection.execute(f"select distinct {PARTITION} from {read} order by all").fetchall()]
    if day is not None and day not in days:
        raise GateClosed(
            f"There is no quarantine of {day}.",
            expected=f"a day whose landing files were read, from {days[0]} to {days[-1]}" if days else "such a day",
            found="none of that day",
            where="data/warehouse.duckdb, table landing_reconciliation",
            next_step="gesture quarantine list" if days else "gesture run",
        )


def _of_all_days(connection: duckdb.DuckDBPyConnection, tables: Sequence[str], columns: str) -> str:
    """The live rows of `tables`, and those of days that were rejected since they were live, or never were."""
    rows = [
        f"select {columns}, '{state}' as state from {schema}.{table}"
        for table in tables
        for schema, state in ((LIVE, "live"), (REJECTED, "rejected"))
        if has_table(connection, f"{schema}.{table}")
    ]
    return f"({' union all '.join(rows)})"


def summary(
    connection: duckdb.DuckDBPyConnection, day: date | None
) -> list[tuple[date, str, str, str, str, int, float | None]]:
    """Day, live or rejected, source, file, reason, rows, and their share of the file's rows of that day."""
    require_built(connection)
    set_aside = _of_all_days(connection, QUARANTINES, f"{PARTITION}, source, landing_file, reason")
    landed = _of_all_days(connection, RECONCILIATIONS, f"{PARTITION}, landing_file, landed_count")
    return connection.execute(
        f"""select {PARTITION}, state, source, landing_file, reason, count(*), count(*) / any_value(landed_count)
        from {set_aside} left join {landed} using ({PARTITION}, landing_file, state)
        where {PARTITION} = coalesce(?, {PARTITION}) group by all order by all""",
        [day],
    ).fetchall()


def rows(
    connection: duckdb.DuckDBPyConnection, *, day: date | None, reason: str | None, file: str | None, limit: int
) -> list[tuple[date, str, str, str, str, str]]:
    """Day, live or rejected, place (file:record), reason, check and masked row, of the first `limit` rows that fit."""
    require_built(connection)
    columns = f"{PARTITION}, landing_file, landing_line, reason, check_name, masked_row"
    return connection.execute(
        f"""select {PARTITION}, state, landing_file || ':' || landing_line, reason, check_name, masked_row
        from {_of_all_days(connection, QUARANTINES, columns)}
        where {PARTITION} = coalesce(?, {PARTITION}) and reason = coalesce(?, reason)
            and landing_file = coalesce(?, landing_file)
        order by {PARTITION}, state, landing_file, landing_line limit ?""",
        [day, reason, file, limit],
    ).fetchall()


def look_again(session: Session, index: LandingIndex, files: Mapping[str, LandingFile]) -> list[Replay]:
    """Read the quarantined rows of every day again, by the descriptions as they are now: those of the kind of `index`.

    Files that are not in `files`, and those of which nothing is loaded any more, are left out.
    """
    con = session.connection
    require_built(con)
    replays: list[Replay] = []
    table, judged_later = QUARANTINES[0], "true"
    if index.kind is not EVENT:  # what a night finds out of rows that can be read, no reader does
        table, judged_later = QUARANTINES[1], f"before.reason not in ('{UNKNOWN_PING}', '{REPEATED_ID}')"
    if not has_table(con, f"{LIVE}.{table}"):
        return []
    if index.kind is INTERACTION:
        replays += _of_unknown_pings(session, index, files)
    names = f"select distinct landing_file from {LIVE}.{table} as before where {judged_later} order by 1"
    # A catalogue is of the days on which it stands, whichever it is filed under.
    belong = "null" if index.kind.is_catalogue else "again.filing_day"
    for (name,) in con.execute(names).fetchall():
        again = index.read_again(files[name]) if name in files else None
        if again is None:
            continue
        groups = con.execute(
            f"""select {PARTITION}, before.reason, count(*) filter (not is_refused), count(*) filter (is_refused),
                list(distinct {belong}) filter (not is_refused)
            from {LIVE}.{table} as before
            join (select *, coalesce(reason <> '{IGNORED}', false) as is_refused from ({again})) as again
                on again.landing_line = before.landing_line
            where before.landing_file = ? and {judged_later} group by all order by all""",
            [name],
        ).fetchall()
        replays += [
            Replay(at, name, reason, accepted, still, tuple(sorted({at, *filter(None, days or [])})))
            for at, reason, accepted, still, days in groups
        ]
    return replays


def _of_unknown_pings(session: Session, index: LandingIndex, files: Mapping[str, LandingFile]) -> list[Replay]:
    """Interactions that were set aside as their video was unknown then, also of days that were rejected for it.

    Accepted are those with a video of a catalogue that is known by now.
    """
    con, videos = session.connection, LandingIndex(session, index.key, PING)
    read = [(name, videos.read_again(files[name])) for name in newest_catalogues(videos) if name in files]
    known = " union all ".join(f"select ping_id from ({rows}) where reason is null" for _, rows in read if rows)
    columns = f"{PARTITION}, landing_file, landing_line, reason"
    set_aside = f"(select distinct {columns} from {_of_all_days(con, QUARANTINES[1:], columns)})"
    replays: list[Replay] = []
    for (name,) in con.execute(
        f"select distinct landing_file from {set_aside} where reason = ?", [UNKNOWN_PING]
    ).fetchall():
        again = index.read_again(files[name]) if name in files else None
        if again is None or not known:
            continue
        groups = con.execute(
            f"""select {PARTITION}, before.reason, count(*) filter (is_known), count(*) filter (not is_known)
            from {set_aside} as before join (
                select landing_line, reason is null and ping_id in ({known}) as is_known from ({again})
            ) using (landing_line)
            where landing_file = ? and before.reason = ? group by all order by all""",
            [name, UNKNOWN_PING],
        ).fetchall()
        replays += [Replay(at, name, reason, accepted, still, (at,)) for at, reason, accepted, still in groups]
    return replays


def replayed_at(connection: duckdb.DuckDBPyConnection, reason: str, days: Sequence[date]) -> dict[date, datetime]:
    """Of `days` those on which rows that had been set aside for `reason` were let in, and when that last was."""
    return dict(
        connection.execute(
            f"""select partition, max(recorded_at) from {TABLE}
            where reason_before = ? and accepted > 0 and list_contains(?, partition) group by all order by all""",
            [reason, list(days)],
        ).fetchall()
    )


def let_in(replays: Sequence[Replay], day: date | None) -> list[Replay]:
    """What is let in when the days of the rows of `day` (default: every day), and all that follow, are built again.

    That may be more than the rows of `day`: a later day is read by the same descriptions.
    """
    moved = [replay for replay in replays if replay.accepted and day in (None, replay.day)]
    while moved:
        first = min(min(replay.days) for replay in moved)
        wider = [replay for replay in replays if replay.accepted and max(replay.days) >= first]
        if len(wider) == len(moved):
            break
        moved = wider
    return moved


def record(session: Session, replays: Sequence[Replay], *, reason: str, run_id: str) -> None:
    """Remember what the run is to let in, before it publishes."""
    marks = ", ".join("?" for _ in REPLAY_COLUMNS)
    session.connection.executemany(
        f"insert into {TABLE} values ({marks})",
        [
            (
                replay.day,
                replay.landing_file,
                replay.reason_before,
                replay.accepted,
                replay.still_quarantined,
                who(),
                session.run.now,
                reason,
                run_id,
            )
            for replay in replays
        ],
    )


def forget_not_let_in(session: Session, run_id: str) -> None:
    """After a run that failed: forget what it was to let in and what lies in quarantine as before, or on a bad day."""
    con = session.connection
    set_aside = _of_all_days(con, QUARANTINES, f"{PARTITION}, landing_file, reason")
    read = _of_all_days(con, RECONCILIATIONS, PARTITION)
    con.execute(
        f"""delete from {TABLE} as replay where run_id = ? and (accepted + still_quarantined <= (
            select count(*) from {set_aside} as rows
            where state = 'live' and rows.{PARTITION} = replay.partition
            and rows.landing_file = replay.landing_file and rows.reason = replay.reason_before)
            or partition in (select {PARTITION} from {read} where state = 'rejected'))""",
        [run_id],
    )
