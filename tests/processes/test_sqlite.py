"""SQLite: the shop writes while workers write, and nobody gets "database is locked"."""

import pytest
from django.db import connection

from komfortkasse_django.models import RemovedOrder
from tests.shop.models import Order
from tests.support.mirror import states
from tests.support.running import end, until

pytestmark = [
    pytest.mark.usefixtures("sqlite"),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite has one writer"),
]

ORDERS = 300


@pytest.mark.parametrize("way", ["single", "atomic", "bulk"])
def test_deletes_beside_two_workers(komfortkasse, environment, push, run, way):
    if way == "atomic" and "TRANSACTION_MODE" not in environment:
        pytest.skip("SQLite itself refuses a transaction that has read before it writes")
    Order.objects.bulk_create(Order(number=str(1000 + index)) for index in range(ORDERS))
    workers = [push("--watch", "0.05") for _ in range(2)]

    shops = [run("-m", "tests.processes.delete_orders", way, str(share), "2") for share in range(2)]

    for shop in shops:
        assert shop.ended(120) == 0
        assert shop.log == "[]"
    until(lambda: states() == {"removed": ORDERS})
    for worker in workers:
        end(worker, 60)
        assert "locked" not in worker.log
    assert not Order.objects.exists()
    assert set(komfortkasse.counts.values()) == {1}
    assert RemovedOrder.objects.count() == ORDERS
