"""What a contract is: a table's grain, columns, key, owner and the sentences that must be true before it goes live.

Belongs here: the frozen classes, the expectations that every table has, and what follows from a contract without
looking at data (DDL). Does not belong here: the tables themselves (their own modules), running an audit
(`warehouse/audit.py`).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from gesture_assets.vocabulary.personal_data import (
    holds_address_sql,
    holds_card_sql,
    holds_number_sql,
    may_be_address_sql,
    may_be_number_sql,
    may_be_personal_sql,
    plain_signs_sql,
)
from gesture_assets.vocabulary.severity import Severity, severity_of
from gesture_assets.vocabulary.sql import literal

PARTITION = "as_of_date"

# Written by the warehouse at promotion, so that every row says when, by which run and in what order it came; they are
# no part of the content hash, or a re-run of the same content would look like a change.
PROVENANCE = {
    "recorded_at": ("TIMESTAMP", "When this version of the row went live (UTC)."),
    "run_id": ("VARCHAR", "Dagster run that wrote the row."),
    "is_backfill": ("BOOLEAN", "Whether a newer day was already complete when the row was written."),
}


# A query for rows of the staged table alone, each of which is wrong by itself: its condition is its screen.
ROWS_WHERE = re.compile(
    r"\s*select [^{}]+\sfrom \{batch\}\s+where (?P<wrong>.+?)( group by all| order by [\w, ]+)*\s*", re.DOTALL
)
BEYOND_A_ROW = re.compile(
    r"\b(avg|any_value|having|join|lag|limit|max|min|over|qualify|string_agg|sum)\b|\{(days|live|staged)\}|\bselect\b.*\bselect\b",
    re.DOTALL,
)


@dataclass(frozen=True)
class Column:
    """A column: DuckDB type, meaning, unit; `personal` says whether a person can be singled out by it."""

    name: str
    type: str
    description: str
    nullable: bool = False
    unit: str | None = None
    null_ceiling: float = 1.0  # largest share of nulls in a day; 1.0: the column may be empty
    personal: Literal["none", "pseudonym"] = "none"

    @property
    def meaning(self) -> str:
        """The description with the unit, as data dictionaries show it."""
        return self.description + (f" Unit: {self.unit}." if self.unit else "")


@dataclass(frozen=True)
class Expectation:
    """One Great Expectations expectation with a name that is a true sentence when it passes.

    `type` is GX's own name for it and `arguments` its keywords. `query` selects what is wrong: rows, or values of the
    column in `arguments`; a check of the columns' names has none. `screen` is an aggregate over `{batch}`: only where
    it is true may the query find something. `recovery` is what to do when it fails.
    """

    name: str
    type: str
    arguments: Mapping[str, Any]
    recovery: str
    query: str = ""
    screen: str = ""

    @property
    def severity(self) -> Severity:
        """ERROR unless `vocabulary/severity.py` lists the check; settings may make it block all the same."""
        return severity_of(self.name)


def no_rows(name: str, sql: str, *, recovery: str, screen: str = "") -> Expectation:
    """No row answers `sql`, which is asked only where `screen` is true, if there is one.

    `{batch}` is the staged table, `{staged}` the schema of all tables staged with it, `{live}` the schema of the live
    tables and `{days}` the table of requested days (`as_of_date`). The first row is shown: select what helps a reader.
    """
    arguments = {"unexpected_rows_query": sql}
    if not screen and (rows := ROWS_WHERE.fullmatch(sql)) and not BEYOND_A_ROW.search(sql):
        screen = f"bool_or({rows['wrong']})"
    return Expectation(name, "unexpected_rows_expectation", arguments, recovery, sql, screen)


def between(name: str, column: str, low: float | None, high: float | None, *, recovery: str) -> Expectation:
    """Every value of `column` that is not null lies in [`low`, `high`]."""
    arguments = {"column": column, "min_value": low, "max_value": high}
    bounds = [f"{column} {sign} {bound}" for sign, bound in ((">=", low), ("<=", high)) if bound is not None]
    type = "expect_column_values_to_be_between"
    return _no_value_where(f"not ({' and '.join(bounds)})", name, type, arguments, recovery)


def filled(name: str, column: str, *, recovery: str) -> Expectation:
    """`column` is never null."""
    type = "expect_column_values_to_not_be_null"
    return _no_value_where(f"{column} is null", name, type, {"column": column}, recovery)


def one_of(name: str, column: str, values: tuple[Any, ...], *, recovery: str) -> Expectation:
    """Every value of `column` that is not null is one of `values`."""
    arguments = {"column": column, "value_set": list(values)}
    listed = ", ".join(literal(value) if isinstance(value, str) else str(value) for value in values)
    type = "expect_column_values_to_be_in_set"
    return _no_value_where(f"{column} not in ({listed})", name, type, arguments, recovery)


def _no_value_where(wrong: str, name: str, type: str, arguments: Mapping[str, Any], recovery: str) -> Expectation:
    query = f"select {PARTITION}, {arguments['column']} from {{batch}} where {wrong}"
    return Expectation(name, type, arguments, recovery, query, f"bool_or({wrong})")


@dataclass(frozen=True, eq=False)
class Contract:
    """A daily table. `grain` is one sentence; `key` is unique in a day; `upstream` names what it is made of."""

    name: str
    grain: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    group: str
    owner: str
    upstream: tuple[str, ...] = ()  # tables that it is made of
    expectations: tuple[Expectation, ...] = ()
    may_be_empty: bool = False
    is_sorted: bool = True  # by the key; false: a day's rows stay as they land, for they are many and found by scanning
    keeps_history: bool = False  # replaced versions are kept in the schema "superseded"
    is_nightly: bool = True  # false: made when there is a reason to; a night is whole without it
    for_tags: "Callable[[tuple[str, ...]], Contract] | None" = None  # makes it for the CRM tags that have a column

    def __post_init__(self) -> None:
        """Refuse a contract that contradicts itself."""
        names = [column.name for column in self.columns]
        if names[0] != PARTITION or len(set(names)) != len(names):
            raise ValueError(f"{self.name}: columns must be distinct and start with {PARTITION}, found {names[:3]}")
        if missing := set(self.key) - set(names):
            raise ValueError(f"{self.name}: key columns {sorted(missing)} are no columns")
        checks = [check.name for check in self.checks]
        if repeated := {check for check in checks if checks.count(check) > 1}:
            raise ValueError(f"{self.name}: checks {sorted(repeated)} are named twice")

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names, in order, without the provenance columns."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def checks(self) -> tuple[Expectation, ...]:
        """Every expectation of the table: structure first, then what all tables share, then its own."""
        return (*self.structure, *self._shared(), *self.expectations)

    def looks_back(self, check: Expectation) -> bool:
        """Whether `check` compares a day with earlier ones of this table."""
        return f"{{live}}.{self.name}" in check.query or "gate_ledger" in check.query

    @cached_property
    def structure(self) -> tuple[Expectation, ...]:
        """Column names with their order, and types. Nothing else can be judged before these two hold."""
        types = ", ".join(f"('{column.name}', '{column.type}')" for column in self.columns)
        return (
            Expectation(
                "columns_are_as_contracted_and_in_order",
                "expect_table_columns_to_match_ordered_list",
                {"column_list": list(self.column_names)},
                f"make the frame end in select({self.name}'s columns, in order)",
            ),
            no_rows(
                "column_types_are_as_contracted",
                f"""with contracted(column_name, type) as (values {types})
                select contracted.column_name, contracted.type as contracted, typeof_column.data_type as found
                from contracted join (
                    select column_name, data_type from duckdb_columns()
                    where database_name || '.' || schema_name = '{{staged}}' and table_name = '{self.name}'
                ) as typeof_column using (column_name)
                where typeof_column.data_type <> contracted.type and (select count(*) from {{batch}}) is not null""",
                recovery="cast the column to its contracted type where the frame is built; never round an id",
            ),
        )

    def _shared(self) -> Iterator[Expectation]:
        if not self.may_be_empty:
            yield _every_day_has_rows()
        yield _every_row_belongs_to_a_requested_day()
        yield _no_required_value_is_missing(self)
        yield _each_key_occurs_once(self)
        if capped := [column for column in self.columns if column.nullable and column.null_ceiling < 1]:
            yield _no_column_is_emptier_than_its_ceiling(self, capped)
        if counts := [column.name for column in self.columns if column.unit == "count"]:
            yield _no_count_is_negative(counts)
        if texts := [column.name for column in self.columns if column.type == "VARCHAR"]:
            yield _no_text_holds_an_ip_or_email_address(texts)
        if not self.may_be_empty:
            yield _row_count_is_near_its_usual_level(self)

    def ddl(self, schema: str) -> str:
        """`create table if not exists` for the live table, provenance columns last."""
        own = [f"{c.name} {c.type}{'' if c.nullable else ' not null'}" for c in self.columns]
        provenance = [f"{name} {kind} not null" for name, (kind, _) in PROVENANCE.items()]
        return f"create table if not exists {schema}.{self.name} ({', '.join([*own, *provenance])})"


def _mend_the_source(contract: Contract) -> str:
    return f"look at rejected.{contract.name}, mend the source, then  gesture run --date DAY"


def _every_day_has_rows() -> Expectation:
    return no_rows(
        "every_day_has_rows",
        f"select {PARTITION} from {{days}} anti join {{batch}} using ({PARTITION})",
        recovery="land files for the day (data/landing/<source>/), then  gesture run --date DAY",
        screen=f"count(distinct {PARTITION}) filter (where {PARTITION} in (select {PARTITION} from {{days}})) < "
        "(select count(*) from {days})",
    )


def _every_row_belongs_to_a_requested_day() -> Expectation:
    return no_rows(
        "every_row_belongs_to_a_requested_day",
        f"select {PARTITION}, count(*) as row_count from {{batch}} anti join {{days}} using ({PARTITION}) group by all",
        recovery="a frame must hold its own days only; this is a defect of the asset",
        screen=f"bool_or({PARTITION} is null or {PARTITION} not in (select {PARTITION} from {{days}}))",
    )


def _no_required_value_is_missing(contract: Contract) -> Expectation:
    required = [column.name for column in contract.columns if not column.nullable]
    counts = ", ".join(f"count(*) - count({name}) as {name}" for name in required)
    return no_rows(
        "no_required_value_is_missing",
        f"select * from (select {counts} from {{batch}}) where "
        + " + ".join(f"coalesce({name}, 0)" for name in required)
        + " > 0",
        recovery=_mend_the_source(contract),
        screen=" or ".join(f"count({name}) < count(*)" for name in required),
    )


def _each_key_occurs_once(contract: Contract) -> Expectation:
    keys = ", ".join(dict.fromkeys((PARTITION, *contract.key)))
    return no_rows(
        "each_key_occurs_once",
        f"select {keys}, count(*) as copies from {{batch}} group by {keys} having count(*) > 1",
        recovery=_mend_the_source(contract),
    )


def _no_column_is_emptier_than_its_ceiling(contract: Contract, capped: Sequence[Column]) -> Expectation:
    shares = ", ".join(
        f"{{column_name: '{column.name}', null_share: 1 - count({column.name}) / count(*), "
        f"ceiling: {column.null_ceiling}}}"
        for column in capped
    )
    return no_rows(
        "no_column_is_emptier_than_its_ceiling",
        f"""select {PARTITION}, column_name, null_share, ceiling from (
            select {PARTITION}, unnest([{shares}], recursive := true) from {{batch}} group by {PARTITION})
        where null_share > ceiling""",
        recovery=_mend_the_source(contract),
    )


def _no_count_is_negative(counts: Sequence[str]) -> Expectation:
    lowest = f"least({', '.join(counts)})" if len(counts) > 1 else counts[0]
    return no_rows(
        "no_count_is_negative",
        f"select * from {{batch}} where {lowest} < 0",
        recovery="a count below zero is a defect of the asset that built the table",
    )


def _no_text_holds_an_ip_or_email_address(texts: Sequence[str]) -> Expectation:
    # The patterns are dear: only distinct values are held against them, and only those that may hold one.
    looks = " union all ".join(
        f"select '{name}' as column_name, count(*) as value_count from (select distinct {name} as value "
        f"from {{batch}} where {may_be_address_sql(name)}) where {holds_address_sql(plain_signs_sql('value'))}"
        for name in texts
    )
    return no_rows(
        "no_text_holds_an_ip_or_email_address",
        f"select * from ({looks}) where value_count > 0",
        recovery="leave the column out of the source's description (data/sources/<source>.toml)",
        screen=" or ".join(f"bool_or({may_be_address_sql(name)})" for name in texts),
    )


def no_phone_or_account_number(
    texts: Sequence[str], *, ids: Sequence[str] = (), cards: Sequence[str] = ()
) -> Expectation:
    """No value of `texts`, of few values in many rows, or of `ids` holds the number of a phone or of an account.

    Of a card that is figures alone only those of `cards`: elsewhere figures alone are an id.
    """
    looked_at = {
        **{name: f"select distinct {name} as written from {{batch}}" for name in texts},
        **{name: f"select {name} as written from {{batch}}" for name in ids},
    }
    looked_at = {name: f"select {plain_signs_sql('written')} as value from ({of})" for name, of in looked_at.items()}
    signs = {name: may_be_personal_sql if name in cards else may_be_number_sql for name in looked_at}
    with_signs = {name: f"from ({values}) where {signs[name]('value')}" for name, values in looked_at.items()}
    is_card = {name: f" or {holds_card_sql('value')}" if name in cards else "" for name in looked_at}
    looks = " union all ".join(
        f"select '{name}' as column_name, count(*) as value_count {values} "
        f"and ({holds_number_sql('value')}{is_card[name]})"
        for name, values in with_signs.items()
    )
    return no_rows(
        "no_text_holds_a_phone_or_account_number",
        f"select * from ({looks}) where value_count > 0",
        recovery="leave the column out of the source's description (data/sources/<source>.toml)",
        screen=" or ".join(f"exists (select 1 {values})" for values in with_signs.values()),
    )


def _row_count_is_near_its_usual_level(contract: Contract) -> Expectation:
    return no_rows(
        "row_count_is_near_its_usual_level",
        f"""with today as (select {PARTITION}, count(*) as row_count from {{batch}} group by all),
        past as (select partition as {PARTITION}, arg_max(row_count, attempt) as row_count
                 from {{live}}.gate_ledger where table_name = '{contract.name}' and verdict = 'PASS'
                 group by all),
        known as (from today union all select * from past anti join today using ({PARTITION}))
        select today.{PARTITION}, today.row_count, median(known.row_count) as usual_row_count
        from today join known on known.{PARTITION} < today.{PARTITION}
            and known.{PARTITION} >= today.{PARTITION} - 7
        group by all having count(*) >= 3 and abs(today.row_count - median(known.row_count))
            > 0.5 * median(known.row_count)""",
        recovery="compare the day's landing files with the days before",
    )
