"""Labels: the first purchase within the horizon, known late or early, and why somebody is left out."""

from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from gesture_assets.events.tables import DAILY_ACTIVITY, IDENTITY_LINKS
from gesture_assets.models import labels as room
from gesture_assets.rules.rule_set import Suppression
from gesture_assets.rules.scorer import suppressions
from gesture_assets.subscribers.tables import validated_subscribers
from gesture_assets_tests.events_by_hand import collected, lazy, schema_of, table

Rows = list[dict[str, Any]]

DAY = date(2026, 3, 9)
HORIZON = 30
LATER = DAY + timedelta(days=HORIZON)
SUBSCRIBERS = validated_subscribers(())
FEATURES = {
    "as_of_date": pl.Date,
    "user_id": pl.String,
    "mailchimp_id": pl.String,
    "made_purchase": pl.Int16,
    "event_count": pl.Int32,
    "purchase_count": pl.Int32,
    "signup_count": pl.Int32,
}


def known(user_id: str = "u", day: date = DAY, **values: Any) -> dict[str, Any]:
    """A row of user_features: somebody with events and without purchases."""
    return {"as_of_date": day, "user_id": user_id, "event_count": 3, "purchase_count": 0, "signup_count": 0, **values}


def did(days: int, user_id: str = "u", *, known_after: int = 0, **values: Any) -> dict[str, Any]:
    """A day of activity, so many days after the as-of day, by default with a purchase."""
    on = DAY + timedelta(days=days)
    return {
        "as_of_date": on + timedelta(days=known_after),
        "activity_date": on,
        "user_id": user_id,
        "is_bot": False,
        "purchase_count": 1,
        "signup_count": 0,
        "event_count": 1,
        "last_event_at": datetime(on.year, on.month, on.day, 12),
        **values,
    }


def subscriber(mailchimp_id: int, day: date = DAY, made_purchase: int | None = 0) -> dict[str, Any]:
    return {
        "as_of_date": day,
        "mailchimp_id": str(mailchimp_id),
        "email_key": f"k{mailchimp_id}",
        "made_purchase": made_purchase,
    }


def link(anonymous_user_id: str, user_id: str, day: date) -> dict[str, Any]:
    return {
        "as_of_date": day,
        "anonymous_user_id": anonymous_user_id,
        "user_id": user_id,
        "linked_at": datetime(day.year, day.month, day.day, 9),
    }


def address(user_id: str, mailchimp_id: int, day: date) -> dict[str, Any]:
    return {**link(f"email:{user_id}", user_id, day), "email_key": f"k{mailchimp_id}"}


def labelled(
    features: Rows,
    activity: Rows = (),
    links: Rows = (),
    subscribers: Rows = (),
    *,  # type: ignore[assignment]
    known_until: date = LATER,
    **arguments: Any,
) -> pl.DataFrame:
    frame = room.labels(
        lazy(table(features, FEATURES)),
        lazy(table(activity, schema_of(DAILY_ACTIVITY))),
        lazy(table(links, schema_of(IDENTITY_LINKS))),
        lazy(table(subscribers, schema_of(SUBSCRIBERS))),
        lazy(pl.DataFrame({"as_of_date": [known_until]})),
        **arguments,
    )
    return collected(frame).sort("as_of_date", "user_id")


def one(*args: Any, **arguments: Any) -> dict[str, Any]:
    (row,) = labelled(*args, **arguments).to_dicts()
    return row


@pytest.mark.parametrize(
    ("days", "label"), [(1, 1), (HORIZON, 1), (HORIZON + 1, 0)], ids=["the next day", "the last day", "a day too late"]
)
def test_a_label_is_1_when_the_first_purchase_falls_into_the_horizon(days: int, label: int) -> None:
    row = one([known()], [did(days)], known_until=LATER + timedelta(days=9))
    assert row["bought_on"] == (DAY + timedelta(days=days) if label else None)
    assert (row["label"], row["is_eligible"], row["exclusion_reason"]) == (label, True, None)
    assert (row["matures_on"], row["person_id"]) == (LATER, "u")


def test_nobody_who_bought_nothing_is_a_buyer() -> None:
    assert one([known()], [did(3, purchase_count=0)])["label"] == 0


def test_a_user_leaves_after_buying_even_when_buying_again() -> None:
    row = one([known(purchase_count=1)], [did(0), did(5)])
    assert (row["label"], row["is_eligible"], row["exclusion_reason"]) == (0, False, "already_converted")


def test_a_purchase_before_the_day_that_arrived_later_still_makes_a_past_buyer() -> None:
    row = one([known()], [did(-1, known_after=4)])
    assert (row["label"], row["exclusion_reason"]) == (0, "already_converted")


def test_a_past_buyer_of_the_crm_has_converted_before() -> None:
    row = one([known(mailchimp_id="7", made_purchase=1)], [did(3)], subscribers=[subscriber(7, made_purchase=1)])
    assert row["exclusion_reason"] == "already_converted"


UNDATED = (None, False, "undated_purchase")


@pytest.mark.parametrize(
    ("on_the_day", "by_then", "did_buy", "expected"),
    [
        (None, None, False, UNDATED),
        (None, 1, False, UNDATED),
        (None, None, True, UNDATED),
        (0, None, False, UNDATED),
        (0, None, True, (1, True, None)),
        (1, None, False, (0, False, "already_converted")),
        (0, 0, False, (0, True, None)),
    ],
)
def test_a_buyer_of_whom_nobody_knows_when_is_unknown_and_no_negative(
    on_the_day: int | None, by_then: int | None, did_buy: bool, expected: tuple[int | None, bool, str | None]
) -> None:
    crm = [subscriber(7, made_purchase=on_the_day), subscriber(7, LATER, made_purchase=by_then)]
    user = known(mailchimp_id="7", made_purchase=on_the_day)
    activity = [did(0, email_key="k7", purchase_count=0), did(5, purchase_count=int(did_buy))]
    row = one([user], activity, subscribers=crm)
    assert (row["label"], row["is_eligible"], row["exclusion_reason"]) == expected
    assert one([user], activity, subscribers=crm, conversion="signup")["exclusion_reason"] is None


def test_until_the_horizon_is_over_there_is_no_label_not_even_for_buyers() -> None:
    rows = labelled([known("buyer"), known("waiter")], [did(2, "buyer")], known_until=LATER - timedelta(days=1))
    assert rows["label"].to_list() == [None, None]
    assert rows["is_mature"].to_list() == [False, False]
    assert rows["exclusion_reason"].to_list() == ["not_mature"] * 2


def test_a_purchase_counts_when_it_was_received_by_the_labelling_and_not_later() -> None:
    purchase = did(HORIZON, known_after=2)
    assert one([known()], [purchase], known_until=LATER + timedelta(days=1))["label"] == 0
    assert one([known()], [purchase], known_until=LATER + timedelta(days=2))["label"] == 1


def test_a_visitor_who_signed_up_later_is_labelled_as_the_user_they_became() -> None:
    links = [link("anon:x", "u", DAY + timedelta(days=4))]
    activity = [did(0, "anon:x", purchase_count=0), did(4, "u")]
    row = one([known("anon:x")], activity, links)
    assert (row["user_id"], row["person_id"], row["label"]) == ("anon:x", "u", 1)
    before = one([known("anon:x")], activity, [link("anon:x", "u", LATER + timedelta(days=1))])
    assert (before["person_id"], before["label"]) == ("anon:x", 0)


def test_two_ids_of_one_person_are_one_person() -> None:
    rows = labelled([known("anon:x"), known("u")], [did(4)], [link("anon:x", "u", LATER)])
    assert rows["person_id"].to_list() == ["u", "u"]
    assert rows["label"].to_list() == [1, 1]


def test_a_subscriber_without_events_is_left_out_unless_wished_otherwise() -> None:
    alone = known("subscriber:7", mailchimp_id="7", event_count=0)
    assert one([alone], subscribers=[subscriber(7)])["exclusion_reason"] == "no_activity"
    assert one([alone], subscribers=[subscriber(7)], needs_activity=False)["is_eligible"]


def test_a_subscriber_who_comes_later_under_the_same_address_is_that_user() -> None:
    alone = known("subscriber:7", mailchimp_id="7", event_count=0)
    row = one([alone], [did(4, "u", email_key="k7")], subscribers=[subscriber(7)], needs_activity=False)
    assert (row["user_id"], row["person_id"], row["label"]) == ("subscriber:7", "u", 1)


def test_a_purchase_that_only_the_crm_knows_lies_between_the_day_and_its_maturity() -> None:
    crm = [subscriber(7), subscriber(7, LATER, made_purchase=1)]
    user = known(mailchimp_id="7")
    seen = did(0, email_key="k7", purchase_count=0)
    assert one([user], [seen], subscribers=crm)["label"] == 1
    assert one([user], [seen], subscribers=crm[:1])["label"] == 0
    assert one([user], [seen], subscribers=crm, conversion="signup")["label"] == 0


def test_an_address_that_only_a_call_gave_is_as_good_as_one_in_an_event() -> None:
    crm = [subscriber(7), subscriber(7, LATER, made_purchase=1)]
    seen = did(0, purchase_count=0)
    assert one([known(mailchimp_id="7")], [seen], subscribers=crm, links=[address("u", 7, DAY)])["label"] == 1
    alone = known("subscriber:7", mailchimp_id="7", event_count=0)
    row = one([alone], [did(4)], subscribers=crm[:1], links=[address("u", 7, LATER)], needs_activity=False)
    assert (row["user_id"], row["person_id"], row["label"]) == ("subscriber:7", "u", 1)


def test_the_conversion_is_the_event_type_that_was_asked_for() -> None:
    activity = [did(3, purchase_count=0, signup_count=1)]
    assert one([known()], activity, conversion="signup")["label"] == 1
    assert one([known()], activity)["label"] == 0
    assert one([known(signup_count=2)], activity, conversion="signup")["exclusion_reason"] == "already_converted"


def test_bots_are_left_out_and_their_purchases_are_none() -> None:
    activity = [did(0, "bot", is_bot=True), did(3, "half", is_bot=True), did(0, "half", purchase_count=0)]
    rows = {row["user_id"]: row for row in labelled([known("bot"), known("half")], activity).to_dicts()}
    assert rows["bot"]["exclusion_reason"] == "bot"
    assert (rows["half"]["exclusion_reason"], rows["half"]["label"]) == (None, 0)
    counted = labelled([known("half")], activity, include_bots=True).to_dicts()
    assert counted[0]["label"] == 1


def test_the_suppressed_are_left_out_before_anything_else() -> None:
    employee = known("e", purchase_count=1)
    listed = table(
        [{"user_id": "e", "reason": "works here"}],
        {"user_id": pl.String, "mailchimp_id": pl.String, "reason": pl.String, "since": pl.Date, "until": pl.Date},
    )
    suppressed = suppressions(lazy(table([employee], FEATURES)), (), lazy(listed))
    assert one([employee], suppressed=suppressed)["exclusion_reason"] == "suppressed"
    spared = suppressions(lazy(table([employee], FEATURES)), [Suppression(feature="signup_count", reason="signed up")])
    assert one([employee], suppressed=spared)["exclusion_reason"] == "already_converted"


def test_every_row_of_the_features_has_one_label() -> None:
    features = [known(user, day) for user in ("a", "b", "anon:x") for day in (DAY, DAY + timedelta(days=14))]
    rows = labelled(features, [did(2, "a"), did(3, "a"), did(20, "b")], [link("anon:x", "a", DAY)])
    assert rows.select("as_of_date", "user_id").rows() == sorted(
        (row["as_of_date"], row["user_id"]) for row in features
    )
    assert tuple(sorted(rows.columns)) == tuple(sorted(room.COLUMNS))


def test_the_label_of_a_day_is_the_same_alone_and_among_others() -> None:
    second = DAY + timedelta(days=14)
    features = [known("a"), known("b"), known("a", second), known("b", second)]
    activity = [did(2, "a"), did(20, "b")]
    until = LATER + timedelta(days=14)
    together = labelled(features, activity, known_until=until)
    alone = [labelled([row], activity, known_until=until) for row in features]
    assert together.equals(pl.concat(alone).sort("as_of_date", "user_id"))


def test_the_reasons_of_the_night_are_those_known_on_its_evening() -> None:
    features = [
        known("fresh"),
        known("buyer", purchase_count=1),
        known("old", made_purchase=1),
        known("undated", mailchimp_id="8"),
        known("dated", mailchimp_id="9", made_purchase=0),
        known("subscriber:7", event_count=0),
        known("bot"),
        known("gone"),
    ]
    suppressed = table(
        [{"as_of_date": DAY, "user_id": "gone", "reason": "asked to"}],
        {"as_of_date": pl.Date, "user_id": pl.String, "reason": pl.String},
    )
    bots = room.only_bots(
        lazy(
            table(
                [did(0, "bot", is_bot=True), did(0, "fresh", is_bot=True), did(1, "fresh")], schema_of(DAILY_ACTIVITY)
            )
        )
    )
    reasons = collected(room.exclusions(lazy(table(features, FEATURES)), suppressed=lazy(suppressed), bots=bots))
    assert dict(reasons.select("user_id", "reason").iter_rows()) == {
        "fresh": None,
        "buyer": "already_converted",
        "old": "already_converted",
        "undated": "undated_purchase",
        "dated": None,
        "subscriber:7": "no_activity",
        "bot": "bot",
        "gone": "suppressed",
    }
    assert set(reasons["reason"].drop_nulls()) <= set(room.REASONS)
