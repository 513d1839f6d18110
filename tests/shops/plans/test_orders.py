"""Orders of django-plans, ended in each of its ways."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db.models import AutoField
from django.utils import timezone
from plans.models import Order, Plan

from komfortkasse_django.models import RemovedOrder
from tests.shops.order_admin import admin_url
from tests.shops.page import Page

STATUS = Order.STATUS


@pytest.fixture
def user(komfortkasse):
    return get_user_model().objects.create_user("max")


@pytest.fixture
def order(user):
    plan = Plan.objects.create(name="Basic")
    return Order.objects.create(user=user, plan=plan, amount=10, status=STATUS.NEW)


def test_settings_are_right(komfortkasse):
    call_command("check", fail_level="WARNING")


def test_what_an_order_is():
    assert Order._meta.label == "plans.Order"
    assert isinstance(Order._meta.pk, AutoField)


# Deleting


@pytest.mark.parametrize("name", ["user", "plan"])
def test_a_cascade(order, told, name):
    number = order.pk
    getattr(order, name).delete()
    told(number)


def test_deleting_in_the_admin(order, told, staff):
    Page.open(staff, admin_url("delete", order.pk)).press(
        "Yes, I\N{RIGHT SINGLE QUOTATION MARK}m sure"
    )
    assert not Order.objects.exists()
    told(order.pk)


# Ending in another way


def test_a_cancellation(order, told):
    order.status = STATUS.CANCELED
    order.save()
    order.save()
    told(order.pk, via="gone")


def test_a_cancellation_in_the_admin(order, told, staff):
    page = Page.open(staff, admin_url("change", order.pk)).press("Save", status=STATUS.CANCELED)
    assert page.url == admin_url("changelist")
    order.refresh_from_db()
    assert order.status == STATUS.CANCELED
    told(order.pk, via="gone")


def test_an_order_that_is_returned(order, told):
    order.status = STATUS.NOT_VALID
    order.save()
    order.return_order()
    told(order.pk, via="gone")


def test_an_order_that_is_returned_in_the_admin(order, told, staff):
    order.status = STATUS.NOT_VALID
    order.save()
    Page.open(staff, admin_url("changelist")).act("Make selected orders returned", [order])
    order.refresh_from_db()
    assert order.status == STATUS.RETURNED
    told(order.pk, via="gone")


def test_an_order_that_is_completed(order, mirror):
    order.status = STATUS.COMPLETED
    order.save()
    assert mirror() == []


def test_an_order_that_can_not_be_paid_any_more(order, told):
    created = timezone.now() - timedelta(days=15)
    Order.objects.update(created=created)
    order.refresh_from_db()
    order.save()
    assert not order.is_ready_for_payment()
    assert not RemovedOrder.objects.exists()
    call_command("komfortkasse_reconcile", verbosity=0)
    call_command("komfortkasse_push", verbosity=0)
    told(order.pk, via="reconcile")


def test_a_completed_order_of_long_ago(order, mirror):
    Order.objects.update(created=timezone.now() - timedelta(days=15), status=STATUS.COMPLETED)
    call_command("komfortkasse_reconcile", verbosity=0)
    assert mirror() == []
