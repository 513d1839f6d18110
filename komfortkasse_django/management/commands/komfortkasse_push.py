"""``manage.py komfortkasse_push``: send what is due."""

import logging
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
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


@dataclass(frozen=True)
class _Round:
    """What one push did, and what it left."""

    using: str
    shop: str | None
    result: PushResult
    waiting: Waiting

    def summary(self) -> str:
        """What became of the removals."""
        return summarize(self.result.states, self.waiting)

    def has_news(self, news: News) -> bool:
        """Whether it did more than to fail as before."""
        failed = [news.is_new(shop, code) for shop, code in self.waiting.reasons()]
        return any(failed) or self.result.total > self.result.states[State.PENDING]

    def pauses(self) -> dict[str, ShopState]:
        """The shops that are paused now, by alias."""
        pauses = read_pauses(self.using)
        return {alias: each for alias, each in pauses.items() if self.shop in {None, alias}}

    def failing(self) -> set[str]:
        """The shops whose trouble is not over."""
        failing = ShopState.objects.using(self.using).filter(failures__gt=0)
        return set(failing.values_list("shop", flat=True))

    def left(self, pauses: Mapping[str, ShopState]) -> dict[str, _Left]:
        """By alias, what is still due."""
        rows = _due(self.using, self.shop).order_by("shop").values_list("shop")
        left = {}
        for alias, count in rows.annotate(Count("pk")):
            reason = obstacle(alias, pauses) or self.result.stopped.get(alias, "")
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


def _due(using: str, shop: str | None) -> RemovedOrderQuerySet:
    """What should be sent now, also what a pause holds back."""
    due = RemovedOrder.objects.using(using).filter(next_attempt_at__lte=timezone.now())
    return due if shop is None else due.filter(shop=shop)


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
        using = database or router.db_for_write(RemovedOrder)
        stop, news = Stop(), News()

        def push() -> _Round:
            waiting = Waiting()
            due = _due(using, shop)[:limit]
            with progress(due.count, verbosity=verbosity, label="") as advance:

                def on_settled(rows: Sequence[RemovedOrder]) -> None:
                    waiting.add(rows)
                    advance(len(rows))

                result = pushing.push(
                    using=using,
                    shop=shop,
                    limit=limit,
                    should_stop=stop.is_wanted,
                    on_settled=on_settled,
                    is_news=lambda alias, reason: news.is_new(alias, f"stopped: {reason}"),
                )
            return _Round(using, shop, result, waiting)

        with stop.listening():
            if watch is None:
                self._tell(push(), verbosity)
            else:
                with timed(logger):
                    self._watch(push, stop, news, seconds=watch, using=using, verbosity=verbosity)

    def _tell(self, done: _Round, verbosity: int) -> None:
        """Say what became of the removals. Raises ``CommandError`` where due ones are left.

        Without words in a pause if it is to be quiet: cron would send a mail each minute.
        """
        pauses = done.pauses()
        left = done.left(pauses)
        if verbosity > 0:
            if done.result.total or not (pauses or left):
                self.stdout.write(done.summary())
            for alias in pauses.keys() - left.keys():
                self.stdout.write(capfirst(obstacle(alias, pauses)))
        told = [each.text for alias, each in left.items() if verbosity > 0 or alias not in pauses]
        if told:
            raise CommandError("\n".join(told))
        if left:
            sys.exit(1)

    def _watch(
        self,
        push: Callable[[], _Round],
        stop: Stop,
        news: News,
        *,
        seconds: float,
        using: str,
        verbosity: int,
    ) -> None:
        """Push again and again; what goes wrong in one round is logged, and the next begins."""
        while not stop.is_wanted():
            try:
                # What Django does around a web request: drop connections that broke or are too old.
                close_old_connections()
                done = push()
                if done.has_news(news) and verbosity > 0:
                    self.stdout.write(with_time(done.summary()))
                left = {} if stop.is_wanted() else done.left(done.pauses())
                for alias, each in left.items():
                    if news.is_new(alias, f"left: {each.cause}"):
                        logger.warning("%s", each.text)
                news.forget_all_but(left.keys() | done.failing() | done.result.stopped.keys())
            except Exception as error:  # noqa: BLE001 - logged, and tried again
                if news.is_new("", repr(error)):
                    _log(error, seconds, using)
            stop.wait(seconds)


def _log(error: Exception, seconds: float, using: str) -> None:
    if missing := missing_in(using):
        logger.error("komfortkasse_push goes on in %s seconds: %s", seconds, missing)
    else:
        logger.error(
            "komfortkasse_push goes on in %s seconds after an error", seconds, exc_info=error
        )
