"""Commands about lists of short videos: whose list holds what, how lists fared, why a ping is on one or is not.

Belongs here: questions to the published file, and asking for a refresh. Does not belong here: how a list is made
(`pings/recommend.py`) and judged (`pings/judging.py`).
"""

import json
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from gesture_assets.cli.console import (
    AsJson,
    Day,
    console,
    now,
    progress,
    published,
    say_remarks,
    shown,
    unknown_user,
    write_csv,
)
from gesture_assets.errors import ConfigError, GateClosed
from gesture_assets.settings import Settings, settings_as_far_as_usable

PARTS = ("popularity", "category", "creator", "freshness")
POINTS = tuple(f"{part}_points" for part in PARTS)
LISTED = ("rank", "ping_id", "score", *POINTS, "reason")
# Measure -> its head in a table. Of the first, more is better and 95 % intervals are known.
GOOD = {"ndcg": "NDCG", "hit_rate": "hit rate", "reciprocal_rank": "MRR"}
SPREAD = {
    "coverage": "coverage",
    "novelty": "novelty",
    "churn": "churn",
    "creator_gini": "Gini",
    "mean_overlap": "overlap",
    "popularity_bias": "popularity",
}
User = Annotated[str, typer.Option("--user", help="Whose list.")]


def recs(
    context: typer.Context,
    user: Annotated[str | None, typer.Option("--user", help="Whose list.")] = None,
    day: Day = None,
    csv: Annotated[Path | None, typer.Option(help="Write it as CSV as well; safe to open in a spreadsheet.")] = None,
    as_json: AsJson = False,
) -> None:
    """The short videos that a user is to be shown next: score, its four parts, reasons."""
    if context.invoked_subcommand:
        return
    settings = settings_as_far_as_usable()
    con = published(settings)
    chosen = day_of_lists(con, day, settings)
    if user is None:
        raise ConfigError.bad_value(
            "--user",
            expected="whose list",
            found="nothing",
            where="the command line",
            next_step=f"gesture recs --user {first_users(con, chosen, 1)[0]}  |  gesture recs evaluate",
        )
    rows = con.execute(
        f"select {', '.join(LISTED)} from ping_recommendations where as_of_date = ? and user_id = ? order by rank",
        [chosen, user],
    ).fetchall()
    if not rows:
        require_user(con, user, chosen)
    if csv:
        write_csv(csv, LISTED, rows, settings)
    if as_json:
        print(json.dumps([dict(zip(LISTED, row, strict=True)) for row in rows], indent=1))
        return
    weights, version = con.execute(
        "select weights, weights_version from ping_weights where as_of_date = ?", [chosen]
    ).fetchone()
    ranker = _ranker(con, user, chosen)
    shown(
        f"Pings for {user} of {chosen}, by the weights {weights} {version} (a score is the sum of its four parts)",
        ("rank", "ping_id", "score", "parts", "why"),
        [(*row[:2], f"{row[2]:.4f}", _in_parts(row[3:7]), row[7]) for row in rows],
    )
    if ranker:
        _say(f"In the order of the ranker {ranker}, not of the scores. Why it serves:  gesture recs rankers")
    if not rows:
        _say(f"Nothing is left to show: {user} has seen the whole catalogue.")
    say_remarks(settings)


def recs_evaluate(day: Day = None, as_json: AsJson = False) -> None:
    """How the lists of the day before fared with what users did, beside plain orders; 95 % intervals over users."""
    settings = settings_as_far_as_usable()
    con = published(settings)
    chosen = day_of_lists(con, day, settings, table="recommendation_evaluation")
    columns = ("policy", "measure", "value", "low", "high", "user_count", "excluded_count")
    rows = con.execute(
        f"select {', '.join(columns)} from recommendation_evaluation where as_of_date = ? order by policy, measure",
        [chosen],
    ).fetchall()
    if as_json:
        print(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=1))
        return
    estimated = [row for row in rows if row[1] == "snips"]
    rows = [row for row in rows if row[1] not in ("ips", "snips")]
    found = {(row[0], row[1]): row[2:5] for row in rows}
    policies = sorted({row[0] for row in rows}, key=lambda name: (name != "served", -found[name, "ndcg"][0], name))
    (length,) = con.execute(
        "select list_length from ping_weights where as_of_date <= ? order by as_of_date desc", [chosen]
    ).fetchone()
    shown(
        f"Lists of {chosen - timedelta(days=1)} by what users did on {chosen}; 95 % intervals over users",
        ("policy", *(f"{head}@{length}" for head in GOOD.values())),
        [(name, *(_with_interval(found.get((name, measure))) for measure in GOOD)) for name in policies],
    )
    spread = [
        (name, *(f"{found[name, measure][0]:.3f}" if (name, measure) in found else "" for measure in SPREAD))
        for name in policies
    ]
    shown("What they hold", ("policy", *SPREAD.values()), spread)
    if estimated:
        shown(
            "What other lists would have got, by the chances of what was tried out: gains per ping that was seen",
            ("policy", "SNIPS", "users"),
            [(row[0], _with_interval(row[2:5]), f"{row[5]:,}") for row in estimated],
        )
    judged, excluded = next(row[5:] for row in rows if row[:2] == ("served", "ndcg"))
    _say(
        f"Judged by {judged:,} users with a list who did something good that day; {excluded:,} with a list did not and "
        "are not counted. Users were shown what the app chose, not these lists: docs/pings.md says what that hides."
    )
    for measure, best, gain, is_clear in con.execute(
        "select measure, best_plain_policy, difference, is_clear from analytics.recommendation_quality "
        "where as_of_date = ? and measure = 'ndcg'",
        [chosen],
    ).fetchall():
        clear = "their intervals do not overlap" if is_clear else "their intervals overlap: no clear difference"
        side = "above" if gain > 0 else "below"
        _say(f"{GOOD[measure]}: served is {abs(gain):.4f} {side} {best}, the best of the plain orders; {clear}.")
    say_remarks(settings)


def recs_refresh() -> None:
    """Make the lists of today of what has landed so far, between two nights; nothing else is built."""
    from gesture_assets.cli.run import note, saying_what_readers_have
    from gesture_assets.nights.refresh import refresh

    settings, moment = settings_as_far_as_usable(), now()
    with saying_what_readers_have(settings) as outcome, progress("making the lists of today"):
        run_id = note(settings, action="refresh", what="ping_recommendations", days=[moment.date()])
        result = refresh(settings, now=moment, run_id=run_id).raise_failure()
        outcome.done = True
    done = "published_warehouse" in result.results
    _say(
        f"Lists of {moment.date()}, of what has landed by now, are published; tonight they are made again."
        if done
        else f"Readers have the lists of {moment.date()} already: nothing that has landed since changes one."
    )
    _say("Next:  gesture recs --user USER")


def recs_explain(
    user: User, ping: Annotated[str, typer.Option("--ping", help="The short video.")], day: Day = None
) -> None:
    """Why a ping is on a user's list: the parts of its score. Or why it is not: seen, or outscored by what."""
    settings = settings_as_far_as_usable()
    con = published(settings)
    chosen = day_of_lists(con, day, settings)
    _require_ping(con, ping, chosen)
    require_user(con, user, chosen)
    listed = con.execute(
        "select rank, ping_id, score, reason, is_explored, propensity from ping_recommendations where as_of_date = ? "
        "and user_id = ? order by rank",
        [chosen, user],
    ).fetchall()
    weights, scores = _scores_of_unseen(con, user, chosen)
    mine = scores.get(ping)
    if mine is None:
        _say(
            f"{ping} is not on the list of {user} of {chosen}: {_why_without_score(con, user, ping, chosen, weights)}."
        )
        say_remarks(settings)
        return
    on_list = next((row for row in listed if row[1] == ping), None)
    rank = on_list[0] if on_list else None
    weight = weights.score.model_dump()
    rows = [
        (part, f"{mine[points] / (weight[part] or 1):.4f}", f"{weight[part]:g}", f"{mine[points]:.4f}")
        for part, points in zip(PARTS, POINTS, strict=True)
    ]
    place = f"number {rank} of {len(listed)}" if rank else "not on the list"
    shown(
        f"{ping} for {user} on {chosen}: {place}, score {mine['score']:.4f} ({mine['reason']})",
        ("part", "value", "weight", "points"),
        [*rows, ("sum", "", "", f"{mine['score']:.4f}")],
    )
    if on_list and on_list[4]:
        _say(f"Tried out: it stands there by chance, {on_list[5]:.4f}, and is number {mine['rank']:,} by its score.")
    elif ranker := _ranker(con, user, chosen):
        candidates = con.execute(
            "select count(*), count(*) filter (ping_id = ?) from ping_candidates where as_of_date = ? and user_id = ?",
            [ping, chosen, user],
        ).fetchone()
        said = f"The list is in the order of the ranker {ranker}, which was asked about the {candidates[0]} highest "
        said += f"scores; by its score this ping is number {mine['rank']:,}"
        _say(f"{said}." if candidates[1] else f"{said}, and it was not asked about it.")
    elif not on_list:
        # Where chance gave away every place, the last of them is named all the same.
        _, last, score, reason, *_ = next((row for row in reversed(listed) if not row[4]), listed[-1])
        given = next((row for row in listed if row[0] == mine["rank"] and row[4]), None)
        if given:
            said = f"Its place, number {given[0]}, was given by chance, to {given[1]}."
        elif scores[last]["rank"] < mine["rank"]:
            said = f"Outscored: {mine['rank'] - 1:,} unseen pings stand before it. "
            said += f"The last of the list, {last}, has {score:.4f} ({reason})."
        else:
            said = f"Left out: a list holds {weights.lists.per_creator} pings of one creator at most."
        _say(said)
    say_remarks(settings)


def _ranker(con: Any, user: str, day: date) -> str | None:
    """The ranker that put the list of `user` in order; None where its scores did."""
    (version,) = con.execute(
        "select max(ranker_version) from ping_recommendations where as_of_date = ? and user_id = ?", [day, user]
    ).fetchone()
    return version


def day_of_lists(con: Any, day: datetime | None, settings: Settings, *, table: str = "ping_recommendations") -> date:
    """`day`, or the newest that `table` has rows of. Raises `GateClosed` where it has none, and says why."""
    first, newest = con.execute(f"select min(as_of_date), max(as_of_date) from {table}").fetchone()
    if newest is None and con.execute("select 1 from pings limit 1").fetchone():
        raise GateClosed(
            f"There are no rows of {table} yet.",
            expected="a published day with some; lists are judged by what users do on the day after",
            found="none",
            where=str(settings.published),
            next_step="gesture gates  (what did not pass, and why)",
        )
    if newest is None:
        raise GateClosed(
            "There are no lists of short videos.",
            expected="files of the kinds interaction, ping and ping_user",
            found="none: nothing of short videos has landed",
            where=str(settings.landing),
            next_step="gesture demo-data --pings  (or land your own: docs/pings.md), then  gesture run",
        )
    chosen = day.date() if day else newest
    if not con.execute(f"select 1 from {table} where as_of_date = ? limit 1", [chosen]).fetchone():
        raise GateClosed(
            f"There are no rows of {table} for {chosen}.",
            expected=f"a day from {first} to {newest} that was published",
            found="none of that day",
            where=str(settings.published),
            next_step=f"leave --date out for {newest}",
        )
    return chosen


def first_users(con: Any, day: date, n: int) -> list[str]:
    """`n` users with a list, the shortest ids first: u1, u2, u3 as in document 004."""
    rows = con.execute(
        "select distinct user_id from ping_recommendations where as_of_date = ? "
        "order by length(user_id), user_id limit ?",
        [day, n],
    ).fetchall()
    return [user for (user,) in rows]


def _with_interval(found: tuple[float, float | None, float | None] | None) -> str:
    if found is None:
        return ""
    value, low, high = found
    return f"{value:.3f}" if low is None else f"{value:.3f} {low:.3f}–{high:.3f}"


def _in_parts(points: Sequence[float]) -> str:
    """What adds to a score, such as popularity 0.1673 + freshness 0.0100."""
    return " + ".join(f"{part} {adds:.4f}" for part, adds in zip(PARTS, points, strict=True) if adds)


def _say(text: str) -> None:
    console().print(text, highlight=False)


def require_user(con: Any, user: str, day: date) -> None:
    """Refuse a user who is not known on `day`; who has seen everything has no list and is."""
    known = "select 1 from {} where user_id = ? and as_of_date {} ? limit 1"
    for table, on in (("ping_recommendations", "="), ("ping_interactions", "<=")):
        if con.execute(known.format(table, on), [user, day]).fetchone():
            return
    first = first_users(con, day, 1)[0]
    raise unknown_user(con, user, day, table="ping_recommendations", next_step=f"gesture recs --user {first}")


def _require_ping(con: Any, ping: str, day: date) -> None:
    if con.execute("select 1 from pings where as_of_date = ? and ping_id = ?", [day, ping]).fetchone():
        return
    near = con.execute(
        "select ping_id, count(*) over () from pings where as_of_date = ? order by levenshtein(ping_id, ?), ping_id "
        "limit 3",
        [day, ping],
    ).fetchall()
    raise ConfigError.unknown_name(
        "The ping",
        ping,
        [row[0] for row in near],
        where=f"pings of {day}",
        next_step=f"gesture export pings --date {day} --to pings.csv",
        count=near[0][1],
    )


def _end_of(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time())


def _scores_of_unseen(con: Any, user: str, day: date) -> tuple[Any, dict[str, dict[str, Any]]]:
    """The weights of `day`; every ping that a list of `user` may hold, ranked as if it held them all."""
    import narwhals as nw
    import polars as pl

    from gesture_assets.pings.recommend import recommendations
    from gesture_assets.pings.weights import PingWeights

    name, content = con.execute("select weights, content from ping_weights where as_of_date = ?", [day]).fetchone()
    weights = PingWeights.model_validate({"name": name, "description": "", **json.loads(content)})
    until = _end_of(day)
    catalogue = con.execute(
        "select * from pings where as_of_date = ? and coalesce(created_at < ?, true)", [day, until]
    ).pl()
    everything = weights.lists.model_copy(update={"length": max(catalogue.height, 1), "per_creator": None})
    tables = (
        con.execute("select * from ping_interactions where as_of_date <= ? and user_id = ?", [day, user]).pl(),
        catalogue,
        pl.DataFrame({"user_id": [user]}),
        con.execute("select * from ping_engagement where as_of_date = ?", [day]).pl(),
    )
    interactions, pings, users, engagement = (nw.from_native(table.lazy()) for table in tables)
    scores = recommendations(
        interactions,
        pings,
        users,
        engagement,
        weights.model_copy(update={"lists": everything}),
        until=until,
        now=until,
    )
    return weights, {row["ping_id"]: row for row in scores.to_dicts()}


def _why_without_score(con: Any, user: str, ping: str, day: date, weights: Any) -> str:
    """Why no list may hold it: it is not out yet, or was seen."""
    (created,) = con.execute(
        "select created_at from pings where as_of_date = ? and ping_id = ?", [day, ping]
    ).fetchone()
    if created is not None and created >= _end_of(day):
        return f"it is dated after that day ({created})"
    seen = con.execute(
        "select string_agg(event_type || ' × ' || n, ', ' order by n desc, event_type), max(last) from ("
        "select event_type, count(*) as n, max(event_at) as last from ping_interactions "
        "where as_of_date <= ? and user_id = ? and ping_id = ? group by all)",
        [day, user, ping],
    ).fetchone()
    days = f" of the last {weights.windows.seen} days" if weights.windows.seen else ""
    hides = {"any": "any interaction", "engaged": "any interaction but an impression"}[weights.lists.seen]
    return f"seen ({seen[0]}; last at {seen[1]}), and {hides}{days} hides a ping"
