"""The schema that MLflow's migrations make: python -m gesture_assets_tests.mlflow_schema

Belongs here: writing it. Does not belong here: using it (`compat/mlflow_database.py`).
"""

import sqlite3
import tempfile
from contextlib import closing
from importlib import metadata
from pathlib import Path

from gesture_assets.compat.mlflow_database import SCHEMA, heading


def schema_of_migrations(folder: Path) -> str:
    """What MLflow makes of a new database in `folder`, as SQL."""
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    path = folder / "migrated.db"
    engine = create_sqlalchemy_engine(f"sqlite:///{path}")
    _initialize_tables(engine)
    engine.dispose()
    with closing(sqlite3.connect(path)) as database:
        return heading(metadata.version("mlflow")) + "\n".join(database.iterdump()) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        SCHEMA.write_text(schema_of_migrations(Path(folder)), encoding="utf-8")
    print(f"wrote {SCHEMA}")
