"""The health of recommendations: the six figures of document 004's dashboard, and who comes back.

Belongs here: figures of interactions and lists, each with what it was counted over. Does not belong here: whether one
list is better than another (`evaluation.py`), sentences about them (`insights.py`).
"""

from datetime import date, datetime, time, timedelta
from decimal import Decimal

import narwhals as nw
import polars as pl

from gesture_assets.frames import Frame, to_polars

WATCHED_THROUGH, ENGAGED_VIEW = 0.8, 0.5
ENGAGING = ("view", "like", "comment", "share")
HIT_LENGTH = 10
VIEW_WITHIN_SECONDS = 86_400.0
SESSION_GAP_SECONDS = 1_800.0  # a longer pause begins another session
RETENTION_DAYS = 7
NEVER = datetime.combine(date(9999, 1, 1), time())
SCHEMA = {"metric": pl.String, "value": pl.Float64, "counted": pl.Int64}


def recsys_health(
    scored: Frame,
    pings: Frame,
    lists: Frame,
    later: Frame,
    *,
    shown: Frame | None = None,
    until: datetime | None = None,
) -> pl.DataFrame:
    """`metric`, `value`, `counted` (rows, users or pings that the value is of; with none the value is null).

    `scored` and `later` are of `event_scores`: what had happened, and what did after the `lists` (`user_id`, `rank`,
    `ping_id`) were made; `shown` are the lists whose coverage is asked, where those are others. With `until`, the end
    of `scored`, impressions of its last 24 hours are not asked for a view.

    watch_through_rate: share of views with 80 % watched. engagement_per_impression: views, likes, comments and shares
    ÷ impressions. hit_rate_at_10: share of users with a list who shared, commented or watched half of one of its first
    ten. median_seconds_to_first_engagement: from the first impression of a user and ping to the first view or like
    from then on, where there is one. coverage: share of the catalogue that is in any list. impressions_without_view:
    share of impressions that no view of the same user and ping follows within 24 hours.
    """
    ratio, kind = nw.col("watch_time_ratio"), nw.col("event_type")
    counts = to_polars(
        scored.select(
            views=_number(kind == "view").sum(),
            through=_number(ratio >= WATCHED_THROUGH).sum(),
            engaging=_number(kind.is_in(ENGAGING)).sum(),
            impressions=_number(kind == "impression").sum(),
        )
    ).row(0, named=True)
    known = to_polars(pings.select("ping_id"))
    listed = to_polars(lists.filter(nw.col("rank") <= HIT_LENGTH).select("user_id", "ping_id"))
    liked = kind.is_in(("share", "comment")) | (ratio >= ENGAGED_VIEW)
    done = to_polars(later.filter(liked).select("user_id", "ping_id"))
    hits = listed.join(done, on=["user_id", "ping_id"], how="semi")
    listed_pings = to_polars((lists if shown is None else shown).select("ping_id"))["ping_id"].unique()
    first, followed = _after_impressions(scored, until)
    return pl.DataFrame(
        [
            _share("watch_through_rate", counts["through"], counts["views"]),
            _share("engagement_per_impression", counts["engaging"], counts["impressions"]),
            _share("hit_rate_at_10", hits["user_id"].n_unique(), listed["user_id"].n_unique()),
            ("median_seconds_to_first_engagement", first.median(), len(first)),
            _share("coverage", known["ping_id"].is_in(listed_pings.implode()).sum(), known.height),
            _share("impressions_without_view", (~followed).sum(), len(followed)),
        ],
        schema=SCHEMA,
        orient="row",
    )


def retention(interactions: Frame, pings: Frame, *, until: datetime, days: int = RETENTION_DAYS) -> pl.DataFrame:
    """`metric`, `value`, `counted`, as `recsys_health` has them, of the `days` before `until` and as many before them.

    user_retention, creator_retention: share of the users who did anything, and of the creators who published, in the
    earlier days that did so in the later ones, too. mean_session_seconds, mean_session_events: of the later days'
    sessions, which a pause of more than 30 minutes ends; a session of one event lasts 0 seconds.
    """
    starts = [until - timedelta(days=days * number) for number in (2, 1)]
    users = [_between(interactions, "event_at", start, days).select("user_id") for start in starts]
    published = [_between(pings, "created_at", start, days).select("creator_id") for start in starts]
    rows: list[tuple[str, float | None, int]] = []
    for metric, (earlier, later) in (("user_retention", users), ("creator_retention", published)):
        before, after = (to_polars(frame).drop_nulls().unique() for frame in (earlier, later))
        kept = before.join(after, on=before.columns, how="semi").height
        rows.append(_share(metric, kept, before.height))
    sessions = to_polars(_sessions(_between(interactions, "event_at", starts[1], days)))
    rows.append(_share("mean_session_seconds", sessions["seconds"].sum(), sessions.height))
    rows.append(_share("mean_session_events", sessions["events"].sum(), sessions.height))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _after_impressions(scored: Frame, until: datetime | None) -> tuple[pl.Series, pl.Series]:
    """Seconds from the first impression to the first engagement; of each impression whether a view followed."""
    kind, pair = nw.col("event_type"), ("user_id", "ping_id")
    is_impression = kind == "impression"
    events = scored.filter(kind.is_in(("impression", "view", "like")))
    # At the same moment the impression comes first: it is what was viewed.
    never = nw.lit(NEVER).cast(nw.Datetime("us"))  # and not null, where a running minimum would be null itself
    placed = events.with_columns(
        view_at=nw.when(kind == "view").then(nw.col("event_at")).otherwise(never),
        engaged_at=nw.when(~is_impression).then(nw.col("event_at")).otherwise(never),
        turn=_number(~is_impression),
    )
    following = placed.with_columns(
        nw.col("view_at", "engaged_at").cum_min(reverse=True).over(*pair, order_by=("event_at", "turn"))
    ).filter(is_impression)
    table = to_polars(following.select(*pair, "event_at", "view_at", "engaged_at")).with_columns(
        pl.when(pl.col(name) < NEVER).then(name) for name in ("view_at", "engaged_at")
    )
    first = table.group_by("user_id", "ping_id").agg(pl.all().sort_by("event_at").first())
    waited = (first["engaged_at"] - first["event_at"]).drop_nulls().dt.total_microseconds().sort() / 1_000_000
    if until is not None:
        table = table.filter(pl.col("event_at") <= until - timedelta(seconds=VIEW_WITHIN_SECONDS))
    seconds = (table["view_at"] - table["event_at"]).dt.total_microseconds() / 1_000_000
    return waited, (seconds <= VIEW_WITHIN_SECONDS).fill_null(False)


def _between(frame: Frame, column: str, start: datetime, days: int) -> Frame:
    low, high = (nw.lit(moment).cast(nw.Datetime("us")) for moment in (start, start + timedelta(days=days)))
    return frame.filter(nw.col(column) >= low, nw.col(column) < high)


def _sessions(interactions: Frame) -> Frame:
    """`seconds` (whole) and `events` of each session."""
    at = nw.col("event_at")
    order = {"order_by": "event_at"}
    pauses = interactions.select("user_id", "event_at", before=at.shift(1).over("user_id", **order)).with_columns(
        begins=_number(((at - nw.col("before")).dt.total_seconds() > SESSION_GAP_SECONDS).fill_null(True))
    )
    numbered = pauses.with_columns(session=nw.col("begins").cum_sum().over("user_id", **order))
    sums = numbered.group_by("user_id", "session").agg(
        at.min().alias("first"), at.max().alias("last"), nw.len().alias("events")
    )
    length = (nw.col("last") - nw.col("first")).dt.total_seconds()
    return sums.select(seconds=length.cast(nw.Int64), events=nw.col("events").cast(nw.Int64))


def _number(flag: nw.Expr) -> nw.Expr:
    return nw.when(flag).then(nw.lit(1, nw.Int64)).otherwise(nw.lit(0, nw.Int64))


def _share(metric: str, part: float | Decimal, whole: int) -> tuple[str, float | None, int]:
    return metric, float(part) / float(whole) if whole else None, int(whole)
