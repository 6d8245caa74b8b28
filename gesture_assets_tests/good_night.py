"""A small good night: rows for every table that satisfy every check of its contract.

Belongs here: those rows, and committing them as assets would. Used by `gates/` and `unit/warehouse/`. Does not belong
here: whole nights of the real assets (`running.py`).
"""

from datetime import date, datetime, timedelta

import narwhals as nw

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.contracts.contract import Contract
from gesture_assets.settings import Settings
from gesture_assets.subscribers.tables import CRM_TABLES, NEEDED
from gesture_assets.warehouse.session import Session

DAY = date(2026, 3, 9)
NOON = datetime.fromisoformat("2026-03-09T12:00")
NIGHT = datetime.fromisoformat("2026-03-10T02:00")
CONTRACTS = {contract.name: contract for contract in catalogue(Settings.model_fields["tags"].default).tables}
BY_TYPE = {"DATE": DAY, "TIMESTAMP": NOON, "VARCHAR": "x", "BOOLEAN": False}

# What distinguishes the rows of a good night; every other column is null where it may be, else 0, false, "x" or noon.
COLUMNS_FOUND = '{"id": "INTEGER", "mood": null}'
VERSION = "v20260309_020000_0a1b2c3d"
PROBABILITIES = {"ada": 0.9, "bob": 0.1}
SCORES = {"ada": 60.0, "bob": 40.0, "cyd": 1.0}
GOOD: dict[str, list[dict[str, object]]] = {
    "raw_events": [
        {"event_id": f"e{n}", "user_id": "ada" if n < 10 else "bob", "event_type": "page_view", "device": "desktop",
         "country": "DE", "landing_file": "a.csv", "landing_line": n}
        for n in range(20)
    ],
    "quarantined_events": [{"reason": "future_ts", "landing_file": "a.csv", "landing_line": 20}],
    "landing_reconciliation": [
        {"landing_file": "a.csv", "landed_count": 22, "accepted_count": 20, "duplicate_count": 1,
         "quarantined_count": 1, "found_columns": COLUMNS_FOUND}
    ],
    "identity_links": [{"anonymous_user_id": "anon:v1", "user_id": "ada"}],
    "sessions": [{"session_id": who, "filed": 1, "user_id": who, "event_count": 10} for who in ("ada", "bob")],
    "daily_activity": [{"user_id": who, "page_view_count": 10, "event_count": 10} for who in ("ada", "bob")],
    "activity_to_date": [{"user_id": who, "page_view_count": 10, "event_count": 10} for who in ("ada", "bob")],
    "crm_snapshot": [
        {"crm_table": name, "row_count": 5, "column_names": names, "expected_column_names": names,
         "found_columns": COLUMNS_FOUND, "least_row_count": 1, "most_row_count": 10,
         "expected_column_count": len(CRM_TABLES[name]), "odd_product_count": 0, "odd_date_count": 0}
        for name, names in ((name, ",".join(columns)) for name, columns in CRM_TABLES.items())
    ],
    "validated_subscribers": [
        {"mailchimp_id": n, "email_key": f"k{n}", "email_domain": "a.example", "is_email_well_formed": True,
         "member_rating": 3, "optin_date": DAY, "country": "GB", "tag_count": 0, "made_purchase": int(n == 1)}
        for n in range(1, 5)
    ],
    "quarantined_subscribers": [{"mailchimp_id": 5, "reason": "duplicate_email", "kept_mailchimp_id": 1}],
    "user_features": [{"user_id": who, "last_event_at": NOON, "member_rating": 3} for who in SCORES],
    "segment_conversion": [
        {"dimension": "country", "segment": segment, "place": place, "subscriber_count": 2, "buyer_count": 2 - place,
         "conversion_rate": (2 - place) / 2, "subscriber_share": 0.5, "buyer_share": 2.0 - place,
         "cumulative_subscriber_share": place / 2, "cumulative_buyer_share": 1.0}
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
    "engagement_fences": [
        {"metric": "event_count_30d", "user_count": 20, "lower_quartile": 1, "median": 2, "upper_quartile": 3,
         "low_fence": -2, "high_fence": 6, "outlier_count": 1, "outlier_share": 0.05}
    ],
    "engagement_outliers": [{"user_id": "ada", "metric": "event_count_30d", "value": 7, "low_fence": -2,
                             "high_fence": 6}],
    "rule_sets": [{"rule_count": 2}],
    "rule_scores": [{"user_id": who, "score": score, "points": score} for who, score in SCORES.items()],
    "rule_contributions": [
        {"user_id": who, "rule_id": rule, "points": p}
        for who, score in SCORES.items()
        for rule, p in (("r1", score - 1), ("r2", 1.0))
    ],
    "top_users": [
        {"rank": rank, "user_id": who, "score": score} for rank, (who, score) in enumerate(SCORES.items(), 1)
    ],
    "model_scores": [
        {"user_id": who, "model_version": VERSION, "probability": probability, "score": 1 + round(99 * probability),
         "model_scope": "global", "margin": 1.0, "percentile": 0.5, "confidence": 0.5}
        for who, probability in PROBABILITIES.items()
    ],
    "model_exclusions": [{"user_id": "cyd", "reason": "already_converted"}],
    "score_reasons": [
        {"user_id": who, "model_version": VERSION, "direction": direction, "place": place, "contribution": part}
        for who in PROBABILITIES
        for direction, place, part in (("up", 1, 1.5), ("rest", 0, -0.5))
    ],
    "intent_scores": [
        {"user_id": who, "rule_score": score, "model_score": 1.0 + round(99 * PROBABILITIES[who]), "source": "model",
         "score": 1.0 + round(99 * PROBABILITIES[who])} if who in PROBABILITIES
        else {"user_id": who, "rule_score": score, "source": "rules_fallback", "score": score}
        for who, score in SCORES.items()
    ],
    "feature_profiles": [
        {"feature": name, "kind": "number", "row_count": 10, "distinct_count": 3, "edges": [1.0, 2.0],
         "bin_counts": [5, 3, 1, 1], "missing_count": 1, "model_version": VERSION}
        for name in ("visits", "age")
    ],
    "feature_statistics": [
        {"feature": name, "baseline": baseline, "day_count": 1, "row_count": 10, "baseline_row_count": 10}
        for name in ("visits", "age") for baseline in ("daily", "weekly")
    ],
    "drift_reports": [
        {"rank": rank, "feature": name, "kind": "number", "n_reference": 500, "n_current": 500, "p_value": 0.5,
         "verdict": "stable", "sentence": f"{name}: stable", "importance": 0.5, "model_version": VERSION}
        for rank, name in enumerate(("visits", "age"), 1)
    ],
    "event_mix_drift": [
        {"segment": "all", "kind": "type", "name": name, "n_reference": 500, "n_current": 500, "p_value": 0.5,
         "verdict": "stable", "sentence": f"{name}: stable"}
        for name in ("page_view", "signup")
    ],
    "performance_report": [
        {"basis": basis, "segment": "all", "metric": "roc_auc", "cohort_date": DAY - timedelta(days=30), "value": 0.8,
         "verdict": "fine", "sample_count": 500, "buyer_count": 50}
        for basis in ("realised", "rules")
    ],
    "score_backtest": [
        {"scored_by": "rules", "band": band, "cohort_date": DAY - timedelta(days=90), "user_count": 10,
         "buyer_count": 2, "conversion_rate": 0.2}
        for band in ("high", "low")
    ],
    "retrain_decision": [
        {"should_retrain": True, "reasons": "model_age", "because": "The model is old.", "training_sample_count": 500}
    ],
    "score_changes": [
        {"user_id": who, "before": 10.0, "after": 15.0, "change": 5.0, "new_behaviour": 5.0} for who in ("ada", "bob")
    ],
    "alerts": [
        {"alert_key": key, "severity": "WARN", "owner": "scoring", "what": key, "place": "here", "runbook": "look"}
        for key in ("drift/number/visits", "drift/number/age")
    ],
    "training_set": [
        {"user_id": f"{who}{n}", "person_id": f"{who}{n}", "feature_date": DAY - timedelta(days=30 + ago), "label": n,
         "matures_on": DAY - timedelta(days=ago), "split": part, "random_split": part}
        for who, part, ago in (("ada", "train", 28), ("bob", "validation", 14), ("cyd", "test", 0))
        for n in (0, 1)
    ],
    "feature_screening": [{"feature": name, "auc": 0.6, "verdict": "fine"} for name in ("visits", "country")],
    "candidate_model": [
        {"model_version": VERSION, "base_rate": 0.1, "decision": "promoted", "features": '["visits", "country"]'}
    ],
    "model_evaluation": [
        {"model_version": VERSION, "part": part, "segment": "all", "metric": metric, "value": 0.9, "low": 0.8,
         "high": 0.95, "target": 0.85, "is_met": True}
        for part, metric in (("train", "roc_auc"), ("test", "roc_auc"),
                             ("behaviour", "no_segment_is_served_much_worse"))
    ],
    "feature_importance": [
        {"model_version": VERSION, "feature": name, "feature_name": name, "rank": rank, "gain": 0.5,
         "permutation": 0.5, "shap": 0.5}
        for rank, name in enumerate(("visits", "country"), 1)
    ],
}  # fmt: skip


def rows_of(contract: Contract) -> list[tuple[object, ...]]:
    """The good rows of `contract`, complete."""
    return [
        tuple(row.get(c.name, None if c.nullable else BY_TYPE.get(c.type, 0)) for c in contract.columns)
        for row in GOOD[contract.name]
    ]


# Tables that an asset commits together, in the order of a night.
TOGETHER = (
    ("raw_events", "quarantined_events", "landing_reconciliation", "identity_links"),
    ("sessions",),
    ("daily_activity",),
    ("activity_to_date",),
    ("crm_snapshot", "validated_subscribers", "quarantined_subscribers"),
    ("segment_conversion", "purchase_quantiles", "data_sufficiency"),
    ("user_features",),
    ("engagement_fences", "engagement_outliers"),
    ("rule_sets", "rule_scores", "rule_contributions"),
    ("top_users",),
    ("model_scores", "model_exclusions", "score_reasons"),
    ("intent_scores",),
    ("feature_profiles", "feature_statistics", "drift_reports", "event_mix_drift"),
    ("performance_report", "score_backtest", "retrain_decision"),
    ("score_changes",),
    ("alerts",),
    ("training_set", "feature_screening"),
    ("candidate_model", "model_evaluation", "feature_importance"),
)


def good_table(session: Session, name: str, where: str) -> None:
    """Create `where` with the good rows of the table `name`."""
    contract = CONTRACTS[name]
    session.connection.execute(f"create table {where} ({', '.join(f'{c.name} {c.type}' for c in contract.columns)})")
    marks = ", ".join("?" for _ in contract.columns)
    session.connection.executemany(f"insert into {where} values ({marks})", rows_of(contract))


def commit_good_night(session: Session) -> None:
    """Commit every table for the days of the run; each day has the good rows, dated to it."""
    con = session.connection
    con.execute("create schema if not exists memory.good")
    for names in TOGETHER:
        frames = []
        for name in names:
            good_table(session, name, f"memory.good.{name}")
            moved = [
                f"{c.name} + (t.day - date '{DAY}')::integer as {c.name}"
                if c.type == "DATE"
                else f"{c.name} + (t.day - date '{DAY}')::integer * interval 1 day as {c.name}"
                for c in CONTRACTS[name].columns
                if c.type in ("DATE", "TIMESTAMP")
            ]
            if name == "raw_events":
                moved.append("event_id || t.day as event_id")
            days = ", ".join(f"(date '{day}')" for day in session.run.days)
            values = f"(values {days}) as t(day)"
            query = f"select * exclude (day) replace ({', '.join(moved)}) from memory.good.{name}, {values}"
            if name == "activity_to_date":  # it holds everything until a day: these rows are right for the first
                query += f" where t.day = date '{session.run.days[0]}'"
            frames.append((CONTRACTS[name], nw.from_native(con.sql(query))))
        commits = session.commit(*frames)
        assert [commit.bad_days for commit in commits] == [()] * len(commits), commits
    con.execute("drop schema memory.good cascade")
