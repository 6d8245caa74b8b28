"""Every check of every contract, proven by a planted fault: one thing wrong in a good night, exactly that check fails.

Belongs here: the good night, a fault for each check, and the boundaries that a check draws. Does not belong here: what
follows from a failed check (`unit/warehouse/test_warehouse.py`, `test_the_gate_holds.py`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from gesture_assets.contracts.contract import PARTITION, Contract
from gesture_assets.records.opening import RECORDS
from gesture_assets.warehouse.audit import NOT_EVALUATED, Audit
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.session import Session
from gesture_assets.warehouse.warehouse import Warehouse
from gesture_assets.warehouse.window_audit import StagedWindow
from gesture_assets_tests.good_night import CONTRACTS, DAY, GOOD, NIGHT, NOON, good_table


@dataclass(frozen=True)
class Fault:
    """Statements that make one thing wrong, and the checks that cannot help noticing it as well."""

    sql: str
    companions: tuple[str, ...] = ()


TODAY = f"{PARTITION} as {PARTITION}"
YESTERDAY = f"{PARTITION} - 1 as {PARTITION}"
# Columns whose absence, or whose address, only the shared check sees.
LOST = {
    "raw_events": "source", "quarantined_events": "masked_row", "landing_reconciliation": "source",
    "identity_links": "user_id", "sessions": "is_spam", "daily_activity": "spam_session_count",
    "activity_to_date": "spam_session_count", "crm_snapshot": "content_hash", "validated_subscribers": "is_rebuilt",
    "quarantined_subscribers": "masked_row",
    "segment_conversion": "subscriber_share", "purchase_quantiles": "subscriber_count", "data_sufficiency": "is_met",
    "engagement_fences": "median", "engagement_outliers": "value",
    "user_features": "is_subscriber", "rule_sets": "content", "rule_scores": "explanation",
    "rule_contributions": "because", "top_users": "explanation",
    "model_scores": "feature_hash", "model_exclusions": "reason", "score_reasons": "reason_code",
    "feature_profiles": "kind", "feature_statistics": "day_count", "drift_reports": "sentence",
    "event_mix_drift": "sentence", "performance_report": "cohort_date", "score_backtest": "cohort_date",
    "retrain_decision": "because", "score_changes": "before", "alerts": "what",
    "intent_scores": "scale", "training_set": "random_split", "feature_screening": "because",
    "candidate_model": "because", "model_evaluation": "sample_count", "feature_importance": "reason_code",
}  # fmt: skip
LEAKED = LOST | {
    "sessions": "user_id", "daily_activity": "city", "activity_to_date": "city", "validated_subscribers": "email_key",
    "user_features": "city", "segment_conversion": "segment", "purchase_quantiles": "metric",
    "engagement_outliers": "user_id", "data_sufficiency": "criterion", "engagement_fences": "metric",
    "model_evaluation": "segment", "feature_statistics": "feature", "performance_report": "metric",
    "score_backtest": "band", "score_changes": "user_id",
}  # fmt: skip
ZERO_COUNTS = "0 as landed_count, 0 as accepted_count, 0 as duplicate_count, 0 as quarantined_count"
# A row of the day before that only its day gives away.
STRAYS = {
    "raw_events": f"{YESTERDAY}, event_at - interval 1 day as event_at, received_at - interval 1 day as received_at, "
    "'stray' || event_id as event_id",
    "landing_reconciliation": f"{YESTERDAY}, {ZERO_COUNTS}",
    "activity_to_date": f"{YESTERDAY}, 0 as page_view_count, 0 as event_count",
    "daily_activity": f"{YESTERDAY}, activity_date - 1 as activity_date, 0 as page_view_count, 0 as event_count",
    "validated_subscribers": f"{YESTERDAY}, optin_date - 1 as optin_date",
    "engagement_fences": f"{YESTERDAY}, 0 as outlier_count",
    "data_sufficiency": f"{YESTERDAY}, 'stray' || criterion as criterion",
    "user_features": f"{YESTERDAY}, last_event_at - interval 1 day as last_event_at",
    "training_set": f"{YESTERDAY}, 'left_out' as split, matures_on - 1 as matures_on",
    "feature_importance": f"{YESTERDAY}, 'another' as model_version",
}
# A second row of one key that nothing else gives away.
COPIES = {
    "activity_to_date": "0 as page_view_count, 0 as event_count",
    "landing_reconciliation": ZERO_COUNTS,
    "daily_activity": "0 as page_view_count, 0 as event_count",
    "validated_subscribers": "'another' as email_key",
    "rule_contributions": "0 as points",
    "segment_conversion": "0 as subscriber_count",
    "engagement_fences": "0 as outlier_count",
    "score_reasons": "0 as contribution",
    "feature_importance": "0 as gain, 0 as permutation, 0 as shap",
}
NEGATIVE = {
    "activity_to_date": "page_view_count = -1",
    "landing_reconciliation": "late_count = -1",
    "sessions": "event_count = -1",
    "daily_activity": "page_view_count = -1, search_count = 11",
    "crm_snapshot": "later_count = -1",
    "validated_subscribers": "tag_count = -1",
    "user_features": "repeat_session_count = -1",
    "rule_sets": "rule_count = -1",
    "segment_conversion": "buyer_count = -1",
    "purchase_quantiles": "subscriber_count = -1",
    "engagement_fences": "user_count = -1",
    "candidate_model": "test_samples = -1",
    "model_evaluation": "sample_count = -1",
    "feature_profiles": "missing_count = -1",
    "feature_statistics": "day_count = -1",
    "drift_reports": "n_current = -1",
    "event_mix_drift": "n_current = -1",
    "performance_report": "sample_count = -1",
    "score_backtest": "buyer_count = -1",
    "retrain_decision": "new_feedback_count = -1",
}
EVERYBODY = "every_user_is_scored_or_excluded_with_a_reason"
ACCOUNTED = "every_subscriber_is_accounted_for"
COMPANIONS = {
    ("landing_reconciliation", "every_day_has_rows"): ("accepted_and_quarantined_rows_are_where_they_should_be",),
    ("landing_reconciliation", "each_key_occurs_once"): ("row_count_is_near_its_usual_level",),  # one row more is twice
    ("daily_activity", "every_day_has_rows"): ("every_accepted_event_is_counted_once",),
    ("rule_scores", "every_day_has_rows"): ("every_user_with_features_has_a_score",),
    ("quarantined_subscribers", "every_row_belongs_to_a_requested_day"): (ACCOUNTED,),
    ("rule_scores", "every_row_belongs_to_a_requested_day"): (
        "every_user_with_features_has_a_score",
        "every_score_names_a_rule_set_version_that_is_kept",
    ),
    ("rule_sets", "each_key_occurs_once"): ("row_count_is_near_its_usual_level",),  # one row more is twice
    ("validated_subscribers", "each_key_occurs_once"): ("no_mailchimp_id_occurs_twice",),
    ("quarantined_subscribers", "each_key_occurs_once"): (
        ACCOUNTED,
        "at_most_1_percent_of_subscribers_are_set_aside",
    ),
    ("rule_scores", "each_key_occurs_once"): ("every_user_with_features_has_a_score",),
    ("top_users", "each_key_occurs_once"): ("ranks_follow_the_scores",),
    ("sessions", "no_count_is_negative"): ("every_session_has_an_event",),
    ("candidate_model", "each_key_occurs_once"): ("row_count_is_near_its_usual_level",),  # one row more is twice
    ("model_evaluation", "every_day_has_rows"): ("the_candidate_was_judged_on_the_test_part",),
    ("training_set", "every_day_has_rows"): ("every_part_holds_both_outcomes",),
    ("model_scores", "every_row_belongs_to_a_requested_day"): (EVERYBODY,),
    ("model_exclusions", "every_row_belongs_to_a_requested_day"): (),
    ("model_scores", "each_key_occurs_once"): (EVERYBODY,),
    ("intent_scores", "every_day_has_rows"): ("every_rule_score_has_its_intent_score",),
    ("intent_scores", "every_row_belongs_to_a_requested_day"): ("every_rule_score_has_its_intent_score",),
    ("intent_scores", "each_key_occurs_once"): ("every_rule_score_has_its_intent_score",),
    ("retrain_decision", "each_key_occurs_once"): ("row_count_is_near_its_usual_level",),  # one row more is twice
    ("engagement_fences", "no_text_holds_an_ip_or_email_address"): ("every_outlier_is_listed_and_counted",),
}


def shared_fault(contract: Contract, check: str) -> Fault | None:
    """The fault for a check that every table has."""
    name, last = contract.name, contract.column_names[-2:]
    sql = {
        "columns_are_as_contracted_and_in_order": f"create or replace table {name} as "
        f"select * exclude ({last[0]}), {last[0]} from {name}",
        "column_types_are_as_contracted": f"alter table {name} alter {PARTITION} type timestamp",
        "every_day_has_rows": f"delete from {name}",
        "every_row_belongs_to_a_requested_day": f"insert into {name} "
        f"select * replace ({STRAYS.get(name, YESTERDAY)}) from {name} limit 2",
        "no_required_value_is_missing": f"update {name} set {LOST[name]} = null where rowid = 0",
        "each_key_occurs_once": f"insert into {name} select * replace ({COPIES.get(name, TODAY)}) from {name} limit 1",
        "no_column_is_emptier_than_its_ceiling": f"update {name} set member_rating = null",
        "no_count_is_negative": f"update {name} set {NEGATIVE.get(name, '')} where rowid = 0",
        "no_text_holds_an_ip_or_email_address": f"update {name} set {LEAKED[name]} = 'ada@example.com' where rowid = 0",
        "row_count_is_near_its_usual_level": f"update warehouse.main.gate_ledger set row_count = 10 * row_count "
        f"where table_name = '{name}'",
    }.get(check)
    return Fault(sql, COMPANIONS.get((name, check), ())) if sql else None


def where_first(table: str, change: str, *companions: str) -> Fault:
    """A change of the first row of `table`."""
    return Fault(f"update {table} set {change} where rowid = 0", companions)


def other_columns(table: str) -> dict[str, Fault]:
    """The faults of a source that has not the columns of the day before."""

    def found(before: str, after: str) -> Fault:
        return where_first(table, f"found_columns = replace(found_columns, '{before}', '{after}')")

    return {
        "no_column_of_a_source_is_new": found("{", '{"shoe_size": null, '),
        "no_column_of_a_source_is_gone": found(', "mood": null', ""),
        "no_column_of_a_source_has_another_type": found("INTEGER", "DOUBLE"),
    }


MISSING = "no_required_value_is_missing"
TIES = "at_most_20_percent_share_a_probability"
# As many in the high band as in the low one, as usual, and known to user_features.
TWENTY_MORE = "; ".join(
    f"insert into {table} select * exclude (n) replace (user_id || n as user_id) from {table}, range(10) as t(n) "
    "where user_id in ('ada', 'bob')"
    for table in ("model_scores", "warehouse.main.user_features")
)
OWN: dict[str, dict[str, Fault]] = {
    "raw_events": {
        "every_event_has_a_known_type": where_first("raw_events", "event_type = 'teleport'"),
        "no_event_comes_from_the_future": where_first("raw_events", "event_at = received_at + interval 301 second"),
        "no_event_is_older_than_a_year": where_first("raw_events", "event_at = received_at - interval 366 day"),
        "every_event_is_filed_when_it_became_known": Fault(
            "update raw_events set received_at = received_at + interval 1 day where rowid = 0"
        ),
        "every_device_is_known": where_first("raw_events", "device = 'toaster'"),
        "every_country_is_an_iso_code": where_first("raw_events", "country = 'USA'"),
        "no_dwell_time_is_negative": where_first("raw_events", "dwell_seconds = -0.1"),
        "scroll_depths_lie_between_0_and_100": where_first("raw_events", "scroll_depth_pct = 100.1"),
        "bots_are_a_small_share": Fault("update raw_events set is_bot = true where landing_line < 5"),
        "late_events_are_few": Fault(
            "update raw_events set event_at = event_at - interval 1 day where landing_line < 3"
        ),
    },
    "quarantined_events": {"every_reason_is_known": where_first("quarantined_events", "reason = 'bad hair day'")},
    "landing_reconciliation": {
        "every_landed_row_is_accounted_for": where_first("landing_reconciliation", "landed_count = landed_count + 1"),
        "accepted_and_quarantined_rows_are_where_they_should_be": where_first(
            "landing_reconciliation", "accepted_count = accepted_count + 1, landed_count = landed_count + 1"
        ),
        "at_most_5_percent_of_rows_are_quarantined": Fault(
            "update landing_reconciliation set quarantined_count = 2, landed_count = 23; "
            "insert into quarantined_events select * replace (21 as landing_line) from quarantined_events"
        ),
        "no_file_brings_personal_columns": where_first("landing_reconciliation", "personal_columns = 'ip_address'"),
        "every_column_of_a_file_is_used": where_first("landing_reconciliation", "unused_columns = 'shoe_size'"),
        **other_columns("landing_reconciliation"),
    },
    "sessions": {
        "no_session_ends_before_it_starts": where_first("sessions", "ended_at = started_at - interval 1 second"),
        "every_session_has_an_event": where_first("sessions", "event_count = 0"),
        "every_session_is_filed_or_withdrawn": where_first("sessions", "filed = 0"),
    },
    "daily_activity": {
        "event_counts_add_up": Fault("update daily_activity set event_count = if(user_id = 'ada', 11, 9)"),
        "every_accepted_event_is_counted_once": where_first("daily_activity", "page_view_count = 11, event_count = 11"),
        "no_activity_is_dated_after_it_was_known": where_first("daily_activity", "activity_date = activity_date + 1"),
    },
    "activity_to_date": {
        "every_event_known_by_then_is_counted_once": where_first("activity_to_date", "event_count = 11"),
    },
    "crm_snapshot": {
        "crm_columns_are_the_documented_ones_in_order": Fault(
            "update crm_snapshot set column_names = 'tag,mailchimp_id' where crm_table = 'Tags'"
        ),
        "every_tag_has_a_subscriber": Fault("update crm_snapshot set unmatched_count = 1 where crm_table = 'Tags'"),
        "most_buyers_are_subscribers": Fault(
            "update crm_snapshot set unmatched_count = 1 where crm_table = 'Transactions'"
        ),
        **other_columns("crm_snapshot"),
        "crm_row_counts_are_in_their_ranges": where_first("crm_snapshot", "most_row_count = 4"),
        "crm_column_counts_are_as_expected": where_first("crm_snapshot", "expected_column_count = 7"),
        "every_product_id_is_in_its_range": where_first("crm_snapshot", "odd_product_count = 1"),
        "every_crm_date_begins_with_year_month_and_day": where_first("crm_snapshot", "odd_date_count = 1"),
    },
    "validated_subscribers": {
        "every_subscriber_has_an_id": where_first("validated_subscribers", "mailchimp_id = null", MISSING),
        "every_subscriber_has_an_email": where_first("validated_subscribers", "email_key = null", MISSING),
        "no_mailchimp_id_occurs_twice": where_first(
            "validated_subscribers", "mailchimp_id = 2", "each_key_occurs_once"
        ),
        "no_email_occurs_twice": where_first("validated_subscribers", "email_key = 'k2'"),
        "every_email_is_well_formed": where_first("validated_subscribers", "is_email_well_formed = false"),
        "member_rating_is_between_1_and_5": where_first("validated_subscribers", "member_rating = 6"),
        "every_country_is_an_iso_code": where_first("validated_subscribers", "country = 'USA'"),
        "no_country_is_called_uk": where_first("validated_subscribers", "country = 'UK'"),
        "most_countries_are_known": Fault("update validated_subscribers set country = null where mailchimp_id > 1"),
        "made_purchase_is_0_or_1": where_first("validated_subscribers", "made_purchase = 2"),
        "conversion_rate_is_between_1_and_50_percent": Fault("update validated_subscribers set made_purchase = 0"),
        "nobody_opts_in_after_the_day": where_first("validated_subscribers", "optin_date = optin_date + 1"),
        "no_email_domain_jumps": where_first("validated_subscribers", "email_domain = 'b.example'"),
    },
    "quarantined_subscribers": {
        "every_reason_is_known": where_first("quarantined_subscribers", "reason = 'bad hair day'"),
        ACCOUNTED: Fault("delete from quarantined_subscribers"),
        "at_most_1_percent_of_subscribers_are_set_aside": Fault(
            "insert into quarantined_subscribers select * replace (6 as mailchimp_id) from quarantined_subscribers; "
            "update crm_snapshot set row_count = 6"
        ),
    },
    "user_features": {
        "every_share_lies_between_0_and_1": where_first("user_features", "bounce_rate = 1.1"),
        "no_window_counts_more_than_a_longer_one": where_first("user_features", "event_count_1d = 1"),
        "nothing_is_known_before_it_happened": where_first(
            "user_features", f"last_event_at = {PARTITION} + interval 1 day"
        ),
        "member_rating_is_between_1_and_5": where_first("user_features", "member_rating = 6"),
        "scores_use_last_evening_s_activity": Fault(
            "update user_features set last_event_at = last_event_at - interval 1 day"
        ),
    },
    "segment_conversion": {
        "every_subscriber_is_in_one_segment_of_each_dimension": where_first(
            "segment_conversion", "subscriber_count = 3"
        ),
        "cumulative_shares_end_at_1": Fault("update segment_conversion set cumulative_buyer_share = 0.99"),
        "every_conversion_rate_is_a_share": where_first("segment_conversion", "conversion_rate = 1.1"),
    },
    "purchase_quantiles": {"quantiles_rise": where_first("purchase_quantiles", "value = 6")},
    "data_sufficiency": {
        "every_criterion_is_judged_by_its_numbers": Fault(
            "update data_sufficiency set is_met = false where criterion = 'verdict'"
        ),
        "the_verdict_counts_the_criteria": Fault(
            "update data_sufficiency set found = found + 1 where criterion = 'verdict'"
        ),
        "there_is_enough_data_to_learn_from": Fault(
            "update data_sufficiency set found = 999, is_met = false where criterion = 'subscribers'; "
            "update data_sufficiency set found = found - 1, is_met = false where criterion = 'verdict'"
        ),
    },
    "engagement_fences": {
        "quartiles_and_fences_are_in_order": where_first("engagement_fences", "median = 4"),
        "every_outlier_is_listed_and_counted": where_first("engagement_fences", "outlier_count = 2"),
        "at_most_5_percent_of_active_users_are_outliers": where_first("engagement_fences", "outlier_share = 0.06"),
    },
    "engagement_outliers": {
        "every_outlier_lies_beyond_a_fence": where_first("engagement_outliers", "value = 6"),
    },
    "rule_scores": {
        "only_suppressed_users_have_no_score": where_first("rule_scores", "score = null"),
        "no_score_leaves_1_to_100": where_first(
            "rule_scores", "score = 101, points = 101", "every_score_is_its_points_within_1_to_100"
        ),
        "every_score_has_a_band": where_first("rule_scores", "band = null", MISSING),
        "every_score_is_its_points_within_1_to_100": where_first("rule_scores", "points = 61"),
        "every_score_names_a_rule_set_version_that_is_kept": where_first("rule_scores", "rule_set_version = 'rother'"),
        "every_user_with_features_has_a_score": Fault("delete from rule_scores where user_id = 'cyd'"),
        "scores_are_not_all_alike": Fault("update rule_scores set score = 40, points = 40"),
    },
    "rule_contributions": {
        "contributions_sum_to_the_points": where_first("rule_contributions", "points = points + 1"),
        "every_score_has_its_contributions": Fault("delete from rule_contributions where user_id = 'ada'"),
        "contributions_and_scores_come_from_one_rule_set": where_first(
            "rule_contributions", "rule_set_version = 'old'"
        ),
    },
    "feature_profiles": {
        "a_histogram_counts_every_user_once": where_first("feature_profiles", "row_count = 11"),
    },
    "feature_statistics": {"a_baseline_is_known": where_first("feature_statistics", "baseline = 'yearly'")},
    "drift_reports": {
        "a_drift_verdict_is_known": where_first("drift_reports", "verdict = 'odd'"),
        "a_p_value_is_a_probability": where_first("drift_reports", "p_value = 2"),
        "nothing_that_matters_has_drifted": where_first("drift_reports", "verdict = 'moderate'"),
    },
    "event_mix_drift": {
        "a_mix_verdict_is_known": where_first("event_mix_drift", "verdict = 'odd'"),
        "people_behave_as_in_the_weeks_before": where_first("event_mix_drift", "verdict = 'drift'"),
    },
    "performance_report": {
        "a_basis_is_known": where_first("performance_report", "basis = 'hoped'"),
        "scores_are_as_good_as_they_promised": where_first("performance_report", "verdict = 'degraded'"),
        "no_segment_s_scores_turned_out_much_worse": where_first("performance_report", "verdict = 'wide'"),
    },
    "score_backtest": {
        "a_rate_is_a_share": where_first("score_backtest", "conversion_rate = 1.5"),
        "no_band_has_more_buyers_than_users": where_first("score_backtest", "buyer_count = 11"),
    },
    "retrain_decision": {
        "a_training_is_called_for_with_a_reason": where_first("retrain_decision", "reasons = ''"),
    },
    "alerts": {
        "a_severity_is_known": where_first("alerts", "severity = 'LOUD'"),
        "no_alarm_of_the_night_is_an_error": where_first("alerts", "severity = 'ERROR'"),
    },
    "score_changes": {
        "the_parts_sum_to_the_change": where_first("score_changes", "new_behaviour = 4"),
        "nothing_is_left_unexplained": where_first("score_changes", "unexplained = 1, new_behaviour = 4"),
    },
    "top_users": {
        "ranks_follow_the_scores": Fault("update top_users set score = 61 where rank = 2"),
        "nobody_scores_higher_than_the_list": Fault(
            "delete from top_users where rank = 1; update top_users set rank = rank - 1"
        ),
    },
    "model_scores": {
        "every_probability_lies_between_0_and_1": where_first("model_scores", "probability = 1, score = 100"),
        "a_model_score_is_its_probability_on_1_to_100": where_first("model_scores", "score = 91"),
        "a_percentile_is_a_share": where_first("model_scores", "percentile = 1.1"),
        "a_confidence_is_a_share": where_first("model_scores", "confidence = 1.1"),
        EVERYBODY: Fault("delete from model_exclusions"),
        "one_model_scores_a_day": where_first("model_scores", "model_version = 'v20260101_020000_00000000'"),
        "a_scope_is_global_or_a_segment_of_the_user": where_first(
            "model_scores", "model_scope = 'primary_device=toaster'"
        ),
        "the_model_tells_users_apart": Fault(
            f"{TWENTY_MORE}; update model_scores set probability = 0.1, score = 11",
            (TIES, "band_shares_are_near_their_usual_level"),
        ),
        TIES: Fault(TWENTY_MORE),
        "band_shares_are_near_their_usual_level": Fault(
            f"{TWENTY_MORE}; update model_scores set probability = 0.1 + rowid / 1e5, score = 11"
        ),
    },
    "model_exclusions": {
        "nobody_is_both_scored_and_excluded": where_first("model_exclusions", "user_id = 'ada'"),
    },
    "score_reasons": {
        "reasons_sum_to_the_margin": where_first("score_reasons", "contribution = contribution + 0.001"),
        "every_model_score_has_its_reasons": Fault("delete from score_reasons where user_id = 'ada'"),
    },
    "intent_scores": {
        "a_source_is_known": where_first("intent_scores", "source = 'dice', score = null"),
        "every_rule_score_has_its_intent_score": Fault("delete from intent_scores where user_id = 'cyd'"),
        "an_intent_score_is_that_of_its_source": where_first("intent_scores", "score = score + 1"),
        "the_model_serves": Fault("update intent_scores set source = 'rules_fallback', score = rule_score"),
    },
    "training_set": {
        "every_outcome_is_known": Fault(f"update training_set set matures_on = {PARTITION} + 1 where split = 'test'"),
        "a_label_is_0_or_1": Fault("update training_set set label = 3 where split = 'test' and label = 1"),
        "tests_lie_after_training": Fault(
            "update training_set set feature_date = feature_date + 42 where split = 'train'"
        ),
        "nobody_is_in_two_parts": where_first("training_set", "person_id = 'cyd0'"),
        "every_part_holds_both_outcomes": Fault("update training_set set label = 0 where split = 'test'"),
        "feature_days_are_far_enough_apart": Fault(
            "update training_set set feature_date = feature_date + 1 where split = 'train'"
        ),
    },
    "feature_screening": {
        "a_verdict_is_known": where_first("feature_screening", "verdict = 'odd'"),
        "no_feature_knows_the_outcome": where_first("feature_screening", "verdict = 'leak', auc = 1"),
        "no_feature_is_suspected_of_knowing_the_outcome": where_first("feature_screening", "verdict = 'suspect'"),
    },
    "candidate_model": {
        "a_version_says_when_it_was_trained": where_first("candidate_model", "model_version = 'v2'"),
        "a_base_rate_is_a_share": where_first("candidate_model", "base_rate = 1"),
        "a_candidate_is_promoted_or_not": where_first("candidate_model", "decision = 'perhaps'"),
    },
    "model_evaluation": {
        "figures_lie_within_their_intervals": where_first("model_evaluation", "low = 0.96"),
        "the_candidate_was_judged_on_the_test_part": Fault("delete from model_evaluation where part = 'test'"),
        "the_candidate_reaches_its_targets": where_first("model_evaluation", "is_met = false"),
        "no_segment_is_served_much_worse": Fault(
            "update model_evaluation set is_met = false, target = null where part = 'behaviour'"
        ),
    },
    "feature_importance": {
        "importances_sum_to_1": where_first("feature_importance", "gain = 0.6"),
        "every_feature_has_a_name": where_first("feature_importance", "feature_name = null", MISSING),
    },
}

FAULTS = {
    (name, check.name): fault
    for name, contract in CONTRACTS.items()
    for check in contract.checks
    if (fault := OWN.get(name, {}).get(check.name) or shared_fault(contract, check.name))
}


class GoodNight:
    """A staged night that satisfies every check, with the live tables and the ledger that its checks look at."""

    def __init__(self, session: Session) -> None:
        self.session, self.con = session, session.connection
        self.con.execute("create schema memory.good")
        for name, contract in CONTRACTS.items():
            good_table(session, name, f"memory.good.{name}")
            session.ensure(contract)
        provenance = "now()::timestamp as recorded_at, 'r' as run_id, false as is_backfill"
        for name, replaced in (
            ("raw_events", TODAY),
            ("daily_activity", TODAY),
            ("user_features", TODAY),
            ("rule_scores", TODAY),
            ("validated_subscribers", YESTERDAY),
            ("validated_subscribers", TODAY),
            ("landing_reconciliation", YESTERDAY),
            ("crm_snapshot", YESTERDAY),
            *(("model_scores", f"{PARTITION} - {before} as {PARTITION}") for before in range(1, 8)),
        ):
            self.con.execute(
                f"insert into warehouse.main.{name} by name "
                f"select * replace ({replaced}), {provenance} from memory.good.{name}"
            )
        for name, rows in GOOD.items():
            for before in (1, 2, 3):
                self.con.execute(
                    "insert into warehouse.main.gate_ledger "
                    "values (?, ?, 1, 'PASS', ?, 'h', '{}', '[]', null, 'r', false, ?, null)",
                    [name, DAY - timedelta(days=before), len(rows), NOON],
                )
        self.con.execute("create table memory.good.gate_ledger as from warehouse.main.gate_ledger")
        self.con.execute("use scratch.stage")
        self.restore(*CONTRACTS)

    def restore(self, *names: str) -> None:
        for name in names:
            self.con.execute(f"create or replace table scratch.stage.{name} as from memory.good.{name}")
            self.con.execute(f"create or replace view scratch.audit.{name} as select * from scratch.stage.{name}")
        self.con.execute("delete from warehouse.main.user_features where length(user_id) > 3")
        self.con.execute("delete from warehouse.main.gate_ledger")
        self.con.execute("insert into warehouse.main.gate_ledger from memory.good.gate_ledger")

    def audit(self, name: str, fault: str = "") -> Audit:
        """The audit of one table after `fault`."""
        try:
            if fault:
                self.con.execute(fault)
            return StagedWindow(self.session.connection, [CONTRACTS[name]], [DAY]).audit([DAY])[name]
        finally:
            self.restore(*(table for table in CONTRACTS if table == name or table in fault))


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoodNight]:
    path = tmp_path_factory.mktemp("proof") / "warehouse.duckdb"
    with Warehouse(path, 10, create=RECORDS).open(RunInfo("run-0001", NIGHT, (DAY,), "a_proof")) as session:
        yield GoodNight(session)


def failed(audit: Audit) -> set[str]:
    return {outcome.name for outcome in audit.outcomes if not outcome.passed and outcome.observed != NOT_EVALUATED}


def test_there_is_a_fault_for_every_check_and_for_nothing_else() -> None:
    checks = {(name, check.name) for name, contract in CONTRACTS.items() for check in contract.checks}
    assert set(FAULTS) == checks
    assert {(name, check) for name, faults in OWN.items() for check in faults} <= checks


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_good_night_passes_every_check(night: GoodNight, name: str) -> None:
    audit = night.audit(name)
    assert failed(audit) == set()
    assert [outcome.name for outcome in audit.outcomes] == [check.name for check in CONTRACTS[name].checks]


# At each commit: a table's own checks, and what all tables share on three of them. `make test`: everything on each.
SHOWN = ("raw_events", "user_features", "rule_scores")
FAST = {(name, check.name) for name, contract in CONTRACTS.items() for check in contract.expectations} | {
    (name, check) for name, check in FAULTS if name in SHOWN
}


@pytest.mark.parametrize(
    ("name", "check"),
    [pytest.param(*fault, id="-".join(fault), marks=() if fault in FAST else pytest.mark.slow) for fault in FAULTS],
)
def test_a_planted_fault_is_caught_by_its_check_and_by_no_other(night: GoodNight, name: str, check: str) -> None:
    fault = FAULTS[name, check]
    audit = night.audit(name, fault.sql)
    assert failed(audit) == {check, *fault.companions}
    structural = {one.name for one in CONTRACTS[name].structure}
    assert audit.is_structured == (check not in structural)
    caught = next(outcome for outcome in audit.outcomes if outcome.name == check)
    assert audit.passed == (not caught.blocks)
    assert caught.recovery
    assert caught.observed


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_required_column_is_missed_when_it_is_null(night: GoodNight, name: str) -> None:
    contract = CONTRACTS[name]
    check = next(one for one in contract.checks if one.name == MISSING)
    required = [column.name for column in contract.columns if not column.nullable]
    # One row for each required column, in which that column alone is null.
    nulls = ", ".join(f"if(n = {place}, null, {column}) as {column}" for place, column in enumerate(required))
    batch = f"(select {nulls} from (from memory.good.{name} limit 1), range({len(required)}) as t(n))"
    sql = check.arguments["unexpected_rows_query"].replace("{batch}", batch)
    assert night.con.execute(sql).fetchall() == [(1,) * len(required)]


VALIDATED, RATING = "validated_subscribers", "member_rating_is_between_1_and_5"
CONVERSION = "conversion_rate_is_between_1_and_50_percent"
ADDRESS, COLUMNS = "no_text_holds_an_ip_or_email_address", "columns_are_as_contracted_and_in_order"
TYPES = "column_types_are_as_contracted"


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        (VALIDATED, "alter mailchimp_id type double", {TYPES}),
        (VALIDATED, "alter email_domain type varchar[] using [email_domain]", {TYPES}),
        (VALIDATED, "add column shoe_size integer", {COLUMNS}),
        (VALIDATED, "drop column country", {COLUMNS}),
        (VALIDATED, "rename country to land", {COLUMNS}),
        ("raw_events", "alter landing_line type double", {TYPES}),
        ("top_users", "alter mailchimp_id type double", {TYPES}),
    ],
)
def test_another_structure_is_refused_and_nothing_else_is_judged(
    night: GoodNight, name: str, change: str, expected: set[str]
) -> None:
    audit = night.audit(name, f"alter table {name} {change}")
    assert failed(audit) == expected
    assert not audit.is_structured
    judged = [outcome.name for outcome in audit.outcomes if outcome.observed != NOT_EVALUATED]
    assert judged == [check.name for check in CONTRACTS[name].structure]


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        (VALIDATED, "member_rating = 0 where rowid = 0", {RATING}),
        (VALIDATED, "member_rating = 1 + rowid", set()),
        (VALIDATED, "member_rating = 5", set()),
        (VALIDATED, "member_rating = null", {"no_column_is_emptier_than_its_ceiling"}),
        (VALIDATED, "optin_date = null", {"no_column_is_emptier_than_its_ceiling"}),
        (VALIDATED, "member_rating = null, optin_date = null where rowid % 2 = 0", set()),
        (VALIDATED, "country = 'gb' where rowid = 0", {"every_country_is_an_iso_code"}),
        (VALIDATED, "country = null where rowid < 2", set()),
        (VALIDATED, "tag_count = null", set()),
        ("raw_events", "event_at = received_at + interval 5 minute where rowid = 0", set()),
        ("raw_events", "event_at = received_at - interval 365 day where rowid = 0", set()),
        ("raw_events", "is_bot = true where rowid < 4", set()),
        ("raw_events", "event_at = event_at - interval 1 day where rowid < 2", set()),
        ("raw_events", "city = '203.0.113.7' where rowid = 0", {ADDRESS}),
        ("raw_events", "city = 'from 2001:db8:0:1:1:1:1:1 today' where rowid = 0", {ADDRESS}),
        ("raw_events", "city = 'v1.2.3 at 10:05:33' where rowid = 0", set()),
        ("crm_snapshot", "least_row_count = 5, most_row_count = 5", set()),
        ("crm_snapshot", "least_row_count = null, most_row_count = null, expected_column_count = null", set()),
        ("crm_snapshot", "column_names = column_names || ',tagged_at' where crm_table = 'Tags'", set()),
        (
            "crm_snapshot",
            "column_names = column_names || ',shoe_size' where crm_table = 'Tags'",
            {"crm_column_counts_are_as_expected"},
        ),
        (
            "rule_scores",
            "points = 0.5, score = 0.5 where rowid = 0",
            {"no_score_leaves_1_to_100", "every_score_is_its_points_within_1_to_100"},
        ),
        ("rule_scores", "points = 180, score = 100 where rowid = 0", set()),
        ("rule_scores", "points = -3, score = 1 where rowid = 0", set()),
        ("rule_scores", "score = null, suppression_reason = 'competitor' where rowid = 0", set()),
        ("rule_scores", "suppression_reason = 'competitor' where rowid = 0", {"only_suppressed_users_have_no_score"}),
    ],
)
def test_the_boundary_of_a_check_is_where_the_contract_says(
    night: GoodNight, name: str, change: str, expected: set[str]
) -> None:
    assert failed(night.audit(name, f"update {name} set {change}")) == expected


def test_a_day_without_quarantine_passes(night: GoodNight) -> None:
    assert failed(night.audit("quarantined_events", "delete from quarantined_events")) == set()


@pytest.mark.parametrize(("buyers", "expected"), [(9, {CONVERSION}), (10, set()), (500, set()), (501, {CONVERSION})])
def test_conversion_passes_from_1_to_50_percent(night: GoodNight, buyers: int, expected: set[str]) -> None:
    fault = f"""update warehouse.main.gate_ledger set row_count = 1000 where table_name = '{VALIDATED}';
        insert into {VALIDATED} select * exclude (n) replace (n as mailchimp_id, 'k' || n as email_key)
        from (from {VALIDATED} limit 1), range(5, 1001) as t(n);
        update {VALIDATED} set made_purchase = if(mailchimp_id <= {buyers}, 1, 0)"""
    assert failed(night.audit(VALIDATED, fault)) == expected
