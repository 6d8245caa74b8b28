"""The CRM of a synthetic world: subscribers, their tags, what they bought.

Belongs here: the four tables and the faults planted in them. Does not belong here: writing the database (`files.py`),
events (`activity.py`).
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from gesture_assets.demo.days import iso_dates
from gesture_assets.demo.intent import LatentState
from gesture_assets.demo.people import People

# Subscribers before any purchase makes one; with the buyers about 60 % of all users. A buyer who had not opted in does
# so on the day of the purchase, never earlier, so being a subscriber says nothing about a purchase still to come.
NATURAL_SUBSCRIBER_SHARE = 0.53
# Subscribers who opted in a second time with the same address in other letters; at least one from 500 subscribers on.
DUPLICATE_EMAIL_RATE = 0.001
OPT_IN_YEARS_DAYS = 730


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


@dataclass(frozen=True)
class CrmTables:
    """The tables by name, in the order in which they are written, and the addresses that opted in twice."""

    tables: dict[str, pl.DataFrame]
    duplicate_emails: int


@dataclass(frozen=True)
class _Members:
    """Who is a subscriber: days of opt-in and of purchase per user, the subscribers, and those who are there twice."""

    opted_in: np.ndarray
    bought: np.ndarray
    users: np.ndarray
    doubles: np.ndarray


def crm_tables(people: People, state: LatentState, start: date, days: int, rng: np.random.Generator) -> CrmTables:
    """Subscribers, Tags, Transactions and Products of a world of `days` days from `start` on."""
    members = _members(people, state, days, rng)
    country = people.profile["country"].str.to_lowercase().replace("gb", "uk")
    is_unknown = pl.Series(rng.random(len(people.persona)) < 0.05)
    country = pl.select(pl.when(is_unknown).then(pl.lit("")).otherwise(country)).to_series()
    subscribers = _subscribers(members, days)
    tables = {
        "Subscribers": _subscriber_rows(people, subscribers, country, start, rng),
        "Tags": _tag_rows(state, members, subscribers, start, days, rng),
        "Transactions": _sale_rows(people, state, members, country, start, days, rng),
        "Products": PRODUCTS,
    }
    return CrmTables(tables, len(members.doubles))


def _members(people: People, state: LatentState, days: int, rng: np.random.Generator) -> _Members:
    users = len(people.persona)
    is_natural = (rng.random(users) < NATURAL_SUBSCRIBER_SHARE) & ~people.is_bot
    opted_in = rng.integers(-OPT_IN_YEARS_DAYS, days, users)
    opted_in = np.where(people.signup_day >= 0, people.signup_day, opted_in)
    opted_in = np.where(is_natural, np.minimum(opted_in, state.bought_on), state.bought_on)
    past = people.is_past_buyer
    opted_in = np.where(past, rng.integers(-OPT_IN_YEARS_DAYS, -30, users), opted_in)
    bought = np.where(past, rng.integers(opted_in.clip(max=-1), 0), state.bought_on)  # never before the opt-in
    who = np.flatnonzero(is_natural | (state.bought_on < days))  # buyers now or before the world
    twice = round(DUPLICATE_EMAIL_RATE * len(who)) or int(len(who) >= 500)
    doubles = rng.choice(who, twice, replace=False)  # the same person once more, under a new mailchimp id
    return _Members(opted_in, bought, who, doubles)


def _subscribers(members: _Members, days: int) -> pl.DataFrame:
    """User, day of opt-in and mailchimp id, in the order of opt-ins."""
    opted_in, who, doubles = members.opted_in, members.users, members.doubles
    subscribers = pl.DataFrame({"user": np.concatenate([who, doubles])}).with_columns(
        is_double=pl.int_range(pl.len()) >= len(who),
        opted_in=np.concatenate([opted_in[who], np.minimum(opted_in[doubles] + 20, days - 1)]),
    )
    return subscribers.sort("opted_in", "user", "is_double").with_row_index("mailchimp_id", 1001)


def _subscriber_rows(
    people: People, subscribers: pl.DataFrame, country: pl.Series, start: date, rng: np.random.Generator
) -> pl.DataFrame:
    users = len(people.persona)
    noisy = np.argsort(np.argsort(np.log(people.activity + 1e-9) + 0.5 * rng.standard_normal(users))) / users
    user = subscribers["user"]
    email = people.profile["email"].gather(user)
    return subscribers.select(
        "mailchimp_id",
        people.names["full_name"].gather(user).alias("user_full_name"),
        pl.when("is_double").then(email.str.to_uppercase() + " ").otherwise(email).alias("user_email"),
        pl.Series("member_rating", 1 + np.searchsorted([0.1, 0.62, 0.8, 0.93], noisy[user.to_numpy()])),
        iso_dates("opted_in", start).alias("optin_time"),
        country.gather(user).alias("country_code"),
    )


def _tag_rows(
    state: LatentState,
    members: _Members,
    subscribers: pl.DataFrame,
    start: date,
    days: int,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Tags. Before the world their number follows who the user is, in the world the intent of the very day.

    So a tag never tells what comes after it: candidates over users and days stay with a chance rising with intent.
    """
    opted_in, who = members.opted_in, members.users
    earlier = who[opted_in[who] < 0]
    years = -opted_in[earlier] / 365
    before = np.repeat(earlier, rng.poisson(1.5 * years * np.exp(np.clip(0.3 * state.static[earlier], -2, 1.5))))
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
    return tagged.select("mailchimp_id", "tag", iso_dates("day", start).alias("tagged_at"))


def _sale_rows(
    people: People,
    state: LatentState,
    members: _Members,
    country: pl.Series,
    start: date,
    days: int,
    rng: np.random.Generator,
) -> pl.DataFrame:
    users = len(people.persona)
    buyers = np.flatnonzero(state.bought_on < days)
    product = np.where(
        people.is_past_buyer,
        rng.integers(1, OLD_PRODUCTS + 1, users),
        rng.integers(OLD_PRODUCTS + 1, PRODUCTS.height + 1, users),
    )
    sales = pl.DataFrame({"day": members.bought[buyers], "user": buyers}).sort("day", "user")
    sales = sales.with_row_index("transaction_id", 1)
    user = sales["user"]
    return sales.select(
        "transaction_id",
        iso_dates("day", start).alias("purchased_at"),
        people.names["full_name"].gather(user).alias("user_full_name"),
        people.profile["email"].gather(user).alias("user_email"),
        country.gather(user).alias("charge_country"),
        pl.Series("product_id", product[user.to_numpy()]),
        PRODUCTS["suggested_price"].gather(product[user.to_numpy()] - 1).alias("amount"),
        pl.lit("USD").alias("currency"),
    )
