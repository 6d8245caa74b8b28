"""Subscribers as of a day: tags and purchases joined, duplicates set aside, past days rebuilt from dates.

Belongs here: canonical CRM frames to the contracts' frames. Does not belong here: reading the CRM (`sources/crm.py`),
judging the result (`subscribers/tables.py`).
"""

from collections.abc import Mapping

import narwhals as nw

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.frames import Frame
from gesture_assets.subscribers.tables import QUARANTINED_SUBSCRIBERS, UNDATED, validated_subscribers
from gesture_assets.vocabulary.features import tag_column

TAG_SUMS = ("tag_count", "tag_other")
# Why a subscriber is set aside -> the check that the row would have failed.
CHECKS = {
    "missing_id": "every_subscriber_has_an_id",
    "missing_email": "every_subscriber_has_an_email",
    "malformed_email": "every_email_is_well_formed",
    "duplicate_id": "no_mailchimp_id_occurs_twice",
    "duplicate_email": "no_email_occurs_twice",
}
MISSING_ID, MISSING, MALFORMED, DUPLICATE_ID, DUPLICATE = CHECKS
MONEY = nw.Decimal(18, 2)


def subscribers_as_of(
    subscribers: Frame,
    tags: Frame,
    purchases: Frame,
    days: Frame,
    *,
    has_dated_tags: bool,
    tag_names: tuple[str, ...],
    has_tags: bool = True,
) -> tuple[Frame, Frame]:
    """What the CRM knew at the end of each day: (validated_subscribers, quarantined_subscribers).

    The first three come from `crm_rows.canonical_crm`; `days` holds `as_of_date`, `snapshot_date` (when the CRM was
    read) and `is_rebuilt`. Opt-ins, purchases and tags dated after a day are left out of it. What has no date is
    unknown (null) on a rebuilt day: the rating, the country, tags without one. Tags are so on every day where the CRM
    has none (`has_tags`), and so is whether somebody had bought all of whose purchases are without a date. Of
    subscribers with one id or one e-mail address the first to opt in is kept, then the first to occur in the CRM; who
    has no id, no address, or what is none, is set aside. A purchase that names a subscriber by id is that of the row
    that is kept for the id on the day; where there is none, that of its address.
    """
    on_day = nw.col(PARTITION)
    known = (
        subscribers.join(days, how="cross")
        .filter(nw.col("optin_date").is_null() | (nw.col("optin_date") <= on_day))
        .with_columns(sort_date=nw.when(nw.col("optin_date").is_null()).then(on_day).otherwise(nw.col("optin_date")))
    )
    faulty = known.with_columns(reason=_fault()).with_columns(is_faulty=~nw.col("reason").is_null())
    one_id = faulty.with_columns(
        place=_place("is_faulty", "sort_date", "occurrence", each=("mailchimp_id",))
    ).with_columns(reason=_if_not_first(DUPLICATE_ID))
    first = ("sort_date", "occurrence")
    one_address = one_id.with_columns(
        place=_place(*first, each=("reason", "email_key")),
        kept=nw.col("mailchimp_id").first().over(PARTITION, "reason", "email_key", order_by=first),
    )
    of_id = one_id.filter((nw.col("place") == 1) & ~nw.col("mailchimp_id").is_null())
    sold = (
        purchases.join(days.select(PARTITION), how="cross")
        .filter(nw.col("purchased_date").is_null() | (nw.col("purchased_date") <= on_day))
        .join(
            of_id.select(PARTITION, "mailchimp_id", nw.col("email_key").alias("key_of_id")),
            on=[PARTITION, "mailchimp_id"],
            how="left",
        )
        .with_columns(email_key=nw.coalesce("key_of_id", "email_key"))
        .filter(~nw.col("email_key").is_null())
    )
    bought = (
        sold.filter(~nw.col("purchased_date").is_null())
        .group_by(PARTITION, "email_key")
        .agg(nw.len().cast(nw.Int32).alias("purchase_count"), _sum_of_known("amount").alias("revenue"))
    )
    undated = sold.filter(nw.col("purchased_date").is_null()).select(
        PARTITION, "email_key", nw.lit(True).alias("has_undated")
    )
    undated = undated.unique(subset=[PARTITION, "email_key"], keep="any")
    joined = (
        one_address.join(bought, on=[PARTITION, "email_key"], how="left")
        .join(undated, on=[PARTITION, "email_key"], how="left")
        .with_columns(nw.col("purchase_count").fill_null(0))
        .with_columns(
            made_purchase=nw.when(nw.col("purchase_count") > 0)
            .then(nw.lit(1))
            .otherwise(nw.when(nw.col("has_undated").is_null()).then(nw.lit(0)))
            .cast(nw.Int16),
            reason=_if_not_first(DUPLICATE),
        )
    )
    counts = tag_counts(tags, days, has_dated_tags=has_dated_tags, tag_names=tag_names)
    are_tags_known = nw.lit(has_dated_tags) | ~nw.col("is_rebuilt") if has_tags else nw.lit(False)
    validated = joined.filter(nw.col("reason").is_null()).join(counts, on=[PARTITION, "mailchimp_id"], how="left")
    return (
        validated.with_columns(
            nw.when(are_tags_known)
            .then(nw.col(name).fill_null(0))
            .cast(nw.Int32 if name in TAG_SUMS else nw.Int16)
            .alias(name)
            for name in ("tag_count", *(tag_column(tag) for tag in tag_names), "tag_other")
        )
        .with_columns(nw.when(~nw.col("is_rebuilt")).then(nw.col(name)).alias(name) for name in UNDATED)
        .select(*validated_subscribers(tag_names).column_names),
        joined.filter(~nw.col("reason").is_null())
        .with_columns(
            check_name=_first_of({check: nw.col("reason") == reason for reason, check in CHECKS.items()}),
            kept_mailchimp_id=nw.when(nw.col("reason") == DUPLICATE)
            .then(nw.col("kept"))
            .otherwise(nw.when(nw.col("reason") == DUPLICATE_ID).then(nw.col("mailchimp_id"))),
            place=_place("occurrence").cast(nw.Int32),
        )
        .select(*QUARANTINED_SUBSCRIBERS.column_names),
    )


def _fault() -> nw.Expr:
    """What is wrong with a subscriber's row by itself, null where nothing is."""
    is_address = nw.col("is_email_well_formed").fill_null(False)
    return _first_of(
        {
            MISSING_ID: nw.col("mailchimp_id").is_null(),
            MISSING: nw.col("email_key").is_null(),
            MALFORMED: ~is_address,
        }
    )


def _if_not_first(reason: str) -> nw.Expr:
    """`reason` where a row without one is not the first of its kind."""
    is_another = nw.col("reason").is_null() & (nw.col("place") > 1)
    return nw.when(is_another).then(nw.lit(reason)).otherwise(nw.col("reason"))


def _place(*order: str, each: tuple[str, ...] = ()) -> nw.Expr:
    """The place of a row of a day, or of `each` of a day, in the `order` of columns without nulls."""
    return nw.col(order[0]).cum_count().over(PARTITION, *each, order_by=order)


def _sum_of_known(column: str) -> nw.Expr:
    """The sum of what is known, null where nothing is: engines differ on what adds up to zero."""
    return nw.when(nw.col(column).count() > 0).then(nw.col(column).sum()).cast(MONEY)


def _first_of(conditions: Mapping[str, nw.Expr]) -> nw.Expr:
    """The first text whose condition holds, null for none."""
    text = nw.lit(None, nw.String)
    for name, condition in reversed(tuple(conditions.items())):
        text = nw.when(condition).then(nw.lit(name)).otherwise(text)
    return text


def tag_counts(tags: Frame, days: Frame, *, has_dated_tags: bool, tag_names: tuple[str, ...]) -> Frame:
    """Per day and subscriber: the number of distinct tags, 0 or 1 for each of `tag_names`, and the number of others.

    A tag that nobody configured is counted and never a new column: the schema stays.
    """
    tagged = tags.filter(~nw.col("tag").is_null()).join(days.select(PARTITION), how="cross")
    if has_dated_tags:
        tagged = tagged.filter(nw.col("tagged_date") <= nw.col(PARTITION))
    key = (PARTITION, "mailchimp_id")
    distinct = tagged.select(*key, "tag").unique(subset=[*key, "tag"], keep="any")
    named = {tag_column(tag): tag.lower() for tag in tag_names}

    def count(flag: nw.Expr) -> nw.Expr:
        return nw.when(flag).then(nw.lit(1)).otherwise(nw.lit(0)).sum()

    return distinct.group_by(*key).agg(
        nw.len().alias("tag_count"),
        *(count(nw.col("tag") == tag).alias(column) for column, tag in named.items()),
        count(~nw.col("tag").is_in(list(named.values()))).alias("tag_other"),
    )
