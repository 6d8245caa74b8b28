"""CRM descriptions: small TOML files that say how a CRM names things, so that a new one needs no code.

Belongs here: their form, finding them, what a CRM lacks to be as one says. Does not belong here: reading a CRM
(`crm.py`). A company's own description in `data/crm/` wins over a shipped one of the same name.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gesture_assets.sources.description import load_toml
from gesture_assets.subscribers.tables import CRM_COLUMNS
from gesture_assets.vocabulary.flags import FALSE, TRUE

SHIPPED = Path(__file__).parent / "crm_descriptions"

# Of each of our tables the columns without which its rows say nothing; one of several is enough.
NEEDED = {
    "Subscribers": (("mailchimp_id",), ("user_email",)),
    "Tags": (("mailchimp_id",), ("tag",)),
    "Transactions": (("purchased_at",), ("mailchimp_id", "user_email")),
}

HeadersOf = Callable[[str], Iterable[str]]  # the columns of a table of the CRM


class CrmTable(BaseModel):
    """Where the rows of one of our tables are: the CRM's tables, or files without their ending, and their columns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tables: tuple[str, ...] = Field(min_length=1)  # names; a * stands for any text, case does not matter
    columns: dict[str, tuple[str, ...]]  # ours -> theirs, the first that is filled
    values: dict[str, dict[str, str]] = {}  # our column -> their value, in any case -> ours
    # Their column -> patterns, one of which fits the rows that count; true or false for all words that mean it.
    where: dict[str, tuple[str, ...]] = {}
    # Our column that holds several values -> what stands between them. Of tags each counts, else the first.
    lists: dict[str, str] = {}
    optional: bool = False  # whether a CRM may do without; tags are unknown then, and no purchase is recorded

    @field_validator("where", mode="before")
    @classmethod
    def _words_of_flags(cls, where: dict[str, object]) -> dict[str, object]:
        words = {True: TRUE, False: FALSE}
        return {name: words[asked] if isinstance(asked, bool) else asked for name, asked in where.items()}


class CrmDescription(BaseModel):
    """How one kind of CRM is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str = ""
    date_formats: tuple[str, ...] = ()  # strptime, tried in their order; what fits none is read as ISO 8601
    decimal: Literal[".", ","] = "."  # the sign before a fraction of an amount
    minor_units: int = Field(1, ge=1)  # what amounts are divided by: 100 where they are cents
    salesforce_ids: bool = False  # an id of 15 characters is the one of 18 that says the case of its letters as well
    in_order: bool = False  # the columns stand as document 003 has them, and another order is another export
    subscribers: CrmTable
    tags: CrmTable | None = None
    transactions: CrmTable | None = None

    @property
    def tables(self) -> Mapping[str, CrmTable]:
        """Our table -> where it is, for those that are described."""
        described = {"Subscribers": self.subscribers, "Tags": self.tags, "Transactions": self.transactions}
        return {name: table for name, table in described.items() if table}

    @model_validator(mode="after")
    def _complete(self) -> "CrmDescription":
        for name, table in self.tables.items():
            known = CRM_COLUMNS[name]
            for what in (table.columns, table.values, table.lists):
                if unknown := sorted(set(what) - set(known)):
                    raise ValueError(f"unknown column {unknown[0]!r} of {name}; known are {', '.join(known)}")
            for either in NEEDED[name]:
                if not set(either) & set(table.columns):
                    raise ValueError(f"nothing is mapped to {' or '.join(either)} of {name}")
        return self


def load_crm_descriptions(user_folder: Path) -> dict[str, CrmDescription]:
    """Name -> description, a company's own ones first. Raises `ConfigError` naming file and fault."""
    found = load_toml(CrmDescription, "CRM description", SHIPPED, user_folder)
    return dict(sorted(found.items(), key=lambda named: not (user_folder / f"{named[0]}.toml").exists()))


def fits(text: str, patterns: Iterable[str]) -> bool:
    """Whether `text` is like one of `patterns`, in which a * stands for any text, whatever its case."""
    return re.fullmatch(like(patterns), text.strip()) is not None


def like(patterns: Iterable[str]) -> str:
    """The regular expression for what is like one of `patterns`."""
    return "(?i)(?:" + "|".join(re.escape(pattern).replace(r"\*", ".*") for pattern in patterns) + ")"


def tables_of(table: CrmTable, names: Iterable[str]) -> list[str]:
    """Those of the CRM's tables `names` that hold the rows of `table`."""
    return sorted(name for name in names if fits(name, table.tables))


def found_columns(table: CrmTable, headers: Iterable[str]) -> dict[str, list[str]]:
    """Our column -> the CRM's that may hold it, in the description's order, for those that are among `headers`."""
    written = {header.strip().lower(): header for header in headers}
    found = {
        ours: [written[theirs.lower()] for theirs in several if theirs.lower() in written]
        for ours, several in table.columns.items()
    }
    return {ours: several for ours, several in found.items() if several}


def missing_parts(description: CrmDescription, names: Iterable[str], headers_of: HeadersOf) -> list[str]:
    """What a CRM with the tables `names` lacks to be as `description` says; none where it is."""
    names, missing = list(names), list[str]()
    for ours, table in description.tables.items():
        held_by = tables_of(table, names)
        if not held_by and not table.optional:
            missing.append(f"no {' or '.join(table.tables)}")
        if not is_absent(description, ours, names, headers_of):
            for name in held_by:
                missing += [f"no {what} in {name}" for what in _missing_columns(ours, table, headers_of(name))]
    return missing


def is_absent(description: CrmDescription, ours: str, names: Iterable[str], headers_of: HeadersOf) -> bool:
    """Whether the CRM does without our table: it has no such table, or its people no such column."""
    table = description.tables[ours]
    held_by = tables_of(table, names)
    is_column_of_people = table.tables == description.subscribers.tables
    lacks_column = any(_missing_columns(ours, table, headers_of(name)) for name in held_by)
    return table.optional and (not held_by or (is_column_of_people and lacks_column))


def _missing_columns(ours: str, table: CrmTable, headers: Iterable[str]) -> list[str]:
    headers = list(headers)
    present = found_columns(table, headers)
    lacking = [
        " or ".join(theirs for one in either for theirs in table.columns.get(one, ()))
        for either in NEEDED[ours]
        if not set(either) & set(present)
    ]
    written = {header.strip().lower() for header in headers}
    return lacking + [theirs for theirs in table.where if theirs.lower() not in written]
