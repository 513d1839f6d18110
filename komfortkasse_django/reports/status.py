"""How things stand: what the whole mirror says, read in one place for the admin and monitoring."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Count, Max, Min, Sum
from django.utils import timezone

from komfortkasse_django.conf import shops
from komfortkasse_django.models import OVERDUE_AFTER, RemovedOrder, ShopState

State = RemovedOrder.State


@dataclass(frozen=True, kw_only=True)
class Overdue:
    """The overdue removals of one shop."""

    count: int
    is_long_due: bool
    """Whether one could have been sent all that time, so that nobody seems to run what sends it."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """What the mirror says."""

    counts: Mapping[str, Mapping[str, int]]
    """Alias -> state -> how many removals are in it."""
    due: int
    """Removals whose time has come, also those that a pause or the settings hold back."""
    oldest_due_at: datetime | None
    overdue: Mapping[str, Overdue]
    """By alias, of the shops that have any."""
    received: Mapping[str, tuple[int, Decimal]]
    """Currency -> how many were removed although money had arrived, and how much."""
    last_removed_at: datetime | None
    pauses: Mapping[str, ShopState]
    """The states of the shops that are paused, by alias."""
    read_at: datetime

    def in_state(self, state: str) -> int:
        """How many removals are in the state, in all shops."""
        return sum(states.get(state, 0) for states in self.counts.values())

    @property
    def overdue_count(self) -> int:
        """How many removals are overdue, in all shops."""
        return sum(overdue.count for overdue in self.overdue.values())

    @property
    def ok(self) -> bool:
        """Whether nobody has to look."""
        return not (self.overdue or self.in_state(State.FAILED))


def read_status(using: str, max_age: timedelta = OVERDUE_AFTER) -> Status:
    """Read it from the database ``using``. Raises what the database raises.

    ``max_age`` is how long after it was asked for a pending removal is overdue.
    """
    now = timezone.now()
    rows = RemovedOrder.objects.using(using)
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(State.values, 0))
    for alias in shops():
        counts[alias]  # also where nothing has been removed yet
    removed_at = []
    # In the order of an index, so that the table itself is not read.
    by_state = rows.order_by("state", "shop").values_list("state", "shop")
    for state, shop, count, finished_at in by_state.annotate(Count("pk"), Max("finished_at")):
        counts[shop][state] = count
        if state == State.REMOVED:
            removed_at.append(finished_at)
    due = rows.filter(next_attempt_at__lte=now).aggregate(
        count=Count("pk"), oldest=Min("next_attempt_at")
    )
    overdue = rows.overdue(max_age).order_by("shop").values_list("shop")
    received = rows.filter(amount_paid__gt=0).order_by("currency").values_list("currency")
    return Status(
        counts=dict(counts),
        due=due["count"],
        oldest_due_at=due["oldest"],
        overdue={
            alias: Overdue(count=count, is_long_due=first is not None and first < now - max_age)
            for alias, count, first in overdue.annotate(Count("pk"), Min("next_attempt_at"))
        },
        received={
            currency: (count, amount)
            for currency, count, amount in received.annotate(Count("pk"), Sum("amount_paid"))
        },
        last_removed_at=max(filter(None, removed_at), default=None),
        pauses=read_pauses(using),
        read_at=now,
    )


def read_pauses(using: str) -> dict[str, ShopState]:
    """The states of the shops that are paused now, by alias."""
    return ShopState.objects.using(using).paused().in_bulk()
