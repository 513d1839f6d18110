"""What a shop may write, and the types it sees."""

import datetime as dt
from decimal import Decimal
from typing import Any, assert_type

from django.contrib import admin
from django.dispatch import receiver

from komfortkasse_django import exceptions, schema
from komfortkasse_django.admin import OrderAdminMixin, RemovedOrderAdmin
from komfortkasse_django.client import Client
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet
from komfortkasse_django.removals import remove
from komfortkasse_django.signals import order_removed, removal_failed
from store.models import Order


def remove_in_every_way(order: Order) -> None:
    assert_type(remove(order), list[RemovedOrder])
    assert_type(remove([order, order]), list[RemovedOrder])
    assert_type(remove(Order.objects.filter(payment_method="transfer")), list[RemovedOrder])
    assert_type(remove("1001", shop="default"), list[RemovedOrder])
    assert_type(remove(1001), list[RemovedOrder])
    assert_type(remove(["1001", order]), list[RemovedOrder])


def ask(client: Client) -> schema.Order:
    try:
        return client.remove_order("1001", include_refunds=True, deadline=2.5)
    except exceptions.ServiceUnavailable as error:
        assert_type(error.retry_after, float | None)
        raise
    except exceptions.KomfortkasseError as error:
        assert_type(error.can_retry, bool)
        assert_type(error.status, int | None)
        assert_type(error.code, str)
        raise


def read(order: schema.Order) -> None:
    assert_type(order.number, str)
    assert_type(order.date, dt.date | None)
    assert_type(order.amount, Decimal | None)
    assert_type(order.amount_paid, Decimal | None)
    assert_type(order.payment_status, schema.PaymentStatus | str | None)
    if order.billing:
        assert_type(order.billing.country_code, str | None)
    for posting in order.postings or ():
        assert_type(posting.amount, Decimal | None)
    for refund in order.refunds or ():
        assert_type(refund.status, schema.RefundStatus | str | None)
    if order.payment_status == schema.PaymentStatus.PAID:
        assert_type(order.reference_number, str | None)


def query() -> None:
    assert_type(RemovedOrder.objects.due(), RemovedOrderQuerySet)
    assert_type(RemovedOrder.objects.failed().filter(shop="default"), RemovedOrderQuerySet)
    assert_type(RemovedOrder.objects.filter(shop="default").pending(), RemovedOrderQuerySet)
    assert_type(RemovedOrder.objects.failed().retry(), int)
    row = RemovedOrder.objects.get(order_number="1001")
    assert_type(row, RemovedOrder)
    assert_type(row.order_number, str)
    assert_type(row.error_code, str)
    assert_type(row.amount_paid, Decimal | None)
    assert_type(row.next_attempt_at, dt.datetime | None)
    assert_type(row.get_state_display(), str)
    assert_type(RemovedOrder.State.REMOVED.value, str)


@receiver(order_removed)
def refund(
    sender: type[RemovedOrder], removed_order: RemovedOrder, order: schema.Order, **kwargs: Any
) -> None:
    if order.amount_paid:
        assert_type(order.amount_paid, Decimal)


@receiver(removal_failed)
def tell_somebody(
    sender: type[RemovedOrder],
    removed_order: RemovedOrder,
    error: exceptions.KomfortkasseError,
    **kwargs: Any,
) -> None:
    assert_type(removed_order.error_code, str)
    assert_type(error.code, str)


@admin.register(Order)
class OrderAdmin(OrderAdminMixin, admin.ModelAdmin[Order]):
    actions = ("export",)
    list_display = ("number",)


site = admin.AdminSite(name="store")
site.register(RemovedOrder, RemovedOrderAdmin)
