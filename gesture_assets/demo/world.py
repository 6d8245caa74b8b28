"""The synthetic world: landing files, a CRM database and the truth behind them, from one seed.

Demo data takes the same path as real data, so this module only writes what a real source would have dropped (plus the
truth, for judging models). Belongs here: people, their latent intent, what they do, and every fault planted on purpose.
Does not belong here: reading any of it back (`sources/landing.py`, `sources/crm.py`), clocks, environment, Dagster.

How the world works. Every user has an intent per day, in logits: intent = static + wave + project. `static` is who
they are (persona plus a normal draw), `wave` an AR(1) that forgets over about half a year, `project` a buying project
that starts at random, ramps up over two weeks and fades. Each day a user who never bought buys with probability
sigmoid(BUY_INTERCEPT + intent); the first purchase is the conversion and the only one in the world. Worlds start in
the steady state: during the burn-in, whoever would have bought is replaced by a fresh user.

Difficulty, fixed: knowing the true state at the end of a day, "purchases within the next 30 days" among the users who
never bought is ranked with a ROC AUC of 0.88 to 0.92, at a base rate of 5 to 10 % (as-of days in the middle of a
120-day world). Counts of events carry most of it: trees on 7, 30 and 90 day counts reach about 0.85.

Past buyers: 2.5 % of the users bought an older product before the world begins. They hold a Transactions row dated
before the first day and no purchase event; they count as converted from the first day on and never buy again.

The same arguments give byte-identical files (same library versions). Files of another world are not removed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from gesture_assets.errors import ConfigError

# Faults, each a share of all events but signups and purchases: often enough that a small world holds every kind, rare
# enough that a healthy day passes its gates.
DUPLICATE_RATE = 0.005
LATE_RATE = 0.01
MALFORMED_RATE = 0.003
FUTURE_RATE = 0.001
# Bots: few users, many events. Half announce themselves in the user agent, half only by behaviour.
BOT_RATE, MIN_BOTS = 0.002, 5
# Users who sign up during the world (they browse anonymously before), and users who bought before it.
JOINER_SHARE = 0.12
PAST_BUYER_SHARE = 0.025
# Subscribers before any purchase makes one; with the buyers about 60 % of all users. A buyer who had not opted in does
# so on the day of the purchase, never earlier, so being a subscriber says nothing about a purchase still to come.
NATURAL_SUBSCRIBER_SHARE = 0.53
# Subscribers who opted in a second time with the same address in other letters; at least one from 500 subscribers on.
DUPLICATE_EMAIL_RATE = 0.001
OPT_IN_YEARS_DAYS = 730

# The latent state. The values were searched for together: they give the difficulty promised above.
PERSONAS = ("browser", "researcher", "buyer", "job_seeker", "customer")
PERSONA_SHARES = (0.45, 0.25, 0.18, 0.12)  # nobody starts as a customer: a purchase makes one
PERSONA_INTENT = np.array([-0.5, 0.3, 1.5, -5.0])
STATIC_SD = 1.2
WAVE_SD, WAVE_MEMORY = 2.9, 0.994
PROJECT_START_RATE = 0.003  # per day and user outside a project: about one a year
PROJECT = 4.0 * np.concatenate([[0.0], np.arange(1, 15) / 14, np.exp(-np.arange(1, 15) / 6)])  # by day of the project
BUY_INTERCEPT = -7.6
HORIZON_DAYS = 30
BURN_IN_DAYS = 120

# Activity. A visit has two to three events; together 1.0 to 1.5 events per user and day. Visits rise with intent (a
# factor of 1.6 per logit), which makes their number heavy-tailed and intent visible in plain counts.
VISITS_PER_DAY = 0.4
ACTIVITY_SD = 0.3
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
BOT_TYPES = np.array([CANONICAL_TYPES.index(name) for name in ("page_view", "product_view", "search")])

# country: (share, minutes from UTC, cities)
COUNTRIES = {
    "US": (0.35, -360, ("Chicago", "Boston", "Austin")), "GB": (0.15, 0, ("London", "Leeds", "Bristol")),
    "DE": (0.12, 60, ("Berlin", "Hamburg", "Munich")), "IN": (0.12, 330, ("Pune", "Mumbai", "Delhi")),
    "FR": (0.08, 60, ("Paris", "Lyon", "Nantes")), "CA": (0.06, -300, ("Toronto", "Montreal", "Ottawa")),
    "BR": (0.06, -180, ("Recife", "Santos", "Curitiba")), "ES": (0.06, 60, ("Madrid", "Sevilla", "Bilbao")),
}  # fmt: skip
DEVICES = pl.Series(["desktop", "mobile", "tablet"])
GENDERS = pl.Series(["female", "male", "undisclosed"])
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
FIRST_NAMES = ("Ada", "Bela", "Cleo", "Dara", "Emil", "Fina", "Gero", "Hana", "Ivo", "Jana", "Kofi", "Lena")
MAIL_DOMAINS = ("example.com", "example.org", "mail.example")
PRODUCTS = pl.DataFrame(
    {
        "product_id": range(1, 9),
        "description": [f"Course {i}" for i in range(1, 4)]
        + ["Starter", "Team", "Studio", "Academy", "Lab Season Pass"],
        "suggested_price": [100.0, 200.0, 300.0, 49.0, 199.0, 499.0, 299.0, 149.0],
    }
)
OLD_PRODUCTS = 3  # product ids up to here were only sold before the world
TAGS = pl.Series(
    [f"learning_lab_{i:02d}" for i in range(1, 48)] + [f"webinar_{i:02d}" for i in range(1, 16)] + ["shiny_course"]
)

EPOCH = date(1970, 1, 1)
NEVER = 1_000_000  # a day index after every world
SECOND, MINUTE, DAY = 1_000_000, 60_000_000, 86_400_000_000  # in microseconds
CLEAN, DUPLICATE, LATE, FUTURE, NO_ID, NO_TIME, BAD_TYPE = range(7)  # the fault of a row; a row has at most one


@dataclass(frozen=True)
class DemoWorld:
    """What was written. Fault counts are of rows in the files, so rows that arrive after the end are not in them."""

    event_files: tuple[Path, ...]
    crm: Path
    truth: Path
    events: int
    duplicates: int
    late: int
    malformed: int
    future: int
    bots: int
    bot_events: int
    subscribers: int
    duplicate_emails: int
    tags: int
    transactions: int
    past_buyers: int
    converted_users: int


@dataclass(frozen=True)
class _People:
    """Who lives in the world: one entry per user in every array, days as indices from the first day."""

    profile: pl.DataFrame  # what an event repeats about its user
    names: pl.DataFrame  # what only the CRM knows
    persona: np.ndarray
    activity: np.ndarray
    utc_offset: np.ndarray
    device: np.ndarray
    agent: np.ndarray
    is_bot: np.ndarray
    is_past_buyer: np.ndarray
    first_day: np.ndarray
    signup_day: np.ndarray


@dataclass(frozen=True)
class _Truth:
    """The latent state per day and user (days first) and when each user bought (-1: before the world, or `NEVER`)."""

    intent: np.ndarray
    hazard: np.ndarray
    within_30d: np.ndarray
    bought_on: np.ndarray
    static: np.ndarray


def write_demo_world(
    *,
    landing: Path,
    crm: Path,
    truth: Path,
    users: int,
    days: int,
    seed: int,
    end: date,
    progress: Callable[[str], None] | None = None,
) -> DemoWorld:
    """Write `days` days of events up to and with `end`, the CRM database and the truth; return what was written.

    One file per UTC day of receipt in `landing/native`, holding what was received on that day. Events received after
    `end` are not written. Every file appears whole or not at all. Raises `ConfigError` for counts below 1.
    """
    _require_at_least(1, users=users, days=days)
    _require_at_least(0, seed=seed)
    start = end - timedelta(days=days - 1)
    people = _people(users, days, np.random.default_rng([seed, 1]))
    state = _latent_states(people, days, np.random.default_rng([seed, 2]))
    people = _bring_forward(people, state.bought_on)
    counts = np.zeros(7, dtype=np.int64)
    files: list[Path] = []
    bot_events = event_number = 0
    pending: dict[int, list[pl.DataFrame]] = {}
    written: Future[None] | None = None
    with ThreadPoolExecutor(1) as writer:  # writes one day while the next is drawn
        for day in range(days):
            midnight = _microseconds(start + timedelta(days=day))
            drawn = _day_of_events(people, state, day, midnight, event_number, np.random.default_rng([seed, 3, day]))
            event_number += drawn.height
            for (offset,), part in drawn.partition_by("received_on", as_dict=True, include_key=False).items():
                pending.setdefault(int(offset), []).append(part)
            codes = pl.concat(pending.pop(day))
            counts += np.bincount(codes["fault"].to_numpy(), minlength=7)
            bot_events += int(people.is_bot[codes["user"].to_numpy()].sum())
            path = landing / "native" / f"events-{start + timedelta(days=day)}.parquet"
            if written is not None:
                written.result()
            written = writer.submit(_write_events, codes, people.profile, path)
            files.append(path)
            if progress is not None:
                progress(f"{path.name}: {codes.height:,} events")
        if written is not None:
            written.result()
        truth_written = writer.submit(_write_truth, people, state, start, truth)
        crm_counts = _write_crm(people, state, start, days, np.random.default_rng([seed, 4]), crm)
        truth_written.result()
    return DemoWorld(
        event_files=tuple(files),
        crm=crm,
        truth=truth,
        events=int(counts.sum()),
        duplicates=int(counts[DUPLICATE]),
        late=int(counts[LATE]),
        malformed=int(counts[[NO_ID, NO_TIME, BAD_TYPE]].sum()),
        future=int(counts[FUTURE]),
        bots=int(people.is_bot.sum()),
        bot_events=bot_events,
        past_buyers=int(people.is_past_buyer.sum()),
        converted_users=int((state.bought_on < days).sum() - people.is_past_buyer.sum()),
        **crm_counts,
    )


def write_poison_day(*, landing: Path, day: date, seed: int, rows: int = 3_000) -> Path:
    """Land a CSV of `rows` rows dated `day`, of which exactly `rows // 3` cannot be accepted; return its path.

    The bad rows are unparsable times, missing ids and unknown event types in equal parts; the rest is good and new.
    """
    _require_at_least(1, rows=rows)
    _require_at_least(0, seed=seed)
    rng = np.random.default_rng([seed, 5, day.toordinal()])
    people = _people(max(rows // 10, 1), 1, rng)
    fault = np.where(np.arange(rows) < rows // 3, NO_ID + np.arange(rows) % 3, CLEAN)
    user = rng.integers(0, len(people.persona), rows)
    event_at = _microseconds(day) + rng.integers(0, DAY - 10 * MINUTE, rows)
    types = np.setdiff1d(np.arange(len(CANONICAL_TYPES)), [SIGNUP, PURCHASE, FORM])  # none that names an e-mail
    codes = _codes(people, user, event_at, rng.choice(types, rows), rng).with_columns(
        pl.Series("fault", rng.permutation(fault), dtype=pl.UInt8),
        pl.Series("received_at", event_at + 2 * SECOND),
        ((day - EPOCH).days * 10**7 + pl.int_range(rows)).alias("number"),  # no two days share an event id
        pl.lit(0, pl.Int8).alias("identity"),
    )
    times = [pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.6f") for name in ("event_at", "received_at")]
    frame = _native_rows(codes, people.profile, prefix="p").with_columns(times)
    frame = frame.with_columns(event_at=pl.col("event_at").fill_null("31/02/2026 25:61"))
    path = landing / "native" / f"events-{day}-poison.csv"
    _replace(path, frame.write_csv)
    return path


def _require_at_least(minimum: int, **values: int) -> None:
    for name, value in values.items():
        if value < minimum:
            raise ConfigError.bad_value(
                name,
                expected=f"a whole number of at least {minimum}",
                found=value,
                where="the arguments of the synthetic world",
                next_step="gesture demo-data --users 2000 --days 60 --seed 7",
            )


def _people(users: int, days: int, rng: np.random.Generator) -> _People:
    index = np.arange(users)
    bots = min(max(MIN_BOTS, round(BOT_RATE * users)), users // 4)
    past = max(1, round(PAST_BUYER_SHARE * users))
    role = rng.permutation(users)  # the first are bots, the next bought before the world
    is_bot, is_past_buyer = role < bots, (role >= bots) & (role < bots + past)
    country = rng.choice(len(COUNTRIES), users, p=[share for share, _, _ in COUNTRIES.values()])
    cities = pl.Series([city for _, _, cities in COUNTRIES.values() for city in cities])
    device = rng.choice(3, users, p=[0.58, 0.36, 0.06])
    is_crawler = is_bot & (role % 2 == 0)
    joins = (rng.random(users) < JOINER_SHARE) & ~is_bot & ~is_past_buyer
    signup_day = np.where(joins, rng.integers(0, days, users), -1)
    first_day = np.where(joins, signup_day - rng.geometric(1 / 6, users), -1)
    balance = np.where(rng.random(users) < 0.4, rng.lognormal(7.0, 1.2, users).round(2), np.nan)
    number = pl.Series(index).cast(pl.String)
    first = pl.Series(FIRST_NAMES).gather(rng.integers(0, len(FIRST_NAMES), users))
    domain = pl.Series(MAIL_DOMAINS).gather(rng.integers(0, len(MAIL_DOMAINS), users))
    profile = pl.DataFrame(
        {
            "user_id": "u" + number.str.zfill(6),
            "anonymous_id": "a" + number.str.zfill(6),
            "country": pl.Series(list(COUNTRIES)).gather(country),
            "city": cities.gather(country * 3 + rng.integers(0, 3, users)),
            "gender": GENDERS.gather(rng.choice(3, users, p=[0.42, 0.42, 0.16])),
            "email": first.str.to_lowercase() + "." + number.str.zfill(4) + "@" + domain,
            "account_balance_usd": pl.Series(balance).fill_nan(None),
        }
    )
    return _People(
        profile=profile,
        names=pl.DataFrame({"full_name": first + " Example " + number.str.zfill(4)}),
        persona=rng.choice(4, users, p=PERSONA_SHARES).astype(np.int8),
        activity=np.where(is_bot, 0.0, rng.lognormal(-(ACTIVITY_SD**2) / 2, ACTIVITY_SD, users)),
        utc_offset=np.array([offset for _, offset, _ in COUNTRIES.values()])[country],
        device=device.astype(np.int8),
        agent=np.where(is_crawler, 6 + role // 2 % 2, 2 * device + rng.integers(0, 2, users)).astype(np.int8),
        is_bot=is_bot,
        is_past_buyer=is_past_buyer,
        first_day=first_day,
        signup_day=signup_day,
    )


def _latent_states(people: _People, days: int, rng: np.random.Generator) -> _Truth:
    users, length = len(people.persona), len(PROJECT) - 1
    innovation = np.float32(WAVE_SD * np.sqrt(1 - WAVE_MEMORY**2))
    mean, shape = PERSONA_INTENT.astype(np.float32)[people.persona], PROJECT.astype(np.float32)
    static = mean + np.float32(STATIC_SD) * rng.standard_normal(users, dtype=np.float32)
    wave = np.float32(WAVE_SD) * rng.standard_normal(users, dtype=np.float32)
    busy = PROJECT_START_RATE * length / (1 + PROJECT_START_RATE * length)
    project = np.where(rng.random(users) < busy, rng.integers(1, length + 1, users), 0)
    bought_on = np.where(people.is_past_buyer, -1, NEVER)
    survival = _SurvivalTable()
    intent, hazard, within = (np.empty((days, users), dtype=np.float32) for _ in range(3))
    for day in range(-BURN_IN_DAYS, days):
        wave = WAVE_MEMORY * wave + innovation * rng.standard_normal(users, dtype=np.float32)
        starts = rng.random(users, dtype=np.float32) < PROJECT_START_RATE
        project = np.where(project > 0, project + 1, starts)
        project[project > length] = 0
        level = static + wave + shape[project]
        chance = _sigmoid(BUY_INTERCEPT + level)
        buys = rng.random(users, dtype=np.float32) < chance
        if day < 0:
            who = np.flatnonzero(buys)
            static[who] = mean[who] + STATIC_SD * rng.standard_normal(len(who))
            wave[who] = WAVE_SD * rng.standard_normal(len(who))
            project[who] = 0
            continue
        may_buy = (bought_on == NEVER) & ~people.is_bot
        bought_on = np.where(buys & may_buy, day, bought_on)
        intent[day], hazard[day] = level, np.where(may_buy, chance, 0.0)
        within[day] = np.where(may_buy & ~buys, 1.0 - survival.at(static, wave, project), 0.0)
    return _Truth(intent, hazard, within, bought_on, static)


class _SurvivalTable:
    """The probability of not buying on the next 30 days by state, exact up to its grid.

    Built by backward recursion over the days: S_k(state) = E[(1 - hazard(next)) * S_{k-1}(next)], the wave moving by
    its Gaussian transition, the project by its calendar. Between grid points linear in `static` and `wave`.
    """

    def __init__(self) -> None:
        self.static = np.linspace(-11.0, 8.0, 39)
        self.wave = np.linspace(-4.5, 4.5, 91) * WAVE_SD
        moves = (self.wave[None] - WAVE_MEMORY * self.wave[:, None]) / (WAVE_SD * np.sqrt(1 - WAVE_MEMORY**2))
        transition = np.exp(-(moves**2) / 2)
        transition /= transition.sum(axis=1, keepdims=True)
        keep = 1 - _sigmoid(BUY_INTERCEPT + PROJECT[:, None, None] + self.static[None, :, None] + self.wave[None, None])
        table = np.ones_like(keep)
        for _ in range(HORIZON_DAYS):
            ahead = (keep * table) @ transition.T
            idle = (1 - PROJECT_START_RATE) * ahead[0] + PROJECT_START_RATE * ahead[1]
            table = np.concatenate([idle[None], ahead[2:], ahead[:1]])
        self.table = table.astype(np.float32)

    def at(self, static: np.ndarray, wave: np.ndarray, project: np.ndarray) -> np.ndarray:
        row, row_part = self._place(self.static, static)
        column, column_part = self._place(self.wave, wave)
        below, above = (
            self.table[project, row, at] * (1 - row_part) + self.table[project, row + 1, at] * row_part
            for at in (column, column + 1)
        )
        return below * (1 - column_part) + above * column_part

    @staticmethod
    def _place(grid: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        position = np.clip((values - grid[0]) / (grid[1] - grid[0]), 0, len(grid) - 1.001)
        whole = position.astype(np.int64)
        return whole, position - whole


def _bring_forward(people: _People, bought_on: np.ndarray) -> _People:
    """Buying takes an account: whoever buys before the day they would have signed up signs up on the day they buy."""
    signup_day = np.minimum(people.signup_day, bought_on)
    first_day = np.minimum(people.first_day, bought_on)
    return _People(**{**people.__dict__, "signup_day": signup_day, "first_day": first_day})


def _day_of_events(
    people: _People, state: _Truth, day: int, midnight: int, first_number: int, rng: np.random.Generator
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
        special.append(_codes(people, who, event_at, np.full(len(who), code), rng))
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
    again = drawn[clean[rng.random(len(clean)) < DUPLICATE_RATE]]
    gap = np.where(rng.random(again.height) < 0.5, DAY, rng.integers(SECOND, 2 * MINUTE, again.height))
    again = again.with_columns(
        pl.Series("received_at", again["received_at"].to_numpy() + gap), pl.lit(DUPLICATE, pl.UInt8).alias("fault")
    )
    drawn = pl.concat([drawn, again])
    return drawn.with_columns(received_on=(day + (pl.col("received_at") - midnight) // DAY).cast(pl.Int32))


def _visits(people: _People, state: _Truth, day: int, midnight: int, rng: np.random.Generator) -> pl.DataFrame:
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
    return _codes(people, who[visit], starts[visit] + elapsed * 1000, kind, rng, dwell=dwell, group=visit)


def _bot_bursts(people: _People, midnight: int, rng: np.random.Generator) -> pl.DataFrame:
    """On half of all nights a bot fires 40 to 80 events within a minute, without dwelling on any page."""
    awake = np.flatnonzero(people.is_bot)
    awake = awake[rng.random(len(awake)) < 0.5]
    size = rng.integers(40, 81, len(awake))
    start = midnight + rng.integers(60, 300, len(awake)) * MINUTE
    burst = np.repeat(np.arange(len(awake)), size)
    event_at = start[burst] + rng.integers(0, 55_000, len(burst)) * 1000
    kind = rng.choice(BOT_TYPES, len(burst))
    return _codes(people, awake[burst], event_at, kind, rng, dwell=np.zeros(len(burst)), group=burst)


def _codes(
    people: _People,
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


def _native_rows(codes: pl.DataFrame, profile: pl.DataFrame, *, prefix: str) -> pl.DataFrame:
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
    address = profile["email"].gather(pl.Series(np.where(mails, user.to_numpy(), -1)).replace(-1, None))
    return (
        codes.with_columns(person.get_columns())
        .with_columns(address)
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
            AGENTS.gather(codes["agent"]).alias("user_agent"),
            ADDRESSES.gather(codes["address"]).alias("ip_address"),
            email.alias("email"),
            "dwell_seconds",
            "scroll_depth_pct",
            pl.when(~is_anonymous).then("account_balance_usd").alias("account_balance_usd"),
        )
    )


def _write_events(codes: pl.DataFrame, profile: pl.DataFrame, path: Path) -> None:
    rows = _native_rows(codes.sort("received_at", "number"), profile, prefix="e")
    # lz4 rather than zstd: a third larger, a quarter faster to write, and writing is what bounds the generator
    _replace(path, lambda target: rows.write_parquet(target, compression="lz4"))


def _write_truth(people: _People, state: _Truth, start: date, path: Path) -> None:
    days, users = state.intent.shape
    day = np.repeat(np.arange(days, dtype=np.int32) + (start - EPOCH).days, users)
    frame = pl.DataFrame(
        {
            "user_id": pl.concat([people.profile["user_id"]] * days),
            "day": pl.Series(day).cast(pl.Date),
            "intent": state.intent.ravel(),
            "conversion_probability": state.hazard.ravel(),
            "conversion_probability_30d": state.within_30d.ravel(),
            "is_bot": np.tile(people.is_bot, days),
            "is_converted_by": (state.bought_on[None, :] <= np.arange(days)[:, None]).ravel(),
        }
    )
    _replace(path, lambda target: frame.write_parquet(target, compression="zstd", compression_level=1))


def _write_crm(
    people: _People, state: _Truth, start: date, days: int, rng: np.random.Generator, path: Path
) -> dict[str, int]:
    users = len(people.persona)
    is_buyer = state.bought_on < days  # now or before the world
    is_natural = (rng.random(users) < NATURAL_SUBSCRIBER_SHARE) & ~people.is_bot
    opted_in = rng.integers(-OPT_IN_YEARS_DAYS, days, users)
    opted_in = np.where(people.signup_day >= 0, people.signup_day, opted_in)
    opted_in = np.where(is_natural, np.minimum(opted_in, state.bought_on), state.bought_on)
    past = people.is_past_buyer
    opted_in = np.where(past, rng.integers(-OPT_IN_YEARS_DAYS, -30, users), opted_in)
    bought = np.where(past, rng.integers(opted_in.clip(max=-1), 0), state.bought_on)  # never before the opt-in
    who = np.flatnonzero(is_natural | is_buyer)
    twice = round(DUPLICATE_EMAIL_RATE * len(who)) or int(len(who) >= 500)
    doubles = rng.choice(who, twice, replace=False)  # the same person once more, under a new mailchimp id

    code = people.profile["country"].str.to_lowercase().replace("gb", "uk")
    unknown = pl.Series(rng.random(users) < 0.05)
    code = pl.select(pl.when(unknown).then(pl.lit("")).otherwise(code)).to_series()
    noisy = np.argsort(np.argsort(np.log(people.activity + 1e-9) + 0.5 * rng.standard_normal(users))) / users
    subscribers = pl.DataFrame({"user": np.concatenate([who, doubles])}).with_columns(
        is_double=pl.int_range(pl.len()) >= len(who),
        opted_in=np.concatenate([opted_in[who], np.minimum(opted_in[doubles] + 20, days - 1)]),
    )
    subscribers = subscribers.sort("opted_in", "user", "is_double").with_row_index("mailchimp_id", 1001)
    user = subscribers["user"]
    email = people.profile["email"].gather(user)
    subscriber_rows = subscribers.select(
        "mailchimp_id",
        people.names["full_name"].gather(user).alias("user_full_name"),
        pl.when("is_double").then(email.str.to_uppercase() + " ").otherwise(email).alias("user_email"),
        pl.Series("member_rating", 1 + np.searchsorted([0.1, 0.62, 0.8, 0.93], noisy[user.to_numpy()])),
        _iso_dates("opted_in", start).alias("optin_time"),
        code.gather(user).alias("country_code"),
    )

    # Tags. Before the world their number follows who the user is, in the world the intent of the very day, so that a
    # tag never tells what comes after it: candidates over users and days stay with a chance rising with intent.
    known = who[opted_in[who] < 0]
    years = -opted_in[known] / 365
    before = np.repeat(known, rng.poisson(1.5 * years * np.exp(np.clip(0.3 * state.static[known], -2, 1.5))))
    before_day = rng.integers(opted_in[before], 0)
    candidates = rng.choice(who, rng.poisson(0.06 * len(who) * days))
    day = rng.integers(0, days, len(candidates))
    stays = rng.random(len(candidates)) < np.exp(np.minimum(0.3 * (state.intent[day, candidates] - 6), 0))
    stays &= day >= opted_in[candidates]
    tagged = pl.DataFrame(
        {"user": np.concatenate([before, candidates[stays]]), "day": np.concatenate([before_day, day[stays]])}
    )
    tagged = tagged.with_columns(TAGS.gather(rng.integers(0, len(TAGS), tagged.height)).alias("tag"))
    ids = subscribers.filter(~pl.col("is_double")).select("user", "mailchimp_id")
    tagged = tagged.group_by("user", "tag").agg(pl.col("day").min()).join(ids, on="user").sort("day", "user", "tag")
    tag_rows = tagged.select("mailchimp_id", "tag", _iso_dates("day", start).alias("tagged_at"))

    buyers = np.flatnonzero(is_buyer)
    product = np.where(
        past, rng.integers(1, OLD_PRODUCTS + 1, users), rng.integers(OLD_PRODUCTS + 1, PRODUCTS.height + 1, users)
    )
    sales = pl.DataFrame({"day": bought[buyers], "user": buyers}).sort("day", "user")
    sales = sales.with_row_index("transaction_id", 1)
    user = sales["user"]
    sale_rows = sales.select(
        "transaction_id",
        _iso_dates("day", start).alias("purchased_at"),
        people.names["full_name"].gather(user).alias("user_full_name"),
        people.profile["email"].gather(user).alias("user_email"),
        code.gather(user).alias("charge_country"),
        pl.Series("product_id", product[user.to_numpy()]),
    )
    tables = {"Subscribers": subscriber_rows, "Tags": tag_rows, "Transactions": sale_rows, "Products": PRODUCTS}
    _replace(path, lambda target: _write_sqlite(target, tables))
    return {
        "subscribers": subscriber_rows.height,
        "duplicate_emails": twice,
        "tags": tag_rows.height,
        "transactions": sale_rows.height,
    }


def _write_sqlite(path: Path, tables: dict[str, pl.DataFrame]) -> None:
    """A fresh database in one transaction: tables and rows in their order, so the pages come out the same."""
    path.unlink(missing_ok=True)
    sql_types = {pl.String: "text", pl.Float64: "real"}
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        with connection:
            for table, frame in tables.items():
                columns = ", ".join(f"{name} {sql_types.get(kind, 'integer')}" for name, kind in frame.schema.items())
                connection.execute(f"CREATE TABLE {table}({columns})")
                marks = ", ".join("?" * frame.width)
                connection.executemany(f"INSERT INTO {table} VALUES ({marks})", frame.iter_rows())
    finally:
        connection.close()


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    write(temporary)
    temporary.replace(path)


def _iso_dates(column: str, start: date) -> pl.Expr:
    days = pl.col(column) + (start - EPOCH).days
    return days.cast(pl.Int32).cast(pl.Date).dt.strftime("%Y-%m-%d")


def _microseconds(day: date) -> int:
    return (day - EPOCH).days * DAY


def _sigmoid(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))


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
