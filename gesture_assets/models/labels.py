"""Who made their first purchase within a horizon, and whose outcome may teach or judge a model.

Belongs here: outcomes of users on as-of days, and why somebody is left out, on training days and at night. Does not
belong here: features (`features/`), which days make a training set (`training_set.py`), splits (`splits.py`).

Features know what was known on their day; labels know everything received until the labelling. So a visitor who signed
up later is the person they turned out to be, and a purchase that arrived late is in time all the same. A label is null
until its horizon is over even where the purchase is already there: else young days would hold buyers only.
"""

import narwhals as nw

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.events.roll_up import last_known
from gesture_assets.features.user_features import KEY, NameStep, known_by, resolve_identities, told_emails, unnamed
from gesture_assets.frames import Frame
from gesture_assets.models.tables import CONVERTED, UNDATED

HORIZON_DAYS = 30
CONVERSION = "purchase"  # the event type that the CRM's Transactions are too
SUPPRESSED, BOT, INACTIVE, IMMATURE = "suppressed", "bot", "no_activity", "not_mature"
REASONS = (SUPPRESSED, BOT, CONVERTED, UNDATED, INACTIVE, IMMATURE)
COLUMNS = (*KEY, "person_id", "label", "bought_on", "matures_on", "is_mature", "is_eligible", "exclusion_reason")


def only_bots(activity: Frame) -> Frame:
    """The `user_id` of everybody all of whose `activity` is flagged as a bot's."""
    flags = activity.group_by("user_id").agg(nw.col("is_bot").cast(nw.Int8).min().alias("least"))
    return flags.filter(nw.col("least") == 1).select("user_id")


def exclusions(
    features: Frame,
    *,
    conversion: str = CONVERSION,
    suppressed: Frame | None = None,
    bots: Frame | None = None,
    needs_activity: bool = True,
) -> Frame:
    """Every row of `features` (`user_features`) by its key, with the `reason` why no model scores it, null for none.

    Known on the as-of day itself: this decides at night. The first that holds of: `suppressed` (a row of that frame,
    which `rules.scorer.suppressions` gives), `bot` (a user of `bots`), `already_converted`, `undated_purchase` (the CRM
    has one, and nobody knows whether before or after the day), `no_activity`.

    A subscriber without any event is excluded: there is no behaviour to read, in the CRM they are the masses, and as
    easy negatives they would flatter every measure. Their rule score serves. `needs_activity=False` lets them in, for
    whoever has a CRM and no events.
    """
    rows = features.select(
        *KEY,
        is_converted=_has_converted(conversion),
        is_undated=_is_undated(conversion),
        is_inactive=_is_inactive() & nw.lit(needs_activity),
    )
    rows = _with_mark(_with_mark(rows, suppressed, KEY, "is_suppressed"), bots, ("user_id",), "is_bot")
    return rows.select(*KEY, _reason().alias("reason"))


def labels(
    features: Frame,
    activity: Frame,
    links: Frame,
    subscribers: Frame,
    labelling: Frame,
    *,
    horizon: int = HORIZON_DAYS,
    conversion: str = CONVERSION,
    include_bots: bool = False,
    suppressed: Frame | None = None,
    needs_activity: bool = True,
    name_step: NameStep = unnamed,
) -> Frame:
    """One row per row of `features` (`user_features` of the as-of days), in `COLUMNS`; `name_step` names its steps.

    `labelling` is one row with the `as_of_date` at whose end this is worked out. `activity` and `links` are
    `daily_activity` and `identity_links` up to it; later rows are not looked at. `subscribers` are
    `validated_subscribers` of the as-of days and of the days they mature on: a purchase that only the CRM knows lies
    between the two. Where the latter are not given, only events count.

    `label` is 1 when the person's first `conversion` falls on one of the `horizon` days after the as-of day, else 0;
    null while `is_mature` is false (`matures_on` after the labelling), and where the CRM has a purchase without a date
    that may lie before the day or in the horizon: unknown is not 0. `bought_on` is the day of that purchase; null where
    only the CRM knows of it, which says by when and not when. `person_id` is who the user turned out to be: two ids of
    one person share it. `exclusion_reason` is the first that holds of `REASONS`, as in `exclusions`, but a
    conversion before the as-of day counts whenever it became known: a second purchase is not what is learnt. Flagged
    bots' conversions count only where `include_bots`, as in the features.
    """
    labelling = labelling.select(PARTITION)
    known_links = known_by(links, labelling)
    all_people = name_step("everybody", resolve_identities(known_by(activity, labelling), known_links))
    people = all_people if include_bots else all_people.filter(~nw.col("is_bot"))
    facts = dict.fromkeys((*KEY, "mailchimp_id", "made_purchase", "event_count", f"{conversion}_count"))
    emails = name_step("emails", _emails(people, known_links))
    rows = name_step("persons", _persons(features.select(*facts), known_links, subscribers, emails, labelling))
    rows = rows.join(_first_conversions(people, conversion), on="person_id", how="left").with_columns(
        matures_on=nw.col(PARTITION).dt.offset_by(f"{horizon}d").cast(nw.Date),
        is_inactive=_is_inactive() & nw.lit(needs_activity),
        had_converted=_has_converted(conversion),
    )
    rows = name_step("purchases", _with_crm_purchases(name_step("outcomes", rows), subscribers, conversion))
    converted_on = nw.col("converted_on")
    rows = rows.join(labelling.rename({PARTITION: "labelled_on"}), how="cross").with_columns(
        is_mature=nw.col("matures_on") <= nw.col("labelled_on"),
        is_converted=nw.col("had_converted")
        | (nw.col("bought_before") > 0)
        | (converted_on <= nw.col(PARTITION)).fill_null(False),
        converts=(nw.col("bought_by_then") > 0) | (converted_on <= nw.col("matures_on")).fill_null(False),
    )
    may_convert = (nw.col("undated_by_then") > 0) & ~nw.col("converts")
    rows = rows.with_columns(is_undated=~nw.col("is_converted") & ((nw.col("undated_before") > 0) | may_convert))
    bots = only_bots(all_people).rename({"user_id": "person_id"})
    rows = _with_mark(_with_mark(rows, suppressed, KEY, "is_suppressed"), bots, ("person_id",), "is_bot")
    rows = rows.with_columns(
        label=nw.when(nw.col("is_mature") & ~nw.col("is_undated")).then(
            nw.when(nw.col("converts") & ~nw.col("is_converted")).then(nw.lit(1)).otherwise(nw.lit(0)).cast(nw.Int16)
        ),
        exclusion_reason=_reason(~nw.col("is_mature")),
    )
    is_dated = (nw.col("label") == 1) & (converted_on <= nw.col("matures_on"))
    rows = rows.with_columns(bought_on=nw.when(is_dated).then(converted_on))
    return rows.with_columns(is_eligible=nw.col("exclusion_reason").is_null()).select(*COLUMNS)


def _emails(people: Frame, links: Frame) -> Frame:
    """`person_id` and the latest `email_key` of everybody who gave one, in an event or else in a call."""
    latest = last_known(
        people.filter(~nw.col("last_event_at").is_null()), ("user_id",), ("email_key",), "last_event_at"
    )
    with_email = latest.filter(~nw.col("email_key").is_null())
    told = told_emails(links).join(with_email, on="user_id", how="anti")
    both = nw.concat([rows.select("user_id", "email_key") for rows in (with_email, told)])
    return both.rename({"user_id": "person_id"})


def _first_conversions(people: Frame, conversion: str) -> Frame:
    """`person_id` and `converted_on`, the day of their first `conversion`."""
    bought = people.filter(nw.col(f"{conversion}_count") > 0)
    first = bought.group_by("user_id").agg(nw.col("activity_date").min().alias("converted_on"))
    return first.rename({"user_id": "person_id"})


def _persons(features: Frame, links: Frame, subscribers: Frame, emails: Frame, labelling: Frame) -> Frame:
    """The rows of `features` with `person_id` and the person's `email_key`, as far as it is known.

    A subscriber without events who came later, under the same address, is that user.
    """
    crm = subscribers.filter(~nw.col("mailchimp_id").is_null()).select(
        PARTITION, "mailchimp_id", nw.col("email_key").alias("crm_key")
    )
    owners = emails.group_by("email_key").agg(nw.col("person_id").min().alias("owner_id"))
    crm = crm.join(owners.rename({"email_key": "crm_key"}), on="crm_key", how="left")
    as_of = features.rename({PARTITION: "feature_date"}).with_columns(own_id=nw.col("user_id"))
    resolved = (
        resolve_identities(as_of.join(labelling, how="cross"), links)
        .drop(PARTITION)
        .rename({"feature_date": PARTITION, "user_id": "resolved_id", "own_id": "user_id"})
    )
    is_alone = nw.col("user_id") == nw.concat_str([nw.lit("subscriber:"), nw.col("mailchimp_id").cast(nw.String)])
    has_owner = is_alone & ~nw.col("owner_id").is_null()
    people = resolved.join(crm, on=[PARTITION, "mailchimp_id"], how="left").with_columns(
        person_id=nw.when(has_owner).then(nw.col("owner_id")).otherwise(nw.col("resolved_id"))
    )
    own = nw.col("email_key")
    return people.join(emails, on="person_id", how="left").with_columns(
        email_key=nw.when(own.is_null()).then(nw.col("crm_key")).otherwise(own)
    )


def _with_crm_purchases(rows: Frame, subscribers: Frame, conversion: str) -> Frame:
    """`rows` with what the CRM knew of a purchase on the as-of day and on the day it matures; 0 where nothing.

    `bought_…` is 1 where there was one by the day, `undated_…` where nobody knows whether there was.
    """
    names = {"before": PARTITION, "by_then": "matures_on"}
    if conversion != CONVERSION:
        return rows.with_columns(nw.lit(0).alias(f"{what}_{when}") for what in ("bought", "undated") for when in names)
    bought = nw.col("made_purchase")
    known = (
        subscribers.filter(~nw.col("email_key").is_null() & (bought.is_null() | (bought > 0)))
        .group_by("email_key", nw.col(PARTITION).alias("crm_day"))
        .agg(bought.max().fill_null(0).alias("bought"), bought.is_null().cast(nw.Int16).max().alias("undated"))
    )
    for when, day in names.items():
        renamed = {"crm_day": day, "bought": f"bought_{when}", "undated": f"undated_{when}"}
        rows = rows.join(known.rename(renamed), on=["email_key", day], how="left").with_columns(
            nw.col(f"bought_{when}", f"undated_{when}").fill_null(0)
        )
    return rows


def _has_converted(conversion: str) -> nw.Expr:
    """Whether features say that somebody had converted by their as-of day."""
    has_event = (nw.col(f"{conversion}_count") > 0).fill_null(False)
    return has_event | (nw.col("made_purchase") > 0).fill_null(False) if conversion == CONVERSION else has_event


def _is_undated(conversion: str) -> nw.Expr:
    """Whether the CRM has a purchase of somebody, and nobody knows whether before or after their as-of day."""
    is_unknown = ~nw.col("mailchimp_id").is_null() & nw.col("made_purchase").is_null()
    return is_unknown & nw.lit(conversion == CONVERSION)


def _is_inactive() -> nw.Expr:
    return nw.col("event_count").fill_null(0) == 0


def _with_mark(rows: Frame, marked: Frame | None, on: tuple[str, ...], name: str) -> Frame:
    """`rows` with the boolean `name`: whether they are among `marked`."""
    if marked is None:
        return rows.with_columns(nw.lit(False).alias(name))
    marks = marked.select(*on).unique(subset=list(on), keep="any").with_columns(nw.lit(True).alias(name))
    return rows.join(marks, on=list(on), how="left").with_columns(nw.col(name).fill_null(False))


def _reason(is_immature: nw.Expr | None = None) -> nw.Expr:
    """The first of `REASONS` that holds, null for none."""
    holds = {
        SUPPRESSED: nw.col("is_suppressed"),
        BOT: nw.col("is_bot"),
        CONVERTED: nw.col("is_converted"),
        UNDATED: nw.col("is_undated"),
        INACTIVE: nw.col("is_inactive"),
        IMMATURE: is_immature,
    }
    reason = nw.lit(None, nw.String)
    for name in reversed(REASONS):
        condition = holds[name]
        if condition is not None:
            reason = nw.when(condition).then(nw.lit(name)).otherwise(reason)
    return reason
