"""Fields of JSON that a file spells otherwise than paths have them: in capital letters, padded, as headers may be.

Belongs here: finding them at every depth, and where two of an object are one field. Does not belong here: following a
path (`paths.py`), what a row is that says something twice (`readers.py`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import duckdb

from gesture_assets.sources.paths import CHOSEN, ENTRY, parts_of, place_of
from gesture_assets.vocabulary.missing_values import WHITE_SPACE
from gesture_assets.vocabulary.sql import literal

Names = Mapping[str, Collection[str]]  # object -> its fields that paths begin with or go on in


def normal(name: str) -> str:
    """The name of a header or a field as such names are compared."""
    return name.strip(WHITE_SPACE).strip().lower()


@dataclass(frozen=True)
class Spellings:
    """Path -> its spellings in the file, its own first; and objects (as they are spelt) that may say a field twice.

    `twice` has for each the fields that are asked of it, with the name that each is taken for.
    """

    ways: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    twice: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])

    def says_once(self, document: str) -> str:
        """Whether the object `document` has each field once at most, in whatever letters: else nobody knows which."""
        return " and ".join(_is_once(document, way, names) for way, names in self.twice.items()) or "true"


def find_spellings(connection: duckdb.DuckDBPyConnection, rows: str, document: str, paths: Iterable[str]) -> Spellings:
    """How `document`, an SQL expression of JSON over `rows`, spells `paths`.

    Objects of few kinds make up a file: what is asked is asked of each kind once.
    """
    chosen = {path: _before_chosen(path) for path in paths}
    names = _asked_of(head for head, *_ in chosen.values())
    others: dict[tuple[str, str], list[str]] = {}
    twice: dict[str, Mapping[str, str]] = {}
    looked = set[str]()
    while places := [(path, way) for path in names for way in _ways(path, others) if way not in looked]:
        looked.update(way for _, way in places)
        found = _fields(connection, rows, document, [way for _, way in places])
        for (path, way), fields in zip(places, found, strict=True):
            meant = {normal(name): name for name in sorted(names[path], reverse=True)}
            spelt = sorted(name for name in fields if _is_usable(name) and name not in names[path])
            alike = {name: meant[normal(name)] for name in spelt if normal(name) in meant}
            for name, own in alike.items():
                others.setdefault((way, own), []).append(name)
            if alike or any(fields.values()):
                twice[way] = {name: name for name in names[path]} | alike
    ways: dict[str, Sequence[str]] = {}
    for path, (head, choice, rest) in chosen.items():
        found = _ways(head, others)
        if choice:
            entries = " union all ".join(
                f"select unnest(json_extract({document}, {literal(place_of(way) + '[*]')})) as entry from {rows}"
                for way in found
            )
            wanted, _, value = choice.partition("=")
            within = find_spellings(connection, f"({entries})", "entry", [wanted, *filter(None, [rest])]).ways
            tails = within.get(rest, [rest])
            found = [
                f"{way}[{name}={value}]" + (f".{tail}" if tail else "")
                for way, name, tail in product(found, within.get(wanted, [wanted]), tails)
            ]
        if found != [path]:
            ways[path] = found
    return Spellings(ways, twice)


def _is_usable(name: str) -> bool:
    """Whether a path can hold the name of a field."""
    return not set('."\\') & set(name) and not ENTRY.search(name)


def _before_chosen(path: str) -> tuple[str, str, str]:
    """The parts of a path: up to the list of which it chooses an entry, what is asked of that, and what follows."""
    steps = path.split(".")
    for place, step in enumerate(steps):
        if entry := CHOSEN.fullmatch(step):
            choice = f"{entry['field']}={entry['value']}"
            return ".".join([*steps[:place], entry["name"]]), choice, ".".join(steps[place + 1 :])
    return path, "", ""


def _asked_of(paths: Iterable[str]) -> Names:
    """Each object that `paths` lead through -> the fields that are asked of it."""
    names: dict[str, set[str]] = {}
    for path in paths:
        steps = path.split(".")
        for place, step in enumerate(steps):
            names.setdefault(".".join(steps[:place]), set()).add(parts_of(step)[0])
    return names


def _ways(path: str, others: Mapping[tuple[str, str], Sequence[str]]) -> list[str]:
    """The spellings of `path`: object as it is spelt and field -> the field's `others`."""
    ways = [""]
    for step in path.split(".") if path else []:
        name, entry = parts_of(step)
        ways = [
            f"{way}.{spelt}{entry}".removeprefix(".") for way in ways for spelt in (name, *others.get((way, name), ()))
        ]
    return ways


def _fields(
    connection: duckdb.DuckDBPyConnection, rows: str, document: str, objects: Sequence[str]
) -> list[dict[str, bool]]:
    """The fields that each of `objects` has somewhere, and whether one of an object with it stands there twice."""
    found: list[dict[str, bool]] = [{} for _ in objects]
    places = ", ".join(literal(place_of(way)) for way in objects)
    for place, name, is_twice in connection.execute(
        f"""select place, name, bool_or(is_twice) from (
            select place, unnest(names) as name, len(names) <> len(list_distinct(names)) as is_twice from (
                select generate_subscripts(shape, 1) as place, unnest(shape) as names from (
                    select distinct json_keys({document}, [{places}]) as shape from {rows})))
        group by all"""
    ).fetchall():
        found[place - 1][name] = is_twice
    return found


def _is_once(document: str, way: str, names: Mapping[str, str]) -> str:
    """Whether the object `way` of `document` has each of the fields that `names` are spellings of once at most."""
    fields = f"list_filter(json_keys({document}, {literal(place_of(way))}), lambda name: name in ({_listed(names)}))"
    if any(name != own for name, own in names.items()):
        cases = " ".join(f"when {literal(name)} then {literal(own)}" for name, own in names.items() if name != own)
        fields = f"list_transform({fields}, lambda name: case name {cases} else name end)"
    return f"coalesce(len({fields}) = len(list_distinct({fields})), true)"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(literal, names))
