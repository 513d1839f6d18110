"""The page that asks before orders are removed. It shows which can be removed, and which cannot.

The page contains a fingerprint of what will be asked. Only a request with the same fingerprint
removes anything, so nobody removes an order that was not on the page.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import django
from django.contrib.admin import helpers
from django.db.models import Model
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext, ngettext, pgettext

from komfortkasse_django.admin.markup import in_one_line, time_from_now
from komfortkasse_django.conf import Shop, enabled_shops
from komfortkasse_django.database import mirror_database
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.orders import distinct, number_of
from komfortkasse_django.removals import Entry
from komfortkasse_django.reports.wording import to_settle_in_words

if TYPE_CHECKING:
    from django.contrib import admin

State = RemovedOrder.State

_NAMED = 100  # orders that the page names: as many as a page of the admin's list
_NAMED_LEFT_OUT = 20
_AT_ONCE = 500  # order numbers in one query


def page_context(
    model_admin: "admin.ModelAdmin[Any]", request: HttpRequest, title: Promise
) -> dict[str, object]:
    """Return what each page needs that asks before something is done."""
    return {
        **model_admin.admin_site.each_context(request),
        "title": title,
        "opts": model_admin.opts,
        "has_breadcrumb_list": django.VERSION >= (6, 1),
    }


def same_action(request: HttpRequest, action: str) -> list[tuple[str, str]]:
    """Return the fields of a form that asks for ``action`` again, on what is selected now."""
    keys = request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)
    across = request.POST.get("select_across", "0")
    selected = [(helpers.ACTION_CHECKBOX_NAME, key) for key in keys]
    return [("action", action), ("select_across", across), *selected]


def shops_of(model: type[Model]) -> list[Shop]:
    """The shops to which removals of ``model`` are reported."""
    return [shop for shop in enabled_shops() if shop.has_orders_of(model)]


@dataclass(eq=False)
class Selection:
    """Selected orders, examined."""

    using: str
    """The database the orders are in."""
    orders: list[tuple[Model, list[Entry]]] = field(default_factory=list)
    """Those that can be removed, with what Komfortkasse will be asked."""
    left_out: dict[str, list[Model]] = field(default_factory=lambda: defaultdict(list))
    """The others, by the reason."""

    @property
    def entries(self) -> list[Entry]:
        """All that Komfortkasse will be asked."""
        return [entry for _order, entries in self.orders for entry in entries]

    @property
    def fingerprint(self) -> str:
        """The same for the same orders and numbers only."""
        asked = sorted((str(order.pk), entries) for order, entries in self.orders)
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def known_removals(entries: Sequence[Entry], *, using: str) -> dict[Entry, list[RemovedOrder]]:
    """Return the removals that the mirror has for ``entries``, of orders in the database ``using``.

    For each entry that has any: the last one, the last one that Komfortkasse confirmed, and those
    that are to be settled, in the order in which they were asked for.
    """
    rows: dict[Entry, list[RemovedOrder]] = {entry: [] for entry in entries}
    mirror = RemovedOrder.objects.using(mirror_database(using)).order_by("pk")
    for start in range(0, len(entries), _AT_ONCE):
        numbers = {number for _alias, number in entries[start : start + _AT_ONCE]}
        for row in mirror.filter(order_number__in=numbers):
            if (entry := (row.shop, row.order_number)) in rows:
                rows[entry].append(row)
    return {entry: _worth_telling(its_rows) for entry, its_rows in rows.items() if its_rows}


def _worth_telling(rows: list[RemovedOrder]) -> list[RemovedOrder]:
    removed = [row for row in rows if row.state == State.REMOVED]
    latest = {rows[-1].pk, *(row.pk for row in removed[-1:])}
    return [row for row in rows if row.pk in latest or row.is_unsettled]


def examine(
    orders: Iterable[Model],
    shops: Sequence[Shop],
    *,
    using: str,
    is_allowed: Callable[[Model], bool],
) -> Selection:
    """Examine ``orders``, just read from the database ``using``, for removal from ``shops``.

    Raises what the shop's own ``ORDER_NUMBER`` and ``ORDER_FILTER`` raise, except ``ValueError``.
    """
    selection = Selection(using)
    not_allowed = gettext("you may not see it")
    for order in distinct(orders):
        entries, reason = _examine(order, shops, using) if is_allowed(order) else ([], not_allowed)
        if entries:
            selection.orders.append((order, entries))
        else:
            selection.left_out[reason].append(order)
    return selection


def _examine(order: Model, shops: Sequence[Shop], using: str) -> tuple[list[Entry], str]:
    entries: list[Entry] = []
    reason = gettext("not handled by Komfortkasse")
    for shop in shops:
        try:
            number = number_of(shop, order, using=using, trusted=True)
        except ValueError:
            reason = gettext("an order number that cannot be sent to Komfortkasse")
            continue
        if number is not None:
            entries.append((shop.alias, number))
        elif shop.wants is None or shop.wants(order):
            reason = pgettext("komfortkasse", "no order number")
    return entries, reason


def describe(
    selection: Selection, shops: Sequence[Shop], url_of: Callable[[Model], str]
) -> dict[str, object]:
    """What the page says of the selected orders, for its template."""
    named = selection.orders[:_NAMED]
    known = known_removals(selection.entries, using=selection.using)
    return {
        "count": len(selection.orders),
        "warnings": _warnings(selection, known),
        "more": len(selection.orders) - len(named),
        "has_several_shops": len(shops) > 1,
        "named": [
            {
                "order": name_of(order),
                "url": url_of(order),
                "removals": [
                    (*entry, [in_one_line(row, time_from_now) for row in known.get(entry, ())])
                    for entry in entries
                ],
            }
            for order, entries in named
        ],
        "left_out": [
            (
                reason,
                len(orders),
                [name_of(order) for order in orders[:_NAMED_LEFT_OUT]],
                len(orders) - _NAMED_LEFT_OUT,
            )
            for reason, orders in selection.left_out.items()
        ],
    }


def name_of(order: Model) -> str:
    """What the shop calls the order; some shops return nothing for one that has no number."""
    return str(order).strip() or f"{order._meta.verbose_name} {order.pk}"


def _warnings(selection: Selection, known: Mapping[Entry, list[RemovedOrder]]) -> list[str]:
    """What people should know before they remove the selected orders."""
    rows = [row for its_rows in known.values() for row in its_rows]
    removed = {(row.shop, row.order_number) for row in rows if row.state == State.REMOVED}
    count = sum(not removed.isdisjoint(entries) for _order, entries in selection.orders)
    if not count:
        return []
    if len(selection.orders) == 1:
        text = gettext("Komfortkasse has removed this order before.")
    else:
        text = ngettext(
            "Komfortkasse has removed %(count)d of these orders before.",
            "Komfortkasse has removed %(count)d of these orders before.",
            count,
        ) % {"count": count}
    return [text, *to_settle_in_words(rows)]
