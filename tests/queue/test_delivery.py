"""Promise 2: the shop never waits for Komfortkasse in its transaction, or fails because of it."""

import logging
from types import SimpleNamespace

import pytest
import requests
from django.core.signals import request_finished, request_started
from django.db import connection, connections, transaction

from komfortkasse_django import models, removals
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet
from komfortkasse_django.queue import budget, delivery, pushing
from komfortkasse_django.signals import order_removed
from tests.shop.models import Customer, Order
from tests.support.komfortkasse import error
from tests.support.routers import MirrorElsewhere

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def deliveries(monkeypatch):
    """What is delivered after a commit."""
    delivered = []

    def deliver(shop, ids, *, using):
        delivered.append((shop.alias, list(ids), using))

    monkeypatch.setattr(delivery, "deliver", deliver)
    return delivered


@pytest.fixture
def pushes(monkeypatch):
    """A clock, and pushes that take one second of it each."""
    clock = SimpleNamespace(now=100.0, pushes=[], shops=[])
    monkeypatch.setattr(budget.time, "monotonic", lambda: clock.now)

    def push(*, using, shop, ids, budget):
        clock.shops.append(shop)
        clock.pushes.append((list(ids), round(budget, 3)))
        clock.now += 1

    monkeypatch.setattr(pushing, "push", push)
    return clock


class TestCommit:
    def test_delivers(self, komfortkasse):
        Order.objects.create(number="1001").delete()

        assert komfortkasse.numbers == ["1001"]
        assert RemovedOrder.objects.get().state == "removed"

    def test_comes_before_any_request(self, komfortkasse):
        with transaction.atomic():
            Order.objects.create(number="1001").delete()
            assert komfortkasse.numbers == []

        assert komfortkasse.numbers == ["1001"]

    def test_rolled_back_delivers_nothing(self, komfortkasse):
        order = Order.objects.create(number="1001")

        with transaction.atomic():
            order.delete()
            transaction.set_rollback(True)

        assert komfortkasse.numbers == []

    def test_delivers_what_savepoints_left(self, komfortkasse):
        for number in ("1001", "1002", "1003"):
            Order.objects.create(number=number)

        with transaction.atomic():
            Order.objects.get(number="1001").delete()
            with transaction.atomic():
                Order.objects.get(number="1002").delete()
                transaction.set_rollback(True)
            Order.objects.get(number="1003").delete()

        assert sorted(komfortkasse.numbers) == ["1001", "1003"]
        assert RemovedOrder.objects.count() == 2

    def test_delivers_a_loop_at_once(self, deliveries, caplog):
        orders = [Order.objects.create(number=str(number)) for number in range(20)]

        with transaction.atomic():
            for order in orders:
                order.delete()

        keys = list(RemovedOrder.objects.order_by("pk").values_list("pk", flat=True))
        assert deliveries == [("default", keys, "default")]
        assert caplog.records == []

    def test_starts_anew_after_a_rollback(self, deliveries):
        with transaction.atomic():
            Order.objects.create(number="1001").delete()
            transaction.set_rollback(True)
        Order.objects.create(number="1002").delete()
        Order.objects.create(number="1003").delete()

        keys = list(RemovedOrder.objects.order_by("pk").values_list("pk", flat=True))
        assert [ids for _, ids, _ in deliveries] == [[key] for key in keys]

    def test_starts_anew_where_an_error_keeps_hold_of_the_last(self, deliveries, monkeypatch):
        deliver = delivery.deliver

        def interrupt(*args, **kwargs):
            raise KeyboardInterrupt

        monkeypatch.setattr(delivery, "deliver", interrupt)
        with pytest.raises(KeyboardInterrupt) as held:
            Order.objects.create(number="1001").delete()
        monkeypatch.setattr(delivery, "deliver", deliver)

        with transaction.atomic():
            Order.objects.create(number="1002").delete()
            transaction.set_rollback(True)
        Order.objects.create(number="1003").delete()

        assert held.tb is not None
        last = RemovedOrder.objects.latest("pk")
        assert [ids for _, ids, _ in deliveries] == [[last.pk]]

    def test_delivers_for_each_shop(self, configure, deliveries):
        configure(aliases={"a": {}, "b": {}})

        Order.objects.create(number="1001").delete()

        assert [alias for alias, _, _ in deliveries] == ["a", "b"]

    def test_whose_delivery_fails_succeeds(self, configure, monkeypatch, caplog):
        configure(aliases={"a": {}, "b": {}})
        tried = []

        def deliver(shop, ids, *, using):
            tried.append(shop.alias)
            raise ConnectionRefusedError("the broker is down")

        monkeypatch.setattr(delivery, "deliver", deliver)

        Order.objects.create(number="1001").delete()

        assert not Order.objects.exists()
        assert RemovedOrder.objects.due().count() == 2
        assert tried == ["a", "b"]
        assert "the broker is down" in caplog.text
        assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
        for record, alias in zip(caplog.records, tried, strict=True):
            assert f"1 removals of shop '{alias}' were recorded" in record.getMessage()

    def test_succeeds_also_where_delivery_cannot_even_begin(self, monkeypatch):
        def one_budget():
            raise ZeroDivisionError

        monkeypatch.setattr(delivery, "one_budget", one_budget)

        Order.objects.create(number="1001").delete()

        assert RemovedOrder.objects.due().count() == 1

    @pytest.mark.parametrize("answer", [error(503), requests.ConnectionError("refused")])
    def test_succeeds_whatever_komfortkasse_does(self, komfortkasse, answer):
        komfortkasse.answer = answer

        Order.objects.create(number="1001").delete()

        assert not Order.objects.exists()
        assert RemovedOrder.objects.get().state == "pending"

    def test_tells_keys_that_the_database_does_not_return(self, komfortkasse, monkeypatch):
        """As on MySQL, which has no INSERT ... RETURNING."""
        monkeypatch.setattr(type(connection.features), "can_return_rows_from_bulk_insert", False)
        monkeypatch.setattr(models, "_BATCH", 2)
        for number in ("1001", "1001", "1002", "1003", "1004"):
            Order.objects.create(number=number)

        Order.objects.all().delete()

        assert sorted(komfortkasse.numbers) == ["1001", "1002", "1003", "1004"]
        assert RemovedOrder.objects.removed().count() == 5


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
class TestMirrorElsewhere:
    @pytest.fixture(autouse=True)
    def _router(self, settings):
        settings.DATABASE_ROUTERS = [MirrorElsewhere()]

    def test_is_written_on_commit(self, komfortkasse):
        with transaction.atomic():
            Order.objects.create(number="1001").delete()
            assert not RemovedOrder.objects.using("other").exists()

        assert RemovedOrder.objects.using("other").get().state == "removed"
        assert not RemovedOrder.objects.using("default").exists()

    def test_is_not_written_on_rollback(self, komfortkasse):
        with transaction.atomic():
            Order.objects.create(number="1001").delete()
            transaction.set_rollback(True)

        assert not RemovedOrder.objects.using("other").exists()

    def test_has_no_rows_for_remove_to_return(self, komfortkasse):
        order = Order.objects.create(number="1001")

        assert removals.remove(order) == []

        assert RemovedOrder.objects.using("other").get().state == "removed"

    def test_supersedes_by_the_orders_where_they_are(self, komfortkasse):
        with transaction.atomic():
            Order.objects.create(number="1001").delete()
            Order.objects.create(number="1001")

        assert RemovedOrder.objects.using("other").get().state == "superseded"

    def test_that_cannot_be_written_tells_the_numbers(self, monkeypatch, caplog):
        def refuse(*args, **kwargs):
            raise ConnectionRefusedError

        monkeypatch.setattr(RemovedOrderQuerySet, "record", refuse)

        Order.objects.create(number="1001").delete()

        assert not Order.objects.exists()
        assert "1001 (shop default)" in caplog.text
        assert "recorded in database 'other'. Pass them to komfortkasse_remove" in caplog.text

    def test_that_cannot_be_written_leaves_an_open_transaction_whole(self, monkeypatch):
        record = RemovedOrderQuerySet.record

        def refuse(self, *args, **kwargs):
            record(self, *args, **kwargs)
            raise ConnectionRefusedError

        monkeypatch.setattr(RemovedOrderQuerySet, "record", refuse)
        with transaction.atomic("other"):
            Order.objects.using("other").create(number="2001")
            Order.objects.create(number="1001").delete()

        assert Order.objects.using("other").count() == 1
        assert not RemovedOrder.objects.using("other").exists()


class TestBudget:
    def test_is_one_for_all_shops_of_a_transaction(self, pushes, configure):
        configure(aliases={"a": {}, "b": {}, "c": {}}, REQUEST_BUDGET=1.5)

        Order.objects.create(number="1001").delete()
        Order.objects.create(number="1002").delete()

        assert [budget for _, budget in pushes.pushes] == [1.5, 0.5, 1.5, 0.5]
        assert pushes.shops == ["a", "b", "a", "b"]

    def test_is_spent_by_a_push_that_fails_too(self, pushes, configure, monkeypatch):
        configure(REQUEST_BUDGET=1.5)
        push = pushing.push

        def fail(**options):
            push(**options)
            raise ZeroDivisionError

        monkeypatch.setattr(pushing, "push", fail)
        request_started.send(sender=None)
        for number in range(3):
            Order.objects.create(number=str(number)).delete()
        request_finished.send(sender=None)

        assert [budget for _, budget in pushes.pushes] == [1.5, 0.5]

    def test_is_not_begun_anew_by_receivers_that_delete(self, komfortkasse):
        for number in ("1001", "1002"):
            Order.objects.create(number=number)

        def delete_the_other(**kwargs):
            Order.objects.filter(number="1002").delete()

        order_removed.connect(delete_the_other)
        try:
            Order.objects.get(number="1001").delete()
        finally:
            order_removed.disconnect(delete_the_other)

        assert komfortkasse.numbers == ["1001"]
        assert RemovedOrder.objects.due().count() == 1

    def test_of_a_request_is_spent_once(self, pushes, configure):
        configure(REQUEST_BUDGET=2.5)

        request_started.send(sender=None)
        for number in range(5):
            Order.objects.create(number=str(number)).delete()
        request_finished.send(sender=None)
        Order.objects.create(number="later").delete()

        assert [budget for _, budget in pushes.pushes] == [2.5, 1.5, 0.5, 2.5]
        assert RemovedOrder.objects.due().count() == 6

    def test_of_the_next_request_is_whole(self, pushes, configure):
        configure(REQUEST_BUDGET=2.5)

        for number in range(2):
            request_started.send(sender=None)
            Order.objects.create(number=str(number)).delete()

        request_finished.send(sender=None)
        assert [budget for _, budget in pushes.pushes] == [2.5, 2.5]

    def test_of_nothing_leaves_it_to_the_command(self, pushes, configure):
        configure(REQUEST_BUDGET=0)

        Order.objects.create(number="1001").delete()

        assert pushes.pushes == []
        assert RemovedOrder.objects.due().count() == 1

    def test_caps_the_call_in_flight(self, configure, monkeypatch):
        configure(REQUEST_BUDGET=2, DEADLINE=10)
        deadlines = []

        def remove_order(self, number, deadline):
            deadlines.append(deadline)
            raise requests.ConnectionError

        monkeypatch.setattr("komfortkasse_django.client.Client.remove_order", remove_order)
        Order.objects.create(number="1001").delete()

        assert 1 < deadlines[0] <= 2


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_no_other_transaction_waits_for_komfortkasse(komfortkasse):
    with transaction.atomic("other"):
        Order.objects.create(number="1001").delete()
        assert komfortkasse.numbers == []

    assert RemovedOrder.objects.due().count() == 1


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_no_transaction_by_hand_waits_for_komfortkasse(komfortkasse):
    """If autocommit is off, every statement opens one."""
    connections["other"].set_autocommit(False)
    try:
        Customer.objects.using("other").create(name="Erika")

        Order.objects.create(number="1001").delete()

        assert komfortkasse.numbers == []
        assert RemovedOrder.objects.due().count() == 1
    finally:
        connections["other"].rollback()
        connections["other"].set_autocommit(True)
