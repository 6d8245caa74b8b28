"""Dressing the copy: what makes the published file explain itself.

Belongs here: views (`<domain>/views.sql`, and the publication's own), comments, dictionaries, the manifest. Does not
belong here: copying, verifying and flipping (`publish.py`).

What follows from the tables alone stands in the warehouse, and copies bring it along: to comment the seven hundred
columns of the wide views in each copy took as long as to copy it.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from gesture_assets.contracts.catalogue import PACKAGE, domains
from gesture_assets.contracts.contract import PARTITION, Contract
from gesture_assets.features.feature_registry import Feature
from gesture_assets.publication import health
from gesture_assets.publication.published_schema import kept_schema
from gesture_assets.publication.view_columns import HISTORY, comment_view_columns, dictionary, explained_columns
from gesture_assets.records.activations import ACTIVATION_COLUMNS
from gesture_assets.records.alert_log import ALERT_LOG_COLUMNS, INCIDENTS
from gesture_assets.records.audit_log import AUDIT_LOG_COLUMNS
from gesture_assets.records.quarantine import REPLAY_COLUMNS
from gesture_assets.sources.kinds import KINDS
from gesture_assets.vocabulary.sql import literal
from gesture_assets.warehouse.format import attach
from gesture_assets.warehouse.ledger import LEDGER_COLUMNS
from gesture_assets.warehouse.relations import comments, comments_on
from gesture_assets.warehouse.restatement import RESTATEMENT_COLUMNS
from gesture_assets.warehouse.schemas import LIVE, SUPERSEDED
from gesture_assets.warehouse.transaction import transaction
from gesture_assets.warehouse.warehouse import connect

VIEWS = "views.sql"  # of a domain, and of the publication: what reads tables that only a copy has
WRITTEN = "written_views"  # of the warehouse: from what its views were written


OPEN_ALERTS = f"""create or replace view analytics.open_alerts as
select * exclude (resolved_on) from ({INCIDENTS.format(table="main.alert_log")}) where resolved_on is null
order by severity, first_seen, alert_key;
comment on view analytics.open_alerts is 'One row per alert that is open: since when, how often, who knows of it.';
comment on column analytics.open_alerts.first_seen is 'Night in which it opened; of old days that failed, the first.';
comment on column analytics.open_alerts.last_seen is 'Night in which it sounded last.';
comment on column analytics.open_alerts.night_count is 'Nights in which it sounded; of a failure, failed attempts.';
comment on column analytics.open_alerts.is_acknowledged is 'Whether somebody has said that they know of it.';
comment on column analytics.open_alerts.is_told is 'Whether the webhook took the news of it.';
comment on column analytics.open_alerts.acknowledged_by is 'Who has said so.';
comment on column analytics.open_alerts.acknowledged_at is 'When (UTC).'"""

# Table -> why it has no rows yet, where it has none: a young world has had no models and no trouble.
WHEN = "gesture models list  (from which day one can be trained)"
UNTRAINED, UNSERVED = f"no model has been trained: {WHEN}", f"no model has served a night yet: {WHEN}"
UNRANKED = "no ranker of short videos has been trained: gesture recs train"
WHY_EMPTY = {
    "alerts": "nothing alarming was found on any day",
    "alert_log": "no alert has been opened",
    "candidate_model": UNTRAINED,
    "drift_reports": UNSERVED,
    "feature_importance": UNTRAINED,
    "feature_profiles": UNSERVED,
    "feature_screening": UNTRAINED,
    "feature_statistics": UNSERVED,
    "model_activations": UNTRAINED,
    "model_evaluation": UNTRAINED,
    "model_scores": UNSERVED,
    "ping_ranker_activations": UNRANKED,
    "ping_ranker_evaluation": UNRANKED,
    "ping_rankers": UNRANKED,
    "pipeline_reliability": "no day has come due since the first run",
    "quarantine_replays": "no row of the quarantine was let in later",
    "restatements": "no day has changed after it was published",
    "score_backtest": "no score is old enough for its outcome to be known",
    "score_changes": "nobody has asked for it: gesture why-changed",
    "score_reasons": UNSERVED,
    "training_attempts": UNTRAINED,
    "training_set": UNTRAINED,
}


# Table -> its meaning and that of its columns: what `_dress` adds, explained inside the file.
DICTIONARY = {
    "dim_column": (
        "One row per column of every table and view.",
        {
            "table_name": "Table or view, with its schema unless that is main.",
            "position": "Place of the column, from 1.",
            "column_name": "Column.",
            "type": "Its type.",
            "description": "What it says.",
            "unit": "Unit, where it has one.",
            "is_nullable": "Whether it may be unknown.",
            "personal_data": "pseudonym or none.",
        },
    ),
    "dim_feature": (
        "One row per feature of user_features.",
        {
            "name": "Column of user_features.",
            "type": "Its type.",
            "description": "What it says.",
            "feature_group": "fit (who somebody is) or engagement (what they do).",
            "unit": "Unit, where it has one.",
            "window_days": "Days that it looks back; null: all.",
            "source": "Table that it is built from.",
            "reference": "Document that asks for it.",
            "personal_data": "pseudonym or none.",
            "owner": "Whom to ask.",
        },
    ),
    "manifest": (
        "One row per table: what this file holds and with which verdict.",
        {
            "snapshot_id": "This file.",
            "published_at": "When it was published (UTC).",
            "run_id": "Dagster run that published.",
            "table_name": "Table.",
            "first_date": "Its oldest day.",
            "as_of_date": "Its newest day.",
            "day_count": "Days.",
            "row_count": "Rows.",
            "content_hash": "Hash of the newest audited rows.",
            "verdict": "Newest verdict of the ledger.",
            "version": "Version of the rules or the model, where there is one.",
            "checks": "JSON: the checks behind the verdict.",
            "schema_version": "Version of the tables and columns in this file: docs/schema_changelog.md.",
        },
    ),
}


def dress(
    path: Path,
    contracts: Sequence[Contract],
    features: Sequence[Feature],
    *,
    snapshot_id: str,
    run_id: str,
    now: datetime,
    deadline: int,
    memory_limit: str | None = None,
) -> None:
    """Add what makes the file explain itself: views, comments, dictionaries, manifest, how the nights have gone."""
    with connect(memory_limit=memory_limit, spill=path.with_name(path.name + ".spill")) as con:
        attach(con, path, "copy")
        con.execute("use copy")
        with transaction(con):
            con.execute("create schema if not exists analytics")
            health.write(con, contracts, now=now, deadline=deadline)
            indexes = [f"{kind.prefix}landing_{what}" for kind in KINDS.values() for what in ("days", "files")]
            for bookkeeping in (*indexes, "warehouse_format", WRITTEN):  # of the private file
                con.execute(f"drop table if exists {bookkeeping}")
            con.execute("drop schema if exists rejected cascade")  # what did not pass is nobody else's to read
            _write_dictionaries(con, features)
            _write_manifest(con, contracts, snapshot_id=snapshot_id, run_id=run_id, now=now)
            _write_comments(con)
            views = (PACKAGE / "publication" / VIEWS).read_text(encoding="utf-8")
            con.execute(views.replace("{deadline}", f"{deadline:02}"))
            con.execute(OPEN_ALERTS)
            columns = explained_columns(con)
            comment_view_columns(con, columns)
            _insert(con, "dim_column", dictionary(columns, contracts))
            _say_why_empty(con)
        con.execute("checkpoint")


def _write_dictionaries(con: duckdb.DuckDBPyConnection, features: Sequence[Feature]) -> None:
    """The tables that explain features and columns; the latter's rows follow once there are views."""
    con.execute(
        """create or replace table dim_feature (name varchar not null, type varchar not null,
        description varchar not null, feature_group varchar not null, unit varchar, window_days integer,
        source varchar not null, reference varchar not null, personal_data varchar not null,
        owner varchar not null)"""
    )
    _insert(
        con,
        "dim_feature",
        [
            (
                f.name,
                f.type,
                f.description,
                f.group,
                f.unit,
                f.window,
                f.source,
                f.reference,
                "pseudonym" if f.name == "mailchimp_id" else "none",
                "scoring@gesture.example",
            )
            for f in features
        ],
    )
    con.execute(
        """create or replace table dim_column (table_name varchar not null, position integer not null,
        column_name varchar not null, type varchar not null, description varchar not null, unit varchar,
        is_nullable boolean not null, personal_data varchar not null)"""
    )


def _write_manifest(
    con: duckdb.DuckDBPyConnection, contracts: Sequence[Contract], *, snapshot_id: str, run_id: str, now: datetime
) -> None:
    """What the file holds, and with which verdicts."""
    schema_version, _ = kept_schema()
    con.execute(
        """create or replace table manifest (snapshot_id varchar not null, published_at timestamp not null,
        run_id varchar not null, table_name varchar not null, first_date date, as_of_date date,
        day_count bigint not null, row_count bigint not null, content_hash varchar, verdict varchar,
        version varchar, checks varchar, schema_version varchar not null)"""
    )
    counted = " union all ".join(
        f"""select {position} as position, '{contract.name}' as table_name, min({PARTITION}) as first_date,
            max({PARTITION}) as as_of_date, count(distinct {PARTITION}) as day_count, count(*) as row_count
        from {contract.name}"""
        for position, contract in enumerate(contracts)
    )
    con.execute(
        f"""insert into manifest
        select ?, ?, ?, table_name, first_date, coalesce(as_of_date, newest.partition), day_count, counted.row_count,
            newest.content_hash, newest.verdict, newest.version, newest.checks, ?
        from ({counted}) as counted left join (select * from gate_ledger
            qualify row_number() over (partition by table_name order by partition desc, attempt desc) = 1) as newest
            using (table_name) order by position""",
        [snapshot_id, now, run_id, schema_version],
    )


def _write_comments(con: duckdb.DuckDBPyConnection) -> None:
    """`COMMENT ON` for the tables that only the published file has."""
    own = DICTIONARY | {
        table: (meaning, {name: text for name, _, text in columns})
        for table, (meaning, columns) in health.HEALTH.items()
    }
    for table, (meaning, columns) in own.items():
        for statement in comments_on(f"main.{table}", meaning, columns):
            con.execute(statement)


def _say_why_empty(con: duckdb.DuckDBPyConnection) -> None:
    """Add to the comment of each table without rows why it has none."""
    tables = con.execute(
        """select schema_name, table_name, comment from duckdb_tables()
        where database_name = current_database() and not internal"""
    ).fetchall()
    for schema, table, comment in tables:
        if con.execute(f"select 1 from {schema}.{table} limit 1").fetchone():
            continue
        why = WHY_EMPTY.get(table, "nothing of the kind has come")
        why = "no version has been replaced" if schema == HISTORY else why
        con.execute(f"comment on table {schema}.{table} is {literal(f'{comment} No rows yet: {why}.')}")


def _insert(con: duckdb.DuckDBPyConnection, table: str, rows: list[tuple[Any, ...]]) -> None:
    """Add `rows`, in the order of its columns, to `table` at once: a statement a row takes a hundred times as long."""
    columns = con.table(table).columns
    health.insert(con, table, pl.DataFrame(rows, schema=columns, orient="row", infer_schema_length=None))


def explain(con: duckdb.DuckDBPyConnection, contracts: Sequence[Contract]) -> None:
    """Give the open warehouse the views and comments that it lacks: its copies have them too."""
    present = _comments_present(con)
    missing = [statement for statement in _comments_wanted(con, contracts) if statement not in present]
    with transaction(con):  # at first hundreds, in one write
        for statement in missing:
            con.execute(statement)
        con.execute("use warehouse")  # views name their tables without it, so that copies have them under any name
        _write_views(con)
        con.execute("use memory")


def _write_views(con: duckdb.DuckDBPyConnection) -> None:
    """The views of the domains and their comments, anew where they or the tables that they read are others."""
    paths = [PACKAGE / domain / VIEWS for domain in domains()]
    texts = [path.read_text(encoding="utf-8") for path in paths if path.exists()]
    tables = con.execute(
        f"""select schema_name, table_name, column_name, data_type, comment from duckdb_columns()
        where database_name = 'warehouse' and schema_name in ('main', '{HISTORY}') and table_name <> '{WRITTEN}'
        order by all"""
    ).fetchall()
    made_of = hashlib.sha256(repr((texts, tables)).encode()).hexdigest()
    con.execute(f"create table if not exists {WRITTEN} (made_of varchar)")
    if con.execute(f"select made_of from {WRITTEN}").fetchall() == [(made_of,)]:
        return
    con.execute("create schema if not exists analytics")
    for text in texts:
        con.execute(text)
    comment_view_columns(con, explained_columns(con))
    con.execute(f"delete from {WRITTEN}")
    con.execute(f"insert into {WRITTEN} values (?)", [made_of])


def _comments_wanted(con: duckdb.DuckDBPyConnection, contracts: Sequence[Contract]) -> Iterator[str]:
    """`COMMENT ON` for every table of the warehouse that is published, and its columns."""
    with_history = con.execute(
        "select table_name from duckdb_tables() where database_name = 'warehouse' and schema_name = 'superseded'"
    ).fetchall()
    for contract in contracts:
        yield from comments(contract, LIVE)
        if (contract.name,) in with_history:
            yield from comments(contract, SUPERSEDED)
            replaced = "When another version took its place (UTC)."
            yield from [*comments_on(f"{SUPERSEDED}.{contract.name}", "", {"superseded_at": replaced})][1:]
    for table, meaning, columns in (
        ("gate_ledger", "One row per audit of a table and day.", LEDGER_COLUMNS),
        ("restatements", "One row per table and old day that changed after it was published.", RESTATEMENT_COLUMNS),
        ("quarantine_replays", "One row per day, file and reason of rows that were let in later.", REPLAY_COLUMNS),
        ("audit_log", "One row per command that changed something, and per new rule set.", AUDIT_LOG_COLUMNS),
        ("model_activations", "One row per decision about which model scores.", ACTIVATION_COLUMNS),
        ("ping_ranker_activations", "One row per decision about what orders lists.", ACTIVATION_COLUMNS),
        (
            "alert_log",
            "One row per change of an alert: opened, repeated, told, acknowledged, resolved.",
            ALERT_LOG_COLUMNS,
        ),
    ):
        yield from comments_on(f"{LIVE}.{table}", meaning, {name: text for name, _, text in columns})


def _comments_present(con: duckdb.DuckDBPyConnection) -> set[str]:
    """The comments of the warehouse, as the statements that make them."""
    rows = con.execute(
        """select 'warehouse.' || schema_name || '.' || table_name, '', comment from duckdb_tables()
        where database_name = 'warehouse'
        union all select 'warehouse.' || schema_name || '.' || table_name, column_name, comment from duckdb_columns()
        where database_name = 'warehouse'"""
    ).fetchall()
    return {
        statement
        for table, column, comment in rows
        if comment
        for statement in (
            [*comments_on(table, "", {column: comment})][1:] if column else comments_on(table, comment, {})
        )
    }
