"""What the columns of scores are made of, derived from the rule set and the feature registry.

Belongs here: which columns of which tables a column follows from. Does not belong here: tables as wholes
(`contracts/catalogue.py`), how lineage is shown (`defs/events.py`).
"""

from collections.abc import Iterable

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.features.feature_registry import Feature
from gesture_assets.rules.rule_set import Rule, RuleSet

Sources = dict[str, tuple[tuple[str, str], ...]]
IDS = (PARTITION, "user_id")


def feature_sources(features: Iterable[Feature]) -> Sources:
    """Column of `user_features` -> the columns of activity or of the CRM that it is made of."""
    sources: Sources = {column: (("daily_activity", column),) for column in IDS}
    for feature in features:
        own = tuple((feature.source, column) for column in feature.source_columns)
        # A feature made of features has their sources.
        sources[feature.name] = tuple(
            dict.fromkeys(
                source
                for table, column in own
                for source in (sources[column] if table == "user_features" else ((table, column),))
            )
        )
    return sources


def score_sources(rule_set: RuleSet) -> dict[str, Sources]:
    """Table -> column -> what it is made of, for the scores and contributions that `rule_set` makes."""
    ids: Sources = {column: (("user_features", column),) for column in IDS}
    everything = _read(rule_set, rule_set.rules)
    # The list names users by either id.
    suppressing = _features([*(suppression.feature for suppression in rule_set.suppress), "user_id", "mailchimp_id"])
    scores: Sources = {
        **ids,
        **dict.fromkeys(("score", "band", "explanation"), tuple(dict.fromkeys((*everything, *suppressing)))),
        "points": everything,
        "suppression_reason": suppressing,
        "last_event_at": _features(["last_event_at"]),
    }
    for group in ("fit", "engagement"):
        scores[f"{group}_points"] = _read(rule_set, [rule for rule in rule_set.rules if rule.group == group])
    values = _features(rule.feature for rule in rule_set.rules)
    contributions: Sources = {
        **ids,
        **dict.fromkeys(("value", "because"), values),
        **dict.fromkeys(("counted", "scaled", "points"), everything),
        "decay": _features(rule.decay_feature for rule in rule_set.rules if rule.half_life_days is not None),
    }
    return {"rule_scores": scores, "rule_contributions": contributions}


def _features(names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return tuple(("user_features", name) for name in dict.fromkeys(names))


def _read(rule_set: RuleSet, rules: Iterable[Rule]) -> tuple[tuple[str, str], ...]:
    """Every column that `rules` read, once, in file order."""
    columns: list[tuple[str, str]] = []
    for rule in rules:
        columns += _features(rule.needs)
        if cap := rule_set.day_cap(rule):
            columns += [("daily_activity", f"{cap.event_type}_count"), ("daily_activity", "activity_date")]
    return tuple(dict.fromkeys(columns))
