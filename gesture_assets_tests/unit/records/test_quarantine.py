"""Quarantined rows: what would be let in, how far that reaches, and what is remembered of it."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from gesture_assets.errors import GateClosed
from gesture_assets.events.tables import LANDING_RECONCILIATION, QUARANTINED_EVENTS
from gesture_assets.pings.tables import PING_RECONCILIATION, QUARANTINED_PING_ROWS
from gesture_assets.records import quarantine
from gesture_assets.records.quarantine import TABLE, Replay, forget_not_let_in, let_in, look_again, record
from gesture_assets.settings import Settings
from gesture_assets.sources.description import SHIPPED, load_descriptions
from gesture_assets.sources.landing import find_files
from gesture_assets.sources.landing_index import LandingIndex, ping_indexes
from gesture_assets.warehouse.session import Session

D7, D8, D9 = date(2026, 3, 7), date(2026, 3, 8), date(2026, 3, 9)
KINDS = ("sgnup", "nonsense", "sgnup")


def land(settings: Settings, *kinds: str) -> Path:
    path = settings.landing / "native" / "a.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"e{n},ada,{kind},2026-03-09T1{n}:00:00Z" for n, kind in enumerate(kinds)]
    path.write_text("\n".join(["event_id,user_id,event_type,event_at", *rows]) + "\n")
    return path


def mend(settings: Settings) -> None:
    """A description of the user's own that knows what `sgnup` means."""
    settings.user_sources.mkdir(parents=True)
    shipped = (SHIPPED / "native.toml").read_text()
    (settings.user_sources / "native.toml").write_text(f'{shipped}\n[event_types]\nsgnup = "signup"\n')


def again(session: Session, settings: Settings) -> list[Replay]:
    files = {
        file.name: file
        for file in find_files(settings.landing, load_descriptions(settings.user_sources), settings.user_sources)
    }
    index = LandingIndex(session, "a key")
    index.refresh(files.values())
    return look_again(session, index, files)


def set_aside(session: Session, *lines: int, reason: str = "unknown_event_type") -> None:
    """Rows of a.csv in quarantine, as a night leaves them."""
    for contract in (QUARANTINED_EVENTS, LANDING_RECONCILIATION):
        session.ensure(contract)
    session.connection.execute(
        """insert into warehouse.main.quarantined_events by name
        select ?::date as as_of_date, ? as reason, 'every_event_type_is_known' as check_name, 'native' as source,
            'native/a.csv' as landing_file, unnest(?::bigint[]) as landing_line, '***' as masked_row,
            now()::timestamp as recorded_at, 'r' as run_id, false as is_backfill""",
        [D9, reason, list(lines)],
    )


def test_a_row_is_an_event_once_its_source_is_mended(open_session: Callable, settings: Settings) -> None:
    land(settings, *KINDS)
    with open_session(D9) as session:
        set_aside(session, 2, 3, 4)
        assert again(session, settings) == [Replay(D9, "native/a.csv", "unknown_event_type", 0, 3, (D9,))]
    mend(settings)
    with open_session(D9) as session:
        assert again(session, settings) == [Replay(D9, "native/a.csv", "unknown_event_type", 2, 1, (D9,))]


def test_rows_of_short_videos_are_read_again_but_not_what_only_a_night_finds_out(
    open_session: Callable, settings: Settings
) -> None:
    path = settings.landing / "ping_interactions" / "a.csv"
    path.parent.mkdir(parents=True)
    rows = [f"u{n},p1,{kind},1,2026-03-09T10:00:00Z" for n, kind in enumerate(("heart", "wave", "view"))]
    path.write_text("\n".join(["user_id,ping_id,event_type,watch_time_sec,event_timestamp", *rows]) + "\n")
    with open_session(D9) as session:
        for contract in (QUARANTINED_PING_ROWS, PING_RECONCILIATION):
            session.ensure(contract)
        session.connection.execute(
            """insert into warehouse.main.quarantined_ping_rows by name
            select date '2026-03-09' as as_of_date, 'interaction' as kind, 'a_check' as check_name, '***' as masked_row,
                unnest(['unknown_event_type', 'unknown_event_type', 'unknown_ping']) as reason, 's' as source,
                'ping_interactions/a.csv' as landing_file, unnest([2, 3, 4]) as landing_line,
                now()::timestamp as recorded_at, 'r' as run_id, false as is_backfill"""
        )
        own = settings.user_sources / "ping_interactions.toml"
        own.parent.mkdir()
        own.write_text('[event_types]\nheart = "like"\n')
        files = list(find_files(settings.landing, load_descriptions(settings.user_sources), settings.user_sources))
        index = ping_indexes(session, "a key", files)["interaction"]
        found = look_again(session, index, {file.name: file for file in files})
    assert found == [Replay(D9, "ping_interactions/a.csv", "unknown_event_type", 1, 1, (D9,))]


def test_a_row_of_a_type_that_is_left_out_by_now_is_set_aside_no_more(
    open_session: Callable, settings: Settings
) -> None:
    land(settings, *KINDS)
    settings.user_sources.mkdir(parents=True)
    shipped = (SHIPPED / "native.toml").read_text()
    (settings.user_sources / "native.toml").write_text(f'ignore = ["sgnup"]\n{shipped}')
    with open_session(D9) as session:
        set_aside(session, 2, 3, 4)
        assert again(session, settings) == [Replay(D9, "native/a.csv", "unknown_event_type", 2, 1, (D9,))]


@pytest.mark.parametrize("change", ["gone", "empty", "a copy"])
def test_rows_of_which_nothing_is_loaded_any_more_are_not_read_again(
    open_session: Callable, settings: Settings, change: str
) -> None:
    path = land(settings, *KINDS)
    with open_session(D9) as session:
        set_aside(session, 2)
        assert len(again(session, settings)) == 1
        if change == "gone":
            path.unlink()
        else:
            land(settings)
        if change == "a copy":
            path.write_text("event_id,user_id,event_type,event_at\ne9,ada,signup,2026-03-09T10:00:00Z\n")
            path.with_name("0.csv").write_text(path.read_text())
            path.unlink()
            again(session, settings)
            path.write_text(path.with_name("0.csv").read_text())
        assert again(session, settings) == []


def test_a_later_day_is_read_by_the_same_descriptions_and_let_in_too() -> None:
    early = Replay(D7, "native/a.csv", "unknown_event_type", 1, 0, (D7,))
    bad = Replay(D8, "native/a.csv", "missing_user_id", 0, 4, (D8,))
    late = Replay(D9, "native/b.csv", "unknown_event_type", 1, 0, (D9,))
    back = Replay(D9, "native/c.csv", "unparsable_timestamp", 1, 0, (D7, D9))
    assert let_in([early, bad, late], None) == [early, late]
    assert let_in([early, bad, late], D7) == [early, late]
    assert let_in([early, bad, late], D9) == [late]
    assert let_in([early, bad, late], D8) == []
    assert let_in([early, bad, late, back], D9) == [early, late, back]  # one of them belongs to an earlier day


@pytest.mark.parametrize("is_rebuilt", [True, False])
def test_what_a_failed_run_did_not_let_in_is_forgotten(open_session: Callable, is_rebuilt: bool) -> None:
    replay = Replay(D9, "native/a.csv", "unknown_event_type", 2, 1, (D9,))
    with open_session(D9) as session:
        set_aside(session, 2, 3, 4)
        record(session, [replay], reason="mended", run_id="failed")
        record(session, [replay], reason="mended", run_id="another")
        if is_rebuilt:
            session.connection.execute("delete from warehouse.main.quarantined_events where landing_line < 4")
        forget_not_let_in(session, "failed")
        left = session.connection.execute(f"select run_id, accepted, still_quarantined from {TABLE} order by 1")
        assert left.fetchall() == [("another", 2, 1), *([("failed", 2, 1)] if is_rebuilt else [])]


def test_rows_are_listed_by_day_file_and_reason_and_shown_where_they_stand(open_session: Callable) -> None:
    with open_session(D9) as session:
        con = session.connection
        with pytest.raises(GateClosed, match="no quarantine yet"):
            quarantine.summary(con, None)
        set_aside(session, 2, 3)
        set_aside(session, 4, reason="missing_user_id")
        con.execute(
            """insert into warehouse.main.landing_reconciliation by name select ?::date as as_of_date,
            'native' as source, 'native/a.csv' as landing_file, 8 as landed_count, 5 as accepted_count,
            0 as duplicate_count, 3 as quarantined_count, 0 as late_count, now()::timestamp as recorded_at,
            'r' as run_id, false as is_backfill""",
            [D9],
        )
        file = "native/a.csv"
        assert quarantine.summary(con, D9) == [
            (D9, "live", "native", file, "missing_user_id", 1, 0.125),
            (D9, "live", "native", file, "unknown_event_type", 2, 0.25),
        ]
        assert quarantine.summary(con, D8) == []
        found = quarantine.rows(con, day=None, reason="unknown_event_type", file=file, limit=1)
        assert found == [(D9, "live", f"{file}:2", "unknown_event_type", "every_event_type_is_known", "***")]
        assert quarantine.rows(con, day=D8, reason=None, file=None, limit=9) == []
