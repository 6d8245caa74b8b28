-- Every view stands on tables that have passed their audit; "current" is the newest day whose lists passed, never the last
-- write; between two nights that may be the day in progress, as a refresh left it. Where nothing of short videos ever landed, all are empty.

create or replace view analytics.current_ping_recommendations as
select as_of_date, user_id, rank, ping_id, score, popularity_points, category_points, creator_points, freshness_points, reason,
    category, main_hashtag, creator_id, weights_version
from main.ping_recommendations where as_of_date = (
    select max(partition) from main.gate_ledger where table_name = 'ping_recommendations' and verdict = 'PASS')
order by user_id, rank;
comment on view analytics.current_ping_recommendations is
'One row per user and place of their list of the newest day: what to show next, and why.';

create or replace view analytics.user_ping_engagement_to_date as
select max(as_of_date) as as_of_date, user_id, ping_id, (sum(engagement_units) || 'e-12')::double as engagement_score,
    max(last_event_at) as last_event_at, sum(event_count)::bigint as event_count
from main.user_ping_engagement group by user_id, ping_id;
comment on view analytics.user_ping_engagement_to_date is
'One row per user and ping: what all of the user''s interactions with it are worth, as document 004 has it.';
comment on column analytics.user_ping_engagement_to_date.as_of_date is 'The last day that added any.';
comment on column analytics.user_ping_engagement_to_date.engagement_score is 'Points of all days.';
comment on column analytics.user_ping_engagement_to_date.last_event_at is 'The last interaction (UTC).';
comment on column analytics.user_ping_engagement_to_date.event_count is 'How many interactions there were.';

create or replace view analytics.current_ping_engagement as
select as_of_date, ping_engagement.rank, ping_id, global_engagement, user_count, creator_id, main_hashtag, category, duration_sec,
    created_at
from main.ping_engagement join main.pings using (as_of_date, ping_id)
where as_of_date = (
    select max(partition) from main.gate_ledger where table_name = 'ping_recommendations' and verdict = 'PASS')
order by ping_engagement.rank;
comment on view analytics.current_ping_engagement is
'One row per ping that anybody did anything with, of the newest day, the most engaging first, and what the catalogue says of it.';

create or replace view analytics.recsys_health_history as
select as_of_date,
    any_value(value) filter (metric = 'watch_through_rate') as watch_through_rate,
    any_value(value) filter (metric = 'engagement_per_impression') as engagement_per_impression,
    any_value(value) filter (metric = 'hit_rate_at_10') as hit_rate_at_10,
    any_value(value) filter (metric = 'median_seconds_to_first_engagement') as median_seconds_to_first_engagement,
    any_value(value) filter (metric = 'coverage') as coverage,
    any_value(value) filter (metric = 'impressions_without_view') as impressions_without_view,
    any_value(value) filter (metric = 'user_retention') as user_retention,
    any_value(value) filter (metric = 'creator_retention') as creator_retention,
    any_value(value) filter (metric = 'mean_session_seconds') as mean_session_seconds,
    any_value(value) filter (metric = 'mean_session_events') as mean_session_events
from main.recsys_health group by as_of_date order by as_of_date;
comment on view analytics.recsys_health_history is
'One row per day: the six figures of document 004''s dashboard, and who comes back. What each is counted over: recsys_health.';
comment on column analytics.recsys_health_history.watch_through_rate is 'Share of views with 80 % watched.';
comment on column analytics.recsys_health_history.engagement_per_impression is
'Views, likes, comments and shares ÷ impressions.';
comment on column analytics.recsys_health_history.hit_rate_at_10 is
'Share of users with a list of the day before who shared, commented on or half watched one of its first ten on the day.';
comment on column analytics.recsys_health_history.median_seconds_to_first_engagement is
'From the first impression of a user and ping to the first view or like, where there is one.';
comment on column analytics.recsys_health_history.coverage is 'Share of the catalogue that is on any list of the day.';
comment on column analytics.recsys_health_history.impressions_without_view is
'Share of impressions that no view of the same user and ping follows within 24 hours; none of the last 24 hours is asked.';
comment on column analytics.recsys_health_history.user_retention is
'Share of the users of the seven days before who were there in the last seven, too.';
comment on column analytics.recsys_health_history.creator_retention is
'Share of the creators who published in the seven days before who did so in the last seven, too.';
comment on column analytics.recsys_health_history.mean_session_seconds is
'Mean length of the last seven days'' sessions; a pause of 30 minutes ends one.';
comment on column analytics.recsys_health_history.mean_session_events is 'Interactions in one of them.';

create or replace view analytics.recommendation_quality as
with plain as (
    select as_of_date, measure, policy, value, low, high from main.recommendation_evaluation
    where policy <> 'served' and measure in ('hit_rate', 'ndcg', 'reciprocal_rank')
    qualify row_number() over (partition by as_of_date, measure order by value desc, policy) = 1
)
select as_of_date, measure, served.value, served.low, served.high, plain.policy as best_plain_policy,
    plain.value as best_plain_value, served.value - plain.value as difference,
    served.low > plain.high or served.high < plain.low as is_clear, user_count, excluded_count
from main.recommendation_evaluation as served join plain using (as_of_date, measure) where served.policy = 'served'
order by as_of_date, measure;
comment on view analytics.recommendation_quality is
'One row per day and measure of which more is better: the lists that were served beside the best of the plain ones.';
comment on column analytics.recommendation_quality.value is 'Of the lists that were served.';
comment on column analytics.recommendation_quality.best_plain_policy is
'The plain policy that did best that day; chosen after the fact, so it flatters the plain ones.';
comment on column analytics.recommendation_quality.best_plain_value is 'Its value.';
comment on column analytics.recommendation_quality.difference is 'Served less best plain.';
comment on column analytics.recommendation_quality.is_clear is 'Whether the 95 % intervals of both lie apart.';

create or replace view analytics.current_ping_insights as
select as_of_date, place, insight, sentence, numbers, counted
from main.ping_insights where as_of_date = (
    select max(partition) from main.gate_ledger where table_name = 'ping_insights' and verdict = 'PASS') order by place;
comment on view analytics.current_ping_insights is 'One row per sentence about the short videos of the newest day.';
