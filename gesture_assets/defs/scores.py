"""Assets of rule scores: the scores, their parts, and the ranked list.

Belongs here: reading features, scoring them by the rule set, committing. Does not belong here: what a rule is worth
(`rules/`).
"""

from typing import Any

import dagster as dg
import narwhals as nw
import polars as pl

from gesture_assets.contracts import RULE_CONTRIBUTIONS, RULE_SCORES, RULE_SETS, TOP_USERS
from gesture_assets.contracts.contract import PARTITION
from gesture_assets.defs.common import SETTINGS, USER_FEATURES, Events, Night, WarehouseResource, step
from gesture_assets.errors import GestureError
from gesture_assets.rules.rule_set import RuleSet, load_rule_set
from gesture_assets.rules.scorer import rank, score
from gesture_assets.settings import Settings


def rule_set_of(settings: Settings) -> RuleSet:
    """The rule set that `settings` name. Raises `ConfigError` when it cannot be used."""
    return load_rule_set(
        settings.rule_set, user_folder=settings.user_rules, features=tuple(USER_FEATURES.column_names[2:])
    )


def _code_version() -> str:
    """The version that the code location shows; a broken rule set must fail its own asset, not every asset."""
    try:
        return rule_set_of(SETTINGS).version
    except GestureError:
        return "unusable"


@step(
    "rule_scores", RULE_SCORES, RULE_CONTRIBUTIONS, RULE_SETS, kinds={"rule_sets": ("toml",)}, version=_code_version()
)
def rule_scores(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Events:
    """Score everybody by the rule set, and keep what each rule added."""
    with warehouse.open(context) as night:
        rules = rule_set_of(night.settings)
        scores, contributions = score(night.read(USER_FEATURES, since=night.days[0], through=night.days[-1]), rules)
        yield from night.commit(
            (RULE_SCORES, scores.select(*RULE_SCORES.column_names)),
            (RULE_CONTRIBUTIONS, contributions.select(*RULE_CONTRIBUTIONS.column_names)),
            (RULE_SETS, _rule_sets(night, rules)),
            version=rules.version,
            notes={"rule_set": rules.name, "rule_set_version": rules.version, "bands": rules.band_thresholds},
        )


def _rule_sets(night: Night, rules: RuleSet) -> nw.LazyFrame[Any]:
    """A row for each day of the run, with the rule set that scores it."""
    return nw.from_native(
        pl.LazyFrame(
            {
                PARTITION: list(night.days),
                "rule_set": rules.name,
                "rule_set_version": rules.version,
                "rule_count": pl.Series([len(rules.rules)] * len(night.days), dtype=pl.Int32),
                "band_thresholds": rules.band_thresholds,
                "content": rules.content,
            }
        )
    )


@step("top_users", TOP_USERS)
def top_users(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Events:
    """Rank everybody and keep the top of the list."""
    with warehouse.open(context) as night:
        window = {"since": night.days[0], "through": night.days[-1]}
        night.read(RULE_CONTRIBUTIONS, **window)
        who = night.read(USER_FEATURES, **window).select(PARTITION, "user_id", "mailchimp_id", "country")
        ranked = rank(night.read(RULE_SCORES, **window), night.settings.top_users)
        listed = ranked.join(who, on=[PARTITION, "user_id"], how="left").select(*TOP_USERS.column_names)
        yield from night.commit((TOP_USERS, listed))
