"""The severity policy: which checks only report.

Belongs here: the names of the checks that WARN, each with the reason it must not stop a night. Every check that is not
named here is an ERROR and blocks; the setting `blocking_checks` makes some of them block as well, and no setting the
other way round. Does not belong here: what a check looks at (`contracts/`).
"""

from collections.abc import Collection
from enum import StrEnum


class Severity(StrEnum):
    """ERROR keeps a partition from going live; WARN is reported and lets it through."""

    ERROR = "ERROR"
    WARN = "WARN"


WARN_ONLY = {
    "row_count_is_near_its_usual_level": "a holiday or a campaign moves volumes honestly",
    "late_events_are_few": "late events are handled; a rise says that a sender is slow",
    "every_filled_number_and_flag_is_read": "what cannot be read is a missing value; too many of them stop the day",
    "no_file_brings_personal_columns": "the columns were dropped on the way in, nothing leaked; the sender should know",
    "no_value_says_who_somebody_is": "the values were hidden on the way in, nothing leaked; the sender should know",
    "every_column_of_a_file_is_used": "an unused column loses nothing that a score needs",
    "no_column_of_a_source_is_new": "a new column loses nothing; somebody should see whether it matters",
    "no_column_of_a_source_is_gone": "what a file must have stops it anyway; the rest is a missing value",
    "no_column_of_a_source_has_another_type": "values that cannot be read any more are counted by other checks",
    "lists_are_personal": "lists of few categories are much alike, and better than none",
    "no_interaction_precedes_its_ping": "it was watched all the same; a catalogue or a clock should be mended",
    "no_interaction_precedes_the_sign_up": "it was watched all the same; a list of users or a clock should be mended",
    "bots_are_a_small_share": "flagged events are already kept out of features",
    "most_countries_are_known": "an unknown country is a missing value, which every score tolerates",
    "purchases_neither_vanish_nor_double": "a sale, or orders of years that are brought in at once, are legitimate",
    "no_email_domain_jumps": "a campaign at one provider is legitimate, a spoofed list is not: somebody should look",
    "every_tag_has_a_subscriber": "an orphan tag is left out, and no subscriber's score changes by it",
    "crm_row_counts_are_in_their_ranges": "the ranges are document 003's; a small shop is no error",
    "crm_column_counts_are_as_expected": "a further column loses nothing, and a missing one stops the night anyway",
    "every_product_id_is_in_its_range": "no score looks at products yet, and a catalogue may grow",
    "every_crm_date_begins_with_year_month_and_day": "a date that cannot be read is a missing value",
    "every_filled_value_of_the_crm_is_read": "what cannot be read is a missing value; too many of them stop the day",
    "every_row_of_the_crm_fits_its_header": "broken rows are set aside, nothing of them is read; too many stop the day",
    "every_amount_is_in_one_currency": "amounts of other currencies are left out of revenue, which no score looks at",
    "most_buyers_are_subscribers": "buyers outside the mailing list are ordinary in some companies",
    "no_feature_is_suspected_of_knowing_the_outcome": "somebody should see when the feature becomes known",
    "the_candidate_reaches_its_targets": "targets of document 002 depend on the base rate; a better model still serves",
    "no_segment_is_served_much_worse": "the segment is served no better by no model; somebody should look",
    "at_most_20_percent_share_a_probability": "calibration is flat where the validation part tells no difference",
    "band_shares_are_near_their_usual_level": "a campaign or a better model moves bands honestly",
    "the_model_serves": "the rules serve until there is a model, and say so",
    "at_most_5_percent_of_active_users_are_outliers": "some metrics have a long tail, and nobody is left out",
    "there_is_enough_data_to_learn_from": "rules need no training, and a young company has little to learn from",
    "scores_are_not_all_alike": "a young world has little to tell users apart by",
    "nothing_that_matters_has_drifted": "drifted inputs are still inputs; a model is retrained, a night is not stopped",
    "people_behave_as_in_the_weeks_before": "what people do is data, not a defect; somebody should know",
    "scores_are_as_good_as_they_promised": "the scores of tonight are the best there are until a training",
    "no_segment_s_scores_turned_out_much_worse": "the segment is served no better by no score",
    "no_alarm_of_the_night_is_an_error": "an alarm asks for somebody, and the rest of the night is good",
    "nothing_is_left_unexplained": "a day that was restated explains itself in restatements",
    "scores_use_last_evening_s_activity": "a quiet evening is possible; a stopped sender looks the same",
}


def severity_of(check: str, blocking: Collection[str] = ()) -> Severity:
    """ERROR unless the list says otherwise; those of the list that are in `blocking` are ERROR as well."""
    return Severity.WARN if check in WARN_ONLY and check not in blocking else Severity.ERROR
