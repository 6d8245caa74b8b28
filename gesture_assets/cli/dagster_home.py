"""Dagster's own storage under the data folder.

Belongs here: the folder and its dagster.yaml. Does not belong here: how its SQLite files are written
(`compat/dagster_storage.py`, `compat/dagster_event_log.py`), what Dagster runs (`definitions.py`). `prepare` is called
before Dagster is imported, for it reads DAGSTER_HOME then.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gesture_assets.errors import ConfigError, GestureError
from gesture_assets.settings import Settings
from gesture_assets.warehouse.space import FULL, disk_full

DISK_ERROR = "disk I/O error"
ROOM = 1_000_000  # bytes: less is none, as SQLite takes some hundred kB beside each of its files

# The warehouse has one writer, and runs wait for it step by step. Two may be under way, one of them a backfill: so the
# nightly starts beside a backfill of weeks, which lets it pass between any two steps. The schedule's priority brings it
# to the head of the queue. The lines of our own logger (who waits for whom) belong on the run page.
DAGSTER_YAML = """\
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 2
    tag_concurrency_limits:
      - key: dagster/backfill
        limit: 1
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 60
event_log_storage:
  module: gesture_assets.compat.dagster_event_log
  class: StepwiseEventLog
python_logs:
  managed_python_loggers: [gesture_assets]
  python_log_level: INFO
"""

# The same location as workspace.yaml in the checkout, for an installed package that has no checkout beside it.
WORKSPACE_YAML = """\
load_from:
  - python_module:
      module_name: gesture_assets.definitions
      location_name: gesture_assets
"""


def prepare(settings: Settings) -> Path:
    """Create the folder and its configuration where there are none, and name it in DAGSTER_HOME unless one is named."""
    home = Path(os.environ.get("DAGSTER_HOME") or settings.dagster_home).resolve()
    home.mkdir(parents=True, exist_ok=True)
    configuration = home / "dagster.yaml"
    if not configuration.exists():
        configuration.write_text(DAGSTER_YAML, encoding="utf-8")
    (home / "workspace.yaml").write_text(WORKSPACE_YAML, encoding="utf-8")
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
    return home


@contextmanager
def raise_unusable_storage() -> Iterator[None]:
    """Let a store of Dagster's that is damaged, or a configuration that is none, come out in our words."""
    try:
        yield
    except Exception as error:
        if isinstance(error, GestureError) or not _is_about_storage(error):
            raise
        home = Path(os.environ["DAGSTER_HOME"])
        # SQLite says nothing else where there is no room for what it keeps beside a file.
        if DISK_ERROR in str(error) and shutil.disk_usage(home).free < ROOM:
            raise disk_full("Dagster's storage", home, FULL[errno.ENOSPC], ROOM) from error
        raise ConfigError(
            "Dagster's own storage cannot be used; no table was changed.",
            expected="what Dagster has written there: its configuration, runs and event logs",
            found=str(error).strip().partition("\n")[0],
            where=str(home),
            next_step=f"mv {home} {home}.damaged  (only the history of runs is in it), then  gesture run",
        ) from error


def _is_about_storage(error: BaseException | None) -> bool:
    """Whether SQLite or YAML refused what they were to read, be it behind another error.

    An operational error is none of these, but for one of the disk: somebody else may be writing.
    """
    while error is not None:
        names = {kind.__name__ for kind in type(error).__mro__}
        is_refused = "DatabaseError" in names and ("OperationalError" not in names or DISK_ERROR in str(error))
        if "YAMLError" in names or is_refused:
            return True
        error = error.__cause__
    return False


@contextmanager
def opened_alone() -> Iterator[None]:
    """One process at a time: two that make the tables of Dagster's storage at once break them."""
    with (Path(os.environ["DAGSTER_HOME"]) / "opening.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
