"""Steps of rule scores: the scores and their parts.

Belongs here: reading features, scoring them by the rule set. Does not belong here: what a rule is worth (`rules/`).
"""

import logging
from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Any

import narwhals as nw
import polars as pl

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.contracts.contract import PARTITION
from gesture_assets.errors import GestureError
from gesture_assets.events.tables import DAILY_ACTIVITY, IDENTITY_LINKS
from gesture_assets.features.day_caps import day_capped_counts
from gesture_assets.features.tables import USER_FEATURES
from gesture_assets.frames import Frame
from gesture_assets.nights.features import activity_so_far
from gesture_assets.nights.night import Days, Night, moments
from gesture_assets.nights.steps import Built, ColumnSources, Step
from gesture_assets.records import audit_log
from gesture_assets.rules.column_sources import score_sources
from gesture_assets.rules.rule_set import RuleSet, load_rule_set
from gesture_assets.rules.scorer import KEYS, score, suppressions
from gesture_assets.rules.tables import RULE_CONTRIBUTIONS, RULE_SCORES, RULE_SETS
from gesture_assets.settings import Settings
from gesture_assets.sources.description import load_descriptions
from gesture_assets.sources.kinds import EVENT
from gesture_assets.sources.landing import landed_folders
from gesture_assets.sources.personal import pseudonym_key
from gesture_assets.sources.suppressed import as_at_the_door, read_suppressed
from gesture_assets.warehouse import ledger

log = logging.getLogger(__name__)
DEFAULT = "intent"


def rule_set_of(settings: Settings, name: str | None = None) -> RuleSet:
    """The rule set `name`, or the one that scores. Raises `ConfigError` when it cannot be used."""
    features = catalogue(settings.tags)[USER_FEATURES.name].column_names[2:]
    return load_rule_set(name or rule_set_name(settings), user_folder=settings.user_rules, features=features)


def rule_set_name(settings: Settings) -> str:
    """The rule set that `settings` name, or that all landed sources of events are described with, or the default."""
    if settings.rule_set:
        return settings.rule_set
    descriptions = load_descriptions(settings.user_sources)
    landed = [descriptions[name] for name in landed_folders(settings.landing) if name in descriptions]
    named = {source.rule_set for source in landed if source.row_kind is EVENT}
    return named.pop() or DEFAULT if len(named) == 1 else DEFAULT


def _code_version(settings: Settings) -> str:
    """The version that the code location shows; a broken rule set must fail its own step, not every one."""
    try:
        return rule_set_of(settings).version
    except GestureError:
        return "unusable"


def _column_sources(settings: Settings) -> Mapping[str, ColumnSources]:
    return score_sources(rule_set_of(settings))


def _rules(night: Night) -> RuleSet:
    return night.once("rule set", lambda: rule_set_of(night.settings))


def _suppression_list(night: Night) -> tuple[pl.DataFrame, str]:
    """Whom people keep from being scored, and a hash of the file; empty without one."""

    def look() -> tuple[pl.DataFrame, str]:
        rows, digest = read_suppressed(night.settings.suppressed)
        if rows.height:
            rows = as_at_the_door(night.session.connection, rows, pseudonym_key(night.settings))
        return rows, digest

    return night.once("suppression list", look)


def _made_of(night: Night) -> Mapping[date, str]:
    return dict.fromkeys(night.days, f"{_rules(night).version} {_suppression_list(night)[1]}")


def rule_scores(night: Night, days: Days) -> Built:
    """Score everybody by the rule set, and keep what each rule added."""
    rules = _rules(night)
    night.once("new rules noted", lambda: _note_new_rules(night, rules))
    features = night.read_window(USER_FEATURES)
    without = _suppressions(night, features, rules)
    suppressed = without.group_by("reason").agg(users=nw.len()).collect().rows() if without is not None else []
    scores, contributions = night.session.query(score, _with_day_caps(night, days, features, rules), rules, without)
    # Most rules say nothing of most users: a row for each would be most of the warehouse.
    contributions = contributions.filter(nw.col("points") != 0)
    digest = _suppression_list(night)[1]
    return Built(
        {
            RULE_SCORES: scores.select(*RULE_SCORES.column_names),
            RULE_CONTRIBUTIONS: contributions.select(*RULE_CONTRIBUTIONS.column_names),
            RULE_SETS: _rule_sets(days, rules),
        },
        notes={"rule_set": rules.name, "rule_set_version": rules.version, "bands": rules.band_thresholds},
        counts=Counter(dict(suppressed)),
        inputs={"suppressed": digest} if digest else {},
        version=rules.version,
    )


def _contributions_at_most(night: Night) -> dict[date, int]:
    """Day -> rows of contributions, if every rule said something of every user."""
    rules = len(_rules(night).rules)
    return {day: users * rules for day, users in night.counts(USER_FEATURES).items()}


def _said_of_suppressed(night: Night, counts: Counter[Any]) -> Mapping[str, Any]:
    reasons = "; ".join(f"{reason}: {users}" for reason, users in sorted(counts.items()))
    return {"suppressed": f"{counts.total()} ({reasons})" if reasons else "0"}


def _note_new_rules(night: Night, rules: RuleSet) -> None:
    """Leave a row in the audit log when other rules score than scored last."""
    connection, run = night.session.connection, night.session.run
    before = ledger.latest_version(connection, RULE_SCORES.name)
    if before is not None and before != rules.version:
        audit_log.note(
            connection,
            now=run.now,
            action="new rule set",
            what=f"{rules.name} {rules.version} after {before}",
            days=run.days,
            run_id=run.run_id,
            command=run.step,
        )


def _with_day_caps(night: Night, days: Days, features: Frame, rules: RuleSet) -> Frame:
    """What the rules read of `features`, and the counts of which a day adds only so many, where rules have such."""
    if not rules.day_caps:
        return features
    caps = [cap.column for cap in rules.day_caps]
    parts = night.chunks(activity_so_far(night), columns=len(caps))
    capped = night.session.set_aside("day_capped_counts", (_day_capped(night, part, rules) for part in parts))
    # The contributions read this once a rule, so it is worked out once.
    needed = dict.fromkeys((*KEYS, "last_event_at", *(name for rule in rules.rules for name in rule.needs)))
    both = features.select(*needed).join(capped, on=list(KEYS), how="left")
    return night.session.set_aside("capped_features", both.with_columns(nw.col(*caps).fill_null(0)))


def _day_capped(night: Night, days: Days, rules: RuleSet) -> Frame:
    return day_capped_counts(
        night.read(DAILY_ACTIVITY, through=days[-1]),
        night.read(IDENTITY_LINKS, through=days[-1]),
        moments(night, days),
        rules.day_caps,
        include_bots=night.settings.include_bots,
    )


def _suppressions(night: Night, features: Frame, rules: RuleSet) -> Frame | None:
    """Who gets no score on the night's days, and why."""
    rows, _ = _suppression_list(night)
    listed = night.session.set_aside("suppression_list", nw.from_native(rows.lazy())) if rows.height else None
    if listed is not None:
        unknown = listed
        for key in ("user_id", "mailchimp_id"):
            unknown = unknown.join(features.select(key), on=key, how="anti")
        if count := unknown.select(nw.len()).collect().item():
            log.warning("%s of %s entries of suppressed.csv name nobody who is known", count, rows.height)
    suppressed = suppressions(features, rules.suppress, listed)
    return None if suppressed is None else night.session.set_aside("suppressed", suppressed)


def _rule_sets(days: Days, rules: RuleSet) -> Frame:
    """A row for each day, with the rule set that scores it."""
    return nw.from_native(
        pl.LazyFrame(
            {
                PARTITION: list(days),
                "rule_set": rules.name,
                "rule_set_version": rules.version,
                "rule_count": pl.Series([len(rules.rules)] * len(days), dtype=pl.Int32),
                "band_thresholds": rules.band_thresholds,
                "content": rules.content,
            }
        )
    )


STEPS = (
    Step(
        "rule_scores",
        rule_scores,
        (RULE_SCORES, RULE_CONTRIBUTIONS, RULE_SETS),
        sources=_made_of,
        rows=_contributions_at_most,
        summary=_said_of_suppressed,
        column_sources=_column_sources,
        code_version=_code_version,
        kinds={RULE_SETS.name: ("toml",)},
    ),
)
