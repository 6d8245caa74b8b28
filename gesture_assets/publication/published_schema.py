"""The schema of the published file: its version, and which changes break whoever reads it.

Belongs here: what a published file looks like to its readers, the kept description of it, and the verdict on a change.
Does not belong here: the tables themselves (`contracts/`, `views.sql`), refreshing the description (the suite does:
`python -m gesture_assets_tests.published_schema`).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from gesture_assets.contracts.contract import Contract

SNAPSHOT = Path(__file__).parent / "published_schema.json"

Schema = dict[str, dict[str, Any]]  # relation -> its kind, grain, key, parameters, and columns: name -> type


def kept_schema() -> tuple[str, Schema]:
    """The version of the published schema, and the schema that it stands for."""
    document = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    return document["version"], document["relations"]


def schema_of(connection: duckdb.DuckDBPyConnection, contracts: Sequence[Contract]) -> Schema:
    """What a reader of the published file of `connection` can rely on. A type with "?" may be unknown (null)."""
    schema: Schema = {}
    known = {f"main.{contract.name}": contract for contract in contracts}
    views = {
        f"{schema_name}.{name}"
        for schema_name, name in connection.execute(
            "select schema_name, view_name from duckdb_views() where not internal"
        ).fetchall()
    }
    columns = connection.execute(
        "select schema_name || '.' || table_name, column_name, data_type, is_nullable from duckdb_columns() "
        "where not internal order by schema_name, table_name, column_index"
    ).fetchall()
    for relation, name, kind, is_nullable in columns:
        if relation not in schema:
            described = known.get(relation)
            facts = {"grain": described.grain, "key": ["as_of_date", *described.key]} if described else {}
            schema[relation] = {"kind": "view" if relation in views else "table", **facts, "columns": {}}
        schema[relation]["columns"][name] = kind + ("?" if is_nullable and relation not in views else "")
    macros = connection.execute(
        "select schema_name || '.' || function_name, parameters from duckdb_functions() "
        "where function_type in ('macro', 'table_macro') and not internal order by all"
    ).fetchall()
    return schema | {name: {"kind": "macro", "parameters": parameters} for name, parameters in macros}


def changes(before: Schema, after: Schema) -> tuple[list[str], list[str]]:
    """What breaks readers of `before`, and what is only new in `after`: a sentence each, in order of names.

    Breaking: a relation or column that is gone, another type, a value that may now be unknown, another kind, grain, key
    or parameters. A column that can no longer be unknown breaks nobody.
    """
    breaking, additions = [], [f"{name} is new" for name in after if name not in before]
    for name, old in sorted(before.items()):
        new = after.get(name)
        if new is None:
            breaking.append(f"{name} is gone")
            continue
        for fact in ("kind", "grain", "key", "parameters"):
            if old.get(fact) != new.get(fact):
                breaking.append(f"{name}: its {fact} was {old.get(fact)}, is {new.get(fact)}")
        columns = new.get("columns", {})
        for column, kind in old.get("columns", {}).items():
            if column not in columns:
                breaking.append(f"{name}.{column} is gone")
            elif columns[column] != kind and columns[column] != kind.removesuffix("?"):
                breaking.append(f"{name}.{column} was {kind}, is {columns[column]}")
            elif columns[column] != kind:
                additions.append(f"{name}.{column} is never unknown any more")
        additions += [f"{name}.{column} is new" for column in columns if column not in old.get("columns", {})]
    return sorted(breaking), sorted(additions)


def version_after(version: str, breaking: Sequence[str], additions: Sequence[str]) -> str:
    """`major.minor` after a change: the major part counts what breaks readers, the minor part what is new."""
    major, minor = map(int, version.split("."))
    if breaking:
        return f"{major + 1}.0"
    return f"{major}.{minor + 1}" if additions else version
