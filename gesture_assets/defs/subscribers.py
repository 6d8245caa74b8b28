"""Assets of who people are: the CRM as it was found, its subscribers as of each day, and those set aside.

Belongs here: choosing between the CRM, a stored snapshot and a rebuilt day. Does not belong here: what a subscriber
is (`subscribers/`).
"""

import json
from datetime import date, timedelta
from typing import Any

import dagster as dg
import narwhals as nw

from gesture_assets.contracts.contract import PARTITION, Contract
from gesture_assets.defs.common import VALIDATED_SUBSCRIBERS, Events, Night, WarehouseResource, step
from gesture_assets.errors import SourceError
from gesture_assets.frames import Frame
from gesture_assets.sources.crm import CrmContent, canonical_crm, crm_url, odd_values, read_crm
from gesture_assets.sources.personal import build_word, pseudonym_key
from gesture_assets.subscribers.tables import CRM_SNAPSHOT, CRM_TABLES, QUARANTINED_SUBSCRIBERS
from gesture_assets.subscribers.validate import subscribers_as_of
from gesture_assets.warehouse import ledger
from gesture_assets.warehouse.ledger import Verdict
from gesture_assets.warehouse.run_info import window_of
from gesture_assets.warehouse.schemas import LIVE

TABLES = (CRM_SNAPSHOT, VALIDATED_SUBSCRIBERS, QUARANTINED_SUBSCRIBERS)


@step("crm_subscribers", *TABLES, kinds={"crm_snapshot": ("sqlite",)})
def crm_subscribers(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Events:
    """Read the CRM and say what it knew on each day; days that hold a snapshot keep it."""
    with warehouse.open(context) as night:
        url = crm_url(night.settings)
        for contract in TABLES:
            night.session.ensure(contract)
        if url is None:
            if _has_snapshots(night):
                raise SourceError(
                    f"crm_subscribers cannot be built for {window_of(night.days)}.",
                    expected="the CRM, which earlier days were built from",
                    found="no such file",
                    where=str(night.settings.default_crm),
                    next_step="put the file back or set GESTURE_CRM_URL, then  gesture run",
                )
            why = f"no CRM: GESTURE_CRM_URL is unset and {night.settings.default_crm.name} does not exist"
            context.log.warning(why)
            yield from night.absent(*TABLES, why=why)
            return
        yield from _build(night, url)


def _has_snapshots(night: Night) -> bool:
    row = night.session.connection.execute(f"select count(*) from {LIVE}.crm_snapshot").fetchone()
    return bool(row and row[0])


def _build(night: Night, url: str) -> Events:
    run, con = night.session.run, night.session.connection
    today = run.now.date()
    content = read_crm(url)
    made_of = f"{content.content_hash} {json.dumps(content.types)} {build_word(pseudonym_key(night.settings))}"
    if kept := night.unchanged(*TABLES, sources=dict.fromkeys(night.days, made_of)):
        yield from kept
        return
    canonical = [nw.from_native(r) for r in canonical_crm(con, content, pseudonym_key(night.settings))]
    subscribers, tags, purchases = canonical
    has_dated_tags = "tagged_at" in content.tables["Tags"].columns
    verdicts = ledger.latest(con, VALIDATED_SUBSCRIBERS.name)
    # A past day that holds a snapshot is what it was: today's CRM has nothing to say about it.
    kept = [
        day
        for day in night.days
        if _is_past(day, today)
        and not run.restate_crm
        and day in verdicts
        and verdicts[day].verdict in (Verdict.PASS, Verdict.OVERRIDE)
    ]
    built = [day for day in night.days if day not in kept]
    frames: dict[str, list[Frame]] = {
        contract.name: [_stored(night, contract, kept)] if kept else [] for contract in TABLES
    }
    if built:
        rows = ", ".join(f"(date '{day}', date '{today}', {_is_past(day, today)})" for day in built)
        days = nw.from_native(con.sql(f"select * from (values {rows}) as t({PARTITION}, snapshot_date, is_rebuilt)"))
        validated, quarantined = subscribers_as_of(
            subscribers, tags, purchases, days, has_dated_tags=has_dated_tags, tag_names=night.settings.tags
        )
        frames[VALIDATED_SUBSCRIBERS.name].append(validated)
        frames[QUARANTINED_SUBSCRIBERS.name].append(quarantined)
        unmatched = {
            "Subscribers": 0,
            "Tags": _rows(tags.join(subscribers.select("mailchimp_id"), on="mailchimp_id", how="anti")),
            "Transactions": _rows(purchases.join(subscribers.select("email_key"), on="email_key", how="anti")),
        }
        frames[CRM_SNAPSHOT.name].append(_snapshot(night, content, subscribers, days, unmatched))
    night.inputs["crm"] = content.content_hash
    notes: dict[str, Any] = {
        "crm": content.where,
        "crm_content_hash": content.content_hash,
        **{f"{name.lower()}_in_crm": frame.height for name, frame in content.tables.items()},
        "days_kept_as_stored": len(kept),
        "tags_of_past_days": "rebuilt from tagged_at" if has_dated_tags else "unknown (the CRM does not date tags)",
    }
    if run.restate_crm:
        notes["restate_reason"] = run.restate_reason
    yield from night.commit(*((contract, frames[contract.name]) for contract in TABLES), notes=notes)


def _is_past(day: date, today: date) -> bool:
    """Whether the CRM of `today` is too late to stand for `day`: it stands for the day that has just ended."""
    return day < today - timedelta(days=1)


def _stored(night: Night, contract: Contract, days: list[date]) -> Frame:
    """The live rows of `days`."""
    listed = ", ".join(f"date '{day}'" for day in days)
    return nw.from_native(
        night.session.connection.sql(
            f"select {', '.join(contract.column_names)} from {LIVE}.{contract.name} where {PARTITION} in ({listed})"
        )
    )


def _snapshot(night: Night, content: CrmContent, subscribers: Frame, days: Frame, unmatched: dict[str, int]) -> Frame:
    """The rows of crm_snapshot: what each CRM table looked like, and how many of its rows are later than the day."""
    is_later = nw.when(nw.col("optin_date") > nw.col(PARTITION)).then(nw.lit(1)).otherwise(nw.lit(0))
    settings, odd = night.settings, odd_values(content, night.settings.crm_product_ids)
    later = days.join(subscribers, how="cross").group_by(PARTITION, "snapshot_date").agg(is_later.sum().alias("later"))
    return nw.concat(
        [
            later.select(
                PARTITION,
                nw.lit(name).alias("crm_table"),
                nw.lit(content.tables[name].height).cast(nw.Int64).alias("row_count"),
                nw.lit(",".join(content.columns[name])).alias("column_names"),
                nw.lit(",".join(expected)).alias("expected_column_names"),
                nw.lit(unmatched[name]).cast(nw.Int64).alias("unmatched_count"),
                (nw.col("later") if name == "Subscribers" else nw.lit(0)).cast(nw.Int64).alias("later_count"),
                "snapshot_date",
                nw.lit(content.content_hash).alias("content_hash"),
                nw.lit(json.dumps(content.types[name], sort_keys=True)).alias("found_columns"),
                nw.lit(settings.crm_row_ranges[name][0]).cast(nw.Int64).alias("least_row_count"),
                nw.lit(settings.crm_row_ranges[name][1]).cast(nw.Int64).alias("most_row_count"),
                nw.lit(settings.crm_column_counts[name]).cast(nw.Int32).alias("expected_column_count"),
                nw.lit(odd[name][0]).cast(nw.Int64).alias("odd_product_count"),
                nw.lit(odd[name][1]).cast(nw.Int64).alias("odd_date_count"),
            )
            for name, expected in CRM_TABLES.items()
        ]
    )


def _rows(frame: Frame) -> int:
    return int(frame.select(nw.len()).collect().item())
