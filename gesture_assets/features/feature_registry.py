"""The feature registry: every column of `user_features`, with its meaning, window, unit and group.

Belongs here: the list, from which the contract, the data dictionary and `dim_feature` follow. Does not belong here: how
a feature is computed (`user_features.py`). Rules and models name features by these names only.
"""

from dataclasses import dataclass
from typing import Literal

from gesture_assets.vocabulary.event_types import EVENT_TYPES
from gesture_assets.vocabulary.features import DEVICES, tag_column

WINDOWS = (1, 7, 14, 30, 60, 90)  # days that end with the as-of day, its own day included


@dataclass(frozen=True)
class Feature:
    """A column of `user_features`. `group`: `fit` (who somebody is) or `engagement` (what they do); `window`: days."""

    name: str
    type: str
    description: str
    group: Literal["fit", "engagement"]
    unit: str | None = None
    nullable: bool = True
    window: int | None = None
    source: str = "daily_activity"
    reference: str = "000"  # the source document that asks for it
    columns: tuple[str, ...] = ()  # of the source, where they are not the column of the feature's own name

    @property
    def source_columns(self) -> tuple[str, ...]:
        """The columns of `source` that the feature is made of."""
        if self.columns:
            return self.columns
        stem = self.name.removesuffix(f"_{self.window}d") if self.window else self.name
        counted = stem.removeprefix("days_since_last_")
        return (stem,) if counted == stem else (f"{counted}_count",)


def _windowed(stem: str, what: str, reference: str = "000", columns: tuple[str, ...] = ()) -> list[Feature]:
    spans = {days: f"in the {days} days up to the as-of day" for days in WINDOWS} | {1: "on the as-of day"}
    return [
        *(
            Feature(
                f"{stem}_count_{days}d",
                "INTEGER",
                f"{what} {span}.",
                "engagement",
                "count",
                False,
                days,
                reference=reference,
                columns=columns,
            )
            for days, span in spans.items()
        ),
        Feature(
            f"{stem}_count",
            "INTEGER",
            f"{what}, ever.",
            "engagement",
            "count",
            False,
            reference=reference,
            columns=columns,
        ),
    ]


def feature_registry(tags: tuple[str, ...]) -> tuple[Feature, ...]:
    """Every feature, in column order; `tags` are the CRM tags that have a column of their own."""
    features: list[Feature] = []
    for event_type in EVENT_TYPES:
        features += _windowed(event_type.name, f"Events of type {event_type.name}")
    features += _windowed("event", "Events of any type")
    features += _windowed("session", "Visits (events less than 30 minutes apart, or the source's own sessions)")
    features += _windowed("active_day", "Days with at least one event", columns=("activity_date", "event_count"))
    features += [
        Feature(
            f"days_since_last_{event_type.name}",
            "INTEGER",
            f"Whole days from the last {event_type.name} to the as-of day; null where there was none.",
            "engagement",
            "days",
        )
        for event_type in EVENT_TYPES
    ]
    features += [
        Feature("first_event_at", "TIMESTAMP", "First event (UTC).", "engagement"),
        Feature("last_event_at", "TIMESTAMP", "Last event (UTC).", "engagement"),
        Feature("days_since_first_event", "DOUBLE", "From the first event to the as-of moment.", "engagement", "days",
                columns=("first_event_at",)),
        Feature("days_since_last_event", "DOUBLE", "From the last event to the as-of moment.", "engagement", "days",
                columns=("last_event_at",)),
        Feature("repeat_session_count", "INTEGER", "Visits that were not the user's first.",
                "engagement", "count", False),
        Feature("repeat_session_rate", "DOUBLE", "Share of visits that were not the first; 0 without visits.",
                "engagement", "share", False, columns=("repeat_session_count", "session_count")),
        Feature("bounced_session_count", "INTEGER", "Visits that ended where they began.",
                "engagement", "count", False),
        Feature("bounce_rate", "DOUBLE", "Share of visits that bounced; 0 without visits.",
                "engagement", "share", False, columns=("bounced_session_count", "session_count")),
        Feature("spam_session_count", "INTEGER", "Visits that the source marked as spam.",
                "engagement", "count", False),
        Feature("spam_rate", "DOUBLE", "Share of visits marked as spam; 0 without visits.",
                "engagement", "share", False, columns=("spam_session_count", "session_count")),
        Feature("dwell_seconds_30d", "DOUBLE", "Time on pages in 30 days.", "engagement", "seconds", False, 30),
        Feature("dwell_seconds_per_session", "DOUBLE", "Mean time on pages per visit; null without visits.",
                "engagement", "seconds", columns=("session_dwell_seconds", "session_count")),
        Feature("engagement_trend", "DOUBLE",
                "Events a day in the last 7 days less events a day in the 21 days before them.", "engagement",
                "events per day", False, 28, reference="002", columns=("event_count",)),
        Feature("engagement_acceleration", "DOUBLE",
                "How much faster events a day rise: those of the last 7 days less those of the 7 before, less the rise "
                "of these over the 16 before them; null without events.", "engagement",
                "events per day", True, 30, reference="002", columns=("event_count",)),
        Feature("is_converted", "BOOLEAN",
                "Has signed up and booked a meeting at least once each; says nothing of purchases.",
                "engagement", None, False, columns=("signup_count", "calendar_booking_count")),
        Feature("primary_device", "VARCHAR", "Device of most visits; ties go to the first in the alphabet.", "fit",
                columns=tuple(f"{device}_session_count" for device in DEVICES)),
        Feature("country", "VARCHAR", "Last country seen in events (ISO 3166 alpha-2).", "fit"),
        Feature("city", "VARCHAR", "Last city seen in events.", "fit"),
        Feature("gender", "VARCHAR", "Last value seen in events.", "fit"),
        Feature("account_balance_usd", "DOUBLE", "Last value seen in events.", "fit", "USD"),
        Feature("recent_pages_viewed", "INTEGER", "The source's own count, last value seen.", "engagement", "count"),
        Feature("recent_pricing_views", "INTEGER", "The source's own count, last value seen.", "engagement", "count"),
    ]  # fmt: skip

    def crm(
        name: str, kind: str, description: str, unit: str | None = None, *, nullable: bool = True, column: str = ""
    ) -> Feature:
        columns = (column,) if column else ("optin_date",) if name.startswith("optin_") else ()
        return Feature(
            name,
            kind,
            description,
            "fit",
            unit,
            nullable,
            source="validated_subscribers",
            reference="003",
            columns=columns,
        )

    features += [
        crm("is_subscriber", "BOOLEAN", "Known to the CRM on the as-of day.", nullable=False, column="mailchimp_id"),
        crm("mailchimp_id", "VARCHAR", "The CRM's own id: the way back to the person."),
        crm("member_rating", "SMALLINT", "The CRM's rating, 1 (low) to 5, ordered."),
        crm("subscriber_country", "VARCHAR", "Country in the CRM (ISO 3166 alpha-2).", column="country"),
        crm("made_purchase", "SMALLINT", "1 when the CRM holds a purchase up to the as-of day."),
        crm("optin_days", "INTEGER", "Days from opt-in to the as-of day.", "days"),
        crm("optin_month", "SMALLINT", "Month of opt-in, 1 to 12."),
        crm("optin_day_of_week", "SMALLINT", "Weekday of opt-in, Monday 1 to Sunday 7."),
        crm("optin_day_of_year", "SMALLINT", "Day of the year of opt-in, 1 to 366."),
        crm("optin_quarter", "SMALLINT", "Quarter of opt-in, 1 to 4."),
        crm("optin_is_weekend", "BOOLEAN", "Opted in on a Saturday or Sunday."),
        crm("tag_count", "INTEGER", "CRM tags; null where tags of that day are unknown.", "count"),
    ]
    features += [crm(tag_column(tag), "SMALLINT", f"1 with the CRM tag {tag}.") for tag in tags]
    return (
        *features,
        crm("tag_other", "INTEGER", "CRM tags that have no column of their own.", "count"),
        Feature(
            "profile_completeness",
            "DOUBLE",
            f"Share of {', '.join(PROFILE)} that is known.",
            "fit",
            "share",
            False,
            source="user_features",
            reference="002",
            columns=PROFILE,
        ),
    )


# What a full profile has; the other attributes of the CRM follow from these.
PROFILE = (
    "primary_device",
    "country",
    "city",
    "gender",
    "account_balance_usd",
    "member_rating",
    "subscriber_country",
    "optin_days",
    "tag_count",
)

# Never inputs of a model: they say who somebody is, or what is to be predicted.
MOMENTS = ("first_event_at", "last_event_at")
IDENTIFIERS = ("user_id", "mailchimp_id", *MOMENTS)
