"""Charts as SVG of our own: lines, bars and bands between two axes, with a legend.

Belongs here: where a value stands, what is written at an axis, how things look. Does not belong here: which figures are
drawn, and saying in words what is seen (`plots.py`), where pictures are shown (`page.py`, `nights/training.py`).

Equal data give equal bytes, and text is text. Letters, axes and ground are the reader's own colours, light or dark; the
others can be told from both, and from each other by dashes, marks and fillings too. Where an axis or a legend needs
room, the picture grows around its plot, so that words never lie on what is drawn.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from html import escape
from typing import Self

from gesture_assets.reports.page import Picture

WIDE, WIDER, HIGH = 400, 560, 230  # pixels of a plot without its margins
LETTER = 6.4  # pixels: what a letter of 11 takes in a wide font
SLOPE = 35  # degrees, of names that have no room side by side
STYLE = "font:11px system-ui,sans-serif;color-scheme:light dark;color:CanvasText;background:Canvas"
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Value = float | None  # what is missing, or no number, is left out


@dataclass(frozen=True)
class Look:
    """How lines and bars look: `mark` is a path around a point, `filling` how much of a bar's colour is seen."""

    colour: str
    dash: str = "none"
    mark: str = ""
    filling: float = 1


INK = Look("#2f7fc1", mark="m-3,0a3,3 0 1,0 6,0a3,3 0 1,0 -6,0")
FAINT, SECOND = Look("#868686", "5,4", filling=0.3), Look("#c06a10", "5,4", filling=0)
LOOKS = (
    INK,
    Look("#c06a10", "6,2", "m-3,-3h6v6h-6z"),
    Look("#2e8b57", "2,2", "m0,-4l4,7h-8z"),
    Look("#8e63c0", "8,3,2,3", "m0,4l4,-7h-8z"),
    Look("#d0506a", "10,4", "m0,-4l4,4l-4,4l-4,-4z"),
    Look("#868686", "1,3", "m-3,-3l6,6m0,-6l-6,6"),
)


@dataclass(frozen=True)
class Axis:
    """What is measured, from `low` to `high`, which may be below it, and the words at its ticks."""

    label: str
    low: float
    high: float
    ticks: Mapping[float, str]
    is_log: bool = False
    is_named: bool = False  # places have names, which matter each, and no order to read a grid by

    @classmethod
    def over(cls, label: str, values: Iterable[Value], *, is_log: bool = False) -> Self:
        """From a round value below all `values` to one above; `is_log`: in powers of ten, of what has a logarithm."""
        there = [v for v in values if v is not None and math.isfinite(v) and (v > 0 or not is_log)] or [1.0]
        ticks = _powers(min(there), max(there)) if is_log else _steps(min(there), max(there))
        return cls(label, min(ticks), max(ticks), ticks, is_log)

    @classmethod
    def days(cls, days: Iterable[date]) -> Self:
        """From the first of `days` to the last, which has a tick."""
        there = [day.toordinal() for day in days] or [1]
        low, high = min(there), max(there)
        step = next((step for step in (1, 2, 7, 14, 28, 84, 364) if (high - low) / step < 7), high - low)
        ticks = {float(day): str(date.fromordinal(day)) for day in sorted(range(high, low - 1, -step))}
        return cls("day", low - (low == high), high + (low == high), ticks)

    @classmethod
    def names(cls, label: str, names: Sequence[str], letters: int) -> Self:
        """A place for each of `names`, of which as many `letters` are shown."""
        ticks = {float(place): _cut(name, letters) for place, name in enumerate(names)}
        return cls(label, -0.5, max(len(names), 1) - 0.5, ticks, is_named=True)

    def places(self) -> list[tuple[float, str]]:
        """Where along the axis each tick is, and its words."""
        return [(at, words) for tick, words in self.ticks.items() if (at := self.share(tick)) is not None]

    def share(self, value: Value) -> Value:
        """How far `value` is on the way from `low` to `high`; nothing if it is missing, or has no logarithm."""
        if value is None or not math.isfinite(value) or (self.is_log and value <= 0):
            return None
        size = math.log10 if self.is_log else float
        return (size(value) - size(self.low)) / (size(self.high) - size(self.low))


@dataclass
class Chart:
    """A plot that is drawn on, from its upper left corner; its axes go around it, its legend below them."""

    x: Axis
    y: Axis
    wide: int = WIDE
    high: int = HIGH
    drawn: str = ""
    legend: dict[str, str] = field(default_factory=dict[str, str])

    def line(
        self, points: Iterable[tuple[Value, Value]], look: Look, label: str = "", *, is_marked: bool = False
    ) -> None:
        """A line through `points`, with a gap where one is missing."""
        at = [self._at(*point) for point in points]
        mark = look.mark if is_marked else ""
        path = "".join(f"{'L' if n and at[n - 1] else 'M'}{here}" for n, here in enumerate(at) if here)
        marks = "".join(f"M{here}{mark}" for here in at if here and mark)
        self._add("line", path, look, label, "M0,0h24")
        self._add("marks", marks, look, label, mark and f"M12,0{mark}")

    def level(self, value: float, look: Look, label: str) -> None:
        """A line across, at `value`."""
        self.line([(self.x.low, value), (self.x.high, value)], look, label)

    def band(self, points: Iterable[tuple[Value, Value, Value]], look: Look) -> None:
        """The ground between two values at each place."""
        ends = [(self._at(x, low), self._at(x, high)) for x, low, high in points]
        there = [(low, high) for low, high in ends if low and high]
        around = [low for low, _ in there] + [high for _, high in reversed(there)]
        self._add("band", f"M{'L'.join(around)}z" if around else "", look)

    def bars(self, boxes: Iterable[tuple[float, float, Value, Value]], look: Look, label: str = "") -> None:
        """Boxes, each from its left to its right and from its bottom to its top."""
        corners = [[self._at(*at) for at in ((a, low), (a, top), (b, top), (b, low))] for a, b, low, top in boxes]
        path = "".join(f"M{'L'.join(box)}z" for box in corners if all(box))
        self._add("bars", path, look, label, "M6,-5h12v10h-12z")

    def whiskers(self, ends: Iterable[tuple[Value, Value, Value]]) -> None:
        """The interval of each bar."""
        pairs = [(self._at(x, low), self._at(x, high)) for x, low, high in ends]
        path = "".join(f"M{low}m-3,0h6m-3,0L{high}m-3,0h6" for low, high in pairs if low and high)
        self._add("line", path, Look("currentColor"))

    def picture(self, name: str, title: str, alt: str) -> Picture:
        """What was drawn, with its legend and its axes and as much room as they need."""
        columns = [(at * self.wide, words) for at, words in self.x.places()]
        rows = [(self.high - at * self.high, words) for at, words in self.y.places()]
        apart = _apart(columns)
        slope = SLOPE if self.x.is_named and apart != columns else 0  # names turn, numbers are left out
        columns = columns if slope else apart
        before, behind = (math.cos(math.radians(slope)), 0) if slope else (0.5, 0.5)  # of a word, its tick
        widest = max((_width(words) for _, words in rows), default=0)
        depth = 18 + max((_width(words) for _, words in columns), default=0) * math.sin(math.radians(slope))
        left = max(widest + 28, *(_width(words) * before - at for at, words in columns), 0)
        wide = left + max(self.wide + 12, *(at + _width(words) * behind + 2 for at, words in columns), 0)
        keys, bottom = self._keys(self.high + depth + 32)
        grid = "".join(f"M{_px(at)},0v{self.high}" for at, _ in columns if not self.x.is_named)
        grid += "".join(f"M0,{_px(at)}h{self.wide}" for at, _ in rows if not self.y.is_named)
        below = [_text(at, self.high + 16, words, "end" if slope else "middle", turn=slope) for at, words in columns]
        aside = [_text(-8, at, words, "end", dy=4) for at, words in rows]
        under = _text(self.wide / 2, self.high + depth + 14, _cut(self.x.label, self.wide / LETTER))
        upright = _text(-widest - 16, self.high / 2, _cut(self.y.label, self.high / LETTER), turn=90)
        svg = f'''<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{_px(wide)}" height="{_px(bottom + 10)}" \
viewBox="{_px(-left)} -10 {_px(wide)} {_px(bottom + 10)}" style="{STYLE}">
<title>{_safe(title)}</title><desc>{_safe(alt)}</desc>
<path d="{grid}" stroke="currentColor" stroke-opacity=".15"/>
{self.drawn or _text(self.wide / 2, self.high / 2, "no values")}
<path d="M0,0V{self.high}H{self.wide}" fill="none" stroke="currentColor" stroke-opacity=".6"/>
<g class="x">{"".join(below)}</g><g class="y">{"".join(aside)}</g><g class="named">{under}{upright}</g>
{keys}</svg>'''
        return Picture(name, title, alt, svg.encode())

    def _at(self, x: Value, y: Value) -> str:
        across, up = self.x.share(x), self.y.share(y)
        return "" if across is None or up is None else f"{_px(across * self.wide)},{_px(self.high - up * self.high)}"

    def _add(self, kind: str, path: str, look: Look, label: str = "", key: str = "") -> None:
        self.drawn += _path(kind, path, look)
        if label:
            self.legend[label] = self.legend.get(label, "") + _path(kind, key, look)

    def _keys(self, y: float) -> tuple[str, float]:
        """The legend from `y` downwards, in as many rows as it takes, and where it ends."""
        drawn, x = "", 0.0
        for label, key in self.legend.items():
            words = _cut(label, (self.wide - 46) / LETTER)
            wide = 46 + _width(words)
            x, y = (0.0, y + 18) if x and x + wide > self.wide else (x, y)
            drawn += f'<g transform="translate({_px(x)} {_px(y)})">{key}</g>' + _text(x + 30, y, words, "start", dy=4)
            x += wide
        return drawn, y + 12 if drawn else y - 12


def _steps(low: float, high: float) -> dict[float, str]:
    """Round values from below `low` to above `high`, and how they are written."""
    most = max(abs(low), abs(high))
    if high - low <= most * 1e-9:
        low, high = (low - most / 10, high + most / 10) if most > 1e-300 else (0.0, 1.0)
    power = math.floor(math.log10((high - low) / 5))
    step = next(times * 10.0**power for times in (1, 2, 5, 10, 20) if (high - low) / (times * 10.0**power) <= 5)
    places = range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)
    decimals = max(0, -math.floor(math.log10(step * 1.000001)))
    form = f",.{decimals}f" if decimals <= 6 and most < 1e9 else ".10g"
    return {place * step: f"{place * step:{form}}" for place in places}


def _powers(low: float, high: float) -> dict[float, str]:
    """Powers of ten from below `low` to above `high`, and how they are written; where few are, parts of them too."""
    if low == high:
        low, high = low / 2, high * 2
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    times, every = (1, 2, 5) if last - first <= 2 else (1,), max(1, math.ceil((last - first) / 6))
    ticks = [part * 10.0**power for power in range(first - every, last + every + 1, every) for part in times]
    start, end = max(tick for tick in ticks if tick <= low), min(tick for tick in ticks if tick >= high)
    return {tick: f"{tick:,.12g}" for tick in ticks if start <= tick <= end}


def _apart(words: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Those of `words`, each with its middle, that do not touch, from the last on."""
    kept: list[tuple[float, str]] = []
    for at, word in reversed(words):
        if not kept or at + _width(word) / 2 + 6 <= kept[0][0] - _width(kept[0][1]) / 2:
            kept.insert(0, (at, word))
    return kept


def _path(kind: str, path: str, look: Look) -> str:
    """`path` as a line, marks, bars or a band are drawn; nothing where there is no path."""
    filling, stroke = {"line": (0, 1.5), "marks": (1, 1), "bars": (look.filling, 1), "band": (0.15, 0)}[kind]
    form = f'fill="{look.colour}" fill-opacity="{filling}" stroke="{look.colour}" stroke-width="{stroke}"'
    dash = "none" if kind == "marks" else look.dash
    return path and f'<path class="{kind}" d="{path}" {form} stroke-dasharray="{dash}"/>'


def _text(x: float, y: float, words: str, anchor: str = "middle", *, turn: float = 0, dy: float = 0) -> str:
    turned = f' transform="rotate({-turn} {_px(x)} {_px(y)})"' if turn else ""
    place = f'x="{_px(x)}" y="{_px(y)}" dy="{dy:g}" text-anchor="{anchor}"{turned}'
    return f'<text {place} fill="currentColor">{_safe(words)}</text>'


def _safe(words: str) -> str:
    return escape(NOT_XML.sub("\ufffd", words))


def _cut(words: str, letters: float) -> str:
    """As much of `words` as has the room of so many `letters`."""
    shown = words if len(words) <= letters else f"{words[: int(letters) - 1]}…"
    while _width(shown) > letters * LETTER:
        shown = shown[:-2] + "…"
    return shown


def _width(words: str) -> float:
    return sum(LETTER * (1 if letter < "\u2e80" else 1.8) for letter in words)


def _px(length: float) -> str:
    return f"{round(length, 1) + 0.0:.12g}"
