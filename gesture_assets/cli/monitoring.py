"""Commands about what nights watch: open alerts, and why somebody's score moved.

Belongs here: arguments and what a person sees. Does not belong here: what an alarm does to an alert
(`monitoring/alerts.py`), the steps between two scores (`nights/score_changes.py`).
"""

import json
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gesture_assets.cli.console import AsJson, as_of, console, now, published, run_info, shown, unknown_user
from gesture_assets.errors import ConfigError, ModelMismatch
from gesture_assets.settings import settings_as_far_as_usable

if TYPE_CHECKING:
    from gesture_assets.monitoring.alerts import Incident

MOST_RULES = 3  # of a part: those that moved most
LEAST_MOVE = 1e-6  # points: less is arithmetic
UNSEEN = "subscriber:"  # ids of subscribers of whom no event is known


def alerts_list(
    with_resolved: Annotated[bool, typer.Option("--all", help="Those that are over as well.")] = False,
    as_json: AsJson = False,
) -> None:
    """What is wrong now: since when, who knows of it, what to do. Errors first, then the oldest."""
    from gesture_assets.monitoring.alerts import urgency
    from gesture_assets.publication.reading import private_ledger
    from gesture_assets.records import alert_log
    from gesture_assets.warehouse.relations import has_table

    settings = settings_as_far_as_usable()
    incidents: list[Incident] = []
    if settings.warehouse.exists():
        with private_ledger(settings) as con:
            incidents = alert_log.incidents(con) if has_table(con, alert_log.TABLE) else []
    standing = sorted((incident for incident in incidents if incident.is_open or with_resolved), key=urgency)
    rows = [
        {
            "severity": incident.alert.severity.value,
            "alert": incident.alert.key,
            "since": str(incident.first_seen),
            "nights": incident.night_count,
            "resolved": str(incident.resolved_on or ""),
            "known to": incident.acknowledged_by if incident.is_acknowledged else "",
            "note": incident.note or "",
            "what": incident.alert.what,
            "where": incident.alert.place,
            "next": incident.alert.runbook,
        }
        for incident in standing
    ]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    if not rows:
        console().print("No alert is open." if not with_resolved else "There was no alert yet.")
        return
    left_out = {"where", "note"} if with_resolved else {"where", "note", "resolved"}
    columns = [name for name in rows[0] if name not in left_out]
    shown("Alerts", columns, [[row[name] for name in columns] for row in rows])
    console().print('Next:  gesture alerts ack KEY --note "why"  |  gesture report night', highlight=False)


def alerts_ack(
    key: Annotated[str, typer.Argument(help="Key of an open alert, from  gesture alerts list.")],
    note: Annotated[str, typer.Option(help="What you know of it; it is kept.")],
) -> None:
    """Say that you know of an alert: nobody is told of it again until it is gone or gets worse."""
    from gesture_assets.records import alert_log
    from gesture_assets.records.opening import warehouse_of

    if not note.strip():
        raise ConfigError.bad_value(
            "--note",
            expected="what is known of it",
            found="nothing",
            where="the command line",
            next_step=f'gesture alerts ack {key} --note "why"',
        )
    run = run_info("gesture alerts ack", now().date())
    with warehouse_of(settings_as_far_as_usable()).open(run) as session:
        done = alert_log.acknowledge(session.connection, key, now=run.now, note=note)
    console().print(f"{key} is known to {done.acknowledged_by}: {note}", highlight=False, markup=False, soft_wrap=True)


def why_changed(
    user: Annotated[
        str | None, typer.Argument(help="User id; without one, the greatest moves between the two days are listed.")
    ] = None,
    earlier: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First of the two days; default: the day before the other."),
    ] = None,
    later: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Second of the two days; default: the newest.")
    ] = None,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="Length of the list of moves.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Why somebody's score moved between two days: parts that sum to the change, and the rules behind each."""
    import narwhals as nw
    import polars as pl

    from gesture_assets.nights.score_changes import between
    from gesture_assets.records.opening import warehouse_of

    settings = settings_as_far_as_usable()
    con = published(settings)
    last = as_of(con, later, settings)
    first = as_of(con, earlier or datetime.combine(last - timedelta(days=1), datetime.min.time()), settings)
    if first >= last:
        raise ConfigError.bad_value(
            "--from",
            expected=f"a day before {last}",
            found=first,
            where="the command line",
            next_step=f"gesture why-changed {user or ''} --to {last}".replace("  ", " "),
        )
    if user is None:
        _list_moves(con, first, last, n, as_json=as_json)
        return
    _require_scored(con, user, first, last)
    con.close()
    who = nw.from_native(pl.LazyFrame({"user_id": [user]}))
    with warehouse_of(settings).open(run_info("gesture why-changed", first, last)) as session:
        changes = between(session, settings, who, first, last, is_whole=user.startswith(UNSEEN))
        moved = {"rules": changes.by_user()}
        by_rule = changes.by_rule()
        try:
            moved["model"] = changes.by_model()
        except ModelMismatch as error:
            console(stderr=True).print(error.report, style="yellow", highlight=False, markup=False, soft_wrap=True)
    scores = {name: rows.row(0, named=True) for name, rows in moved.items() if rows.height}
    if as_json:
        print(json.dumps({"from": str(first), "to": str(last), **scores, "by_rule": by_rule.to_dicts()}, indent=1))
        return
    _show_parts(user, scores, by_rule)


def _list_moves(con: Any, first: date, last: date, n: int, *, as_json: bool) -> None:
    """The users whose score by the rules moved most from the day `first` to the day `last`."""
    rows = con.execute(
        """select user_id, round(old.score, 2) as before, round(new.score, 2) as after,
            round(new.score - old.score, 2) as change, old.band as band_before, new.band as band_after
        from rule_scores as old join rule_scores as new using (user_id)
        where old.as_of_date = ? and new.as_of_date = ? and new.score <> old.score
        order by abs(new.score - old.score) desc, user_id limit ?""",
        [first, last, n],
    ).fetchall()
    columns = ("user_id", "before", "after", "change", "band_before", "band_after")
    if as_json:
        moves = [dict(zip(columns, row, strict=True)) for row in rows]
        print(json.dumps({"from": str(first), "to": str(last), "moves": moves}, indent=1))
        return
    if not rows:
        console().print(f"Nobody's score moved from {first} to {last}.", highlight=False)
        return
    shown(
        f"The greatest moves from {first} to {last}",
        columns,
        [(row[0], f"{row[1]:.2f}", f"{row[2]:.2f}", f"{row[3]:+.2f}", *row[4:]) for row in rows],
    )
    console().print(f"Why:  gesture why-changed USER --from {first} --to {last}", highlight=False)


def _show_parts(user: str, scores: dict[str, dict[str, Any]], by_rule: Any) -> None:
    """A line per part with the points of rules and model, then the rules that made each."""
    import polars as pl

    from gesture_assets.monitoring.score_changes import AFTER, BEFORE, PARTS

    parts = (*PARTS, "unexplained")
    lines = [(name, *(f"{score[name]:.2f}" for score in scores.values())) for name in (BEFORE, AFTER)]
    lines += [
        (name.replace("_", " "), *(f"{score[name]:+.2f}" for score in scores.values())) for name in ("change", *parts)
    ]
    shown(f"Why the score of {user} changed", ("part", *scores), lines)
    rules = [
        (part.replace("_", " "), row["rule_id"], f"{row[part]:+.2f}", f"{row[BEFORE]:.2f}", f"{row[AFTER]:.2f}")
        for part in parts
        for row in by_rule.filter(pl.col(part).abs() > LEAST_MOVE)
        .sort(pl.col(part).abs(), "rule_id", descending=[True, False])
        .head(MOST_RULES)
        .iter_rows(named=True)
    ]
    if rules:
        shown("The rules that moved most", ("part", "rule", "points", BEFORE, AFTER), rules)
    beyond = by_rule["change"].sum() - scores["rules"]["change"]
    if abs(beyond) > LEAST_MOVE:
        console().print(f"A score is held within 1 to 100; its points moved by {beyond:+.2f} more.", highlight=False)


def _require_scored(con: Any, user: str, first: date, last: date) -> None:
    """Refuse a user who has no row on either day, naming those whose ids are like theirs."""
    days = [first, last]
    if con.execute(
        "select 1 from rule_scores where user_id = ? and as_of_date in (?, ?) limit 1", [user, *days]
    ).fetchone():
        return
    raise unknown_user(con, user, *days, next_step=f"gesture rank --date {last}")
