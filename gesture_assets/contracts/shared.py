"""Columns and owners that tables of several domains share.

Belongs here: what would otherwise be written twice. Does not belong here: any table.
"""

from gesture_assets.contracts.contract import PARTITION, Column

DATA_ENGINEERING = "data-engineering@gesture.example"
CRM = "crm@gesture.example"
SCORING = "scoring@gesture.example"
ANALYSTS = "analysts@gesture.example"

AS_OF = Column(PARTITION, "DATE", "The day at whose end this was known.")


USER = Column(
    "user_id",
    "VARCHAR",
    "Who: the source's user id, or subscriber:<mailchimp_id> without any event.",
    personal="pseudonym",
)
