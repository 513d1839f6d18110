"""Why something is not removed yet, and what people can do about it."""

from collections.abc import Mapping
from typing import NamedTuple

from django.forms.utils import to_current_timezone
from django.utils.formats import time_format
from django.utils.functional import Promise
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from komfortkasse_django.conf import shops
from komfortkasse_django.exceptions import (
    SHOP_CODE,
    UNFORESEEN,
    AuthenticationFailed,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidRequest,
    ServiceUnavailable,
    UnexpectedAnswer,
)
from komfortkasse_django.models import ShopState


class Reason(NamedTuple):
    """What a kind of error means to the people in the shop."""

    label: Promise
    """In a few words that can follow a colon."""
    advice: Promise
    """What it means and what to do about it."""
    hint: Promise | str = ""
    """What those who look after the website should do. Only here settings are named."""


REASONS = {
    AuthenticationFailed.code: Reason(
        _("Komfortkasse does not accept the API key"),
        _(
            "The API key in the shop's settings is wrong or no longer valid. Nothing can be removed"
            " until those who look after the website have corrected it. Then everything is sent by"
            " itself."
        ),
        _("Correct API_KEY, and test it with komfortkasse_ping."),
    ),
    InvalidRequest.code: Reason(
        _("refused by Komfortkasse"),
        _(
            "Komfortkasse has understood the request and refuses it. The last line of this page has"
            " its own words. Look at the order in Komfortkasse, or ask its support."
        ),
    ),
    ServiceUnavailable.code: Reason(
        _("Komfortkasse is out of order or overloaded"),
        _("The trouble is at Komfortkasse and should pass by itself."),
    ),
    ConnectionFailed.code: Reason(
        pgettext_lazy("komfortkasse", "no connection"),
        _(
            "Komfortkasse could not be reached. If this takes longer than an hour, please tell"
            " those who look after the website."
        ),
        pgettext_lazy("komfortkasse", "Check the server's network."),
    ),
    DeadlineExceeded.code: Reason(
        _("Komfortkasse took too long to answer"),
        _(
            "Komfortkasse may or may not have removed the order; asking again does no harm. If this"
            " goes on, please tell those who look after the website."
        ),
        _("A higher DEADLINE gives Komfortkasse more time."),
    ),
    UnexpectedAnswer.code: Reason(
        pgettext_lazy("komfortkasse", "an unexpected answer"),
        _(
            "Something answered, but not as Komfortkasse does. If this goes on, please tell those"
            " who look after the website."
        ),
        _("Check API_URL, and whether a proxy or a login page answers instead of Komfortkasse."),
    ),
    SHOP_CODE: Reason(
        _("the shop's own code failed"),
        _(
            "It could not be found out whether the shop has an order with this number again, so"
            " nothing was sent. Please tell those who look after the website."
        ),
        _("The log has the whole error."),
    ),
    UNFORESEEN: Reason(
        pgettext_lazy("komfortkasse", "an unforeseen error"),
        _("If this goes on, please tell those who look after the website."),
        _("The log has the whole error."),
    ),
}


def reason_of(error_code: str) -> Reason:
    """The reason for a stored ``error_code``, also for one that another version stored."""
    return REASONS.get(error_code, REASONS[UNFORESEEN])


def obstacle(alias: str, pauses: Mapping[str, ShopState]) -> str:
    """Return why nothing is sent for the shop now; empty if nothing prevents it.

    ``pauses`` has the states of the shops that are paused now, by alias.
    """
    if alias not in shops():
        return gettext("the shop %(shop)s is not in the settings any more") % {"shop": alias}
    if not shops()[alias].enabled:
        return gettext("the shop %(shop)s is switched off in the settings") % {"shop": alias}
    if (pause := pauses.get(alias)) and pause.paused_until:
        return gettext("the shop %(shop)s is paused until %(time)s: %(reason)s") % {
            "shop": alias,
            "time": time_format(to_current_timezone(pause.paused_until)),
            "reason": reason_of(pause.error_code).label,
        }
    return ""
