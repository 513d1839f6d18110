"""Orders of an Oscar shop, placed by Oscar's own code and deleted in every way there is."""

import pytest
from django.contrib.sites.models import Site
from django.core.management import call_command
from django.db import connection, models, transaction
from oscar.core.loading import get_model
from oscar.test import factories

from komfortkasse_django.removals import remove
from tests.shops.order_admin import OrderAdminTests, admin_url
from tests.shops.page import Page

Order = get_model("order", "Order")


@pytest.fixture
def place(komfortkasse):
    """Place an order through Oscar's OrderCreator, to be paid in some way."""

    def place(method="Prepayment", **details):
        order = factories.create_order(**details)
        source_type, _ = get_model("payment", "SourceType").objects.get_or_create(name=method)
        order.sources.create(source_type=source_type, amount_allocated=order.total_incl_tax)
        return order

    return place


def test_settings_are_right(komfortkasse):
    call_command("check", fail_level="WARNING")


def test_what_an_order_is():
    assert Order._meta.label == "order.Order"
    assert type(Order._meta.pk) is models.BigAutoField
    number = Order._meta.get_field("number")
    assert (type(number), number.unique) == (models.CharField, True)


# Deleting


def test_an_order_just_placed(place, told):
    order = place()
    assert type(order.number) is int  # and a string in the database
    order.delete()
    told(order.number)


def test_many_orders(place, told):
    numbers = [place().number for _ in range(3)]
    Order.objects.all().delete()
    told(*numbers)


def test_an_order_of_which_only_the_primary_key_is_known(place, told):
    order = place()
    Order(pk=order.pk).delete()
    told(order.number)


def test_an_order_without_its_fields(place, told):
    order = place()
    Order.objects.only("pk").get().delete()
    told(order.number)


def test_orders_without_their_fields(place, told):
    orders = [place(), place()]
    Order.objects.only("pk").all().delete()
    told(*(order.number for order in orders))


def test_a_number_changed_in_memory_only(place, told):
    order = place()
    number = order.number
    order.number = "not saved"
    order.delete()
    told(number)


@pytest.mark.parametrize(
    "parent", ["user", "site", "basket", "billing_address", "shipping_address"]
)
def test_the_deletion_of_what_an_order_points_to_spares_it(place, komfortkasse, mirror, parent):
    order = place(
        user=factories.UserFactory(),
        site=Site.objects.get_or_create(domain="other.example.org")[0],
        billing_address=factories.BillingAddressFactory(),
        shipping_address=factories.ShippingAddressFactory(),
    )
    getattr(order, parent).delete()
    order.refresh_from_db()
    assert getattr(order, parent) is None
    assert komfortkasse.calls == mirror() == []


def test_a_deletion_behind_django_is_not_seen_but_can_be_told(place, komfortkasse, mirror, told):
    order = place()
    order.sources.all().delete()
    order.lines.all().delete()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM order_order WHERE id = %s", [order.pk])
    assert komfortkasse.calls == mirror() == []
    remove(order.number, shop="default")
    told(order.number, via="code")


def test_a_rollback(place, komfortkasse, mirror):
    order = place()
    with pytest.raises(RuntimeError), transaction.atomic():
        order.delete()
        raise RuntimeError
    assert Order.objects.exists()
    assert komfortkasse.calls == mirror() == []


def test_a_request_that_fails_after_the_deletion(place, client, komfortkasse, mirror):
    order = place()
    client.raise_request_exception = False
    assert client.get(f"/delete-and-fail/{order.pk}/").status_code == 500
    assert Order.objects.exists()
    assert komfortkasse.calls == mirror() == []


def test_nothing_is_sent_before_the_commit(place, komfortkasse, mirror, told):
    order = place()
    number = order.number
    with transaction.atomic():
        order.delete()
        assert komfortkasse.calls == []
        assert mirror() == [(str(number), "pending")]
    told(number)


# Which orders


def test_only_orders_paid_by_transfer(place, told):
    numbers = [place("Prepayment").number, place("Invoice").number]
    place("Credit card")
    Order.objects.all().delete()
    told(*numbers)


def test_a_card_order_alone(place, komfortkasse, mirror):
    place("Credit card").delete()
    assert komfortkasse.calls == mirror() == []


# Numbers that are given again


def test_a_basket_placed_again_in_the_same_transaction(place, komfortkasse, mirror):
    order = place()
    basket, number = order.basket, order.number
    with transaction.atomic():
        order.delete()
        basket.strategy = factories.Default()
        basket.thaw()
        assert place(basket=basket).number == number
    assert komfortkasse.calls == []
    assert mirror() == [(str(number), "superseded")]


def test_a_basket_placed_again_while_komfortkasse_is_down(place, komfortkasse, mirror, retry_now):
    order = place()
    basket, number = order.basket, order.number
    komfortkasse.down = True
    order.delete()
    assert mirror() == [(str(number), "pending")]
    basket.strategy = factories.Default()
    basket.thaw()
    assert place(basket=basket).number == number
    komfortkasse.reset()
    retry_now()
    assert komfortkasse.calls == []
    assert mirror() == [(str(number), "superseded")]


def test_the_number_given_to_an_order_that_is_paid_by_card(place, komfortkasse, mirror, retry_now):
    order = place()
    basket, number = order.basket, order.number
    komfortkasse.down = True
    order.delete()
    basket.strategy = factories.Default()
    basket.thaw()
    place("Credit card", basket=basket)
    komfortkasse.reset()
    retry_now()
    assert komfortkasse.numbers == [str(number)]
    assert mirror() == [(str(number), "removed")]


# Komfortkasse in trouble


def test_an_order_that_komfortkasse_does_not_know(place, komfortkasse, mirror):
    order = place()
    komfortkasse.unknown = {str(order.number)}
    order.delete()
    assert komfortkasse.numbers == [str(order.number)]
    assert mirror() == [(str(order.number), "unknown")]


def test_an_outage(place, komfortkasse, mirror, staff, retry_now):
    order = place()
    komfortkasse.down = True
    page = Page.open(staff, admin_url("delete", order.pk))
    assert page.press("Yes, I\N{RIGHT SINGLE QUOTATION MARK}m sure").url == admin_url("changelist")
    assert not Order.objects.exists()
    assert mirror() == [(str(order.number), "pending")]
    komfortkasse.reset()
    retry_now()
    assert komfortkasse.numbers == [str(order.number)]
    assert mirror() == [(str(order.number), "removed")]


# Cancelling


def save_as_cancelled(order):
    order.status = "Cancelled"
    order.save()


@pytest.mark.parametrize("cancel", [lambda order: order.set_status("Cancelled"), save_as_cancelled])
def test_a_cancellation_by_code(place, told, cancel):
    order = place()
    cancel(order)
    order.save()
    told(order.number, via="gone")


def test_a_cancellation_in_the_dashboard(place, told, staff):
    order = place()
    response = staff.post(
        f"/dashboard/orders/{order.number}/",
        {"order_action": "change_order_status", "new_status": "Cancelled"},
    )
    assert response.status_code == 302
    order.refresh_from_db()
    assert order.status == "Cancelled"
    told(order.number, via="gone")


def test_many_cancellations_in_the_dashboard(place, told, staff):
    orders = [place(), place()]
    response = staff.post(
        "/dashboard/orders/",
        {
            "action": "change_order_statuses",
            "selected_order": [order.pk for order in orders],
            "new_status": "Cancelled",
        },
    )
    assert response.status_code == 302
    assert {order.status for order in Order.objects.all()} == {"Cancelled"}
    told(*(order.number for order in orders), via="gone")


def test_a_cancellation_in_the_admin(place, told, staff):
    order = place()
    page = Page.open(staff, admin_url("change", order.pk)).press("Save", status="Cancelled")
    assert page.url == admin_url("changelist")
    order.refresh_from_db()
    assert order.status == "Cancelled"
    told(order.number, via="gone")


def test_the_dashboard_deletes_nothing(place, staff):
    order = place()
    for url in ["/dashboard/orders/", f"/dashboard/orders/{order.number}/"]:
        page = Page.open(staff, url)
        words = {*page.links}.union(*({*form.buttons, *form.choices} for form in page.forms))
        assert "Change status" in words
        assert [word for word in words if "delete" in word.lower()] == []


def test_a_cancellation_of_a_card_order(place, komfortkasse, mirror):
    place("Credit card").set_status("Cancelled")
    assert komfortkasse.calls == mirror() == []


def test_another_status(place, komfortkasse, mirror):
    place().set_status("Processed")
    assert komfortkasse.calls == mirror() == []


def test_a_cancellation_that_is_rolled_back(place, komfortkasse, mirror):
    with pytest.raises(RuntimeError), transaction.atomic():
        place().set_status("Cancelled")
        raise RuntimeError
    assert komfortkasse.calls == mirror() == []


def test_an_order_that_is_opened_again_before_it_is_told(place, komfortkasse, mirror, retry_now):
    order = place()
    komfortkasse.down = True
    order.set_status("Cancelled")
    order.status = "Pending"
    order.save()
    komfortkasse.reset()
    retry_now()
    assert komfortkasse.calls == []
    assert mirror() == [(str(order.number), "superseded")]


def test_cancellations_that_no_signal_tells_of(place, told, mirror, reconcile):
    number = place().number
    place("Credit card")
    Order.objects.update(status="Cancelled")
    place()
    assert mirror() == []
    reconcile()
    told(number, via="reconcile")


def test_a_deletion_after_the_cancellation_is_told_as_well(place, komfortkasse, mirror):
    order = place()
    order.set_status("Cancelled")
    order.delete()
    assert komfortkasse.numbers == [str(order.number)] * 2
    assert mirror() == [(str(order.number), "removed")] * 2


# The admin


def test_deleting_in_the_admin(place, told, staff):
    order = place()
    page = (
        Page.open(staff, admin_url("change", order.pk))
        .follow("Delete")
        .press("Yes, I\N{RIGHT SINGLE QUOTATION MARK}m sure")
    )
    assert page.url == admin_url("changelist")
    told(order.number)


def test_deleting_many_in_the_admin(place, told, staff):
    numbers = [place().number for _ in range(3)]
    page = Page.open(staff, admin_url("changelist")).act(
        "Delete selected Orders", Order.objects.all()
    )
    page.press("Yes, I\N{RIGHT SINGLE QUOTATION MARK}m sure")
    assert not Order.objects.exists()
    told(*numbers)


class TestOrderAdmin(OrderAdminTests):
    number = "number"
    card = "Credit card"
