"""What a push did, in words for the people who asked for it."""

from collections.abc import Mapping

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from komfortkasse_django.models import RemovedOrder


def summarize(states: Mapping[str, int]) -> str:
    """How many removals are in which state, such as ``3 removed, 1 will be tried again``."""
    parts = [text for state, count in states.items() if count and (text := _part(state, count))]
    return ", ".join(parts) or _("nothing to do")


def _part(state: str, count: int) -> str:
    match state:
        case RemovedOrder.State.REMOVED:
            text = ngettext("%(count)d removed", "%(count)d removed", count)
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
            text = ngettext("%(count)d will be tried again", "%(count)d will be tried again", count)
    return text % {"count": count}
