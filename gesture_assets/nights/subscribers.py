"""Steps of who people are: the CRM as it was found, its subscribers as of each day, and who buys.

Belongs here: choosing between the CRM, a stored snapshot and a rebuilt day. Does not belong here: what a subscriber is
(`subscribers/`), reading the CRM (`sources/crm.py`).
"""

import json
import logging
from collections.abc import Mapping
from datetime import date, timedelta

import narwhals as nw
import polars as pl

from gesture_assets.contracts.contract import PARTITION, Contract
from gesture_assets.errors import SHOWN, SourceError
from gesture_assets.frames import Frame
from gesture_assets.nights.night import Days, Night, is_one_of
from gesture_assets.nights.steps import Built, Step
from gesture_assets.sources.crm import CrmContent, crm_url, read_crm
from gesture_assets.sources.crm_rows import canonical_crm, currencies, odd_values, unreadable_values
from gesture_assets.sources.personal import build_word, pseudonym_key
from gesture_assets.subscribers import exploration
from gesture_assets.subscribers.tables import (
    CRM_SNAPSHOT,
    CRM_TABLES,
    DATA_SUFFICIENCY,
    PURCHASE_QUANTILES,
    QUARANTINED_SUBSCRIBERS,
    SEGMENT_CONVERSION,
    VALIDATED_SUBSCRIBERS,
)
from gesture_assets.subscribers.validate import subscribers_as_of
from gesture_assets.warehouse.ledger import Verdict

log = logging.getLogger(__name__)

CRM_STEP_TABLES = (CRM_SNAPSHOT, VALIDATED_SUBSCRIBERS, QUARANTINED_SUBSCRIBERS)


def _crm(night: Night) -> CrmContent | None:
    """The CRM's content; None where there is none, which an earlier day was not built from either."""

    def read() -> CrmContent | None:
        url = crm_url(night.settings)
        if url is not None:
            return read_crm(url, night.settings.crm_folder, night.settings.crm_description)
        if night.select(CRM_SNAPSHOT).select(nw.len()).collect().item():
            raise SourceError(
                f"crm_subscribers cannot be built for {night.session.run.window}.",
                expected="the CRM, which earlier days were built from",
                found="no such file",
                where=str(night.settings.default_crm),
                next_step="put the file back or set GESTURE_CRM_URL, then  gesture run",
            )
        return None

    return night.once("crm", read)


def _made_of(night: Night) -> Mapping[date, str] | None:
    """Day -> what the CRM holds, how it spells it, and the key of the pseudonyms; none without a CRM."""
    content = _crm(night)
    if content is None:
        return None
    word = build_word(pseudonym_key(night.settings))
    how = content.description.model_dump_json(exclude={"description"})
    return dict.fromkeys(night.days, f"{content.content_hash} {json.dumps(content.types)} {how} {word}")


def crm_subscribers(night: Night, days: Days) -> Built:
    """Read the CRM and say what it knew on each day; days that hold a snapshot keep it."""
    content = _crm(night)
    if content is None:
        why = (
            f"no CRM: GESTURE_CRM_URL is unset, {night.settings.default_crm.name} does not exist, crm/ has no CSV files"
        )
        log.warning(why)
        return Built(dict.fromkeys(CRM_STEP_TABLES, ()), notes={"absent": why}, absent=why)
    run, connection = night.session.run, night.session.connection
    today = run.now.date()
    # Read once: each question about a query is planned with all that it reads.
    subscribers, tags, purchases = (
        night.session.set_aside(f"crm_{name}", nw.from_native(relation))
        for name, relation in zip(
            ("people", "tags", "purchases"),
            canonical_crm(connection, content, pseudonym_key(night.settings)),
            strict=True,
        )
    )
    has_tags = "Tags" in content.tables
    has_dated_tags = has_tags and "tagged_at" in content.tables["Tags"].columns
    verdicts = night.session.latest(VALIDATED_SUBSCRIBERS.name)
    # A past day that holds a snapshot is what it was: today's CRM has nothing to say about it.
    stored_days = [
        day
        for day in days
        if _is_past(day, today)
        and not run.restate_crm
        and day in verdicts
        and verdicts[day].verdict in (Verdict.PASS, Verdict.OVERRIDE)
    ]
    built_days = [day for day in days if day not in stored_days]
    frames: dict[Contract, list[Frame]] = {
        table: [night.select(table, is_one_of(stored_days))] if stored_days else [] for table in CRM_STEP_TABLES
    }
    if built_days:
        moments = nw.from_native(
            pl.LazyFrame(
                {
                    PARTITION: built_days,
                    "snapshot_date": [today] * len(built_days),
                    "is_rebuilt": [_is_past(day, today) for day in built_days],
                }
            )
        )
        snapshot_days = night.session.set_aside("snapshot_days", moments)
        validated, quarantined = night.session.query(
            subscribers_as_of,
            subscribers,
            tags,
            purchases,
            snapshot_days,
            has_dated_tags=has_dated_tags,
            tag_names=night.settings.tags,
            has_tags=has_tags,
        )
        frames[VALIDATED_SUBSCRIBERS].append(validated)
        frames[QUARANTINED_SUBSCRIBERS].append(quarantined)
        unmatched = {
            "Subscribers": 0,
            "Tags": _rows(tags.join(subscribers.select("mailchimp_id"), on="mailchimp_id", how="anti")),
            "Transactions": _rows(
                purchases.join(subscribers.select("mailchimp_id"), on="mailchimp_id", how="anti").join(
                    subscribers.select("email_key"), on="email_key", how="anti"
                )
            ),
        }
        repeated = content.tables["Transactions"].height - _rows(purchases) if "Transactions" in content.tables else 0
        frames[CRM_SNAPSHOT].append(_snapshot(night, content, subscribers, snapshot_days, unmatched, repeated))
    return Built(
        frames,
        notes={
            "crm": content.where,
            "crm_description": content.description.name,
            "crm_content_hash": content.content_hash,
            **{f"{name.lower()}_in_crm": frame.height for name, frame in content.tables.items()},
            "days_kept_as_stored": len(stored_days),
            "tags_of_past_days": "rebuilt from tagged_at" if has_dated_tags else "unknown (the CRM does not date tags)",
            **({"restate_reason": run.restate_reason} if run.restate_crm else {}),
        },
        inputs={"crm": content.content_hash},
    )


def _is_past(day: date, today: date) -> bool:
    """Whether the CRM of `today` is too late to stand for `day`: it stands for the day that has just ended."""
    return day < today - timedelta(days=1)


def _snapshot(
    night: Night, content: CrmContent, subscribers: Frame, days: Frame, unmatched: Mapping[str, int], repeated: int
) -> Frame:
    """The rows of crm_snapshot: what each CRM table looked like, and how many of its rows are later than the day."""
    is_later = nw.when(nw.col("optin_date") > nw.col(PARTITION)).then(nw.lit(1)).otherwise(nw.lit(0))
    settings, connection = night.settings, night.session.connection
    odd, unreadable = odd_values(connection, content, settings.crm_product_ids), unreadable_values(connection, content)
    currency, others = currencies(connection, content)
    is_asked = content.description.in_order or "crm_column_counts" in settings.model_fields_set
    later = days.join(subscribers, how="cross").group_by(PARTITION, "snapshot_date").agg(is_later.sum().alias("later"))
    return nw.concat(
        [
            later.select(
                PARTITION,
                nw.lit(name).alias("crm_table"),
                nw.lit(frame.height).cast(nw.Int64).alias("row_count"),
                nw.lit(",".join(content.columns[name])).alias("column_names"),
                nw.lit(",".join(CRM_TABLES[name]) if content.description.in_order else None, nw.String).alias(
                    "expected_column_names"
                ),
                nw.lit(unmatched[name]).cast(nw.Int64).alias("unmatched_count"),
                (nw.col("later") if name == "Subscribers" else nw.lit(0)).cast(nw.Int64).alias("later_count"),
                "snapshot_date",
                nw.lit(content.content_hash).alias("content_hash"),
                nw.lit(json.dumps(content.types[name], sort_keys=True)).alias("found_columns"),
                nw.lit(settings.crm_row_ranges[name][0]).cast(nw.Int64).alias("least_row_count"),
                nw.lit(settings.crm_row_ranges[name][1]).cast(nw.Int64).alias("most_row_count"),
                nw.lit(settings.crm_column_counts[name] if is_asked else None)
                .cast(nw.Int32)
                .alias("expected_column_count"),
                nw.lit(odd[name][0]).cast(nw.Int64).alias("odd_product_count"),
                nw.lit(odd[name][1]).cast(nw.Int64).alias("odd_date_count"),
                nw.lit(content.description.name).alias("description"),
                nw.lit(",".join(frame.columns)).alias("read_columns"),
                nw.lit(json.dumps(unreadable[name], sort_keys=True)).alias("unreadable_values"),
                nw.lit(max(unreadable[name].values(), default=0)).cast(nw.Int64).alias("most_unreadable_count"),
                nw.lit(currency, nw.String).alias("currency"),
                nw.lit(others if name == "Transactions" else 0).cast(nw.Int64).alias("other_currency_count"),
                nw.lit(len(content.broken[name])).cast(nw.Int64).alias("broken_row_count"),
                nw.lit(", ".join(content.broken[name][:SHOWN]) or None, nw.String).alias("broken_rows"),
                nw.lit(repeated if name == "Transactions" else 0).cast(nw.Int64).alias("repeated_row_count"),
            )
            for name, frame in content.tables.items()
        ]
    )


def _rows(frame: Frame) -> int:
    return int(frame.select(nw.len()).collect().item())


def who_buys(night: Night, days: Days) -> Built:
    """Tell buyers from others, by segment and by what is known of them."""
    subscribers = night.read_window(VALIDATED_SUBSCRIBERS)
    return Built(
        {
            table: night.session.query(build, subscribers)
            for table, build in (
                (SEGMENT_CONVERSION, exploration.segment_conversion),
                (PURCHASE_QUANTILES, exploration.purchase_quantiles),
                (DATA_SUFFICIENCY, exploration.data_sufficiency),
            )
        }
    )


STEPS = (
    Step("crm_subscribers", crm_subscribers, CRM_STEP_TABLES, sources=_made_of, kinds={CRM_SNAPSHOT.name: ("sqlite",)}),
    Step("who_buys", who_buys, (SEGMENT_CONVERSION, PURCHASE_QUANTILES, DATA_SUFFICIENCY)),
)
