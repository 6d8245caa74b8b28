"""The page about one model: what it is, how good it is, beside what, and what it goes by.

Belongs here: which figures and pictures, with the SQL that gives them. Does not belong here: the form of a page
(`page.py`), drawing (`plots.py`), judging (`models/evaluation.py`).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from gesture_assets.errors import GateClosed, listing
from gesture_assets.models.evaluation import CurvePoint, Estimate, LearningCurve, best_threshold, evaluate
from gesture_assets.models.leakage import STRONG_AUC
from gesture_assets.models.versions import judged_rows, known_versions, load_version
from gesture_assets.records.activations import RULES
from gesture_assets.reports.page import Number, Page, ask, table_of
from gesture_assets.reports.plots import distribution, model_pictures

if TYPE_CHECKING:
    import duckdb

HEADLINES = {
    "roc_auc": "Area under the ROC curve",
    "lift_top_20": "Lift of the top fifth over the rest",
    "precision_top_20": "Share of the top fifth that bought",
    "ece": "Calibration error",
    "sum_ratio": "Probabilities ÷ buyers",
    "base_rate": "Share that bought",
}


def model_report(con: "duckdb.DuckDBPyConnection", models: Path, version: str = "") -> Page:
    """The page about `version`, by default the one that serves, or where none ever did the newest that is published,
    from the published file `con` and the folder `models`.

    Curves are drawn anew from the test rows kept with the model; everything else is asked of the file. Raises
    `GateClosed` for a version that is not published, `ModelMismatch` where its files are gone.
    """
    activated = [
        row["model_version"] for row in ask(con, "select model_version from model_activations order by activation desc")
    ]
    by_age = "select model_version from analytics.model_versions order by recorded_at desc, model_version desc"
    others = [row["model_version"] for row in ask(con, by_age)]
    version = version or next((name for name in (*activated, *others) if name != RULES), "")
    about = f"from analytics.model_versions where model_version = '{_quoted(version)}'"
    cards = ask(con, f"select * {about}")
    if not cards:
        trained = known_versions(models)
        is_waiting = version in trained if version else bool(trained)
        raise GateClosed(
            "There is no page about the model.",
            expected="a version that is published",
            found=f"{version or 'none'}, published: {listing(others)}",
            where="analytics.model_versions",
            next_step="gesture publish  (it was trained, and readers do not have it yet)"
            if is_waiting
            else "gesture models list",
        )
    card = cards[0]
    serving = activated[0] if activated else RULES
    unused = "" if version == serving else f". It does not serve: {'the rules do' if serving == RULES else serving}"
    page = Page(
        f"Model {version}", f"Trained as of {card['as_of_date']}: {card['decision']}, {card['because']}{unused}"
    )
    figures = f"from analytics.model_figures where model_version = '{version}' and as_of_date = '{card['as_of_date']}'"
    _headlines(page, con, figures)
    curve = _learning_curve(con, figures, card)
    _pictures(page, con, models, version, curve, figures)
    _beside(page, con, figures)
    page.section("Is there enough data?", f"{card['data_verdict']}: {card['data_because']}")
    table_of(
        page,
        con,
        "The learning curve",
        f"""select segment, sample_count as rows, round(value, 4) as roc_auc,
    round(low, 4) as low, round(high, 4) as high
{figures} and part = 'learning_curve' order by rows""",
    )
    page.section("Does a feature know the outcome?")
    table_of(
        page,
        con,
        f"The features that rank the outcome best alone; from {STRONG_AUC:.2f} ask: is it known before the outcome?",
        f"""select feature, round(auc, 4) as auc, verdict, because from feature_screening
where as_of_date = '{card["as_of_date"]}' and auc is not null order by feature_screening.auc desc, feature limit 10""",
        "none",
    )
    _serving(page, con, version)
    page.section("What it resolves to")
    page.table(
        "The version", ("what", "value"), [(name, str(value)) for name, value in card.items()], f"select * {about}"
    )
    return page


def _headlines(page: Page, con: "duckdb.DuckDBPyConnection", figures: str) -> None:
    page.section(
        "How good it is",
        "On later days and people that it has never seen; in brackets the interval that "
        "chance leaves (bootstrap over people, 95 %).",
    )
    numbers = []
    for metric, name in HEADLINES.items():
        sql = f"select value, low, high, target {figures} and part = 'test' and segment = 'all' and metric = '{metric}'"
        for row in ask(con, sql):
            ends = [f"{row[end]:.3f}" if row[end] is not None else "no end" for end in ("low", "high")]
            interval = f"({ends[0]} to {ends[1]})" if row["low"] != row["high"] else ""
            target = f" target {row['target']:g}" if row["target"] is not None else ""
            numbers.append(Number(name, f"{row['value']:.3f}", interval + target, sql))
    page.numbers(*numbers)
    table_of(
        page,
        con,
        "Every figure of every part",
        f"""select metric,
    round(any_value(value) filter (part = 'test'), 4) as test, round(any_value(low) filter (part = 'test'), 4) as low,
    round(any_value(high) filter (part = 'test'), 4) as high,
    round(any_value(value) filter (part = 'validation'), 4) as validation,
    round(any_value(value) filter (part = 'train'), 4) as train,
    round(any_value(value) filter (part = 'random_test'), 4) as random_split
{figures} and segment = 'all' and part in ('test', 'validation', 'train', 'random_test')
group by metric order by metric""",
    )


def _pictures(
    page: Page, con: "duckdb.DuckDBPyConnection", models: Path, version: str, curve: LearningCurve, figures: str
) -> None:
    page.section("Pictures", "Drawn from the test rows that are kept with the model (X_test.parquet, y_test.parquet).")
    model, rows = load_version(models, version), judged_rows(models, version)
    label, probability = rows["label"], model.probabilities(rows)
    judged = evaluate(label, probability, threshold=best_threshold(label, probability), groups=rows["person_id"])
    importance = (
        "select feature_name as name, shap, gain, permutation, reason_code from feature_importance "
        f"where model_version = '{version}' order by rank"
    )
    rows_by_weight = ask(con, importance)
    weights = (
        pl.DataFrame(rows_by_weight) if rows_by_weight else pl.DataFrame(schema={"name": pl.String, "shap": pl.Float64})
    )
    sources = {
        "lift": f"select metric, value, low, high {figures} and part = 'test' and segment = 'all' "
        "and metric like 'lift_decile%'",
        "importance": importance,
        "learning_curve": f"select segment, sample_count, value, low, high {figures} and part = 'learning_curve'",
    }
    for picture in model_pictures(label, probability, judged, weights, curve):
        page.figure(picture, sources.get(picture.name, ""))


def _learning_curve(con: "duckdb.DuckDBPyConnection", figures: str, card: dict[str, Any]) -> LearningCurve:
    sql = f"select segment, sample_count, value, low, high {figures} and part = 'learning_curve' order by sample_count"
    points = [
        CurvePoint(
            float(row["segment"].removeprefix("share=")),
            row["sample_count"],
            0,
            Estimate(row["value"], row["low"], row["high"]),
        )
        for row in ask(con, sql)
    ]
    return LearningCurve(tuple(points), Estimate(0, 0, 0), card["data_verdict"], card["data_because"])


def _beside(page: Page, con: "duckdb.DuckDBPyConnection", figures: str) -> None:
    page.section(
        "Beside the rules",
        "The rules' own score on the same test rows, and what the model loses when it does not read that score.",
    )
    table_of(
        page,
        con,
        "Rules, the model, and the model without the rules' score",
        f"""select part, metric,
    round(value, 4) as value, round(low, 4) as low, round(high, 4) as high
{figures} and segment = 'all' and part in ('rules', 'test', 'without_rule_score')
    and (metric in ('roc_auc', 'pr_auc', 'lift_top_20', 'precision_top_20') or metric like 'roc_auc_gain%')
order by metric, part""",
    )
    table_of(
        page,
        con,
        "Tests of behaviour",
        f"select metric as test, is_met as passed, value as observed {figures} and part = 'behaviour' order by metric",
    )
    table_of(
        page,
        con,
        "By segment",
        f"""select segment, sample_count as rows, round(value, 4) as roc_auc,
    round(low, 4) as low, round(high, 4) as high
{figures} and part = 'test' and metric = 'roc_auc' and segment <> 'all' order by segment""",
    )


def _serving(page: Page, con: "duckdb.DuckDBPyConnection", version: str) -> None:
    page.section("Serving")
    table_of(
        page,
        con,
        "When it was chosen to score",
        "select effective_from, action, previous_version, reason "
        f"from model_activations where model_version = '{version}' order by activation",
    )
    newest = (
        f"from model_scores where model_version = '{version}' and as_of_date = "
        f"(select max(as_of_date) from model_scores where model_version = '{version}')"
    )
    scores = ask(con, f"select probability {newest}")
    if scores:
        page.figure(distribution([row["probability"] for row in scores]), f"select probability {newest}")
    table_of(
        page,
        con,
        "Its scores by day",
        f"""select as_of_date, count(*) as users, round(avg(probability), 4) as
    mean_probability, round(sum(probability), 1) as expected_buyers
from model_scores where model_version = '{version}' group by all order by as_of_date desc limit 28""",
    )


def _quoted(text: str) -> str:
    return text.replace("'", "''")
