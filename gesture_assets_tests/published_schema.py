"""Refreshes the kept schema of the published file after a change that is meant, with a line for the changelog.

    python -m gesture_assets_tests.published_schema "what is new, for whoever reads the file"
    python -m gesture_assets_tests.published_schema --breaking "what readers have to change"

Belongs here: publishing a good night to look at, what of a change breaks readers, writing the two files. Does not
belong here: reading what is kept (`publication/published_schema.py`).
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb

from gesture_assets.contracts.contract import Contract
from gesture_assets.features.feature_registry import feature_registry
from gesture_assets.publication.publish import publish
from gesture_assets.publication.published_schema import SNAPSHOT, Schema, kept_schema
from gesture_assets.records.opening import RECORDS
from gesture_assets.settings import Settings
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.warehouse import Warehouse
from gesture_assets_tests.good_night import CONTRACTS, DAY, NIGHT, commit_good_night

CHANGELOG = Path(__file__).resolve().parents[1] / "docs" / "schema_changelog.md"
REFRESH = 'python -m gesture_assets_tests.published_schema "what changed"'


def schema_now() -> Schema:
    """The schema of what this code publishes."""
    with tempfile.TemporaryDirectory() as folder:
        warehouse, link = Path(folder) / "warehouse.duckdb", Path(folder) / "gesture.duckdb"
        with Warehouse(warehouse, 10, create=RECORDS).open(RunInfo("run-0001", NIGHT, (DAY,), "a_night")) as session:
            commit_good_night(session)
            publish(
                session,
                contracts=tuple(CONTRACTS.values()),
                features=feature_registry(Settings.model_fields["tags"].default),
                folder=Path(folder) / "published",
                link=link,
                warehouse=warehouse,
                keep=1,
            )
        with duckdb.connect(str(link.resolve()), read_only=True) as connection:
            return schema_of(connection, tuple(CONTRACTS.values()))


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


def refresh(said: str, *, may_break: bool) -> None:
    """Write the schema of this code with its next version, and `said` with what changed into the changelog."""
    version, before = kept_schema()
    after = schema_now()
    breaking, additions = changes(before, after)
    if not breaking and not additions:
        sys.exit("Nothing has changed.")
    if breaking and not may_break:
        sys.exit("This breaks readers; say --breaking if it is meant:\n  " + "\n  ".join(breaking))
    version = version_after(version, breaking, additions)
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(facts)}" for name, facts in sorted(after.items()))
    SNAPSHOT.write_text(f'{{"version": "{version}", "relations": {{\n{lines}\n}}}}\n', encoding="utf-8")
    head, separator, entries = CHANGELOG.read_text(encoding="utf-8").partition("\n## ")
    entry = f"\n## {version}\n\n{said}\n\n" + "".join(f"- {change}\n" for change in (*breaking, *additions))
    CHANGELOG.write_text(head + entry + separator + entries, encoding="utf-8")
    print(f"Schema {version}: {len(breaking)} changes that break readers, {len(additions)} that do not.")


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--breaking"]
    if len(words) != 1 or not words[0].strip():
        sys.exit(f"Usage: {REFRESH}")
    refresh(words[0].strip(), may_break="--breaking" in sys.argv)
