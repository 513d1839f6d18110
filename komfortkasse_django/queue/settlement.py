"""What became of the rows of one shop in a push: stored, announced and counted."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from komfortkasse_django.conf import Shop
from komfortkasse_django.models import ALL_UNKNOWN, RemovedOrder
from komfortkasse_django.queue.backlog import LEASE_MARGIN, Backlog
from komfortkasse_django.queue.calls import Call
from komfortkasse_django.queue.leases import Lease, settle
from komfortkasse_django.queue.outcomes import Announcement, store_error, store_order

logger = logging.getLogger("komfortkasse_django")

State = RemovedOrder.State


def _log_what_is_to_do(row: RemovedOrder) -> None:
    if row.state != State.REMOVED or row.settled_at:
        return
    if row.has_money:
        logger.warning(
            "Order %s was removed, but %s had been paid: refund it, and settle it in the admin",
            row,
            f"{row.amount_paid} {row.currency}".rstrip(),
        )
    if row.is_at_agency:
        logger.warning(
            "Order %s was removed, but a collection agency is at work: call it off, and settle it"
            " in the admin",
            row,
        )


@dataclass(eq=False)
class Settlement:
    """Stores what became of the rows of one shop. ``states`` counts them, for all shops."""

    shop: Shop
    using: str
    backlog: Backlog
    states: Counter[str]
    on_settled: Callable[[Sequence[RemovedOrder]], None]
    newly_unknown: set[Lease] = field(default_factory=set)

    def store_answers(self, calls: Sequence[Call]) -> None:
        """Store what the answers mean; rows that were not sent are due again."""
        announcements: dict[Lease, Announcement] = {}
        not_sent: list[Lease] = []
        for call in calls:
            for lease in call.leases:
                was_unknown = lease.row.state == State.UNKNOWN
                if call.order is not None:
                    announcements[lease] = store_order(lease.row, call.order)
                elif isinstance(call.error, Exception):
                    retries = self.shop.unknown_retries
                    announcements[lease] = store_error(lease.row, call.error, retries)
                elif call.error is None:
                    not_sent.append(lease)
                if lease.row.state == State.UNKNOWN and not was_unknown:
                    self.newly_unknown.add(lease)
        try:
            self.store(announcements)
        finally:
            self.backlog.give_back(not_sent)

    def store(self, announcements: dict[Lease, Announcement]) -> None:
        """Write the rows back, and announce those that are still held."""
        # Not limited by the budget: Komfortkasse may not give this answer again.
        held = settle(list(announcements), using=self.using, until=time.monotonic() + LEASE_MARGIN)
        self.newly_unknown -= announcements.keys() - set(held)
        self.states.update(lease.row.state for lease in held)
        # Rows with the same number are one removal, and the last is the one to be settled.
        last = {
            lease.row.order_number: lease
            for lease in sorted(held, key=lambda lease: lease.row.pk)
            if announcements[lease]
        }
        for lease in held:
            _log_what_is_to_do(lease.row)
            announcement = announcements[lease]
            if announcement and last[lease.row.order_number] is lease:
                signal, arguments = announcement
                try:
                    signal.send_robust(RemovedOrder, removed_order=lease.row, **arguments)
                except Exception:
                    # Django fails to report a failed receiver that has no __qualname__.
                    logger.exception("Order %s: a receiver failed", lease.row)
        self.on_settled([lease.row for lease in held])

    def warn_if_all_are_unknown(self) -> None:
        """Log once that Komfortkasse knows none of the orders."""
        new = len(self.newly_unknown)
        if not new:
            return
        rows = RemovedOrder.objects.using(self.using).unknown_in_a_row(self.shop.alias)
        count = rows[: ALL_UNKNOWN + new].count()
        if ALL_UNKNOWN <= count < ALL_UNKNOWN + new:
            logger.error(
                "Shop %r: Komfortkasse knew none of the last %d orders. Check that ORDER_NUMBER,"
                " API_KEY and API_URL are those of this shop.",
                self.shop.alias,
                ALL_UNKNOWN,
            )
