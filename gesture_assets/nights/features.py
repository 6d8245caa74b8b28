"""Steps of features: what was known of every user, and what is unusual among the active ones.

Belongs here: reading what features are built from, a part of a long range at a time. Does not belong here: what a
feature is (`features/`).
"""

from collections.abc import Iterator
from datetime import date

import narwhals as nw

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.events.tables import ACTIVITY_TO_DATE, DAILY_ACTIVITY, IDENTITY_LINKS
from gesture_assets.features import outliers
from gesture_assets.features.feature_registry import feature_registry
from gesture_assets.features.range_counts import RangeCounts
from gesture_assets.features.tables import ENGAGEMENT_FENCES, ENGAGEMENT_OUTLIERS, METRICS, USER_FEATURES
from gesture_assets.features.user_features import added_activity, features_of_counts, without_bots
from gesture_assets.features.user_features import user_features as features_of
from gesture_assets.frames import Frame
from gesture_assets.nights.events import newest_totals
from gesture_assets.nights.night import Days, Night, moments
from gesture_assets.nights.steps import Built, Step
from gesture_assets.rules.column_sources import feature_sources
from gesture_assets.subscribers.tables import VALIDATED_SUBSCRIBERS


def user_features(night: Night, days: Days) -> Built:
    """Work out what was known about every user at the end of each day."""
    session, include_bots = night.session, night.settings.include_bots
    first, last = night.span[0], night.span[-1]
    activity, links = night.read(DAILY_ACTIVITY, through=last), night.read(IDENTITY_LINKS, through=last)
    people = (night.read_window(VALIDATED_SUBSCRIBERS), moments(night, days))
    named = {"tags": night.settings.tags, "name_step": session.name_step}
    totals_day = newest_totals(night, through=first)
    totals = night.read(ACTIVITY_TO_DATE, on=totals_day) if totals_day else None
    newer = activity.filter(nw.col(PARTITION) > totals_day) if totals_day else None
    if first == last:
        spared = {"totals": totals, "newer": newer, "include_bots": include_bots}
        return Built({USER_FEATURES: session.query(features_of, activity, links, *people, **spared, **named)})

    def begin() -> RangeCounts:
        added = added_activity(activity, totals, newer, include_bots=include_bots)
        return RangeCounts(without_bots(activity, include_bots), links, added, night.span)

    def features() -> Iterator[Frame]:
        counts = night.once((RangeCounts, night.span), begin)
        with session.in_memory(counts.of(days)) as frame:
            yield session.query(features_of_counts, frame, links, *people, **named)

    return Built({USER_FEATURES: features()})


def activity_so_far(night: Night) -> dict[date, int]:
    """Day -> rows of activity up to it: a query for many days counts them for each one."""
    counts = night.session.live_counts(DAILY_ACTIVITY.name, [date.min, night.days[-1]])
    return {day: sum(rows for earlier, rows in counts.items() if earlier <= day) for day in night.days}


def users_so_far(night: Night) -> dict[date, int]:
    """Day -> rows of features at most: everybody who was active by then, and every subscriber."""
    activity = night.select(DAILY_ACTIVITY, f"{PARTITION} <= date '{night.days[-1]}'")
    first_days = activity.group_by("user_id").agg(nw.col(PARTITION).min())
    new_users = dict(first_days.group_by(PARTITION).agg(nw.len()).collect().rows())
    subscribers = night.counts(VALIDATED_SUBSCRIBERS)
    return {
        day: subscribers.get(day, 0) + sum(users for first, users in new_users.items() if first <= day)
        for day in night.days
    }


def engagement_outliers(night: Night, days: Days) -> Built:
    """Find what is unusual among the active users of each day."""
    parts: list[tuple[Frame, Frame]] = []
    for part in night.chunks(night.counts(USER_FEATURES), columns=len(METRICS)):

        def set_aside(name: str, frame: Frame, first: date = part[0]) -> Frame:
            return night.session.set_aside(f"{name}_{first:%Y%m%d}", frame)

        rows = night.read(USER_FEATURES, since=part[0], through=part[-1])
        parts.append(outliers.engagement_outliers(rows, set_aside))
    return Built(
        {ENGAGEMENT_FENCES: [fences for fences, _ in parts], ENGAGEMENT_OUTLIERS: [beyond for _, beyond in parts]}
    )


STEPS = (
    Step(
        "user_features",
        user_features,
        (USER_FEATURES,),
        rows=users_so_far,
        column_sources=lambda settings: {USER_FEATURES.name: feature_sources(feature_registry(settings.tags))},
    ),
    Step("engagement_outliers", engagement_outliers, (ENGAGEMENT_FENCES, ENGAGEMENT_OUTLIERS)),
)
