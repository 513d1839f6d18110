"""Real task engines with real brokers and workers; ``script/test-engines`` runs these tests.

``ENGINE`` names the engine, ``DATABASE_URL``, ``REDIS_URL`` and ``RABBITMQ_URL`` say where the
services are.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.db import connection

from tests.engines.harness import ENGINES, Engine, Process
from tests.loopback import Server
from tests.processes.harness import Komfortkasse


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
    """Start ``python -m ARGUMENTS``; what still runs after the test is killed."""
    started: list[Process] = []

    def start(*arguments: str, **extra: str) -> Process:
        path = tmp_path / f"process-{len(started)}.log"
        process = Process(arguments, {**environment, **extra}, path)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill_all()
        sys.stdout.write(process.log)  # shown where the test failed


@pytest.fixture
def finish(start) -> Callable[..., Process]:
    """Run ``python -m ARGUMENTS`` to its end, which has to be a good one."""

    def finish(*arguments: str, **extra: str) -> Process:
        process = start(*arguments, **extra)
        assert process.wait(300) == 0, process.log
        return process

    return finish
