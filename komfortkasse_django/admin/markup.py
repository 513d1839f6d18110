"""Pieces of HTML about removals, for the admin. Whatever comes from outside is escaped."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from django.forms.utils import to_current_timezone
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import pgettext

from komfortkasse_django.ages import ago, ahead
from komfortkasse_django.models import RemovedOrder

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise


def badge(state: str) -> SafeString:
    """The state as a word on its colour."""
    label = dict(RemovedOrder.State.choices).get(state, state)
    return format_html('<span class="komfortkasse-badge komfortkasse-{}">{}</span>', state, label)


def payment_statuses() -> "dict[str, _StrOrPromise]":
    """Komfortkasse's own words for the statuses that this version knows."""
    # Late, as in removals.push: the admin is imported by every process.
    from komfortkasse_django.schema import PaymentStatus

    return dict(PaymentStatus.choices)


def payment_status(status: str) -> str:
    """Komfortkasse's own word for the status; one that this version does not know as it comes."""
    return str(payment_statuses().get(status, status))


def money(amount: Decimal, currency: str) -> str:
    """An amount with its currency, which stay on one line."""
    number = number_format(amount, decimal_pos=2, use_l10n=True, force_grouping=True)
    return f"{number}\N{NO-BREAK SPACE}{currency}".rstrip("\N{NO-BREAK SPACE}")


def received(row: RemovedOrder) -> str:
    """How much of the order had been paid, and that it has to go back."""
    if row.amount_paid is None:
        return ""
    paid = money(row.amount_paid, row.currency)
    if row.amount_paid <= 0:
        return paid
    return format_html(
        '<strong class="komfortkasse-refund">{}: {}</strong>',
        paid,
        pgettext("komfortkasse", "refund needed"),
    )


def time_ago(when: datetime) -> SafeString:
    """``3 minutes ago``, with the exact time beneath."""
    return _time(when, ago(when))


def time_ahead(when: datetime) -> SafeString:
    """``in 4 minutes``, or ``3 minutes ago`` for what waits since, with the exact time beneath."""
    is_late = when < timezone.now() - timedelta(minutes=1)
    return _time(when, ago(when) if is_late else ahead(when))


def exact_time(when: datetime) -> str:
    """Date and time as the language writes it, in the current time zone."""
    return date_format(to_current_timezone(when), "DATETIME_FORMAT")


def exact_and_ago(when: datetime) -> SafeString:
    """The exact time, and in words how long ago that was."""
    return format_html(
        '<time datetime="{}">{}</time> ({})', when.isoformat(), exact_time(when), ago(when)
    )


def _time(when: datetime, words: str) -> SafeString:
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', when.isoformat(), exact_time(when), words
    )
