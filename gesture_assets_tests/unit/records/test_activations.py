"""Which version scores a day: the rules before the first model, each from its own day on, and back to the rules."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta

import duckdb
import pytest

from gesture_assets.errors import GateClosed
from gesture_assets.records import activations as registry
from gesture_assets.records import audit_log

DAY, NOW = date(2026, 3, 10), datetime(2026, 3, 10, 3)


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    con = duckdb.connect()
    con.execute("attach ':memory:' as warehouse")
    registry.create_activations(con)
    audit_log.create_audit_log(con)
    yield con
    con.close()


def activate(con: duckdb.DuckDBPyConnection, version: str, since: date) -> registry.Activation:
    return registry.activate(con, version, since=since, now=NOW, action="activated", reason="a test")


def test_the_rules_serve_before_the_first_model_and_after_somebody_went_back_to_them(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    assert registry.champion(warehouse, DAY) is None
    with pytest.raises(GateClosed, match="no version at all: the rules serve"):
        registry.previous(warehouse)
    activate(warehouse, "v1", DAY)
    assert registry.champion(warehouse, DAY - timedelta(days=1)) is None
    assert registry.champion(warehouse, DAY) == "v1"
    assert registry.previous(warehouse) == registry.RULES
    back = activate(warehouse, registry.RULES, DAY + timedelta(days=2))
    assert back.previous_version == "v1"
    assert registry.champion(warehouse, DAY + timedelta(days=1)) == "v1"
    assert registry.champion(warehouse, DAY + timedelta(days=2)) is None
    assert registry.previous(warehouse) == "v1"


def test_the_latest_decision_in_force_on_a_day_decides(warehouse: duckdb.DuckDBPyConnection) -> None:
    activate(warehouse, "v1", DAY)
    activate(warehouse, "v2", DAY + timedelta(days=5))
    activate(warehouse, "v1", DAY + timedelta(days=3))
    served = [registry.champion(warehouse, DAY + timedelta(days=n)) for n in range(7)]
    assert served == ["v1"] * 7
    assert registry.previous(warehouse) == "v2"


def test_to_roll_back_twice_goes_back_by_two(warehouse: duckdb.DuckDBPyConnection) -> None:
    for number, version in enumerate(("a", "b", "c")):
        activate(warehouse, version, DAY + timedelta(days=number))
    gone_back = []
    for number in (3, 4, 5):
        gone_back.append(registry.previous(warehouse))
        registry.activate(
            warehouse,
            gone_back[-1],
            since=DAY + timedelta(days=number),
            now=NOW,
            action=registry.ROLLED_BACK,
            reason="it scores badly",
        )
    assert gone_back == ["b", "a", registry.RULES]


def test_who_serves_already_needs_no_activation_and_who_does_not_on_some_later_day_does(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    assert registry.serves_already(registry.activations(warehouse), registry.RULES, DAY)
    activate(warehouse, "v1", DAY)
    activate(warehouse, "v2", DAY + timedelta(days=5))
    history = registry.activations(warehouse)
    assert not registry.serves_already(history, "v1", DAY + timedelta(days=1))
    assert not registry.serves_already(history, "v2", DAY + timedelta(days=4))
    assert registry.serves_already(history, "v2", DAY + timedelta(days=5))
    assert not registry.serves_already(history, registry.RULES, DAY + timedelta(days=5))
