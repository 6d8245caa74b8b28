"""Which table is built from which.

Belongs here: the direct inputs of every table, from which both the asset graph and the gates follow. Does not belong
here: how a table is built (`defs/`).
"""

LANDED = ("raw_events", "quarantined_events", "landing_reconciliation", "identity_links")
LEARNT_FROM = ("daily_activity", "identity_links", "validated_subscribers", "user_features", "rule_scores")
OUTCOMES = ("daily_activity", "identity_links", "validated_subscribers")
WATCHED = ("user_features", "rule_scores", "model_scores", *OUTCOMES)
MOVED = ("feature_profiles", "feature_statistics", "drift_reports", "event_mix_drift")
CRM = ("crm_snapshot", "validated_subscribers", "quarantined_subscribers")

UPSTREAM: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((*LANDED, *CRM), ()),
    "sessions": LANDED,
    "daily_activity": ("raw_events", "sessions"),
    "activity_to_date": ("daily_activity",),
    "user_features": ("daily_activity", "activity_to_date", "identity_links", *CRM),
    **dict.fromkeys(("segment_conversion", "purchase_quantiles", "data_sufficiency"), ("validated_subscribers",)),
    **dict.fromkeys(("engagement_fences", "engagement_outliers"), ("user_features",)),
    "rule_sets": (),
    "rule_scores": ("user_features",),
    "rule_contributions": ("user_features",),
    "top_users": ("user_features", "rule_scores", "rule_contributions"),
    **dict.fromkeys(("model_scores", "model_exclusions", "score_reasons"), ("user_features", "rule_scores")),
    "intent_scores": ("rule_scores", "model_scores", "model_exclusions"),
    **dict.fromkeys(MOVED, ("raw_events", *WATCHED)),
    **dict.fromkeys(
        ("performance_report", "score_backtest", "retrain_decision"), (*WATCHED, "model_exclusions", "drift_reports")
    ),
    "score_changes": ("rule_sets", "rule_scores", *OUTCOMES),
    "alerts": ("drift_reports", "event_mix_drift", "performance_report", "model_exclusions"),
    **dict.fromkeys(("training_set", "feature_screening"), LEARNT_FROM),
    **dict.fromkeys(
        ("candidate_model", "model_evaluation", "feature_importance"),
        ("training_set", "feature_screening", "user_features", "rule_scores"),
    ),
}


def ancestors(table: str) -> tuple[str, ...]:
    """Every table that `table` is built from, directly or not, in the order of `UPSTREAM`."""
    found = set(UPSTREAM.get(table, ()))
    for upstream in tuple(found):
        found.update(ancestors(upstream))
    return tuple(name for name in UPSTREAM if name in found)
