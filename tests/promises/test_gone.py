"""Promise 1 for orders that end without being deleted: the change is recorded, and nothing else."""

import gc
import weakref
from collections import Counter
from contextlib import contextmanager
from typing import ClassVar

import pytest
from django.core import serializers
from django.db import connection, models, transaction
from django.db.models import F, Q
from django.db.models.signals import post_save, pre_save
from django.test.utils import CaptureQueriesContext, isolate_apps
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet
from komfortkasse_django.queue.pushing import push
from komfortkasse_django.removals import remove
from tests.settings import KOMFORTKASSE
from tests.shop.models import (
    ArchivedGiftOrder,
    ArchivedOrder,
    Customer,
    Event,
    GiftOrder,
    Order,
    TicketOrder,
)
from tests.support.examples import examples

pytestmark = pytest.mark.django_db

GONE = {"cancelled": True}


@pytest.fixture(autouse=True)
def _gone(configure):
    configure(ORDER_GONE=GONE)


def recorded(using: str = "default") -> list[tuple[str, str]]:
    rows = RemovedOrder.objects.using(using).order_by("pk")
    return list(rows.values_list("order_number", "requested_via"))


def cancel(order: Order, **options: object) -> None:
    order.cancelled = True
    order.save(**options)


@contextmanager
def receiving(signal, receiver, sender=Order):
    signal.connect(receiver, sender=sender)
    try:
        yield
    finally:
        signal.disconnect(receiver, sender=sender)


class TestSave:
    def test_that_ends_an_order_records_it_once(self):
        order = Order.objects.create(number="1001")
        cancel(order)
        order.save()
        Order.objects.get().save()

        row = RemovedOrder.objects.get()
        assert (row.shop, row.order_number) == ("default", "1001")
        assert (row.requested_via, row.state) == ("gone", "pending")

    @pytest.mark.parametrize(
        "condition",
        [
            Q(cancelled=True),
            Q(cancelled=True, number__startswith="10") | Q(payment="void"),
            ~Q(cancelled=False),
            {"cancelled": True, "event__isnull": True},
            {"pk__gt": 0, "cancelled": True},
        ],
    )
    def test_under_any_condition(self, configure, condition):
        configure(ORDER_GONE=condition)
        cancel(Order.objects.create(number="1001"))

        assert recorded() == [("1001", "gone")]

    def test_costs_two_small_queries(self, configure):
        def statements() -> list[str]:
            with CaptureQueriesContext(connection) as queries:
                order.save()
            return [query["sql"] for query in queries]

        order = Order.objects.create(number="1001")
        with_condition = statements()
        configure(ORDER_GONE=None)
        without = statements()

        assert len(with_condition) - len(without) == 2
        assert not any("payment" in sql for sql in with_condition if sql not in without)

    def test_is_not_listened_to_without_a_condition(self, configure):
        configure(ORDER_GONE=None)

        assert not any(
            signal.has_listeners(model)
            for signal in (pre_save, post_save)
            for model in (Order, ArchivedOrder, GiftOrder)
        )

    def test_of_other_models_is_not_listened_to(self):
        assert not pre_save.has_listeners(Customer)
        assert not post_save.has_listeners(Event)

    def test_is_not_listened_to_where_it_is_switched_off(self, configure):
        configure(ENABLED=False)
        cancel(Order.objects.create(number="1001"))

        assert not pre_save.has_listeners(Order)
        assert recorded() == []

    def test_of_a_new_order_that_is_gone_already(self):
        """It never was alive."""
        Order.objects.create(number="1001", cancelled=True)
        Order.objects.get_or_create(number="1002", cancelled=True)
        Order.objects.update_or_create(number="1003", defaults={"cancelled": True})
        Order(number="1004", pk=1004, cancelled=True).save()
        Order(number="1005", pk=1005, cancelled=True).save(force_insert=True)
        Order.objects.bulk_create([Order(number="1006", cancelled=True)])

        assert recorded() == []

    def test_of_a_copy(self):
        order = Order.objects.create(number="1001")
        order.pk, order.number = None, "1002"
        order._state.adding = True
        cancel(order)

        assert recorded() == []

    def test_by_update_or_create(self):
        Order.objects.create(number="1001")
        Order.objects.update_or_create(number="1001", defaults={"cancelled": True})

        assert recorded() == [("1001", "gone")]

    @pytest.mark.parametrize("model", [Order, ArchivedOrder, GiftOrder, ArchivedGiftOrder])
    def test_through_model_proxy_or_child(self, model):
        cancel(model.objects.create(number="1001"))
        cancel(Order.objects.create(number="1002"))

        assert recorded() == [("1001", "gone"), ("1002", "gone")]

    def test_of_a_child_with_another_key(self):
        Order.objects.create(number="1000", cancelled=True)
        Order.objects.create(number="1000")
        order = TicketOrder.objects.create(number="1001")
        assert order.pk != order.id
        cancel(order)

        assert recorded() == [("1001", "gone")]

    def test_of_the_parent_of_a_child(self):
        order = GiftOrder.objects.create(number="1001")
        cancel(Order.objects.get(pk=order.pk))
        order.save()  # unaware of it: not cancelled any more
        cancel(order)

        assert recorded() == [("1001", "gone"), ("1001", "gone")]

    def test_where_a_proxy_is_the_order_model(self, configure):
        configure(ORDER_MODEL="shop.ArchivedOrder")
        cancel(Order.objects.create(number="1001"))

        assert recorded() == [("1001", "gone")]

    @isolate_apps("tests.shop")
    def test_through_a_proxy_defined_late(self):
        class LateGoneOrder(GiftOrder):
            class Meta:
                proxy = True
                app_label = "shop"

        cancel(LateGoneOrder.objects.create(number="1001"))

        assert recorded() == [("1001", "gone")]

    def test_of_what_is_only_said_in_memory(self):
        order = Order.objects.create(number="1001")
        order.cancelled = True
        order.save(update_fields=["payment"])
        order.save(update_fields=[])
        assert recorded() == []

        order.save(update_fields=["cancelled"])
        assert recorded() == [("1001", "gone")]

    def test_of_what_only_the_database_knows(self):
        """The instance does not know: another process or an expression changed the row."""
        order = Order.objects.create(number="1001")
        stale = Order.objects.get()
        cancel(order)
        stale.save(update_fields=["payment"])
        assert recorded() == [("1001", "gone")]

        order = Order.objects.create(number="1002", payment="1002")
        order.cancelled = Q(payment=F("number"))
        order.save()
        assert recorded() == [("1001", "gone"), ("1002", "gone")]

    def test_of_an_order_that_is_half_loaded(self):
        Order.objects.create(number="1001")
        order = Order.objects.only("cancelled").get()
        cancel(order)

        assert recorded() == [("1001", "gone")]

    def test_of_an_order_that_is_only_a_primary_key(self):
        key = Order.objects.create(number="1001").pk
        Order(pk=key, cancelled=True).save(update_fields=["cancelled"])

        assert recorded() == [("1001", "gone")]

    def test_records_the_number_that_the_database_holds(self):
        order = Order.objects.create(number="1001")
        order.number = "unsaved"
        cancel(order, update_fields=["cancelled"])

        assert recorded() == [("1001", "gone")]

    @pytest.mark.parametrize("number", [None, "", " "])
    def test_of_an_order_without_a_number(self, number):
        cancel(Order.objects.create(number=number))

        assert recorded() == []

    def test_with_a_number_by_a_function(self, configure):
        configure(ORDER_NUMBER=lambda order: f"{order.number}/{order.lines.count()}")
        cancel(Order.objects.create(number="1001"))

        assert recorded() == [("1001/0", "gone")]

    def test_of_a_fixture_says_nothing(self):
        order = Order.objects.create(number="1001")
        order.cancelled = True
        [loaded] = serializers.deserialize("json", serializers.serialize("json", [order]))
        loaded.save()

        assert Order.objects.get().cancelled
        assert recorded() == []

    def test_of_a_related_row_says_nothing(self, configure):
        """komfortkasse_reconcile finds it."""
        configure(ORDER_GONE={"event__name": "closed"})
        event = Event.objects.create(name="Fair")
        order = Order.objects.create(number="1001", event=event)
        event.name = "closed"
        event.save()
        order.save()
        assert recorded() == []

        other = Order.objects.create(number="1002")
        other.event = event
        other.save()
        assert recorded() == [("1002", "gone")]

    def test_under_a_condition_that_a_join_doubles(self, configure):
        configure(ORDER_GONE={"lines__name__contains": "hirt", "cancelled": True})
        order = Order.objects.create(number="1001")
        for name in ("T-Shirt", "Shirt"):
            order.lines.create(name=name)
        cancel(order)

        assert recorded() == [("1001", "gone")]

    def test_that_reopens_and_ends_it_again(self):
        order = Order.objects.create(number="1001")
        cancel(order)
        order.cancelled = False
        order.save()
        assert recorded() == [("1001", "gone")]

        cancel(order)
        assert recorded() == [("1001", "gone")] * 2

    @pytest.mark.parametrize("signal", [pre_save, post_save])
    @pytest.mark.parametrize("is_first", [True, False])
    def test_in_which_a_receiver_saves_the_order_again(self, configure, signal, is_first):
        """Whether it is called before the app's own receivers or after them."""
        order = Order.objects.create(number="1001")

        def save_again(instance, **kwargs):
            if instance.payment != "again":
                instance.payment = "again"
                instance.save()

        if is_first:
            configure(ORDER_GONE=None)
        with receiving(signal, save_again):
            configure(ORDER_GONE=GONE)
            cancel(order)

        assert recorded() == [("1001", "gone")]

    def test_that_fails_leaves_nothing_behind(self):
        order = Order.objects.create(number="1001")
        failing = receiving(post_save, lambda **kwargs: 1 / 0)
        with pytest.raises(ZeroDivisionError), failing, transaction.atomic():
            cancel(order)
        assert recorded() == []
        cancel(Order.objects.get())

        order.save()
        assert recorded() == [("1001", "gone")]
        reference = weakref.ref(order)
        del order
        gc.collect()
        assert reference() is None

    def test_fails_where_the_record_cannot_be_written(self, monkeypatch):
        order = Order.objects.create(number="1001")

        def refuse(*args, **kwargs):
            raise RuntimeError("disk full")

        monkeypatch.setattr(RemovedOrderQuerySet, "record", refuse)
        with pytest.raises(RuntimeError, match="disk full"), transaction.atomic():
            cancel(order)

        assert not Order.objects.get().cancelled


class TestFilter:
    def test_is_asked_of_what_the_database_holds(self, configure):
        configure(ORDER_FILTER=lambda order: order.payment == "prepayment")
        order = Order.objects.create(number="1001", payment="card")
        order.payment = "prepayment"
        cancel(order, update_fields=["cancelled"])
        cancel(Order.objects.create(number="1002"))

        assert recorded() == [("1002", "gone")]

    def test_that_fails_fails_the_save(self, configure):
        configure(ORDER_FILTER=lambda order: order.no_such_attribute)
        order = Order.objects.create(number="1001")
        order.save()

        with pytest.raises(AttributeError, match="no_such_attribute"), transaction.atomic():
            cancel(order)

        assert not Order.objects.get().cancelled

    def test_of_several_aliases_with_conditions_of_their_own(self, configure):
        configure(
            aliases={
                "cancelled": {},
                "void": {"ORDER_GONE": Q(payment="void")},
                "card": {"ORDER_FILTER": lambda order: order.payment == "card"},
                "deleted": {"ORDER_GONE": None},
                "off": {"ENABLED": False},
            }
        )
        order = Order.objects.create(number="1001")
        cancel(order)
        order.payment = "void"
        order.save()
        order.save()

        rows = RemovedOrder.objects.order_by("pk").values_list("shop", flat=True)
        assert list(rows) == ["cancelled", "void"]


class TestTransaction:
    def test_is_the_callers(self):
        order = Order.objects.create(number="1001")
        with transaction.atomic():
            cancel(order)
            transaction.set_rollback(True)
        assert recorded() == []

        cancel(Order.objects.get())
        assert recorded() == [("1001", "gone")]

    def test_with_a_savepoint_rolled_back_records_the_rest(self):
        first, second = (Order.objects.create(number=number) for number in ("1001", "1002"))
        with transaction.atomic():
            cancel(first)
            with transaction.atomic():
                cancel(second)
                transaction.set_rollback(True)
        assert recorded() == [("1001", "gone")]

    @pytest.mark.django_db(databases=["default", "other"])
    def test_is_that_of_the_database_that_is_saved_to(self):
        order = Order.objects.using("other").create(number="1001")
        Order(pk=order.pk, number="2001", cancelled=True).save(using="default")
        cancel(order)

        assert recorded("other") == [("1001", "gone")]
        assert recorded() == []


@pytest.mark.django_db(transaction=True)
class TestSending:
    def test_although_the_order_is_still_there(self, komfortkasse):
        cancel(Order.objects.create(number="1001"))

        assert komfortkasse.numbers == ["1001"]
        assert RemovedOrder.objects.get().state == "removed"

    def test_not_where_it_was_reopened_before(self, komfortkasse, configure):
        configure(REQUEST_BUDGET=0)
        order = Order.objects.create(number="1001")
        cancel(order)
        order.cancelled = False
        order.save()

        assert push().states == {"superseded": 1}
        assert komfortkasse.numbers == []

    def test_not_where_another_order_has_the_number(self, komfortkasse):
        Order.objects.create(number="1001")
        cancel(Order.objects.create(number="1001"))

        assert RemovedOrder.objects.get().state == "superseded"

    def test_where_only_gone_orders_have_the_number(self, komfortkasse):
        Order.objects.create(number="1001", cancelled=True)
        Order.objects.create(number="1001").delete()

        assert komfortkasse.numbers == ["1001"]

    def test_in_spite_of_a_condition_that_the_database_cannot_decide(self, komfortkasse, configure):
        """An order counts as alive if nobody can say whether it is gone."""
        configure(ORDER_GONE=Q(replaces__lt=F("event")))
        Order.objects.create(number="1001")
        Order.objects.create(number="1001").delete()

        assert komfortkasse.numbers == []

    def test_what_code_asked_for_is_sent_all_the_same(self, komfortkasse):
        remove(Order.objects.create(number="1001"))

        assert komfortkasse.numbers == ["1001"]

    def test_beside_a_deletion(self, komfortkasse):
        order = Order.objects.create(number="1001")
        with transaction.atomic():
            cancel(order)
            order.delete()

        assert recorded() == [("1001", "gone"), ("1001", "delete")]
        assert set(komfortkasse.numbers) == {"1001"}


class Objection(Exception):  # noqa: N818
    """A receiver of the shop ends a save."""


class Saving(RuleBasedStateMachine):
    """Every way of saving, compared with a model of what must be recorded."""

    CONDITIONS: ClassVar = {
        "cancelled": lambda row: row["cancelled"],
        "void": lambda row: row["payment"] == "void",
    }

    def __init__(self) -> None:
        super().__init__()
        QuerySetOfAll().delete()
        RemovedOrder.objects.all().delete()
        self.told: Counter[tuple[str, str]] = Counter()
        self.instances: list[Order] = []

    def state(self, using="default") -> dict[int, dict[str, object]]:
        return {row["id"]: row for row in QuerySetOfAll().values()}

    def expect(self, before, after) -> None:
        for key, row in after.items():
            for alias, is_gone in self.CONDITIONS.items():
                if key in before and is_gone(row) and not is_gone(before[key]) and row["number"]:
                    self.told[alias, row["number"]] += 1

    def do(self, act, *, silent: bool = False) -> None:
        before = self.state()
        act()
        if not silent:
            self.expect(before, self.state())
        rows = RemovedOrder.objects.values_list("shop", "order_number")
        assert Counter(rows) == self.told

    @initialize()
    def configure(self) -> None:
        self.a_row_is_created(Order, "1001", cancelled=False, payment="prepayment")

    @rule(
        model=st.sampled_from([Order, ArchivedOrder, GiftOrder]),
        number=st.sampled_from(["1001", "1002", "", None]),
        cancelled=st.booleans(),
        payment=st.sampled_from(["prepayment", "void"]),
    )
    def a_row_is_created(self, model, number, cancelled, payment) -> None:
        order = model(number=number, cancelled=cancelled, payment=payment)
        self.do(order.save)
        self.instances.append(order)

    index = st.integers(0, 30)

    def pick(self, index: int) -> Order:
        return self.instances[index % len(self.instances)]

    @rule(index=index, fields=st.sets(st.sampled_from(["pk", "number", "cancelled", "payment"])))
    def an_instance_is_read(self, index, fields) -> None:
        order = self.pick(index)
        rows = models.QuerySet(type(order)).filter(pk=order.pk)
        self.instances.extend(rows.only(*fields) if fields else rows)

    @rule(
        index=index,
        changes=st.fixed_dictionaries(
            {},
            optional={
                "cancelled": st.booleans(),
                "payment": st.sampled_from(["prepayment", "void"]),
                "number": st.sampled_from(["1001", "1002"]),
            },
        ),
        fields=st.none() | st.sets(st.sampled_from(["cancelled", "payment", "number"])),
        ending=st.sampled_from(["autocommit", "commit", "rollback", "objection"]),
        again=st.booleans(),
    )
    def an_instance_is_saved(self, index, changes, fields, ending, again) -> None:
        order = self.pick(index)
        for name, value in changes.items():
            setattr(order, name, value)

        def save() -> None:
            is_there = models.QuerySet(type(order)).filter(pk=order.pk).exists()
            order.save(update_fields=fields if is_there else None)

        def save_within() -> None:
            def once_more(instance, **kwargs):
                if ending == "objection":
                    raise Objection
                if again:
                    post_save.disconnect(once_more, sender=type(order))
                    instance.save(update_fields=["hidden"])

            with receiving(post_save, once_more, type(order)):
                if ending == "autocommit":
                    save()
                    return
                try:
                    with transaction.atomic():
                        save()
                        transaction.set_rollback(ending == "rollback")
                except Objection:
                    pass

        self.do(save_within)

    @rule(index=index, cancelled=st.booleans())
    def a_row_is_updated(self, index, cancelled) -> None:
        rows = QuerySetOfAll().filter(pk=self.pick(index).pk)
        self.do(lambda: rows.update(cancelled=cancelled), silent=True)

    @precondition(lambda self: len(self.instances) > 5)
    @rule()
    def instances_are_forgotten(self) -> None:
        del self.instances[:-2]


def QuerySetOfAll() -> models.QuerySet[Order]:  # noqa: N802
    return models.QuerySet(Order)


@pytest.mark.slow
def test_any_way_of_saving(settings):
    default = {**KOMFORTKASSE["default"], "REQUEST_BUDGET": 0}
    settings.KOMFORTKASSE = {
        "cancelled": {**default, "ORDER_GONE": {"cancelled": True}},
        "void": {**default, "ORDER_GONE": Q(payment="void")},
    }
    run_state_machine_as_test(Saving, settings=examples(60, stateful_step_count=20))
