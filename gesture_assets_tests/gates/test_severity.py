"""The severity policy: what WARN may do and what it may not, and that one list decides."""

from collections.abc import Callable, Iterator
from datetime import date

import dagster as dg
import narwhals as nw
import pytest

from gesture_assets.vocabulary.severity import WARN_ONLY, Severity
from gesture_assets_tests.good_night import CONTRACTS, DAY, good_table
from gesture_assets_tests.running import definitions


def specs() -> Iterator[dg.AssetCheckSpec]:
    for definition in definitions().assets or ():
        if isinstance(definition, dg.AssetsDefinition):
            yield from definition.check_specs


def test_every_name_of_the_list_is_a_check_of_some_contract() -> None:
    names = {check.name for contract in CONTRACTS.values() for check in contract.checks}
    assert set(WARN_ONLY) - names == set()


def test_every_reason_says_why_a_night_goes_on() -> None:
    assert [name for name, reason in WARN_ONLY.items() if len(reason.split()) < 5] == []


def test_a_check_blocks_exactly_when_its_severity_is_error() -> None:
    severities = {(name, check.name): check.severity for name, one in CONTRACTS.items() for check in one.checks}
    seen = {}
    for spec in specs():
        key = (spec.asset_key.to_user_string(), spec.name)
        if key in severities:
            seen[key] = spec.blocking
            assert spec.metadata["severity"] == severities[key].value
    assert seen == {key: severity is Severity.ERROR for key, severity in severities.items()}
    assert not all(seen.values())


LATE = "update crm_snapshot set unmatched_count = 1 where crm_table = 'Tags'"
WRONG = "update crm_snapshot set column_names = 'tag,mailchimp_id' where crm_table = 'Tags'"


@pytest.mark.parametrize(
    ("fault", "check", "is_live"),
    [
        (LATE, "every_tag_has_a_subscriber", True),
        (WRONG, "crm_columns_are_the_documented_ones_in_order", False),
    ],
    ids=["WARN", "ERROR"],
)
def test_a_warning_reports_and_lets_the_day_through_and_an_error_does_not(
    open_session: Callable, fault: str, check: str, is_live: bool
) -> None:
    day: date = DAY
    with open_session(day) as session:
        good_table(session, "crm_snapshot", "memory.main.crm_snapshot")
        session.connection.execute(fault)
        frame = nw.from_native(session.connection.sql("from memory.main.crm_snapshot"))
        (commit,) = session.commit((CONTRACTS["crm_snapshot"], frame))
        assert [outcome.name for outcome in commit.outcomes if not outcome.passed] == [check]
        assert [verdict.passed for verdict in commit.days] == [is_live]
        found = session.connection.execute("select count(*) from warehouse.main.crm_snapshot").fetchone()
        assert found == (3 if is_live else 0,)
        verdict = session.connection.execute("select verdict, checks from warehouse.main.gate_ledger").fetchone()
        assert verdict
        assert verdict[0] == ("PASS" if is_live else "FAIL")
        assert f'"name": "{check}", "passed": false' in verdict[1]
