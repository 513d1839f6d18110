"""``manage.py komfortkasse_remove``: ask for removals by hand."""

import sys
from argparse import ArgumentParser
from collections import Counter
from io import StringIO
from pathlib import Path

from django.core.management.base import CommandError
from django.db import router, transaction
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from komfortkasse_django import removals
from komfortkasse_django.conf import shops
from komfortkasse_django.management.arguments import add_shop
from komfortkasse_django.management.base import MirrorCommand
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue import pushing
from komfortkasse_django.reports.wording import summarize


class Command(MirrorCommand):
    help = (
        "Remove orders from Komfortkasse by their numbers. All of them are recorded, or none; then"
        " they are sent. Exits with 1 when one was refused or is still to be sent."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "numbers", nargs="*", metavar="NUMBER", help="order number, as Komfortkasse knows it"
        )
        parser.add_argument(
            "--from-file", metavar="FILE", help="a file with one number a line; - is standard input"
        )
        add_shop(parser)

    def handle(
        self, *, numbers: list[str], from_file: str | None, shop: str | None, **options: object
    ) -> None:
        wanted = dict.fromkeys([*numbers, *(_read(from_file) if from_file else [])])
        if not wanted:
            raise CommandError(_("No order number was given. Write one, or --from-file FILE."))
        if shop is None and len(shops()) > 1:
            known = ", ".join(shops())
            raise CommandError(
                _("Nothing was recorded: for which shop? Write --shop with one of %s.") % known
            )
        try:
            # All or none, also where only reading them again fails.
            with transaction.atomic(router.db_for_write(RemovedOrder)):
                rows = removals.remove(
                    list(wanted), shop=shop, requested_via=RemovedOrder.RequestedVia.COMMAND
                )
        except ValueError as error:
            raise CommandError(
                pgettext("komfortkasse", "Nothing was recorded. %s") % error
            ) from error
        if not rows:
            raise CommandError(_("Nothing was recorded: the shop is switched off by ENABLED."))

        using = rows[0]._state.db
        ids = [row.pk for row in rows]
        # Recording them has delivered what REQUEST_BUDGET allows. Nobody waits for a page here.
        pushing.push(using=using, shop=rows[0].shop, ids=ids)
        mirror = RemovedOrder.objects.using(using).in_bulk(ids).values()
        states = Counter(row.state for row in mirror)
        self.stdout.write(summarize(states))
        for row in mirror:
            if row.last_error:
                self.stderr.write(f"{row.order_number}: {row.last_error}")
        if states[RemovedOrder.State.PENDING]:
            raise CommandError(
                _("Not all of them are removed; komfortkasse_push sends what is left.")
            )
        if states[RemovedOrder.State.FAILED]:
            # Those it does not send.
            raise CommandError(
                _("Not all of them are removed: Komfortkasse refused some for good.")
            )


def _read(name: str) -> list[str]:
    """The numbers in a file: one a line, empty lines skipped."""
    try:
        # As bytes: how standard input is decoded depends on the locale, and keeps a BOM.
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(
            _("%(name)s cannot be read as UTF-8 text: %(error)s") % {"name": name, "error": error}
        ) from error
    return [number for line in StringIO(text, newline=None) if (number := line.strip())]
