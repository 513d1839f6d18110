"""A worker that claims removals keeps no shop waiting, at the isolation level that Django sets."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import OperationalError, connection

from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue import leases
from tests.shop.models import Order

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time"),
]

WAIT_A_SECOND = {
    "mysql": "SET innodb_lock_wait_timeout = 1",
    "postgresql": "SET lock_timeout = '1s'",
}


def delete_in_another_connection() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(WAIT_A_SECOND[connection.vendor])
        Order.objects.get().delete()
    finally:
        connection.close()


@pytest.fixture
def claim(configure, monkeypatch):
    """Claim what is due; before that is committed, an order is deleted."""
    configure(REQUEST_BUDGET=0)
    lease = leases._lease

    def lease_and_wait(*arguments):
        claimed = lease(*arguments)
        with ThreadPoolExecutor(1) as shop:
            shop.submit(delete_in_another_connection).result()
        return claimed

    monkeypatch.setattr(leases, "_lease", lease_and_wait)
    Order.objects.create(number="1001")
    RemovedOrder.objects.record("default", ["1", "2", "3"], requested_via="delete")
    yield lambda: leases.claim(RemovedOrder.objects.due(), at_most=10, seconds=60)
    connection.close()


def test_a_deletion_does_not_wait_for_a_claim(claim):
    claimed, _ = claim()

    assert {lease.row.order_number for lease in claimed} == {"1", "2", "3"}
    assert RemovedOrder.objects.due().get().order_number == "1001"


@pytest.mark.skipif(connection.vendor != "mysql", reason="of MySQL and MariaDB alone")
def test_with_repeatable_read_it_may_wait(claim):
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")

    with pytest.raises(OperationalError, match="Lock wait timeout"):
        claim()
    assert Order.objects.exists()
