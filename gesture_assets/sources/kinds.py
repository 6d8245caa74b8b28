"""Kinds of landing rows: the columns of each, and what is asked of a row of it.

Belongs here: these lists. Does not belong here: how an export names its columns (`description.py`), the SQL that reads
them (`canonical.py`), the tables that they become (`events/`, `pings/`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gesture_assets.events.tables import HIDEABLE, IGNORED, LANDING_RECONCILIATION, WORDED, WORDS
from gesture_assets.pings.tables import INTERACTION_TYPES, PING_RECONCILIATION
from gesture_assets.vocabulary.event_types import EVENT_TYPE_NAMES

FAULTY_ID = "faulty_id"  # stands for the reasons against ids, which `ids.py` tells
# What is held against a row, in the order in which it is looked for; `canonical.py` says how.
EVENT_REASONS = (
    "unreadable_row",
    IGNORED,
    "missing_user_id",
    FAULTY_ID,
    "missing_event_type",
    "unknown_event_type",
    "unparsable_timestamp",
    "unparsable_received_at",
    "future_ts",
    "too_old",
)


@dataclass(frozen=True)
class Kind:
    """One kind of landing rows.

    `ids` are read as ids, those of `people` may not look like ours; `names` keep their letters, `words` are brought to
    lower case and may be translated; `meanings` are worked out once a value, `dates` are days of the source's zone.
    `needed` must be in a file, `required` in a row; `hideable` are kept and may hold what identifies a person, of these
    `worded` are words. A `is_catalogue` file says how things stand: it has no clock, and is filed when it was seen.
    """

    name: str
    ids: tuple[str, ...]
    people: tuple[str, ...]
    needed: tuple[str, ...]
    reasons: tuple[str, ...]
    reconciliation: str  # the table that accounts for its rows
    meanings: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()  # of e-mail, of which only a keyed hash is kept
    times: tuple[str, ...] = ("event_at", "received_at")
    dates: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    integers: tuple[str, ...] = ()
    event_types: tuple[str, ...] = ()
    worded: tuple[str, ...] = ()
    hideable: tuple[str, ...] = ()
    hashed: tuple[str, ...] = ()  # of `hideable` the ids
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]], hash=False)
    is_catalogue: bool = False
    repeats_count: bool = False  # identical rows of one file without ids are several
    has_visitors: bool = False  # anonymous_id may stand for a user, and calls may only link the two

    @property
    def prefix(self) -> str:
        """What the names of the index's tables begin with."""
        return "" if self.name == "event" else f"{self.name}_"

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that a description may map."""
        texts = (*self.ids, *self.meanings, *self.names, *self.words, *self.addresses)
        return (*texts, *self.times, *self.flags, *self.numbers, *self.integers)

    def name_of(self, id: str) -> str:
        """What the id is called in a row; whose an event is may turn out to be a visitor."""
        return "known_user_id" if self.has_visitors and id == "user_id" else id

    @property
    def translated(self) -> tuple[str, ...]:
        """The columns whose values a description may translate."""
        return (*(name for name in self.meanings if name in ("device", "country")), *self.words)


EVENT = Kind(
    "event",
    ids=("event_id", "user_id", "anonymous_id", "source_session_id"),
    people=("user_id", "anonymous_id"),
    needed=("event_type", "event_at", "user_id"),
    reasons=EVENT_REASONS,
    reconciliation=LANDING_RECONCILIATION.name,
    meanings=("event_type", "device", "country", "user_agent"),
    names=("city",),
    words=WORDS,
    addresses=("email",),
    flags=("is_repeat_session", "is_bounce", "is_spam"),
    numbers=("dwell_seconds", "scroll_depth_pct", "account_balance_usd"),
    integers=("recent_pages_viewed", "recent_pricing_views"),
    event_types=EVENT_TYPE_NAMES,
    worded=WORDED,
    hideable=HIDEABLE,
    hashed=("event_id", "known_user_id", "anonymous_id", "source_session_id"),
    # Header aliases that every source understands: exports of one vendor put an "o" before its own columns.
    aliases={"user_id": ("ouser_id",), "event_at": ("ocreated_at",)},
    repeats_count=True,
    has_visitors=True,
)
INTERACTION = Kind(
    "interaction",
    ids=("event_id", "user_id", "ping_id"),
    people=("user_id",),
    needed=("user_id", "ping_id", "event_type", "event_at"),
    reasons=(*EVENT_REASONS[:3], "missing_ping_id", *EVENT_REASONS[3:], "negative_watch_time"),
    reconciliation=PING_RECONCILIATION.name,
    meanings=("event_type",),
    numbers=("watch_time_sec",),
    event_types=INTERACTION_TYPES,
    hideable=("event_id", "user_id", "ping_id"),
    hashed=("event_id", "user_id", "ping_id"),
    aliases={"user_id": ("ouser_id",), "ping_id": ("oping_id",)},
)
PING = Kind(
    "ping",
    ids=("ping_id", "creator_id"),
    people=("creator_id",),
    needed=("ping_id",),
    reasons=("unreadable_row", "missing_ping_id", FAULTY_ID),
    reconciliation=PING_RECONCILIATION.name,
    names=("main_hashtag", "category"),
    times=("created_at",),
    numbers=("duration_sec",),
    worded=("main_hashtag", "category"),
    hideable=("ping_id", "creator_id", "main_hashtag", "category"),
    hashed=("ping_id", "creator_id"),
    aliases={
        name: (f"o{name}",)
        for name in ("ping_id", "creator_id", "main_hashtag", "category", "duration_sec", "created_at")
    },
    is_catalogue=True,
)
PING_USER = Kind(
    "ping_user",
    ids=("user_id",),
    people=("user_id",),
    needed=("user_id",),
    reasons=("unreadable_row", "missing_user_id", FAULTY_ID),
    reconciliation=PING_RECONCILIATION.name,
    meanings=("country",),
    times=("signup_date",),
    dates=("signup_date",),
    integers=("age",),
    hideable=("user_id",),
    hashed=("user_id",),
    aliases={"user_id": ("ouser_id",), "signup_date": ("osignup_date",)},
    is_catalogue=True,
)
PING_KINDS = (INTERACTION, PING, PING_USER)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (EVENT, *PING_KINDS)}
