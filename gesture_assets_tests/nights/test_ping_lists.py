"""Lists of short videos, night by night: worked out by hand, the same in any order, judged by what was done next."""

from datetime import date, datetime
from pathlib import Path

import pytest

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.pings.weights import SHIPPED
from gesture_assets.publication.reading import remarks
from gesture_assets.settings import load_settings
from gesture_assets_tests.ping_landing import land, land_users, land_videos, land_watched
from gesture_assets_tests.running import failures, outcomes, published, run_night, warehouse

D1, D2, D3 = date(2026, 3, 9), date(2026, 3, 10), date(2026, 3, 11)
LISTS = "recommendation_evaluation"
TABLES = "'user_ping_engagement', 'ping_engagement', 'user_affinities', 'ping_recommendations', 'recsys_health'"

VIDEOS = ("p1,c1,cats,dance,10,2026-03-01", "p2,c2,dogs,comedy,20,2026-03-09", "p3,c1,cats,dance,10,2026-03-05")


@pytest.fixture
def landed(data_dir: Path) -> Path:
    """Two days of three people and four short videos, the last of which is of the second day."""
    land_videos(data_dir, "1.csv", *VIDEOS, "p4,c3,birds,comedy,40,2026-03-10 08:00:00")
    land_users(data_dir, *(f"u{n},GB,2026-03-0{n + 1},30" for n in range(3)))
    of_u0 = ("u0,p1,view,5,2026-03-09 10:00:00", "u0,p1,like,0,2026-03-09 10:00:09")
    land_watched(
        data_dir, "1.csv", *of_u0, "u1,p1,view,10,2026-03-09 11:00:00", "u1,p2,impression,0,2026-03-09 11:01:00"
    )
    land_watched(data_dir, "2.csv", "u2,p1,share,0,2026-03-10 09:00:00", "u0,p2,impression,0,2026-03-10 09:30:00")
    return data_dir


def night(day: date, last: date | None = None, **options: str) -> None:
    result = run_night(day, last, select=f"+{LISTS}", **options)
    assert result.success, failures(result)


def asked(data_dir: Path, query: str) -> list[tuple]:
    with warehouse(data_dir) as con:
        return con.execute(query).fetchall()


def hashes(data_dir: Path, until: date = D3) -> list[tuple]:
    query = f"""select partition, table_name, arg_max(content_hash, attempt) from gate_ledger
        where table_name in ({TABLES}, '{LISTS}') and partition <= date '{until}' and verdict = 'PASS'
        group by all order by all"""
    return asked(data_dir, query)


def test_points_and_lists_are_those_worked_out_by_hand(landed: Path) -> None:
    night(D1)
    points = "select user_id, ping_id, engagement_units, event_count from user_ping_engagement order by all"
    tenths = [("u0", "p1", 25, 2), ("u1", "p1", 10, 1), ("u1", "p2", 1, 1)]
    assert asked(landed, points) == [(user, ping, n * 10**11, count) for user, ping, n, count in tenths]
    of_pings = "select ping_id, global_engagement, user_count from ping_engagement order by rank"
    assert asked(landed, of_pings) == [("p1", 3.5, 2), ("p2", 0.1, 1)]
    # Popularity: p1 is 1, p2 a thirty-fifth; freshness: 9, 1 and 5 days old; p4 is not there yet.
    fresh = {"p1": 0.1 / 10, "p2": 0.1 / 2, "p3": 0.1 / 6}
    expected = [
        ("u0", 1, "p3", 0.25 + 0.15 + fresh["p3"], "prefers cat=dance; engaged this creator; recent"),
        ("u0", 2, "p2", 0.5 / 35 + fresh["p2"], "recent"),
        ("u1", 1, "p3", 0.25 / 2 + 0.15 / 2 + fresh["p3"], "prefers cat=dance; engaged this creator; recent"),
        ("u2", 1, "p1", 0.5 + fresh["p1"], "globally popular; recent"),
        ("u2", 2, "p2", 0.5 / 35 + fresh["p2"], "recent"),
        ("u2", 3, "p3", fresh["p3"], "recent"),
    ]
    lists = asked(landed, "select user_id, rank, ping_id, score, reason from ping_recommendations order by all")
    assert [(*row[:3], row[4]) for row in lists] == [(*row[:3], row[4]) for row in expected]
    assert [row[3] for row in lists] == pytest.approx([row[3] for row in expected], abs=1e-12)
    groups = "select is_new, user_count, avg_pings, avg_watch_time_ratio from new_vs_existing_users order by all"
    assert asked(landed, groups) == [(False, 1, 1.0, 0.5), (True, 2, 0.5, 1.0)]


def test_lists_are_judged_by_what_their_users_did_on_the_day_after(landed: Path) -> None:
    night(D1, D2)
    judged = f"select value, user_count, excluded_count from {LISTS} where policy = 'served' and measure = 'ndcg'"
    assert asked(landed, judged) == [(1.0, 1, 2)]  # u2 shared what stood first
    policies = f"select distinct policy from {LISTS} where measure = 'hit_rate' order by 1"
    named = ["hit_rate", "popularity", "random", "recent_hits", "served", "shortest_first"]
    assert [name for (name,) in asked(landed, policies)] == named
    assert asked(landed, f"select distinct as_of_date from {LISTS}") == [(D2,)]
    hits = f"select value, counted from recsys_health where metric = 'hit_rate_at_10' and as_of_date = '{D2}'"
    assert asked(landed, hits) == [(1 / 3, 3)]


@pytest.mark.slow
def test_a_past_day_s_lists_are_the_same_in_any_order_and_whatever_comes_later(landed: Path) -> None:
    night(D1, D2)
    before = hashes(landed)
    again = {"restate_reason": "again"}
    night(D2, **again)
    night(D1, **again)
    assert hashes(landed) == before
    land_watched(landed, "3.csv", "u0,p4,view,40,2026-03-11 08:00:00", "u1,p3,share,0,2026-03-11 09:00:00")
    night(D3)
    night(D1, D2, **again)
    assert hashes(landed, D2) == before
    assert len(hashes(landed)) > len(before)


def own_weights(data_dir: Path, **lists: object) -> None:
    """Weights of the company's own in which `lists` differ from the shipped ones."""
    text = (SHIPPED / "recent.toml").read_text()
    own = data_dir / "ping_weights" / "recent.toml"
    own.parent.mkdir(exist_ok=True)
    own.write_text(text[: text.index("[lists]")] + "[lists]\n" + "\n".join(f"{k} = {v!r}" for k, v in lists.items()))


def test_places_that_chance_gives_are_marked_and_stay_what_they_are_when_the_day_is_built_again(
    landed: Path,
) -> None:
    own_weights(landed, length=2, seen="any", exploration=0.5, candidates=6)
    land_videos(landed, "1.csv", *VIDEOS, *(f"q{n},c{n},cats,dance,10,2026-03-0{n}" for n in range(1, 6)))
    land_users(landed, *(f"u{n},GB,2026-03-01,30" for n in range(60)))
    night(D1)
    asks = "select user_id, rank, ping_id, is_explored, propensity, reason from ping_recommendations order by all"
    lists = asked(landed, asks)
    new = [row for row in lists if row[0] not in ("u0", "u1")]
    assert len(new) == 58 * 2
    # Six candidates, of which four are behind the list: all who have done nothing draw from the same four.
    assert {(row[3], row[4]) for row in new} == {(False, 0.5), (True, 0.5 / 4)}
    best = {row[1]: row[2] for row in new if not row[3]}
    assert all(row[2] == best[row[1]] for row in new if not row[3])
    tried = {row[2] for row in new if row[3]}
    assert len(tried) == 4
    assert not tried & set(best.values())
    assert all(row[5].startswith("tried out; ") == row[3] for row in lists)
    before = hashes(landed)
    night(D1, restate_reason="again")
    assert hashes(landed) == before
    assert asked(landed, asks) == lists


def test_lists_that_all_look_the_same_keep_those_of_before(landed: Path) -> None:
    night(D1, D2)
    weights = (Path(__file__).parents[2] / "gesture_assets/pings/presets/script.toml").read_text()
    own = landed / "ping_weights" / "recent.toml"
    own.parent.mkdir()
    weights = weights.replace('"script"', '"recent"').replace('seen = "any"', 'seen = "none"')
    own.write_text(weights.replace("length = 10", "length = 1"))
    alike = [f"v{n},p1,view,1,2026-03-11 1{n % 10}:00:{n}" for n in range(10, 25)]
    land_watched(landed, "3.csv", *alike)
    result = run_night(D3, select=f"+{LISTS}")
    assert "ping_recommendations: lists_are_not_all_alike" in failures(result)
    assert asked(landed, "select distinct as_of_date from ping_recommendations order by 1") == [(D1,), (D2,)]


@pytest.mark.slow
def test_lists_of_before_anybody_did_anything_are_no_measure_of_the_catalogue_and_not_measured(data_dir: Path) -> None:
    days = [date(2026, 3, day) for day in range(1, 9)]
    for n, day in enumerate(days):
        land(data_dir, f"native/{n}.csv", "event_id,user_id,event_type,event_at", f"e{n},ada,page_view,{day}T10:00:00Z")
    # Three videos on the first day, twice as many as on the day before until there are 192.
    out = [(f"p{n}", days[max(0, n // 3).bit_length()]) for n in range(3 * 2**6)]
    land_videos(data_dir, "1.csv", *(f"{ping},c{ping},tag,k{ping[-1]},10,{day}" for ping, day in out))
    land_users(data_dir, *(f"u{n},GB,2026-02-01,30" for n in range(20)))
    land_watched(data_dir, "1.csv", *(f"u{n},p{n},view,9,{days[-1]} 11:00:00" for n in range(20)))
    result = run_night(days[0], days[-1])
    assert result.success, failures(result)
    shown = "select count(distinct ping_id) from ping_recommendations group by as_of_date order by as_of_date"
    assert [n for (n,) in asked(data_dir, shown)][:2] == [3, 6]
    assert [n for (n,) in asked(data_dir, shown)][2:-1] == [10] * 5


@pytest.mark.slow
def test_a_company_of_short_videos_alone_has_its_nights(landed: Path) -> None:
    result = run_night(D1, D2)
    assert result.success, failures(result)
    verdicts = (
        "select distinct verdict from gate_ledger where table_name in ('raw_events', 'user_features', 'top_users')"
    )
    assert asked(landed, verdicts) == [("ABSENT",)]
    assert result.results["user_features"].notes["absent"].startswith("there is nothing of ")
    assert outcomes(result)["ping_recommendations", "no_list_holds_what_its_user_has_seen"].passed
    with published(landed) as con:
        assert con.execute("select count(*) from ping_recommendations where as_of_date = ?", [D2]).fetchone() == (7,)


@pytest.mark.slow
def test_a_day_of_short_videos_alone_is_told_of_beside_days_of_events_and_has_its_night_when_asked_for(
    landed: Path,
) -> None:
    land(landed, "native/a.csv", "event_id,user_id,event_type,event_at", f"e1,ada,page_view,{D2}T10:00:00Z")
    assert run_night(D2).success
    settings = load_settings()

    def told() -> str:
        return "\n".join(remarks(settings, catalogue(settings.tags).nightly, datetime.fromisoformat(f"{D3}T05:00")))

    assert f"Short videos of {D1} are in no list: no events landed then. Next:  gesture run --date {D1}" in told()
    alone = run_night(D1)
    assert alone.success, failures(alone)
    assert alone.results["landed_events"].notes["absent"] == f"no events have landed on {D1}, only interactions"
    assert "Short videos" not in told()
    assert asked(landed, f"select count(*) from ping_recommendations where as_of_date = '{D1}'") == [(6,)]
