"""The asset of user features."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import narwhals as nw

from gesture_assets.contracts import CRM_SNAPSHOT, DAILY_ACTIVITY, IDENTITY_LINKS, QUARANTINED_SUBSCRIBERS
from gesture_assets.defs.common import (
    DAILY,
    ONE_RUN,
    RETRIES,
    USER_FEATURES,
    VALIDATED_SUBSCRIBERS,
    Events,
    Night,
    WarehouseResource,
    gates,
    spec,
)
from gesture_assets.features.user_features import user_features as build


@dg.multi_asset(
    name="user_features",
    specs=[
        spec(
            USER_FEATURES,
            deps=[DAILY_ACTIVITY, IDENTITY_LINKS, VALIDATED_SUBSCRIBERS, QUARANTINED_SUBSCRIBERS, CRM_SNAPSHOT],
        )
    ],
    check_specs=gates(USER_FEATURES),
    partitions_def=DAILY,
    backfill_policy=ONE_RUN,
    retry_policy=RETRIES,
)
def user_features(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Events:
    """Work out what was known about every user at the end of each day."""
    with warehouse.open(context) as night:
        yield from night.commit((USER_FEATURES, _days(night)))


def _days(night: Night) -> Iterator[nw.LazyFrame[Any]]:
    for day in night.days:
        for contract in (CRM_SNAPSHOT, QUARANTINED_SUBSCRIBERS):
            night.read(contract, on=day)
        yield build(
            night.read(DAILY_ACTIVITY, through=day),
            night.read(IDENTITY_LINKS, through=day),
            night.read(VALIDATED_SUBSCRIBERS, on=day),
            day=day,
            as_of=datetime.combine(day + timedelta(days=1), datetime.min.time()),
            tags=night.settings.tags,
            include_bots=night.settings.include_bots,
        )
