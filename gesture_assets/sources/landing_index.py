"""Which landing files were seen, and which days their rows belong to.

Belongs here: the two tables that remember it, bringing them up to date with the folder, loading the rows of a window
into the scratch file, and telling which days are landed but not live. Does not belong here: reading a file
(`sources/landing.py`). A file is read for the index once, however often it is looked at; a second copy of the same
bytes is noted and not loaded.
"""

import hashlib
import itertools
import json
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from types import MappingProxyType

import duckdb
import narwhals as nw

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.errors import SourceError, listing
from gesture_assets.events.tables import IGNORED, QUARANTINE_TOLERANCE
from gesture_assets.frames import Frame
from gesture_assets.sources.kinds import EVENT, INTERACTION, PING_KINDS, Kind
from gesture_assets.sources.landing import LandingFile, OpenFile, content_hash, open_file, readable, rows_sql
from gesture_assets.sources.personal import build_word
from gesture_assets.sources.readers import drop_rows, one_thread
from gesture_assets.sources.redaction import hide_personal_values, refused_row_sql
from gesture_assets.vocabulary.sql import literal
from gesture_assets.warehouse.landed_days import HAS_WANTED_ROWS, LANDED_DAYS, create_landed_days
from gesture_assets.warehouse.relations import days_sql, has_table
from gesture_assets.warehouse.run_info import window_of
from gesture_assets.warehouse.schemas import LIVE
from gesture_assets.warehouse.session import Session
from gesture_assets.warehouse.transaction import transaction

log = logging.getLogger(__name__)

# Rows that stay in memory, about half a kB each: a file that was read for the index is not read again for its days.
KEPT_ROWS = 2_500_000
# Rows of files that are put into our words by one statement: the engine writes few rows at the price of many.
ROWS_TOGETHER = 1_000_000
ROW_GROUP = 122_880  # rows that the engine writes as one piece
LOOKS = 3  # at a file that changes while it is looked at; once more than a copy needs whose original has changed
TABLE_NUMBERS = itertools.count(1)  # of all indexes: two may share a scratch file
NO_FILINGS: Mapping[str, "Filing"] = MappingProxyType({})


@dataclass(frozen=True)
class NewFile:
    """A file that the index does not know as it is: `opened`, unless it is a copy of another."""

    file: LandingFile
    digest: str
    size: int
    modified_ns: int
    indexed_at: datetime
    copy_of: str | None = None
    opened: OpenFile | None = None


@dataclass(frozen=True)
class KnownFile:
    """A file as the index knows it. `file_date` is the day of its rows without a usable time, or on a stray one."""

    file: LandingFile
    digest: str
    file_date: date
    indexed_at: datetime
    row_count: int


@dataclass(frozen=True)
class DayCount:
    """Rows of a file that are filed under a day or none; of these, those of a wrong clock, left out, and refused."""

    day: date | None
    rows: int
    ahead: int
    ignored: int
    refused: int

    @property
    def rank(self) -> tuple[bool, int, int]:
        """The day of most rows has the highest, the first of equals; one whose rows are all left out comes last."""
        return self.rows > self.ignored, self.rows, -self.day.toordinal() if self.day else 0


@dataclass(frozen=True)
class Filing:
    """Where the rows of a file are filed: under their own day where it is one of `days`, else under `file_date`."""

    file_date: date
    days: tuple[date, ...]

    @property
    def sql(self) -> str:
        """The day of a row, given its own."""
        days = ", ".join(f"date '{day}'" for day in self.days)
        return f"if(filing_day in ({days}), filing_day, date '{self.file_date}')"


@dataclass
class LandingIndex:
    """The index of one open warehouse, of files of one kind. `key` makes the pseudonyms of rows that are read.

    Files of other kinds that it is given are passed over.
    """

    session: Session
    key: str
    kind: Kind = EVENT
    _kept: dict[str, str] = field(default_factory=dict[str, str])  # content hash -> table that has the file's rows
    _table_rows: dict[str, int] = field(default_factory=dict[str, int])
    _views: dict[str, set[str]] = field(default_factory=dict[str, set[str]])  # what was loaded -> tables it is made of

    def __post_init__(self) -> None:
        """Create the index where there is none."""
        if self.days != LANDED_DAYS:
            create_landed_days(self.session.connection, self.days)
        self.session.connection.execute(
            f"""create table if not exists {self.files} (
                landing_file varchar not null, source varchar not null, content_hash varchar not null,
                byte_count bigint not null, modified_ns bigint not null, row_count bigint not null,
                first_date date, last_date date, file_date date, indexed_at timestamp not null,
                copy_of varchar, personal_columns varchar, unused_columns varchar, description_hash varchar,
                found_columns varchar)"""
        )
        for later in ("description_hash", "found_columns"):
            self.session.connection.execute(f"alter table {self.files} add column if not exists {later} varchar")

    @staticmethod
    def table_of(kind: Kind) -> str:
        """The table of the files of a `kind`."""
        return f"{LIVE}.{kind.prefix}landing_files"

    @property
    def files(self) -> str:
        """The table of files."""
        return self.table_of(self.kind)

    @property
    def days(self) -> str:
        """The table of the days that their rows belong to; that of events is what a night asks."""
        return f"{LIVE}.{self.kind.prefix}landing_days" if self.kind is not EVENT else LANDED_DAYS

    @property
    def reconciled(self) -> str:
        """The table that accounts for what went live."""
        return f"{LIVE}.{self.kind.reconciliation}"

    def refresh(self, files: Iterable[LandingFile]) -> list[str]:
        """Index the files that are new or changed; forget removed ones that never went live. Returns the names indexed.

        Raises `SourceError` naming the first file that cannot be read: a night is not built on a part of what landed.
        A file that is still being written is read as far as it is there, and the next night reads the rest.
        """
        present = {file.name: file for file in files if file.source.row_kind is self.kind}
        for name in sorted(set(self._known()) - set(present)):
            self._forget_unless_live(name)
        looks = Counter[str]()
        # A changed file may have been the original of copies, which then count themselves: look until none is new.
        while new := [(name, *status) for name, *status in self._new(present) if looks[name] < LOOKS]:
            self._index([(present[name], size, modified_ns) for name, size, modified_ns in new])
            looks.update(name for name, _, _ in new)
        if LOOKS in looks.values() and (growing := [name for name, _, _ in self._new(present)]):
            log.warning("still being written: %s; read as far as it was there, and again next time", listing(growing))
        if looks:
            log.info("indexed %s landing files: %s", len(looks), listing(looks))
        return list(looks)

    def _known(self) -> dict[str, tuple[int, int, str | None]]:
        rows = self.session.connection.execute(
            f"select landing_file, byte_count, modified_ns, description_hash from {self.files}"
        ).fetchall()
        return {name: (size, modified_ns, description) for name, size, modified_ns, description in rows}

    def _new(self, present: Mapping[str, LandingFile]) -> list[tuple[str, int, int]]:
        """Name, size and time of the files that the index does not know as they are."""
        known = self._known()
        statuses = [(name, file.path.stat()) for name, file in present.items()]
        return [
            (name, status.st_size, status.st_mtime_ns)
            for name, status in statuses
            if name not in known
            or known[name][:2] != (status.st_size, status.st_mtime_ns)
            or known[name][2] not in (None, present[name].source.digest)
        ]

    def _index(self, new: Sequence[tuple[LandingFile, int, int]]) -> None:
        """Index files, given with size and time, in their order; those before one that cannot be read are indexed."""
        waiting: list[NewFile] = []
        try:
            for file, size, modified_ns in new:
                waiting += self._look_at(file, size, modified_ns, waiting)
                if sum(seen.opened.row_count for seen in waiting if seen.opened) >= ROWS_TOGETHER:
                    together, waiting = waiting, []
                    self._count(together)
        except SourceError:
            self._count(waiting)
            raise
        self._count(waiting)

    def _look_at(self, file: LandingFile, size: int, modified_ns: int, waiting: Sequence[NewFile]) -> Iterator[NewFile]:
        """`file`, opened, or as the copy of another that is known or `waiting`; nothing where it was only touched."""
        con, now = self.session.connection, self.session.run.now
        digest = content_hash(file)
        before = con.execute(
            f"select indexed_at, copy_of, description_hash from {self.files} "
            "where landing_file = ? and content_hash = ?",
            [file.name, digest],
        ).fetchone()
        if before and (before[1] or before[2] in (None, file.source.digest)):  # touched, not changed
            con.execute(
                f"update {self.files} set byte_count = ?, modified_ns = ?, description_hash = ? where landing_file = ?",
                [size, modified_ns, file.source.digest, file.name],
            )
            return
        if before:  # read by a mended description, it is no later than it was
            now = before[0]
        originals = [seen.file.name for seen in waiting if seen.digest == digest and not seen.copy_of]
        known = con.execute(
            f"select landing_file from {self.files} where content_hash = ? and copy_of is null", [digest]
        ).fetchall()
        superseded = {file.name, *(seen.file.name for seen in waiting)}
        if originals := originals + [name for (name,) in known if name not in superseded]:
            yield NewFile(file, digest, size, modified_ns, now, copy_of=originals[0])
        else:
            yield NewFile(file, digest, size, modified_ns, now, opened=self._open(file, digest, indexed_at=now))

    def _count(self, together: Sequence[NewFile]) -> None:
        """Note on which days the rows of files lie, in the order of the files."""
        opened = {seen.digest: seen.opened for seen in together if seen.opened}
        rows, counts = "", dict[str, list[DayCount]]()
        if opened:
            try:
                with readable(together[0].file):
                    rows = self._keep(opened) or rows_sql(*opened.values())
                    counts = self._counts(rows)
            except (SourceError, duckdb.IOException):
                if len(together) == 1:
                    raise
                for seen in together:  # the first that cannot be read is the one to name
                    self._count([seen])
                return
        for seen in together:
            days = self._filed(seen, rows, counts.get(seen.file.name, [])) if seen.opened else []
            self._store(seen, days)
            if seen.copy_of:
                log.warning("%s holds the same bytes as %s and is not loaded again", seen.file.name, seen.copy_of)
        for file in opened.values():
            drop_rows(self.session.connection, file.table)

    def _counts(self, rows: str) -> dict[str, list[DayCount]]:
        """File -> what of it is filed under each day."""
        counts: dict[str, list[DayCount]] = {}
        for name, *entry in self.session.connection.execute(
            f"""select landing_file, filing_day, count(*), count(*) filter (reason = 'future_ts'),
                count(*) filter (reason = '{IGNORED}'), count(*) filter (reason <> '{IGNORED}')
            from {rows} group by all order by all"""
        ).fetchall():
            counts.setdefault(name, []).append(DayCount(*entry))
        return counts

    def _filed(self, seen: NewFile, rows: str, counts: Sequence[DayCount]) -> list[DayCount]:
        """The days of a file with their rows.

        Those without a usable time are put under the day of most rows. So are a few refused ones on days that the file
        has nothing else of: a typing error in a date is no day on which something happened.
        """
        file, con = seen.file, self.session.connection
        dated = [count for count in counts if count.day is not None]
        stray = [count for count in dated if count.refused == count.rows]
        if len(stray) == len(dated) or _rows(stray) > max(1, QUARANTINE_TOLERANCE * _rows(counts)):
            stray = []
        loose = [count for count in counts if count.day is None or count in stray]
        if sound := [count for count in dated if count not in stray]:
            most = max(sound, key=lambda count: count.rank)
            ignored = sum(count.ignored for count in (most, *loose))
            together = replace(most, rows=_rows([most, *loose]), ignored=ignored)
            return [together if count is most else count for count in sound]
        if not loose:
            return []
        (undated,) = loose
        if not undated.ahead and undated.ignored < undated.rows:
            first = con.execute(
                f"""select reason, {refused_row_sql("masked_row")}
                from {rows} where landing_file = ? order by landing_line limit 1""",
                [file.name],
            ).fetchone()
            raise SourceError(
                f"The landing file {file.name} cannot be read as {file.source.name}; nothing of it was loaded.",
                expected="at least one row with a readable time, its fields named as the source names them",
                found=f"{undated.rows:,} rows without one, such as "
                f"{first[0] if first else ''}: {(first[1] if first else '')[:200]}",
                where=str(file.path),
                next_step=f"set timestamp_format or columns in data/sources/{file.source.name}.toml, then  gesture run",
            )
        # Times that can be read, of a clock that is wrong, or rows that nobody wants: of the day they landed.
        return [replace(undated, day=seen.indexed_at.date())]

    def _store(self, seen: NewFile, counts: Sequence[DayCount]) -> None:
        con, file, opened = self.session.connection, seen.file, seen.opened
        days = [(count.day, count.rows, count.ignored) for count in counts if count.day]
        file_day = max(counts, key=lambda count: count.rank).day if counts else None
        if opened and file_day and seen.digest in self._kept:
            self._refile(self._kept[seen.digest], file, Filing(file_day, tuple(day for day, _, _ in days)))
        personal = ", ".join(opened.personal_columns) or None if opened else None
        unused = ", ".join(opened.unused_columns) or None if opened else None
        columns = json.dumps(opened.found_columns, sort_keys=True) if opened else None
        with transaction(con):
            self._delete(file.name)
            con.execute(
                f"insert into {self.files} values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    file.name,
                    file.source.name,
                    seen.digest,
                    seen.size,
                    seen.modified_ns,
                    sum(count.rows for count in counts),
                    min((day for day, _, _ in days), default=None),
                    max((day for day, _, _ in days), default=None),
                    file_day,
                    seen.indexed_at,
                    seen.copy_of,
                    personal,
                    unused,
                    file.source.digest,
                    columns,
                ],
            )
            if days:
                con.executemany(
                    f"insert into {self.days} by name select ? as content_hash, ? as {PARTITION}, ? as row_count, "
                    "? as ignored_count",
                    [(seen.digest, *day) for day in days],
                )
        self.session.known.forget_landed_days()

    def _delete(self, name: str) -> None:
        con = self.session.connection
        con.execute(
            f"delete from {self.days} where content_hash in (select content_hash from {self.files} "
            "where landing_file = ? and copy_of is null)",
            [name],
        )
        con.execute(f"delete from {self.files} where landing_file = ? or copy_of = ?", [name, name])

    def _forget_unless_live(self, name: str) -> None:
        """A removed file that is part of a live day stays in the index: its rows are still true."""
        con = self.session.connection
        live = (
            has_table(con, self.reconciled)
            and con.execute(f"select 1 from {self.reconciled} where landing_file = ? limit 1", [name]).fetchone()
        )
        if not live:
            self._delete(name)
            self.session.known.forget_landed_days()
            log.info("%s is gone from the landing folder before it went live, and is forgotten", name)

    def _open(self, file: LandingFile, digest: str, *, indexed_at: datetime) -> OpenFile:
        table = f"scratch.main.read_{digest[:16]}"
        return open_file(self.session.connection, file, table=table, key=self.key, indexed_at=indexed_at)

    def _keep(self, opened: Mapping[str, OpenFile], filings: Mapping[str, Filing] = NO_FILINGS) -> str | None:
        """Put the rows of files (content hash -> file) into a table that is kept, and return it.

        None where they are too many, and can be read again in part, as Parquet can. `filings`: content hash -> where
        rows are filed, as far as it is known.
        """
        con, rows = self.session.connection, sum(file.row_count for file in opened.values())
        is_text = any(file.file.format != "parquet" for file in opened.values())
        held = sum(self._table_rows.values())
        self._kept = {digest: table for digest, table in self._kept.items() if digest not in opened}
        if held + rows > KEPT_ROWS and (held or not is_text):
            return None
        table = f"scratch.main.rows_{next(TABLE_NUMBERS)}"
        few = rows < 2 * ROW_GROUP * len(opened)
        with one_thread(con) if few else nullcontext():
            con.execute(f"create table {table} as from {rows_sql(*opened.values())}")
            hide_personal_values(con, table, self.key, self.kind)
        self._table_rows[table] = rows
        for digest, file in opened.items():
            self._kept[digest] = table
            if filing := filings.get(digest):
                self._refile(table, file.file, filing)
            drop_rows(con, file.table)
        return table

    def _refile(self, table: str, file: LandingFile, filing: Filing) -> None:
        """File the rows of `file`, among those of `table`, as `filing` says."""
        self.session.connection.execute(
            f"""update {table} set filing_day = {filing.sql}
            where landing_file = ? and filing_day is distinct from {filing.sql}""",
            [file.name],
        )

    def _filing(self, digest: str, file_date: date) -> Filing:
        """Where the rows of the file of that content are filed."""
        query = f"select {PARTITION} from {self.days} where content_hash = ? order by all"
        days = self.session.connection.execute(query, [digest]).fetchall()
        return Filing(file_date, tuple(day for (day,) in days))

    def _make_room(self, rows: int, needed: Iterable[str]) -> None:
        """Let go of tables, the oldest first, until `rows` more may be kept; never of those that are `needed`."""
        for table in sorted(set(self._table_rows) - set(needed), key=list(self._table_rows).index):
            if sum(self._table_rows.values()) + rows <= KEPT_ROWS:
                return
            self.session.connection.execute(f"drop table {table}")
            del self._table_rows[table]
            self._kept = {digest: kept for digest, kept in self._kept.items() if kept != table}

    def load(self, files: Iterable[LandingFile], days: Sequence[date], *, table: str = "landed") -> Frame:
        """Every landed row that is filed under `days`, or between them, as a view of the scratch file.

        Raises `SourceError` when a file with rows of these days is gone: rebuilding without it would lose them.
        """
        con = self.session.connection
        present = {file.name: file for file in files}
        wanted = con.execute(
            f"""select files.landing_file, files.content_hash, files.file_date, files.indexed_at, files.row_count,
                sum(days.row_count)
            from {self.files} as files join {self.days} as days using (content_hash)
            where files.copy_of is null and days.{PARTITION} between ? and ? group by all order by all""",
            [min(days), max(days)],
        ).fetchall()
        if self.session.run.force_reason:
            wanted = [row for row in wanted if row[0] in present]
        if not wanted:
            raise SourceError(
                f"{self.session.run.step} cannot be built for {window_of(days)}.",
                expected="landed rows for these days",
                found="none",
                where="data/landing",
                next_step="land a file (README, 'Bring your own data'), then  gesture run",
            )
        for name, *_, count in wanted:
            if name not in present:
                raise SourceError(
                    f"{self.session.run.step} cannot be built for {window_of(days)}.",
                    expected=f"the landing file {name}, which held {count:,} rows of these days",
                    found="no such file",
                    where="data/landing",
                    next_step="put the file back, then  gesture run; "
                    'or leave it out on purpose:  gesture run --from … --to … --force --reason "why"',
                )
        landed, window = f"scratch.main.{table}", f"filing_day between date '{min(days)}' and date '{max(days)}'"
        apart = f"{landed}_apart"
        con.execute(f"drop table if exists {apart}")
        asked = [KnownFile(present[name], *known) for name, *known, _ in wanted]
        others = set[str]().union(*(tables for name, tables in self._views.items() if name != table))
        for together in _in_batches([known for known in asked if known.digest not in self._kept]):
            needed = {self._kept[known.digest] for known in asked if known.digest in self._kept}
            self._make_room(sum(known.row_count for known in together), others | needed)
            self._read(together, apart, window)
        shown = f"select filing_day as {PARTITION}, * exclude (filing_day) from"
        names: dict[str, list[str]] = {}
        for known in asked:
            names.setdefault(self._kept.get(known.digest, apart), []).append(literal(known.file.name))
        if apart in names:
            hide_personal_values(con, apart, self.key, self.kind)
        parts = [
            f"{shown} {place} where {window} and landing_file in ({', '.join(files)})" for place, files in names.items()
        ]
        con.execute(f"create or replace view {landed} as {' union all '.join(parts)}")
        self._views[table] = set(names) - {apart}
        return nw.from_native(con.sql(f"from {landed}"))

    def _read(self, files: Sequence[KnownFile], apart: str, window: str) -> None:
        """Read files that are not kept: to be kept, or where they are too many the rows of `window` into `apart`."""
        con = self.session.connection
        opened = {known.digest: self._open(known.file, known.digest, indexed_at=known.indexed_at) for known in files}
        filings = {known.digest: self._filing(known.digest, known.file_date) for known in files}
        try:
            with readable(files[0].file):
                if not self._keep(opened, filings):
                    for digest, file in opened.items():
                        rows = f"select * from {_dated(file, filings[digest])} where {window}"
                        con.execute(f"create table if not exists {apart} as from ({rows}) limit 0")
                        con.execute(f"insert into {apart} {rows}")
        except (SourceError, duckdb.IOException):
            if len(files) == 1:
                raise
            for known in files:  # the first that cannot be read is the one to name
                self._read([known], apart, window)
        for file in opened.values():
            drop_rows(con, file.table)

    def dropped_columns(self) -> Frame:
        """One row per file: what was found in it, and what was not taken."""
        columns = "landing_file, personal_columns, unused_columns, found_columns"
        return nw.from_native(self.session.connection.sql(f"select {columns} from {self.files}"))

    def read_again(self, file: LandingFile) -> str | None:
        """SQL of every row of an indexed `file`, as its description reads it now, filed as a night would file it.

        None where nothing of it is loaded: it is empty by now, or a copy of another file.
        """
        row = self.session.connection.execute(
            f"select content_hash, file_date, indexed_at from {self.files} "
            "where landing_file = ? and copy_of is null and file_date is not null",
            [file.name],
        ).fetchone()
        if not row:
            return None
        digest, file_date, indexed_at = row
        if digest not in self._kept:
            opened = self._open(file, digest, indexed_at=indexed_at)
            self._make_room(opened.row_count, set[str]().union(*self._views.values()))
            with readable(file):
                filing = self._filing(digest, file_date)
                if not self._keep({digest: opened}, {digest: filing}):
                    return f"from {_dated(opened, filing)}"
        return f"from {self._kept[digest]} where landing_file = {literal(file.name)}"

    def row_counts(self) -> dict[date, int]:
        """Day -> rows that landed for it, copies of files not counted."""
        query = f"select {PARTITION}, sum(row_count)::bigint from {self.days} group by all"
        return dict(self.session.connection.execute(query).fetchall())

    def emptied_days(self, files: Iterable[LandingFile], days: Collection[date]) -> dict[date, str]:
        """Of the live `days` of which nothing lands any more, those that one of the present `files` was read for.

        A file that is gone from the folder was put away: its days stay, and nothing is wrong.
        """
        if not days or not has_table(self.session.connection, self.reconciled):
            return {}
        read = self.session.connection.execute(
            f"select {PARTITION}, min(landing_file) from {self.reconciled} "
            f"where {PARTITION} in ({days_sql(sorted(days))}) and landing_file in (select unnest(?)) "
            "group by all order by all",
            [[file.name for file in files]],
        )
        return dict(read.fetchall())

    def sources(self, days: Sequence[date], files: Iterable[LandingFile]) -> dict[date, str]:
        """Day -> a hash over all files up to it, as they were read, and the key of the pseudonyms.

        A file that is gone from the folder is none: reading the day again would say so.
        """
        present = {file.name for file in files}
        rows = self.session.connection.execute(
            f"""select min(days.{PARTITION}), landing_file, content_hash, description_hash, file_date, indexed_at,
                personal_columns, unused_columns, found_columns
            from {self.files} join {self.days} as days using (content_hash)
            where copy_of is null group by all order by all"""
        ).fetchall()
        running = hashlib.sha256(build_word(self.key).encode())
        digests, waiting = dict[date, str](), [row for row in rows if row[1] in present]
        for day in sorted(days):
            while waiting and waiting[0][0] <= day:
                running.update(str(waiting.pop(0)).encode())
            digests[day] = running.copy().hexdigest()
        return digests

    def landed_days(self, *, wanted: bool = True) -> dict[date, str]:
        """Every day on which something landed, or what is `wanted`, with a hash over the files that it is made of."""
        rows = self.session.connection.execute(
            f"select {PARTITION}, string_agg(content_hash || row_count, ',' order by content_hash) from {self.days} "
            f"group by all having bool_or({HAS_WANTED_ROWS if wanted else True}) order by all"
        ).fetchall()
        return {day: hashlib.sha256(text.encode()).hexdigest()[:16] for day, text in rows}


def ping_indexes(session: Session, key: str, files: Iterable[LandingFile]) -> dict[str, LandingIndex]:
    """Kind -> the index of its files, up to date, for each kind of short videos; none where none ever landed."""
    theirs = [file for file in files if file.source.row_kind in PING_KINDS]
    if not theirs and not has_table(session.connection, LandingIndex.table_of(INTERACTION)):
        return {}
    indexes = {kind.name: LandingIndex(session, key, kind) for kind in PING_KINDS}
    for index in indexes.values():
        index.refresh(theirs)
    return indexes


def _rows(counts: Iterable[DayCount]) -> int:
    return sum(count.rows for count in counts)


def _in_batches(files: Iterable[KnownFile]) -> Iterator[list[KnownFile]]:
    """`files` in their order, as many together as hold `ROWS_TOGETHER`."""
    batch: list[KnownFile] = []
    for known in files:
        batch.append(known)
        if sum(one.row_count for one in batch) >= ROWS_TOGETHER:
            yield batch
            batch = []
    if batch:
        yield batch


def _dated(file: OpenFile, filing: Filing) -> str:
    """The rows of `file`, filed as `filing` says."""
    return f"(select * replace ({filing.sql} as filing_day) from {file.sql})"
