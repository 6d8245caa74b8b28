"""Rule sets: what a TOML file of weights may say, and everything that is refused before anybody is scored.

Belongs here: the file's form, its checks, its version, where the files are found. Does not belong here: scoring
(`scorer.py`), faults of judgement that may be meant (`lint.py`), which rule set a deployment uses (`settings.py`).
"""

import hashlib
import json
import math
import re
import tomllib
from collections import Counter
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gesture_assets.errors import ConfigError, listing
from gesture_assets.events.event_types import EVENT_TYPE_NAMES

SHIPPED = Path(__file__).parent / "sets"
CAPPED = ("count", "log_amount", "recency")
# Weights are decimal fractions: ten of them, added in binary, miss 1 by about 1e-16; a mistyped digit by far more.
WEIGHT_TOLERANCE = 1e-9

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Positive = Annotated[float, Field(gt=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Rule(_Frozen):
    """One rule: a feature, brought to 0–1 by `scale`, times `weight`, is its share of 100 points.

    `at_least_once`: 1 from a value of 1 up. `count`: value ÷ `cap`. `rate`: the value, plus `recency_bonus` × recency,
    which falls from 1 to 0 over `recency_days` since the last event. `log_amount`: log(1 + value) ÷ log(1 + `cap`).
    `recency`: falls from 1 at 0 days to 0 at `cap` days. All stay within 0–1; an unknown value counts 0. With
    `half_life_days` the points halve each time that many days have passed (`decay_feature` counts them).
    """

    id: Name
    feature: str
    scale: Literal["at_least_once", "count", "rate", "log_amount", "recency"]
    weight: Annotated[float, Field(ge=-1, le=1)]
    group: Literal["fit", "engagement"]
    because: Annotated[str, Field(min_length=1)]
    cap: float | None = None
    half_life_days: Positive | None = None
    recency_bonus: Positive | None = None
    recency_days: Positive | None = None

    @property
    def decay_feature(self) -> str:
        """The feature that says how long ago this rule's own feature last happened."""
        return recency_feature(self.feature)

    @property
    def needs(self) -> tuple[str, ...]:
        """Every feature that the rule reads."""
        decayed = (self.decay_feature,) if self.half_life_days is not None else ()
        return (self.feature, *decayed, *(("days_since_last_event",) if self.recency_bonus is not None else ()))


class RuleSet(_Frozen):
    """Rules in file order, bands from the highest threshold down. Made by `parse_rule_set`, which checks the whole."""

    name: Name
    description: str
    bands: Annotated[dict[Name, Annotated[float, Field(ge=1, le=100)]], Field(min_length=1)]
    rules: Annotated[tuple[Rule, ...], Field(strict=False)]

    @property
    def version(self) -> str:
        """Hash of all that a score or an explanation depends on.

        Name, description, layout and the order of keys are no part of it; the order of rules is, as it settles ties.
        """
        return "r" + hashlib.sha256(self.content.encode()).hexdigest()[:12]

    @property
    def content(self) -> str:
        """Bands and rules as canonical JSON: what the version is the hash of."""
        rules = [rule.model_dump(exclude_none=True) for rule in self.rules]
        return json.dumps({"bands": list(self.bands.items()), "rules": rules}, sort_keys=True)

    @property
    def band_thresholds(self) -> str:
        """The bands' lower ends as a text, such as "high 70, medium 40, low 0"."""
        return ", ".join(f"{name} {threshold:g}" for name, threshold in (*self.bands.items(), ("low", 0)))


def recency_feature(feature: str) -> str:
    """The feature with the days since `feature` last happened.

    `<event type>_count` and its windows go with `days_since_last_<event type>`; anything else goes with the last event
    of any type.
    """
    counted = re.fullmatch(r"(.+)_count(_\d+d)?", feature)
    return f"days_since_last_{counted[1] if counted and counted[1] in EVENT_TYPE_NAMES else 'event'}"


def shipped_rule_sets() -> dict[str, Path]:
    """The rule sets that come with the product, by name."""
    return _rule_sets_in(SHIPPED)


def load_rule_set(name: str, *, user_folder: Path, features: Collection[str]) -> RuleSet:
    """The rule set `name`: the user's file of that name, else the shipped one. `features` are the names rules may use.

    Raises `ConfigError` when there is none of that name, and for everything that `parse_rule_set` refuses.
    """
    shipped, own = shipped_rule_sets(), _rule_sets_in(user_folder)
    path = own.get(name) or shipped.get(name)
    if path is None:
        raise ConfigError(
            f"Rule set {name!r} is not known.",
            expected=f"shipped: {listing(shipped, 20)}; your own: {listing(own, 20)}",
            found=name,
            where=f"{SHIPPED} and {user_folder}",
            next_step=f"set GESTURE_RULE_SET to one of these, or write {user_folder / 'my_rules.toml'}",
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise _refusal(name, str(path), "a text file in UTF-8", f"byte {error.start} is not") from error
    return parse_rule_set(text, name=name, where=str(path), features=features)


def parse_rule_set(text: str, *, name: str, where: str, features: Collection[str]) -> RuleSet:
    """The rule set that a TOML `text` describes; `where` says in messages where the text came from.

    Raises `ConfigError` for the first thing that cannot be used, naming the rule, what was expected and what was found.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _refusal(name, where, "TOML", str(error)) from error
    if not document.get("rules"):
        raise _refusal(name, where, "at least one [[rules]] table", "no rules")
    try:
        rule_set = RuleSet.model_validate(document)
    except ValidationError as error:
        expected, found, rule = _first_error(error, document)
        raise _refusal(name, where, expected, found, rule) from error
    if rule_set.name != name:
        raise _refusal(name, where, f"name = {name!r}, as the file is called", f"name = {rule_set.name!r}")
    for expected, found, rule in _faults(rule_set, features):
        raise _refusal(name, where, expected, found, rule)
    return rule_set


def _rule_sets_in(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def _refusal(name: str, where: str, expected: str, found: str, rule: str | None = None) -> ConfigError:
    return ConfigError(
        f"Rule set {name!r} cannot be used.",
        expected=expected,
        found=found,
        where=f"{where}, rule {rule!r}" if rule else where,
        next_step=f"edit {where}, then  gesture rules lint",
    )


def _near(name: str, known: Collection[str]) -> str:
    matches = get_close_matches(name, sorted(known), n=3)
    return f" (near: {', '.join(matches)})" if matches else ""


def _first_error(error: ValidationError, document: dict) -> tuple[str, str, str | None]:
    """Expected, found and the rule, for the first thing that pydantic objects to."""
    first = error.errors()[0]
    path, rules = first["loc"], document["rules"]
    rule = None
    if len(path) > 1 and path[0] == "rules" and isinstance(path[1], int) and isinstance(rules[path[1]], dict):
        rule = str(rules[path[1]].get("id", f"number {path[1] + 1}"))
    key = ".".join(str(part) for part in (path[2:] if rule else path))
    if first["type"] == "extra_forbidden":
        known = Rule.model_fields if rule else RuleSet.model_fields
        return f"keys among {listing(known, 20)}", f"unknown key {key!r}{_near(key, known)}", rule
    if first["type"] == "missing":
        return f"a value for {key!r}", "nothing", rule
    return f"{key}: {first['msg'].removeprefix('Input ')}", f"{first['input']!r}", rule


def _faults(rule_set: RuleSet, features: Collection[str]) -> Iterator[tuple[str, str, str | None]]:
    """What no single value shows: expected, found, and the rule where it is one rule's fault."""
    for rule_id, copies in Counter(rule.id for rule in rule_set.rules).items():
        if copies > 1:
            yield "each id once", f"{rule_id!r} {copies} times", rule_id
    for rule in rule_set.rules:
        if rule.feature not in features:
            known = f"one of the {len(features)} features of the registry"
            yield known, f"feature {rule.feature!r}{_near(rule.feature, features)}", rule.id
        for needed in rule.needs:
            if needed not in features:
                yield f"a feature {needed!r}, which says how old {rule.feature!r} is", "none of that name", rule.id
        if rule.scale in CAPPED and rule.cap is None:
            yield f"a cap, because scale {rule.scale!r} needs one", "no cap", rule.id
        if rule.scale not in CAPPED and rule.cap is not None:
            yield f"no cap: scale {rule.scale!r} does not use one", f"cap = {rule.cap:g}", rule.id
        if rule.cap is not None and rule.cap <= 0:
            yield "a cap above 0", f"cap = {rule.cap:g}", rule.id
        if (rule.recency_bonus is None) != (rule.recency_days is None):
            yield "recency_bonus and recency_days together, or neither", "only one of them", rule.id
        if rule.recency_bonus is not None and rule.scale != "rate":
            yield "recency_bonus only with scale 'rate'", f"scale {rule.scale!r}", rule.id
        if re.search(r"[{}]", rule.because.replace("{value}", "")):
            yield "no placeholder but {value} in because", rule.because, rule.id
    total = math.fsum(rule.weight for rule in rule_set.rules)
    if abs(total - 1) > WEIGHT_TOLERANCE:
        yield "weights that sum to 1", f"a sum of {total:.12g}", None
    thresholds = list(rule_set.bands.values())
    if any(lower >= higher for higher, lower in pairwise(thresholds)):
        yield "bands from the highest threshold down", rule_set.band_thresholds.removesuffix(", low 0"), None
    if "low" in rule_set.bands:
        yield "no band called 'low': it is what lies below the others", f"low = {rule_set.bands['low']:g}", None
