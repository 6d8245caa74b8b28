"""Where the tables of an open warehouse are.

Belongs here: the names of databases and schemas. Does not belong here: a table.
"""

LIVE = "warehouse.main"  # what passed
REJECTED = "warehouse.rejected"  # what did not, for whoever looks into the matter
SUPERSEDED = "warehouse.superseded"  # earlier versions of tables that keep their history

# In memory, for as long as the session: what waits for its audit, named parts of queries, what an audit sees.
STAGE = "scratch.stage"
STEPS = "scratch.steps"
AUDIT_SCHEMA = "scratch.audit"
