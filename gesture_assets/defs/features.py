"""The asset of user features.

Belongs here: reading what features are built from, a chunk of days at a time. Does not belong here: what a feature is
(`features/`).
"""

from collections.abc import Sequence
from datetime import date, timedelta

import dagster as dg
import narwhals as nw

from gesture_assets.contracts import (
    ACTIVITY_TO_DATE,
    CRM_SNAPSHOT,
    DAILY_ACTIVITY,
    IDENTITY_LINKS,
    QUARANTINED_SUBSCRIBERS,
)
from gesture_assets.contracts.contract import PARTITION
from gesture_assets.defs.common import (
    ROWS_AT_ONCE,
    USER_FEATURES,
    VALIDATED_SUBSCRIBERS,
    Events,
    Night,
    WarehouseResource,
    step,
)
from gesture_assets.defs.events import newest_totals
from gesture_assets.features.registry import WINDOWS, feature_registry
from gesture_assets.features.user_features import user_features as build
from gesture_assets.frames import Frame
from gesture_assets.rules.column_sources import feature_sources


@step("user_features", USER_FEATURES)
def user_features(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Events:
    """Work out what was known about every user at the end of each day."""
    with warehouse.open(context) as night:
        if kept := night.unchanged(USER_FEATURES):
            yield from kept
            return
        size = days_at_once(night)
        chunks = (night.days[n : n + size] for n in range(0, len(night.days), size))
        yield from night.commit(
            (USER_FEATURES, (_features(night, days) for days in chunks)),
            sources={USER_FEATURES.name: feature_sources(feature_registry(night.settings.tags))},
        )


def moments(night: Night, days: Sequence[date]) -> Frame:
    """`days` with the moment by which things were known: their end."""
    values = ", ".join(f"(date '{day}', timestamp '{day + timedelta(days=1)}')" for day in days)
    return nw.from_native(night.session.connection.sql(f"select * from (values {values}) as t({PARTITION}, as_of)"))


def days_at_once(night: Night) -> int:
    """How many days may be built in one query: the activity of all days up to each one is counted in it."""
    history = sum(night.session.live_counts(DAILY_ACTIVITY.name, [date.min, night.days[-1]]).values())
    return max(1, ROWS_AT_ONCE // max(history, 1))


def _features(night: Night, days: Sequence[date]) -> Frame:
    first, last = days[0], days[-1]
    totals_day = newest_totals(night, through=first)
    for contract in (CRM_SNAPSHOT, QUARANTINED_SUBSCRIBERS, ACTIVITY_TO_DATE):
        night.read(contract, since=first, through=last)
    return build(
        night.read(DAILY_ACTIVITY, through=last),
        night.read(IDENTITY_LINKS, through=last),
        night.read(VALIDATED_SUBSCRIBERS, since=first, through=last),
        moments(night, days),
        tags=night.settings.tags,
        include_bots=night.settings.include_bots,
        since=first - timedelta(days=max(WINDOWS) - 1),
        totals=night.read(ACTIVITY_TO_DATE, on=totals_day) if totals_day else None,
        totals_day=totals_day,
        name_step=night.session.name_step,
    )
