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
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gesture_assets.errors import ConfigError, listing
from gesture_assets.features.day_caps import DayCap
from gesture_assets.vocabulary.event_types import EVENT_TYPE_NAMES

SHIPPED = Path(__file__).parent / "sets"
CAPPED = ("count", "log_amount", "recency")
COUNTING = ("count", "log_amount")  # scales that go on growing with every occurrence
# Weights are decimal fractions: ten of them, added in binary, miss 1 by about 1e-16; a mistyped digit by far more.
WEIGHT_TOLERANCE = 1e-9

# A day's hundredth page view is a script or a search in distress: it says nothing that the twentieth did not.
DAILY_CAP = 20
NO_TOTAL_CAP = 100.0
RESERVED_BANDS = {"low": "what lies below the others", "suppressed": "that of users who get no score"}

Group = Literal["fit", "engagement"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Positive = Annotated[float, Field(gt=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Rule(_Frozen):
    """One rule: a feature, brought to 0–1 by `scale`, times `weight`, is its share of 100 points.

    A weight below 0 takes points away. `daily_cap`: how many events of one day count, where it is not the rule set's.
    `repeatable = false`: only the first occurrence counts, whatever the cap.

    `at_least_once`: 1 from a value of 1 up. `count`: value ÷ `cap`. `rate`: the value, plus `recency_bonus` × recency,
    which falls from 1 to 0 over `recency_days` since the last event. `log_amount`: log(1 + value) ÷ log(1 + `cap`).
    `recency`: falls from 1 at 0 days to 0 at `cap` days. All stay within 0–1; an unknown value counts 0. With
    `half_life_days` the points halve each time that many days have passed (`decay_feature` counts them).
    """

    id: Name
    feature: str
    scale: Literal["at_least_once", "count", "rate", "log_amount", "recency"]
    weight: Annotated[float, Field(ge=-1, le=1)]
    group: Group
    because: Annotated[str, Field(min_length=1)]
    cap: float | None = None
    daily_cap: Annotated[int, Field(ge=1)] | None = None
    repeatable: bool = True
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


class Suppression(_Frozen):
    """Who gets no score: users whose `feature` is at least 1, such as `unsubscribe_count_30d`; `reason` says why."""

    feature: str
    reason: Annotated[str, Field(min_length=1)]


class RuleSet(_Frozen):
    """Rules in file order, bands from the highest threshold down. Made by `parse_rule_set`, which checks the whole.

    `daily_cap`: how many events of one type and day count. `group_caps` and `total_cap`: the most points that a group,
    or everything together, can bring; what is above is a contribution of its own, below 0. `call_list`: "everybody"
    lists also who has done what the rules foretell; otherwise the call list leaves them out.
    """

    name: Name
    description: str
    bands: Annotated[dict[Name, Annotated[float, Field(ge=1, le=100)]], Field(min_length=1)]
    rules: Annotated[tuple[Rule, ...], Field(strict=False)]
    daily_cap: Annotated[int, Field(ge=1)] = DAILY_CAP
    group_caps: dict[Group, Annotated[float, Field(gt=0, le=100)]] = {}
    total_cap: Annotated[float, Field(ge=1, le=100)] = NO_TOTAL_CAP
    suppress: Annotated[tuple[Suppression, ...], Field(strict=False)] = ()
    call_list: Literal["everybody"] | None = None  # none is no part of the content: versions of before stay

    @property
    def version(self) -> str:
        """Hash of all that a score or an explanation depends on.

        Name, description, layout and the order of keys are no part of it; the order of rules is, as it settles ties.
        """
        return "r" + hashlib.sha256(self.content.encode()).hexdigest()[:12]

    @property
    def content(self) -> str:
        """Bands, caps, rules and suppressions as canonical JSON: what the version is the hash of."""
        content = self.model_dump(exclude={"name", "description"}, exclude_none=True)
        return json.dumps(content | {"bands": list(self.bands.items())}, sort_keys=True)

    @classmethod
    def of_content(cls, name: str, content: str) -> "RuleSet":
        """The rule set that `content` was the content of."""
        values = json.loads(content)
        return cls.model_validate(values | {"name": name, "description": "", "bands": dict(values["bands"])})

    @property
    def caps(self) -> dict[str, tuple[Group | None, float]]:
        """Id of the contribution that a cap makes -> the group that is capped, or none for all, and the most points."""
        caps: dict[str, tuple[Group | None, float]] = {
            f"{group}_cap": (group, cap) for group, cap in sorted(self.group_caps.items())
        }
        return caps | ({"total_cap": (None, self.total_cap)} if self.total_cap < NO_TOTAL_CAP else {})

    def day_cap(self, rule: Rule) -> DayCap | None:
        """The daily cap of `rule`, where it can make a difference.

        It cannot where the rule's own cap is no higher: one day that is capped has reached it, and so has the sum.
        """
        counted = _counted_events(rule.feature)
        most = rule.daily_cap or self.daily_cap
        if counted is None or rule.scale not in COUNTING or not rule.repeatable or rule.cap is None or rule.cap <= most:
            return None
        return DayCap(rule.feature, *counted, most)

    @property
    def day_caps(self) -> tuple[DayCap, ...]:
        """Every daily cap that can make a difference, once."""
        caps = (self.day_cap(rule) for rule in self.rules)
        return tuple(dict.fromkeys(cap for cap in caps if cap is not None))

    @property
    def band_thresholds(self) -> str:
        """The bands' lower ends as a text, such as "high 70, medium 40, low 0"."""
        return ", ".join(f"{name} {threshold:g}" for name, threshold in (*self.bands.items(), ("low", 0)))


def recency_feature(feature: str) -> str:
    """The feature with the days since `feature` last happened.

    `<event type>_count` and its windows go with `days_since_last_<event type>`; anything else goes with the last event
    of any type.
    """
    counted = _counted_events(feature)
    return f"days_since_last_{counted[0] if counted else 'event'}"


def _counted_events(feature: str) -> tuple[str, int | None] | None:
    """Event type and window (days) of a feature that counts the events of one type."""
    counted = re.fullmatch(r"(.+)_count(?:_(\d+)d)?", feature)
    if counted is None or counted[1] not in EVENT_TYPE_NAMES:
        return None
    return counted[1], int(counted[2]) if counted[2] else None


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
        text = path.read_text(encoding="utf-8-sig")
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


def _near(name: str, names: Collection[str]) -> str:
    matches = get_close_matches(name, sorted(names), n=3)
    return f" (near: {', '.join(matches)})" if matches else ""


def _first_error(error: ValidationError, document: dict[str, Any]) -> tuple[str, str, str | None]:
    """Expected, found and the rule, for the first thing that pydantic objects to."""
    first = error.errors()[0]
    path, rules = first["loc"], document["rules"]
    rule = None
    if len(path) > 1 and path[0] == "rules" and isinstance(path[1], int) and isinstance(rules[path[1]], dict):
        rule = str(rules[path[1]].get("id", f"number {path[1] + 1}"))
    key = ".".join(str(part) for part in (path[2:] if rule else path))
    if first["type"] == "extra_forbidden":
        keys = Rule.model_fields if rule else RuleSet.model_fields
        return f"keys among {listing(keys, 20)}", f"unknown key {key!r}{_near(key, keys)}", rule
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
            expected = f"one of the {len(features)} features of the registry"
            yield expected, f"feature {rule.feature!r}{_near(rule.feature, features)}", rule.id
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
        if rule.daily_cap is not None and (_counted_events(rule.feature) is None or rule.scale not in COUNTING):
            yield "daily_cap only where events of one type are counted", f"{rule.feature!r} by {rule.scale!r}", rule.id
        if not rule.repeatable and rule.scale not in COUNTING:
            yield f"repeatable = false only with scale {' or '.join(COUNTING)}", f"scale {rule.scale!r}", rule.id
        if rule.id in rule_set.caps:
            yield f"no rule called {rule.id!r}: a cap's own contribution is called so", rule.id, rule.id
        if re.search(r"[{}]", rule.because.replace("{value}", "")):
            yield "no placeholder but {value} in because", rule.because, rule.id
    # What takes points away comes on top: the best possible score is 100 with or without it.
    total = math.fsum(rule.weight for rule in rule_set.rules if rule.weight > 0)
    if abs(total - 1) > WEIGHT_TOLERANCE:
        yield "positive weights that sum to 1", f"a sum of {total:.12g}", None
    for suppression in rule_set.suppress:
        if suppression.feature not in features:
            near = _near(suppression.feature, features)
            yield f"one of the {len(features)} features of the registry", f"{suppression.feature!r}{near}", "suppress"
    for group, cap in rule_set.group_caps.items():
        if group not in {rule.group for rule in rule_set.rules}:
            yield "group_caps of groups that have rules", f"{group} = {cap:g}", None
    thresholds = list(rule_set.bands.values())
    if any(lower >= higher for higher, lower in pairwise(thresholds)):
        yield "bands from the highest threshold down", rule_set.band_thresholds.removesuffix(", low 0"), None
    for name, meaning in RESERVED_BANDS.items():
        if name in rule_set.bands:
            yield f"no band called {name!r}: it is {meaning}", f"{name} = {rule_set.bands[name]:g}", None
