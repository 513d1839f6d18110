"""Promise 1: an order's deletion and the record of its removal commit together or not at all."""

import gc
import threading
import uuid
import weakref
from contextlib import nullcontext

import django
import pytest
from django.core.exceptions import ObjectDoesNotExist
from django.db import connection, connections, models, transaction
from django.db.models.signals import post_delete, pre_delete
from django.test.utils import CaptureQueriesContext, isolate_apps

from komfortkasse_django import receivers
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet
from tests.shop.models import (
    ArchivedGiftOrder,
    ArchivedOrder,
    Customer,
    EagerOrder,
    Event,
    GiftOrder,
    IntegerOrder,
    Line,
    Order,
    SwappedInOrder,
    TicketOrder,
    UUIDOrder,
)

pytestmark = pytest.mark.django_db


def recorded(using: str = "default") -> list[str]:
    rows = RemovedOrder.objects.using(using).order_by("pk")
    return list(rows.values_list("order_number", flat=True))


def is_paid_in_advance(order: Order) -> bool:
    return order.payment == "prepayment"


def number_with_lines(order: Order) -> str:
    return f"{order.number}/{order.lines.count()}"


class ObjectionError(Exception):
    pass


@pytest.fixture
def objection():
    """Another receiver that refuses a deletion while it is switched on."""
    switch = threading.Event()

    def objects(sender, **kwargs):
        if switch.is_set():
            raise ObjectionError

    pre_delete.connect(objects, sender=Order)
    yield switch
    pre_delete.disconnect(objects, sender=Order)


class TestDeletion:
    def test_records_what_and_how(self):
        Order.objects.create(number="1001").delete()

        row = RemovedOrder.objects.get()
        assert (row.shop, row.order_number) == ("default", "1001")
        assert (row.state, row.requested_via) == ("pending", "delete")
        assert row.next_attempt_at == row.created_at
        assert (row.attempts, row.finished_at) == (0, None)

    def test_of_a_queryset_inserts_once(self):
        Order.objects.bulk_create(Order(number=str(number)) for number in range(50))

        with CaptureQueriesContext(connection) as queries:
            Order.objects.all().delete()

        inserts = [query for query in queries if query["sql"].startswith("INSERT")]
        assert len(inserts) == 1
        assert sorted(recorded(), key=int) == [str(number) for number in range(50)]

    def test_of_many_inserts_a_thousand_at_once(self):
        Order.objects.bulk_create(Order(number=str(number)) for number in range(1001))

        with CaptureQueriesContext(connection) as queries:
            Order.objects.all().delete()

        inserts = [query for query in queries if query["sql"].startswith("INSERT")]
        assert len(inserts) == 2
        assert sorted(recorded(), key=int) == [str(number) for number in range(1001)]

    def test_of_one_order_costs_two_statements(self, configure):
        def statements() -> int:
            order = Order.objects.create(number="1001")
            with CaptureQueriesContext(connection) as queries:
                order.delete()
            return len(queries)

        ours = statements()
        pre_delete.disconnect(receivers.read, sender=Order)
        post_delete.disconnect(receivers.write, sender=Order)
        none = statements()
        configure()

        assert ours - none == 2
        assert recorded() == ["1001"]

    def test_by_cascade(self):
        event = Event.objects.create(name="Fair")
        Order.objects.create(number="1001", event=event)
        Order.objects.create(number="1002", event=event)

        event.delete()

        assert sorted(recorded()) == ["1001", "1002"]

    def test_of_an_order_that_takes_others_with_it(self):
        order = Order.objects.create(number="1001")
        Order.objects.create(number="1002", replaces=order)
        order.number = "unsaved"

        order.delete()

        assert sorted(recorded()) == ["1001", "1002"]

    def test_reads_again_only_the_number_of_the_order_that_is_deleted(self):
        """Django has just read all the fields of the others."""
        order = Order.objects.create(number="1001")
        for number in ("1002", "1003", "1004"):
            Order.objects.create(number=number, replaces=order)

        with CaptureQueriesContext(connection) as queries:
            order.delete()

        table = connection.ops.quote_name("shop_order")
        reads = [sql for query in queries if f"FROM {table} WHERE" in (sql := query["sql"])]
        reads = [sql for sql in reads if sql.startswith("SELECT")]
        assert len([sql for sql in reads if "payment" not in sql]) == 1
        assert len(reads) == 1 + 2  # those that replace it, and those that replace them
        assert sorted(recorded()) == ["1001", "1002", "1003", "1004"]

    @pytest.mark.parametrize("model", [Order, ArchivedOrder])
    def test_through_model_or_proxy(self, model):
        order = model.objects.create(number="1001")

        order.delete()

        assert recorded() == ["1001"]

    @pytest.mark.parametrize("model", [GiftOrder, ArchivedGiftOrder, TicketOrder])
    def test_of_a_multi_table_child(self, model):
        model.objects.create(number="1000").delete()
        order = model.objects.create(number="1001")
        order.number = "unsaved"

        order.delete()

        assert recorded() == ["1000", "1001"]

    def test_of_the_base_of_a_multi_table_child(self):
        order = GiftOrder.objects.create(number="1001")

        Order.objects.get(pk=order.pk).delete()

        assert recorded() == ["1001"]

    def test_that_keeps_the_parents_is_none(self):
        GiftOrder.objects.create(number="1001").delete(keep_parents=True)

        assert Order.objects.exists()
        assert recorded() == []

    @pytest.mark.parametrize("order_filter", [None, lambda order: True])
    def test_whose_number_is_the_key_of_something_else(self, configure, order_filter):
        configure(ORDER_NUMBER="event", ORDER_FILTER=order_filter)
        event = Event.objects.create(name="Fair")

        Order.objects.create(event=event).delete()

        assert recorded() == [str(event.pk)]

    def test_of_a_row_that_its_managers_hide(self):
        order = Order(number="1001", hidden=True)
        order.save()

        order.delete()

        assert recorded() == ["1001"]

    def test_twice_with_a_stale_instance(self):
        order = Order.objects.create(number="1001")
        stale = Order.objects.get(pk=order.pk)
        order.delete()

        stale.delete()

        assert recorded() == ["1001"]

    def test_collected_as_two_classes_is_one(self):
        order = Order.objects.create(number="1001")
        proxy = ArchivedOrder.objects.get(pk=order.pk)
        collector = models.deletion.Collector(using="default", origin=Order.objects.all())
        collector.collect([order])
        collector.collect([proxy])

        collector.delete()

        assert recorded() == ["1001"]

    def test_of_other_models_is_not_watched(self):
        for model in (Customer, Line, GiftOrder, ArchivedGiftOrder):
            assert not pre_delete.has_listeners(model)
            assert not post_delete.has_listeners(model)

    @isolate_apps("tests.shop")
    def test_through_a_proxy_defined_late(self):
        class LateOrder(Order):
            class Meta:
                proxy = True
                app_label = "shop"

        class Unrelated(models.Model):
            class Meta:
                app_label = "shop"

        LateOrder.objects.create(number="1001").delete()

        assert recorded() == ["1001"]
        assert not pre_delete.has_listeners(Unrelated)


class TestNumber:
    def test_is_the_databases_not_an_unsaved_edit(self):
        order = Order.objects.create(number="1001")
        order.number = "unsaved"

        order.delete()

        assert recorded() == ["1001"]

    def test_of_an_instance_that_is_only_a_primary_key(self):
        Order(pk=Order.objects.create(number="1001").pk).delete()

        assert recorded() == ["1001"]

    def test_that_is_deferred(self):
        Order.objects.create(number="1001")
        Order.objects.only("pk").get().delete()
        Order.objects.create(number="1002")
        Order.objects.only("pk").delete()

        assert recorded() == ["1001", "1002"]

    @pytest.mark.skipif(django.VERSION < (6, 1), reason="fetch modes are new in Django 6.1")
    @pytest.mark.parametrize("options", [{}, {"ORDER_FILTER": lambda order: order.event is None}])
    def test_that_may_not_be_fetched(self, configure, options):
        configure(**options)
        Order.objects.create(number="1001")

        Order.objects.only("pk").fetch_mode(models.FETCH_RAISE).delete()

        assert recorded() == ["1001"]

    @pytest.mark.skipif(django.VERSION < (6, 1), reason="fetch modes are new in Django 6.1")
    def test_where_the_filter_follows_a_relation_that_may_not_be_fetched(self, configure):
        configure(ORDER_FILTER=lambda order: order.event.name == "Fair")
        Order.objects.create(number="1001", event=Event.objects.create(name="Fair"))

        Order.objects.fetch_mode(models.FETCH_RAISE).delete()

        assert recorded() == ["1001"]

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"ORDER_FILTER": lambda order: order.number == "1001"},
            {"ORDER_NUMBER": lambda order: order.number},
        ],
    )
    def test_is_the_databases_not_what_a_query_puts_in_its_place(self, configure, options):
        configure(**options)
        Order.objects.create(number="1001")

        Order.objects.extra(select={"number": "'2001'"}).delete()

        assert recorded() == ["1001"]

    @pytest.mark.parametrize("number", ["", None, "  "])
    def test_that_is_empty_records_nothing(self, number):
        Order.objects.create(number=number).delete()

        assert not Order.objects.exists()
        assert recorded() == []

    def test_zero_is_not_empty(self, configure):
        configure(ORDER_MODEL="shop.IntegerOrder")

        IntegerOrder.objects.create(number=0).delete()
        IntegerOrder.objects.create(number=None).delete()

        assert recorded() == ["0"]

    def test_uuid(self, configure):
        configure(ORDER_MODEL="shop.UUIDOrder")
        number = uuid.uuid4()

        UUIDOrder.objects.create(number=number).delete()

        assert recorded() == [str(number)]

    def test_primary_key(self, configure):
        configure(ORDER_NUMBER="pk")
        order = Order.objects.create()
        key = order.pk

        order.delete()

        assert recorded() == [str(key)]

    @pytest.mark.parametrize(
        "order_number",
        [number_with_lines, "tests.promises.test_recording.number_with_lines"],
    )
    def test_from_a_callable_sees_what_is_deleted_along(self, configure, order_number):
        configure(ORDER_NUMBER=order_number)
        order = Order.objects.create(number="1001")
        order.lines.create(name="T-Shirt")
        order.number = "unsaved"

        order.delete()

        assert recorded() == ["1001/1"]

    def test_from_a_property(self, configure):
        configure(ORDER_NUMBER="full_number")
        order = Order.objects.create(number="1001")
        Order.objects.create(number="1002")
        order.number = "unsaved"

        order.delete()
        Order.objects.defer("number").delete()

        assert recorded() == ["EVENT-1001", "EVENT-1002"]

    def test_of_a_model_that_reads_itself_while_it_is_made(self, configure):
        configure(ORDER_MODEL="shop.EagerOrder", ORDER_NUMBER="ref")
        order = EagerOrder.objects.create(ref="R-1")
        EagerOrder.objects.create(ref="R-2")

        order.delete()
        EagerOrder.objects.all().delete()

        assert recorded() == ["R-1", "R-2"]

    def test_of_255_characters_is_recorded(self):
        Order.objects.create(number="9" * 255).delete()

        assert recorded() == ["9" * 255]

    @pytest.mark.django_db(transaction=True)
    def test_that_is_too_long_fails_the_deletion_with_a_reason(self):
        order = Order.objects.create(number="9" * 256)

        with pytest.raises(
            ValueError, match=f"^The order number '{'9' * 32}'... has 256 characters; at most 255"
        ):
            order.delete()

        assert Order.objects.exists()
        assert recorded() == []


class TestFilter:
    @pytest.mark.parametrize(
        "order_filter", [is_paid_in_advance, "tests.promises.test_recording.is_paid_in_advance"]
    )
    def test_decides(self, configure, order_filter):
        configure(ORDER_FILTER=order_filter)
        order = Order.objects.create(number="1001", payment="card")
        Order.objects.create(number="1002", payment="card")
        Order.objects.create(number="1003")

        order.delete()
        Order.objects.all().delete()

        assert recorded() == ["1003"]

    @pytest.mark.parametrize(("fields", "reads"), [([], 1), (["pk"], 4)])
    def test_reads_an_order_again_only_where_something_is_missing(self, configure, fields, reads):
        """Once for all that are missing, and not at all if none is."""
        configure(ORDER_FILTER=lambda order: order.payment == "prepayment" and not order.cancelled)
        Order.objects.bulk_create(Order(number=number) for number in ("1001", "1002", "1003"))

        with CaptureQueriesContext(connection) as queries:
            Order.objects.only(*fields).delete()

        statements = [query["sql"] for query in queries]
        table = connection.ops.quote_name("shop_order")
        found = [sql for sql in statements if sql.startswith("SELECT") and f"FROM {table} " in sql]
        assert len(found) == reads + 1  # those that replace one of them
        assert recorded() == ["1001", "1002", "1003"]

    def test_judges_what_the_database_holds(self, configure):
        configure(ORDER_FILTER=is_paid_in_advance)
        order = Order.objects.create(number="1001", payment="card")
        order.payment = "prepayment"

        order.delete()
        Order(pk=Order.objects.create(number="1002", payment="card").pk).delete()

        assert recorded() == []

    def test_sees_relations_that_are_deleted_along(self, configure):
        configure(ORDER_FILTER=lambda order: order.lines.exists())
        Order.objects.create(number="1001").lines.create(name="T-Shirt")
        Order.objects.create(number="1002")

        Order.objects.all().delete()

        assert recorded() == ["1001"]

    def test_that_fails_fails_the_deletion(self, configure):
        configure(ORDER_FILTER=lambda order: order.no_such_attribute)
        order = Order.objects.create(number="1001")

        with pytest.raises(AttributeError, match="no_such_attribute"), transaction.atomic():
            order.delete()

        assert Order.objects.exists()

    def test_of_several_aliases_serves_several_stores(self, configure):
        configure(
            aliases={
                "prepaid": {"ORDER_FILTER": is_paid_in_advance},
                "all": {},
                "off": {"ENABLED": False},
            }
        )
        Order.objects.create(number="1001")
        Order.objects.create(number="1002", payment="card")

        Order.objects.order_by("pk").delete()

        rows = RemovedOrder.objects.values_list("shop", "order_number")
        assert set(rows) == {("prepaid", "1001"), ("all", "1001"), ("all", "1002")}


class TestTransaction:
    def test_that_is_rolled_back_records_nothing(self):
        order = Order.objects.create(number="1001")

        with transaction.atomic():
            order.delete()
            transaction.set_rollback(True)

        assert Order.objects.exists()
        assert recorded() == []

    def test_with_a_savepoint_rolled_back_records_the_rest(self):
        Order.objects.create(number="1001")
        Order.objects.create(number="1002")

        with transaction.atomic():
            Order.objects.get(number="1001").delete()
            with transaction.atomic():
                Order.objects.get(number="1002").delete()
                transaction.set_rollback(True)

        assert recorded() == ["1001"]

    def test_fails_where_the_record_cannot_be_written(self, monkeypatch):
        order = Order.objects.create(number="1001")

        def refuse(*args, **kwargs):
            raise RuntimeError("disk full")

        monkeypatch.setattr(RemovedOrderQuerySet, "record", refuse)
        with pytest.raises(RuntimeError, match="disk full"), transaction.atomic():
            order.delete()

        assert Order.objects.exists()

    @pytest.mark.parametrize("outer", [True, False])
    @pytest.mark.django_db(transaction=True)
    def test_that_another_receiver_ended_leaves_nothing_behind(self, objection, outer):
        """The same queryset is deleted again, and meanwhile one of its orders has left it."""
        first = Order.objects.create(number="1001")
        Order.objects.create(number="1002")
        queryset = Order.objects.filter(cancelled=False).order_by("pk")

        def attempts():
            objection.set()
            with pytest.raises(ObjectionError), transaction.atomic():
                queryset.delete()
            objection.clear()
            Order.objects.filter(pk=first.pk).update(cancelled=True)
            queryset.delete()

        if outer:
            with transaction.atomic():
                attempts()
        else:
            attempts()

        assert [order.number for order in Order.objects.all()] == ["1001"]
        assert recorded() == ["1002"]

    def test_that_another_receiver_ended_is_not_kept_in_memory(self, objection):
        receivers._read.clear()
        order = Order.objects.create(number="1001")
        objection.set()
        with pytest.raises(ObjectionError), transaction.atomic():
            order.delete()
        reference = weakref.ref(order)

        del order
        gc.collect()

        assert reference() is None
        assert not receivers._read

    def test_where_the_database_objects_records_nothing(self, monkeypatch):
        order = Order.objects.create(number="1001")

        def refuse(*args, **kwargs):
            raise ObjectDoesNotExist

        with monkeypatch.context() as context, pytest.raises(ObjectDoesNotExist):
            context.setattr(models.sql.DeleteQuery, "delete_batch", refuse)
            with transaction.atomic():
                order.delete()

        assert Order.objects.exists()
        assert recorded() == []

    def test_of_a_deletion_inside_a_deletion(self):
        """A receiver of the shop deletes another order while one is being deleted."""
        other = Order.objects.create(number="1002")
        order = Order.objects.create(number="1001")

        def delete_other(sender, instance, **kwargs):
            if instance.number == "1001":
                other.delete()

        pre_delete.connect(delete_other, sender=Order)
        try:
            Order.objects.filter(pk=order.pk).delete()
        finally:
            pre_delete.disconnect(delete_other, sender=Order)

        assert sorted(recorded()) == ["1001", "1002"]


class TestOrigin:
    """Code that sends the signals itself, as some soft-delete packages do."""

    @pytest.mark.parametrize("atomic", [True, False])
    @pytest.mark.parametrize("stays", [True, False])
    @pytest.mark.django_db(transaction=True)
    def test_that_is_missing(self, komfortkasse, atomic, stays):
        """Hiding an order ends it, although its row is still there."""
        order = Order.objects.create(number="1001")
        order.number = "unsaved"
        survivor = Order.objects.create(number="1002")

        with transaction.atomic() if atomic else nullcontext():
            pre_delete.send(sender=Order, instance=survivor, using="default")
            pre_delete.send(sender=Order, instance=order, using="default")
            if not stays:
                Order.objects.filter(pk=order.pk)._raw_delete("default")
            post_delete.send(sender=Order, instance=order, using="default")

        row = RemovedOrder.objects.get()
        assert (row.order_number, row.requested_via, row.state) == ("1001", "code", "removed")

    def test_that_is_missing_beside_the_database(self):
        """django-undeletable sends what its queryset was told to use: mostly nothing."""
        order = Order.objects.create(number="1001")

        pre_delete.send(sender=Order, instance=order, using=None)
        post_delete.send(sender=Order, instance=order, using=None)

        assert recorded() == ["1001"]

    @pytest.mark.parametrize("atomic", [True, False])
    @pytest.mark.parametrize("has_origin", [True, False])
    @pytest.mark.django_db(transaction=True)
    def test_of_a_deletion_that_does_not_happen_leaves_nothing_behind(self, atomic, has_origin):
        order = Order.objects.create(number="1001")
        with transaction.atomic() if atomic else nullcontext():
            origin = order if has_origin else None
            pre_delete.send(sender=Order, instance=order, using="default", origin=origin)
        reference = weakref.ref(order)

        del order, origin
        gc.collect()

        assert reference() is None

    @pytest.mark.parametrize("has_origin", [True, False])
    def test_of_a_deletion_that_did_not_happen_is_not_recorded_later(self, configure, has_origin):
        configure(ORDER_FILTER=is_paid_in_advance)
        order = Order.objects.create(number="1001")
        message = {"sender": Order, "instance": order, "using": "default"}
        if has_origin:
            message["origin"] = order
        pre_delete.send(**message)
        Order.objects.update(payment="card")

        pre_delete.send(**message)
        post_delete.send(**message)

        assert recorded() == []

    def test_of_two_deletions_at_once(self):
        first, second = (Order.objects.create(number=number) for number in ("1001", "1002"))
        with transaction.atomic():
            for signal in (pre_delete, post_delete):
                for order in (first, second):
                    signal.send(sender=Order, instance=order, using="default", origin=order)

        assert recorded() == ["1001", "1002"]
        assert set(RemovedOrder.objects.values_list("requested_via", flat=True)) == {"delete"}

    def test_without_pre_delete_records_nothing(self):
        order = Order.objects.create(number="1001")

        post_delete.send(sender=Order, instance=order, using="default", origin=order)

        assert recorded() == []


class TestSetting:
    def test_switched_off_connects_nothing(self, configure):
        configure(ENABLED=False)

        assert not pre_delete.has_listeners(Order)
        assert not post_delete.has_listeners(ArchivedOrder)
        Order.objects.create(number="1001").delete()
        assert recorded() == []

    def test_naming_the_model_that_was_swapped_in(self, configure):
        configure(ORDER_MODEL="shop.SwappedInOrder")

        SwappedInOrder.objects.create(number="1001").delete()

        assert recorded() == ["1001"]

    @pytest.mark.parametrize("label", ["shop.Nothing", "nothing.Order", "Order", "", None, 5])
    def test_naming_no_model_starts_all_the_same(self, configure, label):
        configure(ORDER_MODEL=label)

        assert not pre_delete.has_listeners(Order)

    def test_of_something_else_does_not_reconnect(self, settings):
        settings.SHOP_NAME = "anything"

        assert pre_delete.has_listeners(Order)


@pytest.mark.django_db(databases=["default", "other"])
class TestDatabases:
    def test_the_deleting_database_keeps_the_record(self):
        Order.objects.using("other").create(number="1001").delete()
        Order(number="1002").save(using="other")
        Order.objects.using("other").all().delete()

        assert recorded() == []
        assert recorded("other") == ["1001", "1002"]

    def test_an_order_of_the_same_key_elsewhere_is_another(self):
        key = Order.objects.create(number="1001").pk
        Order(pk=key, number="2001").save(using="other")

        Order(pk=key).delete(using="other")

        assert recorded("other") == ["2001"]

    def test_a_deletion_inside_a_deletion_elsewhere(self):
        """Each is recorded in its own database, in any order of the signals."""
        for using in ("default", "other"):
            for number in ("1001", "1002"):
                Order(number=f"{using} {number}").save(using=using)

        def delete_elsewhere(sender, instance, using, **kwargs):
            if using == "default" and instance.number == "default 1001":
                Order.objects.using("other").all().delete()

        pre_delete.connect(delete_elsewhere, sender=Order)
        try:
            Order.objects.order_by("pk").delete()
        finally:
            pre_delete.disconnect(delete_elsewhere, sender=Order)

        assert recorded() == ["default 1001", "default 1002"]
        assert recorded("other") == ["other 1001", "other 1002"]

    def test_a_rollback_in_one_leaves_the_other(self):
        here = Order.objects.create(number="1001")
        there = Order.objects.using("other").create(number="2001")

        with transaction.atomic():
            there.delete()
            here.delete()
            transaction.set_rollback(True)

        assert recorded() == []
        assert recorded("other") == ["2001"]
        assert not connections["other"].needs_rollback
