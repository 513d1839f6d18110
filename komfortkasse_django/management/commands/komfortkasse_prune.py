"""``manage.py komfortkasse_prune``: delete removals that were finished long ago."""

import time
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta

from django.core.management.base import CommandError
from django.db import router
from django.db.models import Max
from django.utils import timezone
from django.utils.translation import npgettext

from komfortkasse_django import orders
from komfortkasse_django.conf import shops
from komfortkasse_django.management.arguments import add_database, positive_integer
from komfortkasse_django.management.base import MirrorCommand
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet

_CHUNK = 2000  # rows looked at in one transaction


class Command(MirrorCommand):
    help = (
        "Delete the record of removals that were finished long ago. Those that are still to be sent"
        " or were refused by Komfortkasse are never deleted, nor is the last one of an order that"
        " is still in the shop."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--older-than",
            metavar="DAYS",
            type=positive_integer,
            required=True,
            help="delete what was finished more than DAYS ago",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="only say how many would be deleted"
        )
        add_database(parser)

    def handle(
        self,
        *,
        older_than: int,
        dry_run: bool,
        database: str | None,
        verbosity: int,
        **options: object,
    ) -> None:
        try:
            before = timezone.now() - timedelta(days=older_than)
        except OverflowError as error:
            raise CommandError(f"--older-than {older_than}: no date is so long ago") from error
        mirror = RemovedOrder.objects.using(database or router.db_for_write(RemovedOrder))
        rows = mirror.finished().filter(finished_at__lt=before)
        if dry_run:
            count = sum(chunk.count() for chunk in _prunable(rows))
            text = npgettext(
                "komfortkasse",
                "Would delete %(count)d finished removal.",
                "Would delete %(count)d finished removals.",
                count,
            )
            self.stdout.write(text % {"count": count})
            return
        count = 0
        try:
            for chunk in _prunable(rows):
                _total, by_model = chunk.delete()
                count += by_model.get(RemovedOrder._meta.label, 0)
        finally:
            text = npgettext(
                "komfortkasse",
                "Deleted %(count)d finished removal.",
                "Deleted %(count)d finished removals.",
                count,
            )
            if verbosity > 0:
                self.stdout.write(text % {"count": count})


def _prunable(rows: RemovedOrderQuerySet) -> Iterator[RemovedOrderQuerySet]:
    """Yield the rows that can be deleted, in parts for one short transaction each."""
    by_key = RemovedOrder.objects.using(rows.db).order_by("pk").values_list("pk", flat=True)
    done = 0
    started = time.monotonic()
    # By primary key: to look for the next finished rows could take a scan each.
    while keys := list(by_key.filter(pk__gt=done)[:_CHUNK]):
        chunk = rows.filter(pk__gt=done, pk__lte=keys[-1])
        yield chunk.exclude(pk__in=_needed(chunk))
        done = keys[-1]
        # Wait for as long as that took. SQLite has only one writer: others need a turn, too.
        time.sleep(time.monotonic() - started)
        started = time.monotonic()


def _needed(rows: RemovedOrderQuerySet) -> set[int]:
    """Return the last row of each order that is still in the shop.

    Without it, komfortkasse_reconcile would take the order for one that was never removed.
    """
    numbers: dict[str, set[str]] = defaultdict(set)
    for alias, number in rows.values_list("shop", "order_number"):
        numbers[alias].add(number)
    needed: set[int] = set()
    for alias, its_numbers in numbers.items():
        shop = shops().get(alias)
        if shop is None or shop.installed_model is None:
            continue
        using = orders.database_of(shop, mirror_at=rows.db)
        found = orders.existing(shop, its_numbers, using=using)
        if found is None:  # a number by a function: any order may still be there
            found = its_numbers if shop.gone else set()
        same = RemovedOrder.objects.using(rows.db).filter(shop=alias, order_number__in=found)
        last = same.order_by().values("order_number").annotate(last=Max("pk"))
        needed.update(last.values_list("last", flat=True))
    return needed
