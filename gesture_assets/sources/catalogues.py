"""Landed catalogues: files that say how things stand, of which the newest that was known by the end of a day counts.

Belongs here: which file stands on a day, and loading its rows. Does not belong here: the index of files
(`landing_index.py`), what a row must have (`canonical.py`).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import narwhals as nw

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.errors import SourceError
from gesture_assets.frames import Frame
from gesture_assets.sources.landing_file import LandingFile
from gesture_assets.sources.landing_index import LandingIndex
from gesture_assets.vocabulary.sql import literal
from gesture_assets.warehouse.run_info import window_of


@dataclass(frozen=True)
class Catalogue:
    """A file that stands for its source from the day `known_on` on."""

    known_on: date
    indexed_at: datetime
    landing_file: str
    source: str
    content_hash: str
    description_hash: str | None


def catalogues_of(index: LandingIndex, days: Sequence[date]) -> dict[date, tuple[Catalogue, ...]]:
    """Day -> the catalogues that stand on it, one a source, in order of sources.

    The newest that was known by the end of the day; where none was, the first that ever came, as nothing else is known
    of that time. Of several that came at once the last name counts.
    """
    by_source = _by_source(index)
    return {day: tuple(_standing(by_source[source], day) for source in sorted(by_source)) for day in days}


def later_catalogues(index: LandingIndex, moments: Mapping[date, datetime]) -> dict[date, tuple[Catalogue, ...]]:
    """Day -> the newest catalogue of each source that was known at its moment, without those that stand on the day."""
    sources, stands = sorted(_by_source(index).items()), catalogues_of(index, list(moments))
    found: dict[date, tuple[Catalogue, ...]] = {}
    for day, moment in moments.items():
        known = [[one for one in of_source if one.indexed_at <= moment] for _, of_source in sources]
        newest = [of_source[-1] for of_source in known if of_source]
        found[day] = tuple(one for one in newest if one not in stands[day])
    return found


def newest_catalogues(index: LandingIndex) -> list[str]:
    """The file of the newest catalogue of each source."""
    return [of_source[-1].landing_file for _, of_source in sorted(_by_source(index).items())]


def _by_source(index: LandingIndex) -> dict[str, list[Catalogue]]:
    """The catalogues of each source, the newest last."""
    rows = index.session.connection.execute(
        f"""select days.{PARTITION}, indexed_at, landing_file, source, content_hash, description_hash
        from {index.files} join {index.days} as days using (content_hash) where copy_of is null order by all"""
    ).fetchall()
    by_source: dict[str, list[Catalogue]] = {}
    for row in rows:
        by_source.setdefault(row[3], []).append(Catalogue(*row))
    return by_source


def _standing(known: Sequence[Catalogue], day: date) -> Catalogue:
    """The one of those of a source, in their order, that stands on `day`."""
    since = max((one.known_on for one in known if one.known_on <= day), default=known[0].known_on)
    return [one for one in known if one.known_on == since][-1]


def digests(found: Mapping[date, Sequence[Catalogue]]) -> dict[date, str]:
    """Day -> a hash over its catalogues, as they were read."""
    return {day: hashlib.sha256(str(tuple(standing)).encode()).hexdigest() for day, standing in found.items()}


def load_catalogues(
    index: LandingIndex, files: Iterable[LandingFile], found: Mapping[date, Sequence[Catalogue]]
) -> Frame | None:
    """Every row of the catalogues `found` of each day, with the day and `known_on`; None where there are none.

    Raises `SourceError` when a file of one of the days is gone; with a `force_reason` it is left out.
    """
    if not any(found.values()):
        return None
    con, table = index.session.connection, f"scratch.main.{index.kind.prefix}catalogues"
    present: Mapping[str, LandingFile] = {file.name: file for file in files}
    con.execute(f"drop table if exists {table}")
    is_loaded = False
    for name in dict.fromkeys(one.landing_file for standing in found.values() for one in standing):
        rows = index.read_again(present[name]) if name in present else None
        if rows is None and index.session.run.force_reason:
            continue
        if rows is None:
            raise SourceError(
                f"{index.session.run.step} cannot be built for {window_of(sorted(found))}.",
                expected=f"the landing file {name}, which says how things stood on these days",
                found="no such file",
                where="data/landing",
                next_step="put the file back, then  gesture run; "
                'or leave it out on purpose:  gesture run --from … --to … --force --reason "why"',
            )
        con.execute(f"create table if not exists {table} as {rows} limit 0")
        con.execute(f"insert into {table} {rows}")
        is_loaded = True
    if not is_loaded:
        return None
    standing = ", ".join(
        f"(date '{day}', {literal(one.landing_file)}, date '{one.known_on}')" for day in found for one in found[day]
    )
    return nw.from_native(
        con.sql(
            f"""select {PARTITION}, known_on, rows.* exclude (filing_day) from {table} as rows
            join (values {standing}) as standing({PARTITION}, landing_file, known_on) using (landing_file)"""
        )
    )
