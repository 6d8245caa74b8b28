"""What was known when a ping was shown: counts of the days up to an as-of day, and none of the day itself.

Belongs here: impressions from events, features of pairs of user and ping as of the end of a day, and the sentinel that
finds a feature which knows more. Does not belong here: what is learned from them (`ranker.py`), lists by the
heuristic (`recommend.py`).

Days are counted one after the other, each once, whatever the number of as-of days; a day counts half for every
`HALF_LIFE_DAYS` since. A rate is drawn to a wider one: that of a user with a category, creator, band of durations or
ping to the user's, any other to everybody's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from gesture_assets.errors import TrainingRefused, listing
from gesture_assets.frames import Frame, to_polars
from gesture_assets.pings.engagement import points
from gesture_assets.pings.evaluation import gain_of_event
from gesture_assets.pings.recommend import UNKNOWN_AGE
from gesture_assets.pings.weights import ScoreWeights

HALF_LIFE_DAYS = 10.0
LATELY_DAYS = 1.0  # the half-life of what comes and goes
PRIOR = 4.0  # exposures at the wider rate that a rate is given
OWN_PRIOR = 3.0  # the same, of one user: few have been shown more than ten pings
MOST_WATCHED = 5.0  # share watched, from which on more is a loop that nobody looks at
BANDS = (7.0, 12.0, 20.0, 35.0, 60.0, 100.0, 160.0, 240.0)  # seconds between bands of durations

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
KEY_COLUMNS = ("user_id", "ping_id", "creator_id", "category", "band")
Features = Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True)
class _Key:
    """What is counted together: columns of an impression, and the key whose rate it is drawn to."""

    columns: tuple[str, ...]
    wider: str = "everybody"
    prior: float = PRIOR


KEYS = {
    "ping": _Key(("ping_id",)),
    "creator": _Key(("creator_id",)),
    "category": _Key(("category",)),
    "band": _Key(("band",)),
    "user": _Key(("user_id",), prior=OWN_PRIOR),
    "user_creator": _Key(("user_id", "creator_id"), "user", OWN_PRIOR),
    "user_category": _Key(("user_id", "category"), "user", OWN_PRIOR),
    "user_band": _Key(("user_id", "band"), "user", OWN_PRIOR),
    "user_ping": _Key(("user_id", "ping_id"), "user", OWN_PRIOR),
}
FEATURES = (
    *(f"{key}_{what}" for key in KEYS for what in ("exposures", "hit_rate", "watched")),
    *("ping_exposures_lately", "ping_hits_lately"),
    *("popularity", "category_affinity", "creator_affinity", "freshness", "heuristic", "duration_sec"),
)
# The same for all pings that a user is shown as of a day: these can rank nothing by themselves.
CONSTANT_PER_USER = ("user_exposures", "user_hit_rate", "user_watched")


def impressions(scored: Frame) -> pl.DataFrame:
    """A row per user, ping and `day` of `scored` (by `event_scores`), sorted by them: what came of having been shown.

    `gain`: the most that an event of that day did (`graded_gains`); `is_good`: whether it did anything; `watched`: the
    share watched in the longest view, at most 5; `points` and `event_count`: what the heuristic counts.
    """
    rows = (
        scored.with_columns(day=nw.col("event_at").dt.date(), gain=gain_of_event())
        .group_by("user_id", "ping_id", "day")
        .agg(
            nw.col("gain").max(),
            nw.col("watch_time_ratio").max().alias("watched"),
            nw.col("event_units").cast(nw.Int128).sum().alias("units"),
            nw.len().cast(nw.Int64).alias("event_count"),
        )
    )
    table = to_polars(rows.with_columns(points=points("units")).drop("units"))
    watched = pl.col("watched").fill_null(0.0).clip(0.0, MOST_WATCHED)
    return table.with_columns(watched, is_good=pl.col("gain") > 0).sort("user_id", "ping_id", "day")


def known_as_of(rows: pl.DataFrame, history: pl.DataFrame, pings: pl.DataFrame, weights: ScoreWeights) -> pl.DataFrame:
    """`rows` (`user_id`, `ping_id`, `as_of`, whatever else), in their order, with `FEATURES`.

    Only impressions of `history` (by `impressions`) up to the end of the day `as_of` count. A rate of nothing is the
    wider one. `popularity`, the affinities, `freshness` and `heuristic` are those of `recommendations` as of then, over
    everything there is; of a ping that the catalogue does not have, category, creator and duration are unknown. Nothing
    depends on the order of rows, nor on which others are asked for.
    """
    past = _with_facts(history.sort("day", "user_id", "ping_id"), pings)
    asked = _with_facts(rows.select("user_id", "ping_id", "as_of"), pings)
    counts = _Counts(past, asked)
    shown = [np.ones(past.height), past["is_good"].cast(pl.Float64).to_numpy(), past["watched"].to_numpy()]
    found: dict[str, Floats] = {}
    exposures, hits, watches = counts.of((), shown, half_life=HALF_LIFE_DAYS)
    rates = {"everybody": (_ratio(hits, exposures), _ratio(watches, exposures))}
    for name, key in KEYS.items():
        exposures, hits, watches = counts.of(key.columns, shown, half_life=HALF_LIFE_DAYS)
        hit_rate, watch_rate = (
            (total + key.prior * wider) / (exposures + key.prior)
            for total, wider in zip((hits, watches), rates[key.wider], strict=True)
        )
        rates[name] = (hit_rate, watch_rate)
        found |= {f"{name}_exposures": exposures, f"{name}_hit_rate": hit_rate, f"{name}_watched": watch_rate}
    lately = counts.of(("ping_id",), shown[:2], half_life=LATELY_DAYS)
    found |= dict(zip(("ping_exposures_lately", "ping_hits_lately"), lately, strict=True))
    found |= _heuristic(counts, past, asked, pings, weights)
    found["duration_sec"] = asked["duration_sec"].fill_null(np.nan).to_numpy()
    return rows.hstack(pl.DataFrame(found).select(FEATURES).get_columns())


def refuse_what_is_known_too_late(rows: pl.DataFrame, history: pl.DataFrame, features: Features) -> None:
    """Raise `TrainingRefused` where a feature of `rows` changes when the days after its `as_of` have not happened.

    `features(rows, history)` makes them, such as `known_as_of`. Each as-of day is asked again with its own past alone.
    """
    whole = features(rows, history)
    names = [name for name in whole.columns if name not in rows.columns]
    for (as_of,), part in whole.partition_by("as_of", as_dict=True, maintain_order=True).items():
        alone = features(part.select(rows.columns), history.filter(pl.col("day") <= as_of))
        if late := [name for name in names if not alone[name].equals(part[name])]:
            raise TrainingRefused(
                "A ranker cannot be trained, nor judged.",
                expected=f"features as of {as_of} that are the same without what happened later",
                found=f"{listing(late)} of {part.height} impressions",
                where="the features of impressions",
                next_step="count up to the end of the as-of day:  known_as_of",
            )


def shown_after(history: pl.DataFrame, *, days: int = 1) -> pl.DataFrame:
    """Impressions with `as_of`, the day so many before theirs; without those before which nothing was known."""
    first = history["day"].min()
    rows = history.with_columns(as_of=pl.col("day").dt.offset_by(f"-{days}d"))
    return rows.filter(pl.col("as_of") >= first)


class _Counts:
    """Sums over the past, up to the as-of day of each row that is asked for."""

    def __init__(self, past: pl.DataFrame, asked: pl.DataFrame) -> None:
        self.size = past.height
        self.codes: dict[str, Ints] = {}
        self.keys = pl.concat([frame.select(KEY_COLUMNS) for frame in (past, asked)])
        days, as_of = past["day"].cast(pl.Int32).to_numpy(), asked["as_of"].cast(pl.Int32).to_numpy()
        both = np.concatenate([days, as_of])
        self.days = range(int(both.min()), int(both.max()) + 1) if len(both) else range(0)
        self.ends = np.searchsorted(days, np.arange(self.days.start, self.days.stop + 1))
        order = np.argsort(as_of, kind="stable")
        starts = np.searchsorted(as_of[order], np.arange(self.days.start, self.days.stop + 1))
        self.asked = [order[start:end] for start, end in pairwise(starts)]

    def of(self, columns: Sequence[str], values: Sequence[Floats], *, half_life: float = np.inf) -> Floats:
        """A row for each of `values` (one a row of the past): its sum over what has the same `columns`.

        A day counts half for every `half_life` days up to the as-of day.
        """
        codes = self._codes(columns)
        past, asked = codes[: self.size], codes[self.size :]
        fade = 0.5 ** (1 / half_life)
        n = int(codes.max(initial=0)) + 1
        sums, found = np.zeros((len(values), n)), np.zeros((len(values), len(asked)))
        for place, (start, end) in enumerate(pairwise(self.ends)):
            sums *= fade
            for row, value in zip(sums, values, strict=True):
                row += np.bincount(past[start:end], value[start:end], n)
            wanted = self.asked[place]
            found[:, wanted] = sums[:, asked[wanted]]
        return found

    def _codes(self, columns: Sequence[str]) -> Ints:
        """Equal numbers, from 0, for rows that are equal in `columns`."""
        codes = np.zeros(self.keys.height, np.int64)
        for column in columns:
            own = self.codes.get(column)
            if own is None:
                own = self.keys[column].rank("dense").fill_null(0).cast(pl.Int64).to_numpy()
                self.codes[column] = own
            codes = codes * (int(own.max(initial=0)) + 1) + own
        return pl.Series(codes).rank("dense").cast(pl.Int64).to_numpy() - 1 if len(columns) > 1 else codes


def _with_facts(rows: pl.DataFrame, pings: pl.DataFrame) -> pl.DataFrame:
    """`rows` in their order, with what the catalogue says of the ping."""
    seconds = pl.when(pl.col("duration_sec") > 0).then("duration_sec")
    band = pl.when(seconds.is_not_null()).then(pl.sum_horizontal(seconds >= bound for bound in BANDS))
    facts = pings.select("ping_id", "category", "creator_id", "created_at", duration_sec=seconds, band=band)
    return rows.join(facts, on="ping_id", how="left", maintain_order="left")


def _heuristic(
    counts: _Counts, past: pl.DataFrame, asked: pl.DataFrame, pings: pl.DataFrame, weights: ScoreWeights
) -> dict[str, Floats]:
    """The heuristic's score of each row that is asked for, and what it is made of."""
    events = past["event_count"].cast(pl.Float64).to_numpy()
    totals = counts.of(("user_id",), [events])[0]
    shares = {
        name: np.where(
            asked[column].is_not_null().to_numpy(),
            _ratio(counts.of(("user_id", column), [events])[0], totals),
            0.0,
        )
        for name, column in (("category_affinity", "category"), ("creator_affinity", "creator_id"))
    }
    end = pl.col("as_of").cast(pl.Datetime("us")) + pl.duration(days=1)
    days = (end - pl.col("created_at").cast(pl.Datetime("us"))).dt.total_days().clip(lower_bound=0)
    age = asked.select(days.fill_null(UNKNOWN_AGE).cast(pl.Float64)).to_series().to_numpy()
    parts = {"popularity": _popularity(past, asked, pings), **shares, "freshness": 1.0 / (1.0 + age)}
    weighed = weights.popularity, weights.category, weights.creator, weights.freshness
    score = sum(weight * part for weight, part in zip(weighed, parts.values(), strict=True))
    return {**parts, "heuristic": np.asarray(score, np.float64)}


def _popularity(past: pl.DataFrame, asked: pl.DataFrame, pings: pl.DataFrame) -> Floats:
    """Points of each row's ping as of its day, from 0, the least of the catalogue then, to 1, the most."""
    everything = pings.select(user_id=pl.lit(""), ping_id="ping_id").join(asked.select("as_of").unique(), how="cross")
    catalogue = _with_facts(everything, pings)
    points = _Counts(past, catalogue).of(("ping_id",), [past["points"].to_numpy()])[0]
    total = pl.col("total")
    least, most = total.min().over("as_of"), total.max().over("as_of")
    normal = catalogue.select("ping_id", "as_of").with_columns(total=pl.Series(points, dtype=pl.Float64))
    normal = normal.select("ping_id", "as_of", popularity=pl.when(most > least).then((total - least) / (most - least)))
    found = asked.join(normal, on=["ping_id", "as_of"], how="left", maintain_order="left")
    return found["popularity"].fill_null(0.0).to_numpy()


def _ratio(above: Floats, below: Floats) -> Floats:
    """0 of nothing."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
