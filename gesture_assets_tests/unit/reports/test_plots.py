"""A picture is SVG of our own: a point is where its value says, its axes cover what is drawn, and its words fit."""

import math
import re
from collections.abc import Sequence
from datetime import date, timedelta
from xml.etree import ElementTree

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesture_assets.models.evaluation import CurvePoint, Estimate, LearningCurve
from gesture_assets.reports.charts import Axis
from gesture_assets.reports.page import Picture
from gesture_assets.reports.plots import beside, distribution, importances, learning, lift, over_time

DAY = date(2026, 3, 1)
DAYS = [DAY + timedelta(days=n) for n in range(20)]
VALUES = [0.02, 0.5, 3.0, 40.0]
LONG = "a feature that somebody gave a very long <name> & then some more of it, until no axis could hold it " * 3


def week(values: Sequence[float | None]) -> Picture:
    return over_time("name", "Title", {"visits": list(zip(DAYS, values, strict=False))}, of="visits a day")


def parsed(picture: Picture) -> ElementTree.Element:
    text = picture.svg.decode()
    return ElementTree.fromstring(text.replace('xmlns="http://www.w3.org/2000/svg"', ""))


def ticks(picture: Picture, axis: str) -> dict[str, float]:
    """Words at an axis, and where they stand along it."""
    return {
        text.text or "": float(text.attrib["x" if axis == "x" else "y"])
        for text in parsed(picture).findall(f".//g[@class='{axis}']/text")
    }


def points(picture: Picture) -> list[tuple[float, float]]:
    """Where marks stand."""
    marks = [path.attrib["d"] for path in parsed(picture).findall("path[@class='marks']")]
    return [(float(x), float(y)) for path in marks for x, y in re.findall(r"M(-?[\d.]+),(-?[\d.]+)", path)]


def bars(picture: Picture) -> list[tuple[float, float, float, float]]:
    """x, y, width and height of bars."""
    boxes = [box for path in parsed(picture).findall("path[@class='bars']") for box in path.attrib["d"].split("z")]
    corners = [[float(number) for number in re.findall(r"-?[\d.]+", box)] for box in boxes if box.startswith("M")]
    return [(x, top, right - x, bottom - top) for x, bottom, _, top, right, _, _, _ in corners]


def every_kind(label: str = "visits") -> list[Picture]:
    points = [(day, 1.0 + n) for n, day in enumerate(DAYS)]
    curve = [CurvePoint(share, int(900 * share), 9, Estimate(share, share / 2, 1)) for share in (0.5, 0.75, 1)]
    return [
        over_time("over_time", label, {label: points, label + "2": points[::2]}, of=label, limit=1, is_log=True),
        beside("beside", label, [label, label + "2"], {label: [0.2, 0.8], label + "2": [0.5, 0.5]}, of=label, by=label),
        importances(pl.DataFrame({"name": [label, label + "2"], "shap": [0.7, 0.3]})),
        distribution([0.1, 0.2, 0.9]),
        learning(LearningCurve(tuple(curve), Estimate(0, 0, 0), label, label)),
        lift([Estimate(3, 2, 4), Estimate(1, 0.5, 2)]),
    ]


@given(st.lists(st.dates(), min_size=1, max_size=5))
def test_the_ticks_of_days_are_few_and_end_with_the_last(days: list[date]) -> None:
    axis = Axis.days(days)
    assert list(axis.ticks.values())[-1] == str(max(days))
    assert axis.low <= min(days).toordinal() <= max(days).toordinal() <= axis.high
    assert 1 <= len(axis.ticks) <= 7


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=5))
def test_the_ticks_of_an_axis_cover_the_data_and_are_few(values: list[float]) -> None:
    at = list(Axis.over("visits", values).ticks)
    give = 1e-6 * max(map(abs, at))
    assert at == sorted(at)
    assert at[0] - give <= min(values) <= max(values) <= at[-1] + give
    assert 2 <= len(at) <= 8
    assert len(set(Axis.over("visits", values).ticks.values())) == len(at)


@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=5))
def test_the_ticks_of_a_logarithmic_axis_cover_the_data_and_are_few(values: list[float]) -> None:
    at = list(Axis.over("visits", values, is_log=True).ticks)
    assert at[0] <= min(values) <= max(values) <= at[-1]
    assert 2 <= len(at) <= 9


@pytest.mark.parametrize("edge", [0.001, 1.0, 1000.0])
def test_what_is_a_hair_beside_a_tick_is_covered_too(edge: float) -> None:
    below, above = math.nextafter(edge, 0), math.nextafter(edge, math.inf)
    for values in ([below], [above], [below, above], [edge, above], [below, edge]):
        at = list(Axis.over("visits", values, is_log=True).ticks)
        assert at[0] <= min(values) <= max(values) <= at[-1]
        assert len(Axis.over("visits", values).ticks) >= 2


def test_ticks_are_round_and_say_what_they_are() -> None:
    assert list(Axis.over("share", [0, 1]).ticks.values()) == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert list(Axis.over("users", [0, 4100]).ticks.values()) == ["0", "1,000", "2,000", "3,000", "4,000", "5,000"]
    assert list(Axis.over("users", [3, 80], is_log=True).ticks.values()) == ["2", "5", "10", "20", "50", "100"]
    assert list(Axis.over("users", [0.03, 2000], is_log=True).ticks.values()) == [
        "0.01",
        "0.1",
        "1",
        "10",
        "100",
        "1,000",
        "10,000",
    ]


@pytest.mark.parametrize("is_log", [False, True])
def test_a_point_is_where_its_value_says(is_log: bool) -> None:
    picture = over_time("name", "Title", {"visits": list(zip(DAYS, VALUES, strict=False))}, of="visits", is_log=is_log)
    size = math.log10 if is_log else float
    marks = [(size(float(text)), y) for text, y in ticks(picture, "y").items()]
    (low, bottom), (high, top) = marks[0], marks[-1]
    for value, (_, y) in zip(VALUES, points(picture), strict=True):
        assert y == pytest.approx(bottom + (size(value) - low) / (high - low) * (top - bottom), abs=0.2)
    places = ticks(picture, "x")
    assert [x for x, _ in points(picture)] == pytest.approx([places[str(day)] for day in DAYS[:4]], abs=0.2)


def test_a_bar_is_as_high_as_its_value_says() -> None:
    picture = beside("name", "Title", ["a", "b"], {"then": [0.25, 0.5], "now": [0.5, 1.0]}, of="share", by="bin")
    at = ticks(picture, "y")
    height = at["0.0"] - at["1.0"]
    assert [size / height for *_, size in bars(picture)] == pytest.approx([0.25, 0.5, 0.5, 1.0], abs=0.01)
    assert {round(y + size, 1) for _, y, _, size in bars(picture)} == {at["0.0"]}


def test_equal_data_give_equal_bytes() -> None:
    assert [picture.svg for picture in every_kind()] == [picture.svg for picture in every_kind()]


@pytest.mark.parametrize("missing", [None, float("nan"), float("inf")])
def test_a_value_that_is_missing_is_left_out_and_leaves_a_gap(missing: float | None) -> None:
    picture = week([1.0, 2.0, missing, 4.0])
    assert len(points(picture)) == 3
    (line,) = [path.attrib["d"] for path in parsed(picture).findall("path[@class='line']")]
    assert re.sub("[^ML]", "", line) == "MLM"
    assert "nan" not in picture.svg.decode()
    assert len(bars(beside("name", "Title", ["a", "b"], {"now": [1.0, missing]}, of="share", by="bin"))) == 1


def test_what_is_not_above_nothing_is_left_out_of_a_logarithm() -> None:
    lines = {"visits": [(DAYS[0], 0.0), (DAYS[1], 10.0)]}
    assert len(points(over_time("name", "Title", lines, of="visits", is_log=True))) == 1


@pytest.mark.parametrize(
    "picture",
    [
        over_time("name", "Title", {}, of="visits"),
        over_time("name", "Title", {"visits": []}, of="visits", limit=1, is_log=True),
        beside("name", "Title", [], {}, of="share", by="bin"),
        importances(pl.DataFrame(schema={"name": pl.String, "shap": pl.Float64})),
        distribution([]),
    ],
)
def test_a_picture_of_nothing_says_so(picture: Picture) -> None:
    assert "no values" in [text.text for text in parsed(picture).iter("text")]


def test_a_single_value_is_a_point_between_two_ticks() -> None:
    for value in (0.0, 0.75, -3.0, 1e-12, 250_000):
        picture = week([value])
        ((x, y),) = points(picture)
        at = list(ticks(picture, "y").values())
        assert min(at) <= y <= max(at)
        assert ticks(picture, "x") == {"2026-03-01": x}


@pytest.mark.parametrize("label", ["visits", LONG, "<b>&\"'\x00\x1b\ufffe", "売上高の合計"])
def test_words_are_text_and_stay_inside_and_apart(label: str) -> None:
    for picture in every_kind(label):
        root = parsed(picture)
        left, top, width, height = map(float, root.attrib["viewBox"].split())
        assert width < 1_000
        assert height < 600
        boxes = [box(text) for text in root.iter("text")]
        for one in boxes:
            assert left <= one[0] < one[2] <= left + width, picture.name
            assert top <= one[1] < one[3] <= top + height, picture.name
        upright = [box(text) for text in root.iter("text") if "transform" not in text.attrib]
        for place, one in enumerate(upright):
            for other in upright[place + 1 :]:
                assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1], (
                    picture.name
                )
        assert not {"b", "name", "script"} & {element.tag for element in root.iter()}


def box(text: ElementTree.Element) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a word of 11 pixels, by letters of a common font; turned where it is turned."""
    width = sum(11 if letter > "\u2e80" else 5.6 for letter in text.text or "")
    x, y = float(text.attrib["x"]), float(text.attrib["y"]) + float(text.attrib["dy"])
    start = {"start": 0.0, "middle": -width / 2, "end": -width}[text.attrib["text-anchor"]]
    turned = re.match(r"rotate\((-?\d+)", text.attrib.get("transform", ""))
    angle = math.radians(float(turned[1]) if turned else 0)
    corners = [(start + along, across) for along in (0, width) for across in (-8, 3)]
    xs = [x + a * math.cos(angle) - b * math.sin(angle) for a, b in corners]
    ys = [y + a * math.sin(angle) + b * math.cos(angle) for a, b in corners]
    return min(xs), min(ys), max(xs), max(ys)


@pytest.mark.parametrize("picture", every_kind(), ids=lambda picture: picture.name)
def test_a_picture_has_a_title_named_axes_and_nothing_from_elsewhere(picture: Picture) -> None:
    root = parsed(picture)
    assert [root.findtext("title"), root.findtext("desc")] == [picture.title, picture.alt]
    assert [len(axis.text or "") > 0 for axis in root.findall(".//g[@class='named']/text")] == [True, True]
    text = picture.svg.decode()
    assert not re.search(r"href|url\(|@import|<script|<style", text)
    assert len(text) < 20_000


def test_lines_and_bars_are_told_apart_without_colour() -> None:
    lines = {f"feature {n}": [(day, float(n)) for day in DAYS] for n in range(6)}
    marks = [
        path.attrib["d"] for path in parsed(over_time("n", "T", lines, of="effect")).findall("path[@class='marks']")
    ]
    assert len({re.sub("M[^a-z]*", "", path)[:12] for path in marks}) == 6
    groups = {name: [0.5] for name in ("training", "tonight", "tomorrow")}
    filled = parsed(beside("n", "T", ["a"], groups, of="share", by="bin")).findall("path[@class='bars']")
    assert len({path.attrib["fill-opacity"] for path in filled}) == 3
