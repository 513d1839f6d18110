"""What the stored errors mean to the people in the shop, and what they can do."""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


@dataclass(frozen=True)
class Trouble:
    """A kind of error."""

    begins: str
    """How ``last_error`` begins; it is stored in English, with details that nobody translates."""
    label: Promise
    """In a few words, to go on after a colon."""
    advice: Promise
    """What it means and what to do about it."""


TROUBLES = (
    Trouble(
        "Komfortkasse does not accept the API key",
        _("Komfortkasse does not accept the API key"),
        _(
            "The API key in the shop's settings is wrong or no longer valid. Until whoever looks"
            " after the website has put it right, nothing can be removed; then it goes on by"
            " itself."
        ),
    ),
    Trouble(
        "Komfortkasse rejects the request",
        _("refused by Komfortkasse"),
        _(
            "Komfortkasse has understood the request and refuses it, so it is not tried again by"
            " itself. Look at what Komfortkasse says and at the order in Komfortkasse, or ask its"
            " support. Once the cause is mended, try again."
        ),
    ),
    Trouble(
        "Komfortkasse is temporarily unavailable",
        _("Komfortkasse is out of order or overloaded"),
        _("The trouble is at Komfortkasse and should pass. There is nothing for you to do."),
    ),
    Trouble(
        "No connection to Komfortkasse",
        pgettext_lazy("komfortkasse", "no connection"),
        _(
            "Komfortkasse could not be reached. If that does not pass within the hour, whoever"
            " looks after the server should check its network."
        ),
    ),
    Trouble(
        "The deadline passed",
        _("Komfortkasse took too long to answer"),
        _(
            "Komfortkasse may have heard of the removal or not; asking again does no harm. If that"
            " goes on, whoever looks after the website can allow it more time by DEADLINE."
        ),
    ),
    Trouble(
        "The request was redirected",
        pgettext_lazy("komfortkasse", "redirected elsewhere"),
        _(
            "The request was sent on to another address, where it does not go for safety's sake."
            " Whoever looks after the website should check API_URL and the network's proxy."
        ),
    ),
    Trouble(
        "The shop's own code failed",
        _("the shop's own code failed"),
        _(
            "Whether an order with this number exists again could not be found out, so nothing was"
            " sent. Whoever looks after the website finds the error in its log."
        ),
    ),
    Trouble(
        "Unexpected ",
        pgettext_lazy("komfortkasse", "an unforeseen error"),
        _("Whoever looks after the website finds the whole error in its log."),
    ),
)

UNEXPECTED_ANSWER = Trouble(
    "",
    pgettext_lazy("komfortkasse", "an unexpected answer"),
    _(
        "Something answered, but not as Komfortkasse does: a proxy, a login page of the network, or"
        " a connection that was cut off. If that does not pass, whoever looks after the server"
        " should check its network."
    ),
)


def trouble_of(last_error: str) -> Trouble:
    """The kind of a stored error."""
    return next(
        (trouble for trouble in TROUBLES if last_error.startswith(trouble.begins)),
        UNEXPECTED_ANSWER,
    )
