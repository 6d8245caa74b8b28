"""Refreshes the kept schema of the published file after a change that is meant, with a line for the changelog.

    python -m gesture_assets_tests.published_schema "what is new, for whoever reads the file"
    python -m gesture_assets_tests.published_schema --breaking "what readers have to change"

Belongs here: publishing a good night to look at, writing the two files. Does not belong here: what breaks readers
(`publication/published_schema.py`).
"""

import json
import sys
import tempfile
from pathlib import Path

import duckdb

from gesture_assets.features.feature_registry import feature_registry
from gesture_assets.publication.publish import publish
from gesture_assets.publication.published_schema import SNAPSHOT, Schema, changes, kept_schema, schema_of, version_after
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
