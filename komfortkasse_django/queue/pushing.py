"""One push: claim what is due, look it up, send it, settle it, for all shops side by side.

This thread talks to the database; the threads of ``calls`` do HTTP and nothing else. In turn, each
shop claims rows before its threads run out of them, and the answers are settled as they come. So no
shop waits for another one, however slow that is.
"""

import logging
import math
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from django.db import router

from komfortkasse_django import orders
from komfortkasse_django.conf import Shop, shops_named
from komfortkasse_django.database import DatabaseUnavailable, patiently
from komfortkasse_django.exceptions import AuthenticationFailed, KomfortkasseError
from komfortkasse_django.models import ALL_UNKNOWN, RemovedOrder
from komfortkasse_django.queue.backlog import Backlog
from komfortkasse_django.queue.breaker import Breaker, is_failure, stops_at_once
from komfortkasse_django.queue.calls import Call, Calls, Limits
from komfortkasse_django.queue.leases import Lease, settle
from komfortkasse_django.queue.lookups import look_up
from komfortkasse_django.queue.outcomes import (
    Announcement,
    finish,
    store_error,
    store_lookup_error,
    store_order,
)

logger = logging.getLogger("komfortkasse_django")

State = RemovedOrder.State

_CLAIMS_PER_CALL = 32  # rows claimed for each call in flight: claiming few costs more than calling
_LINGER = 0.01  # seconds that an answer waits for others, to be settled with them

_pushing: ContextVar[bool] = ContextVar("pushing", default=False)


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
    limits = Limits(
        rows=sys.maxsize if limit is None else limit,
        ends_at=math.inf if budget is None else time.monotonic() + budget,
        should_stop=should_stop,
    )
    result = PushResult()
    answers: SimpleQueue[Call] = SimpleQueue()
    mirror = using or router.db_for_write(RemovedOrder)
    shops = [each for each in shops_named(shop) if each.enabled]
    token = _pushing.set(True)
    try:
        with ExitStack() as stack:
            parts = []
            for each in shops:
                try:
                    calls = Calls(each, limits, answers)
                except (TypeError, ValueError) as error:
                    result.stopped[each.alias] = f"its settings are wrong: {error}"
                    logger.error("Shop %r: %s", each.alias, result.stopped[each.alias])  # noqa: TRY400
                    continue
                stack.callback(calls.end)
                backlog = Backlog(each, mirror, ids, limits)
                parts.append(
                    _ShopPush(
                        each,
                        using=mirror,
                        calls=calls,
                        backlog=backlog,
                        result=result,
                        on_settled=on_settled,
                    )
                )
            _drain(parts, answers, limits)
    finally:
        _pushing.reset(token)
    return result


def is_pushing() -> bool:
    """Whether a push is under way here, as when a receiver of ``order_removed`` deletes orders."""
    return _pushing.get()


def _drain(parts: "Sequence[_ShopPush]", answers: "SimpleQueue[Call]", limits: Limits) -> None:
    """Claim, send and settle, until nothing is due or the limits are reached."""
    while True:
        for part in parts:
            part.refill(limits, at_most=-(-limits.rows // len(parts)))
        in_flight = sum(part.calls.in_flight for part in parts)
        if not in_flight:
            break
        answered: dict[Calls, list[Call]] = defaultdict(list)
        for call in _wait(answers, in_flight):
            answered[call.calls].append(call)
        for part in parts:
            if part.calls in answered:
                part.settle_answers(answered[part.calls])
    for part in parts:
        part.warn_if_all_are_unknown()


def _wait(answers: "SimpleQueue[Call]", in_flight: int) -> list[Call]:
    """Wait for an answer, and a moment for others, to settle them together."""
    calls = [answers.get()]
    until = time.monotonic() + _LINGER
    while len(calls) < in_flight:
        try:
            calls.append(answers.get(timeout=max(0.0, until - time.monotonic())))
        except Empty:
            break
    return calls


class _ShopPush:
    """One shop's part of a push: ``refill`` claims and sends, ``settle_answers`` settles.

    When the calls fail three times in a row, one row that was never tried before is sent alone: do
    only some orders fail, or all of them? If it fails as well, or there is none, the breaker pauses
    the shop. A shop that was paused is probed in the same way before anything else is sent.
    """

    def __init__(
        self,
        shop: Shop,
        *,
        using: str,
        calls: Calls,
        backlog: Backlog,
        result: PushResult,
        on_settled: Callable[[Sequence[RemovedOrder]], None],
    ) -> None:
        self.shop = shop
        self.using = using
        self.calls = calls
        self.backlog = backlog
        self.result = result
        self.on_settled = on_settled
        self.breaker = Breaker(shop.alias, using)
        self.is_probing = False
        self.was_paused = False
        self.last_failure: Call | None = None
        self.unknown = 0

    # Claim and send

    def refill(self, limits: Limits, at_most: int) -> None:
        """Claim up to ``at_most`` rows for the threads before they run out of them."""
        window = int(_CLAIMS_PER_CALL * self.shop.concurrency)
        while (
            self.backlog.has_more
            and not (self.is_probing or self.calls.is_halted)
            and self.calls.in_flight <= window // 2
            and limits.rows > 0
            and not limits.are_reached()
        ):
            self.breaker.read()
            if self.breaker.is_paused:
                self._stop(f"it is paused: {self.breaker.state.last_error}")
            elif self.breaker.needs_probe:
                self._probe_after_pause()
            else:
                self._send(self.backlog.claim(min(window - self.calls.in_flight, at_most)))

    def _probe_after_pause(self) -> None:
        leases = self.backlog.claim_fresh() or self.backlog.claim(1)
        if not leases:
            return
        if not self.breaker.take_probe(self.backlog.lease_seconds):
            self.backlog.give_back(leases)
            self._stop("it is paused: another process finds out whether that is over")
            return
        self.was_paused = True
        self._send(leases)
        self.is_probing = bool(self.calls.in_flight)
        if not self.is_probing:
            self.breaker.release_probe()

    def _send(self, leases: list[Lease]) -> None:
        send_by = self.backlog.send_by()
        try:
            if leases:
                self.calls.connect()
        except AuthenticationFailed as error:
            self.backlog.give_back(leases)
            self.breaker.count(1, error)
            self._pause(error, was_fresh=True)
            return
        except (TypeError, ValueError) as error:
            self.backlog.give_back(leases)
            self._stop(f"its settings are wrong: {error}", logging.ERROR)
            return
        leases = self._settle_superseded(leases)
        if leases and time.monotonic() > send_by:
            # They come back unsent, and the next claim would come to the same.
            self._stop("looking up its orders takes too long to send any", logging.ERROR)
        numbers: dict[str, list[Lease]] = defaultdict(list)
        for lease in leases:
            numbers[lease.row.order_number].append(lease)
        for number, its_leases in numbers.items():
            self.calls.start(Call(self.calls, number, its_leases, send_by))

    def _settle_superseded(self, leases: list[Lease]) -> list[Lease]:
        """Settle the rows whose number is alive, and return the other leases."""
        asked = [lease for lease in leases if lease.row.requested_via in RemovedOrder.SUPERSEDABLE]
        numbers = list(dict.fromkeys(lease.row.order_number for lease in asked))
        alive, errors = self._look_up(numbers)
        done: dict[Lease, Announcement] = {}
        for lease in asked:
            if lease.row.order_number in errors:
                store_lookup_error(lease.row, errors[lease.row.order_number])
                done[lease] = None
            elif lease.row.order_number in alive:
                finish(lease.row, State.SUPERSEDED)
                done[lease] = None
        self._settle(done)
        return [lease for lease in leases if lease not in done]

    def _look_up(self, numbers: list[str]) -> tuple[set[str], dict[str, Exception]]:
        if not numbers or self.calls.limits.are_reached():
            return set(), {}  # they come back unsent
        using = orders.database_of(self.shop, mirror_at=self.using)
        try:
            alive, errors = look_up(
                self.shop,
                numbers,
                using=using,
                until=self.backlog.patience(),
                should_stop=self.calls.limits.are_reached,
            )
        except DatabaseUnavailable as error:
            if not self.calls.limits.are_reached():
                if using == self.using:
                    raise
                # Other shops may have their orders elsewhere.
                self._stop(f"its orders cannot be looked up: {error}", logging.ERROR)
            return set(), {}
        if len(errors) == len(numbers) > 1:
            # Not every row of a long queue has to pay for a broken filter.
            self._stop(f"The shop's own code failed for {len(errors)} of {len(numbers)} orders")
        return alive, errors

    # Settle

    def settle_answers(self, calls: Sequence[Call]) -> None:
        """Store what the answers mean, announce it, and see how the shop's calls fare."""
        announcements: dict[Lease, Announcement] = {}
        not_sent: list[Lease] = []
        for call in calls:
            self.calls.in_flight -= 1
            if call.error is not None and not isinstance(call.error, Exception):
                raise call.error  # such as SystemExit: the process is to end
            for lease in call.leases:
                if call.order is not None:
                    announcements[lease] = store_order(lease.row, call.order)
                elif call.error is not None:
                    retries = self.shop.unknown_retries
                    announcements[lease] = store_error(lease.row, call.error, retries)
                else:
                    not_sent.append(lease)
        try:
            patiently(
                lambda: self._tell_breaker(calls), using=self.using, until=self.backlog.patience()
            )
        finally:
            self.backlog.give_back(not_sent)
            self._settle(announcements)
        if not self.calls.in_flight and (self.is_probing or self.calls.is_halted):
            self._go_on_or_pause()

    def _tell_breaker(self, calls: Sequence[Call]) -> None:
        """Count the failures in a row; an answer clears them."""
        failures = 0
        for call in calls:
            if is_failure(call.error):
                failures += 1
                self.last_failure = call
            elif call.order is not None or isinstance(call.error, KomfortkasseError):
                failures = 0
                self.breaker.close()
                if self.last_failure and not stops_at_once(self.last_failure.error):
                    self.last_failure = None
        if failures and self.last_failure and self.last_failure.error:
            self.breaker.count(failures, self.last_failure.error)

    def _go_on_or_pause(self) -> None:
        """Decide after the last answer of calls that were halted, or of a probe."""
        was_probing, self.is_probing = self.is_probing, False
        failure, self.last_failure = self.last_failure, None
        if self.shop.alias in self.result.stopped:
            return
        if failure is None or failure.error is None:
            if was_probing and self.breaker.needs_probe:
                self.breaker.release_probe()  # the call was not made
            self.was_paused = False
            self.backlog.prefer_fresh()
            self.calls.resume()
            return
        if not was_probing and not stops_at_once(failure.error):
            while leases := self.backlog.claim_fresh():
                self.calls.resume()
                self._send(leases)
                self.is_probing = bool(self.calls.in_flight)
                if self.is_probing or self.shop.alias in self.result.stopped:
                    return
        self._pause(failure.error, was_fresh=failure.was_fresh)

    def _pause(self, error: BaseException, *, was_fresh: bool) -> None:
        self.breaker.pause(error, is_probe=self.was_paused, was_fresh=was_fresh)
        self._stop(str(error))

    def _stop(self, reason: str, level: int = logging.DEBUG) -> None:
        """Leave the shop alone for the rest of this push."""
        self.backlog.has_more = False
        self.calls.halt()
        self.result.stopped.setdefault(self.shop.alias, reason)
        logger.log(level, "Shop %r is left alone in this run: %s", self.shop.alias, reason)

    def _settle(self, announcements: dict[Lease, Announcement]) -> None:
        until = self.backlog.patience()
        held = settle(list(announcements), using=self.using, until=until)
        self.result.states.update(lease.row.state for lease in held)
        self.unknown += sum(lease.row.state == State.UNKNOWN for lease in held)
        announced = set()
        for lease in held:
            announcement = announcements[lease]
            # Rows with the same number are one removal.
            if announcement and lease.row.order_number not in announced:
                announced.add(lease.row.order_number)
                signal, arguments = announcement
                try:
                    signal.send_robust(RemovedOrder, removed_order=lease.row, **arguments)
                except Exception:
                    # Django fails to report a failed receiver that has no __qualname__.
                    logger.exception("Order %s: a receiver failed", lease.row)
        self.on_settled([lease.row for lease in held])

    def warn_if_all_are_unknown(self) -> None:
        """Log once that Komfortkasse knows none of the orders."""
        if not self.unknown:
            return
        rows = RemovedOrder.objects.using(self.using).filter(
            shop=self.shop.alias, state__in=RemovedOrder.FINISHED, finished_at__isnull=False
        )
        states = rows.order_by("-finished_at").values_list("state", flat=True)
        latest = list(states[: ALL_UNKNOWN + self.unknown])
        were_known = latest[self.unknown :].count(State.UNKNOWN) < ALL_UNKNOWN
        if latest[:ALL_UNKNOWN] == [State.UNKNOWN] * ALL_UNKNOWN and were_known:
            logger.error(
                "Shop %r: Komfortkasse knew none of the last %d orders. Check that ORDER_NUMBER,"
                " API_KEY and API_URL are those of this shop.",
                self.shop.alias,
                ALL_UNKNOWN,
            )
