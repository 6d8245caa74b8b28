"""The first training on somebody's shop: half a year that landed at once, no CRM, and a judgement at its end."""

from datetime import date, datetime
from pathlib import Path

import duckdb
import pytest

from gesture_assets.models.splits import FEWEST_JUDGED
from gesture_assets.models.versions import card_of, known_versions
from gesture_assets.settings import load_settings
from gesture_assets_tests.conftest import use_settings
from gesture_assets_tests.running import failures, run_night, run_training, warehouse

FIRST, LAST = date(2026, 5, 30), date(2026, 11, 27)
PEOPLE, BUYERS, DAYS = 3_751, 653, 182
SHOP = f"""
create table people as select n, 'u' || n as user_id, 0.3 + random() as visits_of, floor(random() * 150)::int as born,
    case when n < {BUYERS} then floor(random() * {DAYS})::int end as buys,
    ['ios', 'web'][1 + n % 2] as platform, ['seo', 'ads', 'email'][1 + n % 3] as channel from range({PEOPLE}) t(n);
create table visits as with days as (select *, unnest(range({DAYS})) as day, random() as draw from people)
select * from days where (day >= born or day >= buys - 20) and coalesce(day <= buys + 60, true) and (day = buys
    or draw < 0.04 * visits_of + if(coalesce(day between buys - 9 and buys, false), 0.25, 0));
create table pages as select *, unnest(range(1 + floor(random() * 6)::int)) as page, random() as draw_of_page
from visits;
create table landed as select user_id, platform, channel as acquisition_channel, 'new' as user_lifecycle,
    's' || n || '-' || day as session_id,
    timestamp '{FIRST}' + to_days(day) + to_seconds((30000 + page * 60 + floor(draw * 40000))::int) as timestamp,
    case when day = buys and page = 0 then 'purchase'
        when draw_of_page < if(coalesce(day between buys - 9 and buys, false), 0.35, 0.06)
            then ['add_to_cart', 'cart', 'shipping_details', 'payment_details'][1 + floor(random() * 4)::int]
        else ['home', 'catalog', 'product_view', 'search', 'promo_page'][1 + floor(random() * 5)::int] end as event
from pages;
"""


@pytest.mark.proof
@pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType")  # MLflow's of its own classes, on import
def test_a_shop_of_half_a_year_ends_with_a_judgement_by_fifty_buyers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    landing = folder / "landing" / "shop_clickstream"
    landing.mkdir(parents=True)
    with duckdb.connect() as con:
        con.execute("set threads = 1")
        con.execute("select setseed(0.42)")
        con.execute(SHOP)
        con.execute(f"copy (from landed order by timestamp, user_id, event) to '{landing / 'events.csv'}' (header)")
    use_settings(monkeypatch, folder)
    done = run_night(FIRST, LAST, now=datetime(2026, 11, 28, 2))
    assert done.success, failures(done)
    trained = run_training(LAST, at="2026-11-28T03:00")
    assert trained.success, failures(trained)
    card = card_of(load_settings().models, known_versions(load_settings().models)[-1])
    assert card["decision"] in ("promoted", "kept")
    assert "of the rules" in card["because"]
    con = warehouse(folder)
    judging = "select count(distinct person_id) from training_set where label = 1 and split in ('test', 'both')"
    buyers = con.execute(judging).fetchone()
    con.close()
    assert buyers is not None
    assert buyers[0] >= FEWEST_JUDGED
    assert "buyers judge it" not in card["because"]  # which is said of fewer than are needed
