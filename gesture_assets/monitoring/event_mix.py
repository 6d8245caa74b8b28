"""What people do, this week against the weeks before: which events, which steps after which, how many, how many new.

Belongs here: counts by day, user and event type to rates, their tests and verdicts. Does not belong here: reading
events, the incidents somebody knows of. For sources of few events a day and of many.

The unit is the visitor-day: a user on a day, who did something or did not. Events come in bursts (a user who looks at a
product looks at ten), and a test that counts each cries wolf every night; whether somebody did it at all that day does
not. Days of one user are alike too: the variance between users, beside what independent days would have, is the design
effect (Kish, 1965), and the exact test is told that many fewer days. The window is a week, so that it holds each
weekday once; the reference is the four weeks before it, so no day is compared with itself. It moves on with the source:
an incident of more than two weeks becomes part of it, and its end is a change again. Of very many visitors some are
drawn by their id, nearly the same each night: a change that matters is as plain in them. Volumes count all.

Which step follows which is read from the reference: nearly everybody who pays gave an address that day, so "address →
payment" is a step, and the share that takes it is watched by segment.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import log
from typing import Any, cast

import narwhals as nw
import polars as pl

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.features.user_features import NameStep, unnamed
from gesture_assets.frames import Frame, concat, to_polars
from gesture_assets.models.splits import PRIME, draws
from gesture_assets.monitoring.statistics import (
    EFFECT,
    FEWEST_ROWS,
    VERDICTS,
    Moments,
    benjamini_hochberg,
    chi_square,
    exact_p_values,
    jensen_shannon,
    population_stability_index,
    verdict,
    welch_p_value,
)

CURRENT_DAYS, REFERENCE_DAYS = 7, 28
FEWEST_THEN, FEWEST_NOW = 20, 5  # visitor-days: with fewer no difference at all would pass the exact test
# Different users of an event type that four weeks did not have: the fewest that chance brings in less than a week of a
# hundred, however rare the type is. By Poisson, e^(−4λ) × P(3 or more at λ) is 0.002 at most; for two it is 0.013.
FEWEST_OF_NEW = 3
MOST_VISITORS = 50_000  # whose days are compared: with these a share of 1 % is known to a twentieth of itself
MOST_TYPES = 40  # of event types by visitor-days; the rest is `other`
PRECONDITION = 0.9  # of the visitor-days with an event, to call another one the step before it
TWICE = 2.0  # a volume doubled or halved; one that grows by 15 % a week stays below it
NOTHING = 10.0  # the effect of a volume that came from nothing or went to it
EVERYBODY, OTHER, UNKNOWN = "all", "other", "unknown"
NEW_VISITORS, EVENTS = "new_visitors", "events"
EVERY_VISIT, EVERY_EVENT = (NEW_VISITORS, NEW_VISITORS), (EVENTS, EVENTS)  # kind and name of what has all users
USER = ("segment", "user_id", "is_current")
VISIT = (*USER, "day")

ThenNow = tuple[float, float]  # in the reference, in the current window
Sums = Mapping[tuple[str, bool, str, str], Mapping[str, Any]]

# Input: a row per day, user, segment and event type, from `of_events`.
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


def of_events(
    events: Frame, *, event_type: str = "event_name", segment: str = "device", keep: Sequence[str] = ()
) -> Frame:
    """The columns `COUNTED` of rows like those of `raw_events`, for each value of the columns `keep` before them."""
    named = events.select(
        *keep, "user_id", day=nw.col("event_at").cast(nw.Date), segment=nw.col(segment), event_type=nw.col(event_type)
    )
    counted = named.group_by(*keep, *COUNTED[:-1]).agg(nw.len().cast(nw.Int64).alias("event_count"))
    return counted.select(*keep, *COUNTED)


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
    types = _types(named)
    if not types:
        return pl.DataFrame(schema=EVENT_MIX)
    did = keep("did", _actions(_sampled(named, keep), types))
    steps = _steps(did, types)
    # Where the weeks before were not seen whole, people would seem to begin what they did all along. To tell a new
    # visitor from an old one takes as long again.
    age = (start - _first_day(first_days)).days + 1
    has_reference, has_known_visitors = age >= 0, age >= REFERENCE_DAYS
    rows = [*_rates(_sums_by_user(did, first_days, steps, keep), types, steps), *_volumes(named)]
    tested = [row for row in rows if "tested" in row]
    for row, p_value in zip(tested, exact_p_values([row["tested"] for row in tested]), strict=True):
        row["p_value"] = p_value
    for row in rows:
        row["is_enough"] &= has_known_visitors if row["kind"] == "new_visitors" else has_reference
    q_values = benjamini_hochberg([row["p_value"] if row["is_enough"] else None for row in rows])
    for row, q_value in zip(rows, q_values, strict=True):
        row |= {PARTITION: night, "q_value": q_value}
        row["verdict"] = verdict(row["effect"], q_value, is_enough=row.pop("is_enough"))
        is_first_seen = row["is_new"] and row["segment"] == EVERYBODY and row.get("who", 0) >= FEWEST_OF_NEW
        if is_first_seen and row["verdict"] == "stable":
            row["verdict"] = "moderate"
        row["sentence"] = _sentence(row)
    rows.sort(key=lambda row: (VERDICTS.index(row["verdict"]), -row["effect"], row["segment"], row["name"]))
    return pl.DataFrame(rows, schema=EVENT_MIX)


def _types(named: Frame) -> list[str]:
    """The event types to watch, the most frequent first."""
    by_type = to_polars(named.group_by("event_type").agg(nw.len().alias("rows")))
    names = by_type.sort(["rows", "event_type"], descending=[True, False])["event_type"].to_list()
    return names if len(names) <= MOST_TYPES else [*names[: MOST_TYPES - 1], OTHER]


def _sampled(named: Frame, keep: NameStep) -> Frame:
    """`named`, of no more than about `MOST_VISITORS` visitors."""
    visitors = keep("visitors", named.select("user_id").unique())
    count = to_polars(visitors.select(nw.len().alias("visitors")))["visitors"][0]
    if count <= MOST_VISITORS:
        return named
    drawn = draws(visitors, column="user_id").filter(nw.col("draw") < MOST_VISITORS * PRIME // count)
    return named.join(drawn.select("user_id"), on="user_id", how="semi")


def _actions(named: Frame, types: Sequence[str]) -> Frame:
    """What visitors did: a row per segment (everybody is one), user, day and event type, with its `events`."""
    is_watched = nw.col("event_type").is_in(types)
    rows = named.with_columns(event_type=nw.when(is_watched).then(nw.col("event_type")).otherwise(nw.lit(OTHER)))
    by_segment = rows.filter(nw.col("segment") != EVERYBODY)
    both = nw.concat([by_segment, rows.with_columns(segment=nw.lit(EVERYBODY))])
    return both.group_by(*VISIT, "event_type").agg(nw.col("event_count").sum().cast(nw.Float64).alias("events"))


def _steps(did: Frame, types: Sequence[str]) -> dict[str, str]:
    """Type -> the step before it: the rarest type that nearly always goes with it and is more frequent."""
    reference = did.filter(nw.col("segment") == EVERYBODY, ~nw.col("is_current")).select("user_id", "day", "event_type")
    pairs = reference.join(reference.rename({"event_type": "other"}), on=["user_id", "day"], how="inner")
    counted = to_polars(pairs.group_by("event_type", "other").agg(nw.len().cast(nw.Int64).alias("days")))
    days_together = {
        (event_type, second_type): days
        for event_type, second_type, days in counted.select("event_type", "other", "days").rows()
    }
    days = {name: days_together.get((name, name), 0) for name in types}
    steps: dict[str, str] = {}
    for after, with_it in days.items():
        before = [
            name
            for name in types
            if days[name] > with_it >= FEWEST_THEN and days_together.get((name, after), 0) >= PRECONDITION * with_it
        ]
        if before:
            steps[after] = min(before, key=days.__getitem__)
    return steps


def _sums_by_user(did: Frame, first_days: Frame, steps: Mapping[str, str], keep: NameStep) -> Sums:
    """Sums over users of x and y, see `_Rate`, by segment, window and what is watched (kind and name).

    Only of users who did it, because most did few of the types; of all users are EVERY_VISIT and EVERY_EVENT.
    """
    is_new = nw.when(nw.col("day") == nw.col("first_day")).then(nw.lit(1)).otherwise(nw.lit(0))
    visits = did.group_by(*VISIT).agg(nw.col("events").sum()).join(first_days, on="user_id", how="left")
    users = keep(
        "users",
        visits.with_columns(is_new=is_new)
        .group_by(*USER)
        .agg(nw.len().cast(nw.Float64).alias("days"), nw.col("events").sum(), nw.col("is_new").sum().cast(nw.Float64)),
    )
    by_type = keep(
        "by_type",
        did.group_by(*USER, "event_type")
        .agg(nw.len().cast(nw.Float64).alias("days_with"), nw.col("events").sum().alias("events_with"))
        .join(users, on=list(USER), how="inner"),
    )
    before = did.select(*VISIT, before="event_type")
    after = did.filter(nw.col("event_type").is_in(list(steps))).with_columns(
        before=nw.col("event_type").replace_strict(steps, default=None, return_dtype=nw.String)
    )
    taken = (
        after.join(before, on=[*VISIT, "before"], how="inner")
        .group_by(*USER, "event_type", "before")
        .agg(nw.len().cast(nw.Float64).alias("taken"))
        .join(by_type.select(*USER, "days_with", before="event_type"), on=[*USER, "before"], how="inner")
    )
    watched = (
        (users, NEW_VISITORS, nw.lit(NEW_VISITORS), "days", "is_new"),
        (users, EVENTS, nw.lit(EVENTS), "events", "events"),
        (by_type, "type", nw.col("event_type"), "days", "days_with"),
        (by_type, "mix", nw.col("event_type"), "events", "events_with"),
        (taken, "step", nw.col("event_type"), "days_with", "taken"),
    )
    x, y = nw.col("x"), nw.col("y")
    sums = (
        concat(
            [
                frame.select("segment", "is_current", kind=nw.lit(kind), name=name, x=nw.col(base), y=nw.col(part))
                for frame, kind, name, base, part in watched
            ]
        )
        .group_by("segment", "is_current", "kind", "name")
        .agg(
            nw.len().alias("users"),
            (y > 0).sum().cast(nw.Int64).alias("who"),
            x.sum(),
            y.sum(),
            (x * x).sum().alias("xx"),
            (x * y).sum().alias("xy"),
            (y * y).sum().alias("yy"),
        )
    )
    rows = to_polars(sums).rows(named=True)
    return {(row["segment"], row["is_current"], row["kind"], row["name"]): row for row in rows}


def _rates(sums: Sums, types: Sequence[str], steps: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The rows of types, steps, new visitors and the mix, of each segment."""
    for segment in sorted({segment for segment, *_ in sums}):

        def sums_of(watched: tuple[str, str], letters: str, *, segment: str = segment) -> ThenNow:
            then, now = (sums.get((segment, is_current, *watched), {}).get(letters, 0) for is_current in (False, True))
            return then, now

        def rate(watched: tuple[str, str], x: ThenNow, xx: ThenNow) -> _Rate:
            users, who = int(sum(sums_of(EVERY_VISIT, "users"))), int(sums_of(watched, "who")[1])
            return _Rate(x, sums_of(watched, "y"), xx, sums_of(watched, "xy"), sums_of(watched, "yy"), users, who)

        days = sums_of(EVERY_VISIT, "x"), sums_of(EVERY_VISIT, "xx")
        for name in types:
            yield {"segment": segment, "kind": "type", "name": name, **rate(("type", name), *days).row(is_type=True)}
        for after, before in steps.items():
            step = rate(("step", after), sums_of(("type", before), "y"), sums_of(("type", before), "yy")).row(
                is_type=False
            )
            yield {"segment": segment, "kind": "step", "name": f"{before} → {after}", **step}
        new_visitors = rate(EVERY_VISIT, *days).row(is_type=False)
        yield {"segment": segment, "kind": NEW_VISITORS, "name": NEW_VISITORS, **new_visitors}
        events = sums_of(EVERY_EVENT, "x"), sums_of(EVERY_EVENT, "xx")
        mixed = _mix([rate(("mix", name), *events) for name in types])
        yield {"segment": segment, "kind": "mix", "name": "mix", **mixed}


@dataclass(frozen=True)
class _Rate:
    """Sums over users of y of x, each (then, now): a user's visitor-days with something, of those that count."""

    x: ThenNow
    y: ThenNow
    xx: ThenNow
    xy: ThenNow
    yy: ThenNow
    users: int
    who: int  # users with y in the current window

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
        windows = [(y, x - y) for x, y in zip(self.x, self.y, strict=True)]
        compared = min(self.x) > 0
        psi = population_stability_index(*windows) if compared else None
        return {
            "n_reference": int(self.x[0]),
            "n_current": int(self.x[1]),
            "rate_reference": self.y[0] / self.x[0] if self.x[0] else None,
            "rate_current": self.y[1] / self.x[1] if self.x[1] else None,
            "is_new": is_type and self.y[1] > 0 == self.y[0],
            "is_vanished": is_type and self.y[0] > 0 == self.y[1],
            "design_effect": times,
            "tested": (yes, rows, yes_then, rows_then),
            "psi": psi,
            "jensen_shannon": jensen_shannon(*windows) if compared else None,
            "effect": (psi or 0.0) / EFFECT,
            "who": self.who,
            "is_enough": rows_then >= FEWEST_THEN and rows >= FEWEST_NOW,
        }


def _mix(rates: Sequence[_Rate]) -> dict[str, Any]:
    """Which events, of all events: χ² by the types' mean design effect (Rao and Scott, 1981)."""
    weights = [(1 - rate.share) for rate in rates]
    times = sum(w * rate.design_effect for w, rate in zip(weights, rates, strict=True)) / (sum(weights) or 1.0)
    windows = [[rate.y[window] for rate in rates] for window in (0, 1)]
    compared = all(sum(events) for events in windows)
    psi = population_stability_index(*windows) if compared else None
    return {
        "n_reference": int(sum(windows[0])),
        "n_current": int(sum(windows[1])),
        "is_new": False,
        "is_vanished": False,
        "design_effect": max(times, 1.0),
        "p_value": chi_square(*windows, design_effect=max(times, 1.0))[1],
        "psi": psi,
        "jensen_shannon": jensen_shannon(*windows) if compared else None,
        "effect": (psi or 0.0) / EFFECT,
        "is_enough": min(sum(events) for events in windows) >= FEWEST_ROWS * max(times, 1.0),
    }


def _volumes(named: Frame) -> Iterator[dict[str, Any]]:
    """Events a day by segment, of which the days differ among themselves: Welch's test of the two windows' days."""
    counted = to_polars(
        named.group_by("segment", "is_current", "day").agg(nw.col("event_count").sum().cast(nw.Float64).alias("events"))
    )
    everybody = counted.group_by("is_current", "day").agg(pl.lit(EVERYBODY).alias("segment"), pl.col("events").sum())
    days = pl.concat([counted.filter(pl.col("segment") != EVERYBODY), everybody.select(counted.columns)])
    days = days.sort("day")  # a standard deviation depends on the order in its last bit
    for (segment,), part in sorted(days.partition_by("segment", as_dict=True).items()):
        windows: list[Moments] = []
        for is_current, length in ((False, REFERENCE_DAYS), (True, CURRENT_DAYS)):
            eventful = part.filter(pl.col("is_current") == is_current)["events"]
            # A day without a row is a day without events.
            events = pl.concat([eventful, pl.Series([0.0] * (length - len(eventful)), dtype=pl.Float64)])
            windows.append(Moments(cast("float", events.mean()), cast("float", events.std()), length))
        reference, current = windows
        varies = bool(reference.deviation or current.deviation)
        ratio = current.mean / reference.mean if current.mean and reference.mean else None
        yield {
            "segment": segment,
            "kind": "volume",
            "name": "volume",
            "n_reference": REFERENCE_DAYS,
            "n_current": CURRENT_DAYS,
            "rate_reference": reference.mean,
            "rate_current": current.mean,
            "is_new": not reference.mean,
            "is_vanished": not current.mean,
            "p_value": welch_p_value(reference, current) if varies else float(current.mean == reference.mean),
            "effect": abs(log(ratio)) / log(TWICE) if ratio else NOTHING,
            "is_enough": True,
        }


def _first_day(first_days: Frame) -> date:
    return to_polars(first_days.select(nw.col("first_day").min()))["first_day"][0] or date.max


def _sentence(row: dict[str, Any]) -> str:
    """The row in words, for a reader who has only this."""
    who = "everybody" if row["segment"] == EVERYBODY else row["segment"]
    what = (
        f"{who}, {row['name'].replace('_', ' ') if row['kind'] in ('new_visitors', 'mix', 'volume') else row['name']}"
    )
    if row["verdict"] == "too_few_rows":
        return f"{what}: too little to tell ({row['n_current']} tonight, {row['n_reference']} before)"
    if row["kind"] == "mix":
        figures = f"PSI {row['psi']:.2f}"
    elif row["kind"] == "volume":
        figures = f"{row['rate_reference']:.1f} → {row['rate_current']:.1f} events a day"
    else:
        figures = f"{row['rate_reference']:.1%} → {row['rate_current']:.1%} of {row['n_current']} visitor-days"
    state = "new" if row["is_new"] else "vanished" if row["is_vanished"] else row["verdict"]
    return f"{what}: {state if row['verdict'] != 'stable' else 'stable'}; {figures}, q {row['q_value']:.2g}"
