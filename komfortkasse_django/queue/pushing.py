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
from django.db.models import Min
from django.utils import timezone

from komfortkasse_django.conf import Shop, shops_named
from komfortkasse_django.database import patiently
from komfortkasse_django.exceptions import AuthenticationFailed
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue.backlog import LEASE_MARGIN, Backlog
from komfortkasse_django.queue.breaker import Breaker
from komfortkasse_django.queue.calls import Call, Calls, LeaveAlone, Limits
from komfortkasse_django.queue.probing import Probing
from komfortkasse_django.queue.sending import Sending
from komfortkasse_django.queue.settlement import Settlement

logger = logging.getLogger("komfortkasse_django")

State = RemovedOrder.State

_CLAIMS_PER_CALL = 32  # rows claimed for each call in flight: claiming few costs more than calling
_CLAIMS_BESIDE_BAD = 4  # the same where orders fail: the next new one must not wait behind many
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
                try:
                    calls = Calls(shop, self.limits, self.answers)
                except (TypeError, ValueError) as error:
                    self.leave(shop, f"its settings are wrong: {error}", logging.ERROR)
                    continue
                stack.callback(calls.end)
                parts.append(_ShopPush(self, shop, calls))
            try:
                self._drain(parts)
            except BaseException:
                self._store_the_rest(parts)
                raise
        return self.result

    def _store_the_rest(self, parts: "Sequence[_ShopPush]") -> None:
        """Store what Komfortkasse has answered beside an error. It may not say it again."""
        for part in parts:
            part.calls.end()
        answered: dict[Calls, list[Call]] = defaultdict(list)
        while not self.answers.empty():
            call = self.answers.get()
            answered[call.calls].append(call)
        with ExitStack() as stack:
            for part in parts:
                stack.callback(part.settlement.store_answers, answered[part.calls])

    def leave(self, shop: Shop, reason: str, level: int) -> None:
        """Note that the shop is left alone for the rest of this push."""
        if level > logging.DEBUG and not self.is_news(shop.alias, reason):
            level = logging.DEBUG
        self.result.stopped.setdefault(shop.alias, reason)
        logger.log(level, "Shop %r is left alone in this push: %s", shop.alias, reason)

    def _drain(self, parts: "Sequence[_ShopPush]") -> None:
        """Claim, send and settle, until nothing is due or the limits are reached."""
        while True:
            share = -(-self.limits.rows // len(parts)) if parts else 0
            refilled = [part.refill(share) for part in parts]
            unanswered = sum(part.calls.unanswered for part in parts)
            if not (unanswered or any(refilled)):
                break
            answered: dict[Calls, list[Call]] = defaultdict(list)
            for call in self._wait(unanswered, at_once=any(refilled)):
                call.calls.unanswered -= 1
                if call.error is not None and not isinstance(call.error, Exception):
                    self.limits.end(call.error)
                answered[call.calls].append(call)
            with ExitStack() as stack:  # each of them, even if another one fails
                for part in parts:
                    if part.calls in answered:
                        stack.callback(part.take, answered[part.calls])
        for part in parts:
            part.settlement.warn_if_all_are_unknown()
        if self.limits.ended_by is not None:
            raise self.limits.ended_by

    def _wait(self, unanswered: int, *, at_once: bool) -> list[Call]:
        """Wait for an answer, and a moment for others, to settle them together.

        ``at_once`` returns only those that are there.
        """
        calls = [] if at_once else [self.answers.get()]
        until = time.monotonic() + (0.0 if at_once else _LINGER)
        while len(calls) < unanswered:
            try:
                calls.append(self.answers.get(timeout=max(0.0, until - time.monotonic())))
            except Empty:
                break
        return calls


@dataclass(eq=False)
class _ShopPush:
    """One shop's part of a push: ``refill`` claims and sends, ``take`` takes the answers.

    ``probing`` says when calls may be made, and raises ``LeaveAlone`` where no more make sense.
    """

    push: _Push
    shop: Shop
    calls: Calls

    def __post_init__(self) -> None:
        push, shop, using = self.push, self.shop, self.push.using
        self.is_left = False
        self.backlog = Backlog(shop, using, push.ids, push.limits)
        self.settlement = Settlement(shop, using, self.backlog, push.result.states, push.on_settled)
        self.breaker = Breaker(shop.alias, using, self.backlog.patience)
        self.sending = Sending(shop, using, self.calls, self.backlog, self.settlement)
        self.probing = Probing(shop, self.calls, self.backlog, self.sending, self.breaker)

    def refill(self, share_of_limit: int) -> bool:
        """Claim rows before the threads run out of them. Return whether more can be done now."""
        blames_orders = self.probing.blames_orders
        per_call = _CLAIMS_BESIDE_BAD if blames_orders else _CLAIMS_PER_CALL
        window = int(per_call * self.shop.concurrency)
        limits = self.push.limits
        if (
            self.is_left
            or self.probing.question
            or self.calls.is_halted
            or not self.backlog.has_more
            or self.calls.unanswered > window // 2
            or limits.rows <= 0
            or limits.are_reached()
        ):
            return False
        self.breaker.read()
        if self.breaker.needs_probe and self.calls.unanswered:
            return False  # their answers may end the trouble that another process has
        try:
            if self.breaker.needs_probe:
                self.probing.probe()
            else:
                at_most = min(window - self.calls.unanswered, share_of_limit)
                leases = self.backlog.claim(at_most, new_first=blames_orders)
                self.sending.send(leases, failures=self.breaker.state.failures)
        except AuthenticationFailed as error:
            self._leave(self.probing.fail(error))
        except LeaveAlone as error:
            self.breaker.release_probe()
            self._leave(error)
        return True

    def take(self, calls: Sequence[Call]) -> None:
        """Store what the answers mean, and see whether to go on."""
        try:
            if self.probing.question:
                self.probing.judge(self.probing.question)
            else:
                self._store(calls)
        except LeaveAlone as error:
            self._leave(error)

    def _store(self, calls: Sequence[Call]) -> None:
        try:
            self.settlement.store_answers(calls)
        finally:
            self.probing.count(calls)
        if self.calls.is_halted and not (self.calls.unanswered or self.is_left):
            self.probing.decide()

    def _leave(self, error: LeaveAlone) -> None:
        self.calls.halt()
        self.is_left = True
        self.push.leave(self.shop, str(error), error.level)
