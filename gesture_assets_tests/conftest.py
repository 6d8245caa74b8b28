"""What tests share: the reference data, a data folder of their own, an open warehouse, and whole nights.

Belongs here: fixtures that more than one folder uses. Does not belong here: expectations.
"""

import gc
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import date, datetime
from pathlib import Path

import duckdb
import hypothesis
import pytest

from gesture_assets.errors import GestureError
from gesture_assets.records.opening import warehouse_of
from gesture_assets.settings import Settings, load_settings
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.session import Session
from gesture_assets.warehouse.warehouse import connect
from gesture_assets_tests import small_world
from gesture_assets_tests.advice import commands_in, refusal

NOW = datetime(2026, 3, 10, 2, 0)  # a night's usual hour; the day that has just ended is 2026-03-09

PURE = ("events", "subscribers", "features", "rules", "models", "monitoring", "pings")  # as the Makefile has them

KEY = "a key for tests only"

# Examples of a property, the same ones each time: few, or with --hypothesis-profile=full as many as `make test` wants.
for _profile, _examples in {"fast": 6, "full": 24}.items():
    hypothesis.settings.register_profile(
        _profile, max_examples=_examples, deadline=None, derandomize=True, database=None
    )
hypothesis.settings.load_profile("fast")

OpenSession = Callable[..., AbstractContextManager[Session]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Coverage is that of a pure room by its own tests: to follow all others as well takes as long as running them."""
    for item in items:
        if not set(item.path.relative_to(item.config.rootpath).parts) & {"properties", *PURE}:
            item.add_marker(pytest.mark.no_cover)


def pytest_collection_finish() -> None:
    """What is imported stays until the end: the collector of garbage need not look at it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of reference data, beside the checkout or named by GESTURE_REFERENCE_DATA; skips if absent."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "reference"
    folder = Path(os.environ.get("GESTURE_REFERENCE_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"the reference data is not at {folder}; set GESTURE_REFERENCE_DATA to have these tests run")
    return folder


def use_settings(patch: pytest.MonkeyPatch, data_dir: Path, more: Mapping[str, str] | None = None) -> None:
    """Let the environment point to `data_dir`, with no settings but `more`."""
    for variable in [name for name in os.environ if name.startswith("GESTURE_") and name != "GESTURE_REFERENCE_DATA"]:
        patch.delenv(variable)
    own = {"GESTURE_DATA_DIR": data_dir, "GESTURE_PSEUDONYM_KEY": KEY, "DAGSTER_HOME": data_dir / "dagster_home"}
    for variable, value in (own | dict(more or {})).items():
        patch.setenv(variable, str(value))


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder that the settings of this test point to."""
    folder = tmp_path / "data"
    folder.mkdir()
    use_settings(monkeypatch, folder)
    return folder


@pytest.fixture(autouse=True)
def advice_is_taken() -> Iterator[None]:
    """Every command that an error of ours advises, while a test runs, is one that the command line takes."""
    advised: set[str] = set()
    build = GestureError.__init__

    def noted(error: GestureError, doing: str, **parts: str) -> None:
        build(error, doing, **parts)
        advised.update(commands_in(error.next_step))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GestureError, "__init__", noted)
        yield
    refused = {command: why for command in sorted(advised) if (why := refusal(command, strict=True))}
    assert refused == {}, "advised by an error that this test provokes, and refused by the command line"


@pytest.fixture
def copied_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """`copied_world("small")`: a copy of one of `WORLDS` that the settings of this test point to, to be changed."""

    from gesture_assets_tests.worlds import WORLDS, copy_world  # they import Dagster

    def copied(name: str) -> Path:
        folder = copy_world(name, tmp_path / "data")
        use_settings(monkeypatch, folder, WORLDS[name].settings())
        return folder

    return copied


@pytest.fixture
def settings(data_dir: Path) -> Settings:
    """The settings that go with `data_dir`."""
    return load_settings()


@pytest.fixture
def open_session(settings: Settings) -> OpenSession:
    """`with open_session(date(2026, 3, 9)) as session:` — the warehouse, open for these days."""

    @contextmanager
    def opened(
        *days: date, now: datetime = NOW, run_id: str = "run-0001", step: str = "a_test", **reasons: str
    ) -> Iterator[Session]:
        with warehouse_of(settings).open(RunInfo(run_id, now, days, step, **reasons)) as session:  # pyright: ignore[reportArgumentType]
            yield session

    return opened


@pytest.fixture(scope="session")
def duckdb_started() -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB, started once: that takes as long as most tests."""
    with connect() as connection:
        yield connection


@pytest.fixture
def connection(duckdb_started: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to an empty database in memory."""
    with duckdb_started.cursor() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("attach ':memory:' as test")
        connection.execute("use test")
        yield connection
    duckdb_started.execute("detach test")


@pytest.fixture
def write_crm(data_dir: Path) -> Callable[..., Path]:
    """Write a CRM database of document 003's shape at its default place, from rows; small and readable."""

    def write(
        subscribers: list[tuple[object, ...]],
        tags: list[tuple[object, ...]] = (),  # pyright: ignore[reportArgumentType]
        transactions: list[tuple[object, ...]] = (),  # pyright: ignore[reportArgumentType]
        *,
        dated_tags: bool = False,
    ) -> Path:
        path = data_dir / "crm_database.sqlite"
        small_world.write_crm(path, subscribers, tags, transactions, dated_tags=dated_tags)
        return path

    return write
