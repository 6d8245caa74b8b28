"""The example queries of docs/ run on the published file, and say what the product's own tables say."""

from pathlib import Path

import duckdb
import pytest

QUERIES = sorted((Path(__file__).resolve().parents[3] / "docs" / "queries").glob("*.sql"))

pytestmark = pytest.mark.slow  # the world is built by a run


def test_there_is_one_for_each_figure_of_the_documents_dashboard() -> None:
    assert len(QUERIES) == 6


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.stem)
def test_a_query_says_what_the_health_of_the_newest_day_says(world: Path, path: Path) -> None:
    with duckdb.connect(str((world / "gesture.duckdb").resolve()), read_only=True) as con:
        found = con.execute(path.read_text(encoding="utf-8"))
        assert [column[0] for column in found.description or ()] == [path.stem]
        ((value,),) = found.fetchall()
        ((expected,),) = con.execute(
            f"select {path.stem} from analytics.recsys_health_history order by as_of_date desc limit 1"
        ).fetchall()
    assert value == pytest.approx(expected, abs=1e-12)
    assert value > 0
