"""Assets of what people did: landed files to events, visits and daily activity.

Belongs here: reading what landed behind the gates, calling the rooms, committing. Does not belong here: what an event
is (`events/`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import dagster as dg
import duckdb
import narwhals as nw

from gesture_assets.contracts.contract import PARTITION, Contract
from gesture_assets.defs.common import Events, Night, WarehouseResource, step
from gesture_assets.events import accept, roll_up, sessionise
from gesture_assets.events.tables import (
    ACTIVITY_TO_DATE,
    DAILY_ACTIVITY,
    IDENTITY_LINKS,
    LANDING_RECONCILIATION,
    QUARANTINED_EVENTS,
    RAW_EVENTS,
    SESSIONS,
)
from gesture_assets.frames import Frame
from gesture_assets.sources.description import load_descriptions
from gesture_assets.sources.landing import find_files
from gesture_assets.sources.landing_index import FILES, LandingIndex
from gesture_assets.sources.personal import pseudonym_key
from gesture_assets.warehouse import ledger
from gesture_assets.warehouse.schemas import LIVE

LANDED = (RAW_EVENTS, QUARANTINED_EVENTS, LANDING_RECONCILIATION, IDENTITY_LINKS)


@step("landed_events", *LANDED, kinds={"raw_events": ("csv", "json", "parquet")})
def landed_events(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Events:
    """Read what landed, keep what is an event, set the rest aside, and account for every row."""
    with warehouse.open(context) as night:
        files = list(
            find_files(
                night.settings.landing, load_descriptions(night.settings.user_sources), night.settings.user_sources
            )
        )
        index = LandingIndex(night.session, pseudonym_key(night.settings))
        index.refresh(files)
        night.leave_out_quiet_days()
        if kept := night.unchanged(*LANDED, sources=index.sources(night.days, files)):
            yield from kept
            return
        account = _Account()
        commits = night.commit_chunks(index.row_counts(), lambda: _landed(night, index, files, account))
        yield from night.report(commits, account.notes)


@dataclass
class _Account:
    """What became of the rows that landed, added up over chunks of days."""

    landed: Counter[str | None] = field(default_factory=Counter)  # by the reason against them; None: nothing
    accepted: Counter[date | None] = field(default_factory=Counter)  # by the day that they are late for; None: in time

    def add(self, con: duckdb.DuckDBPyConnection) -> None:
        """Count what is loaded: scratch.main.landed, and what of it was accepted."""
        landed = con.execute("select reason, count(*) from scratch.main.landed group by all")
        self.landed.update(dict(landed.fetchall()))
        accepted = con.execute(
            f"select case when event_at::date < {PARTITION} then event_at::date end, count(*) "
            "from scratch.main.accepted group by all"
        )
        self.accepted.update(dict(accepted.fetchall()))

    @property
    def notes(self) -> dict[str, Any]:
        """As the materialisation shows them."""
        reasons = [(reason, count) for reason, count in self.landed.items() if reason is not None]
        reasons.sort(key=lambda entry: (-entry[1], entry[0]))
        late = {day: count for day, count in self.accepted.items() if day is not None}
        return {
            "landed": self.landed.total(),
            "quarantined": self.landed.total() - self.landed[None],
            "quarantined_by_reason": ", ".join(f"{reason} {count:,}" for reason, count in reasons) or "none",
            "duplicates": self.landed[None] - self.accepted.total(),
            "late_events": sum(late.values()),
            "days_of_late_events": ", ".join(map(str, sorted(late))) or "none",
        }


def _landed(night: Night, index: LandingIndex, files: list[Any], account: _Account) -> Sequence[tuple[Contract, Frame]]:
    """The tables of the night's days, from what landed for them."""
    con, days = night.session.connection, night.days
    digests = index.landed_days()
    night.inputs["landing"] = ",".join(digests.get(day, "none") for day in days)
    landed = nw.from_native(con.sql(f"from {index.load(files, days)}"))
    filed_before = _filed_before(night, index, files)
    first_copies = accept.deduplicate(accept.accepted(landed), filed_before).to_native().sql_query()
    con.execute(f"create or replace table scratch.main.accepted as {first_copies}")
    events = nw.from_native(con.sql("from scratch.main.accepted"))
    dropped = nw.from_native(
        con.sql(f"select landing_file, personal_columns, unused_columns, found_columns from {FILES}")
    )
    account.add(con)
    return (
        (RAW_EVENTS, accept.raw_events(accept.flag_bots(events))),
        (QUARANTINED_EVENTS, accept.quarantined_events(landed)),
        (LANDING_RECONCILIATION, accept.reconciliation(landed, events, dropped)),
        (IDENTITY_LINKS, accept.identity_links(events)),
    )


def _filed_before(night: Night, index: LandingIndex, files: list[Any]) -> Frame:
    """Ids of events that an earlier day already has: from the live days, and from landing files of days not yet live.

    An event is never filed before it happened, so only events of an earlier day can have an earlier copy, and only in
    the days since. The answer is the same whichever days were built first.
    """
    con, first = night.session.connection, night.days[0]
    earliest = con.execute(
        f"select min(event_at::date) from scratch.main.landed where reason is null and event_at::date < date '{first}'"
    ).fetchone()
    empty = "select null::varchar as event_id limit 0"
    if not earliest or earliest[0] is None:
        return nw.from_native(con.sql(empty))
    since, before = earliest[0], first - timedelta(days=1)
    candidates = f"select event_id from scratch.main.landed where reason is null and event_at::date < date '{first}'"
    queries = []
    for contract in LANDED:
        night.session.ensure(contract)
    live_days = {
        day
        for (day,) in con.execute(
            f"select distinct {PARTITION} from {LIVE}.raw_events where {PARTITION} between ? and ?", [since, before]
        ).fetchall()
    }
    if live_days:
        queries.append(
            f"select event_id from {LIVE}.raw_events where {PARTITION} between date '{since}' and date '{before}'"
        )
    waiting = [day for day in index.landed_days() if since <= day <= before and day not in live_days]
    if waiting:
        con.execute("alter table scratch.main.landed rename to landed_now")
        index.load(files, [min(waiting), max(waiting)])
        con.execute("drop table if exists scratch.main.landed_before")
        con.execute("alter table scratch.main.landed rename to landed_before")
        con.execute("alter table scratch.main.landed_now rename to landed")
        listed = ", ".join(f"date '{day}'" for day in waiting)
        queries.append(
            f"select event_id from scratch.main.landed_before where reason is null and {PARTITION} in ({listed})"
        )
    found = " union ".join(queries) or empty
    return nw.from_native(con.sql(f"select event_id from ({found}) semi join ({candidates}) using (event_id)"))


@step("sessions", SESSIONS)
def sessions(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Events:
    """Trace the visits of everybody with new events, and file the visits that are new or changed."""
    with warehouse.open(context) as night:
        if kept := night.unchanged(SESSIONS):
            yield from kept
            return
        night.require(*LANDED)
        commits = night.commit_chunks(night.counts(RAW_EVENTS), lambda: [(SESSIONS, _filed(night))])
        yield from night.report(commits)


def _filed(night: Night) -> Frame:
    days = night.days
    new = night.read(RAW_EVENTS, since=days[0], through=days[-1])
    earliest, has_own = night.session.connection.execute(
        f"select min(event_at), count(source_session_id) from {LIVE}.raw_events where {PARTITION} between ? and ?",
        [days[0], days[-1]],
    ).fetchone() or (None, 0)
    since = None if has_own or earliest is None else (earliest - sessionise.REACH).date()
    return sessionise.filed_sessions(new, night.read(RAW_EVENTS, since=since, through=days[-1]))


@step("daily_activity", DAILY_ACTIVITY)
def daily_activity(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Events:
    """Count what each user added to each day."""
    with warehouse.open(context) as night:
        if kept := night.unchanged(DAILY_ACTIVITY):
            yield from kept
            return
        night.require(RAW_EVENTS, SESSIONS)
        commits = night.commit_chunks(night.counts(RAW_EVENTS), lambda: [(DAILY_ACTIVITY, _activity(night))])
        yield from night.report(commits)


def _activity(night: Night) -> Frame:
    window = {"since": night.days[0], "through": night.days[-1]}
    return roll_up.daily_activity(night.read(RAW_EVENTS, **window), night.read(SESSIONS, **window))


@step("activity_to_date", ACTIVITY_TO_DATE)
def activity_to_date(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Events:
    """Add up all activity on the last day of a month; every other day passes without rows."""
    with warehouse.open(context) as night:
        night.session.ensure(ACTIVITY_TO_DATE)
        if kept := night.unchanged(ACTIVITY_TO_DATE):
            yield from kept
            return
        night.read(DAILY_ACTIVITY, since=night.days[0], through=night.days[-1])
        con = night.session.connection
        none = nw.from_native(
            con.sql(f"select {', '.join(ACTIVITY_TO_DATE.column_names)} from {LIVE}.activity_to_date limit 0")
        )
        ends = [day for day in night.days if (day + timedelta(days=1)).day == 1]
        yield from night.commit((ACTIVITY_TO_DATE, [none, *(_totals(night, day) for day in ends)]))


def _totals(night: Night, day: date) -> Frame:
    activity = night.read(DAILY_ACTIVITY, through=day)
    earlier = newest_totals(night, through=min(day, night.days[0]) - timedelta(days=1))
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
