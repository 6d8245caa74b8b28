"""What landed and is in no score: events of types that nobody has named, and a CRM whose people no event is of.

Belongs here: saying so, with the way to change it, from the published file. Does not belong here: what the rules do not
hear of what counts (`unheard.py`).
"""

from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from gesture_assets.sources.description import alike
from gesture_assets.vocabulary.event_types import EVENT_TYPE_NAMES

SHOWN = 3  # types
RECENT_DAYS = 30
FEW = 10  # of fewer people it may be chance that no address meets another
RARELY = 0.01


def unnamed_types(con: Any, day: date, user_sources: Path) -> list[str]:
    """Event types of the last `RECENT_DAYS` that no description names, most frequent first, and what names them."""
    rows = con.execute(
        f"select source, event_name, count(*) from quarantined_events where reason = 'unknown_event_type' "
        f"and event_name is not null and as_of_date > date '{day}' - {RECENT_DAYS} "
        "group by all order by count(*) desc, source, event_name"
    ).fetchall()
    if not rows:
        return []
    more = f"  and {len(rows) - SHOWN} more:  gesture quarantine show --reason unknown_event_type"
    return [
        f"Not counted: event types that no description names. Say in {user_sources}/<source>.toml what they are, or "
        'leave them out with  ignore, then  gesture quarantine replay --reason "why"',
        *(_naming(source, name, count) for source, name, count in rows[:SHOWN]),
        *([more] if len(rows) > SHOWN else []),
    ]


def _naming(source: str, name: str, count: int) -> str:
    """How often the type `name` came, and what to write so that it counts; or is left out, where none is like it."""
    near = get_close_matches(alike(name), EVENT_TYPE_NAMES, 1, 0.5)
    said = f'[event_types] "{name}" = "{near[0]}"' if near else f'ignore = ["{name}"]'
    return f"  {count:,} × {name} of {source}:  {said}"


def strangers(con: Any, day: date) -> str:
    """That hardly anybody whom the CRM knows is among those who do something, in a sentence; empty where they are."""
    ((subscribers, users, both),) = con.execute(
        "select count(*) filter (is_subscriber), count(*) filter (event_count > 0), "
        "count(*) filter (is_subscriber and event_count > 0) from user_features where as_of_date = ?",
        [day],
    ).fetchall()
    fewer = min(subscribers, users)
    if fewer < FEW or both > fewer * RARELY:
        return ""
    return (
        f"Of {subscribers:,} people in the CRM and {users:,} with events, {both:,} are the same: of others "
        "nobody knows who has bought. They meet by the address: name it as email under [columns] of the "
        "source's description."
    )
