"""The open night: the warehouse of a run, the days that are being built, and reads behind the gates.

Belongs here: what every step asks of the warehouse. Does not belong here: any step (the modules beside this one),
running them (`steps.py`, `runner.py`), Dagster (`defs/`).
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import narwhals as nw
import polars as pl

from gesture_assets.contracts.catalogue import Catalogue, catalogue
from gesture_assets.contracts.contract import PARTITION, Contract
from gesture_assets.errors import ConfigError, TrainingRefused, listing
from gesture_assets.frames import Frame
from gesture_assets.publication import validation_results
from gesture_assets.records import audit_log
from gesture_assets.records.opening import warehouse_of
from gesture_assets.settings import Settings
from gesture_assets.vocabulary.types import POLARS_TYPES
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.session import Session

log = logging.getLogger(__name__)

Days = Sequence[date]
# Values (rows × columns) that are staged at once: they take 4 to 16 bytes each, and are sorted. With twice as many a
# range takes hardly less time, and a first run of 2,000 users and 60 days 1.3 GB instead of 1.2.
CELLS_AT_ONCE = 22_000_000


@dataclass(frozen=True)
class Night:
    """An open warehouse and the days that are being built; `memo` holds what is worked out once for all of them."""

    session: Session
    settings: Settings
    tables: Catalogue
    days: tuple[date, ...]
    options: Any = None  # of the step, where it has some
    span: tuple[date, ...] = ()  # all days of the step, where `days` are a part of them
    memo: dict[Any, Any] = field(default_factory=dict[Any, Any])

    def part(self, days: Days) -> "Night":
        """The same night, building `days` of all that the step builds."""
        return replace(self, days=tuple(days), span=self.span or self.days)

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` returns; asked again for `key`, the night remembers."""
        if key not in self.memo:
            self.memo[key] = make()
        return self.memo[key]

    def contract(self, contract: Contract) -> Contract:
        """`contract` as it is here: some tables have a column for each CRM tag of the settings."""
        return self.tables[contract.name] if contract.name in self.tables.by_name else contract

    def read(self, contract: Contract, **window: date | None) -> Frame:
        """See `Session.read`."""
        return self.session.read(self.contract(contract), days=self.days, **window)

    def read_window(self, contract: Contract) -> Frame:
        """The rows of the days that are being built; days between them that are left out may have some."""
        return without_gaps(self.read(contract, since=self.days[0], through=self.days[-1]), self.days)

    def select(self, contract: Contract, where: str = "true") -> Frame:
        """See `Session.select`."""
        return self.session.select(self.contract(contract), where)

    def counts(self, contract: Contract) -> dict[date, int]:
        """Day -> live rows of `contract`, over the span of the days."""
        return self.session.live_counts(contract.name, self.days)

    def chunks(self, counts: Mapping[date, int], *, columns: int) -> Iterator[tuple[date, ...]]:
        """The days in pieces of about `CELLS_AT_ONCE` values, a day at least: `counts` (day -> rows) of `columns`.

        Planning a query costs the same for one day as for many, and many large days at once would not fit in memory.
        """
        most = CELLS_AT_ONCE // columns
        chunk: list[date] = []
        filled = 0
        for day in self.days:
            if chunk and filled + counts.get(day, 0) > most:
                yield tuple(chunk)
                chunk, filled = [], 0
            chunk.append(day)
            filled += counts.get(day, 0)
        yield tuple(chunk)

    def without_quiet_days(self) -> "Night":
        """The night without days on which nothing landed, in a range: a shop may close on Sundays.

        A night of its own for such a day fails: a sender that stopped looks the same, and somebody should know.
        """
        landed = self.session.landed_days()
        busy = tuple(day for day in self.days if day in landed)
        if len(self.days) < 2 or not busy or busy == self.days:
            return self
        quiet = [str(day) for day in self.days if day not in landed]
        log.warning("nothing landed on %s: left out", listing(quiet))
        return replace(self, days=busy)

    def table(self, contract: Contract, *rows: pl.DataFrame) -> Frame:
        """`rows` in the columns and types of `contract`; a column that they lack is null."""
        schema = {column.name: POLARS_TYPES[column.type] for column in contract.columns}
        frames = [
            frame.select(pl.col(name).cast(schema[name]) for name in frame.columns if name in schema) for frame in rows
        ]
        return nw.from_native(pl.concat([pl.DataFrame(schema=schema), *frames], how="diagonal").lazy())


@contextmanager
def open_night(settings: Settings, run: RunInfo, *, options: Any = None) -> Iterator[Night]:
    """The night of `run`; a refused training is noted, and what the checks said is written when the run ends."""
    with warehouse_of(settings).open(run) as session:
        night = Night(session, settings, catalogue(settings.tags), run.days, options).without_quiet_days()
        session.known.at_end["what the checks said"] = lambda: validation_results.write(
            session.connection, settings.validation_results, run, night.days
        )
        try:
            yield night
        except TrainingRefused as refusal:
            audit_log.note(
                session.connection,
                now=run.now,
                action="training refused",
                what=run.step,
                days=run.days,
                reason=refusal.report,
                run_id=run.run_id,
            )
            raise


def one_day(night: Night, days: Days, *, command: str) -> date:
    """The day of a training: a range would train on days that the next one is judged by."""
    first, *others = days
    if others:
        raise ConfigError.bad_value(
            "The days of a training",
            expected="one day",
            found=night.session.run.window,
            where="the run's partitions",
            next_step=f"{command} --date {days[-1]}",
        )
    return first


def without_gaps(rows: Frame, days: Days) -> Frame:
    """Those of `rows`, of days between the first and the last of `days`, that are of one of them."""
    has_gaps = (days[-1] - days[0]).days >= len(days)
    return rows.filter(nw.col(PARTITION).is_in(days)) if has_gaps else rows


def moments(night: Night, days: Days) -> Frame:
    """`days` with the moment by which things were known: their end."""
    ends = [day + timedelta(days=1) for day in days]
    values = ", ".join(f"(date '{day}', timestamp '{end}')" for day, end in zip(days, ends, strict=True))
    return nw.from_native(night.session.connection.sql(f"select * from (values {values}) as t({PARTITION}, as_of)"))


def is_one_of(days: Days) -> str:
    """The condition that a row is of one of `days`, for `Night.select`."""
    listed = ", ".join(f"date '{day}'" for day in days)
    return f"{PARTITION} in ({listed})"
