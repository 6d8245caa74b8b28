"""Commands that look at the published file: the ranked list, the reasons, tables as CSV.

Belongs here: questions of the salesperson and the analyst. Does not belong here: how a score is made (`rules/`).
"""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from gesture_assets.cli.console import (
    Day,
    as_of,
    console,
    published,
    require_target,
    rule_set_of_day,
    say_remarks,
    shown,
    unknown_user,
    write_csv,
)
from gesture_assets.cli.layout import LAYOUT, PING_LAYOUT, copy_csv, export_layout, export_pings
from gesture_assets.cli.recs import day_of_lists, first_users, require_user
from gesture_assets.errors import ConfigError
from gesture_assets.models.tables import DONE, EVERYBODY, GLOBAL
from gesture_assets.settings import settings_as_far_as_usable

OTHER_FORMATS = (".parquet", ".json", ".jsonl", ".ndjson", ".xlsx", ".xls", ".duckdb", ".gz", ".zip")
SCORED_BY = {"model": "the model", "rules_fallback": "the rules, as the model gives none"}


def rank(
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="Length of the list.")] = 20,
    day: Day = None,
    csv: Annotated[Path | None, typer.Option(help="Write it as CSV as well; safe to open in a spreadsheet.")] = None,
) -> None:
    """Whom to talk to first, and why: who can still do what the scores foretell."""
    settings = settings_as_far_as_usable()
    con = published(settings)
    chosen = as_of(con, day, settings)
    lists_everybody = rule_set_of_day(con, chosen).call_list == EVERYBODY
    top = _call_list(con, chosen, n, lists_everybody)
    (scale,) = con.execute(
        "select any_value(scale) from intent_scores where as_of_date = ? and score is not null", [chosen]
    ).fetchone()
    columns = ("rank", "user_id", "score", "why", "last_event_at")
    rows = [(*row[:2], f"{row[2]:.2f}" if scale == "points" else f"{row[2]:.0f}", *row[3:]) for row in top]
    meaning = "points of the rules" if scale == "points" else "1 + 99 × the probability"
    shown(f"Call list of {chosen}, the first {len(rows)} (score: {meaning})", columns, rows)
    if csv:
        write_csv(csv, columns, rows, settings)
    if not lists_everybody:
        _say_left_out(con, chosen)
    say_remarks(settings)


def _call_list(con: Any, day: date, n: int, lists_everybody: bool) -> list[tuple[Any, ...]]:
    """The first `n` of the call list of `day`: rank, user, score, why, last event."""
    import narwhals as nw

    from gesture_assets.models.call_list import call_list

    intent, rules, reasons = (
        nw.from_native(con.sql(f"select * from {name} where as_of_date = date '{day}'"))
        for name in ("intent_scores", "rule_scores", "score_reasons")
    )
    listed = call_list(intent, rules, reasons, n, lists_everybody=lists_everybody)
    return listed.select("rank", "user_id", "score", "explanation", "last_event_at").sort("rank").collect().rows()


def _say_left_out(con: Any, day: date) -> None:
    """Who is not called, because they have done it already."""
    import narwhals as nw

    from gesture_assets.models.call_list import left_out

    scores = nw.from_native(con.sql(f"select * from intent_scores where as_of_date = date '{day}'"))
    said = [f"{users:,} {reason.replace('_', ' ')}" for _, reason, users in left_out(scores).collect().rows()]
    if said:
        console().print(f"Not on the list: {', '.join(said)}.", highlight=False, soft_wrap=True)


def export(
    to: Annotated[Path, typer.Option(help="CSV file to write; the folder of a layout.")],
    table: Annotated[
        str, typer.Argument(help="Table or view of the published file, such as validated_subscribers.")
    ] = "",
    day: Annotated[
        datetime | None,
        typer.Option(
            "--date",
            formats=["%Y-%m-%d"],
            help="One day; default: every row, of top_users and a layout the newest day.",
        ),
    ] = None,
    layout: Annotated[
        str,
        typer.Option(help="scoring-csv or pings: the files of the event scoring or the short video project instead."),
    ] = "",
    user: Annotated[
        list[str] | None, typer.Option("--user", help="Of the layout pings, whose lists; default: of three users.")
    ] = None,
) -> None:
    """Write a published table as CSV that is safe to open in a spreadsheet."""
    settings = settings_as_far_as_usable()
    con = published(settings)
    if bool(table) == bool(layout) or layout not in ("", LAYOUT, PING_LAYOUT) or (user and layout != PING_LAYOUT):
        raise ConfigError.bad_value(
            "What to export",
            expected=f"a table, or --layout {LAYOUT}, or --layout {PING_LAYOUT} and --user",
            found=f"{table} {layout} {' '.join(user or ())}".strip() or "neither",
            where="the command line",
            next_step=f"gesture export --layout {PING_LAYOUT if user else LAYOUT} --to {to}",
        )
    if layout == PING_LAYOUT:
        chosen = day_of_lists(con, day, settings)
        for one in user or ():
            require_user(con, one, chosen)
        export_pings(con, chosen, to, settings, user or first_users(con, chosen, 3))
        return
    if layout:
        export_layout(con, as_of(con, day, settings), to, settings)
        return
    tables = {
        f"{schema}.{name}" if schema != "main" else name
        for schema, name in con.execute(
            "select table_schema, table_name from information_schema.tables where table_catalog = 'gesture'"
        ).fetchall()
    }
    if table not in tables:
        raise ConfigError.unknown_name(
            "The table", table, tables, where=str(settings.published), next_step="gesture export --help"
        )
    fields = con.execute(f"describe {table}").fetchall()
    if day and "as_of_date" not in {name for name, *_ in fields}:
        raise ConfigError.bad_value(
            "--date",
            expected="a table with a column as_of_date",
            found=table,
            where="the command line",
            next_step=f"gesture export {table} --to {to}",
        )
    require_target(to, settings)
    if to.suffix.lower() in OTHER_FORMATS:
        raise ConfigError.bad_value(
            "--to",
            expected="the name of a CSV file",
            found=to.name,
            where="the command line",
            next_step=f"gesture export {table} --to {to.with_suffix('.csv')}",
        )
    chosen = day.date() if day else as_of(con, None, settings) if table == "top_users" else None
    where = f"where as_of_date = date '{chosen}'" if chosen else ""
    if day and not con.execute(f"select 1 from {table} {where} limit 1").fetchone():
        as_of(con, day, settings)  # a day without a row of the table is written, one that was never published refused
    written = copy_csv(con, f"from {table} {where}", to)
    of_day = f" of {chosen}" if chosen else ""
    console().print(f"Wrote {written:,} rows{of_day} to {to}", highlight=False, soft_wrap=True)


def explain(
    user: Annotated[
        str | None, typer.Argument(help="One user; without it, every rule and what it adds on average.")
    ] = None,
    user_id: Annotated[str | None, typer.Option(help="The same.")] = None,
    day: Day = None,
) -> None:
    """Why a score is what it is: the rules and the model side by side, and the score to act on."""
    settings = settings_as_far_as_usable()
    if user and user_id and user != user_id:
        raise ConfigError.bad_value(
            "The user",
            expected="one user, as an argument or with --user-id",
            found=f"{user} and {user_id}",
            where="the command line",
            next_step=f"gesture explain {user}",
        )
    user_id = user_id or user
    con = published(settings)
    chosen = as_of(con, day, settings)
    if user_id is None:
        _explain_rules(con, chosen)
    else:
        _explain_score(con, chosen, user_id)
        _explain_model(con, chosen, user_id)
    say_remarks(settings)


def _explain_rules(con: Any, day: date) -> None:
    """What each rule adds on average over everybody."""
    import narwhals as nw

    from gesture_assets.rules.scorer import global_explanation

    parts = nw.from_native(con.sql(f"select * from rule_contributions where as_of_date = date '{day}'"))
    (users,) = con.execute("select count(*) from rule_scores where as_of_date = ?", [day]).fetchone()
    table = global_explanation(parts, rule_set_of_day(con, day), users)
    rows = [tuple(f"{value:.3f}" if isinstance(value, float) else value for value in row) for row in table.rows()]
    shown(f"What the rules add, {day}", table.columns, rows)


def _explain_score(con: Any, day: date, user_id: str) -> None:
    """What each rule adds to the score of a user, also where that is nothing."""
    row = con.execute(
        "select score, band, points, rule_set, rule_set_version, last_event_at, explanation from rule_scores "
        "where as_of_date = ? and user_id = ?",
        [day, user_id],
    ).fetchone()
    if row is None:
        raise unknown_user(con, user_id, day, next_step="gesture rank --n 20")
    score, band, _, rule_set, version, last_event_at, explanation = row
    parts = con.execute(
        "select rule_id, value, weight, scaled, decay, points, because, counted from rule_contributions "
        "where as_of_date = ? and user_id = ? order by points desc, rule_id",
        [day, user_id],
    ).fetchall()
    rows = [
        (
            rule_id,
            "unknown"
            if value is None
            else f"{value:g}"
            if counted in (None, value)
            else f"{value:g} ({counted:g} count)",
            f"{weight:g}",
            f"{scaled:.3f}",
            f"{decay:.3f}",
            f"{points:.2f}",
            because,
        )
        for rule_id, value, weight, scaled, decay, points, because, counted in parts
    ]
    rules = rule_set_of_day(con, day).rules
    silent = [rule for rule in rules if rule.id not in {part[0] for part in parts}]
    if silent:
        values = con.execute(
            f"select {', '.join(rule.feature for rule in silent)} from user_features "
            "where as_of_date = ? and user_id = ?",
            [day, user_id],
        ).fetchone()
        for rule, value in zip(silent, values, strict=True):
            text = "unknown" if value is None else f"{float(value):g}"
            rows.append((rule.id, text, f"{rule.weight:g}", "", "", "0.00", "adds nothing"))
    best = sum(rule.weight for rule in rules if rule.weight > 0)
    rows.append(("sum", "", f"{best:g}", "", "", f"{sum(part[5] for part in parts):.2f}", ""))
    scored = f"{score:.2f} points of the rules ({band})" if score is not None else f"no score ({explanation})"
    shown(
        f"{user_id} on {day}: {scored}, rule set {rule_set} {version}, last event {last_event_at}",
        ("rule", "value", "weight", "scaled", "decay", "points", "because"),
        rows,
    )


def _explain_model(con: Any, day: date, user_id: str) -> None:
    """What the model says beside the rules, why, and which of the two scores is to be acted on."""
    key = [day, user_id]
    row = con.execute(
        "select score, scale, probability, source, model_score, rank_difference, is_disagreement, fallback_reason "
        "from intent_scores "
        "where as_of_date = ? and user_id = ?",
        key,
    ).fetchone()
    if row is None:
        return
    score, scale, probability, source, model_score, apart, is_disagreement, because = row
    if model_score is not None:
        version, scope, its_own, percentile, confidence = con.execute(
            "select model_version, model_scope, probability, percentile, confidence from model_scores "
            "where as_of_date = ? and user_id = ?",
            key,
        ).fetchone()
        reasons = con.execute(
            "select direction, sentence, contribution, reason_code from score_reasons where as_of_date = ? "
            "and user_id = ? order by direction = 'rest', direction desc, place",
            key,
        ).fetchall()
        console().print(
            f"The model: score {model_score:.0f}, probability {its_own:.4f} (above {percentile:.1%} of the users), "
            f"confidence {confidence:.2f}, version {version}"
            f"{f', its model for {scope}' if scope not in (None, GLOBAL) else ''}",
            highlight=False,
            soft_wrap=True,
        )
        shown(
            "Why: what raises and lowers the log odds",
            ("direction", "reason", "log odds", "code"),
            [(way, sentence, f"{amount:+.3f}", code) for way, sentence, amount, code in reasons],
        )
    shown_score = f"{score:.2f} points" if scale == "points" else f"{score:.0f} (probability {probability or 0:.4f})"
    sentence = "nothing: no score may be given" if score is None else f"{shown_score}, from {SCORED_BY[source]}"
    sentence += f" ({because})" if because else ""
    sentence += f"; rules and model rank them {apart:.0f} percentiles apart" if apart is not None else ""
    sentence += ": they disagree, somebody should look" if is_disagreement else ""
    sentence += "; not on the call list: has done it already" if because in DONE else ""
    console().print(f"To act on: {sentence}", highlight=False, soft_wrap=True)
