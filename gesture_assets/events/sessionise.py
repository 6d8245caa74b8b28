"""Visits: events of one user less than 30 minutes apart, or the sessions that a source keeps itself.

Belongs here: frames of events to frames of visits, and what changed between two states of knowledge. Does not belong here:
choosing which events are looked at (`defs/events.py`).
"""

from datetime import date
from typing import Any

import narwhals as nw

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.contracts.events import SESSIONS
from gesture_assets.events.roll_up import exact_seconds

Frame = nw.LazyFrame[Any]

GAP_SECONDS = 30 * 60  # the field's usual gap; a 30-minute pause still continues the visit


def _mode(rows: Frame, by: str, column: str) -> Frame:
    """The commonest value of `column` per `by`, ties going to the first in the alphabet; nulls do not count."""
    counts = rows.filter(~nw.col(column).is_null()).group_by(by, column).agg(nw.len().alias("n"))
    most = counts.group_by(by).agg(nw.col("n").max().alias("most"))
    return (
        counts.join(most, on=by, how="inner")
        .filter(nw.col("n") == nw.col("most"))
        .group_by(by)
        .agg(nw.col(column).min())
    )


def sessionise(events: Frame) -> Frame:
    """One row per visit: `session_id`, user, first and last moment, counts, device and flags. A visit may cross midnight.

    A gap of more than 30 minutes starts a new visit. Events with a `source_session_id` keep that session, however long
    its pauses. `session_id` is the user with the first moment in seconds since 1970, or with the source's id.
    """
    order = ("event_at", "event_id")
    timed = events.filter(nw.col("source_session_id").is_null())
    gap = (nw.col("event_at") - nw.col("previous_at")).dt.total_seconds()
    numbered = (
        timed.with_columns(previous_at=nw.col("event_at").shift(1).over("user_id", order_by=order))
        .with_columns(starts=nw.when(gap.is_null() | (gap > GAP_SECONDS)).then(nw.lit(1)).otherwise(nw.lit(0)))
        .with_columns(number=nw.col("starts").cum_sum().over("user_id", order_by=order))
    )
    started = numbered.group_by("user_id", "number").agg(nw.col("event_at").min().alias("session_started_at"))
    columns = ("user_id", "event_at", "dwell_seconds", "device", "is_repeat_session", "is_bounce", "is_spam", "is_bot")
    by_gap = numbered.join(started, on=["user_id", "number"], how="inner").select(
        nw.concat_str(
            [nw.col("user_id"), nw.col("session_started_at").dt.to_string("%Y%m%dT%H%M%S")], separator="@"
        ).alias("session_id"),
        nw.lit(False).alias("is_from_source"),
        *columns,
    )
    by_source = events.filter(~nw.col("source_session_id").is_null()).select(
        nw.concat_str([nw.col("user_id"), nw.col("source"), nw.col("source_session_id")], separator="@").alias("session_id"),
        nw.lit(True).alias("is_from_source"),
        *columns,
    )
    rows = nw.concat([by_gap, by_source])
    said = {name: nw.col(name).cast(nw.Int32).max() for name in ("is_repeat_session", "is_bounce", "is_spam", "is_bot")}
    visits = rows.group_by("session_id", "user_id").agg(
        nw.col("event_at").min().alias("started_at"),
        nw.col("event_at").max().alias("ended_at"),
        nw.len().cast(nw.Int32).alias("event_count"),
        exact_seconds(nw.col("dwell_seconds")).alias("dwell_seconds"),
        *(expression.alias(name) for name, expression in said.items()),
    )
    return visits.join(_mode(rows, "session_id", "device"), on="session_id", how="left").with_columns(
        is_repeat=nw.col("is_repeat_session").fill_null(0) == 1,
        # Where the source is silent, a visit of one event is a bounce.
        is_bounce=nw.col("is_bounce").fill_null(nw.when(nw.col("event_count") == 1).then(nw.lit(1)).otherwise(nw.lit(0))) == 1,
        is_spam=nw.col("is_spam").fill_null(0) == 1,
        is_bot=nw.col("is_bot").fill_null(0) == 1,
    ).drop("is_repeat_session")


def changes(known_before: Frame, known_now: Frame, as_of: date) -> Frame:
    """The visits that are filed on `as_of`: new forms with +1, forms that no longer hold with -1; unchanged ones not at all.

    Both frames hold the events of the same users, the first as of the evening before, the second as of `as_of`.
    """
    columns = [name for name in SESSIONS.column_names if name not in (PARTITION, "filed")]
    # An anti join takes no nulls for equal, so the comparison is made on text.
    keys = [name for name in columns if name != "device"]
    before, now = (
        sessionise(frame).select(*columns).with_columns(device_key=nw.col("device").fill_null("")) for frame in
        (known_before, known_now)
    )  # fmt: skip
    on = [*keys, "device_key"]

    def filed(rows: Frame, other: Frame, sign: int) -> Frame:
        return rows.join(other.select(*on), on=on, how="anti").with_columns(filed=nw.lit(sign))

    both = nw.concat([filed(now, before, 1), filed(before, now, -1)])
    return both.with_columns(nw.lit(as_of).alias(PARTITION)).select(
        *(nw.col(name).cast(nw.Int8) if name == "filed" else nw.col(name) for name in SESSIONS.column_names)
    )
