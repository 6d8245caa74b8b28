-- Share of impressions that no view of the same user and ping follows within 24 hours; of those of the last 24 hours nobody knows.
with impressions as (
    select event_id, user_id, ping_id, event_at as shown_at from ping_interactions
    where event_type = 'impression' and event_at <= (select max(as_of_date) from recsys_health)
)
select avg(case when views = 0 then 1 else 0 end) as impressions_without_view
from (
    select impressions.event_id, count(view.event_at) as views
    from impressions left join ping_interactions as view
        on view.user_id = impressions.user_id and view.ping_id = impressions.ping_id and view.event_type = 'view'
        and view.event_at between shown_at and shown_at + interval 24 hour
    group by impressions.event_id
) as followed;
