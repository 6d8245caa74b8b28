"""The product as the benchmarks run it: whole nights in process, timed from outside.

Belongs here: running the nightly job as `gesture run` does, and where its time goes. Does not belong here: the data
(`world.py`), what it is compared with (`by_hand.py`, `plain_pandas.py`).

Functions of the product are wrapped in timers in this process; the product itself is not changed. A part's time is its
own: what it spends inside another timed part counts there.
"""

import functools
import importlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

# Part -> what is timed for it: `module:name`.
PARTS = {
    "audit": ("gesture_assets.warehouse.window_audit:StagedWindow.audit",),
    "hashing": (
        "gesture_assets.warehouse.relations:hashes",
        "gesture_assets.warehouse.session:Session.verify_unchanged",
    ),
    "ledger": ("gesture_assets.warehouse.gates:Gates.require", "gesture_assets.warehouse.ledger:append"),
    "staging": ("gesture_assets.warehouse.staging:Staging.stage",),
    "promotion": ("gesture_assets.warehouse.promotion:promote",),
    "publishing": ("gesture_assets.publication.publish:publish",),
    "reading files": (
        "gesture_assets.sources.landing_index:LandingIndex.refresh",
        "gesture_assets.sources.landing_index:LandingIndex.load",
    ),
    "Dagster's log": ("dagster:DagsterInstance.handle_new_event",),
}
KEYS = ("event_id", "user_id", "session_id", "rule_id", "mailchimp_id", "landing_line")  # tell rows of a day apart
GATES = ("audit", "hashing", "ledger")  # what a script without gates would not do


class Stopwatch:
    """Seconds per part and per statement; parts that call each other are told apart."""

    def __init__(self) -> None:
        self.parts: Counter[str] = Counter()
        self.statements: list[tuple[float, str, str]] = []  # seconds, step and part, SQL
        self.open: list[list[Any]] = []  # part, seconds of the parts inside it

    def wrap(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, its own seconds added to `part`."""

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            entry: list[Any] = [part, 0.0]
            self.open.append(entry)
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent = time.perf_counter() - started
                self.open.pop()
                self.parts[part] += spent - entry[1]
                if self.open:
                    self.open[-1][1] += spent

        return timed

    def note(self, seconds: float, sql: str) -> None:
        """Remember a statement and the innermost part that ran it."""
        self.statements.append((seconds, self.open[-1][0] if self.open else "assets", " ".join(str(sql).split())))


class TimedConnection:
    """A DuckDB connection whose statements are timed; everything else is the connection's own."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, watch: Stopwatch) -> None:
        self._connection, self._watch = connection, watch

    def execute(self, sql: str, *args: Any, **kwargs: Any) -> Any:
        """Run a statement; DuckDB does its work here and not when rows are fetched."""
        started = time.perf_counter()
        try:
            return self._connection.execute(sql, *args, **kwargs)
        finally:
            self._watch.note(time.perf_counter() - started, sql)

    def cursor(self) -> "TimedConnection":
        """A further connection to the same database, timed as well."""
        return TimedConnection(self._connection.cursor(), self._watch)

    def __enter__(self) -> "TimedConnection":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def holders(name: str) -> list[tuple[Any, str]]:
    """What holds the function `module:name`, as (owner, attribute): its class, or every module that imported it.

    Raises `ImportError` or `AttributeError` for a name that is not there.
    """
    module, path = name.split(":")
    owner: Any = importlib.import_module(module)
    *classes, attribute = path.split(".")
    for one in classes:
        owner = getattr(owner, one)
    function = getattr(owner, attribute)
    if classes:
        return [(owner, attribute)]
    ours = [loaded for place, loaded in sys.modules.items() if place.startswith("gesture_assets.")]
    return [(loaded, key) for loaded in ours for key, value in vars(loaded).items() if value is function]


@contextmanager
def timed(*, statements: bool = False) -> Iterator[Stopwatch]:
    """Time the parts of every night that runs meanwhile; with `statements`, every SQL statement as well."""
    import gesture_assets.definitions  # every module that holds a function is there
    from gesture_assets.warehouse import warehouse

    del gesture_assets
    watch = Stopwatch()
    places = [(part, *place) for part, names in PARTS.items() for name in names for place in holders(name)]
    undo = [(owner, attribute, getattr(owner, attribute)) for _, owner, attribute in places]
    for part, owner, attribute in places:
        setattr(owner, attribute, watch.wrap(part, getattr(owner, attribute)))
    if statements:
        plain = warehouse.connect
        undo.append((warehouse, "connect", plain))
        warehouse.connect = lambda *args, **kwargs: TimedConnection(plain(*args, **kwargs), watch)  # pyright: ignore
    try:
        yield watch
    finally:
        for owner, attribute, original in reversed(undo):
            setattr(owner, attribute, original)


def use(data_dir: Path) -> None:
    """Let the settings of this process point to `data_dir`, and nothing else."""
    for name in [name for name in os.environ if name.startswith("GESTURE_") and "DUCKDB" not in name]:
        del os.environ[name]
    os.environ["GESTURE_DATA_DIR"] = str(data_dir)
    os.environ["GESTURE_PSEUDONYM_KEY"] = "a key for benchmarks only"
    os.environ["DAGSTER_HOME"] = str(data_dir / "dagster_home")


def contents(warehouse: Path, day: date) -> dict[str, dict[str, str]]:
    """Table -> column -> hash of its values on `day`, whatever the order of rows; provenance columns are left out."""
    from gesture_assets.contracts.contract import PARTITION, PROVENANCE

    con = duckdb.connect(str(warehouse), read_only=True)
    columns: dict[str, list[str]] = {}
    for table, column in con.execute(
        "select table_name, column_name from duckdb_columns() where schema_name = 'main' and not internal order by all"
    ).fetchall():
        columns.setdefault(table, []).append(column)
    found = {}
    for table, names in columns.items():
        if PARTITION in names and set(PROVENANCE) <= set(names):
            key = [name for name in KEYS if name in names]
            kept = [name for name in names if name not in PROVENANCE]
            hashes = ", ".join(f"sum(hash({', '.join((*key, name))}) >> 16)::varchar" for name in kept)
            values = con.execute(f"select {hashes} from {table} where {PARTITION} = ?", [day]).fetchone() or ()
            found[table] = dict(zip(kept, map(str, values), strict=True))
    con.close()
    return found


def run(first: date, last: date | None = None, *, tables: tuple[str, ...] = ()) -> dict[str, float]:
    """Run the nightly for a day or a range, only `tables` where given; seconds per step, and of the whole run.

    The run is recorded in Dagster's own storage below the data folder, as `gesture run` does it. Raises `RuntimeError`
    with the failure's text when the night fails.
    """
    import dagster as dg

    from gesture_assets.cli.dagster_home import prepare
    from gesture_assets.definitions import load_definitions
    from gesture_assets.settings import load_settings
    from gesture_assets_tests.running import definitions, failures, run_in_dagster

    settings = load_settings()
    prepare(settings)
    instance = dg.DagsterInstance.get()
    load_definitions(settings)  # as `gesture run`: with what makes Dagster's own work cheaper
    definitions()  # those that are run are made before the clock starts
    select = " or ".join(f'key:"{table}"' for table in tables) or None
    now = datetime.combine((last or first) + timedelta(days=1), datetime.min.time()).replace(hour=2)
    started = time.perf_counter()
    result = run_in_dagster(first, last, select=select, now=now, instance=instance)
    seconds = time.perf_counter() - started
    if not result.success:
        raise RuntimeError(failures(result))
    spent = {"whole": seconds}
    begun: dict[str, float] = {}
    for record in instance.all_logs(result.run_id):
        event = record.dagster_event
        if event and event.event_type_value == "STEP_START":
            begun[str(event.step_key)] = record.timestamp
        elif event and event.event_type_value == "STEP_SUCCESS":
            spent[str(event.step_key)] = record.timestamp - begun[str(event.step_key)]
    return spent
