"""What is due of one shop, claimed piece by piece within the limits of a push."""

import time
from collections.abc import Sequence

from komfortkasse_django.conf import Shop
from komfortkasse_django.database import DatabaseUnavailable, patiently
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue.calls import Limits
from komfortkasse_django.queue.leases import Lease, claim, settle

_LEASE_CALLS = 4  # deadlines that a lease lasts; what has not been sent by then is given back
LEASE_MARGIN = 10.0
"""Seconds for the database, beyond the calls that a lease covers."""


class Backlog:
    """The rows of one shop that one push may claim."""

    def __init__(self, shop: Shop, using: str, ids: Sequence[int] | None, limits: Limits) -> None:
        self.has_more = True
        self.lease_seconds = _LEASE_CALLS * shop.deadline + LEASE_MARGIN
        self._shop = shop
        self._using = using
        self._ids = ids
        self._limits = limits
        self._prefers_fresh = False

    def prefer_fresh(self) -> None:
        """Claim rows that were never tried before first: they need not wait for bad ones."""
        self._prefers_fresh = True

    def claim(self, at_most: int) -> list[Lease]:
        """Claim rows that are due, the longest due first."""
        leases = self._claim(at_most, fresh=True) if self._prefers_fresh else []
        self._prefers_fresh = bool(leases)
        return leases or self._claim(at_most)

    def claim_fresh(self) -> list[Lease]:
        """Claim one row that was never tried before, if there is one."""
        return self._claim(1, fresh=True)

    def give_back(self, leases: Sequence[Lease]) -> None:
        """Make the rows due again, as if they had not been claimed."""
        for lease in leases:
            lease.give_back()
        settle(leases, using=self._using, until=self.patience())

    def send_by(self) -> float:
        """When calls for rows that are claimed now have to start, on the monotonic clock."""
        return time.monotonic() + (_LEASE_CALLS - 1) * self._shop.deadline

    def patience(self) -> float:
        """Until when to wait for a database: no longer than a lease allows."""
        return min(self._limits.ends_at, time.monotonic() + LEASE_MARGIN)

    def _claim(self, at_most: int, *, fresh: bool = False) -> list[Lease]:
        at_most = min(at_most, self._limits.rows)
        due = RemovedOrder.objects.using(self._using).due().filter(shop=self._shop.alias)
        if self._ids is not None:
            # They were all recorded just now, so all of them are fresh.
            ids, self._ids = self._ids[:at_most], self._ids[at_most:]
            due = due.filter(pk__in=ids)
        elif fresh:
            due = due.filter(attempts=0)
        try:
            leases, has_more = patiently(
                lambda: claim(due, at_most=at_most, seconds=self.lease_seconds),
                using=self._using,
                until=self.patience(),
                should_stop=self._limits.are_reached,
            )
        except DatabaseUnavailable:
            if self._limits.are_reached():
                return []  # what is in flight has to be settled yet
            raise
        if self._ids is not None:
            self.has_more = bool(self._ids)
        elif not fresh:
            self.has_more = has_more
        self._limits.rows -= len(leases)
        return leases
