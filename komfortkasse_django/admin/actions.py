"""What the admin's actions do, on orders and on the mirror: record, log, deliver and tell.

Recording and logging are one transaction. After its commit the removals are delivered, and then the
user is told what became of them. If the message fails, the removals stay recorded.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import MAXYEAR, MINYEAR, datetime
from typing import cast

from django.conf import settings
from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import router, transaction
from django.db.models import Model
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from komfortkasse_django import removals
from komfortkasse_django.admin.confirmation import Selection, known_removals
from komfortkasse_django.conf import enabled_shops
from komfortkasse_django.database import mirror_database
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet
from komfortkasse_django.queue.delivery import deliver_on_commit
from komfortkasse_django.reports.status import read_pauses
from komfortkasse_django.reports.wording import Waiting, summarize, to_settle_in_words

State = RemovedOrder.State

MAX_NOTE_LENGTH = 500
"""Characters of the note that says how something was settled."""


def remove_orders(request: HttpRequest, selection: Selection) -> None:
    """Have the selected orders removed, and tell what became of them."""
    started = timezone.now()
    entries = list(dict.fromkeys(selection.entries))
    using = selection.using

    def tell() -> None:
        known = known_removals(entries, using=using).values()
        rows = [its_rows[-1] for its_rows in known if its_rows[-1].created_at >= started]
        _tell(request, rows, missing=len(entries) - len(rows), using=mirror_database(using))

    with transaction.atomic(using):
        removals.record(entries, requested_via=RemovedOrder.RequestedVia.ADMIN, using=using)
        orders = [order for order, _entries in selection.orders]
        _log(request, orders, _("Asked Komfortkasse to remove it."))
        # After the delivery, which waits for the commit as well.
        transaction.on_commit(tell, using=using, robust=True)


def retry_removals(request: HttpRequest, selected: RemovedOrderQuerySet) -> None:
    """Try again what can be tried again of the selected rows, and tell what became of them."""
    using = router.db_for_write(RemovedOrder)
    selected = selected.using(using)
    rows = list(selected.retriable())
    aliases = {shop.alias for shop in enabled_shops()}
    keys: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        if row.shop in aliases:
            keys[row.shop].append(row.pk)

    def tell() -> None:
        tried = RemovedOrder.objects.using(using).in_bulk([row.pk for row in rows])
        _tell(request, list(tried.values()), missing=0, using=using)

    with transaction.atomic(using):
        selected.retry()
        deliver_on_commit(keys, using=using)
        _log(request, rows, _("Tried again to remove it."))
        # After the delivery, which waits for the commit as well.
        transaction.on_commit(tell, using=using, robust=True)


def seen_at(request: HttpRequest) -> datetime | None:
    """When the page was made whose form was sent; None if it does not say."""
    try:
        found = datetime.fromisoformat(request.POST["seen_at"])
    except (KeyError, ValueError):
        return None
    # Other years cannot be taken to other time zones.
    is_date = MINYEAR < found.year < MAXYEAR
    return found if is_date and timezone.is_aware(found) == settings.USE_TZ else None


def settle_removals(request: HttpRequest, selected: RemovedOrderQuerySet) -> None:
    """Tick off what there was to do about the selected rows, as far as the user has seen it.

    What became known later stays to be done. The note is kept in the admin's log.
    """
    seen = seen_at(request) or timezone.now()
    rows = selected.unsettled().exclude(finished_at__gt=seen).exclude(alive_again_at__gt=seen)
    # PostgreSQL refuses the NUL character.
    note = request.POST.get("note", "").replace("\0", "").strip()[:MAX_NOTE_LENGTH]
    done = pgettext("komfortkasse", "Settled")
    count = _log_and(
        request, rows, RemovedOrderQuerySet.settle, f"{done}: {note}" if note else done
    )
    text = ngettext(
        "Komfortkasse: %(count)d removal is settled.",
        "Komfortkasse: %(count)d removals are settled.",
        count,
    )
    _say(request, text, count)


def unsettle_removals(request: HttpRequest, selected: RemovedOrderQuerySet) -> None:
    """Take back that the selected rows were settled."""
    taken_over = list(selected.taken_over().values_list("pk", flat=True))
    rows = selected.settled().exclude(pk__in=taken_over)
    count = _log_and(
        request, rows, RemovedOrderQuerySet.unsettle, pgettext("komfortkasse", "Not settled")
    )
    text = ngettext(
        "Komfortkasse: %(count)d removal is to be settled again.",
        "Komfortkasse: %(count)d removals are to be settled again.",
        count,
    )
    _say(request, text, count)


def finished_only(request: HttpRequest, selected: RemovedOrderQuerySet) -> RemovedOrderQuerySet:
    """Return the selected rows that may be deleted, and tell how many are left out."""
    unfinished = selected.unfinished().count()
    if unfinished:
        text = ngettext(
            "%(count)d removal is left out, because it is not finished or not settled.",
            "%(count)d removals are left out, because they are not finished or not settled.",
            unfinished,
        )
        messages.warning(request, text % {"count": unfinished})
    return selected.finished()


def _log_and(
    request: HttpRequest,
    rows: RemovedOrderQuerySet,
    change: Callable[[RemovedOrderQuerySet], int],
    message: str,
) -> int:
    """Change ``rows`` and log it, both or neither. Return how many there were."""
    rows = rows.using(router.db_for_write(RemovedOrder))
    logged = list(rows)
    with transaction.atomic(rows.db):
        # Only these, whatever has changed in the meantime.
        count = change(rows.filter(pk__in=[row.pk for row in logged]))
        _log(request, logged, message)
    return count


def _say(request: HttpRequest, text: str, count: int) -> None:
    level = messages.SUCCESS if count else messages.WARNING
    messages.add_message(request, level, text % {"count": count})


def _log(request: HttpRequest, changed: Sequence[Model], message: str) -> None:
    LogEntry.objects.log_actions(cast("int", request.user.pk), changed, CHANGE, message)


def _tell(request: HttpRequest, rows: Sequence[RemovedOrder], *, missing: int, using: str) -> None:
    states = Counter(row.state for row in rows if row.state != State.PENDING)
    waiting = Waiting(row for row in rows if row.state == State.PENDING)
    sentences = to_settle_in_words(rows)
    level = messages.WARNING if waiting.reasons() or sentences else messages.SUCCESS
    if rows or not missing:
        summary = summarize(states, waiting, read_pauses(using))
        sentences.insert(0, _("Komfortkasse: %(summary)s.") % {"summary": summary})
    if missing:  # a router keeps the mirror on another database, and writing there failed
        text = ngettext(
            "%(count)d removal could not be recorded. Please tell the people who run the website.",
            "%(count)d removals could not be recorded. Please tell the people who run the website.",
            missing,
        )
        sentences.append(text % {"count": missing})
    if missing or states[State.FAILED]:
        level = messages.ERROR
    # Isolated, because it may be untranslated on a page that is read from right to left.
    messages.add_message(request, level, format_html("<bdi>{}</bdi>", " ".join(sentences)))
