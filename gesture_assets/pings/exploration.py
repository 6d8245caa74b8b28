"""What is shown of an order of candidates: the best, and at some places by chance what stands behind them.

Belongs here: drawing, and the chance that each row had. Does not belong here: the order (`recommend.py`, `ranker.py`),
what another policy would have got from such a log (`off_policy.py`).
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from gesture_assets.pings.weights import Lists


def shown_lists(order: pl.DataFrame, lists: Lists, *, seed: int | Sequence[int]) -> pl.DataFrame:
    """The rows of `order` that are shown, by user and `rank`, their place now, with `is_explored` and `propensity`.

    `order` has `user_id`, `rank` from 1, `ping_id`, `creator_id`, and what else is to be kept. Each place is given by
    chance with the probability `lists.exploration`, all places by themselves: to one of the user's pool, the candidates
    behind the first `lists.length`, none twice, each as likely. `propensity` is the chance with which that ping stood
    at that place: 1 − exploration, or exploration ÷ pool. With a limit per creator the pool holds the best ping of each
    creator whom the list does not have, so that no draw exceeds it. Whose pool is smaller than a list is shown the
    best, for certain. Equal rows in any order give the same.
    """
    k, share = lists.length, lists.exploration or 0.0
    order = order.sort("user_id", "rank").with_row_index("row")
    best, pool = order.filter(pl.col("rank") <= k), order.filter(pl.col("rank") > k)
    if lists.per_creator is not None:
        pool = pool.join(best, on=["user_id", "creator_id"], how="anti", maintain_order="left")
        is_first = pl.int_range(pl.len()).over("user_id", "creator_id") == 0
        pool = pool.filter(is_first | pl.col("creator_id").is_null())
    rng = np.random.default_rng(seed)
    chance = pl.Series("chance", rng.random(best.height))
    drawn = pl.Series("drawn", rng.random(pool.height))
    pool = pool.with_columns(drawn, pool=pl.len().over("user_id")).filter(pl.col("pool") >= k)
    place = pl.col("drawn").rank("ordinal").over("user_id").cast(best.schema["rank"])
    pool = pool.select("user_id", "pool", other="row", rank=place)
    places = best.select("user_id", "rank", "row", chance).join(
        pool, on=["user_id", "rank"], how="left", maintain_order="left"
    )
    is_explored = pl.col("other").is_not_null() & (pl.col("chance") < share)
    places = places.select(
        "rank",
        row=pl.when(is_explored).then("other").otherwise("row"),
        is_explored=is_explored,
        propensity=pl.when(pl.col("other").is_null())
        .then(1.0)
        .when(is_explored)
        .then(share / pl.col("pool"))
        .otherwise(1.0 - share),
    )
    shown = order.drop("row")[places["row"]]
    return shown.with_columns(places["rank"], places["is_explored"], places["propensity"])
