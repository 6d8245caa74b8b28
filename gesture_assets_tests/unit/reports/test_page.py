"""A page is one file that loads nothing, shows whatever it is given as text, and has words for every picture."""

from html.parser import HTMLParser

import duckdb
import numpy as np
import polars as pl
import pytest

from gesture_assets.models.evaluation import CurvePoint, Estimate, LearningCurve, evaluate
from gesture_assets.reports.page import Number, Page, ask
from gesture_assets.reports.plots import MOST_POINTS, _cumulated, model_pictures

RANDOM = np.random.default_rng(3)
P = RANDOM.beta(1, 9, 600)
Y = (RANDOM.random(600) < P).astype(int)
WEIGHTS = pl.DataFrame({"name": ["Visits <b>", "Points"], "shap": [0.7, 0.3]})
CURVE = LearningCurve(
    tuple(CurvePoint(share, int(600 * share), 9, Estimate(0.7 + share / 10, 0.6, 0.9)) for share in (0.5, 1.0)),
    Estimate(0.05, 0.01, 0.09),
    "more would help",
    "300 to 600 rows",
)


def pictures():
    return model_pictures(Y, P, evaluate(Y, P, bootstrap=20), WEIGHTS, CURVE)


class Tags(HTMLParser):
    """Tags with their attributes, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_shows_text_as_text_and_loads_nothing() -> None:
    page = Page("A <script>", "b & c")
    page.section("Figures", "<img src=x>")
    page.numbers(Number("users", "7", "of <all>", "select count(*) from t where a < 'b'"))
    page.table("Rows", ("name", "count"), [("<i>", 1_234), (None, 0.5)], "select 1")
    for picture in pictures():
        page.figure(picture)
    text = page.html()
    page_tags = Tags(text)
    names = [tag for tag, _ in page_tags.tags]
    assert not {"script", "link", "i", "all", "iframe"} & set(names)
    assert "select count(*) from t where a < 'b'" in page_tags.text
    assert "1,234" in page_tags.text
    images = [attributes for tag, attributes in page_tags.tags if tag == "img"]
    assert len(images) == len(pictures()) == 7
    assert all(image["src"].startswith("data:image/svg+xml;base64,") and len(image["alt"]) > 30 for image in images)
    assert not [
        value for _, attributes in page_tags.tags for value in attributes.values() if value and "//" in value[:8]
    ]
    assert "default-src 'none'" in text
    assert text == page.html()


def test_pictures_are_the_same_bytes_each_time_and_small() -> None:
    for picture, redrawn in zip(pictures(), pictures(), strict=True):
        assert (picture.alt, picture.svg) == (redrawn.alt, redrawn.svg)
        assert picture.svg.startswith(b"<svg")
        assert len(picture.svg) < 20_000
        assert picture.markdown.startswith(f"![{picture.alt}](data:image/svg+xml;base64,")


def test_pictures_say_in_words_what_they_show() -> None:
    words = {picture.name: picture.alt for picture in pictures()}
    assert "300 rows 0.750, 600 rows 0.800" in words["learning_curve"]
    assert "Visits <b> 70%" in words["importance"]
    area = evaluate(Y, P, bootstrap=20).metrics["roc_auc"].value
    assert f"area {area:.3f}" in words["roc"]


def test_a_curve_keeps_its_ends_and_has_no_more_points_than_can_be_seen() -> None:
    called, hits = _cumulated(Y, P)
    assert (called[0], hits[0]) == (0, 0)
    assert (called[-1], hits[-1]) == (600, Y.sum())
    assert len(called) <= MOST_POINTS + 1
    assert (np.diff(called) > 0).all()


@pytest.mark.parametrize("sql", ["select 1 as one, 'two' as two"])
def test_a_question_is_answered_by_column(sql: str) -> None:
    assert ask(duckdb.connect(), sql) == [{"one": 1, "two": "two"}]
