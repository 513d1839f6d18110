"""From claimed rows to calls: the API key, the look-up of what is alive again, the threads."""

import logging
import time
from collections import defaultdict
from dataclasses import dataclass

from komfortkasse_django.conf import Shop
from komfortkasse_django.database import DatabaseUnavailable
from komfortkasse_django.exceptions import AuthenticationFailed
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue.backlog import Backlog
from komfortkasse_django.queue.calls import Call, Calls, LeaveAlone
from komfortkasse_django.queue.leases import Lease
from komfortkasse_django.queue.lookups import look_up
from komfortkasse_django.queue.outcomes import Announcement, finish, store_lookup_error
from komfortkasse_django.queue.settlement import Settlement


@dataclass(eq=False)
class Sending:
    """Sends the claimed rows of one shop; what it cannot send is given back."""

    shop: Shop
    using: str
    calls: Calls
    backlog: Backlog
    settlement: Settlement

    def send(self, leases: list[Lease], *, failures: int) -> None:
        """Start a call for each order number. There were ``failures`` in a row before.

        Raises ``AuthenticationFailed`` and ``LeaveAlone``.
        """
        if not leases:
            return
        try:
            self.calls.connect(failures)
        except (AuthenticationFailed, LeaveAlone):
            self.backlog.give_back(leases)
            raise
        send_by = self.backlog.send_by
        leases = self._settle_superseded(leases)
        if leases and time.monotonic() > send_by:
            self.backlog.give_back(leases)
            # The next claim would also take too long.
            raise LeaveAlone("looking up its orders takes too long to send any")
        numbers: dict[str, list[Lease]] = defaultdict(list)
        for lease in leases:
            numbers[lease.row.order_number].append(lease)
        for number, its_leases in numbers.items():
            self.calls.start(Call(self.calls, number, its_leases, send_by))

    def _settle_superseded(self, leases: list[Lease]) -> list[Lease]:
        """Settle the rows whose number is alive, and return the other leases."""
        asked = [lease for lease in leases if lease.row.requested_via in RemovedOrder.SUPERSEDABLE]
        numbers = list(dict.fromkeys(lease.row.order_number for lease in asked))
        try:
            alive, errors = self._look_up(numbers)
        except LeaveAlone:
            self.backlog.give_back(leases)
            raise
        done: dict[Lease, Announcement] = {}
        for lease in asked:
            if lease.row.order_number in errors:
                store_lookup_error(lease.row, errors[lease.row.order_number])
                done[lease] = None
            elif lease.row.order_number in alive:
                finish(lease.row, RemovedOrder.State.SUPERSEDED)
                done[lease] = None
        self.settlement.store(done)
        left = [lease for lease in leases if lease not in done]
        if len(errors) == len(numbers) > 1:
            # If the filter is broken, the other rows need not be tried. The log has the errors.
            self.backlog.give_back(left)
            raise LeaveAlone(
                f"The shop's own code failed for {len(errors)} of {len(numbers)} orders",
                logging.DEBUG,
            )
        return left

    def _look_up(self, numbers: list[str]) -> tuple[set[str], dict[str, Exception]]:
        limits = self.calls.limits
        if not numbers or limits.are_reached():
            return set(), {}  # the calls come back unsent
        try:
            return look_up(
                self.shop,
                numbers,
                mirror_at=self.using,
                until=self.backlog.patience(),
                should_stop=limits.are_reached,
            )
        except DatabaseUnavailable as error:
            if limits.are_reached():
                return set(), {}
            # Other shops may have their orders elsewhere.
            raise LeaveAlone(f"its orders cannot be looked up: {error}") from error
