"""Which of the numbers that are about to be removed are alive in the shop again."""

import logging
import time
from collections.abc import Callable, Sequence

from komfortkasse_django import orders
from komfortkasse_django.conf import Shop
from komfortkasse_django.database import DatabaseUnavailable, patiently

logger = logging.getLogger("komfortkasse_django")

_ELSEWHERE = 3.0  # seconds to wait for a database that other shops do not need
_MOST_ERRORS = 10  # orders whose look-up fails, before the rest is not looked up


def look_up(
    shop: Shop,
    numbers: Sequence[str],
    *,
    mirror_at: str,
    until: float,
    should_stop: Callable[[], bool],
) -> tuple[set[str], dict[str, Exception]]:
    """Return those of ``numbers`` that are alive in the shop, and the errors of others, by number.

    ``mirror_at`` is the database that keeps the mirror, ``until`` a time of the monotonic clock, in
    seconds. Raises ``DatabaseUnavailable``. What the shop's own code raises is returned. If
    ``should_stop`` becomes true, the result is not complete.
    """

    def ask(some: Sequence[str]) -> set[str]:
        using = orders.database_of(shop, mirror_at=mirror_at)
        return patiently(
            lambda: orders.alive(shop, some, using=using),
            using=using,
            until=until if using == mirror_at else min(until, time.monotonic() + _ELSEWHERE),
            should_stop=should_stop,
        )

    try:
        return ask(numbers), {}
    except DatabaseUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - the shop's own code; logged below
        first_error = error
    alive, errors = _one_by_one(ask, numbers, first_error, until=until, should_stop=should_stop)
    if errors:
        logger.error(
            "Shop %r: the shop's own code failed for %d of %d orders",
            shop.alias,
            len(errors),
            len(numbers),
            exc_info=next(reversed(errors.values())),
        )
    return alive, errors


def _one_by_one(
    ask: Callable[[Sequence[str]], set[str]],
    numbers: Sequence[str],
    last_error: Exception,
    *,
    until: float,
    should_stop: Callable[[], bool],
) -> tuple[set[str], dict[str, Exception]]:
    """Find the numbers that fail. Otherwise they would keep all the others waiting."""
    alive: set[str] = set()
    errors: dict[str, Exception] = {}
    for number in numbers:
        if should_stop():
            return alive, {}
        if len(errors) >= _MOST_ERRORS or time.monotonic() > until:
            errors[number] = last_error
            continue
        try:
            alive |= ask([number])
        except DatabaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - the shop's own code; logged by look_up
            errors[number] = last_error = error
    return alive, errors
