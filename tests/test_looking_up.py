"""One bad order among those whose numbers are looked up keeps no other waiting."""

import pytest
from django.db import OperationalError

from komfortkasse_django import orders, runs
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.removals import push
from tests.shop.models import Order

pytestmark = pytest.mark.django_db(transaction=True)

NUMBERS = [str(number) for number in range(1001, 1021)]


@pytest.fixture(autouse=True)
def _rows(komfortkasse):
    for number in NUMBERS:
        RemovedOrder.objects.create(shop="default", order_number=number, requested_via="delete")
        Order.objects.create(number=number, payment="card")


def test_that_fails_for_some(komfortkasse, configure, caplog):
    def accepts(order):
        if order.number in {"1003", "1011"}:
            raise ZeroDivisionError
        return False

    configure(ORDER_FILTER=accepts)

    result = push()

    assert result.states == {"removed": 18, "pending": 2}
    assert result.stopped == {}
    assert set(komfortkasse.numbers) == set(NUMBERS) - {"1003", "1011"}
    postponed = RemovedOrder.objects.pending()
    assert {row.order_number for row in postponed} == {"1003", "1011"}
    assert {row.last_error for row in postponed} == {
        "The shop's own code failed: ZeroDivisionError"
    }
    assert caplog.text.count("Traceback") == 1
    assert "2 of 20" in caplog.text


def test_that_fails_for_all_leaves_the_shop_alone(komfortkasse, configure, monkeypatch):
    """Not every row of a long queue has to pay for a broken filter."""
    monkeypatch.setattr(runs, "_CLAIMS_PER_CALL", 1)
    configure(ORDER_FILTER=lambda order: order.no_such_attribute, CONCURRENCY=4)

    result = push()

    assert komfortkasse.numbers == []
    assert "4 of 4" in result.stopped["default"]
    assert result.states == {"pending": 4}
    assert RemovedOrder.objects.due().filter(attempts=0).count() == 16


def test_that_fails_for_all_may_have_numbers_that_were_deleted_twice(komfortkasse, configure):
    RemovedOrder.objects.create(shop="default", order_number="1001", requested_via="delete")
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


def test_without_a_database_asks_once(komfortkasse, monkeypatch):
    monkeypatch.setattr(runs, "_LEASE_MARGIN", 0)
    monkeypatch.setattr(runs, "will_pass", lambda error, using: True)
    calls = []

    def in_use(*args, **kwargs):
        calls.append(args)
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(orders, "in_use", in_use)

    with pytest.raises(OperationalError, match="server closed"):
        push()

    assert len(calls) == 1
    assert komfortkasse.numbers == []
