"""Models: labels, splits, training, calibration, evaluation, tuning, and the reasons behind a score."""
