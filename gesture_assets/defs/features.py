"""The asset of user features.

Belongs here: reading what features are built from, a chunk of days at a time. Does not belong here: what a feature is
(`features/`).
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import dagster as dg
import narwhals as nw

from gesture_assets.contracts import CRM_SNAPSHOT, DAILY_ACTIVITY, IDENTITY_LINKS, QUARANTINED_SUBSCRIBERS
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
from gesture_assets.features.user_features import user_features as build


@step("user_features", USER_FEATURES)
def user_features(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Events:
    """Work out what was known about every user at the end of each day."""
    with warehouse.open(context) as night:
        # The activity of all days up to each one is counted: that is what a chunk has to hold.
        history = sum(night.session.live_counts(DAILY_ACTIVITY.name, [date.min, night.days[-1]]).values())
        days_at_once = max(1, ROWS_AT_ONCE // max(history, 1))
        chunks = (night.days[n : n + days_at_once] for n in range(0, len(night.days), days_at_once))
        yield from night.commit((USER_FEATURES, (_features(night, days) for days in chunks)))


def _features(night: Night, days: Sequence[date]) -> nw.LazyFrame[Any]:
    first, last = days[0], days[-1]
    values = ", ".join(f"(date '{day}', timestamp '{day + timedelta(days=1)}')" for day in days)
    moments = night.session.connection.sql(f"select * from (values {values}) as t({PARTITION}, as_of)")
    for contract in (CRM_SNAPSHOT, QUARANTINED_SUBSCRIBERS):
        night.read(contract, since=first, through=last)
    return build(
        night.read(DAILY_ACTIVITY, through=last),
        night.read(IDENTITY_LINKS, through=last),
        night.read(VALIDATED_SUBSCRIBERS, since=first, through=last),
        nw.from_native(moments),
        tags=night.settings.tags,
        include_bots=night.settings.include_bots,
    )
