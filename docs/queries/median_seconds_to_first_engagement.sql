-- From the first impression of a user and ping to their first view or like from then on, where there is one.
with first_impressions as (
    select user_id, ping_id, min(event_at) as shown_at from ping_interactions where event_type = 'impression' group by all
)
select median(seconds) as median_seconds_to_first_engagement
from (
    select date_diff('microsecond', shown_at, min(event_at)) / 1e6 as seconds
    from first_impressions join ping_interactions using (user_id, ping_id)
    where event_type in ('view', 'like') and event_at >= shown_at
    group by user_id, ping_id, shown_at
) as waits;
