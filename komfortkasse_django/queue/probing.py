"""Who is to blame where calls fail: Komfortkasse, or some of the orders."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

from komfortkasse_django.conf import Shop
from komfortkasse_django.queue.backlog import LEASE_MARGIN, Backlog
from komfortkasse_django.queue.breaker import STOP_AFTER, Breaker, is_failure, stops_at_once
from komfortkasse_django.queue.calls import IMPOSSIBLE, Call, Calls, LeaveAlone
from komfortkasse_django.queue.outcomes import text_of
from komfortkasse_django.queue.sending import Sending

_MOST_BAD = 100  # failures in a row in one push, although Komfortkasse is well


@dataclass(eq=False)
class Probing:
    """Judges the calls of one shop in one push, and makes those that find out more.

    After ``STOP_AFTER`` failures in a row, the *question* is asked: one call for an order that
    cannot exist. If Komfortkasse answers it, Komfortkasse is well and the orders are to blame: the
    others are sent, first those that were never tried. If not, the breaker pauses the shop.

    After a pause, the *probe* is made, also one call. It is an order or the question, in turn,
    because each of them may fail for a reason of its own.

    A method that finds that no more calls make sense in this push raises ``LeaveAlone``.
    """

    shop: Shop
    calls: Calls
    backlog: Backlog
    sending: Sending
    breaker: Breaker
    question: Call | None = None
    """The call for an order that cannot exist, from its start to its answer."""
    probe_is_order: bool = False
    """Whether the probe is an order: if it fails, the shop is paused without a question."""
    last_failure: BaseException | None = None
    """The last failure since Komfortkasse answered; one that ``stops_at_once`` is kept for good."""
    blames_orders: bool = False
    """Whether the question was answered after failures. Then the breaker counts no more of them."""

    def probe(self) -> None:
        """Find out whether the trouble is over, if there is anything to send.

        Raises ``AuthenticationFailed`` if a callable ``API_KEY`` returns none.
        """
        state = self.breaker.state
        if state.is_paused():
            raise LeaveAlone(f"it is paused: {state.last_error}", logging.DEBUG)
        self.backlog.look()
        if not self.backlog.has_more:
            return
        if not self.breaker.take_probe(self.shop.deadline + LEASE_MARGIN):
            raise LeaveAlone(
                "it is paused: another process finds out whether that is over", logging.DEBUG
            )
        # Another process has found trouble since: that is Komfortkasse's again.
        self.blames_orders = False
        self.calls.stop_after = STOP_AFTER
        self.calls.connect(state.failures)
        if self.breaker.asks_next:
            self._ask()
        else:
            self._try_one()

    def _ask(self) -> None:
        """Ask for an order that cannot exist: no order of the shop is to blame if that fails."""
        self.calls.resume()
        self.question = Call(self.calls, f"{IMPOSSIBLE}{uuid4()}", [], math.inf)
        self.calls.start(self.question)

    def _try_one(self) -> None:
        """Send one order, if possible one that was never tried."""
        self.probe_is_order = True
        leases = self.backlog.claim(1, new_first=True)
        self.sending.send(leases, failures=self.breaker.state.failures)
        if not self.calls.unanswered:
            self.probe_is_order = False
            self.breaker.release_probe()  # the order is alive again: the next one

    def judge(self, question: Call) -> None:
        """See what the answer to the question says of Komfortkasse."""
        self.question = None
        if question.is_answered:
            self.breaker.close()
            self.calls.resume()
            if self.last_failure is not None:
                self.blames_orders = True
                self.calls.stop_after = _MOST_BAD
        elif isinstance(question.error, Exception):
            raise self.fail(question.error)
        elif self.last_failure is not None:
            raise self._pause(self.last_failure)
        else:
            self.breaker.release_probe()

    def count(self, calls: Sequence[Call]) -> None:
        """Count the failures in a row; an answer clears them."""
        failures = 0
        for call in calls:
            keeps_last = self.last_failure is not None and stops_at_once(self.last_failure)
            if is_failure(call.error):
                failures += 1
                self.last_failure = self.last_failure if keeps_last else call.error
            elif call.is_answered:
                failures = 0
                self.breaker.close()
                self.probe_is_order = False
                self.last_failure = self.last_failure if keeps_last else None
        if failures and self.last_failure is not None and not self.blames_orders:
            self.breaker.count(failures, self.last_failure)
            if self.breaker.needs_probe:  # those of other processes count, too
                self.calls.halt()
        if self.probe_is_order and not any(is_failure(call.error) for call in calls):
            self.probe_is_order = False
            self.breaker.release_probe()  # the call was not made

    def decide(self) -> None:
        """Go on, ask or pause, after the last answer of calls that were halted."""
        if self.last_failure is None:
            self.calls.resume()
        elif self.blames_orders:
            # Too many. The next push goes on, and asks first, as it does after an odd count. None
            # are left if another call was answered after the last failure.
            failures = self.calls.failures
            self.breaker.count(max(1, failures - 1 + failures % 2), self.last_failure)
            raise self._pause(self.last_failure, is_news=stops_at_once(self.last_failure))
        elif stops_at_once(self.last_failure) or self.probe_is_order or not self.backlog.has_more:
            raise self._pause(self.last_failure)
        else:
            self._ask()

    def fail(self, error: Exception) -> LeaveAlone:
        """Count a failure after which no other call makes sense, and pause the shop."""
        self.breaker.count(1, error)
        return self._pause(error)

    def _pause(self, error: BaseException, *, is_news: bool = True) -> LeaveAlone:
        self.breaker.pause(error, is_news=is_news)
        return LeaveAlone(text_of(error), logging.DEBUG)
