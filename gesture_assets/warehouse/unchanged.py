"""What a day of a table was built from, as one key: a step whose key is the one it was built with has nothing to do.

Belongs here: the key, and what the ledger says of days whose key has stayed. Does not belong here: which sources a step
has beside its tables (`defs/`, they pass them in), building anything.

The key of a day holds more than the day needs: all of our code, every setting that may reach a row, every partition of
every table behind it up to the day. What a key leaves out is built wrongly one night; what is too much in it
costs a rebuild.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path

from gesture_assets.contracts.catalogue import ancestors
from gesture_assets.contracts.contract import Contract
from gesture_assets.settings import Settings
from gesture_assets.vocabulary.severity import Severity
from gesture_assets.warehouse import ledger
from gesture_assets.warehouse.audit import CheckOutcome
from gesture_assets.warehouse.ledger import Verdict
from gesture_assets.warehouse.warehouse import BEFORE, BUILD, EMPTY_HASH, LIVE, DayVerdict, Session, TableCommit

log = logging.getLogger(__name__)

PACKAGE = Path(__file__).parents[1]
CODE = ("*.py", "*.sql", "*.toml")
# Where things are, how long to wait, how much to use: no row depends on them. What a CRM holds is a source of its own.
OPERATIONAL = {
    "data_dir",
    "crm_url",
    "partitions_start",
    "pseudonym_key",
    "lock_timeout_seconds",
    "published_keep",
    "retry_count",
    "duckdb_threads",
    "duckdb_memory_limit",
}


@cache
def code_digest() -> str:
    """One hash over our code, rule sets and source descriptions as they are shipped."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in CODE for path in PACKAGE.rglob(pattern)):
        digest.update(f"{path.relative_to(PACKAGE)}:".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def build_keys(
    session: Session, tables: Sequence[Contract], settings: Settings, sources: Mapping[date, str]
) -> dict[date, str]:
    """Day of the run -> key of `tables`, built together; days with a closed gate behind them have none.

    `sources`: day -> what a step reads beside tables of the warehouse.
    """
    general = json.dumps(
        [code_digest(), [table.name for table in tables], settings.model_dump(mode="json", exclude=OPERATIONAL)],
        sort_keys=True,
    )
    behind = dict.fromkeys(name for table in tables for name in ancestors(table.name))
    digests = {name: _digests(session, name) for name in behind}
    keys = {}
    for day in session.run.days:
        inputs = {name: by_day.get(day) for name, by_day in digests.items()}
        if all(inputs.values()):
            text = json.dumps([general, sources.get(day, ""), inputs], sort_keys=True)
            keys[day] = hashlib.sha256(text.encode()).hexdigest()[:32]
    return keys


def _digests(session: Session, table: str) -> dict[date, str]:
    """Day of the run -> a hash over what passed of `table` up to the day; none from a closed gate on.

    Reading would refuse there, and say why.
    """
    verdicts = ledger.latest(session.connection, table)
    running = hashlib.sha256()
    found = {}
    for day in session.required_days(through=session.run.days[-1]):
        entry = verdicts.get(day)
        if entry is None or entry[0] is Verdict.FAIL:
            break
        running.update(f"{day}:{entry[0]}:{entry[3]};".encode())
        found[day] = running.copy().hexdigest()
    return found


def still_live(
    session: Session, tables: Sequence[Contract], keys: Mapping[date, str]
) -> tuple[TableCommit, ...] | None:
    """The commits that made the days of the run, where each day was built with its key of now; else None.

    Rows that somebody edited since are not what was built, and are built again.
    """
    days = session.run.days
    if set(keys) != set(days):
        return None
    kept = []
    for table in tables:
        built = ledger.built_with(session.connection, table.name, days)
        if {day: row.input_hashes.get(BUILD) for day, row in built.items()} != dict(keys):
            return None
        # What earlier days hold may decide what a day holds, such as which copy of an event was the first.
        before = ledger.earlier_days(ledger.live_hashes(session.connection, table.name), days)
        if any(row.input_hashes.get(BEFORE) != before[day] for day, row in built.items()):
            return None
        columns = ", ".join(table.column_names)
        live = session.hashes(f"(select {columns} from {LIVE}.{table.name})", days)
        if any(live.get(day, (0, EMPTY_HASH)) != (row.row_count, row.content_hash) for day, row in built.items()):
            return None
        kept.append((table, built))
    log.info("%s: nothing has changed, the live rows stay", session.run.step)
    return tuple(
        TableCommit(
            table,
            tuple(
                DayVerdict(day, True, built[day].row_count, built[day].content_hash, built[day].attempt, False)
                for day in days
            ),
            _outcomes(table, [built[day].checks for day in days]),
        )
        for table, built in kept
    )


def _outcomes(table: Contract, checks: Sequence[str]) -> tuple[CheckOutcome, ...]:
    """What the checks of `table` said when the days were built; of several days, what did not pass."""
    said: dict[str, dict[str, str]] = {}
    for text in checks:
        for check in json.loads(text):
            if check["name"] not in said or not check["passed"]:
                said[check["name"]] = check
    recovery = {check.name: check.recovery for check in table.checks}
    return tuple(
        CheckOutcome(
            name, bool(one["passed"]), Severity(one["severity"]), one["observed"], recovery=recovery.get(name, "")
        )
        for name, one in said.items()
    )
