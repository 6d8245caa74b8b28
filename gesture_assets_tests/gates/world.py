"""The day and the people of the good night, as far as several domains speak of them.

Belongs here: names that more than one domain's good rows share. Does not belong here: rows (the domains' modules).
"""

from datetime import date, datetime

DAY = date(2026, 3, 9)
NOON = datetime.fromisoformat("2026-03-09T12:00")
NIGHT = datetime.fromisoformat("2026-03-10T02:00")
VERSION = "v20260309_020000_0a1b2c3d"
PROBABILITIES = {"ada": 0.9, "bob": 0.1}
SCORES = {"ada": 60.0, "bob": 40.0, "cyd": 1.0}
COLUMNS_FOUND = '{"id": "INTEGER", "mood": null}'
