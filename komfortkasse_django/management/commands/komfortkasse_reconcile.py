"""``manage.py komfortkasse_reconcile``: find what no signal told of."""

from argparse import ArgumentParser
from collections.abc import Callable

from django.core.management.base import CommandError
from django.db import DatabaseError, router
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, npgettext, pgettext

from komfortkasse_django import orders, reconciliation
from komfortkasse_django.conf import Shop, enabled_shops, shops
from komfortkasse_django.management.arguments import add_database, add_shop
from komfortkasse_django.management.base import MirrorCommand, missing_in
from komfortkasse_django.management.progress import progress
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.reconciliation import Findings, NotReconcilableError


class Command(MirrorCommand):
    help = (
        "Record the removal of orders that ended without any signal, and mark those that are alive"
        " again. Exits with 1 where a shop could not be looked at; nothing is recorded for it then."
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
        asked = enabled_shops() if shop is None else [shops()[shop]]
        problems = []
        for each in asked:
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
        findings = self._walk(reconciliation.survey, shop, using, verbosity)
        if verbosity > 0:
            self._describe(shop, findings)
        if dry_run:
            self.stdout.write(pgettext("komfortkasse", "Nothing was changed."))
        elif not findings.is_all_done:
            done = self._walk(reconciliation.reconcile, shop, using, verbosity).missing
            if done and verbosity > 0:
                text = ngettext(
                    "Recorded %(count)d removal. komfortkasse_push sends it.",
                    "Recorded %(count)d removals. komfortkasse_push sends them.",
                    done,
                )
                self.stdout.write(text % {"count": done})

    def _walk(
        self, walk: Callable[..., Findings], shop: Shop, using: str, verbosity: int
    ) -> Findings:
        def total() -> int:
            return orders.count(shop, using=reconciliation.orders_at(shop, using=using))

        with progress(total, verbosity=verbosity, label=shop.alias) as advance:
            return walk(shop, using=using, on_progress=advance)

    def _describe(self, shop: Shop, findings: Findings) -> None:
        text = npgettext(
            "komfortkasse",
            "Shop %(shop)s: %(orders)d order, %(gone)d gone.",
            "Shop %(shop)s: %(orders)d orders, %(gone)d gone.",
            findings.orders,
        )
        names = {"shop": shop.alias, "orders": findings.orders, "gone": findings.gone}
        self.stdout.write(text % names)
        if findings.missing:
            text = ngettext(
                "%(count)d removal was never recorded, so 1 call to Komfortkasse: %(numbers)s",
                "%(count)d removals were never recorded, so as many calls to Komfortkasse:"
                " %(numbers)s",
                findings.missing,
            )
            self._name(text, findings.missing, findings.first_missing)
        if findings.alive_again:
            text = ngettext(
                "%(count)d order is alive again, but was removed at Komfortkasse: %(numbers)s",
                "%(count)d orders are alive again, but were removed at Komfortkasse: %(numbers)s",
                findings.alive_again,
            )
            self._name(text, findings.alive_again, findings.first_alive_again)

    def _name(self, text: str, count: int, numbers: list[str]) -> None:
        more = [pgettext("komfortkasse", "and more")] if count > len(numbers) else []
        self.stdout.write(text % {"count": count, "numbers": ", ".join([*numbers, *more])})


def _describe_problem(shop: Shop, error: Exception) -> str:
    reason = str(error)
    if not isinstance(error, NotReconcilableError):
        reason = f"{type(error).__name__}: {error}"
    return pgettext("komfortkasse", "Shop %(shop)s: nothing was recorded: %(reason)s") % {
        "shop": shop.alias,
        "reason": reason,
    }
