"""Lists: the pings that score highest for each user, with the four parts of a score and the reasons.

Belongs here: the heuristic of document 004, exact for every user without looking at every ping. Does not belong here:
engagement (`engagement.py`), weights (`weights.py`), whether lists are any good (`evaluation.py`).

    score = α popularity + β category affinity + γ creator affinity + δ freshness

What does not depend on the user, the base α popularity + δ freshness, is sorted once: over all pings, per category and
per creator. A user's score of a ping is at most its base and what the user's affinities can add, so:

    1. some pings are scored, the best overall and those of the user's best categories: the K-th of them is a floor
    2. from each sorted list whatever can reach the floor is scored: all pings, those of categories and of creators that
       the user has an affinity to. Where the list falls below, no ping behind can be among the K best
    3. the K best of these are the K best of all, ties by the catalogue's order

A user with too few unseen pings in step 1 has as many more of them scored as needed, and all where there are not K. Who
has no events gets the list that is the same for all of them. Where much of the catalogue ties at a user's floor, all of
that is scored, which is slow and as exact.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from gesture_assets.frames import Frame, to_polars
from gesture_assets.pings.engagement import within
from gesture_assets.pings.weights import Lists, PingWeights, ScoreWeights

UNKNOWN_AGE = 30  # days of a ping that nobody knows the age of
POPULAR = 0.5  # normalised popularity above which a reason says so
RECENT = 0.02  # freshness above which a reason says so: at most 48 days
# Bounds and scores add the same numbers in another order; a millionth of a millionth would do.
SLACK = 1e-9
BEST_OVERALL = 32
BEST_CATEGORIES = 3
# Cells of what is looked up for the users at hand: bytes of seen, doubles of creators. 32 MB and 64 MB.
SEEN_CELLS, CREATOR_CELLS = 32_000_000, 8_000_000
CANDIDATES = 1_000_000  # that are scored at once
PARTS = ("popularity_points", "category_points", "creator_points", "freshness_points")

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def recommendations(
    interactions: Frame,
    pings: Frame,
    users: Frame,
    engagement: Frame,
    weights: PingWeights,
    *,
    until: datetime | None = None,
    now: datetime | None = None,
) -> pl.DataFrame:
    """A row per user and `rank` from 1: min(K, unseen) pings for everybody of `users` and of `interactions`.

    Columns: `user_id`, `rank`, `ping_id`, `score`, its parts `popularity_points`, `category_points`, `creator_points`,
    `freshness_points` (added in this order they are the score, to the last bit), `reason`, `category`, `main_hashtag`,
    `creator_id`. With `per_creator` a list is shorter where the creators do not suffice.

    `engagement` (`ping_id`, `global_engagement`; of any engine) is popularity, of the window that is wished for.
    `until`: the end of the as-of day, which windows go back from; None: all there is counts. `now`: what a ping's age
    is counted to; None: when the newest was created. Nothing depends on the order of rows; ties go by `catalogue_row`.
    """
    catalogue = _catalogue(pings, engagement, weights.score, now)
    if catalogue.size == 0:
        return _table(catalogue, pl.Series("user_id", [], pl.String), _Chosen.none())
    user_ids, history = _history(interactions, pings, users, weights, until)
    ranker = _Ranker(catalogue, weights)
    chosen = [ranker.of_everybody_else(np.setdiff1d(np.arange(len(user_ids)), history.user))]
    chosen += [ranker.of_users(part) for part in history.in_parts(ranker.users_at_once)]
    return _table(catalogue, user_ids, _Chosen.together(chosen))


def seen_pings(interactions: Frame, weights: PingWeights, *, until: datetime | None = None) -> Frame:
    """`user_id`, `ping_id` of what no list of the user may hold, each once."""
    kept = within(interactions, until=until, days=weights.windows.seen).filter(_hides(weights.lists))
    return kept.group_by("user_id", "ping_id").agg()


@dataclass(frozen=True)
class _Catalogue:
    """Pings in the catalogue's order; arrays of one value each. The code of no category and of no creator is 0."""

    table: pl.DataFrame
    popularity: Floats  # normalised
    freshness: Floats
    popularity_points: Floats
    freshness_points: Floats
    category: Ints
    creator: Ints

    @property
    def size(self) -> int:
        return self.table.height

    @property
    def base(self) -> Floats:
        """What a score is without the user."""
        return self.popularity_points + self.freshness_points


@dataclass(frozen=True)
class _History:
    """Pairs of user and ping, sorted by user; `ping` is −1 where the catalogue does not have it."""

    user: Ints
    ping: Ints
    events: Floats  # that count for affinities
    seen: Flags

    def in_parts(self, users_at_once: int) -> Iterator["_History"]:
        """The same pairs, those of so many users at a time."""
        if not len(self.user):
            return
        starts = np.flatnonzero(np.diff(self.user, prepend=-1))[::users_at_once]
        for start, end in zip(starts, [*starts[1:], len(self.user)], strict=True):
            part = slice(start, end)
            yield _History(self.user[part], self.ping[part], self.events[part], self.seen[part])


@dataclass(frozen=True)
class _Chosen:
    """Rows of lists, as numbers; arrays of one value each. `points`: of category and creator."""

    user: Ints
    rank: Ints
    ping: Ints
    score: Floats
    category_points: Floats
    creator_points: Floats
    likes_category: Flags
    likes_creator: Flags

    @classmethod
    def none(cls) -> "_Chosen":
        ints, floats, flags = np.empty(0, np.int64), np.empty(0), np.empty(0, np.bool_)
        return cls(ints, ints, ints, floats, floats, floats, flags, flags)

    @classmethod
    def together(cls, parts: "list[_Chosen]") -> "_Chosen":
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def take(self, rows: Ints | Flags) -> "_Chosen":
        return _Chosen(*(getattr(self, field.name)[rows] for field in fields(self)))


def _catalogue(pings: Frame, engagement: Frame, weights: ScoreWeights, now: datetime | None) -> _Catalogue:
    popularities = to_polars(engagement.select("ping_id", "global_engagement"))
    joined = to_polars(pings).join(popularities, on="ping_id", how="left").sort("catalogue_row")
    table = joined.with_columns(pl.col("global_engagement").fill_null(0.0))
    total = table["global_engagement"].to_numpy()
    least, most = (total.min(), total.max()) if len(total) else (0.0, 0.0)
    popularity = (total - least) / (most - least) if most > least else np.zeros(len(total))
    created = pl.col("created_at").cast(pl.Datetime("us"))
    moment = created.max() if now is None else pl.lit(now, pl.Datetime("us"))
    age = (moment - created).dt.total_microseconds().floordiv(86_400_000_000).clip(lower_bound=0)
    days = table.select(age.fill_null(UNKNOWN_AGE).cast(pl.Float64)).to_series().to_numpy()
    freshness = 1.0 / (1.0 + days)
    return _Catalogue(
        table,
        popularity,
        freshness,
        weights.popularity * popularity,
        weights.freshness * freshness,
        _codes(table["category"]),
        _codes(table["creator_id"]),
    )


def _codes(values: pl.Series) -> Ints:
    """1 and up for the different values, 0 for null."""
    return values.rank("dense").fill_null(0).cast(pl.Int64).to_numpy()


def _history(
    interactions: Frame, pings: Frame, users: Frame, weights: PingWeights, until: datetime | None
) -> tuple[pl.Series, _History]:
    """Everybody's id, and what they did, by places: of the user in the ids, of the ping in the catalogue."""
    events = within(interactions, until=until)
    # `unique` would number the rows of every user.
    everybody = nw.concat([users.select("user_id"), events.select("user_id")]).group_by("user_id").agg()
    numbered = everybody.with_columns(user=_place_by("user_id"))
    counts = _in_window(until, weights.windows.affinity)
    hides = _hides(weights.lists) & _in_window(until, weights.windows.seen)
    one, nothing = nw.lit(1, nw.Int32), nw.lit(0, nw.Int32)
    pairs = (
        events.select(
            "user_id",
            "ping_id",
            events=nw.when(counts).then(one).otherwise(nothing),
            seen=nw.when(hides).then(one).otherwise(nothing),
        )
        .join(numbered, on="user_id", how="inner")
        .join(pings.select("ping_id", ping=_place_by("catalogue_row")), on="ping_id", how="left")
        .group_by("user", "ping")
        .agg(nw.col("events").sum().cast(nw.Int32), nw.col("seen").max().cast(nw.Int32))
    )
    rows = to_polars(pairs).sort("user")
    ids = to_polars(numbered).sort("user")["user_id"]
    user, ping = (rows[name].fill_null(-1).cast(pl.Int64).to_numpy() for name in ("user", "ping"))
    return ids, _History(user, ping, rows["events"].cast(pl.Float64).to_numpy(), rows["seen"].to_numpy() > 0)


def _place_by(column: str) -> nw.Expr:
    """0 for the lowest value, and so on; values stand once each."""
    return (nw.col(column).cum_count().over(order_by=column) - 1).cast(nw.Int32)


def _in_window(until: datetime | None, days: int | None) -> nw.Expr:
    if until is None or days is None:
        return ~nw.col("event_at").is_null()  # never null: every event
    return nw.col("event_at") >= nw.lit(until - timedelta(days=days)).cast(nw.Datetime("us"))


def _hides(lists: Lists) -> nw.Expr:
    """Whether an event hides its ping from the user."""
    if lists.seen == "engaged":
        return nw.col("event_type") != "impression"
    never = nw.col("event_type").is_null()
    return never if lists.seen == "none" else ~never


class _Sorted:
    """The pings by base, the highest first: all of them, then each category's, then each creator's, end to end."""

    def __init__(self, catalogue: _Catalogue) -> None:
        base, place = catalogue.base, np.arange(catalogue.size)
        groups = (np.zeros(catalogue.size, np.int64), catalogue.category, catalogue.creator)
        orders = [np.lexsort((place, -base, group)) for group in groups]
        self.ping = np.concatenate(orders)
        self.base = base[self.ping]
        starts: list[Ints] = [
            np.searchsorted(group[order], np.arange(int(group.max()) + 2)) + number * catalogue.size
            for number, (group, order) in enumerate(zip(groups, orders, strict=True))
        ]
        self.overall, self.category, self.creator = starts

    def reaching(self, start: Ints, end: Ints, least: Floats) -> Ints:
        """How many of each stretch from `start` to before `end` have a base of `least` or more."""
        low, high = start.copy(), end.copy()
        while (open_ := low < high).any():
            middle = (low + high) // 2
            reaches = self.base[np.minimum(middle, len(self.base) - 1)] >= least
            low = np.where(open_ & reaches, middle + 1, low)
            high = np.where(open_ & ~reaches, middle, high)
        return low - start


class _Ranker:
    """What is the same for all users, and the tables that are filled for those at hand and emptied behind them."""

    def __init__(self, catalogue: _Catalogue, weights: PingWeights) -> None:
        self.catalogue, self.score, self.lists = catalogue, weights.score, weights.lists
        self.slack = SLACK * sum(weights.score.model_dump().values())
        self.sorted = _Sorted(catalogue)
        self.categories, self.creators = int(catalogue.category.max()) + 1, int(catalogue.creator.max()) + 1
        self.users_at_once = max(1, min(SEEN_CELLS // catalogue.size, CREATOR_CELLS // self.creators))
        self.seen = np.zeros((self.users_at_once, catalogue.size), np.bool_)
        self.creator_affinity = np.zeros((self.users_at_once, self.creators))
        self.category_affinity = np.zeros((self.users_at_once, self.categories))
        # Any K unseen pings give a floor; with a limit per creator, any K that keep to it.
        overall = self.sorted.ping[: catalogue.size]
        self.floor_pings = overall[self._within_limit(catalogue.creator[overall], overall)]
        self.best_overall = self.floor_pings[: max(BEST_OVERALL, 2 * self.lists.length)]
        self.best_of_category = self._best_of_category()
        heads = self.best_of_category[:, 0]
        self.head_base = np.where(heads >= 0, catalogue.base[heads], -np.inf)

    def _within_limit(self, group: Ints, ping: Ints) -> Flags:
        """Whether so few of the same `group` stand before that the limit per creator allows one more.

        Pings whose creator is not known are not limited: they need not be the same one's.
        """
        if self.lists.per_creator is None:
            return np.ones(len(group), np.bool_)
        return (_place_in(group) < self.lists.per_creator) | (self.catalogue.creator[ping] == 0)

    def _best_of_category(self) -> Ints:
        """Category × K: its best pings that are not among the best overall; −1 where it has no more."""
        rest = self.floor_pings[len(self.best_overall) :]
        category = self.catalogue.category[rest]
        place = _place_in(category)
        first = place < self.lists.length
        best = np.full((self.categories, self.lists.length), -1)
        best[category[first], place[first]] = rest[first]
        return best

    def of_everybody_else(self, users: Ints) -> _Chosen:
        """Lists of `users`, who have done nothing: one list, as often as there are users."""
        if not len(users):
            return _Chosen.none()
        nobody = np.zeros(1, np.int64)
        found = self._lists(nobody, nobody[:0], nobody[:0], np.empty(0), nobody)
        rows = np.tile(np.arange(len(found.ping)), len(users))
        return replace(found.take(rows), user=np.repeat(users, len(found.ping)))

    def of_users(self, history: _History) -> _Chosen:
        """Lists of all users of `history`, at most `users_at_once`."""
        users, local = np.unique(history.user, return_inverse=True)
        total = np.bincount(local, history.events, len(users))
        counts = (history.ping >= 0) & (history.events > 0)
        user, ping, events = local[counts], history.ping[counts], history.events[counts]
        category, creator = self.catalogue.category[ping], self.catalogue.creator[ping]
        has_category, has_creator = category > 0, creator > 0
        cells = np.bincount(
            user[has_category] * self.categories + category[has_category],
            events[has_category],
            len(users) * self.categories,
        ).reshape(len(users), self.categories)
        self.category_affinity[: len(users)] = cells / np.where(total > 0, total, 1.0)[:, None]
        pairs, place = np.unique(user[has_creator] * self.creators + creator[has_creator], return_inverse=True)
        likers, liked = pairs // self.creators, pairs % self.creators
        affinity = np.bincount(place, events[has_creator], len(pairs)) / total[likers]
        hidden = history.seen & (history.ping >= 0)
        seen_count = np.bincount(local[hidden], minlength=len(users))
        self.creator_affinity[likers, liked] = affinity
        self.seen[local[hidden], history.ping[hidden]] = True
        found = self._lists(users, likers, liked, affinity, seen_count)
        self.creator_affinity[likers, liked] = 0.0
        self.seen[local[hidden], history.ping[hidden]] = False
        self.category_affinity[:] = 0.0
        return found

    def _lists(self, users: Ints, likers: Ints, liked: Ints, affinity: Floats, seen_count: Ints) -> _Chosen:
        """Lists of `users`, whose affinities and seen pings stand in the tables' first rows.

        `likers`, `liked`, `affinity`: the pairs of user (place in `users`) and creator that have one.
        """
        floor = self._floor(len(users), seen_count)
        category_points = self.score.category * self.category_affinity[: len(users)]
        fond, category = np.nonzero(self.category_affinity[: len(users)])
        everybody = np.arange(len(users))
        owner = np.concatenate([everybody, fond, likers])
        adds = np.concatenate(
            [
                np.zeros(len(users)),
                category_points[fond, category],
                category_points.max(axis=1)[likers] + self.score.creator * affinity,
            ]
        )
        lists = self.sorted
        start = np.concatenate([lists.overall[everybody * 0], lists.category[category], lists.creator[liked]])
        end = np.concatenate([lists.overall[everybody * 0 + 1], lists.category[category + 1], lists.creator[liked + 1]])
        kind = np.repeat([0, 1, 2], [len(users), len(fond), len(likers)])
        reaching = lists.reaching(start, end, floor[owner] - adds - self.slack)
        by_user = np.argsort(owner, kind="stable")
        by_user = by_user[reaching[by_user] > 0]
        found = [
            self._best_of(owner[part], kind[part], start[part], reaching[part], floor)
            for part in _in_batches(by_user, owner[by_user], reaching[by_user])
        ]
        chosen = _Chosen.together([_Chosen.none(), *found])
        return replace(chosen, user=users[chosen.user])

    def _floor(self, n: int, seen_count: Ints) -> Floats:
        """A score for each of the first `n` users that K of their unseen pings reach; −∞ where there are not K."""
        everybody = np.arange(n)
        bound = self.head_base + self.score.category * self.category_affinity[:n]
        tried = min(BEST_CATEGORIES, self.categories)
        best = np.argpartition(-bound, tried - 1, axis=1)[:, :tried]
        overall = np.broadcast_to(self.best_overall, (n, len(self.best_overall)))
        pings = np.concatenate([overall, self.best_of_category[best].reshape(n, -1)], axis=1)
        floor = self._kth(everybody, pings)
        few = np.flatnonzero(np.isneginf(floor))
        # Of K pings and as many more as a user has seen, K are unseen. Users who need about as many go together.
        enough = 2 ** np.ceil(np.log2(seen_count[few] + self.lists.length)).astype(np.int64)
        for width in np.unique(enough):
            pings, needing = self.floor_pings[None, :width], few[enough == width]
            for part in np.array_split(needing, 1 + len(needing) * pings.size // CANDIDATES):
                floor[part] = self._kth(part, pings)
        return floor

    def _kth(self, users: Ints, pings: Ints) -> Floats:
        """The K-th highest score of each user's row of `pings` (−1: none) that are unseen; −∞ where there are fewer."""
        k = self.lists.length
        if pings.shape[1] < k:
            return np.full(len(users), -np.inf)
        user = users[:, None]
        score = np.where((pings < 0) | self.seen[user, pings], -np.inf, self._scores(user, pings)[0])
        return np.partition(score, pings.shape[1] - k, axis=1)[:, pings.shape[1] - k]

    def _scores(self, user: Ints, ping: Ints) -> tuple[Floats, Floats, Floats]:
        """Score, points by category and by creator: added from the left, as the parts are listed."""
        catalogue = self.catalogue
        by_category = self.score.category * self.category_affinity[user, catalogue.category[ping]]
        by_creator = self.score.creator * self.creator_affinity[user, catalogue.creator[ping]]
        score = catalogue.popularity_points[ping] + by_category + by_creator + catalogue.freshness_points[ping]
        return score, by_category, by_creator

    def _best_of(self, owner: Ints, kind: Ints, start: Ints, count: Ints, floor: Floats) -> _Chosen:
        """The lists of the users of `owner`, from the first `count` pings of each stretch of the sorted lists."""
        stretch = np.repeat(np.arange(len(owner)), count)
        offset = np.arange(len(stretch)) - np.repeat(np.cumsum(count) - count, count)
        user, ping, source = owner[stretch], self.sorted.ping[start[stretch] + offset], kind[stretch]
        # Each ping once: from its creator's list where the user has that, else from its category's, else from all.
        likes_creator = self.creator_affinity[user, self.catalogue.creator[ping]] > 0
        likes_category = self.category_affinity[user, self.catalogue.category[ping]] > 0
        own = np.where(likes_creator, 2, np.where(likes_category, 1, 0))
        kept = np.flatnonzero((source == own) & ~self.seen[user, ping])
        user, ping, likes_category, likes_creator = user[kept], ping[kept], likes_category[kept], likes_creator[kept]
        score, by_category, by_creator = self._scores(user, ping)
        found = _Chosen(user, ping, ping, score, by_category, by_creator, likes_category, likes_creator)
        found = found.take(score >= floor[user])
        found = found.take(np.lexsort((found.ping, -found.score, found.user)))
        pair = found.user * self.creators + self.catalogue.creator[found.ping]
        found = found.take(self._within_limit(pair, found.ping))
        rank = _place_in(found.user) + 1
        return replace(found, rank=rank).take(rank <= self.lists.length)


def _place_in(group: Ints) -> Ints:
    """How many of the same group stand before each."""
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    place = np.arange(len(group)) - np.repeat(first, np.diff(first, append=len(group)))
    found = np.empty(len(group), np.int64)
    found[order] = place
    return found


def _in_batches(rows: Ints, owner: Ints, count: Ints) -> Iterator[Ints]:
    """`rows`, one at least and sorted by owner, in batches of whole owners of about `CANDIDATES` in all."""
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    batch = (np.cumsum(count) - count)[first] // CANDIDATES
    starts = first[np.flatnonzero(np.diff(batch, prepend=-1))]
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        yield rows[start:end]


def _table(catalogue: _Catalogue, user_ids: pl.Series, chosen: _Chosen) -> pl.DataFrame:
    """The rows of the lists as the docstring of `recommendations` says."""
    order = np.lexsort((chosen.rank, chosen.user))
    chosen = chosen.take(order)
    ping = chosen.ping
    facts = catalogue.table.select("ping_id", "category", "main_hashtag", "creator_id")[ping]
    flags = pl.DataFrame(
        {
            "category_name": facts["category"],
            "category": chosen.likes_category,
            "creator": chosen.likes_creator,
            "popular": catalogue.popularity[ping] > POPULAR,
            "recent": catalogue.freshness[ping] > RECENT,
        }
    )
    said = (
        pl.when("category").then(pl.format("prefers cat={}", "category_name")),
        pl.when("creator").then(pl.lit("engaged this creator")),
        pl.when("popular").then(pl.lit("globally popular")),
        pl.when("recent").then(pl.lit("recent")),
    )
    reason = pl.concat_str(said, separator="; ", ignore_nulls=True)
    reasons = flags.select(reason=pl.when(reason == "").then(pl.lit("popular/new")).otherwise(reason))
    numbers = pl.DataFrame(
        {
            "rank": chosen.rank,
            "score": chosen.score,
            "popularity_points": catalogue.popularity_points[ping],
            "category_points": chosen.category_points,
            "creator_points": chosen.creator_points,
            "freshness_points": catalogue.freshness_points[ping],
        }
    )
    return pl.DataFrame(
        [
            user_ids.gather(chosen.user).alias("user_id"),
            numbers["rank"].cast(pl.Int64),
            facts["ping_id"],
            *numbers.select("score", *PARTS),
            reasons["reason"],
            *facts.select("category", "main_hashtag", "creator_id"),
        ]
    )
