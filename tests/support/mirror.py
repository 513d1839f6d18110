"""The mirror as tests make it and see it."""

import sqlite3
from collections import Counter
from datetime import timedelta

from django.db import OperationalError
from django.utils import timezone

from komfortkasse_django.models import RemovedOrder

Via = RemovedOrder.RequestedVia


def numbers(count: int) -> list[str]:
    """Order numbers, counted from 1000."""
    return [str(1000 + index) for index in range(count)]


def due(*numbers: str, shop: str = "default", via: Via = Via.DELETE) -> list[RemovedOrder]:
    """Rows that are due, one after the other, as if nobody had tried to deliver them."""
    start = timezone.now() - timedelta(minutes=1)
    return RemovedOrder.objects.bulk_create(
        (
            RemovedOrder(
                shop=shop,
                order_number=number,
                requested_via=via,
                next_attempt_at=start + timedelta(microseconds=index),
            )
            for index, number in enumerate(numbers)
        ),
        batch_size=1000,
    )


def states() -> Counter[str]:
    """How many rows are in which state."""
    return Counter(RemovedOrder.objects.values_list("state", flat=True))


def locked() -> OperationalError:
    """What Django raises where somebody else is writing."""
    cause = sqlite3.OperationalError("database is locked")
    cause.sqlite_errorcode = sqlite3.SQLITE_BUSY
    error = OperationalError("database is locked")
    error.__cause__ = cause
    return error
