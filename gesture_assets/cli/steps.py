"""The steps of the event scoring project as commands, by the names of document 000: events, features, scores by rules.

Belongs here: running the nights as far as a step, its one file, what to type next. Does not belong here: running
(`run.py`), the columns of the files (`layout.py`).
"""

from pathlib import Path
from typing import Annotated

import typer

from gesture_assets.cli.console import console, require_target
from gesture_assets.cli.layout import print_written, write_step
from gesture_assets.cli.run import run, write_world
from gesture_assets.settings import settings_as_far_as_usable

To = Annotated[Path | None, typer.Option(help="CSV file to write; default: of the step's name, in the data folder.")]


def generate(
    users: Annotated[int, typer.Option(help="People of the demo world, where nothing has landed.")] = 2_000,
    days: Annotated[int, typer.Option(help="Its days.")] = 60,
    to: To = None,
) -> None:
    """Build the events of every day, of a demo world where nothing has landed, and write raw_events.csv."""
    settings = settings_as_far_as_usable()
    if to:
        require_target(to, settings)
    write_world(settings, users=users, days=days, if_empty=True)
    _step("raw_events", to, then="featurize")


def featurize(to: To = None) -> None:
    """Build the days as far as the features of every user, and write those of the newest as user_features.csv."""
    _step("user_features", to, then="score-rules")


def score_rules(to: To = None) -> None:
    """Build the days as far as the scores by rules, and write those of the newest as user_scores.csv."""
    _step("user_scores", to, then="run", table="rule_scores")


def _step(name: str, to: Path | None, *, then: str, table: str = "") -> None:
    """Run what is not live as far as `table` (default: `name`), write the file `name`, and say what comes `then`."""
    from gesture_assets.publication.reading import private_ledger

    settings = settings_as_far_as_usable()
    path = to or settings.data_dir / f"{name}.csv"
    if to:
        require_target(to, settings)
    run(select=f"+{table or name}")
    with private_ledger(settings) as con:
        print_written(path, write_step(con, name, path))
    console().print(f"Next:  gesture {then}", highlight=False)
