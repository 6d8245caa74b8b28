"""The expected calibration error, which tests hold probabilities against.

Belongs here: the figure, by the definition. Does not belong here: the product's own way to it (`models/measures.py`).
"""

import numpy as np
from numpy.typing import ArrayLike

from gesture_assets.models.calibration import reliability_bins


def expected_calibration_error(outcomes: ArrayLike, probabilities: ArrayLike, *, bins: int = 10) -> float:
    """Mean distance of predicted and observed share over `reliability_bins`, weighted by rows; from 0 to 1."""
    table = reliability_bins(outcomes, probabilities, bins=bins)
    distance = (table["mean_probability"] - table["share_positive"]).abs().to_numpy()
    return float(np.average(distance, weights=table["rows"].to_numpy()))
