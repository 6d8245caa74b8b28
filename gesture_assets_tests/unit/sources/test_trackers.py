"""Exports of trackers, in the form that each documents: events in our words, and who a visitor turned out to be."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import pytest

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.events import accept
from gesture_assets.events.tables import IGNORED
from gesture_assets.sources.description import load_descriptions
from gesture_assets.sources.landing import find_files, open_file
from gesture_assets.sources.redaction import mask_refused_rows
from gesture_assets_tests.conftest import NOW

Load = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def load(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> Iterator[Load]:
    """The rows of a file of `source`, in our words, in its order; written as JSON lines, or as `form` says."""
    connection.execute(f"attach '{tmp_path / 'x.duckdb'}' as scratch")

    def loaded(source: str, *rows: dict[str, Any], form: str = "jsonl") -> list[dict[str, Any]]:
        folder = tmp_path / "landing" / source
        folder.mkdir(parents=True, exist_ok=True)
        lines = tmp_path / "lines.jsonl"
        lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
        path = folder / f"a.{form}"
        if form == "jsonl":
            lines.rename(path)
        else:
            options = {"csv": "format csv, header", "parquet": "format parquet"}[form]
            read = f"read_json('{lines}', format = 'newline_delimited', convert_strings_to_integers = false)"
            connection.execute(f"copy (from {read}) to '{path}' ({options})")
        nobody = tmp_path / "sources"
        (file,) = find_files(tmp_path / "landing", load_descriptions(nobody), nobody)
        opened = open_file(connection, file, table="scratch.main.read", key="a key", indexed_at=NOW)
        shown = f"select filing_day as {PARTITION}, * exclude (filing_day) from {opened.sql}"
        connection.execute(f"create or replace table landed as {shown}")
        mask_refused_rows(connection, "landed")
        found = connection.execute("from landed order by landing_line")
        names = [column[0] for column in found.description or ()]
        path.unlink()
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    yield loaded
    connection.execute("detach scratch")


@pytest.fixture
def links(connection: duckdb.DuckDBPyConnection) -> Callable[[], list[tuple]]:
    """What the rows that were loaded last say of visitors, as a night puts it together."""

    def told() -> list[tuple]:
        landed = nw.from_native(connection.sql("from landed"))
        shown = accept.identity_links(accept.accepted(landed), accept.identity_calls(landed))
        return sorted(shown.select("anonymous_user_id", "user_id").collect("polars").to_native().rows())

    return told


def seen(rows: list[dict[str, Any]], *names: str) -> list[tuple]:
    return [tuple(row[name] for name in names) for row in rows]


CAMPAIGN = ("campaign", "campaign_source", "campaign_medium")


@pytest.mark.parametrize("source", ["segment", "rudderstack"])
def test_segment_and_rudderstack_calls(load: Load, links: Callable, source: str) -> None:
    usual = {
        "anonymousId": "anon-1",
        "timestamp": "2026-03-09T10:00:00.000Z",
        "receivedAt": "2026-03-09T10:00:02.000Z",
        "context": {"campaign": {"name": "Spring", "source": "Google", "medium": "cpc"}, "userAgent": "Firefox/140"},
    }
    rows = load(
        source,
        {**usual, "messageId": "m1", "type": "page", "name": "Home", "properties": {"path": "/"}},
        {**usual, "messageId": "m2", "type": "page", "properties": {"path": "/pricing/teams"}},
        {**usual, "messageId": "m3", "type": "track", "event": "Order Completed", "userId": "u1"},
        {**usual, "messageId": "m4", "type": "identify", "userId": "u1", "traits": {"email": "ann@b.example"}},
        {**usual, "messageId": "m5", "type": "alias", "anonymousId": None, "previousId": "anon-2", "userId": "u2"},
        {**usual, "messageId": "m6", "type": "group", "userId": "u1", "groupId": "g"},
        {**usual, "messageId": "m7", "type": "track", "event": "Nobody Mapped Me", "userId": "u1"},
    )
    assert seen(rows, "event_type", "event_name", "reason") == [
        ("page_view", "page", None),
        ("pricing_page_view", "page", None),
        ("purchase", "order completed", None),
        (None, "identify", IGNORED),
        (None, "alias", IGNORED),
        (None, "group", IGNORED),
        (None, "nobody mapped me", "unknown_event_type"),
    ]
    assert seen(rows[:3], "user_id") == [("anon:anon-1",), ("anon:anon-1",), ("u1",)]
    assert seen(rows[:1], *CAMPAIGN) == [("spring", "google", "cpc")]
    assert links() == [("anon:anon-1", "u1"), ("anon:anon-2", "u2"), ("email:u1", "u1")]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_events_of_google_analytics(load: Load, links: Callable, form: str) -> None:
    def of(name: str, where: str, user: str | None = None) -> dict[str, Any]:
        def param(key: str, text: str | None = None, number: int | None = None) -> dict[str, Any]:
            return {"key": key, "value": {"string_value": text, "int_value": number, "double_value": None}}

        return {
            "event_date": "20260309",
            "event_timestamp": 1773050400000000,
            "event_name": name,
            "user_pseudo_id": "12.34",
            "user_id": user,
            "event_params": [param("ga_session_id", number=1773050399), param("page_location", where)],
            "device": {"category": "mobile"},
            "geo": {"country": "Germany", "city": "Berlin"},
            "collected_traffic_source": {
                "manual_campaign_name": "Spring",
                "manual_source": "google",
                "manual_medium": "cpc",
            },
        }

    rows = load(
        "ga4",
        of("page_view", "https://shop.example/"),
        of("page_view", "https://shop.example/pricing?x=1"),
        of("purchase", "https://shop.example/done", "u1"),
        of("scroll", "https://shop.example/"),
        form=form,
    )
    assert seen(rows, "event_type", "reason") == [
        ("page_view", None),
        ("pricing_page_view", None),
        ("purchase", None),
        (None, IGNORED),
    ]
    assert seen(rows, "user_id") == [("anon:12.34",), ("anon:12.34",), ("u1",), ("anon:12.34",)]
    assert str(rows[0]["event_at"]) == "2026-03-09 10:00:00"
    assert seen(rows[:1], "device", "country", "city", *CAMPAIGN) == [
        ("mobile", "DE", "Berlin", "spring", "google", "cpc")
    ]
    assert links() == [("anon:12.34", "u1")]


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_events_of_posthog(load: Load, links: Callable, form: str) -> None:
    def of(number: int, name: str, who: str, **properties: Any) -> dict[str, Any]:
        held = {
            "$device_id": "dev-1",
            "$device_type": "Desktop",
            "$geoip_country_code": "DE",
            "utm_campaign": "Spring",
            "utm_source": "google",
            "utm_medium": "cpc",
            **properties,
        }
        return {
            "uuid": f"uuid-{number}",
            "event": name,
            "distinct_id": who,
            "timestamp": "2026-03-09 10:00:00+00:00",
            "created_at": "2026-03-09 10:00:03+00:00",
            "properties": held if form == "jsonl" else json.dumps(held),
        }

    rows = load(
        "posthog",
        of(1, "$pageview", "dev-1", **{"$current_url": "https://x.example/"}),
        of(2, "$pageview", "dev-1", **{"$current_url": "https://x.example/pricing"}),
        of(3, "$identify", "u1", **{"$anon_distinct_id": "dev-1"}),
        of(4, "user signed up", "u1"),
        of(5, "$create_alias", "u1", alias="dev-2"),
        of(6, "$autocapture", "u1"),
        form=form,
    )
    assert seen(rows, "event_type", "reason") == [
        ("page_view", None),
        ("pricing_page_view", None),
        (None, IGNORED),
        ("signup", None),
        (None, IGNORED),
        (None, IGNORED),
    ]
    assert seen(rows, "user_id")[:2] == [("anon:dev-1",)] * 2
    assert rows[3]["user_id"] == "u1"
    assert seen(rows[:1], "device", "country", *CAMPAIGN) == [("desktop", "DE", "spring", "google", "cpc")]
    assert links() == [("anon:dev-1", "u1"), ("anon:dev-2", "u1")]


def test_events_of_amplitude(load: Load, links: Callable) -> None:
    usual = {
        "device_id": "dev-1",
        "user_id": None,
        "event_time": "2026-03-09 10:00:00.123000",
        "server_received_time": "2026-03-09 10:00:02.000000",
        "platform": "Web",
        "country": "United Kingdom",
        "user_properties": {"utm_campaign": "Spring", "utm_source": "google", "utm_medium": "cpc"},
    }
    viewed = "[Amplitude] Page Viewed"
    rows = load(
        "amplitude",
        {**usual, "uuid": "1", "event_type": viewed, "event_properties": {"[Amplitude] Page Path": "/"}},
        {**usual, "uuid": "2", "event_type": viewed, "event_properties": {"[Amplitude] Page Path": "/pricing"}},
        {**usual, "uuid": "3", "event_type": "$identify", "user_id": "u1"},
        {**usual, "uuid": "4", "event_type": "session_start"},
    )
    assert seen(rows, "event_type", "reason", "user_id") == [
        ("page_view", None, "anon:dev-1"),
        ("pricing_page_view", None, "anon:dev-1"),
        (None, IGNORED, "u1"),
        (None, IGNORED, "anon:dev-1"),
    ]
    assert seen(rows[:1], "device", "country", *CAMPAIGN) == [("desktop", "GB", "spring", "google", "cpc")]
    assert links() == [("anon:dev-1", "u1")]


def test_events_of_mixpanel(load: Load, links: Callable) -> None:
    def of(name: str, **properties: Any) -> dict[str, Any]:
        usual = {"time": 1773050400, "mp_processing_time_ms": 1773050402000, "$insert_id": name + str(properties)}
        return {"event": name, "properties": {**usual, "$os": "Mac OS X", "mp_country_code": "DE", **properties}}

    visitor = {"$device_id": "dev-1", "distinct_id": "$device:dev-1", "utm_campaign": "Spring"}
    rows = load(
        "mixpanel",
        of("$mp_web_page_view", current_url_path="/", **visitor),
        of("$mp_web_page_view", current_url_path="/pricing", **visitor),
        of("Purchase", distinct_id="u1"),
        of("$identify", **{"$identified_id": "u1", "$anon_id": "dev-1", "distinct_id": "u1"}),
        of("$create_alias", alias="u2", distinct_id="dev-2"),
        of("Sign Up", **{"$device_id": "dev-1", "$user_id": "u1", "distinct_id": "u1"}),
    )
    assert seen(rows, "event_type", "reason") == [
        ("page_view", None),
        ("pricing_page_view", None),
        ("purchase", None),
        (None, IGNORED),
        (None, IGNORED),
        ("signup", None),
    ]
    assert seen(rows, "user_id")[:3] == [("anon:dev-1",), ("anon:dev-1",), ("u1",)]
    assert seen(rows[:1], "device", "campaign") == [("desktop", "spring")]
    assert str(rows[0]["event_at"]) == "2026-03-09 10:00:00"
    assert links() == [("anon:dev-1", "u1"), ("anon:dev-2", "u2")]


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_events_of_snowplow(load: Load, links: Callable, form: str) -> None:
    usual = {
        "domain_userid": "dom-1",
        "user_id": None,
        "collector_tstamp": "2026-03-09 10:00:02.000",
        "derived_tstamp": "2026-03-09 10:00:00.000",
        "dvce_type": "Computer",
        "geo_country": "DE",
        "mkt_campaign": "Spring",
        "mkt_source": "google",
        "mkt_medium": "cpc",
        "page_urlpath": "/",
        "se_action": None,
    }
    rows = load(
        "snowplow",
        {**usual, "event_id": "1", "event": "page_view", "event_name": "page_view"},
        {**usual, "event_id": "2", "event": "page_view", "event_name": "page_view", "page_urlpath": "/pricing"},
        {**usual, "event_id": "3", "event": "page_ping", "event_name": "page_ping"},
        {**usual, "event_id": "4", "event": "struct", "event_name": "event", "se_action": "Add to basket"},
        {**usual, "event_id": "5", "event": "transaction", "event_name": "transaction", "user_id": "u1"},
        form=form,
    )
    assert seen(rows, "event_type", "reason") == [
        ("page_view", None),
        ("pricing_page_view", None),
        (None, IGNORED),
        ("add_to_cart", None),
        ("purchase", None),
    ]
    assert seen(rows[:1], "user_id", "device", "country", *CAMPAIGN) == [
        ("anon:dom-1", "desktop", "DE", "spring", "google", "cpc")
    ]
    assert links() == [("anon:dom-1", "u1")]


def visit(number: int, *actions: Any, **further: Any) -> dict[str, Any]:
    return {
        "idVisit": number,
        "visitIp": "192.0.2.7",
        "visitorId": "f2a0",
        "userId": None,
        "deviceType": "Phablet",
        "countryCode": "de",
        "referrerType": "campaign",
        "campaignName": "Spring",
        "lastActionTimestamp": 1773050400 + number,
        "actionDetails": [*actions],
        **further,
    }


def test_visits_of_matomo_are_as_many_events_as_they_hold(load: Load, links: Callable) -> None:
    at = {"timestamp": 1773050400}
    page = {"type": "action", "url": "https://shop.example/", "pageId": "11", "timeSpent": 42, **at}
    signup = {"type": "goal", "goalName": "Signed up", "goalId": 3, **at}
    order = {"type": "ecommerceOrder", "orderId": "o-1", "revenue": 19.9, **at}
    rows = load(
        "matomo",
        visit(
            1,
            page,
            {**page, "pageId": "12", "url": "https://shop.example/pricing?a=1"},
            {**page, "pageId": "13", "productViewSku": "sku-9"},
            {"type": "event", "eventCategory": "Forms", "eventAction": "Request demo", "pageId": "14", **at},
            {"type": "event", "eventCategory": "Video", "eventAction": "Play", "pageId": "15", **at},
            {"type": "outlink", "url": "https://elsewhere.example", "pageId": "16", **at},
        ),
        visit(2),
        visit(3, signup, order, userId="u1"),
        visit(4, "no action"),
        {"idVisit": 5, "visitorId": "f2a0", "visitIp": "192.0.2.7"},
    )
    assert seen(rows, "landing_line", "event_type", "event_name", "reason") == [
        (1, "page_view", "action", None),
        (2, "pricing_page_view", "action", None),
        (3, "product_view", "action", None),
        (4, "demo_request_click", "request demo", None),
        (5, None, "play", "unknown_event_type"),
        (6, None, "outlink", IGNORED),
        (7, "signup", "signed up", None),
        (8, "purchase", "ecommerceorder", None),
        (9, None, None, "unreadable_row"),
        (10, None, None, "unreadable_row"),
    ]
    assert seen(rows[:1], "user_id", "source_session_id", "device", "country", "channel", "campaign", "event_id") == [
        ("anon:f2a0", "1", "mobile", "DE", "campaign", "spring", "11")
    ]
    assert (rows[0]["dwell_seconds"], str(rows[0]["event_at"])) == (42, "2026-03-09 10:00:00")
    assert "192.0.2.7" not in str(rows)
    assert links() == [("anon:f2a0", "u1")]
    # A goal has no id. It is the same when its visit comes once more and has gone on, and another visitor's is another.
    again = load("matomo", visit(3, signup, order, page, userId="u1"), visit(7, signup, visitorId="b4"))
    assert again[0]["event_id"] == rows[6]["event_id"] != again[3]["event_id"]


# ---- a shop, whatever tells of it ----

SHOPPING = ("product_view", "search", "add_to_cart", "checkout_step", "checkout_step", "purchase")
BY_SPECIFICATION = (
    *("Product Viewed", "Products Searched", "Product Added", "Cart Viewed", "Payment Info Entered"),
    *("Order Completed", "Product Removed"),
)
AT = "2026-03-09T10:00:00Z"
ACTION = "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1"


def shop_event(source: str, name: str) -> dict[str, Any]:
    """An event of e-commerce as the tracker `source` writes it."""
    if source in ("segment", "rudderstack"):
        return {"type": "track", "event": name, "userId": "u", "timestamp": AT}
    if source == "posthog":
        return {"uuid": name, "event": name, "distinct_id": "u", "timestamp": AT, "properties": {}}
    if source == "amplitude":
        return {"event_type": name, "user_id": "u", "event_time": "2026-03-09 10:00:00"}
    if source == "mixpanel":
        return {"event": name, "properties": {"distinct_id": "u", "time": 1773050400}}
    if source == "ga4":
        return {"event_name": name, "user_id": "u", "event_timestamp": 1773050400000000}
    row = {"event": "unstruct", "event_name": "snowplow_ecommerce_action", "user_id": "u", "derived_tstamp": AT}
    return {**row, ACTION: {"type": name}} if name != "site_search" else {**row, "event_name": name}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        *((name, BY_SPECIFICATION) for name in ("segment", "rudderstack", "posthog", "amplitude", "mixpanel")),
        ("ga4", ("view_item", "search", "add_to_cart", "view_cart", "add_payment_info", "purchase", "refund")),
        (
            "snowplow",
            *[
                (
                    "product_view",
                    "site_search",
                    "add_to_cart",
                    "checkout_step",
                    "checkout_step",
                    "transaction",
                    "refund",
                )
            ],
        ),
    ],
)
def test_the_events_of_a_shop_are_known_whatever_tracker_tells_them(
    load: Load, source: str, names: tuple[str, ...]
) -> None:
    """What rules for shops weigh, in each tracker's own words; what takes nothing further is left out."""
    rows = load(source, *(shop_event(source, name) for name in names))
    assert seen(rows, "event_type", "reason") == [*((name, None) for name in SHOPPING), (None, IGNORED)]


def test_matomo_tells_a_shop_by_its_pages_and_orders(load: Load) -> None:
    pages = ({"url": "https://x.example/p/1", "productViewSku": "s"}, {"url": "https://x.example/cart"})
    actions = [{"type": "action", **page} for page in (*pages, {"url": "https://x.example/cartoons"})]
    actions += [{"type": "ecommerceAbandonedCart"}, {"type": "ecommerceOrder", "orderId": "o"}]
    visit = {"idVisit": 1, "visitorId": "v", "actionDetails": [{**one, "timestamp": 1773050400} for one in actions]}
    rows = load("matomo", visit)
    assert [row["event_type"] for row in rows] == [
        *("product_view", "checkout_step", "page_view", "add_to_cart", "purchase")
    ]
