-- What analysts start from. Every view stands on tables that have passed their audit; "current" is the newest as-of day,
-- never the last write, so a backfill of an old day does not move it.

create or replace view analytics.current_scores as
select * from rule_scores where as_of_date = (select max(as_of_date) from rule_scores);
comment on view analytics.current_scores is 'One row per user: the rule scores of the newest day.';

create or replace view analytics.score_history as
select as_of_date, user_id, score, points, band, explanation, rule_set_version, recorded_at, run_id, is_backfill,
    lag(score) over (partition by user_id order by as_of_date) as previous_score,
    score - lag(score) over (partition by user_id order by as_of_date) as score_change
from rule_scores;
comment on view analytics.score_history is 'One row per user and day: how the rule scores moved.';

create or replace view analytics.score_versions as
select *, null::timestamp as superseded_at from rule_scores
union all by name select * from superseded.rule_scores;
comment on view analytics.score_versions is
'One row per user, day and version: what was said when. recorded_at and superseded_at tell how long it stood.';

create or replace view analytics.current_top_users as
select * from top_users where as_of_date = (select max(as_of_date) from top_users) order by rank;
comment on view analytics.current_top_users is 'The ranked list of the newest day.';

create or replace view analytics.current_features as
select * from user_features where as_of_date = (select max(as_of_date) from user_features);
comment on view analytics.current_features is 'One row per user: everything known at the end of the newest day.';

create or replace view analytics.user_360 as
select scores.score, scores.band, scores.explanation, features.*
from analytics.current_features as features join analytics.current_scores as scores using (as_of_date, user_id);
comment on view analytics.user_360 is 'One row per user: score, reasons and features of the newest day.';

create or replace view analytics.current_reasons as
select user_id, rule_id, because, value, points
from rule_contributions
where as_of_date = (select max(as_of_date) from rule_contributions) and points > 0
order by user_id, points desc, rule_id;
comment on view analytics.current_reasons is 'One row per user and rule that adds points, on the newest day.';

create or replace view analytics.visits as
select * exclude (as_of_date, filed, recorded_at, run_id, is_backfill)
from sessions group by all having sum(filed) > 0;
comment on view analytics.visits is 'One row per visit as it is known now.';

create or replace view analytics.funnel as
select as_of_date, count(*) as users, count(*) filter (where event_count > 0) as active_ever,
    count(*) filter (where pricing_page_view_count > 0) as saw_prices,
    count(*) filter (where demo_request_click_count > 0) as asked_for_a_demo,
    count(*) filter (where signup_count > 0) as signed_up,
    count(*) filter (where calendar_booking_count > 0) as booked_a_meeting,
    count(*) filter (where purchase_count > 0) as bought
from user_features group by all order by as_of_date;
comment on view analytics.funnel is 'One row per day: how many users have ever come how far.';

create or replace view analytics.bands as
select as_of_date, band, count(*) as users, round(avg(score), 2) as mean_score
from rule_scores group by all order by as_of_date, mean_score desc;
comment on view analytics.bands is 'One row per day and band.';

create or replace view analytics.data_freshness as
select table_name, as_of_date, verdict, row_count, published_at, snapshot_id,
    (select max(last_event_at) from rule_scores) as last_event_at,
    date_diff('hour', (select max(last_event_at) from rule_scores), published_at) as hours_from_last_event_to_publication
from manifest;
comment on view analytics.data_freshness is 'One row per table: its newest day, and how old its newest event was.';

-- Every day up to the publication has its own deadline: a fresh backfill of an old day hides no missing yesterday.
-- The publication puts the hour in: GESTURE_FRESHNESS_DEADLINE.
create or replace view analytics.day_freshness as
with published as (select max(published_at) as published_at, min(first_date) as first_date from manifest),
expected as (
    select table_name, unnest(generate_series(first_date::timestamp, published_at - interval 1 day, interval 1 day))::date
        as as_of_date
    from (select distinct table_name from manifest), (select first_date, date_trunc('day', published_at) as published_at
        from published)
),
audited as (
    select table_name, partition as as_of_date, arg_max(verdict, attempt) as verdict,
        min(recorded_at) filter (verdict <> 'FAIL') as first_live_at, max(recorded_at) as last_audited_at
    from gate_ledger group by all
)
select table_name, as_of_date, as_of_date + interval (24 + {deadline}) hour as due_at, coalesce(verdict <> 'FAIL', false) as is_live,
    coalesce(first_live_at <= as_of_date + interval (24 + {deadline}) hour, false) as was_on_time, first_live_at, last_audited_at
from expected left join audited using (table_name, as_of_date);
comment on view analytics.day_freshness is 'One row per table and day up to the publication: live, and by {deadline}:00 UTC of the next day?';

create or replace view analytics.gates as
select table_name, partition as as_of_date, attempt, verdict, row_count,
    list_transform(list_filter(from_json(checks, '[{"name":"VARCHAR","passed":"BOOLEAN","severity":"VARCHAR","observed":"VARCHAR"}]'),
        lambda entry: not entry.passed), lambda entry: entry.severity || ' ' || entry.name || ': ' || entry.observed) as failed_checks,
    run_id, is_backfill, recorded_at, override_reason
from gate_ledger
qualify row_number() over (partition by table_name, partition order by attempt desc) = 1;
comment on view analytics.gates is 'One row per table and day: the latest verdict and what did not pass.';

-- From recorded_at on a version was what readers found, until another one superseded it.
create or replace macro analytics.scores_as_of(day, known_at) as table
select * from analytics.score_versions
where as_of_date = day::date and recorded_at <= known_at::timestamp
    and (superseded_at is null or superseded_at > known_at::timestamp);
comment on macro table analytics.scores_as_of is
'One row per user: the rule scores of a day as they stood at a moment (UTC): from analytics.scores_as_of(date, timestamp).';

create or replace view analytics.current_model_scores as
select as_of_date, user_id, score, probability, percentile, confidence, model_version, model_scope, feature_hash,
    recorded_at as prediction_time
from model_scores where as_of_date = (select max(as_of_date) from rule_scores);
comment on view analytics.current_model_scores is
'One row per user whom the champion scored on the newest day. prediction_time: when the score went live (UTC).';

create or replace view analytics.current_intent_scores as
select as_of_date, user_id, score, source, scale, rule_score, model_score, difference, is_disagreement, fallback_reason
from intent_scores where as_of_date = (select max(as_of_date) from intent_scores)
order by score desc nulls last, probability desc nulls last, user_id;
comment on view analytics.current_intent_scores is
'One row per user: rules and model side by side on the newest day, how far they are apart, and the score to act on.';

create or replace view analytics.reason_codes as
with inputs as (
    select name as feature, description as meaning, type from dim_feature
    union all values ('rule_score', 'Points by the rules.', 'DOUBLE'))
select 'R-' || upper(left(sha256(feature), 6)) as reason_code, feature, meaning
from (
    select feature, meaning from inputs
    -- The flags of GESTURE_MISSING_NUMBERS=imputed.
    union all select 'imputed_' || feature, 'Not known: ' || meaning from inputs
    where type in ('SMALLINT', 'INTEGER', 'BIGINT', 'DOUBLE')
)
union all values ('R-000000', null, 'Where every score starts, and all that is not listed.');
comment on view analytics.reason_codes is 'One row per reason code of score_reasons: the same in every model.';

-- Trainings of one day replace each other in their tables; every version stays known.
create or replace view analytics.model_versions as
select distinct on (model_version) * exclude (superseded_at)
from (select *, null::timestamp as superseded_at from candidate_model
    union all by name select * from superseded.candidate_model)
order by model_version, recorded_at;
comment on view analytics.model_versions is 'One row per version that was ever trained: what it resolves to.';

create or replace view analytics.model_figures as
select distinct on (as_of_date, model_version, part, segment, metric) * exclude (superseded_at)
from (select *, null::timestamp as superseded_at from model_evaluation
    union all by name select * from superseded.model_evaluation)
order by as_of_date, model_version, part, segment, metric, recorded_at desc;
comment on view analytics.model_figures is
'One row per training day, version, part, segment and metric; a champion is judged again on each later training day.';

create or replace view analytics.model_metrics as
with figures as (
    pivot (select as_of_date, model_version, metric, value from analytics.model_figures
        where part = 'test' and segment = 'all')
    on metric in ('precision', 'recall', 'f1', 'roc_auc', 'accuracy', 'base_rate', 'mean_probability')
    using any_value(value) group by as_of_date, model_version
),
activated as (
    select model_version, min(activated_at) as deployed_at, max(activated_at) as last_activated_at,
        bool_or(activation = newest) as is_active
    from model_activations, (select max(activation) as newest from model_activations) group by all
)
select row_number() over (order by recorded_at, model_version) as id, model_version, 'xgboost' as model_type,
    precision, recall, f1 as f1_score, roc_auc as auc_roc, accuracy, figures.base_rate as conversion_rate,
    null::double as contact_success_rate, mean_probability as avg_prediction_score, training_samples,
    validation_samples, json_array_length(features)::integer as feature_count, training_seconds as training_duration,
    coalesce(is_active, false) as is_active, deployed_at, recorded_at as created_at,
    greatest(recorded_at, last_activated_at) as updated_at
from analytics.model_versions join figures using (as_of_date, model_version) left join activated using (model_version);
comment on view analytics.model_metrics is
'One row per version: its figures on its test part, in document 001''s columns. Nobody reports contacts yet.';

create or replace view analytics.schema_version as
select distinct schema_version, snapshot_id, published_at from manifest;
comment on view analytics.schema_version is 'The version of this file''s tables and columns: docs/schema_changelog.md.';
