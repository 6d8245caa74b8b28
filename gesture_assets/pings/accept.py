"""Landed rows that are interactions, short videos and their users: copies removed, the others set aside with a reason.

Belongs here: frames of landed rows to the rows of the tables and of the quarantine. Does not belong here: reading files
(`sources/`), what an interaction is worth.
"""

from collections.abc import Sequence

import narwhals as nw

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.events.accept import ROW, copies, without
from gesture_assets.events.tables import IGNORED
from gesture_assets.frames import Frame
from gesture_assets.pings.tables import (
    INTERACTION_TYPES,
    PING_INTERACTIONS,
    PING_REASONS,
    QUARANTINED_PING_ROWS,
    REPEATED_ID,
    UNKNOWN_PING,
)

SEVERAL = " "  # stands between the types of a row that tells several interactions
# The checks that rows would have failed; all others lack what they must have.
CHECKS = {
    "unknown_event_type": "every_interaction_has_a_known_type",
    "future_ts": "no_interaction_comes_from_the_future",
    "too_old": "no_interaction_is_older_than_a_year",
    "negative_watch_time": "no_watch_time_is_negative",
    UNKNOWN_PING: "every_interaction_is_with_a_known_ping",
    REPEATED_ID: "each_key_occurs_once",
    "personal_id": "no_text_holds_an_ip_or_email_address",
    "unreadable_row": "columns_are_as_contracted_and_in_order",
}
MISSING = "no_required_value_is_missing"


def with_known_pings(landed: Frame, pings: Frame) -> Frame:
    """`landed` interactions, with a reason against those whose ping is not among `pings` on their day."""
    known = pings.select(PARTITION, "ping_id", is_known=nw.lit(True))
    joined = landed.join(known, on=[PARTITION, "ping_id"], how="left")
    is_unknown = nw.col("reason").is_null() & nw.col("is_known").is_null()
    return _set_aside(joined, is_unknown, UNKNOWN_PING, ("user_id", "ping_id", "event_type")).drop("is_known")


def missing_pings(landed: Frame, pings: Frame, later: Frame, *, content: Sequence[str]) -> Frame:
    """Of the rows of `later` catalogues those of pings that `landed` interactions need and `pings` lacks on their day.

    As `catalogue` returns them, behind the pings of the day in its order.
    """
    wanted = landed.filter(nw.col("reason").is_null()).select(PARTITION, "ping_id").unique()
    lacking = wanted.join(pings.select(PARTITION, "ping_id"), on=[PARTITION, "ping_id"], how="anti")
    found = catalogue(later.join(lacking, on=[PARTITION, "ping_id"], how="semi"), key="ping_id", content=content)
    last = pings.group_by(PARTITION).agg(nw.col("catalogue_row").max().alias("last_row"))
    row = nw.col("catalogue_row") + nw.col("last_row").fill_null(0)
    return found.join(last, on=PARTITION, how="left").with_columns(catalogue_row=row).drop("last_row")


def interactions(landed: Frame, ids_of_earlier_days: Frame) -> Frame:
    """The landed rows that are interactions, without further copies; see `events.accept.copies`."""
    accepted = landed.filter(nw.col("reason").is_null())
    return without(accepted, copies(accepted, ids_of_earlier_days))


def one_by_one(rows: Frame) -> Frame:
    """An interaction for each type that a row tells, in the columns of the contract; only a view has been watched."""
    tells_several = nw.col("event_type").str.contains(SEVERAL, literal=True)
    several = rows.filter(tells_several)
    types = nw.concat_str([nw.lit(SEVERAL), nw.col("event_type"), nw.lit(SEVERAL)])
    single = [
        several.filter(types.str.contains(f"{SEVERAL}{name}{SEVERAL}", literal=True)).with_columns(
            event_id=nw.concat_str([nw.col("event_id"), nw.lit(f":{name}")]),
            event_type=nw.lit(name),
            **({} if name == "view" else {"watch_time_sec": nw.lit(None, nw.Float64)}),
        )
        for name in INTERACTION_TYPES
    ]
    return nw.concat(
        [frame.select(*PING_INTERACTIONS.column_names) for frame in (rows.filter(~tells_several), *single)]
    )


def catalogue(landed: Frame, *, key: str, content: Sequence[str]) -> Frame:
    """The `landed` rows of the catalogues of each day, with `is_copy` and `catalogue_row`.

    A row that says the same as one before it is a copy; one that says something else of the same `key` is set aside.
    """
    order = ("source", "landing_line")

    def place(*within: str) -> nw.Expr:
        return nw.col("landing_line").cum_count().over(*within, order_by=order)

    sound = landed.filter(nw.col("reason").is_null()).with_columns(is_copy=place(PARTITION, *content) > 1)
    first = sound.filter(~nw.col("is_copy")).with_columns(place_of_key=place(PARTITION, key))
    first = _set_aside(first, nw.col("place_of_key") > 1, REPEATED_ID, content).drop("place_of_key")
    stands = first.filter(nw.col("reason").is_null()).with_columns(catalogue_row=place(PARTITION).cast(nw.Int64))
    others = nw.concat(
        [
            first.filter(~nw.col("reason").is_null()),
            sound.filter(nw.col("is_copy")),
            landed.filter(~nw.col("reason").is_null()).with_columns(is_copy=nw.lit(False)),
        ]
    ).with_columns(catalogue_row=nw.lit(None, nw.Int64))
    return nw.concat([stands, others.select(*stands.collect_schema().names())])


def standing(catalogue: Frame) -> Frame:
    """The rows of a `catalogue` that are nobody's copies and have no reason against them."""
    return catalogue.filter(nw.col("reason").is_null() & ~nw.col("is_copy"))


def quarantined(landed: Frame, kind: str) -> Frame:
    """The `landed` rows of a `kind` that were set aside, with the reason and the check they would have failed."""
    reasons = list(PING_REASONS)
    name = "event_name" if kind == "interaction" else nw.lit(None, nw.String).alias("event_name")
    return (
        landed.filter(nw.col("reason") != IGNORED)
        .with_columns(
            name,
            kind=nw.lit(kind),
            check_name=nw.col("reason").replace_strict(
                reasons, [CHECKS.get(reason, MISSING) for reason in reasons], default=nw.lit(MISSING)
            ),
        )
        .select(*QUARANTINED_PING_ROWS.column_names)
    )


def counted(rows: Frame, kind: str) -> Frame:
    """What `events.accept.reconciliation` asks of rows: a catalogue has neither types nor moments."""
    if kind != "interaction":
        rows = rows.with_columns(event_name=nw.lit(None, nw.String), event_at=nw.lit(None, nw.Datetime("us")))
    return rows.select(PARTITION, "source", *ROW, "reason", "event_name", "event_at", "unreadable", "redacted")


def _set_aside(rows: Frame, is_wrong: nw.Expr, reason: str, shown: Sequence[str]) -> Frame:
    """`rows`, with the `reason` against those that are wrong, and what was read of them: they are no longer at hand."""
    texts = [
        nw.concat_str([nw.lit(f"{name}: "), nw.col(name).cast(nw.String).fill_null("-")])  # a null would empty the text
        for name in shown
    ]
    return rows.with_columns(
        reason=nw.when(is_wrong).then(nw.lit(reason)).otherwise(nw.col("reason")),
        masked_row=nw.when(is_wrong).then(nw.concat_str(texts, separator=", ")).otherwise(nw.col("masked_row")),
    )
