"""Lists of short videos on the small demo world: what the commands print, write and refuse. The world is shared."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from gesture_assets.pings.tables import TABLES
from gesture_assets_tests.unit.cli.commands import LAST, called, has_four_parts, started

pytestmark = pytest.mark.slow  # the world is built by a run

Scores = Callable[[str], list[tuple]]
USER = "u000019"
OF_USER = f"from ping_recommendations where as_of_date = '{LAST}' and user_id = '{USER}'"


def test_a_list_is_shown_with_parts_that_sum_to_the_score_and_as_json_and_csv(
    world: Path, tmp_path: Path, scores: Scores
) -> None:
    done = called(world, "recs", "--user", USER)
    assert done.code == 0, done.err
    assert LAST in done.out.splitlines()[0]
    assert done.table[0] == ["rank", "ping_id", "score", "parts", "why"]
    expected = scores(f"select rank::varchar, ping_id, printf('%.4f', score), reason {OF_USER} order by rank")
    assert [(row[0], row[1], row[2], row[4]) for row in done.table[1:]] == expected
    for _, _, score, parts, _ in done.table[1:]:
        assert sum(float(part.split()[1]) for part in parts.split(" + ")) == pytest.approx(float(score), abs=3e-4)
    rows = json.loads(called(world, "recs", "--user", USER, "--json", "--csv", str(tmp_path / "list.csv")).out)
    for row in rows:
        points = [row[f"{part}_points"] for part in ("popularity", "category", "creator", "freshness")]
        assert row["score"] == sum(points)
    with (tmp_path / "list.csv").open(newline="") as stream:
        assert [row["ping_id"] for row in csv.DictReader(stream)] == [row["ping_id"] for row in rows]


def test_a_list_of_an_earlier_day_can_be_asked_for_and_of_no_other(world: Path, scores: Scores) -> None:
    earlier = called(world, "recs", "--user", USER, "--date", "2026-03-06")
    asked = scores(f"select ping_id from ping_recommendations where as_of_date = '2026-03-06' and user_id = '{USER}'")
    assert {row[1] for row in earlier.table[1:]} == {ping for (ping,) in asked}
    refused = called(world, "recs", "--user", USER, "--date", "2026-02-01")
    assert refused.code == 1
    assert has_four_parts(refused.err)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["recs"], "next: gesture recs --user u000000"),
        (["recs", "--user", "u00019"], "u000019"),
        (["recs", "explain", "--user", "u00019", "--ping", "p0001"], "u000019"),
        (["recs", "explain", "--user", USER, "--ping", "p001"], "p0001"),
        (["export", "--layout", "pings", "--to", "x", "--user", "nobody"], "'nobody' is not known"),
        (["export", "pings", "--to", "x.csv", "--user", USER], "--layout pings and --user"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_known_is_code_2_and_names_what_is_like_it(world: Path, arguments: list[str], told: str) -> None:
    done = called(world, *arguments)
    assert done.code == 2
    assert has_four_parts(done.err)
    assert told in done.err


def test_the_judgement_shows_served_first_with_intervals_and_says_whom_it_is_of(world: Path, scores: Scores) -> None:
    done = called(world, "recs", "evaluate")
    assert done.code == 0, done.err
    judged, spread = (done.table[start : start + 7] for start in (0, 7))
    assert judged[0] == ["policy", "NDCG@10", "hit rate@10", "MRR@10"]
    assert [row[0] for row in judged] == [row[0] for row in spread]
    assert judged[1][0] == "served"
    ndcg = [float(row[1].split()[0]) for row in judged[2:]]
    assert ndcg == sorted(ndcg, reverse=True)
    ((value, low, high, users),) = scores(
        "select value, low, high, user_count from recommendation_evaluation "
        f"where as_of_date = '{LAST}' and policy = 'served' and measure = 'ndcg'"
    )
    assert judged[1][1] == f"{value:.3f} {low:.3f}–{high:.3f}"
    assert f"Judged by {users} users" in done.out
    assert "docs/pings.md" in done.out
    rows = json.loads(called(world, "recs", "evaluate", "--json").out)
    assert {(row["policy"], row["measure"]): row["value"] for row in rows}["served", "ndcg"] == value


def test_the_first_day_has_no_lists_before_it_to_be_judged(world: Path) -> None:
    done = called(world, "recs", "evaluate", "--date", "2026-03-05")
    assert done.code == 1
    assert has_four_parts(done.err)
    assert "a day from 2026-03-06 to 2026-03-09" in done.err


def test_a_ping_on_the_list_is_explained_by_the_parts_that_the_list_has(world: Path, scores: Scores) -> None:
    columns = "ping_id, popularity_points, category_points, creator_points, freshness_points, score"
    ((ping, *points),) = scores(f"select {columns} {OF_USER} and rank = 3")
    done = called(world, "recs", "explain", "--user", USER, "--ping", ping)
    assert done.code == 0, done.err
    assert "number 3 of 10" in done.out
    assert [row[3] for row in done.table[1:]] == [f"{number:.4f}" for number in points]
    for _, value, weight, adds in done.table[1:5]:
        assert float(value) * float(weight) == pytest.approx(float(adds), abs=1e-4)


def test_a_ping_that_is_not_on_the_list_was_seen_or_outscored_or_is_not_out_yet(world: Path, scores: Scores) -> None:
    done = f"from ping_interactions where user_id = '{USER}'"
    ((seen,),) = scores(f"select min(ping_id) {done} and event_type = 'view'")
    told = called(world, "recs", "explain", "--user", USER, "--ping", seen)
    assert told.code == 0, told.err
    assert "seen (" in told.out
    assert "view × 1" in told.out
    assert "any interaction hides a ping" in told.out
    ((last, score),) = scores(f"select ping_id, score {OF_USER} order by rank desc limit 1")
    ((other,),) = scores(
        f"select min(ping_id) from pings where as_of_date = '{LAST}' and ping_id not in (select ping_id {done}) "
        f"and ping_id not in (select ping_id {OF_USER})"
    )
    outscored = called(world, "recs", "explain", "--user", USER, "--ping", other)
    assert f"The last of the list, {last}, has {score:.4f}" in outscored.out
    assert float(outscored.table[-1][3]) <= score
    ((later,),) = scores(
        "select min(ping_id) from pings where as_of_date = '2026-03-05' and created_at >= '2026-03-06'"
    )
    early = called(world, "recs", "explain", "--user", USER, "--ping", later, "--date", "2026-03-05")
    assert "it is dated after that day" in early.out


def test_a_limit_per_creator_is_named_where_it_kept_a_ping_off(own_world: Path) -> None:
    """As if the list had been made with a limit: its third ping is not on it and would have stood there."""
    with duckdb.connect(str((own_world / "gesture.duckdb").resolve())) as con:
        con.execute('update ping_weights set content = json_merge_patch(content, \'{"lists": {"per_creator": 1}}\')')
        ((ping,),) = con.execute(f"select ping_id {OF_USER} and rank = 3").fetchall()
        con.execute(f"delete {OF_USER} and rank = 3")
    done = called(own_world, "recs", "explain", "--user", USER, "--ping", ping)
    assert "a list holds 1 pings of one creator at most" in done.out


def test_a_ping_that_stands_there_by_chance_is_said_to_be_tried_out(own_world: Path) -> None:
    """As if the last place had been given by chance: what is left out was outscored by the place before it."""
    with duckdb.connect(str((own_world / "gesture.duckdb").resolve())) as con:
        con.execute(
            "update ping_recommendations set is_explored = true, propensity = 0.00126 "
            f"where as_of_date = '{LAST}' and user_id = '{USER}' and rank = 10"
        )
        ((ping,), (before,)) = con.execute(f"select ping_id {OF_USER} and rank >= 9 order by rank desc").fetchall()
        ((other,),) = con.execute(
            f"select min(ping_id) from pings where as_of_date = '{LAST}' and ping_id not in (select ping_id {OF_USER}) "
            f"and ping_id not in (select ping_id from ping_interactions where user_id = '{USER}')"
        ).fetchall()
    told = called(own_world, "recs", "explain", "--user", USER, "--ping", ping)
    assert "Tried out: it stands there by chance, 0.0013" in told.out
    assert (
        f"The last of the list, {before}, has"
        in called(own_world, "recs", "explain", "--user", USER, "--ping", other).out
    )


def test_the_layout_of_document_004_holds_the_lists_of_whom_is_asked_for(world: Path, tmp_path: Path) -> None:
    done = called(world, "export", "--layout", "pings", "--to", str(tmp_path / "out"), "--user", USER)
    assert done.code == 0, done.err
    assert [path.name for path in (tmp_path / "out" / "recs").iterdir()] == [f"recs_{USER}.csv"]
    (tmp_path / "file").write_text("")
    refused = called(world, "export", "--layout", "pings", "--to", str(tmp_path / "file"))
    assert (refused.code, has_four_parts(refused.err)) == (2, True)
    kept = called(world, "export", "--layout", "pings", "--to", str(world / "landing"))
    assert (kept.code, has_four_parts(kept.err)) == (2, True)


def test_where_nothing_of_short_videos_landed_it_is_said_and_what_to_do(own_world: Path) -> None:
    file = str((own_world / "gesture.duckdb").resolve())
    with duckdb.connect(file) as con:
        con.execute("delete from recommendation_evaluation")
    assert "the day after" in started(own_world, "recs", "evaluate").err
    with duckdb.connect(file) as con:
        for table in TABLES:
            con.execute(f"delete from {table.name}")
        views = con.execute("select view_name from duckdb_views() where view_name similar to '.*(ping|rec[os]).*'")
        for (view,) in views.fetchall():
            assert con.execute(f"from analytics.{view}").fetchall() == [], view
    for command in (
        ["recs", "--user", USER],
        ["recs", "evaluate"],
        ["recs", "explain", "--user", "a", "--ping", "b"],
        ["export", "--layout", "pings", "--to", "out"],
    ):
        done = called(own_world, *command)
        assert done.code == 1
        assert has_four_parts(done.err)
        assert "nothing of short videos has landed" in done.err
        assert "gesture demo-data --pings" in done.err


def test_what_is_shown_fits_a_terminal_of_eighty_columns(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for command in (["--user", USER], ["evaluate"]):
        done = called(world, "recs", *command, FORCE_COLOR="1", TERM="dumb")
        lines = [line for line in done.out.splitlines() if line.startswith("│")]
        assert lines
        assert max(map(len, lines)) <= 80, done.out


def test_a_ranker_is_trained_listed_and_taken_away_again(own_world: Path) -> None:
    assert "No ranker has been trained" in called(own_world, "recs", "rankers").out
    unexplained = called(own_world, "recs", "train", "--force")
    assert (unexplained.code > 0, has_four_parts(unexplained.err)) == (True, True)

    trained = called(own_world, "recs", "train")
    assert trained.code == 0, trained.out + trained.err
    (row,) = json.loads(called(own_world, "recs", "rankers", "--json").out)
    assert f"{row['ranker_version']}: {row['decision']}, {row['because']}" in trained.out
    assert (row["as_of_date"], row["decision"] == "promoted") == (LAST, row["orders_from"] is not None)

    taken = called(own_world, "recs", "activate", row["ranker_version"], "--reason", "a trial")
    assert taken.code == 0, taken.err
    assert f"lists are ordered by {row['ranker_version']}." in called(own_world, "recs", "rankers").out
    assert called(own_world, "recs", "activate", "heuristic").code == 2
    refused = called(own_world, "recs", "activate", "heuristics", "--reason", "the trial is over")
    assert (refused.code, has_four_parts(refused.err), "heuristic" in refused.err) == (2, True, True)
    back = called(own_world, "recs", "activate", "heuristic", "--reason", "the trial is over")
    assert back.code == 0, back.err
    assert "lists are ordered by heuristic." in called(own_world, "recs", "rankers").out


def test_without_short_videos_there_is_nothing_to_train(tmp_path: Path) -> None:
    refused = called(tmp_path / "data", "recs", "train")
    assert (refused.code, has_four_parts(refused.err)) == (1, True)
