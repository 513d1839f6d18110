"""What the admin's actions do, on orders and on the mirror: record, log, deliver and tell.

Recording and logging are one transaction. After its commit the removals are delivered, and then the
user is told what became of them. If that cannot be told, it has happened all the same.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import cast

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import router, transaction
from django.db.models import Model
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from komfortkasse_django import removals
from komfortkasse_django.admin.confirmation import Selection
from komfortkasse_django.conf import enabled_shops
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet
from komfortkasse_django.queue.delivery import deliver_on_commit
from komfortkasse_django.reports.status import read_pauses
from komfortkasse_django.reports.wording import Waiting, summarize

State = RemovedOrder.State


def remove_orders(request: HttpRequest, selection: Selection) -> None:
    """Have the selected orders removed, and tell what became of them."""

    def record() -> list[int]:
        return removals.record(
            selection.entries,
            requested_via=RemovedOrder.RequestedVia.ADMIN,
            using=selection.using,
        )

    _carry_out(
        request,
        record,
        count=len(selection.entries),
        logged=[order for order, _entries in selection.orders],
        message=_("Asked Komfortkasse to remove it."),
        using=selection.using,
    )


def retry_removals(request: HttpRequest, selected: RemovedOrderQuerySet) -> None:
    """Try again what can be tried again of the selected rows, and tell what became of them."""
    using = router.db_for_write(RemovedOrder)
    rows = list(selected.using(using).retriable())

    def record() -> list[int]:
        selected.using(using).retry()
        keys: dict[str, list[int]] = defaultdict(list)
        aliases = {shop.alias for shop in enabled_shops()}
        for row in rows:
            if row.shop in aliases:
                keys[row.shop].append(row.pk)
        deliver_on_commit(keys, using=using)
        return [row.pk for row in rows]

    _carry_out(
        request,
        record,
        count=len(rows),
        logged=rows,
        message=_("Tried again to remove it."),
        using=using,
    )


def _carry_out(
    request: HttpRequest,
    record: Callable[[], list[int]],
    *,
    count: int,
    logged: Sequence[Model],
    message: str,
    using: str,
) -> None:
    """Record ``count`` removals in the database ``using``; ``record`` returns their keys."""

    def tell() -> None:
        _tell(request, ids, count, using)

    with transaction.atomic(using):
        ids = record()
        LogEntry.objects.log_actions(cast("int", request.user.pk), logged, CHANGE, message)
        # After the delivery, which waits for the commit as well.
        transaction.on_commit(tell, using=using, robust=True)


def _tell(request: HttpRequest, ids: Sequence[int], count: int, using: str) -> None:
    if len(ids) < count:  # a router keeps the mirror on another database
        text = ngettext(
            "Komfortkasse: %(count)d removal is recorded.",
            "Komfortkasse: %(count)d removals are recorded.",
            count,
        )
        messages.success(request, text % {"count": count})
        return
    rows = RemovedOrder.objects.using(using).in_bulk(ids).values()
    states = Counter(row.state for row in rows if row.state != State.PENDING)
    waiting = Waiting(row for row in rows if row.state == State.PENDING)
    level = messages.SUCCESS
    if waiting.reasons():
        level = messages.WARNING
    if states[State.FAILED]:
        level = messages.ERROR
    summary = summarize(states, waiting, read_pauses(using))
    messages.add_message(request, level, _("Komfortkasse: %(summary)s.") % {"summary": summary})
