-- Every view stands on tables that have passed their audit; "current" is the newest as-of day, never the last write, so a
-- backfill of an old day does not move it.

create or replace view analytics.data_freshness as
select table_name, as_of_date, verdict, row_count, published_at, snapshot_id,
    (select max(last_event_at) from main.rule_scores) as last_event_at,
    date_diff('hour', (select max(last_event_at) from main.rule_scores), published_at) as hours_from_last_event_to_publication,
    -- Asked of the clock, so that a file that nobody replaces says so itself; make_timestamp is in UTC wherever it is opened.
    case when make_timestamp(epoch_us(now())) > (
            select max(as_of_date) from main.manifest where as_of_date < published_at::date) + interval (48 + {deadline}) hour
        then 'LATE' else 'in time' end as timeliness
from main.manifest;
comment on view analytics.data_freshness is 'One row per table: its newest day, and how old its newest event was.';
comment on column analytics.data_freshness.as_of_date is 'Its newest day.';
comment on column analytics.data_freshness.timeliness is 'LATE where a newer day than any in this file was due by now: by {deadline}:00 UTC of the day after it.';
comment on column analytics.data_freshness.hours_from_last_event_to_publication is 'Hours from the last event of anybody to the publication.';

-- Every day up to the publication has its own deadline: a fresh backfill of an old day hides no missing yesterday.
-- The publication puts the hour in: GESTURE_FRESHNESS_DEADLINE.
create or replace view analytics.day_freshness as
with published as (select max(published_at) as published_at, min(first_date) as first_date from main.manifest),
expected as (
    select table_name, unnest(generate_series(first_date::timestamp, published_at - interval 1 day, interval 1 day))::date
        as as_of_date
    from (select distinct table_name from main.manifest), (select first_date, date_trunc('day', published_at) as published_at
        from published)
),
audited as (
    select table_name, partition as as_of_date, arg_max(verdict, attempt) as verdict,
        min(recorded_at) filter (verdict <> 'FAIL' and recorded_at >= partition + interval 1 day) as first_live_at, max(recorded_at) as last_audited_at
    from main.gate_ledger group by all
)
select table_name, as_of_date, as_of_date + interval (24 + {deadline}) hour as due_at, coalesce(verdict <> 'FAIL', false) as is_live,
    coalesce(first_live_at <= as_of_date + interval (24 + {deadline}) hour, false) as was_on_time, first_live_at, last_audited_at
from expected left join audited using (table_name, as_of_date);
comment on view analytics.day_freshness is 'One row per table and day up to the publication: live, and by {deadline}:00 UTC of the next day?';
comment on column analytics.day_freshness.as_of_date is 'Day that was due.';
comment on column analytics.day_freshness.due_at is 'By when it was to be live (UTC).';
comment on column analytics.day_freshness.is_live is 'Whether its latest audit is no FAIL.';
comment on column analytics.day_freshness.was_on_time is 'Whether it was live by then.';
comment on column analytics.day_freshness.first_live_at is 'When the whole day first went live (UTC); null: never.';
comment on column analytics.day_freshness.last_audited_at is 'When it was last audited (UTC); null: never.';

create or replace view analytics.gates as
select table_name, partition as as_of_date, attempt, verdict, row_count,
    list_transform(list_filter(from_json(checks, '[{"name":"VARCHAR","passed":"BOOLEAN","severity":"VARCHAR","observed":"VARCHAR"}]'),
        lambda entry: not entry.passed), lambda entry: entry.severity || ' ' || entry.name || ': ' || entry.observed) as failed_checks,
    run_id, is_backfill, recorded_at, override_reason
from main.gate_ledger
qualify row_number() over (partition by table_name, partition order by attempt desc) = 1;
comment on view analytics.gates is 'One row per table and day: the latest verdict and what did not pass.';
comment on column analytics.gates.as_of_date is 'Day that was audited.';
comment on column analytics.gates.failed_checks is 'Severity, name and finding of each check that did not pass.';

create or replace view analytics.schema_version as
select distinct schema_version, snapshot_id, published_at from main.manifest;
comment on view analytics.schema_version is 'The version of this file''s tables and columns: docs/schema_changelog.md.';

create or replace view analytics.reason_codes as
with inputs as (
    select name as feature, description as meaning, type from main.dim_feature
    union all values ('rule_score', 'Points by the rules.', 'DOUBLE'))
select 'R-' || upper(left(sha256(feature), 6)) as reason_code, feature, meaning
from (
    select feature, meaning from inputs
    -- The flags of GESTURE_MISSING_NUMBERS=imputed.
    union all select 'imputed_' || feature, 'Not known: ' || meaning from inputs
    where type in ('SMALLINT', 'INTEGER', 'BIGINT', 'DOUBLE')
    -- What a rule adds to a model that stands on them; the rules of every set that ever scored.
    union all select 'rule:' || (rule->>'id'), arg_max(rule->>'because', as_of_date)
    from (select as_of_date, unnest(content->'$.rules[*]') as rule from main.rule_sets) group by 1
)
union all values ('R-000000', null, 'Where every score starts, and all that is not listed.');
comment on view analytics.reason_codes is 'One row per reason code of score_reasons: the same in every model.';
comment on column analytics.reason_codes.reason_code is 'Code of the reason, the same in every model.';
comment on column analytics.reason_codes.feature is 'Feature that it stands for; null: all that is not listed.';
comment on column analytics.reason_codes.meaning is 'What the feature says.';
