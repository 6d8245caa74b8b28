"""Assets of who people are: the CRM as it was found, its subscribers as of each day, and those set aside."""

from datetime import date, timedelta
from typing import Any

import dagster as dg
import narwhals as nw

from gesture_assets.contracts import CRM_SNAPSHOT, QUARANTINED_SUBSCRIBERS
from gesture_assets.contracts.contract import PARTITION
from gesture_assets.contracts.subscribers import CRM_TABLES
from gesture_assets.defs.common import (
    DAILY,
    ONE_RUN,
    RETRIES,
    VALIDATED_SUBSCRIBERS,
    Events,
    Night,
    WarehouseResource,
    gates,
    spec,
)
from gesture_assets.errors import SourceError
from gesture_assets.sources.crm import canonical_crm, crm_url, read_crm
from gesture_assets.sources.personal import pseudonym_key
from gesture_assets.subscribers.validate import subscribers_as_of
from gesture_assets.warehouse import ledger
from gesture_assets.warehouse.ledger import Verdict
from gesture_assets.warehouse.warehouse import LIVE

TABLES = (CRM_SNAPSHOT, VALIDATED_SUBSCRIBERS, QUARANTINED_SUBSCRIBERS)


@dg.multi_asset(
    name="crm_subscribers",
    specs=[
        spec(CRM_SNAPSHOT, kinds=["sqlite"]),
        spec(VALIDATED_SUBSCRIBERS),
        spec(QUARANTINED_SUBSCRIBERS),
    ],
    check_specs=gates(*TABLES),
    partitions_def=DAILY,
    backfill_policy=ONE_RUN,
    retry_policy=RETRIES,
)
def crm_subscribers(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Events:
    """Read the CRM and say what it knew on each day; days that hold a snapshot keep it."""
    with warehouse.open(context) as night:
        url = crm_url(night.settings)
        for contract in TABLES:
            night.session.ensure(contract)
        if url is None:
            if _has_snapshots(night):
                raise SourceError(
                    f"crm_subscribers cannot be built for {night.session.run.window}.",
                    expected="the CRM, which earlier days were built from", found="no such file",
                    where=str(night.settings.default_crm),
                    next_step="put the file back or set GESTURE_CRM_URL, then  gesture run",
                )  # fmt: skip
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
    canonical = [nw.from_native(r) for r in canonical_crm(con, content, pseudonym_key(night.settings))]
    subscribers, tags, purchases = canonical
    has_dated_tags = "tagged_at" in content.tables["Tags"].columns
    verdicts = ledger.latest(con, VALIDATED_SUBSCRIBERS.name)
    frames: dict[str, list[nw.LazyFrame[Any]]] = {contract.name: [] for contract in TABLES}
    kept = []
    for day in night.days:
        is_rebuilt = day < today - timedelta(days=1)
        stored = day in verdicts and verdicts[day][0] is Verdict.PASS
        if is_rebuilt and stored and not run.restate_reason:
            # A past day is what it was: today's CRM has nothing to say about it.
            kept.append(day)
            for contract in TABLES:
                frames[contract.name].append(_stored(night, contract.name, contract.column_names, day))
            continue
        one = subscribers_as_of(
            subscribers, tags, purchases, day=day, snapshot_date=today, is_rebuilt=is_rebuilt,
            has_dated_tags=has_dated_tags, tag_names=night.settings.tags,
        )  # fmt: skip
        frames[VALIDATED_SUBSCRIBERS.name].append(one.validated)
        frames[QUARANTINED_SUBSCRIBERS.name].append(one.quarantined)
        counts = {
            "Subscribers": (0, _rows(one.later)),
            "Tags": (_rows(one.unmatched_tags), 0),
            "Transactions": (_rows(one.unmatched_purchases), 0),
        }
        values = ", ".join(
            f"(date '{day}', '{name}', {content.tables[name].height}::bigint, '{','.join(content.columns[name])}', "
            f"'{','.join(columns)}', {counts[name][0]}::bigint, {counts[name][1]}::bigint, date '{today}', "
            f"'{content.content_hash}')"
            for name, columns in CRM_TABLES.items()
        )
        names = ", ".join(CRM_SNAPSHOT.column_names)
        frames[CRM_SNAPSHOT.name].append(nw.from_native(con.sql(f"select * from (values {values}) as t({names})")))
    night.session.input_hashes["crm"] = content.content_hash
    notes: dict[str, Any] = {
        "crm": content.where,
        "crm_content_hash": content.content_hash,
        **{f"{name.lower()}_in_crm": frame.height for name, frame in content.tables.items()},
        "days_kept_as_stored": len(kept),
        "tags_of_past_days": "rebuilt from tagged_at" if has_dated_tags else "unknown (the CRM does not date tags)",
    }
    if run.restate_reason:
        notes["restate_reason"] = run.restate_reason
    yield from night.commit(*((contract, frames[contract.name]) for contract in TABLES), notes=notes)


def _stored(night: Night, name: str, columns: tuple[str, ...], day: date) -> nw.LazyFrame[Any]:
    return nw.from_native(
        night.session.connection.sql(
            f"select {', '.join(columns)} from {LIVE}.{name} where {PARTITION} = date '{day}'"
        )
    )


def _rows(frame: nw.LazyFrame[Any]) -> int:
    return int(frame.select(nw.len()).collect().item())
