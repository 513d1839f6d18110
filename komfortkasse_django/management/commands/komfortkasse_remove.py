"""``manage.py komfortkasse_remove``: ask for removals by hand."""

import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Sequence

from django.core.management.base import CommandError
from django.db import router, transaction
from django.utils.translation import gettext as _
from django.utils.translation import npgettext, pgettext

from komfortkasse_django import orders, removals
from komfortkasse_django.conf import Shop, shops, shops_named
from komfortkasse_django.management.arguments import add_shop
from komfortkasse_django.management.base import MirrorCommand
from komfortkasse_django.management.numbers import STANDARD_INPUT, read_numbers
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue import pushing
from komfortkasse_django.reports.status import read_pauses
from komfortkasse_django.reports.wording import Waiting, named, summarize

State = RemovedOrder.State

LOOKED_UP = 1000
"""How many numbers are looked up by one query."""
_NAMED = 10  # orders that are named; the others are counted


class Command(MirrorCommand):
    help = (
        "Remove orders from Komfortkasse by their numbers. All of them are recorded, or none; then"
        " they are sent. Asks before it removes orders that are alive in the shop. Exits with 1"
        " when nothing was recorded, or when one was refused or is still to be sent."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "numbers",
            nargs="*",
            metavar="NUMBER",
            help="order number, as Komfortkasse knows it; - alone is standard input",
        )
        parser.add_argument(
            "--from-file", metavar="FILE", help="a file with one number a line; - is standard input"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="only say how many would be removed"
        )
        parser.add_argument(
            "--no-input",
            action="store_false",
            dest="interactive",
            help="do not ask before orders are removed that are alive in the shop",
        )
        add_shop(parser)

    def handle(
        self,
        *,
        numbers: list[str],
        from_file: str | None,
        dry_run: bool,
        interactive: bool,
        shop: str | None,
        **options: object,
    ) -> None:
        theirs = _shop(shop)
        wanted = _wanted(numbers, from_file, theirs)
        alive = sorted(_in_shop(theirs, wanted))
        if alive:
            text = pgettext("komfortkasse", "Alive in the shop: %(orders)s")
            self.stdout.write(text % {"orders": named(alive, len(alive), at_most=_NAMED)})
        if dry_run:
            text = npgettext(
                "komfortkasse",
                "Would remove %(count)d order from Komfortkasse.",
                "Would remove %(count)d orders from Komfortkasse.",
                len(wanted),
            )
            self.stdout.write(text % {"count": len(wanted)})
            return
        if alive and interactive:
            _ask()
        self._remove(theirs, wanted)

    def _remove(self, shop: Shop, wanted: list[str]) -> None:
        using = router.db_for_write(RemovedOrder)
        # All or none, also if only reading them again fails.
        with transaction.atomic(using):
            rows = removals.remove(
                wanted, shop=shop.alias, requested_via=RemovedOrder.RequestedVia.COMMAND
            )
        ids = [row.pk for row in rows]
        # Recording them has sent what REQUEST_BUDGET allows. Nobody waits for a page here.
        pushing.push(using=using, shop=shop.alias, ids=ids)
        mirror = RemovedOrder.objects.using(using).in_bulk(ids).values()
        states = Counter(row.state for row in mirror)
        waiting = Waiting(mirror)
        self.stdout.write(summarize(states, waiting, read_pauses(using)))
        for row in mirror:
            if row.last_error:
                self.stderr.write(f"{row.order_number}: {row.last_error}")
        if waiting.reasons():
            raise CommandError(
                _("Not all of them are removed; komfortkasse_push sends what is left.")
            )
        if states[State.FAILED]:
            # Those it does not send.
            raise CommandError(
                _("Not all of them are removed: Komfortkasse refused some for good.")
            )


def _shop(alias: str | None) -> Shop:
    if alias is None and len(shops()) != 1:
        known = ", ".join(shops()) or "none at all"
        raise CommandError(
            _("Nothing was recorded: for which shop? Write --shop with one of %s.") % known
        )
    [shop] = shops_named(alias)
    if not shop.enabled:
        raise CommandError(_("Nothing was recorded: the shop is switched off by ENABLED."))
    return shop


def _wanted(numbers: list[str], from_file: str | None, shop: Shop) -> list[str]:
    """Return the numbers that were given, each once."""
    if numbers == [STANDARD_INPUT] and from_file is None:
        numbers, from_file = [], STANDARD_INPUT
    if STANDARD_INPUT in numbers:
        raise CommandError(_("Nothing was recorded. Write - alone: it stands for standard input."))
    if from_file is not None:
        numbers = numbers + read_numbers(from_file, lambda lines: _in_shop(shop, lines))
    try:
        cleaned = [orders.clean_number(number) for number in dict.fromkeys(numbers)]
    except ValueError as error:
        raise CommandError(pgettext("komfortkasse", "Nothing was recorded. %s") % error) from error
    wanted = [number for number in cleaned if number is not None]
    if not wanted or len(wanted) < len(cleaned):
        raise CommandError(_("No order number was given. Write one, or --from-file FILE."))
    return wanted


def _in_shop(shop: Shop, numbers: Sequence[str]) -> set[str]:
    """Return the order numbers among ``numbers`` that living orders have."""
    using = orders.database_of(shop, mirror_at=router.db_for_write(RemovedOrder))
    parts = (numbers[at : at + LOOKED_UP] for at in range(0, len(numbers), LOOKED_UP))
    try:
        return {found for part in parts for found in orders.alive(shop, part, using=using)}
    except Exception as error:
        raise CommandError(
            _("Nothing was recorded. Which of the orders are alive in the shop is unknown: %s")
            % repr(error)
        ) from error


def _ask() -> None:
    """Raise ``CommandError`` unless somebody at a terminal says yes."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise CommandError(
            _(
                "Nothing was recorded. There is no terminal to ask on; --no-input removes orders"
                " that are alive in the shop without asking."
            )
        )
    try:
        typed = input(
            _('Komfortkasse will send no more reminders for them. To go on, type "yes": ')
        )
    except (EOFError, KeyboardInterrupt):
        typed = ""
    if typed.strip().lower() not in {"yes", pgettext("komfortkasse", "yes")}:
        raise CommandError(pgettext("komfortkasse", "Nothing was recorded."))
