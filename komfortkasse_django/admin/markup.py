"""Pieces of HTML about removals. Whatever comes from outside is escaped."""

from datetime import datetime

from django.utils.html import format_html, format_html_join
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


def describe_briefly(row: RemovedOrder) -> SafeString:
    """A removal in one line: its state, since when, and what is to be settled."""
    when = time_from_now(row.finished_at or row.created_at)
    return format_html("{} {} {}", badge(row.state), when, _to_settle(row))


def describe_exactly(row: RemovedOrder) -> SafeString:
    """The same with the exact time."""
    when = exact_and_from_now(row.finished_at or row.created_at)
    return format_html("{} {} {}", badge(row.state), when, _to_settle(row))


def _to_settle(row: RemovedOrder) -> SafeString:
    """What is to be settled about a removal, in short."""
    cases = []
    if row.needs_refund:
        cases.append(received(row))
    if row.needs_calling_off:
        text = pgettext("komfortkasse", "at a collection agency")
        cases.append(format_html("<strong>{}</strong>", text))
    if row.is_alive_again:
        text = pgettext("komfortkasse", "alive again")
        cases.append(format_html("<strong>{}</strong>", text))
    if row.settled_at and not cases:
        cases.append(pgettext("komfortkasse", "settled"))
    return format_html_join(", ", "<bdi>{}</bdi>", ((case,) for case in cases))
