"""MLflow's new database is what its migrations make of one, with their version; another version makes its own."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gesture_assets.compat import mlflow_database
from gesture_assets.compat.mlflow_database import SCHEMA, create_database, heading
from gesture_assets_tests.mlflow_schema import schema_of_migrations


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as database:
        return {name for (name,) in database.execute("select name from sqlite_master where type = 'table'")}


def statements(schema: str) -> set[tuple[str, ...]]:
    """Each statement as its lines; migrations write indexes and constraints in any order."""
    return {tuple(sorted(line.strip(", \t") for line in text.splitlines())) for text in schema.split(";\n")}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")  # MLflow's own, about its own
def test_the_schema_is_what_the_migrations_make(tmp_path: Path) -> None:
    ours, theirs = statements(SCHEMA.read_text()), statements(schema_of_migrations(tmp_path))
    assert ours == theirs, "python -m gesture_assets_tests.mlflow_schema"


def test_a_new_database_has_the_tables_and_the_version_of_the_schema(tmp_path: Path) -> None:
    create_database(tmp_path / "mlflow.db")
    assert {"runs", "experiments", "registered_models", "alembic_version"} <= tables(tmp_path / "mlflow.db")
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def test_a_database_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("")
    create_database(tmp_path / "mlflow.db")
    assert not tables(tmp_path / "mlflow.db")


def test_another_version_of_mlflow_makes_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "schema.sql").write_text(heading("0.1") + "create table runs (id integer);\n")
    monkeypatch.setattr(mlflow_database, "SCHEMA", tmp_path / "schema.sql")
    create_database(tmp_path / "mlflow.db")
    assert not (tmp_path / "mlflow.db").exists()
