"""What landed and is in no score: said with the line that changes it, and only where there is something to say."""

from datetime import date
from pathlib import Path

import duckdb
import pytest

from gesture_assets.cli.left_out import strangers, unnamed_types
from gesture_assets.sources.description import load_descriptions

DAY, BEFORE = date(2026, 3, 9), date(2026, 2, 7)


def quarantine(*rows: tuple[date, str, str, str | None]) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("create table quarantined_events (as_of_date date, source varchar, reason varchar, event_name varchar)")
    for row in rows:
        con.execute("insert into quarantined_events values (?, ?, ?, ?)", row)
    return con


def test_types_that_no_description_names_are_told_with_the_line_that_names_them(tmp_path: Path) -> None:
    unknown = "unknown_event_type"
    con = quarantine(
        *[(DAY, "posthog", unknown, "demo requested")] * 2,
        (DAY, "segment", unknown, "zork"),
        (DAY, "segment", "future_ts", "page"),
        (DAY, "segment", unknown, None),
        (BEFORE, "segment", unknown, "long ago"),
    )
    heading, first, second = unnamed_types(con, DAY, tmp_path)
    assert f"{tmp_path}/<source>.toml" in heading
    assert "gesture quarantine replay" in heading
    assert first.startswith("  2 × demo requested of posthog:  ")
    # What is advised is what the file of a shipped description may say.
    for line, source, is_mapped in ((first, "posthog", True), (second, "segment", False)):
        (tmp_path / f"{source}.toml").write_text(line.partition(":  ")[2].replace('] "', ']\n"'))
        said = load_descriptions(tmp_path)[source]
        assert (said.event_types.get("demo requested") == "demo_request_click") == is_mapped
        assert ("zork" in said.ignore) == (not is_mapped)


def test_the_most_frequent_types_are_told_and_how_many_more_there_are(tmp_path: Path) -> None:
    con = quarantine(*((DAY, "segment", "unknown_event_type", f"t{n}") for n in range(5) for _ in range(n + 1)))
    lines = unnamed_types(con, DAY, tmp_path)
    assert [line.split()[:3] for line in lines[1:4]] == [["5", "×", "t4"], ["4", "×", "t3"], ["3", "×", "t2"]]
    assert lines[4].startswith("  and 2 more:")
    assert unnamed_types(quarantine(), DAY, tmp_path) == []


@pytest.mark.parametrize(
    ("subscribers", "users", "both", "is_said"),
    [(20, 40, 0, True), (2_000, 1_000, 10, True), (2_000, 1_000, 11, False), (9, 40, 0, False), (0, 40, 0, False)],
)
def test_a_crm_whose_people_no_event_is_of_is_told(subscribers: int, users: int, both: int, is_said: bool) -> None:
    con = duckdb.connect()
    con.execute(
        f"""create table user_features as select date '{DAY}' as as_of_date, n < {subscribers} as is_subscriber,
        if(n >= {subscribers - both}, 1, 0) as event_count from range({subscribers + users - both}) as people(n)"""
    )
    told = strangers(con, DAY)
    assert told.startswith(f"Of {subscribers:,} people in the CRM and {users:,} with events, {both} are") == is_said
    assert bool(told) == is_said
