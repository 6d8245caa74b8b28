"""A contract's checks as a suite of Great Expectations, which judges what one metric of the table says.

Belongs here: GX's side of an audit, its source, its metric, its expectations. Does not belong here: the SQL of the
metric (`answers.py`), what follows from a judgement (`audit.py`). Each check is an expectation of GX's own type with
its own result; asked one by one they would cost GX and DuckDB ten times as much. Importing this takes seconds, for GX
does: `audit.py` imports it when there is something to judge.
"""

import logging
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from functools import cache
from typing import Any

import duckdb
import great_expectations as gx
from great_expectations.execution_engine.sqlalchemy_execution_engine import SqlAlchemyExecutionEngine
from great_expectations.expectations.expectation import MetaExpectation
from great_expectations.expectations.metrics.metric_provider import metric_value
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider
from great_expectations.validator.metric_configuration import MetricConfiguration
from great_expectations.validator.validator import ValidationDependencies

from gesture_assets.compat import gx_duckdb
from gesture_assets.contracts.contract import Contract, Expectation
from gesture_assets.warehouse.answers import Answer, answers, filled_in
from gesture_assets.warehouse.schemas import AUDIT_SCHEMA

logging.getLogger("great_expectations").setLevel(logging.ERROR)  # its log lines are not for our users

METRIC = "table.answers_of_checks"
RESULT_FORMAT = {"result_format": "COMPLETE"}


class AnswersOfChecks(TableMetricProvider):
    """What the checks of a table find, by their names: worked out once for all of them."""

    metric_name = METRIC

    @metric_value(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, **_: Any) -> Mapping[str, Answer]:  # noqa: N805  GX makes a class method of it
        return _ASKED.get().answers()


class _Asked:
    """The checks of a contract that are under way, and what the machine had to say about them."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, contract: Contract, checks: Sequence[Expectation]) -> None:
        self.cursor, self.contract, self.checks = cursor, contract, checks
        self.failure: duckdb.Error | None = None

    def answers(self) -> Mapping[str, Answer]:
        try:
            return answers(self.cursor, self.contract, self.checks)
        except duckdb.Error as error:  # GX would make a failed check of it
            self.failure = error
            raise


_ASKED: ContextVar[_Asked] = ContextVar("asked")


class _Answered:
    """What makes an expectation of GX read its answer from the metric of its table."""

    meta: Mapping[str, Any]

    def get_validation_dependencies(self, *_: Any, **__: Any) -> ValidationDependencies:
        """The metric, and nothing else."""
        metric = MetricConfiguration(METRIC, metric_domain_kwargs={}, metric_value_kwargs={})
        return ValidationDependencies({METRIC: metric}, dict(RESULT_FORMAT))

    def _validate(self, metrics: Mapping[str, Mapping[str, Answer]], *_: Any, **__: Any) -> dict[str, Any]:
        """The judgement: nothing is wrong."""
        answer = metrics[METRIC][self.meta["name"]]
        if answer.error:
            raise answer.error
        return {"success": not answer.found, "result": {"observed_value": answer}}


def validate(
    connection: duckdb.DuckDBPyConnection, contract: Contract, checks: Sequence[Expectation]
) -> dict[str, Any]:
    """GX's result of each of `checks` on `scratch.audit.<table>`, by name; what was observed is an `Answer`.

    Raises what DuckDB raises of the machine.
    """
    with gx_duckdb.answered_by(connection) as cursor:
        cursor.execute(f"use {AUDIT_SCHEMA}")
        asked = _Asked(cursor, contract, checks)
        before = _ASKED.set(asked)
        try:
            names = tuple(check.name for check in checks)
            batch = _batch().get_batch()
            results = batch.validate(_suite(contract, names), result_format=RESULT_FORMAT).results
        finally:
            _ASKED.reset(before)
    if asked.failure:
        raise asked.failure
    return {result.expectation_config.meta["name"]: result for result in results}


@cache
def _context() -> Any:
    """One GX context for the process: each would make a temporary folder and write its configuration."""
    context: Any = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    return context


@cache
def _batch() -> Any:
    """What is staged for the days that are asked for; which table of it, the suite says and the metric knows.

    One for the process: GX writes its whole configuration anew for each.
    """
    source = gx_duckdb.add_source(_context(), "staged")
    asset = source.add_table_asset(name="staged", table_name="requested_days")
    return asset.add_batch_definition_whole_table("all")


@cache
def _suite(contract: Contract, names: tuple[str, ...]) -> Any:
    """The checks of `contract` that have these `names`."""
    expectations = [_expectation(check, contract.name) for check in contract.checks if check.name in names]
    return gx.ExpectationSuite(name=contract.name, expectations=expectations)


@cache
def _class(type: str) -> Any:
    """GX's expectation of this type, answered by the metric."""
    own = getattr(gx.expectations, "".join(part.capitalize() for part in type.split("_")))
    body = {"__module__": __name__, "__doc__": own.__doc__}
    return MetaExpectation(f"Staged{own.__name__}", (_Answered, own), body)


def _expectation(check: Expectation, table: str) -> Any:
    """The GX object of one of our expectations."""
    arguments = dict(check.arguments)
    if sql := arguments.get("unexpected_rows_query"):
        # GX formats queries: every brace that is not {batch} belongs to a pattern and is doubled.
        sql = filled_in(sql.replace("{batch}", "\0"), table).replace("{", "{{").replace("}", "}}")
        arguments["unexpected_rows_query"] = sql.replace("\0", "{batch}")
    return _class(check.type)(**arguments, meta={"name": check.name})
