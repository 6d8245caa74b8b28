"""Two alerts to read, and an incident of one of them.

Belongs here: what tests of alerts and of their delivery share. Does not belong here: expectations.
"""

from dataclasses import replace
from datetime import date
from typing import Any

from gesture_assets.monitoring.alerts import Alert, Incident
from gesture_assets.vocabulary.severity import Severity

NIGHT = date(2026, 3, 9)
DRIFT = Alert(
    "drift/features/country",
    Severity.WARN,
    "scoring@gesture.example",
    "country drifted: PSI 0.31.",
    "user_features",
    "gesture drift show country",
    {"psi": 0.31},
)
LATE = replace(DRIFT, key="freshness/user_features", severity=Severity.ERROR, what="Not live by six.", numbers={})


def opened(alert: Alert = DRIFT, **values: Any) -> Incident:
    return replace(Incident(alert, 1, NIGHT, NIGHT, 1), **values)
