"""One bad order among those whose numbers are looked up keeps no other waiting."""

import threading
import time

import pytest
from django.db import OperationalError
from django.utils import timezone

from komfortkasse_django import database, orders
from komfortkasse_django.client import Client
from komfortkasse_django.database import DatabaseUnavailable
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue import pushing
from komfortkasse_django.queue.backlog import Backlog
from komfortkasse_django.queue.pushing import push
from tests.shop.models import Order
from tests.support.mirror import due, locked

pytestmark = pytest.mark.django_db(transaction=True)

NUMBERS = [str(number) for number in range(1001, 1021)]


@pytest.fixture(autouse=True)
def _rows():
    due(*NUMBERS)
    Order.objects.bulk_create(Order(number=number, payment="card") for number in NUMBERS)


@pytest.fixture
def fail(monkeypatch):
    """Let each look-up of the shop raise an error; returns how many orders each was for."""

    def fail(error: Exception) -> list[int]:
        asked = []

        def alive(shop, numbers, **kwargs):
            if shop.alias != "default":
                return set()
            asked.append(len(numbers))
            raise error

        monkeypatch.setattr(orders, "alive", alive)
        return asked

    return fail


def test_that_fails_for_some(komfortkasse, configure, caplog):
    def accepts(order):
        if order.number in {"1003", "1011"}:
            raise ZeroDivisionError
        return order.number == "1005"

    configure(ORDER_FILTER=accepts)

    result = push()

    assert result.states == {"removed": 17, "pending": 2, "superseded": 1}
    assert result.stopped == {}
    assert set(komfortkasse.numbers) == set(NUMBERS) - {"1003", "1005", "1011"}
    postponed = RemovedOrder.objects.pending()
    assert {row.order_number for row in postponed} == {"1003", "1011"}
    assert {row.last_error for row in postponed} == {
        "The shop's own code failed: ZeroDivisionError"
    }
    assert caplog.text.count("Traceback") == 1
    assert caplog.messages == [
        "Shop 'default': the shop's own code failed for 2 of 20 orders",
    ]


def test_that_fails_for_all_leaves_the_shop_alone(komfortkasse, configure, monkeypatch):
    """If the filter is broken, the other rows of a long queue are not tried."""
    monkeypatch.setattr(pushing, "_CLAIMS_PER_CALL", 1)
    configure(ORDER_FILTER=lambda order: order.no_such_attribute, CONCURRENCY=4)

    result = push()

    assert komfortkasse.numbers == []
    assert "4 of 4" in result.stopped["default"]
    assert result.states == {"pending": 4}
    assert RemovedOrder.objects.due().filter(attempts=0).count() == 16


def test_that_fails_for_both_leaves_the_shop_alone(komfortkasse, fail):
    RemovedOrder.objects.exclude(order_number__in=NUMBERS[:2]).delete()
    fail(ZeroDivisionError())

    assert "2 of 2" in push().stopped["default"]


def test_that_fails_for_all_may_have_numbers_that_were_deleted_twice(komfortkasse, configure):
    due("1001")
    configure(ORDER_FILTER=lambda order: order.no_such_attribute)

    result = push()

    assert "20 of 20" in result.stopped["default"]
    assert result.states == {"pending": 21}


def test_with_a_router_that_fails_leaves_the_shop_alone(komfortkasse, monkeypatch):
    """As one that asks a database that is down."""

    def database_of(*args, **kwargs):
        raise OperationalError("no such tenant")

    monkeypatch.setattr(orders, "database_of", database_of)

    result = push()

    assert komfortkasse.numbers == []
    assert "20 of 20" in result.stopped["default"]
    assert {row.last_error for row in RemovedOrder.objects.pending()} == {
        "The shop's own code failed: OperationalError"
    }


@pytest.mark.parametrize("time_is_up", [False, True])
def test_that_has_to_end_asks_no_more_for_fewer_orders(komfortkasse, fail, monkeypatch, time_is_up):
    asked = fail(ZeroDivisionError())
    if time_is_up:
        monkeypatch.setattr(Backlog, "patience", lambda backlog: time.monotonic() - 1)

    result = push(should_stop=(lambda: False) if time_is_up else (lambda: len(asked) > 2))

    assert asked == ([20] if time_is_up else [20, 1, 1])
    assert komfortkasse.numbers == []
    if time_is_up:  # or the same rows would keep all the others waiting, run after run
        assert "20 of 20" in result.stopped["default"]
        assert not RemovedOrder.objects.due().exists()
    else:
        assert RemovedOrder.objects.due().filter(attempts=0, last_error="").count() == 20


def test_whose_time_runs_out_gives_the_orders_back(komfortkasse, fail, monkeypatch):
    """A used-up budget is not their fault."""
    fail(ZeroDivisionError())
    monkeypatch.setattr(Backlog, "patience", lambda backlog: time.monotonic() - 1)
    looked_up = []
    alive = orders.alive

    def slowly(*args, **kwargs):
        looked_up.append(args)
        time.sleep(0.3)
        return alive(*args, **kwargs)

    monkeypatch.setattr(orders, "alive", slowly)

    push(budget=0.2)

    assert len(looked_up) == 1
    assert RemovedOrder.objects.due().filter(attempts=0, last_error="").count() == 20


@pytest.mark.parametrize("when", range(1, 9))
def test_is_never_left_out_for_what_is_sent(komfortkasse, configure, when):
    """Whenever ``should_stop`` says so, even if it says so only once."""
    configure(CONCURRENCY=1)
    asked = []

    def should_stop():
        asked.append(None)
        return len(asked) == when

    push(should_stop=should_stop)

    alive = set(Order.objects.values_list("number", flat=True))
    assert not alive & set(komfortkasse.numbers)


def test_that_takes_too_long_sends_nothing(komfortkasse, configure, monkeypatch, caplog):
    """Otherwise rows would be sent that another worker has by then."""
    configure(DEADLINE=0.1)
    alive = orders.alive

    def slowly(*args, **kwargs):
        time.sleep(0.4)
        return alive(*args, **kwargs)

    Order.objects.all()._raw_delete("default")
    monkeypatch.setattr(orders, "alive", slowly)

    result = push()

    assert "takes too long" in result.stopped["default"]
    assert komfortkasse.numbers == []
    assert RemovedOrder.objects.due().filter(attempts=0).count() == 20
    # It does not pass by itself.
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize("fails", [{1}, {1, 3}])
def test_that_fails_only_now_and_then(komfortkasse, monkeypatch, fails):
    Order.objects.all()._raw_delete("default")
    alive, asked = orders.alive, []

    def fail_sometimes(*args, **kwargs):
        asked.append(None)
        if len(asked) in fails:
            raise ZeroDivisionError
        return alive(*args, **kwargs)

    monkeypatch.setattr(orders, "alive", fail_sometimes)

    result = push()

    assert result.states["removed"] == 20 - len(fails) + 1
    assert result.states["pending"] == len(fails) - 1


def test_whose_database_goes_down_between_two_orders(komfortkasse, monkeypatch):
    asked = []

    def fail(*args, **kwargs):
        asked.append(None)
        raise ZeroDivisionError if len(asked) < 3 else DatabaseUnavailable("connection refused")

    monkeypatch.setattr(orders, "alive", fail)

    result = push()

    assert result.stopped == {"default": "its orders cannot be looked up: connection refused"}
    assert komfortkasse.numbers == []
    assert RemovedOrder.objects.due().filter(attempts=0, last_error="").count() == 20


def test_without_a_database_keeps_no_other_shop_waiting(komfortkasse, configure, fail, monkeypatch):
    """That of a shop's orders may be down while that of the mirror is not."""
    asked = fail(locked())
    monkeypatch.setattr(orders, "database_of", lambda shop, **kwargs: "other")
    started = time.monotonic()
    configure(aliases={"default": {}, "other": {}})
    due("other", shop="other")

    result = push()

    assert set(asked) == {20}
    assert 2 < time.monotonic() - started < 9
    assert result.stopped == {"default": "its orders cannot be looked up: database is locked"}
    assert RemovedOrder.objects.due().filter(attempts=0, last_error="").count() == 20
    assert komfortkasse.numbers == ["other"]


def test_without_the_mirrors_database_asks_once(komfortkasse, fail, monkeypatch):
    asked = fail(DatabaseUnavailable("server closed the connection"))
    monkeypatch.setattr(database, "FIRST_WAIT", 60.0)

    result = push()

    assert asked == [20]
    assert komfortkasse.numbers == []
    assert "server closed" in result.stopped["default"]
    assert RemovedOrder.objects.due().filter(attempts=0, last_error="").count() == 20


def test_that_fails_while_calls_are_in_flight_settles_their_answers(
    komfortkasse, configure, monkeypatch
):
    was_asked = threading.Event()
    send = Client.remove_order

    def fail(order):
        was_asked.set()
        raise ZeroDivisionError

    def remove_order(client, number, **kwargs):
        assert number != "C" or was_asked.wait(10)
        return send(client, number, **kwargs)

    monkeypatch.setattr(pushing, "_CLAIMS_PER_CALL", 4)
    monkeypatch.setattr(Client, "remove_order", remove_order)
    configure(ORDER_FILTER=fail, CONCURRENCY=1)
    RemovedOrder.objects.all().delete()
    due("A", "B", "C", "D", via=RemovedOrder.RequestedVia.CODE)
    due("1001", "1002")
    RemovedOrder.objects.filter(order_number__in=["1001", "1002"]).update(
        next_attempt_at=timezone.now()
    )

    result = push()

    assert "2 of 2" in result.stopped["default"]
    assert result.states["removed"] == len(komfortkasse.numbers)
    assert 2 <= len(komfortkasse.numbers) <= 4
    assert RemovedOrder.objects.due().count() == 4 - len(komfortkasse.numbers)
