"""Which landing files were seen, and which days their rows belong to.

Belongs here: the two tables that remember it, bringing them up to date with the folder, loading the rows of a window
into the scratch file, and telling which days are landed but not live. Does not belong here: reading a file
(`sources/landing.py`). A file is read for the index once, however often it is looked at; a second copy of the same
bytes is noted and not loaded.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

import narwhals as nw

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.errors import SourceError, listing
from gesture_assets.frames import Frame
from gesture_assets.sources.landing import LandingFile, OpenFile, content_hash, open_file, readable
from gesture_assets.sources.personal import build_word
from gesture_assets.warehouse.landed_days import LANDED_DAYS
from gesture_assets.warehouse.run_info import window_of
from gesture_assets.warehouse.schemas import LIVE
from gesture_assets.warehouse.session import Session
from gesture_assets.warehouse.transaction import transaction

log = logging.getLogger(__name__)

KEPT_ROWS = 4_000_000  # of text files, which are slow to read, in case the session asks for them again
FILES, DAYS, LANDED = f"{LIVE}.landing_files", LANDED_DAYS, "scratch.main.landed"


@dataclass
class LandingIndex:
    """The index of one open warehouse. `key` makes the pseudonyms of rows that are read."""

    session: Session
    key: str
    _opened: dict[str, OpenFile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Create the index where there is none."""
        self.session.connection.execute(
            f"""create table if not exists {FILES} (
                landing_file varchar not null, source varchar not null, content_hash varchar not null,
                byte_count bigint not null, modified_ns bigint not null, row_count bigint not null,
                first_date date, last_date date, file_date date, indexed_at timestamp not null,
                copy_of varchar, personal_columns varchar, unused_columns varchar, description_hash varchar,
                found_columns varchar)"""
        )
        for later in ("description_hash", "found_columns"):
            self.session.connection.execute(f"alter table {FILES} add column if not exists {later} varchar")

    def refresh(self, files: Iterable[LandingFile]) -> list[str]:
        """Index the files that are new or changed; forget removed ones that never went live. Returns the names indexed.

        Raises `SourceError` naming the first file that cannot be read: a night is not built on a part of what landed.
        """
        present = {file.name: file for file in files}
        for name in sorted(set(self._known()) - set(present)):
            self._forget_unless_live(name)
        added: list[str] = []
        # A changed file may have been the original of copies, which then count themselves: look until none is new.
        while new := self._new(present):
            for name, size, modified_ns in new:
                self._index(present[name], size, modified_ns)
            added += [name for name, _, _ in new]
        if added:
            log.info("indexed %s landing files: %s", len(added), listing(added))
        return added

    def _known(self) -> dict[str, tuple[int, int, str | None]]:
        rows = self.session.connection.execute(
            f"select landing_file, byte_count, modified_ns, description_hash from {FILES}"
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

    def _index(self, file: LandingFile, size: int, modified_ns: int) -> None:
        con, now = self.session.connection, self.session.run.now
        digest = content_hash(file)
        before = con.execute(
            f"select indexed_at, copy_of, description_hash from {FILES} where landing_file = ? and content_hash = ?",
            [file.name, digest],
        ).fetchone()
        if before and (before[1] or before[2] in (None, file.source.digest)):  # touched, not changed
            con.execute(
                f"update {FILES} set byte_count = ?, modified_ns = ?, description_hash = ? where landing_file = ?",
                [size, modified_ns, file.source.digest, file.name],
            )
            return
        if before:  # read by a mended description, it is no later than it was
            now = before[0]
        original = con.execute(
            f"select landing_file from {FILES} where content_hash = ? and copy_of is null and landing_file <> ?",
            [digest, file.name],
        ).fetchone()
        if original:
            self._store(file, digest, size, modified_ns, [], original[0], None, now)
            log.warning("%s holds the same bytes as %s and is not loaded again", file.name, original[0])
            return
        opened = self._open(file, digest, indexed_at=now)
        with readable(file):
            counts = con.execute(f"select filing_day, count(*) from {opened.sql} group by all order by all").fetchall()
        dated = [(day, count) for day, count in counts if day is not None]
        undated = sum(count for day, count in counts if day is None)
        if (
            undated
            and not dated
            and con.execute(f"select 1 from {opened.sql} where reason = 'future_ts' limit 1").fetchone()
        ):
            # Times that can be read, of a clock that is wrong: rows for the quarantine of the day they landed.
            dated, undated = [(now.date(), undated)], 0
        if undated and not dated:
            first = con.execute(f"select reason, masked_row from {opened.sql} limit 1").fetchone()
            raise SourceError(
                f"The landing file {file.name} cannot be read as {file.source.name}; nothing of it was loaded.",
                expected="at least one row with a readable time",
                found=f"{undated:,} rows without one, such as "
                f"{first[0] if first else ''}: {(first[1] if first else '')[:200]}",
                where=str(file.path),
                next_step=f"set timestamp_format or columns in data/sources/{file.source.name}.toml, then  gesture run",
            )
        self._store(file, digest, size, modified_ns, self._with_undated(dated, undated), None, opened, now)

    @staticmethod
    def _with_undated(dated: Sequence[tuple[date, int]], undated: int) -> list[tuple[date, int]]:
        """Rows without a usable time are filed under the day that most rows of the file have, the first of equals."""
        if not dated:
            return []
        file_day = max(dated, key=lambda entry: (entry[1], -entry[0].toordinal()))[0]
        return [(day, count + (undated if day == file_day else 0)) for day, count in dated]

    def _store(
        self,
        file: LandingFile,
        digest: str,
        size: int,
        modified_ns: int,
        days: list[tuple[date, int]],
        copy_of: str | None,
        opened: OpenFile | None,
        indexed_at: datetime,
    ) -> None:
        con = self.session.connection
        file_day = max(days, key=lambda entry: (entry[1], -entry[0].toordinal()))[0] if days else None
        personal = ", ".join(opened.personal_columns) or None if opened else None
        unused = ", ".join(opened.unused_columns) or None if opened else None
        columns = json.dumps(opened.found_columns, sort_keys=True) if opened else None
        with transaction(con):
            self._delete(file.name)
            con.execute(
                f"insert into {FILES} values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    file.name,
                    file.source.name,
                    digest,
                    size,
                    modified_ns,
                    sum(count for _, count in days),
                    min((day for day, _ in days), default=None),
                    max((day for day, _ in days), default=None),
                    file_day,
                    indexed_at,
                    copy_of,
                    personal,
                    unused,
                    file.source.digest,
                    columns,
                ],
            )
            if days:
                con.executemany(f"insert into {DAYS} values (?, ?, ?)", [(digest, day, count) for day, count in days])
        self.session.known.forget_landed_days()

    def _delete(self, name: str) -> None:
        con = self.session.connection
        con.execute(
            f"delete from {DAYS} where content_hash in (select content_hash from {FILES} where landing_file = ? "
            "and copy_of is null)",
            [name],
        )
        con.execute(f"delete from {FILES} where landing_file = ? or copy_of = ?", [name, name])

    def _forget_unless_live(self, name: str) -> None:
        """A removed file that is part of a live day stays in the index: its rows are still true."""
        con = self.session.connection
        exists = con.execute(
            "select count(*) from duckdb_tables() where database_name = 'warehouse' "
            "and table_name = 'landing_reconciliation' and schema_name = 'main'"
        ).fetchone()
        live = (
            exists
            and exists[0]
            and con.execute(
                f"select 1 from {LIVE}.landing_reconciliation where landing_file = ? limit 1", [name]
            ).fetchone()
        )
        if not live:
            self._delete(name)
            self.session.known.forget_landed_days()
            log.info("%s is gone from the landing folder before it went live, and is forgotten", name)

    def _open(self, file: LandingFile, digest: str, *, indexed_at: object) -> OpenFile:
        if digest not in self._opened:
            self._make_room()
            table = f"scratch.main.rows_{digest[:16]}"
            self._opened[digest] = open_file(
                self.session.connection,
                file,
                table=table,
                key=self.key,
                indexed_at=indexed_at,  # pyright: ignore[reportArgumentType]
            )
        return self._opened[digest]

    def _make_room(self) -> None:
        """Forget the files that were opened first where the rows of all are too many to keep."""
        con = self.session.connection
        held = dict(
            con.execute(
                "select table_name, estimated_size from duckdb_tables() where database_name = 'scratch' "
                "and schema_name = 'main' and table_name like 'rows@_%' escape '@'"
            ).fetchall()
        )
        while self._opened and sum(held.values()) > KEPT_ROWS:
            digest = next(iter(self._opened))
            del self._opened[digest]
            table = f"rows_{digest[:16]}"
            held.pop(table, None)
            con.execute(f"drop table if exists scratch.main.{table}")

    def load(self, files: Iterable[LandingFile], days: Sequence[date], *, table: str = "landed") -> Frame:
        """Read every landed row that is filed under `days`, or between them, into a table of the scratch file.

        Raises `SourceError` when a file with rows of these days is gone: rebuilding without it would lose them.
        """
        con = self.session.connection
        present = {file.name: file for file in files}
        wanted = con.execute(
            f"""select files.landing_file, files.content_hash, files.file_date, files.indexed_at, sum(days.row_count)
            from {FILES} as files join {DAYS} as days using (content_hash)
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
        window = f"{PARTITION} between date '{min(days)}' and date '{max(days)}'"
        landed = f"scratch.main.{table}"
        con.execute(f"drop table if exists {landed}")
        for name, digest, file_date, indexed_at, count in wanted:
            if name not in present:
                raise SourceError(
                    f"{self.session.run.step} cannot be built for {window_of(days)}.",
                    expected=f"the landing file {name}, which held {count:,} rows of these days",
                    found="no such file",
                    where="data/landing",
                    next_step="put the file back, then  gesture run; "
                    'or leave it out on purpose:  gesture run --from … --to … --force --reason "why"',
                )
            opened = self._open(present[name], digest, indexed_at=indexed_at)
            rows = f"""select coalesce(filing_day, date '{file_date}') as {PARTITION}, * exclude (filing_day)
                from {opened.sql}"""
            verb = f"create table {landed} as" if name == wanted[0][0] else f"insert into {landed}"
            with readable(present[name]):
                con.execute(f"{verb} select * from ({rows}) where {window}")
        return nw.from_native(con.table(landed))

    def dropped_columns(self) -> Frame:
        """One row per file: what was found in it, and what was not taken."""
        columns = "landing_file, personal_columns, unused_columns, found_columns"
        return nw.from_native(self.session.connection.sql(f"select {columns} from {FILES}"))

    def read_again(self, file: LandingFile) -> str | None:
        """SQL of every row of an indexed `file`, as its description reads it now, filed as a night would file it.

        None where nothing of it is loaded: it is empty by now, or a copy of another file.
        """
        row = self.session.connection.execute(
            f"select content_hash, file_date, indexed_at from {FILES} "
            "where landing_file = ? and copy_of is null and file_date is not null",
            [file.name],
        ).fetchone()
        if not row:
            return None
        digest, file_date, indexed_at = row
        opened = self._open(file, digest, indexed_at=indexed_at)
        return f"select * replace (coalesce(filing_day, date '{file_date}') as filing_day) from {opened.sql}"

    def row_counts(self) -> dict[date, int]:
        """Day -> rows that landed for it, copies of files not counted."""
        query = f"select {PARTITION}, sum(row_count)::bigint from {DAYS} group by all"
        return dict(self.session.connection.execute(query).fetchall())

    def sources(self, days: Sequence[date], files: Iterable[LandingFile]) -> dict[date, str]:
        """Day -> a hash over all files up to it, as they were read, and the key of the pseudonyms.

        A file that is gone from the folder is none: reading the day again would say so.
        """
        present = {file.name for file in files}
        rows = self.session.connection.execute(
            f"""select min(days.{PARTITION}), landing_file, content_hash, description_hash, file_date, indexed_at,
                personal_columns, unused_columns, found_columns
            from {FILES} join {DAYS} as days using (content_hash) where copy_of is null group by all order by all"""
        ).fetchall()
        running = hashlib.sha256(build_word(self.key).encode())
        digests, waiting = dict[date, str](), [row for row in rows if row[1] in present]
        for day in sorted(days):
            while waiting and waiting[0][0] <= day:
                running.update(str(waiting.pop(0)).encode())
            digests[day] = running.copy().hexdigest()
        return digests

    def landed_days(self) -> dict[date, str]:
        """Every day on which something landed, with a hash over the files that it is made of."""
        rows = self.session.connection.execute(
            f"select {PARTITION}, string_agg(content_hash || row_count, ',' order by content_hash) from {DAYS} "
            "group by all order by all"
        ).fetchall()
        return {day: hashlib.sha256(text.encode()).hexdigest()[:16] for day, text in rows}
