"""Which campaign brought a visit of the synthetic world: told by who and when, and by nothing that is drawn.

Belongs here: campaigns, their shares, and who came by which in a week. Does not belong here: what people do
(`activity.py`). The world's own draws are left as they are, so all else in it is the same as without campaigns.
"""

import numpy as np
import polars as pl

from gesture_assets.demo.days import DAY

# channel, campaign, source, medium, and the share of the visits of a week
WAYS = (
    ("direct", None, None, None, 0.40),
    ("organic", None, "google", "organic", 0.22),
    ("referral", None, "reviews.example", "referral", 0.10),
    ("paid search", "brand_search", "google", "cpc", 0.12),
    ("paid social", "spring_launch", "linkedin", "cpc", 0.08),
    ("email", "newsletter", "newsletter", "email", 0.08),
)
COLUMNS = ("channel", "campaign", "campaign_source", "campaign_medium")
NEWSLETTER = len(WAYS) - 1
EDGES = np.cumsum([share for *_, share in WAYS])[:-1]
# Odd numbers that spread users and weeks over all 64 bits (Knuth's multiplicative hash, and its fellow for the weeks).
SPREAD_USERS, SPREAD_WEEKS, SPREAD_BOTH = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(29)


def campaigns(user: pl.Series, event_at: pl.Series, is_email: np.ndarray) -> pl.DataFrame:
    """`COLUMNS` of events at `event_at` (microseconds): one for a user and week, the newsletter for e-mails."""
    week = (event_at.to_numpy().astype(np.int64) // (7 * DAY)).astype(np.uint64)
    mixed = user.to_numpy().astype(np.uint64) * SPREAD_USERS ^ week * SPREAD_WEEKS
    mixed = (mixed ^ (mixed >> SPREAD_BOTH)) * SPREAD_USERS
    way = np.searchsorted(EDGES, (mixed >> np.uint64(32)).astype(np.float64) / 2**32, side="right")
    way = pl.Series(np.where(is_email, NEWSLETTER, way))
    return pl.DataFrame(
        {
            name: pl.Series([row[place] for row in WAYS], dtype=pl.String).gather(way)
            for place, name in enumerate(COLUMNS)
        }
    )
