"""What is known about each user at the end of a day: the feature registry, and how the features are computed."""
