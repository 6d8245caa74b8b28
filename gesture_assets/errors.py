"""The errors a user may see, one base class and a few kinds.

Belongs here: the kinds, and the one shape their messages have: what was being done, what was expected and found, where
it was looked for, and the command that comes next. Does not belong here: deciding when to raise (the rooms do).
"""

import re
from collections.abc import Iterable
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Self

DATA_FOLDER = re.compile(r"(?<![\w./-])data/")  # as texts call it that do not know the settings
SHOWN = 5  # more names than a reader takes in at a glance are counted, not listed


def listing(names: Iterable[object], shown: int = SHOWN) -> str:
    """`names`, sorted, `shown` at most: "a, b and 12 more"; "none" when there are none."""
    texts = sorted(str(name) for name in names)
    if not texts:
        return "none"
    more = len(texts) - shown
    return ", ".join(texts[:shown]) + (f" and {more} more" if more > 0 else "")


class GestureError(Exception):
    """Something a user can act on. The message has four parts; `next_step`, the last, is a command where one helps."""

    def __init__(self, doing: str, *, expected: str, found: str, where: str, next_step: str) -> None:
        """`doing` names the asset, table or file and the window; the others fill the lines of the message."""
        self.doing, self.expected, self.found, self.where, self.next_step = doing, expected, found, where, next_step
        super().__init__(doing, expected, found, where, next_step)

    def __str__(self) -> str:
        """The four parts, a line each, after what was being done."""
        parts = {"expected": self.expected, "found": self.found, "where": self.where, "next": self.next_step}
        return "\n".join([self.doing, *(f"  {name}: {text}" for name, text in parts.items())])

    def name_folder(self, folder: Path) -> None:
        """Let the texts name `folder`, the data folder in use, where they say `data/`."""
        for part in ("doing", "expected", "found", "where", "next_step"):
            setattr(self, part, DATA_FOLDER.sub(lambda _: f"{folder}/", getattr(self, part)))

    @property
    def report(self) -> str:
        """The message with the kind of error before it, as the command line and the run page show it."""
        return f"{type(self).__name__}: {self}"


class ConfigError(GestureError):
    """A setting, an argument, a rule set or a source description is not usable."""

    @classmethod
    def bad_value(cls, name: str, *, expected: str, found: object, where: str, next_step: str) -> Self:
        """A named setting or argument whose value is outside what is allowed."""
        return cls(f"{name} cannot be used.", expected=expected, found=str(found), where=where, next_step=next_step)

    @classmethod
    def unknown_name(
        cls, kind: str, name: str, known: Iterable[str], *, where: str, next_step: str, count: int | None = None
    ) -> Self:
        """`name` is not one of the `known` things of its kind; those that are spelled like it are named alone.

        `count`: how many there are, where `known` are some of them only.
        """
        names = sorted(map(str, known))
        near = get_close_matches(name.lower(), names, SHOWN, 0.6)
        return cls(
            f"{kind} {name!r} is not known.",
            expected=f"{' or '.join(near)}, of {count or len(names):,} that are known"
            if near
            else f"one of {listing(names, 80)}",
            found=name,
            where=where,
            next_step=next_step,
        )


class SourceError(GestureError):
    """A landing file or the CRM cannot be read as its description says. Nothing of it was loaded."""


class ContractBreach(GestureError):
    """A table does not keep its contract; the last good version stays live."""


class GateClosed(GestureError):
    """An upstream partition has not passed its audit, so nothing may be built on it."""

    days: tuple[date, ...] = ()  # whose gates are closed, where the ledger refused them


class ModelMismatch(GestureError):
    """A model and the features it is asked to score do not agree."""


class TrainingRefused(GestureError):
    """The training set cannot teach a model: too few rows, or one outcome only. The model in use stays."""


class DiskFull(GestureError):
    """There was no room to write; what was live before still is."""


class NotEnoughMemory(GestureError):
    """A statement needed more memory than the engine may take; what was live before still is."""


class NotWritable(GestureError):
    """A folder or file may not be written by this user: read-only, somebody else's, or no folder at all."""


class WarehouseBusy(GestureError):
    """Another process held the warehouse for longer than we are willing to wait."""
