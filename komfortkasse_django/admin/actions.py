"""What to tell people in the admin once their removals were sent."""

from collections.abc import Iterator, Sequence

from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import gettext as _

from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.reports.status import pauses
from komfortkasse_django.reports.wording import describe

_CHUNK = 1000  # rows a query


def report(request: HttpRequest, ids: Sequence[int], *, using: str) -> None:
    """Tell what became of the rows ``ids`` in the database ``using``."""
    rows = list(_read(ids, using))
    states = {row.state for row in rows}
    level = messages.SUCCESS
    if RemovedOrder.State.PENDING in states:
        level = messages.WARNING
    if RemovedOrder.State.FAILED in states:
        level = messages.ERROR
    summary = describe(rows, pauses(using))
    messages.add_message(request, level, _("Komfortkasse: %(summary)s.") % {"summary": summary})


def _read(ids: Sequence[int], using: str) -> Iterator[RemovedOrder]:
    rows = RemovedOrder.objects.using(using)
    for start in range(0, len(ids), _CHUNK):
        yield from rows.filter(pk__in=ids[start : start + _CHUNK])
