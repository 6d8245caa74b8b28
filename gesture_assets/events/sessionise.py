"""Visits: events of one user less than 30 minutes apart, or the sessions that a source keeps itself.

Belongs here: frames of events to frames of visits, and which visits changed from one evening to the next. Does not
belong here: choosing the days that are looked at (`nights/events.py`).
"""

from datetime import timedelta

import narwhals as nw

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.events.roll_up import commonest_device, exact_seconds
from gesture_assets.events.tables import SESSIONS
from gesture_assets.frames import Frame
from gesture_assets.vocabulary.features import DEVICES

GAP_SECONDS = 30 * 60  # the field's usual gap; a pause of exactly 30 minutes still continues the visit
# Visits are traced back this far before a user's first new event; a visit longer than that is a machine's.
REACH = timedelta(days=1)

FLAGS = ("is_repeat_session", "is_bounce", "is_spam", "is_bot")


def sessionise(events: Frame, *, by: tuple[str, ...] = ()) -> Frame:
    """One row per visit: `session_id`, user, first and last moment, counts, device, flags. A visit may cross midnight.

    A gap of more than 30 minutes starts a new visit. Events with a `source_session_id` keep that session, however long
    its pauses. `session_id` is the user with the first moment, or with the source and its own id. `by` names columns
    that tell independent sets of events apart; they stay in the result.
    """
    order, who = ("event_at", "event_id"), (*by, "user_id")
    gap = (nw.col("event_at") - nw.col("previous_at")).dt.total_seconds()
    numbered = (
        events.filter(nw.col("source_session_id").is_null())
        .with_columns(previous_at=nw.col("event_at").shift(1).over(*who, order_by=order))
        .with_columns(starts=nw.when(gap.is_null() | (gap > GAP_SECONDS)).then(nw.lit(1)).otherwise(nw.lit(0)))
        .with_columns(number=nw.col("starts").cum_sum().over(*who, order_by=order))
    )
    own = ("source", "source_session_id")
    first = nw.col("started_at").dt.to_string("%Y%m%dT%H%M%S")
    # An id is a text: it is made of visits, of which there are few, and not of their events.
    by_gap = _add_up(numbered, (*who, "number")).with_columns(session_id=_joined(nw.col("user_id"), first))
    by_source = _add_up(events.filter(~nw.col("source_session_id").is_null()), (*who, *own)).with_columns(
        session_id=_joined(nw.col("user_id"), *map(nw.col, own))
    )
    has_one_event = nw.when(nw.col("event_count") == 1).then(nw.lit(1)).otherwise(nw.lit(0))
    return (
        nw.concat([by_gap.drop("number"), by_source.drop(*own)])
        .with_columns(
            is_repeat=nw.col("is_repeat_session").fill_null(0) == 1,
            # Where the source is silent, a visit of one event is a bounce.
            is_bounce=nw.when(nw.col("is_bounce").is_null()).then(has_one_event).otherwise(nw.col("is_bounce")) == 1,
            is_spam=nw.col("is_spam").fill_null(0) == 1,
            is_bot=nw.col("is_bot").fill_null(0) == 1,
        )
        .drop("is_repeat_session")
    )


def _joined(*parts: nw.Expr) -> nw.Expr:
    return nw.concat_str(list(parts), separator="@")


def _add_up(rows: Frame, key: tuple[str, ...]) -> Frame:
    """One row per `key`: moments, counts, the commonest device, flags."""
    of_device = {name: nw.when(nw.col("device") == name).then(nw.lit(1)).otherwise(nw.lit(0)) for name in DEVICES}
    counted = rows.group_by(*key).agg(
        nw.col("event_at").min().alias("started_at"),
        nw.col("event_at").max().alias("ended_at"),
        nw.len().cast(nw.Int32).alias("event_count"),
        exact_seconds(nw.col("dwell_seconds")).alias("dwell_seconds"),
        *(count.sum().alias(f"{name}_events") for name, count in of_device.items()),
        *(nw.col(name).cast(nw.Int32).max().alias(name) for name in FLAGS),
    )
    return counted.with_columns(device=commonest_device("{}_events")).drop(*(f"{name}_events" for name in DEVICES))


def filed_sessions(new: Frame, history: Frame) -> Frame:
    """Visits to file on the days of `new`: new forms with +1, forms that no longer hold with -1; unchanged ones not.

    `new` holds the events filed on those days, `history` every event that could belong to one of their visits, `new`
    included. A day's answer depends on nothing that became known after it.
    """
    # What each day can have touched: a user's visits since shortly before their earliest new event …
    users = (
        new.group_by(PARTITION, "user_id")
        .agg(nw.col("event_at").min().alias("earliest"))
        .select(nw.col(PARTITION).alias("filing_day"), "user_id", nw.col("earliest").dt.offset_by("-1d").alias("since"))
    )
    timed = (
        history.filter(nw.col("source_session_id").is_null())
        .join(users, on="user_id", how="inner")
        .filter((nw.col("event_at") >= nw.col("since")) & (nw.col(PARTITION) <= nw.col("filing_day")))
        .drop("since")
    )
    # … and whole sessions of sources that keep their own, which may pause for weeks.
    own = ["user_id", "source", "source_session_id"]
    touched = (
        new.filter(~nw.col("source_session_id").is_null())
        .select(nw.col(PARTITION).alias("filing_day"), *own)
        .unique(subset=["filing_day", *own], keep="any")
    )
    own_sessions = history.join(touched, on=own, how="inner").filter(nw.col(PARTITION) <= nw.col("filing_day"))
    # The same visits as of the evening before, and as of the day: what differs is filed.
    columns = sorted(timed.collect_schema().names())
    revised = nw.concat([timed.select(*columns), own_sessions.select(*columns)])
    before = revised.filter(nw.col(PARTITION) < nw.col("filing_day")).with_columns(form=nw.lit(-1))
    both = nw.concat([revised.with_columns(form=nw.lit(1)), before])
    visits = sessionise(both, by=("filing_day", "form"))
    content = [name for name in SESSIONS.column_names if name not in (PARTITION, "filed")]
    return (
        visits.group_by("filing_day", *content)
        .agg(nw.col("form").sum().alias("filed"))
        .filter(nw.col("filed") != 0)
        .with_columns(nw.col("filed").cast(nw.Int8), nw.col("filing_day").alias(PARTITION))
        .select(*SESSIONS.column_names)
    )
