"""``manage.py komfortkasse_ping``: is the API key right?"""

from argparse import ArgumentParser
from uuid import uuid4

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from komfortkasse_django.client import Client
from komfortkasse_django.conf import Shop, enabled_shops, shops
from komfortkasse_django.exceptions import KomfortkasseError, OrderNotFound, UnexpectedAnswer
from komfortkasse_django.management.arguments import add_shop
from komfortkasse_django.queue.calls import IMPOSSIBLE, api_key_of
from komfortkasse_django.reports.reasons import reason_of


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
        return f"{error}. {reason_of(error.code).hint}"
    except (TypeError, ValueError) as error:
        # The checks do not look at the key of a shop that is switched off.
        return str(error)
    problem = _("This is not Komfortkasse: it knows an order that cannot exist.")
    return f"{problem} {reason_of(UnexpectedAnswer.code).hint}"
