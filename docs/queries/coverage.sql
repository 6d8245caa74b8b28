-- Share of the catalogue that is on any list of the newest day.
select count(distinct ping_id) filter (where ping_id in (
        select ping_id from ping_recommendations where as_of_date = (select max(as_of_date) from recsys_health)
    )) * 1.0 / count(distinct ping_id) as coverage
from pings where as_of_date = (select max(as_of_date) from recsys_health);
