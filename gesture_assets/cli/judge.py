"""Commands that judge: gates of tables, rule sets, settings.

Belongs here: what passed and what did not. Does not belong here: what is expected (`contracts/`).
"""

import os
from typing import Annotated, Any

import typer

from gesture_assets.cli.console import Day, console, published, say_remarks, shown
from gesture_assets.errors import GateClosed
from gesture_assets.settings import AWAITED, Settings, settings_as_far_as_usable, variable_of


def gates(context: typer.Context, day: Day = None) -> None:
    """What passed its audit, what did not, and what only warned. Exit code 1 when something is closed."""
    if context.invoked_subcommand:
        return
    from gesture_assets.publication.reading import gate_report

    settings = settings_as_far_as_usable()
    rows = gate_report(settings, day.date() if day else None)
    if not rows:
        raise GateClosed(
            f"There are no gates of {day.date() if day else 'any day'}.",
            expected="a day that was audited",
            found="none",
            where=f"{settings.warehouse}, table gate_ledger",
            next_step="gesture gates" if day and gate_report(settings, None) else "gesture run",
        )
    columns = ("table", "day", "attempt", "verdict", "rows", "not passed")
    if console().is_terminal:  # too narrow for names of checks in a column
        shown("Gates", columns[:-1], [row[:-1] for row in rows])
        for table, *_, not_passed in rows:
            if not_passed:
                console().print(f"{table}: {not_passed}", highlight=False)
    else:
        shown("Gates", columns, rows)
    if settings.published.exists():
        say_remarks(settings)
    if any(row[3] == "FAIL" for row in rows):
        raise typer.Exit(1)


def gates_coverage() -> None:
    """What each table was seen to read, and the blocking checks that guard it. Exit code 1 with a gap."""
    from gesture_assets.contracts.catalogue import catalogue
    from gesture_assets.publication.coverage import Evidence, edges, look

    settings = settings_as_far_as_usable()
    found = edges(look(settings), catalogue(settings.tags).tables, settings.blocking_checks)
    shown(
        "What stands between tables",
        ("built from", "asset", "blocking checks", "seen", "gap"),
        [(edge.table, edge.reader, len(edge.checks), edge.evidence.value, edge.gap) for edge in found],
    )
    read = [edge for edge in found if edge.is_read]
    guarded = sum(not edge.gap for edge in read)
    share = f"{guarded / len(read):.0%} of {len(read)} edges that were read are guarded" if read else "no edge was read"
    count = {evidence: sum(edge.evidence is evidence for edge in found) for evidence in Evidence}
    print(f"{share}; {count[Evidence.ASKED]} gates were asked though no row behind them was read, ", end="")
    print(f"{count[Evidence.NEVER_AUDITED]} lead to tables that were never audited")
    if any(edge.gap for edge in found):
        raise typer.Exit(1)


def rules_lint(
    name: Annotated[str | None, typer.Argument(help="Rule set; default: the one that scores.")] = None,
) -> None:
    """Judge a rule set: what cannot work is an error, what looks unmeant a warning. Exit code 1 with any finding."""
    from gesture_assets.features.feature_registry import feature_registry
    from gesture_assets.nights.rules import rule_set_of
    from gesture_assets.rules.lint import lint

    settings = settings_as_far_as_usable()
    rule_set = rule_set_of(settings, name)
    of_the_day, remarks = _on_the_newest_day(settings, rule_set)
    findings = [*lint(rule_set, feature_registry(settings.tags)), *of_the_day]
    for line in (*findings, *remarks):
        print(line)
    print(f"{rule_set.name} {rule_set.version}: {len(rule_set.rules)} rules, {len(findings)} findings")
    if findings:
        raise typer.Exit(1)


def rules_approve(
    reason: Annotated[str, typer.Option(help="Why; it is kept.")],
    name: Annotated[str | None, typer.Argument(help="Rule set; default: the one that scores.")] = None,
) -> None:
    """Let rules score that move many people to another band, or turn their order over."""
    from gesture_assets.cli.run import note
    from gesture_assets.nights.rules import rule_set_of
    from gesture_assets.publication.reading import days_that_failed
    from gesture_assets.rules.tables import APPROVED, MOVED_TOO_MANY

    settings = settings_as_far_as_usable()
    rule_set = rule_set_of(settings, name)
    is_held = bool(days_that_failed(settings, MOVED_TOO_MANY))
    note(settings, action=APPROVED, what=rule_set.version, reason=reason)
    told = "may score" if is_held else "was not held: no day waits for this. It may score whomever it moves"
    print(f"{rule_set.name} {rule_set.version} {told}. Next:  gesture run")


def _on_the_newest_day(settings: Settings, rule_set: Any) -> tuple[list[str], list[str]]:
    """What is wrong with rules that hear nothing of what people do, and remarks, on the newest day that they scored."""
    from gesture_assets.cli.unheard import better_rules, silent_rules, unheard
    from gesture_assets.rules.rule_set import shipped_rule_sets

    if not settings.published.exists():
        return [], []
    with published(settings) as con:
        ((day, users),) = con.execute(
            "select any_value(as_of_date), count(*) from rule_scores "
            "where as_of_date = (select max(as_of_date) from rule_scores) and rule_set_version = ?",
            [rule_set.version],
        ).fetchall()
        if not users:
            return [], []
        silent = silent_rules(con, day, rule_set)
        missed, advice = unheard(con, day, rule_set, settings), better_rules(con, day, rule_set)
    remarks = [f"Said nothing of any of the {users:,} users of {day}: {', '.join(silent)}."] if silent else []
    others = ", ".join(sorted(set(shipped_rule_sets()) - {rule_set.name}))
    advice = advice or f"Set GESTURE_RULE_SET to another ({others}), or map more events to event types."
    return [f"{missed} {advice}"] if missed else [], remarks


def config_show(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Every setting, its value, and where the value comes from; what cannot be used is marked. Exit code 2 with one."""
    import json

    settings = settings_as_far_as_usable()
    if unknown := settings.problems.get("data_dir"):
        raise unknown  # a name that is no setting: it stands in no row of the table
    rows = [_setting(settings, name) for name in Settings.model_fields]
    if as_json:
        kinds = ("value", "source", "description", "problem")
        print(json.dumps({name: dict(zip(kinds, row, strict=True)) for name, *row in rows}, default=str, indent=2))
    else:
        shortened = [(name, f"{len(value)} tags" if name == "tags" else value, *rest) for name, value, *rest in rows]
        shown("Settings", ("setting", "value", "source", "meaning", "problem"), shortened)
    if settings.problems:
        raise typer.Exit(2)


def _setting(settings: Settings, name: str) -> tuple[Any, ...]:
    """Name, value, source, meaning and what is wrong with the value, of a setting."""
    info = Settings.model_fields[name]
    source = variable_of(name, os.environ) or "default"
    meaning = f"{info.description}{' (not read yet)' if name in AWAITED else ''}"
    if problem := settings.problems.get(name):
        return name, problem.found, source, meaning, f"CANNOT BE USED, expected: {problem.expected}"
    value = getattr(settings, name)
    if name == "crm_url" and value:
        from gesture_assets.sources.crm import shown_url

        return name, shown_url(str(value)), source, meaning, None
    return name, "***" if value and not info.repr else value, source, meaning, None
