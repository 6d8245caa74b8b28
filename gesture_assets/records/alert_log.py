"""The alert log: every alarm, who was told, who acknowledged it, when it was gone. Append-only.

Belongs here: the table, writing rows, and the incidents that follow from it. Does not belong here: what an alarm does
to an incident (`monitoring/alerts.py`), telling people (`alert_delivery.py`).
"""

import json
from collections.abc import Collection
from datetime import datetime

import duckdb

from gesture_assets.errors import ConfigError
from gesture_assets.monitoring.alerts import (
    ACKNOWLEDGED,
    FAILURES,
    NEWS,
    RESOLVED,
    SEEN,
    TOLD,
    Alert,
    Change,
    Incident,
)
from gesture_assets.records import audit_log
from gesture_assets.vocabulary.severity import Severity
from gesture_assets.warehouse.relations import create_table
from gesture_assets.warehouse.schemas import LIVE

TABLE = f"{LIVE}.alert_log"

# Column, type, meaning: analysts read it.
ALERT_LOG_COLUMNS = (
    ("entry", "INTEGER not null", "Counts the rows, from 1; of two about one incident the higher is newer."),
    ("recorded_at", "TIMESTAMP not null", "When (UTC)."),
    ("night", "DATE not null", "Day whose night it was."),
    ("alert_key", "VARCHAR not null", "What is wrong; the same trouble has the same key in every night."),
    ("incident", "INTEGER not null", "Counts the times that it came up anew, from 1."),
    (
        "change",
        "VARCHAR not null",
        "opened, repeated, escalated (now an error), reopened (back within a week), resolved (a night without it), "
        "acknowledged (by hand) or told (the webhook took it).",
    ),
    ("severity", "VARCHAR not null", "ERROR or WARN."),
    ("owner", "VARCHAR not null", "Whom it concerns."),
    ("what", "VARCHAR not null", "What is wrong, with the figures."),
    ("place", "VARCHAR not null", "Where: the table, feature or day."),
    ("runbook", "VARCHAR not null", "What to do."),
    ("numbers", "VARCHAR not null", "JSON: the figures by name."),
    ("who", "VARCHAR", "Who acknowledged it: the operating system's name of the user."),
    ("note", "VARCHAR", "What they said."),
    ("run_id", "VARCHAR", "Dagster run, where there is one."),
)


def _any_of(changes: tuple[str, ...]) -> str:
    return f"change in {changes}"  # a tuple of two or more words reads the same in SQL


_IS_FAILURE = " or ".join(f"starts_with(alert_key, '{kind}')" for kind in FAILURES)

# Failures are counted by attempt: a night that fails three times is worse than one that is tried again and passes.
_OCCASION = f"case when {_IS_FAILURE} then run_id else night::varchar end"

# Old days that failed are told with the last complete night, and are those that their key names.
_OLD_DAY = rf"""case when {_IS_FAILURE}
        then try_cast(nullif(regexp_extract(alert_key, '/(\d+-\d\d-\d\d)(\.\.|$)', 1), '') as date) end"""

# One row per incident, in the order of `Incident`; the name of the log's table is to be filled in.
INCIDENTS = f"""select alert_key, arg_max(severity, entry) as severity, arg_max(owner, entry) as owner,
    arg_max(what, entry) as what, arg_max(place, entry) as place, arg_max(runbook, entry) as runbook,
    arg_max(numbers, entry) as numbers, incident,
    coalesce({_OLD_DAY}, min(night) filter ({_any_of(SEEN)})) as first_seen,
    max(night) filter ({_any_of(SEEN)}) as last_seen,
    count(distinct {_OCCASION}) filter ({_any_of(SEEN)}) as night_count,
    case when arg_max(change, entry) filter ({_any_of((*SEEN, RESOLVED))}) = '{RESOLVED}'
        then max(night) filter (change = '{RESOLVED}') end as resolved_on,
    coalesce(max(entry) filter (change = '{ACKNOWLEDGED}') > max(entry) filter ({_any_of(NEWS)}), false)
        as is_acknowledged,
    coalesce(max(entry) filter (change = '{TOLD}') > max(entry) filter ({_any_of(NEWS)}), false) as is_told,
    arg_max(who, entry) filter (change = '{ACKNOWLEDGED}') as acknowledged_by,
    max(recorded_at) filter (change = '{ACKNOWLEDGED}') as acknowledged_at,
    arg_max(note, entry) filter (change = '{ACKNOWLEDGED}') as note
from {{table}} group by alert_key, incident"""


def create_alert_log(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the table where there is none."""
    create_table(connection, TABLE, ALERT_LOG_COLUMNS)


def incidents(connection: duckdb.DuckDBPyConnection, table: str = TABLE) -> list[Incident]:
    """Every incident, open and resolved, by key and number."""
    rows = connection.execute(INCIDENTS.format(table=table) + " order by alert_key, incident").fetchall()
    return [
        Incident(Alert(key, Severity(severity), owner, what, place, runbook, json.loads(numbers)), *rest)
        for key, severity, owner, what, place, runbook, numbers, *rest in rows
    ]


def keys_of_run(connection: duckdb.DuckDBPyConnection, run_id: str, changes: Collection[str]) -> set[str]:
    """The keys to which the run has done one of `changes`."""
    rows = connection.execute(
        f"select distinct alert_key from {TABLE} where run_id = ? and list_contains(?, change)", [run_id, list(changes)]
    ).fetchall()
    return {key for (key,) in rows}


def append(
    connection: duckdb.DuckDBPyConnection,
    changes: Collection[Change],
    *,
    now: datetime,
    who: str | None = None,
    note: str | None = None,
    run_id: str = "",
) -> None:
    """Add a row for each of `changes`."""
    marks = ", ".join("?" for _ in ALERT_LOG_COLUMNS[1:])
    for change in changes:
        alert = change.alert
        connection.execute(
            f"insert into {TABLE} select coalesce(max(entry), 0) + 1, {marks} from {TABLE}",
            [
                now,
                change.night,
                alert.key,
                change.incident,
                change.change,
                alert.severity.value,
                alert.owner,
                alert.what,
                alert.place,
                alert.runbook,
                json.dumps(alert.numbers, sort_keys=True),
                who,
                note,
                run_id or None,
            ],
        )


def acknowledge(connection: duckdb.DuckDBPyConnection, key: str, *, now: datetime, note: str) -> Incident:
    """Remember that somebody knows of the open alert `key`: nobody is told of it again until it is gone or gets worse.

    Raises `ConfigError` naming the open alerts where `key` is none of them.
    """
    open_incidents = {incident.alert.key: incident for incident in incidents(connection) if incident.is_open}
    if key not in open_incidents:
        raise ConfigError.unknown_name(
            "The open alert",
            key,
            open_incidents,
            where="data/warehouse.duckdb, table alert_log",
            next_step="gesture alerts list",
        )
    incident = open_incidents[key]
    change = Change(incident.alert, incident.incident, incident.last_seen, ACKNOWLEDGED)
    append(connection, [change], now=now, who=audit_log.who(), note=note)
    days = [incident.first_seen, incident.last_seen]
    audit_log.note(connection, now=now, action="acknowledge alert", what=key, days=days, reason=note)
    return next(
        other for other in incidents(connection) if (other.alert.key, other.incident) == (key, incident.incident)
    )
