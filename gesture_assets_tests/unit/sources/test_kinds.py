"""Kinds of landing rows beside events: what the door promises holds of interactions, short videos and their users."""

from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gesture_assets.errors import ConfigError, SourceError
from gesture_assets.sources.description import load_descriptions, parse_description
from gesture_assets.sources.kinds import KINDS
from gesture_assets.sources.landing import find_files, open_file
from gesture_assets.sources.redaction import hide_personal_values

SEEN = datetime(2026, 3, 10, 2, 0)
WATCHED = "user_id,ping_id,event_type,watch_time_sec,event_timestamp"
VIDEOS = "ping_id,creator_id,main_hashtag,category,duration_sec,created_at"
PEOPLE = "user_id,country,signup_date,age"
AT = "2026-03-09 10:00:00"
Load = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def load(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> Iterator[Load]:
    """The rows of a file of `source` in our words; `own` is the text of a description, `form` what the file is."""
    connection.execute(f"set threads = 1; attach '{tmp_path / 'x.duckdb'}' as scratch")

    def loaded(source: str, *lines: str, own: str = "", form: str = "csv") -> list[dict[str, Any]]:
        folder = tmp_path / "landing" / source
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "a.csv").write_text("\n".join(lines) + "\n")
        if form != "csv":
            option = {"jsonl": "format json", "parquet": "format parquet"}[form]
            connection.execute(f"copy (from '{folder / 'a.csv'}') to '{folder / f'a.{form}'}' ({option})")
            (folder / "a.csv").unlink()
        if own:
            (tmp_path / "sources").mkdir(exist_ok=True)
            (tmp_path / "sources" / f"{source}.toml").write_text(own)
        (file,) = find_files(tmp_path / "landing", load_descriptions(tmp_path / "sources"), tmp_path / "sources")
        opened = open_file(connection, file, table="scratch.main.read", key="a key", indexed_at=SEEN)
        connection.execute(f"create or replace table landed as from {opened.sql}")
        connection.execute("drop table if exists scratch.main.read")
        hide_personal_values(connection, "landed", "a key", file.source.row_kind)
        found = connection.execute("from landed order by landing_line")
        names = [column[0] for column in found.description or ()]
        (folder / f"a.{form}").unlink()
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    yield loaded
    connection.execute("detach scratch")


def told(rows: list[dict[str, Any]], *names: str) -> list[tuple]:
    return [tuple(row[name] for name in names) for row in rows]


# ---- what the document's files say, however they spell it ----


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_the_three_files_are_read_in_every_format(load: Load, form: str) -> None:
    watched = load("ping_interactions", WATCHED, f"u3,p6,view,9,{AT}", f"u3,p6,like,,{AT}", form=form)
    assert told(watched, "user_id", "ping_id", "event_type", "watch_time_sec", "event_at", "received_at", "reason") == [
        ("u3", "p6", name, seconds, datetime(2026, 3, 9, 10), datetime(2026, 3, 9, 10), None)
        for name, seconds in (("view", 9.0), ("like", None))
    ]
    assert told(watched, "filing_day") == [(date(2026, 3, 9),)] * 2
    (video,) = load("pings", VIDEOS, "p1,u3,football,Education,56,2024-01-15 10:00:00", form=form)
    assert told([video], *VIDEOS.split(",")) == [("p1", "u3", "football", "Education", 56.0, datetime(2024, 1, 15, 10))]
    (person,) = load("ping_users", PEOPLE, "u1,uk,2024-02-08,36", form=form)
    assert told([person], *PEOPLE.split(",")) == [("u1", "GB", date(2024, 2, 8), 36)]
    # A catalogue stands from the day on that had just ended when it was seen.
    assert told([video, person], "filing_day") == [(date(2026, 3, 9),)] * 2


def test_headers_may_have_the_vendors_o_and_be_written_anyhow(load: Load) -> None:
    header = " OPing_ID ,oCreator_id,omain_hashtag,OCATEGORY,oduration_sec,ocreated_at"
    (video,) = load("pings", header, "p1,u3,football,education,56,2024-01-15")
    assert told([video], "ping_id", "creator_id", "main_hashtag", "category", "duration_sec") == [
        ("p1", "u3", "football", "education", 56.0)
    ]
    assert load("ping_users", "ouser_id,country,osignup_date", "u1,NG,2024-02-08")[0]["signup_date"] == date(2024, 2, 8)
    (row,) = load("ping_interactions", WATCHED.replace("user_id,p", "ouser_id,op"), f"u1,p1,view,1,{AT}")
    assert (row["user_id"], row["ping_id"]) == ("u1", "p1")


def test_a_unit_a_zone_and_words_of_its_own_are_said_by_the_description(load: Load) -> None:
    own = """kind = "interaction"
    time_zone = "Europe/Berlin"
    [columns]
    user_id = ["who"]
    ping_id = ["what"]
    event_type = ["did"]
    watch_time_sec = ["ms"]
    event_at = ["at"]
    [units]
    watch_time_sec = "milliseconds"
    [event_types]
    "Video Played" = "view"
    """
    rows = load("mine", "who,what,did,ms,at", f"u1,p1,video_played,1500,{AT}", f"u1,p1,swipe,1,{AT}", own=own)
    assert told(rows, "event_type", "watch_time_sec", "event_at", "reason") == [
        ("view", 1.5, datetime(2026, 3, 9, 9), None),
        (None, 0.001, datetime(2026, 3, 9, 9), "unknown_event_type"),
    ]
    people = 'kind = "ping_user"\ntime_zone = "Europe/Berlin"\n[columns]\nuser_id = ["id"]\nsignup_date = ["since"]\n'
    (person,) = load("people", "id,since", "u1,2024-02-08", own=people)
    assert person["signup_date"] == date(2024, 2, 8)  # no midnight of another zone


# ---- what is set aside, and what is only missing ----


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"null,p1,view,1,{AT}", "missing_user_id"),
        (f"u1,undefined,view,1,{AT}", "missing_ping_id"),
        (f"u1,p1,,1,{AT}", "missing_event_type"),
        (f"u1,p1,teleport,1,{AT}", "unknown_event_type"),
        ("u1,p1,view,1,yesterday", "unparsable_timestamp"),
        ("u1,p1,view,1,2026-03-11", "future_ts"),
        (f"u1,p1,view,-0.5,{AT}", "negative_watch_time"),
        (f"203.0.113.7,p1,view,1,{AT}", "personal_id"),
        (f"subscriber:7,p1,view,1,{AT}", "reserved_id"),
        (f"u1,p1,view,1,{AT},more,than,that", "unreadable_row"),
    ],
)
def test_one_bad_row_is_set_aside_with_line_and_reason_and_stops_nothing(load: Load, row: str, reason: str) -> None:
    good = f"u1,p1,view,1,{AT}"
    rows = load("ping_interactions", WATCHED, good, row, good)
    assert told(rows, "landing_line", "reason") == [(2, None), (3, reason), (4, None)]
    assert rows[1]["masked_row"]
    assert "203.0.113" not in rows[1]["masked_row"]


def test_of_a_catalogue_only_a_row_without_an_id_is_set_aside(load: Load) -> None:
    rows = load("pings", VIDEOS, "p1,,,n/a,0,soon", "null,u1,a,b,5,2024-01-15", "p2,u2,a,b,-3,", "p3,u2,a,b,,")
    assert told(rows, "ping_id", "reason", "category", "duration_sec", "created_at", "unreadable") == [
        ("p1", None, None, None, None, "duration_sec created_at"),
        (None, "missing_ping_id", "b", 5.0, datetime(2024, 1, 15), None),
        ("p2", None, "b", None, None, "duration_sec"),
        ("p3", None, "b", None, None, None),
    ]
    people = load("ping_users", PEOPLE, "u1,Wakanda,someday,200", ",GB,2024-02-08,30")
    assert told(people, "reason", "country", "signup_date", "age") == [
        (None, None, None, None),
        ("missing_user_id", "GB", date(2024, 2, 8), 30),
    ]
    assert set(people[0]["unreadable"].split()) == {"country", "signup_date", "age"}


def test_a_file_without_a_column_that_its_rows_need_is_refused(load: Load) -> None:
    with pytest.raises(SourceError, match=r"ping_id \(one of: ping_id, oping_id\)"):
        load("ping_interactions", "user_id,event_type,event_timestamp", f"u1,view,{AT}")


# ---- ids and persons ----


def test_ids_are_text_and_one_person_has_one_id_in_every_kind(load: Load) -> None:
    watched = load(
        "ping_interactions", WATCHED, f"007,7.0,view,1,{AT}", f"ann@example.com,+49 151 23456789,view,1,{AT}"
    )
    videos = load("pings", VIDEOS, "7,007,a,b,1,", "+4915123456789,Ann@Example.com,call +49 151 23456789,b,1,")
    people = load("ping_users", PEOPLE, "007,GB,,", "ann@example.com,GB,,")
    assert told(watched, "user_id", "ping_id")[0] == ("007", "7")
    ann, number = told(watched, "user_id", "ping_id")[1]
    assert (ann[:6], number[:7]) == ("email:", "number:")
    assert told(videos, "ping_id", "creator_id", "main_hashtag") == [("7", "007", "a"), (number, ann, None)]
    assert told(people, "user_id") == [("007",), (ann,)]
    assert [row["redacted"] for row in (watched[1], videos[1])] == ["ping_id", "main_hashtag ping_id"]


def test_identical_rows_are_one_interaction_and_other_rows_are_others(load: Load) -> None:
    same, other = f"u1,p1,view,1,{AT}", f"u1,p1,view,2,{AT}"
    first, second, third = told(load("ping_interactions", WATCHED, same, same, other), "event_id")
    assert first == second != third


# ---- several in a row ----

WIDE = """kind = "interaction"
[columns]
user_id = ["user"]
ping_id = ["video"]
watch_time_sec = ["play_ms"]
event_at = ["ms"]
[units]
watch_time_sec = "milliseconds"
[happened]
impression = []
view = ["is_click", "play_ms"]
like = ["is_like"]
share = ["is_forward"]
"""


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_row_may_tell_several_interactions(load: Load, form: str) -> None:
    header = "user,video,ms,is_click,is_like,play_ms"
    rows = ["1,2,1773050400000,0,0,0", "1,2,1773050400000,0,1,2500", "1,3,1773050400000,1,,0"]
    assert told(load("wide", header, *rows, own=WIDE, form=form), "event_type", "watch_time_sec", "reason") == [
        ("impression", 0.0, None),
        ("impression view like", 2.5, None),
        ("impression view", 0.0, None),
    ]


def test_a_sign_that_cannot_be_read_is_no_quiet_no(load: Load) -> None:
    header, at = "user,video,ms,is_click,is_like,play_ms", 1773050400000
    rows = load("wide", header, f"1,2,{at},perhaps,Yes,", f"1,2,{at},n/a,no,much", own=WIDE)
    assert told(rows, "event_type", "unreadable") == [
        ("impression like", "is_click"),
        ("impression", "watch_time_sec play_ms"),
    ]


# ---- descriptions ----


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('kind = "lead"\n[columns]\nuser_id = ["u"]\n', "kind"),
        ('kind = "ping"\n[columns]\nping_id = ["p"]\nevent_type = ["t"]\n', "unknown column 'event_type'"),
        ('kind = "ping"\n[columns]\ncategory = ["c"]\n', "nothing is mapped to ping_id"),
        ('kind = "ping"\n[columns]\nping_id = ["p"]\n[units]\ncategory = "milliseconds"\n', "'category' has no unit"),
        ('kind = "ping"\n[columns]\nping_id = ["p"]\n[happened]\nview = []\n', "several in a row"),
        (WIDE + 'purchase = ["paid"]\n', "unknown event type 'purchase'"),
        (WIDE.replace("[columns]", '[columns]\nevent_type = ["t"]'), "told by  happened"),
        (WIDE.replace("[columns]", "[links]\ntypes = ['identify']\n[columns]"), "links is of events"),
        ('[columns]\nuser_id = ["u"]\nevent_type = ["t"]\nevent_at = ["a"]\n[event_types]\nx = "like"\n', "'like'"),
    ],
)
def test_a_description_that_cannot_be_meant_is_refused(text: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        parse_description(text, name="mine", where=Path("data/sources/mine.toml"))


def test_a_description_of_events_is_what_it_was_before_there_were_other_kinds(tmp_path: Path) -> None:
    # Its hash stands beside each file that was read: with another one all files would be read again.
    assert load_descriptions(tmp_path)["native"].digest == "42ad2eb6e748565d"


def test_the_columns_of_a_kind_are_its_own(tmp_path: Path) -> None:
    for kind in KINDS.values():
        assert len(set(kind.columns)) == len(kind.columns)
        assert {*kind.people, *kind.dates, *kind.worded, *kind.aliases} <= {*kind.columns}
        assert set(kind.hashed) <= set(kind.hideable)
    mapped = {name: set(source.columns) for name, source in load_descriptions(tmp_path).items()}
    assert mapped["pings"] == set(KINDS["ping"].columns)
    assert mapped["ping_users"] == set(KINDS["ping_user"].columns)
