"""A file of each shipped description, from landing to the score to act on, in one night beside each shipped CRM."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gesture_assets.sources.description import load_descriptions
from gesture_assets_tests.crm_exports import HUBSPOT, MAILCHIMP, SALESFORCE
from gesture_assets_tests.running import failures, published, run_night

pytestmark = pytest.mark.slow

DAY, AT, SECONDS = "2026-03-09", "2026-03-09T10:00:00Z", 1773050400
WHO = "ann@example.com"


def _calls(user: str) -> list[dict[str, Any]]:
    usual = {"timestamp": AT, "receivedAt": AT, "userId": user, "anonymousId": "anon-1"}
    page = {**usual, "type": "page", "messageId": user, "properties": {"path": "/pricing"}}
    return [page, {**usual, "type": "identify", "messageId": f"{user}-2", "traits": {"email": WHO}}]


# Source -> how its tracker writes that somebody looked at prices; where one can, their address in another call.
TRACKED: Mapping[str, Any] = {
    "segment": _calls,
    "rudderstack": _calls,
    "ga4": lambda user: {
        "event_date": "20260309",
        "event_timestamp": SECONDS * 1_000_000,
        "event_name": "page_view",
        "user_pseudo_id": "12.34",
        "user_id": user,
        "event_params": [{"key": "page_location", "value": {"string_value": "https://shop.example/pricing"}}],
    },
    "posthog": lambda user: [
        {"uuid": f"{user}-{name}", "event": name, "distinct_id": user, "timestamp": AT, "properties": properties}
        for name, properties in {
            "$pageview": {"$current_url": "https://x.example/pricing", "$device_id": "dev-1"},
            "$identify": {"$anon_distinct_id": "dev-1", "$set": {"email": WHO}},
        }.items()
    ],
    "amplitude": lambda user: {
        "uuid": user,
        "user_id": user,
        "event_time": "2026-03-09 10:00:00.123000",
        "event_type": "[Amplitude] Page Viewed",
        "event_properties": {"[Amplitude] Page Path": "/pricing"},
    },
    "mixpanel": lambda user: {
        "event": "$mp_web_page_view",
        "properties": {"time": SECONDS, "$insert_id": user, "distinct_id": user, "current_url_path": "/pricing"},
    },
    "snowplow": lambda user: {
        "event_id": user,
        "event": "page_view",
        "event_name": "page_view",
        "user_id": user,
        "derived_tstamp": "2026-03-09 10:00:00.000",
        "page_urlpath": "/pricing",
    },
    "matomo": lambda user: {
        "idVisit": 1,
        "visitorId": "f2a0",
        "userId": user,
        "lastActionTimestamp": SECONDS,
        "actionDetails": [{"type": "action", "url": "https://x.example/pricing", "pageId": "1", "timestamp": SECONDS}],
    },
}
# Those of files whose nights are tested with the reference data and in every other world.
IN_OTHER_WORLDS = {"native", "scoring_csv", "shop_clickstream"}


@pytest.mark.parametrize(("crm", "files"), [("mailchimp", MAILCHIMP), ("hubspot", HUBSPOT), ("salesforce", SALESFORCE)])
def test_who_looked_at_prices_is_scored_whatever_saw_it(crm: str, files: Mapping[str, str], data_dir: Path) -> None:
    shipped = load_descriptions(data_dir / "sources").values()
    assert {*TRACKED, *IN_OTHER_WORLDS} == {source.name for source in shipped if source.kind == "event"}
    for source, row in TRACKED.items():
        folder = data_dir / "landing" / source
        folder.mkdir(parents=True)
        written = row(f"u-{source}")
        rows = written if isinstance(written, list) else [written]
        (folder / "a.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    (data_dir / "crm").mkdir()
    for name, text in files.items():
        (data_dir / "crm" / name).write_text(text)
    result = run_night(DAY)
    assert result.success, failures(result)
    assert result.results["crm_subscribers"].notes["crm_description"] == crm
    con = published(data_dir)
    scored = con.sql(
        "select user_id, pricing_page_view_count_30d, score > 0 from intent_scores "
        "join user_features using (as_of_date, user_id) where user_id like 'u-%' order by all"
    ).fetchall()
    assert scored == [(f"u-{source}", 1, True) for source in sorted(TRACKED)]
    # Ann is the person of whoever said her address; she has bought, and Bob could be called.
    bought = con.sql(
        "select user_id from user_features where is_subscriber and made_purchase = 1 order by 1"
    ).fetchall()
    assert bought == [("u-posthog",), ("u-rudderstack",), ("u-segment",)]
    assert not con.sql("select user_id from top_users join user_features using (user_id) where made_purchase = 1")
    con.close()
