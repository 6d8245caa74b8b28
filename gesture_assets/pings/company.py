"""Which pings the same users were shown: what a user's few say of others that nobody asked them about.

Belongs here: features of pairs of user and ping that other users' impressions make. Does not belong here: counts by
user, by ping and by what these share (`impressions.py`), what is learned from them (`ranker.py`).
"""

from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

COMPANY = ("shown_together", "shown_alike")
PRIOR_USERS = 5.0  # that each ping is taken to have had besides: one of two users says little
DIRECTIONS = 32  # of the matrix of users and pings; the rest is who happened to see what
USERS_AT_ONCE = 2_000  # whose sums over all pings are held: 100 MB where there are thousands
SEED = 1  # of the vector that the search for directions begins with

Floats = NDArray[np.float64]


def in_company(rows: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """`rows` (`user_id`, `ping_id`, `as_of`, whatever else), in their order, with `COMPANY`.

    Only impressions of `history` (by `impressions`) up to the end of the day `as_of` count, a pair once.
    `shown_together`: the users whom a ping has in common with each that the user was shown (with itself, too), ÷
    √((users + 5) of both), summed over these. `shown_alike`: how near it is to these in the 32 main directions of who
    was shown what. 0 of users and pings without impressions. Nothing depends on the order of rows, nor on which
    others are asked for.
    """
    found = np.zeros((rows.height, len(COMPANY)))
    asked = rows.select("user_id", "ping_id", "as_of").with_row_index("row")
    for (as_of,), part in asked.partition_by("as_of", as_dict=True).items():
        past = history.filter(pl.col("day") <= as_of).select("user_id", "ping_id").unique()
        users, pings = (past.select(pl.col(key).unique().sort()) for key in ("user_id", "ping_id"))
        users, pings = users.with_row_index("user"), pings.with_row_index("ping")
        known, shown = (
            table.join(users, on="user_id").join(pings, on="ping_id").sort("user", "ping") for table in (part, past)
        )
        if known.height:
            found[known["row"].to_numpy()] = _kinship(known, shown)
    return rows.hstack([pl.Series(name, values) for name, values in zip(COMPANY, found.T, strict=True)])


def _kinship(known: pl.DataFrame, pairs: pl.DataFrame) -> Floats:
    """`COMPANY` of each row of `known`, by the users who were shown `pairs` (both: `user`, `ping`, sorted)."""
    sparse: Any = import_module("scipy.sparse")  # SciPy has no types of its own; only who ranks candidates needs it
    svds: Any = import_module("scipy.sparse.linalg").svds
    places = pairs["user"].to_numpy(), pairs["ping"].to_numpy()
    shown: Any = sparse.csr_array((np.ones(pairs.height), places))
    fame = 1 / np.sqrt(shown.sum(axis=0) + PRIOR_USERS)
    weighed = shown @ sparse.diags_array(fame)
    common = shown.T @ weighed
    found = np.zeros((known.height, len(COMPANY)))
    user, ping = known["user"].to_numpy().astype(np.int64), known["ping"].to_numpy().astype(np.int64)
    users = np.arange(0, int(shown.shape[0]) + USERS_AT_ONCE, USERS_AT_ONCE)
    for first, (start, end) in zip(users, pairwise(np.searchsorted(user, users)), strict=False):
        sums = weighed[first : first + USERS_AT_ONCE] @ common
        found[start:end, 0] = sums[user[start:end] - first, ping[start:end]]
    if (directions := min(DIRECTIONS, min(shown.shape) - 1)) > 0:
        begin = np.random.default_rng(SEED).random(int(min(shown.shape)))
        alike = sparse.diags_array(1 / np.sqrt(shown.sum(axis=1))) @ weighed
        axes = svds(alike, directions, v0=begin, return_singular_vectors="vh")[2].T
        of_users, of_pings = weighed @ axes, fame[:, None] * axes
        for axis in range(directions):
            found[:, 1] += of_users[user, axis] * of_pings[ping, axis]
    return found
