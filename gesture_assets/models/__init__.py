"""Models: labels, splits, training, calibration, evaluation, comparison, tuning, versions, and reasons of scores."""
