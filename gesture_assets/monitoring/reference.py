"""The reference that drift is measured against: the people of the active model's training, frozen.

Belongs here: counting the values of features, the reference made of such counts, its bins. Does not
belong here: the statistics (`statistics.py`), the verdict (`drift.py`), who they are (`nights/drift.py`).

A reference keeps, by feature and day, how often each value occurs. That is all that exact statistics need: the
two-sample Kolmogorov–Smirnov and Wasserstein's distance see nothing else of the rows. Nobody can be found in it, it is
smaller than the rows (counts have few different values), and with it the rows are never needed again. Days are kept
apart so that a day is never compared with itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from gesture_assets.errors import ConfigError, ModelMismatch, listing
from gesture_assets.frames import Frame, to_polars
from gesture_assets.monitoring.statistics import Counts, Floats

Kind = Literal["number", "category", "score"]

# Beside a model's own files: people as they were when it was trained, and what it said of the rows that it was judged
# by, with outcomes.
FROZEN, JUDGED = "drift_population.parquet", "drift_outcomes.parquet"
COLUMNS_AT_ONCE = 60  # of a frame, in memory together: a million users' are half a gigabyte
BINS = 10
MOST_CATEGORIES = 50  # beyond these a category is too rare to have a bin of its own
TAIL = 0.01  # the share at either end that says nothing about how wide a distribution is
FARTHEST = 10  # sd beyond the tails: a value counts as no farther, or a single one would outweigh a thousand

SCHEMA = {
    "feature": pl.String,
    "kind": pl.String,
    "feature_date": pl.Date,
    "number": pl.Float64,
    "text": pl.String,
    "row_count": pl.Int64,
}


@dataclass(frozen=True)
class Values:
    """How often each value occurs: different `values` in ascending order, numbers or texts, and rows without one."""

    values: NDArray[Any]
    counts: Counts
    missing: int

    @property
    def filled(self) -> int:
        """Rows with a value."""
        return int(self.counts.sum())

    @property
    def rows(self) -> int:
        """All rows."""
        return self.filled + self.missing

    def quantile(self, share: float) -> float:
        """The smallest number that at least `share` of the filled rows do not exceed."""
        return float(self.values[np.searchsorted(np.cumsum(self.counts), share * self.filled)])

    @property
    def mean(self) -> float:
        """Of the numbers."""
        return float(np.average(self.values, weights=self.counts))

    def deviation(self, *, low: float = -np.inf, high: float = np.inf) -> float:
        """The standard deviation (of the population) of the numbers, those beyond `low` and `high` moved there."""
        numbers = np.clip(self.values, low, high)
        size = float(np.abs(numbers).max()) or 1.0  # squares of the largest floats are none
        parts = numbers / size
        return size * float(
            np.sqrt(np.average((parts - np.average(parts, weights=self.counts)) ** 2, weights=self.counts))
        )


@dataclass(frozen=True)
class Feature:
    """A feature of a reference: `counts` by value and day, `missing` by day. Everything else follows from them."""

    name: str
    kind: Kind
    values: NDArray[Any]
    counts: Counts
    missing: Counts

    def sample(self, days: NDArray[np.bool_] | slice = slice(None)) -> Values:
        """The values of some of the days, by default all."""
        counts = self.counts[:, days].sum(axis=1)
        return Values(self.values[counts > 0], counts[counts > 0], int(self.missing[days].sum()))

    @cached_property
    def edges(self) -> Floats:
        """The bins' upper ends, themselves included: below all that was seen, the deciles, the largest value.

        A bin beyond either end stays open. Tenths of the reference, so no extreme value makes the others share a bin.
        """
        sample = self.sample()
        if self.kind == "category" or not sample.filled:
            return np.array([])
        deciles = [sample.quantile(place / BINS) for place in range(1, BINS)]
        return np.unique([np.nextafter(self.values[0], -np.inf), *deciles, self.values[-1]])

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """The values with a bin of their own, the most frequent first, equally frequent ones by the alphabet."""
        if self.kind != "category":
            return ()
        order = np.lexsort((np.arange(len(self.values)), -self.counts.sum(axis=1)))
        return tuple(self.values[order[:MOST_CATEGORIES]].tolist())

    @cached_property
    def scale(self) -> tuple[float, float, float]:
        """(standard deviation, lowest, highest): the measure of a shift, and how far out a value counts.

        The deviation is taken with the outermost hundredths moved in, so that an outlier of the reference does not
        hide a shift; where nothing is left of it then, with all values. 0 where all are equal.
        """
        sample = self.sample()
        low, high = sample.quantile(TAIL), sample.quantile(1 - TAIL)
        deviation = sample.deviation(low=low, high=high) or sample.deviation()
        return deviation, low - FARTHEST * deviation, high + FARTHEST * deviation

    def histogram(self, sample: Values) -> Counts:
        """Rows by bin. Numbers: one bin for each edge and one beyond; categories: each and `other`; then missing."""
        if self.kind == "category":
            places = {value: place for place, value in enumerate(self.categories)}
            bins = np.array([places.get(value, len(places)) for value in sample.values], dtype=np.int64)
            size = len(places)
        else:
            bins = np.searchsorted(self.edges, sample.values)
            size = len(self.edges)
        counts = np.bincount(bins, weights=sample.counts, minlength=size + 1).astype(np.int64)
        return np.append(counts, sample.missing)


@dataclass(frozen=True)
class Reference:
    """The frozen features of a model, and the days that they were seen on."""

    days: tuple[date, ...]
    features: tuple[Feature, ...]

    def other_days(self, day: date) -> NDArray[np.bool_]:
        """Which of the days are not `day`: what it may be compared with."""
        return np.array([own_day != day for own_day in self.days], dtype=np.bool_)

    def to_frame(self) -> pl.DataFrame:
        """A row per feature, day and value: feature, kind, feature_date, number, text, row_count; for Parquet.

        `number` or `text` holds the value; both are null in the one row that counts missing values.
        """
        columns: dict[str, list[Any]] = {name: [] for name in SCHEMA}
        for feature in self.features:
            for place, day in enumerate(self.days):
                sample = feature.sample(np.arange(len(self.days)) == place)
                values, rows = [*sample.values.tolist(), None], len(sample.values) + 1
                is_text = feature.kind == "category"
                columns["feature"] += [feature.name] * rows
                columns["kind"] += [feature.kind] * rows
                columns["feature_date"] += [day] * rows
                columns["number"] += [None] * rows if is_text else values
                columns["text"] += values if is_text else [None] * rows
                columns["row_count"] += [*sample.counts.tolist(), sample.missing]
        return pl.DataFrame(columns, schema=SCHEMA)

    @classmethod
    def from_frame(cls, frame: pl.DataFrame) -> "Reference":
        """The reference that `to_frame` wrote; of each feature and day the rows stand together."""
        days = tuple(frame["feature_date"].unique().sort())
        counts = frame["row_count"].to_numpy()
        columns = {name: (frame[name].to_numpy(), frame[name].is_not_null().to_numpy()) for name in ("number", "text")}
        group = ("feature", "feature_date")
        starts = frame.select(pl.struct(group).rle_id().is_first_distinct().arg_true()).to_series()
        heads = frame[starts].select(*group, "kind").rows()
        by_feature: dict[str, dict[date, Values]] = {}
        kinds: dict[str, Kind] = {}
        for (start, end), (name, day, kind) in zip(pairwise([*starts, len(frame)]), heads, strict=True):
            values, is_filled = (column[start:end] for column in columns["text" if kind == "category" else "number"])
            found = counts[start:end]
            sample = Values(values[is_filled], found[is_filled], int(found[~is_filled].sum()))
            by_feature.setdefault(name, {})[day] = sample
            kinds[name] = kind
        return cls(
            days, tuple(_joined(name, kinds[name], [of[day] for day in days]) for name, of in by_feature.items())
        )


def freeze(days: Mapping[date, Frame], features: Sequence[str], *, is_score: bool = False) -> Reference:
    """The reference of the rows of each of `days`, whose columns are read some at a time; a day without rows is none.

    Raises `ModelMismatch` for a feature that a frame lacks, `ConfigError` for one that is neither number, truth nor
    text, or where there are no rows.
    """
    kinds: dict[str, Kind] = {}
    counted: dict[date, dict[str, Values]] = {}
    for day, frame in sorted(days.items()):
        schema = frame.collect_schema()
        kinds = {name: _kind(schema, name) for name in features}
        found = _counted(frame, kinds)
        if any(values.rows for values in found.values()):
            counted[day] = found
    if not counted:
        raise ConfigError.bad_value(
            "The reference of drift",
            expected="people whom the model could have scored up to its training",
            found="no row",
            where=f"user_features of {listing([str(day) for day in sorted(days)])}",
            next_step="gesture models list, and train anew:  gesture train",
        )
    return Reference(
        tuple(counted),
        tuple(
            _joined(name, "score" if is_score else kind, [found[name] for found in counted.values()])
            for name, kind in kinds.items()
        ),
    )


def count(frame: Frame, reference: Reference) -> dict[str, Values]:
    """How often each value of the features of `reference` occurs in `frame`, whose columns are read some at a time.

    NaN and infinities are missing, as they are to a model. Raises `ModelMismatch` where a column is missing, or is text
    where the reference has numbers, or the other way round.
    """
    schema = frame.collect_schema()  # once: the engine describes a wide table anew each time
    for feature in reference.features:
        if (_kind(schema, feature.name) == "category") != (feature.kind == "category"):
            raise ModelMismatch(
                f"Drift of {feature.name} cannot be measured.",
                expected=f"a {feature.kind}, as in the reference",
                found=str(schema[feature.name]),
                where="the frame of features given",
                next_step="give the feature the type it had in training, or train anew:  gesture train",
            )
    return _counted(frame, {feature.name: feature.kind for feature in reference.features})


def _counted(frame: Frame, kinds: Mapping[str, Kind]) -> dict[str, Values]:
    names = list(kinds)
    return {
        name: _count(table[name], kinds[name])
        for some in (names[start : start + COLUMNS_AT_ONCE] for start in range(0, len(names), COLUMNS_AT_ONCE))
        for table in [to_polars(frame.select(*some))]
        for name in some
    }


def _count(column: pl.Series, kind: Kind) -> Values:
    """The values of `column`; floats, which hardly repeat, are sorted: that is their count, in half the time."""
    if kind != "category" and column.dtype.is_float():
        numbers = column.cast(pl.Float64).to_numpy()
        filled = np.sort(numbers[np.isfinite(numbers)])
        starts = np.flatnonzero(np.diff(filled, prepend=np.nan))
        return Values(filled[starts], np.diff(starts, append=len(filled)), len(numbers) - len(filled))
    values = column.cast(pl.String if kind == "category" else pl.Float64).drop_nulls().alias("value")
    counted = values.value_counts(name="row_count").sort("value")
    counts = counted["row_count"].cast(pl.Int64).to_numpy()
    return Values(counted["value"].to_numpy(), counts, len(column) - len(values))


def _kind(schema: nw.Schema, name: str) -> Kind:
    if name not in schema:
        raise ModelMismatch(
            f"Drift cannot be measured: {name} is missing.",
            expected=f"the feature {name}",
            found=listing(schema.names()),
            where="the frame of features given",
            next_step="freeze the reference of the model that scores:  gesture models list",
        )
    dtype = schema[name]
    if any(dtype == category for category in (nw.String, nw.Boolean, nw.Categorical, nw.Enum)):
        return "category"
    if dtype.is_numeric():
        return "number"
    raise ConfigError.bad_value(
        f"The feature {name!r}",
        expected="a number, true and false, or text",
        found=dtype,
        where="the frame of features given",
        next_step="leave it out of the features whose drift is measured",
    )


def _joined(name: str, kind: Kind, by_day: Sequence[Values]) -> Feature:
    """A feature of the counts of each day."""
    values = np.unique(np.concatenate([sample.values for sample in by_day]))
    counts = np.zeros((len(values), len(by_day)), dtype=np.int64)
    for place, sample in enumerate(by_day):
        counts[np.searchsorted(values, sample.values), place] = sample.counts
    return Feature(name, kind, values, counts, np.array([sample.missing for sample in by_day], dtype=np.int64))
