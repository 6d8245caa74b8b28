"""Who buys next: the outcome of each user and feature day, and who is asked about at all.

Belongs here: eligibility, the horizon, and the outcome as far as it is known. Does not belong here: which days and
parts make a training set (`splits.py`), the features (`features/`).

Eligible is whoever could still make their first purchase and has done something that a model can look at. Who bought
before leaves for good. A subscriber without any event is left to the rules: all that is known of them is the CRM, and
once they do come, it is under an id of their own.
"""

from datetime import date
from typing import Any

import narwhals as nw

from gesture_assets.contracts.contract import PARTITION

Frame = nw.LazyFrame[Any]

HORIZON_DAYS = 30
ALREADY_CONVERTED, NO_ACTIVITY, SUPPRESSED = "already_converted", "no_activity", "suppressed"


def exclusions(features: Frame) -> Frame:
    """Rows of `user_features` with `reason`: why the model does not look at somebody on that day; null for the rest.

    Built from what was known on the day, so that training and scoring exclude alike.
    """
    bought = (nw.col("purchase_count") > 0) | (nw.col("made_purchase").fill_null(0) == 1)
    reason = nw.when(bought).then(nw.lit(ALREADY_CONVERTED)).otherwise(
        nw.when(nw.col("event_count") == 0).then(nw.lit(NO_ACTIVITY)).otherwise(nw.lit(None, nw.String))
    )  # fmt: skip
    return features.with_columns(reason=reason)


def first_purchases(activity: Frame, links: Frame) -> Frame:
    """`user_id` and `converted_on`, the day of each user's first purchase, of rows of `daily_activity`.

    Anonymous ids are replaced by the users they are, by the first of the `links` known.
    """
    bought = activity.filter(nw.col("purchase_count") > 0).select("user_id", "activity_date")
    return _named(bought, links).group_by("user_id").agg(nw.col("activity_date").min().alias("converted_on"))


def _named(rows: Frame, links: Frame) -> Frame:
    """`rows` with anonymous ids replaced, by the first link known."""
    place = nw.col("user_id").cum_count().over("anonymous_user_id", order_by=(PARTITION, "linked_at", "user_id"))
    first = links.with_columns(place=place).filter(nw.col("place") == 1)
    named = first.select(nw.col("anonymous_user_id").alias("user_id"), nw.col("user_id").alias("known_user_id"))
    known = nw.col("known_user_id")
    return (
        rows.join(named, on="user_id", how="left")
        .with_columns(user_id=nw.when(known.is_null()).then(nw.col("user_id")).otherwise(known))
        .drop("known_user_id")
    )


def labels(
    features: Frame, activity: Frame, links: Frame, buyers: Frame, *, known_until: date,
    horizon_days: int = HORIZON_DAYS,
) -> Frame:  # fmt: skip
    """One row per user and feature day: `matures_on`, `reason` (null where eligible) and `label`.

    `features`: rows of `user_features` on the feature days. `activity`, `links`: `daily_activity` and `identity_links`
    up to `known_until`: outcomes use everything that became known by then. `buyers`: rows of `validated_subscribers` of
    the days on which the feature days mature; a purchase that only the CRM holds counts from there. `label` is 1 where
    the first purchase lies after the feature day and within the horizon, 0 where it does not, null while that is not
    known (`matures_on` after `known_until`) and for whoever is not eligible.
    """
    day = nw.col(PARTITION)
    rows = exclusions(
        features.select(PARTITION, "user_id", "mailchimp_id", "purchase_count", "made_purchase", "event_count")
    )
    rows = rows.with_columns(matures_on=day.cast(nw.Datetime("us")).dt.offset_by(f"{horizon_days}d").cast(nw.Date))
    bought = first_purchases(activity, links)
    # The id of the feature day may since have turned out to be another user's.
    people = _named(rows.select(PARTITION, "user_id", nw.col("user_id").alias("asked_user_id")), links)
    found = people.join(bought, on="user_id", how="left").select(
        PARTITION, nw.col("asked_user_id").alias("user_id"), "converted_on"
    )
    in_crm = buyers.filter(nw.col("made_purchase") == 1).select(
        nw.col(PARTITION).alias("matures_on"), "mailchimp_id", nw.lit(1).alias("is_buyer")
    )
    both = rows.join(found, on=[PARTITION, "user_id"], how="left").join(
        in_crm, on=["matures_on", "mailchimp_id"], how="left"
    )
    converted = nw.col("converted_on")
    before = (~converted.is_null()) & (converted <= day)
    reason = nw.when(nw.col("reason").is_null() & before).then(nw.lit(ALREADY_CONVERTED)).otherwise(nw.col("reason"))
    within = ((~converted.is_null()) & (converted <= nw.col("matures_on"))) | (~nw.col("is_buyer").is_null())
    outcome = nw.when(within).then(nw.lit(1)).otherwise(nw.lit(0)).cast(nw.Int16)
    is_known = nw.col("matures_on") <= nw.lit(known_until).cast(nw.Date)
    return both.with_columns(reason=reason).select(
        PARTITION, "user_id", "matures_on", "reason",
        nw.when(nw.col("reason").is_null() & is_known).then(outcome).alias("label"),
    )  # fmt: skip
