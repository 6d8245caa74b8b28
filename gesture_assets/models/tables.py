"""Contracts of models: what they learnt from, how good they are, and what they say of everybody tonight.

Belongs here: the tables of the train job (a partition is the day at whose end the model was trained) and those of the
night. Does not belong here: training and scoring (`models/`), which version scores when (`records/activations.py`).
"""

from gesture_assets.contracts.contract import PARTITION, Column, Contract, between, filled, no_rows, one_of
from gesture_assets.contracts.shared import AS_OF, SCORING, USER
from gesture_assets.vocabulary.scoring import SEGMENTS

TRAINED_ON = Column(PARTITION, "DATE", "The day of the training: outcomes known by its end were learnt from.")
VERSION = Column("model_version", "VARCHAR", "Version of the model: v, when it was trained, and 8 signs of its hash.")
VERSION_PATTERN = r"^v\d{8}_\d{6}_[0-9a-f]{8}$"
# Two days a fortnight apart share half of a month's window: closer ones repeat each other's rows rather than add some.
DAYS_APART = 14
GLOBAL = "global"  # the scope of the model of everybody; a segment's is its column and value
LEAK, SUSPECT, FINE = "leak", "suspect", "fine"
NO_CHAMPION, UNAVAILABLE = "no_champion", "champion_unavailable"  # why the rules serve somebody whom a model could
SOURCES = ("model", "rules_fallback", "suppressed")
# Who has done what the label means, be it on a day that nobody knows.
CONVERTED, UNDATED = DONE = ("already_converted", "undated_purchase")
EVERYBODY = "everybody"  # a rule set's call_list that holds them all the same
# Which rows of intent_scores, read as `live`, the call list may hold.
CAN_BE_CALLED = f"""live.score is not null and (
                live.fallback_reason is null or live.fallback_reason not in {DONE} or exists (
                    from {{live}}.rule_sets as rules where rules.{PARTITION} = live.{PARTITION}
                    and json_extract_string(content, '$.call_list') = '{EVERYBODY}'))"""
FEWEST_USERS = 20  # fewer may well look alike to any model
BAND = "case when score >= 70 then 'high' when score >= 40 then 'medium' else 'low' end"  # of a model's score
OWN_SCOPES = ", ".join(f"'{name}=' || coalesce({name}::varchar, 'missing')" for name in SEGMENTS)
FEWEST_DAYS, BAND_SHIFT = 7, 0.1  # days that make a usual level, and how far a band's share may be from it
DISAGREEMENT = 40  # percentiles between the ranks by rules and by model, from which somebody should look

TRAINING_SET = Contract(
    name="training_set",
    grain="One row per user and feature day that the model of this day learns from or is judged by.",
    description="Who was eligible on each feature day, whether they bought within the horizon, and which part of the "
    "training they belong to. The features themselves are those of user_features on the feature day.",
    group="models",
    owner=SCORING,
    upstream=("daily_activity", "identity_links", "validated_subscribers", "user_features", "rule_scores"),
    key=("user_id", "feature_date"),
    keeps_history=True,
    is_nightly=False,
    columns=(
        TRAINED_ON,
        USER,
        Column("feature_date", "DATE", "As-of day of the features."),
        Column(
            "person_id",
            "VARCHAR",
            "Who the user turned out to be; two ids of one person share it.",
            personal="pseudonym",
        ),
        Column("label", "SMALLINT", "1 where the first purchase came after the feature day and within the horizon."),
        Column("bought_on", "DATE", "Day of that purchase; null where only the CRM knows of it.", True),
        Column("matures_on", "DATE", "Last day of the horizon."),
        Column(
            "split",
            "VARCHAR",
            "What its day is for: train (teaches), test (the last: judges), or both (judges, and teaches later days).",
        ),
        # Null for trainings of before everybody was judged.
        Column("fold", "SMALLINT", "Persons are judged by models of the other folds' earlier days; from 1.", True),
        Column(
            "random_split",
            "VARCHAR",
            "Part by chance within each outcome, reported beside it: train, validation or test.",
        ),
    ),
    expectations=(
        no_rows(
            "every_outcome_is_known",
            f"select {PARTITION}, feature_date, matures_on from {{batch}} where matures_on > {PARTITION} limit 5",
            recovery="train on an earlier day, or wait:  gesture train --date DAY",
        ),
        no_rows(
            "a_purchase_lies_in_the_horizon",
            f"select {PARTITION}, user_id, feature_date, label, bought_on, matures_on from {{batch}} "
            "where bought_on is not null and (label = 0 or bought_on <= feature_date or bought_on > matures_on)",
            recovery="this is a defect of models/labels.py",
        ),
        one_of("a_label_is_0_or_1", "label", (0, 1), recovery="this is a defect of models/labels.py"),
        no_rows(
            "tests_lie_after_training",
            f"""select {PARTITION}, max(feature_date) filter (split = 'train') as last_trained,
                min(feature_date) filter (split <> 'train') as first_tested,
                count(distinct feature_date) filter (split = 'test') as test_days
            from {{batch}} group by all having last_trained >= first_tested or test_days > 1""",
            recovery="this is a defect of models/splits.py",
        ),
        no_rows(
            "nobody_is_in_two_folds",
            f"""select {PARTITION}, person_id from {{batch}} group by all
            having count(distinct fold) > 1 or count(distinct random_split) > 1""",
            recovery="this is a defect of models/splits.py",
        ),
        no_rows(
            "every_part_holds_both_outcomes",
            f"""select days.{PARTITION}, part.judges, count(label) as row_count, coalesce(sum(label), 0) as positives
            from (values (true), (false)) as part(judges) cross join {{days}} as days
            left join {{batch}} as batch on batch.{PARTITION} = days.{PARTITION}
                and (part.judges and split <> 'train' or not part.judges and split <> 'test')
            group by all having sum(label) is null or sum(label) in (0, count(label))""",
            recovery="wait until more outcomes are known, or keep more days:  gesture train --date DAY",
        ),
        no_rows(
            "feature_days_are_far_enough_apart",
            f"""select {PARTITION}, feature_date, previous from (
                select distinct {PARTITION}, feature_date,
                    lag(feature_date) over (partition by {PARTITION} order by feature_date) as previous
                from (select distinct {PARTITION}, feature_date from {{batch}}))
            where feature_date - previous < {DAYS_APART}""",
            recovery="this is a defect of models/training_set.py",
        ),
    ),
)

FEATURE_SCREENING = Contract(
    name="feature_screening",
    grain="One row per feature: whether it seems to know the outcome.",
    description="The leakage sentinel: a feature that tells the outcome almost by itself knows what happened later.",
    group="models",
    owner=SCORING,
    upstream=("daily_activity", "identity_links", "validated_subscribers", "user_features", "rule_scores"),
    key=("feature",),
    keeps_history=True,
    is_nightly=False,
    columns=(
        TRAINED_ON,
        Column("feature", "VARCHAR", "Input of the model, or a moment that inputs are made of."),
        Column("auc", "DOUBLE", "How well it ranks the outcome alone, 0.5 to 1; null where it is constant.", True),
        Column("verdict", "VARCHAR", "leak (stops the training), suspect (somebody should look) or fine."),
        Column("because", "VARCHAR", "What speaks against it, with the figures; empty where nothing does."),
    ),
    expectations=(
        one_of("a_verdict_is_known", "verdict", (LEAK, SUSPECT, FINE), recovery="a defect of models/leakage.py"),
        no_rows(
            "no_feature_knows_the_outcome",
            f"select {PARTITION}, feature, auc, because from {{batch}} where verdict = '{LEAK}' order by auc desc",
            recovery="leave the feature out (GESTURE_EXCLUDED_FEATURES), then  gesture train --date DAY",
        ),
        no_rows(
            "no_feature_is_suspected_of_knowing_the_outcome",
            f"select {PARTITION}, feature, auc, because from {{batch}} where verdict = '{SUSPECT}' order by auc desc",
            recovery="see when the feature becomes known; GESTURE_EXCLUDED_FEATURES leaves it out",
        ),
    ),
)

CANDIDATE_MODEL = Contract(
    name="candidate_model",
    grain="One row per training: the model it made, and what became of it.",
    description="What a version resolves to: data, features, rules, parameters, code; its files lie in "
    "data/models/<version>/.",
    group="models",
    owner=SCORING,
    upstream=("training_set", "feature_screening", "user_features", "rule_scores"),
    key=("model_version",),
    keeps_history=True,
    is_nightly=False,
    columns=(
        TRAINED_ON,
        VERSION,
        Column("fingerprint", "VARCHAR", "SHA-256 of everything that decides a prediction."),
        Column("data_hash", "VARCHAR", "Hash of the training set and of the features it reads."),
        Column("feature_list_hash", "VARCHAR", "Hash of the feature list."),
        Column("features", "VARCHAR", "JSON: the features it reads, in order."),
        Column("rule_set_version", "VARCHAR", "Rules behind the rule score that it reads."),
        Column("parameters", "VARCHAR", "JSON: what XGBoost was told."),
        # Both unknown for trainings of before models stood on the rules.
        Column("recipe", "VARCHAR", "What the training began with: blend or document_001.", True),
        Column("rule_weight", "DOUBLE", "Share of the margin that the rules' points alone decide.", True, "share"),
        Column("code_version", "VARCHAR", "Version of gesture_assets."),
        Column("calibration", "VARCHAR", "How margins become probabilities: isotonic, sigmoid or none."),
        Column("feature_days", "VARCHAR", "JSON: feature days of the training set."),
        Column("horizon_days", "INTEGER", "Days within which a purchase counts.", unit="days"),
        Column("training_samples", "INTEGER", "Rows that trees were grown on.", unit="count"),
        Column(
            "validation_samples",
            "INTEGER",
            "Rows that calibration was fitted on, each by its margin out of fold.",
            unit="count",
        ),
        Column("test_samples", "INTEGER", "Rows that it was judged by, out of fold.", unit="count"),
        Column("base_rate", "DOUBLE", "Share of buyers among the training samples.", unit="share"),
        # Unknown for trainings of before they were kept.
        Column("training_seconds", "DOUBLE", "How long it took from reading the rows to the fitted model.", True, "s"),
        Column(
            "data_verdict",
            "VARCHAR",
            "Whether more rows would make a better model: enough, more would help or too little to tell.",
            True,
        ),
        Column("data_because", "VARCHAR", "What the learning curve says, with the figures.", True),
        # Null for trainings of before it was kept: native.
        Column("missing_numbers", "VARCHAR", "What stands for a missing number (GESTURE_MISSING_NUMBERS).", True),
        # Null for trainings of before it was kept: 0.2.
        Column(
            "validation_split",
            "DOUBLE",
            "Share of persons that the random split beside the judgement calibrates on; what serves needs none.",
            True,
            "share",
        ),
        Column(
            "segment_models",
            "VARCHAR",
            "JSON: segment -> own (a model of its own scores it) or global, and why; "
            "empty where none was asked for (GESTURE_SEGMENT_MODELS).",
            True,
        ),
        Column("mlflow_run_id", "VARCHAR", "Run of MLflow that tracked the training.", True),
        Column("parent_version", "VARCHAR", "The champion that it was compared with.", True),
        Column("decision", "VARCHAR", "promoted or kept: whether it scores from now on."),
        Column("because", "VARCHAR", "Why, with the figures."),
    ),
    expectations=(
        no_rows(
            "a_version_says_when_it_was_trained",
            f"select {PARTITION}, model_version from {{batch}} "
            f"where not regexp_matches(model_version, '{VERSION_PATTERN}')",
            recovery="this is a defect of models/versions.py",
        ),
        between("a_base_rate_is_a_share", "base_rate", 1e-9, 1 - 1e-9, recovery="look at training_set"),
        one_of(
            "a_candidate_is_promoted_or_not",
            "decision",
            ("promoted", "kept"),
            recovery="mend nights/training.py",
        ),
    ),
)

MODEL_EVALUATION = Contract(
    name="model_evaluation",
    grain="One row per model, part, segment and metric.",
    description="How good the candidate is on each part of the training set, and the champion on the same test rows, "
    "each figure with the interval that chance leaves it (bootstrap, 95 %).",
    group="models",
    owner=SCORING,
    upstream=("training_set", "feature_screening", "user_features", "rule_scores"),
    key=("model_version", "part", "segment", "metric"),
    keeps_history=True,
    is_nightly=False,
    columns=(
        TRAINED_ON,
        VERSION,
        Column(
            "part",
            "VARCHAR",
            "train; test (everybody, by models of other persons' earlier days); random_test (document 003's split); "
            "rules (their score alone, on the test part), without_rule_score (a model that does not read it, on the "
            "test part); learning_curve; segment_model (a segment's own model beside the global one, on rows of other "
            "persons); or behaviour.",
        ),
        Column("segment", "VARCHAR", "all, a column and its value, or the share of the rows trained on."),
        Column("metric", "VARCHAR", "Metric, or the sentence that a test of behaviour proves."),
        Column("value", "DOUBLE", "Its value; for a test of behaviour what was observed."),
        Column("low", "DOUBLE", "Lower end of its interval.", True),
        Column("high", "DOUBLE", "Upper end of its interval.", True),
        Column("target", "DOUBLE", "What document 002 asks for, where it does.", True),
        Column("is_met", "BOOLEAN", "Whether the target is met, or the test of behaviour passed.", True),
        Column("sample_count", "INTEGER", "Rows behind it.", unit="count"),
        Column(
            "because",
            "VARCHAR",
            "Of timed_buyers_top_20 (buyers of a known day among the first 20 %): the medians behind "
            "time_to_purchase_top_20 (by how much sooner they bought than all buyers did), or why there is none. It "
            "has no interval and does not say that anybody bought sooner for being called.",
            True,
        ),
    ),
    expectations=(
        no_rows(
            "figures_lie_within_their_intervals",
            f"select {PARTITION}, part, segment, metric, low, value, high from {{batch}} "
            "where low > high or value <> value",
            recovery="this is a defect of models/evaluation.py",
        ),
        no_rows(
            "the_candidate_was_judged_on_the_test_part",
            f"""select {PARTITION} from {{days}}
            anti join (select {PARTITION} from {{batch}} where part = 'test' and metric = 'roc_auc' and segment = 'all')
            using ({PARTITION})""",
            recovery="gesture train --date DAY",
        ),
        no_rows(
            "the_candidate_reaches_its_targets",
            f"select {PARTITION}, metric, value, target from {{batch}} where target is not null and not is_met",
            recovery="gesture models list  (targets of document 002; only GESTURE_BLOCKING_CHECKS makes them block)",
        ),
        no_rows(
            "no_segment_is_served_much_worse",
            f"""select {PARTITION}, model_version, metric, value from {{batch}}
            where part = 'behaviour' and metric = 'no_segment_is_served_much_worse' and not is_met""",
            recovery="look at the segments in model_evaluation",
        ),
    ),
)

FEATURE_IMPORTANCE = Contract(
    name="feature_importance",
    grain="One row per model and feature that it reads.",
    description="What the model goes by, measured three ways, each summing to 1.",
    group="models",
    owner=SCORING,
    upstream=("training_set", "feature_screening", "user_features", "rule_scores"),
    key=("model_version", "feature"),
    keeps_history=True,
    is_nightly=False,
    columns=(
        TRAINED_ON,
        VERSION,
        Column("rank", "INTEGER", "Place by mean contribution, from 1.", unit="place"),
        Column("feature", "VARCHAR", "Feature."),
        Column("feature_name", "VARCHAR", "What people call it."),
        Column("gain", "DOUBLE", "Its share of what all splits gained in training.", unit="share"),
        Column(
            "permutation",
            "DOUBLE",
            "Its share of what the log loss rises by when its values are shuffled.",
            unit="share",
        ),
        Column("shap", "DOUBLE", "Its share of the mean size of contributions.", unit="share"),
        Column("reason_code", "VARCHAR", "Its stable code as a reason."),
    ),
    expectations=(
        no_rows(
            "importances_sum_to_1",
            # Or to 0, where a model has learnt nothing: it is judged like any other.
            f"""select * from (
                select {PARTITION}, model_version, sum(gain) as gain, sum(permutation) as permutation, sum(shap) as shap
                from {{batch}} group by all)
            where not (gain = 0 or abs(gain - 1) <= 1e-6) or not (shap = 0 or abs(shap - 1) <= 1e-6)
                or not (permutation = 0 or abs(permutation - 1) <= 1e-6)""",
            recovery="this is a defect of models/evaluation.py",
        ),
        filled("every_feature_has_a_name", "feature_name", recovery="name it in features/feature_registry.py"),
    ),
)

MODEL_SCORES = Contract(
    name="model_scores",
    grain="One row per eligible user and day, while there is a champion.",
    description="How likely the champion of the day thinks it that somebody makes their first purchase within the "
    "horizon. A user's row depends on nobody else's but for the percentile.",
    group="scores",
    owner=SCORING,
    upstream=("user_features", "rule_scores", "rule_contributions"),
    key=("user_id",),
    may_be_empty=True,
    keeps_history=True,
    columns=(
        AS_OF,
        USER,
        VERSION,
        # Unknown for scores of before it was kept.
        Column(
            "model_scope",
            "VARCHAR",
            "Which model of the version scored: global, or that of the user's segment, such as primary_device=mobile.",
            True,
        ),
        Column("margin", "DOUBLE", "The model's own log odds, before calibration.", unit="log odds"),
        Column(
            "probability",
            "DOUBLE",
            "Calibrated probability of a first purchase within the horizon.",
            unit="probability",
        ),
        Column("score", "DOUBLE", "1 + round(99 × probability).", unit="points"),
        Column(
            "percentile", "DOUBLE", "Share of the day's scored users with a lower probability, ties half.", unit="share"
        ),
        Column(
            "confidence",
            "DOUBLE",
            "How well it is known, 0 to 1: what is known of such scores times what is known of the person.",
            unit="share",
        ),
        Column("feature_hash", "VARCHAR", "Hash of the user's row of features."),
    ),
    expectations=(
        between(
            "every_probability_lies_between_0_and_1",
            "probability",
            1e-12,
            1 - 1e-12,
            recovery="this is a defect of models/calibration.py",
        ),
        no_rows(
            "a_model_score_is_its_probability_on_1_to_100",
            f"select {PARTITION}, user_id, score, probability from {{batch}} "
            "where score <> 1 + round(99 * probability)",
            recovery="this is a defect of models/scoring.py",
        ),
        between("a_percentile_is_a_share", "percentile", 0, 1, recovery="this is a defect of models/scoring.py"),
        between("a_confidence_is_a_share", "confidence", 0, 1, recovery="this is a defect of models/scoring.py"),
        no_rows(
            "every_user_is_scored_or_excluded_with_a_reason",
            f"""select {PARTITION}, sum(seen) as scored_or_excluded, sum(known) as known from (
                select {PARTITION}, 1 as seen, 0 as known from {{batch}}
                union all select {PARTITION}, 1, 0 from {{staged}}.model_exclusions
                union all select {PARTITION}, 0, 1 from {{live}}.user_features semi join {{days}} using ({PARTITION})
            ) group by all having sum(seen) <> sum(known)""",
            recovery="gesture run --date DAY",
        ),
        no_rows(
            "one_model_scores_a_day",
            f"select {PARTITION}, count(distinct model_version) as versions from {{batch}} "
            "group by all having versions > 1",
            recovery="this is a defect of nights/model_scores.py",
        ),
        no_rows(
            "a_scope_is_global_or_a_segment_of_the_user",
            f"""select {PARTITION}, user_id, model_scope
            from (from {{batch}} where model_scope is distinct from '{GLOBAL}')
            left join {{live}}.user_features using ({PARTITION}, user_id)
            where not coalesce(model_scope in ({OWN_SCOPES}), false)""",
            recovery="this is a defect of models/training.py",
        ),
        no_rows(
            "the_model_tells_users_apart",
            f"""select {PARTITION}, any_value(probability) as probability, count(*) as user_count from {{batch}}
            group by all having count(*) >= {FEWEST_USERS} and count(distinct probability) = 1""",
            recovery="gesture models rollback, and look at what the model reads",
        ),
        no_rows(
            "at_most_20_percent_share_a_probability",
            f"""select {PARTITION}, probability, count(*) as user_count,
                sum(count(*)) over (partition by {PARTITION}) as scored from {{batch}} group by {PARTITION}, probability
            qualify scored >= {FEWEST_USERS} and user_count > 0.2 * scored""",
            recovery="many users look alike to the model: see feature_importance; users in a tie are ordered by margin",
        ),
        no_rows(
            "band_shares_are_near_their_usual_level",
            f"""with shares as (
                select {PARTITION}, band, count(*) as users, count(*) filter (where its_band = band) / count(*) as share
                from (select {PARTITION}, {BAND} as its_band from {{batch}} union all
                    select {PARTITION}, {BAND} from {{live}}.model_scores anti join {{days}} using ({PARTITION})
                    where {PARTITION} >= (select min({PARTITION}) from {{days}}) - 28)
                cross join (values ('high'), ('medium'), ('low')) as bands(band) group by all)
            select today.{PARTITION}, band, any_value(today.share) as share, median(past.share) as usual_share
            from shares as today semi join {{days}} using ({PARTITION}) join shares as past using (band)
            where past.{PARTITION} < today.{PARTITION} and past.{PARTITION} >= today.{PARTITION} - 28
            group by today.{PARTITION}, band
            having count(*) >= {FEWEST_DAYS} and any_value(today.users) >= {FEWEST_USERS}
                and abs(any_value(today.share) - median(past.share)) > {BAND_SHIFT}""",
            recovery="see whether the users have changed (user_features), or only the model (model_activations)",
        ),
    ),
)

MODEL_EXCLUSIONS = Contract(
    name="model_exclusions",
    grain="One row per user and day whom the model does not score.",
    description="Why somebody with features has no model score.",
    group="scores",
    owner=SCORING,
    upstream=("user_features", "rule_scores", "rule_contributions"),
    key=("user_id",),
    may_be_empty=True,
    columns=(AS_OF, USER, Column("reason", "VARCHAR", "Why, such as already_converted.")),
    expectations=(
        no_rows(
            "nobody_is_both_scored_and_excluded",
            f"select {PARTITION}, user_id from {{batch}} "
            f"semi join {{staged}}.model_scores using ({PARTITION}, user_id)",
            recovery="this is a defect of models/scoring.py",
        ),
    ),
)

SCORE_REASONS = Contract(
    name="score_reasons",
    grain="One row per model score and reason: the five weightiest up, five down, and the rest.",
    description="What each feature adds to a user's log odds (SHAP); a user's rows add up to the margin.",
    group="scores",
    owner=SCORING,
    upstream=("user_features", "rule_scores", "rule_contributions"),
    key=("user_id", "direction", "place"),
    may_be_empty=True,
    columns=(
        AS_OF,
        USER,
        VERSION,
        Column("direction", "VARCHAR", "up, down, or rest (where every score starts and what is not listed)."),
        Column("place", "SMALLINT", "Place by weight in its direction, from 1; 0 for the rest.", unit="place"),
        Column("feature", "VARCHAR", "Feature, or rule:<id> for what a rule adds; null for the rest.", True),
        Column("feature_value", "VARCHAR", "Its value; null where unknown.", True),
        Column("contribution", "DOUBLE", "What it adds to the margin.", unit="log odds"),
        Column("odds_factor", "DOUBLE", "What it multiplies the odds by, rounded."),
        Column("reason_code", "VARCHAR", "Stable code of the reason."),
        Column("sentence", "VARCHAR", "The reason in words, with the value."),
    ),
    expectations=(
        no_rows(
            "reasons_sum_to_the_margin",
            f"""select {PARTITION}, user_id, any_value(scores.margin) as margin, sum(batch.contribution) as reasons
            from {{batch}} as batch join {{staged}}.model_scores as scores using ({PARTITION}, user_id)
            group by {PARTITION}, user_id having abs(any_value(scores.margin) - sum(batch.contribution)) > 1e-4""",
            recovery="this is a defect of models/reasons.py",
        ),
        no_rows(
            "every_model_score_has_its_reasons",
            f"select {PARTITION}, user_id from {{staged}}.model_scores "
            f"anti join {{batch}} using ({PARTITION}, user_id)",
            recovery="this is a defect of models/reasons.py",
        ),
    ),
)

INTENT_SCORES = Contract(
    name="intent_scores",
    grain="One row per user and day: the score to act on, and where it comes from.",
    description="On one day everybody's score is on one scale. While a model serves it is a probability: the model's, "
    "or for whom it does not score that of their points. Else it is the rules' points. Both stand beside it.",
    group="scores",
    owner=SCORING,
    upstream=("rule_scores", "model_scores", "model_exclusions"),
    key=("user_id",),
    keeps_history=True,
    columns=(
        AS_OF,
        USER,
        Column("score", "DOUBLE", "The score to act on, 1 to 100; null for suppressed users.", True, "points"),
        Column("source", "VARCHAR", "model, rules_fallback (no model score) or suppressed."),
        Column("scale", "VARCHAR", "What the score says: probability (1 + round(99 × p)) or points; one a day."),
        Column("rule_score", "DOUBLE", "The rules' score.", True, "points"),
        Column("model_score", "DOUBLE", "The model's score.", True, "points"),
        Column(
            "probability",
            "DOUBLE",
            "Probability behind the score: the model's, or that of the rules' points; null where the score is points.",
            True,
            "probability",
        ),
        Column(
            "rank_difference",
            "DOUBLE",
            "How far apart rules and model rank the user among those whom both score; null without both.",
            True,
            "percentiles",
        ),
        Column("is_disagreement", "BOOLEAN", f"The ranks are more than {DISAGREEMENT} apart: somebody should look."),
        Column("fallback_reason", "VARCHAR", "Why the rules serve, where they do.", True),
        Column("model_version", "VARCHAR", "Version of the model, where it scored.", True),
        Column("rule_set_version", "VARCHAR", "Hash of the rule set's content."),
    ),
    expectations=(
        one_of("a_source_is_known", "source", SOURCES, recovery="this is a defect of models/scoring.py"),
        no_rows(
            "every_rule_score_has_its_intent_score",
            f"""select {PARTITION}, sum(seen) as intent, sum(known) as by_rules from (
                select {PARTITION}, 1 as seen, 0 as known from {{batch}}
                union all select {PARTITION}, 0, 1 from {{live}}.rule_scores semi join {{days}} using ({PARTITION})
            ) group by all having sum(seen) <> sum(known)""",
            recovery="gesture run --date DAY",
        ),
        no_rows(
            "an_intent_score_is_that_of_its_source",
            f"""select {PARTITION}, user_id, score, source, scale from {{batch}} where score is distinct from case
                when source = 'model' then model_score
                when source = 'rules_fallback' and scale = 'probability' then 1 + round(99 * probability)
                when source = 'rules_fallback' then rule_score end""",
            recovery="this is a defect of models/scoring.py",
        ),
        no_rows(
            "who_has_done_it_is_marked_and_nobody_else",
            f"""select {PARTITION}, user_id, source, fallback_reason, purchase_count, made_purchase
            from {{batch}} join {{live}}.user_features using ({PARTITION}, user_id)
            where source <> 'suppressed' and case when fallback_reason in {DONE} then fallback_reason end
            is distinct from case when purchase_count > 0 or made_purchase > 0 then '{CONVERTED}'
                when mailchimp_id is not null and made_purchase is null then '{UNDATED}' end""",
            recovery="this is a defect of models/labels.py or models/scoring.py",
        ),
        no_rows(
            "a_day_has_one_scale",
            f"""select {PARTITION}, string_agg(distinct scale, ', ' order by scale) as scales from {{batch}}
            where score is not null group by all having count(distinct scale) > 1""",
            recovery="this is a defect of models/scoring.py",
        ),
        no_rows(
            "a_fallback_probability_follows_the_points",
            f"""with written as (
                select {PARTITION}, user_id, rule_score, probability, ln(1 + rule_score) as x,
                    ln(probability / (1 - probability)) as y
                from {{batch}} where source = 'rules_fallback' and scale = 'probability'
            ), curves as (
                select {PARTITION}, if(min(x) = max(x), 0, regr_slope(y, x)) as slope,
                    avg(y) - slope * avg(x) as intercept
                from written group by all
            )
            select {PARTITION}, user_id, rule_score, probability from written join curves using ({PARTITION})
            where coalesce(abs(y - slope * x - intercept) > 1e-6, true)""",
            recovery="this is a defect of models/scoring.py",
        ),
        no_rows(
            "the_model_serves",
            f"""select {PARTITION}, any_value(fallback_reason) as because, count(*) as user_count from {{batch}}
            group by all having count(*) filter (source = 'model') = 0""",
            recovery="gesture models list  (which ones there are, or from which day one can be trained)",
        ),
    ),
)

TOP_USERS = Contract(
    name="top_users",
    grain="One row per place of the day's call list.",
    description="Whom to talk to first, and why: who can still do what the label means, by the score to act on. "
    "The whole list of the newest day: analytics.call_list. Who is left out: analytics.left_out_of_call_list.",
    group="scores",
    owner=SCORING,
    upstream=("intent_scores", "rule_scores", "rule_sets", "score_reasons", "user_features"),
    key=("rank",),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column("rank", "INTEGER", "Place, from 1.", unit="place"),
        USER,
        Column("mailchimp_id", "VARCHAR", "The way back to the person in the CRM.", True, personal="pseudonym"),
        Column("score", "DOUBLE", "The score to act on, 1 to 100.", unit="points"),
        # This and the source: unknown for lists of before they were kept, which were of points.
        Column("scale", "VARCHAR", "What the score says: probability or points; one a day.", True),
        Column("probability", "DOUBLE", "The probability; null where the score is points.", True, "probability"),
        Column("rule_band", "VARCHAR", "Band that the points of the rules fall in, whatever the score to act on is."),
        Column("explanation", "VARCHAR", "The three reasons that raise the score most.", True),
        Column("last_event_at", "TIMESTAMP", "Last event (UTC).", True),
        Column("country", "VARCHAR", "Last country seen.", True),
        Column("source", "VARCHAR", "What scored: model or rules_fallback.", True),
        Column("model_version", "VARCHAR", "Version of the model, where it scored.", True),
        Column("rule_set_version", "VARCHAR", "Hash of the rule set's content."),
        # Unknown for lists of before it was kept.
        Column(
            "list_length",
            "INTEGER",
            "Places of the list where so many can be called (GESTURE_TOP_USERS).",
            True,
            "count",
        ),
    ),
    expectations=(
        no_rows(
            "ranks_follow_the_scores",
            f"""select {PARTITION}, rank, user_id, score from (
                select *, lag(score) over (partition by {PARTITION} order by rank) as above,
                    row_number() over (partition by {PARTITION} order by rank) as place
                from {{batch}})
            where rank <> place or score > above""",
            recovery="this is a defect of models/call_list.py",
        ),
        no_rows(
            "nobody_who_can_be_called_scores_higher_than_the_list",
            f"""select {PARTITION}, max(live.score) as left_out, min(batch.lowest) as lowest_listed
            from {{live}}.intent_scores as live
            join (select {PARTITION}, min(score) as lowest from {{batch}} group by all) as batch using ({PARTITION})
            anti join {{batch}} as listed using ({PARTITION}, user_id)
            where {CAN_BE_CALLED}
            group by all having max(live.score) > min(batch.lowest)""",
            recovery="gesture run --date DAY",
        ),
        no_rows(
            "the_list_is_as_long_as_it_promises",
            f"""select {PARTITION}, listed, promised, can_be_called from (
                select {PARTITION}, count(distinct user_id) as listed, max(list_length) as promised
                from {{batch}} group by all)
            join (select {PARTITION}, count(*) as can_be_called from {{live}}.intent_scores as live
                where {CAN_BE_CALLED} group by all) using ({PARTITION})
            where promised is not null and listed <> least(promised, can_be_called)""",
            recovery="this is a defect of models/call_list.py",
        ),
        no_rows(
            "a_day_with_somebody_to_call_has_a_list",
            f"""select {PARTITION}, count(*) as can_be_called from {{live}}.intent_scores as live
            semi join {{days}} using ({PARTITION}) anti join {{batch}} using ({PARTITION})
            where {CAN_BE_CALLED}
            group by all""",
            recovery="this is a defect of models/call_list.py",
        ),
        filled(
            "every_place_of_the_list_is_explained",
            "explanation",
            recovery="this is a defect of models/call_list.py",
        ),
        no_rows(
            "nobody_on_the_list_has_done_it",
            f"""select {PARTITION}, user_id, purchase_count, made_purchase
            from {{batch}} as batch join {{live}}.user_features using ({PARTITION}, user_id)
            where (purchase_count > 0 or made_purchase > 0) and not exists (
                from {{live}}.rule_sets as rules where rules.{PARTITION} = batch.{PARTITION}
                and json_extract_string(content, '$.call_list') = '{EVERYBODY}')""",
            recovery="this is a defect of models/call_list.py",
        ),
        no_rows(
            "the_list_names_the_score_to_act_on",
            f"""select {PARTITION}, user_id, batch.score, live.score as to_act_on from {{batch}} as batch
            left join {{live}}.intent_scores as live using ({PARTITION}, user_id)
            where batch.score is distinct from live.score or batch.scale is distinct from live.scale
                or batch.probability is distinct from live.probability or batch.source is distinct from live.source""",
            recovery="gesture run --date DAY",
        ),
        no_rows(
            "a_band_on_the_list_is_that_of_the_rules",
            f"""select {PARTITION}, user_id, batch.rule_band, live.band as by_the_rules from {{batch}} as batch
            left join {{live}}.rule_scores as live using ({PARTITION}, user_id)
            where batch.rule_band is distinct from live.band""",
            recovery="gesture run --date DAY",
        ),
    ),
)

TRAINED = (TRAINING_SET, FEATURE_SCREENING, CANDIDATE_MODEL, MODEL_EVALUATION, FEATURE_IMPORTANCE)
SCORED = (MODEL_SCORES, MODEL_EXCLUSIONS, SCORE_REASONS, INTENT_SCORES, TOP_USERS)
TABLES = (*TRAINED, *SCORED)
