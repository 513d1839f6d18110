"""Real ``manage.py`` processes against a real server; collected only when pointed at.

``pytest tests/processes`` runs them on the database of ``DATABASE_URL``, by default on a file of
SQLite.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connection

from tests.support.loopback import Komfortkasse, Server
from tests.support.running import Process, starting


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave them out of the default run: they take minutes."""
    return None if any("processes" in argument for argument in config.args) else True


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory, django_db_modify_db_settings) -> None:
    """Other processes cannot see SQLite's database in memory."""
    if connection.vendor == "sqlite":
        name = str(tmp_path_factory.mktemp("database") / "test.sqlite3")
        connection.settings_dict["TEST"]["NAME"] = name


@pytest.fixture(
    params=[
        pytest.param(("delete", None), id="journal"),
        pytest.param(("wal", None), id="wal"),
        pytest.param(("delete", "IMMEDIATE"), id="journal-immediate"),
        pytest.param(("wal", "IMMEDIATE"), id="wal-immediate"),
    ]
)
def sqlite(request, transactional_db, environment) -> Iterator[None]:
    """Each way in which SQLite is run; elsewhere there is one way."""
    journal, mode = request.param
    if connection.vendor != "sqlite":
        if request.param_index:
            pytest.skip("only SQLite has several ways")
        yield
        return
    set_journal(journal)
    if mode:
        environment["TRANSACTION_MODE"] = mode
    yield
    set_journal("delete")


def set_journal(mode: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA journal_mode={mode}")
        assert cursor.fetchone() == (mode,)


@pytest.fixture
def komfortkasse(environment) -> Iterator[Komfortkasse]:
    komfortkasse = Komfortkasse()
    with Server(komfortkasse.serve) as server:
        environment["API_URL"] = server.url.replace("localhost", "127.0.0.1")
        yield komfortkasse


@pytest.fixture
def database(transactional_db) -> None:
    """Where the rows are, for this process and those it starts."""


@pytest.fixture
def environment(database) -> dict[str, str]:
    """What the processes are told; change it before they are started."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.processes.settings",
        "DATABASE": json.dumps(
            {
                key: connection.settings_dict[key]
                for key in ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT")
            }
        ),
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture
def run(environment, tmp_path) -> Iterator[Callable[..., Process]]:
    """Start ``python ARGUMENTS``."""
    with starting(environment, tmp_path) as run:
        yield run


@pytest.fixture
def push(run) -> Callable[..., Process]:
    """Start ``django-admin komfortkasse_push ARGUMENTS``."""

    def push(*arguments: str, **extra: str) -> Process:
        return run("-W", "error", "-m", "django", "komfortkasse_push", *arguments, **extra)

    return push
