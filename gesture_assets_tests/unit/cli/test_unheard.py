"""What the rules that scored do not hear of what people do: said where it is so, and only there."""

from datetime import date
from pathlib import Path

import duckdb
import pytest

from gesture_assets.cli.unheard import better_rules, other_rules, silent_rules, unheard
from gesture_assets.rules.rule_set import SHIPPED, RuleSet, parse_rule_set
from gesture_assets.settings import load_settings

DAY = date(2026, 3, 9)
CARTS, DEMOS = "No rule of intent weighs the carts and checkouts of 2 users.", (0, 0, 1)
PRESENCE_ALONE = "Nothing that people do gives points by intent, only that they come."
COMING = ("visits", "active_days", "last_seen", "crm_rating", "known_to_the_crm")


def shipped(name: str) -> RuleSet:
    text = (SHIPPED / f"{name}.toml").read_text()
    features = {line.split('"')[1] for line in text.splitlines() if line.startswith("feature = ")}
    features |= {f"days_since_last_{feature.split('_count')[0]}" for feature in features} | {"days_since_last_event"}
    return parse_rule_set(text, name=name, where=name, features=features)


def published(
    rules: RuleSet, told: tuple[str, ...], users: tuple[tuple[int, int, int], ...]
) -> duckdb.DuckDBPyConnection:
    """A day on which the rules `told` something of somebody; of each user: carts, checkouts, demo requests."""
    con = duckdb.connect()
    con.execute("create table rule_contributions (as_of_date date, rule_set_version varchar, rule_id varchar)")
    con.execute(
        "create table user_features (as_of_date date, add_to_cart_count int, checkout_step_count int, "
        "demo_request_click_count int)"
    )
    for rule in told:
        con.execute("insert into rule_contributions values (?, ?, ?)", [DAY, rules.version, rule])
    for counts in users:
        con.execute("insert into user_features values (?, ?, ?, ?)", [DAY, *counts])
    return con


@pytest.mark.parametrize(
    ("name", "told", "users", "chosen", "expected"),
    [
        ("intent", COMING, ((1, 0, 0), (0, 2, 0), (0, 0, 0)), "", CARTS),
        ("intent", (*COMING, "account_opened"), ((1, 0, 0), (0, 2, 0)), "", CARTS),
        ("intent", (*COMING, "account_opened"), ((1, 0, 0),), "intent", ""),  # somebody's own choice, and it hears
        ("intent", (*COMING, "demo_requests"), ((1, 0, 0), DEMOS), "", ""),
        ("intent", (*COMING, "left_the_list"), ((0, 0, 0),), "", PRESENCE_ALONE),
        ("intent", COMING, ((1, 0, 0),), "intent", PRESENCE_ALONE),
        ("intent", (*COMING, "pricing_pages"), ((0, 0, 0),), "", ""),
        ("intent", (), ((0, 0, 0),), "", "No rule of intent gives anybody points."),
        ("shop", ("cart", "visits"), ((1, 0, 0),), "", ""),
    ],
)
def test_what_is_not_heard_is_said(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    told: tuple[str, ...],
    users: tuple[tuple[int, int, int], ...],
    chosen: str,
    expected: str,
) -> None:
    monkeypatch.setenv("GESTURE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("GESTURE_RULE_SET", chosen)
    rules = shipped(name)
    assert unheard(published(rules, told, users), DAY, rules, load_settings()) == expected


def test_every_rule_that_said_nothing_is_named_in_file_order() -> None:
    rules = shipped("shop")
    con = published(rules, ("visits", "cart", "last_seen", "active_days"), ())
    assert silent_rules(con, DAY, rules) == [
        *("checkout_steps", "products_seen", "searches", "email_clicks", "known_to_the_crm", "left_the_list")
    ]


def test_rules_for_shops_are_advised_to_shops_that_have_others() -> None:
    intent, shop = shipped("intent"), shipped("shop")
    assert "GESTURE_RULE_SET=shop" in better_rules(published(intent, (), ((1, 0, 0),)), DAY, intent)
    assert better_rules(published(intent, (), ((0, 0, 0),)), DAY, intent) == ""
    assert better_rules(published(intent, (), ((1, 0, 0), DEMOS)), DAY, intent) == ""
    assert better_rules(published(shop, (), ((1, 0, 0),)), DAY, shop) == ""


def test_a_day_that_other_rules_scored_than_score_now_is_told_with_the_way_to_score_it_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GESTURE_DATA_DIR", str(tmp_path))
    intent, shop = shipped("intent"), shipped("shop")
    assert other_rules(DAY, intent, load_settings()) == ""
    monkeypatch.setenv("GESTURE_RULE_SET", "shop")
    told = other_rules(DAY, intent, load_settings())
    assert told.startswith(
        f"{DAY} was scored by intent {intent.version}, and the next night is by shop {shop.version}."
    )
    assert f'gesture run --date {DAY} --restate --reason "why"' in told
    assert other_rules(DAY, shop, load_settings()) == ""
