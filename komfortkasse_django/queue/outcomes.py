"""How an answer, or a missing one, changes a row. Nothing here touches network or database."""

import logging
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Context, Decimal

from django.dispatch import Signal
from django.utils import timezone

from komfortkasse_django.api.rules import storable
from komfortkasse_django.exceptions import (
    SHOP_CODE,
    UNFORESEEN,
    InvalidRequest,
    KomfortkasseError,
    OrderNotFound,
    ServiceUnavailable,
)
from komfortkasse_django.models import RemovedOrder, get_field
from komfortkasse_django.schema import Order
from komfortkasse_django.signals import order_removed, removal_failed

logger = logging.getLogger("komfortkasse_django")

State = RemovedOrder.State

FIRST_RETRY, LONGEST_RETRY = 60.0, 3600.0
"""Seconds to wait after the first failed attempt, and at most."""

TEXTS = (
    *("payment_status", "reference_number", "currency"),
    *("collection_partner", "collection_file", "collection_status"),
)
"""What is stored of an answer as it came."""

_AMOUNT = Context(prec=get_field("amount").max_digits, traps=[])  # type: ignore[attr-defined]

Announcement = tuple[Signal, dict[str, object]] | None
"""The signal to send once the row is saved, and its arguments."""


def store_order(row: RemovedOrder, order: Order) -> Announcement:
    """Komfortkasse has removed the order."""
    finish(row, State.REMOVED)
    for name in TEXTS:
        setattr(row, name, _storable(name, getattr(order, name)))
    row.amount = _amount(order.amount)
    row.amount_paid = _amount(order.amount_paid)
    row.dunning_level = _count(order.dunning_level)
    return order_removed, {"order": order}


def store_error(
    row: RemovedOrder, error: Exception, unknown_retries: Sequence[float]
) -> Announcement:
    """Komfortkasse has not removed the order, for this reason.

    An order that Komfortkasse did not know is asked for again after each of ``unknown_retries``, in
    seconds. Asking again never makes that worse: trouble on the way leaves it unknown.
    """
    is_refused = isinstance(error, InvalidRequest)
    if isinstance(error, OrderNotFound) or (is_refused and row.state == State.UNKNOWN):
        _store_unknown(row, unknown_retries)
        return None
    row.error_code = code_of(error)
    row.last_error = text_of(error)
    if is_refused:
        row.state = State.FAILED
        row.next_attempt_at = None
        logger.error("Komfortkasse refused to remove order %s: %s", row, error)
        return removal_failed, {"error": error}
    if not isinstance(error, KomfortkasseError):
        logger.error("Removing order %s failed unexpectedly", row, exc_info=error)
    postpone(row, error.retry_after if isinstance(error, ServiceUnavailable) else None)
    return None


def store_lookup_error(row: RemovedOrder, error: Exception) -> None:
    """The shop's own code could not say whether an order with this number is alive."""
    row.error_code = SHOP_CODE
    row.last_error = f"The shop's own code failed: {type(error).__name__}"
    postpone(row)


def take_over(
    now_removed: Sequence[RemovedOrder], earlier: Sequence[RemovedOrder]
) -> list[RemovedOrder]:
    """Make one case of all rows of an order: only the last of ``now_removed`` may be unsettled.

    ``now_removed`` got one answer together. ``earlier`` were removed before; return those of them
    that have to be closed. What a person had settled stays settled, unless there is more money now,
    or another agency.
    """
    *same, row = now_removed
    row.settled_at = None
    told = [each for each in earlier if each.amount_paid is not None or each.is_at_agency]
    if told:
        last = max(told, key=lambda each: (each.finished_at or each.created_at, each.pk))
        # A row that was closed when another took it over has a settled_at as well.
        is_open = any(each.needs_refund or each.needs_calling_off for each in told)
        if not (is_open or _has_more_money(row, last) or _has_other_agency(row, last)):
            row.settled_at = last.settled_at
    # The next one looks for the last of them, whatever the clocks of the workers say.
    latest = max((each.finished_at for each in earlier if each.finished_at), default=None)
    if latest and row.finished_at and row.finished_at <= latest:
        row.finished_at = latest + timedelta(microseconds=1)
    for each in same:
        each.finished_at = row.finished_at
        each.settled_at = timezone.now() if row.has_money or row.is_at_agency else None
    # An answer without an amount does not say that the money went back.
    return [
        each
        for each in earlier
        if each.is_unsettled and not (each.has_money and row.amount_paid is None)
    ]


def _has_more_money(row: RemovedOrder, last: RemovedOrder) -> bool:
    """Whether there is money to refund that was not there at ``last``, or had gone back."""
    before = last.amount_paid or 0 if last.has_money else 0
    is_more = (row.amount_paid or 0) > before or row.currency != last.currency
    return row.has_money and is_more


def _has_other_agency(row: RemovedOrder, last: RemovedOrder) -> bool:
    now, before = (
        (each.is_at_agency, each.collection_partner, each.collection_file) for each in (row, last)
    )
    return row.is_at_agency and now != before


def finish(row: RemovedOrder, state: State) -> None:
    """Nothing is left to be sent."""
    row.state = state
    row.error_code = row.last_error = ""
    row.next_attempt_at = None
    row.finished_at = timezone.now()


def postpone(row: RemovedOrder, seconds: float | None = None) -> None:
    """Try again after ``seconds``, or after twice as long as the last time."""
    if not seconds:
        longest = min(FIRST_RETRY * 2 ** min(row.attempts - 1, 10), LONGEST_RETRY)
        # Jitter, or all the rows of an outage would come back in one moment.
        seconds = random.uniform(longest / 2, longest)  # noqa: S311
    row.next_attempt_at = timezone.now() + timedelta(seconds=min(seconds, LONGEST_RETRY))


def code_of(error: BaseException) -> str:
    """The code of an error, as it is stored."""
    return error.code if isinstance(error, KomfortkasseError) else UNFORESEEN


def text_of(error: BaseException) -> str:
    """What an error says, as it is stored."""
    if isinstance(error, KomfortkasseError):
        return str(error)
    return storable(f"Unforeseen {type(error).__name__}: {error}")


def _store_unknown(row: RemovedOrder, retries: Sequence[float]) -> None:
    known_as_unknown_since = row.finished_at if row.state == State.UNKNOWN else None
    finish(row, State.UNKNOWN)
    row.finished_at = known_as_unknown_since or row.finished_at
    row.next_attempt_at = _next_retry(row.finished_at or timezone.now(), retries)


def _next_retry(since: datetime, retries: Sequence[float]) -> datetime | None:
    """When the next of ``retries`` is; each is counted from the one before. None after the last."""
    at = since
    for seconds in retries:
        at += timedelta(seconds=seconds)
        if at > timezone.now():
            return at
    return None


def _storable(name: str, text: str | None) -> str:
    """Return ``text``, or an empty string if the column could not hold it unchanged."""
    limit = get_field(name).max_length
    return "" if text is None or (limit and len(text) > limit) else str(text)


def _count(value: int | None) -> int | None:
    """Return ``value``, or None if the column could not hold it."""
    return value if value is not None and 0 <= value < 2**31 else None


def _amount(value: Decimal | None) -> Decimal | None:
    """Return ``value`` to the cent, or None if the column could not hold it."""
    if value is None:
        return None
    # In a context of its own: the shop's may have fewer digits than the value.
    cents = value.quantize(Decimal("0.01"), context=_AMOUNT)
    return None if cents.is_nan() else cents
