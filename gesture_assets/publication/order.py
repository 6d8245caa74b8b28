"""Where published files lie, and the order in which readers had them, which they can be taken back along.

Belongs here: names of published files, the list of what readers had, what of it was rolled back. Does not belong here:
making a file, letting readers have one (`publish.py`).

DuckDB names a database after its file, behind a link too: so each file is called like the link, in a folder named after
its snapshot, and `gesture.main.rule_scores` is right for whoever opens the link. Snapshots are named by the clock, and
clocks are set back: the order stands in a list beside the link. Where there is none (the files of an older version,
`gesture-<snapshot>.duckdb`), names are taken in their order up to the file that readers have.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

OLD_PREFIX = "gesture-"  # of the files of an older version


def file_of(folder: Path, link: Path, snapshot: str) -> Path:
    """The file of `snapshot` in `folder`."""
    old = folder / f"{OLD_PREFIX}{snapshot}.duckdb"
    return old if old.exists() else folder / snapshot / link.name


def snapshot_of(path: Path) -> str:
    """The snapshot of the published file at `path`."""
    return path.stem.removeprefix(OLD_PREFIX) if path.name.startswith(OLD_PREFIX) else path.parent.name


def current_snapshot(link: Path) -> str:
    """The snapshot that readers have; empty before the first publication."""
    return snapshot_of(link.resolve()) if link.exists() else ""


def snapshots(folder: Path, link: Path) -> list[str]:
    """The snapshots that readers had or have and whose files are still in `folder`, oldest first."""
    present = sorted(snapshot_of(path) for path in _files(folder, link))
    current = current_snapshot(link)
    try:
        noted = [name for name in _list(link).read_text(encoding="utf-8").splitlines() if name in present]
    except (OSError, UnicodeDecodeError):
        noted = [name for name in present if name < current]
    # A publication may have been killed between the flip and its note.
    return noted if current in noted or current not in present else [*noted, current]


def rolled_back(folder: Path, link: Path) -> list[str]:
    """The snapshots that readers had after the one that they have now: somebody took them back."""
    had, current = snapshots(folder, link), current_snapshot(link)
    return had[had.index(current) + 1 :] if current in had else []


def snapshots_before(folder: Path, link: Path) -> list[str]:
    """The snapshots that readers had before the one that they have now, oldest first."""
    had, current = snapshots(folder, link), current_snapshot(link)
    return had[: had.index(current)] if current in had else had


def note_published(link: Path, before: Sequence[str]) -> None:
    """Note that readers have the file at `link` now, and had those of `before` earlier; what was rolled back is out."""
    current = current_snapshot(link)
    write_order(link, [*(name for name in before if name != current), current])


def write_order(link: Path, names: Sequence[str]) -> None:
    """Note the snapshots `names` as those that readers had, oldest first, also those that they are to lose now."""
    path = _list(link)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    beside.replace(path)


def remove_all_but(kept: Sequence[str], folder: Path, link: Path) -> None:
    """Remove the files of all snapshots but the `kept` ones. Open readers keep what they read."""
    for path in _files(folder, link):
        if snapshot_of(path) in kept:
            continue
        if path.parent == folder:
            path.unlink()
        else:
            shutil.rmtree(path.parent)


def _files(folder: Path, link: Path) -> list[Path]:
    return [*folder.glob(f"*/{link.name}"), *folder.glob(f"{OLD_PREFIX}*.duckdb")]


def _list(link: Path) -> Path:
    return link.with_name(f"{link.name}.order")
