"""Contracts of short videos: who did what with which, the videos and the users as a day knew them, the quarantine.

Belongs here: the tables that are built from landing files of these kinds. Does not belong here: events and visits
(`events/tables.py`), whose reasons and reconciliation these share.
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
from gesture_assets.contracts.shared import AS_OF, DATA_ENGINEERING
from gesture_assets.events.tables import AS_OF as FILED
from gesture_assets.events.tables import LANDING_LINE, MINUTES_AHEAD, OLDEST_DAYS, REASONS, reconciliation_contract

GROUP = "pings"
# What a user does with a short video, as document 004 has it.
INTERACTION_TYPES = ("view", "like", "comment", "share", "follow_creator", "impression")
OLDEST_USER = 120  # years

UNKNOWN_PING, REPEATED_ID = "unknown_ping", "repeated_id"
PING_REASONS = {
    **REASONS,
    "missing_user_id": "no user id, or a word such as null or undefined instead",
    "missing_ping_id": "no id of a ping, or a word such as null or undefined instead",
    "negative_watch_time": "the time watched is below zero",
    UNKNOWN_PING: "no catalogue that was known by the end of the day has the ping",
    REPEATED_ID: "a row before it in the same catalogue, or in that of another source, has the id",
}

KNOWN_ON = Column(
    "known_on",
    "DATE",
    "Day from which on its catalogue stands: the one before the file was first seen. Later than the as-of day where no "
    "catalogue was known by then: the first that ever came stands for the days before it.",
)
CATALOGUE_ROW = Column(
    "catalogue_row", "BIGINT", "Its place in the catalogue, from 1, in the order of the file; sources by their names."
)
SOURCE = Column("source", "VARCHAR", "Source description that read it.")
LANDING_FILE = Column("landing_file", "VARCHAR", "File the row was read from, below data/landing.")

PING_INTERACTIONS = Contract(
    name="ping_interactions",
    grain="One row per accepted interaction of a user with a short video.",
    description="Views, likes, comments, shares, follows and impressions of every source, exact copies removed. What "
    "arrives late is filed under the day it arrived and keeps the moment it happened.",
    group=GROUP,
    owner=DATA_ENGINEERING,
    key=("event_id",),
    may_be_empty=True,
    columns=(
        FILED,
        Column(
            "event_id",
            "VARCHAR",
            "Id of the interaction, unique; made from the row's content where the source has none, so that identical "
            "rows are one. With :type behind it where a row tells several.",
        ),
        Column("user_id", "VARCHAR", "Who.", personal="pseudonym"),
        Column("ping_id", "VARCHAR", "The short video."),
        Column("event_type", "VARCHAR", ", ".join(INTERACTION_TYPES) + "."),
        Column("event_at", "TIMESTAMP", "When it happened (UTC)."),
        Column("received_at", "TIMESTAMP", "When it arrived (UTC); equals event_at where the source has one clock."),
        Column("watch_time_sec", "DOUBLE", "Time watched.", True, "seconds"),
        SOURCE,
        LANDING_FILE,
        LANDING_LINE,
    ),
    expectations=(
        one_of(
            "every_interaction_has_a_known_type",
            "event_type",
            INTERACTION_TYPES,
            recovery="map the name in the source's description ([event_types]), then  gesture run --date DAY",
        ),
        no_rows(
            "no_interaction_comes_from_the_future",
            "select event_id, event_at, received_at from {batch} "
            f"where event_at > received_at + interval {MINUTES_AHEAD} minute",
            recovery="such rows belong in quarantine (future_ts); this is a defect of the reader",
        ),
        no_rows(
            "no_interaction_is_older_than_a_year",
            "select event_id, event_at, received_at from {batch} "
            f"where event_at < received_at - interval {OLDEST_DAYS} day",
            recovery="such rows belong in quarantine (too_old); this is a defect of the reader",
        ),
        no_rows(
            "every_interaction_is_filed_when_it_became_known",
            f"select event_id, {PARTITION}, event_at, received_at from {{batch}} "
            f"where {PARTITION} <> greatest(event_at::date, received_at::date)",
            recovery="this is a defect of the reader",
        ),
        between(
            "no_watch_time_is_negative",
            "watch_time_sec",
            0,
            None,
            recovery="such rows belong in quarantine (negative_watch_time); this is a defect of the reader",
        ),
        no_rows(
            "every_interaction_is_with_a_known_ping",
            f"select {PARTITION}, ping_id, count(*) as row_count from {{batch}} "
            f"anti join {{staged}}.pings using ({PARTITION}, ping_id) group by all",
            recovery="such rows belong in quarantine (unknown_ping); this is a defect of pings/accept.py",
        ),
        no_rows(
            "no_interaction_precedes_its_ping",
            f"""select {PARTITION}, count(*) as row_count, min(event_id) as for_example
            from {{batch}} join {{staged}}.pings using ({PARTITION}, ping_id)
            where event_at < created_at group by all order by all""",
            recovery="compare the clocks of interactions and catalogue, and the time zones of their descriptions",
        ),
        no_rows(
            "no_interaction_precedes_the_sign_up",
            f"""select {PARTITION}, count(*) as row_count, min(event_id) as for_example
            from {{batch}} join {{staged}}.ping_users using ({PARTITION}, user_id)
            where event_at < signup_date group by all order by all""",
            recovery="compare the clocks of interactions and users, and the time zones of their descriptions",
        ),
        no_phone_or_account_number(("user_id", "ping_id", "source", "landing_file"), ids=("event_id",)),
    ),
)

PINGS = Contract(
    name="pings",
    grain="One row per short video of the catalogue, as it was known at the end of the day.",
    description="The newest catalogue of each source that was known by then, whole. Videos that are dated after the "
    "day are there, too: compare created_at. A time that cannot be, such as zero seconds, is missing, and counted in "
    "ping_reconciliation.",
    group=GROUP,
    owner=DATA_ENGINEERING,
    key=("ping_id",),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column("ping_id", "VARCHAR", "The short video."),
        Column("creator_id", "VARCHAR", "The user who made it.", True, personal="pseudonym"),
        Column("main_hashtag", "VARCHAR", "As the source says.", True),
        Column("category", "VARCHAR", "As the source says.", True),
        Column("duration_sec", "DOUBLE", "How long it is; above zero, or missing.", True, "seconds"),
        Column("created_at", "TIMESTAMP", "When it was published (UTC).", True),
        CATALOGUE_ROW,
        KNOWN_ON,
        SOURCE,
        LANDING_FILE,
    ),
    expectations=(
        no_rows(
            "every_duration_is_above_zero",
            f"select {PARTITION}, ping_id, duration_sec from {{batch}} where duration_sec <= 0",
            recovery="such a time is missing; this is a defect of the reader",
        ),
        no_phone_or_account_number(
            ("creator_id", "main_hashtag", "category", "landing_file"),
            ids=("ping_id",),
            cards=("main_hashtag", "category"),
        ),
    ),
)

PING_USERS = Contract(
    name="ping_users",
    grain="One row per user of the short videos, as they were known at the end of the day.",
    description="The newest list of users of each source that was known by then, whole; who is dated after the day is "
    "there, too: compare signup_date.",
    group=GROUP,
    owner=DATA_ENGINEERING,
    key=("user_id",),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column("user_id", "VARCHAR", "Who.", personal="pseudonym"),
        Column("country", "VARCHAR", "ISO 3166 alpha-2.", True),
        Column("signup_date", "DATE", "Day on which they signed up, in the zone of the source.", True),
        Column("age", "INTEGER", "Age.", True, "years"),
        CATALOGUE_ROW,
        KNOWN_ON,
        SOURCE,
        LANDING_FILE,
    ),
    expectations=(
        no_rows(
            "every_country_is_an_iso_code",
            "select country, count(*) as row_count from {batch} where not regexp_full_match(country, '[A-Z][A-Z]') "
            "group by all",
            recovery="countries are two capital letters; mend the source or leave the column out of its description",
        ),
        between(
            "every_age_is_possible", "age", 0, OLDEST_USER, recovery="such an age is missing; a defect of the reader"
        ),
        no_phone_or_account_number(("landing_file",), ids=("user_id",)),
    ),
)

QUARANTINED_PING_ROWS = Contract(
    name="quarantined_ping_rows",
    grain="One row per landed row of these kinds that was set aside; those of a catalogue on each day that it stands.",
    description="Rows that could not be accepted, each with the reason and the place it came from, personal values "
    "masked.",
    group=GROUP,
    owner=DATA_ENGINEERING,
    key=("landing_file", "landing_line"),
    may_be_empty=True,
    columns=(
        FILED,
        Column("kind", "VARCHAR", "interaction, ping or ping_user."),
        Column("reason", "VARCHAR", "Why: " + "; ".join(f"{k} ({v})" for k, v in PING_REASONS.items()) + "."),
        Column("check_name", "VARCHAR", "The check that the row would have failed."),
        Column("event_name", "VARCHAR", "What, in the source's own words, addresses masked.", True),
        SOURCE,
        LANDING_FILE,
        LANDING_LINE,
        Column(
            "masked_row",
            "VARCHAR",
            "The row as it stands in the file, personal values masked; of one that could be read (unknown_ping, "
            "repeated_id) what was read of it.",
        ),
    ),
    expectations=(
        no_phone_or_account_number(
            ("event_name", "source", "landing_file"), ids=("masked_row",), cards=("event_name", "masked_row")
        ),
        one_of("every_reason_is_known", "reason", tuple(PING_REASONS), recovery="add the reason to pings/tables.py"),
    ),
)

# Of a row that tells several interactions all have its place.
ACCEPTED_ROWS = f"""(
                select distinct {PARTITION}, landing_file, landing_line from {{staged}}.ping_interactions
                union all select {PARTITION}, landing_file, catalogue_row from {{staged}}.pings
                union all select {PARTITION}, landing_file, catalogue_row from {{staged}}.ping_users)"""

PING_RECONCILIATION = reconciliation_contract(
    "ping_reconciliation",
    "One row per landing file of these kinds and day; one of a catalogue on each day that it stands.",
    "What became of every landed row of these kinds: accepted, a duplicate, quarantined, or of a type that the "
    "source's description leaves out.",
    group=GROUP,
    accepted="ping_interactions, pings or ping_users",
    rows=ACCEPTED_ROWS,
    quarantine=QUARANTINED_PING_ROWS.name,
    may_be_empty=True,
)

TABLES = (PING_INTERACTIONS, PINGS, PING_USERS, QUARANTINED_PING_ROWS, PING_RECONCILIATION)
