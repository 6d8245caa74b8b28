"""The synthetic world: what it promises to write, counted again from the files."""

import hashlib
import sqlite3
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gesture_assets.demo import activity
from gesture_assets.demo.activity import CANONICAL_TYPES
from gesture_assets.demo.crm import OLD_PRODUCTS
from gesture_assets.demo.people import MIN_BOTS
from gesture_assets.demo.world import DemoWorld, write_demo_world, write_poison_day
from gesture_assets.errors import ConfigError

END = date(2026, 3, 31)
NATIVE_SCHEMA = {
    "event_id": pl.String,
    "user_id": pl.String,
    "anonymous_id": pl.String,
    "event_type": pl.String,
    "event_at": pl.Datetime("us"),
    "received_at": pl.Datetime("us"),
    "device": pl.String,
    "country": pl.String,
    "city": pl.String,
    "gender": pl.String,
    "channel": pl.String,
    "campaign": pl.String,
    "campaign_source": pl.String,
    "campaign_medium": pl.String,
    "user_agent": pl.String,
    "ip_address": pl.String,
    "email": pl.String,
    "dwell_seconds": pl.Float64,
    "scroll_depth_pct": pl.Int64,
    "account_balance_usd": pl.Float64,
}


@dataclass(frozen=True)
class Written:
    world: DemoWorld
    rows: pl.DataFrame  # every row of every file, with the day of its file
    truth: pl.DataFrame
    start: date

    @property
    def first_arrivals(self) -> pl.DataFrame:
        return self.rows.sort("received_at").unique("event_id", keep="first", maintain_order=True)

    def crm(self, query: str) -> list[tuple]:
        connection = sqlite3.connect(self.world.crm)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


def write(folder: Path, *, users: int, days: int, seed: int = 7) -> Written:
    world = write_demo_world(
        landing=folder / "landing",
        crm=folder / "crm.sqlite",
        truth=folder / "truth.parquet",
        users=users,
        days=days,
        seed=seed,
        end=END,
    )
    files = [
        pl.read_parquet(path).with_columns(file_day=pl.lit(date.fromisoformat(path.stem.removeprefix("events-"))))
        for path in world.event_files
    ]
    return Written(world, pl.concat(files), pl.read_parquet(world.truth), END - timedelta(days=days - 1))


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def ranking_auc(score: np.ndarray, label: np.ndarray) -> float:
    ranks = np.empty(len(score))
    ranks[np.argsort(score, kind="stable")] = np.arange(1, len(score) + 1)
    positives = label.sum()
    return (ranks[label].sum() - positives * (positives + 1) / 2) / (positives * (len(label) - positives))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write(tmp_path_factory.mktemp("world"), users=1_000, days=42)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    write(tmp_path / "a", users=120, days=5)
    write(tmp_path / "b", users=120, days=5)
    write(tmp_path / "c", users=120, days=5, seed=8)
    first, again, other = (digests(tmp_path / name) for name in "abc")
    assert len(first) == 7
    assert first == again
    assert first.keys() == other.keys()
    assert all(first[name] != other[name] for name in first)


def test_a_rerun_replaces_every_file_and_leaves_no_partial_one(tmp_path: Path) -> None:
    write(tmp_path, users=60, days=3, seed=1)
    write(tmp_path, users=60, days=3, seed=2)
    write(tmp_path / "fresh", users=60, days=3, seed=2)
    fresh = digests(tmp_path / "fresh")
    assert {name: sha for name, sha in digests(tmp_path).items() if not name.startswith("fresh")} == fresh


def test_of_a_world_whose_writing_was_cut_off_nothing_has_landed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("gesture_assets.demo.world.crm_tables", cut_off)  # every event is drawn by then
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, users=60, days=3, seed=1)
    assert not list((tmp_path / "landing").rglob("*"))
    write(tmp_path, users=60, days=3, seed=1)
    write(tmp_path / "fresh", users=60, days=3, seed=1)
    whole = digests(tmp_path / "fresh")
    assert {name: sha for name, sha in digests(tmp_path).items() if not name.startswith("fresh")} == whole


def test_every_file_has_the_native_columns_in_order(written: Written) -> None:
    for path in written.world.event_files:
        assert dict(pl.read_parquet_schema(path)) == NATIVE_SCHEMA
    assert list(pl.read_parquet_schema(written.world.event_files[0])) == list(NATIVE_SCHEMA)


def test_every_visit_came_by_some_way_and_campaigns_have_source_and_medium(written: Written) -> None:
    rows = written.rows
    assert rows["channel"].null_count() == 0
    of_campaigns = rows.filter(pl.col("campaign").is_not_null())
    assert of_campaigns.select(pl.col("campaign_source", "campaign_medium").null_count()).row(0) == (0, 0)
    assert 0.2 < of_campaigns.height / rows.height < 0.5
    mails = rows.filter(pl.col("event_type").str.starts_with("email_"))
    assert mails["campaign"].unique().to_list() == ["newsletter"]


def test_every_file_holds_exactly_what_was_received_on_its_day(written: Written) -> None:
    days = [written.start + timedelta(days=i) for i in range(42)]
    assert [path.name for path in written.world.event_files] == [f"events-{day}.parquet" for day in days]
    assert written.rows.filter(pl.col("received_at").dt.date() != pl.col("file_day")).is_empty()
    assert written.rows["file_day"].unique().sort().to_list() == days
    assert written.rows.height == written.world.events


def test_duplicates_are_counted_and_arrive_after_the_first_row(written: Written) -> None:
    rows, unique = written.rows.height, written.rows["event_id"].n_unique()
    assert rows - unique == written.world.duplicates
    assert written.world.duplicates / unique == pytest.approx(activity.DUPLICATE_RATE, rel=0.3)
    twins = written.rows.filter(pl.col("event_id").is_duplicated())
    same_file = twins.group_by("event_id").agg(pl.col("file_day").n_unique() == 1)["file_day"].mean()
    assert 0.3 < same_file < 0.7
    assert twins.drop("received_at", "file_day").n_unique() == twins["event_id"].n_unique()


def test_late_events_are_counted_and_one_to_three_days_late(written: Written) -> None:
    delay = written.first_arrivals.select(delay=pl.col("received_at") - pl.col("event_at"))["delay"].drop_nulls()
    late = delay.filter(delay >= timedelta(days=1))
    assert late.len() == written.world.late
    assert late.max() <= timedelta(days=3)
    assert late.len() / delay.len() == pytest.approx(activity.LATE_RATE, rel=0.3)
    assert delay.filter(delay < timedelta(days=1)).max() < timedelta(minutes=10)


def test_malformed_rows_are_counted_by_what_they_lack(written: Written) -> None:
    lacks = written.rows.select(
        ids=pl.col("user_id").is_null() & pl.col("anonymous_id").is_null(),
        time=pl.col("event_at").is_null(),
        kind=~pl.col("event_type").is_in(list(CANONICAL_TYPES)),
    )
    assert all(lacks[name].sum() > 0 for name in lacks.columns)
    assert lacks.select(pl.sum_horizontal(pl.all()))["ids"].max() == 1
    assert sum(lacks[name].sum() for name in lacks.columns) == written.world.malformed
    assert written.world.malformed / written.rows.height == pytest.approx(activity.MALFORMED_RATE, rel=0.4)


def test_future_events_are_counted_and_more_than_five_minutes_ahead(written: Written) -> None:
    ahead = written.first_arrivals.filter(pl.col("event_at") > pl.col("received_at"))
    assert ahead.height == written.world.future > 0
    assert (ahead["event_at"] - ahead["received_at"]).min() > timedelta(minutes=5)
    assert ahead.height / written.rows.height == pytest.approx(activity.FUTURE_RATE, rel=0.6)


def test_bots_burst_within_a_minute_at_night_without_dwelling(written: Written) -> None:
    bots = written.truth.filter("is_bot")["user_id"].unique()
    of_bots = written.rows.filter(pl.col("user_id").is_in(bots.implode()))
    assert bots.len() == written.world.bots == MIN_BOTS
    assert of_bots["dwell_seconds"].max() == 0.0
    delay = pl.col("received_at") - pl.col("event_at")
    ordinary = of_bots.filter(delay.is_between(pl.duration(), pl.duration(hours=1)))
    assert set(ordinary["event_at"].dt.hour().unique()) <= {1, 2, 3, 4, 5}
    bursts = ordinary.sort("event_at").rolling("event_at", period="1m", group_by="user_id").agg(pl.len())
    assert bursts.group_by("user_id").agg(pl.col("len").max())["len"].min() > 30
    agents = of_bots.group_by("user_id").agg(pl.col("user_agent").first())["user_agent"]
    crawlers = agents.str.contains("bot|python").sum()
    assert 0 < crawlers < bots.len()
    people = written.rows.filter(~pl.col("user_id").is_in(bots.implode()))
    assert people["dwell_seconds"].min() > 0.0
    nameless = written.rows.filter(pl.col("user_id").is_null(), pl.col("anonymous_id").is_null())
    assert of_bots.height + nameless.filter(pl.col("dwell_seconds") == 0).height == written.world.bot_events


def test_each_purchase_event_has_its_transaction_on_the_same_day(written: Written) -> None:
    bought = written.first_arrivals.filter(pl.col("event_type") == "purchase")
    assert bought["user_id"].is_unique().all()
    in_world = f"purchased_at >= '{written.start}'"
    sales = written.crm(f"SELECT user_email, purchased_at FROM Transactions WHERE {in_world}")
    emails = mail_of_users(written)
    events = bought.select("user_id", pl.col("event_at").dt.date()).rows()
    assert sorted((emails[user], str(day)) for user, day in events) == sorted(sales)
    assert len(sales) == written.world.converted_users > 0
    old = written.crm(
        f"SELECT max(purchased_at), min(product_id), max(product_id), count(*) FROM Transactions WHERE NOT {in_world}"
    )
    assert old[0][0] < str(written.start)
    assert old[0][1:] == (1, OLD_PRODUCTS, written.world.past_buyers)


def test_the_truth_agrees_with_the_purchases(written: Written) -> None:
    assert written.truth.height == 1_000 * 42
    assert written.truth.select("user_id", "day").is_unique().all()
    purchases = written.first_arrivals.filter(pl.col("event_type") == "purchase")
    bought = purchases.select("user_id", bought=pl.col("event_at").dt.date())
    joined = written.truth.join(bought, on="user_id", how="left")
    in_world = joined.filter(pl.col("bought").is_not_null())
    assert (in_world["is_converted_by"] == (in_world["day"] >= in_world["bought"])).all()
    others = joined.filter(pl.col("bought").is_null(), "is_converted_by")
    assert others["user_id"].n_unique() == written.world.past_buyers
    assert others.height == written.world.past_buyers * 42
    done = joined.filter(pl.col("is_bot") | "is_converted_by")
    assert done["conversion_probability_30d"].max() == 0.0
    open_users = joined.filter(~pl.col("is_bot"), ~pl.col("is_converted_by"))
    assert open_users["conversion_probability_30d"].min() > 0.0
    assert open_users["conversion_probability_30d"].max() < 1.0


def test_subscribers_have_one_address_each_but_for_the_planted_ones(written: Written) -> None:
    rows = written.crm("SELECT mailchimp_id, user_email, member_rating, optin_time, country_code FROM Subscribers")
    emails = [email for _, email, *_ in rows]
    assert len({mailchimp_id for mailchimp_id, *_ in rows}) == len(rows) == written.world.subscribers
    assert len(set(emails)) == len(rows)
    assert len(rows) - len({email.strip().lower() for email in emails}) == written.world.duplicate_emails >= 1
    assert 0.5 < len(rows) / 1_000 < 0.7
    ratings = [rating for _, _, rating, _, _ in rows]
    assert set(ratings) == {1, 2, 3, 4, 5}
    assert max(set(ratings), key=ratings.count) == 2
    countries = {code for *_, code in rows}
    assert {"uk", "us", ""} <= countries
    assert "gb" not in countries
    opt_ins = [opt_in for *_, opt_in, _ in rows]
    assert str(written.start - timedelta(days=730)) <= min(opt_ins) <= max(opt_ins) <= str(END)


def test_nothing_in_the_crm_comes_before_the_opt_in(written: Written) -> None:
    assert written.crm(
        "SELECT count(*) FROM Tags JOIN Subscribers USING (mailchimp_id) "
        f"WHERE tagged_at < optin_time OR tagged_at > '{END}'"
    ) == [(0,)]
    assert written.crm(
        "SELECT count(*) FROM Transactions JOIN Subscribers USING (user_email) WHERE purchased_at < optin_time"
    ) == [(0,)]
    assert written.crm("SELECT count(*), count(DISTINCT tag) > 50 FROM Tags") == [(written.world.tags, 1)]
    assert written.crm("SELECT count(*) FROM Transactions JOIN Products USING (product_id)") == [
        (written.world.transactions,)
    ]


def test_the_share_of_purchasers_is_plausible_on_every_day(written: Written) -> None:
    for day in range(42):
        as_of = written.start + timedelta(days=day)
        ((subscribers, buyers),) = written.crm(
            f"SELECT (SELECT count(*) FROM Subscribers WHERE optin_time <= '{as_of}'),"
            f" (SELECT count(*) FROM Transactions WHERE purchased_at <= '{as_of}')"
        )
        lowest, highest = (0.02, 0.40) if day > 10 else (0.01, 0.50)
        assert lowest < buyers / subscribers < highest, as_of


def test_event_emails_are_those_of_the_crm_up_to_case_and_space(written: Written) -> None:
    mails = written.rows.filter(pl.col("email").is_not_null())
    normal = mails["email"].str.strip_chars().str.to_lowercase()
    assert set(mails["event_type"].unique()) - set(activity.MISSPELT_TYPES) == {"signup", "form_submission"}
    assert 0 < (normal != mails["email"]).sum() < mails.height / 5
    assert normal.str.contains(r"@(example\.com|example\.org|mail\.example)$").all()
    emails = mail_of_users(written)
    known = mails.with_columns(normal.alias("normal")).filter(pl.col("user_id").is_in(list(emails)))
    assert known.height > 50
    assert all(emails[user] == email for user, email in known.select("user_id", "normal").rows())


def test_joiners_browse_anonymously_until_they_sign_up_once(written: Written) -> None:
    first = written.first_arrivals.filter(pl.col("event_at") < pl.col("received_at"))
    signups = first.filter(pl.col("event_type") == "signup")
    assert signups.height > 50
    assert signups["user_id"].is_unique().all()
    assert signups.select(pl.all_horizontal(pl.col("user_id", "anonymous_id").is_not_null())).to_series().all()
    when = signups.select("user_id", "anonymous_id", signup_at="event_at")
    before = first.filter(pl.col("user_id").is_null()).join(when, on="anonymous_id")
    after = first.filter(pl.col("event_type") != "signup").drop("anonymous_id").join(when, on="user_id")
    assert before.height > 50
    assert (before["event_at"] < before["signup_at"]).all()
    assert (after["event_at"] > after["signup_at"]).all()


def test_sessions_cross_midnight(written: Written) -> None:
    steps = (
        written.first_arrivals.filter(pl.col("event_at").is_not_null())
        .sort("user_id", "event_at")
        .select(
            pause=pl.col("event_at").diff().over("user_id"),
            crosses=pl.col("event_at").dt.date().diff().over("user_id") == timedelta(days=1),
        )
    )
    assert steps.filter("crosses", pl.col("pause") < timedelta(minutes=10)).height > 20


def test_weekends_are_quieter_and_activity_is_moderate(written: Written) -> None:
    bots = written.truth.filter("is_bot")["user_id"].unique()
    people = written.first_arrivals.filter(~pl.col("user_id").is_in(bots.implode()))
    per_weekday = people.group_by(pl.col("event_at").dt.weekday()).len().drop_nulls().sort("event_at")["len"]
    ratio = per_weekday[5:].mean() / per_weekday[:5].mean()
    assert 0.6 < ratio < 0.82
    assert 0.9 < people.height / 1_000 / 42 < 1.6


@pytest.mark.parametrize(("users", "days"), [(50, 3), (1, 2), (5, 1)])
def test_small_worlds_work_and_no_day_is_empty(tmp_path: Path, users: int, days: int) -> None:
    small = write(tmp_path, users=users, days=days)
    assert small.truth.height == users * days
    assert small.rows["file_day"].n_unique() == days


@pytest.mark.slow
def test_the_oracle_ranks_as_well_as_promised_at_the_promised_base_rate(tmp_path: Path) -> None:
    truth = write(tmp_path, users=3_000, days=120).truth.filter(~pl.col("is_bot"))
    later = truth.select("user_id", pl.col("day") - timedelta(days=30), is_buyer="is_converted_by")
    labelled = truth.filter(~pl.col("is_converted_by")).join(later, on=["user_id", "day"])
    first = END - timedelta(days=119)
    areas, rates = [], []
    for day in (30, 45, 60, 75, 89):
        frame = labelled.filter(pl.col("day") == first + timedelta(days=day))
        label, score = frame["is_buyer"].to_numpy(), frame["conversion_probability_30d"].to_numpy()
        areas.append(ranking_auc(score, label))
        rates.append(label.mean())
        assert score.mean() == pytest.approx(label.mean(), abs=0.015)  # the probabilities are calibrated
    assert 0.88 <= np.mean(areas) <= 0.92
    assert 0.05 <= np.mean(rates) <= 0.10


def test_poison_is_exactly_a_third_in_equal_parts(tmp_path: Path) -> None:
    path = write_poison_day(landing=tmp_path, day=END, seed=7, rows=3_001)
    rows = pl.read_csv(path, infer_schema=False)
    assert path == tmp_path / "native" / "events-2026-03-31-poison.csv"
    assert rows.columns == list(NATIVE_SCHEMA)
    assert rows.height == rows["event_id"].n_unique() == 3_001
    assert rows["event_id"].str.starts_with("p").all()
    kinds = rows.select(
        time=pl.col("event_at") == "31/02/2026 25:61",
        ids=pl.col("user_id").is_null() & pl.col("anonymous_id").is_null(),
        kind=~pl.col("event_type").is_in(list(CANONICAL_TYPES)),
    )
    assert sorted(kinds.sum().row(0)) == [333, 333, 334]
    assert kinds.select(pl.any_horizontal(pl.all()))["time"].sum() == 1_000
    assert rows["received_at"].str.starts_with("2026-03-31T").all()
    good = rows.filter(~kinds.select(pl.any_horizontal(pl.all())).to_series())
    assert good["event_at"].str.to_datetime("%Y-%m-%dT%H:%M:%S%.6f").dt.date().unique().to_list() == [END]


def test_poison_days_are_reproducible_and_share_no_event_id(tmp_path: Path) -> None:
    first = write_poison_day(landing=tmp_path / "a", day=END, seed=7, rows=90)
    again = write_poison_day(landing=tmp_path / "b", day=END, seed=7, rows=90)
    before = write_poison_day(landing=tmp_path / "a", day=END - timedelta(days=1), seed=7, rows=90)
    assert first.read_bytes() == again.read_bytes()
    ids = [set(pl.read_csv(path)["event_id"]) for path in (first, before)]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize(("users", "days", "seed", "name"), [(0, 3, 1, "users"), (5, 0, 1, "days"), (5, 3, -1, "seed")])
def test_unusable_arguments_are_refused_before_anything_is_written(
    tmp_path: Path, users: int, days: int, seed: int, name: str
) -> None:
    with pytest.raises(ConfigError, match=f"{name} cannot be used"):
        write(tmp_path, users=users, days=days, seed=seed)
    assert list(tmp_path.iterdir()) == []


def mail_of_users(written: Written) -> dict[str, str]:
    """The CRM's address of each user who has one, by the number that stands in both."""
    rows = written.crm("SELECT user_email FROM Subscribers")
    normal = {email.strip().lower() for (email,) in rows}
    return {f"u{int(email.split('@')[0].split('.')[1]):06d}": email for email in normal}
