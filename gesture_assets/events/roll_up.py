"""The daily roll-up: what each user added to each day.

Belongs here: frames of events and visits to `daily_activity`, and its totals at the end of a month. Does not belong
here: windows over days (`features/`).
"""

from datetime import date

import narwhals as nw

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.events.tables import ACTIVITY_TO_DATE, ATTRIBUTES, DAILY_ACTIVITY
from gesture_assets.frames import Frame
from gesture_assets.vocabulary.event_types import EVENT_TYPE_NAMES
from gesture_assets.vocabulary.features import DEVICES

KEY = (PARTITION, "user_id", "activity_date", "is_bot")
COUNTS = (
    *(f"{name}_count" for name in EVENT_TYPE_NAMES),
    "event_count",
    "session_count",
    *(f"{kind}_session_count" for kind in ("repeat", "bounced", "spam", *DEVICES)),
)
SESSION_SUMS = (
    "session_count",
    "repeat_session_count",
    "bounced_session_count",
    "spam_session_count",
    *(f"{device}_session_count" for device in DEVICES),
    "session_dwell_seconds",
)


def whole_milliseconds(seconds: nw.Expr) -> nw.Expr:
    """`seconds` as whole milliseconds: they add up to the same whatever the order of rows, which floats do not."""
    return (seconds.fill_null(0) * 1000).round(0).cast(nw.Int64)


def milliseconds(seconds: nw.Expr) -> nw.Expr:
    """The sum of `seconds` as whole milliseconds."""
    return whole_milliseconds(seconds).sum().cast(nw.Int64)


def exact_seconds(seconds: nw.Expr) -> nw.Expr:
    """The sum of `seconds`, exact to the millisecond."""
    # Multiplied, not divided: Polars turns a division by a constant into this, and the engines must agree to the bit.
    return milliseconds(seconds).cast(nw.Float64) * 0.001


def commonest_device(counts: str) -> nw.Expr:
    """The device whose column is the greatest, null where all are 0; ties go to the first in the alphabet.

    `counts` names the columns, such as "{}_session_count".
    """
    best = nw.max_horizontal(*(counts.format(device) for device in DEVICES))
    commonest = nw.lit(None, nw.String)
    for device in sorted(DEVICES, reverse=True):
        is_best = (nw.col(counts.format(device)) == best) & (best > 0)
        commonest = nw.when(is_best).then(nw.lit(device)).otherwise(commonest)
    return commonest


def last_known(rows: Frame, by: tuple[str, ...], attributes: tuple[str, ...], at: str) -> Frame:
    """Per `by`: each attribute's value at the latest `at` where it is known; ties go to the greatest value."""
    latest = rows.group_by(*by).agg(
        *(
            nw.when(~nw.col(name).is_null()).then(nw.col(at)).otherwise(nw.lit(None)).max().alias(f"{name}_at")
            for name in attributes
        )
    )
    return (
        rows.select(*by, at, *attributes)
        .join(latest, on=list(by), how="inner")
        .group_by(*by)
        .agg(
            *(
                nw.when(nw.col(at) == nw.col(f"{name}_at")).then(nw.col(name)).otherwise(nw.lit(None)).max().alias(name)
                for name in attributes
            )
        )
    )


def daily_activity(events: Frame, sessions: Frame) -> Frame:
    """`events` and filed `sessions` of some as-of days to one row per user, activity day and as-of day."""
    zero = nw.lit(0)
    dated = events.with_columns(activity_date=nw.col("event_at").cast(nw.Date))
    counts = dated.group_by(*KEY).agg(
        *(
            nw.when(nw.col("event_type") == name).then(nw.lit(1)).otherwise(zero).sum().alias(f"{name}_count")
            for name in EVENT_TYPE_NAMES
        ),
        nw.len().alias("event_count"),
        nw.col("event_at").min().alias("first_event_at"),
        nw.col("event_at").max().alias("last_event_at"),
        exact_seconds(nw.col("dwell_seconds")).alias("dwell_seconds"),
    )
    attributes = last_known(dated, KEY, tuple(ATTRIBUTES), "event_at")

    def filed(flag: nw.Expr) -> nw.Expr:
        return nw.when(flag).then(nw.col("filed")).otherwise(zero).sum()

    visits = (
        sessions.with_columns(activity_date=nw.col("started_at").cast(nw.Date))
        .group_by(*KEY)
        .agg(
            nw.col("filed").sum().alias("session_count"),
            filed(nw.col("is_repeat")).alias("repeat_session_count"),
            filed(nw.col("is_bounce")).alias("bounced_session_count"),
            filed(nw.col("is_spam")).alias("spam_session_count"),
            *(filed(nw.col("device") == device).alias(f"{device}_session_count") for device in DEVICES),
            exact_seconds(nw.col("filed") * nw.col("dwell_seconds")).alias("session_dwell_seconds"),
        )
    )
    # Counts and visits of a day may each be missing: stack what both have of keys, then join both to it.
    keys = nw.concat([counts.select(*KEY), visits.select(*KEY)]).unique(subset=list(KEY), keep="any")
    joined = (
        keys.join(counts, on=list(KEY), how="left")
        .join(visits, on=list(KEY), how="left")
        .join(attributes, on=list(KEY), how="left")
    )
    types = {"INTEGER": nw.Int32, "DOUBLE": nw.Float64}
    nullable = {"first_event_at", "last_event_at", *ATTRIBUTES}
    return joined.select(
        *(
            nw.col(column.name)
            if column.name in KEY or column.name in nullable
            else nw.col(column.name).fill_null(0).cast(types[column.type]).alias(column.name)
            for column in DAILY_ACTIVITY.columns
        )
    )


def as_totals(activity: Frame) -> Frame:
    """Rows of `daily_activity` in the columns of `activity_to_date`, ready to be added to others."""
    return activity.select(
        PARTITION,
        "user_id",
        "is_bot",
        nw.col(*COUNTS).cast(nw.Int32),
        "session_dwell_seconds",
        "first_event_at",
        "last_event_at",
        *(
            nw.when(nw.col(f"{name}_count") > 0).then(nw.col("activity_date")).alias(f"last_{name}_date")
            for name in EVENT_TYPE_NAMES
        ),
        *ATTRIBUTES,
        *(nw.when(~nw.col(name).is_null()).then(nw.col("last_event_at")).alias(f"{name}_at") for name in ATTRIBUTES),
    ).select(*ACTIVITY_TO_DATE.column_names)


def add_up(totals: Frame, by: tuple[str, ...]) -> Frame:
    """One row per `by`: counts added, first and last moments, and each attribute where it was seen last.

    Adding up sums of sums gives what adding up everything gives, in any order: ties of attributes go to the greatest.
    """
    sums = totals.group_by(*by).agg(
        nw.col(*COUNTS).sum().cast(nw.Int32),
        exact_seconds(nw.col("session_dwell_seconds")).alias("session_dwell_seconds"),
        nw.col("first_event_at").min(),
        nw.col("last_event_at").max(),
        nw.col(*(f"last_{name}_date" for name in EVENT_TYPE_NAMES)).max(),
        nw.col(*(f"{name}_at" for name in ATTRIBUTES)).max(),
    )
    latest = sums.select(*by, *(nw.col(f"{name}_at").alias(f"{name}_latest") for name in ATTRIBUTES))
    values = (
        totals.filter(nw.any_horizontal(*(~nw.col(name).is_null() for name in ATTRIBUTES), ignore_nulls=False))
        .select(*by, *ATTRIBUTES, *(f"{name}_at" for name in ATTRIBUTES))
        .join(latest, on=list(by), how="inner")
        .group_by(*by)
        .agg(
            *(
                nw.when(nw.col(f"{name}_at") == nw.col(f"{name}_latest")).then(nw.col(name)).max().alias(name)
                for name in ATTRIBUTES
            )
        )
    )
    return sums.join(values, on=list(by), how="left")


def activity_to_date(activity: Frame, earlier: Frame | None, day: date) -> Frame:
    """The totals of every user at the end of `day`: those of an `earlier` month and the `activity` known since."""
    rows = as_totals(activity)
    everything = rows if earlier is None else nw.concat([earlier.select(*ACTIVITY_TO_DATE.column_names), rows])
    totals = add_up(everything, ("user_id", "is_bot")).with_columns(nw.lit(day).cast(nw.Date).alias(PARTITION))
    return totals.select(*ACTIVITY_TO_DATE.column_names)
