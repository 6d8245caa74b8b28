"""Steps of what people did: landed files to events, visits, daily activity and totals.

Belongs here: reading what landed behind the gates, calling the rooms. Does not belong here: what an event is
(`events/`), how a file is read (`sources/`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

import narwhals as nw

from gesture_assets.contracts.contract import PARTITION, Contract
from gesture_assets.errors import listing
from gesture_assets.events import accept, roll_up, sessionise
from gesture_assets.events.tables import (
    ACTIVITY_TO_DATE,
    DAILY_ACTIVITY,
    IDENTITY_LINKS,
    IGNORED,
    LANDING_RECONCILIATION,
    QUARANTINED_EVENTS,
    RAW_EVENTS,
    SESSIONS,
)
from gesture_assets.frames import Frame
from gesture_assets.nights.night import Days, Night, without_gaps
from gesture_assets.nights.steps import Built, Step
from gesture_assets.sources.description import load_descriptions
from gesture_assets.sources.landing import LandingFile, find_files
from gesture_assets.sources.landing_index import LandingIndex, ping_indexes
from gesture_assets.sources.personal import pseudonym_key
from gesture_assets.warehouse import ledger
from gesture_assets.warehouse.landed_days import interaction_days

LANDED_EVENTS = (RAW_EVENTS, QUARANTINED_EVENTS, LANDING_RECONCILIATION, IDENTITY_LINKS)
LANDED, ACCEPTED = "landed", "accepted"  # what rows are counted as


@dataclass(frozen=True)
class Landing:
    """The files of the landing folder, and the index of what is in them."""

    index: LandingIndex
    files: Sequence[LandingFile]


def landing(night: Night) -> Landing:
    """What is in the landing folder; files that are new or changed are indexed."""

    def look() -> Landing:
        own = night.settings.user_sources
        files = list(find_files(night.settings.landing, load_descriptions(own), own))
        key = pseudonym_key(night.settings)
        index = LandingIndex(night.session, key)
        index.refresh(files)
        if not index.landed_days():  # then days are those of what else landed
            ping_indexes(night.session, key, files)
        return Landing(index, files)

    return night.once("landing", look)


def landed_events(night: Night, days: Days) -> Built:
    """Read what landed, keep what is an event, set the rest aside, and account for every row."""
    index, files = landing(night).index, landing(night).files
    digests = index.landed_days()
    if not digests.keys() & set(days) and interaction_days(night.session.connection).issuperset(days):
        why = "no events have landed" + (f" on {listing(days)}, only interactions" if digests else "")
        return Built(dict.fromkeys(LANDED_EVENTS, ()), notes={"absent": why}, absent=why)
    landed = without_gaps(index.load(files, days), days)
    accepted = accept.accepted(landed)
    # Copies are few: naming them costs less than writing all other rows anew.
    earlier = ids_of_earlier_days(night, days, landed, RAW_EVENTS, index, files)
    copies = night.session.set_aside("copies", accept.copies(accepted, earlier))
    events = accept.without(accepted, copies)
    return Built(
        {
            RAW_EVENTS: accept.raw_events(accept.flag_bots(events)),
            QUARANTINED_EVENTS: accept.quarantined_events(landed),
            LANDING_RECONCILIATION: accept.reconciliation(landed, events, index.dropped_columns()),
            IDENTITY_LINKS: accept.identity_links(events, accept.identity_calls(landed)),
        },
        counts=counts_of(landed, events),
        inputs={"landing": ",".join(digests.get(day, "none") for day in days)},
    )


def ids_of_earlier_days(
    night: Night, days: Days, landed: Frame, table: Contract, index: LandingIndex, files: Sequence[LandingFile]
) -> Frame:
    """Ids of `landed` rows that an earlier day of `table` already has: live, or in landing files of days not yet live.

    An event is never filed before it happened, so only events of an earlier day can have an earlier copy, and only in
    the days since. The answer is the same whichever days were built first.
    """
    midnight = datetime.combine(days[0], time())
    late = accept.accepted(landed).filter(nw.col("event_at") < nw.lit(midnight).cast(nw.Datetime("us")))
    earliest = late.select(nw.col("event_at").min()).collect().item()
    if earliest is None:
        return late.select("event_id")
    since, before = earliest.date(), days[0] - timedelta(days=1)
    live_days = set(night.session.live_counts(table.name, [since, before]))
    waiting = [day for day in index.landed_days() if since <= day <= before and day not in live_days]
    frames = [night.select(table, f"{PARTITION} between date '{since}' and date '{before}'").select("event_id")]
    if waiting:
        earlier = accept.accepted(index.load(files, waiting, table=f"{index.kind.prefix}landed_before"))
        frames.append(earlier.filter(nw.col(PARTITION).is_in(waiting)).select("event_id"))
    return nw.concat(frames).unique("event_id").join(late.select("event_id"), on="event_id", how="semi")


def counts_of(landed: Frame, events: Frame) -> Counter[Any]:
    """Rows that landed by the reason against them, and rows accepted by the day that they are late for, or none."""
    by_reason = landed.group_by("reason").agg(nw.len().alias("rows")).collect().rows()
    day = nw.col("event_at").cast(nw.Date)
    late_for = events.with_columns(late_for=nw.when(day < nw.col(PARTITION)).then(day))
    by_day = late_for.group_by("late_for").agg(nw.len().alias("rows")).collect().rows()
    return Counter({(LANDED, reason): rows for reason, rows in by_reason}) + Counter(
        {(ACCEPTED, late_day): rows for late_day, rows in by_day}
    )


def account(night: Night, counts: Counter[Any]) -> Mapping[str, Any]:
    """What became of the rows that landed, as the materialisation shows it."""
    landed = {reason: rows for (what, reason), rows in counts.items() if what == LANDED}
    accepted = {late_for: rows for (what, late_for), rows in counts.items() if what == ACCEPTED}
    ignored = landed.pop(IGNORED, 0)
    reasons = sorted(
        ((reason, rows) for reason, rows in landed.items() if reason), key=lambda item: (-item[1], item[0])
    )
    late = {day: rows for day, rows in accepted.items() if day is not None}
    return {
        "landed": sum(landed.values()) + ignored,
        "ignored": ignored,
        "quarantined": sum(rows for _, rows in reasons),
        "quarantined_by_reason": ", ".join(f"{reason} {rows:,}" for reason, rows in reasons) or "none",
        "duplicates": landed.get(None, 0) - sum(accepted.values()),
        "late_events": sum(late.values()),
        "days_of_late_events": ", ".join(map(str, sorted(late))) or "none",
    }


def filed_sessions(night: Night, days: Days) -> Built:
    """Trace the visits of everybody with new events, and file the visits that are new or changed."""
    new = night.read_window(RAW_EVENTS)
    earliest, has_own = new.select(nw.col("event_at").min(), nw.col("source_session_id").count()).collect().row(0)
    since = None if has_own or earliest is None else (earliest - sessionise.REACH).date()
    seen = night.read(RAW_EVENTS, since=since, through=days[-1])
    return Built({SESSIONS: night.session.query(sessionise.filed_sessions, new, seen)})


def daily_activity(night: Night, days: Days) -> Built:
    """Count what each user added to each day."""
    events, sessions = night.read_window(RAW_EVENTS), night.read_window(SESSIONS)
    return Built({DAILY_ACTIVITY: night.session.query(roll_up.daily_activity, events, sessions)})


def activity_to_date(night: Night, days: Days) -> Built:
    """Add up all activity on the last day of a month; every other day passes without rows."""
    none = night.select(ACTIVITY_TO_DATE, "false")
    ends = [day for day in days if (day + timedelta(days=1)).day == 1]
    return Built({ACTIVITY_TO_DATE: [none, *(_totals(night, days, day) for day in ends)]})


def _totals(night: Night, days: Days, day: date) -> Frame:
    activity = night.read(DAILY_ACTIVITY, through=day)
    earlier = newest_totals(night, through=min(day, days[0]) - timedelta(days=1))
    if earlier is None:
        return roll_up.activity_to_date(activity, None, day)
    since = activity.filter(nw.col(PARTITION) > earlier)
    return roll_up.activity_to_date(since, night.read(ACTIVITY_TO_DATE, on=earlier), day)


def newest_totals(night: Night, *, through: date) -> date | None:
    """The newest day up to `through` whose totals were added up from the activity that is live now.

    A restated day makes the totals behind it worthless until they are built again; older ones serve meanwhile.
    """
    built = ledger.built_from(night.session.connection, ACTIVITY_TO_DATE.name)
    for day in sorted((day for day in built if day <= through), reverse=True):
        digest = night.session.digest(DAILY_ACTIVITY, through=day, days=night.days)
        if built[day].get(f"{DAILY_ACTIVITY.name}@{day}") == digest:
            return day
    return None


STEPS = (
    Step(
        "landed_events",
        landed_events,
        LANDED_EVENTS,
        look_first=landing,
        sources=lambda night: landing(night).index.sources(night.days, landing(night).files),
        rows=lambda night: landing(night).index.row_counts(),
        summary=account,
        kinds={RAW_EVENTS.name: ("csv", "json", "parquet")},
    ),
    Step("sessions", filed_sessions, (SESSIONS,), rows=lambda night: night.counts(RAW_EVENTS)),
    Step("daily_activity", daily_activity, (DAILY_ACTIVITY,), rows=lambda night: night.counts(RAW_EVENTS)),
    Step("activity_to_date", activity_to_date, (ACTIVITY_TO_DATE,)),
)
