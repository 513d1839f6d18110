"""Packages for soft deletion, and orders of several types in one table."""

import pytest
from django.core.management import call_command
from django.db import transaction
from django.urls import reverse
from safedelete.config import HARD_DELETE

from komfortkasse_django.removals import remove
from shop.models import GiftOrder, Order, SafeOrder, SoftOrder, UndeletableOrder
from tests.shops.page import Page

HIDING = [(SoftOrder, "softdelete"), (UndeletableOrder, "undeletable")]


def test_settings_are_right(komfortkasse):
    call_command("check", fail_level="WARNING")


# Hidden, with Django's own signals


@pytest.mark.parametrize(("model", "shop"), HIDING)
def test_an_order_that_is_hidden(told, model, shop):
    model.objects.create(number="1001").delete()
    assert not model.objects.all().exists()
    told("1001", via="code", shop=shop)


@pytest.mark.parametrize(("model", "shop"), HIDING)
def test_orders_that_are_hidden(told, model, shop):
    for number in ("1001", "1002"):
        model.objects.create(number=number)
    with transaction.atomic():
        model.objects.all().delete()
    told("1001", "1002", via="code", shop=shop)


@pytest.mark.parametrize(("model", "shop"), HIDING)
def test_an_order_that_is_hidden_in_vain(komfortkasse, mirror, model, shop):
    order = model.objects.create(number="1001")
    with transaction.atomic():
        order.delete()
        transaction.set_rollback(True)
    assert model.objects.all().count() == 1
    assert komfortkasse.calls == mirror() == []


def test_an_order_that_is_deleted_beside_a_hidden_one_with_its_number(komfortkasse, mirror):
    SoftOrder.objects.create(number="1001").delete()
    SoftOrder.objects.create(number="1001").hard_delete()
    assert mirror() == [("1001", "removed"), ("1001", "removed")]


def test_an_order_that_is_deleted_beside_a_living_one_with_its_number(komfortkasse, mirror):
    SoftOrder.objects.create(number="1001")
    SoftOrder.objects.create(number="1001").hard_delete()
    assert komfortkasse.calls == []
    assert mirror() == [("1001", "superseded")]


# Hidden, with other signals


def test_an_order_that_safedelete_hides(told):
    order = SafeOrder.objects.create(number="1001")
    order.delete()
    order.save(keep_deleted=True)
    assert not SafeOrder.objects.exists()
    told("1001", via="gone", shop="safedelete")


def test_orders_that_safedelete_hides(told):
    for number in ("1001", "1002"):
        SafeOrder.objects.create(number=number)
    SafeOrder.objects.all().delete()
    told("1001", "1002", via="gone", shop="safedelete")


def test_an_order_that_is_shown_again_before_it_is_told(komfortkasse, mirror):
    order = SafeOrder.objects.create(number="1001")
    with transaction.atomic():
        order.delete()
        order.undelete()
    assert komfortkasse.calls == []
    assert mirror() == [("1001", "superseded")]


def test_an_order_that_safedelete_deletes_for_good(told):
    SafeOrder.objects.create(number="1001").delete(force_policy=HARD_DELETE)
    told("1001", shop="safedelete")


def test_a_hidden_order_holds_up_no_other_with_its_number(komfortkasse, mirror):
    SafeOrder.objects.create(number="1001").delete()
    SafeOrder.objects.create(number="1001").delete(force_policy=HARD_DELETE)
    assert mirror() == [("1001", "removed"), ("1001", "removed")]


# Of several types


def test_an_order_of_a_type(told):
    GiftOrder.objects.create(number="1001").delete()
    told("1001", shop="polymorphic")


def test_orders_of_several_types(told):
    Order.objects.create(number="1001")
    GiftOrder.objects.create(number="1002")
    with transaction.atomic():
        Order.objects.all().delete()
    told("1001", "1002", shop="polymorphic")


@pytest.mark.parametrize("kind", [list, lambda rows: rows])
def test_orders_of_several_types_that_stay(told, kind):
    Order.objects.create(number="1001").lines.create()
    order = GiftOrder.objects.create(number="1002")
    order.lines.create()
    order.lines.create()
    remove(kind(Order.objects.filter(lines__gt=0)))
    told("1001", "1002", via="code", shop="polymorphic")


def test_an_order_of_a_type_whose_number_is_given_again(komfortkasse, mirror):
    with transaction.atomic():
        GiftOrder.objects.create(number="1001").delete()
        Order.objects.create(number="1001")
    assert mirror() == [("1001", "superseded")]


@pytest.mark.parametrize(
    ("model", "shown_as"), [(Order, "order"), (GiftOrder, "order"), (GiftOrder, "giftorder")]
)
def test_the_button(told, staff, model, shown_as):
    order = model.objects.create(number="1001")
    page = Page.open(staff, reverse(f"admin:shop_{shown_as}_change", args=[order.pk]))
    page = page.follow("Remove from Komfortkasse").press("Remove 1 order")
    assert "1 removed" in page.text
    told("1001", via="admin", shop="polymorphic")
    page = page.follow("Go to the removal").follow("Order in the shop")
    assert page.url == reverse("admin:shop_order_change", args=[order.pk])
    assert "Go to the removal" in page.links


def test_the_action_on_all_types(told, staff):
    orders = [Order.objects.create(number="1001"), GiftOrder.objects.create(number="1002")]
    page = Page.open(staff, reverse("admin:shop_order_changelist"))
    page = page.act("Remove selected orders from Komfortkasse", orders)
    assert "2 removed" in page.press("Remove 2 orders").text
    told("1001", "1002", via="admin", shop="polymorphic")


def test_the_action_on_a_type(told, staff):
    order = GiftOrder.objects.create(number="1001")
    page = Page.open(staff, reverse("admin:shop_giftorder_changelist"))
    page = page.act("Remove selected gift orders from Komfortkasse", [order])
    assert "1 removed" in page.press("Remove 1 order").text
    told("1001", via="admin", shop="polymorphic")
