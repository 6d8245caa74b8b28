"""Source descriptions: small TOML files that say how an export names things, so that a new export needs no code.

Belongs here: their form, finding and reading them. Does not belong here: reading the files they describe
(`landing.py`). A user's own description under `data/sources/` wins over a shipped one of the same name, or adds to it
where it maps no columns.
"""

import hashlib
import re
import tomllib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from gesture_assets.errors import ConfigError, listing
from gesture_assets.sources.kinds import EVENT, INTERACTION, KINDS, Kind
from gesture_assets.vocabulary.features import DEVICES

SHIPPED = Path(__file__).parent / "descriptions"
KIND = "source description"
D = TypeVar("D", bound=BaseModel)
Said = dict[str, Any]  # what a file says, before it is looked at
Extend = Callable[[Said, Said], Said]

SECONDS = ("_sec", "_seconds")  # how our columns of seconds end
OF_EVENTS = ("links", "has_shared_ids", "properties", "impute", "rule_set")  # fields that no other kind has
LATER_FIELDS = ("kind", "units", "happened")  # of a description, which came when there were files read by it
LEAVE_OUT = "ignore"  # what a condition says instead of one of our types
BETWEEN_WORDS = "[ _-]+"  # one company's "demo requested" is another's demo_requested


def alike(name: str) -> str:
    """The name of an event type as it is compared: whatever its case, and whatever stands between its words."""
    return re.sub(BETWEEN_WORDS, "_", name.lower())


class Condition(BaseModel):
    """What else a row holds whose type is one of ours, or one to leave out: column -> pattern, or several.

    A `*` in a pattern stands for any text; case does not matter. All columns must fit, and one pattern of each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_type: str
    where: dict[str, str | tuple[str, ...]] = Field(min_length=1)


class Links(BaseModel):
    """Calls that only say which user a visitor is: their types, and the columns of both ids where they have others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    types: tuple[str, ...]
    user_id: tuple[str, ...] = ()
    anonymous_id: tuple[str, ...] = ()


class SourceDescription(BaseModel):
    """How one source's files are read. `columns` maps our names to the headers (or JSON paths) they may have.

    A path goes into JSON lines, a column that holds JSON, or a nested one of Parquet: `properties.plan`. Of a list it
    takes the entry that a field tells: `event_params[key=page_location].value.string_value`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str = ""
    kind: Literal["event", "interaction", "ping", "ping_user"] = "event"  # what a row of its files is
    delimiter: str = Field(",", min_length=1, max_length=1)
    time_zone: str = "UTC"  # of times that carry no offset
    timestamp_format: str = ""  # strptime; empty: ISO 8601, or seconds (also milli, micro, nano) since 1970
    decimal: Literal[".", ","] = "."  # the sign before a fraction; with a comma, points stand between thousands
    columns: dict[str, tuple[str, ...]]
    missing: tuple[str, ...] = ()  # words that stand for a missing id here, beside null, undefined and their kin
    constants: dict[str, str] = {}
    event_types: dict[str, str] = {}  # the source's name -> ours; empty: it uses ours
    conditions: tuple[Condition, ...] = ()  # types that more than a name tells; the first that fits, before all names
    links: Links | None = None
    # Where one column holds both: a user_id that is the row's anonymous_id, or ends in a colon and it, is nobody's yet.
    has_shared_ids: bool = False
    values: dict[str, dict[str, str]] = {}  # our column -> the source's value -> ours
    ignore: tuple[str, ...] = ()  # the source's names of types that are left out on purpose, and counted
    properties: tuple[str, ...] = ()  # further columns kept as JSON
    # What stands in for a missing value: the median of its file, or 30 s where the whole file has none (document 004).
    impute: dict[Literal["dwell_seconds"], Literal["median"]] = {}
    format: Literal["any", "csv", "jsonl", "parquet"] = "any"
    event_list: str = ""  # the field with the list of a record's events, where JSON lines hold several, such as visits
    # The unit of a time that is not in seconds: our column -> its unit in the files.
    units: dict[str, Literal["milliseconds"]] = {}
    # Where one row tells several interactions: our type -> the columns of which one says true, or a number above zero,
    # where it happened; without any it always did.
    happened: dict[str, tuple[str, ...]] = {}
    rule_set: str = ""  # the rules that suit what such a source tells, where the settings name none

    @property
    def row_kind(self) -> Kind:
        """What is asked of a row of its files."""
        return KINDS[self.kind]

    @property
    def headers(self) -> tuple[str, ...]:
        """Every header or path that the description names."""
        named = [*self.columns.values(), self.properties, *(tuple(condition.where) for condition in self.conditions)]
        named += self.happened.values()
        named += [self.links.user_id, self.links.anonymous_id] if self.links else []
        return tuple(dict.fromkeys(header for headers in named for header in headers))

    @property
    def digest(self) -> str:
        """A hash of what the description says, whatever its layout and comments."""
        silent = {name for name in LATER_FIELDS if name not in self.model_fields_set}  # files that were read stay read
        return hashlib.sha256(self.model_dump_json(exclude={"rule_set", *silent}).encode()).hexdigest()[:16]

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, tuple[str, ...]], info: ValidationInfo) -> dict[str, tuple[str, ...]]:
        kind = _kind_of(info)
        if unknown := sorted(set(columns) - set(kind.columns)):
            raise ValueError(f"unknown column {unknown[0]!r}; known are {', '.join(kind.columns)}")
        aliases = kind.aliases
        return {name: tuple(dict.fromkeys((*headers, *aliases.get(name, ())))) for name, headers in columns.items()}

    @field_validator("event_types")
    @classmethod
    def _known_types(cls, event_types: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        _require_known_types(event_types.values(), _kind_of(info).event_types)
        return event_types

    @field_validator("conditions")
    @classmethod
    def _known_types_of_conditions(
        cls, conditions: tuple[Condition, ...], info: ValidationInfo
    ) -> tuple[Condition, ...]:
        _require_known_types([one.event_type for one in conditions], (*_kind_of(info).event_types, LEAVE_OUT))
        return conditions

    @field_validator("happened")
    @classmethod
    def _known_types_that_happened(
        cls, happened: dict[str, tuple[str, ...]], info: ValidationInfo
    ) -> dict[str, tuple[str, ...]]:
        if happened and _kind_of(info) is not INTERACTION:
            raise ValueError('several in a row are read of  kind = "interaction"  only')
        _require_known_types(happened, INTERACTION.event_types)
        return happened

    @field_validator("units")
    @classmethod
    def _of_seconds(cls, units: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        times = [name for name in _kind_of(info).numbers if name.endswith(SECONDS)]
        if unknown := sorted(set(units) - set(times)):
            raise ValueError(f"{unknown[0]!r} has no unit; of those in seconds there are {', '.join(times) or 'none'}")
        return units

    @field_validator("values")
    @classmethod
    def _translated(cls, values: dict[str, dict[str, str]], info: ValidationInfo) -> dict[str, dict[str, str]]:
        translated = _kind_of(info).translated
        if unknown := sorted(set(values) - set(translated)):
            raise ValueError(f"values of {unknown[0]!r} are kept; translated are {', '.join(translated) or 'none'}")
        if odd := sorted(set(values.get("device", {}).values()) - set(DEVICES)):
            raise ValueError(f"unknown device {odd[0]!r}; known are {', '.join(DEVICES)}")
        return values

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"unknown time zone {zone!r}; use an IANA name such as Europe/Berlin") from error
        return zone

    @model_validator(mode="after")
    def _complete(self) -> "SourceDescription":
        kind = self.row_kind
        mapped = set(self.columns) | set(self.constants) | ({"event_type"} if self.happened else set())
        for needed in kind.needed:
            others = {"anonymous_id"} if kind.has_visitors and needed == "user_id" else set[str]()
            if not mapped & {needed, *others}:
                raise ValueError(f"nothing is mapped to {' or '.join((needed, *others))}")
        if unknown := sorted(set(self.constants) - set(kind.columns)):
            raise ValueError(f"unknown constant {unknown[0]!r}")
        if self.happened and mapped & {"event_type"} & {*self.columns, *self.constants}:
            raise ValueError("event_type is mapped, and told by  happened")
        if kind is not EVENT and (named := [name for name in OF_EVENTS if getattr(self, name)]):
            raise ValueError(f"{named[0]} is of events, and these rows are of the kind {kind.name}")
        if self.links and not {"user_id", "anonymous_id"} <= mapped:
            raise ValueError("links need columns of both, user_id and anonymous_id")
        if self.event_list and self.format != "jsonl":
            raise ValueError('event_list needs  format = "jsonl"')
        wanted: dict[str, str] = {}
        for name, ours in self.event_types.items():
            if wanted.setdefault(alike(name), ours) != ours:
                raise ValueError(f"the event type {name!r} is mapped to two of ours")
        if both := [name for name in self.ignore if alike(name) in (wanted or kind.event_types)]:
            raise ValueError(f"the event type {both[0]!r} is mapped and ignored")
        return self


def _kind_of(info: ValidationInfo) -> Kind:
    """The kind that a description has said so far; that of events where what it says is none."""
    return KINDS.get(info.data.get("kind", ""), EVENT)


def _require_known_types(names: Iterable[str], known: Sequence[str]) -> None:
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"unknown event type {unknown[0]!r}; known are {', '.join(known)}")


def load_descriptions(user_folder: Path) -> dict[str, SourceDescription]:
    """Name -> description, shipped ones and those of `user_folder`. Raises `ConfigError` naming file and fault.

    A user's own that maps no columns adds to the shipped one of its name.
    """
    return load_toml(SourceDescription, KIND, SHIPPED, user_folder, extend=_extended)


def load_toml(
    form: type[D], kind: str, shipped: Path, user_folder: Path, *, extend: Extend = lambda shipped, own: own
) -> dict[str, D]:
    """Name -> description of the `kind`, from the TOML files of both folders.

    A user's own wins over a shipped one; `extend` makes it of what both say.
    """
    ours, own = ({path.stem: path for path in sorted(folder.glob("*.toml"))} for folder in (shipped, user_folder))
    found = dict[str, D]()
    for name, path in (ours | own).items():
        both = {path: _read(path, kind) for path in (ours.get(name, path), path)}
        said = [_loads(text, kind, name=name, where=where) for where, text in both.items()]
        found[name] = _built(form, kind, extend(said[0], said[-1]), name=name, where=path)
    return found


def _extended(shipped: Said, own: Said) -> Said:
    """What `own` says; where it maps no columns, beside what is `shipped`: types and words are added to those there."""
    if "columns" in own:
        return own
    types, ignored = own.get("event_types", {}), own.get("ignore", [])
    if not isinstance(types, dict) or not isinstance(ignored, list):
        return {**shipped, **own}
    mapped = {alike(name) for name in types}
    left_out = {alike(str(name)) for name in ignored}
    kind = KINDS.get(str(shipped.get("kind")), EVENT)
    known = shipped.get("event_types") or {name: name for name in kind.event_types}
    return {
        **_merged(shipped, own),
        "event_types": {name: ours for name, ours in known.items() if alike(name) not in {*left_out, *mapped}} | types,
        "ignore": [*(name for name in shipped.get("ignore", ()) if alike(name) not in mapped), *ignored],
    }


def _merged(first: Any, second: Any) -> Any:
    """What `second` says, and in tables also what `first` says beside it."""
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return second
    return first | {key: _merged(first.get(key), value) for key, value in second.items()}


def _read(path: Path, kind: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError.bad_value(
            f"The {kind} {path.stem}",
            expected="text in UTF-8 that may be read",
            found=getattr(error, "strerror", None) or error,
            where=str(path),
            next_step="save the file as UTF-8, readable for the user that runs this, then  gesture run",
        ) from error


def parse_description(text: str, *, name: str, where: Path) -> SourceDescription:
    """The description in `text`. Raises `ConfigError` with the first fault."""
    return parse_toml(SourceDescription, KIND, text, name=name, where=where)


def parse_toml(form: type[D], kind: str, text: str, *, name: str, where: Path) -> D:
    """The `kind` of description in `text`. Raises `ConfigError` with the first fault."""
    return _built(form, kind, _loads(text, kind, name=name, where=where), name=name, where=where)


def _loads(text: str, kind: str, *, name: str, where: Path) -> Said:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _refusal(kind, str(error), name=name, where=where) from error


def _built(form: type[D], kind: str, said: Said, *, name: str, where: Path) -> D:
    try:
        return form(name=name, **said)
    except (ValidationError, TypeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        found = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}" if first else str(error)
        raise _refusal(kind, found, name=name, where=where) from error


def _refusal(kind: str, found: str, *, name: str, where: Path) -> ConfigError:
    return ConfigError.bad_value(
        f"The {kind} {name}",
        expected="the documented form, as the shipped descriptions have it",
        found=found,
        where=str(where),
        next_step="mend the file, then  gesture run",
    )


def description_of(folder: str, descriptions: dict[str, SourceDescription], user_folder: Path) -> SourceDescription:
    """The description for `landing/<folder>/`. Raises `ConfigError` listing the known sources."""
    if folder not in descriptions:
        raise ConfigError.unknown_name(
            "The source",
            folder,
            descriptions,
            where=f"data/landing/{folder}/",
            next_step=f"describe it in {user_folder}/{folder}.toml (copy one of: {listing(descriptions)}), "
            "or move the folder",
        )
    return descriptions[folder]
