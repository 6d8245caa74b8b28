"""The tables of `monitoring/`: the rows of a good night, and for each of their own checks a fault that it catches.

Belongs here: what distinguishes the rows, the faults, and what differs from the derived faults of shared checks. Does
not belong here: those (`faults.py`).
"""

from datetime import timedelta

from gesture_assets_tests.gates.faults import NEGATIVE, Faults, Rows, first_row
from gesture_assets_tests.gates.world import DAY, VERSION

GOOD: dict[str, Rows] = {
    "feature_profiles": [
        {
            "feature": name,
            "kind": "number",
            "row_count": 10,
            "distinct_count": 3,
            "edges": [1.0, 2.0],
            "bin_counts": [5, 3, 1, 1],
            "missing_count": 1,
            "model_version": VERSION,
        }
        for name in ("visits", "age")
    ],
    "feature_statistics": [
        {"feature": name, "baseline": baseline, "day_count": 1, "row_count": 10, "baseline_row_count": 10}
        for name in ("visits", "age")
        for baseline in ("daily", "weekly")
    ],
    "drift_reports": [
        {
            "rank": rank,
            "feature": name,
            "kind": "number",
            "n_reference": 500,
            "n_current": 500,
            "p_value": 0.5,
            "verdict": "stable",
            "sentence": f"{name}: stable",
            "importance": 0.5,
            "matters": False,
            "model_version": VERSION,
        }
        for rank, name in enumerate(("visits", "age"), 1)
    ],
    "event_mix_drift": [
        {
            "segment": "all",
            "kind": "type",
            "name": name,
            "n_reference": 500,
            "n_current": 500,
            "p_value": 0.5,
            "verdict": "stable",
            "sentence": f"{name}: stable",
        }
        for name in ("page_view", "signup")
    ],
    "performance_report": [
        {
            "basis": basis,
            "segment": "all",
            "metric": "roc_auc",
            "cohort_date": DAY - timedelta(days=30),
            "value": 0.8,
            "verdict": "fine",
            "sample_count": 500,
            "buyer_count": 50,
        }
        for basis in ("realised", "rules")
    ],
    "score_backtest": [
        {
            "scored_by": "rules",
            "band": band,
            "cohort_date": DAY - timedelta(days=90),
            "user_count": 10,
            "buyer_count": 2,
            "conversion_rate": 0.2,
        }
        for band in ("high", "low")
    ],
    "retrain_decision": [
        {"should_retrain": True, "reasons": "model_age", "because": "The model is old.", "training_sample_count": 500}
    ],
    "score_changes": [
        {"user_id": who, "before": 10.0, "after": 15.0, "change": 5.0, "new_behaviour": 5.0} for who in ("ada", "bob")
    ],
    "alerts": [
        {"alert_key": key, "severity": "WARN", "owner": "scoring", "what": key, "place": "here", "runbook": "look"}
        for key in ("drift/number/visits", "drift/number/age")
    ],
}

FAULTS: dict[str, Faults] = {
    "feature_profiles": {
        "a_histogram_counts_every_user_once": first_row("row_count = 11"),
    },
    "feature_statistics": {"a_baseline_is_known": first_row("baseline = 'yearly'")},
    "drift_reports": {
        "a_drift_verdict_is_known": first_row("verdict = 'odd'"),
        "a_p_value_is_a_probability": first_row("p_value = 2"),
        "nothing_that_matters_has_drifted": first_row("matters = true"),
    },
    "event_mix_drift": {
        "a_mix_verdict_is_known": first_row("verdict = 'odd'"),
        "people_behave_as_in_the_weeks_before": first_row("verdict = 'drift'"),
    },
    "performance_report": {
        "a_basis_is_known": first_row("basis = 'hoped'"),
        "scores_are_as_good_as_they_promised": first_row("verdict = 'degraded'"),
        "no_segment_s_scores_turned_out_much_worse": first_row("verdict = 'wide'"),
    },
    "score_backtest": {
        "a_rate_is_a_share": first_row("conversion_rate = 1.5"),
        "no_band_has_more_buyers_than_users": first_row("buyer_count = 11"),
        NEGATIVE: first_row("buyer_count = -1"),
    },
    "retrain_decision": {
        "a_training_is_called_for_with_a_reason": first_row("reasons = ''"),
    },
    "score_changes": {
        "the_parts_sum_to_the_change": first_row("new_behaviour = 4"),
        "nothing_is_left_unexplained": first_row("unexplained = 1, new_behaviour = 4"),
    },
    "alerts": {
        "a_severity_is_known": first_row("severity = 'LOUD'"),
        "no_alarm_of_the_night_is_an_error": first_row("severity = 'ERROR'"),
    },
}
