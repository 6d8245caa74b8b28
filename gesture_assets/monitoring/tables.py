"""Contracts of monitoring: what moved, how good the scores turned out to be, what somebody should do about it.

Belongs here: the tables that a night fills about itself. Does not belong here: how drift is measured and judged
(`monitoring/`), the log of alerts (`records/alert_log.py`).
"""

from gesture_assets.contracts.contract import PARTITION as DAY
from gesture_assets.contracts.contract import Column, Contract, between, no_rows, one_of
from gesture_assets.contracts.shared import AS_OF, SCORING, USER

GROUP = "monitoring"
OUTCOMES = ("daily_activity", "identity_links", "validated_subscribers")
SCORED = ("user_features", "rule_scores", "model_scores", *OUTCOMES)
VERDICTS = ("drift", "moderate", "stable", "too_few_rows")
SEGMENT = Column("segment", "VARCHAR", "all, or a column and its value.")
INTERVAL = (
    Column("low", "DOUBLE", "Lower end of its 95 % interval.", True),
    Column("high", "DOUBLE", "Upper end of its 95 % interval.", True),
)
SAMPLES = (
    Column("n_reference", "BIGINT", "Rows of the reference.", unit="count"),
    Column("n_current", "BIGINT", "Rows of the day.", unit="count"),
)
JUDGED = (
    Column("effect", "DOUBLE", "How far it moved, in multiples of what matters.", True),
    Column("verdict", "VARCHAR", "drift, moderate, stable or too_few_rows."),
    Column("sentence", "VARCHAR", "The row in words."),
)

FEATURE_PROFILES = Contract(
    name="feature_profiles",
    grain="One row per feature of the champion and day: how its values are spread.",
    description="A histogram over bins that are frozen with the champion's training, so that drift over months needs "
    "no rows of users. Empty while there is no champion.",
    group=GROUP,
    owner=SCORING,
    upstream=(
        "raw_events",
        "user_features",
        "rule_scores",
        "model_scores",
        "daily_activity",
        "identity_links",
        "validated_subscribers",
    ),
    key=("feature",),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column("feature", "VARCHAR", "Feature, or probability for the score."),
        Column("kind", "VARCHAR", "number, category or score."),
        Column("row_count", "BIGINT", "Users.", unit="count"),
        Column("missing_count", "BIGINT", "Of them, without a value.", unit="count"),
        Column("distinct_count", "BIGINT", "Different values.", unit="count"),
        Column("mean", "DOUBLE", "Mean; null of categories, as the next four.", True),
        Column("standard_deviation", "DOUBLE", "Of the population.", True),
        Column("minimum", "DOUBLE", "Smallest value.", True),
        Column("median", "DOUBLE", "Middle value.", True),
        Column("maximum", "DOUBLE", "Largest value.", True),
        Column("edges", "DOUBLE[]", "Upper ends of the bins, themselves included; the last bin is open.", True),
        Column("categories", "VARCHAR[]", "Values with a bin of their own; null of numbers.", True),
        Column("bin_counts", "BIGINT[]", "Users by bin: one per edge or category, one for others, one for missing."),
        Column("model_version", "VARCHAR", "Champion whose training the bins come from."),
    ),
    expectations=(
        no_rows(
            "a_histogram_counts_every_user_once",
            f"select {DAY}, feature, row_count, list_sum(bin_counts) as binned from {{batch}} "
            "where list_sum(bin_counts) <> row_count",
            recovery="this is a defect of monitoring/profiles.py",
        ),
    ),
)

FEATURE_STATISTICS = Contract(
    name="feature_statistics",
    grain="One row per feature, day and baseline: the day against the days before it.",
    description="Worked out from feature_profiles alone.",
    group=GROUP,
    owner=SCORING,
    upstream=(
        "raw_events",
        "user_features",
        "rule_scores",
        "model_scores",
        "daily_activity",
        "identity_links",
        "validated_subscribers",
    ),
    key=("feature", "baseline"),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column("feature", "VARCHAR", "Feature, or probability for the score."),
        Column("baseline", "VARCHAR", "daily (1 day before), weekly (7), biweekly (14), monthly (30), quarterly (90)."),
        Column("day_count", "BIGINT", "Days of the baseline that have a profile.", unit="count"),
        Column("row_count", "BIGINT", "Users of the day.", unit="count"),
        Column("baseline_row_count", "BIGINT", "Users of the baseline's days.", True, "count"),
        Column("mean", "DOUBLE", "Mean of the day.", True),
        Column("baseline_mean", "DOUBLE", "Mean of the baseline.", True),
        Column("mean_shift_sd", "DOUBLE", "Their difference in standard deviations of the baseline.", True),
        Column("missing_share", "DOUBLE", "Share without a value.", True, "share"),
        Column("baseline_missing_share", "DOUBLE", "The same of the baseline.", True, "share"),
        Column("missing_shift", "DOUBLE", "Their difference.", True),
        Column("psi", "DOUBLE", "Population stability index, over days with the same bins.", True, "nats"),
        Column("ks_at_least", "DOUBLE", "Kolmogorov–Smirnov statistic at the bins' edges: the true one or less.", True),
    ),
    expectations=(
        one_of(
            "a_baseline_is_known",
            "baseline",
            ("daily", "weekly", "biweekly", "monthly", "quarterly"),
            recovery="this is a defect of monitoring/profiles.py",
        ),
    ),
)

DRIFT_REPORTS = Contract(
    name="drift_reports",
    grain="One row per feature, score and outcome of the champion and day: whether it moved since the training.",
    description="Against everybody whom the champion could have scored in the week up to its training. A verdict needs "
    "200 rows on both sides, a difference beyond chance over all rows of the night (Benjamini–Hochberg) and one that "
    "matters. Ranked by what it does to the mean score; what the champion does not go by is last. Empty while there "
    "is no champion.",
    group=GROUP,
    owner=SCORING,
    upstream=(
        "raw_events",
        "user_features",
        "rule_scores",
        "model_scores",
        "daily_activity",
        "identity_links",
        "validated_subscribers",
    ),
    key=("feature", "kind"),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column(
            "rank",
            "BIGINT",
            "Place by what it does to the scores, from 1.",
            unit="place",
        ),
        Column("feature", "VARCHAR", "Feature; probability (the score), label (who bought)."),
        Column("kind", "VARCHAR", "number, category, score, label or calibration."),
        *SAMPLES,
        Column("missing_reference", "DOUBLE", "Share without a value then.", True, "share"),
        Column("missing_current", "DOUBLE", "Share without a value now.", True, "share"),
        Column("mean_reference", "DOUBLE", "Mean then; rate of a label; observed by expected of calibration.", True),
        Column("mean_current", "DOUBLE", "The same now.", True),
        Column("statistic", "DOUBLE", "Kolmogorov–Smirnov of numbers, χ² of categories, z of outcomes.", True),
        Column("p_value", "DOUBLE", "Chance of a difference as large in data that did not move.", True),
        Column("missing_p_value", "DOUBLE", "The same of the missing share; null where nothing is missing.", True),
        Column("q_value", "DOUBLE", "The smaller p-value, for as many tests as the night makes.", True),
        Column("psi", "DOUBLE", "Population stability index over the frozen bins.", True, "nats"),
        Column("jensen_shannon", "DOUBLE", "Jensen–Shannon distance over the same.", True),
        Column("wasserstein", "DOUBLE", "Wasserstein's distance in the feature's unit; null of categories.", True),
        Column("wasserstein_sd", "DOUBLE", "The same in standard deviations, extreme values moved in.", True),
        Column("new_category_share", "DOUBLE", "Share in categories that training did not know.", True, "share"),
        Column("new_categories", "VARCHAR", "The most frequent of them.", True),
        Column("missing_effect", "DOUBLE", "How far the missing share moved, in multiples of what matters.", True),
        *JUDGED,
        Column("importance", "DOUBLE", "The feature's share of what the model goes by; 1 of scores and outcomes."),
        Column("impact", "DOUBLE", "Importance times the greater effect."),
        Column("score_shift", "DOUBLE", "What the move adds to the mean score; null where none.", True, "points"),
        Column(
            "score_moves", "DOUBLE", "What a score moves by for it on average, up or down; likewise.", True, "points"
        ),
        Column("band_moves", "DOUBLE", "Share of people in another band for it; null likewise.", True, "share"),
        Column("matters", "BOOLEAN", "It moved, and is a result or moves scores: somebody is told."),
        Column("model_version", "VARCHAR", "Champion whose training it is held against."),
    ),
    expectations=(
        one_of("a_drift_verdict_is_known", "verdict", VERDICTS, recovery="this is a defect of monitoring/drift.py"),
        between("a_p_value_is_a_probability", "p_value", 0, 1, recovery="a defect of monitoring/statistics.py"),
        no_rows(
            "nothing_that_matters_has_drifted",
            f"select {DAY}, feature, kind, sentence from {{batch}} where matters order by rank",
            recovery="look at drift_reports and the page of the night:  gesture report night",
        ),
    ),
)

EVENT_MIX_DRIFT = Contract(
    name="event_mix_drift",
    grain="One row per day, segment and thing watched: what people do this week against the four weeks before.",
    description="Event types, steps from one to the next, new visitors, the mix and the volume; by visitor-day, so "
    "that bursts of one user count once.",
    group=GROUP,
    owner=SCORING,
    upstream=(
        "raw_events",
        "user_features",
        "rule_scores",
        "model_scores",
        "daily_activity",
        "identity_links",
        "validated_subscribers",
    ),
    key=("segment", "kind", "name"),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column("segment", "VARCHAR", "Device; all for everybody."),
        Column("kind", "VARCHAR", "type, step, new_visitors, mix or volume."),
        Column("name", "VARCHAR", "Event in the source's words, a step from one to the next, or the kind."),
        *SAMPLES,
        Column("rate_reference", "DOUBLE", "Share of visitor-days with it then; of volume events a day.", True),
        Column("rate_current", "DOUBLE", "The same this week.", True),
        Column("is_new", "BOOLEAN", "An event that the reference does not have."),
        Column("is_vanished", "BOOLEAN", "One that this week does not have."),
        Column("design_effect", "DOUBLE", "How often an independent observation was counted, at least 1.", True),
        Column("p_value", "DOUBLE", "Chance of a difference as large where nothing moved.", True),
        Column("q_value", "DOUBLE", "The same, for as many tests as the night makes.", True),
        Column("psi", "DOUBLE", "Population stability index; null of volume.", True, "nats"),
        Column("jensen_shannon", "DOUBLE", "Jensen–Shannon distance; null of volume.", True),
        *JUDGED,
    ),
    expectations=(
        one_of("a_mix_verdict_is_known", "verdict", VERDICTS, recovery="a defect of monitoring/event_mix.py"),
        no_rows(
            "people_behave_as_in_the_weeks_before",
            f"select {DAY}, segment, kind, name, sentence from {{batch}} where verdict in ('drift', 'moderate')",
            recovery="look at event_mix_drift: a release, a campaign, or something that broke",
        ),
    ),
)

PERFORMANCE_REPORT = Contract(
    name="performance_report",
    grain="One row per day, basis, segment and metric: how good the scores turned out to be.",
    description="Stored scores of a horizon ago against what came (realised; the rules beside it), and what tonight's "
    "should turn out to be if their probabilities are true (estimated). Nobody is scored again.",
    group=GROUP,
    owner=SCORING,
    upstream=(
        "user_features",
        "rule_scores",
        "model_scores",
        "daily_activity",
        "identity_links",
        "validated_subscribers",
        "model_exclusions",
        "drift_reports",
    ),
    key=("basis", "segment", "metric"),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column("basis", "VARCHAR", "realised (the model), rules, or estimated (before outcomes are known)."),
        SEGMENT,
        Column("metric", "VARCHAR", "Metric."),
        Column("cohort_date", "DATE", "Day of the scores that are judged."),
        Column("model_version", "VARCHAR", "Version that gave them; null for the rules.", True),
        Column("value", "DOUBLE", "Its value.", True),
        *INTERVAL,
        Column("baseline_value", "DOUBLE", "What it was on the test part of the training.", True),
        Column("fall", "DOUBLE", "How much worse it has become.", True),
        Column("allowed_fall", "DOUBLE", "What is allowed, where it is limited.", True),
        Column("verdict", "VARCHAR", "degraded, wide (of a segment), fine or too_few_rows."),
        Column("sample_count", "BIGINT", "Users.", unit="count"),
        Column("buyer_count", "BIGINT", "Of them, who bought; null where that is not known yet.", True, "count"),
    ),
    expectations=(
        one_of(
            "a_basis_is_known",
            "basis",
            ("realised", "rules", "estimated"),
            recovery="mend nights/performance.py",
        ),
        no_rows(
            "scores_are_as_good_as_they_promised",
            f"select {DAY}, metric, baseline_value, value, fall from {{batch}} where verdict = 'degraded'",
            recovery="gesture train, or  gesture models rollback",
        ),
        no_rows(
            "no_segment_s_scores_turned_out_much_worse",
            f"select {DAY}, segment, value, fall from {{batch}} where verdict = 'wide'",
            recovery="look at the segment's features; a model of more data may serve it better",
        ),
    ),
)

SCORE_BACKTEST = Contract(
    name="score_backtest",
    grain="One row per day, scorer and band: what became of the users who were in the band 90 days before.",
    description="From the scores as they were given. Empty until scores are 90 days old.",
    group=GROUP,
    owner=SCORING,
    upstream=(
        "user_features",
        "rule_scores",
        "model_scores",
        "daily_activity",
        "identity_links",
        "validated_subscribers",
        "model_exclusions",
        "drift_reports",
    ),
    key=("scored_by", "band"),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column("scored_by", "VARCHAR", "rules or model."),
        Column("band", "VARCHAR", "Band of the rule set; of the model the fifth of its ranking, top_20 first."),
        Column("cohort_date", "DATE", "Day of the scores."),
        Column("user_count", "BIGINT", "Users of the band.", unit="count"),
        Column("buyer_count", "BIGINT", "Of them, who bought within the horizon.", unit="count"),
        Column("conversion_rate", "DOUBLE", "Their share.", unit="share"),
        *INTERVAL,
        Column("lift", "DOUBLE", "Over everybody of the day; null where nobody bought.", True),
    ),
    expectations=(
        between("a_rate_is_a_share", "conversion_rate", 0, 1, recovery="a defect of monitoring/performance.py"),
        no_rows(
            "no_band_has_more_buyers_than_users",
            f"select {DAY}, scored_by, band, user_count, buyer_count from {{batch}} where buyer_count > user_count",
            recovery="this is a defect of monitoring/performance.py",
        ),
    ),
)

RETRAIN_DECISION = Contract(
    name="retrain_decision",
    grain="One row per day: whether a model is to be trained, and why.",
    description="Any trigger of documents 001 and 002 is enough, and too few samples stop them all. The sensor "
    "retrain_when_called_for starts the training.",
    group=GROUP,
    owner=SCORING,
    upstream=(
        "user_features",
        "rule_scores",
        "model_scores",
        "daily_activity",
        "identity_links",
        "validated_subscribers",
        "model_exclusions",
        "drift_reports",
    ),
    key=(),
    columns=(
        AS_OF,
        Column("should_retrain", "BOOLEAN", "Whether to train."),
        Column("reasons", "VARCHAR", "What calls for it, as codes; empty where nothing does."),
        Column("because", "VARCHAR", "The same in words; what forbids it last."),
        Column("model_version", "VARCHAR", "Champion; null without one.", True),
        Column("model_age_days", "DOUBLE", "Its age at the end of the day.", True, "days"),
        Column("new_feedback_count", "BIGINT", "People with an outcome that it does not know.", unit="count"),
        Column("training_sample_count", "BIGINT", "Rows that a training would have.", unit="count"),
        Column("f1_fall", "DOUBLE", "Fall of F1 on matured outcomes.", True),
        Column("roc_auc_fall", "DOUBLE", "Fall of the ROC AUC.", True),
        Column("precision_fall", "DOUBLE", "Fall of the precision.", True),
        Column("drifted_importance", "DOUBLE", "Share of what it goes by that drifted.", unit="share"),
    ),
    expectations=(
        no_rows(
            "a_training_is_called_for_with_a_reason",
            f"select {DAY}, should_retrain, reasons, training_sample_count from {{batch}} "
            "where should_retrain and (reasons = '' or training_sample_count < 10)",
            recovery="this is a defect of monitoring/retraining.py",
        ),
    ),
)

ALERTS = Contract(
    name="alerts",
    grain="One row per day and alarm: what is wrong on the day.",
    description="What sounded. Whether it is new, how long it lasts and who knows of it follows from alert_log "
    "(analytics.open_alerts).",
    group=GROUP,
    owner=SCORING,
    upstream=("drift_reports", "event_mix_drift", "performance_report", "model_exclusions"),
    key=("alert_key",),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column("alert_key", "VARCHAR", "What is wrong; the same trouble has the same key every night."),
        Column("severity", "VARCHAR", "ERROR or WARN."),
        Column("owner", "VARCHAR", "Team that it concerns."),
        Column("what", "VARCHAR", "What is wrong, with the figures."),
        Column("place", "VARCHAR", "Where."),
        Column("runbook", "VARCHAR", "What to do."),
    ),
    expectations=(
        one_of("a_severity_is_known", "severity", ("ERROR", "WARN"), recovery="a defect of monitoring/alerts.py"),
        no_rows(
            "no_alarm_of_the_night_is_an_error",
            f"select {DAY}, alert_key, what from {{batch}} where severity = 'ERROR'",
            recovery="gesture alerts list; what each says under Next",
        ),
    ),
)

SCORE_CHANGES = Contract(
    name="score_changes",
    grain="One row per user whose rule score moved most since the day before, and why.",
    description="The parts sum to the change. Made when somebody asks; for one user and any two days: "
    "gesture why-changed.",
    group=GROUP,
    owner=SCORING,
    upstream=("rule_sets", "rule_scores", *OUTCOMES),
    key=("user_id",),
    may_be_empty=True,
    is_nightly=False,
    columns=(
        AS_OF,
        USER,
        Column("before", "DOUBLE", "Score of the day before.", unit="points"),
        Column("after", "DOUBLE", "Score of the day.", unit="points"),
        Column("change", "DOUBLE", "Their difference.", unit="points"),
        Column("late_data", "DOUBLE", "By facts of earlier days that arrived late.", unit="points"),
        Column("decay_and_time", "DOUBLE", "By the day that passed.", unit="points"),
        Column("new_behaviour", "DOUBLE", "By what was done, and by the CRM.", unit="points"),
        Column("rule_edit", "DOUBLE", "By other rules.", unit="points"),
        Column("model_swap", "DOUBLE", "By another model; 0 of rule scores.", unit="points"),
        Column("unexplained", "DOUBLE", "What is left: a day that was restated, or other code.", unit="points"),
    ),
    expectations=(
        no_rows(
            "the_parts_sum_to_the_change",
            f"""select {DAY}, user_id, change from {{batch}} where abs(change
                - (late_data + decay_and_time + new_behaviour + rule_edit + model_swap + unexplained)) > 1e-6""",
            recovery="this is a defect of monitoring/score_changes.py",
        ),
        no_rows(
            "nothing_is_left_unexplained",
            f"select {DAY}, user_id, unexplained from {{batch}} where abs(unexplained) > 1e-6",
            recovery="see analytics.restatements: a day was restated, or the code changed since",
        ),
    ),
)

DRIFT = (FEATURE_PROFILES, FEATURE_STATISTICS, DRIFT_REPORTS, EVENT_MIX_DRIFT)
PERFORMANCE = (PERFORMANCE_REPORT, SCORE_BACKTEST)
TABLES = (*DRIFT, *PERFORMANCE, SCORE_CHANGES, RETRAIN_DECISION, ALERTS)
