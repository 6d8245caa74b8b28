"""One contract per table: columns, types, keys, checks, meaning. No logic."""

from gesture_assets.contracts.contract import Contract
from gesture_assets.contracts.events import (
    ACTIVITY_TO_DATE,
    DAILY_ACTIVITY,
    IDENTITY_LINKS,
    LANDING_RECONCILIATION,
    QUARANTINED_EVENTS,
    RAW_EVENTS,
    SESSIONS,
)
from gesture_assets.contracts.exploration import (
    DATA_SUFFICIENCY,
    ENGAGEMENT_FENCES,
    ENGAGEMENT_OUTLIERS,
    PURCHASE_QUANTILES,
    SEGMENT_CONVERSION,
)
from gesture_assets.contracts.models import MODEL_EXCLUSIONS, MODEL_SCORES, SCORED, TRAINED
from gesture_assets.contracts.monitoring import WATCHED
from gesture_assets.contracts.scores import RULE_CONTRIBUTIONS, RULE_SCORES, RULE_SETS, TOP_USERS, user_features
from gesture_assets.contracts.subscribers import CRM_SNAPSHOT, QUARANTINED_SUBSCRIBERS, validated_subscribers
from gesture_assets.features.registry import feature_registry


def all_contracts(tags: tuple[str, ...]) -> tuple[Contract, ...]:
    """Every contract, in the order in which a night fills the tables; `tags` shape two of them."""
    return (
        RAW_EVENTS,
        QUARANTINED_EVENTS,
        LANDING_RECONCILIATION,
        IDENTITY_LINKS,
        SESSIONS,
        DAILY_ACTIVITY,
        ACTIVITY_TO_DATE,
        CRM_SNAPSHOT,
        validated_subscribers(tags),
        QUARANTINED_SUBSCRIBERS,
        SEGMENT_CONVERSION,
        PURCHASE_QUANTILES,
        DATA_SUFFICIENCY,
        user_features(feature_registry(tags)),
        ENGAGEMENT_FENCES,
        ENGAGEMENT_OUTLIERS,
        RULE_SETS,
        RULE_SCORES,
        RULE_CONTRIBUTIONS,
        TOP_USERS,
        *SCORED,
        *WATCHED,
        *TRAINED,
    )


def nightly_contracts(tags: tuple[str, ...]) -> tuple[Contract, ...]:
    """The contracts of the tables that a night must fill to be whole."""
    return tuple(contract for contract in all_contracts(tags) if contract.is_nightly)


__all__ = [
    "ACTIVITY_TO_DATE",
    "CRM_SNAPSHOT",
    "DAILY_ACTIVITY",
    "DATA_SUFFICIENCY",
    "ENGAGEMENT_FENCES",
    "ENGAGEMENT_OUTLIERS",
    "IDENTITY_LINKS",
    "LANDING_RECONCILIATION",
    "MODEL_EXCLUSIONS",
    "MODEL_SCORES",
    "PURCHASE_QUANTILES",
    "QUARANTINED_EVENTS",
    "QUARANTINED_SUBSCRIBERS",
    "RAW_EVENTS",
    "RULE_CONTRIBUTIONS",
    "RULE_SCORES",
    "RULE_SETS",
    "SEGMENT_CONVERSION",
    "SESSIONS",
    "TOP_USERS",
    "Contract",
    "all_contracts",
    "nightly_contracts",
    "user_features",
    "validated_subscribers",
]
