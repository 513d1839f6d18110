"""Whether Komfortkasse may be called for a shop: one breaker for all processes.

It is kept in ``ShopState``. Closed: calls are made. After ``STOP_AFTER`` failures in a row it
opens: the shop is paused, 15 s at first. When the pause is over, one process makes one call as a
probe. A success closes the breaker; a failure pauses the shop for twice as long, 5 minutes at most.
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
    ConnectionFailed,
    InvalidRequest,
    KomfortkasseError,
    OrderNotFound,
    ServiceUnavailable,
)
from komfortkasse_django.models import ShopState
from komfortkasse_django.queue.outcomes import LONGEST_RETRY, code_of, text_of

logger = logging.getLogger("komfortkasse_django")

STOP_AFTER = 3
"""Failures in a row after which a shop is paused."""

_FIRST_PAUSE, _LONGEST_PAUSE = 15.0, 300.0  # seconds
_LONGEST_FOR_NEW = 60.0  # seconds that a new row waits behind rows that may be to blame


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
        """Whether one call has to find out first whether the trouble is over."""
        return self.state.failures >= STOP_AFTER

    @property
    def paused_since(self) -> datetime:
        """When the pause began. Rows that were recorded later are the best ones to probe with."""
        until = self.state.paused_until or timezone.now()
        return until - timedelta(seconds=_pause_after(self.state.failures))

    @property
    def tries_new_rows(self) -> bool:
        """Whether a row that is newer than the pause may be tried before its end.

        Others may be to blame, so it need not wait for them, unless no order can be to blame.
        """
        if self.state.error_code in {AuthenticationFailed.code, ConnectionFailed.code}:
            return False
        return self.paused_since + timedelta(seconds=_LONGEST_FOR_NEW) <= timezone.now()

    def take_probe(self, seconds: float) -> bool:
        """Keep other processes from calling for ``seconds``, unless one of them was faster."""
        # As if the probe fails: when this process dies, others wait for no less.
        seconds = max(seconds, _pause_after(self.state.failures))
        self._before_probe = self.state.paused_until
        as_read = Q(paused_until=self._before_probe, failures=self.state.failures)
        ends_at = timezone.now() + timedelta(seconds=seconds)
        is_taken = self._update(as_read, paused_until=ends_at)
        self._probe_ends_at = ends_at if is_taken else None
        return is_taken

    def release_probe(self) -> None:
        """Let others probe: the call was not made."""
        self._update(Q(paused_until=self._probe_ends_at), paused_until=self._before_probe)
        self._probe_ends_at = None

    def close(self) -> None:
        """Komfortkasse answered: there is no trouble any more."""
        if not self.state.failures:
            return
        cleared: dict[str, Any] = {
            "failures": 0,
            "failing_since": None,
            "error_code": "",
            "last_error": "",
        }
        if self.needs_probe:
            logger.info("Shop %r: Komfortkasse answers again", self.state.shop)
            cleared["paused_until"] = None
        self._update(**cleared)
        self.state = ShopState(shop=self.state.shop)
        self._probe_ends_at = None

    def count(self, failures: int, error: BaseException) -> None:
        """Add to the failures in a row. ``error`` is the last of them."""
        self._update(failures=F("failures") + failures, **_trouble(error))
        self.read()

    def pause(self, error: BaseException) -> None:
        """Leave the shop alone. The failures were counted before."""
        was_paused = self._probe_ends_at is not None
        failures = max(self.state.failures, STOP_AFTER) if was_paused else STOP_AFTER
        seconds = _pause_after(failures)
        if isinstance(error, ServiceUnavailable) and error.retry_after:
            asked_for = min(error.retry_after, LONGEST_RETRY)
            # A pause that was asked for is not one of those that grow.
            seconds, failures = max((seconds, failures), (asked_for, STOP_AFTER))
        until = timezone.now() + timedelta(seconds=seconds)
        # Not where another process was told to pause for longer.
        self._update(
            Q(paused_until=self._probe_ends_at) | Q(paused_until=None) | Q(paused_until__lt=until),
            failures=failures,
            paused_until=until,
            **_trouble(error),
        )
        level = logging.WARNING
        if was_paused:
            level = logging.INFO  # said before
        elif not (isinstance(error, KomfortkasseError) and error.can_retry):
            level = logging.ERROR
        text = text_of(error)
        logger.log(level, "Shop %r is paused for %.0f s: %s", self.state.shop, seconds, text)

    def _update(self, where: Q = Q(), **values: object) -> bool:  # noqa: B008 - never changed
        """Change the shop's row where it is as ``where`` says, and return whether it was."""

        def update() -> bool:
            rows = self._rows.filter(where)
            if rows.update(**values):
                return True
            new = [ShopState(shop=self.state.shop)]
            ShopState.objects.using(self._using).bulk_create(new, ignore_conflicts=True)
            return bool(rows.update(**values))

        return patiently(update, using=self._using, until=self._patience())


def _pause_after(failures: int) -> float:
    """Seconds to pause after so many failures in a row."""
    doublings = min(max(failures - STOP_AFTER, 0), 10)
    return min(_FIRST_PAUSE * 2.0**doublings, _LONGEST_PAUSE)


def _trouble(error: BaseException) -> dict[str, Any]:
    now = Value(timezone.now(), DateTimeField())
    return {
        "failing_since": Coalesce("failing_since", now),
        "error_code": code_of(error),
        "last_error": text_of(error),
    }
