"""``manage.py komfortkasse_prune``: forget removals that were finished long ago."""

import time
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import timedelta

from django.core.management.base import CommandError
from django.db import router
from django.utils import timezone
from django.utils.translation import npgettext

from komfortkasse_django.management.arguments import add_database, positive_integer
from komfortkasse_django.management.base import MirrorCommand
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet

_CHUNK = 2000  # rows looked at in one transaction


class Command(MirrorCommand):
    help = (
        "Delete the record of removals that were finished long ago. Those that are still to be sent"
        " or were refused by Komfortkasse are never deleted."
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
            count = rows.count()
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
            for deleted in _delete(rows):
                count += deleted
        finally:
            text = npgettext(
                "komfortkasse",
                "Deleted %(count)d finished removal.",
                "Deleted %(count)d finished removals.",
                count,
            )
            if verbosity > 0:
                self.stdout.write(text % {"count": count})


def _delete(rows: RemovedOrderQuerySet) -> Iterator[int]:
    """Delete ``rows`` in short transactions and yield how many each of them deleted."""
    by_key = RemovedOrder.objects.using(rows.db).order_by("pk").values_list("pk", flat=True)
    done = 0
    while True:
        started = time.monotonic()
        # A walk along the primary key: to look for the next finished rows could take a scan each.
        keys = list(by_key.filter(pk__gt=done)[:_CHUNK])
        if not keys:
            return
        _total, by_model = rows.filter(pk__gt=done, pk__lte=keys[-1]).delete()
        done = keys[-1]
        yield by_model.get(RemovedOrder._meta.label, 0)
        # Leave the database to others for as long, or SQLite's one writer would always be this.
        time.sleep(time.monotonic() - started)
