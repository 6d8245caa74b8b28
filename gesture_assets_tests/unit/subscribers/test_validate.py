"""Subscribers as of a day: no one twice, nothing from the future, and the unknown is not zero."""

from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from gesture_assets.subscribers.tables import QUARANTINED_SUBSCRIBERS, validated_subscribers
from gesture_assets.subscribers.validate import subscribers_as_of
from gesture_assets_tests.events_by_hand import MONDAY, TUESDAY, WEDNESDAY, collected, lazy, table

NAMES = ("Jumpstart", "webinar-01")
TAG_COLUMNS = ("tag_count", "tag_jumpstart", "tag_webinar_01", "tag_other")
JANUARY = date(2026, 1, 5)

SUBSCRIBER = {
    "mailchimp_id": pl.String,
    "email_key": pl.String,
    "email_domain": pl.String,
    "is_email_well_formed": pl.Boolean,
    "member_rating": pl.Int16,
    "optin_date": pl.Date,
    "country": pl.String,
    "masked_row": pl.String,
    "occurrence": pl.UInt32,
}
TAG = {"mailchimp_id": pl.String, "tag": pl.String, "tagged_date": pl.Date}
PURCHASE = {"mailchimp_id": pl.String, "email_key": pl.String, "purchased_date": pl.Date, "amount": pl.Decimal(18, 2)}
DAYS = {"as_of_date": pl.Date, "snapshot_date": pl.Date, "is_rebuilt": pl.Boolean}


def subscriber(mailchimp_id: object, email_key: str | None, optin: date | None = JANUARY) -> dict[str, Any]:
    return {
        "mailchimp_id": mailchimp_id if mailchimp_id is None else str(mailchimp_id),
        "email_key": email_key,
        "optin_date": optin,
        "is_email_well_formed": True,
        "masked_row": "{}",
    }


def tag(mailchimp_id: int, name: str | None, tagged: date | None = None) -> dict[str, Any]:
    return {"mailchimp_id": str(mailchimp_id), "tag": name, "tagged_date": tagged}


def bought(email_key: str | None, day: date | None, amount: str | None = None, by: int | None = None) -> dict[str, Any]:
    """A purchase under an address, and `by` somebody's id."""
    who = None if by is None else str(by)
    return {"mailchimp_id": who, "email_key": email_key, "purchased_date": day, "amount": amount and Decimal(amount)}


def as_of(
    *days: date,
    subscribers: list[dict],
    tags: list[dict] = (),
    purchases: list[dict] = (),  # type: ignore[assignment]
    dated: bool = False,
    rebuilt: bool = False,
    has_tags: bool = True,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    when = [{"as_of_date": day, "snapshot_date": WEDNESDAY, "is_rebuilt": rebuilt} for day in days or (TUESDAY,)]
    valid, aside = subscribers_as_of(
        lazy(table([{**row, "occurrence": place} for place, row in enumerate(subscribers)], SUBSCRIBER)),
        lazy(table(tags, TAG)),
        lazy(table(purchases, PURCHASE)),
        lazy(table(when, DAYS)),
        has_dated_tags=dated,
        tag_names=NAMES,
        has_tags=has_tags,
    )
    return (
        collected(valid, validated_subscribers(NAMES)).sort("as_of_date", "mailchimp_id"),
        collected(aside, QUARANTINED_SUBSCRIBERS).sort("as_of_date", "place"),
    )


def test_of_two_with_one_address_the_first_to_opt_in_is_kept() -> None:
    valid, aside = as_of(
        subscribers=[subscriber(1, "k", date(2026, 2, 1)), subscriber(2, "k", JANUARY), subscriber(3, "l")],
        purchases=[bought("k", JANUARY)],
    )
    assert valid["mailchimp_id"].to_list() == ["2", "3"]
    columns = ("mailchimp_id", "reason", "check_name", "kept_mailchimp_id", "made_purchase")
    assert aside.select(columns).rows() == [("1", "duplicate_email", "no_email_occurs_twice", "2", 1)]


def test_of_two_who_opted_in_at_once_the_first_in_the_crm_is_kept() -> None:
    valid, aside = as_of(subscribers=[subscriber(10, "k"), subscriber(9, "k"), subscriber("a1", "k")])
    assert (valid["mailchimp_id"].to_list(), aside["mailchimp_id"].to_list()) == (["10"], ["9", "a1"])
    valid, aside = as_of(subscribers=[subscriber(1, "z"), subscriber(1, "a"), subscriber(1, "b")])
    assert (valid["email_key"].to_list(), aside["place"].to_list()) == (["z"], [1, 2])


def test_a_purchase_by_id_is_that_of_the_row_that_is_kept() -> None:
    people = [subscriber(1, "k", TUESDAY), subscriber(1, "l", MONDAY), subscriber(2, "z"), subscriber(2, "a")]
    purchases = [bought(None, MONDAY, by=1), bought("elsewhere", MONDAY, by=2), bought("l", MONDAY, by=9)]
    valid, aside = as_of(MONDAY, TUESDAY, subscribers=people, purchases=purchases)
    assert valid.select("mailchimp_id", "email_key", "purchase_count").rows() == [("1", "l", 2), ("2", "z", 1)] * 2
    assert aside.select("as_of_date", "made_purchase").rows() == [(MONDAY, 0), (TUESDAY, 0), (TUESDAY, 0)]


def test_a_purchase_by_the_id_of_a_duplicate_is_that_of_whom_is_kept_for_the_address() -> None:
    people = [subscriber(1, "k"), subscriber(2, "k", MONDAY), subscriber(3, None), subscriber(4, "odd")]
    people[3] |= {"is_email_well_formed": False}
    purchases = [bought(None, MONDAY, by=2), bought("k", None, by=3), bought(None, MONDAY, by=4)]
    valid, aside = as_of(subscribers=people, purchases=purchases)
    assert valid.select("mailchimp_id", "purchase_count").rows() == [("1", 1)]
    assert dict(aside.select("mailchimp_id", "made_purchase").rows()) == {"2": 1, "3": 0, "4": 1}


def test_a_duplicate_is_none_before_the_other_opted_in() -> None:
    valid, aside = as_of(MONDAY, TUESDAY, subscribers=[subscriber(2, "k", MONDAY), subscriber(1, "k", TUESDAY)])
    assert valid.select("as_of_date", "mailchimp_id").rows() == [(MONDAY, "2"), (TUESDAY, "2")]
    assert aside.select("as_of_date", "mailchimp_id").rows() == [(TUESDAY, "1")]


def test_who_has_no_address_is_set_aside_and_nobody_s_duplicate() -> None:
    nobody = {"is_email_well_formed": False}
    people = [subscriber(1, None) | nobody, subscriber(2, None) | nobody, subscriber(3, "k")]
    valid, aside = as_of(subscribers=people)
    assert valid["mailchimp_id"].to_list() == ["3"]
    assert aside.select("mailchimp_id", "reason", "check_name", "kept_mailchimp_id").rows() == [
        ("1", "missing_email", "every_subscriber_has_an_email", None),
        ("2", "missing_email", "every_subscriber_has_an_email", None),
    ]


@pytest.mark.parametrize("is_well_formed", [False, None])
def test_a_malformed_address_sets_its_own_row_aside(is_well_formed: bool | None) -> None:
    odd = {"is_email_well_formed": is_well_formed}
    people = [subscriber(1, "odd") | odd, subscriber(2, "odd") | odd, subscriber(3, "k"), subscriber(4, "k", MONDAY)]
    valid, aside = as_of(subscribers=people, purchases=[bought("odd", JANUARY)])
    assert valid["mailchimp_id"].to_list() == ["3"]
    assert aside.select("mailchimp_id", "reason", "check_name", "kept_mailchimp_id", "made_purchase").rows() == [
        ("1", "malformed_email", "every_email_is_well_formed", None, 1),
        ("2", "malformed_email", "every_email_is_well_formed", None, 1),
        ("4", "duplicate_email", "no_email_occurs_twice", "3", 0),
    ]


def test_of_one_id_twice_the_first_to_opt_in_is_kept() -> None:
    people = [subscriber(1, "k", MONDAY), subscriber(1, "l"), subscriber(1, "l", MONDAY), subscriber(2, "m")]
    valid, aside = as_of(subscribers=people)
    assert valid.select("mailchimp_id", "email_key").rows() == [("1", "l"), ("2", "m")]
    columns = ("place", "mailchimp_id", "reason", "check_name", "kept_mailchimp_id")
    again = ("1", "duplicate_id", "no_mailchimp_id_occurs_twice", "1")
    assert aside.select(columns).rows() == [(1, *again), (2, *again)]


def test_who_is_set_aside_for_an_id_is_nobody_s_duplicate() -> None:
    valid, aside = as_of(subscribers=[subscriber(1, "k"), subscriber(1, "l", MONDAY), subscriber(2, "l", TUESDAY)])
    assert (valid["mailchimp_id"].to_list(), aside["reason"].to_list()) == (["1", "2"], ["duplicate_id"])


@pytest.mark.parametrize("ids", [(None, 1), (1, None), (None, None)])
def test_a_row_without_id_is_set_aside_and_nobody_s_duplicate(ids: tuple[int | None, int | None]) -> None:
    valid, aside = as_of(subscribers=[subscriber(ids[0], "k"), subscriber(ids[1], "k", MONDAY), subscriber(7, "l")])
    assert valid["mailchimp_id"].to_list() == sorted({"7", *(str(one) for one in ids if one)})
    missing = (None, "missing_id", "every_subscriber_has_an_id", None)
    found = aside.select("mailchimp_id", "reason", "check_name", "kept_mailchimp_id").rows()
    assert found == [missing] * ids.count(None)
    assert aside["place"].to_list() == list(range(1, 1 + len(found)))


def test_revenue_is_what_is_known_of_the_purchases_up_to_the_day() -> None:
    purchases = [bought("k", MONDAY, "10.50"), bought("k", TUESDAY, "0.05"), bought("k", MONDAY, None)]
    purchases += [bought("k", None, "7"), bought("l", MONDAY, None)]
    people = [subscriber(1, "k"), subscriber(2, "l"), subscriber(3, "m")]
    valid, _ = as_of(MONDAY, TUESDAY, subscribers=people, purchases=purchases)
    ten, cents = Decimal("10.50"), Decimal("10.55")
    assert valid["revenue"].to_list() == [ten, None, None, cents, None, None]


def test_tags_are_unknown_where_a_crm_has_none() -> None:
    valid, _ = as_of(subscribers=[subscriber(1, "k")], has_tags=False)
    assert valid.select(TAG_COLUMNS).rows() == [(None,) * 4]


def test_nobody_is_known_before_opting_in() -> None:
    people = [subscriber(1, "k", MONDAY), subscriber(2, "l", TUESDAY), subscriber(3, "m", None)]
    valid, _ = as_of(MONDAY, TUESDAY, subscribers=people)
    assert valid.select("as_of_date", "mailchimp_id").rows() == [
        (MONDAY, "1"),
        (MONDAY, "3"),
        (TUESDAY, "1"),
        (TUESDAY, "2"),
        (TUESDAY, "3"),
    ]


def test_purchases_count_up_to_the_day() -> None:
    purchases = [bought("k", MONDAY), bought("k", TUESDAY), bought("x", MONDAY)]
    purchases += [bought(None, MONDAY), bought(None, None)]
    valid, _ = as_of(
        JANUARY,
        MONDAY,
        TUESDAY,
        subscribers=[subscriber(1, "k"), subscriber(2, "l"), subscriber(3, None)],
        purchases=purchases,
    )
    assert valid.filter(pl.col("mailchimp_id") == "1").select("made_purchase", "purchase_count").rows() == [
        (0, 0),
        (1, 1),
        (1, 2),
    ]
    assert set(valid.filter(pl.col("mailchimp_id") > "1")["made_purchase"]) == {0}


def test_whether_somebody_had_bought_is_unknown_where_no_purchase_has_a_date() -> None:
    people = [subscriber(number, key) for number, key in ((1, "k"), (2, "l"), (3, "m"), (4, "n"))]
    purchases = [bought("k", None), bought("k", None), bought("l", None), bought("l", TUESDAY), bought("m", TUESDAY)]
    valid, _ = as_of(MONDAY, TUESDAY, subscribers=people, purchases=purchases)
    assert valid.select("mailchimp_id", "made_purchase", "purchase_count").rows() == [
        *[("1", None, 0), ("2", None, 0), ("3", 0, 0), ("4", 0, 0)],
        *[("1", None, 0), ("2", 1, 1), ("3", 1, 1), ("4", 0, 0)],
    ]


def test_tags_are_counted_once_and_a_new_one_lands_in_other() -> None:
    tags = [tag(1, name) for name in ("jumpstart", "jumpstart", "webinar-01", "brand_new", None)] + [tag(9, "x")]
    valid, _ = as_of(subscribers=[subscriber(1, "k"), subscriber(2, "l")], tags=tags)
    assert valid.select(TAG_COLUMNS).rows() == [(3, 1, 1, 1), (0, 0, 0, 0)]
    assert valid.columns == as_of(subscribers=[])[0].columns, "the schema stays"


def test_tags_without_a_date_are_unknown_on_a_rebuilt_day() -> None:
    people, tags = [subscriber(1, "k"), subscriber(2, "l")], [tag(1, "jumpstart")]
    valid, _ = as_of(MONDAY, subscribers=people, tags=tags, rebuilt=True)
    assert valid.select(TAG_COLUMNS).rows() == [(None,) * 4] * 2
    assert valid["is_rebuilt"].to_list() == [True, True]


def test_a_rating_and_a_country_are_unknown_on_a_rebuilt_day() -> None:
    people = [subscriber(n, f"k{n}") | {"member_rating": 4, "country": "DE"} for n in (1, 2)]
    for is_rebuilt, known in ((False, (4, "DE")), (True, (None, None))):
        valid, _ = as_of(MONDAY, subscribers=people, rebuilt=is_rebuilt)
        assert valid.select("member_rating", "country").rows() == [known] * 2


def test_tags_with_a_date_are_known_on_every_day() -> None:
    tags = [tag(1, "jumpstart", MONDAY), tag(1, "other", TUESDAY), tag(1, "undated", None)]
    valid, _ = as_of(JANUARY, MONDAY, TUESDAY, subscribers=[subscriber(1, "k")], tags=tags, dated=True, rebuilt=True)
    assert valid.select(TAG_COLUMNS).rows() == [(0, 0, 0, 0), (1, 1, 0, 0), (2, 1, 0, 1)]


def test_days_at_once_are_what_each_day_gives_alone() -> None:
    world: dict[str, Any] = {
        "subscribers": [subscriber(1, "k", MONDAY), subscriber(2, "k", TUESDAY), subscriber(3, "l")],
        "tags": [tag(1, "jumpstart"), tag(3, "x")],
        "purchases": [bought("k", TUESDAY), bought("l", JANUARY)],
    }
    at_once = as_of(MONDAY, TUESDAY, **world)
    for n in (0, 1):
        assert at_once[n].equals(pl.concat([as_of(day, **world)[n] for day in (MONDAY, TUESDAY)]))
