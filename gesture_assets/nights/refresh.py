"""The refresh: lists of the day in progress, of what has landed of it so far, between two nights.

Belongs here: which steps it takes and on which night it stands. Does not belong here: the steps (`pings.py`,
`ping_lists.py`, `publishing.py`), when it runs (`defs/jobs.py`).

The day in progress is a partition of the tables of lists alone. Its rows are provisional: its night builds them again,
whatever a refresh has left, and nobody has to give a reason for that (`warehouse/restatement.py`).
"""

import uuid
from contextlib import closing
from datetime import date, datetime, timedelta

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.errors import GateClosed
from gesture_assets.nights import ping_lists, pings, publishing
from gesture_assets.nights.night import Night, open_night
from gesture_assets.nights.runner import NightResult, run_steps
from gesture_assets.pings.tables import PING_RECOMMENDATIONS, RECOMMENDATION_EVALUATION
from gesture_assets.publication.publish import require_night
from gesture_assets.settings import Settings
from gesture_assets.warehouse.landed_days import interaction_days
from gesture_assets.warehouse.restatement import published_hashes
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.run_queue import RunQueue
from gesture_assets.warehouse.warehouse import connect, kept_open

NAME = "refresh"
# What is made of the day's outcome, and is judged, waits for its night.
LISTS = (*pings.STEPS, *(step for step in ping_lists.STEPS if step.name != "recommendation_evaluation"))
PUBLICATION = tuple(step for step in publishing.STEPS if step.name == "published_warehouse")


def refresh(settings: Settings, *, now: datetime, run_id: str = "") -> NightResult:
    """Make the lists of the day of `now` (UTC, naive) of what has landed so far, and publish them if all passed.

    Nothing is published where readers have these lists already. The result holds the error of the step that failed,
    behind which nothing is done. Raises `GateClosed` where nothing of short videos ever landed, and until the night of
    the day before has passed: today's lists count what was done then.
    """
    run_id, day = run_id or str(uuid.uuid4()), now.date()
    queue = RunQueue.beside(settings.warehouse)
    with queue.register(run_id, f"{NAME} of {day}", [day], goes_first=False), kept_open(settings.warehouse):
        with open_night(settings, RunInfo(run_id, now, (day,), NAME)) as night:
            last = _last_night(night, day)
        lists = run_steps(LISTS, settings, [day], now=now, run_id=run_id)
        if not lists.success or _readers_have_it(settings, lists, day):
            return lists
        published = run_steps(PUBLICATION, settings, [last], now=now, run_id=run_id)
    return NightResult(run_id, {**lists.results, **published.results}, published.failures, published.closed)


def _last_night(night: Night, day: date) -> date:
    """The newest day before `day` on which something landed, once its night has passed, and that of interactions."""
    session = night.session
    if pings.landing(night) is None:
        raise GateClosed(
            "There are no lists of short videos to make anew.",
            expected="files of the kinds interaction, ping and ping_user",
            found="none: nothing of short videos has landed",
            where=str(night.settings.landing),
            next_step="gesture demo-data --pings  (or land your own: docs/pings.md), then  gesture run",
        )
    yesterday = day - timedelta(days=1)
    last = max((landed for landed in session.landed_days() if landed < day), default=yesterday)
    require_night(session, catalogue(night.settings.tags).nightly, days=[last], reader=NAME)
    # Of a day that a refresh has left and no night has built there is no judgement.
    done = max((landed for landed in interaction_days(session.connection) if landed < day), default=last)
    session.require(RECOMMENDATION_EVALUATION, on=done)
    return last


def _readers_have_it(settings: Settings, lists: NightResult, day: date) -> bool:
    """Whether the lists are those that are published already."""
    commits = lists.results["ping_recommendations"].commits
    commit = next(commit for commit in commits if commit.contract.name == PING_RECOMMENDATIONS.name)
    with closing(connect()) as con:
        published = published_hashes(con, settings.published, with_provisional=True)
    return published.get(PING_RECOMMENDATIONS.name, {}).get(day) == commit.days[0].content_hash
