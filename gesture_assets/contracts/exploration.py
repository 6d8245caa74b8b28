"""Contracts of what an analyst looks at first: outliers of engagement, who buys, whether that is enough data.

Belongs here: document 002's outlier flags and document 003's exploratory analysis, as long tables, small ones. Does not
belong here: drift between days (`monitoring/`), features (`features/registry.py`).
"""

from gesture_assets.contracts.contract import PARTITION, Column, Contract, between, no_rows

OWNER = "analysts@gesture.example"
AS_OF = Column(PARTITION, "DATE", "The day at whose end this was known.")
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
QUANTILES = (0.1, 0.5, 0.9)
QUANTILE_METRICS = ("tag_count", "member_rating", "optin_days")
# What training needs at least: document 003's rows, and enough of both outcomes for a part to be held back.
NEEDED = {
    "subscribers": (1_000, "Subscribers."),
    "buyers": (100, "Subscribers with a purchase."),
    "others": (100, "Subscribers without a purchase."),
    "rated_share": (0.95, "Share of subscribers whose rating is known."),
    "tagged_share": (0.95, "Share of subscribers whose tags are known, none at all included."),
}
VERDICT = "verdict"

ENGAGEMENT_FENCES = Contract(
    name="engagement_fences",
    grain="One row per engagement metric: what is usual among users active in the last 30 days, and what is not.",
    description=f"Quartiles, and fences {IQR_FACTOR} interquartile ranges beyond them. Users without an event in 30 "
    "days are left out: there are so many of them that every active user would be an outlier.",
    group="exploration",
    owner=OWNER,
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
    owner=OWNER,
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

SEGMENT_CONVERSION = Contract(
    name="segment_conversion",
    grain="One row per segment of a dimension: how many subscribers it has, and how many of them bought.",
    description="Country, rating, tags, year of opt-in, and pairs of these. Segments are in the order of their buyers, "
    "so cumulative shares are a Pareto curve: how few segments bring most of the sales.",
    group="exploration",
    owner=OWNER,
    key=("dimension", "segment"),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column("dimension", "VARCHAR", "What subscribers are told apart by; × joins two."),
        Column("segment", "VARCHAR", "Value; unknown where the CRM has none."),
        Column("place", "INTEGER", "Place by buyers, then by subscribers, then by name, from 1.", unit="place"),
        Column("subscriber_count", "BIGINT", "Subscribers.", unit="count"),
        Column("buyer_count", "BIGINT", "Of these, with a purchase up to the day.", unit="count"),
        Column("conversion_rate", "DOUBLE", "Buyers of subscribers.", unit="share"),
        Column("subscriber_share", "DOUBLE", "Share of all subscribers.", unit="share"),
        Column("buyer_share", "DOUBLE", "Share of all buyers; null where nobody bought.", True, "share"),
        Column("cumulative_subscriber_share", "DOUBLE", "Share of this segment and those before it.", unit="share"),
        Column("cumulative_buyer_share", "DOUBLE", "The same of all buyers; null where nobody bought.", True, "share"),
    ),
    expectations=(
        no_rows(
            "every_subscriber_is_in_one_segment_of_each_dimension",
            f"""select {PARTITION}, dimension, segmented, known from (
                    select {PARTITION}, dimension, sum(subscriber_count) as segmented from {{batch}} group by all)
                join (select {PARTITION}, count(*) as known from {{live}}.validated_subscribers
                    semi join {{days}} using ({PARTITION}) group by all) using ({PARTITION})
            where segmented <> known""",
            recovery="this is a defect of subscribers/exploration.py",
        ),
        no_rows(
            "cumulative_shares_end_at_1",
            f"""select {PARTITION}, dimension, max(cumulative_subscriber_share) as subscribers,
                max(cumulative_buyer_share) as buyers from {{batch}} group by all
            having max(cumulative_subscriber_share) <> 1 or max(cumulative_buyer_share) <> 1""",
            recovery="this is a defect of subscribers/exploration.py",
        ),
        between("every_conversion_rate_is_a_share", "conversion_rate", 0, 1, recovery="a defect of the room"),
    ),
)

PURCHASE_QUANTILES = Contract(
    name="purchase_quantiles",
    grain="One row per metric, outcome and quantile: how buyers and others are spread.",
    description="10 %, 50 % and 90 % of tags, ratings and days since opt-in, by purchase; subscribers whose value is "
    "unknown are left out.",
    group="exploration",
    owner=OWNER,
    key=("metric", "made_purchase", "quantile"),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column("metric", "VARCHAR", "Column of validated_subscribers, or optin_days: days since opt-in."),
        Column("made_purchase", "SMALLINT", "1: buyers, 0: all others."),
        Column("quantile", "DOUBLE", "Share of subscribers with this value or less.", unit="share"),
        Column("value", "DOUBLE", "Between two values, a part of the way."),
        Column("subscriber_count", "BIGINT", "Subscribers with a value.", unit="count"),
    ),
    expectations=(
        no_rows(
            "quantiles_rise",
            f"""select * from (select *, lag(value) over (
                partition by {PARTITION}, metric, made_purchase order by quantile) as below from {{batch}})
            where value < below""",
            recovery="this is a defect of subscribers/exploration.py",
        ),
    ),
)

DATA_SUFFICIENCY = Contract(
    name="data_sufficiency",
    grain="One row per criterion, and the verdict: whether the CRM holds enough to learn from.",
    description="What a model of purchases needs at least. The verdict is met when every criterion is.",
    group="exploration",
    owner=OWNER,
    key=("criterion",),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column(
            "criterion", "VARCHAR", f"{VERDICT}, or: " + " ".join(f"{k}: {said}" for k, (_, said) in NEEDED.items())
        ),
        Column("found", "DOUBLE", "What there is; for the verdict, the criteria that are met."),
        Column("needed", "DOUBLE", "What is needed at least."),
        Column("is_met", "BOOLEAN", "Whether there is as much."),
    ),
    expectations=(
        no_rows(
            "every_criterion_is_judged_by_its_numbers",
            "select * from {batch} where is_met <> (found >= needed)",
            recovery="this is a defect of subscribers/exploration.py",
        ),
        no_rows(
            "the_verdict_counts_the_criteria",
            f"""select {PARTITION}, found, met from {{batch}} join (
                    select {PARTITION}, count(*) filter (is_met) as met from {{batch}}
                    where criterion <> '{VERDICT}' group by all) using ({PARTITION})
                where criterion = '{VERDICT}' and (found <> met or needed <> {len(NEEDED)})""",
            recovery="this is a defect of subscribers/exploration.py",
        ),
        no_rows(
            "there_is_enough_data_to_learn_from",
            f"""select {PARTITION}, criterion, found, needed from {{batch}}
                where criterion <> '{VERDICT}' and not is_met""",
            recovery="rule scores need no training; wait for more purchases before a model is trained",
        ),
    ),
)
