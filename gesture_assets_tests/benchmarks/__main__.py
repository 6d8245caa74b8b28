"""The benchmarks on the command line: `make bench`, or `python -m gesture_assets_tests.benchmarks --help`.

Belongs here: sizes and parts as arguments, the table that is printed, the JSON that is written. Does not belong here:
what is compared (`suite.py`). A limit that does not hold is said and fails nothing: a benchmark is no test.
"""

import argparse
import json
import os
import platform
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gesture_assets_tests.benchmarks.suite import FULL, PARTS, ROOT, Bench, Part
from gesture_assets_tests.benchmarks.world import Size

USUAL = Size(1_000_000, 10_000, 120)
DETAILS = 12  # shares that are shown of a night


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="make bench", description="Measure the nightly beside baselines.")
    parser.add_argument("--events", type=int, help=f"events in all (default: {USUAL.events:,})")
    parser.add_argument("--users", type=int, help=f"users (default: {USUAL.users:,}; of cost the demo world's)")
    parser.add_argument("--days", type=int, help=f"days, the night included (default: {USUAL.days}; likewise)")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, of %(default)s")
    parser.add_argument("--full", action="store_true", help="the sizes of the design's claims: hours, 60 GB of disk")
    parser.add_argument(
        "--repeat", type=int, default=1, help="how often compared runs are repeated; the fastest counts"
    )
    parser.add_argument("--keep", type=Path, help="folder in which worlds are kept and found again")
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "bench.json", help="JSON file to write")
    parser.add_argument("--statements", action="store_true", help="keep the longest SQL statements of a night")
    given = parser.parse_args()
    if unknown := set(given.only.split(",")) - set(PARTS):
        parser.error(f"unknown parts {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return given


def main() -> None:
    """Run the parts that are asked for; print each as soon as it is there, and write all of them."""
    given = arguments()
    console = Console()
    parts: list[Part] = []
    with tempfile.TemporaryDirectory(prefix="bench-", dir=given.keep and given.keep.parent) as own:
        folder = (given.keep or Path(own)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(folder, given.repeat, given.statements, lambda text: console.print(text, style="dim"))
        for name in given.only.split(","):
            asked = {"events": given.events, "users": given.users, "days": given.days}
            asked = {what: number for what, number in asked.items() if number is not None}
            sizes = FULL[name] if given.full or name in ("cost", "kuairand") else [USUAL]
            for size in dict.fromkeys(replace(size, **asked) for size in sizes):
                part = PARTS[name](bench, size)
                parts.append(part)
                show(part, console)
                write(parts, given.out)
    console.print(f"Written: {given.out}", highlight=False)


def show(part: Part, console: Console) -> None:
    """Print a part: its runs with their longest pieces, and its limits."""
    size = part.size
    title = (
        part.name
        if part.name in ("fixed", "kuairand")
        else (f"{part.name}: {size.events:,} events, {size.users:,} users, {size.days} days")
    )
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for heading in ("seconds", "share", "processor", "peak MB"):
        table.add_column(heading, justify="right")
    runs = {part.name: part.figures} if "seconds" in part.figures else part.figures
    for name, run in runs.items():
        if "seconds" not in run:
            continue
        processor = f"{run['processor_seconds']:.2f}" if "processor_seconds" in run else ""
        peak = f"{run.get('peak_bytes', 0) / 1e6:,.0f}"
        table.add_row(f"[bold]{name}", f"{run['seconds']:.2f}", "", processor, peak)
        for kind in ("parts", "steps"):
            pieces: dict[str, float] = run.get(kind, {})
            for piece, seconds in sorted(pieces.items(), key=lambda item: -item[1])[:DETAILS]:
                table.add_row(f"  {piece}", f"{seconds:.2f}", f"{seconds / run['seconds']:.0%}", "", "")
            if pieces:
                table.add_section()
    console.print(table)
    if mean := part.figures.get("mean"):
        areas = {**mean, "oracle": part.figures["oracle"]}
        said = ", ".join(f"{name} {figures['roc_auc']:.4f}" for name, figures in areas.items())
        console.print(f"  ROC AUC by the truth: {said}", highlight=False, soft_wrap=True)
    for name, figures in part.figures.items():
        if isinstance(figures, dict) and "table" in figures:
            console.print(compared(name, figures["table"]))
    if differences := part.figures.get("differences"):
        console.print(f"  [red]not the same by hand:[/] {differences}", highlight=False)
    for limit in part.limits:
        bound = "at least" if limit.is_floor else "at most"
        said = "[green]holds" if limit.holds else "[red]does not hold"
        digits = 2 if abs(limit.found) >= 1 else 4
        console.print(
            f"  {limit.what}: {limit.found:.{digits}f} ({bound} {limit.limit:g}) {said}",
            highlight=False,
            soft_wrap=True,
        )


def compared(title: str, rows: dict[str, dict[str, Any]]) -> Table:
    """A table of measures, those with an interval as value and bounds."""
    table = Table(title=title.replace("_", " "), title_justify="left")
    table.add_column("")
    for measure in next(iter(rows.values())):
        table.add_column(measure.replace("_", " "), justify="right")
    for name, measures in rows.items():
        said = [
            f"{found['value']:.4f} [{found['low']:.4f}, {found['high']:.4f}]"
            if isinstance(found, dict)
            else f"{found:.4f}"
            for found in measures.values()
        ]
        table.add_row(name.replace("_", " "), *said)
    return table


def write(parts: list[Part], path: Path) -> None:
    """Write what was found, with the machine it was found on."""
    machine: dict[str, Any] = {"system": platform.platform(), "processors": os.cpu_count()}
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {"machine": machine, "parts": [part.as_json() for part in parts]}
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
