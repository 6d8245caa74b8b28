"""The schema that readers of the published file rely on, as it is kept: its version and its relations.

Belongs here: reading the kept description. Does not belong here: the tables themselves (`contracts/`, `views.sql`),
holding the code against it and refreshing it (the suite does: `python -m gesture_assets_tests.published_schema`).
"""

import json
from pathlib import Path
from typing import Any

SNAPSHOT = Path(__file__).parent / "published_schema.json"

Schema = dict[str, dict[str, Any]]  # relation -> its kind, grain, key, parameters, and columns: name -> type


def kept_schema() -> tuple[str, Schema]:
    """The version of the published schema, and the schema that it stands for."""
    document = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    return document["version"], document["relations"]
