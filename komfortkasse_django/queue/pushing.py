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
from uuid import uuid4

from django.db import router
from django.db.models import Min
from django.utils import timezone

from komfortkasse_django.conf import Shop, shops_named
from komfortkasse_django.database import patiently
from komfortkasse_django.exceptions import AuthenticationFailed
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue.backlog import LEASE_MARGIN, Backlog
from komfortkasse_django.queue.breaker import Breaker, is_failure, stops_at_once
from komfortkasse_django.queue.calls import IMPOSSIBLE, Call, Calls, Limits
from komfortkasse_django.queue.outcomes import text_of
from komfortkasse_django.queue.sending import LeaveAlone, Sending
from komfortkasse_django.queue.settlement import Settlement

logger = logging.getLogger("komfortkasse_django")

State = RemovedOrder.State

_CLAIMS_PER_CALL = 32  # rows claimed for each call in flight: claiming few costs more than calling
_CLAIMS_BESIDE_BAD = 4  # the same where orders fail: the next new one must not wait behind many
_MOST_BAD = 100  # failures in a row in one push, although Komfortkasse is well
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
    is_news: Callable[[str, str], bool] = lambda alias, reason: True,
) -> PushResult:
    """Send what is due to Komfortkasse and store what it answers.

    ``using`` is the mirror's database, ``shop`` an alias; ``ids`` and ``limit`` restrict the rows,
    ``budget`` is how many seconds all of it may take. ``should_stop`` is asked before each call, in
    any thread; calls in flight are finished. ``on_settled`` is told each batch of rows that was
    written. ``is_news`` is asked before it is logged as an error why a shop is left alone.

    Any number of pushes may run at once. Raises ``ValueError`` for an alias that does not exist and
    ``RuntimeError`` inside a transaction, also one that is managed by hand: HTTP has no place
    there.
    """
    mirror = using or router.db_for_write(RemovedOrder)
    shops = [each for each in shops_named(shop) if each.enabled]
    if limit is not None and len(shops) > 1:
        shops = _longest_due_first(shops, mirror)
    limits = Limits(
        rows=sys.maxsize if limit is None else limit,
        ends_at=math.inf if budget is None else time.monotonic() + budget,
        should_stop=should_stop,
    )
    token = _pushing.set(True)
    try:
        answers: SimpleQueue[Call] = SimpleQueue()
        return _Push(mirror, ids, limits, on_settled, is_news, answers).run(shops)
    finally:
        _pushing.reset(token)


def is_pushing() -> bool:
    """Whether a push is under way here, as when a receiver of ``order_removed`` deletes orders."""
    return _pushing.get()


def _longest_due_first(shops: Sequence[Shop], using: str) -> list[Shop]:
    """The shops in the order in which they may use up the limit of a push."""
    due = RemovedOrder.objects.using(using).due().order_by("shop").values("shop")
    firsts = due.annotate(first=Min("next_attempt_at")).values_list("shop", "first")
    until = time.monotonic() + LEASE_MARGIN
    since = dict(patiently(lambda: list(firsts), using=using, until=until))
    return sorted(shops, key=lambda shop: since.get(shop.alias) or timezone.now())


@dataclass(eq=False)
class _Push:
    """What all shops of a push share. It lets each of them claim and send in turn."""

    using: str
    ids: Sequence[int] | None
    limits: Limits
    on_settled: Callable[[Sequence[RemovedOrder]], None]
    is_news: Callable[[str, str], bool]
    answers: "SimpleQueue[Call]"
    result: PushResult = field(default_factory=PushResult)

    def run(self, shops: Sequence[Shop]) -> PushResult:
        """Push the shops. Calls that were started are finished, even after an error."""
        with ExitStack() as stack:
            parts = []
            for shop in shops:
                if calls := self._calls_of(shop):
                    stack.callback(calls.end)
                    parts.append(_ShopPush(self, shop, calls))
            self._drain(parts)
        return self.result

    def _calls_of(self, shop: Shop) -> Calls | None:
        try:
            return Calls(shop, self.limits, self.answers)
        except (TypeError, ValueError) as error:
            self.result.stopped[shop.alias] = reason = f"its settings are wrong: {error}"
            if self.is_news(shop.alias, reason):
                logger.error("Shop %r: %s", shop.alias, reason)  # noqa: TRY400
            return None

    def _drain(self, parts: "Sequence[_ShopPush]") -> None:
        """Claim, send and settle, until nothing is due or the limits are reached."""
        while True:
            share = -(-self.limits.rows // len(parts)) if parts else 0
            refilled = [part.refill(share) for part in parts]
            in_flight = sum(part.calls.in_flight for part in parts)
            if not (in_flight or any(refilled)):
                break
            answered: dict[Calls, list[Call]] = defaultdict(list)
            for call in self._wait(in_flight, at_once=any(refilled)):
                call.calls.in_flight -= 1
                if call.error is not None and not isinstance(call.error, Exception):
                    self.limits.end(call.error)
                answered[call.calls].append(call)
            for part in parts:
                if part.calls in answered:
                    part.take(answered[part.calls])
        for part in parts:
            part.settlement.warn_if_all_are_unknown()
        if self.limits.ended_by is not None:
            raise self.limits.ended_by

    def _wait(self, in_flight: int, *, at_once: bool) -> list[Call]:
        """Wait for an answer, and a moment for others, to settle them together.

        ``at_once`` returns only those that are there.
        """
        calls = [] if at_once else [self.answers.get()]
        until = time.monotonic() + (0.0 if at_once else _LINGER)
        while len(calls) < in_flight:
            try:
                calls.append(self.answers.get(timeout=max(0.0, until - time.monotonic())))
            except Empty:
                break
        return calls


@dataclass(eq=False)
class _ShopPush:
    """One shop's part of a push: ``refill`` claims and sends, ``take`` takes the answers.

    When the calls fail three times in a row, one call asks for an order that cannot exist. If
    Komfortkasse answers that, it is well. Then the failures are the orders' own, and the others are
    sent, first those that were never tried. If not, the breaker pauses the shop. After a pause one
    call is made: in turn it sends an order and asks again, as either may fail for its own reason.
    """

    push: _Push
    shop: Shop
    calls: Calls
    question: Call | None = None
    """The call for an order that cannot exist, while it is made."""
    is_trial: bool = False
    """Whether the order that is sent has to show that a pause is over."""
    trouble: BaseException | None = None
    """The last failure, until a call succeeds."""
    blames_orders: bool = False
    """Whether Komfortkasse was found to be well after such a failure."""

    def __post_init__(self) -> None:
        push, shop, using = self.push, self.shop, self.push.using
        self.is_left = False
        self.backlog = Backlog(shop, using, push.ids, push.limits)
        self.settlement = Settlement(shop, using, self.backlog, push.result.states, push.on_settled)
        self.breaker = Breaker(shop.alias, using, self.backlog.patience)
        self.sending = Sending(shop, using, self.calls, self.backlog, self.settlement)

    def refill(self, share_of_limit: int) -> bool:
        """Claim rows before the threads run out of them. Return whether more can be done now."""
        per_call = _CLAIMS_BESIDE_BAD if self.blames_orders else _CLAIMS_PER_CALL
        window = int(per_call * self.shop.concurrency)
        limits = self.push.limits
        if (
            self.is_left
            or self.question
            or self.calls.is_halted
            or not self.backlog.has_more
            or self.calls.in_flight > window // 2
            or limits.rows <= 0
            or limits.are_reached()
        ):
            return False
        self.breaker.read()
        if self.breaker.needs_probe and self.calls.in_flight:
            return False  # their answers may end the trouble that another process has
        try:
            if self.breaker.needs_probe:
                self._probe()
            else:
                at_most = min(window - self.calls.in_flight, share_of_limit)
                leases = self.backlog.claim(at_most, new_first=self.blames_orders)
                self.sending.send(leases, failures=self.breaker.state.failures)
        except AuthenticationFailed as error:
            self.breaker.count(1, error)
            self._pause(error)
        except LeaveAlone as error:
            self.breaker.release_probe()
            self._stop(str(error), error.level)
        return True

    def _probe(self) -> None:
        """Find out whether the trouble is over, if there is anything to send."""
        if self.breaker.state.is_paused():
            self._stop(f"it is paused: {self.breaker.state.last_error}")
            return
        self.backlog.look()
        if not self.backlog.has_more:
            return
        if self.breaker.take_probe(self.shop.deadline + LEASE_MARGIN):
            self.sending.connect(self.breaker.state.failures)
            if self.breaker.asks_next:
                self._ask()
            else:
                self._try_one()
        else:
            self._stop("it is paused: another process finds out whether that is over")

    def _ask(self) -> None:
        """Ask for an order that cannot exist: no order of the shop is to blame if that fails."""
        self.calls.resume()
        self.question = Call(self.calls, f"{IMPOSSIBLE}{uuid4()}", [], math.inf)
        self.calls.start(self.question)

    def _try_one(self) -> None:
        """Send one order, if possible one that was never tried."""
        self.is_trial = True
        leases = self.backlog.claim(1, new_first=True)
        self.sending.send(leases, failures=self.breaker.state.failures)
        if not self.calls.in_flight:
            self.breaker.release_probe()  # the order is alive again: the next one

    def take(self, calls: Sequence[Call]) -> None:
        """Store what the answers mean, and count the shop's failures."""
        if self.question:
            self._judge(self.question)
            return
        try:
            self.settlement.store_answers(calls)
        finally:
            self._count(calls)
        if self.is_trial and self.trouble is None:
            self.breaker.release_probe()  # the call was not made
        if self.calls.is_halted and not (self.calls.in_flight or self.is_left):
            self._decide()

    def _count(self, calls: Sequence[Call]) -> None:
        """Count the failures in a row; an answer clears them."""
        failures = 0
        for call in calls:
            keeps_trouble = self.trouble is not None and stops_at_once(self.trouble)
            if is_failure(call.error):
                failures += 1
                self.trouble = self.trouble if keeps_trouble else call.error
            elif call.is_answered:
                failures = 0
                self.breaker.close()
                self.is_trial = False
                self.trouble = self.trouble if keeps_trouble else None
        if failures and self.trouble is not None and not self.blames_orders:
            self.breaker.count(failures, self.trouble)
            if self.breaker.needs_probe:  # those of other processes count, too
                self.calls.halt()

    def _decide(self) -> None:
        """Go on, ask or pause, after the last answer of calls that were halted."""
        if self.trouble is None:
            self.calls.resume()
        elif self.blames_orders:
            # Too many. The next push goes on, and asks first, as it does after an odd count.
            failures = self.calls.failures
            self.breaker.count(failures - 1 + failures % 2, self.trouble)
            self._pause(self.trouble, is_news=False)
        elif stops_at_once(self.trouble) or self.is_trial or not self.backlog.has_more:
            self._pause(self.trouble)
        else:
            self._ask()

    def _judge(self, question: Call) -> None:
        """See what the answer says of Komfortkasse."""
        self.question = None
        if question.is_answered:
            self.breaker.close()
            self.calls.resume()
            if self.trouble is not None:
                self.blames_orders = True
                self.calls.stop_after = _MOST_BAD
        elif isinstance(question.error, Exception):
            self.breaker.count(1, question.error)
            self._pause(question.error)
        elif self.trouble is not None:
            self._pause(self.trouble)
        else:
            self.breaker.release_probe()

    def _pause(self, error: BaseException, *, is_news: bool = True) -> None:
        self.breaker.pause(error, is_news=is_news)
        self._stop(text_of(error))

    def _stop(self, reason: str, level: int = logging.DEBUG) -> None:
        """Leave the shop alone for the rest of this push."""
        self.calls.halt()
        self.is_left = True
        if level > logging.DEBUG and not self.push.is_news(self.shop.alias, reason):
            level = logging.DEBUG
        self.push.result.stopped.setdefault(self.shop.alias, reason)
        logger.log(level, "Shop %r is left alone in this run: %s", self.shop.alias, reason)
