"""What people do, this week against the weeks before: which events, which steps after which, how many, how many new.

Belongs here: visitor-days to rates, their tests and verdicts. Does not belong here: counting visitor-days
(`visitor_days.py`), the incidents somebody knows of. For sources of few events a day and of many.

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
from datetime import date
from math import log
from typing import Any, cast

import numpy as np
import polars as pl

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.models.splits import PRIME
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
from gesture_assets.monitoring.visitor_days import EPOCH, NEVER, Counted, Numbers, Rows, Visits, starts_of

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
EVERYBODY, OTHER = "all", "other"
NEW_VISITORS, EVENTS = "new_visitors", "events"
EVERY_VISIT, EVERY_EVENT = (NEW_VISITORS, NEW_VISITORS), (EVENTS, EVENTS)  # kind and name of what has all users

ThenNow = tuple[float, float]  # in the reference, in the current window
Sums = Mapping[tuple[str, bool, str, str], Mapping[str, Any]]

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


def event_mix(counted: Counted, night: date) -> pl.DataFrame:
    """The columns `EVENT_MIX` at the end of `night`, alarms first. Verdicts are over all rows of the night at once."""
    last = (night - EPOCH).days
    end = last - CURRENT_DAYS
    start = end - REFERENCE_DAYS
    named, everybody = (
        rows.where((rows.known <= last) & (rows.day > start) & (rows.day <= last))
        for rows in (counted.rows, counted.everybody)
    )
    types, codes = _types(named, counted.types)
    if not types:
        return pl.DataFrame(schema=EVENT_MIX)
    first_days = counted.first_day(last)
    is_drawn = _drawn(counted, named)
    watched = [(EVERYBODY, Visits.of(everybody.where(is_drawn[everybody.user]), codes, first_days, end))]
    watched += [
        (counted.segments[segment], Visits.of(rows, codes, first_days, end))
        for segment, rows in named.where(is_drawn[named.user]).by_segment()
        if counted.segments[segment] != EVERYBODY
    ]
    steps = _steps(watched[0][1], types)
    sums = {(segment, *key): row for segment, visits in watched for key, row in _sums_by_user(visits, types, steps)}
    # Where the weeks before were not seen whole, people would seem to begin what they did all along. To tell a new
    # visitor from an old one takes as long again.
    age = start - int(first_days.min(initial=NEVER)) + 1
    has_reference, has_known_visitors = age >= 0, age >= REFERENCE_DAYS
    rows = [*_rates(sums, types, steps), *_volumes(named, counted.segments, end)]
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


def _types(named: Rows, names: Sequence[str]) -> tuple[list[str], Numbers]:
    """The event types to watch, the most frequent first, and which of them each code of `names` is."""
    # What became known in parts is there more than once.
    distinct = named.event_type[starts_of(named.segment, named.user, named.day, named.event_type)]
    counts = np.bincount(distinct, minlength=len(names))
    ordered = [names[code] for code in sorted(range(len(names)), key=lambda code: (-counts[code], names[code]))]
    types = ordered[: np.count_nonzero(counts)]
    if len(types) > MOST_TYPES:
        types = [*[name for name in types if name != OTHER][: MOST_TYPES - 1], OTHER]
    places = {name: place for place, name in enumerate(types)}
    return types, np.array([places.get(name, places.get(OTHER, 0)) for name in names], np.int64)


def _drawn(counted: Counted, named: Rows) -> Numbers:
    """By user: whether they are looked at, of `named` no more than about `MOST_VISITORS`."""
    visitors = np.count_nonzero(np.bincount(named.user))
    if visitors <= MOST_VISITORS:
        return np.ones(len(counted.users), np.bool_)
    return counted.draws < MOST_VISITORS * PRIME // visitors


def _steps(everybody: Visits, types: Sequence[str]) -> dict[str, str]:
    """Type -> the step before it: the rarest type that nearly always goes with it and is more frequent."""
    kinds, visits = np.unique(everybody.did[~everybody.is_current], return_counts=True)
    did = (kinds[:, None] >> np.arange(len(types)) & 1).astype(np.float64)
    days_together = did.T @ (did * visits[:, None])
    days = {name: days_together[place, place] for place, name in enumerate(types)}
    steps: dict[str, str] = {}
    for place, (after, with_it) in enumerate(days.items()):
        before = [
            name
            for other, name in enumerate(types)
            if days[name] > with_it >= FEWEST_THEN and days_together[other, place] >= PRECONDITION * with_it
        ]
        if before:
            steps[after] = min(before, key=days.__getitem__)
    return steps


def _sums_by_user(
    visits: Visits, types: Sequence[str], steps: Mapping[str, str]
) -> Iterator[tuple[tuple[bool, str, str], dict[str, Any]]]:
    """Sums over persons of x and y, see `_Rate`, by window and what is watched (kind and name).

    Only of persons who did it, because most did few of the types; of all persons are EVERY_VISIT and EVERY_EVENT.
    """
    places = {name: place for place, name in enumerate(types)}
    days, events = visits.days[:, None], visits.events_with.sum(axis=1)[:, None]
    pairs = [(places[after], places[before]) for after, before in steps.items()]
    taken = np.array([visits.taken(before, after) for after, before in pairs]).reshape(len(pairs), len(days)).T
    watched = (
        (NEW_VISITORS, (NEW_VISITORS,), days, visits.new[:, None], np.ones_like(days)),
        (EVENTS, (EVENTS,), events, events, np.ones_like(days)),
        ("type", types, days, visits.days_with, visits.days_with > 0),
        ("mix", types, events, visits.events_with, visits.days_with > 0),
        ("step", tuple(steps), visits.days_with[:, [before for _, before in pairs]], taken, taken > 0),
    )
    for is_current in (False, True):
        whose = visits.is_current_person == is_current
        for kind, names, base, part, did in watched:
            x, y = base[whose] * did[whose], part[whose]
            sums = {
                "users": did[whose].sum(axis=0),
                "who": (y > 0).sum(axis=0),
                "x": x.sum(axis=0),
                "y": y.sum(axis=0),
                "xx": (x * x).sum(axis=0),
                "xy": (x * y).sum(axis=0),
                "yy": (y * y).sum(axis=0),
            }
            for place, name in enumerate(names):
                yield (is_current, kind, name), {letters: float(of_all[place]) for letters, of_all in sums.items()}


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


def _volumes(named: Rows, segments: Sequence[str], end: int) -> Iterator[dict[str, Any]]:
    """Events a day by segment, of which the days differ among themselves: Welch's test of the two windows' days."""
    length = CURRENT_DAYS + REFERENCE_DAYS
    cells = named.segment * length + named.day - (end - REFERENCE_DAYS + 1)
    by_day = np.bincount(cells, named.events, minlength=len(segments) * length).reshape(len(segments), length)
    volumes = {name: days for name, days in zip(segments, by_day, strict=True) if days.any()}
    for segment, days in sorted((volumes | {EVERYBODY: by_day.sum(axis=0)}).items()):
        windows: list[Moments] = []
        for part in (days[:REFERENCE_DAYS], days[REFERENCE_DAYS:]):
            # A day without a row is a day without events; a standard deviation depends on the order in its last bit.
            events = pl.concat(pl.Series(some, dtype=pl.Float64) for some in (part[part > 0], part[part == 0]))
            windows.append(Moments(cast("float", events.mean()), cast("float", events.std()), len(part)))
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
