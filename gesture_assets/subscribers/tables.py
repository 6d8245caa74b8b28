"""Contracts of who people are: the CRM's tables as they were found, its subscribers, and those set aside.

Belongs here: document 003's tests, one expectation each. Does not belong here: reading the CRM (`sources/crm.py`).
"""

from gesture_assets.contracts.contract import PARTITION, Column, Contract, between, filled, no_rows, one_of
from gesture_assets.contracts.shared import ANALYSTS, AS_OF, CRM
from gesture_assets.contracts.source_columns import found_columns, same_columns_as_before
from gesture_assets.errors import SHOWN
from gesture_assets.vocabulary.features import tag_column

# Our CRM tables and columns, in the order document 003's database has them. There another order means another export,
# and positions may be meant.
CRM_TABLES = {
    "Subscribers": ("mailchimp_id", "user_full_name", "user_email", "member_rating", "optin_time", "country_code"),
    "Tags": ("mailchimp_id", "tag"),
    "Transactions": ("transaction_id", "purchased_at", "user_full_name", "user_email", "charge_country", "product_id"),
}
OPTIONAL_CRM_COLUMNS = {
    "Tags": ("tagged_at",),  # lets the tags of past days be rebuilt
    "Transactions": ("mailchimp_id", "amount", "currency"),
}
CRM_COLUMNS = {name: (*columns, *OPTIONAL_CRM_COLUMNS.get(name, ())) for name, columns in CRM_TABLES.items()}
# Those that may be there or not without another count of columns.
OPTIONAL = ", ".join(
    f"'{column}'" for columns in OPTIONAL_CRM_COLUMNS.values() for column in columns if column != "mailchimp_id"
)

# A handful of people subscribe twice under one address, or mistype it; more than that is a broken export.
QUARANTINE_TOLERANCE = 0.01
# Purchases up to a day are at least those up to the day before; a few may be deleted, and of few a day may bring many.
FEWEST_PURCHASES = 20
LOWEST_LEVEL, HIGHEST_LEVEL = 0.9, 1.5
UNKNOWN_COUNTRY_TOLERANCE = 0.50
UNREADABLE_TOLERANCE = 0.05
INCOMPLETE = 0.60  # document 002: 35 to 50 % of profiles lack something, which no score minds; more is a broken export
BUYER_MATCH_FLOOR = 0.90
DOMAIN_JUMP = 0.20

FIX = "mend the CRM rows that rejected.validated_subscribers shows (mailchimp_id), then  gesture run --date DAY"
UNDATED = ("member_rating", "country")  # what the CRM says of somebody without saying since when
# Rows of before ratings and countries of a rebuilt day were unknown, which models would learn from.
REBUILD = 'gesture run --date DAY --rebuild --restate-crm --reason "what has no date was not known yet"'

SUBSCRIBER_REASONS = {
    "missing_id": "there is no id, or one that shows or rounds what it stands for",
    "missing_email": "there is no e-mail address",
    "malformed_email": "the e-mail address is none: a name, an at sign, a domain with an ending",
    "duplicate_email": "another subscriber has the same e-mail address, letter case and spaces aside; "
    "the first to opt in is kept, of several the first in the CRM",
    "duplicate_id": "another subscriber has the same id; the first to opt in is kept, of several the first in the CRM",
}

CRM_SNAPSHOT = Contract(
    name="crm_snapshot",
    grain="One row per CRM table.",
    description="What the CRM looked like when it was read: its tables, columns in order, rows and match rates. "
    "A table that the CRM does without has no row.",
    group="subscribers",
    owner=CRM,
    key=("crm_table",),
    columns=(
        Column(PARTITION, "DATE", "Day that the subscribers stand for."),
        Column("crm_table", "VARCHAR", "Subscribers, Tags or Transactions."),
        Column("row_count", "BIGINT", "Rows in the CRM.", unit="count"),
        Column("column_names", "VARCHAR", "Columns in the CRM, in order."),
        Column(
            "expected_column_names",
            "VARCHAR",
            "Columns that document 003 names, in order; null where a CRM's columns may stand in any.",
            True,
        ),
        Column("unmatched_count", "BIGINT", "Rows that belong to no subscriber.", unit="count"),
        Column("later_count", "BIGINT", "Rows dated after the day, which it does not know yet.", unit="count"),
        Column("snapshot_date", "DATE", "Day on which the CRM was read; later than as_of_date for a rebuilt day."),
        Column("content_hash", "VARCHAR", "Hash of the CRM's content."),
        found_columns("Types are the database's own."),
        Column("least_row_count", "BIGINT", "Fewest rows that the settings let pass without a warning.", True),
        Column("most_row_count", "BIGINT", "Most rows that the settings let pass without a warning.", True),
        Column(
            "expected_column_count",
            "INTEGER",
            "Columns that the settings expect, without those that may be there or not.",
            True,
        ),
        Column(
            "odd_product_count",
            "BIGINT",
            "Rows whose product_id is outside the settings' range; null where there are no products.",
            True,
            "count",
        ),
        Column(
            "odd_date_count",
            "BIGINT",
            "Rows whose date does not begin with YYYY-MM-DD or is no day, and purchases without one; null where there "
            "are no dates.",
            True,
            "count",
        ),
        Column("description", "VARCHAR", "Description that the CRM is read by.", True),
        Column("read_columns", "VARCHAR", "Our columns that the CRM has, by its description.", True),
        Column(
            "unreadable_values",
            "VARCHAR",
            "JSON: column and count of filled cells that are no rating from 1 to 5, no country, no amount, no day of a "
            "tag, no text in UTF-8: a missing value from here on, as a score can do without it and the person would be "
            "lost otherwise.",
            True,
        ),
        Column("most_unreadable_count", "BIGINT", "Such cells in the column that has most of them.", True, "count"),
        Column("currency", "VARCHAR", "Currency of most amounts, which revenue is in; null where none is said.", True),
        Column(
            "other_currency_count",
            "BIGINT",
            "Amounts of other currencies, which are unknown from here on: they cannot be added.",
            True,
            "count",
        ),
        Column(
            "broken_row_count",
            "BIGINT",
            "Rows of its CSV files that are set aside: a quote does not close, or there are more fields than columns.",
            True,
            "count",
        ),
        Column("broken_rows", "VARCHAR", f"File and line of the first {SHOWN} of these.", True),
        Column(
            "repeated_row_count",
            "BIGINT",
            "Purchases whose row, with its transaction_id, stands there again: they count once.",
            True,
            "count",
        ),
    ),
    expectations=(
        no_rows(
            "crm_columns_are_the_documented_ones_in_order",
            "select crm_table, column_names, expected_column_names from {batch} "
            "where not starts_with(column_names || ',', expected_column_names || ',')",
            recovery="restore the CRM's columns, let a view give them in the documented order, or describe them in "
            "data/crm/<name>.toml",
        ),
        no_rows(
            "every_tag_has_a_subscriber",
            "select crm_table, unmatched_count from {batch} where crm_table = 'Tags' and unmatched_count > 0",
            recovery="compare the ids of tags with those of subscribers",
        ),
        no_rows(
            "most_buyers_are_subscribers",
            "select crm_table, unmatched_count, row_count from {batch} where crm_table = 'Transactions' "
            f"and unmatched_count > {1 - BUYER_MATCH_FLOOR} * row_count",
            recovery="compare whom purchases name, by address or id, with the subscribers",
        ),
        *same_columns_as_before("crm_snapshot", "crm_table"),
        no_rows(
            "crm_row_counts_are_in_their_ranges",
            "select crm_table, row_count, least_row_count, most_row_count from {batch} "
            "where row_count not between least_row_count and most_row_count",
            recovery="compare the CRM with its last export, or set GESTURE_CRM_ROW_RANGES to what is usual here",
        ),
        no_rows(
            "crm_column_counts_are_as_expected",
            f"""select crm_table, column_names, expected_column_count from {{batch}} where expected_column_count <>
                len(list_filter(string_split(column_names, ','), lambda name: name not in ({OPTIONAL})))""",
            recovery="see which column is new, or set GESTURE_CRM_COLUMN_COUNTS",
        ),
        no_rows(
            "every_product_id_is_in_its_range",
            "select crm_table, odd_product_count from {batch} where odd_product_count > 0",
            recovery="look at product_id in Transactions, or set GESTURE_CRM_PRODUCT_IDS to the ids that there are",
        ),
        no_rows(
            "every_crm_date_begins_with_year_month_and_day",
            "select crm_table, odd_date_count from {batch} where odd_date_count > 0",
            recovery="let the CRM, or a view, write dates as 2026-03-09 or 2026-03-09 12:00:00; "
            "or name their form (date_formats) in data/crm/<name>.toml; "
            "whether buyers without one had bought by a day is unknown, and no model learns from them",
        ),
        no_rows(
            "every_filled_value_of_the_crm_is_read",
            "select crm_table, unreadable_values, description from {batch} where most_unreadable_count > 0",
            recovery="mend the values in the CRM, or say under [<table>.values.<column>] of data/crm/<name>.toml what "
            "they mean",
        ),
        no_rows(
            f"at_most_{UNREADABLE_TOLERANCE:.0%}_of_a_crm_column_cannot_be_read".replace("%", "_percent"),
            f"""select crm_table, unreadable_values, row_count, description from {{batch}}
            where most_unreadable_count > {UNREADABLE_TOLERANCE} * row_count + 1""",
            recovery="mend the values in the CRM, or say under [<table>.values.<column>] of data/crm/<name>.toml what "
            "they mean, then  gesture run --date DAY",
        ),
        no_rows(
            "every_row_of_the_crm_fits_its_header",
            "select crm_table, broken_row_count, broken_rows from {batch} where broken_row_count > 0",
            recovery="mend these lines: close their quotes, and quote values that hold what separates columns",
        ),
        no_rows(
            f"at_most_{QUARANTINE_TOLERANCE:.0%}_of_crm_rows_do_not_fit_their_header".replace("%", "_percent"),
            f"""select crm_table, broken_row_count, row_count, broken_rows from {{batch}}
            where broken_row_count > {QUARANTINE_TOLERANCE} * (row_count + broken_row_count) + 1""",
            recovery="mend these lines, or export again with quotes around values, then  gesture run --date DAY",
        ),
        no_rows(
            "every_amount_is_in_one_currency",
            "select crm_table, currency, other_currency_count from {batch} where other_currency_count > 0",
            recovery="let the CRM, or a view, give amounts in one currency",
        ),
    ),
)


def _with_day_before(column: str) -> str:
    """The query for `column` of the days that are judged and of the last day before them."""
    return f"""select {PARTITION}, {column} from {{batch}} semi join {{days}} using ({PARTITION})
        union all select {PARTITION}, {column} from {{live}}.validated_subscribers
        where {PARTITION} = (select max({PARTITION}) from {{live}}.validated_subscribers
            where {PARTITION} < (select min({PARTITION}) from {{days}}))"""


DAY = Column(PARTITION, "DATE", "Day that the row stands for.")
ID = "The CRM's id: the way back to the person. One that is an address or the number of a phone is hashed."


def validated_subscribers(tags: tuple[str, ...]) -> Contract:
    """The contract of `validated_subscribers`: each of `tags` is a column, so a new tag never changes the schema."""
    return Contract(
        name="validated_subscribers",
        grain="One row per subscriber and day.",
        description="The CRM's subscribers with tags and purchases, pseudonymised. A day before the CRM was first read "
        "is rebuilt from the dates in it (opt-in, purchase, tagging): what carries no date is unknown then, not zero.",
        group="subscribers",
        owner=CRM,
        for_tags=validated_subscribers,
        key=("mailchimp_id",),
        columns=(
            DAY,
            Column("mailchimp_id", "VARCHAR", ID, personal="pseudonym"),
            Column(
                "email_key", "VARCHAR", "Keyed hash of the e-mail address, lower case, trimmed.", personal="pseudonym"
            ),
            Column("email_domain", "VARCHAR", "What follows the @.", True),
            Column(
                "is_email_well_formed",
                "BOOLEAN",
                "The address looks like one: a name, an at sign, a domain with an ending.",
            ),
            Column(
                "member_rating",
                "SMALLINT",
                "The CRM's rating, 1 to 5; null where it is none, and on a rebuilt day.",
                True,
            ),
            Column("optin_date", "DATE", "Day of opt-in; null where it cannot be read.", True),
            Column(
                "country",
                "VARCHAR",
                "ISO 3166 alpha-2, of English names as well; UK is GB; null where none, and on a rebuilt day.",
                True,
            ),
            Column("tag_count", "INTEGER", "Tags; null where that day's tags are unknown.", True, "count"),
            *(
                Column(tag_column(tag), "SMALLINT", f"1 with the tag {tag}, else 0; null where unknown.", True)
                for tag in tags
            ),
            Column("tag_other", "INTEGER", "Tags without a column of their own; null where unknown.", True, "count"),
            Column(
                "made_purchase",
                "SMALLINT",
                "1 when a purchase is recorded up to the day, else 0, also in a CRM that records none; null where "
                "there is one whose day is unknown.",
                True,
            ),
            Column("purchase_count", "INTEGER", "Purchases up to the day, those without one left out.", unit="count"),
            Column(
                "revenue",
                "DECIMAL(18,2)",
                "Sum of the known amounts of these purchases, in crm_snapshot.currency; null where none is known.",
                True,
                "currency",
            ),
            Column("snapshot_date", "DATE", "Day on which the CRM was read."),
            Column("is_rebuilt", "BOOLEAN", "Rebuilt later from the dates in the CRM."),
        ),
        expectations=(
            filled("every_subscriber_has_an_id", "mailchimp_id", recovery=FIX),
            filled("every_subscriber_has_an_email", "email_key", recovery=FIX),
            no_rows(
                "no_mailchimp_id_occurs_twice",
                f"select {PARTITION}, mailchimp_id, count(*) as copies from {{batch}} group by all having count(*) > 1",
                recovery=FIX,
            ),
            no_rows(
                "no_email_occurs_twice",
                f"""select {PARTITION}, email_key, count(*) as copies, min(mailchimp_id) as mailchimp_id from {{batch}}
                where email_key is not null group by {PARTITION}, email_key having count(*) > 1""",
                recovery=FIX,
            ),
            no_rows(
                "every_email_is_well_formed",
                f"select {PARTITION}, mailchimp_id from {{batch}} where not is_email_well_formed",
                recovery=FIX,
            ),
            between("member_rating_is_between_1_and_5", "member_rating", 1, 5, recovery=FIX),
            no_rows(
                "every_country_is_an_iso_code",
                "select country, count(*) as row_count from {batch} where not regexp_full_match(country, '[A-Z][A-Z]') "
                "group by all",
                recovery=FIX,
            ),
            no_rows(
                "no_country_is_called_uk",
                "select country, count(*) as row_count from {batch} where country = 'UK' group by all",
                recovery="the United Kingdom is GB in ISO 3166; this is a defect of subscribers/validate.py",
            ),
            no_rows(
                "most_countries_are_known",
                f"select {PARTITION}, 1 - count(country) / count(*) as unknown_share from {{batch}} "
                f"where not is_rebuilt group by all having 1 - count(country) / count(*) > {UNKNOWN_COUNTRY_TOLERANCE}",
                recovery="ask for countries at opt-in",
            ),
            no_rows(
                "a_rebuilt_day_knows_nothing_that_has_no_date",
                f"select {PARTITION}, mailchimp_id, {', '.join(UNDATED)} from {{batch}} "
                f"where is_rebuilt and coalesce({', '.join(f'{name}::varchar' for name in UNDATED)}) is not null",
                recovery=REBUILD,
            ),
            no_rows(
                "ratings_and_opt_ins_are_known_of_enough_people",
                f"""with shares as (select {PARTITION}, unnest([
                        {{name: 'member_rating',
                            null_share: 1 - count(member_rating) / nullif(count(*) filter (not is_rebuilt), 0)}},
                        {{name: 'optin_time', null_share: 1 - count(optin_date) / count(*)}}], recursive := true)
                    from {{batch}} group by {PARTITION})
                select {PARTITION}, name, null_share, description from shares
                join {{staged}}.crm_snapshot using ({PARTITION}) where crm_table = 'Subscribers'
                and list_contains(string_split(read_columns, ','), name) and null_share > {INCOMPLETE}""",
                recovery="compare the CRM with its last export: the column is there and nearly empty",
            ),
            one_of("made_purchase_is_0_or_1", "made_purchase", (0, 1), recovery="a defect of subscribers/validate.py"),
            no_rows(
                "purchases_neither_vanish_nor_double",
                f"""with known as ({_with_day_before("purchase_count")}),
                levels as (select {PARTITION}, sum(purchase_count) as purchases,
                        lag(sum(purchase_count)) over (order by {PARTITION}) as purchases_before
                    from known group by {PARTITION})
                select * from levels semi join {{days}} using ({PARTITION}) where purchases_before >= {FEWEST_PURCHASES}
                and purchases not between {LOWEST_LEVEL} * purchases_before and {HIGHEST_LEVEL} * purchases_before""",
                recovery="compare row_count and unmatched_count of both days in crm_snapshot with the CRM: an export "
                "with a part of the purchases, or with some of them twice? Then  gesture run --date DAY",
            ),
            no_rows(
                "nobody_opts_in_after_the_day",
                f"select {PARTITION}, mailchimp_id, optin_date from {{batch}} where optin_date > {PARTITION}",
                recovery="this is a defect of subscribers/validate.py",
            ),
            no_rows(
                "no_email_domain_jumps",
                f"""with known as ({_with_day_before("email_domain")}),
                shares as (select {PARTITION}, email_domain,
                        count(*) / sum(count(*)) over (partition by {PARTITION}) as share
                    from known group by {PARTITION}, email_domain),
                days_of as (select {PARTITION}, lag({PARTITION}) over (order by {PARTITION}) as before
                    from (select distinct {PARTITION} from known))
                select {PARTITION}, today.email_domain, today.share, coalesce(past.share, 0) as share_before
                from shares as today join days_of using ({PARTITION}) semi join {{days}} using ({PARTITION})
                left join shares as past on past.{PARTITION} = before and past.email_domain = today.email_domain
                where before is not null and abs(today.share - coalesce(past.share, 0)) > {DOMAIN_JUMP}""",
                recovery="look at new subscribers of that domain: a campaign, or a list that nobody asked for?",
            ),
        ),
    )


VALIDATED_SUBSCRIBERS = validated_subscribers(())


QUARANTINED_SUBSCRIBERS = Contract(
    name="quarantined_subscribers",
    grain="One row per subscriber that was set aside.",
    description="Subscribers that cannot stand beside the validated ones, with the reason.",
    group="subscribers",
    owner=CRM,
    key=("place",),
    may_be_empty=True,
    columns=(
        DAY,
        Column("place", "INTEGER", "Counts the rows of the day, in the CRM's order.", unit="place"),
        Column("mailchimp_id", "VARCHAR", ID, True, personal="pseudonym"),
        Column("reason", "VARCHAR", "; ".join(f"{k}: {v}" for k, v in SUBSCRIBER_REASONS.items()) + "."),
        Column("check_name", "VARCHAR", "The check that the row would have failed."),
        Column("kept_mailchimp_id", "VARCHAR", "The subscriber that was kept instead.", True, personal="pseudonym"),
        Column(
            "made_purchase",
            "SMALLINT",
            "1 when a purchase is recorded of the person, else 0; null where its day is unknown.",
            True,
        ),
        Column("masked_row", "VARCHAR", "The row, personal values masked."),
    ),
    expectations=(
        one_of("every_reason_is_known", "reason", tuple(SUBSCRIBER_REASONS), recovery="a defect of the room"),
        no_rows(
            "every_subscriber_is_accounted_for",
            f"""select {PARTITION}, sum(found) as found, sum(expected) as expected from (
                select {PARTITION}, count(*) as found, 0 as expected from {{staged}}.validated_subscribers group by all
                union all select {PARTITION}, count(*), 0 from {{batch}} group by all
                union all select {PARTITION}, 0, row_count - later_count from {{staged}}.crm_snapshot
                    where crm_table = 'Subscribers'
            ) group by all having sum(found) <> sum(expected)""",
            recovery="this is a defect of subscribers/validate.py: no row may be lost",
        ),
        no_rows(
            f"at_most_{QUARANTINE_TOLERANCE:.0%}_of_subscribers_are_set_aside".replace("%", "_percent"),
            f"""select {PARTITION}, count(*) as set_aside, any_value(validated) as validated,
                string_agg(distinct reason, ', ' order by reason) as reasons
            from {{batch}} join (
                    select {PARTITION}, count(*) as validated from {{staged}}.validated_subscribers group by all)
                using ({PARTITION})
            group by {PARTITION} having count(*) > {QUARANTINE_TOLERANCE} * (any_value(validated) + count(*)) + 1""",
            recovery="look at rejected.quarantined_subscribers, mend the CRM, then  gesture run --date DAY",
        ),
    ),
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


SEGMENT_CONVERSION = Contract(
    name="segment_conversion",
    grain="One row per segment of a dimension: how many subscribers it has, and how many of them bought.",
    description="Country, rating, tags, year of opt-in, and pairs of these. Segments are in the order of their buyers, "
    "so cumulative shares are a Pareto curve: how few segments bring most of the sales.",
    group="exploration",
    owner=ANALYSTS,
    upstream=("validated_subscribers",),
    key=("dimension", "segment"),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column("dimension", "VARCHAR", "What subscribers are told apart by; × joins two."),
        Column("segment", "VARCHAR", "Value; unknown where the CRM has none."),
        Column("place", "INTEGER", "Place by buyers, then by subscribers, then by name, from 1.", unit="place"),
        Column("subscriber_count", "BIGINT", "Subscribers.", unit="count"),
        Column("buyer_count", "BIGINT", "Of these, with a purchase up to the day.", unit="count"),
        Column(
            "conversion_rate", "DOUBLE", "Buyers of subscribers of whom it is known whether they bought.", True, "share"
        ),
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
    owner=ANALYSTS,
    upstream=("validated_subscribers",),
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
    owner=ANALYSTS,
    upstream=("validated_subscribers",),
    key=("criterion",),
    may_be_empty=True,
    columns=(
        AS_OF,
        Column(
            "criterion",
            "VARCHAR",
            f"{VERDICT}, or: " + " ".join(f"{name}: {meaning}" for name, (_, meaning) in NEEDED.items()),
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

TABLES = (
    CRM_SNAPSHOT,
    VALIDATED_SUBSCRIBERS,
    QUARANTINED_SUBSCRIBERS,
    SEGMENT_CONVERSION,
    PURCHASE_QUANTILES,
    DATA_SUFFICIENCY,
)
