"""The call list: whom to talk to first, by the score to act on, and why.

Belongs here: who is on it, the order, the reasons in a line. Does not belong here: the scores (`scoring.py`,
`rules/scorer.py`), writing the table (`nights/model_scores.py`).

There is one list. The table `top_users` is its head, the view `analytics.call_list` the whole of the newest day,
`gesture rank` as much of any day as one asks for; a test holds them to one another.
"""

import narwhals as nw

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.frames import Frame
from gesture_assets.models.tables import DONE
from gesture_assets.rules.scorer import rank

REASONS = 3


def call_list(intent_scores: Frame, rule_scores: Frame, reasons: Frame, n: int, *, lists_everybody: bool) -> Frame:
    """The first `n` of each day with `rank`, `rule_band`, `explanation` and `last_event_at`.

    Who has a score and can still do what the label means; everybody who has a score where `lists_everybody`. By score,
    then probability, then latest activity, then id. The explanation is that of the score: the model's weightiest
    reasons up (`reasons`, rows of `score_reasons`), or the rules' own.
    """
    key = [PARTITION, "user_id"]
    listed = intent_scores.filter(~nw.col("score").is_null())
    if not lists_everybody:
        has_done = nw.col("fallback_reason").is_in(DONE).fill_null(False)
        listed = listed.filter(~has_done)
    ruled = rule_scores.select(*key, "last_event_at", rule_band="band", by_rules=nw.col("explanation"))
    top = rank(listed.join(ruled, on=key, how="left"), n, finer="probability")
    because = _because(reasons, top)
    return (
        top.join(because, on=key, how="left")
        .with_columns(explanation=nw.when(nw.col("by_model").is_null()).then("by_rules").otherwise("by_model"))
        .drop("by_rules", "by_model")
        .sort(PARTITION, "rank")
    )


def left_out(intent_scores: Frame) -> Frame:
    """How many of each day are not on the list although they have a score: `reason`, `users`."""
    has_done = ~nw.col("score").is_null() & nw.col("fallback_reason").is_in(DONE)
    done = intent_scores.filter(has_done).with_columns(reason=nw.col("fallback_reason"))
    return done.group_by(PARTITION, "reason").agg(users=nw.len()).sort(PARTITION, "reason")


def _because(reasons: Frame, top: Frame) -> Frame:
    """The weightiest reasons up of each user of `top`, in a line."""
    key = [PARTITION, "user_id"]
    up = reasons.filter(nw.col("direction") == "up", nw.col("place") <= REASONS)
    up = up.join(top.select(*key), on=key, how="semi")
    names = {f"reason_{place}": place for place in range(1, REASONS + 1)}
    placed = up.with_columns(
        nw.when(nw.col("place") == place).then(nw.col("sentence")).alias(name) for name, place in names.items()
    )
    rows = placed.group_by(*key).agg(nw.col(*names).max())
    return rows.select(
        *key, by_model=nw.concat_str([nw.col(name) for name in names], separator="; ", ignore_nulls=True)
    )
