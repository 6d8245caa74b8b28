"""Paths into a value of JSON: nested fields, and the entry of a list that one of its fields tells.

Belongs here: the SQL that follows a path. Does not belong here: which paths a source has (`description.py`), what a
value means (`canonical.py`).
"""

import re
from collections.abc import Iterable

from gesture_assets.vocabulary.sql import literal

PLAIN = re.compile(r"[A-Za-z_]\w*(\[\d+\])?(\.[A-Za-z_]\w*(\[\d+\])?)*")
ENTRY = re.compile(r"\[(\d+|[^=\]]+=[^\]]*)\]")  # a field may begin with a bracket, too: [Amplitude] Page Path
CHOSEN = re.compile(r"(?P<name>[^\[\]]+)\[(?P<field>[^=\]]+)=(?P<value>[^\]]*)\]")


def path_sql(document: str, path: str) -> str:
    """The text at `path` of the SQL expression `document`, which is JSON; null where there is none."""
    if PLAIN.fullmatch(path):
        return f"json_extract_string({document}, {literal('$.' + path)})"
    steps: list[str] = []
    for step in path.split("."):
        chosen = CHOSEN.fullmatch(step)
        if chosen is None:
            steps.append(_quoted(step))
            continue
        entries = f"json_extract({document}, {literal('$' + ''.join([*steps, _quoted(chosen['name'])]) + '[*]')})"
        field = f"json_extract_string(entry, {literal('$' + _quoted(chosen['field']))})"
        document, steps = f"list_filter({entries}, lambda entry: {field} = {literal(chosen['value'])})[1]", []
    return f"json_extract_string({document}, {literal('$' + ''.join(steps))})"


def nested_sql(cell: str, rest: str) -> str:
    """The text at the path `rest` of the SQL expression `cell`, text that may be JSON; null where it is none."""
    document = _document_sql(cell)
    # A list that is a column is taken as the field of an object.
    return path_sql(f"json_object('of', {document})", f"of{rest}") if ENTRY.match(rest) else path_sql(document, rest)


def unopened_sql(cell: str, rests: Iterable[str]) -> str:
    """The SQL expression `cell`, text that may be JSON, null where it is such that one of the paths `rests` goes on."""
    kinds = ", ".join(map(literal, kinds_of(rests)))
    return f"case when coalesce(json_type({_document_sql(cell)}) not in ({kinds}), true) then {cell} end"


def kinds_of(rests: Iterable[str]) -> list[str]:
    """The kinds of JSON that the paths `rests` go on in: of a list they take an entry."""
    return sorted({"ARRAY" if ENTRY.match(rest) else "OBJECT" for rest in rests})


def json_path(path: str) -> str:
    """`path`, without chosen entries of lists, as the engine writes it."""
    return f"$.{path}" if PLAIN.fullmatch(path) else "$" + "".join(map(_quoted, path.split(".")))


def column_of(path: str) -> str:
    """The column that `path` begins in."""
    return path.split(".", 1)[0].split("[", 1)[0]


def rest_of(path: str) -> str:
    """`path` below its column; of a list that is the column itself, the choice stays."""
    column = column_of(path)
    return path[len(column) :].removeprefix(".")


def _document_sql(cell: str) -> str:
    """The SQL expression `cell` as JSON, null where it is none; what was written as JSON twice is the inner one."""
    return f"""try_cast(if(starts_with({cell}, '"'), try(json_extract_string({cell}, '$')), {cell}) as json)"""


def _quoted(name: str) -> str:
    return '."' + name.replace('"', "") + '"'
