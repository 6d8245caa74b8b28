"""The night as a good engineer would write it by hand: DuckDB SQL over one connection, without gates.

Belongs here: the script that makes the tables of a night and the published copy, in the same order, from the same
landing file and CRM. Does not belong here: running it against the product (`runs.py`).

It knows what the product has to find out: that the file is of the native form, that nobody else writes, that the rule
set has these three scales. The tables hold the same values, which every run compares; what the product adds for the
gates (ledger, hashes, sorted storage, the dressed copy) is left out.
"""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import duckdb
import polars as pl

from gesture_assets.features.feature_registry import PROFILE, WINDOWS, feature_registry
from gesture_assets.nights.rules import rule_set_of
from gesture_assets.rules.rule_set import Rule, RuleSet
from gesture_assets.settings import Settings, load_settings
from gesture_assets.sources.canonical import AGENT_FAMILIES, BOT_AGENTS
from gesture_assets.sources.personal import keyed_hash_sql, normal_email_sql, pseudonym_key
from gesture_assets.subscribers.tables import CRM_TABLES
from gesture_assets.vocabulary.event_types import EVENT_TYPE_NAMES
from gesture_assets.vocabulary.features import DEVICES, tag_column
from gesture_assets.vocabulary.personal_data import masked_sql

COUNTS = [f"{name}_count" for name in EVENT_TYPE_NAMES]
SPANNED = [*COUNTS, "event_count", "session_count"]
ONCE = [f"{kind}_session_count" for kind in ("repeat", "bounced", "spam", *DEVICES)]
LASTING = (
    "country",
    "city",
    "gender",
    "email_key",
    "account_balance_usd",
    "recent_pages_viewed",
    "recent_pricing_views",
)
SECONDS = "sum(round(coalesce({}, 0) * 1000)::bigint)::bigint"


def landed_sql(rows: str, headers: list[str], day: date, key: str) -> str:
    """The rows of files, `rows` with `file_row_number`, in the words of the product, each with what is against it."""
    email = normal_email_sql("email")
    families = " ".join(f"when regexp_matches(agent, '{p}') then '{name}'" for p, name in AGENT_FAMILIES)
    types = ", ".join(f"'{name}'" for name in EVENT_TYPE_NAMES)
    fields = ", ".join(f"{h} := '***'" if h in ("email", "user_agent") else f"{h} := {h}::varchar" for h in headers)
    return f"""
        with rows as (
            select *, file_row_number + 1 as landing_line, lower(trim(event_type)) as event_name,
                coalesce(user_id, 'anon:' || anonymous_id) as who, lower(user_agent) as agent,
                if({email} like '%_@_%.__%', {keyed_hash_sql(email, key)}, null) as email_key
            from {rows}
        ), judged as (
            select *, case when who is null then 'missing_user_id' when event_name is null then 'missing_event_type'
                when event_name not in ({types}) then 'unknown_event_type'
                when event_at is null then 'unparsable_timestamp'
                when received_at is null then 'unparsable_received_at'
                when event_at > received_at + interval 5 minute then 'future_ts'
                when event_at < received_at - interval 365 day then 'too_old' end as reason
            from rows)
        select date '{day}' as as_of_date, event_id, who as user_id, user_id as known_user_id, anonymous_id,
            event_name as event_type, event_name, event_at, received_at, 'native' as source,
            lower(device) as device, upper(country) as country, city, lower(gender) as gender, email_key,
            regexp_matches(agent, '{BOT_AGENTS}') as is_bot_agent, case {families} else 'other' end
            as user_agent_family, dwell_seconds, false as is_dwell_imputed, scroll_depth_pct, account_balance_usd,
            'native/events-{day}.parquet' as landing_file, landing_line, reason,
            if(reason is not null, {masked_sql(f"to_json(struct_pack({fields}))::varchar")}, null) as masked_row
        from judged"""


class Script:
    """The script of one night over the warehouse file of `data_dir`; `key` makes the pseudonyms."""

    def __init__(self, data_dir: Path, day: date, settings: Settings, rules: RuleSet, key: str) -> None:
        self.data_dir, self.day, self.settings, self.rules, self.key = data_dir, day, settings, rules, key
        self.path = data_dir / "warehouse.duckdb"
        self.con = duckdb.connect(str(self.path))
        self.con.execute("set TimeZone = 'UTC'")
        if settings.duckdb_memory_limit:
            self.con.execute(f"set memory_limit = '{settings.duckdb_memory_limit}'")
        if settings.duckdb_threads:
            self.con.execute(f"set threads = {settings.duckdb_threads}")

    @classmethod
    def of(cls, data_dir: Path, day: date) -> "Script":
        """The script for `data_dir`, with the settings and the rule set that the product would use there."""
        settings = load_settings()
        return cls(data_dir, day, settings, rule_set_of(settings), pseudonym_key(settings))

    def run(self) -> dict[str, float]:
        """Make every table of the night and the published copy; seconds per step, and of the whole."""
        steps: tuple[Callable[[], None], ...] = (
            self.landed_events,
            self.sessions,
            self.daily_activity,
            self.crm_subscribers,
            self.user_features,
            self.rule_scores,
            self.top_users,
            self.published_warehouse,
        )
        spent: dict[str, float] = {}
        for step in steps:
            started = time.perf_counter()
            step()
            spent[step.__name__] = time.perf_counter() - started
        return {"whole": sum(spent.values())} | spent

    def insert(self, table: str, query: str) -> None:
        """Put the rows of `query` in the place of the day's rows of `table`; columns that it does not have are left."""
        has = [row[0] for row in self.con.execute(f"describe {table}").fetchall()]
        given = [row[0] for row in self.con.execute(f"describe {query}").fetchall()]
        columns = ", ".join(name for name in given if name in has)
        self.con.execute(f"delete from {table} where as_of_date = date '{self.day}'")
        self.con.execute(
            f"""insert into {table} by name select {columns}, timestamp '{self.day}' as recorded_at,
            'by hand' as run_id, false as is_backfill from ({query})"""
        )

    def landed_events(self) -> None:
        """Files to events, the rows set aside, and the account of both."""
        (path,) = (self.data_dir / "landing" / "native").glob(f"events-{self.day}.*")
        headers = [row[0] for row in self.con.execute(f"describe from '{path}'").fetchall()]
        numbered = f"(select row_number() over () as file_row_number, * from '{path}')"
        rows = numbered if path.suffix == ".csv" else f"read_parquet('{path}', file_row_number=true)"
        self.con.execute(f"create or replace temp table landed as {landed_sql(rows, headers, self.day, self.key)}")
        self.con.execute(
            f"""create or replace temp table accepted as
            with late as (select min(event_at::date) as since from landed
                where reason is null and event_at < date '{self.day}'),
            before as (select event_id from raw_events where as_of_date >= (select since from late)
                and as_of_date < date '{self.day}')
            select * exclude (reason, masked_row) from landed
            anti join (select event_id from before semi join (select event_id from landed
                where event_at < date '{self.day}') using (event_id)) using (event_id)
            where reason is null"""
        )
        self.con.execute(
            """create or replace temp table copies as select event_id, landing_line from accepted
            semi join (select event_id from accepted group by event_id having count(*) > 1) using (event_id)
            qualify row_number() over (partition by event_id order by received_at, landing_line) > 1"""
        )
        self.con.execute(
            """create or replace temp table bots as
            select user_id from (
                select user_id, count(*) as n, sum(coalesce(dwell_seconds, 0)) as dwell, bool_or(is_bot_agent) as says
                from accepted anti join copies using (event_id, landing_line)
                group by user_id, date_trunc('minute', event_at))
            group by user_id having bool_or(says) or max(n) > 30 or (sum(n) >= 100 and sum(dwell) = 0)"""
        )
        self.con.execute(
            """create or replace temp table events as
            select accepted.*, bots.user_id is not null as is_bot
            from accepted anti join copies using (event_id, landing_line) left join bots using (user_id)"""
        )
        self.insert("raw_events", "from events")
        self.insert(
            "quarantined_events",
            """select *, case reason when 'unknown_event_type' then 'every_event_has_a_known_type'
                when 'future_ts' then 'no_event_comes_from_the_future'
                when 'too_old' then 'no_event_is_older_than_a_year'
                else 'no_required_value_is_missing' end as check_name from landed where reason is not null""",
        )
        self.insert(
            "landing_reconciliation",
            """select as_of_date, source, landing_file, landed_count, accepted_count, quarantined_count, late_count,
                landed_count - accepted_count - quarantined_count as duplicate_count
            from (select as_of_date, source, landing_file, count(*) as landed_count, count(reason) as quarantined_count
                from landed group by all)
            join (select landing_file, count(*) as accepted_count,
                count(*) filter (where event_at::date < as_of_date) as late_count from events group by all)
                using (landing_file)""",
        )
        self.insert(
            "identity_links",
            """select as_of_date, 'anon:' || anonymous_id as anonymous_user_id,
                arg_min(known_user_id, (event_at, event_id)) as user_id, min(event_at) as linked_at
            from events where anonymous_id is not null and known_user_id is not null group by all""",
        )

    def sessions(self) -> None:
        """Visits of everybody with new events, as they were the evening before and as they are now; what differs."""
        since = self.con.execute("select (min(event_at) - interval 1 day)::date from events").fetchone()
        assert since is not None
        self.con.execute(
            f"""create or replace temp table traced as
            select user_id, event_at, event_id, device, dwell_seconds, is_bot, as_of_date < date '{self.day}' as is_old
            from raw_events join (select user_id, min(event_at) - interval 1 day as since from events group by all)
                using (user_id)
            where as_of_date >= date '{since[0]}' and event_at >= since"""
        )

        def visits(only: str) -> str:
            devices = ", ".join(f"count(*) filter (where device = '{d}') as {d}" for d in sorted(DEVICES))
            best = f"greatest({', '.join(sorted(DEVICES))})"
            commonest = " ".join(f"when {d} = {best} then '{d}'" for d in sorted(DEVICES))
            return f"""
            select user_id || '@' || strftime(started_at, '%Y%m%dT%H%M%S') as session_id, user_id, started_at, ended_at,
                event_count, dwell_seconds, case when {best} = 0 then null {commonest} end as device,
                false as is_repeat, event_count = 1 as is_bounce, false as is_spam, is_bot
            from (
                select user_id, number, min(event_at) as started_at, max(event_at) as ended_at, count(*) as event_count,
                    {SECONDS.format("dwell_seconds")} * 1e-3 as dwell_seconds, bool_or(is_bot) as is_bot, {devices}
                from (
                    select *, sum(starts) over (partition by user_id order by event_at, event_id) as number from (
                        select *, if(date_diff('second', lag(event_at) over (partition by user_id
                            order by event_at, event_id), event_at) <= 1800, 0, 1) as starts
                        from traced {only}))
                group by user_id, number)"""

        self.con.execute(f"create or replace temp table visits as {visits('')}")
        self.insert(
            "sessions",
            f"""select date '{self.day}' as as_of_date, * exclude (form), sum(form) as filed from (
                select *, 1 as form from visits union all select *, -1 from ({visits("where is_old")}))
            group by all having sum(form) <> 0""",
        )

    def daily_activity(self) -> None:
        """What each user added to each day."""
        counts = ", ".join(f"count(*) filter (where event_type = '{n}') as {n}_count" for n in EVENT_TYPE_NAMES)
        last = ", ".join(f"arg_max({n}, event_at) as {n}" for n in LASTING)
        devices = ", ".join(f"sum(filed) filter (where device = '{d}') as {d}_session_count" for d in DEVICES)
        numbers = [*COUNTS, "event_count", "dwell_seconds", "session_count", *ONCE, "session_dwell_seconds"]
        filled = ", ".join(f"coalesce({name}, 0) as {name}" for name in numbers)
        self.insert(
            "daily_activity",
            f"""select * replace ({filled}) from (
                select as_of_date, user_id, event_at::date as activity_date, is_bot, {counts}, count(*) as event_count,
                    min(event_at) as first_event_at, max(event_at) as last_event_at,
                    {SECONDS.format("dwell_seconds")} * 1e-3 as dwell_seconds, {last}
                from raw_events where as_of_date = date '{self.day}' group by all)
            full join (
                select as_of_date, user_id, started_at::date as activity_date, is_bot, sum(filed) as session_count,
                    coalesce(sum(filed) filter (where is_repeat), 0) as repeat_session_count,
                    coalesce(sum(filed) filter (where is_bounce), 0) as bounced_session_count,
                    coalesce(sum(filed) filter (where is_spam), 0) as spam_session_count, {devices},
                    {SECONDS.format("filed * dwell_seconds")} * 1e-3 as session_dwell_seconds
                from sessions where as_of_date = date '{self.day}' group by all)
            using (as_of_date, user_id, activity_date, is_bot)""",
        )

    def crm_subscribers(self) -> None:
        """The CRM's people with their tags and purchases."""
        if not (self.data_dir / "crm_database.sqlite").exists():
            return
        crm = sqlite3.connect(self.data_dir / "crm_database.sqlite")
        found: dict[str, str] = {}
        for table in CRM_TABLES:
            frame = pl.read_database(f"select * from {table}", crm, infer_schema_length=None)
            ids = {"mailchimp_id"} & set(frame.columns)
            self.con.register(f"crm_{table.lower()}", frame.cast(dict.fromkeys(ids, pl.String)).to_arrow())
            found[table] = ",".join(frame.columns)
        crm.close()
        email = normal_email_sql("user_email")
        key = keyed_hash_sql(email, self.key)
        tags = ", ".join(f"count(*) filter (where tag = '{tag}') as {tag_column(tag)}" for tag in self.settings.tags)
        named = ", ".join(f"'{tag}'" for tag in self.settings.tags)
        filled = ", ".join(
            f"coalesce({name}, 0) as {name}"
            for name in ("tag_count", "tag_other", "purchase_count", *map(tag_column, self.settings.tags))
        )
        self.con.execute(
            f"""create or replace temp table people as
            select mailchimp_id, {key} as email_key, split_part({email}, '@', 2) as email_domain,
                {email} like '%_@_%.__%' as is_email_well_formed, member_rating::smallint as member_rating,
                optin_time::date as optin_date, nullif(if(upper(country_code) = 'UK', 'GB', upper(country_code)), '')
                as country
            from crm_subscribers where optin_time::date <= date '{self.day}'
            qualify row_number() over (
                partition by email_key order by optin_date, len(mailchimp_id), mailchimp_id) = 1"""
        )
        read_on = self.day + timedelta(days=1)
        self.insert(
            "validated_subscribers",
            f"""select * replace ({filled}), (coalesce(purchase_count, 0) > 0)::smallint as made_purchase from (
                select date '{self.day}' as as_of_date, date '{read_on}' as snapshot_date, false as is_rebuilt, *
                from people
                left join (select mailchimp_id, count(*) as tag_count, {tags},
                    count(*) filter (where tag not in ({named})) as tag_other
                    from (select distinct mailchimp_id, lower(trim(tag)) as tag from crm_tags
                        where tagged_at::date <= date '{self.day}') group by all)
                    using (mailchimp_id)
                left join (select {key} as email_key, count(*) as purchase_count from crm_transactions
                    where purchased_at::date <= date '{self.day}' group by all)
                    using (email_key))""",
        )
        rows = " union all ".join(
            f"""select '{name}' as crm_table, (select count(*) from crm_{name.lower()}) as row_count,
            '{found[name]}' as column_names, '{",".join(columns)}' as expected_column_names"""
            for name, columns in CRM_TABLES.items()
        )
        self.insert(
            "crm_snapshot",
            f"""select date '{self.day}' as as_of_date, *, 0 as unmatched_count,
            0 as later_count, date '{read_on}' as snapshot_date, '' as content_hash from ({rows})""",
        )

    def user_features(self) -> None:
        """What was known about everybody at the end of the day.

        Lifetimes are counted on from the month's end. Activity of the windows is added up by user and ring of ages
        first, then the rings to windows: a third of the time of asking each row for each window.
        """
        rings = " ".join(f"when age < {days} then {days}" for days in WINDOWS)
        windows = [f"{name}_{days}d" for name in SPANNED for days in WINDOWS]
        within = ", ".join(
            f"sum({name}) filter (where ring <= {days})::integer as {name}_{days}d"
            for name in SPANNED
            for days in WINDOWS
        )
        ever = ", ".join(f"sum({name})::integer as {name}" for name in (*SPANNED, *ONCE))
        happened = ", ".join(f"if({n}_count > 0, activity_date, null) as last_{n}_date" for n in EVENT_TYPE_NAMES)
        since = ", ".join(f"date '{self.day}' - max(last_{n}_date) as days_since_last_{n}" for n in EVENT_TYPE_NAMES)
        stated = ", ".join(f"{name}, last_event_at as {name}_at" for name in LASTING)
        last = ", ".join(f"arg_max({name}, {name}_at) as {name}" for name in LASTING)
        active = ", ".join(f"count(*) filter (where age < {d}) as active_day_count_{d}d" for d in WINDOWS)
        best = f"greatest({', '.join(f'{d}_session_count' for d in DEVICES)})"
        device = " ".join(f"when {d}_session_count = {best} then '{d}'" for d in sorted(DEVICES))
        tags = ", ".join(tag_column(tag) for tag in self.settings.tags)
        days = ["active_day_count", *(f"active_day_count_{span}d" for span in WINDOWS)]
        filled = [*days, *windows, "event_count_28d", "dwell_seconds_30d"]
        none = ", ".join(f"coalesce({name}, 0) as {name}" for name in filled)
        self.con.execute(
            f"""create or replace temp table renamed as
            select anonymous_user_id as user_id, arg_min(user_id, (as_of_date, linked_at, user_id)) as known
            from identity_links where as_of_date <= date '{self.day}' group by all"""
        )
        self.con.execute(
            f"""create or replace temp table active as
            with totalled as (
                select max(as_of_date) as day from activity_to_date where as_of_date <= date '{self.day}'),
            added as (
                select * exclude (as_of_date, is_bot, recorded_at, run_id, is_backfill) from activity_to_date
                where as_of_date = (select day from totalled) and not is_bot
                union all by name
                select user_id, {", ".join((*SPANNED, *ONCE))}, session_dwell_seconds, first_event_at, last_event_at,
                    {happened}, {stated}
                from daily_activity where as_of_date <= date '{self.day}' and not is_bot
                    and as_of_date > coalesce((select day from totalled), date '1970-01-01')),
            ever as (
                select coalesce(known, user_id) as user_id, {ever}, {since}, min(first_event_at) as first_event_at,
                    max(last_event_at) as last_event_at, {last},
                    {SECONDS.format("session_dwell_seconds")} * 1e-3 as session_dwell_seconds
                from added left join renamed using (user_id) group by all),
            aged as (
                select activity.* replace (coalesce(known, user_id) as user_id),
                    date '{self.day}' - activity_date as age
                from daily_activity as activity left join renamed using (user_id)
                where as_of_date between date '{self.day}' - {max(WINDOWS)} and date '{self.day}' and not is_bot
                    and activity_date > date '{self.day}' - {max(WINDOWS)}),
            ringed as (
                select user_id, case {rings} end as ring, {", ".join(f"sum({n})::integer as {n}" for n in SPANNED)},
                    sum(event_count) filter (where age < 28)::integer as recent,
                    {SECONDS.format("dwell_seconds")} as dwell
                from aged group by all),
            spans as (
                select user_id, {within}, sum(recent)::integer as event_count_28d,
                    sum(dwell) filter (where ring <= 30)::bigint * 1e-3 as dwell_seconds_30d
                from ringed group by user_id),
            days as (
                select user_id, {active}, count(*) as active_day_count
                from (select distinct coalesce(known, user_id) as user_id, date '{self.day}' - activity_date as age
                    from daily_activity left join renamed using (user_id)
                    where as_of_date <= date '{self.day}' and not is_bot and event_count > 0) group by user_id)
            select * replace ({none}) from ever left join spans using (user_id) left join days using (user_id)"""
        )
        as_of = f"timestamp '{self.day + timedelta(days=1)}'"
        age = f"date_diff('microsecond', {{}}, {as_of}) * (1 / 86400000000::double)"
        self.insert(
            "user_features",
            f"""with crm as (
                select email_key, mailchimp_id, member_rating, country as subscriber_country, made_purchase,
                    as_of_date - optin_date as optin_days, month(optin_date) as optin_month,
                    isodow(optin_date) as optin_day_of_week, dayofyear(optin_date) as optin_day_of_year,
                    quarter(optin_date) as optin_quarter, isodow(optin_date) >= 6 as optin_is_weekend, tag_count,
                    {tags}, tag_other
                from validated_subscribers where as_of_date = date '{self.day}'),
            people as (
                select active.*, {age.format("first_event_at")} as days_since_first_event,
                    {age.format("last_event_at")} as days_since_last_event,
                    if(session_count > 0, repeat_session_count / session_count, 0) as repeat_session_rate,
                    if(session_count > 0, bounced_session_count / session_count, 0) as bounce_rate,
                    if(session_count > 0, spam_session_count / session_count, 0) as spam_rate,
                    if(session_count > 0, session_dwell_seconds / session_count, null) as dwell_seconds_per_session,
                    event_count_7d * (1 / 7::double) - (event_count_28d - event_count_7d) * (1 / 21::double)
                        as engagement_trend,
                    event_count_7d * (1 / 7::double) - (event_count_14d - event_count_7d) * (2 / 7::double)
                        + (event_count_30d - event_count_14d) * (1 / 16::double) as engagement_acceleration,
                    signup_count > 0 and calendar_booking_count > 0 as is_converted,
                    case when {best} <= 0 then null {device} end as primary_device
                from active),
            everybody as (
                select people.*, crm.* exclude (email_key), mailchimp_id is not null as is_subscriber
                from people left join crm using (email_key)
                union all by name
                select 'subscriber:' || mailchimp_id as user_id, crm.* exclude (email_key), true as is_subscriber,
                    {", ".join(f"0 as {name}" for name in self.zeros())}, false as is_converted
                from crm anti join people using (email_key))
            select date '{self.day}' as as_of_date, * exclude (profile_completeness),
                ({" + ".join(f"({name} is not null)::integer" for name in PROFILE)}) * (1 / {len(PROFILE)}::double)
                    as profile_completeness
            from everybody""",
        )

    def zeros(self) -> list[str]:
        """The features that are 0 for whoever never did anything."""
        features = feature_registry(self.settings.tags)
        return [feature.name for feature in features if not feature.nullable and feature.type != "BOOLEAN"]

    def rule_scores(self) -> None:
        """Points of every rule, their sum with its reasons, and the rule set."""
        rules = list(enumerate(self.rules.rules))
        if self.rules.caps or self.rules.suppress:
            raise ValueError("the script knows no caps on groups and suppresses nobody")
        caps = {n: self.rules.day_cap(rule) for n, rule in rules}
        counted = {n: cap.column if (cap := caps[n]) else rule.feature for n, rule in rules}
        capped = "".join(
            f", coalesce(sum(least({c.event_type}_count, {c.cap})) filter (where age < {c.window or 100_000}), 0)"
            f" as {c.column}"
            for c in self.rules.day_caps
        )
        sums = "".join(f", sum({name}_count) as {name}_count" for name in {c.event_type for c in self.rules.day_caps})
        self.con.execute(
            f"""create or replace temp table capped as
            select user_id {capped} from (
                select coalesce(known, user_id) as user_id, date '{self.day}' - activity_date as age {sums}
                from daily_activity left join renamed using (user_id)
                where as_of_date <= date '{self.day}' and not is_bot group by all)
            group by user_id"""
        )
        self.con.execute(
            f"""create or replace temp table pointed as
            with known as (
                select features.*, {", ".join(f"coalesce({c.column}, 0) as {c.column}" for c in self.rules.day_caps)}
                from user_features as features left join capped using (user_id) where as_of_date = date '{self.day}')
            select user_id, last_event_at,
            {", ".join(f"{_counted(r, counted[n])} as c{n}, {r.feature} as v{n}" for n, r in rules)},
            {", ".join(f"{_scaled(r, f'c{n}')} as s{n}, {_decay(r)} as d{n}" for n, r in rules)},
            {", ".join(f"(s{n} * {100 * r.weight!r}) * d{n} as p{n}" for n, r in rules)}
            from known"""
        )

        def total(group: str | None) -> str:
            return " + ".join(["0.0", *(f"p{n}" for n, rule in rules if group in (None, rule.group))])

        reasons = ", ".join(f"{{'p': -p{n}, 'n': {n}, 'id': '{rule.id}'}}" for n, rule in rules)
        bands = " ".join(f"when score >= {least} - 1e-9 then '{name}'" for name, least in self.rules.bands.items())
        said = "reason.id || ' (+' || printf('%.1f', floor(-reason.p * 10 + 0.5) / 10) || ' pts)'"
        self.insert(
            "rule_scores",
            f"""select *, case {bands} else 'low' end as band from (
                select date '{self.day}' as as_of_date, user_id, {total(None)} as points,
                    greatest(1, least(100, {total(None)})) as score, {total("fit")} as fit_points,
                    {total("engagement")} as engagement_points, last_event_at, '{self.rules.name}' as rule_set,
                    '{self.rules.version}' as rule_set_version, '{self.rules.band_thresholds}' as band_thresholds,
                    coalesce(nullif(list_aggregate([{said} for reason in
                        list_sort([reason for reason in [{reasons}] if reason.p < 0])[:3]], 'string_agg', ' + '), ''),
                        'no scored activity') as explanation
                from pointed)""",
        )
        rows = " union all ".join(
            f"""select user_id, '{rule.id}' as rule_id, '{rule.feature}' as feature, '{rule.group}' as group_name,
            v{n}::double as value, c{n} as counted, s{n} as scaled, d{n} as decay, {rule.weight!r} as weight,
            p{n} as points, {_because(rule, n)} as because from pointed where p{n} <> 0"""
            for n, rule in rules
        )
        self.insert(
            "rule_contributions",
            f"select date '{self.day}' as as_of_date, *, '{self.rules.version}' as rule_set_version from ({rows})",
        )
        content = self.rules.content.replace("'", "''")
        self.insert(
            "rule_sets",
            f"""select date '{self.day}' as as_of_date, '{self.rules.name}' as rule_set, {len(rules)} as rule_count,
            '{self.rules.version}' as rule_set_version, '{self.rules.band_thresholds}' as band_thresholds,
            '{content}' as content""",
        )

    def top_users(self) -> None:
        """The call list: who has not bought yet, by points."""
        self.insert(
            "top_users",
            f"""select rule_scores.* exclude (recorded_at, run_id, is_backfill), band as rule_band,
                mailchimp_id, country, 'points' as scale, 'rules_fallback' as source,
                {self.settings.top_users} as list_length,
                row_number() over (order by score desc, last_event_at desc nulls last, user_id) as rank
            from rule_scores join (select user_id, mailchimp_id, country, purchase_count, made_purchase
                    from user_features where as_of_date = date '{self.day}') using (user_id)
            where as_of_date = date '{self.day}' and not coalesce(purchase_count > 0 or made_purchase > 0, false)
                and not (mailchimp_id is not null and made_purchase is null)
            order by score desc, last_event_at desc nulls last, user_id limit {self.settings.top_users}""",
        )

    def published_warehouse(self) -> None:
        """Close the file, copy it, and let readers have the copy in one step."""
        self.con.execute("checkpoint")
        self.con.close()
        folder = self.data_dir / "published"
        folder.mkdir(exist_ok=True)
        part = folder / "gesture.duckdb.tmp"
        shutil.copyfile(self.path, part)
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(self.data_dir / "gesture.duckdb")


def _counted(rule: Rule, column: str) -> str:
    return f"{column}::double" if rule.repeatable else f"least({column}, 1)::double"


def _scaled(rule: Rule, value: str) -> str:
    if rule.scale == "at_least_once":
        return f"if(coalesce({value}, 0) >= 1, 1.0, 0.0)::double"
    share = f"if({value} >= {rule.cap}, 1.0, {value} * {1 / (rule.cap or 1)!r})"
    if rule.scale == "count":
        return f"coalesce({share}, 0.0)::double"
    if rule.scale == "recency":
        return f"coalesce(1 - {share}, 0.0)::double"
    raise ValueError(f"rule {rule.id}: the script knows no scale {rule.scale!r}")


def _decay(rule: Rule) -> str:
    if rule.half_life_days is None:
        return "1.0::double"
    age = rule.decay_feature
    return f"if({age} is null, 0.0, pow(0.5, {age}::double * {1 / rule.half_life_days!r}))::double"


def _because(rule: Rule, number: int) -> str:
    value = f"v{number}"
    if rule.feature == "is_subscriber":
        shown = f"if({value}, 'yes', 'no')"
    elif rule.feature.startswith("days_since_last_event"):
        hundredths = f"printf('%.2f', floor({value} * 100 + 0.5) / 100)"
        shown = f"rtrim(rtrim({hundredths}, '0'), '.')"
    else:
        shown = f"{value}::varchar"
    before, after = rule.because.split("{value}")
    return f"'{before}' || coalesce({shown}, 'unknown') || '{after}'"
