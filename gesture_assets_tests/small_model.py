"""A model of one feature, trained in no time.

Belongs here: what tests of versions and of their tracking share. Does not belong here: expectations.
"""

from datetime import datetime
from functools import cache

import numpy as np
import polars as pl

from gesture_assets.models.training import Model, train

NOW = datetime(2026, 3, 10, 2, 0, 7)
TESTED = pl.DataFrame(
    {
        "user_id": ["u1"],
        "feature_date": [NOW.date()],
        "visit_count": [3],
        "person_id": ["p1"],
        "label": [1],
        "probability": [0.5],
    }
)


@cache
def small_world() -> pl.DataFrame:
    """400 people: the more visits, the more of them bought."""
    random = np.random.default_rng(1)
    visits = random.poisson(3, 400)
    return pl.DataFrame({"visit_count": visits, "bought": random.random(400) < visits / 12})


@cache
def small_model() -> Model:
    """Who bought, by visits."""
    return train(small_world(), "bought", ["visit_count"])
