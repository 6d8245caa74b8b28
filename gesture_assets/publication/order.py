"""The order in which files were published, which readers can be taken back along, whatever the clock said.

Belongs here: the list of what readers had, and what of it was rolled back. Does not belong here: the files themselves,
letting readers have one (`publish.py`).

The names of files tell when they were made, and clocks are set back. The list stands beside the link. Where there is
none (the files of an older version), names are taken in their order up to the file that readers have.
"""

import os
from collections.abc import Sequence
from pathlib import Path


def published_files(folder: Path, link: Path) -> list[str]:
    """Names of the files that readers had or have and that are still in `folder`, oldest first."""
    present = sorted(path.name for path in folder.glob("gesture-*.duckdb"))
    current = link.resolve().name if link.exists() else ""
    try:
        noted = [name for name in _list(link).read_text(encoding="utf-8").splitlines() if name in present]
    except (OSError, UnicodeDecodeError):
        noted = [name for name in present if name < current]
    # A publication may have been killed between the flip and its note.
    return noted if current in noted or current not in present else [*noted, current]


def rolled_back(folder: Path, link: Path) -> list[str]:
    """Names of the files that readers had after the one that they have now: somebody took them back."""
    files = published_files(folder, link)
    current = link.resolve().name if link.exists() else ""
    return files[files.index(current) + 1 :] if current in files else []


def files_before(folder: Path, link: Path) -> list[str]:
    """Names of the files that readers had before the one that they have now, oldest first."""
    files = published_files(folder, link)
    current = link.resolve().name if link.exists() else ""
    return files[: files.index(current)] if current in files else files


def note_published(folder: Path, link: Path, before: Sequence[str]) -> None:
    """Note that readers have the file at `link` now, and had those of `before` earlier; what was rolled back is out."""
    current = link.resolve().name
    write_order(link, [*(name for name in before if name != current), current])


def write_order(link: Path, names: Sequence[str]) -> None:
    """Note `names` as the files that readers had, oldest first, also those that they are to lose now."""
    path = _list(link)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    beside.replace(path)


def _list(link: Path) -> Path:
    return link.with_name(f".{link.name}.order")
