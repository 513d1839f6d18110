"""What is due of one shop, claimed piece by piece within the limits of a push."""

import time
from collections.abc import Sequence
from datetime import datetime

from django.utils import timezone

from komfortkasse_django.conf import Shop
from komfortkasse_django.database import DatabaseUnavailable, patiently
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue.calls import Limits
from komfortkasse_django.queue.leases import Lease, claim, settle

_LEASE_CALLS = 4  # deadlines that a lease lasts; what has not been sent by then is given back
_MOST_IDS = 1000  # per query; databases take no endless lists
LEASE_MARGIN = 10.0
"""Seconds for the database, beyond the calls that a lease covers."""


class Backlog:
    """The rows of one shop that one push may claim."""

    def __init__(self, shop: Shop, using: str, ids: Sequence[int] | None, limits: Limits) -> None:
        self.has_more = True
        self.send_by = 0.0
        """When calls for the rows claimed last have to start, on the monotonic clock."""
        self.probe_seconds = shop.deadline + LEASE_MARGIN
        """What one call may take, with all that belongs to it."""
        self._deadline = shop.deadline
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
        leases = self._claim(at_most, attempts=0) if self._prefers_fresh else []
        self._prefers_fresh = bool(leases)
        return leases or self._claim(at_most)

    def claim_newest(self) -> list[Lease]:
        """Claim the newest row that was never tried: it has least in common with the others."""
        return self._claim(1, newest_first=True, attempts=0)

    def claim_newer(self, since: datetime) -> list[Lease]:
        """Claim one row that was recorded after ``since`` and was never tried."""
        return self._claim(1, attempts=0, created_at__gt=since)

    def claim_one(self) -> list[Lease]:
        """Claim one row, if possible one that was never tried."""
        return self._claim(1, attempts=0) or self._claim(1)

    def give_back(self, leases: Sequence[Lease]) -> None:
        """Make the rows due again, as if they had not been claimed."""
        for lease in leases:
            lease.give_back()
        settle(leases, using=self._using, until=self.patience())
        self._limits.rows += len(leases)
        self.has_more = self.has_more or bool(leases)

    def patience(self) -> float:
        """Until when to wait for a database: no longer than a lease allows."""
        return min(self._limits.ends_at, time.monotonic() + LEASE_MARGIN)

    def _claim(
        self, at_most: int, *, newest_first: bool = False, **conditions: object
    ) -> list[Lease]:
        at_most = min(at_most, self._limits.rows)
        # Not due(): whether the shop is paused is for the breaker to say.
        rows = RemovedOrder.objects.using(self._using).filter(shop=self._shop.alias, **conditions)
        if self._ids is not None:
            rows = rows.filter(pk__in=self._ids[:_MOST_IDS])

        def try_to_claim() -> tuple[list[Lease], bool]:
            self.send_by = time.monotonic() + (_LEASE_CALLS - 1) * self._deadline
            return claim(
                rows.filter(next_attempt_at__lte=timezone.now()),
                at_most=at_most,
                seconds=_LEASE_CALLS * self._deadline + LEASE_MARGIN,
                newest_first=newest_first,
            )

        try:
            leases, has_more = patiently(
                try_to_claim,
                using=self._using,
                until=self.patience(),
                should_stop=self._limits.are_reached,
            )
        except DatabaseUnavailable:
            if self._limits.are_reached():
                return []  # what is in flight has to be settled yet
            raise
        if not conditions:
            self.has_more = has_more
            if self._ids and not has_more and len(self._ids) > _MOST_IDS:
                self._ids, self.has_more = self._ids[_MOST_IDS:], True
        self._limits.rows -= len(leases)
        return leases
