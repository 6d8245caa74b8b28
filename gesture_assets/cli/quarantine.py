"""`gesture quarantine`: rows that are no events, why, and letting them in once their source is mended.

Belongs here: the three commands. Does not belong here: what makes a row acceptable (`sources/landing.py`).
"""

import uuid
from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from gesture_assets.cli.console import console, now, progress, run_info, shown
from gesture_assets.cli.run import note, run_ranges
from gesture_assets.cli.screen import where_to_look
from gesture_assets.errors import GateClosed, listing
from gesture_assets.pings.tables import UNKNOWN_PING
from gesture_assets.settings import Settings, settings_as_far_as_usable

if TYPE_CHECKING:
    from gesture_assets.records.quarantine import Replay

Day = Annotated[datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="One day; default: every day.")]


def quarantine_list(
    day: Day = None,
    n: Annotated[int | None, typer.Option("--n", "-n", min=1, help="Lines to show; default: all.")] = None,
) -> None:
    """How many rows were set aside, by day, file and reason, also of days that were rejected for it."""
    from gesture_assets.publication.reading import private_ledger
    from gesture_assets.records import quarantine

    chosen = day.date() if day else None
    with private_ledger(settings_as_far_as_usable()) as con:
        quarantine.require_known(con, day=chosen)
        counts = quarantine.summary(con, chosen)
    if not counts:
        console().print("No row lies in quarantine.", highlight=False)
        return
    shown(
        "Quarantine",
        ("day", "state", "source", "file", "reason", "rows", "of the file's rows that day"),
        [(*row[:6], "" if row[6] is None else f"{row[6]:.1%}") for row in counts[:n]],
    )
    if n and len(counts) > n:
        console().print(f"The first {n} of {len(counts)} lines.", highlight=False)


def quarantine_show(
    day: Day = None,
    reason: Annotated[str | None, typer.Option(help="One reason, such as unknown_event_type.")] = None,
    file: Annotated[str | None, typer.Option(help="One file, below data/landing.")] = None,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="Rows to show.")] = 20,
) -> None:
    """The rows themselves, personal values masked, with the place they stand in."""
    from gesture_assets.publication.reading import private_ledger
    from gesture_assets.records import quarantine

    settings = settings_as_far_as_usable()
    chosen = day.date() if day else None
    with private_ledger(settings) as con:
        quarantine.require_known(con, day=chosen, reason=reason, file=file)
        rows = quarantine.rows(con, day=chosen, reason=reason, file=file, limit=n)
    if not rows:
        console().print("No such row lies in quarantine.", highlight=False)
        return
    shown("Quarantined rows", ("day", "state", "place", "reason", "check", "row"), rows)
    for name in dict.fromkeys(row[3] for row in rows):
        console().print(f"{name}: {quarantine.ALL_REASONS.get(name, '')}", highlight=False, markup=False)
    again = {"live": "gesture quarantine replay --dry-run", "rejected": "gesture run"}
    for state in dict.fromkeys(row[1] for row in rows if row[3] != UNKNOWN_PING):
        console().print(
            f"Mend {settings.user_sources}/<source>.toml or the file, then for {state} days  {again[state]}",
            highlight=False,
            soft_wrap=True,
        )


def quarantine_replay(
    day: Day = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be let in, and change nothing.")] = False,
    reason: Annotated[str, typer.Option(help="Why; it is kept.")] = "",
) -> None:
    """Read quarantined rows again and build their days, and all that follow, with those that are accepted now."""
    from gesture_assets.cli.run import require_reason
    from gesture_assets.contracts.catalogue import catalogue
    from gesture_assets.publication.reading import live_days
    from gesture_assets.records import quarantine
    from gesture_assets.records.opening import warehouse_of
    from gesture_assets.sources.description import load_descriptions
    from gesture_assets.sources.landing import find_files
    from gesture_assets.sources.landing_index import LandingIndex, ping_indexes
    from gesture_assets.sources.personal import pseudonym_key

    require_reason("-" if dry_run else reason, asked={"replay": True}, command="gesture quarantine")
    settings = settings_as_far_as_usable()
    files = {
        file.name: file
        for file in find_files(settings.landing, load_descriptions(settings.user_sources), settings.user_sources)
    }
    today, chosen = now().date(), day.date() if day else None
    with (
        progress("reading quarantined rows again"),
        warehouse_of(settings).open(run_info("gesture quarantine replay", today)) as session,
    ):
        key = pseudonym_key(settings)
        index = LandingIndex(session, key)
        index.refresh(files.values())
        indexes = [index, *ping_indexes(session, key, files.values()).values()]
        quarantine.require_known(session.connection, day=chosen)
        live = live_days(session, catalogue(settings.tags).nightly)
        replays = [replay for index in indexes for replay in quarantine.look_again(session, index, files)]
        rejected = [row[0] for row in quarantine.summary(session.connection, chosen) if row[1] == "rejected"]
    # Rows of the day in progress were set aside by a refresh: the next one, or the night, reads them again.
    moved = [replay for replay in quarantine.let_in(replays, chosen) if min(replay.days) < today]
    reread = [replay for replay in replays if chosen in (None, replay.day) or replay in moved]
    if reread:
        shown(
            "Read again",
            ("day", "file", "reason", "set aside no more", "stay"),
            [
                (replay.day, replay.landing_file, replay.reason_before, replay.accepted, replay.still_quarantined)
                for replay in reread
            ],
        )
    elif dry_run:
        console().print("No row lies in quarantine that reading it again could let in.", highlight=False)
    if dry_run:
        return
    if not moved:
        raise GateClosed(
            "Nothing was let in.",
            expected="quarantined rows that can be accepted by now",
            found=f"{sum(replay.still_quarantined for replay in reread):,} rows with the same faults as before",
            where="data/landing, data/sources",
            next_step=f"gesture run  reads those of {listing(sorted(set(rejected)))} again: the day did not pass"
            if rejected and not reread
            else "gesture quarantine show, mend data/sources/<source>.toml, then  gesture quarantine replay",
        )
    if not _build_with(settings, moved, live, today, reason):
        raise typer.Exit(1)
    where_to_look(settings)


def _build_with(
    settings: Settings, moved: Sequence["Replay"], live: Collection[date], today: date, reason: str
) -> bool:
    """Build the days of `moved` rows and all live days after them; whether that went well."""
    from gesture_assets.records import quarantine
    from gesture_assets.records.opening import warehouse_of
    from gesture_assets.warehouse.run_queue import RunQueue

    first = max(settings.partitions_start, min(concerned for replay in moved for concerned in replay.days))
    last = max({*live, *(concerned for replay in moved for concerned in replay.days)} - {today})
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    why = f"quarantine replay: {reason}"
    queue = RunQueue.beside(settings.warehouse)
    with queue.register(str(uuid.uuid4()), "gesture quarantine replay", days, goes_first=False):
        run_id = note(settings, action="replay", what="quarantined_events", days=days, reason=reason)
        # Remembered first, so that the file this run publishes says it.
        with warehouse_of(settings).open(run_info("gesture quarantine replay", *days)) as session:
            quarantine.record(session, moved, reason=reason, run_id=run_id)
        done = False
        try:
            exceptions = {"force_reason": "", "restate_reason": why}
            done = run_ranges(settings, [(first, last)], "*", exceptions, run_id=run_id)
        finally:
            if not done:
                with warehouse_of(settings).open(run_info("gesture quarantine replay", *days)) as session:
                    quarantine.forget_not_let_in(session, run_id)
    return done
