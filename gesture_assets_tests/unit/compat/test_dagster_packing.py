"""What Dagster's events are packed into is short, and is read by whoever asks the storage."""

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesture_assets.cli.dagster_home import DAGSTER_YAML
from gesture_assets.compat.dagster_packing import EXAMPLES, pack, replaced, unpack

DAY = "2026-03-09"


@dg.asset(partitions_def=dg.DailyPartitionsDefinition("2026-03-01"))
def visits() -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(metadata={"rows": 3})


def texts(home: Path) -> list[object]:
    """The events as they stand in the files of `home`."""
    found: list[object] = []
    for path in (home / "history" / "runs").glob("*.db"):
        with closing(sqlite3.connect(path)) as file:
            found += [event for (event,) in file.execute("select event from event_logs")]
    return found


@given(st.text())
def test_any_text_comes_back_as_it_was(text: str) -> None:
    assert unpack(pack(text)) == text
    assert unpack(text) == text


@given(st.text(), st.text(min_size=1), st.text())
def test_a_packed_text_is_replaced_in_as_any_other(text: str, before: str, after: str) -> None:
    assert unpack(replaced(pack(text), before, after)) == replaced(text, before, after) == text.replace(before, after)
    assert replaced(None, before, after) is None
    assert unpack(None) is None


def test_an_event_like_the_examples_takes_a_tenth() -> None:
    for event in json.loads(EXAMPLES.read_text()):
        text = json.dumps(event).replace("activity_to_date", "pages_of_another_table")
        assert len(pack(text)) < len(text) / 8


def test_the_examples_are_those_that_homes_were_packed_beside() -> None:
    digest = "d519aaf48fbe77017eceeb9c0f8955302f25a80f63a521078007d2c6f87688b8"
    assert hashlib.sha256(EXAMPLES.read_bytes()).hexdigest() == digest, "new examples need another FORM"


@pytest.mark.parametrize("first", ["ours", "Dagster's"])
def test_a_home_keeps_its_events_packed_and_those_of_before_are_read(
    first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    configuration = tmp_path / "dagster.yaml"
    stored = "event_log_storage:\n  module: gesture_assets.compat.dagster_event_log\n  class: StepwiseEventLog\n"
    for form in (first, "ours"):
        configuration.write_text(DAGSTER_YAML if form == "ours" else DAGSTER_YAML.replace(stored, ""))
        with dg.DagsterInstance.get() as instance:
            assert dg.materialize([visits], instance=instance, partition_key=DAY).success
    assert {type(text) for text in texts(tmp_path)} == ({bytes} if first == "ours" else {bytes, str})
    with dg.DagsterInstance.get() as another:
        records = another.fetch_materializations(dg.AssetKey("visits"), limit=9).records
        assert [record.asset_materialization.metadata["rows"].value for record in records] == [3, 3]  # pyright: ignore[reportOptionalMemberAccess]
        for run in another.get_runs():
            assert another.get_records_for_run(run.run_id).records
