"""Why scores move: each cause by hand, the sum of all on odd worlds; and how far a change may move everybody."""

import math
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
import pytest

from gesture_assets.events.roll_up import daily_activity
from gesture_assets.events.sessionise import filed_sessions
from gesture_assets.events.tables import IDENTITY_LINKS
from gesture_assets.features.feature_registry import feature_registry
from gesture_assets.features.user_features import user_features as build
from gesture_assets.models.churn import churn
from gesture_assets.models.scoring import score_users
from gesture_assets.models.training import train
from gesture_assets.monitoring.score_changes import (
    PARTS,
    Facts,
    decompose,
    facts_by_step,
    model_scores_by_step,
    of_users,
    rule_scores_by_step,
    scores_of_points,
)
from gesture_assets.rules.rule_set import Rule, RuleSet, load_rule_set
from gesture_assets.rules.scorer import score
from gesture_assets.subscribers.tables import validated_subscribers
from gesture_assets.warehouse.warehouse import connect
from gesture_assets_tests.events_by_hand import (
    MONDAY,
    TUESDAY,
    Frame,
    event,
    events_table,
    lazy,
    random_events,
    schema_of,
    table,
)

TAGS = ("jumpstart",)
DAY = 1440  # minutes
LATER = MONDAY + timedelta(days=10)
CRM = schema_of(validated_subscribers(TAGS))


def rules(signups: float, demos: float) -> RuleSet:
    """Sign-ups, four at most, halving every ten days; and whether a demo was asked for within 30 days."""
    common: dict[str, Any] = {"group": "engagement", "because": "It is {value}."}
    signup = Rule(
        id="signups", feature="signup_count", scale="count", cap=4, weight=signups, half_life_days=10, **common
    )
    demo = Rule(id="demos", feature="demo_request_click_count_30d", scale="at_least_once", weight=demos, **common)
    return RuleSet(name="by_hand", description="", bands={"high": 50}, rules=(signup, demo))


def in_memory(frame: Frame) -> pl.DataFrame:
    return pl.DataFrame(frame.collect("polars").to_native())


class World:
    """Tables up to a day, as the warehouse would hold them, from events, links and subscribers by hand."""

    def __init__(
        self, events: list[dict[str, Any]], links: Any = (), subscribers: Any = (), *, earlier: date = MONDAY
    ) -> None:
        rows = lazy(events_table(*events))
        self.days = (earlier, LATER)
        ends = [datetime.combine(day + timedelta(days=1), time()) for day in self.days]
        self.tables = {
            "activity": in_memory(daily_activity(rows, filed_sessions(rows, rows))),
            "links": table(links, schema_of(IDENTITY_LINKS)),
            "subscribers": table(subscribers, CRM),
            "moments": pl.DataFrame({"as_of_date": self.days, "as_of": ends}).cast({"as_of": pl.Datetime("us")}),
        }

    def published(self, before: RuleSet, after: RuleSet) -> dict[str, tuple[pl.DataFrame, pl.DataFrame]]:
        """Scores and contributions as the nights of both days made them."""
        features = in_memory(build(*(lazy(frame) for frame in self.tables.values()), tags=TAGS))
        by_end = {}
        for name, day, rule_set in zip(("before", "after"), self.days, (before, after), strict=True):
            scores, parts = score(lazy(features.filter(pl.col("as_of_date") == day)), rule_set)
            by_end[name] = in_memory(scores), in_memory(parts)
        return by_end

    def explained(
        self, before: RuleSet, after: RuleSet, *, of: str | None = None, engine: Any = lazy
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The change of each user, and of each user and rule; `engine` makes lazy frames of rows."""
        frames = {name: engine(rows) for name, rows in self.tables.items()}
        if of:
            users = engine(pl.DataFrame({"user_id": [of]}))
            frames["activity"], frames["links"] = of_users(frames["activity"], frames["links"], users)
        steps = facts_by_step(**frames, earlier=self.days[0], later=self.days[1])
        features = {}
        for part, facts in steps.items():  # built in Polars: what is engine's own is tested with the features
            rows = Facts(*(lazy(in_memory(frame)) for frame in vars(facts).values()))
            features[part] = engine(in_memory(rows.features(tags=TAGS)))
        ends = {name: tuple(map(engine, both)) for name, both in self.published(before, after).items()}
        points = rule_scores_by_step(features, before, after) | ends
        by_user = decompose({name: scores_of_points(both[0]) for name, both in points.items()})
        keys = ("user_id", "rule_id")
        by_rule = decompose({name: both[1] for name, both in points.items()}, value="points", keys=keys, absent=0)
        return in_memory(by_user).sort("user_id"), in_memory(by_rule).sort(keys)


BY_HAND = [
    event(0, user_id="ada", event_type="signup"),
    # Happened on Monday, known on Tuesday.
    event(1, user_id="ada", event_type="signup", as_of_date=TUESDAY, received_at=datetime(2026, 3, 10, 9)),
    event(5 * DAY, user_id="ada", event_type="demo_request_click"),
    event(6 * DAY, user_id="ben", event_type="demo_request_click"),
    event(0, user_id="cem", event_type="signup"),
]


@pytest.fixture(scope="module", params=["polars", "duckdb"])
def by_hand(request: pytest.FixtureRequest) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """What moved `BY_HAND` while its rules were edited, by user and by rule, from either engine."""
    with connect() as connection:
        tables = count()

        def in_duckdb(rows: pl.DataFrame) -> Frame:
            name = f"table_{next(tables)}"
            connection.register("rows", rows.to_arrow())
            connection.execute(f"create table {name} as from rows")
            return nw.from_native(connection.table(name))

        engine = in_duckdb if request.param == "duckdb" else lazy
        yield World(BY_HAND).explained(rules(0.5, 0.5), rules(0.3, 0.7), engine=engine)


def test_every_cause_has_its_part(by_hand: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    by_user, _ = by_hand
    assert by_user.columns == ["user_id", "before", "after", "change", *PARTS, "unexplained"]
    assert by_user.rows() == [
        # One sign-up of four, then two; half of that ten days later; the demo; 30 × ½ × ½ + 70 under the new rules.
        ("ada", 12.5, 77.5, 65.0, 12.5, -12.5, 50.0, 15.0, 0.0, 0.0),
        # Not known before, which is the lowest score.
        ("ben", 1.0, 70.0, 69.0, 0.0, 0.0, 49.0, 20.0, 0.0, 0.0),
        ("cem", 12.5, 3.75, -8.75, 0.0, -6.25, 0.0, -2.5, 0.0, 0.0),
    ]


def test_a_change_is_told_rule_by_rule_in_points(by_hand: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    _, by_rule = by_hand
    ada = {row["rule_id"]: [row[part] for part in PARTS] for row in by_rule.filter(user_id="ada").to_dicts()}
    assert ada == {"signups": [12.5, -12.5, 0, -5, 0], "demos": [0, 0, 50, 20, 0]}
    assert by_rule["unexplained"].abs().max() == 0


def test_a_visitor_who_signs_up_later_brings_their_past_as_new_behaviour() -> None:
    link = {
        "as_of_date": TUESDAY,
        "anonymous_user_id": "anon:x",
        "user_id": "ada",
        "linked_at": datetime(2026, 3, 10, 12),
    }
    events = [event(0, user_id="anon:x", event_type="signup"), event(DAY, user_id="ada", event_type="page_view")]
    by_user, _ = World(events, [link]).explained(rules(1, 0.0), rules(1, 0.0))
    assert by_user.select("user_id", "before", "after", *PARTS, "unexplained").rows() == [
        ("ada", 1.0, 12.5, 0.0, 0.0, 11.5, 0.0, 0.0, 0.0),
        ("anon:x", 25.0, 1.0, 0.0, -12.5, -11.5, 0.0, 0.0, 0.0),
    ]


def odd_world(seed: int) -> World:
    events = random_events(seed, 120, days=12)
    linked = [
        {
            "as_of_date": MONDAY + timedelta(days=n),
            "anonymous_user_id": "u",
            "user_id": "v",
            "linked_at": datetime(2026, 3, 9, 12) + timedelta(days=n),
        }
        for n in (seed % 3 * 4,)
    ]
    crm = [
        {
            "as_of_date": day,
            "mailchimp_id": "1",
            "email_key": "k1",
            "member_rating": rating,
            "made_purchase": 0,
            "optin_date": date(2026, 1, 31),
            "tag_count": 0,
            "tag_jumpstart": 0,
            "tag_other": 0,
        }
        for day, rating in ((MONDAY + timedelta(days=2), 2), (LATER, 5))
    ]
    return World(events, linked, crm, earlier=MONDAY + timedelta(days=2))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_parts_sum_to_the_change_and_end_at_what_was_published(seed: int) -> None:
    names = [feature.name for feature in feature_registry(TAGS)]
    shipped = load_rule_set("intent", user_folder=Path("none"), features=names)
    edited = shipped.model_copy(
        update={
            "rules": tuple(
                rule.model_copy(update={"half_life_days": 5.0}) if rule.half_life_days else rule
                for rule in shipped.rules
            )
        }
    )
    by_user, by_rule = odd_world(seed).explained(shipped, edited)
    for parts in (by_user, by_rule):
        total = parts.select(pl.sum_horizontal(*PARTS)).to_series()
        assert (total - parts["change"]).abs().max() < 1e-9  # type: ignore[operator]
        assert parts["unexplained"].abs().max() == 0
        assert (parts["after"] - parts["before"] - parts["change"]).abs().max() == 0
    assert by_user.select(pl.col(PARTS[:4]).abs().sum()).row(0) > (0, 0, 0, 0)


@pytest.mark.slow
def test_one_user_alone_is_explained_like_among_all() -> None:
    world = odd_world(1)
    everybody, _ = world.explained(rules(0.5, 0.5), rules(0.3, 0.7))
    alone, _ = world.explained(rules(0.5, 0.5), rules(0.3, 0.7), of="v")
    assert alone.filter(user_id="v").equals(everybody.filter(user_id="v"))
    assert everybody.filter(user_id="v")["change"].item() != 0


def test_what_no_step_explains_is_said() -> None:
    day = lazy(pl.DataFrame({"user_id": ["ada"], "score": [20.0]}))
    now = lazy(pl.DataFrame({"user_id": ["ada"], "score": [30.0]}))
    (row,) = decompose({"before": day, "late_data": day, "after": now}).collect().rows(named=True)
    assert (row["change"], row["late_data"], row["unexplained"]) == (10, 0, 10)


def test_suppressed_users_are_explained_by_their_points() -> None:
    rows = lazy(pl.DataFrame({"user_id": ["a", "b"], "score": [None, 100.0], "points": [-3.0, 130.0]}))
    assert scores_of_points(rows).collect().to_native()["score"].to_list() == [1, 100]


FEATURES = ["visits", "rule_score"]


def model_of(slope: float) -> Any:
    random = np.random.default_rng(1)
    visits, points = random.poisson(3, 800), random.integers(1, 100, 800)
    bought = random.random(800) < 1 / (1 + np.exp(3 - slope * visits - points / 50))
    return train(pl.DataFrame({"visits": visits, "rule_score": points, "bought": bought}), "bought", FEATURES)


def test_a_model_score_is_explained_in_margins_and_in_points() -> None:
    first, second = model_of(0.5), model_of(0.1)

    def users(visits: list[int], points: list[int]) -> pl.DataFrame:
        ids = ["ada", "ben"]
        return pl.DataFrame({"user_id": ids, "event_count": [5, 6], "visits": visits, "rule_score": points})

    features = {
        "late_data": users([2, 3], [20, 50]),
        "decay_and_time": users([2, 3], [15, 40]),
        "new_behaviour": users([6, 3], [60, 40]),
        "rule_edit": users([6, 3], [80, 20]),
    }
    before = score_users(first, users([1, 3], [10, 50]))
    after = score_users(second, features["rule_edit"])
    newcomer = after.head(1).with_columns(user_id=pl.lit("cem"))
    ends = {"before": lazy(before), "after": lazy(pl.concat([after, newcomer]))}
    for value in ("margin", "score", "probability"):
        points = model_scores_by_step(features, first, second) | ends
        parts = decompose(points, value=value, absent=None).collect().to_native().sort("user_id")
        assert parts["user_id"].to_list() == ["ada", "ben"]
        assert parts["unexplained"].abs().max() == 0
        total = parts.select(pl.sum_horizontal(*PARTS)).to_series()
        assert (total - parts["change"]).abs().max() < 1e-9
        assert parts.filter(user_id="ben")["late_data"].item() == 0
        assert parts.filter(user_id="ada")["new_behaviour"].item() > 0
        assert parts["model_swap"].abs().min() > 0  # type: ignore[operator]
    swap_only = decompose(
        model_scores_by_step(dict(list(features.items())[:3]), first, first) | ends, value="margin", absent=None
    )
    assert swap_only.collect().to_native()["model_swap"].abs().max() == 0


def scores(values: Any) -> pl.DataFrame:
    return pl.DataFrame({"user_id": [f"u{n}" for n in range(len(values))], "score": [float(value) for value in values]})


BANDS = {"high": 50.0, "medium": 20.0}
TEN = [5, 10, 15, 19, 25, 30, 45, 55, 70, 90]


@pytest.mark.parametrize(
    ("after", "share", "is_within"),
    [
        (TEN, 0.0, True),
        ([5, 10, 15, 21, 25, 30, 51, 55, 70, 90], 0.2, True),
        ([5, 10, 20, 21, 25, 30, 51, 55, 70, 90], 0.3, False),
    ],
)
def test_a_fifth_of_the_users_may_change_bands(after: list[int], share: float, is_within: bool) -> None:
    churned = churn(scores(TEN), scores(after), BANDS)
    assert (churned.users, churned.share_moved, churned.is_within_budget) == (10, pytest.approx(share), is_within)
    assert churned.rank_correlation == pytest.approx(1)
    assert f"{share:.1%} of 10 users change bands" in churned.sentence


def test_a_planted_change_of_scale_is_held() -> None:
    churned = churn(scores(TEN), scores([value / 2 for value in TEN]), BANDS)
    assert (churned.share_moved, churned.rank_correlation) == (0.5, pytest.approx(1))
    assert not churned.is_within_budget
    assert churned.sentence.endswith("beyond the budget.")


@pytest.mark.parametrize(("times", "is_within"), [(0.1, False), (0.6, False), (0.7, True), (1.45, True), (1.6, False)])
def test_a_change_of_scale_of_probabilities_is_held_although_nobody_leaves_the_lowest_band(
    times: float, is_within: bool
) -> None:
    of_few_per_cent = [0.2, 0.4, 0.5, 0.9, 1.1, 1.5, 2.2, 4.0, 7.5, 9.0]
    before, after = [1 + value for value in of_few_per_cent], [1 + value * times for value in of_few_per_cent]
    churned = churn(scores(before), scores(after), BANDS)
    assert (churned.share_moved, churned.mean_ratio) == (0, pytest.approx(times))
    assert churned.is_within_budget is is_within
    assert f"the mean score becomes {times:.2f} of what it was" in churned.sentence


def test_another_order_is_held_although_nobody_changes_bands() -> None:
    upside_down = [19, 15, 10, 5, 45, 30, 25, 90, 70, 55]
    churned = churn(scores(TEN), scores(upside_down), BANDS)
    # Squared differences of ranks: 9 + 1 + 1 + 9, 4 + 0 + 4, 4 + 0 + 4; 1 - 6 × 36 ÷ 990.
    assert churned.rank_correlation == pytest.approx(1 - 6 * 36 / 990)
    assert (churned.share_moved, churned.is_within_budget) == (0, False)
    assert churn(scores(TEN), scores(upside_down), BANDS, least_correlation=0.75).is_within_budget


def test_other_bands_move_users_whose_scores_stay() -> None:
    moved = churn(scores(TEN), scores(TEN), BANDS, bands_after={"high": 50.0, "medium": 10.0})
    assert moved.share_moved == pytest.approx(0.3)
    assert churn(scores(TEN), scores(TEN), BANDS, bands_after={"medium": 20.0, "high": 50.0}).share_moved == 0


def test_a_constant_model_is_held_and_so_is_one_that_nothing_compares_with() -> None:
    constant = churn(scores(TEN), scores([60] * 10), BANDS, budget=1)
    assert math.isnan(constant.rank_correlation)
    assert not constant.is_within_budget
    nobody = churn(scores(TEN), scores(TEN).clear(), BANDS)
    assert (nobody.users, nobody.is_within_budget) == (0, False)
    assert churn(scores([7] * 10), scores([7] * 10), BANDS).is_within_budget
