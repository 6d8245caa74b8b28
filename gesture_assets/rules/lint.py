"""Lint: what a rule set may say but hardly means.

Belongs here: findings about a rule set that loaded. Does not belong here: what is refused on loading (`rule_set.py`).
"""

from collections.abc import Iterable
from itertools import combinations

from gesture_assets.features.feature_registry import Feature
from gesture_assets.rules.rule_set import Group, Rule, RuleSet

RATING_MAX = 5  # of member_rating, by the contract of validated_subscribers
FLAGS = ("is_", "tag_", "made_")  # names of features that are 0 or 1 and end in no count


def lint(rule_set: RuleSet, features: Iterable[Feature]) -> list[str]:
    """One sentence per finding, in file order; empty when there is nothing to say."""
    by_name = {feature.name: feature for feature in features}
    findings: list[str] = []
    for rule in rule_set.rules:
        findings += (f"Rule {rule.id!r} {finding}." for finding in _findings(rule, by_name[rule.feature]))
    for rule, other in combinations(rule_set.rules, 2):
        if rule.feature == other.feature:
            findings.append(f"Rules {rule.id!r} and {other.id!r} both count {rule.feature!r}.")
        elif _stem(by_name[rule.feature]) == _stem(by_name[other.feature]):
            both = f"{rule.feature!r} and {other.feature!r}"
            findings.append(f"Rules {rule.id!r} and {other.id!r} overlap: {both} count the same events.")
    best = min(sum(_best_of(group, rule_set, by_name) for group in ("fit", "engagement")), rule_set.total_cap)
    findings += (
        f"Band {name!r} cannot be reached: it starts at {threshold:g}, and the best score is {best:.1f}."
        for name, threshold in rule_set.bands.items()
        if threshold > best + 1e-9
    )
    return findings


def _best_of(group: Group, rule_set: RuleSet, by_name: dict[str, Feature]) -> float:
    """The most points that the rules of `group` can bring."""
    rules = [rule for rule in rule_set.rules if rule.group == group]
    best = sum(100 * max(rule.weight, 0) * _reach(rule, by_name[rule.feature]) for rule in rules)
    return min(best, rule_set.group_caps.get(group, best))


def _findings(rule: Rule, feature: Feature) -> Iterable[str]:
    if feature.type in ("VARCHAR", "TIMESTAMP"):
        yield f"looks at {feature.name!r}, which is {feature.type} and cannot be scored"
    if rule.weight == 0:
        yield "has weight 0 and never counts"
    if rule.daily_cap is not None and (not rule.repeatable or rule.daily_cap >= (rule.cap or 0)):
        yield f"has a daily cap of {rule.daily_cap} that never shows: its own cap is reached before"
    reach = _reach(rule, feature)
    if reach < 1:
        yield f"never reaches its cap of {rule.cap:g}: {feature.name!r} is at most {reach * (rule.cap or 0):g}"
    if (rule.scale == "recency") != (feature.unit == "days"):
        unit = feature.unit or "none"
        yield f"scales {feature.name!r} (unit {unit}) by {rule.scale!r}: days want 'recency', and nothing else does"
    if rule.scale == "rate" and feature.unit != "share":
        yield f"reads {feature.name!r} as a rate, but it is no share: everything above 1 counts alike"
    if rule.group != feature.group:
        yield f"is in group {rule.group!r}, but {feature.name!r} is a {feature.group!r} feature"
    if "{value}" not in rule.because:
        yield "has a because without {value}, so it reads the same for everybody"


def _reach(rule: Rule, feature: Feature) -> float:
    """The highest `scaled` that the feature's own range allows."""
    if rule.scale != "count" or not rule.cap:
        return 1.0
    highest = float("inf") if rule.repeatable else 1
    if feature.type == "BOOLEAN" or (feature.name.startswith(FLAGS) and feature.unit != "count"):
        highest = 1
    elif feature.name == "member_rating":
        highest = RATING_MAX
    elif feature.name.startswith("active_day_count") and feature.window:
        highest = feature.window
    return min(1.0, highest / rule.cap)


def _stem(feature: Feature) -> str:
    return feature.name.removesuffix(f"_{feature.window}d") if feature.window else feature.name
