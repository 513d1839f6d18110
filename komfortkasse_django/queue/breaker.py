"""Whether Komfortkasse may be called for a shop: one breaker for all processes.

It is kept in ``ShopState``. Closed: calls are made. After ``STOP_AFTER`` failures in a row it
opens: the shop is paused, 15 s at first. When the pause is over, one process makes one call as a
probe. A success closes the breaker; a failure pauses the shop for twice as long, 5 minutes at most.
"""

import logging
from datetime import timedelta

from django.utils import timezone

from komfortkasse_django.exceptions import (
    AuthenticationFailed,
    DeadlineExceeded,
    InvalidRequest,
    KomfortkasseError,
    OrderNotFound,
    ServiceUnavailable,
    UnexpectedAnswer,
)
from komfortkasse_django.models import ShopState
from komfortkasse_django.queue.outcomes import LONGEST_RETRY

logger = logging.getLogger("komfortkasse_django")

STOP_AFTER = 3
"""Failures in a row after which a shop is paused."""

_FIRST_PAUSE, _LONGEST_PAUSE = 15.0, 300.0  # seconds
_LONGEST_FOR_FRESH = 60.0  # seconds that a new row waits behind rows that may be to blame


def is_failure(error: BaseException | None) -> bool:
    """Whether the error says that other calls for the shop would fail as well."""
    if isinstance(error, InvalidRequest | OrderNotFound):
        return False
    return isinstance(error, KomfortkasseError)


def stops_at_once(error: BaseException | None) -> bool:
    """Whether no other call makes sense now: the key is wrong, or Komfortkasse asked to wait."""
    return isinstance(error, AuthenticationFailed) or bool(
        isinstance(error, ServiceUnavailable) and error.retry_after
    )


class Breaker:
    """The breaker of one shop, as one push sees it."""

    def __init__(self, shop: str, using: str) -> None:
        self.state = ShopState(shop=shop)
        self._rows = ShopState.objects.using(using).filter(pk=shop)

    def read(self) -> None:
        """See what other processes have written."""
        self.state = self._rows.all().first() or ShopState(shop=self.state.shop)

    @property
    def is_paused(self) -> bool:
        """Whether no call may be made now."""
        until = self.state.paused_until
        return until is not None and until > timezone.now()

    @property
    def needs_probe(self) -> bool:
        """Whether one call has to find out first whether the trouble is over."""
        return self.state.failures >= STOP_AFTER

    def take_probe(self, seconds: float) -> bool:
        """Keep other processes from calling for ``seconds``, unless one of them was faster."""
        as_read = self._rows.filter(
            paused_until=self.state.paused_until, failures=self.state.failures
        )
        return bool(as_read.update(paused_until=timezone.now() + timedelta(seconds=seconds)))

    def release_probe(self) -> None:
        """Let others probe: the call was not made."""
        self._rows.update(paused_until=timezone.now())

    def close(self) -> None:
        """Komfortkasse answered: there is no trouble any more."""
        if self.needs_probe:
            logger.info("Shop %r: Komfortkasse answers again", self.state.shop)
            self._rows.update(paused_until=None)
        if self.state.failures:
            self._write(failures=0, failing_since=None, error_code="", last_error="")

    def count(self, failures: int, error: BaseException) -> None:
        """Add to the failures in a row. ``error`` is the last of them."""
        self._write(
            failures=self.state.failures + failures,
            failing_since=self.state.failing_since or timezone.now(),
            error_code=code_of(error),
            last_error=str(error),
        )

    def pause(self, error: BaseException, *, is_probe: bool, was_fresh: bool) -> None:
        """Leave the shop alone, after ``count``.

        ``is_probe`` says that it was paused before, ``was_fresh`` that the last row to fail had
        never been tried before.
        """
        failures = max(self.state.failures, STOP_AFTER) if is_probe else STOP_AFTER
        seconds = min(_FIRST_PAUSE * 2 ** min(failures - STOP_AFTER, 10), _LONGEST_PAUSE)
        if not was_fresh and _may_be_about_the_order(error):
            seconds = min(seconds, _LONGEST_FOR_FRESH)
        if isinstance(error, ServiceUnavailable) and error.retry_after:
            seconds = max(seconds, min(error.retry_after, LONGEST_RETRY))
        until = timezone.now() + timedelta(seconds=seconds)
        self._write(failures=failures, paused_until=until)
        level = logging.WARNING
        if is_probe:
            level = logging.INFO  # said before
        elif not can_pass(error):
            level = logging.ERROR
        logger.log(level, "Shop %r is paused for %.0f s: %s", self.state.shop, seconds, error)

    def _write(self, **values: object) -> None:
        for name, value in values.items():
            setattr(self.state, name, value)
        if not self._rows.update(**values):
            using = self._rows.db
            ShopState.objects.using(using).bulk_create([self.state], ignore_conflicts=True)


def code_of(error: BaseException) -> str:
    """The stable code of an error, as it is stored."""
    return error.code if isinstance(error, KomfortkasseError) else "unforeseen"


def can_pass(error: BaseException) -> bool:
    """Whether the trouble may pass by itself."""
    return isinstance(error, KomfortkasseError) and error.can_retry


def _may_be_about_the_order(error: BaseException) -> bool:
    """Whether another order might fare better: an outage has other answers, or none."""
    is_internal_error = isinstance(error, ServiceUnavailable) and error.status == 500
    return is_internal_error or isinstance(error, UnexpectedAnswer | DeadlineExceeded)
