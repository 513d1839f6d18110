"""Pieces of HTML about removals. Whatever comes from outside is escaped."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import pgettext

from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.reports.wording import exact_time, from_now, money


def badge(row: RemovedOrder) -> SafeString:
    """The state of a removal, or that it is overdue, as a word on its colour."""
    if row.is_overdue:
        return _badge("overdue", pgettext("komfortkasse", "overdue"))
    return _badge(row.state, str(dict(RemovedOrder.State.choices).get(row.state, row.state)))


def short_badge(row: RemovedOrder) -> SafeString:
    """The same in one word, for the list."""
    if row.state == RemovedOrder.State.UNKNOWN:
        return _badge(row.state, pgettext("komfortkasse", "unknown"))
    return badge(row)


def to_settle(row: RemovedOrder) -> SafeString:
    """What is to be settled about a removal, in short."""
    chips = []
    if row.needs_refund:
        amount = money(row.amount_paid or Decimal(0), row.currency)
        text = pgettext("komfortkasse", "refund %(amount)s") % {"amount": amount}
        chips.append(_badge("refund", text))
    if row.needs_calling_off:
        chips.append(_badge("agency", pgettext("komfortkasse", "at a collection agency")))
    if row.is_alive_again:
        chips.append(_badge("alive", pgettext("komfortkasse", "alive again")))
    return format_html_join(" ", "{}", ((chip,) for chip in chips))


def _badge(kind: str, text: str) -> SafeString:
    return format_html('<bdi class="komfortkasse-badge komfortkasse-{}">{}</bdi>', kind, text)


def isolated(text: str) -> SafeString:
    """Text that may run in another direction than the page. Its numbers stay together."""
    return format_html("<bdi>{}</bdi>", text)


def two_lines(first: str = "", second: str = "") -> SafeString:
    """A cell of the list: what matters, and something small below it."""
    if not second:
        return isolated(first)
    return format_html('<bdi>{}</bdi><br><small dir="auto">{}</small>', first, second)


def time_from_now(when: datetime) -> SafeString:
    """``3 minutes ago`` or ``in 4 minutes``; pointing at it shows the exact time."""
    return format_html(
        '<time dir="auto" datetime="{}" title="{}">{}</time>',
        when.isoformat(),
        exact_time(when),
        from_now(when),
    )


def exact_and_from_now(when: datetime) -> SafeString:
    """The exact time, and in words how long ago that was or how long it takes until then."""
    return format_html(
        '<bdi><time datetime="{}">{}</time> ({})</bdi>',
        when.isoformat(),
        exact_time(when),
        from_now(when),
    )


def in_one_line(row: RemovedOrder, show_time: Callable[[datetime], SafeString]) -> SafeString:
    """A removal in one line: its state, since when, and what is to be settled."""
    when = show_time(row.finished_at or row.created_at)
    settled = pgettext("komfortkasse", "settled") if row.settled_at else ""
    return format_html("{} {} {}", badge(row), when, to_settle(row) or settled)
