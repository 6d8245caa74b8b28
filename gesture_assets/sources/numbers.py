"""Numbers as files write them, and cells that hold something else.

Belongs here: the SQL that reads a number, and the form of numbers with a decimal comma. Does not belong here: which
column holds it (`columns.py`), how many cells may be unreadable (`events/tables.py`).
"""

from gesture_assets.pings.tables import OLDEST_USER
from gesture_assets.sources.description import SourceDescription
from gesture_assets.vocabulary.sql import literal

LARGEST_NUMBER = 1e15  # more seconds, percent or dollars than there are, and whole numbers are exact up to here
YEAR = 366 * 86_400  # seconds
# What a number can be at all; what lies outside is no reading of it. No time at once lasts longer than a year.
POSSIBLE = {
    "dwell_seconds": (0, YEAR),
    "watch_time_sec": (-YEAR, YEAR),  # one below zero is held against its row
    "duration_sec": (0.001, YEAR),
    "age": (0, OLDEST_USER),
    "scroll_depth_pct": (0, 100),
    "recent_pages_viewed": (0, 2**31 - 1),
    "recent_pricing_views": (0, 2**31 - 1),
}
# What stands between thousands where the decimal sign is a comma: a point, a space of any width, an apostrophe.
THOUSANDS = ". \u00a0\u2009\u202f'\u2019"


def number_sql(text: str, source: SourceDescription) -> str:
    """The SQL expression `text` as a double, null where it is no number as the source writes them."""
    if source.decimal == ".":
        return f"if(contains({text}, '_'), null, try_cast({text} as double))"  # the engine takes 1_000 for 1000
    signs = THOUSANDS.replace("'", "''")
    form = rf"[+-]?(\d{{1,3}}([{signs}]\d{{3}})+|\d*)(,\d+)?([eE][+-]?\d+)?"
    plain = f"replace(translate({text}, {literal(THOUSANDS)}, ''), ',', '.')"
    return f"if(regexp_full_match({text}, '{form}'), try_cast({plain} as double), null)"


def finite_sql(number: str) -> str:
    """The SQL expression `number` where it is one. Not a number is more than any, so it fails as the infinite does.

    Zero has no sign: of two zeros that are equal, which one is the greatest would depend on the order of rows.
    """
    return f"case when abs({number}) <= {LARGEST_NUMBER} then if({number} = 0, 0::double, {number}) end"


def possible_sql(number: str, name: str) -> str:
    """The SQL expression `number` where the column `name` can have it."""
    if name not in POSSIBLE:
        return number
    low, high = POSSIBLE[name]
    return f"case when {number} between {low} and {high} then {number} end"
