"""Audits a staged table with Great Expectations, in process and inside DuckDB.

Belongs here: turning a contract's expectations into a GX suite, running it over a connection that is already open, and
reading the answers. Does not belong here: what is expected (`contracts/`), what follows from a verdict
(`promotion.py`). GX is imported inside the function: it takes seconds, and most commands never audit anything.
"""

import logging
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import duckdb

from gesture_assets.compat import gx_duckdb
from gesture_assets.contracts.contract import Contract, Expectation
from gesture_assets.errors import GestureError, listing
from gesture_assets.vocabulary.severity import Severity, severity_of
from gesture_assets.warehouse.schemas import AUDIT_SCHEMA, LIVE

SHOWN_ROWS = 5
NOT_EVALUATED = "not evaluated, the structure differs"


@dataclass(frozen=True)
class CheckOutcome:
    """What one check found. `found` counts unexpected rows or values; `sample` shows the first of them."""

    name: str
    passed: bool
    severity: Severity
    observed: str
    found: int = 0
    sample: tuple[dict[str, Any], ...] = ()
    recovery: str = ""
    sql: str = ""

    @property
    def blocks(self) -> bool:
        """Whether this outcome keeps the partition from going live."""
        return not self.passed and self.severity is Severity.ERROR

    @property
    def in_short(self) -> str:
        """`name: 3 rows`, as error messages show it."""
        return f"{self.name}: {self.observed}"


@dataclass(frozen=True)
class Audit:
    """The outcomes of one table over one window."""

    table: str
    outcomes: tuple[CheckOutcome, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether nothing that blocks has failed."""
        return not any(outcome.blocks for outcome in self.outcomes)

    @property
    def is_structured(self) -> bool:
        """Whether columns and types hold, without which nothing else was evaluated."""
        return not any(outcome.observed == NOT_EVALUATED for outcome in self.outcomes)

    @property
    def breaches(self) -> tuple[CheckOutcome, ...]:
        """The failed checks that block, without those that could not be evaluated."""
        return tuple(outcome for outcome in self.outcomes if outcome.blocks and outcome.observed != NOT_EVALUATED)


def merge_outcomes(outcomes: Sequence[CheckOutcome]) -> CheckOutcome:
    """One check's `outcomes` over several windows: what failed, or the last where nothing did."""
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if not failed:
        return outcomes[-1]
    return replace(
        failed[0],
        observed="; ".join(dict.fromkeys(outcome.observed for outcome in failed)),
        found=sum(outcome.found for outcome in failed),
        sample=tuple(row for outcome in failed for row in outcome.sample)[:SHOWN_ROWS],
    )


@cache
def _great_expectations() -> Any:
    """GX, imported once and told to keep quiet: its progress bars and log lines are not for our users."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GX's own imports warn about libraries it supports and we do not use
        import great_expectations

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    return great_expectations


@cache
def _context() -> Any:
    """One GX context for the process: each would make a temporary folder and write its configuration."""
    context = _great_expectations().get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    return context


@cache
def _source() -> Any:
    """GX's data source, one for the process: each would write the configuration anew."""
    return gx_duckdb.add_source(_context(), "staged")


@cache
def _batch(table: str) -> Any:
    """All rows of the staged table of this name, whichever they are by then."""
    asset = _source().add_table_asset(name=table, table_name=table)
    return asset.add_batch_definition_whole_table("all")


def _expectation(check: Expectation, placeholders: dict[str, str]) -> Any:
    """The GX object of one of our expectations; SQL gets its placeholders and GX its own `{batch}`."""
    gx = _great_expectations()
    arguments = dict(check.arguments)
    if sql := arguments.get("unexpected_rows_query"):
        for name, value in placeholders.items():
            sql = sql.replace("{" + name + "}", value)
        # GX formats the query: every brace that is not {batch} belongs to a pattern and is doubled.
        arguments["unexpected_rows_query"] = sql.replace("{", "{{").replace("}", "}}").replace("{{batch}}", "{batch}")
    name = "".join(part.capitalize() for part in check.type.split("_"))
    return getattr(gx.expectations, name)(**arguments, meta={"name": check.name})


def _outcome(check: Expectation, result: Any, table: str, blocking: Collection[str]) -> CheckOutcome:
    info = result.exception_info or {}
    raised = info if "raised_exception" in info else next(iter(info.values()), {})
    if raised.get("raised_exception"):
        raise GestureError(
            f"The check {check.name} of {table} could not be evaluated.",
            expected="a check that answers pass or fail",
            found=str(raised.get("exception_message"))[:500],
            where=f"the contract of {table}",
            next_step="mend the check; nothing was promoted",
        )
    body = dict(result.result)
    sample: tuple[dict[str, Any], ...] = ()
    count = 0
    if check.type == "unexpected_rows_expectation":
        count = int(body["observed_value"])
        rows = body.get("details", {}).get("unexpected_rows", [])
        sample = tuple({str(k): str(v) for k, v in row.items()} for row in rows[:SHOWN_ROWS])
        observed = f"{count:,} row{'' if count == 1 else 's'}"
    elif "unexpected_count" in body:
        count = int(body["unexpected_count"] or 0)  # GX counts nothing in a column that is all null
        values = body.get("partial_unexpected_list") or []
        sample = tuple({check.arguments["column"]: str(value)} for value in values[:SHOWN_ROWS])
        observed = f"{count:,} of {int(body['element_count'] or 0):,} values"
    else:
        observed = str(body.get("observed_value"))
        if not result.success and "column_list" in check.arguments:
            wanted, seen = check.arguments["column_list"], body.get("observed_value") or []
            observed = f"missing {listing(set(wanted) - set(seen))}; unexpected {listing(set(seen) - set(wanted))}" + (
                "" if set(wanted) != set(seen) else f"; order {seen[:5]}"
            )
    sql = str(check.arguments.get("unexpected_rows_query", ""))
    severity = severity_of(check.name, blocking)
    return CheckOutcome(check.name, bool(result.success), severity, observed, count, sample, check.recovery, sql)


def audit(connection: duckdb.DuckDBPyConnection, contract: Contract, blocking: Collection[str] = ()) -> Audit:
    """Run every check of `contract` on `scratch.audit.<table>`; of those that only report, `blocking` block as well.

    Where the structure does not hold, the other checks are reported as failed and "not evaluated": they would only
    crash. Raises `GestureError` when a check itself breaks.
    """
    answers = _run(connection, contract, contract.checks)
    structure = [_outcome(check, answers[check.name], contract.name, blocking) for check in contract.structure]
    rest = contract.checks[len(contract.structure) :]
    if not all(outcome.passed for outcome in structure):
        skipped = (CheckOutcome(c.name, False, c.severity, NOT_EVALUATED, recovery=c.recovery) for c in rest)
        return Audit(contract.name, (*structure, *skipped))
    judged = (_outcome(check, answers[check.name], contract.name, blocking) for check in rest)
    return Audit(contract.name, (*structure, *judged))


def outcomes_of(
    connection: duckdb.DuckDBPyConnection, contract: Contract, names: Collection[str], blocking: Collection[str] = ()
) -> dict[str, CheckOutcome]:
    """What the checks of `contract` with these `names` find alone, where its structure is known to hold."""
    checks = [check for check in contract.checks if check.name in names]
    answers = _run(connection, contract, checks)
    return {check.name: _outcome(check, answers[check.name], contract.name, blocking) for check in checks}


def not_evaluated(contract: Contract) -> Audit:
    """The audit of a table none of whose checks could be evaluated."""
    outcomes = (CheckOutcome(c.name, False, c.severity, NOT_EVALUATED, recovery=c.recovery) for c in contract.checks)
    return Audit(contract.name, tuple(outcomes))


def _run(connection: duckdb.DuckDBPyConnection, contract: Contract, checks: Sequence[Expectation]) -> dict[str, Any]:
    """GX's answer to each of `checks`, by name."""
    gx = _great_expectations()
    placeholders = {"staged": AUDIT_SCHEMA, "live": LIVE, "days": f"{AUDIT_SCHEMA}.requested_days"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SQLAlchemy and duckdb_engine warn about each other's versions
        with gx_duckdb.answered_by(connection) as cursor:
            cursor.execute(f"use {AUDIT_SCHEMA}")
            batch = _batch(contract.name).get_batch()
            suite = gx.ExpectationSuite(name=contract.name)
            for check in checks:
                suite.add_expectation(_expectation(check, placeholders))
            results = batch.validate(suite, result_format={"result_format": "COMPLETE"})
    return {result.expectation_config.meta["name"]: result for result in results.results}
