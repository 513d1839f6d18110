"""Removals in words: what became of them, what happens next, and how long that takes."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from django.forms.utils import to_current_timezone
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.timesince import timesince, timeuntil
from django.utils.translation import gettext as _
from django.utils.translation import (
    gettext_lazy,
    ngettext,
    npgettext,
    npgettext_lazy,
    pgettext,
)

from komfortkasse_django.models import DISAPPEARED, OVERDUE_AFTER, RemovedOrder, ShopState
from komfortkasse_django.reports.reasons import obstacle, reason_of
from komfortkasse_django.reports.status import Kind, Problem, Status

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

State = RemovedOrder.State

_NAMED = 5  # orders that a sentence names

# In the order in which they are told.
_ENDS = (State.REMOVED, State.UNKNOWN, State.SUPERSEDED, State.FAILED)

_NOTHING_IS_SENT = gettext_lazy("nothing seems to send removals")
_IS_PUSH_RUNNING = gettext_lazy("Is komfortkasse_push running? It should be run every minute.")

# Values


@cache
def _spans() -> dict[str, Any]:
    """Units of time, in the dative case that German needs: "vor 3 Tagen"."""
    # Not when the module is imported: Django makes a class of each, which takes time.
    return {
        "year": npgettext_lazy("komfortkasse", "%(num)d year", "%(num)d years", "num"),
        "month": npgettext_lazy("komfortkasse", "%(num)d month", "%(num)d months", "num"),
        "week": npgettext_lazy("komfortkasse", "%(num)d week", "%(num)d weeks", "num"),
        "day": npgettext_lazy("komfortkasse", "%(num)d day", "%(num)d days", "num"),
        "hour": npgettext_lazy("komfortkasse", "%(num)d hour", "%(num)d hours", "num"),
        "minute": npgettext_lazy("komfortkasse", "%(num)d minute", "%(num)d minutes", "num"),
    }


def from_now(when: datetime) -> str:
    """``3 minutes ago`` or ``in 4 minutes``, rounded down to the largest unit that fits."""
    now = timezone.now()
    if when <= now:
        if now - when < timedelta(minutes=1):
            return pgettext("komfortkasse", "just now")
        span = timesince(when, now, time_strings=_spans(), depth=1)
        return pgettext("komfortkasse", "%(span)s ago") % {"span": _plain(span)}
    if when - now < timedelta(minutes=1):
        return pgettext("komfortkasse", "in less than a minute")
    span = timeuntil(when, now, time_strings=_spans(), depth=1)
    return pgettext("komfortkasse", "in %(span)s") % {"span": _plain(span)}


def _plain(span: str) -> str:
    """Without the no-break spaces that Django puts in: monitoring may look for the text."""
    return span.replace("\N{NO-BREAK SPACE}", " ")


def exact_time(when: datetime) -> str:
    """Date and time as the language writes them, in the current time zone."""
    return date_format(to_current_timezone(when), "DATETIME_FORMAT")


def money(amount: Decimal, currency: str) -> str:
    """An amount with its currency, which stay on one line."""
    number = number_format(amount, decimal_pos=2, use_l10n=True, force_grouping=True)
    return f"{number}\N{NO-BREAK SPACE}{currency}".rstrip("\N{NO-BREAK SPACE}")


def named(numbers: Sequence[str], count: int, *, at_most: int = _NAMED) -> str:
    """The first of ``count`` order numbers, and how many more there are."""
    first = numbers[:at_most]
    orders = ", ".join(first)
    if count == len(first):
        return orders
    text = pgettext("komfortkasse", "%(orders)s and %(count)d more")
    return text % {"orders": orders, "count": count - len(first)}


def payment_statuses() -> "dict[str, _StrOrPromise]":
    """Komfortkasse's own words for the statuses that this version knows."""
    # Late: the admin is imported by every process, and reading answers takes 30 ms to import.
    from komfortkasse_django.schema import PaymentStatus

    return dict(PaymentStatus.choices)


def payment_status(status: str) -> str:
    """Komfortkasse's own word for the status; one that this version does not know as it comes."""
    return str(payment_statuses().get(status, status))


def telling_status(row: RemovedOrder) -> str:
    """The payment status, if it says more than that the order was removed."""
    return "" if row.payment_status == DISAPPEARED else payment_status(row.payment_status)


def cases_in_words(status: Status) -> dict[str, str]:
    """How much people have to settle, such as ``2 refunds (10.00 EUR)``, by case.

    A case has the name of the method of ``RemovedOrder.objects`` that finds it.
    """
    sums = ", ".join(money(amount, currency) for currency, (_n, amount) in status.refunds.items())
    refunds = sum(count for count, _amount in status.refunds.values())
    cases = {
        "to_refund": (
            refunds,
            npgettext(
                "komfortkasse",
                "%(count)d refund (%(amounts)s)",
                "%(count)d refunds (%(amounts)s)",
                refunds,
            ),
        ),
        "at_agency": (
            status.at_agency,
            npgettext(
                "komfortkasse",
                "%(count)d order at a collection agency",
                "%(count)d orders at a collection agency",
                status.at_agency,
            ),
        ),
        "alive_again": (
            status.alive_again,
            npgettext(
                "komfortkasse",
                "%(count)d order is alive again",
                "%(count)d orders are alive again",
                status.alive_again,
            ),
        ),
    }
    return {case: text % {"count": n, "amounts": sums} for case, (n, text) in cases.items() if n}


# Several removals


class Waiting:
    """The pending ones among rows, counted by why. It keeps none of them, however many."""

    def __init__(self, rows: Iterable[RemovedOrder] = ()) -> None:
        self._groups: dict[tuple[str, str], tuple[int, datetime]] = {}
        self.add(rows)

    def add(self, rows: Iterable[RemovedOrder]) -> None:
        """Count these as well."""
        for row in rows:
            if row.state == State.PENDING:
                group = row.shop, row.error_code
                at = row.next_attempt_at or timezone.now()
                count, first = self._groups.get(group, (0, at))
                self._groups[group] = count + 1, min(first, at)

    def reasons(self) -> Collection[tuple[str, str]]:
        """Alias and error code of what was counted, each pair once."""
        return self._groups.keys()

    def in_words(self, pauses: Mapping[str, ShopState]) -> list[str]:
        """How many wait, why, and until when. ``pauses`` is as for ``obstacle``."""
        now = timezone.now()
        by_reason: dict[tuple[str, bool], tuple[int, datetime]] = {}
        for (shop, error_code), (count, first) in self._groups.items():
            reason = obstacle(shop, pauses)
            was_tried = not reason and bool(error_code) and first > now
            if was_tried:
                reason = str(reason_of(error_code).label)
            others, earliest = by_reason.get((reason, was_tried), (0, first))
            by_reason[reason, was_tried] = others + count, min(earliest, first)
        return [
            _waiting_text(count, reason, was_tried=was_tried)
            % {"count": count, "when": from_now(first), "reason": reason}
            for (reason, was_tried), (count, first) in by_reason.items()
        ]


def summarize(
    states: Mapping[str, int],
    waiting: Waiting | None = None,
    pauses: Mapping[str, ShopState] = MappingProxyType({}),
) -> str:
    """What became of removals, such as ``3 removed, 1 refused by Komfortkasse``.

    ``states`` says how many are in which state. ``waiting`` has the pending ones: of these it says
    why and when. ``pauses`` is as for ``obstacle``.
    """
    parts = [_ended(state, states[state]) for state in _ENDS if states.get(state)]
    if waiting:
        parts += waiting.in_words(pauses)
    return ", ".join(parts) or pgettext("komfortkasse", "nothing to do")


def _ended(state: str, count: int) -> str:
    match state:
        case State.REMOVED:
            text = npgettext("komfortkasse", "%(count)d removed", "%(count)d removed", count)
        case State.UNKNOWN:
            text = ngettext(
                "%(count)d unknown to Komfortkasse", "%(count)d unknown to Komfortkasse", count
            )
        case State.SUPERSEDED:
            text = ngettext(
                "%(count)d not sent because an order with its number is alive",
                "%(count)d not sent because orders with their numbers are alive",
                count,
            )
        case _:
            text = npgettext(
                "komfortkasse",
                "%(count)d refused by Komfortkasse",
                "%(count)d refused by Komfortkasse",
                count,
            )
    return text % {"count": count}


def _waiting_text(count: int, reason: str, *, was_tried: bool) -> str:
    if was_tried:
        return npgettext(
            "komfortkasse",
            "%(count)d will be tried again %(when)s: %(reason)s",
            "%(count)d will be tried again, the first %(when)s: %(reason)s",
            count,
        )
    if reason:
        return ngettext(
            "%(count)d is still to be sent: %(reason)s",
            "%(count)d are still to be sent: %(reason)s",
            count,
        )
    return ngettext("%(count)d is still to be sent", "%(count)d are still to be sent", count)


def to_settle_in_words(rows: Sequence[RemovedOrder]) -> list[str]:
    """What people have to settle about ``rows``: a sentence for refunds, and one for agencies."""
    sentences = []
    if refunds := [row for row in rows if row.needs_refund]:
        amounts: dict[str, Decimal] = defaultdict(Decimal)
        for row in refunds:
            amounts[row.currency] += row.amount_paid or 0
        text = ngettext(
            "Money had arrived: refund %(amounts)s for order %(orders)s.",
            "Money had arrived: refund %(amounts)s for the orders %(orders)s.",
            len(refunds),
        )
        sums = ", ".join(money(amount, currency) for currency, amount in amounts.items())
        sentences.append(text % {"amounts": sums, "orders": _named(refunds)})
    if at_agency := [row for row in rows if row.needs_calling_off]:
        text = ngettext(
            "A collection agency is at work: have it called off for order %(orders)s.",
            "A collection agency is at work: have it called off for the orders %(orders)s.",
            len(at_agency),
        )
        sentences.append(text % {"orders": _named(at_agency)})
    return sentences


def _named(rows: Sequence[RemovedOrder]) -> str:
    return named([row.order_number for row in rows], len(rows))


# The whole mirror


def problem_in_words(problem: Problem, status: Status) -> str:
    """What is wrong with which shop, since when, and why."""
    return pgettext("komfortkasse", "shop %(shop)s, since %(time)s: %(problem)s") % {
        "shop": problem.shop,
        "time": exact_time(problem.since),
        "problem": _problem(problem, status),
    }


def _problem(problem: Problem, status: Status) -> str:
    count = {"count": problem.count}
    match problem.kind:
        case Kind.WRONG_KEY:
            return str(reason_of(problem.kind).label)
        case Kind.NOT_IN_SETTINGS:
            return obstacle(problem.shop, status.pauses)
        case Kind.ALL_UNKNOWN:
            return _("Komfortkasse knew none of the last %(count)d orders") % count
        case Kind.OVERDUE:
            text = npgettext(
                "komfortkasse",
                "%(count)d removal is overdue: %(reason)s",
                "%(count)d removals are overdue: %(reason)s",
                problem.count,
            )
            return text % {**count, "reason": _why_overdue(problem.shop, status)}
        case _:
            return _ended(State.FAILED, problem.count)


def _why_overdue(alias: str, status: Status) -> str:
    if reason := obstacle(alias, status.pauses):
        return reason
    if failing := status.failing.get(alias):
        return str(reason_of(failing.error_code).label)
    if status.overdue[alias].is_long_due:
        return str(_NOTHING_IS_SENT)
    return _("the page of each says why")


def hint(problem: Problem, status: Status) -> str:
    """What those who look after the website should check because of the problem."""
    match problem.kind:
        case Kind.ALL_UNKNOWN:
            return _("Are ORDER_NUMBER, API_KEY and API_URL those of this shop?")
        case Kind.OVERDUE if _why_overdue(problem.shop, status) == str(_NOTHING_IS_SENT):
            return str(_IS_PUSH_RUNNING)
    return ""


def error_and_hint(failed: RemovedOrder | ShopState) -> str:
    """The error, and what those who look after the website can do about it."""
    if not failed.error_code:
        return ""
    error, advice = failed.last_error, str(reason_of(failed.error_code).hint)
    return f"{error.rstrip('.')}. {advice}" if error and advice else error or advice


# One removal


def outcome(row: RemovedOrder) -> str:
    """What Komfortkasse says of the removal."""
    match row.state:
        case State.REMOVED:
            return _("Komfortkasse has removed the order and sends no more reminders for it.")
        case State.UNKNOWN:
            return _("Komfortkasse knows no order with this number, so it sends no reminders.")
        case State.SUPERSEDED:
            return _(
                "Komfortkasse was not asked: an order with this number exists in the shop again."
            )
        case State.FAILED:
            return _("Komfortkasse refuses to remove the order.")
    if row.error_code:
        return _("Komfortkasse has not confirmed the removal yet: %(reason)s.") % {
            "reason": reason_of(row.error_code).label
        }
    return _("Komfortkasse has not been asked yet.")


def next_steps(row: RemovedOrder, pauses: Mapping[str, ShopState]) -> list[str]:
    """What happens next, and what there is to do. ``pauses`` is as for ``obstacle``."""
    steps = [*_to_settle(row)]
    if row.next_attempt_at is not None:
        steps += _next_attempt(row, row.next_attempt_at, pauses)
    if row.error_code:
        steps.append(str(reason_of(row.error_code).advice))
    if row.state == State.FAILED:
        steps.append(
            _(
                "Nothing happens by itself. Until the order is removed, Komfortkasse may go on"
                " reminding the customer to pay. Solve the problem, then try again."
            )
        )
    # The shop may be paused for the same reason.
    return [*dict.fromkeys(steps)] or [_("Nothing is left to do.")]


def _to_settle(row: RemovedOrder) -> Iterator[str]:
    if row.needs_refund:
        yield _(
            "Money had arrived when the order was removed. Refund %(amount)s to the customer:"
            " Komfortkasse does not do that by itself."
        ) % {"amount": money(row.amount_paid or Decimal(0), row.currency)}
    if row.needs_calling_off:
        yield _(
            "A collection agency is at work and may go on asking the customer to pay. Have it"
            " called off in Komfortkasse; that may cost money."
        )
    if row.is_unsettled and row.is_alive_again and row.alive_again_at:
        yield _(
            "The shop has an order with this number again (found %(time)s), but Komfortkasse will"
            " not ask the customer for its money. If it is still to be paid, send the order to"
            " Komfortkasse again."
        ) % {"time": exact_time(row.alive_again_at)}
    if row.is_unsettled:
        yield _("When that is done, or if there is nothing to do, press “Settled”.")


def _next_attempt(
    row: RemovedOrder, at: datetime, pauses: Mapping[str, ShopState]
) -> Iterator[str]:
    if row.state == State.UNKNOWN:
        yield _(
            "Komfortkasse did not know the order yet. It is asked again, because a shop may"
            " tell Komfortkasse of an order later than it deletes it. This is normal."
        )
    if reason := obstacle(row.shop, pauses):
        yield _("It is not sent at the moment: %(reason)s.") % {"reason": reason}
        if pause := pauses.get(row.shop):
            yield str(reason_of(pause.error_code).advice)
    elif at > timezone.now():
        text = _("It will be tried again by itself %(when)s (%(time)s).")
        yield text % {"when": from_now(at), "time": exact_time(at)}
        if row.is_overdue:
            yield _(
                "It was asked for more than an hour ago: please tell those who look after the"
                " website."
            )
    elif _is_long_due(row):
        yield _("It should have been sent long ago: please tell those who look after the website.")
    else:
        yield _("It will be sent by itself, usually within a minute.")


def _is_long_due(row: RemovedOrder) -> bool:
    """Whether it could have been sent all the time, so that nobody seems to run what sends it."""
    return row.next_attempt_at is not None and (
        row.next_attempt_at < timezone.now() - OVERDUE_AFTER
    )


def technical(row: RemovedOrder) -> str:
    """What those who look after the website want to know of a removal."""
    parts = [error_and_hint(row)]
    if _is_long_due(row) and not obstacle(row.shop, {}):
        parts.append(str(_IS_PUSH_RUNNING))
    return " ".join(filter(None, parts))
