"""Commands that write a page to look at.

Belongs here: arguments and where the file goes. Does not belong here: what a page says (`reports/`).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gesture_assets.cli.console import Day, as_of, console, published, require_target, writing
from gesture_assets.settings import Settings, settings_as_far_as_usable

if TYPE_CHECKING:
    from gesture_assets.reports.page import Page


def model(
    version: Annotated[
        str, typer.Option(help="From  gesture models list; default: the one that serves, or the newest.")
    ] = "",
    out: Annotated[Path | None, typer.Option(help="HTML file to write; default: below the data folder.")] = None,
) -> None:
    """Write one HTML file about a model: figures with their SQL, curves, what it goes by. It opens offline."""
    from gesture_assets.reports.model_report import model_report

    settings = settings_as_far_as_usable()
    if out:
        require_target(out, settings)
    page = model_report(published(settings), settings.models, version)
    _write(page, out or _reports(settings) / f"{f'model-{version}' if version else 'model'}.html")


def night(
    day: Day = None,
    out: Annotated[
        Path | None, typer.Option(help="HTML file to write; default: the night's own below the data folder.")
    ] = None,
) -> None:
    """Write one HTML file about a night: alerts, what moved, how scores turned out. It opens offline."""
    from gesture_assets.reports.night_report import night_report

    settings = settings_as_far_as_usable()
    if out:
        require_target(out, settings)
    con = published(settings)
    chosen = as_of(con, day, settings)
    _write(night_report(con, settings.models, chosen), out or _reports(settings) / f"night-{chosen}.html")


def _reports(settings: Settings) -> Path:
    """The folder of pages, which is there afterwards: no command writes where somebody happens to stand."""
    folder = settings.data_dir / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write(page: "Page", out: Path) -> None:
    with writing(out, out):
        out.write_text(page.html(), encoding="utf-8")
    console().print(f"Wrote {out} ({out.stat().st_size:,} bytes)", highlight=False, soft_wrap=True)
