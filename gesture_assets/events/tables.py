"""Contracts of what people did: events, their quarantine, visits and daily activity.

Belongs here: the tables that are built from landing files. Does not belong here: features and scores.
"""

from gesture_assets.contracts.contract import (
    PARTITION,
    Column,
    Contract,
    between,
    no_phone_or_account_number,
    no_rows,
    one_of,
)
from gesture_assets.contracts.shared import DATA_ENGINEERING
from gesture_assets.contracts.source_columns import found_columns, same_columns_as_before
from gesture_assets.vocabulary.event_types import EVENT_TYPE_NAMES
from gesture_assets.vocabulary.features import DEVICES
from gesture_assets.vocabulary.personal_data import holds_street_sql, plain_signs_sql

# The share of a day's landed rows that quarantine may take before the day itself is in doubt. Trackers lose a row in a
# hundred or two on a bad day; five in a hundred is another format, another clock or another sender. One row is none.
QUARANTINE_TOLERANCE = 0.05
# The same of rows with a value that is filled and cannot be read: one such row loses a number or a country, five in a
# hundred are another format, such as a decimal comma.
UNREADABLE_TOLERANCE = 0.05
# What a source says of an event in words of its own.
WORDS = ("gender", "channel", "campaign", "campaign_source", "campaign_medium", "lifecycle")
TEXTS = ("source_session_id", "city", *WORDS, "properties")
# Columns that are kept and may hold what identifies a person, which is hidden and counted.
HIDEABLE = ("event_id", "known_user_id", "anonymous_id", *TEXTS)
# Of texts those that are words: figures alone are no id there and may be a card's, and JSON is none.
WORDED = ("city", *WORDS)
MINUTES_AHEAD = 5  # clocks of browsers run ahead by this much; later is no clock error but a wrong timestamp
OLDEST_DAYS = 365
BOT_SHARE_TOLERANCE = 0.20
LATE_SHARE_TOLERANCE = 0.10

# It tells the rows of a file apart, so it is no line of an editor where a record holds several events.
LANDING_LINE = Column(
    "landing_line",
    "BIGINT",
    "Its place in that file, from 1: of CSV the record, the header being 1, where blank lines and line breaks within a "
    "cell count for nothing; of JSON lines the line, of Parquet the row, of a file that is one list the entry; where "
    "records hold lists of events (Matomo's visits), the place among the events of all records.",
)
AS_OF = Column(PARTITION, "DATE", "Day on which the row became known: the later of event day and arrival day (UTC).")

REASONS = {
    "unreadable_row": "the row cannot be split into columns, or is no JSON object",
    "missing_user_id": "neither a user nor an anonymous id, or a word such as null or undefined instead",
    "missing_event_type": "no event type",
    "unknown_event_type": "an event type that the source's description does not map",
    "unparsable_timestamp": "the event has no time that can be read, or its zone is an abbreviation, which "
    "several zones share: UTC, an offset such as +02:00 or a name such as Europe/Berlin says which",
    "unparsable_received_at": "no time of arrival that can be read, in a file that has a column of them",
    "future_ts": f"the event is dated more than {MINUTES_AHEAD} minutes after its arrival",
    "too_old": f"the event is dated more than {OLDEST_DAYS} days before its arrival",
    "personal_id": "an id is an IP address",
    "structured_id": "an id is an object or a list",
    "reserved_id": "an id of a user or visitor begins as only ids of ours do: subscriber: or anon:",
    "inexact_id": "an id is a number that was rounded: a double beyond 2^53, or written as 1.23E+16",
}

# What a row is called whose type the source's description leaves out on purpose: it is counted, and nothing is wrong.
IGNORED = "ignored_event_type"
# Types named beside their counts, in the records and where a day is refused; all rows are counted.
TYPES_NAMED = 10

# The texts of an event of which there are few; ids of events are many.
RAW_TEXTS = ("user_id", "anonymous_id", "event_name", "source", *TEXTS, "landing_file")

RAW_EVENTS = Contract(
    name="raw_events",
    grain="One row per accepted event.",
    description="Canonical, deduplicated events of every source, without personal data. An event that arrives late is "
    "filed under the day it arrived and keeps the moment it happened, so a day that was scored never changes.",
    group="events",
    owner=DATA_ENGINEERING,
    key=("event_id",),
    is_sorted=False,
    columns=(
        AS_OF,
        Column(
            "event_id", "VARCHAR", "Id of the event, unique; made from the row's content where the source has none."
        ),
        Column(
            "user_id",
            "VARCHAR",
            "Who: the source's user id, or anon:<id> before the person is known.",
            personal="pseudonym",
        ),
        Column("anonymous_id", "VARCHAR", "The sender's id of an unknown visitor.", True, personal="pseudonym"),
        Column("event_type", "VARCHAR", "What, in the words of the event-type registry."),
        Column("event_name", "VARCHAR", "What, in the source's own words."),
        Column("event_at", "TIMESTAMP", "When it happened (UTC)."),
        Column("received_at", "TIMESTAMP", "When it arrived (UTC); equals event_at where the source has one clock."),
        Column("source", "VARCHAR", "Source description that read it."),
        Column("source_session_id", "VARCHAR", "The source's own session, where it keeps sessions.", True),
        Column("device", "VARCHAR", "desktop, mobile, tablet or other.", True),
        Column("country", "VARCHAR", "ISO 3166 alpha-2.", True),
        Column("city", "VARCHAR", "City.", True),
        Column("gender", "VARCHAR", "As the source says.", True),
        Column(
            "channel", "VARCHAR", "How the visit came about: its medium (cpc, email …) where the source says one.", True
        ),
        Column("campaign", "VARCHAR", "Campaign that the visit came from, as the source says.", True),
        Column("campaign_source", "VARCHAR", "Where its link stood, such as google or newsletter.", True),
        Column("campaign_medium", "VARCHAR", "What kind of link it was, such as cpc or email.", True),
        Column("lifecycle", "VARCHAR", "The source's own stage of the user, such as new or returning.", True),
        Column(
            "email_key",
            "VARCHAR",
            "Keyed hash of the e-mail address, where an event carried one.",
            True,
            personal="pseudonym",
        ),
        Column("is_repeat_session", "BOOLEAN", "The source says the visit is not the first.", True),
        Column("is_bounce", "BOOLEAN", "The source says the visit bounced.", True),
        Column("is_spam", "BOOLEAN", "The source marked it as spam.", True),
        Column("is_bot", "BOOLEAN", "Sent by a machine, judged by user agent and behaviour; kept out of features."),
        Column("user_agent_family", "VARCHAR", "Browser family; the user agent itself is dropped.", True),
        Column("dwell_seconds", "DOUBLE", "Time on the page.", True, "seconds"),
        Column("is_dwell_imputed", "BOOLEAN", "The time on the page was missing, and stands for a typical one."),
        Column("scroll_depth_pct", "DOUBLE", "How far the page was scrolled.", True, "percent"),
        Column("account_balance_usd", "DOUBLE", "Balance of the user's account at that time.", True, "USD"),
        Column("recent_pages_viewed", "INTEGER", "The source's own count.", True),
        Column("recent_pricing_views", "INTEGER", "The source's own count.", True),
        Column("properties", "VARCHAR", "Further fields that the source's description names, as JSON.", True),
        Column("landing_file", "VARCHAR", "File the row was read from, below data/landing."),
        LANDING_LINE,
    ),
    expectations=(
        no_rows(
            "every_event_has_a_known_type",
            "select event_type, count(*) as row_count from {batch} where event_type not in ("
            + ", ".join(f"'{name}'" for name in EVENT_TYPE_NAMES)
            + ") group by all",
            recovery="map the name in the source's description ([event_types]), then  gesture run --date DAY",
        ),
        no_rows(
            "no_event_comes_from_the_future",
            f"select event_id, event_at, received_at from {{batch}} "
            f"where event_at > received_at + interval {MINUTES_AHEAD} minute",
            recovery="such rows belong in quarantine (future_ts); this is a defect of the reader",
        ),
        no_rows(
            "no_event_is_older_than_a_year",
            f"select event_id, event_at, received_at from {{batch}} "
            f"where event_at < received_at - interval {OLDEST_DAYS} day",
            recovery="such rows belong in quarantine (too_old); this is a defect of the reader",
        ),
        no_rows(
            "every_event_is_filed_when_it_became_known",
            f"select event_id, {PARTITION}, event_at, received_at from {{batch}} "
            f"where {PARTITION} <> greatest(event_at::date, received_at::date)",
            recovery="this is a defect of the reader",
        ),
        no_phone_or_account_number(RAW_TEXTS, ids=("event_id",), cards=("event_name", *WORDED)),
        no_rows(
            "no_city_is_the_place_of_a_house",
            "select count(*) as city_count from (select distinct city as value from {batch} "
            "where regexp_matches(city, '[0-9]')) "
            f"where {holds_street_sql(plain_signs_sql('value'))} having count(*) > 0",
            recovery="leave the column out of the source's description (data/sources/<source>.toml)",
            screen="bool_or(regexp_matches(city, '[0-9]'))",
        ),
        one_of("every_device_is_known", "device", DEVICES, recovery="map the device in the source's description"),
        no_rows(
            "every_country_is_an_iso_code",
            "select country, count(*) as row_count from {batch} where not regexp_full_match(country, '[A-Z][A-Z]') "
            "group by all",
            recovery="countries are two capital letters; mend the source or leave the column out of its description",
        ),
        between("no_dwell_time_is_negative", "dwell_seconds", 0, None, recovery="mend the sender's clock"),
        between("scroll_depths_lie_between_0_and_100", "scroll_depth_pct", 0, 100, recovery="mend the sender"),
        no_rows(
            "bots_are_a_small_share",
            f"select {PARTITION}, avg(is_bot::int) as bot_share from {{batch}} group by all "
            f"having avg(is_bot::int) > {BOT_SHARE_TOLERANCE}",
            recovery="look at the flagged users: select user_id, count(*) from raw_events where is_bot group by all",
        ),
        no_rows(
            "late_events_are_few",
            f"select {PARTITION}, avg((event_at::date < {PARTITION})::int) as late_share from {{batch}} group by all "
            f"having avg((event_at::date < {PARTITION})::int) > {LATE_SHARE_TOLERANCE}",
            recovery="ask the sender why events arrive days later",
        ),
    ),
)

QUARANTINED_EVENTS = Contract(
    name="quarantined_events",
    grain="One row per landed row that is no event.",
    description="Rows that could not be accepted, each with the reason and the place it came from, "
    "personal values masked.",
    group="events",
    owner=DATA_ENGINEERING,
    key=("landing_file", "landing_line"),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column("reason", "VARCHAR", "Why: " + "; ".join(f"{k} ({v})" for k, v in REASONS.items()) + "."),
        Column("check_name", "VARCHAR", "The check that the row would have failed."),
        Column("event_name", "VARCHAR", "What, in the source's own words, addresses masked.", True),
        Column("source", "VARCHAR", "Source description that read it."),
        Column("landing_file", "VARCHAR", "File the row was read from, below data/landing."),
        LANDING_LINE,
        Column("masked_row", "VARCHAR", "The row as it stands in the file, personal values masked."),
    ),
    expectations=(
        no_phone_or_account_number(
            ("event_name", "source", "landing_file"), ids=("masked_row",), cards=("event_name", "masked_row")
        ),
        one_of("every_reason_is_known", "reason", tuple(REASONS), recovery="add the reason to events/tables.py"),
    ),
)


def reconciliation_contract(
    name: str,
    grain: str,
    description: str,
    *,
    group: str,
    accepted: str,
    rows: str,
    quarantine: str,
    may_be_empty: bool = False,
) -> Contract:
    """The table that accounts for every landed row: those accepted are in `accepted`, the others in `quarantine`.

    `rows`: the accepted ones as SQL, one for each row that landed.
    """
    return Contract(
        name=name,
        grain=grain,
        description=description,
        group=group,
        owner=DATA_ENGINEERING,
        key=("landing_file",),
        may_be_empty=may_be_empty,
        columns=(
            AS_OF,
            Column("source", "VARCHAR", "Source description that read the file."),
            Column("landing_file", "VARCHAR", "File, below data/landing."),
            Column("landed_count", "BIGINT", "Rows of the file that are filed under the day.", unit="count"),
            Column("accepted_count", "BIGINT", f"Rows in {accepted}.", unit="count"),
            Column(
                "duplicate_count", "BIGINT", "Further copies of an accepted event; the earliest was kept.", unit="count"
            ),
            Column("quarantined_count", "BIGINT", f"Rows in {quarantine}.", unit="count"),
            Column("ignored_count", "BIGINT", "Rows of types that the source's description leaves out.", True, "count"),
            Column("ignored_types", "VARCHAR", f"The {TYPES_NAMED} commonest of these types, with their rows.", True),
            Column("late_count", "BIGINT", "Accepted rows that happened on an earlier day.", unit="count"),
            Column("unreadable_count", "BIGINT", "Rows with a value that is filled and cannot be read.", True, "count"),
            Column(
                "unreadable_values",
                "VARCHAR",
                "Column and count of such values (numbers, flags, countries, JSON, lists and objects for words), which "
                "are missing from here on.",
                True,
            ),
            Column(
                "redacted_count",
                "BIGINT",
                "Rows with a value that may identify a person and was hidden.",
                True,
                "count",
            ),
            Column(
                "redacted_values", "VARCHAR", "Column and count of such values: ids are hashed, others left out.", True
            ),
            Column("personal_columns", "VARCHAR", "Columns dropped because they hold personal data.", True),
            Column("unused_columns", "VARCHAR", "Columns that the source's description does not use.", True),
            found_columns("CSV files show names only; of JSON lines these are the top fields of the first 1,000 rows."),
        ),
        expectations=(
            no_rows(
                "every_landed_row_is_accounted_for",
                "select * from {batch} where landed_count <> accepted_count + duplicate_count + quarantined_count "
                "+ coalesce(ignored_count, 0)",
                recovery="this is a defect of the reader: no row may be lost",
            ),
            no_rows(
                "accepted_and_quarantined_rows_are_where_they_should_be",
                f"""select {PARTITION}, sum(accepted) as accepted, sum(in_tables) as in_tables,
                sum(quarantined) as quarantined, sum(in_quarantine) as in_quarantine from (
                select {PARTITION}, accepted_count as accepted, 0 as in_tables, quarantined_count as quarantined,
                    0 as in_quarantine from {{batch}}
                union all select {PARTITION}, 0, count(*), 0, 0 from {rows} group by all
                union all select {PARTITION}, 0, 0, 0, count(*) from {{staged}}.{quarantine} group by all
            ) group by all having sum(accepted) <> sum(in_tables) or sum(quarantined) <> sum(in_quarantine)""",
                recovery="this is a defect of the reader: no row may be lost",
            ),
            no_rows(
                "a_day_is_not_made_of_repeats_alone",
                f"""select {PARTITION}, sum(duplicate_count) as repeats, sum(landed_count) as landed,
                string_agg(distinct source, ', ' order by source) as sources
            from {{batch}} group by all having sum(accepted_count) = 0 and sum(duplicate_count) > 0""",
                recovery="their event_id has come before: where it is not unique, name another column as event_id in "
                "data/sources/<source>.toml, or none, then  gesture run --date DAY",
            ),
            no_rows(
                f"at_most_{QUARANTINE_TOLERANCE:.0%}_of_rows_are_quarantined".replace("%", "_percent"),
                f"""with unknown as (
                select {PARTITION}, source, string_agg(event_name || ' ' || row_count, ', ' order by place) as counts,
                    string_agg(json_quote(event_name), ', ' order by place) as names, sum(row_count) as row_count
                from (select *, row_number() over (partition by {PARTITION}, source order by row_count desc, event_name)
                        as place
                    from (select {PARTITION}, source, event_name, count(*) as row_count
                        from {{staged}}.{quarantine} where reason = 'unknown_event_type' group by all))
                where place <= {TYPES_NAMED} group by all)
            select {PARTITION}, quarantined, wanted as landed, reasons || coalesce('; ' || types, '') as reasons,
                for_example, replace(
                    'gesture quarantine show --date DAY, ' || concat_ws(', and ', named,
                        if(quarantined - coalesce(unnamed, 0) > greatest(1, {QUARANTINE_TOLERANCE} * wanted)
                            or named is null, 'mend or remove the file', null))
                    || ', then  gesture run --date DAY, which reads it again', 'DAY', {PARTITION}::varchar)
                    as next_step
            from (select {PARTITION}, sum(quarantined_count) as quarantined,
                    sum(landed_count - coalesce(ignored_count, 0)) as wanted
                from {{batch}} group by all)
            join (select {PARTITION}, string_agg(reason || ' ' || row_count, ', ' order by row_count desc) as reasons
                from (select {PARTITION}, reason, count(*) as row_count from {{staged}}.{quarantine} group by all)
                group by all) using ({PARTITION})
            join (select {PARTITION}, array_to_string(min(landing_file || ':' || landing_line, 3), ', ') as for_example
                from {{staged}}.{quarantine} group by all) using ({PARTITION})
            left join (select {PARTITION}, string_agg('unknown types of ' || source || ': ' || counts, '; '
                    order by source) as types, sum(row_count) as unnamed,
                    arg_max('name the types under [event_types] of data/sources/' || source
                        || '.toml or leave them out at its head:  ignore = [' || names || ']', row_count) as named
                from unknown group by all) using ({PARTITION})
            where quarantined > greatest(1, {QUARANTINE_TOLERANCE} * wanted)""",
                recovery="gesture quarantine show --date DAY, mend or remove the file, or leave types out with  "
                "ignore  in data/sources/<source>.toml, then  gesture run --date DAY",
            ),
            no_rows(
                "every_filled_number_and_flag_is_read",
                "select landing_file, unreadable_values from {batch} where unreadable_count > 0",
                recovery="look at the file; in data/sources/<source>.toml set  decimal  where its numbers have a "
                "comma, and name its own words for countries under [values.country]",
            ),
            no_rows(
                f"at_most_{UNREADABLE_TOLERANCE:.0%}_of_rows_hold_unreadable_values".replace("%", "_percent"),
                f"""select {PARTITION}, sum(unreadable_count) as unreadable,
                sum(landed_count - coalesce(ignored_count, 0)) as landed,
                string_agg(landing_file || ': ' || unreadable_values, '; ' order by unreadable_count desc) as which
            from {{batch}} group by all having unreadable > greatest(1, {UNREADABLE_TOLERANCE} * landed)""",
                recovery="in data/sources/<source>.toml set  decimal, name its own words for countries under "
                "[values.country], or leave the column out, then  gesture run",
            ),
            no_rows(
                "no_file_brings_personal_columns",
                "select landing_file, personal_columns from {batch} where personal_columns is not null",
                recovery="the columns were dropped; ask the sender to leave them out",
            ),
            no_rows(
                "no_value_says_who_somebody_is",
                "select landing_file, redacted_values from {batch} where redacted_count > 0",
                recovery="addresses and numbers of phones and accounts were hidden; ask the sender to leave them out",
            ),
            no_rows(
                "every_column_of_a_file_is_used",
                "select landing_file, unused_columns from {batch} where unused_columns is not null",
                recovery="name the column in the source's description (data/sources/<source>.toml) if it matters",
            ),
            *same_columns_as_before(name, "source"),
        ),
    )


LANDING_RECONCILIATION = reconciliation_contract(
    "landing_reconciliation",
    "One row per landing file and day.",
    "What became of every landed row: accepted, a duplicate, quarantined, or of a type that the "
    "source's description leaves out.",
    group="events",
    accepted="raw_events",
    rows="{staged}.raw_events",
    quarantine="quarantined_events",
)

IDENTITY_LINKS = Contract(
    name="identity_links",
    grain="One row per anonymous visitor whose user the day showed, and per user whose address it did.",
    description="Which user an anonymous id turned out to be; features follow the first link ever known. And the "
    "address that a call which is no event (identify) gives a user, on the row email:<user_id>; the last one counts.",
    group="events",
    owner=DATA_ENGINEERING,
    key=("anonymous_user_id",),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column(
            "anonymous_user_id", "VARCHAR", "anon:<id>, as in raw_events; or email:<user_id>.", personal="pseudonym"
        ),
        Column("user_id", "VARCHAR", "The user it is.", personal="pseudonym"),
        Column("linked_at", "TIMESTAMP", "The event or call that showed it (UTC)."),
        Column("email_key", "VARCHAR", "Keyed hash of the address of email:<user_id>.", True, personal="pseudonym"),
    ),
)

SESSIONS = Contract(
    name="sessions",
    grain="One row per visit, as it was known on the day it was filed.",
    description="Events of a user less than 30 minutes apart, across midnight, or the source's own sessions. A visit "
    "that changed (it went on, or a late event belongs to it) is filed again: the old form with filed = -1, the new "
    "one with filed = 1, so sums over `filed * x` up to any day are exact.",
    group="events",
    owner=DATA_ENGINEERING,
    upstream=("raw_events", "quarantined_events", "landing_reconciliation", "identity_links"),
    key=("session_id", "filed", "event_count", "ended_at"),
    columns=(
        AS_OF,
        Column("session_id", "VARCHAR", "User and first moment, or the source's own id."),
        Column("filed", "TINYINT", "1: valid from this day; -1: the form that no longer holds."),
        Column("user_id", "VARCHAR", "Who.", personal="pseudonym"),
        Column("started_at", "TIMESTAMP", "First event (UTC)."),
        Column("ended_at", "TIMESTAMP", "Last event (UTC)."),
        Column("event_count", "INTEGER", "Events.", unit="count"),
        Column("dwell_seconds", "DOUBLE", "Time on pages.", unit="seconds"),
        Column("device", "VARCHAR", "Device of most events; ties go to the first in the alphabet.", True),
        Column("is_repeat", "BOOLEAN", "Not the first visit, as the source says."),
        Column("is_bounce", "BOOLEAN", "One event only, or bounced as the source says."),
        Column("is_spam", "BOOLEAN", "Marked as spam by the source."),
        Column("is_bot", "BOOLEAN", "Holds events of a bot."),
    ),
    expectations=(
        no_rows(
            "no_session_ends_before_it_starts",
            "select session_id, started_at, ended_at from {batch} where ended_at < started_at",
            recovery="this is a defect of events/sessionise.py",
        ),
        between("every_session_has_an_event", "event_count", 1, None, recovery="a defect of events/sessionise.py"),
        one_of("every_session_is_filed_or_withdrawn", "filed", (1, -1), recovery="a defect of events/sessionise.py"),
    ),
)

# What is known of a user, each from the last row that says it.
ATTRIBUTES = {
    "country": ("VARCHAR", "Last country.", None),
    "city": ("VARCHAR", "Last city.", None),
    "gender": ("VARCHAR", "Last value.", None),
    "email_key": ("VARCHAR", "Last keyed hash of an e-mail address.", None),
    "account_balance_usd": ("DOUBLE", "Last value.", "USD"),
    "recent_pages_viewed": ("INTEGER", "Last value of the source's own count.", None),
    "recent_pricing_views": ("INTEGER", "Last value of the source's own count.", None),
}
ATTRIBUTE_COLUMNS = tuple(
    Column(name, kind, description, True, unit, personal="pseudonym" if name == "email_key" else "none")
    for name, (kind, description, unit) in ATTRIBUTES.items()
)

DAILY_ACTIVITY = Contract(
    name="daily_activity",
    grain="One row per user and day of activity, as it became known on the as-of day.",
    description="Counts a user added to a day. Late events and revised visits add to earlier activity days, so sums "
    "over rows up to an as-of day are what was known then.",
    group="events",
    owner=DATA_ENGINEERING,
    upstream=("raw_events", "sessions"),
    key=("user_id", "activity_date", "is_bot"),
    columns=(
        AS_OF,
        Column("user_id", "VARCHAR", "Who, as in raw_events.", personal="pseudonym"),
        Column("activity_date", "DATE", "Day on which it happened (UTC)."),
        Column("is_bot", "BOOLEAN", "Counts of a bot."),
        *(Column(f"{name}_count", "INTEGER", f"Events of type {name}.", unit="count") for name in EVENT_TYPE_NAMES),
        Column("event_count", "INTEGER", "Events.", unit="count"),
        Column("first_event_at", "TIMESTAMP", "First event of these (UTC).", True),
        Column("last_event_at", "TIMESTAMP", "Last event of these (UTC).", True),
        Column("dwell_seconds", "DOUBLE", "Time on pages.", unit="seconds"),
        Column("session_count", "INTEGER", "Visits that began that day; below zero where visits turned out to be one."),
        Column("repeat_session_count", "INTEGER", "Of these, not the first."),
        Column("bounced_session_count", "INTEGER", "Of these, bounced."),
        Column("spam_session_count", "INTEGER", "Of these, spam."),
        *(Column(f"{device}_session_count", "INTEGER", f"Of these, mostly on {device}.") for device in DEVICES),
        Column("session_dwell_seconds", "DOUBLE", "Time on pages of these visits.", unit="seconds"),
        *ATTRIBUTE_COLUMNS,
    ),
    expectations=(
        no_rows(
            "event_counts_add_up",
            "select user_id, activity_date, event_count from {batch} where event_count <> "
            + " + ".join(f"{name}_count" for name in EVENT_TYPE_NAMES),
            recovery="this is a defect of events/roll_up.py",
        ),
        no_rows(
            "every_accepted_event_is_counted_once",
            f"""select {PARTITION}, sum(counted) as counted, sum(accepted) as accepted from (
                select {PARTITION}, sum(event_count) as counted, 0 as accepted from {{batch}} group by all
                union all select {PARTITION}, 0, count(*) from {{live}}.raw_events
                    semi join {{days}} using ({PARTITION}) group by all
            ) group by all having sum(counted) <> sum(accepted)""",
            recovery="this is a defect of events/roll_up.py",
        ),
        no_rows(
            "no_activity_is_dated_after_it_was_known",
            f"select user_id, activity_date from {{batch}} where activity_date > {PARTITION}",
            recovery="this is a defect of events/roll_up.py",
        ),
    ),
)

ACTIVITY_TO_DATE = Contract(
    name="activity_to_date",
    grain="One row per user at the end of a month: all activity known until then, added up.",
    description="Lifetime counts start from here, so a night reads a month of activity and not all of it. Days that "
    "do not end a month hold no rows.",
    group="events",
    owner=DATA_ENGINEERING,
    upstream=("daily_activity",),
    key=("user_id", "is_bot"),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column("user_id", "VARCHAR", "Who, as in raw_events.", personal="pseudonym"),
        Column("is_bot", "BOOLEAN", "Counts of a bot."),
        *(Column(f"{name}_count", "INTEGER", f"Events of type {name}.", unit="count") for name in EVENT_TYPE_NAMES),
        Column("event_count", "INTEGER", "Events.", unit="count"),
        *(
            Column(f"{kind}session_count", "INTEGER", f"Visits{restriction}.")
            for kind, restriction in {
                "": "",
                "repeat_": ", not the first",
                "bounced_": ", bounced",
                "spam_": ", spam",
                **{f"{device}_": f", mostly on {device}" for device in DEVICES},
            }.items()
        ),
        Column("session_dwell_seconds", "DOUBLE", "Time on pages of these visits.", unit="seconds"),
        Column("first_event_at", "TIMESTAMP", "First event (UTC).", True),
        Column("last_event_at", "TIMESTAMP", "Last event (UTC).", True),
        *(
            Column(f"last_{name}_date", "DATE", f"Day of the last {name}; null where there was none.", True)
            for name in EVENT_TYPE_NAMES
        ),
        *ATTRIBUTE_COLUMNS,
        *(Column(f"{name}_at", "TIMESTAMP", f"When {name} was seen last (UTC).", True) for name in ATTRIBUTES),
    ),
    expectations=(
        no_rows(
            "every_event_known_by_then_is_counted_once",
            f"""select {PARTITION}, counted, (select sum(event_count) from {{live}}.daily_activity as activity
                where activity.{PARTITION} <= months.{PARTITION}) as known
            from (select {PARTITION}, sum(event_count) as counted from {{batch}} group by all) as months
            where counted <> known""",
            recovery="this is a defect of events/roll_up.py",
        ),
    ),
)

TABLES = (
    RAW_EVENTS,
    QUARANTINED_EVENTS,
    LANDING_RECONCILIATION,
    IDENTITY_LINKS,
    SESSIONS,
    DAILY_ACTIVITY,
    ACTIVITY_TO_DATE,
)
