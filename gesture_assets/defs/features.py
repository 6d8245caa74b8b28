"""The asset of user features.

Belongs here: reading what features are built from, a chunk of days at a time. Does not belong here: what a feature is
(`features/`).
"""

from collections.abc import Sequence
from datetime import date, timedelta

import dagster as dg
import narwhals as nw

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.defs.common import (
    USER_FEATURES,
    VALIDATED_SUBSCRIBERS,
    Events,
    Night,
    WarehouseResource,
    step,
)
from gesture_assets.defs.events import newest_totals
from gesture_assets.events.tables import ACTIVITY_TO_DATE, DAILY_ACTIVITY, IDENTITY_LINKS
from gesture_assets.features.feature_registry import WINDOWS, feature_registry
from gesture_assets.features.user_features import user_features as build
from gesture_assets.frames import Frame
from gesture_assets.rules.column_sources import feature_sources
from gesture_assets.subscribers.tables import CRM_SNAPSHOT, QUARANTINED_SUBSCRIBERS


@step("user_features", USER_FEATURES)
def user_features(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Events:
    """Work out what was known about every user at the end of each day."""
    with warehouse.open(context) as night:
        if kept := night.unchanged(USER_FEATURES):
            yield from kept
            return
        night.require(
            DAILY_ACTIVITY,
            IDENTITY_LINKS,
            CRM_SNAPSHOT,
            VALIDATED_SUBSCRIBERS,
            QUARANTINED_SUBSCRIBERS,
            ACTIVITY_TO_DATE,
        )
        commits = night.commit_chunks(activity_so_far(night), lambda: [(USER_FEATURES, _features(night))])
        sources = feature_sources(feature_registry(night.settings.tags))
        yield from night.report(commits, sources={USER_FEATURES.name: sources})


def moments(night: Night, days: Sequence[date]) -> Frame:
    """`days` with the moment by which things were known: their end."""
    values = ", ".join(f"(date '{day}', timestamp '{day + timedelta(days=1)}')" for day in days)
    return nw.from_native(night.session.connection.sql(f"select * from (values {values}) as t({PARTITION}, as_of)"))


def activity_so_far(night: Night) -> dict[date, int]:
    """Day of the run -> rows of activity up to it: a query for many days counts them for each one."""
    counts = night.session.live_counts(DAILY_ACTIVITY.name, [date.min, night.days[-1]])
    return {day: sum(rows for earlier, rows in counts.items() if earlier <= day) for day in night.days}


def _features(night: Night) -> Frame:
    first, last = night.days[0], night.days[-1]
    totals_day = newest_totals(night, through=first)
    return build(
        night.read(DAILY_ACTIVITY, through=last),
        night.read(IDENTITY_LINKS, through=last),
        night.read(VALIDATED_SUBSCRIBERS, since=first, through=last),
        moments(night, night.days),
        tags=night.settings.tags,
        include_bots=night.settings.include_bots,
        since=first - timedelta(days=max(WINDOWS) - 1),
        totals=night.read(ACTIVITY_TO_DATE, on=totals_day) if totals_day else None,
        totals_day=totals_day,
        name_step=night.session.name_step,
    )
