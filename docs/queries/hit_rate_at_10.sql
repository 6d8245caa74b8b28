-- Share of users with a list who shared, commented on or half watched one of its first ten on the day after.
select avg(case when hit_count > 0 then 1 else 0 end) as hit_rate_at_10
from (
    select r.user_id, count(*) filter (where t.event_type in ('share', 'comment')
        or (t.event_type = 'view' and t.watch_time_sec / p.duration_sec >= 0.5)) as hit_count
    from ping_recommendations as r
    left join ping_interactions as t
        on r.user_id = t.user_id and r.ping_id = t.ping_id and t.as_of_date = r.as_of_date + 1
    left join pings as p on p.ping_id = t.ping_id and p.as_of_date = t.as_of_date
    where r.rank <= 10 and r.as_of_date = (select max(as_of_date) - 1 from recsys_health)
    group by r.user_id
) as s;
