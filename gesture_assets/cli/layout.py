"""The files of the projects of documents 000 (event scoring) and 004 (short videos), written from the published file.

Belongs here: their file names and columns. Does not belong here: how a score or a list is made (`rules/`, `models/`,
`pings/`). The column `username` of the first is personal data, which no file of ours holds.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gesture_assets.cli.console import CONTROL, console, require_not_kept, write_csv, writing
from gesture_assets.errors import ConfigError
from gesture_assets.settings import Settings
from gesture_assets.vocabulary.sql import literal

LAYOUT, PING_LAYOUT = "scoring-csv", "pings"
# Our column -> theirs, in the order of their file.
FEATURES = {
    "user_id": "user_id",
    "city": "location_city",
    "gender": "gender",
    "primary_device": "primary_device",
    "account_balance_usd": "account_balance_usd",
    "recent_pages_viewed": "recent_pages_viewed",
    "recent_pricing_views": "recent_pricing_views",
    "event_count": "total_events",
    "session_count": "total_sessions",
    "repeat_session_count": "repeat_sessions",
    "repeat_session_rate": "repeat_session_rate",
    "bounced_session_count": "bounces",
    "bounce_rate": "bounce_rate",
    "spam_session_count": "spam_sessions",
    "spam_rate": "spam_rate",
    "page_view_count": "page_views",
    "pricing_page_view_count": "pricing_page_views",
    "search_count": "search_events",
    "chat_message_count": "chat_messages",
    "doc_download_count": "doc_downloads",
    "demo_request_click_count": "demo_request_clicks",
    "signup_count": "signups",
    "calendar_booking_count": "calendar_bookings",
    "last_event_at": "last_event_ts",
    "days_since_last_event": "days_since_last_event",
    "is_converted": "converted",
}
OF_TOP = (
    "signup_count",
    "calendar_booking_count",
    "demo_request_click_count",
    "pricing_page_view_count",
    "is_converted",
)

STATISTICS = ("count", "mean", "std", "min", "25%", "50%", "75%", "90%", "max")  # in the order of document 004


def _cell_sql(name: str) -> str:
    """A column of text as it may stand in a spreadsheet: nothing orders a terminal, nothing is a formula (OWASP)."""
    text = f"regexp_replace({name}, '{CONTROL.pattern}', '', 'g')"
    return f"if(left({text}, 1) in ('=', '+', '-', '@', chr(9), chr(13)), '''' || {text}, {text}) as {name}"


def copy_csv(con: Any, query: str, path: Path, *, by: str = "") -> int:
    """Write the rows of `query` as CSV that is safe to open; how many they are.

    They are in the order of the column `by`, which is not written, or of all columns.
    """
    fields = con.execute(f"describe {query}").fetchall()
    selected = ", ".join(_cell_sql(name) if kind == "VARCHAR" else name for name, kind, *_ in fields if name != by)
    target = str(path).replace("'", "''")
    # DuckDB writes beside a file that there is, and replaces that when it is done.
    beside = path.with_name(f"tmp_{path.name}")
    with writing(path, beside, *([] if path.exists() else [path])):
        copied = con.execute(
            f"copy (select {selected} from ({query}) order by {by or 'all'}) to '{target}' (format csv, header)"
        )
    return copied.fetchone()[0]


def export_layout(con: Any, day: date, folder: Path, settings: Settings) -> None:
    """Write their seven files below `folder`, as of the end of `day`; the three about a model where one scored it."""
    _require_folder(folder, LAYOUT)
    for name in ("data/raw_events.csv", "models/xgb_model.json"):
        require_not_kept(folder / name, settings)
    for name in ("data", "models"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    as_of = f"as_of_date = date '{day}'"
    scored = "score, rule_band as score_label, explanation"
    top = ", ".join(f"{name} as {FEATURES[name]}" for name in OF_TOP)
    for name, query in {
        **_step_queries(day),
        # The score to act on, as in every list; without a model it is the points.
        "user_scores": "select user_id, intent.score, band as score_label, explanation "
        f"from intent_scores as intent join rule_scores using (as_of_date, user_id) where {as_of}",
        "top_users": f"select rank, user_id, {scored}, {top} from top_users "
        f"join user_features using (as_of_date, user_id) where {as_of}",
    }.items():
        print_written(folder / "data" / f"{name}.csv", copy_csv(con, query, folder / "data" / f"{name}.csv"))
    console().print(
        "In them converted means signed up and booked a meeting, not bought, as in the event scoring project; "
        "score_label is the band of the rules' points.",
        highlight=False,
        soft_wrap=True,
    )
    version = con.execute(f"select distinct model_version from model_scores where {as_of}").fetchone()
    if version is None:
        from gesture_assets.publication.reading import how_to_train

        console().print(
            f"No model scored {day}: there is no data/user_model_scores.csv, models/xgb_model.json or "
            f"models/training_metrics.json. Next:  {how_to_train(settings)}",
            highlight=False,
            soft_wrap=True,
        )
        return
    _export_model(con, day, folder, settings.models, version[0])


def export_pings(con: Any, day: date, folder: Path, settings: Settings, users: Sequence[str]) -> None:
    """Write document 004's files below `folder`, as of the end of `day`, with the lists of `users`."""
    _require_folder(folder, PING_LAYOUT)
    for name in ("ping_global.csv", "recs/recs_u1.csv"):
        require_not_kept(folder / name, settings)
    (folder / "recs").mkdir(parents=True, exist_ok=True)
    as_of = f"as_of_date = date '{day}'"
    groups = f"from new_vs_existing_users where {as_of}"
    of_all = "global_engagement, user_count as users_interacted"
    since = f"date '{day}' - coalesce((content ->> '$.windows.popularity')::integer, 1000000)"
    is_new = "if(is_new, 'True', 'False') as is_new"
    for name, query, by in (
        ("ping_global", f"select rank, ping_id, {of_all} from ping_engagement where {as_of}", "rank"),
        (
            "user_ping",
            "select user_id, ping_id, (sum(engagement_units) || 'e-12')::double as engagement_score, "
            "max(last_event_at) as last_ts, sum(event_count)::bigint as n_events from user_ping_engagement as done "
            f"join ping_weights as weights on weights.{as_of} and done.as_of_date <= weights.as_of_date "
            f"and done.as_of_date > {since} group by user_id, ping_id",
            "",
        ),
        (
            "top10_pings",
            f"select top.rank, ping_id, {of_all}, creator_id, main_hashtag, category, duration_sec, created_at "
            f"from ping_engagement as top join pings using (as_of_date, ping_id) where {as_of} and top.rank <= 10",
            "rank",
        ),
        ("avg_watch_by_group", f"select {is_new}, avg_watch_time_ratio, view_count {groups} and view_count > 0", ""),
        ("avg_pings_by_group", f"select {is_new}, avg_pings, user_count {groups}", ""),
    ):
        print_written(folder / f"{name}.csv", copy_csv(con, query, folder / f"{name}.csv", by=by))
    stats = con.execute(f"select statistic, watch_time_ratio from watch_time_stats where {as_of}").fetchall()
    stats.sort(key=lambda row: STATISTICS.index(row[0]))
    write_csv(folder / "watch_time_ratio_stats.csv", ("", "watch_time_ratio"), stats, settings)
    print_written(folder / "watch_time_ratio_stats.csv", len(stats))
    columns = "rank, ping_id, score, category, main_hashtag, creator_id, reason"
    for user in users:
        path = folder / "recs" / f"recs_{quote(user, safe='')}.csv"  # an id may look like a path
        query = f"select {columns} from ping_recommendations where {as_of} and user_id = {literal(user)}"
        print_written(path, copy_csv(con, query, path, by="rank"))


def _require_folder(folder: Path, layout: str) -> None:
    if folder.is_file():
        raise ConfigError.bad_value(
            "--to",
            expected="a folder",
            found=str(folder),
            where="the command line",
            next_step=f"gesture export --layout {layout} --to FOLDER",
        )


def write_step(con: Any, name: str, path: Path) -> int:
    """Write their file `name` as a step leaves it on the newest day of the attached warehouse; how many rows it has."""
    con.execute("use warehouse")
    table = "rule_scores" if name == "user_scores" else name
    ((day,),) = con.execute(f"select max(as_of_date) from {table}").fetchall()
    return copy_csv(con, _step_queries(day)[name], path)


def _step_queries(day: date) -> dict[str, str]:
    """Their file -> what is in it as of the end of `day`, of those that need no score to act on."""
    as_of = f"as_of_date = date '{day}'"
    return {
        "raw_events": f"select {_raw_columns()} from raw_events where as_of_date <= date '{day}'",
        "user_features": f"select {_renamed(FEATURES)} from user_features where {as_of}",
        "user_scores": f"select user_id, score, band as score_label, explanation from rule_scores where {as_of}",
    }


def _export_model(con: Any, day: date, folder: Path, models: Path, version: str) -> None:
    """The booster as plain XGBoost reads it, and what it reads and says of everybody: `raw_probability` is its own.

    It is the global one; where `model_scope` names a segment, `probability` is of that segment's own model.
    """
    import polars as pl
    import xgboost

    from gesture_assets.models.matrix import encode
    from gesture_assets.models.versions import FIGURES, load_version

    model = load_version(models, version)
    rows = con.execute(
        "select features.*, rules.score as rule_score, scores.score, probability, model_scope "
        "from model_scores as scores join user_features as features using (as_of_date, user_id) "
        "join rule_scores as rules using (as_of_date, user_id) where as_of_date = ? order by user_id",
        [day],
    ).pl()
    matrix = encode(rows, model.encoding)
    names = list(model.encoding.names)
    model.booster.feature_names = names
    raw = model.booster.predict(xgboost.DMatrix(matrix, feature_names=names))
    inputs = pl.DataFrame(matrix, schema=names).fill_nan(None)
    scores = rows.select("user_id", "score", "probability", "model_scope", raw_probability=pl.Series(raw))
    frame = pl.concat([scores, inputs], how="horizontal")
    con.register("user_model_scores", frame.to_arrow())
    path = folder / "data" / "user_model_scores.csv"
    print_written(path, copy_csv(con, "from user_model_scores", path))
    model.booster.save_model(folder / "models" / "xgb_model.json")
    (folder / "models" / "training_metrics.json").write_bytes((models / version / FIGURES).read_bytes())
    console().print(f"Wrote {version} to {folder / 'models'}", highlight=False, soft_wrap=True)


def _raw_columns() -> str:
    """The columns of their events: what the source `scoring_csv` is read by, the other way round."""
    from gesture_assets.sources.description import SHIPPED, load_descriptions

    return _renamed({ours: theirs[0] for ours, theirs in load_descriptions(SHIPPED)["scoring_csv"].columns.items()})


def _renamed(names: dict[str, str]) -> str:
    return ", ".join(f"{ours} as {theirs}" for ours, theirs in names.items())


def print_written(path: Path, rows: int) -> None:
    """Say that a file was written."""
    console().print(f"Wrote {rows:,} rows to {path}", highlight=False, soft_wrap=True)
