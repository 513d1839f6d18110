"""How the whole mirror stands, counted for the head of the admin's list."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Count, Min, Sum
from django.utils import timezone

from komfortkasse_django.models import OVERDUE_AFTER, RemovedOrder, ShopState

State = RemovedOrder.State


@dataclass(frozen=True, kw_only=True)
class Overdue:
    """What is overdue of one shop."""

    count: int
    is_due: bool
    """Whether one is due, and has been for too long. The page of each other says why it waits."""


@dataclass(frozen=True, kw_only=True)
class Overview:
    states: Mapping[str, int]
    """How many rows are in which state."""
    overdue: Mapping[str, Overdue]
    """What is overdue, by alias."""
    received: Mapping[str, tuple[int, Decimal]]
    """How many were removed although money had arrived, and how much, by currency."""
    pauses: Mapping[str, datetime]
    """Until when Komfortkasse wants to be left alone, by alias."""


def overview(using: str) -> Overview:
    """Count the mirror in the database ``using``, by its indexes."""
    rows = RemovedOrder.objects.using(using)
    received = rows.filter(amount_paid__gt=0).order_by("currency").values_list("currency")
    return Overview(
        states=_states(using),
        overdue=_overdue(using),
        received={
            currency: (count, amount)
            for currency, count, amount in received.annotate(Count("pk"), Sum("amount_paid"))
        },
        pauses=pauses(using),
    )


def pauses(using: str) -> dict[str, datetime]:
    """Until when Komfortkasse wants to be left alone, by alias."""
    paused = ShopState.objects.using(using).paused()
    return {state.shop: state.paused_until for state in paused if state.paused_until}


def _states(using: str) -> dict[str, int]:
    # Nearly all are removed at last: to count everything is the fastest way to count those.
    others = [state for state in State.values if state != State.REMOVED]
    rows = RemovedOrder.objects.using(using)
    states = dict(rows.filter(state__in=others).values_list("state").annotate(Count("pk")))
    return {**states, State.REMOVED: max(0, rows.count() - sum(states.values()))}


def _overdue(using: str) -> dict[str, Overdue]:
    late = timezone.now() - OVERDUE_AFTER
    rows = RemovedOrder.objects.using(using).overdue().order_by("shop").values_list("shop")
    return {
        alias: Overdue(count=count, is_due=first is not None and first < late)
        for alias, count, first in rows.annotate(Count("pk"), Min("next_attempt_at"))
    }
