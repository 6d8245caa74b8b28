"""Landing files and a CRM of any size, written by the engine in bulk.

Belongs here: the benchmarks' data: one Parquet file per day in the native form, one SQLite CRM. Does not belong here:
worlds that mean something (`gesture_assets/demo/world.py`), measuring.

Users are skewed (the busiest hundredth sends a tenth of the events), events come in bursts of a few minutes, and the
faults of a real tracker are in: 0.5 % sent twice, 1 % late by up to three days, 0.3 % malformed. Every value follows
from the numbers of day, visit and event, so the same arguments give the same rows.
"""

import sqlite3
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import duckdb
import polars as pl

from gesture_assets.vocabulary.event_types import EVENT_TYPE_NAMES

LAST = date(2026, 6, 15)  # the night that is measured, in the middle of a month: months' ends have more to do
SUBSCRIBED = 5  # every fifth user is in the CRM
EVENTS_PER_VISIT = 4  # on average; a visit has one to seven
# How often each type is sent, against 1 for those that are not named.
WEIGHTS = {
    "page_view": 60,
    "pricing_page_view": 6,
    "product_view": 16,
    "search": 8,
    "email_open": 12,
    "email_click": 5,
    "video_view": 4,
    "app_open": 6,
    "feature_use": 6,
    "doc_download": 3,
    "social_interaction": 3,
}
SLOTS = [name for name in EVENT_TYPE_NAMES for _ in range(WEIGHTS.get(name, 1))]
OPTIONS = {"parquet": "format parquet, compression lz4, row_group_size 100000", "csv": "format csv, header"}
COUNTRIES = ("US", "GB", "DE", "IN", "FR", "CA", "BR", "ES")
CITIES = ("Chicago", "Leeds", "Berlin", "Pune", "Lyon", "Toronto", "Recife", "Bilbao")  # one a country
AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Safari/604.1",
)


@dataclass(frozen=True)
class Size:
    """A world: `events` in all (about), over `days` days that end with `LAST`, by `users` users."""

    events: int
    users: int
    days: int
    keeps_sessions: bool = False  # whether the source sends sessions of its own

    @property
    def name(self) -> str:
        """What its folder is called."""
        return f"world-{self.events}-{self.users}-{self.days}"

    @property
    def dates(self) -> list[date]:
        """The days, in order."""
        return [LAST - timedelta(days=self.days - 1 - number) for number in range(self.days)]


def write_world(size: Size, data_dir: Path, *, form: str = "parquet") -> None:
    """Write the landing files and the CRM of `size` below `data_dir`; `form` is parquet or csv."""
    con = duckdb.connect()
    landing = data_dir / "landing" / "native"
    landing.mkdir(parents=True, exist_ok=True)
    for day in size.dates:
        con.execute(f"copy ({day_sql(size, day)}) to '{landing / f'events-{day}.{form}'}' ({OPTIONS[form]})")
    con.close()
    write_crm(size, data_dir / "crm_database.sqlite")


def _draw(column: str, salt: int) -> str:
    """A number from 0 to 1 that follows from `column`."""
    return f"((hash({column} * 64 + {salt}) >> 12) / 4503599627370496.0)"


def _one_of(values: tuple[str, ...] | list[str], draw: str) -> str:
    return f"[{', '.join(repr(value) for value in values)}][1 + floor({draw} * {len(values)})::integer]"


def day_sql(size: Size, day: date) -> str:
    """The query of the rows that land on `day`, in the columns of the native source."""
    visits = max(1, size.events // size.days // EVENTS_PER_VISIT)
    first = (day.toordinal() % 4096) * 2**32  # numbers of visits are another day by day
    event = "(visit * 8 + nth)"
    return f"""
    with visits as (
        select {first} + n as visit, floor({size.users} * pow({_draw("visit", 1)}, 2))::bigint as u,
            timestamp '{day}' + to_seconds(floor(86300 * {_draw("visit", 2)})::bigint) as started,
            unnest(range(1 + floor({2 * EVENTS_PER_VISIT - 1} * {_draw("visit", 3)})::integer)) as nth
        from range({visits}) as t(n)
    ), events as (
        select *, {_draw(event, 4)} as fault, least(timestamp '{day}' + interval '86399.9 second',
            started + to_milliseconds(floor(nth * 45000 + 30000 * {_draw(event, 5)})::bigint)) as happened
        from visits
    ), sent as (
        select *, unnest(if(fault between 0.5 and 0.505, [0, 1], [0])) as copy,
            happened - if(fault < 0.01, to_days(1 + floor(3 * {_draw(event, 6)})::integer), interval 0 day) as event_at
        from events
    )
    select 'e' || {event} as event_id,
        if(fault between 0.7 and 0.701 or anonymous, null, 'user_' || lpad(u::varchar, 9, '0')) as user_id,
        if(anonymous or {_draw(event, 7)} < 0.01, 'visitor_' || u, null) as anonymous_id,
        if(fault between 0.71 and 0.711, 'pageveiw', {_one_of(SLOTS, _draw(event, 8))}) as event_type,
        if(fault between 0.72 and 0.721, null, event_at) as event_at,
        happened + to_seconds(copy) as received_at,
        {_one_of(("desktop", "mobile", "tablet"), _draw("u", 9))} as device,
        {_one_of(COUNTRIES, _draw("u", 10))} as country,
        {_one_of(CITIES, _draw("u", 10))} as city,
        {_one_of(("female", "male", "undisclosed"), _draw("u", 11))} as gender,
        {_one_of(AGENTS, _draw("u", 9))} as user_agent,
        {"'s' || visit" if size.keeps_sessions else "null::varchar"} as session_id,
        if({_draw(event, 12)} < 0.03 and not anonymous, 'user' || u || '@example.com', null) as email,
        round(120 * {_draw(event, 13)}, 1) as dwell_seconds,
        floor(100 * {_draw(event, 14)})::integer as scroll_depth_pct,
        if(not anonymous, round(5000 * {_draw("u", 15)}, 2), null) as account_balance_usd
    from (select *, {_draw("visit", 16)} < 0.04 as anonymous from sent)
    order by received_at"""


def write_crm(size: Size, path: Path) -> None:
    """Every fifth user with a rating and three tags; every twentieth of those has bought."""
    path.unlink(missing_ok=True)
    users = pl.DataFrame({"u": range(0, size.users, SUBSCRIBED)}).with_row_index("mailchimp_id", 1001)
    email = pl.format("user{}@example.com", "u")
    name = pl.format("Person {}", "u")
    opted_in = (pl.lit(LAST) - pl.duration(days=5 + pl.col("u") * 7919 % 700)).dt.strftime("%Y-%m-%d")
    country = pl.Series("country_code", ["us", "uk", "de", "fr", ""])
    subscribers = users.select(
        "mailchimp_id",
        name.alias("user_full_name"),
        email.alias("user_email"),
        member_rating=1 + pl.col("u") * 31 % 5,
        optin_time=opted_in,
    )
    subscribers = subscribers.with_columns(country.gather(subscribers["mailchimp_id"].cast(pl.Int64) % len(country)))
    tags = pl.concat(
        [
            users.select(
                "mailchimp_id",
                tag=pl.format("learning_lab_{}", (1 + (pl.col("u") + 7 * n) % 45).cast(pl.String).str.zfill(2)),
                tagged_at=opted_in,
            )
            for n in range(3)
        ]
    )
    sales = (
        users.filter(pl.col("u") % 100 == 0)
        .with_row_index("transaction_id", 1)
        .select(
            "transaction_id",
            opted_in.alias("purchased_at"),
            name.alias("user_full_name"),
            email.alias("user_email"),
            charge_country=pl.lit("us"),
            product_id=pl.lit(1),
        )
    )
    connection = sqlite3.connect(path)
    with connection:
        for table, frame in {"Subscribers": subscribers, "Tags": tags, "Transactions": sales}.items():
            connection.execute(f"create table {table}({', '.join(frame.columns)})")
            connection.executemany(f"insert into {table} values ({', '.join('?' * frame.width)})", frame.iter_rows())
    connection.close()
