"""Paths into a value of JSON: nested fields, and the entry of a list that one of its fields tells.

Belongs here: the SQL that follows a path. Does not belong here: which paths a source has (`description.py`), what a
value means (`canonical.py`).
"""

import re
from collections.abc import Iterable

from gesture_assets.vocabulary.sql import literal

PLAIN = re.compile(r"[A-Za-z_]\w*(\[\d+\])?(\.[A-Za-z_]\w*(\[\d+\])?)*")
ENTRY = re.compile(r"\[(\d+|[^=\]]+=[^\]]*)\]")  # a field may begin with a bracket, too: [Amplitude] Page Path
NUMBERED = re.compile(r"(.+)(\[\d+\])")
OF_LIST = "of"
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
    return path_sql(*opened_sql(cell, rest))


def opened_sql(cell: str, rest: str) -> tuple[str, str]:
    """The SQL expression `cell` as JSON that the path `rest` can be followed in, and the path there.

    A list that is a column is taken as the field of an object.
    """
    document = _document_sql(cell)
    return (f"json_object('{OF_LIST}', {document})", OF_LIST + rest) if ENTRY.match(rest) else (document, rest)


def unopened_sql(cell: str, rests: Iterable[str], is_clear: str | None) -> str:
    """The SQL expression `cell`, text that may be JSON, null where it is such that one of the paths `rests` goes on.

    Where it `is_clear`: what says a field twice is not.
    """
    kinds = ", ".join(map(literal, kinds_of(rests)))
    is_other = f"coalesce(json_type({_document_sql(cell)}) not in ({kinds}), true)"
    return f"case when {is_other}{f' or not ({is_clear})' if is_clear else ''} then {cell} end"


def kinds_of(rests: Iterable[str]) -> list[str]:
    """The kinds of JSON that the paths `rests` go on in: of a list they take an entry."""
    return sorted({"ARRAY" if ENTRY.match(rest) else "OBJECT" for rest in rests})


def place_of(path: str) -> str:
    """`path`, without chosen entries of lists, as the engine writes it; of none the whole document."""
    if not path:
        return "$"
    return f"$.{path}" if PLAIN.fullmatch(path) else "$" + "".join(map(_quoted, path.split(".")))


def parts_of(step: str) -> tuple[str, str]:
    """The field of a step of a path, and the number of the entry that it takes of a list, in brackets, or nothing."""
    parts = NUMBERED.fullmatch(step)
    return (parts[1], parts[2]) if parts else (step, "")


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


def _quoted(step: str) -> str:
    name, entry = parts_of(step)
    return '."' + name.replace('"', "") + f'"{entry}'
