"""Planted faults: what a fault is, and those of the checks that every table shares, derived from its contract.

Belongs here: the words in which the domains' modules state their faults, and the defaults. Does not belong here: the
fault of any one table's own check (`<domain>.py`), auditing (`night.py`).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gesture_assets.contracts.contract import PARTITION, Column, Contract

Rows = Sequence[dict[str, object]]

# The checks that every table shares, of whose derived fault some table states another.
NO_ROWS = "every_day_has_rows"
STRAY = "every_row_belongs_to_a_requested_day"
MISSING = "no_required_value_is_missing"
COPY = "each_key_occurs_once"
EMPTIER = "no_column_is_emptier_than_its_ceiling"
NEGATIVE = "no_count_is_negative"
ADDRESS = "no_text_holds_an_ip_or_email_address"
UNUSUAL = "row_count_is_near_its_usual_level"


@dataclass(frozen=True)
class Fault:
    """Statements that make one thing wrong, and the checks that cannot help noticing it as well.

    `{table}` is the staged table whose check is to fail, `{day_before}` its dates and moments a day earlier, as
    `replace` takes them. Empty: the statement that is derived from the contract.
    """

    sql: str = ""
    companions: tuple[str, ...] = ()


Faults = dict[str, Fault]  # check -> the fault that it catches


def change(assignments: str, *companions: str) -> Fault:
    """A change of all rows, or of those that a `where` at the end of `assignments` names."""
    return Fault(f"update {{table}} set {assignments}", companions)


def first_row(assignments: str, *companions: str) -> Fault:
    """A change of the first row."""
    return change(f"{assignments} where rowid = 0", *companions)


def copied_row(replaced: str, *companions: str) -> Fault:
    """The first row once more, with other values; its key is the same unless they say otherwise."""
    return Fault(f"insert into {{table}} select * replace ({replaced}) from {{table}} limit 1", companions)


def stray_row(replaced: str, *companions: str) -> Fault:
    """The first two rows as ones of the day before, with other values besides."""
    values = ", ".join(filter(None, ("{day_before}", replaced)))
    return Fault(f"insert into {{table}} select * replace ({values}) from {{table}} limit 2", companions)


def noticed_also_by(*companions: str) -> Fault:
    """The derived fault of a shared check, which these checks of the table cannot help noticing."""
    return Fault(companions=companions)


def other_columns() -> Faults:
    """The faults of a source that has not the columns of the day before."""

    def replaced(before: str, after: str) -> Fault:
        return first_row(f"found_columns = replace(found_columns, '{before}', '{after}')")

    return {
        "no_column_of_a_source_is_new": replaced("{", '{"shoe_size": null, '),
        "no_column_of_a_source_is_gone": replaced(', "mood": null', ""),
        "no_column_of_a_source_has_another_type": replaced("INTEGER", "DOUBLE"),
    }


def faults_of(contract: Contract, good: Rows, stated: Faults) -> Faults:
    """Check -> fault for the table whose good rows are `good`; what is `stated` goes before what is derived."""
    derived = dict(_derived(contract, good))
    faults = {
        check.name: replace(derived[check.name], companions=fault.companions) if not fault.sql else fault
        for check in contract.checks
        if (fault := stated.get(check.name) or derived.get(check.name))
    }
    day_before = _the_day_before(contract)
    return {
        check: replace(fault, sql=fault.sql.replace("{table}", contract.name).replace("{day_before}", day_before))
        for check, fault in faults.items()
    }


def _derived(contract: Contract, good: Rows) -> Iterator[tuple[str, Fault]]:
    """The shared checks of a table, each with a fault that its own checks overlook wherever a column allows it."""
    last = contract.column_names[-2:]
    yield (
        "columns_are_as_contracted_and_in_order",
        Fault(f"create or replace table {{table}} as select * exclude ({last[0]}), {last[0]} from {{table}}"),
    )
    yield "column_types_are_as_contracted", Fault(f"alter table {{table}} alter {PARTITION} type timestamp")
    yield NO_ROWS, Fault("delete from {table}")
    yield STRAY, stray_row("")
    yield MISSING, first_row(f"{_overlooked(contract, [c for c in contract.columns if not c.nullable])} = null")
    # One row more is twice as many, where there is one.
    usual = (UNUSUAL,) if len(good) == 1 and not contract.may_be_empty else ()
    yield COPY, copied_row(f"{PARTITION} as {PARTITION}", *usual)
    if capped := [column.name for column in contract.columns if column.nullable and column.null_ceiling < 1]:
        yield EMPTIER, change(f"{capped[0]} = null")
    if counts := [column for column in contract.columns if column.unit == "count"]:
        yield NEGATIVE, first_row(f"{_overlooked(contract, counts)} = -1")
    if texts := [column for column in contract.columns if column.type == "VARCHAR"]:
        yield (
            ADDRESS,
            first_row(f"{_overlooked(contract, texts)} = 'ada@example.com'"),
        )
    yield (
        UNUSUAL,
        Fault("update warehouse.main.gate_ledger set row_count = 10 * row_count where table_name = '{table}'"),
    )


def _the_day_before(contract: Contract) -> str:
    """A row moved to the day before, with every moment in it."""
    days = {"DATE": "1", "TIMESTAMP": "interval 1 day"}
    return ", ".join(f"{c.name} - {days[c.type]} as {c.name}" for c in contract.columns if c.type in days)


def _overlooked(contract: Contract, among: Sequence[Column]) -> str:
    """The first of the columns that no own check of the table names and no key holds; else one of the key, or any."""
    judged = {word for check in contract.expectations for word in re.findall(r"\w+", str(dict(check.arguments)))}
    quiet = [column.name for column in among if column.name not in judged and column.name != PARTITION]
    keyless = [name for name in quiet if name not in contract.key]
    return next(iter([*keyless, *quiet, *(column.name for column in among if column.name != PARTITION)]))
