"""The page about one night: what is wrong, what moved, how scores turned out, whether to train, how nights have gone.

Belongs here: which figures and pictures, with the SQL that gives them. Does not belong here: the form of a page
(`page.py`), drawing (`plots.py`), any verdict (`monitoring/`).
"""

from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from gesture_assets.models.evaluation import Estimate, evaluate
from gesture_assets.monitoring.reference import FROZEN, JUDGED, Reference
from gesture_assets.reports.page import Number, Page, ask, table_of
from gesture_assets.reports.plots import beside, distribution, importances, lift, over_time, reliability

if TYPE_CHECKING:
    import duckdb

KEPT = 30  # pages: a month of nights
DAYS = 28  # that lines go back
MOST_LINES, MOST_SHAPES = 6, 4
BOOTSTRAP = 50  # the page says how wide an interval is, not its third digit
# The effect that matters is 1, so what is far below is as good as nothing, and a logarithm needs something.
LEAST_EFFECT = 0.01


def night_report(con: "duckdb.DuckDBPyConnection", models: Path, day: date) -> Page:
    """The page about the night of `day`, from the published file `con` and the folder `models`.

    Says what is missing where there is no champion, or where there are too few days. Everything is asked of the file,
    but what the champion was trained on and judged by, which is kept with it.
    """
    page = Page(f"Night of {day}", "What is wrong, what moved, how scores turned out, and whether to train.")
    reports = ask(con, f"select model_version from drift_reports where as_of_date = date '{day}' limit 1")
    folder = models / reports[0]["model_version"] if reports and reports[0]["model_version"] else None
    _headlines(page, con, day)
    _alerts(page, con, day)
    _drift(page, con, day)
    _shapes(page, con, folder, day)
    _performance(page, con, folder, day)
    _retraining(page, con, day)
    _business(page, con, day)
    _health(page, con, day)
    _model(page, con, day)
    return page


def keep_page(page: Page, folder: Path, day: date) -> Path:
    """Write `page` as `night-<day>.html` into `folder`, in one step, and keep the newest pages of it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"night-{day}.html"
    part = folder / f".{path.name}.tmp"
    part.write_text(page.html(), encoding="utf-8")
    part.replace(path)
    for old in sorted(folder.glob("night-*.html"))[:-KEPT]:
        old.unlink()
    return path


def _headlines(page: Page, con: "duckdb.DuckDBPyConnection", day: date) -> None:
    questions = {
        "Users scored": f"select count(*) from rule_scores where as_of_date = date '{day}'",
        "Of them by the model": f"select count(*) from model_scores where as_of_date = date '{day}'",
        "Alarms of the night": f"select count(*) from alerts where as_of_date = date '{day}'",
        "Alerts open now": "select count(*) from analytics.open_alerts",
        "Live in time, 30 days": "select round(100 * on_time_share, 2) || ' %' from pipeline_reliability "
        "where window_days = 30 and table_name is null",
    }
    page.numbers(*(Number(name, _answer(con, sql), sql=sql) for name, sql in questions.items()))


def _answer(con: "duckdb.DuckDBPyConnection", sql: str) -> str:
    row = con.execute(sql).fetchone()
    if row is None:
        return "no day was due yet"
    return f"{row[0]:,}" if isinstance(row[0], int) else str(row[0])


def _alerts(page: Page, con: "duckdb.DuckDBPyConnection", day: date) -> None:
    page.section("Alerts", 'Errors first. Nobody is told twice of one alert: gesture alerts ack KEY --note "why".')
    table_of(
        page,
        con,
        "Open now",
        "select severity, alert_key, first_seen as since, night_count as nights, "
        "case when is_acknowledged then acknowledged_by end as known_to, what, runbook as next "
        "from analytics.open_alerts limit 50",
        "No alert is open.",
    )
    table_of(
        page,
        con,
        "What sounded this night",
        "select severity, alert_key, what, place from alerts "
        f"where as_of_date = date '{day}' order by severity, alert_key limit 50",
        "Nothing sounded.",
    )


def _drift(page: Page, con: "duckdb.DuckDBPyConnection", day: date) -> None:
    page.section(
        "What moved",
        "Against the champion's own training, and of what people do against the four weeks "
        "before. An effect of 1 is what matters; a verdict also needs 200 rows and a difference beyond "
        "chance.",
    )
    since = f"as_of_date between date '{day}' - {DAYS} and date '{day}'"
    sql = f"""select as_of_date, feature as name, effect from drift_reports
where {since} and effect is not null and (feature, kind) in (select (feature, kind) from drift_reports
    where as_of_date = date '{day}' and importance > 0 order by rank limit {MOST_LINES})
order by name, as_of_date"""
    _lines(page, con, "drift", "Features by day", sql, "No champion: nothing is held against a training yet.")
    table_of(
        page,
        con,
        "What moved, the greatest effect on scores first",
        f"""select rank, feature, kind, round(effect, 2) as effect, round(importance, 4) as importance,
    round(score_shift, 2) as score_shift, round(score_moves, 2) as score_moves, round(band_moves, 4) as band_moves,
    matters, verdict, sentence
from drift_reports where as_of_date = date '{day}' and verdict in ('drift', 'moderate') and importance > 0
order by rank limit 25""",
        "No feature that the champion goes by has moved.",
    )
    sql = f"""select as_of_date, segment || ' ' || name as name, effect from event_mix_drift
where {since} and effect is not null and (segment, kind, name) in (select (segment, kind, name) from event_mix_drift
    where as_of_date = date '{day}' and verdict <> 'too_few_rows' order by effect desc nulls last limit {MOST_LINES})
order by name, as_of_date"""
    _lines(page, con, "event_mix", "What people do, by day", sql, "There are too few weeks of events to compare.")
    table_of(
        page,
        con,
        "What people do otherwise than before",
        f"""select segment, kind, name,
    round(effect, 2) as effect, verdict, sentence from event_mix_drift
where as_of_date = date '{day}' and verdict in ('drift', 'moderate') order by effect desc limit 25""",
        "People behave as in the weeks before.",
    )


def _lines(page: Page, con: "duckdb.DuckDBPyConnection", name: str, title: str, sql: str, missing: str) -> None:
    lines: dict[str, list[tuple[date, float]]] = defaultdict(list)
    for row in ask(con, sql):
        lines[row["name"]].append((row["as_of_date"], max(row["effect"], LEAST_EFFECT)))
    if lines:
        page.figure(over_time(name, title, lines, of="effect (1 matters)", limit=1, is_log=True), sql)
    else:
        page.note(missing, sql)


def _shapes(page: Page, con: "duckdb.DuckDBPyConnection", folder: Path | None, day: date) -> None:
    page.section(
        "How the weightiest features are spread",
        f"Tonight beside the champion's training (data/models/<version>/{FROZEN}), in bins that are frozen with it.",
    )
    sql = f"""select feature, kind, edges, categories, bin_counts from feature_profiles as profiles
join drift_reports as reports using (as_of_date, feature, kind)
where as_of_date = date '{day}' and kind in ('number', 'category')
order by reports.importance desc, feature limit {MOST_SHAPES}"""
    rows = ask(con, sql)
    if not rows or folder is None or not (folder / FROZEN).exists():
        page.note("No champion, or its reference is gone: there is nothing to hold tonight against.", sql)
        return
    frozen = pl.read_parquet(folder / FROZEN).filter(pl.col("kind") != "score")
    by_name = {feature.name: feature for feature in Reference.from_frame(frozen).features}
    for row in rows:
        feature = by_name[row["feature"]]
        trained = feature.histogram(feature.sample()).tolist()
        labels = [*(row["categories"] or [f"≤ {edge:.4g}" for edge in row["edges"]]), "others", "missing"]
        filled = [place for place in range(len(labels)) if trained[place] or row["bin_counts"][place]][:12]
        shares = {
            name: [counts[place] / max(sum(counts), 1) for place in filled]
            for name, counts in (("training", trained), ("tonight", row["bin_counts"]))
        }
        page.figure(
            beside(
                row["feature"],
                row["feature"],
                [str(labels[place]) for place in filled],
                shares,
                of="share of users",
                by="bin" if row["edges"] else "category",
            ),
            f"select edges, categories, bin_counts from feature_profiles where as_of_date = date '{day}' "
            f"and feature = '{row['feature']}'",
        )


def _performance(page: Page, con: "duckdb.DuckDBPyConnection", folder: Path | None, day: date) -> None:
    page.section(
        "How scores turned out",
        "Realised: the model's scores of a horizon ago against what came; rules: the "
        "rules' beside them; estimated: what tonight's should turn out to be.",
    )
    about = f"from performance_report where as_of_date = date '{day}' and segment = 'all'"
    table_of(
        page,
        con,
        "Figures",
        f"""select basis, metric, cohort_date, round(value, 4) as value,
    round(low, 4) as low, round(high, 4) as high, round(baseline_value, 4) as at_training, round(fall, 4) as fall,
    allowed_fall, verdict, sample_count as users, buyer_count as buyers {about}
    and metric not like 'lift_decile%' order by basis, metric""",
        "No scores are old enough for their outcomes to be known.",
    )
    sql = f"""select as_of_date, basis as name, value as effect from performance_report
where as_of_date between date '{day}' - {DAYS} and date '{day}' and segment = 'all' and metric = 'roc_auc'
    and value is not null order by name, as_of_date"""
    lines: dict[str, list[tuple[date, float]]] = defaultdict(list)
    for row in ask(con, sql):
        lines[row["name"]].append((row["as_of_date"], row["effect"]))
    if lines:
        page.figure(over_time("roc_auc", "Area under the ROC curve by day", lines, of="ROC AUC", limit=0.5), sql)
    page.section("Calibration and lift")
    table_of(
        page,
        con,
        "Whether probabilities are true",
        f"""select basis, metric, round(value, 4) as value,
    round(low, 4) as low, round(high, 4) as high, round(baseline_value, 4) as at_training, verdict {about}
    and metric in ('ece', 'sum_ratio', 'brier') order by basis, metric""",
        "No model's scores are old enough to say whether its probabilities are true.",
    )
    if folder and (folder / JUDGED).exists():
        judged = pl.read_parquet(folder / JUDGED)
        page.figure(
            reliability(evaluate(judged["label"], judged["probability"], bootstrap=BOOTSTRAP)),
            f"from 'data/models/{folder.name}/{JUDGED}'  -- the test part of its training; beside the data folder",
        )
    _lift(page, con, about, day)


def _lift(page: Page, con: "duckdb.DuckDBPyConnection", about: str, day: date) -> None:
    """Lift by band after 90 days; by tenth of the ranking until scores are so old."""
    sql = f"""select scored_by, band, conversion_rate, lift, user_count, buyer_count, cohort_date from score_backtest
where as_of_date = date '{day}' order by scored_by, conversion_rate desc"""
    rows = ask(con, sql)
    for scored_by in sorted({row["scored_by"] for row in rows}):
        own = {row["band"]: row["lift"] or 0.0 for row in rows if row["scored_by"] == scored_by}
        page.figure(
            beside(
                f"lift_{scored_by}",
                f"Lift by band of {scored_by}, after 90 days",
                list(own),
                {scored_by: list(own.values())},
                of="lift over everybody",
                by="band",
            ),
            sql,
        )
    table_of(page, con, "What became of the bands of 90 days before", sql, "No scores are 90 days old.")
    if rows:
        return
    for basis in ("realised", "rules"):
        sql = f"""select value, low, high {about} and basis = '{basis}' and metric like 'lift_decile%'
    and value is not null order by regexp_extract(metric, '[0-9]+')::integer"""
        tenths = [Estimate(row["value"], _or(row["low"], row), _or(row["high"], row)) for row in ask(con, sql)]
        if tenths:
            page.figure(lift(tenths), sql)
            return


def _or(end: float | None, row: dict[str, Any]) -> float:
    """The end of an interval; the value itself where there is none."""
    return row["value"] if end is None else end


def _retraining(page: Page, con: "duckdb.DuckDBPyConnection", day: date) -> None:
    page.section("Whether to train")
    tonight = f"from retrain_decision where as_of_date = date '{day}'"
    table_of(
        page,
        con,
        "Tonight's decision",
        f"select should_retrain, model_version, because {tonight}",
        "Nothing was decided that night.",
    )
    table_of(
        page,
        con,
        "What it was decided by",
        "select round(model_age_days, 1) as model_age_days, "
        "new_feedback_count, training_sample_count, f1_fall, roc_auc_fall, precision_fall, "
        f"round(drifted_importance, 4) as drifted_importance {tonight}",
        "There are no figures.",
    )
    table_of(
        page,
        con,
        "Trainings",
        "select attempted_at, as_of_date, outcome, model_version, because "
        "from training_attempts order by attempted_at desc limit 10",
        "No training was tried yet.",
    )


def _business(page: Page, con: "duckdb.DuckDBPyConnection", day: date) -> None:
    page.section("Business")
    sql = f"""select date_trunc('week', activity_date)::date as week, sum(purchase_count)::bigint as purchases,
    sum(signup_count)::bigint as signups, count(distinct user_id) as active_users
from daily_activity where as_of_date <= date '{day}' and not is_bot and activity_date > date '{day}' - 84
group by week order by week"""
    rows = ask(con, sql)
    lines = {name: [(row["week"], row[name]) for row in rows] for name in ("purchases", "signups")}
    if rows:
        page.figure(over_time("conversions", "Conversions by week", lines, of="number a week (the last goes on)"), sql)
    table_of(page, con, "Conversions by week", sql, "There is no activity yet.")
    table_of(
        page,
        con,
        "From the first event to the first purchase",
        f"""select count(*) as buyers,
    round(median(days), 1) as median_days, round(quantile_cont(days, 0.9), 1) as nine_tenths_within_days
from (select date_diff('day', min(activity_date), min(activity_date) filter (purchase_count > 0)) as days
    from daily_activity where as_of_date <= date '{day}' and not is_bot group by user_id)
where days is not null having count(*) > 0""",
        "Nobody bought yet.",
    )
    sql = f"""select as_of_date, band, count(*) as users from rule_scores
where as_of_date between date '{day}' - {DAYS} and date '{day}' and band is not null group by all
order by band, as_of_date"""
    bands: dict[str, list[tuple[date, float]]] = defaultdict(list)
    for row in ask(con, sql):
        bands[row["band"]].append((row["as_of_date"], row["users"]))
    if bands:
        page.figure(over_time("bands", "Users by the rules' band, by day", bands, of="users", is_log=True), sql)
    sql = f"""select 10 * floor(least(score, 99.99) / 10)::integer as at_least, count(*) as users from rule_scores
where as_of_date = date '{day}' and score is not null group by all order by at_least"""
    rows = ask(con, sql)
    if rows:
        page.figure(
            beside(
                "scores",
                "The rules' scores",
                [str(row["at_least"]) for row in rows],
                {"users": [row["users"] for row in rows]},
                of="users",
                by="score, from",
            ),
            sql,
        )


def _health(page: Page, con: "duckdb.DuckDBPyConnection", day: date) -> None:
    page.section(
        "How nights have gone",
        "A day is to be live by the deadline of the next one; 99.5 % of them are "
        "promised. As of the publication of the file.",
    )
    table_of(
        page,
        con,
        "Reliability",
        """select window_days, coalesce(table_name, 'all tables') as tables, day_count,
    on_time_count, round(100 * on_time_share, 2) as percent, round(100 * target, 2) as target, is_met, newest_late_date
from pipeline_reliability where table_name is null or not is_met order by window_days, tables limit 50""",
        "No day was due since the first night.",
    )
    table_of(
        page,
        con,
        "Tables that do not end with the newest day",
        "select table_name, as_of_date, verdict "
        "from analytics.data_freshness where as_of_date < (select max(as_of_date) from analytics.data_freshness) "
        "order by as_of_date, table_name",
        "Every table ends with the newest day.",
    )
    table_of(
        page,
        con,
        "Quality of the data: what changed most",
        f"""select measure, subject, affected_count,
    total_count, round(share, 4) as share, round(usual_share, 4) as usual_share, round(change, 4) as change
from data_quality_trend where as_of_date = date '{day}' and (affected_count > 0 or change <> 0)
order by abs(change) desc nulls last, measure, subject limit 15""",
        "Nothing was missing, odd or set aside.",
    )


def _model(page: Page, con: "duckdb.DuckDBPyConnection", day: date) -> None:
    page.section("The model")
    table_of(
        page,
        con,
        "Its state",
        "select champion, is_available, unavailable_because, attempt_count, last_outcome, "
        "last_success_at, last_success_version, last_refusal_because from model_status",
        "Unknown.",
    )
    sql = f"select probability from model_scores where as_of_date = date '{day}'"
    scores = [row["probability"] for row in ask(con, sql)]
    if not scores:
        page.note("No model scored that night: the rules serve.", sql)
        return
    page.figure(distribution(scores), sql)
    serves = f"(select any_value(model_version) from model_scores where as_of_date = date '{day}')"
    sql = (
        f"select feature_name as name, shap from feature_importance where model_version = {serves} "
        "qualify as_of_date = max(as_of_date) over () order by rank"
    )
    weights = ask(con, sql)
    if weights:
        page.figure(importances(pl.DataFrame(weights)), sql)
    table_of(
        page,
        con,
        "Its five weightiest features, by version",
        """select model_version, rank, feature_name,
    round(shap, 4) as share from (select * from feature_importance union all by name
    select * exclude (superseded_at) from superseded.feature_importance)
where rank <= 5 group by all order by model_version desc, rank limit 50""",
        "No importance is kept.",
    )
