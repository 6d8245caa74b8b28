-- Every view stands on tables that have passed their audit; "current" is the newest as-of day, never the last write, so a
-- backfill of an old day does not move it.

create or replace view analytics.current_rule_scores as
select * from main.rule_scores where as_of_date = (select max(as_of_date) from main.rule_scores);
comment on view analytics.current_rule_scores is
'One row per user: the points of the rules on the newest day. The score to act on: analytics.current_scores.';

create or replace view analytics.score_history as
select as_of_date, user_id, score, points, band, explanation, rule_set_version, recorded_at, run_id, is_backfill,
    lag(score) over (partition by user_id order by as_of_date) as previous_score,
    score - lag(score) over (partition by user_id order by as_of_date) as score_change
from main.rule_scores;
comment on view analytics.score_history is 'One row per user and day: how the rule scores moved.';
comment on column analytics.score_history.previous_score is 'Score of the day before that the user has; null on the first.';
comment on column analytics.score_history.score_change is 'The score less the one before.';

create or replace view analytics.score_versions as
select *, null::timestamp as superseded_at from main.rule_scores
union all by name select * from superseded.rule_scores;
comment on view analytics.score_versions is
'One row per user, day and version: what was said when. recorded_at and superseded_at tell how long it stood.';

create or replace view analytics.current_reasons as
select user_id, rule_id, because, value, points
from main.rule_contributions
where as_of_date = (select max(as_of_date) from main.rule_contributions) and points > 0
order by user_id, points desc, rule_id;
comment on view analytics.current_reasons is 'One row per user and rule that adds points, on the newest day.';

create or replace view analytics.funnel as
select as_of_date, count(*) as users, count(*) filter (where event_count > 0) as active_ever,
    count(*) filter (where pricing_page_view_count > 0) as saw_prices,
    count(*) filter (where demo_request_click_count > 0) as asked_for_a_demo,
    count(*) filter (where signup_count > 0) as signed_up,
    count(*) filter (where calendar_booking_count > 0) as booked_a_meeting,
    count(*) filter (where purchase_count > 0) as bought
from main.user_features group by all order by as_of_date;
comment on view analytics.funnel is 'One row per day: how many users have ever come how far by their events; who has bought by the CRM: revenue_by_band.';
comment on column analytics.funnel.users is 'Users who are known.';
comment on column analytics.funnel.active_ever is 'Of them, those with an event.';
comment on column analytics.funnel.saw_prices is 'Those who opened a page of prices.';
comment on column analytics.funnel.asked_for_a_demo is 'Those who asked for a demo.';
comment on column analytics.funnel.signed_up is 'Those who signed up.';
comment on column analytics.funnel.booked_a_meeting is 'Those who booked a meeting.';
comment on column analytics.funnel.bought is
'Those with an event of a purchase. Who bought by the CRM only is not among them: user_features.made_purchase.';

create or replace view analytics.bands as
select as_of_date, band, count(*) as users, round(avg(score), 2) as mean_score
from main.rule_scores group by all order by as_of_date, mean_score desc;
comment on view analytics.bands is 'One row per day and band of the rules'' points.';
comment on column analytics.bands.users is 'Users in the band.';
comment on column analytics.bands.mean_score is 'Their mean score.';

-- From recorded_at on a version was what readers found, until another one superseded it.
create or replace macro analytics.scores_as_of(day, known_at) as table
select * from analytics.score_versions
where as_of_date = day::date and recorded_at <= known_at::timestamp
    and (superseded_at is null or superseded_at > known_at::timestamp);
comment on macro table analytics.scores_as_of is
'One row per user: the rule scores of a day as they stood at a moment (UTC): from analytics.scores_as_of(date, timestamp). Of a file that was attached: use it first.';
