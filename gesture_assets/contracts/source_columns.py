"""What a source's files or tables looked like, and how that differs from the day before.

Belongs here: the column that holds it and the three checks, for landing files and for the CRM. Does not belong here:
finding the columns (`sources/`); which columns must be there, without which nothing is read (`sources/`, too).
"""

from gesture_assets.contracts.contract import PARTITION, Column, Expectation, no_rows


def found_columns(explanation: str) -> Column:
    """The column that keeps what was found: the same text for the same columns, in whatever order they stood."""
    return Column(
        "found_columns",
        "VARCHAR",
        f"JSON: each column that was found, with its type where one is shown. {explanation}",
        True,
    )


def same_columns_as_before(table: str, source: str) -> tuple[Expectation, ...]:
    """Three checks that a `source` of `table` has the columns it had on the last live day on which it brought anything.

    Several files of a source are looked at together. A type is compared where both days show one.
    """
    known = f"""known as (
            select {PARTITION}, {source}, found_columns from {{batch}} where found_columns is not null
            union all select {PARTITION}, {source}, found_columns from {{live}}.{table} semi join (
                select max({PARTITION}) as {PARTITION}, {source} from {{live}}.{table}
                where {PARTITION} < (select min({PARTITION}) from {{days}}) and found_columns is not null
                group by {source}) using ({PARTITION}, {source})
            where found_columns is not null),
        days_of as (select *, lag({PARTITION}) over (partition by {source} order by {PARTITION}) as before
            from (select distinct {PARTITION}, {source} from known)),
        held as (
            select {PARTITION}, {source}, entry.key as column_name,
                string_agg(distinct entry.value, ' or ' order by entry.value) as type
            from (select *, unnest(map_entries(found_columns::json::map(varchar, varchar))) as entry from known)
            group by all),
        earlier as (select days_of.{PARTITION}, days_of.{source}, before, column_name, type from days_of
            join held on held.{PARTITION} = before and held.{source} = days_of.{source}),
        later as (select {PARTITION}, {source}, before, column_name, type from held
            join days_of using ({PARTITION}, {source}) where before is not null)"""
    key = f"{PARTITION}, {source}, before, column_name"
    described = "data/sources/<source>.toml" if source == "source" else "the CRM's tables"
    return (
        no_rows(
            "no_column_of_a_source_is_new",
            f"with {known} select {key} from later anti join earlier using ({key})",
            recovery=f"see whether the new column matters, and compare it with {described}",
        ),
        no_rows(
            "no_column_of_a_source_is_gone",
            f"with {known} select {key} from earlier anti join later using ({key})",
            recovery=f"ask the sender why the column is gone, and compare with {described}",
        ),
        no_rows(
            "no_column_of_a_source_has_another_type",
            f"with {known} select {key}, earlier.type as type_before, later.type "
            f"from later join earlier using ({key}) where later.type <> earlier.type",
            recovery="compare a file of each day: what cannot be read in the new type is missing, or quarantined",
        ),
    )
