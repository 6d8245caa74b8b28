"""Why somebody's score moved between two days, and how far a new model or rule set would move everybody.

Belongs here: the points between two published scores that tell the causes apart, the parts that follow, the churn that
a change of model or rules makes. Does not belong here: reading the points' tables (`defs/`, `cli/`), features
(`features/`), scoring (`rules/scorer.py`, `models/scoring.py`).

The score of the earlier day becomes that of the later one in steps, each of which changes one thing only:

    published on the earlier day
      late_data       facts of that day and before, as they are known on the later day
      decay_and_time  the later day comes, and nobody has done anything: windows slide, points fade
      new_behaviour   what happened in between, by events and in the CRM
      rule_edit       the later day's rule set, where it is another
      model_swap      the later day's model, where a model scores
    published on the later day

A part is the difference that its step makes, so the parts sum to the change whatever happens. Where two causes act
together, as a new visit under new rules, the later of the two steps has what they share. History reproduces, so the
last step ends at what was published; where it does not (the code changed, a day was built again since), `unexplained`
says by how much.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import narwhals as nw
import polars as pl

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.features.day_caps import DayCap, day_capped_counts
from gesture_assets.features.user_features import KEY, NameStep, unnamed, user_features
from gesture_assets.frames import Frame, concat
from gesture_assets.rules.rule_set import RuleSet
from gesture_assets.rules.scorer import score

if TYPE_CHECKING:
    from gesture_assets.models.training import Model


LATE_DATA, DECAY_AND_TIME, NEW_BEHAVIOUR, RULE_EDIT, MODEL_SWAP = PARTS = (
    "late_data",
    "decay_and_time",
    "new_behaviour",
    "rule_edit",
    "model_swap",
)
BEFORE, AFTER = "before", "after"
LOWEST = 1.0  # the score of somebody of whom nothing is known, and so of those who were not yet known


@dataclass(frozen=True)
class Facts:
    """What features are built from: rows of `daily_activity`, `identity_links`, `validated_subscribers`; moments."""

    activity: Frame
    links: Frame
    subscribers: Frame
    moments: Frame

    def features(
        self,
        caps: Collection[DayCap] = (),
        *,
        tags: tuple[str, ...],
        include_bots: bool = False,
        name_step: NameStep = unnamed,
    ) -> Frame:
        """`user_features` of this, with a column for each daily cap of the rules."""
        frames = (self.activity, self.links, self.subscribers, self.moments)
        features = user_features(*frames, tags=tags, include_bots=include_bots, name_step=name_step)
        if not caps:
            return features
        counts = day_capped_counts(self.activity, self.links, self.moments, tuple(caps), include_bots=include_bots)
        capped = [nw.col(cap.column).fill_null(0) for cap in caps]
        return features.join(counts, on=list(KEY), how="left").with_columns(*capped)


def facts_by_step(
    activity: Frame, links: Frame, subscribers: Frame, moments: Frame, *, earlier: date, later: date
) -> dict[str, Facts]:
    """Part -> what features are built from after its step, for the three steps that change them.

    `activity` and `links`: all rows up to the day `later`. `subscribers`: those of both days. `moments`: both days with
    the end of each. Rows of some users alone are enough (`of_users`).

    A visit that goes on past midnight belongs to the day it began on, so what it adds there counts as late.
    """
    earlier_day, later_day = (nw.lit(day).cast(nw.Date) for day in (earlier, later))
    end = nw.lit(datetime.combine(earlier + timedelta(days=1), time())).cast(nw.Datetime("us"))
    known_on = nw.col(PARTITION)
    activity, links = activity.filter(known_on <= later_day), links.filter(known_on <= later_day)
    happened, linked = activity.filter(nw.col("activity_date") <= earlier_day), links.filter(nw.col("linked_at") < end)
    in_time = nw.when(known_on > earlier_day).then(earlier_day).otherwise(known_on).alias(PARTITION)
    crm = subscribers.filter(known_on == earlier_day)
    now = moments.filter(known_on == later_day)
    return {
        LATE_DATA: Facts(
            happened.with_columns(in_time), linked.with_columns(in_time), crm, moments.filter(known_on == earlier_day)
        ),
        DECAY_AND_TIME: Facts(happened, linked, crm.with_columns(later_day.alias(PARTITION)), now),
        NEW_BEHAVIOUR: Facts(activity, links, subscribers.filter(known_on == later_day), now),
    }


def of_users(activity: Frame, links: Frame, users: Frame) -> tuple[Frame, Frame]:
    """The rows of `activity` and `links` that can make a difference for `users` (`user_id`); others may come along.

    An id `subscriber:<mailchimp_id>` lasts until any user shows up with its address: it takes the whole tables.
    """
    own = links.join(users.select("user_id"), on="user_id", how="semi").select(
        nw.col("anonymous_user_id").alias("user_id")
    )
    ids = nw.concat([users.select("user_id"), own])
    of_ids = links.join(ids.select(nw.col("user_id").alias("anonymous_user_id")), on="anonymous_user_id", how="semi")
    return activity.join(ids, on="user_id", how="semi"), of_ids


def rule_scores_by_step(
    features: Mapping[str, Frame], before: RuleSet, after: RuleSet
) -> dict[str, tuple[Frame, Frame]]:
    """Part -> scores and contributions after its step; `rule_edit` only where the rule sets differ.

    `features`: part -> features after its step, with the daily caps' columns of both rule sets. Each is read once per
    rule, so it should be a table (`Session.set_aside`).
    """
    scores = {part: score(frame, before) for part, frame in features.items()}
    if after.version != before.version:
        scores[RULE_EDIT] = score(features[NEW_BEHAVIOUR], after)
    return scores


def model_scores_by_step(features: Mapping[str, pl.DataFrame], before: "Model", after: "Model") -> dict[str, Frame]:
    """Part -> margin, probability and score of each user after its step, for users who have a model score.

    `features`: part -> features after its step, with the rules' score after it where the models read it (so there is a
    frame for `rule_edit` too where the rules changed); the last frame is scored by both models.
    """
    from gesture_assets.models.scoring import score_users

    steps = {part: (before, frame) for part, frame in features.items()}
    steps[MODEL_SWAP] = (after, features[max(features, key=PARTS.index)])
    return {part: nw.from_native(score_users(model, frame).lazy()) for part, (model, frame) in steps.items()}


def scores_of_points(scores: Frame) -> Frame:
    """`user_id` and the `score` that the points of rows of `rule_scores` make, for suppressed users as well."""
    return scores.select("user_id", nw.col("points").clip(LOWEST, 100.0).alias("score"))


def decompose(
    points: Mapping[str, Frame],
    *,
    value: str = "score",
    keys: Collection[str] = ("user_id",),
    absent: float | None = LOWEST,
) -> Frame:
    """One row per key: the keys, before, after, change, every part of `PARTS` and unexplained; parts sum to the change.

    `points`: "before" and "after" -> the published rows of both days; part -> the rows after its step, for as many
    parts as apply. A part that is not there is 0. Each frame holds the keys, one row per key, and the number `value`.
    `absent` is the value of a key that a frame does not hold; None leaves out keys that are not in all of them. By
    user: scores (`scores_of_points`), absent `LOWEST`. By user and rule: contributions' points, absent 0, which sum to
    the change in points, before they are held within 1 to 100. Model scores: absent None.
    """
    keys, steps = list(keys), [BEFORE, *(part for part in PARTS if part in points)]
    long = concat(
        [
            points[name].select(*keys, nw.col(value).cast(nw.Float64).alias("value"), nw.lit(name).alias("step"))
            for name in (*steps, AFTER)
        ]
    )
    wide = long.group_by(*keys).agg(
        nw.when(nw.col("step") == name).then(nw.col("value")).max().alias(name) for name in (*steps, AFTER)
    )
    values = [nw.col(name) for name in (*steps, AFTER)]
    wide = wide.drop_nulls() if absent is None else wide.with_columns(column.fill_null(absent) for column in values)
    parts = {later: nw.col(later) - nw.col(earlier) for earlier, later in pairwise(steps)}
    return wide.select(
        *keys,
        BEFORE,
        AFTER,
        change=nw.col(AFTER) - nw.col(BEFORE),
        **{part: parts.get(part, nw.lit(0.0, nw.Float64)) for part in PARTS},
        unexplained=nw.col(AFTER) - nw.col(steps[-1]),
    )
