"""The calls of one push for one shop: threads that do HTTP and nothing else."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from komfortkasse_django.api.rules import problem_of_key
from komfortkasse_django.client import Client
from komfortkasse_django.conf import Shop
from komfortkasse_django.exceptions import AuthenticationFailed, InvalidRequest, OrderNotFound
from komfortkasse_django.queue.breaker import STOP_AFTER, is_failure, stops_at_once
from komfortkasse_django.queue.leases import Lease
from komfortkasse_django.schema import Order

if TYPE_CHECKING:
    from queue import SimpleQueue


IMPOSSIBLE = "komfortkasse_django-ping-"
"""The number of an order that cannot exist begins with this. A random part follows."""


class LeaveAlone(Exception):  # noqa: N818 - the name says what to do
    """Nothing more can be sent for the shop in this push. ``level`` is for the log."""

    def __init__(self, reason: str, level: int = logging.ERROR) -> None:
        super().__init__(reason)
        self.level = level


@dataclass
class Limits:
    """What one push may do, for all of its shops together."""

    rows: int
    """How many rows may still be claimed."""
    ends_at: float
    """A time of the monotonic clock, in seconds."""
    should_stop: Callable[[], bool]
    was_reached: bool = False
    ended_by: BaseException | None = None
    """What ended the push before its time, such as ``SystemExit`` in a thread."""

    def __post_init__(self) -> None:
        # A call that would soon be cut off is not worth its attempt.
        self._last_start = self.ends_at - min(1.0, (self.ends_at - time.monotonic()) / 2)

    def are_reached(self) -> bool:
        """Whether no more calls may be started."""
        # Never reset: if a look-up was skipped, its orders must not be sent later.
        if time.monotonic() >= self._last_start or self.should_stop():
            self.was_reached = True
        return self.was_reached

    def end(self, error: BaseException) -> None:
        """Start no more calls, and have ``error`` raised after the answers are settled."""
        self.was_reached = True
        self.ended_by = error


@dataclass(eq=False)
class Call:
    """The removal of one order number, and all the rows that ask for it."""

    calls: "Calls"
    number: str
    leases: list[Lease]
    send_by: float
    """A time of the monotonic clock, in seconds; after it, the leases may end too early."""
    order: Order | None = None
    error: BaseException | None = None

    @property
    def is_answered(self) -> bool:
        """Whether Komfortkasse has decided about the order."""
        return self.order is not None or isinstance(self.error, InvalidRequest | OrderNotFound)


class Calls:
    """Started calls come back on ``answers``, which all shops of a push share.

    After ``stop_after`` failures in a row, or an error after which no other call makes sense, the
    calls that wait for a thread come back unsent, until ``resume``. ``Probing`` raises
    ``stop_after`` where only some orders are to blame.
    """

    def __init__(self, shop: Shop, limits: Limits, answers: "SimpleQueue[Call]") -> None:
        self.unanswered = 0
        """Calls whose answers the push has not taken, also those that wait for a thread."""
        self.failures = 0
        """In a row, as the threads see them. ``ShopState`` has those of all processes."""
        self.stop_after = STOP_AFTER
        self.is_halted = False
        self._shop = shop
        self.limits = limits
        self._answers = answers
        self._lock = Lock()
        self._executor = ThreadPoolExecutor(shop.concurrency)
        self._client: Client | None = None

    def connect(self, failures: int) -> None:
        """Ask for the API key, once a push, and go on counting from ``failures`` in a row.

        Raises ``AuthenticationFailed`` if a callable ``API_KEY`` returns none, and ``LeaveAlone``
        for other settings that cannot be used.
        """
        if self._client is not None:
            return
        self.failures = failures
        try:
            self._client = Client(
                api_key=api_key_of(self._shop),  # in no variable, which error reports would show
                api_url=self._shop.api_url,
                deadline=self._shop.deadline,
            )
        except (TypeError, ValueError) as error:
            raise LeaveAlone(f"its settings are wrong: {error}") from error

    def start(self, call: Call) -> None:
        """Make the call in a thread, as soon as one is free."""
        self.unanswered += 1
        self._executor.submit(self._make, call)

    def resume(self) -> None:
        """Make calls again."""
        self.failures = 0
        self.is_halted = False

    def halt(self) -> None:
        """Make no more calls."""
        self.is_halted = True

    def end(self) -> None:
        """Wait for the calls that were made already, and make no others."""
        self.halt()
        self._executor.shutdown()

    def _make(self, call: Call) -> None:
        now = time.monotonic()
        try:
            if not (self.is_halted or now > call.send_by or self.limits.are_reached()):
                assert self._client is not None  # noqa: S101 - see connect()
                deadline = min(self._shop.deadline, self.limits.ends_at - now)
                call.order = self._client.remove_order(call.number, deadline=deadline)
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits for it
            call.error = error
        # Judged here, before this or another thread makes the next call.
        self._judge(call)
        self._answers.put(call)

    def _judge(self, call: Call) -> None:
        with self._lock:
            if is_failure(call.error):
                self.failures += 1
                if self.failures >= self.stop_after or stops_at_once(call.error):
                    self.is_halted = True
            elif call.is_answered:
                self.failures = 0


def api_key_of(shop: Shop) -> str:
    """The API key, also where ``API_KEY`` is a function.

    Raises ``AuthenticationFailed`` if that function raises an error or returns no key.
    """
    if not callable(shop.api_key):
        return shop.api_key
    try:
        key = shop.api_key()
    except Exception as error:  # noqa: BLE001 - raised again
        # Not its text and frames, which may hold the key.
        reason = f"raised {type(error).__name__}; it has to return the key"
    else:
        if not problem_of_key(key):
            return key
        del key  # reports of errors show each frame's variables
        reason = "returned no key; it has to return one in printable ASCII without spaces"
    raise AuthenticationFailed(f"The function in API_KEY {reason}")
