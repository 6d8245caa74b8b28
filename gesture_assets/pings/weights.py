"""Weights and windows of pings: what a TOML file of them may say, and what is refused before anybody gets a list.

Belongs here: the file's form, its checks, its version, where the files are found. Does not belong here: what is
computed with the weights (`engagement.py`, `recommend.py`), which file a deployment uses (`settings.py`).
"""

import hashlib
import json
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gesture_assets.errors import ConfigError, listing

SHIPPED = Path(__file__).parent / "presets"
# Points are counted in units of 10⁻¹² of a point: whole numbers add up the same in any order, on any engine.
UNITS = 10**12

Weight = Annotated[float, Field(ge=0, le=1000)]  # × 10¹² is far below the largest BIGINT
MOST_DAYS = 36_525  # a century: further back there is no calendar to count in
USUAL_CANDIDATES = 50
Days = Annotated[int, Field(ge=1, le=MOST_DAYS)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class EventWeights(_Frozen):
    """Points that an event of each type brings; `view` is multiplied by watched ÷ duration. Other types bring none."""

    view: Weight
    like: Weight
    comment: Weight
    share: Weight
    follow_creator: Weight
    impression: Weight

    @property
    def units(self) -> dict[str, int]:
        """Event type -> its weight in units of 10⁻¹² of a point, exact for up to twelve decimals."""
        return {name: int(Decimal(repr(weight)) * UNITS) for name, weight in self.model_dump().items()}


class ScoreWeights(_Frozen):
    """What each part of a score weighs: α popularity, β category, γ creator, δ freshness."""

    popularity: Weight
    category: Weight
    creator: Weight
    freshness: Weight


class Windows(_Frozen):
    """Days that count, up to the as-of moment; None: all there are. `new_user`: days after signup a user is new."""

    popularity: Days | None = None
    affinity: Days | None = None
    seen: Days | None = None
    new_user: Annotated[int, Field(ge=0, le=MOST_DAYS)]


class Lists(_Frozen):
    """`length`: pings a user gets. `seen`: which events hide a ping from a user.

    `per_creator`: how many pings of one creator, where that is known, a list may hold; None: any number.
    `exploration`: the share of places that are given by chance to one of the `candidates` behind the list; None: none.
    """

    length: Annotated[int, Field(ge=1, le=1000)]
    seen: Literal["any", "engaged", "none"]
    per_creator: Annotated[int, Field(ge=1)] | None = None
    exploration: Annotated[float, Field(ge=0, le=0.5)] | None = None
    candidates: Annotated[int, Field(ge=2, le=2000)] | None = None

    @property
    def candidate_count(self) -> int:
        """How many pings the first stage puts in order for a user: the list, and what is behind it to choose from."""
        return self.candidates or max(USUAL_CANDIDATES, 2 * self.length)


class PingWeights(_Frozen):
    """One file. Made by `parse_ping_weights`, which checks the whole."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    description: str
    events: EventWeights
    score: ScoreWeights
    windows: Windows
    lists: Lists

    @property
    def content(self) -> str:
        """All that a list depends on, as canonical JSON: name, description and layout are no part of it."""
        return json.dumps(self.model_dump(exclude={"name", "description"}, exclude_none=True), sort_keys=True)

    @property
    def version(self) -> str:
        """Hash of the content."""
        return "p" + hashlib.sha256(self.content.encode()).hexdigest()[:12]


def shipped_ping_weights() -> dict[str, Path]:
    """The files that come with the product, by name."""
    return _files_in(SHIPPED)


def load_ping_weights(name: str, *, user_folder: Path) -> PingWeights:
    """The weights `name`: the user's file of that name, else the shipped one.

    Raises `ConfigError` when there is none of that name, and for everything that `parse_ping_weights` refuses.
    """
    shipped, own = shipped_ping_weights(), _files_in(user_folder)
    path = own.get(name) or shipped.get(name)
    if path is None:
        raise ConfigError(
            f"Ping weights {name!r} are not known.",
            expected=f"shipped: {listing(shipped, 20)}; your own: {listing(own, 20)}",
            found=name,
            where=f"{SHIPPED} and {user_folder}",
            next_step=f"name one of these, or write {user_folder / f'{name}.toml'}",
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refusal(name, str(path), "a text file in UTF-8", f"byte {error.start} is not") from error
    except OSError as error:
        raise _refusal(name, str(path), "a file that can be read", error.strerror or str(error)) from error
    return parse_ping_weights(text, name=name, where=str(path))


def parse_ping_weights(text: str, *, name: str, where: str) -> PingWeights:
    """The weights that a TOML `text` describes; `where` says in messages where the text came from.

    Raises `ConfigError` for the first thing that cannot be used, naming the key, what was expected and what was found.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _refusal(name, where, "TOML", str(error)) from error
    try:
        weights = PingWeights.model_validate(document)
    except ValidationError as error:
        raise _refusal(name, where, *_first_error(error)) from error
    if weights.name != name:
        raise _refusal(name, where, f"name = {name!r}, as the file is called", f"name = {weights.name!r}")
    lists = weights.lists
    if lists.exploration and lists.candidate_count < 2 * lists.length:
        raise _refusal(
            name, where, f"lists.candidates of twice lists.length at least, {2 * lists.length}", str(lists.candidates)
        )
    if lists.candidate_count <= lists.length:
        raise _refusal(name, where, f"lists.candidates above lists.length, {lists.length}", str(lists.candidates))
    for table in (weights.events, weights.score):
        if not any(table.model_dump().values()):
            title = "events" if table is weights.events else "score"
            raise _refusal(name, where, f"a weight above 0 in [{title}]", "none")
    return weights


def _files_in(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def _refusal(name: str, where: str, expected: str, found: str) -> ConfigError:
    return ConfigError(
        f"Ping weights {name!r} cannot be used.", expected=expected, found=found, where=where, next_step=f"edit {where}"
    )


def _first_error(error: ValidationError) -> tuple[str, str]:
    """Expected and found, for the first thing that pydantic objects to."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        model: Any = PingWeights
        for part in first["loc"][:-1]:
            model = model.model_fields[part].annotation
        return f"keys among {listing(model.model_fields, 20)}", f"unknown key {key!r}"
    if first["type"] == "missing":
        return f"a value for {key!r}", "nothing"
    return f"{key}: {first['msg'].removeprefix('Input ')}", f"{first['input']!r}"
