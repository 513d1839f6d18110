"""``--watch`` survives everything but SIGKILL, says so, and ends when asked."""

import contextlib
import json
import re
import signal
import threading
import time

import pytest
from django.db import connection
from django.utils import timezone

from komfortkasse_django.models import RemovedOrder
from tests.support.loopback import http_answer, order_json
from tests.support.mirror import due, numbers, states
from tests.support.running import end, until

on_a_server = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite has no connections that could break"
)
TABLE = RemovedOrder._meta.db_table


@pytest.fixture(autouse=True)
def _few_calls_at_once(environment):
    environment["OPTIONS"] = json.dumps({"CONCURRENCY": 4})


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("arguments", [("--watch", "600"), ()])
def test_ends_with_the_calls_in_flight_settled(komfortkasse, push, number, arguments):
    due(*numbers(300))
    may_answer = threading.Event()
    komfortkasse.on_request = lambda number: may_answer.wait(30) and None
    worker = push(*arguments)
    until(lambda: len(komfortkasse.numbers) == 4)

    worker.send_signal(number)
    time.sleep(0.3)
    assert worker.poll() is None
    may_answer.set()

    # Without --watch, due removals are left behind.
    assert worker.ended() == (0 if arguments else 1), worker.log
    assert states() == {"removed": 4, "pending": 296}
    assert len(komfortkasse.numbers) == 4
    assert RemovedOrder.objects.due().filter(attempts=0).count() == 296


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_while_it_waits(komfortkasse, push, number):
    due("1001")
    worker = push("--watch", "600")
    until(lambda: states() == {"removed": 1})
    time.sleep(0.5)

    worker.send_signal(number)

    assert worker.ended() == 0, worker.log  # long before the next round


def test_sends_what_becomes_due(komfortkasse, push):
    worker = push("--watch", "0.2")
    for number in numbers(5):
        due(number)
        until(lambda number=number: number in komfortkasse.numbers)

    until(lambda: states() == {"removed": 5})
    end(worker)


@on_a_server
def test_survives_broken_connections_at_work(komfortkasse, push):
    """Each time after some more rows were stored, so not more often than the machine can follow."""
    komfortkasse.on_request = lambda number: time.sleep(0.005)
    workers = [push("--watch", "0.2") for _ in range(2)]

    count = breaks = 0
    while breaks < 20:
        stored = states()
        if stored["pending"] < 500:  # or a fast machine would be through before
            due(*numbers(count + 500)[count:])
            count += 500
        until(lambda before=stored["removed"]: states()["removed"] > before)
        breaks += break_connections()

    for worker in workers:
        end(worker)
    # Rows whose claim was committed while the connection broke are held until their lease ends.
    RemovedOrder.objects.pending().update(next_attempt_at=timezone.now())
    worker = push()
    assert worker.ended() == 0, worker.log
    assert states() == {"removed": count}
    assert komfortkasse.counts == dict.fromkeys(numbers(count), 1), "each was settled"


@on_a_server
def test_survives_broken_connections_while_it_waits(komfortkasse, push):
    worker = push("--watch", "0.5", PERSISTENT="1")
    for number in numbers(4):
        due(number)
        until(lambda number=number: number in komfortkasse.numbers)
        until(lambda: not RemovedOrder.objects.pending().exists())
        assert break_connections()
    end(worker)
    assert set(komfortkasse.counts.values()) == {1}


def break_connections() -> int:
    """Break every connection to this database but our own, and return how many there were."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return len(cursor.fetchall())
        cursor.execute(
            "SELECT id FROM information_schema.processlist"
            " WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
        keys = [key for (key,) in cursor.fetchall()]
        for key in keys:
            with contextlib.suppress(Exception):  # it has ended meanwhile
                cursor.execute(f"KILL {key}")
        return len(keys)


@pytest.mark.parametrize("kind", ["function", "partial"])
def test_survives_receivers_that_fail(komfortkasse, push, kind):
    due(*numbers(100))
    worker = push("--watch", "0.2", RECEIVER=kind)

    until(lambda: states() == {"removed": 100})

    end(worker)
    assert "ZeroDivisionError" in worker.log
    assert set(komfortkasse.counts.values()) == {1}


def test_survives_an_alias_that_is_gone(komfortkasse, push):
    due(*numbers(10), shop="gone")
    due(*(f"A{number}" for number in numbers(10)))
    worker = push("--watch", "0.2")

    for number in ("A1", "A2", "A3"):  # each in another round
        until(lambda: RemovedOrder.objects.pending().count() == 10)
        due(number)
    until(lambda: states() == {"removed": 13, "pending": 10})
    end(worker)

    assert all(number.startswith("A") for number in komfortkasse.numbers)
    assert worker.log.count("the shop gone is not in the settings any more") == 1
    assert RemovedOrder.objects.due().filter(shop="gone", attempts=0).count() == 10


@pytest.fixture
def refusal():
    """A constraint of the shop: one order cannot end."""
    if connection.vendor == "sqlite":
        execute(
            f"CREATE TRIGGER refusal BEFORE UPDATE ON {TABLE}"
            " WHEN NEW.order_number = '1001' AND NEW.state <> 'pending'"
            " BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
        yield
        execute("DROP TRIGGER refusal")
    else:
        condition = "order_number <> '1001' OR state = 'pending'"
        execute(f"ALTER TABLE {TABLE} ADD CONSTRAINT refusal CHECK ({condition})")
        yield
        execute(f"ALTER TABLE {TABLE} DROP CONSTRAINT refusal")


def test_survives_rows_that_cannot_be_stored(komfortkasse, push, refusal):
    due(*numbers(100))
    worker = push("--watch", "0.2")

    until(lambda: states() == {"removed": 99, "pending": 1})
    until(lambda: RemovedOrder.objects.exclude(last_error="").exists())
    time.sleep(1)

    end(worker)
    left = RemovedOrder.objects.get(order_number="1001")
    assert (left.state, left.attempts, left.error_code) == ("pending", 1, "unforeseen")
    assert left.last_error == "The answer cannot be stored: IntegrityError"
    assert not RemovedOrder.objects.due().exists()
    assert set(komfortkasse.counts.values()) == {1}
    assert "cannot be stored" in worker.log


@on_a_server
@pytest.mark.parametrize("kind", ["varchar(6)", "of halves of UTF-8"])
def test_survives_values_that_the_database_cannot_hold(komfortkasse, push, kind):
    if connection.vendor == "postgresql":
        if kind != "varchar(6)":
            pytest.skip("only MySQL has halves of UTF-8")
        column = f"ALTER TABLE {TABLE} ALTER reference_number TYPE "
        execute(column + "varchar(6)")
        restore = column + "varchar(255)"
    else:
        column = f"ALTER TABLE {TABLE} MODIFY reference_number "
        narrow = "varchar(6)" if kind == "varchar(6)" else "varchar(255) CHARACTER SET utf8mb3"
        execute(f"{column} {narrow} NOT NULL DEFAULT ''")
        restore = f"{column} varchar(255) CHARACTER SET utf8mb4 NOT NULL DEFAULT ''"
    refused = "K1234567" if kind == "varchar(6)" else "K😀"
    try:
        due(*numbers(20))
        komfortkasse.on_request = lambda number: http_answer(
            order_json(number=number, referenceNumber=refused if number == "1002" else "K1234A")
        )
        worker = push()
        assert worker.ended() == 0, worker.log
    finally:
        execute(restore)
    assert states() == {"removed": 20}
    assert RemovedOrder.objects.get(order_number="1002").reference_number == ""
    assert RemovedOrder.objects.filter(reference_number="K1234A").count() == 19


def test_survives_a_table_that_is_not_there(komfortkasse, push):
    worker = push("--watch", "0.2")
    time.sleep(1.5)
    execute(f"ALTER TABLE {TABLE} RENAME TO elsewhere")
    try:
        until(lambda: "goes on in 0.2 seconds" in worker.log)
        time.sleep(2)
    finally:
        execute(f"ALTER TABLE elsewhere RENAME TO {TABLE}")
    due("1001")
    until(lambda: states() == {"removed": 1})
    end(worker)

    [line] = [line for line in worker.log.splitlines() if "goes on in" in line]
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ERROR komfortkasse_push", line)
    assert line.endswith('Run "manage.py migrate".')


def test_neither_spins_nor_repeats_itself_while_komfortkasse_is_down(push, environment):
    environment["API_URL"] = "http://127.0.0.1:9/api/v2"
    due(*numbers(1000))
    worker = push("--watch", "0.2")
    until(lambda: "still due" in worker.log)
    time.sleep(3)
    end(worker)

    assert worker.log.count("is paused for") == 1
    assert worker.log.count("still due") == 1
    assert worker.log.count("tried again") == 1
    assert RemovedOrder.objects.filter(attempts__gt=0).count() < 20
