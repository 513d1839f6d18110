"""Promise 4: what Komfortkasse said is kept, even if the connection to the database is lost.

Another session really kills the connections, so these tests need a database server.
"""

import json
import threading
import time
from contextlib import contextmanager
from decimal import Decimal

import pytest
from django.db import connection, connections

from komfortkasse_django.client import Client
from komfortkasse_django.models import RemovedOrder, ShopState
from komfortkasse_django.queue.pushing import push
from komfortkasse_django.signals import order_removed
from tests.support.komfortkasse import error, order_json
from tests.support.mirror import due, numbers, states

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="it has no connections to kill"),
]

PAID = Decimal("10.00")
TABLE = RemovedOrder._meta.db_table


@contextmanager
def session():
    """Another session on the same database, usable in this thread."""
    other = connection.copy("beside")
    try:
        yield other
    finally:
        other.close()


def kill() -> None:
    """Kill the connection of this thread, as an administrator or a failover does."""
    with session() as other, other.cursor() as cursor:
        if connection.vendor == "postgresql":
            pid = connection.connection.info.backend_pid
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        else:
            cursor.execute(f"KILL {connection.connection.thread_id()}")


class Killer:
    """Kills the connection around statements that are sent through it."""

    def __init__(self, statement: int, *, times: int = 1, after: bool = False) -> None:
        self.kills_at = set(range(statement, statement + times))
        self.after = after
        self.sent: list[str] = []

    def __call__(self, execute, sql, *args):
        position = len(self.sent)
        self.sent.append(sql)
        if position in self.kills_at and not self.after:
            kill()
        result = execute(sql, *args)
        if position in self.kills_at and self.after:
            kill()
        return result


@pytest.fixture
def announced():
    heard = []

    def hear(removed_order, **kwargs):
        heard.append(removed_order.order_number)

    order_removed.connect(hear)
    yield heard
    order_removed.disconnect(hear)


@pytest.fixture
def paid(komfortkasse):
    """Komfortkasse had received money for every order."""
    for number in numbers(3):
        body = json.dumps(order_json(number, amountPaid=10))
        komfortkasse.answers[number] = (200, {}, body)
    return komfortkasse


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("statement", range(9))
def test_anywhere_in_a_push(paid, announced, statement, times, after):
    """Claim, look-up, breaker and settlement."""
    due(*numbers(3))

    killer = Killer(statement, times=times, after=after)
    with connection.execute_wrapper(killer):
        push()

    connection.close()
    left = RemovedOrder.objects.pending()
    if left:
        # A claim that was committed although its connection broke: it comes back with its lease.
        assert not paid.numbers
        left.update(next_attempt_at=left[0].created_at)
        push()
    assert states() == {"removed": 3}
    assert set(RemovedOrder.objects.values_list("amount_paid", flat=True)) == {PAID}
    assert sorted(paid.numbers) == sorted(announced) == numbers(3)
    assert statement < len(killer.sent) or statement > 6, "on some databases it takes more"


@pytest.mark.parametrize("statement", range(8))
@pytest.mark.parametrize("times", [1, 2])
def test_in_the_settlement_while_try_again_takes_a_row(
    paid, announced, monkeypatch, statement, times
):
    due(*numbers(3))
    send, is_taken, lock = Client.remove_order, threading.Event(), threading.Lock()
    killer = Killer(statement, times=times)

    def remove_order(self, number, **kwargs):
        # In a thread of its own, so on a connection of its own.
        with lock:
            if not is_taken.is_set():
                RemovedOrder.objects.filter(order_number="1001").retry()
                connection.close()
                is_taken.set()
        return send(self, number, **kwargs)

    def kill_after_the_answer(execute, sql, *args):
        return killer(execute, sql, *args) if is_taken.is_set() else execute(sql, *args)

    monkeypatch.setattr(Client, "remove_order", remove_order)
    with connection.execute_wrapper(kill_after_the_answer):
        push()

    assert RemovedOrder.objects.due().get().order_number == "1001"
    assert sorted(announced) == ["1000", "1002"]
    push()
    rows = {row.order_number: row for row in RemovedOrder.objects.all()}
    assert {number: row.amount_paid for number, row in rows.items()} == dict.fromkeys(
        numbers(3), PAID
    )
    # That of the row that was taken comes with the second call.
    assert sorted(paid.numbers) == ["1000", "1001", "1001", "1002"]
    assert sorted(announced) == numbers(3)


@pytest.mark.parametrize("statement", range(8))
def test_while_a_pause_is_written(komfortkasse, statement):
    due(*numbers(20))
    komfortkasse.answer = error(429, "slow down", **{"Retry-After": "120"})
    killer = Killer(statement)

    def kill_after_the_first_call(execute, sql, *args):
        return killer(execute, sql, *args) if komfortkasse.numbers else execute(sql, *args)

    with connection.execute_wrapper(kill_after_the_first_call):
        push()

    state = ShopState.objects.get()
    assert state.paused_until is not None
    assert "slow down" in state.last_error
    assert RemovedOrder.objects.pending().count() == 20
    tried = RemovedOrder.objects.filter(last_error__contains="slow down").count()
    assert tried == len(komfortkasse.numbers)


def test_around_the_commit(paid, announced, monkeypatch):
    """The rows are written, but the database's answer is lost."""
    due(*numbers(3))
    wrapper = type(connections["default"])
    commit, killed = wrapper._commit, []

    def commit_and_die(self):
        commit(self)
        if paid.numbers and not killed and RemovedOrder.objects.removed():
            killed.append(None)
            kill()
            connection.connection.cursor().execute("SELECT 1")

    monkeypatch.setattr(wrapper, "_commit", commit_and_die)

    assert push().states == {"removed": 3}

    assert killed
    assert sorted(announced) == sorted(paid.numbers) == numbers(3)
    assert set(RemovedOrder.objects.values_list("amount_paid", flat=True)) == {PAID}


@pytest.mark.parametrize("call", range(5))
@pytest.mark.parametrize("name", ["_set_autocommit", "init_connection_state"])
def test_that_are_just_being_opened_again(paid, announced, monkeypatch, name, call):
    """Django leaves such a connection half open, and believes that it is in a transaction."""
    due(*numbers(3))
    wrapper = type(connections["default"])
    original, calls = getattr(wrapper, name), []

    def kill_and_call(self, *args):
        if self is connections["default"] and killer.sent:
            calls.append(None)
            if len(calls) - 1 == call:
                kill()
        return original(self, *args)

    killer = Killer(0)

    def kill_after_the_answer(execute, sql, *args):
        return killer(execute, sql, *args) if paid.numbers else execute(sql, *args)

    with monkeypatch.context() as patches, connection.execute_wrapper(kill_after_the_answer):
        patches.setattr(wrapper, name, kill_and_call)
        assert push().states == {"removed": 3}

    connection.close()
    assert calls
    assert sorted(announced) == sorted(paid.numbers) == numbers(3)
    assert set(RemovedOrder.objects.values_list("amount_paid", flat=True)) == {PAID}


@pytest.fixture
def lock_while_sending(monkeypatch):
    """Let another session lock the mirror from the first call on, for seconds."""
    threads = []

    def lock_while_sending(seconds, *statements):
        is_locked = threading.Event()

        def lock() -> None:
            with session() as other, other.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                is_locked.set()
                time.sleep(seconds)

        send = Client.remove_order

        def remove_order(self, number, **kwargs):
            if not threads:
                threads.append(threading.Thread(target=lock))
                threads[0].start()
            assert is_locked.wait(10)
            return send(self, number, **kwargs)

        monkeypatch.setattr(Client, "remove_order", remove_order)

    yield lock_while_sending
    for thread in threads:
        thread.join()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="as PostgreSQL says it")
@pytest.mark.parametrize("limit", ["statement_timeout", "lock_timeout"])
def test_a_lock_outlasts_the_time_of_a_statement(paid, announced, lock_while_sending, limit):
    due(*numbers(3))
    lock_while_sending(2.5, "BEGIN", f"LOCK TABLE {TABLE} IN SHARE MODE")
    with connection.cursor() as cursor:
        cursor.execute(f"SET {limit} = 300")

    try:
        assert push().states == {"removed": 3}
    finally:
        connection.close()

    assert sorted(announced) == sorted(paid.numbers) == numbers(3)
    assert set(RemovedOrder.objects.values_list("amount_paid", flat=True)) == {PAID}


@pytest.mark.skipif(connection.vendor != "mysql", reason="as MariaDB and MySQL say it")
@pytest.mark.parametrize(
    ("setting", "lock"),
    [
        ("innodb_lock_wait_timeout = 1", ("BEGIN", f"SELECT * FROM {TABLE} FOR UPDATE")),
        ("lock_wait_timeout = 1", (f"LOCK TABLES {TABLE} READ",)),
        ("max_statement_time = 0.3", ("BEGIN", f"SELECT * FROM {TABLE} FOR UPDATE")),
        ("max_statement_time = 0.3", (f"LOCK TABLES {TABLE} READ",)),
    ],
)
def test_a_lock_outlasts_the_time_of_a_statement_on_mysql(
    paid, announced, lock_while_sending, setting, lock
):
    due(*numbers(3))
    lock_while_sending(2.5, *lock)
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION {setting}")

    try:
        assert push().states == {"removed": 3}
    finally:
        connection.close()

    assert sorted(announced) == sorted(paid.numbers) == numbers(3)
    assert set(RemovedOrder.objects.values_list("amount_paid", flat=True)) == {PAID}
