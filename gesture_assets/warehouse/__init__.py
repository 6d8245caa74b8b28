"""Stage, audit, promote, publish: the only room that writes a table."""
