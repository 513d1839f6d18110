"""One removal in sentences: what happened, what Komfortkasse says, what happens next."""

from collections.abc import Mapping
from datetime import datetime

from django.utils import timezone
from django.utils.translation import gettext as _

from komfortkasse_django.admin.markup import exact_time, money
from komfortkasse_django.ages import ahead
from komfortkasse_django.models import CONFIRMED_WITHIN, RemovedOrder
from komfortkasse_django.reports.reasons import trouble_of
from komfortkasse_django.reports.wording import obstacle

State = RemovedOrder.State


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
    if row.last_error:
        return _("Komfortkasse has not confirmed the removal yet: %(reason)s.") % {
            "reason": trouble_of(row.last_error).label
        }
    return _("Komfortkasse has not been asked yet.")


def next_step(row: RemovedOrder, pauses: Mapping[str, datetime]) -> str:
    """What happens next, and what there is to do.

    ``pauses`` says until when Komfortkasse wants to be left alone, by alias.
    """
    if row.state == State.FAILED:
        return _(
            "Nothing happens by itself. Until it is removed, Komfortkasse may go on reminding the"
            " customer to pay. Mend the cause, then try again."
        )
    if row.next_attempt_at is not None:
        return _next_attempt(row, row.next_attempt_at, pauses)
    if row.amount_paid and row.amount_paid > 0:
        return _(
            "Money had arrived when the order was removed: refund %(amount)s to the customer."
            " Komfortkasse does not do that by itself."
        ) % {"amount": money(row.amount_paid, row.currency)}
    return _("Nothing is left to do.")


def _next_attempt(row: RemovedOrder, at: datetime, pauses: Mapping[str, datetime]) -> str:
    reason = obstacle(row.shop, pauses)
    if reason:
        return _("It is not sent at the moment: %(reason)s.") % {"reason": reason}
    if at <= timezone.now():
        return _(
            "It is due since %(time)s and will be sent by the next run of komfortkasse_push."
        ) % {"time": exact_time(at)}
    if at > timezone.now() + CONFIRMED_WITHIN:
        return _(
            "It is put off until %(time)s, by a clock that must have been wrong. Try again now."
        ) % {"time": exact_time(at)}
    return _("It will be tried again %(when)s (%(time)s).") % {
        "when": ahead(at),
        "time": exact_time(at),
    }
