"""``--watch`` survives that its database server is restarted, killed or away, at work and idle."""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection, connections

from komfortkasse_django.models import RemovedOrder
from tests.processes.servers import PRODUCTS, DatabaseServer
from tests.support.mirror import due, numbers, states
from tests.support.running import end, until

ROWS = 1500  # more than is claimed before the last interruption
CLAIMED = 128  # rows, at most, for four calls in flight
LOST = "goes on in 0.5 seconds"  # a round, so the log says

pytestmark = pytest.mark.skipif(
    connection.vendor not in PRODUCTS, reason="SQLite has no server that could restart"
)


@pytest.fixture(scope="module")
def server() -> Iterator[DatabaseServer]:
    """A server of these tests alone, of the kind that DATABASE_URL names."""
    product = PRODUCTS[connection.vendor]
    if not product.is_here():
        pytest.skip(f"the server's programs are not here: apt-get install {product.package}")
    # Not below tmp_path, where only the user that runs the tests may look.
    with tempfile.TemporaryDirectory(prefix="komfortkasse-") as folder:
        server = DatabaseServer(product, Path(folder))
        yield server
        server.stop()


@pytest.fixture
def database(server, django_db_blocker) -> Iterator[None]:
    """The server's, for this process and those it starts."""
    shared = connections["default"]
    connections["default"] = shared.copy()
    connection.settings_dict.update(server.settings)
    try:
        with django_db_blocker.unblock():
            server.start()
            call_command("migrate", run_syncdb=True, verbosity=0)
            RemovedOrder.objects.all().delete()
            yield
    finally:
        connection.close()
        connections["default"] = shared
        sys.stdout.write(server.log)  # shown where the test failed


@pytest.fixture
def worker(komfortkasse, push):
    due(*numbers(ROWS))
    komfortkasse.on_request = lambda number: time.sleep(0.02)
    return push("--watch", "0.5", OPTIONS=json.dumps({"DEADLINE": 4, "CONCURRENCY": 4}))


@pytest.fixture(params=["stop", "kill"])
def interrupt(request, server):
    """Each way in which a server ends."""
    return getattr(server, request.param)


def test_waits_for_it_with_the_answers_in_hand(server, interrupt, komfortkasse, worker):
    slow = 0  # restarts that may take longer than it waits: ten seconds
    for _ in range(3):
        before = len(komfortkasse.numbers)
        until(lambda before=before: len(komfortkasse.numbers) > before + 40)
        assert states()["pending"] > CLAIMED, "it was about to end"
        started = time.monotonic()
        interrupt()
        server.start()
        slow += time.monotonic() - started > 5
    komfortkasse.on_request = lambda number: None

    until(lambda: states() == {"removed": ROWS}, 60)

    end(worker)
    lost = worker.log.count(LOST)
    assert lost <= slow
    assert set(komfortkasse.numbers) == set(numbers(ROWS))
    assert len(komfortkasse.numbers) - ROWS <= CLAIMED * lost


def test_loses_a_round_when_it_stays_away(server, interrupt, komfortkasse, worker):
    until(lambda: len(komfortkasse.numbers) > 40)

    interrupt()
    until(lambda: LOST in worker.log)
    server.start()
    komfortkasse.on_request = lambda number: None

    until(lambda: states() == {"removed": ROWS}, 60)
    end(worker)
    assert set(komfortkasse.numbers) == set(numbers(ROWS))
    assert len(komfortkasse.numbers) - ROWS <= CLAIMED


def test_goes_on_when_nothing_was_due(server, interrupt, komfortkasse, push):
    first, *others = numbers(4)
    due(first)
    worker = push("--watch", "0.5", PERSISTENT="1")
    until(lambda: states() == {"removed": 1})

    for number in others:
        interrupt()
        server.start()
        due(number)
        until(lambda: not states()["pending"])

    end(worker)
    assert states() == {"removed": 4}
    assert set(komfortkasse.counts.values()) == {1}


def test_ends_while_it_is_away(server, komfortkasse, worker):
    until(lambda: len(komfortkasse.numbers) > 40)

    server.stop()
    end(worker)

    server.start()
    assert LOST in worker.log
    assert states()["removed"] >= len(komfortkasse.numbers) - CLAIMED
    assert states().total() == ROWS
