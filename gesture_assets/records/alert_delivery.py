"""Telling people of alerts: log lines, a file with what is open, and one POST to the webhook with what is new.

Belongs here: writing and sending, and why sending failed. Does not belong here: what an alert says and when it is news
(`monitoring/alerts.py`), what became of it before (`alert_log.py`), when a night tells (`nights/alerts.py`).
"""

import http.client
import json
import logging
import os
import urllib.request
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from gesture_assets.monitoring.alerts import TOLD, Alert, Change, Incident, document_of, line_of
from gesture_assets.vocabulary.severity import Severity

TIMEOUT_SECONDS = 5  # the night waits for nobody

LEVELS = {Severity.ERROR: logging.ERROR, Severity.WARN: logging.WARNING}


@dataclass(frozen=True)
class Delivery:
    """What was told: the log's lines for the incidents that the webhook took; `failure` says why it took none."""

    told: tuple[Change, ...] = ()
    failure: str | None = None


def deliver(
    incidents: Iterable[Incident],
    log: logging.Logger,
    json_file: Path,
    webhook: str | None,
    *,
    night: date,
    timeout_seconds: float = TIMEOUT_SECONDS,
    quiet: Collection[str] = (),
) -> Delivery:
    """Tell of what is open: log lines, `json_file` with all of it, and one POST with what people do not know yet.

    Alerts whose keys are `quiet` get no log line.

    The file holds every open incident and is replaced in one step. The webhook gets `{"text", "night", "alerts"}`;
    chats that take incoming webhooks show the text. It is not called where there is no news. Whatever goes wrong with
    it is a note and never fails a night; the note does not hold its address, which is a secret.
    """
    standing = [incident for incident in incidents if incident.is_open]
    for incident in standing:
        if not incident.is_acknowledged and incident.alert.key not in quiet:
            log.log(LEVELS[incident.alert.severity], line_of(incident))
    write_file(standing, json_file, night=night)
    news = [incident for incident in standing if incident.is_news]
    if not webhook or not news:
        return Delivery()
    if failure := _notify(news, log, webhook, night, timeout_seconds):
        return Delivery(failure=failure)
    return Delivery(tuple(Change(incident.alert, incident.incident, night, TOLD) for incident in news))


def tell_unlogged(
    alert: Alert, log: logging.Logger, webhook: str | None, *, night: date, timeout_seconds: float = TIMEOUT_SECONDS
) -> None:
    """Tell of an alert that the log of alerts cannot take: a log line and a POST. It is told as often as it sounds."""
    incident = Incident(alert, 1, night, night, 1)
    log.log(LEVELS[alert.severity], line_of(incident))
    if webhook:
        _notify([incident], log, webhook, night, timeout_seconds)


def write_file(incidents: Iterable[Incident], json_file: Path, *, night: date) -> None:
    """Replace `json_file` with what is open, in one step."""
    _write(document_of([incident for incident in incidents if incident.is_open], night), json_file)


def _notify(news: Sequence[Incident], log: logging.Logger, webhook: str, night: date, timeout_seconds: float) -> str:
    """POST `news`; why that failed, empty where it did not."""
    failure = _post(document_of(news, night) | {"text": "\n".join(map(line_of, news))}, webhook, timeout_seconds)
    if failure:
        log.warning(failure)
    return failure or ""


def _write(document: object, path: Path) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(document, indent=1, default=str), encoding="utf-8")
    beside.replace(path)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET, without the alerts, and look delivered."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        """Follow nothing: the redirection comes out as the error that it is here."""


def _post(document: object, webhook: str, timeout_seconds: float) -> str | None:
    """POST `document`; why that failed, None where it did not."""
    body = json.dumps(document, default=str).encode()
    try:
        request = urllib.request.Request(webhook, body, {"Content-Type": "application/json"})
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout_seconds):
            return None
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = str(error) if isinstance(error, OSError) else type(error).__name__  # others quote the address
        return f"The webhook (GESTURE_ALERT_WEBHOOK) did not take the alerts: {reason}"
