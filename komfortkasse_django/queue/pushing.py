"""One push's work for one shop: claim, send and settle until nothing is due or it has to stop."""

import logging
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Context, Decimal
from queue import Empty, SimpleQueue
from threading import Lock

from django.db import Error, router
from django.dispatch import Signal
from django.utils import timezone

from komfortkasse_django import orders
from komfortkasse_django.client import Client
from komfortkasse_django.conf import Shop, shops_named
from komfortkasse_django.database import patiently, will_pass
from komfortkasse_django.exceptions import (
    AuthenticationFailed,
    InvalidRequest,
    KomfortkasseError,
    OrderNotFound,
    ServiceUnavailable,
)
from komfortkasse_django.models import LONGEST_PAUSE, RemovedOrder, RetryAfter, get_field
from komfortkasse_django.queue.leases import Lease, claim, settle
from komfortkasse_django.schema import Order
from komfortkasse_django.signals import order_removed, removal_failed

logger = logging.getLogger("komfortkasse_django")

State = RemovedOrder.State

STOP_AFTER = 3
"""Consecutive failures of the service after which a run leaves the shop alone."""
FIRST_RETRY, LONGEST_RETRY = 60.0, LONGEST_PAUSE.total_seconds()
"""Seconds to wait after the first failed attempt, and at most."""

_CLAIMS_PER_CALL = 32  # rows claimed for each call in flight: claiming few costs more than calling
_LEASE_CALLS = 4  # deadlines that a lease lasts; what has not been sent by then is given back
_LEASE_MARGIN = 10.0  # seconds for the database, beyond the calls that a lease covers
_LINGER = 0.01  # seconds that an answer waits for others, to be settled with them
_AMOUNT = Context(prec=get_field("amount").max_digits, traps=[])  # type: ignore[attr-defined]

_Announcement = tuple[Signal, dict[str, object]] | None


@dataclass
class PushResult:
    """What a push did."""

    states: Counter[str] = field(default_factory=Counter)
    """How many rows are in which state now; ``pending`` ones will be tried again."""
    stopped: dict[str, str] = field(default_factory=dict)
    """Alias of each shop that was left before its end, and why."""

    @property
    def total(self) -> int:
        """How many rows were tried."""
        return self.states.total()


class Run:
    """This thread talks to the database, the executor's threads do HTTP and nothing else."""

    def __init__(
        self,
        shop: Shop,
        using: str,
        result: PushResult,
        *,
        ids: Sequence[int] | None,
        ends_at: float,
        should_stop: Callable[[], bool],
        on_settled: Callable[[Sequence[RemovedOrder]], None],
    ) -> None:
        """``ends_at`` is a time of the monotonic clock, in seconds."""
        self.shop = shop
        self.using = using
        self.result = result
        self.ids = ids
        self.ends_at = ends_at
        # A call that would soon be cut off is not worth its attempt.
        self.last_start = ends_at - min(1.0, (ends_at - time.monotonic()) / 2)
        self.should_stop = should_stop
        self.on_settled = on_settled
        self.quota: float
        self.failures = 0
        self.halted = False
        self.lock = Lock()
        self.more_due = True
        self.in_flight: dict[Future[Order | None], Lease] = {}
        self.answers: SimpleQueue[Future[Order | None]] = SimpleQueue()

    def drain(self, quota: float) -> bool:
        """Push up to ``quota`` rows and return whether there may be more to push."""
        self.quota = quota
        try:
            client = Client(
                api_key=self.shop.api_key, api_url=self.shop.api_url, deadline=self.shop.deadline
            )
            executor = ThreadPoolExecutor(self.shop.concurrency)
        except (TypeError, ValueError) as error:
            self._halt(logging.ERROR, f"its settings are wrong: {error}")
            return False
        with executor:
            try:
                self._refill(executor, client)
                while self.in_flight:
                    self._settle_answers()
                    self._refill(executor, client)
            except BaseException:
                self.halted = True  # or the executor would send the rest before it ends
                raise
        return self.more_due and not self._is_over()

    def _halt(self, level: int, reason: str) -> None:
        """Leave the shop alone for the rest of this push."""
        with self.lock:
            if not self.halted:
                self.halted = True
                self.result.stopped[self.shop.alias] = reason
                logger.log(level, "Shop %r is left alone in this run: %s", self.shop.alias, reason)

    def _is_over(self) -> bool:
        # Only ever set: another thread may halt the run meanwhile.
        if not self.halted and self.should_stop():
            self.halted = True
        return self.halted or time.monotonic() >= self.last_start

    # Claim and send

    def _refill(self, executor: ThreadPoolExecutor, client: Client) -> None:
        """Claim rows for the threads before they run out of them."""
        window = _CLAIMS_PER_CALL * self.shop.concurrency
        while (
            len(self.in_flight) <= window // 2
            and self.more_due
            and self.quota > 0
            and not self._is_over()
        ):
            claimed = self._claim(int(min(window - len(self.in_flight), self.quota)))
            send_by = time.monotonic() + (_LEASE_CALLS - 1) * self.shop.deadline
            leases = self._settle_superseded(claimed)
            if leases and time.monotonic() > send_by:
                # Or the next claim would come to the same.
                self._halt(logging.ERROR, "to look up its orders takes too long to send any")
            for lease in leases:
                future = executor.submit(self._call, client, lease.row.order_number, send_by)
                self.in_flight[future] = lease
                future.add_done_callback(self.answers.put)

    def _call(self, client: Client, number: str, send_by: float) -> Order | None:
        """Send one removal, in a thread; None when it was not sent."""
        now = time.monotonic()
        if now > send_by or self._is_over():
            return None
        try:
            order = client.remove_order(
                number, deadline=min(self.shop.deadline, self.ends_at - now)
            )
        except Exception as error:
            # Judged here, before this or another thread makes the next call.
            self._judge(error)
            raise
        self._judge(None)
        return order

    def _judge(self, error: Exception | None) -> None:
        """Halt when the shop's calls make no sense any more."""
        if isinstance(error, AuthenticationFailed):
            self._halt(logging.ERROR, str(error))
        elif isinstance(error, ServiceUnavailable):
            with self.lock:
                self.failures += 1
                is_down = self.failures >= STOP_AFTER or error.retry_after
            if is_down:
                self._halt(logging.WARNING, str(error))
        else:
            with self.lock:
                self.failures = 0

    def _claim(self, at_most: int) -> list[Lease]:
        due = RemovedOrder.objects.using(self.using).due().filter(shop=self.shop.alias)
        seconds = _LEASE_CALLS * self.shop.deadline + _LEASE_MARGIN
        if self.ids is not None:
            ids, self.ids = self.ids[:at_most], self.ids[at_most:]
            due = due.filter(pk__in=ids)
        try:
            leases, self.more_due = patiently(
                lambda: claim(due, at_most=at_most, seconds=seconds),
                using=self.using,
                until=self._patience(),
                should_stop=self._is_over,
            )
        except Error as error:
            if self._is_over() and will_pass(error, self.using):
                return []  # what is in flight has to be settled yet
            raise
        if self.ids is not None:
            self.more_due = bool(self.ids)
        self.quota -= len(leases)
        return leases

    def _settle_superseded(self, leases: list[Lease]) -> list[Lease]:
        """Settle the deletions whose number is in use again, and return the other leases."""
        deletions = [
            lease for lease in leases if lease.row.requested_via == RemovedOrder.RequestedVia.DELETE
        ]
        numbers = list(dict.fromkeys(lease.row.order_number for lease in deletions))
        in_use, errors = self._look_up(numbers, until=self._patience())
        if errors:
            reason = f"The shop's own code failed for {len(errors)} of {len(numbers)} orders"
            logger.error(
                "Shop %r: %s", self.shop.alias, reason, exc_info=next(iter(errors.values()))
            )
            if len(errors) == len(numbers) > 1:
                self._halt(logging.ERROR, reason)
        done: dict[Lease, _Announcement] = {}
        for lease in deletions:
            error = errors.get(lease.row.order_number)
            if error is not None:  # the shop's own, which may be false
                _postpone(lease.row, f"The shop's own code failed: {type(error).__name__}")
                done[lease] = None
            elif lease.row.order_number in in_use:
                _finish(lease.row, State.SUPERSEDED)
                done[lease] = None
        self._settle(done)
        return [lease for lease in leases if lease not in done]

    def _look_up(
        self, numbers: list[str], *, until: float
    ) -> tuple[set[str], dict[str, Exception]]:
        """Those of ``numbers`` that are in use again, and why it cannot be told of others.

        ``until`` is a time of the monotonic clock, in seconds: after it, nothing is asked again.
        What has not been told when the run is over is sent no more, but given back.
        """
        if not numbers or self._is_over():
            return set(), {}
        using = self.using  # where not even the database of the orders can be told
        try:
            using = orders.database_of(self.shop, mirror_at=self.using)
            in_use = patiently(
                lambda: orders.alive(self.shop, numbers, using=using),
                using=using,
                until=until,
                should_stop=self._is_over,
            )
        except Exception as error:
            if isinstance(error, Error) and will_pass(error, using):
                # To ask for fewer is no help.
                if not self._is_over():
                    if using == self.using:
                        raise
                    # Other shops may have theirs elsewhere.
                    self._halt(logging.ERROR, f"its orders cannot be looked up: {error}")
            elif len(numbers) == 1 or (time.monotonic() > until and not self._is_over()):
                return set(), dict.fromkeys(numbers, error)
        else:
            return in_use, {}
        # Halve them until the bad ones are alone, or they would keep all the others waiting.
        half = len(numbers) // 2
        in_use, errors = self._look_up(numbers[:half], until=until)
        more_in_use, more_errors = self._look_up(numbers[half:], until=until)
        return in_use | more_in_use, errors | more_errors

    def _patience(self) -> float:
        """Until when to go on where the database does not let us: no longer than a lease allows."""
        return min(self.ends_at, time.monotonic() + _LEASE_MARGIN)

    # Settle

    def _settle_answers(self) -> None:
        """Wait for an answer, and a moment for others; store what they mean and announce it."""
        futures = [self.answers.get()]
        until = time.monotonic() + _LINGER
        while len(futures) < len(self.in_flight):
            try:
                futures.append(self.answers.get(timeout=max(0.0, until - time.monotonic())))
            except Empty:
                break
        announcements: dict[Lease, _Announcement] = {}
        not_sent: list[Lease] = []
        pauses: list[float] = []
        for future in futures:
            lease = self.in_flight.pop(future)
            try:
                order = future.result()
            except Exception as error:  # noqa: BLE001 - stored, and logged where unforeseen
                announcements[lease] = _store_error(lease.row, error)
                if isinstance(error, ServiceUnavailable) and error.retry_after:
                    pauses.append(error.retry_after)
            else:
                if order is None:
                    lease.give_back()
                    not_sent.append(lease)
                else:
                    announcements[lease] = _store_order(lease.row, order)
        try:
            if pauses:
                self._pause(max(pauses))
        finally:
            settle(not_sent, using=self.using, until=self._patience())
            self._settle(announcements)

    def _settle(self, announcements: dict[Lease, _Announcement]) -> None:
        held = settle(list(announcements), using=self.using, until=self._patience())
        self.result.states.update(lease.row.state for lease in held)
        for lease in held:
            announcement = announcements[lease]
            if announcement:
                signal, arguments = announcement
                try:
                    signal.send_robust(RemovedOrder, removed_order=lease.row, **arguments)
                except Exception:
                    # Django fails to report a failed receiver that has no __qualname__.
                    logger.exception("Order %s: a receiver failed", lease.row)
        self.on_settled([lease.row for lease in held])

    def _pause(self, seconds: float) -> None:
        """Keep to ``Retry-After``, in every process."""
        until = timezone.now() + timedelta(seconds=min(seconds, LONGEST_RETRY))
        pauses = RetryAfter.objects.using(self.using)

        def write() -> None:
            if not pauses.filter(shop=self.shop.alias).update(until=until):
                pauses.bulk_create(
                    [RetryAfter(shop=self.shop.alias, until=until)], ignore_conflicts=True
                )

        patiently(write, using=self.using, until=self._patience())


def _store_order(row: RemovedOrder, order: Order) -> _Announcement:
    _finish(row, State.REMOVED)
    row.payment_status = _storable(order.payment_status, "payment_status")
    row.reference_number = _storable(order.reference_number, "reference_number")
    row.currency = _storable(order.currency, "currency")
    row.amount = _amount(order.amount)
    row.amount_paid = _amount(order.amount_paid)
    return order_removed, {"order": order}


def _store_error(row: RemovedOrder, error: Exception) -> _Announcement:
    """Store what the error means for the row."""
    message = str(error)
    if isinstance(error, OrderNotFound):
        _finish(row, State.UNKNOWN)
    elif isinstance(error, InvalidRequest):
        row.state = State.FAILED
        row.last_error = message
        row.next_attempt_at = None
        logger.error("Komfortkasse refused to remove order %s: %s", row, message)
        return removal_failed, {"error": error}
    elif isinstance(error, ServiceUnavailable) and error.retry_after:
        _postpone(row, message, seconds=error.retry_after)
    elif isinstance(error, KomfortkasseError):
        _postpone(row, message)
    else:
        logger.error("Removing order %s failed unexpectedly", row, exc_info=error)
        _postpone(row, f"Unexpected {type(error).__name__}: {message}")
    return None


def _finish(row: RemovedOrder, state: State) -> None:
    row.state = state
    row.last_error = ""
    row.next_attempt_at = None
    row.finished_at = timezone.now()


def _postpone(row: RemovedOrder, error: str, seconds: float | None = None) -> None:
    if seconds is None:
        longest = min(FIRST_RETRY * 2 ** min(row.attempts - 1, 10), LONGEST_RETRY)
        # Jitter, or all the rows of an outage would come back in one moment.
        seconds = random.uniform(longest / 2, longest)  # noqa: S311
    row.last_error = error
    row.next_attempt_at = timezone.now() + timedelta(seconds=min(seconds, LONGEST_RETRY))


def _storable(text: str | None, name: str) -> str:
    """``text``, or nothing where the column could not hold it as it is."""
    limit = get_field(name).max_length
    if text is None or (limit and len(text) > limit):
        return ""
    return str(text)


def _amount(value: Decimal | None) -> Decimal | None:
    """``value`` to the cent, or nothing where the column could not hold it."""
    if value is None:
        return None
    # In a context of its own: the shop's may be narrower, and what is rounded may be wider.
    cents = value.quantize(Decimal("0.01"), context=_AMOUNT)
    return None if cents.is_nan() else cents


_ROUND = 500  # rows of one shop before the next shop has its turn


_pushing: ContextVar[bool] = ContextVar("pushing", default=False)


def push(
    *,
    using: str | None = None,
    shop: str | None = None,
    ids: Sequence[int] | None = None,
    limit: int | None = None,
    budget: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_settled: Callable[[Sequence[RemovedOrder]], None] = lambda rows: None,
) -> PushResult:
    """Send what is due to Komfortkasse and store what it answers.

    ``using`` is the mirror's database, ``shop`` an alias; ``ids`` and ``limit`` restrict the rows,
    ``budget`` is how many seconds all of it may take. ``should_stop`` is asked before each call, in
    any thread; calls in flight are finished. ``on_settled`` is told each batch of rows that was
    written.

    Any number of pushes may run at once. Raises ``ValueError`` for an alias that does not exist and
    ``RuntimeError`` inside a transaction, also one that is managed by hand: HTTP has no place
    there.
    """
    result = PushResult()
    ends_at = math.inf if budget is None else time.monotonic() + budget
    runs = [
        Run(
            each,
            using or router.db_for_write(RemovedOrder),
            result,
            ids=ids,
            ends_at=ends_at,
            should_stop=should_stop,
            on_settled=on_settled,
        )
        for each in shops_named(shop)
        if each.enabled
    ]
    quota = _ROUND if len(runs) > 1 else math.inf
    token = _pushing.set(True)
    try:
        while runs and (left := math.inf if limit is None else limit - result.total) > 0:
            run = runs.pop(0)
            if run.drain(min(quota, left)):
                runs.append(run)
    finally:
        _pushing.reset(token)
    return result


def is_pushing() -> bool:
    """Whether a push is under way here, as when a receiver of ``order_removed`` deletes orders."""
    return _pushing.get()
