"""What people did that the rules which scored them give no points for.

Belongs here: rules that say nothing of anybody on a published day, a shop that rules of another trade score, and a day
that other rules scored than score now. Does not belong here: what a rule set looks like by itself (`rules/lint.py`),
which one scores (`nights/rules.py`).
"""

from datetime import date
from typing import Any

from gesture_assets.rules.rule_set import Rule, RuleSet
from gesture_assets.settings import Settings

PRESENCE = ("session_count", "active_day_count", "event_count")  # features of whoever comes, whatever they do
SHOPPING, SELLING = ("add_to_cart_count", "checkout_step_count"), "demo_request_click_count"


def silent_rules(con: Any, day: date, rule_set: RuleSet) -> list[str]:
    """The ids of the rules of `rule_set` that gave or took nobody's points on `day`, in file order."""
    told = con.execute(
        "select distinct rule_id from rule_contributions where as_of_date = ? and rule_set_version = ?",
        [day, rule_set.version],
    ).fetchall()
    return [rule.id for rule in rule_set.rules if (rule.id,) not in told]


def unheard(con: Any, day: date, rule_set: RuleSet, settings: Settings) -> str:
    """What people do that `rule_set`, which scored `day`, does not hear, in a sentence; empty where it hears them.

    A shop's carts, where the rule set was not chosen and weighs none; and whatever people do, where all that gives
    points is that they come, how lately, and what the CRM knows.
    """
    shoppers = _shoppers(con, day)
    weighs_carts = any(rule.feature.startswith(SHOPPING) for rule in rule_set.rules)
    if shoppers and not weighs_carts and not settings.rule_set:
        return f"No rule of {rule_set.name} weighs the carts and checkouts of {shoppers:,} users."
    silent = silent_rules(con, day, rule_set)
    giving = [rule for rule in rule_set.rules if rule.weight > 0]
    if all(rule.id in silent for rule in giving):
        return f"No rule of {rule_set.name} gives anybody points."
    about_deeds = [rule.id for rule in giving if rule.group == "engagement" and not _is_about_presence(rule)]
    if about_deeds and set(about_deeds) <= set(silent):
        return f"Nothing that people do gives points by {rule_set.name}, only that they come."
    return ""


def other_rules(day: date, rule_set: RuleSet, settings: Settings) -> str:
    """That other rules than `rule_set`, which scored `day`, score from now on, in a sentence; empty where they are."""
    from gesture_assets.nights.rules import rule_set_of

    ours = rule_set_of(settings)
    if (ours.name, ours.version) == (rule_set.name, rule_set.version):
        return ""
    return (
        f"{day} was scored by {rule_set.name} {rule_set.version}, and the next night is by {ours.name} {ours.version}. "
        f'To score it again:  gesture run --date {day} --restate --reason "why"'
    )


def better_rules(con: Any, day: date, rule_set: RuleSet) -> str:
    """How to let rules score `day` that hear what its users do; empty where no shipped ones are known to."""
    if rule_set.name == "shop" or not _shoppers(con, day):
        return ""
    return (
        'It looks like a shop: set GESTURE_RULE_SET=shop, then  gesture rules approve shop --reason "why"  and for the '
        f'days that are published  gesture run --date {day} --restate --reason "why"'
    )


def _shoppers(con: Any, day: date) -> int:
    """How many users had filled a cart or gone to the till by `day`; 0 where anybody asked for a demo."""
    ((shoppers, callers),) = con.execute(
        f"select count(*) filter ({' + '.join(SHOPPING)} > 0), count(*) filter ({SELLING} > 0) "
        "from user_features where as_of_date = ?",
        [day],
    ).fetchall()
    return 0 if callers else shoppers


def _is_about_presence(rule: Rule) -> bool:
    return rule.scale == "recency" or rule.feature.startswith(PRESENCE)
