"""``manage.py komfortkasse_ping``: is the API key right?"""

from argparse import ArgumentParser
from uuid import uuid4

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from komfortkasse_django.client import Client
from komfortkasse_django.conf import DEFAULT_API_URL, Shop, enabled_shops, shops
from komfortkasse_django.exceptions import (
    AuthenticationFailed,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidRequest,
    KomfortkasseError,
    OrderNotFound,
    ServiceUnavailable,
    UnexpectedAnswer,
)
from komfortkasse_django.management.arguments import add_shop
from komfortkasse_django.queue.calls import IMPOSSIBLE, api_key_of

_ADVICE = {
    AuthenticationFailed.code: gettext_lazy(
        "Set API_KEY to the key that Komfortkasse shows for this shop."
    ),
    ConnectionFailed.code: gettext_lazy(
        "Look at API_URL and at this server's network, proxy and certificates."
    ),
    DeadlineExceeded.code: gettext_lazy(
        "Try again. If that does not help, look at the network or raise DEADLINE."
    ),
    ServiceUnavailable.code: gettext_lazy(
        "Try again later: the trouble is at Komfortkasse, not in your settings."
    ),
    InvalidRequest.code: gettext_lazy(
        "Look at API_URL, and ask the support of Komfortkasse what it means."
    ),
    UnexpectedAnswer.code: gettext_lazy(
        'Write API_URL as "%(url)s". If it says that already, a proxy or a login page of the'
        " network answers instead of Komfortkasse."
    ),
}


class Command(BaseCommand):
    help = (
        "Test the API key: ask Komfortkasse to remove an order that cannot exist. Exits with 1"
        " unless Komfortkasse answers that it has no such order."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_shop(parser)

    def handle(self, *, shop: str | None, **options: object) -> None:
        asked = enabled_shops() if shop is None else [shops()[shop]]
        if not asked:
            raise CommandError(_("No shop is switched on by ENABLED. Name one with --shop."))
        problems = []
        for each in asked:
            if problem := _problem_of(each):
                names = {"shop": each.alias, "problem": problem}
                problems.append(pgettext("komfortkasse", "Shop %(shop)s: %(problem)s") % names)
            else:
                self.stdout.write(_("Shop %s: the API key is right.") % each.alias)
        if problems:
            raise CommandError("\n".join(problems))


def _problem_of(shop: Shop) -> str:
    """Return what is wrong and what to write instead, or an empty string."""
    try:
        client = Client(api_key=api_key_of(shop), api_url=shop.api_url, deadline=shop.deadline)
        client.remove_order(f"{IMPOSSIBLE}{uuid4()}")
    except OrderNotFound:
        return ""
    except KomfortkasseError as error:
        return f"{error}. {_ADVICE[error.code] % {'url': DEFAULT_API_URL}}"
    except (TypeError, ValueError) as error:
        # The checks do not look at the key of a shop that is switched off.
        return str(error)
    advice = _(
        'This is not Komfortkasse: it knows an order that cannot exist. Write API_URL as "%(url)s".'
    )
    return advice % {"url": DEFAULT_API_URL}
