"""``manage.py komfortkasse_push``: send what is due."""

import logging
import signal
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from threading import current_thread, main_thread

from django.core.management.base import CommandError
from django.db import close_old_connections, router
from django.db.models import Count
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from komfortkasse_django.management.arguments import (
    add_database,
    add_shop,
    positive_integer,
    positive_seconds,
)
from komfortkasse_django.management.base import MirrorCommand
from komfortkasse_django.management.progress import progress
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet
from komfortkasse_django.queue import pushing
from komfortkasse_django.queue.pushing import PushResult
from komfortkasse_django.reports.reasons import obstacle
from komfortkasse_django.reports.wording import summarize

logger = logging.getLogger("komfortkasse_django")

# Not an Event: one that a signal handler sets while the same thread waits for it can deadlock.
_Signals = SimpleQueue[int]

_CLAIM_TIME = 0.5  # seconds in which a worker's claim is certainly committed


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
        stopping: _Signals = SimpleQueue()

        def push() -> PushResult:
            def total() -> int:
                count = _due(using, shop).count()
                return min(count, limit or count)

            with progress(total, verbosity=verbosity, unit="") as advance:
                return pushing.push(
                    using=using,
                    shop=shop,
                    limit=limit,
                    should_stop=lambda: not stopping.empty(),
                    on_settled=lambda rows: advance(len(rows)),
                )

        with _stopped_by_signals(stopping):
            if watch is None:
                result = push()
                if verbosity > 0:
                    self.stdout.write(summarize(result.states))
                if left := _describe_due(using, shop, result):
                    raise CommandError(left, returncode=1)
            else:
                self._watch(
                    push, stopping, seconds=watch, using=using, shop=shop, verbosity=verbosity
                )

    def _watch(
        self,
        push: Callable[[], PushResult],
        stopping: _Signals,
        *,
        seconds: float,
        using: str,
        shop: str | None,
        verbosity: int,
    ) -> None:
        """Push again and again; what goes wrong in one round is logged, and the next begins."""
        reported = ""
        while stopping.empty():
            try:
                # What Django does around a web request: drop connections that broke or are too old.
                close_old_connections()
                result = push()
                if result.total and verbosity > 0:
                    self.stdout.write(summarize(result.states))
                left = _describe_due(using, shop, result) if stopping.empty() else ""
                if left != reported and left:
                    logger.warning("%s", left)
                reported = left
            except Exception:
                logger.exception("komfortkasse_push goes on in %s seconds after an error", seconds)
            with suppress(Empty):
                stopping.put(stopping.get(timeout=seconds))


def _due(using: str, shop: str | None) -> RemovedOrderQuerySet:
    due = RemovedOrder.objects.using(using).due()
    return due if shop is None else due.filter(shop=shop)


def _describe_due(using: str, shop: str | None, result: PushResult) -> str:
    """Which removals are still due and why, or nothing."""
    counts = _count_due(using, shop)
    if not all(_obstacle(alias, result) for alias in counts):
        # What another worker is claiming looks due until its transaction ends.
        time.sleep(_CLAIM_TIME)
        counts = _count_due(using, shop)
    return "\n".join(
        ngettext(
            "%(count)d removal of shop %(shop)s is still due: %(reason)s",
            "%(count)d removals of shop %(shop)s are still due: %(reason)s",
            count,
        )
        % {
            "count": count,
            "shop": alias,
            "reason": _obstacle(alias, result)
            or _("they became due meanwhile or were not reached"),
        }
        for alias, count in counts.items()
    )


def _count_due(using: str, shop: str | None) -> dict[str, int]:
    counts = _due(using, shop).order_by("shop").values_list("shop").annotate(Count("pk"))
    return dict(counts)


def _obstacle(alias: str, result: PushResult) -> str:
    """Why the push left removals of the shop where they are, if it had to."""
    # Removals of a shop that Komfortkasse asked to pause are not due.
    return obstacle(alias, {}) or result.stopped.get(alias, "")


@contextmanager
def _stopped_by_signals(stopping: _Signals) -> Iterator[None]:
    """Turn SIGTERM and SIGINT into a wish, so that the calls in flight are finished."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    # Not in the main thread, as in some tests, Python refuses handlers.
    before = (
        {
            number: signal.signal(number, lambda number, frame: stopping.put(number))
            for number in numbers
        }
        if current_thread() is main_thread()
        else {}
    )
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
