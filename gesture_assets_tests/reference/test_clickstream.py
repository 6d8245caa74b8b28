"""The shop clickstream with known incidents: all of it lands, and its visits stay the source's own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from gesture_assets_tests.running import failures, run_night, warehouse

ROOT = Path(__file__).resolve().parents[2]
# Nothing happened on 2024-01-05, and a day without rows has no night.
RANGES = (("2024-01-04", "2024-01-04"), ("2024-01-06", "2024-06-29"))
LANDED_AT = datetime.fromisoformat("2024-07-01T02:00")  # the events bring no time of arrival
LANDED = "key:raw_events or key:quarantined_events or key:landing_reconciliation or key:identity_links"


@pytest.fixture(scope="module")
def data_dir(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("shop") / "data"
    landing = folder / "landing" / "shop_clickstream"
    landing.mkdir(parents=True)
    shutil.copy(reference / "clickstream" / "events_with_known_drift.csv.gz", landing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GESTURE_DATA_DIR", str(folder))
        patch.setenv("GESTURE_PSEUDONYM_KEY", "a key for tests only")
        for first, last in RANGES:
            result = run_night(first, last, now=LANDED_AT, select=f"{LANDED} or key:sessions")
            assert result.success, failures(result)
        yield folder


@pytest.mark.slow
def test_every_event_of_the_clickstream_is_accepted(data_dir: Path) -> None:
    con = warehouse(data_dir)
    landed = con.execute(
        "select sum(landed_count), sum(accepted_count), sum(duplicate_count), sum(quarantined_count) "
        "from landing_reconciliation"
    ).fetchone()
    assert landed == (31_106, 31_106, 0, 0)
    assert con.execute(
        "select count(*), count(distinct event_id), count(distinct user_id), min(as_of_date)::varchar, "
        "max(as_of_date)::varchar from raw_events"
    ).fetchone() == (31_106, 31_106, 600, RANGES[0][0], RANGES[-1][1])
    assert con.execute("select count(*) from quarantined_events").fetchone() == (0,)
    con.close()


@pytest.mark.slow
def test_the_visits_are_the_source_s_own(data_dir: Path) -> None:
    con = warehouse(data_dir)
    assert con.execute("select count(distinct source_session_id) from raw_events").fetchone() == (3_605,)
    visits = con.execute(
        "select count(*), sum(event_count) from (select session_id, event_count from sessions "
        "group by all having sum(filed) = 1)"
    ).fetchone()
    con.close()
    assert visits == (3_605, 31_106)


@pytest.mark.slow
def test_the_planted_payment_incident_is_seen_in_the_events(data_dir: Path) -> None:
    con = warehouse(data_dir)
    inside, outside = con.execute(
        """select count(*) filter (where as_of_date between '2024-05-19' and '2024-06-07') / 20,
            count(*) filter (where as_of_date < '2024-05-19') / (date '2024-05-19' - date '2024-01-04')
        from raw_events where event_type = 'chat_message'"""
    ).fetchone() or (0, 0)
    con.close()
    assert inside > 3 * outside


@pytest.mark.slow
def test_without_reference_data_these_tests_are_skipped_with_the_reason(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    environment = {**os.environ, "GESTURE_REFERENCE_DATA": str(nowhere)}
    here = Path(__file__).parent
    names = [str(here / name) for name in ("test_scoring_csv.py", "test_crm.py", "test_clickstream.py")]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-rs",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:randomly",
            *names,
            "--deselect",
            f"{Path(__file__).relative_to(ROOT)}::{sys._getframe().f_code.co_name}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"the reference data is not at {nowhere}" in done.stdout
    assert "passed" not in done.stdout
    assert "failed" not in done.stdout
