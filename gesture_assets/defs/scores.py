"""Assets of rule scores: the scores, their parts, and the ranked list.

Belongs here: reading features, scoring them by the rule set, committing. Does not belong here: what a rule is worth
(`rules/`).
"""

from collections import Counter
from collections.abc import Sequence
from datetime import date

import dagster as dg
import narwhals as nw
import polars as pl

from gesture_assets.contracts.contract import PARTITION, Contract
from gesture_assets.defs.common import SETTINGS, USER_FEATURES, Events, Night, WarehouseResource, step
from gesture_assets.defs.features import activity_so_far, moments
from gesture_assets.errors import GestureError
from gesture_assets.events.tables import DAILY_ACTIVITY, IDENTITY_LINKS
from gesture_assets.features.day_caps import day_capped_counts
from gesture_assets.frames import Frame
from gesture_assets.records import audit_log
from gesture_assets.rules.column_sources import score_sources
from gesture_assets.rules.rule_set import RuleSet, load_rule_set
from gesture_assets.rules.scorer import KEYS, rank, score, suppressions
from gesture_assets.rules.tables import RULE_CONTRIBUTIONS, RULE_SCORES, RULE_SETS, TOP_USERS
from gesture_assets.settings import Settings
from gesture_assets.sources.suppressed import read_suppressed
from gesture_assets.warehouse.ledger import LEDGER


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
        sources = f"{rules.version} {read_suppressed(night.settings.suppressed)[1]}"
        if kept := night.unchanged(
            RULE_SCORES, RULE_CONTRIBUTIONS, RULE_SETS, sources=dict.fromkeys(night.days, sources)
        ):
            yield from kept
            return
        night.require(USER_FEATURES)
        _note_new_rules(night, rules)
        suppressed = Counter[str]()  # by reason
        commits = night.commit_chunks(
            night.counts(USER_FEATURES), lambda: _scored(night, rules, suppressed), version=rules.version
        )
        reasons = "; ".join(f"{reason}: {users}" for reason, users in sorted(suppressed.items()))
        yield from night.report(
            commits,
            {
                "rule_set": rules.name,
                "rule_set_version": rules.version,
                "bands": rules.band_thresholds,
                "suppressed": f"{suppressed.total()} ({reasons})" if reasons else "0",
            },
            score_sources(rules),
        )


def _scored(night: Night, rules: RuleSet, suppressed: Counter[str]) -> list[tuple[Contract, Frame]]:
    """The tables of the night's days; who is suppressed is added to `suppressed`, by reason."""
    features = night.read(USER_FEATURES, since=night.days[0], through=night.days[-1])
    without = _suppressions(night, features, rules)
    if without is not None:
        suppressed.update(dict(without.group_by("reason").agg(users=nw.len()).collect().rows()))
    scores, contributions = score(_with_day_caps(night, features, rules), rules, without)
    # Most rules say nothing of most users: a row for each would be most of the warehouse.
    contributions = contributions.filter(nw.col("points") != 0)
    return [
        (RULE_SCORES, scores.select(*RULE_SCORES.column_names)),
        (RULE_CONTRIBUTIONS, contributions.select(*RULE_CONTRIBUTIONS.column_names)),
        (RULE_SETS, _rule_sets(night, rules)),
    ]


def _note_new_rules(night: Night, rules: RuleSet) -> None:
    """Leave a row in the audit log when other rules score than scored last."""
    con, run = night.session.connection, night.session.run
    before = con.execute(
        f"select version from {LEDGER} where table_name = ? and verdict = 'PASS' "
        "order by recorded_at desc, attempt desc limit 1",
        [RULE_SCORES.name],
    ).fetchone()
    if before and before[0] != rules.version:
        audit_log.note(
            con,
            now=run.now,
            action="new rule set",
            what=f"{rules.name} {rules.version} after {before[0]}",
            days=night.days,
            run_id=run.run_id,
            command=run.step,
        )


def _with_day_caps(night: Night, features: Frame, rules: RuleSet) -> Frame:
    """What the rules read of `features`, and the counts of which a day adds only so many, where rules have such."""
    if not rules.day_caps:
        return features
    caps = [cap.column for cap in rules.day_caps]
    chunks = night.chunks(activity_so_far(night))
    capped = night.session.set_aside("day_capped_counts", (_day_capped(night, days, rules) for days in chunks))
    # The contributions read this once a rule, so it is worked out once.
    read = dict.fromkeys((*KEYS, "last_event_at", *(name for rule in rules.rules for name in rule.needs)))
    both = features.select(*read).join(capped, on=list(KEYS), how="left")
    return night.session.set_aside("capped_features", both.with_columns(nw.col(*caps).fill_null(0)))


def _day_capped(night: Night, days: Sequence[date], rules: RuleSet) -> Frame:
    return day_capped_counts(
        night.read(DAILY_ACTIVITY, through=days[-1]),
        night.read(IDENTITY_LINKS, through=days[-1]),
        moments(night, days),
        rules.day_caps,
        include_bots=night.settings.include_bots,
    )


def _suppressions(night: Night, features: Frame, rules: RuleSet) -> Frame | None:
    """Who gets no score on the night's days, and why."""
    rows, digest = read_suppressed(night.settings.suppressed)
    if digest:
        night.inputs["suppressed"] = digest
    listed = night.session.set_aside("suppression_list", nw.from_native(rows.lazy())) if rows.height else None
    found = suppressions(features, rules.suppress, listed)
    return None if found is None else night.session.set_aside("suppressed", found)


def _rule_sets(night: Night, rules: RuleSet) -> Frame:
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
        if kept := night.unchanged(TOP_USERS):
            yield from kept
            return
        window = {"since": night.days[0], "through": night.days[-1]}
        night.read(RULE_CONTRIBUTIONS, **window)
        who = night.read(USER_FEATURES, **window).select(PARTITION, "user_id", "mailchimp_id", "country")
        ranked = rank(night.read(RULE_SCORES, **window), night.settings.top_users)
        listed = ranked.join(who, on=[PARTITION, "user_id"], how="left").select(*TOP_USERS.column_names)
        yield from night.commit((TOP_USERS, listed))
