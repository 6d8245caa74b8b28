"""Words of scoring that settings, contracts and domains share.

Belongs here: the columns that segments are told by, what may stand for a missing number, the recipes of trainings. Does
not belong here: how anything is scored (`rules/`, `models/`).
"""

from typing import Literal

SEGMENTS = ("subscriber_country", "primary_device", "is_subscriber")  # columns of user_features


Missing = Literal["native", "-999", "imputed"]  # what a model reads where a number is missing
Recipe = Literal["blend", "document_001"]  # what a training begins with (`models/parameters.py`)
