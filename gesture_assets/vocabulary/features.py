"""Names of features: the devices that are counted apart, and the column of a CRM tag.

Belongs here: names that more than one domain spells. Does not belong here: the features themselves
(`features/feature_registry.py`).
"""

DEVICES = ("desktop", "mobile", "tablet", "other")


def tag_column(tag: str) -> str:
    """The feature column of a CRM tag."""
    return "tag_" + "".join(letter if letter.isalnum() else "_" for letter in tag.lower())
