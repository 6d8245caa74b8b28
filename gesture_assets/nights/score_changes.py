"""Why scores moved between two days, asked of the open warehouse: by user, by rule, and of the model.

Belongs here: reading what the steps between two scores are made of, for the night's step and for the command. Does not
belong here: the steps and their parts (`monitoring/score_changes.py`), whose scores the command asks about
(`cli/monitoring.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

import narwhals as nw
import polars as pl

from gesture_assets.contracts.contract import PARTITION, Contract
from gesture_assets.events.tables import DAILY_ACTIVITY, IDENTITY_LINKS
from gesture_assets.frames import Frame, to_polars
from gesture_assets.models.tables import MODEL_SCORES
from gesture_assets.monitoring.score_changes import (
    AFTER,
    BEFORE,
    NEW_BEHAVIOUR,
    RULE_EDIT,
    decompose,
    facts_by_step,
    model_scores_by_step,
    of_users,
    rule_scores_by_step,
    scores_of_points,
)
from gesture_assets.monitoring.tables import SCORE_CHANGES
from gesture_assets.nights.night import Days, Night
from gesture_assets.nights.steps import Built, Step
from gesture_assets.rules.rule_set import RuleSet
from gesture_assets.rules.tables import RULE_CONTRIBUTIONS, RULE_SCORES, RULE_SETS
from gesture_assets.settings import Settings
from gesture_assets.subscribers.tables import validated_subscribers
from gesture_assets.warehouse.session import Session

BY_RULE = ("user_id", "rule_id")


@dataclass(frozen=True)
class Between:
    """The days `earlier` and `later` of the users `chosen`, and both rule sets, with all that is asked of them twice.

    `features`: part -> features after its step; `rescored`: part -> scores and contributions after its step.
    """

    session: Session
    settings: Settings
    chosen: Frame
    earlier: date
    later: date
    features: dict[str, Frame]
    rescored: dict[str, tuple[Frame, Frame]]

    def by_user(self) -> pl.DataFrame:
        """One row per user: before, after, change, the parts and unexplained, of the rules' score, in points."""
        steps = {part: scores for part, (scores, _) in self.rescored.items()}
        return _parts({name: scores_of_points(frame) for name, frame in (self._published(RULE_SCORES) | steps).items()})

    def by_rule(self) -> pl.DataFrame:
        """One row per user and rule: the same of its points, which sum to the score before it is held in 1 to 100."""
        steps = {part: contributions for part, (_, contributions) in self.rescored.items()}
        return _parts(self._published(RULE_CONTRIBUTIONS) | steps, value="points", keys=BY_RULE, absent=0)

    def by_model(self) -> pl.DataFrame:
        """One row per user whom a model scored on both days: the same of its score. No rows where it did on neither.

        Raises `ModelMismatch` where the files of a version that scored are gone.
        """
        from gesture_assets.models.scoring import scored_columns
        from gesture_assets.models.training_set import with_rule_score
        from gesture_assets.models.versions import load_version

        published = {name: to_polars(frame) for name, frame in self._published(MODEL_SCORES).items()}
        ends = {name: nw.from_native(frame.lazy()) for name, frame in published.items()}
        if any(frame.is_empty() for frame in published.values()):
            return _parts(ends, absent=None)
        before, after = (
            load_version(self.settings.models, published[name]["model_version"][0]) for name in (BEFORE, AFTER)
        )
        columns = dict.fromkeys((*scored_columns(before), *scored_columns(after)))
        both = published[BEFORE].join(published[AFTER], on="user_id", how="semi")["user_id"].to_list()
        frames = {
            part: to_polars(with_rule_score(self._features_of(part), scores).filter(nw.col("user_id").is_in(both)))
            for part, (scores, _) in self.rescored.items()
        }
        asked = {part: frame.select(*columns).sort("user_id") for part, frame in frames.items()}
        return _parts(ends | model_scores_by_step(asked, before, after), absent=None)

    def _features_of(self, part: str) -> Frame:
        return self.features[NEW_BEHAVIOUR if part == RULE_EDIT else part]

    def _published(self, contract: Contract) -> dict[str, Frame]:
        """The rows of the chosen users on both days."""
        days = {BEFORE: self.earlier, AFTER: self.later}
        return {
            name: self.session.read(contract, on=day).join(self.chosen, on="user_id", how="semi")
            for name, day in days.items()
        }


def between(
    session: Session,
    settings: Settings,
    users: Frame,
    earlier: date,
    later: date,
    *,
    is_whole: bool = False,
    days: Sequence[date] | None = None,
) -> Between:
    """What is needed to say why the scores of `users` (`user_id`) moved from the day `earlier` to the day `later`.

    `is_whole` reads everybody's activity, which an id `subscriber:<mailchimp_id>` takes that has given way to another
    in between. `days` are those that are being built (default: those of the run). Raises `GateClosed` where a day is
    not live.
    """
    before, after = _rules_of(session, earlier), _rules_of(session, later)
    chosen = session.set_aside("chosen", users)
    activity, links = (
        session.read(contract, through=later, days=days) for contract in (DAILY_ACTIVITY, IDENTITY_LINKS)
    )
    if not is_whole:
        activity, links = of_users(activity, links, chosen)
    subscribers = validated_subscribers(settings.tags)
    ends = {one: datetime.combine(one + timedelta(days=1), time()) for one in (earlier, later)}
    moments = pl.LazyFrame({PARTITION: list(ends), "as_of": list(ends.values())})
    known = facts_by_step(
        session.set_aside("their_activity", activity),
        session.set_aside("their_links", links),
        nw.concat([session.read(subscribers, on=one) for one in (earlier, later)]),
        session.set_aside("moments", nw.from_native(moments)),
        earlier=earlier,
        later=later,
    )
    caps = {cap.column: cap for rules in (before, after) for cap in rules.day_caps}
    features = {
        part: session.set_aside(
            f"features_{part}",
            one.features(
                tuple(caps.values()),
                tags=settings.tags,
                include_bots=settings.include_bots,
                name_step=session.name_step,
            ).join(chosen, on="user_id", how="semi"),
        )
        for part, one in known.items()
    }
    return Between(session, settings, chosen, earlier, later, features, rule_scores_by_step(features, before, after))


def _rules_of(session: Session, day: date) -> RuleSet:
    """The rule set that scored `day`."""
    return RuleSet.of_content(*to_polars(session.read(RULE_SETS, on=day).select("rule_set", "content")).row(0))


def _parts(
    points: dict[str, Frame], *, value: str = "score", keys: Sequence[str] = ("user_id",), **how: Any
) -> pl.DataFrame:
    # Each step is asked once: side by side in one query, they would be planned together.
    asked = {name: to_polars(frame.select(*keys, value)) for name, frame in points.items()}
    lazy = {name: nw.from_native(frame.lazy()) for name, frame in asked.items()}
    return to_polars(decompose(lazy, value=value, keys=keys, **how)).sort(*keys)


# ---- the step ------------------------------------------------------------------------------------------------------

LEAST_CHANGE, MOST_CHANGES = 5.0, 1_000  # points from which on somebody asks why; users whose reasons are worked out


def score_changes(night: Night, days: Days) -> Built:
    """Say why the scores moved that moved most since the day before."""
    changes: list[pl.DataFrame] = []
    for day in days:
        users = _moved(night, day)
        parts = between(night.session, night.settings, users, day - timedelta(days=1), day).by_user()
        changes.append(parts.with_columns(pl.lit(day).alias(PARTITION)))
    return Built({SCORE_CHANGES: night.table(SCORE_CHANGES, *changes)})


def _moved(night: Night, day: date) -> Frame:
    """Users in another band than the day before, or far from where they were; those who moved farthest."""
    before, after = (
        night.read(RULE_SCORES, on=when).select("user_id", "points", "band") for when in (day - timedelta(days=1), day)
    )
    both = before.join(after.rename({"points": "later", "band": "later_band"}), on="user_id", how="inner")
    moved = both.with_columns(size=(nw.col("later") - nw.col("points")).abs()).filter(
        (nw.col("size") >= LEAST_CHANGE) | (nw.col("band") != nw.col("later_band"))
    )
    users = to_polars(moved.select("user_id", "size")).sort("size", "user_id", descending=[True, False])
    return nw.from_native(users.head(MOST_CHANGES).select("user_id").lazy())


STEPS = (Step("score_changes", score_changes, (SCORE_CHANGES,), sources=None),)
