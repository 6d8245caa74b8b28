"""Counts of which each day adds at most so many: what rules with a daily cap count.

Belongs here: capped counts from daily activity, for the caps that a rule set asks for. Does not belong here: the true
counts (`user_features.py`), which caps there are (`rules/rule_set.py`). They stand in no table: `user_features` must
not depend on the rules.
"""

from collections.abc import Sequence
from typing import NamedTuple

import narwhals as nw

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.features.user_features import KEY, known_by, resolve_identities
from gesture_assets.frames import Frame, whole_days


class DayCap(NamedTuple):
    """A count of events of which at most `cap` a day count; `window` in days, null: ever."""

    feature: str
    event_type: str
    window: int | None
    cap: int

    @property
    def column(self) -> str:
        """The column that holds what counts of the feature."""
        return f"{self.feature}_at_most_{self.cap}_a_day"


def day_capped_counts(
    activity: Frame, links: Frame, moments: Frame, caps: Sequence[DayCap], *, include_bots: bool = False
) -> Frame:
    """One row per moment and user with any of the counted events, and a column (`DayCap.column`) for each cap.

    The arguments are those of `user_features`. A day is the day of the event, whenever it became known, and a user's
    ids are one user, as in the features.
    """
    if not include_bots:
        activity = activity.filter(~nw.col("is_bot"))
    types = sorted({cap.event_type for cap in caps})
    counted = activity.select(PARTITION, "user_id", "activity_date", *(f"{name}_count" for name in types))
    of_a_day = (
        resolve_identities(known_by(counted, moments), known_by(links, moments))
        .with_columns(age_days=whole_days("activity_date", PARTITION))
        .group_by(*KEY, "age_days")
        .agg(*(nw.col(f"{name}_count").sum().cast(nw.Int64) for name in types))
    )

    def within(cap: DayCap) -> nw.Expr:
        count = nw.col(f"{cap.event_type}_count")
        capped = nw.when(count > cap.cap).then(nw.lit(cap.cap)).otherwise(count)
        inside = capped if cap.window is None else nw.when(nw.col("age_days") < cap.window).then(capped).otherwise(0)
        return inside.sum().cast(nw.Int32).alias(cap.column)

    return of_a_day.group_by(*KEY).agg(*(within(cap) for cap in caps))
