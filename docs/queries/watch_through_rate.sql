-- Share of views with 80 % watched. Document 004's query fails as printed: interactions have no duration, pings have.
select sum(case when event_type = 'view' and watch_time_sec / duration_sec >= 0.8 then 1 else 0 end) * 1.0 /
    sum(case when event_type = 'view' then 1 else 0 end) as watch_through_rate
from ping_interactions join pings using (ping_id)
where pings.as_of_date = (select max(as_of_date) from recsys_health);
