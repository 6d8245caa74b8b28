"""How names and texts are written into a statement of SQL.

Belongs here: quoting. Does not belong here: any statement. Values of rows are never quoted: they are parameters.
"""


def identifier(name: str) -> str:
    """`name` as a name of a table or column, in double quotes, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: object) -> str:
    """`text` as a text, in single quotes, whatever it holds."""
    return "'" + str(text).replace("'", "''") + "'"
