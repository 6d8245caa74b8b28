"""Landed rows that are events: deduplicated, judged for bots, and the anonymous visitors they make known.

Belongs here: frames of landed rows to frames of events, quarantine and reconciliation. Does not belong here: reading
files (`sources/landing.py`), visits and counts (`sessionise.py`, `roll_up.py`).
"""

from collections.abc import Sequence

import narwhals as nw

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.events.tables import HIDEABLE, IDENTITY_LINKS, IGNORED, RAW_EVENTS, REASONS, TYPES_NAMED
from gesture_assets.frames import Frame

# Behaviour that no reader shows: this many events within one minute, or this many events of a day with no time spent.
BOT_EVENTS_PER_MINUTE = 30
BOT_EVENTS_WITHOUT_DWELL = 100

ANONYMOUS_PREFIX = "anon:"
EMAIL_PREFIX = "email:"  # and a user: the row of identity_links that holds their address
# What a link is told by.
LINK_COLUMNS = (PARTITION, "anonymous_id", "known_user_id", "user_id", "email_key", "event_id", "event_at")
ROW = ("landing_file", "landing_line")  # tells landed rows apart


def accepted(landed: Frame) -> Frame:
    """The landed rows that have no reason against them."""
    return landed.filter(nw.col("reason").is_null())


def copies(events: Frame, filed_before: Frame) -> Frame:
    """File and line of the rows that repeat an event: all but the one received first, then first in file and line.

    `filed_before` holds the `event_id`s that earlier days already have; further copies of those are copies too.
    """
    order, row = ("received_at", *ROW), [*ROW]
    # Numbering every row costs a sort; nearly all ids occur once, so only those that do not are numbered.
    repeated = events.group_by("event_id").agg(nw.len().alias("copies")).filter(nw.col("copies") > 1).select("event_id")
    further = (
        events.join(repeated, on="event_id", how="semi")
        .with_columns(copy=nw.col("event_id").cum_count().over("event_id", order_by=order))
        .filter(nw.col("copy") > 1)
    )
    known = events.join(filed_before, on="event_id", how="semi")
    return nw.concat([further.select(*row), known.select(*row)]).unique(subset=row, keep="any")


def without(events: Frame, copies: Frame) -> Frame:
    """`events` but the rows that `copies` names."""
    return events.join(copies, on=list(ROW), how="anti")


def flag_bots(events: Frame) -> Frame:
    """`events` with `is_bot`: by user agent, by pace, or by many events without any time on a page.

    Judged per user and day on which the events became known, so a flag never depends on later days.
    """
    who = (PARTITION, "user_id")
    days = events.group_by(*who).agg(
        nw.len().alias("in_day"),
        # A time that we put in is no sign of a reader.
        nw.when(~nw.col("is_dwell_imputed")).then(nw.col("dwell_seconds")).sum().alias("dwell_in_day"),
        nw.col("is_bot_agent").max().alias("has_bot_agent"),
    )
    idle = (nw.col("in_day") >= BOT_EVENTS_WITHOUT_DWELL) & (nw.col("dwell_in_day") == 0)
    # Few users have as many events in a day as a machine has in a minute: only theirs are counted by minutes.
    busy = days.filter(nw.col("in_day") > BOT_EVENTS_PER_MINUTE).select(*who)
    hasty = (
        events.join(busy, on=list(who), how="semi")
        .with_columns(minute=nw.col("event_at").dt.truncate("1m"))
        .group_by(*who, "minute")
        .agg(nw.len().alias("in_minute"))
        .filter(nw.col("in_minute") > BOT_EVENTS_PER_MINUTE)
    )
    bots = nw.concat([days.filter(nw.col("has_bot_agent") | idle).select(*who), hasty.select(*who)])
    flagged = bots.unique(subset=list(who), keep="any").with_columns(is_bot=nw.lit(True))
    return events.join(flagged, on=list(who), how="left").with_columns(nw.col("is_bot").fill_null(False))


def raw_events(events: Frame) -> Frame:
    """Deduplicated, judged events in the columns of the contract."""
    return events.select(*RAW_EVENTS.column_names)


def quarantined_events(landed: Frame) -> Frame:
    """The landed rows that are no events, with the reason and the check they would have failed."""
    checks = {
        "unknown_event_type": "every_event_has_a_known_type",
        "future_ts": "no_event_comes_from_the_future",
        "too_old": "no_event_is_older_than_a_year",
        "personal_id": "no_text_holds_an_ip_or_email_address",
        "unreadable_row": "columns_are_as_contracted_and_in_order",
    }
    reasons = list(REASONS)
    named = [checks.get(reason, "no_required_value_is_missing") for reason in reasons]
    return landed.filter(nw.col("reason") != IGNORED).select(
        PARTITION,
        "reason",
        nw.col("reason")
        .replace_strict(reasons, named, default=nw.lit("no_required_value_is_missing"))
        .alias("check_name"),
        "event_name",
        "source",
        "landing_file",
        "landing_line",
        "masked_row",
    )


def identity_links(events: Frame, calls: Frame) -> Frame:
    """Anonymous ids that events or `calls` (`identity_calls`) show together with a user id, and users' addresses.

    Once a day: the day's first event decides who a visitor is, its last call which address a user has; an address in
    an event is an attribute of its own. What earlier days showed is not looked at, so a day is the same whichever days
    were built before it.
    """
    rows = nw.concat([frame.select(*LINK_COLUMNS) for frame in (events, calls)])
    both = rows.filter(~nw.col("anonymous_id").is_null() & ~nw.col("known_user_id").is_null()).with_columns(
        anonymous_user_id=nw.concat_str([nw.lit(ANONYMOUS_PREFIX), nw.col("anonymous_id")])
    )
    order = ("event_at", "event_id")  # and what is said: a call that landed twice is there twice
    said_first = nw.col("event_id").cum_count().over(PARTITION, "anonymous_user_id", order_by=(*order, "known_user_id"))
    visitors = both.with_columns(is_it=said_first == 1).select(
        PARTITION, "anonymous_user_id", "is_it", "event_at", user_id="known_user_id", email_key=nw.lit(None, nw.String)
    )
    from_last = nw.col("event_id").cum_count(reverse=True).over(PARTITION, "user_id", order_by=(*order, "email_key"))
    told = calls.filter(~nw.col("email_key").is_null()).with_columns(is_it=from_last == 1)
    users = told.select(
        PARTITION,
        nw.concat_str([nw.lit(EMAIL_PREFIX), nw.col("user_id")]).alias("anonymous_user_id"),
        "is_it",
        "event_at",
        "user_id",
        "email_key",
    )
    links = nw.concat([visitors, users]).filter(nw.col("is_it")).rename({"event_at": "linked_at"})
    return links.select(*IDENTITY_LINKS.column_names)


def identity_calls(landed: Frame) -> Frame:
    """Landed calls that are no events and say which user a visitor is, with a time that can be."""
    happened = nw.col("event_at").cast(nw.Date) <= nw.col(PARTITION)
    return landed.filter(nw.col("is_link") & (nw.col("reason") == IGNORED) & happened)


def reconciliation(landed: Frame, events: Frame, files: Frame, hideable: Sequence[str] = HIDEABLE) -> Frame:
    """Per file and day: rows landed, accepted, duplicate, quarantined, ignored, late, and values that cannot be read.

    `files` adds what each one dropped, `hideable` are the columns of which a value may have been hidden.
    """
    per_file = [PARTITION, "source", "landing_file"]
    landed_counts = landed.group_by(*per_file).agg(
        nw.len().alias("landed_count"),
        (nw.col("reason") != IGNORED).cast(nw.Int32).sum().alias("quarantined_count"),
        (nw.col("reason") == IGNORED).cast(nw.Int32).sum().alias("ignored_count"),
    )
    late = (nw.col("event_at").cast(nw.Date) < nw.col(PARTITION)).cast(nw.Int32)
    accepted_counts = events.group_by(*per_file).agg(nw.len().alias("accepted_count"), late.sum().alias("late_count"))
    return (
        landed_counts.join(accepted_counts, on=per_file, how="left")
        .join(_ignored_types(landed, per_file), on=per_file, how="left")
        .join(_named_values(landed, per_file, "unreadable", _names(landed, "unreadable")), on=per_file, how="left")
        .join(_named_values(landed, per_file, "redacted", hideable), on=per_file, how="left")
        .join(files, on="landing_file", how="left")
        .with_columns(nw.col(f"{name}_count").fill_null(0) for name in ("accepted", "late", "unreadable", "redacted"))
        .with_columns(
            duplicate_count=nw.col("landed_count")
            - nw.col("quarantined_count")
            - nw.col("ignored_count")
            - nw.col("accepted_count")
        )
        .select(
            *per_file,
            *(_whole(name) for name in ("landed", "accepted", "duplicate", "quarantined", "ignored")),
            "ignored_types",
            *(_whole(name) for name in ("late", "unreadable")),
            "unreadable_values",
            _whole("redacted"),
            "redacted_values",
            "personal_columns",
            "unused_columns",
            "found_columns",
        )
    )


def _names(landed: Frame, text: str) -> list[str]:
    """The names that the column `text` holds, divided by blanks: of few columns, and in few rows."""
    texts = landed.filter(~nw.col(text).is_null()).select(text).unique().collect()[text].to_list()
    return sorted({name for names in texts for name in names.split()})


def _named_values(landed: Frame, per_file: Sequence[str], text: str, names: Sequence[str]) -> Frame:
    """Per file and day: rows whose column `text` names some of `names`, and how often each is named, in one text.

    Few rows name any.
    """
    listed = nw.concat_str([nw.lit(" "), nw.col(text), nw.lit(" ")])
    counts = [listed.str.contains(f" {name} ", literal=True).cast(nw.Int32).sum().alias(name) for name in names]
    values = [
        nw.when(nw.col(name) > 0).then(nw.concat_str([nw.lit(f"{name} "), nw.col(name).cast(nw.String)]))
        for name in names
    ]
    in_one = nw.concat_str(values, separator=", ", ignore_nulls=True) if values else nw.lit(None, nw.String)
    return (
        landed.filter(~nw.col(text).is_null())
        .group_by(*per_file)
        .agg(nw.len().alias(f"{text}_count"), *counts)
        .select(*per_file, f"{text}_count", in_one.alias(f"{text}_values"))
    )


def _whole(name: str) -> nw.Expr:
    return nw.col(f"{name}_count").cast(nw.Int64)


def _ignored_types(landed: Frame, per_file: Sequence[str]) -> Frame:
    """Per file and day: the commonest types that are left out on purpose, with their rows, in one text."""
    counts = (
        landed.filter(nw.col("reason") == IGNORED)
        .group_by(*per_file, "event_name")
        .agg(nw.len().alias("rows"))
        .with_columns(rows_below=-nw.col("rows").cast(nw.Int64))
    )
    place = nw.col("event_name").cum_count().over(*per_file, order_by=("rows_below", "event_name"))
    named = nw.concat_str([nw.col("event_name"), nw.lit(" "), nw.col("rows").cast(nw.String)])
    places = [f"place_{number}" for number in range(1, TYPES_NAMED + 1)]
    return (
        counts.with_columns(place=place, named=named)
        .group_by(*per_file)
        .agg(
            *(
                nw.when(nw.col("place") == number).then(nw.col("named")).max().alias(name)
                for number, name in enumerate(places, 1)
            )
        )
        .select(
            *per_file,
            nw.concat_str([nw.col(name) for name in places], separator=", ", ignore_nulls=True).alias("ignored_types"),
        )
    )
