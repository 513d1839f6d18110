"""Removals as a CSV file for spreadsheets and bookkeeping.

It is written as a spreadsheet in the user's language expects it: where decimals have a comma, the
cells are separated by semicolons.
"""

import csv
from collections.abc import Iterator
from datetime import datetime, tzinfo
from decimal import Decimal
from io import StringIO

from django.forms.utils import to_current_timezone
from django.http import StreamingHttpResponse
from django.utils import timezone
from django.utils.formats import get_format, number_format
from django.utils.html import strip_tags
from django.utils.text import capfirst
from django.utils.translation import get_language, override, pgettext

from komfortkasse_django.admin.markup import to_settle
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet, get_field
from komfortkasse_django.reports.wording import payment_status

_CHUNK = 1000  # rows that are in memory at a time
_FORMULAS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # what formulas begin with, also full width

_FIELDS = (
    "order_number",
    "shop",
    "reference_number",
    "state",
    "payment_status",
    "amount",
    "amount_paid",
    "currency",
    "created_at",
    "finished_at",
    "settled_at",
)


def csv_of(rows: RemovedOrderQuerySet) -> StreamingHttpResponse:
    """The rows, oldest first, as a file to download. However many there are, few are in memory."""
    # The file is sent when the view has ended, maybe in another thread.
    lines = _lines(rows, get_language(), timezone.get_current_timezone())
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    name = f"komfortkasse-{timezone.localdate():%Y-%m-%d}.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _lines(rows: RemovedOrderQuerySet, language: str | None, zone: tzinfo) -> Iterator[str]:
    last = 0
    chunk: list[RemovedOrder] | None = None
    while chunk is None or len(chunk) == _CHUNK:
        with override(language), timezone.override(zone):
            # Excel takes a file without a byte order mark for one in an old encoding.
            text = "\N{BYTE ORDER MARK}" + _csv([_headings()]) if chunk is None else ""
            # In chunks, because some databases send the whole result at once.
            chunk = list(rows.filter(pk__gt=last).order_by("pk")[:_CHUNK])
            text += _csv(map(_cells, chunk))
        yield text
        last = chunk[-1].pk if chunk else last


def _csv(rows: "Iterator[list[str]] | list[list[str]]") -> str:
    file = StringIO()
    delimiter = ";" if get_format("DECIMAL_SEPARATOR") == "," else ","
    csv.writer(file, delimiter=delimiter).writerows(rows)
    return file.getvalue()


def _headings() -> list[str]:
    names = [get_field(name).verbose_name for name in _FIELDS]
    return [str(capfirst(name)) for name in (*names, pgettext("komfortkasse", "to do"))]


def _cells(row: RemovedOrder) -> list[str]:
    shown = {
        "state": row.get_state_display(),
        "payment_status": payment_status(row.payment_status),
    }
    cells = [_cell(shown.get(name, getattr(row, name))) for name in _FIELDS]
    return [*cells, strip_tags(to_settle(row))]


def _cell(value: str | Decimal | datetime | None) -> str:
    match value:
        case Decimal():
            return number_format(value, decimal_pos=2, use_l10n=True, force_grouping=False)
        case datetime():
            return f"{to_current_timezone(value):%Y-%m-%d %H:%M}"
        case None:
            return ""
        case _:
            return f"'{value}" if value.startswith(_FORMULAS) else value
