"""The audit log: who changed what, when and why. One row per command that changes anything, and per new rule set.

Belongs here: the table and writing a row. Does not belong here: deciding that something changes (`cli/`, `defs/`).
"""

import getpass
import shlex
import sys
from collections.abc import Collection
from datetime import date, datetime

import duckdb

from gesture_assets.warehouse.relations import create_table
from gesture_assets.warehouse.schemas import LIVE

TABLE = f"{LIVE}.audit_log"

# Column, type, meaning: analysts read it.
AUDIT_LOG_COLUMNS = (
    ("recorded_at", "TIMESTAMP not null", "When (UTC)."),
    ("who", "VARCHAR not null", "Who: the operating system's name of the user."),
    ("command", "VARCHAR not null", "The command as it was given, or the asset that noted it."),
    (
        "action",
        "VARCHAR not null",
        "What was done: run, restate, force, publish, roll back, replay, new rule set, approve rules.",
    ),
    ("object", "VARCHAR not null", "To what: tables, a published file, a rule set."),
    ("first_date", "DATE", "First day concerned."),
    ("last_date", "DATE", "Last day concerned."),
    ("reason", "VARCHAR", "Why, where a reason was given."),
    ("run_id", "VARCHAR", "Dagster run, where there is one."),
)


def create_audit_log(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the table where there is none."""
    create_table(connection, TABLE, AUDIT_LOG_COLUMNS)


def note(
    connection: duckdb.DuckDBPyConnection,
    *,
    now: datetime,
    action: str,
    what: str,
    days: Collection[date] = (),
    reason: str = "",
    run_id: str = "",
    command: str = "",
) -> None:
    """Add a row. `command` defaults to the command line of this process."""
    marks = ", ".join("?" for _ in AUDIT_LOG_COLUMNS)
    connection.execute(
        f"insert into {TABLE} values ({marks})",
        [
            now,
            who(),
            command or command_line(),
            action,
            what,
            min(days, default=None),
            max(days, default=None),
            reason or None,
            run_id or None,
        ],
    )


def who() -> str:
    """The operating system's name of the user, or their number where they have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def command_line() -> str:
    """`gesture run --date 2026-03-04`: the words after the program's path."""
    return shlex.join(["gesture", *sys.argv[1:]])
