"""Which database keeps the mirror, SQLite's one writer, and waiting for a database."""

import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import DataError, Error, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLite
from django.db.models import Model

from komfortkasse_django.models import RemovedOrder

FIRST_WAIT, _LONGEST_WAIT = 0.05, 1.0  # seconds between two tries

_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    1040,  # MySQL: too many connections
    1205,  # MySQL: lock wait timeout
    1213,  # MySQL: deadlock
    1290,  # MySQL: read-only, as in a failover
    1317,  # MySQL: query interrupted
    1836,  # MySQL: read-only mode
    1969,  # MariaDB: max_statement_time
    3024,  # MySQL: max_execution_time
    "25006",  # PostgreSQL: read-only, as in a failover
    "40001",  # PostgreSQL: serialization failure
    "40P01",  # PostgreSQL: deadlock
    "53300",  # PostgreSQL: too many connections
    "55P03",  # PostgreSQL: lock timeout
    "57014",  # PostgreSQL: query canceled, as by statement_timeout
    "57P01",  # PostgreSQL: shut down by an administrator
    "57P02",  # PostgreSQL: crash shutdown
    "57P03",  # PostgreSQL: starting up
}

_INCORRECT_STRING = 1366  # MySQL; its driver does not call that a DataError

_Result = TypeVar("_Result")


class DatabaseUnavailable(Exception):  # noqa: N818 - the name says what happened
    """The database could not be used in time, but it will recover without help.

    Not a ``DatabaseError``: it is not about a row or a value.
    """


def write_first(using: str, model: type[Model]) -> None:
    """Become SQLite's only writer before this transaction reads. Do nothing on other databases.

    In SQLite's default mode, a transaction that reads first and writes later fails at once if
    another one wrote in between. A transaction that writes first waits for its turn, even if it
    changes no row. ``model`` is any model that has a table there.
    """
    connection = connections[using]
    if (
        not isinstance(connection, SQLite)
        or connection.is_in_memory_db()
        or not connection.in_atomic_block
        # These have waited already.
        or connection.transaction_mode in {"IMMEDIATE", "EXCLUSIVE"}  # type: ignore[attr-defined]
    ):
        return
    column = str(model._meta.pk_fields[0].column)  # a composite key has no column
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
    """Call ``act`` again and again while the database is locked, restarts or is not reachable.

    ``until`` is a time of the monotonic clock, in seconds. Raises ``DatabaseUnavailable`` at that
    time, or when ``should_stop`` returns True. An error that does not pass is raised at once.
    """
    connection = connections[using]
    wait = FIRST_WAIT
    while True:
        before = connection.connection
        try:
            return act()
        except Error as error:
            if not _will_pass(error, connection, before):
                raise
            if time.monotonic() + wait > until or should_stop():
                raise DatabaseUnavailable(*error.args) from error
        time.sleep(wait)
        wait = min(2 * wait, _LONGEST_WAIT)


def _will_pass(error: Error, connection: BaseDatabaseWrapper, before: object) -> bool:
    """Whether the same call can succeed a moment later. Closes a connection that is broken.

    ``before`` is the driver's connection before the call: Django's ``atomic`` may have replaced a
    lost connection by a new one. The new one is closed as well: if it broke while it was being
    opened, Django would believe for ever that it has an open transaction.
    """
    now = connection.connection
    if now is None or now is not before or not connection.is_usable():
        connection.close()
        return True
    return not _PASSING.isdisjoint(_codes(error.__cause__))


def refuses_data(error: Exception) -> bool:
    """Whether the database or its driver cannot store a value, even without any constraint."""
    is_incorrect = isinstance(error, Error) and _INCORRECT_STRING in _codes(error.__cause__)
    return is_incorrect or isinstance(error, DataError | UnicodeError)


def _codes(cause: BaseException | None) -> set[object]:
    """Return the error codes of all the drivers."""
    return {
        getattr(cause, "sqlite_errorcode", 0) & 0xFF,  # without what extends the primary code
        getattr(cause, "sqlstate", None),  # psycopg
        getattr(cause, "pgcode", None),  # psycopg2
        *getattr(cause, "args", ())[:1],  # mysqlclient
    }


def mirror_database(using: str) -> str:
    """Return the database that keeps the mirror of the orders in the database ``using``."""
    # If no router decides, Django takes the database of the instance.
    hint = RemovedOrder()
    hint._state.db = using
    return router.db_for_write(RemovedOrder, instance=hint)
