"""Alerts that people believe: one for each thing that is wrong, told once, gone when it is gone.

Belongs here: what an alert says, what tonight's alarms do to those already known. Does not belong here: when something
is wrong (`drift.py`, `performance.py`, `pipeline_health.py`), the table (`records/alert_log.py`), telling people
(`records/alert_delivery.py`).

The rules of the game. An alarm that sounds again is the alert that is open already, counted. A night without it
resolves it. Back within a week it is the same trouble, which the mending has not ended: the alert is reopened and keeps
its count. People are told of an alert when it opens, when it comes back and when a warning becomes an error; never of a
mere repetition, and of nothing that somebody has acknowledged, until it is resolved or gets worse. What could not be
delivered is delivered the next night. Only the last complete night raises or resolves anything: a backfill of an old
day says nothing about now.

A night or a training that failed is an alert as well. It counts attempts, of which a night may have several, and it is
over when one has passed: no other night's alarms say anything about it. A run of old days that failed is one of its
own, with the days in its key, and is over when these are live.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any

from gesture_assets.vocabulary.severity import Severity

REOPENED_WITHIN = 7  # nights from the resolution: a weekly pattern is one alert, and not a new one each week

OPENED, REPEATED, ESCALATED, REOPENED = "opened", "repeated", "escalated", "reopened"
RESOLVED, ACKNOWLEDGED, TOLD = "resolved", "acknowledged", "told"
SEEN = (OPENED, REPEATED, ESCALATED, REOPENED)  # changes that say the alarm sounded that night
NEWS = (OPENED, ESCALATED, REOPENED)  # of these, what people are told

NIGHT_FAILED, TRAINING_FAILED = "night/failed/", "training/failed/"  # what their keys begin with; then the step
FAILURES = (NIGHT_FAILED, TRAINING_FAILED)
OLD_DAYS = re.compile(r"/(\d{4}-\d\d-\d\d)(?:\.\.(\d{4}-\d\d-\d\d))?$")


@dataclass(frozen=True)
class Alert:
    """Something that is wrong tonight. Two alerts with one `key` are the same trouble, such as drift/features/country.

    `what` is a sentence with the figures in it, `place` the table, feature or day it is about, `runbook` what to do, as
    a command where one helps; `numbers` are the figures for machines.
    """

    key: str
    severity: Severity
    owner: str
    what: str
    place: str
    runbook: str
    numbers: Mapping[str, float | None] = field(default_factory=dict[str, float | None])

    def __post_init__(self) -> None:
        finite = {
            name: number if number is not None and math.isfinite(number) else None
            for name, number in self.numbers.items()
        }
        object.__setattr__(self, "numbers", finite)  # JSON knows no NaN


@dataclass(frozen=True)
class Incident:
    """An alert and what has become of it: `alert` as it sounded last, the nights it sounded, and who knows.

    `first_seen` is the night in which it opened; of old days that failed, the first of them. `night_count` are the
    nights it sounded; of a failure the runs that failed. `incident` counts the times that a key came up anew, from 1.
    `resolved_on` is the first night without it, null while it is open. `is_acknowledged`, `is_told`: since the last
    news of it.
    """

    alert: Alert
    incident: int
    first_seen: date
    last_seen: date
    night_count: int
    resolved_on: date | None = None
    is_acknowledged: bool = False
    is_told: bool = False
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    note: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether it sounded in the last night that was judged."""
        return self.resolved_on is None

    @property
    def is_news(self) -> bool:
        """Whether people are yet to be told of it."""
        return self.is_open and not self.is_told and not self.is_acknowledged


@dataclass(frozen=True)
class Change:
    """A line of the alert log: what happened to an incident in the night of a day."""

    alert: Alert
    incident: int
    night: date
    change: str


def key_of_old_days(key: str, first: date, last: date) -> str:
    """The key of a failure of the days from `first` to `last`, after which others were complete already."""
    return f"{key}/{first}" if first == last else f"{key}/{first}..{last}"


def _old_days(key: str) -> tuple[date, date] | None:
    """The first and the last day that the key of a failure names, if any."""
    found = OLD_DAYS.search(key)
    return (date.fromisoformat(found[1]), date.fromisoformat(found[2] or found[1])) if found else None


def is_failure(key: str) -> bool:
    """Whether the alert is about a night or a training that failed."""
    return key.startswith(FAILURES)


def changes(
    incidents: Iterable[Incident],
    tonight: Iterable[Alert],
    night: date,
    *,
    is_backfill: bool,
    unjudged: Collection[str] = (),
) -> list[Change]:
    """What the alarms of the night of the day `night` do to `incidents` (all that are known, resolved ones included).

    `unjudged` are keys that could not be judged tonight, such as for want of rows: they stay as they are, and so do
    failures. The same night again changes nothing, but that a failure is counted. A backfill, and any day before the
    newest that is known, changes nothing either. Two alarms of one key are one, the more severe.
    """
    latest = {incident.alert.key: incident for incident in sorted(incidents, key=lambda incident: incident.incident)}
    if is_backfill or any(night < (incident.resolved_on or incident.last_seen) for incident in latest.values()):
        return []
    # The last of a key wins: errors come last.
    alarms = {alarm.key: alarm for alarm in sorted(tonight, key=lambda alarm: alarm.severity is Severity.ERROR)}
    by_alarms = [_change_by_alarm(alarm, latest.get(alarm.key), night) for alarm in alarms.values()]
    resolved = [
        Change(incident.alert, incident.incident, night, RESOLVED)
        for key, incident in latest.items()
        if incident.is_open and key not in alarms and key not in unjudged and not is_failure(key)
    ]
    return [change for change in by_alarms if change is not None] + resolved


def passed(incidents: Iterable[Incident], kind: str, night: date, *, waiting: Collection[date] = ()) -> list[Change]:
    """What a night or a training that has passed ends: the open failures of `kind` up to `night`, an old one too.

    Those of old days end with the last of their days that are not live: `waiting` are all of these.
    """
    over: list[Change] = []
    for incident in incidents:
        if not incident.is_open or not incident.alert.key.startswith(kind):
            continue
        if days := _old_days(incident.alert.key):
            is_over, moment = not any(days[0] <= day <= days[1] for day in waiting), max(night, incident.last_seen)
        else:
            is_over, moment = incident.last_seen <= night, night
        if is_over:
            over.append(Change(incident.alert, incident.incident, moment, RESOLVED))
    return over


def _change_by_alarm(alarm: Alert, before: Incident | None, night: date) -> Change | None:
    if before is None:
        return Change(alarm, 1, night, OPENED)
    if before.resolved_on is not None:
        if (night - before.resolved_on).days > REOPENED_WITHIN:
            return Change(alarm, before.incident + 1, night, OPENED)
        return Change(alarm, before.incident, night, REOPENED)
    if alarm.severity is Severity.ERROR and before.alert.severity is Severity.WARN:
        return Change(alarm, before.incident, night, ESCALATED)
    is_known = night == before.last_seen and not is_failure(alarm.key)
    return None if is_known else Change(alarm, before.incident, night, REPEATED)


def urgency(incident: Incident) -> tuple[bool, str, date, str]:
    """Sorts incidents: open ones before those that are over, errors first, then the oldest."""
    return not incident.is_open, incident.alert.severity.value, incident.first_seen, incident.alert.key


def line_of(incident: Incident) -> str:
    """The alert in a line, as logs and chats show it."""
    alert = incident.alert
    unit = "attempt" if is_failure(alert.key) else "night"
    nights = "" if incident.night_count == 1 else f" ({unit} {incident.night_count} since {incident.first_seen})"
    return f"{alert.severity.value} {alert.key}: {alert.what}{nights} Where: {alert.place}. Next: {alert.runbook}"


def document_of(incidents: Sequence[Incident], night: date) -> dict[str, Any]:
    """The incidents as files and webhooks take them."""
    rows = [asdict(incident) for incident in incidents]
    return {"night": str(night), "alerts": [row.pop("alert") | row for row in rows]}
