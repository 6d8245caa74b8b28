"""What people do, this week against the weeks before: which events, which steps after which, how many, how many new.

Belongs here: counts by day, user and event type to rates, their tests and verdicts. Does not belong here: reading
events, the incidents somebody knows of. For sources of few events a day and of many.

The unit is the visitor-day: a user on a day, who did something or did not. Events come in bursts (a user who looks at a
product looks at ten), and a test that counts each cries wolf every night; whether somebody did it at all that day does
not. Days of one user are alike too: the variance between users, beside what independent days would have, is the design
effect (Kish, 1965), and the exact test is told that many fewer days. The window is a week, so that it holds each
weekday once; the reference is the four weeks before it, so no day is compared with itself. It moves on with the source:
an incident of more than two weeks becomes part of it, and its end is a change again.

Which step follows which is read from the reference: nearly everybody who pays gave an address that day, so "address →
payment" is a step, and the share that takes it is watched by segment.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import log
from typing import Any

import narwhals as nw
import polars as pl

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.features.user_features import NameStep, unnamed
from gesture_assets.monitoring.reference import Frame, collected
from gesture_assets.monitoring.statistics import (
    EFFECT,
    FEWEST_ROWS,
    VERDICTS,
    benjamini_hochberg,
    chi_square,
    exact_p_value,
    jensen_shannon,
    population_stability_index,
    verdict,
)

CURRENT_DAYS, REFERENCE_DAYS = 7, 28
FEWEST_THEN, FEWEST_NOW = 20, 5  # visitor-days: with fewer no difference at all would pass the exact test
# Different users of an event type that four weeks did not have: the fewest that chance brings in less than a week of a
# hundred, however rare the type is. By Poisson, e^(−4λ) × P(3 or more at λ) is 0.002 at most; for two it is 0.013.
FEWEST_OF_NEW = 3
MOST_TYPES = 40  # of event types by visitor-days; the rest is `other`
PRECONDITION = 0.9  # of the visitor-days with an event, to call another one the step before it
TWICE = 2.0  # a volume doubled or halved; one that grows by 15 % a week stays below it
NOTHING = 10.0  # the effect of a volume that came from nothing or went to it
PRODUCTS = ("x", "y", "xx", "xy", "yy")  # summed over users; x: visitor-days that count, y: those with it
EVERYBODY, OTHER, UNKNOWN = "all", "other", "unknown"

# Input: a row per day, user, segment and event type, from `of_events` or `of_daily_activity`.
COUNTED = ("day", "user_id", "segment", "event_type", "event_count")

# A row per segment (`all` is everybody) and thing watched.
EVENT_MIX = {
    PARTITION: pl.Date,
    "segment": pl.String,
    "kind": pl.String,  # type, step, new_visitors, mix or volume
    "name": pl.String,  # event type, "step → step", or the kind itself
    "n_reference": pl.Int64,  # what the rate is of: visitor-days; of mix events, of volume days
    "n_current": pl.Int64,
    "rate_reference": pl.Float64,  # share of n with it; of volume events a day; null of mix
    "rate_current": pl.Float64,
    "is_new": pl.Boolean,  # an event type that the reference does not have
    "is_vanished": pl.Boolean,  # one that the week does not have
    "design_effect": pl.Float64,  # how often an independent observation was counted, 1 at least; null of volume
    "p_value": pl.Float64,
    "q_value": pl.Float64,
    "psi": pl.Float64,  # null of volume
    "jensen_shannon": pl.Float64,  # likewise
    "effect": pl.Float64,  # in multiples of its threshold
    "verdict": pl.String,  # drift, moderate, stable or too_few_rows
    "sentence": pl.String,
}


def of_events(events: Frame, *, event_type: str = "event_name", segment: str = "device") -> Frame:
    """The columns `COUNTED` of rows like those of `raw_events`."""
    named = events.select(
        "user_id", day=nw.col("event_at").cast(nw.Date), segment=nw.col(segment), event_type=nw.col(event_type)
    )
    counted = named.group_by("day", "user_id", "segment", "event_type").agg(
        nw.len().cast(nw.Int64).alias("event_count")
    )
    return counted.select(*COUNTED)


def of_daily_activity(activity: Frame, event_types: Sequence[str]) -> Frame:
    """The columns `COUNTED` of rows of `daily_activity`, which know no segment of an event."""
    each = [
        activity.select(
            "user_id", day=nw.col("activity_date"), segment=nw.lit(EVERYBODY), event_type=nw.lit(name),
            event_count=nw.col(f"{name}_count").cast(nw.Int64),
        ).filter(nw.col("event_count") > 0)
        for name in event_types
    ]  # fmt: skip
    return nw.concat([one.select(*COUNTED) for one in each])


def event_mix(counts: Frame, night: date, *, first_days: Frame | None = None, keep: NameStep = unnamed) -> pl.DataFrame:
    """The columns `EVENT_MIX` at the end of `night`, alarms first; `counts` has the columns `COUNTED`.

    `first_days`: user_id and first_day, when each user was first seen; without it `counts` holds everything ever seen.
    Verdicts are over all rows of the night at once. `keep` works a frame out once that is used more than once.
    """
    end = night - timedelta(days=CURRENT_DAYS)
    start = end - timedelta(days=REFERENCE_DAYS)
    first_days = first_days or counts.group_by("user_id").agg(nw.col("day").min().alias("first_day"))
    named = counts.filter(nw.col("day") > start, nw.col("day") <= night).with_columns(
        segment=nw.col("segment").fill_null(UNKNOWN), is_current=nw.col("day") > end
    )
    by_segment = named.filter(nw.col("segment") != EVERYBODY)
    rows = keep("rows", nw.concat([by_segment, named.with_columns(segment=nw.lit(EVERYBODY))]))
    types = _types(rows)
    if not types:
        return pl.DataFrame(schema=EVENT_MIX)
    visits = keep("visits", _visitor_days(rows, types, first_days))
    steps = _steps(visits, types)
    # A source's first weeks have no reference of a volume, every event is new in them, and for longer every visitor.
    age = (start - _first(first_days)).days + 1
    found = [*_rates(visits, types, steps), *_volumes(rows)]
    for row in found:
        row["is_enough"] &= age >= {"volume": 0, "new_visitors": REFERENCE_DAYS}.get(row["kind"], -REFERENCE_DAYS)
    q_values = benjamini_hochberg([row["p_value"] if row["is_enough"] else None for row in found])
    for row, q_value in zip(found, q_values, strict=True):
        row |= {PARTITION: night, "q_value": q_value}
        row["verdict"] = verdict(row["effect"], q_value, is_enough=row.pop("is_enough"))
        is_first_seen = row["is_new"] and row["segment"] == EVERYBODY and row.get("who", 0) >= FEWEST_OF_NEW
        if is_first_seen and age >= 0 and row["verdict"] == "stable":
            row["verdict"] = "moderate"
        row["sentence"] = _sentence(row)
    found.sort(key=lambda row: (VERDICTS.index(row["verdict"]), -row["effect"], row["segment"], row["name"]))
    return pl.DataFrame(found, schema=EVENT_MIX)


def _types(rows: Frame) -> list[str]:
    """The event types to watch, the most frequent first."""
    by_type = collected(rows.group_by("event_type").agg(nw.len().alias("rows")))
    names = by_type.sort(["rows", "event_type"], descending=[True, False])["event_type"].to_list()
    return names if len(names) <= MOST_TYPES else [*names[: MOST_TYPES - 1], OTHER]


def _visitor_days(rows: Frame, types: Sequence[str], first_days: Frame) -> Frame:
    """A row per segment, user and day: `n0`, `n1`, … events of each type, `is_new` and `visit` (1)."""
    columns = ("segment", "user_id", "day", "is_current")
    is_type = {
        name: nw.col("event_type") == name if name != OTHER else ~nw.col("event_type").is_in(types) for name in types
    }
    wide = rows.group_by(*columns).agg(
        nw.when(chosen).then(nw.col("event_count")).otherwise(nw.lit(0)).sum().cast(nw.Int32).alias(f"n{place}")
        for place, chosen in enumerate(is_type.values())
    )
    return wide.join(first_days, on="user_id", how="left").with_columns(
        is_new=nw.when(nw.col("day") == nw.col("first_day")).then(nw.lit(1)).otherwise(nw.lit(0)), visit=nw.lit(1)
    )


def _steps(visits: Frame, types: Sequence[str]) -> list[tuple[int, int]]:
    """(before, after): for each type the rarest one that nearly always goes with it and is more frequent."""
    pairs = [(one, other) for one in range(len(types)) for other in range(one, len(types))]
    everybody = visits.filter(nw.col("segment") == EVERYBODY, ~nw.col("is_current"))
    together = collected(everybody.select(
        ((nw.col(f"n{one}") > 0) & (nw.col(f"n{other}") > 0)).cast(nw.Int32).sum().cast(nw.Int64)
        .alias(f"{one}_{other}")
        for one, other in pairs
    )).row(0, named=True)  # fmt: skip
    days = [together[f"{one}_{one}"] or 0 for one in range(len(types))]
    steps = []
    for after, with_it in enumerate(days):
        before = [
            (days[one], one) for one in range(len(types))
            if days[one] > with_it >= FEWEST_THEN
            and together[f"{min(one, after)}_{max(one, after)}"] >= PRECONDITION * with_it
        ]  # fmt: skip
        if before:
            steps.append((min(before)[1], after))
    return steps


def _rates(visits: Frame, types: Sequence[str], steps: Sequence[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """The rows of types, steps, new visitors and the mix, of each segment."""
    one, did = nw.col("visit"), [nw.when(nw.col(f"n{place}") > 0).then(1).otherwise(0) for place in range(len(types))]
    events = nw.sum_horizontal(*(nw.col(f"n{place}") for place in range(len(types))))
    watched: dict[tuple[str, str], tuple[nw.Expr, nw.Expr]] = {
        **{("type", name): (did[place], one) for place, name in enumerate(types)},
        **{("step", f"{types[a]} → {types[b]}"): (did[a] * did[b], did[a]) for a, b in steps},
        ("new_visitors", "new_visitors"): (nw.col("is_new"), one),
        **{("mix", name): (nw.col(f"n{place}"), events) for place, name in enumerate(types)},
    }
    by_user = visits.group_by("segment", "user_id", "is_current").agg(
        expression.sum().cast(nw.Float64).alias(f"{letter}{place}")
        for place, pair in enumerate(watched.values()) for letter, expression in zip("yx", pair, strict=True)
    )  # fmt: skip
    sums = by_user.group_by("segment", "is_current").agg(
        nw.len().alias("users"),
        *((nw.col(f"y{place}") > 0).sum().cast(nw.Int64).alias(f"who{place}") for place in range(len(watched))),
        *(_product(letters, place).sum().alias(f"{letters}{place}")
          for place in range(len(watched)) for letters in PRODUCTS),
    )  # fmt: skip
    table = {(row["segment"], row["is_current"]): row for row in collected(sums).to_dicts()}
    nothing = {"users": 0, **{f"{letters}{place}": 0.0 for place in range(len(watched)) for letters in PRODUCTS}}
    for segment in sorted({segment for segment, _ in table}):
        then, now = (table.get((segment, is_current), nothing) for is_current in (False, True))
        measured = {key: _Rate.of(then, now, place) for place, key in enumerate(watched)}
        for (kind, name), rate in measured.items():
            if kind != "mix":
                yield {"segment": segment, "kind": kind, "name": name, **rate.row(is_type=kind == "type")}
        yield {"segment": segment, "kind": "mix", "name": "mix",
               **_mix([rate for (kind, _), rate in measured.items() if kind == "mix"])}  # fmt: skip


@dataclass(frozen=True)
class _Rate:
    """Sums over users of y of x, each (then, now): a user's visitor-days with something, of those that count."""

    x: tuple[float, float]
    y: tuple[float, float]
    xx: tuple[float, float]
    xy: tuple[float, float]
    yy: tuple[float, float]
    users: int
    who: int  # users with y in the current window

    @classmethod
    def of(cls, then: Mapping[str, Any], now: Mapping[str, Any], place: int) -> "_Rate":
        """From the rows of sums of both windows."""
        x, y, xx, xy, yy = ((then[f"{letters}{place}"], now[f"{letters}{place}"]) for letters in PRODUCTS)
        return cls(x, y, xx, xy, yy, then["users"] + now["users"], now.get(f"who{place}", 0))

    @property
    def share(self) -> float:
        """Over both windows together."""
        return sum(self.y) / sum(self.x) if sum(self.x) else 0.0

    @property
    def design_effect(self) -> float:
        """The variance of the share between users by that of as many independent observations, 1 at least."""
        p = self.share
        independent = p * (1 - p) * sum(self.x)
        if self.users < 2 or not independent:
            return 1.0
        between = sum(self.yy) - 2 * p * sum(self.xy) + p * p * sum(self.xx)
        return max(1.0, between / independent * self.users / (self.users - 1))

    def row(self, *, is_type: bool) -> dict[str, Any]:
        """The test of the two shares, each user's days counting for as many as they are worth."""
        times = self.design_effect
        rows_then, rows = (round(x / times) for x in self.x)
        yes_then, yes = (round(y / times) for y in self.y)
        both = [(y, x - y) for x, y in zip(self.x, self.y, strict=True)]
        compared = min(self.x) > 0
        psi = population_stability_index(*both) if compared else None
        return {
            "n_reference": int(self.x[0]), "n_current": int(self.x[1]),
            "rate_reference": self.y[0] / self.x[0] if self.x[0] else None,
            "rate_current": self.y[1] / self.x[1] if self.x[1] else None,
            "is_new": is_type and self.y[1] > 0 == self.y[0], "is_vanished": is_type and self.y[0] > 0 == self.y[1],
            "design_effect": times, "p_value": exact_p_value(yes, rows, yes_then, rows_then),
            "psi": psi, "jensen_shannon": jensen_shannon(*both) if compared else None,
            "effect": (psi or 0.0) / EFFECT, "who": self.who,
            "is_enough": rows_then >= FEWEST_THEN and rows >= FEWEST_NOW,
        }  # fmt: skip


def _mix(rates: Sequence[_Rate]) -> dict[str, Any]:
    """Which events, of all events: χ² by the types' mean design effect (Rao and Scott, 1981)."""
    weights = [(1 - rate.share) for rate in rates]
    times = sum(w * rate.design_effect for w, rate in zip(weights, rates, strict=True)) / (sum(weights) or 1.0)
    both = [[rate.y[side] for rate in rates] for side in (0, 1)]
    compared = all(sum(one) for one in both)
    psi = population_stability_index(*both) if compared else None
    return {
        "n_reference": int(sum(both[0])), "n_current": int(sum(both[1])), "is_new": False, "is_vanished": False,
        "design_effect": max(times, 1.0), "p_value": chi_square(*both, design_effect=max(times, 1.0))[1],
        "psi": psi, "jensen_shannon": jensen_shannon(*both) if compared else None,
        "effect": (psi or 0.0) / EFFECT,
        "is_enough": min(sum(one) for one in both) >= FEWEST_ROWS * max(times, 1.0),
    }  # fmt: skip


def _volumes(rows: Frame) -> Iterator[dict[str, Any]]:
    """Events a day by segment, of which the days differ among themselves: Welch's test of the two windows' days."""
    from scipy.stats import ttest_ind_from_stats

    days = collected(rows.group_by("segment", "is_current", "day").agg(nw.col("event_count").sum().cast(nw.Float64)))
    for (segment,), part in sorted(days.partition_by("segment", as_dict=True).items()):
        windows = []
        for is_current, length in ((False, REFERENCE_DAYS), (True, CURRENT_DAYS)):
            found = part.filter(pl.col("is_current") == is_current)["event_count"]
            # A day without a row is a day without events.
            windows.append(pl.concat([found, pl.Series([0.0] * (length - len(found)), dtype=pl.Float64)]))
        (mean_then, sd_then), (mean, sd) = ((float(one.mean() or 0), float(one.std() or 0)) for one in windows)
        varies = bool(sd_then or sd)
        welch = ttest_ind_from_stats(mean, sd, CURRENT_DAYS, mean_then, sd_then, REFERENCE_DAYS, equal_var=False)
        ratio = mean / mean_then if mean and mean_then else None
        yield {
            "segment": segment, "kind": "volume", "name": "volume", "n_reference": REFERENCE_DAYS,
            "n_current": CURRENT_DAYS, "rate_reference": mean_then, "rate_current": mean, "is_new": not mean_then,
            "is_vanished": not mean, "p_value": float(welch.pvalue) if varies else float(mean == mean_then),
            "effect": abs(log(ratio)) / log(TWICE) if ratio else NOTHING, "is_enough": True,
        }  # fmt: skip


def _product(letters: str, place: int) -> nw.Expr:
    factors = [nw.col(f"{letter}{place}") for letter in letters]
    return factors[0] if len(factors) == 1 else factors[0] * factors[1]


def _first(first_days: Frame) -> date:
    return collected(first_days.select(nw.col("first_day").min()))["first_day"][0] or date.max


def _sentence(row: dict[str, Any]) -> str:
    """The row in words, for a reader who has only this."""
    who = "everybody" if row["segment"] == EVERYBODY else row["segment"]
    what = (
        f"{who}, {row['name'].replace('_', ' ') if row['kind'] in ('new_visitors', 'mix', 'volume') else row['name']}"
    )
    if row["verdict"] == "too_few_rows":
        return f"{what}: too little to tell ({row['n_current']} tonight, {row['n_reference']} before)"
    if row["kind"] == "mix":
        said = f"PSI {row['psi']:.2f}"
    elif row["kind"] == "volume":
        said = f"{row['rate_reference']:.1f} → {row['rate_current']:.1f} events a day"
    else:
        said = f"{row['rate_reference']:.1%} → {row['rate_current']:.1%} of {row['n_current']} visitor-days"
    state = "new" if row["is_new"] else "vanished" if row["is_vanished"] else row["verdict"]
    return f"{what}: {state if row['verdict'] != 'stable' else 'stable'}; {said}, q {row['q_value']:.2g}"
