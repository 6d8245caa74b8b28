"""What pings were shown to the same users: by hand, in any order, and nothing of the days after."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from gesture_assets.pings.company import COMPANY, DIRECTIONS, PRIOR_USERS, USERS_AT_ONCE, in_company
from gesture_assets.pings.impressions import refuse_what_is_known_too_late

DAY = date(2026, 3, 1)


def shown(*pairs: tuple[str, str, int]) -> pl.DataFrame:
    """Impressions: of a user, a ping, so many days after the first."""
    return pl.DataFrame(
        [(user, ping, DAY + timedelta(days=after)) for user, ping, after in pairs],
        schema=["user_id", "ping_id", "day"],
        orient="row",
    )


def by_chance(n_users: int, n_pings: int, n: int, n_days: int = 4) -> pl.DataFrame:
    """The users' pings by chance: each is mostly shown those of one half."""
    rng = np.random.default_rng(1)
    user = rng.integers(0, n_users, n)
    half = (user % 2 + (rng.random(n) < 0.1)) % 2
    ping = rng.integers(0, n_pings // 2, n) * 2 + half
    days = rng.integers(0, n_days, n)
    return shown(*((f"u{u}", f"p{p}", int(d)) for u, p, d in zip(user, ping, days, strict=True)))


def everything(history: pl.DataFrame, as_of: date) -> pl.DataFrame:
    pairs = history.select(pl.col("user_id").unique().sort()).join(
        history.select(pl.col("ping_id").unique().sort()), how="cross"
    )
    return pairs.with_columns(as_of=pl.lit(as_of))


def test_pings_are_together_by_the_users_that_they_share() -> None:
    # x: a and b; y: b and c; z: d alone. A second day of b with y is the same pair.
    history = shown(("a", "x", 0), ("b", "x", 0), ("b", "y", 0), ("b", "y", 1), ("c", "y", 1), ("d", "z", 0))
    asked = pl.DataFrame(
        {"user_id": ["a", "a", "a", "c", "stranger"], "ping_id": ["y", "z", "lost", "x", "x"], "day": 1}
    ).select("user_id", "ping_id", as_of=pl.lit(DAY + timedelta(days=1)))
    found = in_company(asked, history)
    kin = 1 / (2 + PRIOR_USERS)  # one user in common, two each
    assert found["shown_together"].to_list() == pytest.approx([kin, 0, 0, kin, 0])
    early = in_company(asked.with_columns(as_of=pl.lit(DAY)), history)
    assert early["shown_together"].to_list() == pytest.approx([1 / np.sqrt(7 * 6), 0, 0, 0, 0])
    assert found.select("user_id", "ping_id", "as_of").equals(asked)


def test_unseen_pings_of_the_user_s_half_are_more_alike_than_the_others() -> None:
    history = by_chance(600, 100, 3_000)
    rows = everything(history, DAY + timedelta(days=3)).join(history, on=["user_id", "ping_id"], how="anti")
    found = in_company(rows, history)
    number = found.select(pl.col("user_id", "ping_id").str.slice(1).cast(pl.Int64))
    is_same = (number["user_id"] - number["ping_id"]) % 2 == 0
    for name in COMPANY:
        means = found.group_by(is_same=is_same).agg(pl.col(name).mean())
        alike, others = (means.filter(is_same=same)[name].item() for same in (True, False))
        assert alike > others + 0.001, name


def test_nothing_depends_on_order_on_other_rows_nor_on_how_many_users_are_held() -> None:
    history = by_chance(USERS_AT_ONCE + 50, 2 * DIRECTIONS, 6_000)
    rows = pl.concat([everything(history, DAY + timedelta(days=day)) for day in (1, 3)])
    found = in_company(rows, history)
    order = pl.Series(np.random.default_rng(1).permutation(rows.height))
    assert in_company(rows[order], history.reverse()).equals(found[order])
    some = found.filter(pl.col("user_id").is_in(["u7", f"u{USERS_AT_ONCE + 3}"]))
    assert some.height == 2 * 2 * history["ping_id"].n_unique()
    assert in_company(some.select(rows.columns), history).equals(some)


def test_what_happens_later_changes_nothing() -> None:
    history = by_chance(60, 20, 500)
    rows = pl.concat([everything(history, DAY + timedelta(days=day)) for day in (0, 2)])
    refuse_what_is_known_too_late(rows, history, in_company)


def test_of_an_empty_past_or_no_rows_there_is_nothing_to_know() -> None:
    history = shown(("a", "x", 0))
    rows = everything(history, DAY)
    assert in_company(rows.clear(), history).columns == [*rows.columns, *COMPANY]
    assert in_company(rows, history.clear()).select(COMPANY).rows() == [(0.0, 0.0)]
    assert in_company(rows, history).select(COMPANY).rows() == [(pytest.approx(1 / (1 + PRIOR_USERS)), 0.0)]
