"""The tables of `pings/`: the rows of a good night, and for each of their own checks a fault that it catches.

Belongs here: what distinguishes the rows, the faults, and what differs from the derived faults of shared checks. Does
not belong here: those (`faults.py`).
"""

from gesture_assets_tests.gates.events import NOTHING_LANDED
from gesture_assets_tests.gates.faults import (
    ADDRESS,
    COPY,
    MISSING,
    NEGATIVE,
    NO_ROWS,
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
from gesture_assets_tests.gates.world import COLUMNS_FOUND

LANDED = {"landing_file": "watched.csv", "landed_count": 22, "accepted_count": 20, "quarantined_count": 1}

GOOD: dict[str, Rows] = {
    "ping_interactions": [
        {
            "event_id": f"i{n}",
            "user_id": "ada" if n < 10 else "bob",
            "ping_id": "p1",
            "event_type": "view",
            "landing_file": "watched.csv",
            "landing_line": n,
        }
        for n in range(20)
    ],
    "pings": [{"ping_id": f"p{n}", "landing_file": "videos.csv", "catalogue_row": n} for n in (1, 2, 3)],
    "ping_users": [
        {"user_id": who, "country": "DE", "landing_file": "people.csv", "catalogue_row": n}
        for n, who in enumerate(("ada", "bob"), 1)
    ],
    "quarantined_ping_rows": [{"reason": "unknown_ping", "landing_file": "watched.csv", "landing_line": 20}],
    "ping_reconciliation": [
        {**LANDED, "duplicate_count": 1, "found_columns": COLUMNS_FOUND},
        {"landing_file": "videos.csv", "landed_count": 3, "accepted_count": 3},
        {"landing_file": "people.csv", "landed_count": 2, "accepted_count": 2},
    ],
}

PAIRS = (("ada", "p1"), ("bob", "p1"))
GOOD |= {
    "ping_weights": [
        {
            "weights_version": "w",
            "list_length": 1,
            "seen": "any",
            "seen_days": None,
            "per_creator": None,
            "exploration": 0.05,
        }
    ],
    "user_ping_engagement": [
        {
            "user_id": who,
            "ping_id": ping,
            "engagement_score": 10_000_000_000_000 * 1e-12,
            "engagement_units": 10_000_000_000_000,
            "event_count": 10,
        }
        for who, ping in PAIRS
    ],
    "ping_engagement": [
        {"ping_id": f"p{n}", "global_engagement": 21.0 - n, "user_count": 2, "rank": n} for n in (1, 2)
    ],
    "watch_time_stats": [
        {"statistic": name, "watch_time_ratio": 0.1 * place}
        for place, name in enumerate(("count", "min", "25%", "50%", "75%", "90%", "max"))
    ],
    "new_vs_existing_users": [{"is_new": is_new, "user_count": 1} for is_new in (False, True)],
    "user_affinities": [
        {"user_id": "ada", "kind": kind, "value": "v", "affinity": 1.0} for kind in ("category", "creator")
    ],
    "ping_recommendations": [
        {
            "user_id": who,
            "rank": 1,
            "ping_id": "p2",
            "score": 0.75,
            "popularity_points": 0.25,
            "category_points": 0.25,
            "creator_points": 0.125,
            "freshness_points": 0.125,
            "is_explored": who == "ada",
            "propensity": 0.05 if who == "ada" else 0.95,
        }
        for who in ("ada", "bob")
    ],
    "ping_candidates": [{"user_id": who, "place": 1, "ping_id": "p2", "score": 0.75} for who in ("ada", "bob")],
    "recommendation_evaluation": [
        {"policy": policy, "measure": "ndcg", "value": 0.5, "low": 0.4, "high": 0.6}
        for policy in ("served", "popularity")
    ],
    "recsys_health": [{"metric": "coverage", "value": 0.5, "counted": 2}],
    "ping_insights": [{"place": 1, "counted": 30}],
    "ping_rankers": [
        {"ranker_version": "v1", "decision": "promoted", "judged_days": '["2026-03-01"]', "first_day": "2026-02-01"}
    ],
    "ping_ranker_evaluation": [
        {"ranker_version": "v1", "policy": policy, "measure": "ndcg", "value": 0.5, "low": 0.4, "high": 0.6}
        | {"gain": gain, "gain_low": gain, "gain_high": gain}
        for policy, gain in (("ranker", None), ("heuristic", 0.1))
    ],
}

NUMBER = "no_text_holds_a_phone_or_account_number"

FAULTS: dict[str, Faults] = {
    "ping_interactions": {
        "every_interaction_has_a_known_type": first_row("event_type = 'teleport'"),
        "no_interaction_comes_from_the_future": first_row("event_at = received_at + interval 301 second"),
        "no_interaction_is_older_than_a_year": first_row("event_at = received_at - interval 366 day"),
        "every_interaction_is_filed_when_it_became_known": change(
            "received_at = received_at + interval 1 day where rowid = 0"
        ),
        "no_watch_time_is_negative": first_row("watch_time_sec = -0.1"),
        "every_interaction_is_with_a_known_ping": first_row("ping_id = 'p4'"),
        "no_interaction_precedes_its_ping": Fault(
            "update pings set created_at = (select max(event_at) from {table}) + interval 1 second"
        ),
        "no_interaction_precedes_the_sign_up": Fault(
            "update ping_users set signup_date = (select max(event_at)::date from {table}) + 1"
        ),
        NUMBER: first_row("user_id = 'DE89370400440532013000'"),
        STRAY: stray_row("", "every_interaction_is_with_a_known_ping"),
    },
    "pings": {
        "every_duration_is_above_zero": first_row("duration_sec = 0"),
        NUMBER: first_row("category = 'call +49 151 23456789'"),
    },
    "ping_users": {
        "every_country_is_an_iso_code": first_row("country = 'USA'"),
        "every_age_is_possible": first_row("age = 121"),
        NUMBER: first_row("user_id = 'DE89370400440532013000'"),
    },
    "quarantined_ping_rows": {
        "every_reason_is_known": first_row("reason = 'bad hair day'"),
        NUMBER: first_row("event_name = 'paid 4111111111111111'"),
    },
    "ping_reconciliation": {
        "every_landed_row_is_accounted_for": first_row("landed_count = landed_count + 1"),
        "accepted_and_quarantined_rows_are_where_they_should_be": first_row(
            "accepted_count = accepted_count + 1, landed_count = landed_count + 1"
        ),
        "a_day_is_not_made_of_repeats_alone": change(
            "accepted_count = 0, duplicate_count = landed_count - quarantined_count",
            "accepted_and_quarantined_rows_are_where_they_should_be",
        ),
        "at_most_5_percent_of_rows_are_quarantined": Fault(
            "update {table} set quarantined_count = 2, landed_count = 23 where rowid = 0; insert into "
            "quarantined_ping_rows select * replace (21 as landing_line) from quarantined_ping_rows"
        ),
        "every_filled_number_and_flag_is_read": first_row("unreadable_count = 1, unreadable_values = 'duration_sec 1'"),
        "at_most_5_percent_of_rows_hold_unreadable_values": first_row(
            "unreadable_count = 2, unreadable_values = 'duration_sec 2'", "every_filled_number_and_flag_is_read"
        ),
        "no_file_brings_personal_columns": first_row("personal_columns = 'ip_address'"),
        "no_value_says_who_somebody_is": first_row("redacted_count = 1, redacted_values = 'user_id 1'"),
        "every_column_of_a_file_is_used": first_row("unused_columns = 'shoe_size'"),
        **other_columns(),
        STRAY: stray_row(NOTHING_LANDED),
        COPY: copied_row(NOTHING_LANDED),
    },
}

LONG = "every_list_holds_as_many_as_it_can"
SUMS = "the_parts_of_a_score_sum_to_it"
# Ten more people who like something, with the list of another.
ANOTHER = "(from {table} limit 1) as good, range(10) t(n)"
ALIKE = f"insert into {{table}} select good.* replace ('u' || n as user_id) from {ANOTHER}"
FAULTS |= {
    "ping_weights": {COPY: copied_row("'other' as content")},
    "user_ping_engagement": {
        "every_score_is_its_units": first_row("engagement_score = engagement_score + 1"),
        "every_interaction_is_counted_once": first_row("event_count = event_count + 1"),
        STRAY: stray_row("", "every_interaction_is_counted_once"),
        COPY: noticed_also_by("every_interaction_is_counted_once"),
        NEGATIVE: noticed_also_by("every_interaction_is_counted_once"),
    },
    "ping_engagement": {
        "ranks_follow_the_points": first_row("global_engagement = 1"),
        "every_engaging_ping_has_users": first_row("user_count = 0"),
        COPY: noticed_also_by("ranks_follow_the_points"),
        NEGATIVE: noticed_also_by("every_engaging_ping_has_users"),
    },
    "watch_time_stats": {
        "quantiles_are_in_order": change("watch_time_ratio = 0.9 where statistic = '25%'"),
        ADDRESS: noticed_also_by("quantiles_are_in_order"),
    },
    "new_vs_existing_users": {
        "every_user_is_new_or_not": first_row("user_count = 2"),
        STRAY: stray_row("", "every_user_is_new_or_not"),
        COPY: noticed_also_by("every_user_is_new_or_not"),
    },
    "user_affinities": {
        "every_kind_is_known": first_row("kind = 'weather'"),
        "no_user_is_more_than_wholly_of_a_kind": first_row("affinity = 1.5"),
        COPY: noticed_also_by("no_user_is_more_than_wholly_of_a_kind"),
    },
    "ping_recommendations": {
        SUMS: first_row("popularity_points = 0.5"),
        "lists_are_in_order_of_their_scores": first_row("rank = 2"),
        "every_propensity_is_the_chance_of_its_place": first_row("propensity = 0.5"),
        "as_many_places_are_explored_as_chance_allows": Fault(
            "insert into {table} select good.* replace ('v' || n as user_id, 'q' || n as ping_id, "
            "0 as category_points, 0 as creator_points, 0.375 as score) "
            "from (from {table} where is_explored limit 1) as good, range(40) t(n)"
        ),
        "no_list_holds_a_ping_twice": copied_row("2 as rank", LONG),
        "no_list_holds_what_its_user_has_seen": first_row("ping_id = 'p1'"),
        LONG: Fault("delete from {table} where user_id = 'ada'"),
        "a_list_is_ordered_by_one_ranker_or_by_none": first_row("ranker_version = 'v1'"),
        "lists_are_not_all_alike": Fault(ALIKE, ("lists_are_personal",)),
        # All have p2, and one of them another ping as well.
        "lists_are_personal": Fault(
            f"{ALIKE}; insert into {{table}} select * replace (2 as rank, 'p3' as ping_id) from {{table}} "
            "where user_id = 'u0'"
        ),
        "lists_show_as_much_of_the_catalogue_as_they_did": Fault(
            "insert into warehouse.main.ping_recommendations select good.* replace (as_of_date - n::int as as_of_date, "
            "'q' || m as ping_id, m as rank) from (from warehouse.main.ping_recommendations limit 1) as good, "
            "range(1, 5) t(n), range(2, 4) s(m); insert into warehouse.main.pings select good.* replace "
            "(as_of_date - n::int as as_of_date) from warehouse.main.pings as good, range(1, 5) t(n)"
        ),
        STRAY: stray_row(""),
        COPY: noticed_also_by("lists_are_in_order_of_their_scores", "no_list_holds_a_ping_twice", LONG),
    },
    "ping_candidates": {
        "every_place_of_a_list_is_a_candidate": first_row("ping_id = 'p1'"),
        "candidates_are_in_order_of_their_scores": first_row("place = 2"),
        "no_candidate_is_one_twice": Fault(
            "insert into {table} select * replace (2 as place) from {table} where user_id = 'ada'"
        ),
        COPY: noticed_also_by("candidates_are_in_order_of_their_scores", "no_candidate_is_one_twice"),
        **{name: noticed_also_by("every_place_of_a_list_is_a_candidate") for name in (MISSING, ADDRESS)},
    },
    "recommendation_evaluation": {
        "every_interval_holds_its_value": first_row("low = 0.55"),
    },
    "recsys_health": {
        "every_figure_is_of_something": first_row("value = null"),
    },
    "ping_rankers": {
        "a_ranker_is_promoted_or_not": first_row("decision = 'perhaps'"),
        "no_ranker_is_judged_by_days_it_learned_from_alone": first_row("first_day = '2026-03-01'"),
    },
    "ping_ranker_evaluation": {
        "every_measure_lies_in_its_interval": first_row("low = 0.55"),
        "every_ranker_stands_beside_the_heuristic": Fault("delete from {table} where policy = 'heuristic'"),
        NO_ROWS: noticed_also_by("every_ranker_stands_beside_the_heuristic"),
    },
    "ping_insights": {
        "no_sentence_is_of_few": first_row("counted = 29"),
        NEGATIVE: noticed_also_by("no_sentence_is_of_few"),
    },
}

# Ids are of one interaction on all days.
ON_SEVERAL_DAYS = {"ping_interactions": "select * replace (event_id || as_of_date as event_id) from dated"}

BOUNDARIES: list[tuple[str, str, set[str]]] = [
    ("quarantined_ping_rows", "delete from quarantined_ping_rows", set()),
    ("ping_interactions", "update pings set created_at = (select min(event_at) from ping_interactions)", set()),
    ("ping_interactions", "update ping_users set signup_date = (select min(event_at) from ping_interactions)", set()),
    ("ping_interactions", "update ping_interactions set watch_time_sec = 0", set()),
    ("pings", "update pings set duration_sec = 0.001", set()),
    ("ping_users", "update ping_users set age = 120", set()),
]
