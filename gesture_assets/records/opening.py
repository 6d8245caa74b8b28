"""The warehouse with the records of people and commands in it.

Belongs here: handing the warehouse the tables that records keep in its file. Does not belong here: opening it
(`warehouse/warehouse.py`), any of the tables.
"""

from gesture_assets.records.activations import create_activations
from gesture_assets.records.alert_log import create_alert_log
from gesture_assets.records.audit_log import create_audit_log
from gesture_assets.records.quarantine import create_quarantine_replays
from gesture_assets.settings import Settings
from gesture_assets.warehouse.warehouse import Warehouse

# What makes the tables of records in the private file.
RECORDS = (create_audit_log, create_activations, create_alert_log, create_quarantine_replays)


def warehouse_of(settings: Settings) -> Warehouse:
    """The warehouse that `settings` describe."""
    return Warehouse.of(settings, create=RECORDS)
