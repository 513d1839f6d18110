"""What the shop's database says of an order."""

import datetime as dt
import enum
import uuid
from decimal import Decimal

import pytest
from django.db import OperationalError, connection, models
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from komfortkasse_django import orders
from komfortkasse_django.conf import shops
from komfortkasse_django.models import RemovedOrder
from tests.shop.models import CompositeOrder, OddlyNumberedOrder, Order, VisibleManager

pytestmark = pytest.mark.django_db


class ScopeError(Exception):
    pass


class OrderType(enum.StrEnum):
    WEB = "web"


class Opaque:
    """Has no text of its own."""


def alive(*numbers: str) -> set[str]:
    return orders.alive(shops()["default"], numbers, using="default")


class TestAlive:
    def test_is_what_is_in_the_table(self):
        Order.objects.create(number="1001")

        assert alive("1001", "1002") == {"1001"}
        assert alive() == set()

    def test_costs_one_query_where_nothing_is_found(self, configure):
        configure(ORDER_FILTER=lambda order: True)

        with CaptureQueriesContext(connection) as queries:
            assert alive("1001", "1002") == set()

        assert len(queries) == 1

    @pytest.mark.parametrize("order_filter", [None, lambda order: True])
    def test_is_not_what_the_shop_hides(self, configure, order_filter):
        configure(ORDER_FILTER=order_filter)
        Order(number="1001", hidden=True).save()
        Order(number="1002", hidden=True).save()
        Order.objects.create(number="1002")

        assert alive("1001", "1002") == {"1002"}

    @pytest.mark.parametrize("order_filter", [None, lambda order: order.payment != "card"])
    def test_is_all_where_the_manager_demands_a_scope(self, configure, monkeypatch, order_filter):
        def get_queryset(manager):
            raise ScopeError

        configure(ORDER_FILTER=order_filter)
        Order.objects.create(number="1001")
        monkeypatch.setattr(VisibleManager, "get_queryset", get_queryset)

        assert alive("1001") == {"1001"}

    def test_cannot_be_told_without_a_database(self, monkeypatch):
        def fail(*args, **kwargs):
            raise OperationalError

        Order.objects.create(number="1001")
        with monkeypatch.context() as context, pytest.raises(OperationalError):
            context.setattr(VisibleManager, "get_queryset", fail)
            alive("1001")
        with monkeypatch.context() as context, pytest.raises(OperationalError):
            context.setattr(models.lookups.In, "as_sql", fail)
            alive("1001")

    def test_needs_a_filter_that_works(self, configure):
        configure(ORDER_FILTER=lambda order: order.no_such_attribute)
        Order.objects.create(number="1001")

        with pytest.raises(AttributeError, match="no_such_attribute"):
            alive("1001")

    @pytest.mark.parametrize("number", ["encrypted", "late", "unreadable", "binary"])
    def test_is_never_what_cannot_be_looked_up(self, configure, number):
        configure(ORDER_MODEL="shop.OddlyNumberedOrder", ORDER_NUMBER=number)
        OddlyNumberedOrder.objects.create(encrypted="1-1", late="1-1", binary=b"1-1")

        assert alive("1-1") == set()

    def test_is_never_what_has_a_composite_key(self, configure):
        configure(ORDER_MODEL="shop.CompositeOrder", ORDER_NUMBER="pk")
        CompositeOrder.objects.create(year=2026, serial=1)

        assert alive("(2026, 1)") == set()


@pytest.mark.parametrize(
    ("options", "number"),
    [
        ({"ORDER_MODEL": "shop.OddlyNumberedOrder", "ORDER_NUMBER": "encrypted"}, "1001"),
        ({"ORDER_MODEL": "shop.OddlyNumberedOrder", "ORDER_NUMBER": "late"}, "1002"),
        ({"ORDER_MODEL": "shop.OddlyNumberedOrder", "ORDER_NUMBER": "unreadable"}, "1003"),
        ({"ORDER_MODEL": "shop.OddlyNumberedOrder", "ORDER_NUMBER": "binary"}, "10-4"),
        ({"ORDER_MODEL": "shop.CompositeOrder", "ORDER_NUMBER": "pk"}, "(2026, 1)"),
        ({"ORDER_MODEL": "shop.CompositeOrder", "ORDER_NUMBER": "serial"}, "1"),
    ],
)
@pytest.mark.django_db(transaction=True)
def test_an_order_of_any_number_is_removed(komfortkasse, configure, options, number):
    configure(**options)
    OddlyNumberedOrder.objects.create(
        encrypted="1001", late="1002", unreadable="1003", binary=b"10-4"
    )
    CompositeOrder.objects.create(year=2026, serial=1)

    shops()["default"].model._default_manager.get().delete()

    assert komfortkasse.numbers == [number]
    assert RemovedOrder.objects.get().state == "removed"


class TestNumber:
    @pytest.mark.parametrize(
        ("value", "number"),
        [
            ("1001", "1001"),
            (1001, "1001"),
            (0, "0"),
            (None, None),
            (b"1001", "1001"),
            (memoryview(b"1001"), "1001"),
            (b"", None),
            (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
            (Decimal("10.50"), "10.50"),
            (dt.date(2026, 1, 2), "2026-01-02"),
            (OrderType.WEB, "web"),
            (mark_safe("1001"), "1001"),
            (gettext_lazy("1001"), "1001"),
            ((2026, 1), "(2026, 1)"),
        ],
    )
    def test_is_text(self, value, number):
        assert orders.clean_number(value) == number

    @pytest.mark.parametrize(
        "value",
        [
            b"\xff",
            Opaque(),
            "".upper,
            Opaque,
            models.F("number") + 1,
            Now(),
            Order.objects.all(),
        ],
    )
    def test_is_never_what_python_calls_an_object(self, value):
        with pytest.raises(ValueError, match=r"The order number is a .*; pass text|can't decode"):
            orders.clean_number(value)
