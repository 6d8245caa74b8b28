"""Which column of a file holds one of ours: where several may, the first that is filled in each row, in every format.

Belongs here: the SQL that takes it, and the text that a typed value of Parquet has. Does not belong here: what the
value means (`canonical.py`), reading files (`readers.py`).
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from gesture_assets.sources.ids import filled_sql, typed_id_sql
from gesture_assets.sources.landing_file import LandingFile
from gesture_assets.sources.paths import column_of, kinds_of, nested_sql, rest_of, unopened_sql
from gesture_assets.sources.personal import is_personal
from gesture_assets.sources.readers import Reading, clear_sql, first_of, is_text_sql
from gesture_assets.sources.spellings import normal
from gesture_assets.vocabulary.flags import FALSE, TRUE
from gesture_assets.vocabulary.missing_values import is_missing_sql, unpadded_sql
from gesture_assets.vocabulary.sql import literal

YES, NO = (", ".join(map(literal, words)) for words in (TRUE, FALSE))
ODD_SIGNS = "odd signs"  # stands among our columns for those whose word for yes or no cannot be read
SAID_BY_CONDITION = "\x1f"  # between a type's own name and ours, which a condition gave it


def expressions_of(file: LandingFile, reading: Reading) -> dict[str, str | None]:
    """Our column -> the SQL expression for it over the rows of `reading`, or None where the file has none for it.

    `properties` are what is kept beside ours, as JSON.
    """
    found = {name: _first_filled(file, reading, name) for name in file.source.columns}
    source = file.source
    if source.links:
        written = _or_constant(found.get("event_type"), source.constants.get("event_type"))
        is_link = (
            f"lower({unpadded_sql(written)}) in ({', '.join(literal(name.lower()) for name in source.links.types)})"
        )
        for name, headers in (("user_id", source.links.user_id), ("anonymous_id", source.links.anonymous_id)):
            if values := _values(file, reading, headers):
                filled = [filled_sql(f"({sql})::varchar", source.missing) for sql in values.values()]
                otherwise = f"({found[name] or 'null'})::varchar"
                found[name] = f"case when {is_link} then coalesce({', '.join(filled)}) else {otherwise} end"
    if source.happened:
        found["event_type"], found[ODD_SIGNS] = _that_happened(file, reading)
    if source.conditions:
        found["event_type"] = _with_conditions(file, reading, found.get("event_type"))
    kept = {name: _values(file, reading, [name]).values() for name in source.properties if not is_personal(name)}
    pairs = [f"{literal(name)}, ({sql})::varchar" for name, values in kept.items() for sql in values]
    return {**found, "properties": f"json_object({', '.join(pairs)})::varchar" if pairs else None}


def _or_constant(written: str | None, constant: str | None) -> str:
    return f"coalesce(({written or 'null'})::varchar, {literal(constant or '')})"


def _with_conditions(file: LandingFile, reading: Reading, written: str | None) -> str:
    """The type as it is written, and behind it ours where a condition says so."""
    name = _or_constant(written, file.source.constants.get("event_type"))
    cases: list[str] = []
    for condition in file.source.conditions:
        values = {header: _values(file, reading, [header]) for header in condition.where}
        if all(values.values()):
            fits = [
                _is_like(sql, patterns)
                for header, patterns in condition.where.items()
                for sql in values[header].values()
            ]
            cases.append(f"when {' and '.join(fits)} then {name} || '{SAID_BY_CONDITION}' || '{condition.event_type}'")
    return f"case {' '.join(cases)} else ({written or 'null'})::varchar end" if cases else (written or "null")


def _that_happened(file: LandingFile, reading: Reading) -> tuple[str, str]:
    """The types of all that a row tells, with blanks between them; and so the columns whose sign cannot be read."""
    cases: list[str] = []
    odd: dict[str, str] = {}
    for name, headers in file.source.happened.items():
        signs: list[str] = []
        for header, sql in _values(file, reading, headers).items():
            text = f"lower({unpadded_sql(f'({sql})::varchar')})"
            signs.append(f"coalesce({text} in ({YES}) or try_cast({text} as double) > 0, false)")
            is_read = f"{text} in ({YES}, {NO}) or try_cast({text} as double) is not null or {is_missing_sql(text)}"
            odd[header] = f"if(coalesce({is_read}, true), null, {literal(header.replace(' ', '_'))})"
        if signs or not headers:
            cases.append(f"if({' or '.join(signs) or 'true'}, '{name}', null)")
    told, unread = (f"concat_ws(' ', null, {', '.join(texts) or 'null'})" for texts in (cases, odd.values()))
    return told, unread


def _is_like(sql: str, patterns: str | Sequence[str]) -> str:
    """Whether a value is like one of `patterns`, whatever its case."""
    texts = [patterns] if isinstance(patterns, str) else patterns
    escaped = [re.sub(r"([\\%_])", r"\\\1", text.lower()).replace("*", "%") for text in texts]
    value = f"lower({unpadded_sql(f'({sql})::varchar')})"
    return "(" + " or ".join(f"coalesce({value} like {literal(text)} escape '\\', false)" for text in escaped) + ")"


def _values(file: LandingFile, reading: Reading, headers: Iterable[str]) -> dict[str, str]:
    """Those of `headers` that the file has, with the SQL of each: columns of its own, or paths into one of them."""
    if file.format == "jsonl":
        return {header: reading.columns[header] for header in headers if header in reading.columns}
    found: dict[str, str] = {}
    for header in headers:
        column = normal(column_of(header))
        if normal(header) in reading.columns:
            found[normal(header)] = reading.columns[normal(header)]
        elif column in reading.columns and rest_of(header):
            cell = clear_sql(f"({reading.columns[column]})::varchar", reading.clear.get(column))
            found[header] = first_of(nested_sql(cell, rest_of(way)) for way in reading.ways.get(header, [header]))
    return found


def opened_cells(file: LandingFile, reading: Reading) -> dict[str, str]:
    """Columns that only paths of the description go into -> their text, null where such a path can go on in it."""
    rests: dict[str, list[str]] = {}
    whole: set[str] = set()
    for header in file.source.headers:
        if rest := rest_of(header):
            rests.setdefault(normal(column_of(header)), []).append(rest)
        else:
            whole.add(normal(header))
    if file.format == "jsonl":
        cells = {name: text for name, text in reading.nested.items() if normal(name) in rests}
    else:
        cells = {
            column: f"({reading.columns[column]})::varchar"
            for column in sorted(set(rests) - whole)
            if column in reading.columns and not _is_opened(reading.types.get(column) or "", kinds_of(rests[column]))
        }
    return {name: unopened_sql(text, rests[normal(name)], reading.clear.get(name)) for name, text in cells.items()}


def _is_opened(kind: str, kinds: Sequence[str]) -> bool:
    """Whether the type `kind` of a column of Parquet says that its values are JSON of one of `kinds`."""
    if kind.endswith("]"):
        return "ARRAY" in kinds
    return kind.startswith(("STRUCT", "MAP")) and "OBJECT" in kinds


def local_times(file: LandingFile, reading: Reading) -> frozenset[str]:
    """Our columns of time that are times of the source's own zone by their type; text says so in each row."""
    return frozenset(
        name
        for name in file.source.row_kind.times
        if (headers := _headers(file, reading, name))
        and all(_is_time(reading, at) and "TIME ZONE" not in (reading.types.get(at) or "") for at in headers)
    )


def _headers(file: LandingFile, reading: Reading, name: str) -> Sequence[str]:
    """Those headers of the file that may hold our column `name`; of JSON lines the paths, as the description says."""
    return list(_values(file, reading, file.source.columns.get(name, ())))


def _first_filled(file: LandingFile, reading: Reading, name: str) -> str | None:
    values, kind = _values(file, reading, file.source.columns.get(name, ())), file.source.row_kind
    if name in kind.ids:
        values = {header: typed_id_sql(sql, reading.types.get(header) or "VARCHAR") for header, sql in values.items()}
    if name in (*kind.numbers, *kind.integers) and file.source.decimal == ",":
        keeps_doubles = len(values) == 1 and name in kind.numbers
        values = {
            header: _with_comma(file, reading, header, sql, keeps_doubles=keeps_doubles)
            for header, sql in values.items()
        }
    if not values:
        return None
    if len(values) == 1:
        return next(iter(values.values()))
    if name in kind.times:
        values = _times(reading, values)
        if all(_is_time(reading, header) for header in values):
            return f"coalesce({', '.join(values.values())})"
    return f"coalesce({', '.join(filled_sql(f'({sql})::varchar', file.source.missing) for sql in values.values())})"


def _with_comma(file: LandingFile, reading: Reading, header: str, sql: str, *, keeps_doubles: bool) -> str:
    """A number of a source that writes a decimal comma, with one; what is no text has a point until here."""
    kind = reading.types.get(header) or "VARCHAR"
    if file.format == "jsonl":
        return f"if({is_text_sql(reading.ways.get(header, [header]))}, {sql}, replace({sql}, '.', ','))"
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
