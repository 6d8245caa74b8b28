"""Document 000's own run, whole: its 1,333 events through our nightly give its features and its published scores."""

import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import narwhals as nw
import polars as pl
import pytest

from gesture_assets.features.feature_registry import feature_registry
from gesture_assets.features.user_features import user_features
from gesture_assets.rules.rule_set import load_rule_set
from gesture_assets.rules.scorer import score
from gesture_assets.settings import load_settings
from gesture_assets_tests.conftest import use_settings
from gesture_assets_tests.running import failures, published, run_night, warehouse

pytestmark = pytest.mark.slow

FIRST, LAST = date(2026, 1, 1), date(2026, 2, 1)
THEIR_MOMENT = "2026-02-01T17:00:37.487956"  # the last event of any user plus its days_since_last_event
# Theirs -> ours, where the names differ. `username` is personal data and is dropped on purpose.
OURS = {
    "location_city": "city",
    "total_events": "event_count",
    "total_sessions": "session_count",
    "repeat_sessions": "repeat_session_count",
    "bounces": "bounced_session_count",
    "spam_sessions": "spam_session_count",
    "page_views": "page_view_count",
    "pricing_page_views": "pricing_page_view_count",
    "search_events": "search_count",
    "chat_messages": "chat_message_count",
    "doc_downloads": "doc_download_count",
    "demo_request_clicks": "demo_request_click_count",
    "signups": "signup_count",
    "calendar_bookings": "calendar_booking_count",
    "last_event_ts": "last_event_at",
    "converted": "is_converted",
}
DROPPED = ("username", "days_since_last_event")  # the latter depends on the moment, and has a test of its own


@pytest.fixture(scope="module")
def data_dir(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("scoring") / "data"
    landing = folder / "landing" / "scoring_csv"
    landing.mkdir(parents=True)
    shutil.copy(reference / "gesture_events" / "raw_events.csv", landing)
    with pytest.MonkeyPatch.context() as patch:
        use_settings(patch, folder)
        patch.setenv("GESTURE_RULE_SET", "scoring_reference")
        result = run_night(FIRST, LAST)
        assert result.success, failures(result)
        yield folder


@pytest.fixture(scope="module")
def theirs(reference: Path) -> pl.DataFrame:
    frame = pl.read_csv(reference / "gesture_events" / "user_features.csv", try_parse_dates=True)
    assert frame.height == 100
    return frame.sort("user_id").with_columns(
        pl.col("last_event_ts").dt.convert_time_zone("UTC").dt.replace_time_zone(None).dt.cast_time_unit("us"),
        pl.col("converted").cast(pl.Boolean),
    )


@pytest.fixture(scope="module")
def published_scores(reference: Path) -> pl.DataFrame:
    frame = pl.read_csv(reference / "gesture_events" / "top_users.csv")
    assert frame.height == 20
    return frame


@pytest.fixture(scope="module")
def at_their_moment(data_dir: Path) -> Iterator[duckdb.DuckDBPyRelation]:
    """Features at the instant at which that project computed its own, from the activity of our warehouse."""
    con = warehouse(data_dir)
    moments = nw.from_native(con.sql(f"select date '{LAST}' as as_of_date, timestamp '{THEIR_MOMENT}' as as_of"))
    tags = load_settings().tags
    tables = [
        nw.from_native(con.sql(f"from {name}"))
        for name in ("daily_activity", "identity_links", "validated_subscribers")
    ]
    yield user_features(*tables, moments, tags=tags).to_native()
    con.close()


def test_every_event_is_accepted_and_none_is_doubled(data_dir: Path) -> None:
    con = warehouse(data_dir)
    counts = con.execute(
        "select count(*), count(distinct event_id), count(distinct user_id) from raw_events"
    ).fetchone()
    assert counts == (1333, 1333, 100)
    assert con.execute("select count(*) from quarantined_events").fetchone() == (0,)
    con.close()


@pytest.mark.parametrize(
    "column",
    [
        "location_city",
        "gender",
        "primary_device",
        "account_balance_usd",
        "recent_pages_viewed",
        "recent_pricing_views",
        "total_events",
        "total_sessions",
        "repeat_sessions",
        "repeat_session_rate",
        "bounces",
        "bounce_rate",
        "spam_sessions",
        "spam_rate",
        "page_views",
        "pricing_page_views",
        "search_events",
        "chat_messages",
        "doc_downloads",
        "demo_request_clicks",
        "signups",
        "calendar_bookings",
        "last_event_ts",
        "converted",
    ],
)
def test_a_published_feature_is_met_exactly_for_all_users(data_dir: Path, theirs: pl.DataFrame, column: str) -> None:
    con = published(data_dir)
    name = OURS.get(column, column)
    found = con.execute(f"select user_id, {name} from user_features where as_of_date = ? order by user_id", [LAST]).pl()
    con.close()
    assert found["user_id"].to_list() == theirs["user_id"].to_list()
    differ = [
        (user, ours, their)
        for user, ours, their in zip(found["user_id"], found[name], theirs[column], strict=True)
        if ours != their
    ]
    assert differ == []


def test_every_published_column_is_compared_or_dropped_on_purpose(theirs: pl.DataFrame) -> None:
    mark = next(m for m in test_a_published_feature_is_met_exactly_for_all_users.pytestmark if m.args)
    assert {"user_id", *mark.args[1], *DROPPED} == set(theirs.columns)


def test_four_users_are_converted(data_dir: Path) -> None:
    con = published(data_dir)
    found = con.execute("select count(*) from user_features where as_of_date = ? and is_converted", [LAST]).fetchone()
    assert found == (4,)
    con.close()


def test_no_user_name_gets_into_the_warehouse_or_the_published_file(data_dir: Path, theirs: pl.DataFrame) -> None:
    name = theirs["username"][0].encode()
    assert name in (data_dir / "landing" / "scoring_csv" / "raw_events.csv").read_bytes()
    for path in (data_dir / "warehouse.duckdb", (data_dir / "gesture.duckdb").resolve()):
        con = duckdb.connect(str(path), read_only=True)
        texts = con.execute(
            "select table_schema, table_name, column_name from information_schema.columns where data_type = 'VARCHAR' "
            "and table_schema not in ('information_schema', 'pg_catalog')"
        ).fetchall()
        assert texts
        holds = [
            f"{schema}.{table}.{column}"
            for schema, table, column in texts
            if con.execute(f"from {schema}.{table} where contains({column}, ?) limit 1", [name.decode()]).fetchone()
        ]
        con.close()
        assert holds == [], path.name


def test_published_scores_of_the_day_are_met_to_a_tenth(data_dir: Path, published_scores: pl.DataFrame) -> None:
    """Ours are as of midnight, theirs as of seven hours earlier: recency differs by a hundredth of a point or so."""
    con = published(data_dir)
    ours = dict(con.execute("select user_id, score from analytics.current_scores").fetchall())
    con.close()
    apart = {
        row["user_id"]: (ours[row["user_id"]], row["score"])
        for row in published_scores.to_dicts()
        if abs(ours[row["user_id"]] - row["score"]) > 0.1
    }
    assert apart == {}


def test_bands_of_the_day_are_the_published_labels(data_dir: Path, published_scores: pl.DataFrame) -> None:
    con = published(data_dir)
    ours = dict(con.execute("select user_id, rule_band from analytics.current_scores").fetchall())
    con.close()
    assert {row["user_id"]: ours[row["user_id"]] for row in published_scores.to_dicts()} == dict(
        published_scores.select("user_id", "score_label").rows()
    )


def test_recency_at_their_moment_is_theirs_to_a_millionth_of_a_day(at_their_moment, theirs: pl.DataFrame) -> None:
    ours = dict(at_their_moment.select("user_id, days_since_last_event").fetchall())
    assert len(ours) == 100
    expected = dict(theirs.select("user_id", "days_since_last_event").rows())
    assert {user: days for user, days in expected.items() if abs(ours[user] - days) > 1e-6} == {}


def test_scores_at_their_moment_are_theirs_to_a_hundredth(
    at_their_moment, published_scores: pl.DataFrame, tmp_path: Path
) -> None:
    names = {feature.name for feature in feature_registry(())}
    rules = load_rule_set("scoring_reference", user_folder=tmp_path, features=names)
    scores, _ = score(nw.from_native(at_their_moment.pl().lazy()), rules)
    ours = dict(scores.select("user_id", "score").collect().rows())
    apart = {
        row["user_id"]: (ours[row["user_id"]], row["score"])
        for row in published_scores.to_dicts()
        if abs(ours[row["user_id"]] - row["score"]) > 0.01
    }
    assert apart == {}


def test_an_earlier_day_knows_less(data_dir: Path) -> None:
    con = published(data_dir)
    counts = con.execute("select as_of_date, sum(event_count) from user_features group by all order by all").fetchall()
    con.close()
    assert len(counts) == 32
    assert [count for _, count in counts] == sorted({count for _, count in counts})
    assert counts[-1][1] == 1333
