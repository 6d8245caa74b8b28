"""Who lives in a synthetic world: profiles, personas, who is a bot, who signs up when, who bought before it.

Belongs here: what is drawn once per user. Does not belong here: what a user wants on a day (`intent.py`) and does
(`activity.py`).
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

# Bots: few users, many events. Half announce themselves in the user agent, half only by behaviour.
BOT_RATE, MIN_BOTS = 0.002, 5
# Users who sign up during the world (they browse anonymously before), and users who bought before it.
JOINER_SHARE = 0.12
PAST_BUYER_SHARE = 0.025
ACTIVITY_SD = 0.3  # of the logarithm of how active somebody is, whatever they want


PERSONAS = ("browser", "researcher", "buyer", "job_seeker", "customer")
PERSONA_SHARES = (0.45, 0.25, 0.18, 0.12)  # nobody starts as a customer: a purchase makes one


# country: (share, minutes from UTC, cities)
COUNTRIES = {
    "US": (0.35, -360, ("Chicago", "Boston", "Austin")), "GB": (0.15, 0, ("London", "Leeds", "Bristol")),
    "DE": (0.12, 60, ("Berlin", "Hamburg", "Munich")), "IN": (0.12, 330, ("Pune", "Mumbai", "Delhi")),
    "FR": (0.08, 60, ("Paris", "Lyon", "Nantes")), "CA": (0.06, -300, ("Toronto", "Montreal", "Ottawa")),
    "BR": (0.06, -180, ("Recife", "Santos", "Curitiba")), "ES": (0.06, 60, ("Madrid", "Sevilla", "Bilbao")),
}  # fmt: skip
GENDERS = pl.Series(["female", "male", "undisclosed"])
FIRST_NAMES = ("Ada", "Bela", "Cleo", "Dara", "Emil", "Fina", "Gero", "Hana", "Ivo", "Jana", "Kofi", "Lena")
MAIL_DOMAINS = ("example.com", "example.org", "mail.example")


@dataclass(frozen=True)
class People:
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


def draw_people(users: int, days: int, rng: np.random.Generator) -> People:
    """`users` people of a world of `days` days."""
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
    return People(
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


def signed_up_to_buy(people: People, bought_on: np.ndarray) -> People:
    """Buying takes an account: whoever buys before the day they would have signed up signs up on the day they buy."""
    signup_day = np.minimum(people.signup_day, bought_on)
    first_day = np.minimum(people.first_day, bought_on)
    return replace(people, signup_day=signup_day, first_day=first_day)
