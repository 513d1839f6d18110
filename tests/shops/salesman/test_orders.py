"""Orders of a Salesman shop, placed through its API and deleted in every way there is."""

import os
import subprocess
import sys

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection, models, transaction
from django.test import Client
from django.urls import reverse
from django.utils.module_loading import import_string
from salesman.core.utils import get_salesman_model

from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.removals import remove
from shop.models import Product
from tests.shops.order_admin import OrderAdminTests, admin_url
from tests.shops.page import Page

Order = get_salesman_model("Order")


@pytest.fixture
def place(komfortkasse):
    """Place an order through the shop's API, as a customer does."""

    def place(method="prepayment", user=None):
        product = Product.objects.get_or_create(name="T-Shirt", code="1826353")[0]
        customer = Client()
        if user:
            customer.force_login(user)
        added = customer.post(
            "/api/basket/", {"product_type": "shop.Product", "product_id": product.pk}
        )
        assert added.status_code == 201, added.content
        details = {"email": "max@example.org", "shipping_address": "x", "billing_address": "x"}
        placed = customer.post("/api/checkout/", {**details, "payment_method": method})
        assert placed.status_code == 201, placed.content
        return Order.objects.get(ref=placed.json()["url"])

    return place


def test_settings_are_right(komfortkasse):
    call_command("check", fail_level="WARNING")


def test_what_an_order_is(settings):
    assert Order._meta.label == settings.KOMFORTKASSE["default"]["ORDER_MODEL"]
    assert type(Order._meta.pk) is import_string(settings.DEFAULT_AUTO_FIELD)
    number = Order._meta.get_field("ref")
    assert (type(number), number.unique) == (models.CharField, True)


# Deleting


def test_an_order(place, told):
    order = place()
    order.delete()
    told(order.ref)


def test_many_orders(place, told):
    numbers = [place().ref for _ in range(3)]
    Order.objects.all().delete()
    told(*numbers)


def test_an_order_of_which_only_the_primary_key_is_known(place, told):
    order = place()
    Order(pk=order.pk).delete()
    told(order.ref)


def test_an_order_without_its_number(place, told):
    order = place()
    # Salesman's orders read some fields as soon as they are made: less than these is an error.
    with pytest.raises(RecursionError):
        Order.objects.only("pk").get()
    Order.objects.only("_extra", "status").get().delete()
    told(order.ref)


def test_orders_without_their_numbers(place, told):
    orders = [place(), place()]
    Order.objects.only("_extra", "status").all().delete()
    told(*(order.ref for order in orders))


def test_a_number_changed_in_memory_only(place, told):
    order = place()
    number, order.ref = order.ref, "not saved"
    order.delete()
    told(number)


def test_the_deletion_of_the_customer_spares_the_order(place, komfortkasse, mirror):
    user = get_user_model().objects.create_user("max")
    order = place(user=user)
    user.delete()
    order.refresh_from_db()
    assert order.user is None
    assert komfortkasse.calls == mirror() == []


def test_a_deletion_behind_django_is_not_seen_but_can_be_told(place, komfortkasse, mirror, told):
    order = place()
    order.items.all().delete()
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {Order._meta.db_table} WHERE id = %s", [order.pk])
    assert komfortkasse.calls == mirror() == []
    remove(order.ref, shop="default")
    told(order.ref, via="code")


def test_a_rollback(place, komfortkasse, mirror):
    order = place()
    with pytest.raises(RuntimeError), transaction.atomic():
        order.delete()
        raise RuntimeError
    assert Order.objects.exists()
    assert komfortkasse.calls == mirror() == []


def test_nothing_is_sent_before_the_commit(place, komfortkasse, mirror, told):
    order = place()
    with transaction.atomic():
        order.delete()
        assert komfortkasse.calls == []
        assert mirror() == [(order.ref, "pending")]
    told(order.ref)


# Which orders


def test_only_orders_paid_by_transfer(place, told):
    numbers = [place().ref, place().ref]
    place("card")
    Order.objects.all().delete()
    told(*numbers)


def test_the_method_that_an_order_was_really_paid_by(place, told):
    by_card, by_transfer = place("prepayment"), place("card")
    by_card.pay(by_card.total, "1", "card")
    by_transfer.pay(by_transfer.total, "2", "prepayment")
    Order.objects.all().delete()
    told(by_transfer.ref)


# Numbers that are given again


def test_the_number_of_a_deleted_order_is_given_again(place, komfortkasse, mirror, retry_now):
    order = place()
    komfortkasse.down = True
    order.delete()
    assert mirror() == [(order.ref, "pending")]
    assert place().ref == order.ref
    komfortkasse.reset()
    retry_now()
    assert komfortkasse.calls == []
    assert mirror() == [(order.ref, "superseded")]


def test_the_number_is_given_again_in_the_same_transaction(place, komfortkasse, mirror):
    order = place()
    with transaction.atomic():
        order.delete()
        assert place().ref == order.ref
    assert komfortkasse.calls == []
    assert mirror() == [(order.ref, "superseded")]


def test_the_number_is_given_to_an_order_that_is_paid_by_card(
    place, komfortkasse, mirror, retry_now
):
    order = place()
    komfortkasse.down = True
    order.delete()
    assert place("card").ref == order.ref
    komfortkasse.reset()
    retry_now()
    assert komfortkasse.numbers == [order.ref]
    assert mirror() == [(order.ref, "removed")]


# Komfortkasse in trouble


def test_an_order_that_komfortkasse_does_not_know(place, komfortkasse, mirror):
    order = place()
    komfortkasse.unknown = {order.ref}
    order.delete()
    assert komfortkasse.numbers == [order.ref]
    assert mirror() == [(order.ref, "unknown")]


def test_an_outage(place, komfortkasse, mirror, retry_now):
    order = place()
    komfortkasse.down = True
    order.delete()
    assert mirror() == [(order.ref, "pending")]
    komfortkasse.reset()
    retry_now()
    assert komfortkasse.numbers == [order.ref]
    assert mirror() == [(order.ref, "removed")]


# Cancelling


def test_a_cancellation_by_code(place, told):
    order = place()
    order.status = "CANCELLED"
    order.save()
    order.save()
    told(order.ref, via="gone")


def test_a_cancellation_in_the_api(place, told, staff):
    order = place()
    response = staff.put(
        f"/api/orders/{order.ref}/status/", {"status": "CANCELLED"}, "application/json"
    )
    assert response.status_code == 200, response.content
    told(order.ref, via="gone")


def test_a_cancellation_in_the_admin(place, told, staff):
    order = place()
    page = Page.open(staff, admin_url("change", order.pk)).press("Save", status="CANCELLED")
    assert page.url == admin_url("changelist")
    order.refresh_from_db()
    assert order.status == "CANCELLED"
    told(order.ref, via="gone")


def test_a_cancellation_of_a_card_order(place, komfortkasse, mirror):
    order = place("card")
    order.status = "CANCELLED"
    order.save()
    assert komfortkasse.calls == mirror() == []


def test_another_status(place, komfortkasse, mirror):
    order = place()
    order.status = "PROCESSING"
    order.save()
    assert komfortkasse.calls == mirror() == []


def test_a_status_that_is_not_saved(place, komfortkasse, mirror):
    """Salesman sends its own signal for it."""
    order = place()
    order.status = "CANCELLED"
    order.save(update_fields=["extra"])
    assert Order.objects.get().status == "HOLD"
    assert komfortkasse.calls == mirror() == []


def test_an_order_that_is_opened_again_before_it_is_told(place, komfortkasse, mirror, retry_now):
    order = place()
    komfortkasse.down = True
    for status in ["CANCELLED", "PROCESSING"]:
        order.status = status
        order.save()
    komfortkasse.reset()
    retry_now()
    assert komfortkasse.calls == []
    assert mirror() == [(order.ref, "superseded")]


def test_cancellations_that_no_signal_tells_of(place, told, mirror, reconcile):
    number = place().ref
    place("card")
    Order.objects.update(status="CANCELLED")
    place()
    assert mirror() == []
    reconcile()
    told(number, via="reconcile")


def test_the_number_is_given_again_after_the_removal(place, komfortkasse, mirror):
    """For Komfortkasse the new order is the removed one, so a person must be told."""
    order = place()
    order.delete()
    assert place().ref == order.ref
    call_command("komfortkasse_reconcile", verbosity=0)
    assert mirror() == [(order.ref, "removed")]
    assert RemovedOrder.objects.get().alive_again_at


# The admin


def test_deleting_in_the_admin_stays_forbidden(place, staff, komfortkasse, mirror):
    order = place()
    assert "Delete" not in Page.open(staff, admin_url("change", order.pk)).links
    assert "Delete selected Orders" not in Page.open(staff, admin_url("changelist")).text
    url = admin_url("delete", order.pk)
    assert staff.post(url, {"post": "yes"}).status_code == 403
    assert Order.objects.exists()
    assert komfortkasse.calls == mirror() == []


class TestOrderAdmin(OrderAdminTests):
    number = "ref"
    card = "card"


def test_salesman_s_own_refund_button_stays(place, staff):
    order = place("card")
    order.pay(order.total, "1", "card")
    links = Page.open(staff, admin_url("change", order.pk)).links
    assert links["Refund order"] == reverse("admin:salesman_order_refund", args=[order.pk])
    assert "Remove from Komfortkasse" in links


WITHOUT_SALESMAN_S_ADMIN = """
import django
django.setup()

from django.contrib.admin import site
from django.core.management import call_command
from komfortkasse_django.admin import OrderAdminMixin
from salesman.core.utils import get_salesman_model

call_command("check", fail_level="WARNING")
Order = get_salesman_model("Order")
if site.is_registered(Order):
    print("extended:", isinstance(site.get_model_admin(Order), OrderAdminMixin))
"""


@pytest.mark.parametrize(("order_admin", "written"), [("none", ""), ("own", "extended: True\n")])
def test_without_salesman_s_own_admin(order_admin, written):
    """``SALESMAN_ADMIN_REGISTER = False``: what the shop registers itself is extended."""
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_SALESMAN_S_ADMIN],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "ORDER_ADMIN": order_admin, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == f"System check identified no issues (0 silenced).\n{written}"
