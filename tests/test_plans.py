"""The queue is found by its index, however many removals were finished before.

It holds for each database on which the tests run.
"""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from komfortkasse_django.models import RemovedOrder, ShopState
from komfortkasse_django.queue import leases
from komfortkasse_django.reports.status import read_status
from tests.support.plans import analyze, index, plan

pytestmark = pytest.mark.django_db(transaction=True)

PRIMARY_KEY = {
    "sqlite": "USING INTEGER PRIMARY KEY",
    "postgresql": f"{RemovedOrder._meta.db_table}_pkey",
    "mysql": "PRIMARY",
}[connection.vendor]
FINISHED, WAITING, DUE = 20_000, 500, 50


@pytest.fixture(autouse=True)
def _mirror():
    """Many finished rows, some that wait for their next attempt, and a few that are due."""
    now = timezone.now()
    later, earlier = now + timedelta(hours=1), now - timedelta(minutes=1)
    moments = [None] * FINISHED + [later] * WAITING + [earlier] * DUE
    RemovedOrder.objects.bulk_create(
        (
            RemovedOrder(
                shop="default",
                order_number=str(number),
                requested_via="delete",
                state="pending" if moment else "removed",
                next_attempt_at=moment,
                finished_at=None if moment else now,
            )
            for number, moment in enumerate(moments)
        ),
        batch_size=1000,
    )
    ShopState.objects.create(shop="other", paused_until=later)
    analyze()


def test_of_a_claim():
    due = RemovedOrder.objects.due().filter(shop="default")

    with CaptureQueriesContext(connection) as queries:
        claimed, _ = leases.claim(due, at_most=128, seconds=60)

    assert len(claimed) == DUE
    found, *locked, others = [
        query["sql"] for query in queries if query["sql"].startswith("SELECT")
    ]
    assert index("next_attempt_at") in plan(found)
    # MySQL finds them first and then locks them by their keys.
    assert all("PRIMARY" in plan(sql) for sql in locked)
    assert index("order_number") in plan(others)


def test_of_an_answer():
    held, _ = leases.claim(RemovedOrder.objects.due(), at_most=8, seconds=60)
    for lease in held:
        lease.row.payment_status = "DISAPPEARED"

    with CaptureQueriesContext(connection) as queries:
        leases.settle(held, using="default")

    (update,) = [query["sql"] for query in queries if query["sql"].startswith("UPDATE")]
    assert PRIMARY_KEY in plan(update)


def test_of_what_is_due():
    due = RemovedOrder.objects.due()

    with CaptureQueriesContext(connection) as queries:
        assert due.exists()
        assert due.count() == DUE
        assert len(due.order_by("next_attempt_at")[:10]) == 10

    assert all(index("next_attempt_at") in plan(query["sql"]) for query in queries)


@pytest.mark.skipif(
    connection.vendor == "postgresql", reason="PostgreSQL reads the table as fast, in parallel"
)
def test_of_what_status_counts():
    with CaptureQueriesContext(connection) as queries:
        status = read_status("default", timedelta(hours=1))

    assert status.counts["default"]["removed"] == FINISHED
    (counts,) = [query["sql"] for query in queries if "MAX(" in query["sql"]]
    assert index("state", "shop", "finished_at") in plan(counts)
