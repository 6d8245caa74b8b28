"""The screen that a run ends with, and the long table behind it.

Belongs here: whom to call first, what is late or wrong, where to look next; what the published file holds. Does not
belong here: running anything (`run.py`).
"""

from collections.abc import Sequence
from typing import Any

from gesture_assets.cli.console import console, now, published, rule_set_of_day, shown
from gesture_assets.settings import Settings, settings_as_far_as_usable

FIRST = 3  # to call
MOST_WRONG = 6  # lines about what is wrong: more is looked up


def where_to_look(settings: Settings, *, is_new: bool = True, also: Sequence[str] = ()) -> None:
    """Whom to call first, what is late or wrong, where to look next: all on one screen of 80 columns.

    `is_new`: whether the published file was made just now. `also`: what the command knows to be late or wrong.
    """
    from gesture_assets.cli.left_out import strangers, unnamed_types
    from gesture_assets.cli.unheard import other_rules, unheard

    if not settings.published.exists():
        return
    with published(settings) as con:
        ((snapshot, tables),) = con.execute("select any_value(snapshot_id), count(*) from manifest").fetchall()
        ((first_day, day),) = con.execute("select min(as_of_date), max(as_of_date) from rule_scores").fetchall()
        bands = con.execute("select band, users from analytics.bands where as_of_date = ?", [day]).fetchall()
        first = con.execute(
            "select rank, user_id, score, scale, probability, rule_band, explanation from analytics.current_top_users "
            "order by rank limit ?",
            [FIRST],
        ).fetchall()
        listed = con.execute(
            "select as_of_date, count(distinct user_id), min(user_id) from analytics.current_ping_recommendations "
            "group by all"
        ).fetchone()
        rule_set = rule_set_of_day(con, day) if day else None
        missed = unheard(con, day, rule_set, settings) if rule_set else ""
        others = other_rules(day, rule_set, settings) if rule_set else ""
        unnamed = unnamed_types(con, day, settings.user_sources) if day else []
        unmet = strangers(con, day) if day else ""
    terminal = console()
    _line(terminal, f"{'Published' if is_new else 'Readers have'} {settings.published} (snapshot {snapshot})")
    if day is None:
        _line(terminal, f"{tables} tables, and nobody has a score yet.")
    else:
        _line(terminal, f"{tables} tables, days {first_day} to {day}. Users by the rules' band: {_counted(bands)}")
        _line(terminal, f"\nCall first, of {day}:")
    for rank, user, score, scale, probability, band, explanation in first:
        said = f"{probability:.0%} likely to buy" if scale == "probability" else f"{score:.2f} points ({band})"
        _line(terminal, f" {rank}. {user}, {said}\n    {explanation}")
    if day and not first:
        _line(terminal, " nobody: who has a score has done already what it foretells")
    if listed:
        _line(terminal, f"\nShort videos: lists of {listed[0]} for {listed[1]:,} users.")
    if missed:
        _line(terminal, f"\n{missed} Next:  gesture rules lint", style="yellow")
    for text in (others, unmet, "\n".join(unnamed)):
        if text:
            _line(terminal, f"\n{text}", style="yellow")
    _say_what_is_wrong(terminal, settings, also)
    user = first[0][1] if first else "USER"
    of_scores = (("gesture rank --n 20", "the whole list"), (f"gesture explain {user}", "why somebody has their score"))
    of_lists = ((f"gesture recs --user {listed[2]}", "short videos for somebody"),) if listed else ()
    for command, what in (
        *(of_scores if day or not listed else ()),
        *of_lists,
        ("gesture gates", "what passed its audit, and what only warned"),
        ("gesture tables", "what the published file holds"),
        ("gesture dev", "the Dagster UI"),
        (str(settings.published), "for any tool that reads DuckDB"),
    ):
        _line(terminal, f"  {command:<24}  {what}")


def _say_what_is_wrong(terminal: Any, settings: Settings, also: Sequence[str]) -> None:
    """What is late or wrong, an alert or a remark a line, and the heading of what comes next."""
    from gesture_assets.contracts.catalogue import catalogue
    from gesture_assets.publication.reading import open_alerts, remarks

    wrong = [*also, *remarks(settings, catalogue(settings.tags).nightly, now())]
    wrong += [f"{alert.severity.value} {alert.key}: {alert.what}" for alert in open_alerts(settings)]
    _line(
        terminal,
        "\nLate or wrong:" if wrong else "\nNothing is late, and no alert is open.",
        style="yellow" if wrong else "",
    )
    for text in wrong[:MOST_WRONG]:
        _line(terminal, f"  {text}", style="yellow")
    if len(wrong) > MOST_WRONG:
        _line(terminal, f"  and {len(wrong) - MOST_WRONG} more:  gesture alerts list", style="yellow")
    _line(terminal, "\nNext:")


def _counted(bands: list[tuple[str, int]]) -> str:
    return ", ".join(f"{count:,} {band}" for band, count in bands)


def _line(terminal: Any, text: str, style: str = "") -> None:
    terminal.print(text, style=style, highlight=False, soft_wrap=True)


def tables() -> None:
    """What the published file holds: every table with its newest day, days, rows and verdict."""
    settings = settings_as_far_as_usable()
    with published(settings) as con:
        ((snapshot,),) = con.execute("select any_value(snapshot_id) from manifest").fetchall()
        rows = con.execute(
            "select table_name, as_of_date, day_count, row_count, verdict from manifest order by table_name"
        ).fetchall()
    shown(
        f"{settings.published}, snapshot {snapshot}",
        ("table", "newest day", "days", "rows", "gate"),
        [(name, day or "–", days, f"{count:,}", verdict or "–") for name, day, days, count, verdict in rows],
    )
