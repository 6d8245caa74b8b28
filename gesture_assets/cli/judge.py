"""Commands that judge: gates of tables, rule sets, settings.

Belongs here: what passed and what did not. Does not belong here: what is expected (`contracts/`).
"""

import os
from typing import Annotated, Any

import typer

from gesture_assets.cli.console import Day, shown
from gesture_assets.errors import GateClosed
from gesture_assets.settings import AWAITED, Settings, load_settings, variable_of


def gates(context: typer.Context, day: Day = None) -> None:
    """What passed its audit, what did not, and what only warned. Exit code 1 when something is closed."""
    if context.invoked_subcommand:
        return
    from gesture_assets.publication.publish import gate_report

    settings = load_settings()
    rows = gate_report(settings, day.date() if day else None)
    if not rows:
        raise GateClosed(
            f"There are no gates of {day.date() if day else 'any day'}.",
            expected="a day that was audited",
            found="none",
            where=f"{settings.warehouse}, table gate_ledger",
            next_step="gesture gates",
        )
    shown("Gates", ("table", "day", "attempt", "verdict", "rows", "not passed"), rows)
    if any(row[3] == "FAIL" for row in rows):
        raise typer.Exit(1)


def gates_coverage() -> None:
    """Which blocking checks stand between tables, for each edge of the asset graph. Exit code 1 with a gap."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Dagster announces beta and preview features that we use on purpose
        from gesture_assets.contracts.catalogue import catalogue
        from gesture_assets.definitions import defs
        from gesture_assets.defs.coverage import edges

        found = edges(defs, catalogue(load_settings().tags).tables)
    shown(
        "What stands between tables",
        ("built from", "asset", "blocking checks", "gap"),
        [(edge.table, edge.reader, len(edge.checks), edge.gap) for edge in found],
    )
    guarded = sum(not edge.gap for edge in found)
    print(f"{guarded / len(found):.0%} of {len(found)} edges are guarded")
    if guarded < len(found):
        raise typer.Exit(1)


def rules_lint(
    name: Annotated[str | None, typer.Argument(help="Rule set; default: the one that scores.")] = None,
) -> None:
    """Judge a rule set: what cannot work is an error, what looks unmeant a warning. Exit code 1 with any finding."""
    from gesture_assets.features.feature_registry import feature_registry
    from gesture_assets.rules.lint import lint
    from gesture_assets.rules.rule_set import load_rule_set

    settings = load_settings()
    features = feature_registry(settings.tags)
    names = [feature.name for feature in features]
    rule_set = load_rule_set(name or settings.rule_set, user_folder=settings.user_rules, features=names)
    findings = lint(rule_set, features)
    for finding in findings:
        print(finding)
    print(f"{rule_set.name} {rule_set.version}: {len(rule_set.rules)} rules, {len(findings)} findings")
    if findings:
        raise typer.Exit(1)


def config_show(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Every setting, its value, and where the value comes from."""
    import json

    settings = load_settings()
    rows = []
    for name, info in Settings.model_fields.items():
        value = getattr(settings, name)
        text = "***" if value and not info.repr else value
        text = _without_password(text) if name == "crm_url" and value else text
        meaning = f"{info.description}{' (not read yet)' if name in AWAITED else ''}"
        rows.append((name, text, variable_of(name, os.environ) or "default", meaning))
    if as_json:
        print(
            json.dumps(
                {
                    name: {"value": text, "source": source, "description": meaning}
                    for name, text, source, meaning in rows
                },
                default=str,
                indent=2,
            )
        )
        return
    shortened = [(name, f"{len(value)} tags" if name == "tags" else value, *rest) for name, value, *rest in rows]
    shown("Settings", ("setting", "value", "source", "meaning"), shortened)


def _without_password(url: Any) -> str:
    import sqlalchemy as sa

    return sa.make_url(str(url)).render_as_string(hide_password=True)
