"""`gesture catchup`: what was missed while nothing ran, and what landed too late for its day.

Belongs here: finding such days, showing them, running them. Does not belong here: what a run does (`run.py`).
"""

import uuid
from dataclasses import replace
from datetime import date, timedelta
from typing import Annotated

import typer

from gesture_assets.cli.console import console, now, shown
from gesture_assets.cli.run import (
    Pending,
    day_ranges,
    note,
    pending,
    publish_waiting,
    require_reason,
    run_ranges,
)
from gesture_assets.cli.screen import where_to_look
from gesture_assets.settings import settings_as_far_as_usable

MISSED, QUIET, LATE, UNPUBLISHED = "missed night", "nothing landed", "files landed late", "live, not published"
REJECTED, HALF_BUILT, CUT_OFF = "did not pass", "built in part", "cut off"


def catchup(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the days and run nothing.")] = False,
    restate: Annotated[
        bool, typer.Option("--restate", help="Build published days again that files came late for.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why, for --restate; it is kept.")] = "",
) -> None:
    """List and run missed nights, and the days that late files touched. Exit code 1 when something is left over."""
    require_reason(reason, asked={"--restate": restate}, command="gesture catchup")
    settings = settings_as_far_as_usable()
    until = now().date() - timedelta(days=1)
    waiting = pending(settings, until=until)
    listed = to_catch_up(waiting, until)
    for remark in waiting.notes:
        console().print(remark, style="yellow", highlight=False, markup=False, soft_wrap=True)
    if not listed:
        console().print("Every night has run, up to yesterday.", highlight=False)
        return
    shown(
        "To catch up",
        ("day", "what", "landed rows"),
        [(day, what, f"{waiting.row_counts.get(day, 0):,}") for day, what in listed],
    )
    if dry_run:
        raise typer.Exit(int(any(what != QUIET for _, what in listed)))
    from gesture_assets.warehouse.run_queue import RunQueue

    days = [
        day for day, what in listed if what in (MISSED, REJECTED, HALF_BUILT, CUT_OFF) or (restate and what == LATE)
    ]
    if restate and waiting.touched:
        # Every later day counts the touched one's history.
        days = [day for day in sorted(waiting.landed) if day >= min(days)]
    with RunQueue.beside(settings.warehouse).register(str(uuid.uuid4()), "gesture catchup", days, goes_first=False):
        run_id = (
            note(settings, action="restate" if restate else "run", what="*", days=days, reason=reason) if days else ""
        )
        exceptions = {"force_reason": "", "restate_reason": reason if restate else waiting.restate_reason}
        done = run_ranges(settings, day_ranges(days, waiting.landed), "*", exceptions, run_id=run_id)
    if not days and waiting.unpublished:
        done = publish_waiting(settings, waiting)
    left = replace(waiting, touched=frozenset()) if restate else waiting
    if done:
        where_to_look(settings, also=left.stays)
    if not done or left.stays:
        raise typer.Exit(1)


def to_catch_up(waiting: Pending, until: date) -> list[tuple[date, str]]:
    """Day and what is wrong with it, in order; missed nights and quiet days up to `until`."""
    what_is_wrong = dict.fromkeys(waiting.unpublished, UNPUBLISHED) | dict.fromkeys(waiting.touched, LATE)
    what_is_wrong |= dict.fromkeys(waiting.missing, MISSED) | dict.fromkeys(waiting.half_built, HALF_BUILT)
    what_is_wrong |= dict.fromkeys(waiting.missing & waiting.rejected, REJECTED)
    what_is_wrong |= dict.fromkeys(waiting.missing & waiting.cut_off - waiting.rejected - waiting.half_built, CUT_OFF)
    day = max(waiting.live, default=min(waiting.landed, default=until))
    while day < until:
        day += timedelta(days=1)
        what_is_wrong.setdefault(day, MISSED if day in waiting.landed else QUIET)
    return sorted(what_is_wrong.items())
