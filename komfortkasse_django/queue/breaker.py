"""Whether Komfortkasse may be called for a shop: one breaker for all processes.

It is kept in ``ShopState``. Closed: calls are made. After ``STOP_AFTER`` failures in a row, unless
``probing`` finds that only some orders are to blame, it opens: the shop is paused, 15 s at first.
When the pause is over, one process makes one call as a probe. If Komfortkasse answers, the breaker
is closed; if not, the next pause takes twice as long, 5 minutes at most.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db.models import DateTimeField, F, Q, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from komfortkasse_django.database import patiently
from komfortkasse_django.exceptions import (
    AuthenticationFailed,
    InvalidRequest,
    KomfortkasseError,
    OrderNotFound,
    ServiceUnavailable,
)
from komfortkasse_django.models import ShopState
from komfortkasse_django.queue.outcomes import LONGEST_RETRY, code_of, text_of

logger = logging.getLogger("komfortkasse_django")

STOP_AFTER = 3
"""After so many failures in a row no more calls are started, and ``probing`` decides."""

_FIRST_PAUSE, _LONGEST_PAUSE = 15.0, 300.0  # seconds


def is_failure(error: BaseException | None) -> bool:
    """Whether the error says that other calls for the shop may fail as well."""
    return isinstance(error, Exception) and not isinstance(error, InvalidRequest | OrderNotFound)


def stops_at_once(error: BaseException | None) -> bool:
    """Whether no other call makes sense now: the key is wrong, or Komfortkasse asked to wait."""
    return isinstance(error, AuthenticationFailed) or bool(
        isinstance(error, ServiceUnavailable) and error.retry_after
    )


class Breaker:
    """The breaker of one shop, as one push sees it.

    ``patience`` says until when to wait for the database, on the monotonic clock, in seconds. All
    methods that use it raise ``DatabaseUnavailable`` after that.
    """

    def __init__(self, shop: str, using: str, patience: Callable[[], float]) -> None:
        self.state = ShopState(shop=shop)
        self._using = using
        self._patience = patience
        self._rows = ShopState.objects.using(using).filter(pk=shop)
        self._before_probe: datetime | None = None
        self._probe_ends_at: datetime | None = None

    def read(self) -> None:
        """See what other processes have written."""
        state = patiently(self._rows.first, using=self._using, until=self._patience())
        self.state = state or ShopState(shop=self.state.shop)

    @property
    def needs_probe(self) -> bool:
        """Whether one call must first find out if the trouble is over."""
        return self.state.failures >= STOP_AFTER or self.state.paused_until is not None

    @property
    def asks_next(self) -> bool:
        """Whether the next probe asks for an order that cannot exist. They take turns."""
        return self.state.failures % 2 == 1

    def take_probe(self, seconds: float) -> bool:
        """Keep other processes from calling for ``seconds``, unless one of them was faster."""
        self._before_probe = self.state.paused_until
        as_read = Q(paused_until=self._before_probe, failures=self.state.failures)
        # As long as after a failed probe: if this process dies, the others wait until then.
        ends_at = timezone.now() + timedelta(seconds=max(seconds, self._next_pause()))
        is_taken = self._update(as_read, paused_until=ends_at)
        self._probe_ends_at = ends_at if is_taken else None
        return is_taken

    def release_probe(self) -> None:
        """Let others make the probe that this process has taken and not made."""
        if self._probe_ends_at is not None:
            self._update(Q(paused_until=self._probe_ends_at), paused_until=self._before_probe)
            self._probe_ends_at = None

    def close(self) -> None:
        """Komfortkasse answered: there is no trouble any more."""
        if self.state.paused_until is not None:
            logger.info("Shop %r: Komfortkasse answers again", self.state.shop)
        elif not self.state.failures:
            return
        cleared: dict[str, Any] = {"failing_since": None, "error_code": "", "last_error": ""}
        self._update(failures=0, paused_until=None, **cleared)
        self.state = ShopState(shop=self.state.shop)
        self._probe_ends_at = None

    def count(self, failures: int, error: BaseException) -> None:
        """Add to the failures in a row. ``error`` is the last of them."""
        self._update(failures=F("failures") + failures, **_trouble(error))
        self.read()

    def pause(self, error: BaseException, *, is_news: bool = True) -> None:
        """Pause the shop. The failures were counted before."""
        was_paused = self._probe_ends_at is not None
        seconds = self._next_pause() if was_paused else _FIRST_PAUSE
        if isinstance(error, ServiceUnavailable) and error.retry_after:
            seconds = min(max(error.retry_after, _FIRST_PAUSE), LONGEST_RETRY)
        until = timezone.now() + timedelta(seconds=seconds)
        # Keep a longer pause that another process has set.
        self._update(
            Q(paused_until=self._probe_ends_at) | Q(paused_until=None) | Q(paused_until__lt=until),
            paused_until=until,
            **_trouble(error),
        )
        level = logging.WARNING
        if was_paused or not is_news:
            level = logging.INFO
        elif not (isinstance(error, KomfortkasseError) and error.can_retry):
            level = logging.ERROR
        text = text_of(error)
        logger.log(level, "Shop %r is paused for %.0f s: %s", self.state.shop, seconds, text)

    def _next_pause(self) -> float:
        """Return the seconds of the next pause. How long the trouble lasts tells the last one."""
        now = timezone.now()
        lasted = (now - (self.state.failing_since or now)).total_seconds()
        seconds = _FIRST_PAUSE
        # The pauses so far took 15, 15 + 30, 15 + 30 + 60 ... seconds together.
        while 2 * seconds - _FIRST_PAUSE <= lasted and seconds < _LONGEST_PAUSE:
            seconds *= 2
        return min(seconds, _LONGEST_PAUSE)

    def _update(self, where: Q = Q(), **values: object) -> bool:  # noqa: B008 - never changed
        """Change the shop's row if it matches ``where``. Return whether it did."""

        def update() -> bool:
            rows = self._rows.filter(where)
            if rows.update(**values):
                return True
            new = [ShopState(shop=self.state.shop)]
            ShopState.objects.using(self._using).bulk_create(new, ignore_conflicts=True)
            return bool(rows.update(**values))

        return patiently(update, using=self._using, until=self._patience())


def _trouble(error: BaseException) -> dict[str, Any]:
    now = Value(timezone.now(), DateTimeField())
    return {
        "failing_since": Coalesce("failing_since", now),
        "error_code": code_of(error),
        "last_error": text_of(error),
    }
