"""Commands that write a page to look at.

Belongs here: arguments and where the file goes. Does not belong here: what a page says (`reports/`).
"""

from pathlib import Path
from typing import Annotated

import typer

from gesture_assets.cli.console import Day, as_of, console, published, require_folder
from gesture_assets.settings import settings_as_far_as_usable


def model(
    version: Annotated[str, typer.Option(help="From  gesture models list; default: the one that serves.")] = "",
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("model.html"),
) -> None:
    """Write one HTML file about a model: figures with their SQL, curves, what it goes by. It opens offline."""
    from gesture_assets.reports.model_report import model_report

    settings = settings_as_far_as_usable()
    require_folder(out)
    page = model_report(published(settings), settings.models, version)
    out.write_text(page.html(), encoding="utf-8")
    console().print(f"Wrote {out} ({out.stat().st_size:,} bytes)", highlight=False, soft_wrap=True)


def night(day: Day = None, out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("night.html")) -> None:
    """Write one HTML file about a night: alerts, what moved, how scores turned out. It opens offline."""
    from gesture_assets.reports.night_report import night_report

    settings = settings_as_far_as_usable()
    require_folder(out)
    con = published(settings)
    page = night_report(con, settings.models, as_of(con, day, settings))
    out.write_text(page.html(), encoding="utf-8")
    console().print(f"Wrote {out} ({out.stat().st_size:,} bytes)", highlight=False, soft_wrap=True)
