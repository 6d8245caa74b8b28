"""MLflow's database, made at once instead of by all that its schema has been through.

Why: MLflow makes a new database by its oldest schema and sixty migrations, which takes a CPU second of the first
training. Its models cannot stand in for them: they describe an index without columns, which SQLite refuses. Versions:
mlflow 3.17. Upstream: none is open. Goes: when MLflow makes new databases by its models.

`mlflow_schema.sql` is what the migrations make (`python -m gesture_assets_tests.mlflow_schema` writes it, a test holds
it against them). With another version of MLflow it is not used.

Belongs here: the new database. Does not belong here: what is written into it (`records/tracking.py`).
"""

import sqlite3
from contextlib import closing
from importlib import metadata
from pathlib import Path

SCHEMA = Path(__file__).with_name("mlflow_schema.sql")


def heading(version: str) -> str:
    """The first line of the schema of a version."""
    return f"-- MLflow {version}, SQLite\n"


def create_database(path: Path) -> None:
    """Make MLflow's database at `path` where there is none, or leave it to MLflow."""
    schema = SCHEMA.read_text(encoding="utf-8")
    if path.exists() or not schema.startswith(heading(metadata.version("mlflow"))):
        return
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with closing(sqlite3.connect(new)) as database:
        database.executescript(schema)
    new.replace(path)
