"""What the queue does when the database does not do what it is told."""

import sqlite3
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import DataError, IntegrityError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from komfortkasse_django import database
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue import leases
from tests.support.mirror import Via, due, locked

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def held():
    """Leases on two due rows, whose answer has come."""
    due("1001", "1002", via=Via.CODE)
    held, _ = leases.claim(RemovedOrder.objects.due(), at_most=10, seconds=60)
    for lease in held:
        lease.row.state = "removed"
        lease.row.reference_number = "K1234A"
        lease.row.last_error = "ä"
        lease.row.next_attempt_at = None
    return held


@pytest.fixture
def obstacles(monkeypatch):
    """Errors that writing raises, one after the other, before it succeeds."""
    errors = []
    write = leases._write

    def hindered(*args, **kwargs):
        if errors:
            raise errors.pop(0)
        return write(*args, **kwargs)

    monkeypatch.setattr(leases, "_write", hindered)
    monkeypatch.setattr(database, "FIRST_WAIT", 0.001)
    return errors


def states() -> list[str]:
    return list(RemovedOrder.objects.order_by("order_number").values_list("state", flat=True))


def test_settling_waits_for_a_locked_database(held, obstacles):
    obstacles += [locked(), locked(), locked()]

    assert leases.settle(held, using="default", until=time.monotonic() + 5) == held

    assert states() == ["removed", "removed"]


def test_waiting_ends(held, obstacles):
    obstacles += [locked()] * 1000

    with pytest.raises(OperationalError, match="locked"):
        leases.settle(held, using="default", until=time.monotonic() + 0.05)

    obstacles.clear()
    assert states() == ["pending", "pending"]


def test_the_pauses_grow_and_end_in_time(obstacles, monkeypatch):
    clock = SimpleNamespace(now=100.0, pauses=[])

    def sleep(seconds):
        clock.pauses.append(seconds)
        clock.now += seconds

    monkeypatch.setattr(database, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    monkeypatch.setattr(database, "FIRST_WAIT", 0.25)
    obstacles += [locked()] * 1000

    with pytest.raises(OperationalError, match="locked"):
        database.patiently(leases._write, using="default", until=103.75)

    assert clock.pauses == [0.25, 0.5, 1.0, 1.0, 1.0]


def test_waiting_ends_when_it_is_told_to(held, obstacles):
    obstacles += [locked()] * 3
    answers = [False, True]

    with pytest.raises(OperationalError, match="locked"):
        database.patiently(
            lambda: leases._write(held, leases._SETTLED, "default"),
            using="default",
            until=time.monotonic() + 60,
            should_stop=lambda: answers.pop(0),
        )

    assert answers == []
    assert len(obstacles) == 1


@pytest.mark.parametrize(
    ("arguments", "attributes"),
    [
        ((), {"sqlite_errorcode": sqlite3.SQLITE_BUSY_SNAPSHOT}),
        ((), {"sqlite_errorcode": sqlite3.SQLITE_LOCKED}),
        (("could not serialize",), {"sqlstate": "40001"}),
        (("deadlock detected",), {"sqlstate": "40P01"}),
        (("could not obtain lock",), {"pgcode": "55P03"}),
        ((1205, "Lock wait timeout exceeded"), {}),
        ((1213, "Deadlock found"), {}),
    ],
)
def test_drivers_tell_by_codes_what_passes(held, obstacles, arguments, attributes):
    error = OperationalError()
    error.__cause__ = Exception(*arguments)
    for name, code in attributes.items():
        setattr(error.__cause__, name, code)
    obstacles.append(error)

    # What does not pass would be raised.
    database.patiently(
        lambda: leases._write(held, leases._SETTLED, "default"),
        using="default",
        until=time.monotonic() + 5,
    )

    assert states() == ["removed", "removed"]


@pytest.mark.parametrize("cause", [None, Exception(), Exception("1205"), Exception(1045, "denied")])
def test_what_has_no_such_code_does_not_pass(held, obstacles, cause):
    obstacles.append(OperationalError())
    obstacles[0].__cause__ = cause

    with pytest.raises(OperationalError):
        database.patiently(leases._write, using="default", until=time.monotonic() + 5)


def test_a_transaction_is_no_place_to_claim_or_settle(held):
    with transaction.atomic():
        with pytest.raises(RuntimeError):
            leases.settle(held, using="default")
        with pytest.raises(RuntimeError):
            leases.claim(RemovedOrder.objects.due(), at_most=10, seconds=60)


def test_a_connection_that_broke_is_opened_again(held, obstacles, monkeypatch):
    closed = []
    monkeypatch.setattr(connection, "is_usable", lambda: False)
    monkeypatch.setattr(connection, "close", lambda: closed.append("closed"))
    obstacles.append(OperationalError("server closed the connection unexpectedly"))

    assert leases.settle(held, using="default", until=time.monotonic() + 5) == held

    assert closed == ["closed"]


def test_an_answer_that_cannot_be_stored_is_left_blank(held, obstacles, caplog):
    # All together, then the first one alone: what it holds is the obstacle.
    obstacles += [DataError("no such character"), DataError("no such character")]

    assert leases.settle(held, using="default") == held

    rows = RemovedOrder.objects.order_by("order_number")
    assert states() == ["removed", "removed"]
    assert [row.reference_number for row in rows] == ["", "K1234A"]
    assert [row.last_error for row in rows] == ["\\xe4", "ä"]
    assert "Order 1001: Komfortkasse's answer cannot be stored" in caplog.text


def test_a_row_that_cannot_be_stored_at_all_holds_up_no_other(held, obstacles, caplog):
    obstacles += [DataError("no"), DataError("no"), IntegrityError("no")]

    assert leases.settle(held, using="default") == held[1:]

    assert states() == ["pending", "removed"]
    assert "Order 1001: nothing can be stored; it will be sent again" in caplog.text


@pytest.mark.parametrize("before", [1, 2])
def test_trouble_that_passes_is_not_taken_for_a_bad_answer(held, obstacles, before):
    obstacles += [DataError("no")] * before + [locked()]

    with pytest.raises(OperationalError, match="locked"):
        leases.settle(held, using="default")


def test_settling_nothing_asks_nothing(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert leases.settle([], using="default") == []


@pytest.fixture
def as_on_mysql(monkeypatch):
    """As on MySQL; returns how often a claim waited for another."""
    waits = []
    monkeypatch.setattr(connection, "vendor", "mysql")
    monkeypatch.setattr(leases, "time", SimpleNamespace(sleep=waits.append))
    return waits


def test_mysql_locks_by_keys(as_on_mysql, held):
    RemovedOrder.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))

    first, more = leases.claim(RemovedOrder.objects.due(), at_most=1, seconds=60)
    second, no_more = leases.claim(RemovedOrder.objects.due(), at_most=10, seconds=60)

    assert [len(first), len(second)] == [1, 1]
    assert first[0].row.pk != second[0].row.pk
    assert (more, no_more) == (True, False)
    assert leases.claim(RemovedOrder.objects.due(), at_most=10, seconds=60) == ([], False)
    assert as_on_mysql == []


def test_mysql_rows_that_another_worker_has_are_not_the_end(as_on_mysql, held, monkeypatch):
    RemovedOrder.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    monkeypatch.setattr(leases, "_lease", lambda candidates, seconds: [])

    assert leases.claim(RemovedOrder.objects.due(), at_most=2, seconds=60) == ([], True)
    assert len(as_on_mysql) == 1


def test_sqlite_in_a_file_is_written_before_it_is_read(held, monkeypatch):
    if connection.vendor != "sqlite":
        pytest.skip("other databases lock rows")
    monkeypatch.setattr(connection, "is_in_memory_db", lambda: False)
    RemovedOrder.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))

    with CaptureQueriesContext(connection) as queries:
        found, _ = leases.claim(RemovedOrder.objects.due(), at_most=10, seconds=60)

    statements = [query["sql"].split()[0] for query in queries]
    assert len(found) == 2
    assert statements[:3] == ["BEGIN", "UPDATE", "SELECT"]
