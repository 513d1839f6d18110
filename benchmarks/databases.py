"""A database of each kind, made for one run and dropped after it."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import environ
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler

DEFAULT_POSTGRES_URL = "postgres://postgres@127.0.0.1:5432/postgres"

_NAME = f"komfortkasse_benchmark_{os.getpid()}"


@contextmanager
def sqlite() -> Iterator[str]:
    """Make a file; the context is its URL."""
    with tempfile.TemporaryDirectory(prefix="komfortkasse-benchmark.") as directory:
        yield f"sqlite:///{Path(directory, 'benchmark.sqlite3')}"


@contextmanager
def on_server(url: str) -> Iterator[str]:
    """Make a database on the server of ``url``; the context is its URL.

    Raises ``django.db.OperationalError`` if the server cannot be reached.
    """
    connection = _connect(url)
    name = connection.ops.quote_name(_NAME)
    utf8 = " CHARACTER SET utf8mb4" if connection.vendor == "mysql" else ""
    _execute(connection, f"CREATE DATABASE {name}{utf8}")
    try:
        # A public method, as of every named tuple.
        yield urlunsplit(urlsplit(url)._replace(path=f"/{_NAME}"))  # noqa: SLF001
    finally:
        _execute(connection, f"DROP DATABASE {name}")


def describe(url: str) -> tuple[str, str]:
    """Return the database's name and version."""
    connection = _connect(url)
    if connection.vendor == "sqlite":
        return connection.display_name, sqlite3.sqlite_version
    version = ".".join(map(str, connection.get_database_version()))
    name = connection.display_name
    connection.close()
    return name, version


def _execute(connection: BaseDatabaseWrapper, sql: str) -> None:
    # Close it: the connection could be lost during the minutes of a section.
    with connection.cursor() as cursor:
        cursor.execute(sql)
    connection.close()


def _connect(url: str) -> BaseDatabaseWrapper:
    connection: BaseDatabaseWrapper = ConnectionHandler(
        {"default": environ.Env.db_url_config(url)}
    )["default"]
    return connection
