"""Which database keeps the mirror, SQLite's one writer, and waiting for a database."""

import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import Error, connections, router
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLite
from django.db.models import Model

from komfortkasse_django.models import RemovedOrder

FIRST_WAIT, _LONGEST_WAIT = 0.05, 1.0  # seconds between two tries to write


_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    1205,  # MySQL: lock wait timeout
    1213,  # MySQL: deadlock
    "40001",  # PostgreSQL: serialization failure
    "40P01",  # PostgreSQL: deadlock
    "55P03",  # PostgreSQL: lock timeout
}


_Result = TypeVar("_Result")


def write_first(using: str, model: type[Model]) -> None:
    """Become SQLite's only writer before this transaction reads; nothing on other databases.

    ``model`` is any that has a table there.

    SQLite has no row locks. In its default mode a transaction that reads first is refused to write,
    without any waiting, once another has written; one that writes first, were it to no row, waits
    for its turn. One that began IMMEDIATE or EXCLUSIVE has waited already.
    """
    connection = connections[using]
    if (
        not isinstance(connection, SQLite)
        or connection.is_in_memory_db()
        or not connection.in_atomic_block
        or connection.transaction_mode in {"IMMEDIATE", "EXCLUSIVE"}  # type: ignore[attr-defined]
    ):
        return
    column = str(model._meta.pk_fields[0].column)  # a composite key has none of its own
    table, key = map(connection.ops.quote_name, (model._meta.db_table, column))
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {key} = {key} WHERE 0")  # noqa: S608


def patiently(
    act: Callable[[], _Result],
    *,
    using: str,
    until: float,
    should_stop: Callable[[], bool] = lambda: False,
) -> _Result:
    """Do what ``act`` does, again where the database is locked, restarts or broke a deadlock.

    ``until`` is a time of the monotonic clock, in seconds. What is raised then, or when
    ``should_stop`` says so, or does not pass by waiting, is raised.
    """
    wait = FIRST_WAIT
    while True:
        try:
            return act()
        except Error as error:
            is_over = time.monotonic() + wait > until or should_stop()
            if is_over or not will_pass(error, using):
                raise
        time.sleep(wait)
        wait = min(2 * wait, _LONGEST_WAIT)


def will_pass(error: Error, using: str) -> bool:
    """Whether the same may succeed a moment later. A connection that broke is closed for it."""
    connection = connections[using]
    if connection.connection is None or not connection.is_usable():
        connection.close()
        return True
    return not _PASSING.isdisjoint(_codes(error.__cause__))


def _codes(cause: BaseException | None) -> set[object]:
    """How the driver may tell what happened."""
    return {
        getattr(cause, "sqlite_errorcode", 0) & 0xFF,  # without what extends the primary code
        getattr(cause, "sqlstate", None),  # psycopg
        getattr(cause, "pgcode", None),  # psycopg2
        *getattr(cause, "args", ())[:1],  # mysqlclient
    }


def mirror_database(using: str) -> str:
    """The database that keeps the mirror of the orders in the database ``using``."""
    # Routers without an opinion leave an instance where it is.
    hint = RemovedOrder()
    hint._state.db = using
    return router.db_for_write(RemovedOrder, instance=hint)
