"""User features as of a moment, from daily activity and subscribers.

Belongs here: the one definition of every feature, used for the night, for tests and for a single user. Does not belong
here: the features' names and meanings (`feature_registry.py`), what features are worth (`rules/`, `models/`).

Constants are multiplied by, never divided by: Polars does the former in both cases; the engines must agree to the bit.
Whole numbers are cast before they meet a fraction: in SQL text 0.333 is a decimal, and makes the product one.
"""

from collections.abc import Callable
from functools import reduce
from operator import add

import narwhals as nw

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.events.roll_up import add_up, as_totals, commonest_device, last_known, milliseconds
from gesture_assets.events.tables import ACTIVITY_TO_DATE
from gesture_assets.features.feature_registry import PROFILE, WINDOWS, feature_registry
from gesture_assets.frames import Frame, whole_days
from gesture_assets.vocabulary.event_types import EVENT_TYPE_NAMES
from gesture_assets.vocabulary.features import tag_column

# Gives a part of a query a name, so that an engine plans what is built on it against its columns only.
NameStep = Callable[[str, Frame], Frame]

TYPES = {
    "SMALLINT": nw.Int16,
    "INTEGER": nw.Int32,
    "BIGINT": nw.Int64,
    "DOUBLE": nw.Float64,
    "BOOLEAN": nw.Boolean,
    "VARCHAR": nw.String,
    "TIMESTAMP": nw.Datetime("us"),
}
KEY = (PARTITION, "user_id")


def _days_between(earlier: str, later: str) -> nw.Expr:
    """Days from one timestamp column to another, with fractions."""
    return (nw.col(later) - nw.col(earlier)).dt.total_microseconds().cast(nw.Float64) * (1 / 86_400_000_000)


def _rate(part: str, whole: str) -> nw.Expr:
    """`part` ÷ `whole`; 0 where there is nothing to divide by."""
    share = nw.col(part).cast(nw.Float64) / nw.col(whole).cast(nw.Float64)
    return nw.when(nw.col(whole) > 0).then(share).otherwise(nw.lit(0.0))


def known_by(rows: Frame, moments: Frame) -> Frame:
    """`rows` once for each moment by which they were known, `as_of_date` and `as_of` being the moment's."""
    return (
        rows.rename({PARTITION: "known_date"})
        .join(moments, how="cross")
        .filter(nw.col("known_date") <= nw.col(PARTITION))
    )


def visitors(links: Frame) -> Frame:
    """The rows of `links` that say who a visitor is: the others hold an address, whatever they are called."""
    return links.filter(nw.col("email_key").is_null())


def resolve_identities(activity: Frame, links: Frame) -> Frame:
    """`activity` with anonymous ids replaced by the users they are, by the first link that was known at the moment."""
    first = (PARTITION, "anonymous_user_id")
    place = nw.col("user_id").cum_count().over(*first, order_by=("known_date", "linked_at", "user_id"))
    renamed = (
        visitors(links)
        .with_columns(place=place)
        .filter(nw.col("place") == 1)
        .select(PARTITION, nw.col("anonymous_user_id").alias("user_id"), nw.col("user_id").alias("known_user_id"))
    )
    known_user_id = nw.col("known_user_id")
    return (
        activity.join(renamed, on=list(KEY), how="left")
        .with_columns(user_id=nw.when(known_user_id.is_null()).then(nw.col("user_id")).otherwise(known_user_id))
        .drop("known_user_id")
    )


def told_emails(links: Frame) -> Frame:
    """`email_key` per moment and user: the last address that a call gave them; `links` as `known_by` gives them."""
    told = resolve_identities(links.filter(~nw.col("email_key").is_null()), links)
    return last_known(told, KEY, ("email_key",), "linked_at")


SPANS = tuple(zip((0, *WINDOWS), WINDOWS, strict=False))  # the windows as rings of ages in days: 0–1, 1–7, 7–14 …
TREND_DAYS = 28
DWELL_DAYS = 30
WINDOWED = (*(f"{name}_count" for name in EVENT_TYPE_NAMES), "event_count", "session_count")


def with_windows(totals: Frame, aged: Frame) -> Frame:
    """`totals` (a row per KEY) with each count's sum over each window.

    Every row of `aged` is added up once, in the ring of its age; windows are sums of rings. That takes a third of the
    time of asking each row for each window whether it belongs there.
    """
    columns = totals.collect_schema().names()
    joined = totals
    for youngest, oldest in SPANS:
        is_recent = nw.col("age_days") < TREND_DAYS
        ring = (
            aged.filter((nw.col("age_days") >= youngest) & (nw.col("age_days") < oldest))
            .group_by(*KEY)
            .agg(
                nw.col(*WINDOWED).sum().cast(nw.Int32).name.suffix(f"_{oldest}"),
                nw.when(is_recent).then(nw.col("event_count")).sum().cast(nw.Int32).alias(f"trend_{oldest}"),
                milliseconds(nw.col("dwell_seconds")).alias(f"dwell_{oldest}"),
            )
        )
        joined = joined.join(ring, on=list(KEY), how="left")

    def within(stem: str, days: int) -> nw.Expr:
        return nw.sum_horizontal(*(f"{stem}_{oldest}" for oldest in WINDOWS if oldest <= days))

    return joined.select(
        *columns,
        *(within(stem, days).alias(f"{stem}_{days}d") for stem in WINDOWED for days in WINDOWS),
        within("trend", DWELL_DAYS).alias("event_count_28d"),
        (within("dwell", DWELL_DAYS).cast(nw.Float64) * 0.001).alias("dwell_seconds_30d"),
    )


def unnamed(_: str, frame: Frame) -> Frame:
    """`frame` as it is."""
    return frame


def activity_counts(
    activity: Frame, links: Frame, added: Frame, moments: Frame, *, name_step: NameStep = unnamed
) -> Frame:
    """Counts over each window and ever, moments and last known attributes per moment and user, from what was known.

    `activity` are rows of `daily_activity`, `added` rows of `activity_to_date` that add up to the same. A window of n
    days holds the as-of day and the n - 1 days before it.
    """
    named = known_by(links, moments)
    activity = name_step("known_activity", resolve_identities(known_by(activity, moments), named))
    added = name_step("known_totals", resolve_identities(known_by(added, moments), named))
    ever = name_step("lifetimes", add_up(added, KEY))
    recent = activity.with_columns(age_days=whole_days("activity_date", PARTITION))
    recent = name_step("recent_activity", recent.filter(nw.col("age_days") < max(WINDOWS)))
    active = (
        activity.filter(nw.col("event_count") > 0)
        .group_by(*KEY, "activity_date")  # for `unique`, DuckDB is asked to number the rows
        .agg(nw.len())
        .with_columns(age_days=whole_days("activity_date", PARTITION))
        .group_by(*KEY)
        .agg(
            *(
                nw.when(nw.col("age_days") < days).then(nw.lit(1)).sum().alias(f"active_day_count_{days}d")
                for days in WINDOWS
            ),
            nw.len().alias("active_day_count"),
        )
    )
    windows = name_step("windows", with_windows(ever, recent))
    return windows.join(name_step("active_days", active), on=list(KEY), how="left")


def _activity_features(counts: Frame, moments: Frame) -> Frame:
    """What follows from rows of `activity_counts`: recency, rates, trends."""
    week = nw.col("event_count_7d").cast(nw.Float64)
    before = (nw.col("event_count_28d") - nw.col("event_count_7d")).cast(nw.Float64)
    week_before = (nw.col("event_count_14d") - nw.col("event_count_7d")).cast(nw.Float64)
    earlier = (nw.col("event_count_30d") - nw.col("event_count_14d")).cast(nw.Float64)
    return counts.join(moments, on=PARTITION, how="left").with_columns(
        *(whole_days(f"last_{name}_date", PARTITION).alias(f"days_since_last_{name}") for name in EVENT_TYPE_NAMES),
        days_since_first_event=_days_between("first_event_at", "as_of"),
        days_since_last_event=_days_between("last_event_at", "as_of"),
        repeat_session_rate=_rate("repeat_session_count", "session_count"),
        bounce_rate=_rate("bounced_session_count", "session_count"),
        spam_rate=_rate("spam_session_count", "session_count"),
        dwell_seconds_per_session=nw.when(nw.col("session_count") > 0).then(
            nw.col("session_dwell_seconds") / nw.col("session_count").cast(nw.Float64)
        ),
        engagement_trend=week * (1 / 7) - before * (1 / 21),
        engagement_acceleration=week * (1 / 7) - week_before * (2 / 7) + earlier * (1 / 16),
        is_converted=(nw.col("signup_count") > 0) & (nw.col("calendar_booking_count") > 0),
        primary_device=commonest_device("{}_session_count"),
    )


def subscriber_features(subscribers: Frame, tags: tuple[str, ...]) -> Frame:
    """CRM features per day and subscriber; `email_key` to join by. Opt-in counts from the day, never from the batch."""
    optin = nw.col("optin_date")
    return subscribers.select(
        PARTITION,
        "email_key",
        "mailchimp_id",
        "member_rating",
        nw.col("country").alias("subscriber_country"),
        "made_purchase",
        whole_days("optin_date", PARTITION).alias("optin_days"),
        optin.dt.month().alias("optin_month"),
        optin.dt.weekday().alias("optin_day_of_week"),
        optin.dt.ordinal_day().alias("optin_day_of_year"),
        ((optin.dt.month().cast(nw.Float64) + 2.5) * (1 / 3)).floor().alias("optin_quarter"),
        (optin.dt.weekday() >= 6).alias("optin_is_weekend"),
        "tag_count",
        *(tag_column(tag) for tag in tags),
        "tag_other",
    )


def user_features(
    activity: Frame,
    links: Frame,
    subscribers: Frame,
    moments: Frame,
    *,
    tags: tuple[str, ...],
    include_bots: bool = False,
    totals: Frame | None = None,
    newer: Frame | None = None,
    name_step: NameStep = unnamed,
) -> Frame:
    """One row per moment and user known by then, in the columns of the contract.

    `moments` holds `as_of_date` (the day) and `as_of` (the moment that recency counts to, normally its end). `activity`
    and `links` are `daily_activity` and `identity_links` up to the last of these days, `subscribers` are
    `validated_subscribers` of these days. Users and subscribers are one person where their e-mail keys agree; a
    subscriber without any event has a row of its own. Counts without events are 0, what is unknown is null.

    What spares work and changes nothing: `totals` are the rows of `activity_to_date` of a day on or before the first
    moment, and `newer` the rows of `activity` since, from which lifetimes are counted on; `name_step` names parts of
    the query.
    """
    known = without_bots(activity, include_bots)
    added = added_activity(activity, totals, newer, include_bots=include_bots)
    counts = activity_counts(known, links, added, moments, name_step=name_step)
    counts = name_step("lifetimes_and_windows", counts)
    return features_of_counts(counts, links, subscribers, moments, tags=tags, name_step=name_step)


def without_bots(rows: Frame, include_bots: bool) -> Frame:
    """`rows`, unless bots are included without those that are flagged."""
    return rows if include_bots else rows.filter(~nw.col("is_bot"))


def added_activity(activity: Frame, totals: Frame | None, newer: Frame | None, *, include_bots: bool) -> Frame:
    """Rows of `activity_to_date` that add up to `activity`: the `totals` of a day and what is `newer`, if given."""
    if totals is None or newer is None:
        return as_totals(without_bots(activity, include_bots))
    totals, newer = without_bots(totals, include_bots), without_bots(newer, include_bots)
    return nw.concat([totals.select(*ACTIVITY_TO_DATE.column_names), as_totals(newer)])


def features_of_counts(
    counts: Frame,
    links: Frame,
    subscribers: Frame,
    moments: Frame,
    *,
    tags: tuple[str, ...],
    name_step: NameStep = unnamed,
) -> Frame:
    """`user_features` from rows of `activity_counts`, however those were counted."""
    told = told_emails(known_by(links, moments)).rename({"email_key": "told_key"})
    own, called = nw.col("email_key"), nw.col("told_key")
    counts = counts.join(told, on=list(KEY), how="left").with_columns(email_key=nw.coalesce(own, called))
    active = name_step("active_users", _activity_features(counts, moments))
    crm = subscriber_features(subscribers, tags).join(moments.select(PARTITION), on=PARTITION, how="semi")
    crm = name_step("subscribers", crm)
    by_email = [PARTITION, "email_key"]
    both = active.join(crm, on=by_email, how="left").with_columns(is_subscriber=~nw.col("mailchimp_id").is_null())
    emails_of_users = counts.filter(~nw.col("email_key").is_null()).select(*by_email)
    alone = crm.join(emails_of_users, on=by_email, how="anti").with_columns(
        user_id=nw.concat_str([nw.lit("subscriber:"), nw.col("mailchimp_id").cast(nw.String)]),
        is_subscriber=nw.lit(True),
    )
    return nw.concat([_contracted(both, tags), _contracted(alone, tags)])


def _contracted(rows: Frame, tags: tuple[str, ...]) -> Frame:
    """`rows` in the registry's columns and types; a column that is not there is unknown, or 0 where a count."""
    features = feature_registry(tags)
    present = set(rows.collect_schema().names())
    rows = rows.with_columns(nw.lit(None).alias(feature.name) for feature in features if feature.name not in present)
    alike: dict[tuple[str, bool], list[str]] = {}  # many columns in one expression: each costs a millisecond to write
    for feature in features:
        alike.setdefault((feature.type, feature.nullable), []).append(feature.name)
    values: list[nw.Expr] = []
    for (type, is_nullable), names in alike.items():
        value = nw.col(*names).cast(TYPES[type])
        values.append(value if is_nullable else value.fill_null(False if type == "BOOLEAN" else 0))
    filled = reduce(add, ((~nw.col(name).is_null()).cast(nw.Int32) for name in PROFILE))
    return (
        rows.select(*KEY, *values)
        .select(*KEY, *(feature.name for feature in features))
        .with_columns(profile_completeness=filled.cast(nw.Float64) * (1 / len(PROFILE)))
    )
