"""The kernel: stage, audit, promote. The only room that writes the tables of contracts; it knows none by name."""
