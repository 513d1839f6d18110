"""``manage.py komfortkasse_reconcile``: find orders that ended without a signal of Django."""

from argparse import ArgumentParser

from django.core.management.base import CommandError
from django.db import DatabaseError, router
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from komfortkasse_django import orders, reconciliation
from komfortkasse_django.conf import Shop, enabled_shops, shops
from komfortkasse_django.management.arguments import add_database, add_shop
from komfortkasse_django.management.base import MirrorCommand, missing_in
from komfortkasse_django.management.progress import progress
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.reconciliation import Findings, NotReconcilableError
from komfortkasse_django.reports.wording import named


class Command(MirrorCommand):
    help = (
        "Record the removal of orders that ended without any signal, and mark those that are alive"
        " again. Exits with 1 if a shop could not be looked at; nothing is recorded for it then."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="only say what would be recorded and marked"
        )
        add_shop(parser)
        add_database(parser)

    def handle(
        self,
        *,
        dry_run: bool,
        shop: str | None,
        database: str | None,
        verbosity: int,
        **options: object,
    ) -> None:
        using = database or router.db_for_write(RemovedOrder)
        problems = []
        for each in enabled_shops() if shop is None else [shops()[shop]]:
            try:
                self._reconcile(each, using, dry_run=dry_run, verbosity=verbosity)
            except Exception as error:
                if isinstance(error, DatabaseError) and missing_in(database):
                    raise
                # One shop's trouble must not hold up the others.
                problems.append(_describe_problem(each, error))
        if problems:
            raise CommandError("\n".join(problems))

    def _reconcile(self, shop: Shop, using: str, *, dry_run: bool, verbosity: int) -> None:
        if not shop.enabled:
            raise NotReconcilableError(_("the shop is switched off by ENABLED"))
        findings = _walk(shop, using, dry_run=True, verbosity=verbosity)
        lines = _describe(shop, findings)
        if dry_run:
            lines.append(pgettext("komfortkasse", "Nothing was changed."))
        # Shown before anything is recorded, so that people can still stop the command.
        if dry_run or verbosity > 0:
            self.stdout.write("\n".join(lines))
        if not dry_run and not findings.is_all_done:
            done = _walk(shop, using, dry_run=False, verbosity=verbosity)
            if done.missing.count and verbosity > 0:
                text = _("Recorded: %d, to be sent by komfortkasse_push")
                self.stdout.write(text % done.missing.count)


def _walk(shop: Shop, using: str, *, dry_run: bool, verbosity: int) -> Findings:
    def total() -> int:
        return orders.count(shop, using=reconciliation.orders_at(shop, using=using))

    with progress(total, verbosity=verbosity, label=shop.alias) as advance:
        return reconciliation.reconcile(shop, using=using, dry_run=dry_run, on_progress=advance)


def _describe(shop: Shop, findings: Findings) -> list[str]:
    text = pgettext("komfortkasse", "Shop %(shop)s: %(orders)d in the shop, %(gone)d of them gone")
    lines = [text % {"shop": shop.alias, "orders": findings.orders, "gone": findings.gone}]
    missing = _("Never recorded, one call to Komfortkasse for each: %(count)d (%(numbers)s)")
    alive_again = _("Alive again, but removed at Komfortkasse: %(count)d (%(numbers)s)")
    for text, found in ((missing, findings.missing), (alive_again, findings.alive_again)):
        if found.count:
            numbers = named(found.first, found.count, at_most=len(found.first))
            lines.append(text % {"count": found.count, "numbers": numbers})
    return lines


def _describe_problem(shop: Shop, error: Exception) -> str:
    is_ours = isinstance(error, NotReconcilableError)
    reason = str(error) if is_ours else f"{type(error).__name__}: {error}"
    text = pgettext("komfortkasse", "Shop %(shop)s: nothing was recorded: %(reason)s")
    return text % {"shop": shop.alias, "reason": reason}
