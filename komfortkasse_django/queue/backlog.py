"""What is due of one shop, claimed piece by piece within the limits of a push."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils import timezone

from komfortkasse_django.conf import Shop
from komfortkasse_django.database import DatabaseUnavailable, patiently
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet
from komfortkasse_django.queue.calls import Limits
from komfortkasse_django.queue.leases import Lease, claim, settle

_LEASE_CALLS = 4  # a lease lasts so many deadlines; what is not sent by then is given back
_MOST_IDS = 1000  # per query; databases limit the length of a list
LEASE_MARGIN = 10.0
"""Seconds for the database, beyond the calls that a lease covers."""


@dataclass(eq=False)
class Backlog:
    """The rows of one shop that one push may claim."""

    shop: Shop
    using: str
    ids: Sequence[int] | None
    limits: Limits
    has_more: bool = True
    send_by: float = 0.0
    """When calls for the rows claimed last have to start, on the monotonic clock."""

    def claim(self, at_most: int, *, new_first: bool = False) -> list[Lease]:
        """Claim rows that are due, the longest due first.

        ``new_first`` claims rows that were never tried, the newest first, as long as there are any.
        """
        leases = self._claim(at_most, only_new=True) if new_first else []
        return leases or self._claim(at_most)

    def look(self) -> None:
        """See whether there is a row to claim."""
        until = self.patience()
        self.has_more = patiently(self._due().exists, using=self.using, until=until)

    def give_back(self, leases: Sequence[Lease]) -> None:
        """Make the rows due again, as if they had not been claimed."""
        for lease in leases:
            lease.give_back()
        settle(leases, using=self.using, until=self.patience())
        self.limits.rows += len(leases)
        self.has_more = self.has_more or bool(leases)

    def patience(self) -> float:
        """Until when to wait for a database: no longer than a lease allows."""
        return min(self.limits.ends_at, time.monotonic() + LEASE_MARGIN)

    def _claim(self, at_most: int, *, only_new: bool = False) -> list[Lease]:
        at_most = min(at_most, self.limits.rows)

        def try_to_claim() -> tuple[list[Lease], bool]:
            self.send_by = time.monotonic() + (_LEASE_CALLS - 1) * self.shop.deadline
            return claim(
                self._due().filter(attempts=0) if only_new else self._due(),
                at_most=at_most,
                seconds=_LEASE_CALLS * self.shop.deadline + LEASE_MARGIN,
                newest_first=only_new,
            )

        try:
            leases, has_more = patiently(
                try_to_claim,
                using=self.using,
                until=self.patience(),
                should_stop=self.limits.are_reached,
            )
        except DatabaseUnavailable:
            if self.limits.are_reached():
                return []  # the calls in flight must still be settled
            raise
        if not only_new:
            self.has_more = has_more
            if self.ids and not has_more and len(self.ids) > _MOST_IDS:
                self.ids, self.has_more = self.ids[_MOST_IDS:], True
        self.limits.rows -= len(leases)
        return leases

    def _due(self) -> RemovedOrderQuerySet:
        # Not due(): the breaker decides whether the shop is paused.
        rows = RemovedOrder.objects.using(self.using).filter(
            shop=self.shop.alias, next_attempt_at__lte=timezone.now()
        )
        return rows if self.ids is None else rows.filter(pk__in=self.ids[:_MOST_IDS])
