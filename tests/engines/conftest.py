"""Real task engines with real brokers and workers; ``script/test-engines`` runs these tests.

``ENGINE`` names the engine, ``DATABASE_URL``, ``REDIS_URL`` and ``RABBITMQ_URL`` say where the
services are.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.db import connection

from tests.engines.harness import ENGINES, Engine
from tests.support.loopback import Komfortkasse, Server
from tests.support.running import Process, starting


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave them out of the default run: they need services and minutes."""
    return None if any("engines" in argument for argument in config.args) else True


@pytest.fixture
def environment(transactional_db) -> dict[str, str]:
    """What the processes are told."""
    database = urlsplit(os.environ["DATABASE_URL"])._replace(
        path=f"/{connection.settings_dict['NAME']}"
    )
    return {**os.environ, "DATABASE_URL": database.geturl(), "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def engine(environment) -> Iterator[Engine]:
    engine = ENGINES[environment["ENGINE"]](environment)
    yield engine
    engine.clear()


@pytest.fixture
def komfortkasse(environment) -> Iterator[Komfortkasse]:
    komfortkasse = Komfortkasse()
    with Server(komfortkasse.serve) as server:
        environment["API_URL"] = server.url.replace("localhost", "127.0.0.1")
        yield komfortkasse


@pytest.fixture
def start(environment, engine, tmp_path) -> Iterator[Callable[..., Process]]:
    """Start ``python -m ARGUMENTS``."""
    with starting(environment, tmp_path) as start:
        yield partial(start, "-m")


@pytest.fixture
def finish(start) -> Callable[..., Process]:
    """Run ``python -m ARGUMENTS`` to its end, which has to be a good one."""

    def finish(*arguments: str, **extra: str) -> Process:
        process = start(*arguments, **extra)
        assert process.ended(300) == 0, process.log
        return process

    return finish
