import math
from datetime import date, datetime
from pathlib import Path

import duckdb
import narwhals as nw
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gesture_assets.errors import ConfigError
from gesture_assets.features.feature_registry import feature_registry
from gesture_assets.rules.rule_set import Rule, RuleSet, Suppression, load_rule_set
from gesture_assets.rules.scorer import global_explanation, rank, score, suppressions
from gesture_assets.rules.tables import RULE_CONTRIBUTIONS, RULE_SCORES

AS_OF = date(2026, 2, 1)
REGISTRY = feature_registry(("aws_course",))
POLARS = {
    "INTEGER": pl.Int32,
    "SMALLINT": pl.Int16,
    "BIGINT": pl.Int64,
    "DOUBLE": pl.Float64,
    "BOOLEAN": pl.Boolean,
    "VARCHAR": pl.String,
    "TIMESTAMP": pl.Datetime("us"),
}
SCHEMA = {"as_of_date": pl.Date, "user_id": pl.String, **{f.name: POLARS[f.type] for f in REGISTRY}}
NOTHING = {f.name: 0 if f.type == "INTEGER" and not f.nullable else None for f in REGISTRY}


def shipped(name: str) -> RuleSet:
    return load_rule_set(name, user_folder=Path("none"), features=list(SCHEMA))


def rule(id_: str = "one", **changes) -> Rule:
    given = {
        "feature": "signup_count",
        "scale": "at_least_once",
        "weight": 1.0,
        "group": "engagement",
        "because": "It is {value}.",
    }
    return Rule(id=id_, **(given | changes))


def rules_of(*rules: Rule, **bands: float) -> RuleSet:
    return RuleSet(name="test", description="", bands=bands or {"high": 70, "medium": 40}, rules=rules)


def users(*rows: dict) -> pl.DataFrame:
    numbered = [{"as_of_date": AS_OF, "user_id": f"u{n}", **NOTHING, **row} for n, row in enumerate(rows)]
    return pl.DataFrame(numbered, schema=SCHEMA)


def scored(rule_set: RuleSet, features: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    scores, contributions = score(nw.from_native(features.lazy()), rule_set)
    return (
        scores.collect().to_native().sort("as_of_date", "user_id"),
        contributions.collect().to_native().sort("as_of_date", "user_id", "rule_id"),
    )


def scored_on_duckdb(rule_set: RuleSet, features: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    with duckdb.connect() as connection:
        connection.register("frame", features)
        connection.execute("create table features as select * from frame")
        scores, contributions = score(nw.from_native(connection.table("features")), rule_set)
        return (
            scores.to_native().pl().sort("as_of_date", "user_id"),
            contributions.to_native().pl().sort("as_of_date", "user_id", "rule_id"),
        )


def only(only_rule: Rule, **features) -> dict:
    return scored(rules_of(only_rule), users(features))[1].row(0, named=True)


AMOUNT = {"feature": "account_balance_usd", "scale": "log_amount", "cap": 1012.49}
RATE = {"feature": "repeat_session_rate", "scale": "rate"}
BONUS = {**RATE, "recency_bonus": 0.25, "recency_days": 30}


@pytest.mark.parametrize(
    ("changes", "features", "scaled"),
    [
        ({}, {"signup_count": 0}, 0),
        ({}, {"signup_count": 1}, 1),
        ({}, {"signup_count": 7}, 1),
        ({"feature": "is_subscriber"}, {"is_subscriber": True}, 1),
        ({"feature": "is_subscriber"}, {"is_subscriber": False}, 0),
        ({"scale": "count", "cap": 4}, {"signup_count": 1}, 0.25),
        ({"scale": "count", "cap": 49, "daily_cap": 49}, {"signup_count": 49}, 1),
        ({"scale": "count", "cap": 4}, {"signup_count": 9}, 1),
        ({"scale": "count", "cap": 4, "repeatable": False}, {"signup_count": 9}, 0.25),
        ({"scale": "count", "cap": 4, "repeatable": False}, {"signup_count": 0}, 0),
        (RATE, {"repeat_session_rate": 0.5}, 0.5),
        (RATE, {"repeat_session_rate": 1.5}, 1),
        (BONUS, {"repeat_session_rate": 0.5, "days_since_last_event": 0.0}, 0.75),
        (BONUS, {"repeat_session_rate": 0.5, "days_since_last_event": 15.0}, 0.625),
        (BONUS, {"repeat_session_rate": 0.5, "days_since_last_event": 40.0}, 0.5),
        (BONUS, {"repeat_session_rate": 0.9, "days_since_last_event": 0.0}, 1),
        (BONUS, {"repeat_session_rate": 0.5, "days_since_last_event": None}, 0.5),
        (AMOUNT, {"account_balance_usd": 0.0}, 0),
        (AMOUNT, {"account_balance_usd": 186.08}, math.log1p(186.08) / math.log1p(1012.49)),
        (AMOUNT, {"account_balance_usd": 1012.49}, 1),
        (AMOUNT, {"account_balance_usd": math.inf}, 1),
        (AMOUNT, {"account_balance_usd": -5.0}, 0),
        (AMOUNT, {"account_balance_usd": math.nan}, 0),
        (AMOUNT, {"account_balance_usd": None}, 0),
        ({"feature": "days_since_last_event", "scale": "recency", "cap": 20}, {"days_since_last_event": 5.0}, 0.75),
        ({"feature": "days_since_last_event", "scale": "recency", "cap": 20}, {"days_since_last_event": 0.0}, 1),
        ({"feature": "days_since_last_event", "scale": "recency", "cap": 20}, {"days_since_last_event": 21.0}, 0),
        ({"feature": "days_since_last_event", "scale": "recency", "cap": 20}, {"days_since_last_event": None}, 0),
    ],
)
def test_every_scale_brings_a_feature_to_0_to_1(changes, features, scaled):
    row = only(rule(**changes), **features)
    assert row["scaled"] == pytest.approx(scaled, abs=1e-15)
    assert row["points"] == pytest.approx(100 * scaled, abs=1e-12)


def test_ten_points_with_a_half_life_of_30_days_are_2_and_a_half_after_60():
    ten = rule(weight=0.1, half_life_days=30)
    rest = rule("rest", weight=0.9)
    _, parts = scored(rules_of(ten, rest), users({"signup_count": 1, "days_since_last_signup": 60}))
    assert parts.filter(rule_id="one").select("decay", "points").row(0) == (0.25, 2.5)
    assert parts.filter(rule_id="rest").select("decay", "points").row(0) == (1, 90)


@pytest.mark.parametrize(("days", "decay"), [(0, 1), (14, 0.5), (7, math.sqrt(0.5)), (28, 0.25), (None, 0)])
def test_points_halve_with_every_half_life(days, decay):
    row = only(rule(half_life_days=14), signup_count=1, days_since_last_signup=days)
    assert row["decay"] == pytest.approx(decay, abs=1e-15)


def test_a_rule_ages_with_its_own_event_and_not_with_a_later_one():
    row = only(rule(half_life_days=30), signup_count=1, days_since_last_signup=30, days_since_last_event=0.0)
    assert row["points"] == 50


@pytest.mark.parametrize(
    ("count", "band"), [(100, "hot"), (80, "hot"), (79, "warm"), (70, "warm"), (69, "low"), (0, "low")]
)
def test_a_score_falls_in_the_highest_band_that_it_reaches(count, band):
    rule_set = rules_of(rule(scale="count", cap=100, daily_cap=100), hot=80, warm=70)
    scores, _ = scored(rule_set, users({"signup_count": count}))
    assert scores["band"].item() == band
    assert scores["band_thresholds"].item() == "hot 80, warm 70, low 0"


def test_the_last_bit_of_a_sum_does_not_cost_a_band():
    weights = [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.3]
    rules = [rule(f"rule_{n}", weight=weight) for n, weight in enumerate(weights[:-1])]
    rule_set = rules_of(*rules, rule("rest", feature="purchase_count", weight=0.3), high=70 + 1e-12)
    scores, _ = scored(rule_set, users({"signup_count": 1}))
    assert scores["band"].item() == "high"


def test_nobody_scores_below_1_and_points_stay_what_they_are():
    scores, _ = scored(rules_of(rule()), users({}))
    assert scores.select("score", "points", "explanation").row(0) == (1, 0, "no scored activity")


def test_a_negative_rule_takes_points_away_and_is_no_reason():
    rule_set = rules_of(
        rule(weight=1.0),
        rule("left", feature="unsubscribe_count", weight=-0.5),
        rule("bought", feature="purchase_count", weight=0.5),
    )
    scores, _ = scored(rule_set, users({"signup_count": 1, "unsubscribe_count": 1}, {"unsubscribe_count": 1}))
    assert scores.select("points", "score", "explanation").rows() == [
        (50, 50, "one (+100.0 pts)"),
        (-50, 1, "no scored activity"),
    ]


def test_a_daily_cap_counts_from_the_capped_column_and_shows_both_numbers():
    views = rule(feature="page_view_count_30d", scale="count", cap=40)
    features = users({"page_view_count_30d": 100}).with_columns(page_view_count_30d_at_most_20_a_day=20)
    _, parts = scored(rules_of(views), features)
    assert parts.select("value", "counted", "scaled", "points", "because").row(0) == (100, 20, 0.5, 50, "It is 100.")


def test_a_daily_cap_without_its_column_is_refused():
    with pytest.raises(ConfigError, match="'signup_count_at_most_20_a_day'"):
        scored(rules_of(rule(scale="count", cap=100)), users({}))


CAPPED = RuleSet(
    name="test",
    description="",
    bands={"high": 50},
    group_caps={"fit": 20, "engagement": 50},
    total_cap=60,
    rules=(
        rule(weight=0.6),
        rule("rated", feature="member_rating", scale="count", cap=5, weight=0.4, group="fit"),
        rule("left", feature="unsubscribe_count", weight=-0.3),
    ),
    suppress=(Suppression(feature="email_bounce_count_30d", reason="cannot be written to"),),
)


def test_what_is_above_a_cap_is_a_contribution_of_its_own():
    everything, half, left = {"signup_count": 1, "member_rating": 5}, {"signup_count": 1}, {"unsubscribe_count": 1}
    scores, parts = scored(CAPPED, users(everything, half, half | left))
    assert scores.select("points", "score", "fit_points", "engagement_points").rows() == [
        (60, 60, 20, 50),
        (50, 50, 0, 50),
        (30, 30, 0, 30),
    ]
    taken = parts.filter(pl.col("rule_id").str.ends_with("_cap")).select("user_id", "rule_id", "points").rows()
    assert taken == [
        ("u0", "engagement_cap", -10),
        ("u0", "fit_cap", -20),
        ("u0", "total_cap", -10),
        ("u1", "engagement_cap", -10),
        ("u1", "fit_cap", 0),
        ("u1", "total_cap", 0),
        ("u2", "engagement_cap", 0),
        ("u2", "fit_cap", 0),
        ("u2", "total_cap", 0),
    ]
    total = parts.filter(user_id="u0", rule_id="total_cap").row(0, named=True)
    assert (total["value"], total["counted"], total["scaled"], total["weight"]) == (70, 60, pytest.approx(0.1), -1)
    assert total["because"] == "At most 60 points for everything together: 70."


LISTED = pl.DataFrame(
    [
        ("u0", None, "competitor", None, None),
        (None, 7, "asked not to be", AS_OF, None),
        ("u0", None, "zzz", None, None),
        ("u2", None, "was", None, date(2026, 1, 31)),
        ("u2", None, "will be", date(2026, 2, 2), None),
    ],
    schema={"user_id": pl.String, "mailchimp_id": pl.String, "reason": pl.String, "since": pl.Date, "until": pl.Date},
    orient="row",
)


def test_suppressed_users_get_no_score_but_a_reason_and_are_not_ranked():
    features = users({}, {"mailchimp_id": "7"}, {"mailchimp_id": "8", "signup_count": 1}, {"email_bounce_count_30d": 1})
    lazy = nw.from_native(features.lazy())
    suppressed = suppressions(lazy, CAPPED.suppress, nw.from_native(LISTED.lazy()))
    scores, contributions = score(lazy, CAPPED, suppressed)
    rows = scores.collect().to_native().sort("user_id")
    assert rows.select("score", "band", "suppression_reason", "explanation").rows() == [
        (None, "suppressed", "competitor", "suppressed: competitor"),
        (None, "suppressed", "asked not to be", "suppressed: asked not to be"),
        (50, "high", None, "one (+60.0 pts)"),
        (None, "suppressed", "cannot be written to", "suppressed: cannot be written to"),
    ]
    assert rows["points"].null_count() == 0
    assert rank(scores, 10).collect().to_native()["user_id"].to_list() == ["u2"]
    assert contributions.collect().to_native().height == 4 * 6


def test_nobody_is_suppressed_where_nothing_says_so():
    assert suppressions(nw.from_native(users({}).lazy()), ()) is None
    scores, _ = scored(rules_of(rule()), users({}))
    assert scores["suppression_reason"].to_list() == [None]


def test_a_suppression_by_a_text_is_refused():
    by_country = (Suppression(feature="country", reason="embargo"),)
    with pytest.raises(ConfigError, match="The suppression 'embargo'"):
        suppressions(nw.from_native(users({}).lazy()), by_country)


def test_the_explanation_names_the_top_three_and_ties_go_by_file_order():
    stems = ["search", "signup", "purchase", "app_open", "email_click"]
    weights = [0.1, 0.3, 0.2, 0.3, 0.1]
    rule_set = rules_of(*(rule(s, feature=f"{s}_count", weight=w) for s, w in zip(stems, weights, strict=True)))
    everything = {f"{stem}_count": 1 for stem in stems}
    scores, _ = scored(rule_set, users(everything, {"search_count": 1, "email_click_count": 1}, {"app_open_count": 1}))
    assert scores["explanation"].to_list() == [
        "signup (+30.0 pts) + app_open (+30.0 pts) + purchase (+20.0 pts)",
        "search (+10.0 pts) + email_click (+10.0 pts)",
        "app_open (+30.0 pts)",
    ]


def test_points_are_kept_by_group():
    rule_set = rules_of(rule(weight=0.75), rule("known", feature="is_subscriber", weight=0.25, group="fit"))
    scores, _ = scored(rule_set, users({"signup_count": 1, "is_subscriber": True}))
    assert scores.select("fit_points", "engagement_points", "points").row(0) == (25, 75, 100)


@pytest.mark.parametrize(
    ("feature", "value", "shown"),
    [
        ("signup_count", 3, "3"),
        ("account_balance_usd", 186.08, "186.08"),
        ("account_balance_usd", 0.5, "0.5"),
        ("account_balance_usd", 2.0, "2"),
        ("account_balance_usd", 1.999, "2"),
        ("account_balance_usd", 7.05, "7.05"),
        ("account_balance_usd", -3.25, "-3.25"),
        ("account_balance_usd", -0.001, "0"),
        ("account_balance_usd", None, "unknown"),
        ("account_balance_usd", math.nan, "unknown"),
        ("account_balance_usd", math.inf, "1000000000000"),
        ("is_subscriber", True, "yes"),
        ("is_subscriber", False, "no"),
        ("member_rating", None, "unknown"),
    ],
)
def test_the_reason_reads_as_people_write(feature, value, shown):
    assert only(rule(feature=feature), **{feature: value})["because"] == f"It is {shown}."


def test_a_feature_that_is_no_number_is_refused():
    with pytest.raises(ConfigError, match=r"(?s)Rule 'one'.*'country' of numbers.*String"):
        scored(rules_of(rule(feature="country")), users({}))


def test_a_rule_set_is_what_its_content_says():
    for rule_set in (shipped("intent"), shipped("scoring_reference"), CAPPED):
        restored = RuleSet.of_content(rule_set.name, rule_set.content)
        assert restored.version == rule_set.version
        assert restored.rules == rule_set.rules


def test_the_columns_are_those_of_the_contracts():
    scores, contributions = scored(shipped("intent"), users({}))
    assert scores.columns == list(RULE_SCORES.column_names)
    assert contributions.columns == list(RULE_CONTRIBUTIONS.column_names)
    assert contributions["rule_id"].to_list() == sorted(rule.id for rule in shipped("intent").rules)


def ranked(*rows: tuple[str, float, datetime | None], n: int = 10) -> list[str]:
    frame = pl.DataFrame(
        [(AS_OF, *row) for row in rows],
        schema={"as_of_date": pl.Date, "user_id": pl.String, "score": pl.Float64, "last_event_at": pl.Datetime("us")},
        orient="row",
    )
    on_polars = rank(nw.from_native(frame.lazy()), n).collect().to_native()
    with duckdb.connect() as connection:
        on_duckdb = rank(nw.from_native(connection.from_arrow(frame.to_arrow())), n).to_native().pl()
    assert on_polars.equals(on_duckdb)
    assert on_polars["rank"].to_list() == list(range(1, on_polars.height + 1))
    assert on_polars.schema["rank"] == pl.Int32
    return on_polars["user_id"].to_list()


def test_the_list_goes_by_score_then_latest_activity_then_id():
    early, late = datetime(2026, 1, 1), datetime(2026, 1, 2)  # timestamps in tables are naive UTC
    five = [("e", 5.0, None), ("d", 5.0, early), ("c", 5.0, early), ("b", 5.0, late)]
    rows = [*five, ("a", 4.0, late), ("f", 9.0, None)]
    assert ranked(*rows) == ["f", "b", "c", "d", "e", "a"]
    assert ranked(*rows, n=2) == ["f", "b"]


def test_the_list_is_made_for_each_day():
    two_days = pl.concat([users({"signup_count": 1}, {}), users({}, {}).with_columns(as_of_date=date(2026, 2, 2))])
    scores, _ = score(nw.from_native(two_days.lazy()), rules_of(rule()))
    assert rank(scores, 1).collect().to_native().select("as_of_date", "rank", "user_id").rows() == [
        (AS_OF, 1, "u0"),
        (date(2026, 2, 2), 1, "u0"),
    ]


def test_the_global_explanation_says_what_each_rule_adds_on_average():
    bought = rule("bought", feature="purchase_count", weight=0.25)
    rule_set = rules_of(rule(weight=0.75), bought, rule("never", weight=0))
    rows = users({"signup_count": 1, "purchase_count": 1}, {"purchase_count": 1}, {}, {})
    _, contributions = score(nw.from_native(rows.lazy()), rule_set)
    explained = global_explanation(contributions.filter(nw.col("points") != 0), rule_set, users=4)
    columns = ["rule_id", "mean_points", "share_of_users", "mean_share_of_score"]
    assert explained.select(columns).rows() == [
        ("one", 18.75, 0.25, 0.375),
        ("bought", 12.5, 0.5, 0.625),
        ("never", 0, 0, 0),
    ]


def values(kind: str, name: str, nullable: bool) -> st.SearchStrategy:
    if kind == "BOOLEAN":
        base = st.booleans()
    elif kind == "DOUBLE" and name.endswith("_rate"):
        base = st.floats(0, 1)
    elif kind == "DOUBLE":
        base = st.floats(0, 5000) | st.sampled_from([math.nan, math.inf, -1.0, 1e300])
    else:
        base = st.integers(0, 400)
    return base | st.none() if nullable else base


SHIPPED = (shipped("intent"), shipped("scoring_reference"), CAPPED)
NEEDED = {name for rule_set in SHIPPED for rule in rule_set.rules for name in rule.needs}
half = settings(max_examples=settings.default.max_examples // 2)
ROWS = st.fixed_dictionaries({f.name: values(f.type, f.name, f.nullable) for f in REGISTRY if f.name in NEEDED})


@given(st.lists(ROWS, min_size=1, max_size=12), st.sampled_from(SHIPPED))
def test_scores_stay_within_1_to_100_and_are_the_sum_of_their_parts(rows, rule_set):
    scores, contributions = scored(rule_set, users(*rows))
    assert scores["score"].is_between(1, 100).all()
    assert contributions["scaled"].is_between(0, 1).all()
    assert contributions["decay"].is_between(0, 1).all()
    assert contributions.height == len(rows) * (len(rule_set.rules) + len(rule_set.caps))
    sums = contributions.group_by("user_id").agg(sum=pl.col("points").sum()).sort("user_id")
    assert (sums["sum"] - scores["points"]).abs().max() <= 1e-9
    if rule_set.total_cap == 100:
        assert (scores["fit_points"] + scores["engagement_points"] - scores["points"]).abs().max() <= 1e-9
    assert scores["score"].to_list() == scores["points"].clip(1, 100).to_list()


@pytest.mark.slow
@half
@given(st.lists(ROWS, min_size=2, max_size=12), st.sampled_from(SHIPPED), st.data())
def test_a_users_bytes_do_not_depend_on_who_else_is_in_the_batch(rows, rule_set, data):
    everybody = users(*rows)
    picked = everybody.filter(user_id=f"u{data.draw(st.integers(0, len(rows) - 1))}")
    for together, alone in zip(scored(rule_set, everybody), scored(rule_set, picked), strict=True):
        assert together.filter(user_id=picked["user_id"].item()).equals(alone)


# Few examples of many rows: planning the queries on DuckDB costs most of a second, the rows nothing.
@half
@given(st.lists(ROWS, min_size=10, max_size=40), st.sampled_from(SHIPPED))
def test_duckdb_and_polars_give_the_same_bytes(rows, rule_set):
    features = users(*rows)
    for polars, duck in zip(scored(rule_set, features), scored_on_duckdb(rule_set, features), strict=True):
        assert polars.schema == duck.schema
        assert polars.equals(duck)


@pytest.mark.slow
def test_duckdb_and_polars_agree_on_many_amounts_and_ages():
    amounts = [1.37 * n for n in range(1, 20_001)]
    rows = {
        "account_balance_usd": amounts,
        "repeat_session_rate": [(n % 97) / 97 for n in range(20_000)],
        "days_since_last_event": [n % 997 / 7 for n in range(20_000)],
    }
    features = pl.concat([users({})] * 20_000).with_columns(
        *(pl.Series(name, column) for name, column in rows.items()), user_id=pl.Series([f"u{n}" for n in range(20_000)])
    )
    rule_set = rules_of(
        rule("amount", **{**AMOUNT, "cap": 30_000.0}, half_life_days=17, weight=0.7), rule("rate", **BONUS, weight=0.3)
    )
    for polars, duck in zip(scored(rule_set, features), scored_on_duckdb(rule_set, features), strict=True):
        assert polars.equals(duck)


def test_duckdb_and_polars_suppress_alike():
    features = users({}, {"mailchimp_id": "7"}, {"mailchimp_id": "8"}, {"email_bounce_count_30d": 1})
    suppressed = suppressions(nw.from_native(features.lazy()), CAPPED.suppress, nw.from_native(LISTED.lazy()))
    polars = score(nw.from_native(features.lazy()), CAPPED, suppressed)[0].collect().to_native().sort("user_id")
    with duckdb.connect() as connection:
        for name, rows in (("features", features), ("listed", LISTED)):
            connection.register(f"{name}_rows", rows)
            connection.execute(f"create table {name} as select * from {name}_rows")
        table = nw.from_native(connection.table("features"))
        reasons = suppressions(table, CAPPED.suppress, nw.from_native(connection.table("listed")))
        duck = score(table, CAPPED, reasons)[0].to_native().pl().sort("user_id")
    assert duck.equals(polars)
