"""The synthetic world: landing files, a CRM database and the truth behind them, from one seed.

Demo data takes the same path as real data, so this module only writes what a real source would have dropped (plus the
truth, for judging models). Belongs here: which files there are and in what order they are drawn (`people.py`,
`intent.py`, `activity.py` and `crm.py` draw). Does not belong here: reading any of it back (`sources/landing.py`,
`sources/crm.py`), clocks, environment, Dagster.

How the world works. Every user has an intent per day, in logits: intent = static + wave + project. `static` is who
they are (persona plus a normal draw), `wave` an AR(1) that forgets over about half a year, `project` a buying project
that starts at random, ramps up over two weeks and fades. Each day a user who never bought buys with probability
sigmoid(BUY_INTERCEPT + intent); the first purchase is the conversion and the only one in the world. Worlds start in
the steady state: during the burn-in, whoever would have bought is replaced by a fresh user.

Difficulty, fixed: knowing the true state at the end of a day, "purchases within the next 30 days" among the users who
never bought is ranked with a ROC AUC of 0.88 to 0.92, at a base rate of 5 to 10 % (as-of days in the middle of a
120-day world). Counts of events carry most of it: trees on 7, 30 and 90 day counts reach about 0.85.

Past buyers: 2.5 % of the users bought an older product before the world begins. They hold a Transactions row dated
before the first day and no purchase event; they count as converted from the first day on and never buy again.

The same arguments give byte-identical files (same library versions). Files of another world are not removed.
"""

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from gesture_assets.demo.activity import (
    BAD_TYPE,
    CANONICAL_TYPES,
    CLEAN,
    DUPLICATE,
    FORM,
    FUTURE,
    LATE,
    NO_ID,
    NO_TIME,
    PURCHASE,
    SIGNUP,
    day_of_events,
    event_codes,
    native_rows,
)
from gesture_assets.demo.crm import crm_tables
from gesture_assets.demo.days import DAY, EPOCH, MINUTE, SECOND, microseconds
from gesture_assets.demo.files import replace_file, write_sqlite
from gesture_assets.demo.intent import LatentState, latent_state
from gesture_assets.demo.people import People, draw_people, signed_up_to_buy
from gesture_assets.errors import ConfigError


@dataclass(frozen=True)
class DemoWorld:
    """What was written. Fault counts are of rows in the files, so rows that arrive after the end are not in them."""

    event_files: tuple[Path, ...]
    crm: Path
    truth: Path
    events: int
    duplicates: int
    late: int
    malformed: int
    future: int
    bots: int
    bot_events: int
    subscribers: int
    duplicate_emails: int
    tags: int
    transactions: int
    past_buyers: int
    converted_users: int


def write_demo_world(
    *,
    landing: Path,
    crm: Path,
    truth: Path,
    users: int,
    days: int,
    seed: int,
    end: date,
    progress: Callable[[str], None] | None = None,
) -> DemoWorld:
    """Write `days` days of events up to and with `end`, the CRM database and the truth; return what was written.

    One file per UTC day of receipt in `landing/native`, holding what was received on that day. Events received after
    `end` are not written. What lands does so together, at the end: half a world would be taken for one. Raises
    `ConfigError` for counts below 1.
    """
    _require_at_least(1, users=users, days=days)
    _require_at_least(0, seed=seed)
    start = end - timedelta(days=days - 1)
    people = draw_people(users, days, np.random.default_rng([seed, 1]))
    state = latent_state(people, days, np.random.default_rng([seed, 2]))
    people = signed_up_to_buy(people, state.bought_on)
    with ThreadPoolExecutor(1) as writer:  # writes one file while the next is drawn
        part = landing.with_name(f".{landing.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        landed = _write_event_files(people, state, start, seed, part, writer, progress)
        truth_written = writer.submit(_write_truth, people, state, start, truth)
        database = crm_tables(people, state, start, days, np.random.default_rng([seed, 4]))
        replace_file(crm, lambda target: write_sqlite(target, database.tables))
        truth_written.result()
    event_files = _land(part, landing / "native", [path.name for path in landed.files])
    counts = landed.rows_by_fault
    return DemoWorld(
        event_files=event_files,
        crm=crm,
        truth=truth,
        events=int(counts.sum()),
        duplicates=int(counts[DUPLICATE]),
        late=int(counts[LATE]),
        malformed=int(counts[[NO_ID, NO_TIME, BAD_TYPE]].sum()),
        future=int(counts[FUTURE]),
        bots=int(people.is_bot.sum()),
        bot_events=landed.bot_events,
        past_buyers=int(people.is_past_buyer.sum()),
        converted_users=int((state.bought_on < days).sum() - people.is_past_buyer.sum()),
        subscribers=database.tables["Subscribers"].height,
        duplicate_emails=database.duplicate_emails,
        tags=database.tables["Tags"].height,
        transactions=database.tables["Transactions"].height,
    )


@dataclass(frozen=True)
class _EventFiles:
    """The files, and what rows they hold: how many with each fault, how many of bots."""

    files: list[Path]
    rows_by_fault: np.ndarray
    bot_events: int


def _write_event_files(
    people: People,
    state: LatentState,
    start: date,
    seed: int,
    folder: Path,
    writer: ThreadPoolExecutor,
    progress: Callable[[str], None] | None,
) -> _EventFiles:
    counts = np.zeros(7, dtype=np.int64)
    files: list[Path] = []
    bot_events = event_number = 0
    pending: dict[int, list[pl.DataFrame]] = {}
    written: Future[None] | None = None
    for day in range(len(state.intent)):
        midnight = microseconds(start + timedelta(days=day))
        drawn = day_of_events(people, state, day, midnight, event_number, np.random.default_rng([seed, 3, day]))
        event_number += drawn.height
        for (offset,), part in drawn.partition_by("received_on", as_dict=True, include_key=False).items():
            pending.setdefault(int(offset), []).append(part)
        codes = pl.concat(pending.pop(day))
        counts += np.bincount(codes["fault"].to_numpy(), minlength=7)
        bot_events += int(people.is_bot[codes["user"].to_numpy()].sum())
        path = folder / f"events-{start + timedelta(days=day)}.parquet"
        if written is not None:
            written.result()
        written = writer.submit(_write_events, codes, people.profile, path)
        files.append(path)
        if progress is not None:
            progress(f"{path.name}: {codes.height:,} events")
    if written is not None:
        written.result()
    return _EventFiles(files, counts, bot_events)


def _land(part: Path, folder: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """Put the files `names` of `part` into `folder`: all at once, where it is not there yet and on the same disk."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        for name in names:
            shutil.move(part / name, folder / name)
        part.rmdir()
    else:
        shutil.move(part, folder)
    return tuple(folder / name for name in names)


def write_poison_day(*, landing: Path, day: date, seed: int, rows: int = 3_000) -> Path:
    """Land a CSV of `rows` rows dated `day`, of which exactly `rows // 3` cannot be accepted; return its path.

    The bad rows are unparsable times, missing ids and unknown event types in equal parts; the rest is good and new.
    """
    _require_at_least(1, rows=rows)
    _require_at_least(0, seed=seed)
    rng = np.random.default_rng([seed, 5, day.toordinal()])
    people = draw_people(max(rows // 10, 1), 1, rng)
    fault = np.where(np.arange(rows) < rows // 3, NO_ID + np.arange(rows) % 3, CLEAN)
    user = rng.integers(0, len(people.persona), rows)
    event_at = microseconds(day) + rng.integers(0, DAY - 10 * MINUTE, rows)
    types = np.setdiff1d(np.arange(len(CANONICAL_TYPES)), [SIGNUP, PURCHASE, FORM])  # none that names an e-mail
    codes = event_codes(people, user, event_at, rng.choice(types, rows), rng).with_columns(
        pl.Series("fault", rng.permutation(fault), dtype=pl.UInt8),
        pl.Series("received_at", event_at + 2 * SECOND),
        ((day - EPOCH).days * 10**7 + pl.int_range(rows)).alias("number"),  # no two days share an event id
        pl.lit(0, pl.Int8).alias("identity"),
    )
    times = [pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.6f") for name in ("event_at", "received_at")]
    frame = native_rows(codes, people.profile, prefix="p").with_columns(times)
    frame = frame.with_columns(event_at=pl.col("event_at").fill_null("31/02/2026 25:61"))
    path = landing / "native" / f"events-{day}-poison.csv"
    replace_file(path, frame.write_csv)
    return path


def _require_at_least(minimum: int, **values: int) -> None:
    for name, value in values.items():
        if value < minimum:
            raise ConfigError.bad_value(
                name,
                expected=f"a whole number of at least {minimum}",
                found=value,
                where="the arguments of the synthetic world",
                next_step="gesture demo-data --users 2000 --days 60 --seed 7",
            )


def _write_events(codes: pl.DataFrame, profile: pl.DataFrame, path: Path) -> None:
    rows = native_rows(codes.sort("received_at", "number"), profile, prefix="e")
    # lz4 rather than zstd: a third larger, a quarter faster to write, and writing is what bounds the generator
    replace_file(path, lambda target: rows.write_parquet(target, compression="lz4"))


def _write_truth(people: People, state: LatentState, start: date, path: Path) -> None:
    days, users = state.intent.shape
    day = np.repeat(np.arange(days, dtype=np.int32) + (start - EPOCH).days, users)
    frame = pl.DataFrame(
        {
            "user_id": pl.concat([people.profile["user_id"]] * days),
            "day": pl.Series(day).cast(pl.Date),
            "intent": state.intent.ravel(),
            "conversion_probability": state.hazard.ravel(),
            "conversion_probability_30d": state.within_30d.ravel(),
            "is_bot": np.tile(people.is_bot, days),
            "is_converted_by": (state.bought_on[None, :] <= np.arange(days)[:, None]).ravel(),
        }
    )
    replace_file(path, lambda target: frame.write_parquet(target, compression="zstd", compression_level=1))
