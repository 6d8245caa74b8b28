-- Every view stands on tables that have passed their audit; "current" is the newest as-of day, never the last write, so a
-- backfill of an old day does not move it.

create or replace view analytics.current_model_scores as
select as_of_date, user_id, score, probability, percentile, confidence, model_version, model_scope, feature_hash,
    recorded_at as prediction_time
from main.model_scores where as_of_date = (select max(as_of_date) from main.rule_scores);
comment on view analytics.current_model_scores is
'One row per user whom the champion scored on the newest day. prediction_time: when the score went live (UTC).';
comment on column analytics.current_model_scores.prediction_time is 'When the score went live (UTC).';

create or replace view analytics.current_scores as
with reasons as (
    select as_of_date, user_id, string_agg(sentence, '; ' order by place) as by_model
    from main.score_reasons where direction = 'up' and place <= 3 and as_of_date = (select max(as_of_date) from main.intent_scores)
    group by all
)
select as_of_date, user_id, intent.score, scale, probability, source, rule_score, model_score, rank_difference,
    is_disagreement, fallback_reason, band as rule_band, coalesce(by_model, explanation) as explanation, last_event_at,
    model_version, intent.rule_set_version
from main.intent_scores as intent join main.rule_scores using (as_of_date, user_id) left join reasons using (as_of_date, user_id)
where as_of_date = (select max(as_of_date) from main.intent_scores)
order by intent.score desc nulls last, probability desc nulls last, last_event_at desc nulls last, user_id;
comment on view analytics.current_scores is
'One row per user: the score to act on of the newest day, why, and the scores of rules and model beside it.';
comment on column analytics.current_scores.rule_band is
'Band that the points of the rules (rule_score) fall in, whatever the score to act on is; or suppressed.';

create or replace view analytics.current_score_trend as
select today.as_of_date, today.user_id, today.score, today.scale,
    today.score - any_value(before.score) filter (before.as_of_date = today.as_of_date - 1) as change_1d,
    today.score - any_value(before.score) filter (before.as_of_date = today.as_of_date - 7) as change_7d,
    today.score - any_value(before.score) filter (before.as_of_date = today.as_of_date - 30) as change_30d
from main.intent_scores as today left join main.intent_scores as before
    on before.user_id = today.user_id and before.scale = today.scale and today.as_of_date - before.as_of_date in (1, 7, 30)
where today.as_of_date = (select max(as_of_date) from main.intent_scores)
group by today.as_of_date, today.user_id, today.score, today.scale
order by change_7d desc nulls last, today.user_id;
comment on view analytics.current_score_trend is
'One row per user of the newest day: how the score to act on has moved since the day, the week and 30 days before.';
comment on column analytics.current_score_trend.change_1d is
'The score less that of the day before; null where there was none, or one of another scale.';
comment on column analytics.current_score_trend.change_7d is 'The score less that of 7 days before, likewise.';
comment on column analytics.current_score_trend.change_30d is 'The score less that of 30 days before, likewise.';

create or replace view analytics.call_list as
select (row_number() over (
        order by score desc, probability desc nulls last, last_event_at desc nulls last, user_id))::integer as rank,
    * exclude (rank_difference, is_disagreement, fallback_reason)
from analytics.current_scores as scores
where score is not null and (
    coalesce(fallback_reason not in ('already_converted', 'undated_purchase'), true)
    or exists (from main.rule_sets as sets where sets.as_of_date = scores.as_of_date
        and json_extract_string(content, '$.call_list') = 'everybody'))
order by rank;
comment on view analytics.call_list is
'Whom to call first, the whole list of the newest day: one row per user who can still do what the label means.';

comment on column analytics.call_list.rank is 'Place, from 1.';

create or replace view analytics.left_out_of_call_list as
select as_of_date, fallback_reason as reason, count(*) as users
from main.intent_scores as intent where score is not null and fallback_reason in ('already_converted', 'undated_purchase')
    and not exists (from main.rule_sets as sets where sets.as_of_date = intent.as_of_date
        and json_extract_string(content, '$.call_list') = 'everybody')
group by all order by all;
comment on view analytics.left_out_of_call_list is
'One row per day and reason: how many users with a score are not called, because they have done it already.';

comment on column analytics.left_out_of_call_list.reason is
'already_converted: bought, by an event (funnel.bought) or by the CRM (revenue_by_band.buyers) or both; undated_purchase: by the CRM, at an unknown time.';
comment on column analytics.left_out_of_call_list.users is 'How many users with a score.';

create or replace view analytics.current_top_users as
select * from main.top_users where as_of_date = (select max(as_of_date) from main.intent_scores) order by rank;
comment on view analytics.current_top_users is 'The head of the call list of the newest day, with the way into the CRM.';

-- A subscriber whom two users share counts once, in the band of the higher points.
create or replace view analytics.revenue_by_band as
with people as (
    select scores.as_of_date, scores.band as rule_band, scores.score, subscribers.made_purchase, subscribers.revenue,
        subscribers.mailchimp_id is not null and row_number() over (
            partition by subscribers.mailchimp_id order by scores.score desc, scores.user_id) = 1 as is_counted
    from main.rule_scores as scores
    left join main.user_features as features using (as_of_date, user_id)
    left join main.validated_subscribers as subscribers
        on subscribers.as_of_date = scores.as_of_date and subscribers.mailchimp_id = features.mailchimp_id
    where scores.as_of_date = (select max(as_of_date) from main.rule_scores))
select as_of_date, rule_band, count(*) as people, count(*) filter (is_counted and made_purchase = 1) as buyers,
    sum(revenue) filter (is_counted) as revenue,
    round(avg(revenue::double) filter (is_counted), 2) as mean_revenue
from people group by all order by max(score) desc;
comment on view analytics.revenue_by_band is
'One row per band of the rules'' points on the newest day, whatever score is acted on: what its people have spent, by the CRM.';
comment on column analytics.revenue_by_band.rule_band is 'Band that the points of the rules fall in; or suppressed.';
comment on column analytics.revenue_by_band.people is 'Users in the band.';
comment on column analytics.revenue_by_band.buyers is 'Subscribers among them with a purchase in the CRM, whether or not an event tells of it (funnel.bought).';
comment on column analytics.revenue_by_band.revenue is
'Sum of what they have spent, in the currency of crm_snapshot; null where no amount is known.';
comment on column analytics.revenue_by_band.mean_revenue is 'Mean of that over the people with a known amount.';

create or replace view analytics.user_360 as
select scores.score, scores.scale, scores.rule_band, scores.explanation, features.*
from analytics.current_features as features join analytics.current_scores as scores using (as_of_date, user_id);
comment on view analytics.user_360 is 'One row per user: the score to act on, reasons and features of the newest day.';

-- Trainings of one day replace each other in their tables; every version stays known.
create or replace view analytics.model_versions as
select distinct on (model_version) * exclude (superseded_at)
from (select *, null::timestamp as superseded_at from main.candidate_model
    union all by name select * from superseded.candidate_model)
order by model_version, recorded_at;
comment on view analytics.model_versions is 'One row per version that was ever trained: what it resolves to.';

create or replace view analytics.model_figures as
select distinct on (as_of_date, model_version, part, segment, metric) * exclude (superseded_at)
from (select *, null::timestamp as superseded_at from main.model_evaluation
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
    from main.model_activations, (select max(activation) as newest from main.model_activations) group by all
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
comment on column analytics.model_metrics.id is 'Counts the versions, oldest first.';
comment on column analytics.model_metrics.model_type is 'Kind of the model.';
comment on column analytics.model_metrics.precision is 'Of those that the model calls buyers, the share that bought.';
comment on column analytics.model_metrics.recall is 'Of the buyers, the share that the model found.';
comment on column analytics.model_metrics.f1_score is 'Harmonic mean of precision and recall.';
comment on column analytics.model_metrics.auc_roc is 'Area under the ROC curve.';
comment on column analytics.model_metrics.accuracy is 'Share of users that it was right about.';
comment on column analytics.model_metrics.conversion_rate is 'Share of the test part that bought.';
comment on column analytics.model_metrics.contact_success_rate is 'Nobody reports contacts yet: always null.';
comment on column analytics.model_metrics.avg_prediction_score is 'Mean probability on the test part.';
comment on column analytics.model_metrics.feature_count is 'Features that it reads.';
comment on column analytics.model_metrics.training_duration is 'Seconds that the training took.';
comment on column analytics.model_metrics.is_active is 'Whether it is the version that was activated last.';
comment on column analytics.model_metrics.deployed_at is 'When it was first activated (UTC); null: never.';
comment on column analytics.model_metrics.created_at is 'When it was trained (UTC).';
comment on column analytics.model_metrics.updated_at is 'When it was trained or last activated (UTC).';
