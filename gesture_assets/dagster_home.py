"""Dagster's own storage under the data folder.

Belongs here: the folder and its dagster.yaml. Does not belong here: what Dagster runs (`definitions.py`). Called before
Dagster is imported, for it reads DAGSTER_HOME then.
"""

import os
from pathlib import Path

from gesture_assets.settings import Settings

# Runs queue one behind the other for the one writer; the daemon ends runs whose process is gone, and gives back what
# they held, so that a killed night does not stop the next one.
DAGSTER_YAML = """\
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 1
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 60
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
