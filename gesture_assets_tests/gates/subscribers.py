"""The tables of `subscribers/`: the rows of a good night, and for each of their own checks a fault that it catches.

Belongs here: what distinguishes the rows, the faults, and what differs from the derived faults of shared checks. Does
not belong here: those (`faults.py`).
"""

from gesture_assets.subscribers.tables import CRM_TABLES, NEEDED
from gesture_assets_tests.gates.faults import (
    COPY,
    MISSING,
    STRAY,
    Fault,
    Faults,
    Rows,
    change,
    copied_row,
    first_row,
    noticed_also_by,
    other_columns,
    stray_row,
)
from gesture_assets_tests.gates.world import COLUMNS_FOUND, DAY

ACCOUNTED = "every_subscriber_is_accounted_for"
LEVEL = "purchases_neither_vanish_nor_double"
READ, TOO_MANY_UNREADABLE = "every_filled_value_of_the_crm_is_read", "at_most_5_percent_of_a_crm_column_cannot_be_read"
FITS = "every_row_of_the_crm_fits_its_header"
KNOWN = "ratings_and_opt_ins_are_known_of_enough_people"
RATING = "member_rating_is_between_1_and_5"

GOOD: dict[str, Rows] = {
    "crm_snapshot": [
        {
            "crm_table": name,
            "row_count": 5,
            "column_names": names,
            "expected_column_names": names,
            "found_columns": COLUMNS_FOUND,
            "least_row_count": 1,
            "most_row_count": 10,
            "expected_column_count": len(CRM_TABLES[name]),
            "odd_product_count": 0,
            "odd_date_count": 0,
            "read_columns": names,
            "most_unreadable_count": 0,
            "other_currency_count": 0,
            "broken_row_count": 0,
            "repeated_row_count": 0,
        }
        for name, names in ((name, ",".join(columns)) for name, columns in CRM_TABLES.items())
    ],
    "validated_subscribers": [
        {
            "mailchimp_id": str(n),
            "email_key": f"k{n}",
            "email_domain": "a.example",
            "is_email_well_formed": True,
            "member_rating": 3,
            "optin_date": DAY,
            "country": "GB",
            "tag_count": 0,
            "made_purchase": int(n == 1),
            "purchase_count": 20 * (n == 1),
        }
        for n in range(1, 5)
    ],
    "quarantined_subscribers": [
        {"place": 1, "mailchimp_id": "5", "reason": "duplicate_email", "kept_mailchimp_id": "1"}
    ],
    "segment_conversion": [
        {
            "dimension": "country",
            "segment": segment,
            "place": place,
            "subscriber_count": 2,
            "buyer_count": 2 - place,
            "conversion_rate": (2 - place) / 2,
            "subscriber_share": 0.5,
            "buyer_share": 2.0 - place,
            "cumulative_subscriber_share": place / 2,
            "cumulative_buyer_share": 1.0,
        }
        for place, segment in ((1, "GB"), (2, "DE"))
    ],
    "purchase_quantiles": [
        {"metric": "tag_count", "made_purchase": outcome, "quantile": quantile, "value": 10 * quantile}
        for outcome in (0, 1)
        for quantile in (0.1, 0.5, 0.9)
    ],
    "data_sufficiency": [
        {"criterion": "verdict", "found": len(NEEDED), "needed": len(NEEDED), "is_met": True},
        *({"criterion": name, "found": 2e3, "needed": needed, "is_met": True} for name, (needed, _) in NEEDED.items()),
    ],
}

FAULTS: dict[str, Faults] = {
    "crm_snapshot": {
        "crm_columns_are_the_documented_ones_in_order": change(
            "column_names = 'tag,mailchimp_id' where crm_table = 'Tags'"
        ),
        "every_tag_has_a_subscriber": change("unmatched_count = 1 where crm_table = 'Tags'"),
        "most_buyers_are_subscribers": change("unmatched_count = 1 where crm_table = 'Transactions'"),
        **other_columns(),
        "crm_row_counts_are_in_their_ranges": first_row("most_row_count = 4"),
        "crm_column_counts_are_as_expected": first_row("expected_column_count = 7"),
        "every_product_id_is_in_its_range": first_row("odd_product_count = 1"),
        "every_crm_date_begins_with_year_month_and_day": first_row("odd_date_count = 1"),
        READ: first_row("most_unreadable_count = 1"),
        TOO_MANY_UNREADABLE: first_row("most_unreadable_count = 2", READ),
        FITS: first_row("broken_row_count = 1"),
        "at_most_1_percent_of_crm_rows_do_not_fit_their_header": first_row("broken_row_count = 2", FITS),
        "every_amount_is_in_one_currency": first_row("other_currency_count = 1"),
    },
    "validated_subscribers": {
        "every_subscriber_has_an_id": first_row("mailchimp_id = null", MISSING),
        "every_subscriber_has_an_email": first_row("email_key = null", MISSING),
        "no_mailchimp_id_occurs_twice": first_row("mailchimp_id = '2'", COPY),
        "no_email_occurs_twice": first_row("email_key = 'k2'"),
        "every_email_is_well_formed": first_row("is_email_well_formed = false"),
        RATING: first_row("member_rating = 6"),
        KNOWN: change("member_rating = null where rowid > 0"),
        "every_country_is_an_iso_code": first_row("country = 'USA'"),
        "a_rebuilt_day_knows_nothing_that_has_no_date": first_row("is_rebuilt = true"),
        "no_country_is_called_uk": first_row("country = 'UK'"),
        "most_countries_are_known": change("country = null where mailchimp_id > '1'"),
        "made_purchase_is_0_or_1": first_row("made_purchase = 2"),
        LEVEL: change("purchase_count = 0"),
        "nobody_opts_in_after_the_day": first_row("optin_date = optin_date + 1"),
        "no_email_domain_jumps": first_row("email_domain = 'b.example'"),
        COPY: copied_row("'another' as email_key, 0 as purchase_count", "no_mailchimp_id_occurs_twice"),
    },
    "quarantined_subscribers": {
        "every_reason_is_known": first_row("reason = 'bad hair day'"),
        ACCOUNTED: Fault("delete from {table}"),
        "at_most_1_percent_of_subscribers_are_set_aside": Fault(
            "insert into {table} select * replace (2 as place) from {table}; update crm_snapshot set row_count = 6"
        ),
        STRAY: noticed_also_by(ACCOUNTED),
        COPY: noticed_also_by(ACCOUNTED, "at_most_1_percent_of_subscribers_are_set_aside"),
    },
    "segment_conversion": {
        "every_subscriber_is_in_one_segment_of_each_dimension": first_row("subscriber_count = 3"),
        "cumulative_shares_end_at_1": change("cumulative_buyer_share = 0.99"),
        "every_conversion_rate_is_a_share": first_row("conversion_rate = 1.1"),
        COPY: copied_row("0 as subscriber_count"),
    },
    "purchase_quantiles": {"quantiles_rise": first_row("value = 6")},
    "data_sufficiency": {
        "every_criterion_is_judged_by_its_numbers": change("is_met = false where criterion = 'verdict'"),
        "the_verdict_counts_the_criteria": change("found = found + 1 where criterion = 'verdict'"),
        "there_is_enough_data_to_learn_from": Fault(
            "update {table} set found = 999, is_met = false where criterion = 'subscribers'; "
            "update {table} set found = found - 1, is_met = false where criterion = 'verdict'"
        ),
        STRAY: stray_row("'stray' || criterion as criterion"),
    },
}

BOUNDARIES: list[tuple[str, str, set[str]]] = [
    *(
        ("validated_subscribers", f"update validated_subscribers set {assignments}", expected)
        for assignments, expected in (
            ("member_rating = 0 where rowid = 0", {RATING}),
            ("member_rating = 1 + rowid", set[str]()),
            ("member_rating = 5", set()),
            ("member_rating = null", {KNOWN}),
            ("optin_date = null", {KNOWN}),
            ("member_rating = null, optin_date = null where rowid % 2 = 0", set()),
            ("country = 'gb' where rowid = 0", {"every_country_is_an_iso_code"}),
            ("country = null where rowid < 2", set()),
            ("tag_count = null", set()),
            ("made_purchase = 1", set()),
            ("made_purchase = 0", set()),
            *(
                (f"purchase_count = {count} where rowid = 0", set[str]() if 18 <= count <= 30 else {LEVEL})
                for count in (17, 18, 30, 31, 40)
            ),
        )
    ),
    *(
        ("crm_snapshot", f"update crm_snapshot set {assignments}", expected)
        for assignments, expected in (
            ("least_row_count = 5, most_row_count = 5", set[str]()),
            ("least_row_count = null, most_row_count = null, expected_column_count = null", set()),
            ("column_names = column_names || ',tagged_at' where crm_table = 'Tags'", set()),
            (
                "column_names = column_names || ',shoe_size' where crm_table = 'Tags'",
                {"crm_column_counts_are_as_expected"},
            ),
        )
    ),
]
