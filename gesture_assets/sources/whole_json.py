"""JSON files that are no lines: one list of events, an object around such a list, objects that go on over lines.

Belongs here: knowing such a file by how it begins, and reading its events. Does not belong here: JSON lines
(`readers.py`), lists within each of them (`event_list` of a description).
"""

import json
import re
from contextlib import suppress

import duckdb

from gesture_assets.errors import listing
from gesture_assets.sources.landing_file import CHUNK, LONGEST_LINE, LandingFile, refusal
from gesture_assets.sources.paths import column_of
from gesture_assets.sources.spellings import normal
from gesture_assets.vocabulary.sql import literal

# An object around a list is read whole, and takes several times its size of memory.
LARGEST_OBJECT = 8 * LONGEST_LINE
TEXT = rb'"(?:[^"\\]|\\.)*"'
# Fields before the list.
OTHERS = rb"(?:%(text)s\s*:\s*(?:%(text)s|[-+.\w]+|\[\s*\]|\{[^{}]*\})\s*,\s*)*" % {b"text": TEXT}
LIST = re.compile(rb"\[\s*(?:\{|\]\s*\Z)")
AROUND = re.compile(rb"\{\s*%s%s\s*:\s*\[\s*[{\]]" % (OTHERS, TEXT))
OVER_LINES = re.compile(rb'\{[ \t]*[\r\n]\s*"')


def whole_json(file: LandingFile) -> str | None:
    """How a file that is no lines is written, as the engine calls it; None for JSON lines.

    A line that holds a list is no event, one that is cut off is a line.
    """
    with file.stream() as stream:
        head = stream.read(CHUNK).removeprefix(b"\xef\xbb\xbf").strip()
    if LIST.match(head):
        return "array"
    if OVER_LINES.match(head):
        return "unstructured"
    if not AROUND.match(head):
        return None
    first, second = (*(line.strip() for line in head.splitlines() if line.strip()), b"", b"")[:2]
    is_lines = second and (_is_object(first) or (_is_object(second) and not first.endswith((b"[", b","))))
    return None if is_lines else "unstructured"


def _is_object(line: bytes) -> bool:
    with suppress(ValueError, RecursionError):
        return isinstance(json.loads(line), dict)
    return False


def read_whole(connection: duckdb.DuckDBPyConnection, file: LandingFile, table: str, form: str) -> None:
    """Read a file that is no lines into `table`, a row an event, whatever lines it is written in.

    Of an object that has none of the fields that are asked of an event the events are the entries of its list. Raises
    `SourceError` for what is no JSON, is too large to be read at once, or holds several lists: which of them are the
    events nobody knows.
    """
    packing, largest = file.compression or "uncompressed", LONGEST_LINE if form == "array" else LARGEST_OBJECT
    try:
        connection.execute(
            f"""create or replace table {table} as select json::varchar as text
            from read_json_objects({file.sql}, format='{form}', compression='{packing}',
                maximum_object_size={largest}, hive_partitioning=false)"""
        )
    except duckdb.InvalidInputException as error:
        entries = "jq -c '.[]'" if form == "array" else "jq -c ., or of a list in an object  jq -c '.[][]?'"
        raise refusal(
            file,
            expected="one object a line, or one whole list of them",
            found=str(error).splitlines()[0].replace(str(file.path), file.path.name)[:300],
            next_step=f"export the file again, or write its entries as lines ({entries}), then  gesture run",
        ) from error
    if form == "array":
        return
    fields = "select distinct unnest(json_keys(text)) from " + table
    names = sorted(name for (name,) in connection.execute(fields).fetchall())
    asked = {normal(column_of(header)) for header in (*file.source.headers, file.source.event_list)}
    if asked & set(map(normal, names)):
        return
    usable = [name for name in names if '"' not in name and "\\" not in name]
    lists = [name for name in usable if _holds(connection, table, f"json_type(text, {_at(name)}) = 'ARRAY'")]
    full = [name for name in lists if _holds(connection, table, f"json_type(text, {_at(name, '[0]')}) = 'OBJECT'")]
    if len(full) > 1:
        raise refusal(
            file,
            expected="one object a line, or one list of them",
            found=f"an object with several lists: {listing(full)}",
            next_step=f"write the entries of the right one as lines (jq -c '.{full[0]}[]'), then  gesture run",
        )
    if lists:
        entries = f"unnest(json_extract(text, {_at((full or lists)[0], '[*]')}))::varchar"
        connection.execute(f"create or replace table {table} as select {entries} as text from {table}")


def _holds(connection: duckdb.DuckDBPyConnection, table: str, condition: str) -> bool:
    return connection.execute(f"select 1 from {table} where {condition} limit 1").fetchone() is not None


def _at(name: str, entry: str = "") -> str:
    return literal(f'$."{name}"{entry}')
