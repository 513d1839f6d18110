"""``manage.py komfortkasse_push``: send what is due."""

import logging
import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.core.management.base import CommandError
from django.db import close_old_connections, router
from django.db.models import Count
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from komfortkasse_django.management.arguments import (
    add_database,
    add_shop,
    positive_integer,
    positive_seconds,
)
from komfortkasse_django.management.base import MirrorCommand, missing_in
from komfortkasse_django.management.progress import progress
from komfortkasse_django.management.watching import News, Stop, timed, with_time
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet, ShopState
from komfortkasse_django.queue import pushing
from komfortkasse_django.queue.pushing import PushResult
from komfortkasse_django.reports.reasons import obstacle
from komfortkasse_django.reports.status import read_pauses
from komfortkasse_django.reports.wording import Waiting, summarize

logger = logging.getLogger("komfortkasse_django")

State = RemovedOrder.State


@dataclass(frozen=True)
class _Left:
    """Due removals of one shop that were not sent."""

    text: str
    cause: str
    """Why, without what changes while it lasts."""


class Command(MirrorCommand):
    help = "Send the removals that are due to Komfortkasse. Exits with 1 while due ones remain."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--watch",
            metavar="SECONDS",
            type=positive_seconds,
            help="go on until SIGTERM or Ctrl-C, looking for due removals every SECONDS",
        )
        parser.add_argument(
            "--limit",
            metavar="N",
            type=positive_integer,
            help="send at most N removals; with --watch, in each round",
        )
        add_shop(parser)
        add_database(parser)

    def handle(
        self,
        *,
        watch: float | None,
        limit: int | None,
        shop: str | None,
        database: str | None,
        verbosity: int,
        **options: object,
    ) -> None:
        self.using = database or router.db_for_write(RemovedOrder)
        self.shop = shop
        self.limit = limit
        self.verbosity = verbosity
        self.stop = Stop()
        self.news = News()
        with self.stop.listening():
            if watch is None:
                self._push_once()
            else:
                with timed(logger):
                    self._watch(watch)

    def _push_once(self) -> None:
        """Push, and say what became of it. Raises ``CommandError`` where due ones are left.

        Without words in a pause if it is to be quiet: cron would send a mail each minute.
        """
        result, waiting = self._push()
        pauses = self._pauses()
        left = self._left(result, pauses)
        if self.verbosity > 0:
            if result.total or not (pauses or left):
                self.stdout.write(summarize(result.states, waiting))
            for alias in pauses.keys() - left.keys():
                self.stdout.write(capfirst(obstacle(alias, pauses)))
        told = [
            each.text for alias, each in left.items() if self.verbosity > 0 or alias not in pauses
        ]
        if told:
            raise CommandError("\n".join(told))
        if left:
            sys.exit(1)

    def _watch(self, seconds: float) -> None:
        """Push again and again; what goes wrong in one round is logged, and the next begins."""
        while not self.stop.is_wanted():
            try:
                # What Django does around a web request: drop connections that broke or are too old.
                close_old_connections()
                self._push_again()
            except Exception as error:  # noqa: BLE001 - logged, and tried again
                if self.news.is_new("", repr(error)):
                    _log(error, seconds, self.using)
            self.stop.wait(seconds)

    def _push_again(self) -> None:
        """Push, and say only what was not said in the rounds before."""
        result, waiting = self._push()
        # What did not fail is always new.
        failed = [self.news.is_new(alias, code) for alias, code in waiting.reasons()]
        if self.verbosity > 0 and (any(failed) or result.total > result.states[State.PENDING]):
            self.stdout.write(with_time(summarize(result.states, waiting)))
        left = {} if self.stop.is_wanted() else self._left(result, self._pauses())
        for alias, each in left.items():
            if self.news.is_new(alias, f"left: {each.cause}"):
                logger.warning("%s", each.text)
        failing = ShopState.objects.using(self.using).filter(failures__gt=0).in_bulk()
        self.news.forget_all_but(left.keys() | failing.keys() | result.stopped.keys())

    def _push(self) -> tuple[PushResult, Waiting]:
        """Return what became of the removals, and those of them that wait to be tried again."""
        waiting = Waiting()
        due = self._due()[: self.limit]
        with progress(due.count, verbosity=self.verbosity, label="") as advance:

            def on_settled(rows: Sequence[RemovedOrder]) -> None:
                waiting.add(rows)
                advance(len(rows))

            result = pushing.push(
                using=self.using,
                shop=self.shop,
                limit=self.limit,
                should_stop=self.stop.is_wanted,
                on_settled=on_settled,
                is_news=lambda alias, reason: self.news.is_new(alias, f"stopped: {reason}"),
            )
        return result, waiting

    def _due(self) -> RemovedOrderQuerySet:
        """What should be sent now, also what a pause holds back."""
        due = RemovedOrder.objects.using(self.using).filter(next_attempt_at__lte=timezone.now())
        return due if self.shop is None else due.filter(shop=self.shop)

    def _pauses(self) -> dict[str, ShopState]:
        """The shops that are paused now, by alias."""
        pauses = read_pauses(self.using)
        return {alias: each for alias, each in pauses.items() if self.shop in {None, alias}}

    def _left(self, result: PushResult, pauses: Mapping[str, ShopState]) -> dict[str, _Left]:
        """By alias, what is still due after a push."""
        left = {}
        rows = self._due().order_by("shop").values_list("shop")
        for alias, count in rows.annotate(Count("pk")):
            reason = obstacle(alias, pauses) or result.stopped.get(alias, "")
            text = ngettext(
                "%(count)d removal of shop %(shop)s is still due: %(reason)s",
                "%(count)d removals of shop %(shop)s are still due: %(reason)s",
                count,
            ) % {
                "count": count,
                "shop": alias,
                "reason": reason or _("they became due meanwhile or were not reached"),
            }
            left[alias] = _Left(text, pauses[alias].error_code if alias in pauses else reason)
        return left


def _log(error: Exception, seconds: float, using: str) -> None:
    if missing := missing_in(using):
        logger.error("komfortkasse_push goes on in %s seconds: %s", seconds, missing)
    else:
        logger.error(
            "komfortkasse_push goes on in %s seconds after an error", seconds, exc_info=error
        )
