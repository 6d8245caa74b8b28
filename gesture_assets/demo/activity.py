"""What the users and bots of a synthetic world do on a day, faults included, in the project's native columns.

Belongs here: visits, bursts of bots, signups and purchases, and every fault planted on purpose. Does not belong here:
who buys when (`intent.py`), writing files (`world.py`).
"""

import numpy as np
import polars as pl

from gesture_assets.demo.campaigns import campaigns
from gesture_assets.demo.days import DAY, MINUTE, SECOND
from gesture_assets.demo.intent import LatentState
from gesture_assets.demo.people import PERSONAS, People

# Faults, each a share of all events but signups and purchases: often enough that a small world holds every kind, rare
# enough that a healthy day passes its gates.
DUPLICATE_RATE = 0.005
LATE_RATE = 0.01
MALFORMED_RATE = 0.003
FUTURE_RATE = 0.001


# Activity. A visit has two to three events; together 1.0 to 1.5 events per user and day. Visits rise with intent (a
# factor of 1.6 per logit), which makes their number heavy-tailed and intent visible in plain counts.
VISITS_PER_DAY = 0.4
ACTIVITY_PER_LOGIT = 0.45
VISIT_STOP = 0.4
WEEKEND = 0.7
HOUR_WEIGHTS = (2, 1, 1, 1, 1, 2, 3, 5, 8, 11, 12, 12, 10, 11, 12, 11, 10, 9, 8, 9, 10, 9, 6, 4)  # local time
INTENT_LEVELS = np.linspace(-6.0, 8.0, 16)

# type: (weight at intent 0, change of the log weight per logit of intent). Signups and purchases are not drawn from here.
EVENT_MIX = {
    "page_view": (36.0, -0.1), "pricing_page_view": (3.0, 0.45), "product_view": (10.0, 0.08), "search": (6.0, 0.02),
    "chat_message": (1.2, 0.25), "doc_download": (1.8, 0.2), "video_view": (3.0, 0.02), "form_submission": (0.9, 0.3),
    "demo_request_click": (0.8, 0.5), "signup": (0.0, 0.0), "calendar_booking": (0.5, 0.5),
    "meeting_attended": (0.3, 0.5), "email_open": (8.0, -0.05), "email_click": (3.0, 0.15),
    "email_bounce": (0.3, -0.05), "unsubscribe": (0.25, -0.15), "social_interaction": (2.5, 0.0),
    "proposal_view": (0.4, 0.55), "app_open": (4.0, 0.02), "feature_use": (4.0, 0.03), "support_ticket": (0.5, 0.0),
    "purchase": (0.0, 0.0), "careers_page_view": (0.6, -0.1), "crm_contact": (0.8, 0.2),
    "third_party_signal": (0.8, 0.2),
}  # fmt: skip
PERSONA_MIX = {
    "researcher": {"doc_download": 3.0, "video_view": 2.0, "search": 1.5},
    "buyer": {"pricing_page_view": 1.3, "product_view": 1.3},
    "job_seeker": {"careers_page_view": 60.0, "product_view": 0.4},
    "customer": {"feature_use": 6.0, "app_open": 4.0, "support_ticket": 5.0, "demo_request_click": 0.1},
}
CANONICAL_TYPES = tuple(EVENT_MIX)
MISSPELT_TYPES = ("pageveiw", "prcing_page", "demo_reqest")
TYPE_NAMES = pl.Series(CANONICAL_TYPES + MISSPELT_TYPES)
SIGNUP, PURCHASE, FORM = (CANONICAL_TYPES.index(name) for name in ("signup", "purchase", "form_submission"))
EMAIL_TYPES = [place for place, name in enumerate(CANONICAL_TYPES) if name.startswith("email_")]
BOT_TYPES = np.array([CANONICAL_TYPES.index(name) for name in ("page_view", "product_view", "search")])


DEVICES = pl.Series(["desktop", "mobile", "tablet"])
# Two agents per device in the order of DEVICES, then the two that announce a bot.
AGENTS = pl.Series(
    [
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/141.0.0.0 Safari/537.36",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Safari/605.1.15",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
        "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0 "
        "Mobile Safari/537.36",
        "Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 "
        "Safari/604.1",
        "Mozilla/5.0 (Linux; Android 15; SM-X710) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/141.0.0.0 Safari/537.36",
        "Googlebot/2.1 (+http://www.google.com/bot.html)",
        "python-requests/2.32.5",
    ]
)
# The three networks set aside for documentation (RFC 5737): an address nobody has.
ADDRESSES = pl.Series([f"{net}.{host}" for net in ("192.0.2", "198.51.100", "203.0.113") for host in range(1, 255)])
CLEAN, DUPLICATE, LATE, FUTURE, NO_ID, NO_TIME, BAD_TYPE = range(7)  # the fault of a row; a row has at most one


def _type_quantiles() -> np.ndarray:
    """Event types at 4,096 equal quantiles of the mix, one row per persona and intent level: a draw is one look-up."""
    base = np.array([weight for weight, _ in EVENT_MIX.values()])
    slope = np.array([change for _, change in EVENT_MIX.values()])
    factor = np.array([[PERSONA_MIX.get(who, {}).get(kind, 1.0) for kind in CANONICAL_TYPES] for who in PERSONAS])
    weights = base * factor[:, None, :] * np.exp(slope * INTENT_LEVELS[:, None])
    cumulative = np.cumsum(weights, axis=-1).reshape(-1, len(base))
    positions = (np.arange(4096) + 0.5) / 4096
    return np.stack([np.searchsorted(row / row[-1], positions) for row in cumulative]).astype(np.uint8)


TYPE_QUANTILES = _type_quantiles()
HOUR_QUANTILES = np.interp(
    (np.arange(8192) + 0.5) / 8192, np.cumsum((0, *HOUR_WEIGHTS)) / sum(HOUR_WEIGHTS), np.arange(25) * 60
).astype(np.int64)


def day_of_events(
    people: People, state: LatentState, day: int, midnight: int, first_number: int, rng: np.random.Generator
) -> pl.DataFrame:
    """Draw every event of one day as codes and numbers; strings are only made once a file is written."""
    visits = _visits(people, state, day, midnight, rng)
    bots = _bot_bursts(people, midnight, rng)
    drawn = _with_faults(pl.concat([visits, bots]), rng)
    # Signups before nine, purchases after ten: whoever does both on one day does them in that order. Neither is ever
    # late or malformed, so that the events and the CRM agree; they may be sent twice like any other.
    special = [drawn]
    for code, when, (earliest, latest) in ((SIGNUP, people.signup_day, (6, 9)), (PURCHASE, state.bought_on, (10, 21))):
        who = np.flatnonzero(when == day)
        event_at = midnight + rng.integers(earliest * 60 * MINUTE, latest * 60 * MINUTE, len(who)) // 1000 * 1000
        special.append(event_codes(people, who, event_at, np.full(len(who), code), rng))
    drawn = pl.concat(special)
    signup = drawn.filter(pl.col("event_type") == SIGNUP).select("user", signup_at="event_at")
    # 0: known by user id, 1: anonymous, 2: the signup itself, which carries both ids
    is_before = np.where(people.signup_day > day, 1, 0).astype(np.int8)[drawn["user"].to_numpy()]
    drawn = drawn.with_columns(pl.Series("identity", is_before), number=first_number + pl.int_range(pl.len()))
    drawn = (
        drawn.join(signup, on="user", how="left", maintain_order="left")
        .with_columns(
            pl.when(pl.col("event_type") == SIGNUP)
            .then(pl.lit(2, pl.Int8))
            .when(pl.col("event_at") < pl.col("signup_at"))
            .then(pl.lit(1, pl.Int8))
            .otherwise(pl.col("identity"))
            .alias("identity")
        )
        .drop("signup_at")
    )
    clean = np.flatnonzero(drawn["fault"].to_numpy() == CLEAN)
    copies = drawn[clean[rng.random(len(clean)) < DUPLICATE_RATE]]
    gap = np.where(rng.random(copies.height) < 0.5, DAY, rng.integers(SECOND, 2 * MINUTE, copies.height))
    copies = copies.with_columns(
        pl.Series("received_at", copies["received_at"].to_numpy() + gap), pl.lit(DUPLICATE, pl.UInt8).alias("fault")
    )
    drawn = pl.concat([drawn, copies])
    return drawn.with_columns(received_on=(day + (pl.col("received_at") - midnight) // DAY).cast(pl.Int32))


def _visits(people: People, state: LatentState, day: int, midnight: int, rng: np.random.Generator) -> pl.DataFrame:
    intent = state.intent[day]
    is_weekend = (midnight // DAY + 3) % 7 >= 5  # day 0, 1970-01-01, was a Thursday
    rate = people.activity * np.exp(ACTIVITY_PER_LOGIT * intent) * (people.first_day <= day)
    visits = rng.poisson(rate * VISITS_PER_DAY * (WEEKEND if is_weekend else 1.0))
    if not visits.any():  # in a world of a handful of users; a day without events would look like an outage
        visits[np.argmax(rate)] = 1
    who = np.repeat(np.arange(len(visits)), visits)
    minute = HOUR_QUANTILES[rng.integers(0, len(HOUR_QUANTILES), len(who))] - people.utc_offset[who]
    starts = midnight + (minute % 1440) * MINUTE + rng.integers(0, 60_000, len(who)) * 1000
    size = np.minimum(rng.geometric(VISIT_STOP, len(who)), 40)
    visit = np.repeat(np.arange(len(who)), size)
    # milliseconds until the next event of the visit; a visit near midnight runs into the next day
    pause = 2_000 + (150_000 * rng.standard_exponential(len(visit), dtype=np.float32)).astype(np.int64)
    elapsed = np.cumsum(pause) - pause
    elapsed -= np.repeat(elapsed[np.cumsum(size) - size], size)
    persona = np.where(state.bought_on < day, PERSONAS.index("customer"), people.persona)
    step = INTENT_LEVELS[1] - INTENT_LEVELS[0]
    level = np.clip(np.rint((intent - INTENT_LEVELS[0]) / step), 0, len(INTENT_LEVELS) - 1).astype(np.int64)
    mix = (persona.astype(np.int64) * len(INTENT_LEVELS) + level)[who] * TYPE_QUANTILES.shape[1]
    kind = TYPE_QUANTILES.ravel()[mix[visit] + rng.integers(0, TYPE_QUANTILES.shape[1], len(visit))]
    dwell = pause * (0.2 + 0.7 * rng.random(len(visit), dtype=np.float32)) / 1000
    return event_codes(people, who[visit], starts[visit] + elapsed * 1000, kind, rng, dwell=dwell, group=visit)


def _bot_bursts(people: People, midnight: int, rng: np.random.Generator) -> pl.DataFrame:
    """On half of all nights a bot fires 40 to 80 events within a minute, without dwelling on any page."""
    bots = np.flatnonzero(people.is_bot)
    awake = bots[rng.random(len(bots)) < 0.5]
    size = rng.integers(40, 81, len(awake))
    start = midnight + rng.integers(60, 300, len(awake)) * MINUTE
    burst = np.repeat(np.arange(len(awake)), size)
    event_at = start[burst] + rng.integers(0, 55_000, len(burst)) * 1000
    kind = rng.choice(BOT_TYPES, len(burst))
    return event_codes(people, awake[burst], event_at, kind, rng, dwell=np.zeros(len(burst)), group=burst)


def event_codes(
    people: People,
    user: np.ndarray,
    event_at: np.ndarray,
    event_type: np.ndarray,
    rng: np.random.Generator,
    *,
    dwell: np.ndarray | None = None,
    group: np.ndarray | None = None,
) -> pl.DataFrame:
    """Events as numbers. Rows of one `group` share device and address; without groups each row is its own."""
    size = len(user)
    group = np.arange(size) if group is None else group
    groups = int(group[-1]) + 1 if size else 0
    dwell = 5 + 60 * rng.random(size) if dwell is None else dwell
    delay = (2_000 + 20_000 * rng.standard_exponential(size, dtype=np.float32)).astype(np.int64) * 1000
    elsewhere = (rng.random(groups) < 0.1)[group] & (people.agent[user] < 6)
    device = np.where(elsewhere, (people.device[user] + 1) % 3, people.device[user])
    agent = np.where(elsewhere, 2 * device, people.agent[user])
    scroll = np.where(dwell > 0, 100 - 95 * np.exp(-dwell / 60) + rng.integers(-5, 6, size), 0)
    return pl.DataFrame(
        {
            "user": user.astype(np.int32),
            "event_type": event_type.astype(np.uint8),
            "event_at": event_at,
            "received_at": event_at + delay,
            "device": device.astype(np.int8),
            "agent": agent.astype(np.int8),
            "address": rng.integers(0, len(ADDRESSES), groups).astype(np.int16)[group],
            "dwell_seconds": np.round(dwell, 1).astype(np.float64),
            "scroll_depth_pct": np.clip(scroll, 0, 100).astype(np.int64),
            "fault": np.zeros(size, dtype=np.uint8),
        }
    )


def _with_faults(drawn: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Spoil rows at the planted rates: one draw per row decides its fault, so no row has two."""
    edges = np.cumsum([LATE_RATE, FUTURE_RATE] + [MALFORMED_RATE / 3] * 3)
    kinds = np.array([LATE, FUTURE, NO_ID, NO_TIME, BAD_TYPE, CLEAN], dtype=np.uint8)
    fault = kinds[np.searchsorted(edges, rng.random(drawn.height), side="right")]
    event_at, received_at = drawn["event_at"].to_numpy().copy(), drawn["received_at"].to_numpy().copy()
    late, future = np.flatnonzero(fault == LATE), np.flatnonzero(fault == FUTURE)
    received_at[late] = event_at[late] + rng.integers(DAY, 3 * DAY, len(late)) // 1000 * 1000
    event_at[future] = received_at[future] + rng.integers(6 * MINUTE, 3 * DAY, len(future)) // 1000 * 1000
    return drawn.with_columns(pl.Series("event_at", event_at), pl.Series("received_at", received_at), fault=fault)


def native_rows(codes: pl.DataFrame, profile: pl.DataFrame, *, prefix: str) -> pl.DataFrame:
    """Codes to the project's native event columns, in file order; here the malformed rows lose what they lack."""
    user = codes["user"]
    kind = codes["event_type"].to_numpy()
    misspelt = len(CANONICAL_TYPES) + codes["number"].to_numpy() % len(MISSPELT_TYPES)
    kind = np.where(codes["fault"].to_numpy() == BAD_TYPE, misspelt, kind)
    has_id, has_time = pl.col("fault") != NO_ID, pl.col("fault") != NO_TIME
    is_anonymous = pl.col("identity") == 1
    letters = pl.col("number") % 20  # one address in twenty in capitals, one with a space behind
    email = pl.when(letters == 0).then(pl.col("email").str.to_uppercase())
    email = email.when(letters == 1).then(pl.col("email") + " ").otherwise(pl.col("email"))
    person = profile.select(pl.all().exclude("email").gather(user))
    mails = (kind == SIGNUP) | (kind == FORM)
    visits = campaigns(user, codes["event_at"], np.isin(kind, EMAIL_TYPES))
    address = profile["email"].gather(pl.Series(np.where(mails, user.to_numpy(), -1)).replace(-1, None))
    return (
        codes.with_columns(person.get_columns())
        .with_columns(address, *visits.get_columns())
        .select(
            (pl.lit(prefix) + (10**10 + pl.col("number")).cast(pl.String)).alias("event_id"),
            pl.when(has_id & ~is_anonymous).then("user_id").alias("user_id"),
            pl.when(has_id & (pl.col("identity") > 0)).then("anonymous_id").alias("anonymous_id"),
            TYPE_NAMES.gather(kind).alias("event_type"),
            pl.when(has_time).then("event_at").cast(pl.Datetime("us")).alias("event_at"),
            pl.col("received_at").cast(pl.Datetime("us")),
            DEVICES.gather(codes["device"]).alias("device"),
            "country",
            "city",
            "gender",
            *visits.columns,
            AGENTS.gather(codes["agent"]).alias("user_agent"),
            ADDRESSES.gather(codes["address"]).alias("ip_address"),
            email.alias("email"),
            "dwell_seconds",
            "scroll_depth_pct",
            pl.when(~is_anonymous).then("account_balance_usd").alias("account_balance_usd"),
        )
    )
