"""The public door, for shops that cancel, anonymise or soft-delete."""

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext, isolate_apps

from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.removals import remove
from tests.shop.models import (
    ArchivedOrder,
    Customer,
    GiftOrder,
    KeyedByTheDatabaseOrder,
    NumberedByTheDatabaseOrder,
    Order,
    TicketOrder,
)

pytestmark = pytest.mark.django_db


def recorded() -> list[tuple[str, str]]:
    return list(RemovedOrder.objects.order_by("pk").values_list("shop", "order_number"))


@pytest.fixture
def stores(configure):
    """Two shops that share the Order model, one that has another, and one switched off."""
    configure(
        aliases={
            "prepaid": {"ORDER_FILTER": lambda order: order.payment == "prepayment"},
            "card": {"ORDER_FILTER": lambda order: order.payment == "card"},
            "gifts": {"ORDER_MODEL": "shop.IntegerOrder"},
            "off": {"ENABLED": False},
        }
    )


class TestOrders:
    def test_one(self):
        [row] = remove(Order.objects.create(number="1001"))

        assert recorded() == [("default", "1001")]
        assert (row.state, row.requested_via) == ("pending", "code")
        assert row == RemovedOrder.objects.get()

    @pytest.mark.parametrize("kind", [list, tuple, set, iter])
    def test_several(self, kind):
        orders = [Order.objects.create(number=number) for number in ("1001", "1002")]

        assert len(remove(kind(orders))) == 2
        assert sorted(recorded()) == [("default", "1001"), ("default", "1002")]

    def test_what_is_returned_was_just_recorded(self, configure):
        configure(aliases={"a": {}, "b": {}})
        remove("1001", shop="a")

        rows = remove(Order.objects.create(number="1002"))

        assert [(row.shop, row.order_number) for row in rows] == [("a", "1002"), ("b", "1002")]

    def test_what_is_in_a_list_may_be_stale(self):
        order = Order.objects.create(number="1001")
        order.number = "unsaved"

        remove([order])

        assert recorded() == [("default", "1001")]

    def test_a_queryset_that_was_read_before_is_read_again(self):
        Order.objects.create(number="1001")
        queryset = Order.objects.all()
        assert len(queryset) == 1
        Order.objects.update(number="1002")

        remove(queryset)

        assert recorded() == [("default", "1002")]

    @pytest.mark.parametrize("model", [ArchivedOrder, GiftOrder, TicketOrder])
    def test_proxies_and_children(self, model):
        model.objects.create(number="1000")
        order = model.objects.create(number="1001")

        remove(order)

        assert recorded() == [("default", "1001")]

    @pytest.mark.parametrize("order_filter", [None, lambda order: True])
    def test_the_key_of_a_child_is_the_orders(self, configure, order_filter):
        configure(ORDER_NUMBER="pk", ORDER_FILTER=order_filter)
        Order.objects.create()
        order = TicketOrder.objects.create()
        assert order.id != order.pk

        remove(TicketOrder.objects.all())

        assert recorded() == [("default", str(order.id))]

    def test_an_evaluated_queryset_whose_orders_it_would_not_find_again(self):
        Order.objects.bulk_create(Order(number=number) for number in ("1001", "1002"))
        orders = Order.objects.filter(cancelled=False)
        for order in orders:
            order.cancelled = True
            order.save()

        remove(orders)

        assert recorded() == [("default", "1001"), ("default", "1002")]

    def test_one_of_which_a_proxy_is_the_order_model(self, configure):
        configure(ORDER_MODEL="shop.ArchivedOrder")

        remove(Order.objects.create(number="1001"))

        assert recorded() == [("default", "1001")]

    @isolate_apps("tests.shop")
    def test_one_that_yields_its_lines(self):
        class IterableOrder(Order):
            class Meta:
                proxy = True
                app_label = "shop"

            def __iter__(self):
                return iter(self.lines.all())

        remove(IterableOrder.objects.create(number="1001"))

        assert recorded() == [("default", "1001")]

    def test_the_number_is_the_databases(self):
        order = Order.objects.create(number="1001")
        order.number = "unsaved"

        remove(order)

        assert recorded() == [("default", "1001")]

    def test_gone_already_is_taken_at_its_word(self):
        order = Order.objects.create(number="1001")
        Order.objects.filter(pk=order.pk)._raw_delete("default")

        remove(order)

        assert recorded() == [("default", "1001")]

    @pytest.mark.parametrize("number", ["number", "full_number"])
    def test_whose_number_the_database_has_not_given_yet(self, configure, number):
        configure(ORDER_MODEL="shop.NumberedByTheDatabaseOrder", ORDER_NUMBER=number)

        assert remove([NumberedByTheDatabaseOrder(), NumberedByTheDatabaseOrder(prefix="B")]) == []
        remove(NumberedByTheDatabaseOrder.objects.create())
        remove(NumberedByTheDatabaseOrder(number="1002"))

        prefix = "A-" if number == "full_number" else ""
        assert recorded() == [("default", f"{prefix}web-1"), ("default", f"{prefix}1002")]

    def test_whose_key_the_database_has_not_given_yet(self, configure):
        configure(ORDER_MODEL="shop.KeyedByTheDatabaseOrder")

        remove([KeyedByTheDatabaseOrder(number="1001"), KeyedByTheDatabaseOrder(number="1002")])

        assert recorded() == [("default", "1001"), ("default", "1002")]

    @pytest.mark.parametrize("order_filter", [None, lambda order: True])
    def test_of_which_too_little_is_known_and_which_are_gone(self, configure, order_filter):
        configure(ORDER_FILTER=order_filter)
        Order.objects.create(number="1001")
        [order] = Order.objects.only("pk")
        Order.objects.all()._raw_delete("default")

        assert remove(order) == []

    @pytest.mark.parametrize("order_filter", [None, lambda order: True])
    def test_with_a_key_as_text(self, configure, order_filter):
        configure(ORDER_FILTER=order_filter)
        key = Order.objects.create(number="1001").pk

        remove(Order(pk=str(key), number="unsaved"))

        assert recorded() == [("default", "1001")]

    @pytest.mark.parametrize(
        "options",
        [{}, {"ORDER_FILTER": lambda order: True}, {"ORDER_NUMBER": lambda order: order.number}],
    )
    def test_many_cost_few_queries(self, configure, options):
        configure(**options)
        Order.objects.bulk_create(Order(number=str(number)) for number in range(501))
        orders = list(Order.objects.order_by("pk"))
        for order in orders:
            order.number = "unsaved"

        with CaptureQueriesContext(connection) as queries:
            rows = remove(orders)

        reads = [query for query in queries if "shop_order" in query["sql"]]
        assert len(reads) == 2
        assert [row.order_number for row in rows] == [str(number) for number in range(501)]

    @pytest.mark.parametrize("only", [[], ["payment"]])
    def test_a_queryset_costs_few_queries(self, only):
        Order.objects.bulk_create(Order(number=str(number)) for number in range(20))

        with CaptureQueriesContext(connection) as queries:
            remove(Order.objects.only(*only).order_by("pk"))

        assert len([query for query in queries if "shop_order" in query["sql"]]) == 2
        assert recorded() == [("default", str(number)) for number in range(20)]

    @pytest.mark.parametrize("kind", [lambda rows: rows, list])
    def test_that_a_join_doubles_are_removed_once(self, kind):
        order = Order.objects.create(number="1001")
        for name in ("T-Shirt", "Shirt"):
            order.lines.create(name=name)
        doubled = Order.objects.filter(lines__name__contains="hirt")
        assert doubled.count() == 2

        remove(kind(doubled))

        assert recorded() == [("default", "1001")]

    @pytest.mark.parametrize("options", [{}, {"ORDER_FILTER": lambda order: True}])
    def test_with_something_else_in_the_place_of_the_number(self, configure, options):
        configure(**options)
        Order.objects.create(number="1001")

        remove(Order.objects.extra(select={"number": "'2001'", "count": "1"}))

        assert recorded() == [("default", "1001")]

    @pytest.mark.parametrize("number", [None, "", " "])
    def test_without_a_number_record_nothing(self, number):
        assert remove(Order.objects.create(number=number)) == []
        assert remove([]) == []
        assert recorded() == []

    def test_of_several_stores(self, stores):
        order = Order.objects.create(number="1001")
        paid = Order.objects.create(number="1002", payment="card")

        remove([order, paid])
        remove(order, shop="card")
        remove(order, shop="off")

        assert recorded() == [("prepaid", "1001"), ("card", "1002")]

    def test_of_an_unknown_model(self, stores):
        with pytest.raises(TypeError) as caught:
            remove(Customer.objects.create(name="Max"))

        assert "shop.Customer is not an ORDER_MODEL" in str(caught.value)
        assert "shop.Order (prepaid), shop.Order (card), shop.IntegerOrder (gifts)" in str(
            caught.value
        )

    def test_with_nothing_configured(self, settings):
        settings.KOMFORTKASSE = {}

        with pytest.raises(TypeError, match="none"):
            remove(Order.objects.create(number="1001"))
        with pytest.raises(ValueError, match="no shop 'a'; it has: none"):
            remove("1001", shop="a")

    def test_with_a_shop_whose_model_is_missing(self, configure):
        configure(aliases={"broken": {"ORDER_MODEL": "shop.Nothing"}, "good": {}})

        remove(Order.objects.create(number="1001"))

        assert recorded() == [("good", "1001")]


class TestNumbers:
    @pytest.mark.parametrize("number", ["1001", 1001])
    def test_one(self, number):
        remove(number)

        assert recorded() == [("default", "1001")]

    def test_several(self):
        remove(["1001", 0])

        assert recorded() == [("default", "1001"), ("default", "0")]

    def test_of_a_shop(self, stores):
        remove("1001", shop="card")

        assert recorded() == [("card", "1001")]

    def test_of_a_shop_that_is_switched_off(self, stores):
        assert remove("1001", shop="off") == []

    def test_need_a_shop_where_there_are_several(self, stores):
        with pytest.raises(ValueError, match=r"which shop .*'1001'.*'prepaid', 'card', 'gifts'"):
            remove("1001")

    @pytest.mark.parametrize("number", ["", "  ", "9" * 256, "a\0b", "\ud800"])
    def test_that_cannot_be(self, number):
        with pytest.raises(ValueError, match="order number"):
            remove(["1001", number])

        assert recorded() == []

    @pytest.mark.parametrize("number", [b"1001", None, 1.5, True, object()])
    def test_of_another_type(self, number):
        kind = type(number).__name__
        with pytest.raises(TypeError, match=f"Pass orders or order numbers .*, not {kind}"):
            remove(number)


class TestTransaction:
    def test_is_the_callers(self):
        order = Order.objects.create(number="1001")

        with transaction.atomic():
            order.cancelled = True
            order.save()
            remove(order)
            transaction.set_rollback(True)

        assert recorded() == []
