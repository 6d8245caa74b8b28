"""What a day of a table was built from, as one key: a step whose key is the one it was built with has nothing to do.

Belongs here: the key, and what the ledger says of days whose key has stayed. Does not belong here: which sources a step
has beside its tables (`nights/`, they pass them in), building anything.

The key of a day holds more than the day needs: all code of the rooms behind the table, every setting that may reach a
row, every partition of every table behind it up to the day. What a key leaves out is built wrongly one night; what is
too much in it costs a rebuild.
"""

import hashlib
import json
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from functools import cache

from gesture_assets.contracts.catalogue import ancestors, domains, domains_of
from gesture_assets.contracts.contract import Contract
from gesture_assets.settings import Settings
from gesture_assets.vocabulary.severity import Severity
from gesture_assets.warehouse import ledger
from gesture_assets.warehouse.audit import CheckOutcome, merge_outcomes
from gesture_assets.warehouse.code_digest import PACKAGE, code_digest
from gesture_assets.warehouse.commits import DayVerdict, TableCommit
from gesture_assets.warehouse.ledger import Built
from gesture_assets.warehouse.promotion import BEFORE, BUILD
from gesture_assets.warehouse.session import Session

log = logging.getLogger(__name__)

IMPORTED = re.compile(r"^\s*(?:from|import) gesture_assets\.(\w+)", re.MULTILINE)
# What any row depends on, beside the domains of its table and of all tables behind it.
ROOMS: tuple[str, ...] = ("compat", "contracts", "nights", "sources", "vocabulary", "warehouse", "frames.py")
# Where things are, how long to wait, how much to use: no row depends on them. What a CRM holds is a source of its own.
OPERATIONAL = {
    "data_dir",
    "crm_url",
    "crm_description",
    "partitions_start",
    "pseudonym_key",
    "lock_timeout_seconds",
    "published_keep",
    "retry_count",
    "duckdb_threads",
    "duckdb_memory_limit",
}


def rooms_behind(tables: Collection[str]) -> frozenset[str]:
    """The rooms that rows of `tables` depend on: their domains, those of all tables behind them, what these import."""
    rooms, waiting = set[str](ROOMS), domains_of(tables)
    while waiting:
        domain = waiting.pop()
        rooms.add(domain)
        waiting |= _imported_domains(domain) - rooms
    return frozenset(rooms)


@cache
def _imported_domains(domain: str) -> frozenset[str]:
    """A domain may use another one's functions without reading its tables."""
    texts = (path.read_text(encoding="utf-8") for path in (PACKAGE / domain).rglob("*.py"))
    return frozenset(room for text in texts for room in IMPORTED.findall(text)).intersection(domains())


def build_keys(
    session: Session,
    tables: Sequence[Contract],
    settings: Settings,
    sources: Mapping[date, str],
    days: Sequence[date],
) -> dict[date, str]:
    """Day of `days` -> key of `tables`, built together; days with a closed gate behind them have none.

    `sources`: day -> what a step reads beside tables of the warehouse.
    """
    names = [table.name for table in tables]
    general = json.dumps(
        [code_digest(rooms_behind(names)), names, settings.model_dump(mode="json", exclude=OPERATIONAL)],
        sort_keys=True,
    )
    behind = dict.fromkeys(other for name in names for other in ancestors(name))
    digests = {name: _digests(session, name, days) for name in behind}
    keys = {}
    for day in days:
        inputs = {name: by_day.get(day) for name, by_day in digests.items()}
        if all(inputs.values()):
            is_whole = session.run.now.date() > day  # what was built of a day in progress is built again
            text = json.dumps([general, sources.get(day, ""), inputs, is_whole], sort_keys=True)
            keys[day] = hashlib.sha256(text.encode()).hexdigest()[:32]
    return keys


def _digests(session: Session, table: str, days: Sequence[date]) -> dict[date, str]:
    """Day up to the last of `days` -> a hash over what passed of `table` up to it; none from a closed gate on.

    Reading would refuse there, and say why.
    """
    asked, known = (table, tuple(days)), session.known.digests
    if asked in known:
        return known[asked]
    verdicts = session.latest(table)
    running = hashlib.sha256()
    digests: dict[date, str] = {}
    for day in session.required_days(through=days[-1], days=days):
        latest = verdicts.get(day)
        if latest is None or not latest.is_open:
            break
        running.update(f"{day}:{latest.verdict}:{latest.content_hash};".encode())
        digests[day] = running.copy().hexdigest()
    known[asked] = digests
    return digests


def still_live(
    session: Session, tables: Sequence[Contract], keys: Mapping[date, str], days: Sequence[date]
) -> tuple[TableCommit, ...] | None:
    """The commits that made `days`, where each was built with its key of now; else None.

    Rows that somebody edited since are not what was built, and are built again.
    """
    if set(keys) != set(days):
        return None
    builds = []
    for table in tables:
        built = session.built_with(table.name, days)
        if {day: row.input_hashes.get(BUILD) for day, row in built.items()} != dict(keys):
            return None
        # What earlier days hold may decide what a day holds, such as which copy of an event was the first.
        before = ledger.earlier_days(ledger.live_hashes(session.latest(table.name)), days)
        if any(row.input_hashes.get(BEFORE) != before[day] for day, row in built.items()):
            return None
        if session.not_as_passed(table, {day: row.content_hash for day, row in built.items()}):
            return None
        builds.append((table, built))
    log.info("%s: nothing has changed, the live rows stay", session.run.step)
    return tuple(_commit(table, [(day, built[day]) for day in days]) for table, built in builds)


def _commit(table: Contract, built: Sequence[tuple[date, Built]]) -> TableCommit:
    """The commit that made days that are left as they are."""
    days = tuple(
        DayVerdict(day, True, row.row_count, row.content_hash, row.attempt, False, _outcomes(table, row.checks))
        for day, row in built
    )
    return TableCommit(table, days, tuple(map(merge_outcomes, zip(*(day.outcomes for day in days), strict=True))))


def _outcomes(table: Contract, checks: str) -> tuple[CheckOutcome, ...]:
    """What the checks of `table` found when a day was built, as the ledger keeps it."""
    recovery = {check.name: check.recovery for check in table.checks}
    return tuple(
        CheckOutcome(
            check["name"],
            bool(check["passed"]),
            Severity(check["severity"]),
            check["observed"],
            recovery=recovery.get(check["name"], ""),
        )
        for check in json.loads(checks)
    )
