"""Rows of the mirror that are to be sent."""

from datetime import timedelta

from django.utils import timezone

from komfortkasse_django.models import RemovedOrder

Via = RemovedOrder.RequestedVia


def due(*numbers: str, shop: str = "default", via: Via = Via.DELETE) -> list[RemovedOrder]:
    """Rows that are due, one after the other, as if nobody had tried to deliver them."""
    start = timezone.now() - timedelta(minutes=1)
    return RemovedOrder.objects.bulk_create(
        RemovedOrder(
            shop=shop,
            order_number=number,
            requested_via=via,
            next_attempt_at=start + timedelta(microseconds=index),
        )
        for index, number in enumerate(numbers)
    )
