"""What became of removals, in words for the people who asked for them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime

from django.forms.utils import to_current_timezone
from django.utils import timezone
from django.utils.formats import time_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, npgettext, pgettext

from komfortkasse_django.ages import ahead
from komfortkasse_django.conf import shops
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.reports.reasons import trouble_of


def summarize(states: Mapping[str, int]) -> str:
    """How many removals are in which state, such as ``3 removed, 1 will be tried again``."""
    parts = [_part(state, count) for state, count in states.items() if count]
    return ", ".join(parts) or pgettext("komfortkasse", "nothing to do")


def describe(rows: Iterable[RemovedOrder], pauses: Mapping[str, datetime]) -> str:
    """As ``summarize``, and when and why pending ones will be tried again.

    ``pauses`` says until when Komfortkasse wants to be left alone, by alias.
    """
    now = timezone.now()
    states: Counter[str] = Counter()
    waiting: dict[tuple[str, bool], list[datetime]] = defaultdict(list)
    for row in rows:
        if row.next_attempt_at is None:
            states[row.state] += 1
        else:
            reason = obstacle(row.shop, pauses)
            was_tried = not reason and bool(row.last_error) and row.next_attempt_at > now
            if was_tried:
                reason = str(trouble_of(row.last_error).label)
            waiting[reason, was_tried].append(row.next_attempt_at)
    parts = [_part(state, states[state]) for state in RemovedOrder.State.values if states[state]]
    for (reason, was_tried), times in waiting.items():
        if was_tried:
            text = npgettext(
                "komfortkasse",
                "%(count)d will be tried again %(when)s: %(reason)s",
                "%(count)d will be tried again, the first %(when)s: %(reason)s",
                len(times),
            )
        elif reason:
            text = ngettext(
                "%(count)d is still to be sent: %(reason)s",
                "%(count)d are still to be sent: %(reason)s",
                len(times),
            )
        else:
            text = ngettext(
                "%(count)d is still to be sent", "%(count)d are still to be sent", len(times)
            )
        parts.append(text % {"count": len(times), "when": ahead(min(times), now), "reason": reason})
    return ", ".join(parts) or pgettext("komfortkasse", "nothing to do")


def obstacle(alias: str, pauses: Mapping[str, datetime]) -> str:
    """Why nothing is sent for the shop now, or nothing."""
    if alias not in shops():
        return _("the shop %(shop)s is not in the settings any more") % {"shop": alias}
    if not shops()[alias].enabled:
        return _("the shop %(shop)s is switched off in the settings") % {"shop": alias}
    if alias in pauses:
        until = time_format(to_current_timezone(pauses[alias]))
        return _("Komfortkasse asked for a pause (until %(time)s)") % {"time": until}
    return ""


def _part(state: str, count: int) -> str:
    match state:
        case RemovedOrder.State.REMOVED:
            text = npgettext("komfortkasse", "%(count)d removed", "%(count)d removed", count)
        case RemovedOrder.State.UNKNOWN:
            text = ngettext(
                "%(count)d unknown to Komfortkasse", "%(count)d unknown to Komfortkasse", count
            )
        case RemovedOrder.State.SUPERSEDED:
            text = ngettext(
                "%(count)d not sent because its number is in use again",
                "%(count)d not sent because their numbers are in use again",
                count,
            )
        case RemovedOrder.State.FAILED:
            text = ngettext(
                "%(count)d refused by Komfortkasse", "%(count)d refused by Komfortkasse", count
            )
        case _:
            text = npgettext(
                "komfortkasse",
                "%(count)d will be tried again",
                "%(count)d will be tried again",
                count,
            )
    return text % {"count": count}
