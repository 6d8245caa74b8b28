"""Four days of a world small enough to read: late and repeated events, a visit across midnight, a visitor who signs up.

Belongs here: writing its files. Does not belong here: expectations (the tests), running nights (`running.py`).
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

FIRST = date(2026, 3, 2)
DAYS = tuple(FIRST + timedelta(days=n) for n in range(4))
HEADER = "event_id,user_id,anonymous_id,event_type,event_at,received_at,email,country"
USERS = ("ada", "bob", "cyd", "dee", "eli")
TYPES = ("page_view", "pricing_page_view", "search", "page_view", "demo_request_click")


def row(
    event_id: str, user: str, kind: str, at: str, *, received: str | None = None, anonymous: str = "", email: str = ""
) -> str:
    """One line of a landing file; `received` defaults to the moment of the event."""
    return f"{event_id},{user},{anonymous},{kind},{at},{received or at},{email},GB"


def rows_of(number: int, day: date) -> list[str]:
    """What landed on a day: five events of each user, and the day's peculiarity."""
    rows = [
        row(f"{day}-{user}-{n}", user, TYPES[(n + place) % 5], f"{day}T{9 + n:02d}:{10 * place:02d}:00Z")
        for place, user in enumerate(USERS[: 3 + number])
        for n in range(5)
    ]
    if number == 0:
        rows.append(row("midnight-1", "ada", "page_view", f"{day}T23:50:00Z"))
        rows.append(row("unknown-1", "", "page_view", f"{day}T12:00:00Z", anonymous="visitor"))
    if number == 1:
        rows.append(row("midnight-2", "ada", "pricing_page_view", f"{day}T00:05:00Z"))
        again = f"{DAYS[0]}T09:00:00Z"  # sent again a day later
        rows.append(row(f"{DAYS[0]}-ada-0", "ada", "page_view", again, received=f"{day}T09:00:00Z"))
        rows.append(rows[0])  # and twice in this one
    if number == 2:
        rows.append(row("late-1", "bob", "doc_download", f"{DAYS[0]}T12:00:00Z", received=f"{day}T08:00:00Z"))
        rows.append(row("known-1", "ada", "signup", f"{day}T15:00:00Z", anonymous="visitor", email="ada@example.com"))
    if number == 3:
        rows.append(row("no-time", "bob", "page_view", "yesterday", received=f"{day}T10:00:00Z"))
    return rows


def land(data_dir: Path, *, days: tuple[date, ...] = DAYS) -> None:
    """Write the files of `days`."""
    folder = data_dir / "landing" / "native"
    folder.mkdir(parents=True, exist_ok=True)
    for number, day in enumerate(DAYS):
        if day in days:
            (folder / f"events-{day}.csv").write_text("\n".join([HEADER, *rows_of(number, day)]) + "\n")


SUBSCRIBERS = [
    (1, "Ada", "ada@example.com", 5, "2025-11-01 10:00:00", "GB"),
    (2, "Bob", "bob@example.com", 3, "2026-03-03 10:00:00", "uk"),
    (3, "Fay", "fay@example.org", 1, "2026-01-15 10:00:00", "FR"),
    (4, "Gus", "gus@example.org", 2, "2025-06-15 10:00:00", None),
]
TAGS = [(1, "webinar_01"), (1, "something else"), (3, "aws_course")]
TRANSACTIONS = [(1, "2025-12-24 12:00:00", "Ada", "ada@example.com", "GB", 2)]


def write_crm(
    path: Path,
    subscribers: Iterable[tuple[object, ...]] = SUBSCRIBERS,
    tags: Iterable[tuple[object, ...]] = TAGS,
    transactions: Iterable[tuple[object, ...]] = TRANSACTIONS,
    *,
    dated_tags: bool = False,
) -> None:
    """Write a CRM database of document 003's shape at `path`, from rows; one that is there is replaced."""
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as con, con:
        con.execute(
            "create table Subscribers(mailchimp_id integer, user_full_name text, user_email text, "
            "member_rating integer, optin_time text, country_code text)"
        )
        con.execute(f"create table Tags(mailchimp_id integer, tag text{', tagged_at text' if dated_tags else ''})")
        con.execute(
            "create table Transactions(transaction_id integer, purchased_at text, user_full_name text, "
            "user_email text, charge_country text, product_id integer)"
        )
        con.executemany("insert into Subscribers values (?, ?, ?, ?, ?, ?)", subscribers)
        con.executemany(f"insert into Tags values (?, ?{', ?' if dated_tags else ''})", tags)
        con.executemany("insert into Transactions values (?, ?, ?, ?, ?, ?)", transactions)
