-- Views, likes, comments and shares per impression.
select sum(case when event_type in ('view', 'like', 'comment', 'share') then 1 else 0 end) * 1.0 /
    sum(case when event_type = 'impression' then 1 else 0 end) as engagement_per_impression
from ping_interactions;
