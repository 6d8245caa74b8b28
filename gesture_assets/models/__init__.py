"""Models: labels, splits, training, calibration, evaluation, comparison, tuning, versions, and the reasons of a score."""
