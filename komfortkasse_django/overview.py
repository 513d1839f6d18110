"""How the whole mirror stands, counted for the head of the admin's list."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Count, Sum
from django.utils import timezone

from komfortkasse_django.models import (
    LONGEST_PAUSE,
    RemovedOrder,
    RemovedOrderQuerySet,
    RetryAfter,
)

OVERDUE_AFTER = timedelta(hours=1)
"""How long a removal may be due before it is called overdue, as by ``komfortkasse_status``."""

# To count a million rows takes SQLite most of a second. What was slow is kept sixty times as long
# as it took, so that counting never costs more than a sixtieth of the time.
_SLOW, _KEEP = 0.1, 60  # seconds, times


@dataclass(frozen=True, kw_only=True)
class Overview:
    counted_at: datetime
    states: Mapping[str, int]
    """How many rows are in which state."""
    overdue: Mapping[str, int]
    """How many are overdue, by alias."""
    received: Mapping[str, tuple[int, Decimal]]
    """How many were removed although money had arrived, and how much, by currency."""
    pauses: Mapping[str, datetime]
    """Until when Komfortkasse wants to be left alone, by alias."""


_kept: dict[str, tuple[float, Overview]] = {}


def overview(using: str) -> Overview:
    """Count the mirror in the database ``using``, or return what was counted not long ago."""
    started = time.monotonic()
    until, kept = _kept.get(using, (0.0, None))
    if kept and started < until:
        return kept
    counted = _count(using)
    now = time.monotonic()
    if now - started > _SLOW:
        _kept[using] = (now + _KEEP * (now - started), counted)
    return counted


def forget() -> None:
    """Count anew the next time: somebody has changed the mirror and wants to see it."""
    _kept.clear()


def overdue(rows: RemovedOrderQuerySet) -> RemovedOrderQuerySet:
    """Those of ``rows`` that should have been sent long ago."""
    return rows.due().filter(next_attempt_at__lt=timezone.now() - OVERDUE_AFTER)


def pauses(using: str) -> dict[str, datetime]:
    """Until when Komfortkasse wants to be left alone, by alias."""
    now = timezone.now()
    silent = RetryAfter.objects.using(using).filter(until__gt=now, until__lte=now + LONGEST_PAUSE)
    return dict(silent.values_list("shop", "until"))


def _count(using: str) -> Overview:
    rows = RemovedOrder.objects.using(using).order_by()
    received = rows.filter(amount_paid__gt=0).order_by("currency").values_list("currency")
    return Overview(
        counted_at=timezone.now(),
        states=dict(rows.values_list("state").annotate(Count("pk"))),
        overdue=dict(overdue(rows).values_list("shop").annotate(Count("pk"))),
        received={
            currency: (count, amount)
            for currency, count, amount in received.annotate(Count("pk"), Sum("amount_paid"))
        },
        pauses=pauses(using),
    )
