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
    UNKNOWN_PING: "no catalogue that was known by the end of the day has the ping; once one that has it has landed: "
    "gesture quarantine replay",
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

WHO = Column("user_id", "VARCHAR", "Who.", personal="pseudonym")
VIDEO = Column("ping_id", "VARCHAR", "The short video.")
LANDED = ("ping_interactions", "pings", "ping_users")

PING_WEIGHTS = Contract(
    name="ping_weights",
    grain="One row per day: the weights by which its pings and lists were scored.",
    description="Every version that ever made a list, with its whole content, and what the checks of lists ask for.",
    group=GROUP,
    owner=DATA_ENGINEERING,
    upstream=LANDED,
    key=("weights_version",),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column("weights", "VARCHAR", "Name of the file of weights."),
        Column("weights_version", "VARCHAR", "Hash of its content."),
        Column("list_length", "INTEGER", "Pings that a list holds at most.", unit="count"),
        Column("seen", "VARCHAR", "Which interactions hide a ping from their user: any, engaged or none."),
        Column("seen_days", "INTEGER", "For how many days they do; null: for good.", True, "days"),
        Column("per_creator", "INTEGER", "Pings of one creator that a list holds at most; null: any number.", True),
        Column("exploration", "DOUBLE", "Share of places that are given by chance; null: none.", True),
        Column("content", "VARCHAR", "Weights and windows as JSON."),
    ),
)

USER_PING_ENGAGEMENT = Contract(
    name="user_ping_engagement",
    grain="One row per user and ping with interactions that were filed on the day: what that day added.",
    description="Points of document 004: watched share of views, likes, comments, shares, follows, impressions. To "
    "date: analytics.user_ping_engagement_to_date.",
    group=GROUP,
    owner=DATA_ENGINEERING,
    upstream=LANDED,
    key=("user_id", "ping_id"),
    may_be_empty=True,
    columns=(
        FILED,
        WHO,
        VIDEO,
        Column("engagement_score", "DOUBLE", "Points that the day's interactions brought.", unit="points"),
        Column("engagement_units", "BIGINT", "The same in 10⁻¹² of a point: whole numbers add up in any order."),
        Column("last_event_at", "TIMESTAMP", "The last of them (UTC)."),
        Column("event_count", "BIGINT", "How many they are.", unit="count"),
    ),
    expectations=(
        no_rows(
            "every_score_is_its_units",
            f"select {PARTITION}, user_id, ping_id, engagement_score, engagement_units from {{batch}} "
            "where engagement_score <> (engagement_units || 'e-12')::double",
            recovery="this is a defect of pings/engagement.py",
        ),
        no_rows(
            "every_interaction_is_counted_once",
            f"""select {PARTITION}, sum(counted) as counted, sum(landed) as interactions from (
                select {PARTITION}, sum(event_count) as counted, 0 as landed from {{batch}} group by all
                union all select {PARTITION}, 0, count(*) from {{live}}.ping_interactions
                where {PARTITION} in (select {PARTITION} from {{days}}) group by all
            ) group by all having sum(counted) <> sum(landed)""",
            recovery="this is a defect of pings/engagement.py",
        ),
    ),
)

PING_ENGAGEMENT = Contract(
    name="ping_engagement",
    grain="One row per ping that anybody did anything with, as of the day.",
    description="What all users' interactions with a ping are worth, of the window of the weights; the most engaging "
    "first, equal ones by the order of the catalogue.",
    group=GROUP,
    owner=DATA_ENGINEERING,
    upstream=(*LANDED, "user_ping_engagement", "ping_weights"),
    key=("ping_id",),
    may_be_empty=True,
    columns=(
        AS_OF,
        VIDEO,
        Column("global_engagement", "DOUBLE", "Points of all users.", unit="points"),
        Column("user_count", "BIGINT", "Users who did anything with it.", unit="count"),
        Column("rank", "BIGINT", "Its place by points, from 1."),
    ),
    expectations=(
        no_rows(
            "ranks_follow_the_points",
            f"""select * from (select {PARTITION}, ping_id, rank, row_number() over (
                partition by {PARTITION} order by rank) as place, global_engagement, lag(global_engagement) over (
                partition by {PARTITION} order by rank) as better from {{batch}})
            where rank <> place or global_engagement > better""",
            recovery="this is a defect of pings/engagement.py",
        ),
        between("every_engaging_ping_has_users", "user_count", 1, None, recovery="a defect of pings/engagement.py"),
    ),
)

WATCH_TIME_STATS = Contract(
    name="watch_time_stats",
    grain="One row per day and statistic of the watched shares of all views.",
    description="Watched time ÷ duration of the views in the window of the weights: count, mean, std, min, quantiles "
    "and max, as document 004 reports them.",
    group=GROUP,
    owner=DATA_ENGINEERING,
    upstream=(*LANDED, "user_ping_engagement", "ping_weights"),
    key=("statistic",),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column("statistic", "VARCHAR", "count, mean, std, min, 25%, 50%, 75%, 90% or max."),
        Column("watch_time_ratio", "DOUBLE", "Its value, a share but for count; null without views.", True),
    ),
    expectations=(
        no_rows(
            "quantiles_are_in_order",
            f"""select * from (select {PARTITION}, statistic, watch_time_ratio, lag(watch_time_ratio) over (
                partition by {PARTITION} order by list_position(['min', '25%', '50%', '75%', '90%', 'max'], statistic)
            ) as lower from {{batch}} where statistic not in ('count', 'mean', 'std'))
            where watch_time_ratio < lower""",
            recovery="this is a defect of pings/engagement.py",
        ),
    ),
)

NEW_VS_EXISTING_USERS = Contract(
    name="new_vs_existing_users",
    grain="One row per day for new users, and one for all others.",
    description="How much of a ping they watch, and how many pings they view, like, comment on or share; who did none "
    "of it is included. New is who signed up in the days before that the weights say.",
    group=GROUP,
    owner=DATA_ENGINEERING,
    upstream=(*LANDED, "user_ping_engagement", "ping_weights"),
    key=("is_new",),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column("is_new", "BOOLEAN", "Whether the row is of new users."),
        Column("user_count", "BIGINT", "How many they are.", unit="count"),
        Column("avg_pings", "DOUBLE", "Pings that one of them viewed, liked, commented on or shared."),
        Column("view_count", "BIGINT", "Their views.", unit="count"),
        Column("avg_watch_time_ratio", "DOUBLE", "Watched share of a view; null without any.", True, "share"),
    ),
    expectations=(
        no_rows(
            "every_user_is_new_or_not",
            f"""select {PARTITION}, sum(grouped) as grouped, sum(known) as users from (
                select {PARTITION}, sum(user_count) as grouped, 0 as known from {{batch}} group by all
                union all select {PARTITION}, 0, count(*) from {{live}}.ping_users
                where {PARTITION} in (select {PARTITION} from {{days}})
                    and coalesce(signup_date <= {PARTITION}, true) group by all
            ) group by all having sum(grouped) <> sum(known)""",
            recovery="this is a defect of pings/engagement.py",
        ),
    ),
)

USER_AFFINITIES = Contract(
    name="user_affinities",
    grain="One row per user, kind and value of the ten strongest of each kind, as of the day.",
    description="Which categories and creators a user's interactions are with, of the window of the weights. Lists are "
    "made of all of them, these are the ten to read.",
    group=GROUP,
    owner=DATA_ENGINEERING,
    upstream=(*LANDED, "user_ping_engagement", "ping_weights"),
    key=("user_id", "kind", "value"),
    may_be_empty=True,
    columns=(
        AS_OF,
        WHO,
        Column("kind", "VARCHAR", "category or creator."),
        Column("value", "VARCHAR", "Which one."),
        Column("event_count", "BIGINT", "The user's interactions with it.", unit="count"),
        Column("affinity", "DOUBLE", "Their share of all of the user's interactions.", unit="share"),
    ),
    expectations=(
        one_of("every_kind_is_known", "kind", ("category", "creator"), recovery="a defect of pings/engagement.py"),
        no_rows(
            "no_user_is_more_than_wholly_of_a_kind",
            f"""select {PARTITION}, user_id, kind, sum(affinity) as affinity from {{batch}} group by all
            having sum(affinity) > 1 + 1e-9 or min(affinity) <= 0""",
            recovery="this is a defect of pings/engagement.py",
        ),
    ),
)

# What hides a ping from a user on a day, as the weights of that day have it.
SEEN = f"""(select distinct weights.{PARTITION}, done.user_id, done.ping_id from {{live}}.ping_weights as weights
            join {{live}}.ping_interactions as done on done.{PARTITION} <= weights.{PARTITION}
                and done.event_at < weights.{PARTITION} + interval 1 day
                and (weights.seen = 'any' or weights.seen = 'engaged' and done.event_type <> 'impression')
                and coalesce(done.event_at >= weights.{PARTITION} + interval 1 day - to_days(weights.seen_days), true)
            where weights.{PARTITION} in (select {PARTITION} from {{days}}))"""
# Who has a list, and how many pings could be on it.
PUBLISHED = f"""(select {PARTITION}, ping_id from {{live}}.pings where {PARTITION} in (select {PARTITION} from {{days}})
                and coalesce(created_at < {PARTITION} + interval 1 day, true))"""
MOST_OVERLAP, LEAST_COVERAGE = 0.9, 0.5
# Other weights, a ranker or none: their lists hold another share of the catalogue, which is no defect.
MADE_BY = "any_value(weights_version) || coalesce(max(ranker_version), '') as made_by"
LIKED = "having max(category_points) > 0 or max(creator_points) > 0"  # before anybody does anything, lists are alike
# Bernstein: a share of n draws is so far off in one night of 10⁹ at most, however few they are. ln(2 × 10⁹).
BEYOND_CHANCE = 21.4
CATALOGUE = f"(select {PARTITION}, count(*) as pings from {PUBLISHED} group by all)"
HIDDEN = f"""(select {PARTITION}, user_id, count(*) as pings
                from {SEEN} semi join {PUBLISHED} using ({PARTITION}, ping_id) group by all)"""
# Of those alone who like something and have twice as many unseen pings as places: others have no choice.
OVERLAP = f"""(with liked as (
                select {PARTITION}, user_id from {{batch}} join {{live}}.ping_weights using ({PARTITION})
                join {CATALOGUE} as catalogue using ({PARTITION})
                left join {HIDDEN} as hidden using ({PARTITION}, user_id)
                where catalogue.pings - coalesce(hidden.pings, 0) >= 2 * list_length group by all {LIKED}),
            lists as (select {PARTITION}, user_id, ping_id from {{batch}} join liked using ({PARTITION}, user_id)),
            common as (select {PARTITION}, sum(users * (users - 1)) as shared, sum(users) as places from (
                select {PARTITION}, ping_id, count(*) as users from lists group by all) group by all)
            select {PARTITION}, shared / (places * (users - 1)) as overlap, users
            from common join (select {PARTITION}, count(*) as users from liked group by all) using ({PARTITION})
            where users >= 10)"""

PING_RECOMMENDATIONS = Contract(
    name="ping_recommendations",
    grain="One row per user and place of their list, as of the day.",
    description="What to show next: for everybody the unseen pings of the highest score, which is popularity, the "
    "user's share of the category and of the creator, and freshness, as document 004 weighs them. Who has done nothing "
    "yet has a list, too.",
    group=GROUP,
    owner=DATA_ENGINEERING,
    upstream=(*LANDED, "ping_engagement", "ping_weights"),
    key=("user_id", "rank"),
    may_be_empty=True,
    columns=(
        AS_OF,
        WHO,
        Column("rank", "BIGINT", "Place in the list, from 1."),
        VIDEO,
        Column("score", "DOUBLE", "The sum of its four parts."),
        Column("popularity_points", "DOUBLE", "What popularity adds."),
        Column("category_points", "DOUBLE", "What the user's share of interactions with the category adds."),
        Column("creator_points", "DOUBLE", "What their share with the creator adds."),
        Column("freshness_points", "DOUBLE", "What freshness adds, 1 ÷ (1 + days since it was published)."),
        Column("reason", "VARCHAR", "Why, in the words of document 004; what stands there by chance is tried out."),
        Column("category", "VARCHAR", "Category of the ping.", True),
        Column("main_hashtag", "VARCHAR", "Hashtag of the ping.", True),
        Column("creator_id", "VARCHAR", "Creator of the ping.", True, personal="pseudonym"),
        Column("weights_version", "VARCHAR", "Weights that the list was made by."),
        Column("is_explored", "BOOLEAN", "Whether the ping stands there by chance, from behind the list."),
        Column("propensity", "DOUBLE", "Chance with which this ping stood at this place; 1 without exploration."),
        Column("ranker_version", "VARCHAR", "Ranker that put the list in order; null: its scores did.", True),
        Column("ranker_score", "DOUBLE", "What it goes by in a list; only the order means anything.", True),
    ),
    expectations=(
        no_rows(
            "the_parts_of_a_score_sum_to_it",
            f"select {PARTITION}, user_id, ping_id, score from {{batch}} "
            "where score <> popularity_points + category_points + creator_points + freshness_points",
            recovery="this is a defect of pings/recommend.py",
        ),
        no_rows(
            "lists_are_in_order_of_their_scores",
            f"""select * from (select {PARTITION}, user_id, rank, coalesce(ranker_score, score) as height, is_explored,
                row_number() over (list order by rank) as place,
                min(height) filter (not is_explored) over (list order by rank
                    rows between unbounded preceding and 1 preceding) as better,
                min(height) filter (not is_explored) over (list) as worst
                from {{batch}} window list as (partition by {PARTITION}, user_id))
            where rank <> place or height > case when is_explored then worst else better end""",
            recovery="this is a defect of pings/recommend.py, pings/ranker.py or pings/exploration.py",
        ),
        no_rows(
            "a_list_is_ordered_by_one_ranker_or_by_none",
            f"""select {PARTITION}, user_id, count(distinct ranker_version) as rankers from {{batch}} group by all
            having count(distinct ranker_version) > 1 or count(ranker_version) not in (0, count(*))
                or count(ranker_score) <> count(ranker_version)""",
            recovery="this is a defect of pings/ranker.py",
        ),
        no_rows(
            "every_propensity_is_the_chance_of_its_place",
            f"""select {PARTITION}, user_id, rank, is_explored, propensity, exploration
            from {{batch}} join {{live}}.ping_weights using ({PARTITION})
            where not case when is_explored
                then propensity > 0 and propensity <= coalesce(exploration, 0) / list_length
                else propensity in (1, 1 - coalesce(exploration, 0)) end""",
            recovery="this is a defect of pings/exploration.py",
        ),
        no_rows(
            "as_many_places_are_explored_as_chance_allows",
            f"""select {PARTITION}, exploration, explored / places as explored_share, places
            from (select {PARTITION}, count(*) as places, count(*) filter (is_explored) as explored
                from {{batch}} where propensity < 1 group by all) join {{live}}.ping_weights using ({PARTITION})
            where abs(explored - exploration * places) > {BEYOND_CHANCE} / 3
                + sqrt(({BEYOND_CHANCE} / 3) ** 2 + 2 * {BEYOND_CHANCE} * exploration * (1 - exploration) * places)""",
            recovery="this is a defect of pings/exploration.py",
        ),
        no_rows(
            "no_list_holds_a_ping_twice",
            f"select {PARTITION}, user_id, ping_id, count(*) as places from {{batch}} group by all having count(*) > 1",
            recovery="this is a defect of pings/recommend.py",
        ),
        no_rows(
            "no_list_holds_what_its_user_has_seen",
            f"select * from {{batch}} semi join {SEEN} as seen using ({PARTITION}, user_id, ping_id)",
            recovery="this is a defect of pings/recommend.py",
        ),
        no_rows(
            "every_list_holds_as_many_as_it_can",
            f"""with catalogue as {CATALOGUE}, hidden as {HIDDEN},
            people as (select {PARTITION}, user_id from {{live}}.ping_users
                where {PARTITION} in (select {PARTITION} from {{days}})
                    and coalesce(signup_date <= {PARTITION}, true)
                union select weights.{PARTITION}, user_id from {{live}}.ping_weights as weights
                join {{live}}.ping_interactions as done on done.{PARTITION} <= weights.{PARTITION}
                where weights.{PARTITION} in (select {PARTITION} from {{days}})),
            lists as (select {PARTITION}, user_id, count(*) as places from {{batch}} group by all)
            select {PARTITION}, user_id, coalesce(places, 0) as places, list_length,
                coalesce(catalogue.pings, 0) - coalesce(hidden.pings, 0) as unseen
            from people join {{live}}.ping_weights using ({PARTITION})
            left join catalogue using ({PARTITION}) left join hidden using ({PARTITION}, user_id)
            left join lists using ({PARTITION}, user_id)
            where coalesce(places, 0) > list_length or per_creator is null and coalesce(places, 0) <>
                least(list_length, coalesce(catalogue.pings, 0) - coalesce(hidden.pings, 0))""",
            recovery="this is a defect of pings/recommend.py",
        ),
        no_rows(
            "lists_are_not_all_alike",
            f"select * from {OVERLAP} where overlap >= 0.99",
            recovery="look at analytics.recsys_health; raise the weights of category and creator "
            "(data/ping_weights/<name>.toml), then  gesture run --date DAY",
        ),
        no_rows(
            "lists_are_personal",
            f"select * from {OVERLAP} where overlap >= {MOST_OVERLAP}",
            recovery="raise the weights of category and creator (data/ping_weights/<name>.toml)",
        ),
        no_rows(
            "lists_show_as_much_of_the_catalogue_as_they_did",
            f"""with catalogue as (select {PARTITION}, count(*) as pings from {{live}}.pings
                where {PARTITION} >= (select min({PARTITION}) from {{days}}) - 28
                    and coalesce(created_at < {PARTITION} + interval 1 day, true) group by all),
            listed as (select {PARTITION}, {MADE_BY}, count(distinct ping_id) as shown from {{batch}}
                group by {PARTITION} {LIKED}),
            listed_before as (select {PARTITION}, {MADE_BY}, count(distinct ping_id) as shown
                from {{live}}.ping_recommendations where {PARTITION} >= (select min({PARTITION}) from {{days}}) - 28
                group by {PARTITION} {LIKED}),
            today as (select {PARTITION}, made_by, shown / pings as coverage
                from listed join catalogue using ({PARTITION})),
            past as (select {PARTITION}, made_by, shown / pings as coverage
                from listed_before join catalogue using ({PARTITION})),
            known as (from today union all from past anti join today using ({PARTITION}))
            select today.{PARTITION}, today.coverage, median(known.coverage) as usual_coverage
            from today join known on known.made_by = today.made_by and known.{PARTITION} < today.{PARTITION}
                and known.{PARTITION} >= today.{PARTITION} - 28
            group by all having count(*) >= 3 and today.coverage < {LEAST_COVERAGE} * median(known.coverage)""",
            recovery="compare the day's catalogue and interactions with those of the days before, then  "
            "gesture run --date DAY",
        ),
    ),
)

PING_CANDIDATES = Contract(
    name="ping_candidates",
    grain="One row per user and ping that their list was chosen from, as of the day.",
    description="The unseen pings of the highest score, more than a list holds: a ranker puts them in order, and "
    "exploration draws from them. Empty where lists are the highest scores alone ([lists] candidates keeps them all "
    "the same).",
    group=GROUP,
    owner=DATA_ENGINEERING,
    upstream=(*LANDED, "ping_engagement", "ping_weights"),
    key=("user_id", "place"),
    may_be_empty=True,
    columns=(
        AS_OF,
        WHO,
        Column("place", "BIGINT", "Place by the score, from 1."),
        VIDEO,
        Column("score", "DOUBLE", "The sum of the four parts of document 004."),
    ),
    expectations=(
        no_rows(
            "every_place_of_a_list_is_a_candidate",
            f"""select {PARTITION}, user_id, ping_id from {{staged}}.ping_recommendations
            semi join (select distinct {PARTITION} from {{batch}}) using ({PARTITION})
            anti join {{batch}} using ({PARTITION}, user_id, ping_id)""",
            recovery="this is a defect of pings/recommend.py",
        ),
        no_rows(
            "candidates_are_in_order_of_their_scores",
            f"""select * from (select {PARTITION}, user_id, place, score,
                row_number() over list as expected, lag(score) over list as better
                from {{batch}} window list as (partition by {PARTITION}, user_id order by place))
            where place <> expected or score > better""",
            recovery="this is a defect of pings/recommend.py",
        ),
        no_rows(
            "no_candidate_is_one_twice",
            f"select {PARTITION}, user_id, ping_id, count(*) as row_count from {{batch}} "
            "group by all having count(*) > 1",
            recovery="this is a defect of pings/recommend.py",
        ),
    ),
)

JUDGED = (*LANDED, "watch_time_stats", "new_vs_existing_users", "ping_recommendations", "ping_weights")

RECOMMENDATION_EVALUATION = Contract(
    name="recommendation_evaluation",
    grain="One row per day, policy and measure: how lists of the day before fared with what users did on the day.",
    description="The lists that were served beside plain ones (by chance, by popularity, by recent hits, by hit rate, "
    "the shortest first), of the users who did something good on the day. With 95 % intervals over users.",
    group=GROUP,
    owner=DATA_ENGINEERING,
    upstream=JUDGED,
    key=("policy", "measure"),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column(
            "policy",
            "VARCHAR",
            "served, random, popularity, recent_hits, hit_rate or shortest_first; without_exploration: ips, snips.",
        ),
        Column("measure", "VARCHAR", "hit_rate, ndcg, coverage, ips, snips … : docs/pings.md."),
        Column("value", "DOUBLE", "Its value."),
        Column("low", "DOUBLE", "Lower end of the 95 % interval; null where there is none.", True),
        Column("high", "DOUBLE", "Upper end.", True),
        Column("user_count", "BIGINT", "Users that it is of.", unit="count"),
        Column("excluded_count", "BIGINT", "Users with a list who did nothing good on the day.", unit="count"),
    ),
    expectations=(
        no_rows(
            "every_interval_holds_its_value",
            f"select {PARTITION}, policy, measure, value, low, high from {{batch}} "
            "where low > value + 1e-9 or high < value - 1e-9",
            recovery="this is a defect of pings/evaluation.py",
        ),
    ),
)

RECSYS_HEALTH = Contract(
    name="recsys_health",
    grain="One row per day and figure of the health of recommendations.",
    description="The six figures of document 004's dashboard, of the window of the weights, and who comes back.",
    group=GROUP,
    owner=DATA_ENGINEERING,
    upstream=JUDGED,
    key=("metric",),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column("metric", "VARCHAR", "watch_through_rate, engagement_per_impression … : docs/pings.md."),
        Column("value", "DOUBLE", "Its value; null where there is nothing to count.", True),
        Column("counted", "BIGINT", "Rows, users or pings that it is of.", unit="count"),
    ),
    expectations=(
        no_rows(
            "every_figure_is_of_something",
            f"select {PARTITION}, metric, value, counted from {{batch}} where (value is null) <> (counted = 0)",
            recovery="this is a defect of pings/health.py",
        ),
    ),
)

PING_INSIGHTS = Contract(
    name="ping_insights",
    grain="One row per day and sentence.",
    description="What the numbers say, in sentences; none is made of fewer than 30 events, users or pings.",
    group=GROUP,
    owner=DATA_ENGINEERING,
    upstream=JUDGED,
    key=("place",),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column("place", "INTEGER", "Its place, from 1."),
        Column("insight", "VARCHAR", "What it is about."),
        Column("sentence", "VARCHAR", "The sentence."),
        Column("numbers", "VARCHAR", "JSON: the numbers in it, by name."),
        Column("counted", "BIGINT", "Events, users or pings that it is of.", unit="count"),
    ),
    expectations=(
        between("no_sentence_is_of_few", "counted", 30, None, recovery="this is a defect of pings/insights.py"),
    ),
)

TRAINED_ON = Column(PARTITION, "DATE", "The day of the training: interactions up to its end were learnt from.")
RANKER_VERSION = Column("ranker_version", "VARCHAR", "v, when it was trained, and 8 signs of its hash.")

PING_RANKERS = Contract(
    name="ping_rankers",
    grain="One row per training: the ranker it made, and what became of it.",
    description="What a version of the second stage resolves to: days, objective, weights, code; its files lie in "
    "data/models/pings/<version>/.",
    group=GROUP,
    owner=DATA_ENGINEERING,
    upstream=("ping_interactions", "pings", "ping_weights"),
    key=("ranker_version",),
    keeps_history=True,
    is_nightly=False,
    columns=(
        TRAINED_ON,
        RANKER_VERSION,
        Column("fingerprint", "VARCHAR", "SHA-256 of what decides a score."),
        Column("data_hash", "VARCHAR", "Hash of everything that the training read."),
        Column("objective", "VARCHAR", "binary:logistic or rank:ndcg: what ordered an earlier fold better."),
        Column("objective_ndcg", "VARCHAR", "JSON: NDCG@10 of each objective on that fold."),
        Column("settings", "VARCHAR", "JSON: what XGBoost was told."),
        Column("features", "VARCHAR", "JSON: the features it reads, in order."),
        Column("weights_version", "VARCHAR", "Weights of the heuristic that is a feature."),
        Column("code_version", "VARCHAR", "Version of gesture_assets."),
        Column("first_day", "DATE", "First day that it learned from."),
        Column("judged_days", "VARCHAR", "JSON: days by which one of the days before them was judged."),
        Column("training_samples", "INTEGER", "Impressions that it learned from.", unit="count"),
        Column("judged_samples", "INTEGER", "Impressions that one of earlier days put in order.", unit="count"),
        Column("user_count", "INTEGER", "Users that these are of.", unit="count"),
        Column("decision", "VARCHAR", "promoted or kept: whether it orders lists from the next day on."),
        Column("because", "VARCHAR", "Why, with the figures."),
    ),
    expectations=(
        one_of(
            "a_ranker_is_promoted_or_not",
            "decision",
            ("promoted", "kept"),
            recovery="this is a defect of nights/ping_rankers.py",
        ),
        no_rows(
            "no_ranker_is_judged_by_days_it_learned_from_alone",
            f"select {PARTITION}, ranker_version, first_day, judged_days from {{batch}} "
            "where json_array_length(judged_days) = 0 or (judged_days ->> '$[0]')::date <= first_day",
            recovery="this is a defect of pings/ranker_training.py",
        ),
    ),
)

PING_RANKER_EVALUATION = Contract(
    name="ping_ranker_evaluation",
    grain="One row per training, order and measure.",
    description="How a ranker of earlier days put the impressions of the judged days in order, and how plain orders "
    "do: users who liked some and not others, 95 % intervals over users. What was shown was chosen by the app.",
    group=GROUP,
    owner=DATA_ENGINEERING,
    upstream=("ping_interactions", "pings", "ping_weights"),
    key=("ranker_version", "policy", "measure"),
    keeps_history=True,
    is_nightly=False,
    columns=(
        TRAINED_ON,
        RANKER_VERSION,
        Column("policy", "VARCHAR", "ranker, heuristic, recent_hits, hit_rate, shortest_first or random."),
        Column(
            "measure",
            "VARCHAR",
            "Of re-ranked impressions: ndcg (at 10), auc (mean of the users'). Of lists of the whole catalogue: "
            "list_ndcg.",
        ),
        Column("value", "DOUBLE", "Its value."),
        Column("low", "DOUBLE", "Lower end of the 95 % interval."),
        Column("high", "DOUBLE", "Upper end."),
        Column("gain", "DOUBLE", "How much higher the ranker's is; null of the ranker.", True),
        Column("gain_low", "DOUBLE", "Lower end of its 95 % interval, by the differences of the users.", True),
        Column("gain_high", "DOUBLE", "Upper end.", True),
        Column("user_count", "BIGINT", "Users that it is of.", unit="count"),
        Column("excluded_count", "BIGINT", "Users who liked all or nothing of what they were shown.", unit="count"),
    ),
    expectations=(
        no_rows(
            "every_measure_lies_in_its_interval",
            f"select {PARTITION}, policy, measure, low, value, high from {{batch}} "
            "where not (low <= value and value <= high) or gain_low > gain or gain > gain_high",
            recovery="this is a defect of pings/evaluation.py",
        ),
        no_rows(
            "every_ranker_stands_beside_the_heuristic",
            f"""select {PARTITION} from {{days}} anti join (
                select {PARTITION} from {{batch}} where policy in ('ranker', 'heuristic') and measure = 'ndcg'
                group by all having count(distinct policy) = 2) using ({PARTITION})""",
            recovery="gesture recs train --date DAY",
        ),
    ),
)

TABLES = (
    PING_INTERACTIONS,
    PINGS,
    PING_USERS,
    QUARANTINED_PING_ROWS,
    PING_RECONCILIATION,
    PING_WEIGHTS,
    USER_PING_ENGAGEMENT,
    PING_ENGAGEMENT,
    WATCH_TIME_STATS,
    NEW_VS_EXISTING_USERS,
    USER_AFFINITIES,
    PING_RECOMMENDATIONS,
    PING_CANDIDATES,
    RECOMMENDATION_EVALUATION,
    RECSYS_HEALTH,
    PING_INSIGHTS,
    PING_RANKERS,
    PING_RANKER_EVALUATION,
)
