"""Contracts of features: what is known of every user, and what is unusual among the active ones.

Belongs here: the tables and their checks. Does not belong here: the feature list (`feature_registry.py`), how a feature
is computed (`user_features.py`).
"""

from gesture_assets.contracts.contract import PARTITION, Column, Contract, between, no_rows
from gesture_assets.contracts.shared import ANALYSTS, AS_OF, SCORING, USER
from gesture_assets.features.feature_registry import feature_registry

FRESH_HOURS = 24


def user_features(tags: tuple[str, ...]) -> Contract:
    """The contract of `user_features` for the CRM tags of a company, which are columns of their own."""
    features = feature_registry(tags)
    shares = [feature.name for feature in features if feature.unit == "share"]
    counts = {feature.name for feature in features if feature.unit == "count"}
    nested = [
        (f"{stem}_count_{shorter}d", f"{stem}_count_{longer}")
        for stem in sorted({name.removesuffix("_count_1d") for name in counts if name.endswith("_count_1d")})
        for shorter, longer in ((1, "7d"), (7, "14d"), (14, "30d"), (30, "60d"), (60, "90d"))
    ] + [(name, name.removesuffix("_90d")) for name in sorted(counts) if name.endswith("_count_90d")]
    return Contract(
        name="user_features",
        grain="One row per known user and day: what was known about them at the end of that day.",
        description="Everything that rules and models look at, built from events and CRM records known by then.",
        group="features",
        owner=SCORING,
        for_tags=user_features,
        upstream=(
            "daily_activity",
            "activity_to_date",
            "identity_links",
            "crm_snapshot",
            "validated_subscribers",
            "quarantined_subscribers",
        ),
        key=("user_id",),
        columns=(
            AS_OF,
            USER,
            *(Column(f.name, f.type, f.description, f.nullable, f.unit) for f in features),
        ),
        expectations=(
            no_rows(
                "every_share_lies_between_0_and_1",
                f"select {PARTITION}, user_id, {', '.join(shares)} from {{batch}} where "
                + " or ".join(f"{name} not between 0 and 1" for name in shares),
                recovery="this is a defect of features/user_features.py",
            ),
            no_rows(
                "no_window_counts_more_than_a_longer_one",
                f"select {PARTITION}, user_id from {{batch}} where "
                + " or ".join(f"{shorter} > {longer}" for shorter, longer in nested),
                recovery="this is a defect of features/user_features.py",
            ),
            no_rows(
                "nothing_is_known_before_it_happened",
                f"select {PARTITION}, user_id, last_event_at from {{batch}} "
                f"where last_event_at >= {PARTITION} + interval 1 day or days_since_last_event < 0",
                recovery="this is a defect of features/user_features.py: a feature looks into the future",
            ),
            between("member_rating_is_between_1_and_5", "member_rating", 1, 5, recovery="mend validated_subscribers"),
            no_rows(
                "scores_use_last_evening_s_activity",
                f"""select {PARTITION}, max(last_event_at) as last_event_at from {{batch}} group by all
                having max(last_event_at) < {PARTITION} + interval 1 day - interval {FRESH_HOURS} hour""",
                recovery="see whether the senders still send: select max(received_at) from raw_events",
            ),
        ),
    )


USER_FEATURES = user_features(())


IQR_FACTOR = 1.5  # Tukey's fences, which document 002 asks for


MOST_OUTLIERS = 0.05


FEWEST_FOR_A_SHARE = 20  # of fewer users, one is more than 5 %


METRICS = (
    "event_count_30d",
    "session_count_30d",
    "active_day_count_30d",
    "dwell_seconds_30d",
    "dwell_seconds_per_session",
    "engagement_trend",
)


ENGAGEMENT_FENCES = Contract(
    name="engagement_fences",
    grain="One row per engagement metric: what is usual among users active in the last 30 days, and what is not.",
    description=f"Quartiles, and fences {IQR_FACTOR} interquartile ranges beyond them. Users without an event in 30 "
    "days are left out: there are so many of them that every active user would be an outlier.",
    group="exploration",
    owner=ANALYSTS,
    upstream=("user_features",),
    key=("metric",),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column("metric", "VARCHAR", "Column of user_features."),
        Column("user_count", "BIGINT", "Users with an event in 30 days and a value.", unit="count"),
        Column("lower_quartile", "DOUBLE", "A quarter of them have less; between two values, a part of the way."),
        Column("median", "DOUBLE", "Half of them have less."),
        Column("upper_quartile", "DOUBLE", "A quarter of them have more."),
        Column("low_fence", "DOUBLE", f"Lower quartile less {IQR_FACTOR} interquartile ranges."),
        Column("high_fence", "DOUBLE", f"Upper quartile and {IQR_FACTOR} interquartile ranges."),
        Column("outlier_count", "BIGINT", "Users beyond a fence: the rows of engagement_outliers.", unit="count"),
        Column("outlier_share", "DOUBLE", "Their share of the users.", unit="share"),
    ),
    expectations=(
        no_rows(
            "quartiles_and_fences_are_in_order",
            "select * from {batch} where not (low_fence <= lower_quartile and lower_quartile <= median "
            "and median <= upper_quartile and upper_quartile <= high_fence)",
            recovery="this is a defect of features/outliers.py",
        ),
        no_rows(
            "every_outlier_is_listed_and_counted",
            f"""select {PARTITION}, metric, sum(counted) as counted, sum(listed) as listed from (
                select {PARTITION}, metric, outlier_count as counted, 0 as listed from {{batch}}
                union all select {PARTITION}, metric, 0, count(*) from {{staged}}.engagement_outliers group by all
            ) group by all having sum(counted) <> sum(listed)""",
            recovery="this is a defect of features/outliers.py",
        ),
        no_rows(
            "at_most_5_percent_of_active_users_are_outliers",
            f"select {PARTITION}, metric, user_count, outlier_share from {{batch}} "
            f"where outlier_share > {MOST_OUTLIERS} and user_count >= {FEWEST_FOR_A_SHARE}",
            recovery="look at engagement_outliers: a bot, a broken tracker, or a metric with a long tail by nature",
        ),
    ),
)


ENGAGEMENT_OUTLIERS = Contract(
    name="engagement_outliers",
    grain="One row per user and engagement metric beyond its fences.",
    description=f"A value is flagged where it lies more than {IQR_FACTOR} interquartile ranges below the lower "
    "quartile or above the upper one of the day's active users (engagement_fences). Nobody is left out for it.",
    group="exploration",
    owner=ANALYSTS,
    upstream=("user_features",),
    key=("user_id", "metric"),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column("user_id", "VARCHAR", "Who, as in user_features.", personal="pseudonym"),
        Column("metric", "VARCHAR", "Column of user_features."),
        Column("value", "DOUBLE", "The user's value."),
        Column("low_fence", "DOUBLE", "The metric's fences that day."),
        Column("high_fence", "DOUBLE", "The metric's fences that day."),
    ),
    expectations=(
        no_rows(
            "every_outlier_lies_beyond_a_fence",
            f"select {PARTITION}, user_id, metric, value from {{batch}} where value between low_fence and high_fence",
            recovery="this is a defect of features/outliers.py",
        ),
    ),
)

TABLES = (USER_FEATURES, ENGAGEMENT_FENCES, ENGAGEMENT_OUTLIERS)
