"""The tables of `models/`: the rows of a good night, and for each of their own checks a fault that it catches.

Belongs here: what distinguishes the rows, the faults, and what differs from the derived faults of shared checks. Does
not belong here: those (`faults.py`).
"""

from datetime import timedelta

from gesture_assets.contracts.contract import PARTITION
from gesture_assets_tests.gates.faults import (
    COPY,
    MISSING,
    NO_ROWS,
    STRAY,
    Fault,
    Faults,
    Rows,
    change,
    copied_row,
    first_row,
    noticed_also_by,
    stray_row,
)
from gesture_assets_tests.gates.world import DAY, PROBABILITIES, SCORES, VERSION

EVERYBODY = "every_user_is_scored_or_excluded_with_a_reason"
BANDS = "band_shares_are_near_their_usual_level"
TIES = "at_most_20_percent_share_a_probability"
# As many in the high band as in the low one, as usual, and known to user_features.
TWENTY_MORE = "; ".join(
    f"insert into {table} select * exclude (n) replace (user_id || n as user_id) from {table}, range(10) as t(n) "
    "where user_id in ('ada', 'bob')"
    for table in ("model_scores", "warehouse.main.user_features")
)

GOOD: dict[str, Rows] = {
    "model_scores": [
        {
            "user_id": who,
            "model_version": VERSION,
            "probability": probability,
            "score": 1 + round(99 * probability),
            "model_scope": "global",
            "margin": 1.0,
            "percentile": 0.5,
            "confidence": 0.5,
        }
        for who, probability in PROBABILITIES.items()
    ],
    "model_exclusions": [{"user_id": "cyd", "reason": "already_converted"}],
    "score_reasons": [
        {"user_id": who, "model_version": VERSION, "direction": direction, "place": place, "contribution": part}
        for who in PROBABILITIES
        for direction, place, part in (("up", 1, 1.5), ("rest", 0, -0.5))
    ],
    "intent_scores": [
        {
            "user_id": who,
            "rule_score": score,
            "model_score": 1.0 + round(99 * PROBABILITIES[who]),
            "source": "model",
            "score": 1.0 + round(99 * PROBABILITIES[who]),
            "probability": PROBABILITIES[who],
            "scale": "probability",
            "fallback_reason": None,
        }
        if who in PROBABILITIES
        else {
            "user_id": who,
            "rule_score": score,
            "source": "rules_fallback",
            "score": 3.0,
            "probability": 0.02,
            "scale": "probability",
            "fallback_reason": "already_converted",
        }
        for who, score in SCORES.items()
    ],
    "top_users": [
        {
            "rank": rank,
            "user_id": who,
            "score": 1.0 + round(99 * probability),
            "scale": "probability",
            "probability": probability,
            "source": "model",
            "explanation": "Visits in the last 30 days: 3.",
            "list_length": 20,
        }
        for rank, (who, probability) in enumerate(PROBABILITIES.items(), 1)
    ],
    "training_set": [
        {
            "user_id": f"{who}{n}",
            "person_id": f"{who}{n}",
            "feature_date": DAY - timedelta(days=30 + ago),
            "label": n,
            "matures_on": DAY - timedelta(days=ago),
            "split": part,
            "fold": n,
            "random_split": "train",
        }
        for who, part, ago in (("ada", "train", 28), ("bob", "both", 14), ("cyd", "test", 0))
        for n in (0, 1)
    ],
    "feature_screening": [{"feature": name, "auc": 0.6, "verdict": "fine"} for name in ("visits", "country")],
    "candidate_model": [
        {"model_version": VERSION, "base_rate": 0.1, "decision": "promoted", "features": '["visits", "country"]'}
    ],
    "model_evaluation": [
        {
            "model_version": VERSION,
            "part": part,
            "segment": "all",
            "metric": metric,
            "value": 0.9,
            "low": 0.8,
            "high": 0.95,
            "target": 0.85,
            "is_met": True,
        }
        for part, metric in (
            ("train", "roc_auc"),
            ("test", "roc_auc"),
            ("behaviour", "no_segment_is_served_much_worse"),
        )
    ],
    "feature_importance": [
        {
            "model_version": version,
            "feature": name,
            "feature_name": name,
            "rank": rank,
            "gain": weight,
            "permutation": weight,
            "shap": weight,
        }
        # Beside it one that has learnt nothing.
        for version, weight in ((VERSION, 0.5), ("v20260309_020000_00000000", 0.0))
        for rank, name in enumerate(("visits", "country"), 1)
    ],
}

FAULTS: dict[str, Faults] = {
    "model_scores": {
        "every_probability_lies_between_0_and_1": first_row("probability = 1, score = 100"),
        "a_model_score_is_its_probability_on_1_to_100": first_row("score = 91"),
        "a_percentile_is_a_share": first_row("percentile = 1.1"),
        "a_confidence_is_a_share": first_row("confidence = 1.1"),
        EVERYBODY: Fault("delete from model_exclusions"),
        "one_model_scores_a_day": first_row("model_version = 'v20260101_020000_00000000'"),
        "a_scope_is_global_or_a_segment_of_the_user": first_row("model_scope = 'primary_device=toaster'"),
        "the_model_tells_users_apart": Fault(
            f"{TWENTY_MORE}; update {{table}} set probability = 0.1, score = 11",
            (TIES, BANDS),
        ),
        TIES: Fault(TWENTY_MORE),
        BANDS: Fault(f"{TWENTY_MORE}; update {{table}} set probability = 0.1 + rowid / 1e5, score = 11"),
        STRAY: noticed_also_by(EVERYBODY),
        COPY: noticed_also_by(EVERYBODY),
    },
    "model_exclusions": {
        "nobody_is_both_scored_and_excluded": first_row("user_id = 'ada'"),
    },
    "score_reasons": {
        "reasons_sum_to_the_margin": first_row("contribution = contribution + 0.001"),
        "every_model_score_has_its_reasons": Fault("delete from {table} where user_id = 'ada'"),
        COPY: copied_row("0 as contribution"),
    },
    "intent_scores": {
        "a_source_is_known": first_row("source = 'dice', score = null"),
        "every_rule_score_has_its_intent_score": Fault("delete from {table} where user_id = 'cyd'"),
        "an_intent_score_is_that_of_its_source": first_row("score = score + 1"),
        "a_day_has_one_scale": Fault(
            "update {table} set scale = 'points', score = rule_score where source = 'rules_fallback'"
        ),
        "a_fallback_probability_follows_the_points": change(
            "probability = null, score = null where source = 'rules_fallback'"
        ),
        "who_has_done_it_is_marked_and_nobody_else": change("fallback_reason = null where user_id = 'cyd'"),
        "the_model_serves": change("source = 'rules_fallback', probability = 0.02, score = 3"),
        NO_ROWS: noticed_also_by("every_rule_score_has_its_intent_score"),
        STRAY: noticed_also_by("every_rule_score_has_its_intent_score"),
        COPY: noticed_also_by("every_rule_score_has_its_intent_score"),
    },
    "top_users": {
        "ranks_follow_the_scores": Fault("update {table} set rank = 3 - rank"),
        "nobody_who_can_be_called_scores_higher_than_the_list": Fault(
            "delete from {table} where rank = 1; update {table} set rank = rank - 1, list_length = 1"
        ),
        "the_list_is_as_long_as_it_promises": Fault("delete from {table} where rank = 2"),
        "a_day_with_somebody_to_call_has_a_list": Fault("delete from {table}"),
        "every_place_of_the_list_is_explained": first_row("explanation = null"),
        "a_band_on_the_list_is_that_of_the_rules": first_row("rule_band = 'high'"),
        "nobody_on_the_list_has_done_it": Fault("update warehouse.main.user_features set purchase_count = 1"),
        "the_list_names_the_score_to_act_on": change("scale = 'points'"),
        COPY: noticed_also_by("ranks_follow_the_scores"),
        STRAY: noticed_also_by("the_list_names_the_score_to_act_on"),
    },
    "training_set": {
        "every_outcome_is_known": change(f"matures_on = {PARTITION} + 1 where split = 'test'"),
        "a_purchase_lies_in_the_horizon": change("bought_on = matures_on + 1 where label = 1"),
        "a_label_is_0_or_1": change("label = 2 where split = 'test' and label = 1"),
        "tests_lie_after_training": change("feature_date = feature_date + 42 where split = 'train'"),
        "nobody_is_in_two_folds": first_row("person_id = 'cyd1'"),
        "every_part_holds_both_outcomes": change("label = 0 where split <> 'train'"),
        "feature_days_are_far_enough_apart": change("feature_date = feature_date + 1 where split = 'train'"),
        NO_ROWS: noticed_also_by("every_part_holds_both_outcomes"),
    },
    "feature_screening": {
        "a_verdict_is_known": first_row("verdict = 'odd'"),
        "no_feature_knows_the_outcome": first_row("verdict = 'leak', auc = 1"),
        "no_feature_is_suspected_of_knowing_the_outcome": first_row("verdict = 'suspect'"),
    },
    "candidate_model": {
        "a_version_says_when_it_was_trained": first_row("model_version = 'v2'"),
        "a_base_rate_is_a_share": first_row("base_rate = 1"),
        "a_candidate_is_promoted_or_not": first_row("decision = 'perhaps'"),
    },
    "model_evaluation": {
        "figures_lie_within_their_intervals": first_row("low = 0.96"),
        "the_candidate_was_judged_on_the_test_part": Fault("delete from {table} where part = 'test'"),
        "the_candidate_reaches_its_targets": first_row("is_met = false"),
        "no_segment_is_served_much_worse": change("is_met = false, target = null where part = 'behaviour'"),
        NO_ROWS: noticed_also_by("the_candidate_was_judged_on_the_test_part"),
    },
    "feature_importance": {
        "importances_sum_to_1": first_row("gain = 0.6"),
        "every_feature_has_a_name": first_row("feature_name = null", MISSING),
        STRAY: stray_row("'another' as model_version"),
        COPY: copied_row("0 as gain, 0 as permutation, 0 as shap"),
    },
}
