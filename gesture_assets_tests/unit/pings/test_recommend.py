"""Lists: the same bits as scoring every ping for every user, whoever the users are and whatever ties."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesture_assets.frames import Frame
from gesture_assets.pings import recommend
from gesture_assets.pings.engagement import event_scores, ping_engagement, user_ping_engagement
from gesture_assets.pings.recommend import PARTS, recommendations, seen_pings
from gesture_assets.pings.weights import SHIPPED, PingWeights, parse_ping_weights
from gesture_assets_tests.ping_worlds import START, World, by_chance, interactions, on_both, pings, rows_of, users

SCRIPT = parse_ping_weights((SHIPPED / "script.toml").read_text(encoding="utf-8"), name="script", where="")


def weights(base: PingWeights = SCRIPT, **tables: dict[str, object]) -> PingWeights:
    """`base` with other values in its tables."""
    content = base.model_dump()
    return PingWeights.model_validate(
        {
            name: {**value, **tables.get(name, {})} if isinstance(value, dict) else value
            for name, value in content.items()
        }
    )


def lists_of(world: World, chosen: PingWeights = SCRIPT, until: datetime | None = None) -> pl.DataFrame:
    """The lists, by Polars."""
    return lists(*world.frames(), chosen, until)


def lists(
    events: Frame, catalogue: Frame, people: Frame, chosen: PingWeights = SCRIPT, until: datetime | None = None
) -> pl.DataFrame:
    engagement = ping_engagement(user_ping_engagement(event_scores(events, catalogue, chosen.events)), catalogue)
    return recommendations(events, catalogue, people, engagement, chosen, until=until)


def dense(world: World, chosen: PingWeights = SCRIPT, until: datetime | None = None, most: int = 10**9) -> pl.DataFrame:
    """Document 004's scoring of every ping for each user, in its words: a loop over users, dictionaries, a sort."""
    events = world.interactions if until is None else world.interactions.filter(pl.col("event_at") < until)
    catalogue = world.pings.sort("catalogue_row")
    frames = world.frames()
    engagement = rows_of(
        ping_engagement(user_ping_engagement(event_scores(frames[0], frames[1], chosen.events)), frames[1])
    )
    total = catalogue.join(engagement, on="ping_id", how="left", maintain_order="left")["global_engagement"]
    total = total.fill_null(0).to_numpy()
    popularity = (total - total.min()) / (total.max() - total.min()) if total.max() > total.min() else total * 0
    ages = [UNKNOWN if at is None else (catalogue["created_at"].max() - at).days for at in catalogue["created_at"]]
    freshness = np.array([1 / (1 + age) for age in ages])
    facts = {row["ping_id"]: row for row in catalogue.iter_rows(named=True)}
    windows, score = chosen.windows, chosen.score
    ids, creators = catalogue["ping_id"].to_list(), catalogue["creator_id"].to_list()
    columns = {column: catalogue[column].to_list() for column in ("category", "creator_id")}
    found = []
    for user in sorted({*events["user_id"], *world.users["user_id"]})[:most]:
        mine = events.filter(user_id=user)
        counted = (
            mine if windows.affinity is None else mine.filter(pl.col("event_at") >= until - days(windows.affinity))
        )
        affinities = []
        for column, of_pings in columns.items():
            values = [facts[ping][column] for ping in counted["ping_id"] if ping in facts]
            share = {value: values.count(value) / counted.height for value in values if value is not None}
            affinities.append(np.array([share.get(value, 0.0) for value in of_pings]))
        hiding = mine if windows.seen is None else mine.filter(pl.col("event_at") >= until - days(windows.seen))
        hiding = {"any": hiding, "none": hiding.clear()}.get(
            chosen.lists.seen, hiding.filter(pl.col("event_type") != "impression")
        )
        seen = set(hiding["ping_id"])
        parts = (
            score.popularity * popularity,
            score.category * affinities[0],
            score.creator * affinities[1],
            score.freshness * freshness,
        )
        scores = parts[0] + parts[1] + parts[2] + parts[3]
        per_creator: dict[str | None, int] = {}
        rank = 0
        for place in np.lexsort((np.arange(len(scores)), -scores)):
            ping, creator = ids[place], creators[place]
            if ping in seen or rank == chosen.lists.length:
                continue
            per_creator[creator] = per_creator.get(creator, 0) + (creator is not None)
            if chosen.lists.per_creator is None or per_creator[creator] <= chosen.lists.per_creator:
                rank += 1
                found.append((user, rank, ping, scores[place], *(part[place] for part in parts)))
    schema = {"user_id": pl.String, "rank": pl.Int64, "ping_id": pl.String}
    return pl.DataFrame(found, schema=schema | dict.fromkeys(("score", *PARTS), pl.Float64), orient="row")


UNKNOWN = 30


def days(number: int) -> timedelta:
    return timedelta(days=number)


def check(world: World, chosen: PingWeights = SCRIPT, until: datetime | None = None, most: int = 10**9) -> pl.DataFrame:
    """The lists of `world`, which are dense scoring's to the last bit, and whose parts are their score."""
    found = lists_of(world, chosen, until)
    expected = dense(world, chosen, until, most)
    ours = found.filter(pl.col("user_id").is_in(expected["user_id"].unique().to_list())) if most < 10**9 else found
    assert ours.select(expected.columns).equals(expected), f"{ours.select(expected.columns)}\n{expected}"
    assert (found.select(pl.fold(0.0, lambda left, right: left + right, PARTS)).to_series() == found["score"]).all()
    return found


options = st.fixed_dictionaries(
    {
        "length": st.integers(1, 12),
        "seen": st.sampled_from(["any", "engaged", "none"]),
        "per_creator": st.none() | st.integers(1, 3),
    }
)
windows = st.fixed_dictionaries({"affinity": st.none() | st.integers(1, 20), "seen": st.none() | st.integers(1, 20)})
score_weights = st.fixed_dictionaries(
    dict.fromkeys(("popularity", "category", "creator", "freshness"), st.sampled_from([0.0, 0.1, 0.25, 0.5, 3.0]))
)


@given(st.integers(0, 10**6), st.integers(0, 60), st.integers(1, 40), st.booleans(), options, windows, score_weights)
def test_small_worlds_of_every_kind_are_scored_as_if_densely(
    seed: int,
    n_events: int,
    n_pings: int,
    ties: bool,
    own_lists: dict[str, object],
    own_windows: dict[str, object],
    own_weights: dict[str, object],
) -> None:
    world = by_chance(seed, n_users=5, n_pings=n_pings, n_events=n_events, ties=ties)
    chosen = weights(lists=own_lists, windows=own_windows, score=own_weights)
    check(world, chosen, START + timedelta(days=20))


@given(st.integers(0, 10_000), st.booleans())
def test_users_and_candidates_come_in_parts_without_a_trace(seed: int, ties: bool) -> None:
    world = by_chance(seed, n_users=30, n_pings=60, n_events=900, n_creators=9, ties=ties)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recommend, "SEEN_CELLS", 240)  # four users at a time
        patch.setattr(recommend, "CANDIDATES", 50)
        patch.setattr(recommend, "BEST_OVERALL", 2)
        check(world)
        check(world, weights(lists={"length": 3, "per_creator": 1}))


@pytest.mark.slow
def test_five_hundred_users_of_a_larger_world_are_scored_as_if_densely() -> None:
    world = by_chance(3, n_users=2_000, n_pings=4_000, n_events=60_000, n_creators=500, n_categories=20)
    found = check(world, most=500)
    assert found.group_by("user_id").len()["len"].unique().to_list() == [10]


def test_both_engines_and_any_order_of_rows_give_the_same_lists() -> None:
    found = on_both(by_chance(5, n_users=20, n_pings=80, n_events=300, ties=True), lists)
    assert found["user_id"].n_unique() == 20


CATALOGUE = pings(
    ("p1", "x", "cats", 30, 48), ("p2", "y", "dogs", 30, 49), ("p3", None, None, 30, 0), ("p4", "x", "cats", 30, 100)
)


def test_everybody_gets_as_many_rows_as_there_are_unseen_pings() -> None:
    seen = interactions(*[("all", f"p{number}", "impression", None, 0) for number in range(1, 5)])
    events = pl.concat([seen, interactions(("some", "p1", "view", 3, 0), ("unlisted", "nowhere", "like", None, 0))])
    found = lists_of(World(events, CATALOGUE, users(("all", 1), ("some", 1), ("nothing", 1))))
    assert dict(found.group_by("user_id").len().rows()) == {"some": 3, "nothing": 4, "unlisted": 4}
    engaged = lists_of(World(events, CATALOGUE, users()), weights(lists={"seen": "engaged"}))
    assert dict(engaged.group_by("user_id").len().rows()) == {"all": 4, "some": 3, "unlisted": 4}


def test_reasons_are_those_of_document_004_with_its_boundaries() -> None:
    # p4 has the most points, p1 exactly half of them; p1 is 48 days old, p2 49: 1/49 is above .02 and 1/50 is not.
    events = interactions(
        ("b", "p4", "share", None, 0), ("b", "p1", "like", None, 0), ("a", "p4", "impression", None, 0)
    )
    exactly_half = World(events.filter(user_id="b"), CATALOGUE, users(("new", 0)))
    found = dict(lists_of(exactly_half).filter(user_id="new").select("ping_id", "reason").rows())
    assert found == {"p4": "globally popular", "p1": "recent", "p3": "recent", "p2": "popular/new"}
    fond = lists_of(World(events, CATALOGUE, users())).filter(user_id="a")
    assert dict(fond.select("ping_id", "reason").rows())["p1"] == "prefers cat=cats; engaged this creator; recent"
    more = pl.concat([events, interactions(("c", "p1", "view", 3, 0))])
    above_half = lists_of(World(more, CATALOGUE, users(("new", 0)))).filter(user_id="new", ping_id="p1")
    assert above_half["reason"].to_list() == ["globally popular; recent"]


def test_a_ping_of_an_unknown_day_is_thirty_days_old_and_one_of_tomorrow_is_new() -> None:
    catalogue = pings(("p1", "x", "cats", 30, None), ("p2", "x", "cats", 30, -1), ("p3", "x", "cats", 30, 1))
    world = World(interactions(), catalogue, users(("a", 0)))
    frames = world.frames()
    engagement = ping_engagement(user_ping_engagement(event_scores(*frames[:2], SCRIPT.events)), frames[1])
    found = recommendations(*frames, engagement, SCRIPT, now=START + timedelta(hours=6))
    parts = dict(found.select("ping_id", "freshness_points").rows())
    assert parts == {"p1": 0.1 / 31, "p2": 0.1, "p3": 0.05}


def test_weights_decide() -> None:
    world = by_chance(11, n_users=3, n_pings=30, n_events=40)
    only_new = lists_of(world, weights(score={"popularity": 0.0, "category": 0.0, "creator": 0.0}))
    ages = world.pings.select("ping_id", "created_at")
    created = only_new.join(ages, on="ping_id").sort("user_id", "rank")
    rows = created.drop_nulls("created_at").partition_by("user_id")
    assert all(part["created_at"].is_sorted(descending=True) for part in rows)


def test_at_most_so_many_of_a_creator_are_listed() -> None:
    world = by_chance(12, n_users=10, n_pings=60, n_events=100, n_creators=5)
    found = lists_of(world, weights(lists={"per_creator": 2}))
    known = found.drop_nulls("creator_id")
    assert known.group_by("user_id", "creator_id").len()["len"].max() == 2
    assert found.group_by("user_id").len()["len"].max() == 10
    assert lists_of(world).group_by("user_id", "creator_id").len()["len"].max() > 2


def test_what_comes_after_changes_nothing_before() -> None:
    world, until = by_chance(13, n_users=8, n_pings=30, n_events=200), START + timedelta(days=10)
    chosen = weights(windows={"affinity": 5})
    before = replace(world, interactions=world.interactions.filter(pl.col("event_at") < until))
    engagement = ping_engagement(
        user_ping_engagement(event_scores(*before.frames()[:2], chosen.events)), before.frames()[1]
    )
    early, late = (recommendations(*one.frames(), engagement, chosen, until=until) for one in (before, world))
    assert early.height > 0
    assert early.equals(late)


@pytest.mark.parametrize("seen", ["any", "engaged", "none"])
def test_no_list_holds_what_the_user_has_seen(seen: str) -> None:
    world, until = by_chance(14, n_users=8, n_pings=30, n_events=150), START + timedelta(days=20)
    chosen = weights(lists={"seen": seen}, windows={"seen": 9})
    hidden = on_both(world, lambda events, *_: rows_of(seen_pings(events, chosen, until=until), "user_id", "ping_id"))
    assert (hidden.height > 0) == (seen != "none")
    found = lists_of(world, chosen, until)
    assert found.join(hidden, on=["user_id", "ping_id"], how="semi").height == 0
    everything = weights(lists={"seen": seen, "length": 30}, windows={"seen": 9})
    assert lists_of(world, everything, until).height == 8 * 30 - hidden.filter(pl.col("ping_id") != "unknown").height


def test_without_pings_there_are_no_lists() -> None:
    found = lists_of(World(interactions(), pings(), users(("a", 0))))
    assert found.height == 0
    assert found.columns == lists_of(World(interactions(), CATALOGUE, users(("a", 0)))).columns
