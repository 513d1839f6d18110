"""Makes rows of the mirror, and reads them."""

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
    """Make rows that are due, one after the other, and that nobody has tried to deliver."""
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
    """Return how many rows are in each state."""
    return Counter(RemovedOrder.objects.values_list("state", flat=True))


def locked() -> OperationalError:
    """Return the error that Django raises while another connection writes."""
    cause = sqlite3.OperationalError("database is locked")
    cause.sqlite_errorcode = sqlite3.SQLITE_BUSY
    error = OperationalError("database is locked")
    error.__cause__ = cause
    return error
