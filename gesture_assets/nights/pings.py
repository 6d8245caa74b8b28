"""Steps of short videos: landed files to interactions, and to the videos and users as each day knew them.

Belongs here: reading what landed behind the gates, calling the room. Does not belong here: what an interaction is
(`pings/`), how a file is read (`sources/`).
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import narwhals as nw

from gesture_assets.contracts.contract import Contract
from gesture_assets.errors import listing
from gesture_assets.events.accept import reconciliation
from gesture_assets.frames import Frame
from gesture_assets.nights.events import account, counts_of, ids_of_earlier_days
from gesture_assets.nights.night import Days, Night, without_gaps
from gesture_assets.nights.steps import Built, Step
from gesture_assets.pings import accept
from gesture_assets.pings.tables import (
    PING_INTERACTIONS,
    PING_RECONCILIATION,
    PING_USERS,
    PINGS,
    QUARANTINED_PING_ROWS,
    UNKNOWN_PING,
)
from gesture_assets.records.quarantine import replayed_at
from gesture_assets.sources.catalogues import Catalogue, catalogues_of, digests, later_catalogues, load_catalogues
from gesture_assets.sources.description import load_descriptions
from gesture_assets.sources.kinds import INTERACTION, PING, PING_KINDS, PING_USER
from gesture_assets.sources.landing import LandingFile, find_files
from gesture_assets.sources.landing_index import LandingIndex, ping_indexes
from gesture_assets.sources.personal import pseudonym_key

log = logging.getLogger(__name__)

TABLES = (PING_INTERACTIONS, PINGS, PING_USERS, QUARANTINED_PING_ROWS, PING_RECONCILIATION)

# Catalogue -> its table, and what tells its rows apart.
CATALOGUES = {PING.name: (PINGS, "ping_id"), PING_USER.name: (PING_USERS, "user_id")}
OF_EACH_DAY = ("as_of_date", "known_on", "catalogue_row", "source", "landing_file")  # columns that no file has


@dataclass(frozen=True)
class Landing:
    """The files of short videos in the landing folder, and an index for each kind of them."""

    indexes: Mapping[str, LandingIndex]
    files: Sequence[LandingFile]


def landing(night: Night) -> Landing | None:
    """What is in the landing folder of these kinds, new files indexed; None where nothing of them ever landed."""

    def look() -> Landing | None:
        own = night.settings.user_sources
        files = list(find_files(night.settings.landing, load_descriptions(own), own))
        indexes = ping_indexes(night.session, pseudonym_key(night.settings), files)
        return Landing(indexes, files) if indexes else None

    return night.once("landing of pings", look)


def has_landed(night: Night) -> bool:
    """Whether anything of short videos ever landed."""
    return landing(night) is not None


def _made_of(night: Night) -> Mapping[date, str] | None:
    """Day -> a hash over what it is read from; none where nothing ever landed."""
    landed = landing(night)
    if landed is None:
        return None
    of_catalogues = [digests(catalogues_of(landed.indexes[name], night.days)) for name in CATALOGUES]
    of_replays = digests(_later(night, landed, night.days))
    of_interactions = landed.indexes[INTERACTION.name].sources(night.days, landed.files)
    return {
        day: " ".join((of_interactions[day], *(found[day] for found in of_catalogues), of_replays.get(day, "")))
        for day in night.days
    }


def _later(night: Night, landed: Landing, days: Days) -> Mapping[date, Sequence[Catalogue]]:
    """Day that was replayed for unknown videos -> later catalogues that were known by then."""
    moments = replayed_at(night.session.connection, UNKNOWN_PING, days)
    return later_catalogues(landed.indexes[PING.name], moments)


def landed_pings(night: Night, days: Days) -> Built:
    """Read what landed, let every day have its catalogues, set aside what is no interaction with one of them."""
    found = landing(night)
    if found is None:
        why = "no files of short videos: no source in data/landing is of the kind interaction, ping or ping_user"
        return Built(dict.fromkeys(TABLES, ()), notes={"absent": why}, absent=why)
    session = night.session
    frames: dict[Contract, list[Frame]] = {table: [night.select(table, "false")] for table in TABLES}
    counts = Counter[Any]()
    landed: list[Frame] = []
    accepted: list[Frame] = []

    def file_as(kind: str, rows: Frame, sound: Frame) -> None:
        frames[QUARANTINED_PING_ROWS].append(accept.quarantined(rows, kind))
        landed.append(accept.counted(rows, kind))
        accepted.append(accept.counted(sound, kind))

    for kind, (table, key) in CATALOGUES.items():
        rows = load_catalogues(found.indexes[kind], found.files, catalogues_of(found.indexes[kind], days))
        if rows is not None:
            rows = session.set_aside(f"{kind}_rows", accept.catalogue(rows, key=key, content=_content(table)))
            frames[table].append(accept.standing(rows).select(*table.column_names))
            file_as(kind, rows, accept.standing(rows))
    index = found.indexes[INTERACTION.name]
    landed_then = index.landed_days()
    if any(days[0] <= day <= days[-1] for day in index.landed_days(wanted=False)):
        rows = without_gaps(index.load(found.files, days, table="landed_interactions"), days)
        pings = session.set_aside("known_pings", nw.concat(frames[PINGS]))
        later = load_catalogues(found.indexes[PING.name], found.files, _later(night, found, days))
        if later is not None:
            later = accept.missing_pings(rows, pings, later, content=_content(PINGS))
            later = session.set_aside("later_ping_rows", later)
            frames[PINGS].append(accept.standing(later).select(*PINGS.column_names))
            file_as(PING.name, later, accept.standing(later))
            pings = session.set_aside("known_pings_by_now", nw.concat(frames[PINGS]))
        rows = session.set_aside("interaction_rows", accept.with_known_pings(rows, pings))
        earlier = ids_of_earlier_days(night, days, rows, PING_INTERACTIONS, index, found.files)
        sound = session.set_aside("interactions", accept.interactions(rows, earlier))
        frames[PING_INTERACTIONS].append(accept.one_by_one(sound))
        file_as(INTERACTION.name, rows, sound)
    if landed:
        files = nw.concat([index.dropped_columns() for index in found.indexes.values()])
        hideable = sorted({name for kind in PING_KINDS for name in kind.hideable})
        all_rows, sound_rows = nw.concat(landed), nw.concat(accepted)
        frames[PING_RECONCILIATION].append(reconciliation(all_rows, sound_rows, files, hideable))
        counts = counts_of(all_rows, sound_rows)
    return Built(
        frames,
        notes=_without_events(night, index),
        counts=counts,
        inputs={"landing": ",".join(landed_then.get(day, "none") for day in days)},
    )


def _content(table: Contract) -> list[str]:
    """The columns of a catalogue that a file has."""
    return [name for name in table.column_names if name not in OF_EACH_DAY]


def _without_events(night: Night, index: LandingIndex) -> Mapping[str, str]:
    """Days of which interactions have landed and no event: no night is built of them."""
    over = {day for day in index.landed_days() if day < night.session.run.now.date()}
    missed = sorted(over - night.session.landed_days())
    if missed:
        log.warning("interactions but no events landed on %s: no night is built of such a day", listing(missed))
    return {"days_without_events": listing(missed)} if missed else {}


STEPS = (
    Step(
        "landed_pings",
        landed_pings,
        TABLES,
        look_first=landing,
        has_source=has_landed,
        sources=_made_of,
        rows=lambda night: found.indexes[INTERACTION.name].row_counts() if (found := landing(night)) else {},
        summary=account,
        kinds={PING_INTERACTIONS.name: ("csv", "json", "parquet")},
    ),
)
