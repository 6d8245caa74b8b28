"""Which column of a file holds one of ours: where several may, the first that is filled in each row, in every format.

Belongs here: the SQL that takes it, and the text that a typed value of Parquet has. Does not belong here: what the
value means (`canonical.py`), reading files (`readers.py`).
"""

from collections.abc import Mapping, Sequence

from gesture_assets.sources.description import ID_COLUMNS, INTEGER_COLUMNS, NUMBER_COLUMNS, TIME_COLUMNS
from gesture_assets.sources.ids import filled_sql, typed_id_sql
from gesture_assets.sources.landing_file import LandingFile
from gesture_assets.sources.readers import Reading, normal
from gesture_assets.vocabulary.sql import literal


def expressions_of(file: LandingFile, reading: Reading) -> dict[str, str | None]:
    """Our column -> the SQL expression for it over the rows of `reading`, or None where the file has none for it."""
    return {name: _first_filled(file, reading, name) for name in file.source.columns}


def local_times(file: LandingFile, reading: Reading) -> frozenset[str]:
    """Our columns of time that are times of the source's own zone by their type; text says so in each row."""
    return frozenset(
        name
        for name in TIME_COLUMNS
        if (headers := _headers(file, reading, name))
        and all(_is_time(reading, header) and "TIME ZONE" not in (reading.types[header] or "") for header in headers)
    )


def _headers(file: LandingFile, reading: Reading, name: str) -> Sequence[str]:
    """Those headers of the file that may hold our column `name`; of JSON lines the paths, as the description says."""
    given = file.source.columns.get(name, ())
    known = given if file.format == "jsonl" else map(normal, given)
    return [header for header in known if header in reading.columns]


def _first_filled(file: LandingFile, reading: Reading, name: str) -> str | None:
    values = {header: reading.columns[header] for header in _headers(file, reading, name)}
    if name in ID_COLUMNS:
        values = {header: typed_id_sql(sql, reading.types.get(header) or "VARCHAR") for header, sql in values.items()}
    if name in (*NUMBER_COLUMNS, *INTEGER_COLUMNS) and file.source.decimal == ",":
        keeps_doubles = len(values) == 1 and name in NUMBER_COLUMNS
        values = {header: _with_comma(file, reading, header, keeps_doubles=keeps_doubles) for header in values}
    if not values:
        return None
    if len(values) == 1:
        return next(iter(values.values()))
    if name in TIME_COLUMNS:
        values = _times(reading, values)
        if all(_is_time(reading, header) for header in values):
            return f"coalesce({', '.join(values.values())})"
    return f"coalesce({', '.join(filled_sql(f'({sql})::varchar', file.source.missing) for sql in values.values())})"


def _with_comma(file: LandingFile, reading: Reading, header: str, *, keeps_doubles: bool) -> str:
    """A number of a source that writes a decimal comma, with one; what is no text has a point until here."""
    sql, kind = reading.columns[header], reading.types.get(header) or "VARCHAR"
    if file.format == "jsonl":
        is_text = f"json_type(document, {literal('$.' + header)}) = 'VARCHAR'"
        return f"if({is_text}, {sql}, replace({sql}, '.', ','))"
    if kind in ("VARCHAR", "BLOB") or (kind == "DOUBLE" and keeps_doubles):
        return sql
    return f"replace(({sql})::varchar, '.', ',')"


def _times(reading: Reading, values: Mapping[str, str]) -> Mapping[str, str]:
    """Typed times beside text become text that says what they are by now: UTC."""
    typed = [header for header in values if _is_time(reading, header)]
    if len(typed) in (0, len(values)):
        return values
    return {header: f"(({sql})::varchar || '+00')" if header in typed else sql for header, sql in values.items()}


def _is_time(reading: Reading, header: str) -> bool:
    return (reading.types.get(header) or "").startswith(("TIMESTAMP", "DATE"))
