"""The `gesture` command: what the rooms can do, one line each.

Belongs here: arguments, the clock, what a person sees. Does not belong here: any work of its own. Exit codes: 0 done,
1 a gate did not pass or a run failed, 2 the arguments, settings, sources or folders cannot be used, 3 the warehouse is
busy.
Heavy libraries are imported where they are needed, so that `gesture --help` answers at once.
"""

import sys
from contextlib import suppress
from typing import Annotated, NoReturn

import typer

from gesture_assets.cli import (
    catchup,
    judge,
    look,
    models,
    monitoring,
    publishing,
    quarantine,
    rankers,
    recs,
    report,
    run,
    screen,
    steps,
)
from gesture_assets.cli.console import console
from gesture_assets.errors import ConfigError, GestureError, NotWritable, SourceError, WarehouseBusy
from gesture_assets.settings import default_of, settings_as_far_as_usable

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Who is about to buy, why, and whether tonight's answer can be trusted.",
)


def _version(is_asked: bool) -> None:
    if is_asked:
        from importlib import metadata

        print(f"gesture_assets {metadata.version('gesture_assets')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Options that belong to no command."""


def _group(name: str, meaning: str, *, callback: bool = False) -> typer.Typer:
    """A command with commands of its own; with `callback` it also does something alone."""
    group = typer.Typer(no_args_is_help=not callback, invoke_without_command=callback, help=meaning)
    app.add_typer(group, name=name)
    return group


app.command("run")(run.run)
app.command("demo-data")(run.demo_data)
app.command("generate")(steps.generate)
app.command("featurize")(steps.featurize)
app.command("score-rules")(steps.score_rules)
app.command("catchup")(catchup.catchup)
app.command("dev")(run.dev)
app.command("rank")(look.rank)
app.command("explain")(look.explain)
app.command("why-changed")(monitoring.why_changed)
app.command("export")(look.export)
app.command("tables")(screen.tables)

recs_app = _group("recs", "What to show a user next: short videos, how such lists fare, why.", callback=True)
recs_app.callback()(recs.recs)
recs_app.command("evaluate")(recs.recs_evaluate)
recs_app.command("explain")(recs.recs_explain)
recs_app.command("train")(rankers.recs_train)
recs_app.command("rankers")(rankers.recs_rankers)
recs_app.command("activate")(rankers.recs_activate)
recs_app.command("refresh")(recs.recs_refresh)
gates_app = _group("gates", "What passed its audit, and what stands between tables.", callback=True)
gates_app.callback()(judge.gates)
gates_app.command("coverage")(judge.gates_coverage)
rules_app = _group("rules", "Look at rule sets, let edited ones score.")
rules_app.command("lint")(judge.rules_lint)
rules_app.command("approve")(judge.rules_approve)
config_app = _group("config", "Look at the settings.")
config_app.command("show")(judge.config_show)
quarantine_app = _group("quarantine", "Rows that are no events: look at them, let them in again.")
quarantine_app.command("list")(quarantine.quarantine_list)
quarantine_app.command("show")(quarantine.quarantine_show)
quarantine_app.command("replay")(quarantine.quarantine_replay)
app.command("train")(models.train)
models_app = _group("models", "Trained models: look at them, say which one scores.")
models_app.command("list")(models.models_list)
models_app.command("show")(models.models_show)
models_app.command("compare")(models.models_compare)
models_app.command("verify")(models.models_verify)
models_app.command("activate")(models.models_activate)
models_app.command("rollback")(models.models_rollback)
models_app.command("cleanup")(models.models_cleanup)
alerts_app = _group("alerts", "What is wrong, and who knows of it.")
alerts_app.command("list")(monitoring.alerts_list)
alerts_app.command("ack")(monitoring.alerts_ack)
report_app = _group("report", "Write a page to look at: one HTML file.")
report_app.command("model")(report.model)
report_app.command("night")(report.night)
publish_app = _group("publish", "Publish again, or go back to the file before.", callback=True)
publish_app.callback()(publishing.publish)
publish_app.command("rollback")(publishing.publish_rollback)


def main() -> None:
    """Run the command; our errors become four lines and an exit code, as does what says why nothing can be written."""
    try:
        app()
    except GestureError as error:
        _end_with(error)
    except Exception as error:
        from gesture_assets.warehouse.space import unwritable

        if refusal := unwritable("The command", default_of(settings_as_far_as_usable(), "data_dir"), error):
            _end_with(refusal)
        raise


def _end_with(error: GestureError) -> NoReturn:
    with suppress(GestureError):  # another setting that cannot be used is not what the command is about
        error.next_step = run.not_refused(error.next_step, settings_as_far_as_usable())
    error.name_folder(default_of(settings_as_far_as_usable(), "data_dir"))
    console(stderr=True).print(error.report, style="red", highlight=False, markup=False, soft_wrap=True)
    unusable = ConfigError | SourceError | NotWritable
    sys.exit(3 if isinstance(error, WarehouseBusy) else 2 if isinstance(error, unusable) else 1)
