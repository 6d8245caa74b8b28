"""The step that trains a ranker of short videos, and lets a better one order lists from the next day on.

Belongs here: reading what it learns from, calling the room, letting it serve. Does not belong here: folds, judgement
and decision (`pings/ranker_training.py`), lists (`ping_lists.py`), which version serves (`records/activations.py`).
"""

import json
from dataclasses import asdict
from datetime import date, timedelta
from importlib import metadata

import narwhals as nw
import polars as pl
from pydantic import BaseModel

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.errors import TrainingRefused
from gesture_assets.frames import to_polars
from gesture_assets.models.versions import digest
from gesture_assets.nights.night import Days, Night, one_day
from gesture_assets.nights.ping_lists import known_events, rankers_folder, weights_of
from gesture_assets.nights.pings import has_landed
from gesture_assets.nights.steps import Built, Step
from gesture_assets.pings.ranker_files import ranker_version, save_ranker
from gesture_assets.pings.ranker_training import trained_ranker
from gesture_assets.pings.tables import PING_RANKER_EVALUATION, PING_RANKERS, PING_RECOMMENDATIONS, PINGS
from gesture_assets.records import activations


class RankerTraining(BaseModel):
    """How to train: letting the ranker serve for a reason of one's own, and what decides by chance."""

    force_reason: str = ""
    seed: int = 42


def _made(night: Night) -> list[date]:
    """Whole days with lists, which keep their order."""
    verdicts = night.session.latest(PING_RECOMMENDATIONS.name)
    today = night.session.run.now.date()
    return [day for day, made in verdicts.items() if made.live_hash is not None and day < today]


def ping_rankers(night: Night, days: Days) -> Built:
    """Train a ranker on the interactions up to the day, judge it, and let it order lists where it is better."""
    day, options = one_day(night, days, command="gesture recs train"), night.options or RankerTraining()
    if not has_landed(night):
        raise TrainingRefused(
            "A ranker cannot be trained.",
            expected="interactions with short videos",
            found="none: nothing of short videos has landed",
            where=str(night.settings.landing),
            next_step="gesture demo-data --pings  (or land your own: docs/pings.md), then  gesture run",
        )
    weights = weights_of(night.settings)
    scored = nw.from_native(to_polars(known_events(night, day)).lazy())
    pings = to_polars(night.read(PINGS, on=day))
    found = trained_ranker(scored, pings, weights, seed=options.seed)
    run = night.session.run
    version = ranker_version(found.ranker, run.now)
    is_promoted = found.is_better or bool(options.force_reason)
    because = found.because
    if is_promoted and not found.is_better:
        because = f"by force ({options.force_reason}), not by its judgement: {because}"
    card = {
        PARTITION: day,
        "ranker_version": version,
        "fingerprint": found.ranker.fingerprint,
        "data_hash": digest(dict(night.session.inputs_read)),
        "objective": found.choice.objective,
        "objective_ndcg": json.dumps(dict(found.choice.ndcg), sort_keys=True),
        "settings": json.dumps(asdict(found.ranker.settings), sort_keys=True),
        "features": json.dumps(found.ranker.features),
        "weights_version": weights.version,
        "code_version": metadata.version("gesture_assets"),
        "first_day": found.days.taught[0],
        "judged_days": json.dumps([str(judged) for judged in found.days.judged]),
        "training_samples": found.ranker.row_count,
        "judged_samples": found.judged_rows,
        "user_count": found.user_count,
        "decision": "promoted" if is_promoted else "kept",
        "because": because,
    }
    save_ranker(found.ranker, card, rankers_folder(night.settings))
    evaluation = found.evaluation.with_columns(pl.lit(day).alias(PARTITION), ranker_version=pl.lit(version))

    def let_serve() -> None:
        if is_promoted:
            activations.activate(
                night.session.connection,
                version,
                since=max([day, *_made(night)]) + timedelta(days=1),
                now=run.now,
                action="promoted",
                reason=because,
                run_id=run.run_id,
                table=activations.RANKERS,
            )

    return Built(
        {
            PING_RANKERS: night.table(PING_RANKERS, pl.DataFrame([card])),
            PING_RANKER_EVALUATION: night.table(PING_RANKER_EVALUATION, evaluation),
        },
        version=version,
        notes={
            "ranker_version": version,
            "objective": found.choice.objective,
            "decision": f"{card['decision']}: {because}",
        },
        when_live=let_serve,
    )


STEPS = (
    Step(
        "ping_rankers",
        ping_rankers,
        (PING_RANKERS, PING_RANKER_EVALUATION),
        sources=None,
        options=RankerTraining,
        has_source=has_landed,
    ),
)
