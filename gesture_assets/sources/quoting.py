"""Names and texts as SQL writes them.

Belongs here: quoting, whatever is quoted. Does not belong here: any query.
"""


def literal(text: object) -> str:
    """`text` as an SQL string."""
    return "'" + str(text).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """`name` as the SQL name of a column or table."""
    return '"' + name.replace('"', '""') + '"'
