-- Every view stands on tables that have passed their audit; "current" is the newest as-of day, never the last write, so a
-- backfill of an old day does not move it.

create or replace view analytics.current_features as
select * from main.user_features where as_of_date = (select max(as_of_date) from main.user_features);
comment on view analytics.current_features is 'One row per user: everything known at the end of the newest day.';
