"""User features as of a moment, from daily activity and subscribers.

Belongs here: the one definition of every feature, used for the night, for tests and for a single user. Does not belong
here: the features' names and meanings (`registry.py`), what features are worth (`rules/`, models).
"""

from datetime import date, datetime, timedelta
from typing import Any

import narwhals as nw

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.events.event_types import EVENT_TYPE_NAMES
from gesture_assets.events.roll_up import ATTRIBUTES, exact_seconds, last_known
from gesture_assets.features.registry import DEVICES, WINDOWS, feature_registry, tag_column

Frame = nw.LazyFrame[Any]

TYPES = {"SMALLINT": nw.Int16, "INTEGER": nw.Int32, "BIGINT": nw.Int64, "DOUBLE": nw.Float64, "BOOLEAN": nw.Boolean}
MICROSECONDS_PER_DAY = 86_400_000_000


def _days_between(earlier: nw.Expr, later: datetime) -> nw.Expr:
    """Days from a timestamp column to `later`, with fractions."""
    return (nw.lit(later) - earlier).dt.total_microseconds().cast(nw.Float64) / MICROSECONDS_PER_DAY


def _rate(part: str, whole: str) -> nw.Expr:
    """`part` ÷ `whole` within 0 and 1; 0 where there is nothing to divide by."""
    share = nw.col(part).cast(nw.Float64) / nw.col(whole).cast(nw.Float64)
    return nw.when(nw.col(whole) > 0).then(share).otherwise(nw.lit(0.0))


def resolve_identities(activity: Frame, links: Frame) -> Frame:
    """`activity` with anonymous ids replaced by the users they turned out to be, by links known at the time."""
    renamed = links.select(
        nw.col("anonymous_user_id").alias("user_id"), nw.col("user_id").alias("known_user_id")
    )
    return (
        activity.join(renamed, on="user_id", how="left")
        .with_columns(user_id=nw.when(nw.col("known_user_id").is_null()).then(nw.col("user_id")).otherwise(nw.col("known_user_id")))
        .drop("known_user_id")
    )


def activity_features(activity: Frame, *, day: date, as_of: datetime) -> Frame:
    """Counts, recency, visits and last known attributes per user, from resolved daily activity known by `as_of`.

    A window of n days holds the activity days day - n + 1 … day.
    """
    zero = nw.lit(0)

    def within(days: int, value: nw.Expr) -> nw.Expr:
        return nw.when(nw.col("activity_date") > nw.lit(day - timedelta(days=days))).then(value).otherwise(zero).sum()

    stems = [*(f"{name}_count" for name in EVENT_TYPE_NAMES), "event_count", "session_count"]
    sums = [
        expression
        for stem in stems
        for expression in (
            *(within(days, nw.col(stem)).alias(f"{stem}_{days}d") for days in WINDOWS),
            nw.col(stem).sum().alias(stem),
        )
    ]
    last_days = [
        nw.when(nw.col(f"{name}_count") > 0).then(nw.col("activity_date")).otherwise(nw.lit(None)).max().alias(f"last_{name}")
        for name in EVENT_TYPE_NAMES
    ]
    recent_dwell = nw.when(nw.col("activity_date") > nw.lit(day - timedelta(days=30))).then(nw.col("dwell_seconds"))
    totals = activity.group_by("user_id").agg(
        *sums,
        *last_days,
        nw.col("first_event_at").min(),
        nw.col("last_event_at").max(),
        *(nw.col(f"{kind}_session_count").sum() for kind in ("repeat", "bounced", "spam", *DEVICES)),
        exact_seconds(recent_dwell.otherwise(nw.lit(0.0))).alias("dwell_seconds_30d"),
        exact_seconds(nw.col("session_dwell_seconds")).alias("session_dwell_seconds"),
        within(28, nw.col("event_count")).alias("event_count_28d"),
    )
    active = (
        activity.filter(nw.col("event_count") > 0).select("user_id", "activity_date")
        .unique(subset=["user_id", "activity_date"], keep="any")
        .group_by("user_id")
        .agg(
            *(within(days, nw.lit(1)).alias(f"active_day_count_{days}d") for days in WINDOWS),
            nw.len().alias("active_day_count"),
        )
    )  # fmt: skip
    timed = activity.filter(~nw.col("last_event_at").is_null())
    attributes = last_known(timed, ("user_id",), ATTRIBUTES, "last_event_at")
    joined = totals.join(active, on="user_id", how="left").join(attributes, on="user_id", how="left")
    # The commonest device of visits, ties to the first in the alphabet: devices are compared in that order.
    best = nw.max_horizontal(*(f"{device}_session_count" for device in DEVICES))
    device = nw.lit(None)
    for name in sorted(DEVICES, reverse=True):
        is_best = (nw.col(f"{name}_session_count") == best) & (best > 0)
        device = nw.when(is_best).then(nw.lit(name)).otherwise(device)
    week = nw.col("event_count_7d").cast(nw.Float64)
    before = (nw.col("event_count_28d") - nw.col("event_count_7d")).cast(nw.Float64)
    midnight = datetime.combine(day, datetime.min.time())
    return joined.with_columns(
        *(
            ((nw.lit(midnight) - nw.col(f"last_{name}").cast(nw.Datetime)).dt.total_minutes() // 1440).alias(f"days_since_last_{name}")
            for name in EVENT_TYPE_NAMES
        ),
        days_since_first_event=_days_between(nw.col("first_event_at"), as_of),
        days_since_last_event=_days_between(nw.col("last_event_at"), as_of),
        repeat_session_rate=_rate("repeat_session_count", "session_count"),
        bounce_rate=_rate("bounced_session_count", "session_count"),
        spam_rate=_rate("spam_session_count", "session_count"),
        dwell_seconds_per_session=nw.when(nw.col("session_count") > 0)
        .then(nw.col("session_dwell_seconds") / nw.col("session_count").cast(nw.Float64)).otherwise(nw.lit(None)),
        engagement_trend=week / 7 - before / 21,
        is_converted=(nw.col("signup_count") > 0) & (nw.col("calendar_booking_count") > 0),
        primary_device=device,
    )  # fmt: skip


def subscriber_features(subscribers: Frame, *, day: date, tags: tuple[str, ...]) -> Frame:
    """CRM features per subscriber, with `email_key` to join by. Opt-in features count from `day`, never from the batch."""
    optin = nw.col("optin_date")
    midnight = datetime.combine(day, datetime.min.time())
    return subscribers.select(
        "email_key",
        "mailchimp_id",
        "member_rating",
        nw.col("country").alias("subscriber_country"),
        "made_purchase",
        ((nw.lit(midnight) - optin.cast(nw.Datetime)).dt.total_minutes() // 1440).alias("optin_days"),
        optin.dt.month().alias("optin_month"),
        optin.dt.weekday().alias("optin_day_of_week"),
        optin.dt.ordinal_day().alias("optin_day_of_year"),
        ((optin.dt.month() - 1) // 3 + 1).alias("optin_quarter"),
        (optin.dt.weekday() >= 6).alias("optin_is_weekend"),
        "tag_count",
        *(tag_column(tag) for tag in tags),
        "tag_other",
    )


def user_features(
    activity: Frame, links: Frame, subscribers: Frame, *, day: date, as_of: datetime, tags: tuple[str, ...],
    include_bots: bool = False,
) -> Frame:  # fmt: skip
    """One row per user known by `as_of`, in the columns of the contract.

    `activity`, `links` and `subscribers` hold what was known by then: `daily_activity` and `identity_links` up to `day`,
    `validated_subscribers` of `day`. Users and subscribers are one person where their e-mail keys agree; a subscriber
    without any event has a row of its own. Counts without events are 0, what is unknown is null.
    """
    if not include_bots:
        activity = activity.filter(~nw.col("is_bot"))
    active = activity_features(resolve_identities(activity, links), day=day, as_of=as_of)
    crm = subscriber_features(subscribers, day=day, tags=tags)
    both = active.join(crm, on="email_key", how="left")
    alone = crm.join(active.filter(~nw.col("email_key").is_null()).select("email_key"), on="email_key", how="anti")
    registry = feature_registry(tags)
    from_crm = set(crm.collect_schema().names())
    dates = {"first_event_at", "last_event_at"}
    kinds = {feature.name: feature for feature in registry}

    def typed(expression: nw.Expr, name: str) -> nw.Expr:
        feature = kinds[name]
        if feature.type in TYPES:
            expression = expression.cast(TYPES[feature.type])
        if not feature.nullable:
            expression = expression.fill_null(False if feature.type == "BOOLEAN" else 0)
        return expression.alias(name)

    def missing(name: str) -> nw.Expr:
        kind = kinds[name].type
        dtype = nw.Datetime if name in dates else nw.String if kind == "VARCHAR" else TYPES[kind]
        return nw.lit(None).cast(dtype)

    known = both.select(
        nw.lit(day).alias(PARTITION),
        "user_id",
        *(
            (~nw.col("mailchimp_id").is_null()).alias("is_subscriber") if f.name == "is_subscriber"
            else typed(nw.col(f.name), f.name)
            for f in registry
        ),
    )  # fmt: skip
    only_crm = alone.select(
        nw.lit(day).alias(PARTITION),
        nw.concat_str([nw.lit("subscriber:"), nw.col("mailchimp_id").cast(nw.String)]).alias("user_id"),
        *(
            nw.lit(True).alias("is_subscriber") if f.name == "is_subscriber"
            else typed(nw.col(f.name) if f.name in from_crm else missing(f.name), f.name)
            for f in registry
        ),
    )  # fmt: skip
    return nw.concat([known, only_crm])
