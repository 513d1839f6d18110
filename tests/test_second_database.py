"""What a shop keeps in a second database is read, recorded and delivered there."""

import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet, ShopState
from komfortkasse_django.queue import leases
from komfortkasse_django.queue.pushing import push
from komfortkasse_django.removals import record, remove
from tests.shop.models import Order
from tests.support.komfortkasse import error
from tests.support.routers import OrdersFromAReplica, Together

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

Via = RemovedOrder.RequestedVia


class MirrorInTheFirst:
    """The mirror is in the first database, wherever the orders are."""

    def db_for_write(self, model, **hints):
        return "default" if model is RemovedOrder else None


class NewOrdersInTheSecond:
    """The caller decides in which database the old ones and their mirror are."""

    def db_for_write(self, model, **hints):
        return "other" if model is Order else None


class WithoutTheReplica(OrdersFromAReplica):
    """Nothing may be read from the replica, which lacks the newest orders."""

    def db_for_read(self, model, **hints):
        raise AssertionError(f"{model} is read from a replica")


@pytest.fixture
def order() -> Order:
    """An order in the second database; its primary key is also that of one in the first."""
    namesake = Order.objects.create(number="1001")
    order = Order(pk=namesake.pk, number="2001")
    order.save(using="other")
    return order


def mirrored(using: str) -> list[tuple[str, str]]:
    rows = RemovedOrder.objects.using(using).order_by("pk")
    return list(rows.values_list("order_number", "state"))


def test_an_order_that_is_removed_is_read_there(komfortkasse, order):
    order.number = "unsaved"

    remove(order)

    assert mirrored("other") == [("2001", "removed")]
    assert mirrored("default") == []


def test_an_order_that_is_gone_there_is_what_it_was_in_memory(komfortkasse, order):
    Order.objects.using("other").all()._raw_delete("other")

    remove(order)

    assert mirrored("other") == [("2001", "removed")]


def test_an_order_that_is_deleted_is_read_there(komfortkasse, order):
    order.number = "unsaved"

    order.delete()

    assert mirrored("other") == [("2001", "removed")]
    assert mirrored("default") == []


def test_a_router_is_asked_about_models(komfortkasse, settings, order):
    settings.DATABASE_ROUTERS = [Together()]
    order._state.db = "default"

    rows = remove([order, "2002"])

    assert [(row.order_number, row._state.db) for row in rows] == [
        ("2001", "other"),
        ("2002", "other"),
    ]
    RemovedOrder.objects.using("other").update(state="pending", next_attempt_at=timezone.now())
    assert push().states == {"removed": 2}


def test_a_number_is_in_use_again_where_the_router_says(komfortkasse, settings, order):
    settings.DATABASE_ROUTERS = [Together()]

    with transaction.atomic("other"):
        order.delete()
        Order.objects.create(number="2001")

    assert mirrored("other") == [("2001", "superseded")]


def test_a_mirror_in_the_first_waits_for_the_commit_in_the_second(komfortkasse, settings, order):
    settings.DATABASE_ROUTERS = [MirrorInTheFirst()]

    with transaction.atomic("other"):
        order.delete()
        assert mirrored("default") == []

    assert mirrored("default") == [("2001", "removed")]


def test_an_order_read_from_a_replica_is_removed_where_it_is_written(komfortkasse, settings, order):
    settings.DATABASE_ROUTERS = [OrdersFromAReplica()]

    remove(Order.objects.get())

    assert mirrored("default") == [("1001", "removed")]
    assert mirrored("other") == []


def test_a_queryset_is_read_where_orders_are_written(komfortkasse, settings, order):
    settings.DATABASE_ROUTERS = [WithoutTheReplica()]

    remove(Order.objects.all())

    assert mirrored("default") == [("1001", "removed")]
    assert mirrored("other") == []


def test_a_queryset_of_a_database_is_read_there(komfortkasse, order):
    remove(Order.objects.using("other"))

    assert mirrored("other") == [("2001", "removed")]
    assert mirrored("default") == []


def test_a_replica_that_lags_supersedes_nothing(komfortkasse, settings, order):
    settings.DATABASE_ROUTERS = [OrdersFromAReplica()]
    Order.objects.using("other").update(number="1001")

    Order.objects.using("default").get().delete()

    assert mirrored("default") == [("1001", "removed")]


def test_an_order_elsewhere_supersedes_none_that_is_here(komfortkasse, settings, order):
    settings.DATABASE_ROUTERS = [NewOrdersInTheSecond()]
    Order.objects.using("other").update(number="1001")

    Order.objects.using("default").all().delete()

    assert mirrored("default") == [("1001", "removed")]


def test_removals_are_recorded_together_or_not_at_all(monkeypatch):
    write = RemovedOrderQuerySet.record

    def write_one(self, shop, numbers, *, requested_via):
        if shop == "second":
            raise ConnectionRefusedError
        return write(self, shop, numbers, requested_via=requested_via)

    monkeypatch.setattr(RemovedOrderQuerySet, "record", write_one)

    with pytest.raises(ConnectionRefusedError):
        record([("first", "2001"), ("second", "2002")], requested_via=Via.CODE, using="other")

    assert mirrored("other") == []


def test_a_pause_is_kept_to_there(komfortkasse):
    mirror = RemovedOrder.objects.using("other")
    mirror.create(shop="default", order_number="2001", requested_via=Via.CODE)
    komfortkasse.answer = error(429, "slow down", **{"Retry-After": "120"})

    push(using="other")

    mirror.update(next_attempt_at=timezone.now())
    assert push(using="other").total == 0
    assert not ShopState.objects.exists()


def test_a_claim_is_a_transaction_there():
    now = timezone.now()
    mirror = RemovedOrder.objects.using("other")
    mirror.create(shop="default", order_number="2001", requested_via=Via.CODE)

    with CaptureQueriesContext(connections["other"]) as queries:
        [lease], _more = leases.claim(mirror.due(), at_most=10, seconds=60)

    assert lease.row.next_attempt_at > now
    assert {"BEGIN", "COMMIT"} <= {query["sql"] for query in queries}
