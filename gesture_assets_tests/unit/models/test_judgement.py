"""Whether a candidate is to serve: better beyond noise, well behaved, within the churn budget; what is kept of it."""

import re
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from gesture_assets.models.behaviour import Behaviour
from gesture_assets.models.churn import Churn, churn
from gesture_assets.models.evaluation import Comparison, compare, evaluate
from gesture_assets.models.judgement import (
    RANKING,
    RULES,
    SOONER_TARGET,
    TARGETS,
    decide,
    directions,
    evaluation_rows,
    if_few,
    intent_events,
    sooner_rows,
)

RANDOM = np.random.default_rng(7)
OUTCOME = pl.Series((RANDOM.random(2_000) < 0.3).astype(np.int64))
NOISE = RANDOM.random(2_000)
BETTER = 0.5 * NOISE + 0.4 * OUTCOME.to_numpy()
BANDS = {"high": 70.0, "medium": 40.0}


def compared(champion: np.ndarray, challenger: np.ndarray) -> Comparison:
    return compare(OUTCOME, champion, challenger)


def users(score: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame({"user_id": [f"u{n}" for n in range(len(score))], "score": score})


def scaled(times: float) -> Churn:
    score = 1 + 60 * NOISE
    return churn(users(score), users(np.clip(score * times, 1, 100)), BANDS)


EQUAL = compared(NOISE, NOISE)
BEHAVES_BADLY = Behaviour(
    "more_requests_never_lower_a_score",
    passed=False,
    observed=0.3,
    limit=0.0,
    severity="ERROR",
    because="3 of 10 fell",
    rows=10,
)


def test_the_first_model_serves_only_where_it_is_better_than_the_rules_beyond_noise() -> None:
    better, worse = compared(NOISE, BETTER), compared(BETTER, NOISE)
    promoted, because = decide([], better, None, against_rules=better)
    assert promoted
    assert re.match(r"better: roc_auc 0\.\d+ against 0\.\d+ of the rules: \+0", because)
    assert decide([], EQUAL, None, against_rules=EQUAL)[0] is False
    assert decide([], worse, None, against_rules=worse)[0] is False


def test_a_model_that_is_better_than_the_champion_but_worse_than_the_rules_is_kept() -> None:
    promoted, because = decide([], compared(NOISE, BETTER), "v1", against_rules=compared(BETTER, NOISE))
    assert not promoted
    assert because.startswith("better than v1, and worse than the rules: ")


def test_a_better_model_serves_and_an_equal_one_does_not() -> None:
    promoted, because = decide([], compared(NOISE, BETTER), "v1", against_rules=EQUAL, churned=scaled(1.0))
    assert promoted
    assert because.startswith("better: ")
    assert decide([], compared(BETTER, BETTER), "v1", against_rules=EQUAL)[0] is False
    assert decide([], compared(BETTER, NOISE), "v1", against_rules=EQUAL)[0] is False


def test_a_better_model_whose_scale_is_another_is_held_for_approval() -> None:
    promoted, because = decide([], compared(NOISE, BETTER), "v1", against_rules=EQUAL, churned=scaled(1.8))
    assert not promoted
    assert because.startswith("better, and held for approval (gesture models activate): ")
    assert "beyond the budget" in because
    assert decide([], compared(NOISE, BETTER), "v1", against_rules=EQUAL, churned=scaled(1.8), forced="seen")[0]


def test_a_model_that_misbehaves_serves_only_where_somebody_says_so_and_what_was_passed_over_is_kept() -> None:
    promoted, because = decide([BEHAVES_BADLY], compared(NOISE, BETTER), "v1", against_rules=EQUAL)
    assert not promoted
    assert "more_requests_never_lower_a_score" in because
    promoted, because = decide([BEHAVES_BADLY], EQUAL, "v1", against_rules=EQUAL, forced="I insist")
    assert promoted
    assert because == (
        "by hand: I insist; passed over: it does not behave: "
        "more_requests_never_lower_a_score does not hold (3 of 10 fell)"
    )


def test_a_comparison_that_was_lost_is_told_of_a_model_that_somebody_lets_serve() -> None:
    kept = decide([], EQUAL, None, against_rules=EQUAL)
    assert decide([], EQUAL, None, against_rules=EQUAL, forced="a trial") == (
        True,
        f"by hand: a trial; passed over: {kept[1]}",
    )
    better = compared(NOISE, BETTER)
    assert decide([], better, None, against_rules=better, forced="a trial") == (True, "by hand: a trial")


def test_only_what_occurs_is_asked_of_a_model() -> None:
    shop = pl.DataFrame({"add_to_cart_count": [0, 2], "demo_request_click_count": [0, 0], "page_view_count": [3, 4]})
    assert intent_events(shop) == ("add_to_cart",)


def test_requests_and_ratings_may_only_raise_a_score_and_time_since_a_request_only_lower_it() -> None:
    features = ["demo_request_click_count_7d", "member_rating", "days_since_last_demo_request_click", "page_view_count"]
    assert directions(features) == dict(zip(features, (1, 1, -1), strict=False))


def test_what_is_kept_of_a_judgement_has_targets_for_the_part_that_decides_only() -> None:
    probability = np.clip(BETTER, 0.01, 0.99)
    test = evaluate(
        OUTCOME, probability, bootstrap=5, segments={"country": pl.Series(["DE", "GB"] * 1_000)}, fewest_rows=100
    )
    tried = Behaviour("scores_are_spread", passed=True, observed=0.1, limit=0.5, severity="WARN", because="", rows=9)
    rows = evaluation_rows("v1", {"train": test, "test": test, RULES: test}, [tried])
    assert rows["model_version"].unique().to_list() == ["v1"]
    key = ("part", "segment", "metric")
    assert not rows.select(key).is_duplicated().any()

    targets = rows.filter(pl.col("target").is_not_null())
    assert targets.select("part", "segment").unique().rows() == [("test", "all")]
    assert dict(targets.select("metric", "target").rows()) == TARGETS
    assert targets["is_met"].to_list() == [test.metrics[name].value >= TARGETS[name] for name in targets["metric"]]

    values = {row[:3]: row[3] for row in rows.select(*key, "value").rows()}
    assert values["test", "all", "base_rate"] == OUTCOME.mean()
    assert values["test", "all", "mean_probability"] == pytest.approx(probability.mean())
    assert values["test", "all", "threshold"] == 0.5
    assert values["test", "country=DE", "roc_auc"] == test.segments["country", "DE"].metrics["roc_auc"].value
    # Points of rules rank, and are no probabilities: what judges probabilities is not kept of them.
    of_rules = {metric for part, _, metric in values if part == RULES}
    assert of_rules == {*RANKING, *(f"lift_decile_{place}" for place in range(1, 11))}
    (behaved,) = rows.filter(part="behaviour").to_dicts()
    assert (behaved["metric"], behaved["value"], behaved["is_met"], behaved["sample_count"]) == (
        "scores_are_spread",
        0.1,
        True,
        9,
    )


def test_how_much_sooner_the_highest_scores_buy_is_held_against_all_who_bought() -> None:
    day, nobody = date(2026, 3, 9), [None] * 50
    # Of fifty people ten are the first 20 %; six of them bought after 6 days, four others after 12.
    took = [6, 6, 6, 6, 6, 6, *nobody[:20], 12, 12, 12, 12, *nobody[:20]]
    judged = pl.DataFrame(
        {"feature_date": [day] * 50, "bought_on": [day + timedelta(days=n) if n else None for n in took]}
    )
    scores = np.linspace(0.9, 0.1, 50)
    count, row = sooner_rows("v1", judged, scores).to_dicts()
    assert (row["part"], row["segment"], row["value"], row["sample_count"]) == ("test", "all", 0.0, 10)
    assert (count["value"], count["target"], row["target"], row["is_met"]) == (6, None, SOONER_TARGET, False)
    later = judged.with_columns(bought_on=pl.col("bought_on").replace(day + timedelta(days=6), day + timedelta(days=3)))
    more = pl.concat([later, later.filter(pl.int_range(pl.len()) > 20)])
    count, row = sooner_rows("v1", more, np.append(scores, scores[21:])).to_dicts()
    assert (row["value"], row["is_met"]) == (pytest.approx(1 - 3 / 12), True)
    assert count["because"] == "3 days of 6 buyers among the first 20 %, 12 of all 14"
    few = judged.with_columns(bought_on=pl.when(pl.int_range(pl.len()) > 3).then("bought_on"))
    (count,) = sooner_rows("v1", few, scores).to_dicts()
    assert count["because"] == "2 buyers of a known day are among the first 20 %, and a median takes 5"


def test_a_figure_that_cannot_be_worked_out_is_no_row() -> None:
    nobody_bought = evaluate(np.zeros(20), np.linspace(0.1, 0.9, 20), bootstrap=2)
    rows = evaluation_rows("v1", {"test": nobody_bought})
    assert "roc_auc" not in rows["metric"]
    assert rows["value"].is_finite().all()
    assert rows.filter(metric="base_rate")["value"].to_list() == [0.0]


def test_a_decision_of_few_buyers_says_so_and_names_the_day_of_enough() -> None:
    day = date(2026, 3, 9)

    def judged(buyers: int, days: int) -> pl.DataFrame:
        on = [day - timedelta(days=30 + 14 * (place % days)) for place in range(100)]
        people = [f"u{place}" for place in range(100)]
        return pl.DataFrame({"person_id": people, "feature_date": on, "label": [1] * buyers + [0] * (100 - buyers)})

    assert if_few(judged(50, 3), day) == ""
    # Ten a day were forty in four; ten more are there a fortnight later.
    assert if_few(judged(40, 4), day).startswith("; only 40 buyers (40 outcomes) judge it, and of fewer than 50 ")
    twice = pl.concat([judged(40, 4), judged(40, 4).with_columns(pl.col("feature_date") - timedelta(days=56))])
    assert if_few(twice, day).startswith("; only 40 buyers (80 outcomes) judge it")
    assert if_few(judged(40, 4), day).endswith(f"there are enough on {day + timedelta(days=14)}")
    assert if_few(judged(30, 3), day).endswith(f"there are enough on {day + timedelta(days=28)}")
