"""The steps of document 000 as commands: each runs the nights so far, writes its one file and says what is next."""

import csv
from pathlib import Path

import pytest

from gesture_assets_tests.advice import commands_in, refusal
from gesture_assets_tests.running import warehouse
from gesture_assets_tests.unit.cli.commands import Done, called, has_four_parts

pytestmark = pytest.mark.slow


def rows_of(done: Done, path: Path, *, then: str) -> list[dict[str, str]]:
    """The rows of the file that a step wrote, which it told, with what is to be typed next."""
    assert done.code == 0, done.out + done.err
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    told = " ".join(done.out.split())
    assert told.endswith(f"Wrote {len(rows):,} rows to {path} Next: {then}")
    assert [refusal(command, strict=True) for command in commands_in(told.rpartition("Next: ")[2])] == [""]
    return rows


def test_from_an_empty_folder_the_steps_lead_to_scores_by_rules(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    made = called(data_dir, "generate", "--users", "30", "--days", "2")
    events = rows_of(made, data_dir / "raw_events.csv", then="gesture featurize")
    assert {"event_id", "user_id", "event_type"} <= set(events[0])
    scored = called(data_dir, "score-rules")
    scores = rows_of(scored, data_dir / "user_scores.csv", then="gesture run")
    con = warehouse(data_dir)
    assert con.execute("select count(*) from raw_events").fetchall() == [(len(events),)]
    kept = con.execute(
        "select user_id, score, band, explanation from rule_scores "
        "where as_of_date = (select max(as_of_date) from rule_scores) order by all"
    ).fetchall()
    built = {name for (name,) in con.execute("select distinct table_name from gate_ledger").fetchall()}
    con.close()
    assert [(row["user_id"], float(row["score"]), row["score_label"], row["explanation"]) for row in scores] == kept
    assert "rule_scores" in built
    assert not built & {"intent_scores", "top_users"}
    assert not (data_dir / "gesture.duckdb").exists()


def test_where_every_day_is_live_a_step_writes_its_file_only(own_world: Path, tmp_path: Path) -> None:
    before = (own_world / "gesture.duckdb").resolve()
    done = called(own_world, "featurize", "--to", str(tmp_path / "features.csv"))
    users = rows_of(done, tmp_path / "features.csv", then="gesture score-rules")
    called(own_world, "export", "--layout", "scoring-csv", "--to", str(tmp_path / "layout"))
    assert (tmp_path / "features.csv").read_bytes() == (tmp_path / "layout/data/user_features.csv").read_bytes()
    assert ("nightly for" in done.out, len(users) > 20) == (False, True)
    assert (own_world / "gesture.duckdb").resolve() == before
    refused = called(own_world, "featurize", "--to", str(tmp_path / "nowhere" / "features.csv"))
    assert (refused.code, has_four_parts(refused.err)) == (2, True)
