-- Every view stands on tables that have passed their audit; "current" is the newest as-of day, never the last write, so a
-- backfill of an old day does not move it.

create or replace view analytics.visits as
select * exclude (as_of_date, filed, recorded_at, run_id, is_backfill)
from main.sessions group by all having sum(filed) > 0;
comment on view analytics.visits is 'One row per visit as it is known now.';
