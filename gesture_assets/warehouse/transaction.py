"""Transactions: all of a block's statements are kept, or none.

Belongs here: beginning, committing, rolling back. Does not belong here: what is written.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

log = logging.getLogger(__name__)


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Commit what the block writes; whatever is raised, also by the commit, undoes it and comes out as it is."""
    connection.execute("begin transaction")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        roll_back(connection)
        raise


def roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    """End the open transaction, if there still is one: a commit that fails ends it by itself."""
    try:
        connection.execute("rollback")
    except duckdb.TransactionException:
        log.debug("there was no transaction left to roll back")
