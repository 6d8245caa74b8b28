"""Subscribers as of a day: tags and purchases joined, duplicates set aside, past days rebuilt from dates.

Belongs here: canonical CRM frames to the contracts' frames. Does not belong here: reading the CRM (`sources/crm.py`),
judging the result (`contracts/subscribers.py`).
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import narwhals as nw

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.contracts.subscribers import QUARANTINED_SUBSCRIBERS, validated_subscribers
from gesture_assets.features.registry import tag_column

Frame = nw.LazyFrame[Any]


@dataclass(frozen=True)
class SubscriberDay:
    """The frames of one day: `validated`, `quarantined`, and per CRM table the rows `unmatched` and `later` than the day."""

    validated: Frame
    quarantined: Frame
    unmatched_tags: Frame
    unmatched_purchases: Frame
    later: Frame


def subscribers_as_of(
    subscribers: Frame, tags: Frame, purchases: Frame, *, day: date, snapshot_date: date, is_rebuilt: bool,
    has_dated_tags: bool, tag_names: tuple[str, ...],
) -> SubscriberDay:  # fmt: skip
    """What the CRM knew at the end of `day`, from frames as `sources.crm.canonical_crm` gives them.

    Opt-ins, purchases and tags dated later are left out. With `is_rebuilt`, tags without a date are unknown (null), not
    zero. Of subscribers with one e-mail address the first to opt in is kept, then the smallest id.
    """
    later = nw.col("optin_date") > nw.lit(day)
    known = subscribers.filter(nw.col("optin_date").is_null() | ~later)
    dated = known.with_columns(sort_date=nw.col("optin_date").fill_null(nw.lit(day)))
    # Rows without an address are no duplicates of each other; the audit speaks of them.
    placed = dated.with_columns(
        place=nw.col("sort_date").cum_count().over("email_key", order_by=("sort_date", "mailchimp_id")),
        kept_mailchimp_id=nw.col("mailchimp_id").first().over("email_key", order_by=("sort_date", "mailchimp_id")),
    )
    is_duplicate = (nw.col("place") > 1) & ~nw.col("email_key").is_null()
    # The same id twice is another fault than the same person twice: both rows stay, and the audit names them.
    is_duplicate = is_duplicate & (nw.col("mailchimp_id") != nw.col("kept_mailchimp_id"))

    bought = (
        purchases.filter((nw.col("purchased_date") <= nw.lit(day)) & ~nw.col("email_key").is_null())
        .group_by("email_key")
        .agg(nw.len().alias("purchase_count"))
    )
    joined = placed.join(bought, on="email_key", how="left").with_columns(
        nw.col("purchase_count").fill_null(0).cast(nw.Int32)
    ).with_columns(
        made_purchase=nw.when(nw.col("purchase_count") > 0).then(nw.lit(1)).otherwise(nw.lit(0)).cast(nw.Int16)
    )  # fmt: skip
    counts = tag_counts(tags, day=day, has_dated_tags=has_dated_tags, tag_names=tag_names)
    tag_columns = ["tag_count", *(tag_column(tag) for tag in tag_names), "tag_other"]
    are_tags_known = has_dated_tags or not is_rebuilt
    validated = (
        joined.filter(~is_duplicate)
        .join(counts, on="mailchimp_id", how="left")
        .with_columns(
            *(
                (nw.col(name).fill_null(0) if are_tags_known else nw.lit(None)).cast(
                    nw.Int32 if name in ("tag_count", "tag_other") else nw.Int16
                ).alias(name)
                for name in tag_columns
            ),
            nw.lit(day).alias(PARTITION),
            nw.lit(snapshot_date).alias("snapshot_date"),
            nw.lit(is_rebuilt).alias("is_rebuilt"),
        )
        .select(*validated_subscribers(tag_names).column_names)
    )  # fmt: skip
    quarantined = joined.filter(is_duplicate).with_columns(
        nw.lit(day).alias(PARTITION),
        nw.lit("duplicate_email").alias("reason"),
        nw.lit("no_email_occurs_twice").alias("check_name"),
    ).select(*QUARANTINED_SUBSCRIBERS.column_names)  # fmt: skip
    return SubscriberDay(
        validated,
        quarantined,
        tags.join(subscribers.select("mailchimp_id"), on="mailchimp_id", how="anti"),
        purchases.join(subscribers.select("email_key"), on="email_key", how="anti"),
        subscribers.filter(later),
    )


def tag_counts(tags: Frame, *, day: date, has_dated_tags: bool, tag_names: tuple[str, ...]) -> Frame:
    """Per subscriber: the number of distinct tags, 0 or 1 for each of `tag_names`, and the number of others.

    A tag that nobody configured is counted, never a new column: the schema stays.
    """
    if has_dated_tags:
        tags = tags.filter(nw.col("tagged_date") <= nw.lit(day))
    distinct = tags.filter(~nw.col("tag").is_null()).select("mailchimp_id", "tag").unique(
        subset=["mailchimp_id", "tag"], keep="any"
    )  # fmt: skip
    named = {tag_column(tag): tag.lower() for tag in tag_names}

    def count(flag: nw.Expr) -> nw.Expr:
        return nw.when(flag).then(nw.lit(1)).otherwise(nw.lit(0)).sum()

    return distinct.group_by("mailchimp_id").agg(
        nw.len().alias("tag_count"),
        *(count(nw.col("tag") == tag).alias(column) for column, tag in named.items()),
        count(~nw.col("tag").is_in(list(named.values()))).alias("tag_other"),
    )
