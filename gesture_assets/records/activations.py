"""Which model scores when, and which ranker orders lists: every activation with its reason, append-only.

Belongs here: the tables of activations and the champion of a day that follows from one. Does not belong here: training
and comparing (`models/`), the decision to promote (`nights/training.py`), the models' files (`data/models/<version>/`).

MLflow's aliases say who is champion now; this says who was champion on any day, which a backfill needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import duckdb

from gesture_assets.errors import GateClosed
from gesture_assets.records import audit_log
from gesture_assets.warehouse.relations import create_table
from gesture_assets.warehouse.schemas import LIVE

TABLE = f"{LIVE}.model_activations"
RANKERS = f"{LIVE}.ping_ranker_activations"  # the same of what puts lists of short videos in order
ROLLED_BACK = "rolled back"  # an action
RULES = "rules"  # in place of a version: nothing but the rules scores from then on
HEURISTIC = "heuristic"  # the same of lists: in the order of their scores

# Column, type, meaning: analysts read it.
ACTIVATION_COLUMNS = (
    (
        "activation",
        "INTEGER not null",
        "Counts the activations, from 1; of those in force on a day the highest decides.",
    ),
    ("model_version", "VARCHAR not null", "Version that scores from then on; rules for the rules alone."),
    ("previous_version", "VARCHAR", "Version that scored before; null for the first."),
    ("effective_from", "DATE not null", "First day that it scores."),
    ("activated_at", "TIMESTAMP not null", "When this was decided (UTC)."),
    ("action", "VARCHAR not null", "promoted (by a training), activated (by hand) or rolled back."),
    ("who", "VARCHAR not null", "Who: the operating system's name of the user."),
    ("reason", "VARCHAR not null", "Why."),
    ("run_id", "VARCHAR", "Dagster run of the training, where there is one."),
)


@dataclass(frozen=True)
class Activation:
    """One line of the history: see `ACTIVATION_COLUMNS`."""

    activation: int
    model_version: str
    previous_version: str | None
    effective_from: date
    activated_at: datetime
    action: str
    who: str
    reason: str
    run_id: str | None


def create_activations(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the tables where there are none."""
    create_table(connection, TABLE, ACTIVATION_COLUMNS)
    create_table(connection, RANKERS, ACTIVATION_COLUMNS)


def activations(connection: duckdb.DuckDBPyConnection, table: str = TABLE) -> list[Activation]:
    """Every activation, in order."""
    names = ", ".join(name for name, _, _ in ACTIVATION_COLUMNS)
    return [Activation(*row) for row in connection.execute(f"select {names} from {table} order by all").fetchall()]


def champion(connection: duckdb.DuckDBPyConnection, day: date, table: str = TABLE) -> str | None:
    """The version that scores `day`, whenever that is done; None before the first, and while none serves."""
    return champion_of(activations(connection, table), day)


def champion_of(history: Sequence[Activation], day: date) -> str | None:
    """As `champion`, of all activations in order."""
    in_force = [activation for activation in history if activation.effective_from <= day]
    version = in_force[-1].model_version if in_force else RULES
    return None if version in (RULES, HEURISTIC) else version


def serves_already(history: Sequence[Activation], version: str, since: date) -> bool:
    """Whether `version` scores every day from `since` on as things stand; `history`: all activations in order."""
    days = {since, *(activation.effective_from for activation in history if activation.effective_from > since)}
    return all((champion_of(history, day) or RULES) == version for day in days)


def activate(
    connection: duckdb.DuckDBPyConnection,
    version: str,
    *,
    since: date,
    now: datetime,
    action: str,
    reason: str,
    run_id: str = "",
    table: str = TABLE,
) -> Activation:
    """Let `version` score from the day `since` on. Earlier days keep theirs."""
    before = activations(connection, table)
    row = Activation(
        len(before) + 1,
        version,
        before[-1].model_version if before else None,
        since,
        now,
        action,
        audit_log.who(),
        reason,
        run_id or None,
    )
    marks = ", ".join("?" for _ in ACTIVATION_COLUMNS)
    connection.execute(f"insert into {table} values ({marks})", list(vars(row).values()))
    what = "model" if table == TABLE else "ranker"
    audit_log.note(
        connection, now=now, action=f"{what} {action}", what=version, days=[since], reason=reason, run_id=run_id
    )
    return row


def previous(connection: duckdb.DuckDBPyConnection) -> str:
    """The version to go back to: the latest that served before the present one and is another; before the first one the
    rules served. What was rolled back is no history: twice goes back by two. Raises `GateClosed` when nothing but the
    rules ever served.
    """
    history = [RULES]
    for activation in activations(connection):
        if activation.action == ROLLED_BACK:
            while len(history) > 1 and history[-1] != activation.model_version:
                history.pop()
        elif activation.model_version != history[-1]:
            history.append(activation.model_version)
    if len(history) > 1:
        return history[-2]
    raise GateClosed(
        "The model was not rolled back.",
        expected="a version that served before the present one",
        found="no version at all: the rules serve",
        where="table model_activations",
        next_step="gesture models list",
    )
