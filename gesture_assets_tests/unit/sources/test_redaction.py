"""Values that say who somebody is: ids are hashed, others left out, and both are counted."""

import duckdb

from gesture_assets.events.tables import HIDEABLE
from gesture_assets.sources.kinds import EVENT
from gesture_assets.sources.redaction import hide_personal_values

COLUMNS = (*HIDEABLE, "user_id", "redacted", "masked_row")


def hidden(connection: duckdb.DuckDBPyConnection, *rows: dict[str, str]) -> list[dict]:
    connection.execute(f"create or replace table landed ({', '.join(f'{name} varchar' for name in COLUMNS)})")
    for row in rows:
        known, unknown = row.get("known_user_id"), row.get("anonymous_id")
        user = {"user_id": known or f"anon:{unknown}"}
        values = [{**user, **row}.get(name) for name in COLUMNS]
        connection.execute(f"insert into landed values ({', '.join('?' for _ in COLUMNS)})", values)
    hide_personal_values(connection, "landed", "a key for tests only", EVENT)
    found = connection.execute("from landed").fetchall()
    return [dict(zip(COLUMNS, row, strict=True)) for row in found]


def test_an_id_that_is_a_number_of_a_person_is_one_hash_however_it_is_written(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    rows = hidden(
        connection,
        {"event_id": "e1", "known_user_id": "+49 151 23456789"},
        {"event_id": "e2", "known_user_id": "+49-151-234-56789"},
        {"event_id": "e3", "anonymous_id": "DE89 3704 0044 0532 0130 00"},
        {"event_id": "DE89370400440532013000", "known_user_id": "4915123456789"},
    )
    first, second, third, fourth = rows
    assert first["user_id"].startswith("number:")
    assert first["user_id"] == first["known_user_id"] == second["user_id"]
    assert third["user_id"] == f"anon:{third['anonymous_id']}"
    assert third["anonymous_id"] == fourth["event_id"]
    assert fourth["user_id"] == "4915123456789", "figures alone are an id"
    named = [row["redacted"] for row in rows]
    assert named == ["known_user_id", "known_user_id", "anonymous_id", "event_id"]


def test_other_texts_are_left_out_and_of_properties_only_the_value(connection: duckdb.DuckDBPyConnection) -> None:
    (row, other, third) = hidden(
        connection,
        {
            "event_id": "e1",
            "known_user_id": "u",
            "city": "ann%40b.example",
            "gender": "call +1 (555) 010-9999",
            "channel": "+4915123456789",
            "lifecycle": "de89370400440532013000",
            "properties": '{"url":"https://10.9.8.7/?e=ann@b.example","plan":"pro"}',
        },
        {"event_id": "e2", "known_user_id": "u", "city": "Bath", "channel": "cpc", "properties": '{"plan":"v1.2.3"}'},
        {
            "event_id": "e3",
            "known_user_id": "4111111111111111",
            "city": "12 Main Street",
            "gender": "::1",
            "channel": "4111111111111111",
            "lifecycle": "\uff0b\uff14\uff19 151\u202f23456789",
            "properties": '{"sku":"4111111111111111"}',
        },
    )
    assert [row[name] for name in ("city", "gender", "channel", "lifecycle")] == [None] * 4
    assert row["properties"] == '{"url":"https://***/?e=***","plan":"pro"}'
    assert row["redacted"] == "channel city gender lifecycle properties"
    assert (other["city"], other["channel"], other["properties"]) == ("Bath", "cpc", '{"plan":"v1.2.3"}')
    assert other["redacted"] is None
    assert [third[name] for name in ("city", "gender", "channel", "lifecycle")] == [None] * 4
    assert (third["user_id"], third["properties"]) == ("4111111111111111", '{"sku":"4111111111111111"}')
