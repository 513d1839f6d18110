"""Pieces of HTML about removals. Whatever comes from outside is escaped."""

from datetime import datetime

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import pgettext

from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.reports.wording import exact_time, from_now, money


def badge(state: str) -> SafeString:
    """The state as a word on its colour."""
    label = dict(RemovedOrder.State.choices).get(state, state)
    return format_html('<span class="komfortkasse-badge komfortkasse-{}">{}</span>', state, label)


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


def time_from_now(when: datetime) -> SafeString:
    """``3 minutes ago`` or ``in 4 minutes``; pointing at it shows the exact time."""
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        when.isoformat(),
        exact_time(when),
        from_now(when),
    )


def exact_and_from_now(when: datetime) -> SafeString:
    """The exact time, and in words how long ago that was or how long it takes until then."""
    return format_html(
        '<time datetime="{}">{}</time> ({})', when.isoformat(), exact_time(when), from_now(when)
    )
