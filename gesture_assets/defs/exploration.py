"""Assets of exploration: outliers of engagement, who buys by segment, whether that is enough data.

Belongs here: reading, calling the rooms, committing. Does not belong here: what is worked out (`features/outliers.py`,
`subscribers/exploration.py`).
"""

import dagster as dg

from gesture_assets.defs.common import USER_FEATURES, VALIDATED_SUBSCRIBERS, Events, WarehouseResource, step
from gesture_assets.features.outliers import engagement_outliers as outliers
from gesture_assets.features.tables import ENGAGEMENT_FENCES, ENGAGEMENT_OUTLIERS
from gesture_assets.subscribers import exploration
from gesture_assets.subscribers.tables import DATA_SUFFICIENCY, PURCHASE_QUANTILES, SEGMENT_CONVERSION


@step("engagement_outliers", ENGAGEMENT_FENCES, ENGAGEMENT_OUTLIERS)
def engagement_outliers(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Events:
    """Find what is unusual among the active users of each day."""
    with warehouse.open(context) as night:
        if kept := night.unchanged(ENGAGEMENT_FENCES, ENGAGEMENT_OUTLIERS):
            yield from kept
            return
        parts = [
            outliers(
                night.read(USER_FEATURES, since=days[0], through=days[-1]),
                lambda name, frame, first=days[0]: night.session.set_aside(f"{name}_{first:%Y%m%d}", frame),
            )
            for days in night.chunks(night.counts(USER_FEATURES))
        ]
        yield from night.commit(
            (ENGAGEMENT_FENCES, [fences for fences, _ in parts]), (ENGAGEMENT_OUTLIERS, [beyond for _, beyond in parts])
        )


@step("who_buys", SEGMENT_CONVERSION, PURCHASE_QUANTILES, DATA_SUFFICIENCY)
def who_buys(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Events:
    """Tell buyers from others, by segment and by what is known of them."""
    with warehouse.open(context) as night:
        if kept := night.unchanged(SEGMENT_CONVERSION, PURCHASE_QUANTILES, DATA_SUFFICIENCY):
            yield from kept
            return
        subscribers = night.read(VALIDATED_SUBSCRIBERS, since=night.days[0], through=night.days[-1])
        yield from night.commit(
            (SEGMENT_CONVERSION, exploration.segment_conversion(subscribers)),
            (PURCHASE_QUANTILES, exploration.purchase_quantiles(subscribers)),
            (DATA_SUFFICIENCY, exploration.data_sufficiency(subscribers)),
        )
