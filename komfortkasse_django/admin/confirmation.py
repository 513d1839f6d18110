"""The page that asks before orders are removed: of which Komfortkasse will be asked, and which not.

The page shows a fingerprint of what will be asked. Only a request that brings the same fingerprint
back removes anything, so nobody removes an order that was not on the page.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from django.db.models import Model
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from komfortkasse_django.admin.markup import badge, received, time_from_now
from komfortkasse_django.conf import Shop, enabled_shops
from komfortkasse_django.database import mirror_database
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.orders import distinct, number_of
from komfortkasse_django.removals import Entry

NO_NUMBER = pgettext_lazy("komfortkasse", "no order number")
BAD_NUMBER = _("an order number that cannot be sent to Komfortkasse")
NOT_HANDLED = _("not handled by Komfortkasse")
NOT_ALLOWED = _("you may not see it")

_NAMED = 100  # orders that the page names: as many as a page of the admin's list
_NAMED_LEFT_OUT = 20


def shops_of(model: type[Model]) -> list[Shop]:
    """The shops to which removals of ``model`` are reported."""
    return [shop for shop in enabled_shops() if shop.has_orders_of(model)]


@dataclass
class Selection:
    """Selected orders, examined."""

    using: str
    """The database the orders are in."""
    orders: list[tuple[Model, list[Entry]]] = field(default_factory=list)
    """Those that can be removed, with what Komfortkasse will be asked."""
    left_out: dict[Promise, list[Model]] = field(default_factory=lambda: defaultdict(list))
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

    def latest_removals(self, entries: Iterable[Entry]) -> dict[Entry, RemovedOrder]:
        """What the mirror knows last of each of ``entries``."""
        rows = RemovedOrder.objects.using(mirror_database(self.using)).order_by("pk")
        numbers = {number for _alias, number in entries}
        return {(row.shop, row.order_number): row for row in rows.filter(order_number__in=numbers)}


def examine(
    orders: Iterable[Model],
    shops: Sequence[Shop],
    *,
    using: str,
    is_allowed: Callable[[Model], bool],
) -> Selection:
    """Examine ``orders``, just read from the database ``using``, for removal from ``shops``.

    Raises whatever the shop's own ``ORDER_NUMBER`` and ``ORDER_FILTER`` raise, but ``ValueError``.
    """
    selection = Selection(using)
    for order in distinct(orders):
        entries, reason = _examine(order, shops, using) if is_allowed(order) else ([], NOT_ALLOWED)
        if entries:
            selection.orders.append((order, entries))
        else:
            selection.left_out[reason].append(order)
    return selection


def _examine(order: Model, shops: Sequence[Shop], using: str) -> tuple[list[Entry], Promise]:
    entries: list[Entry] = []
    reason = NOT_HANDLED
    for shop in shops:
        try:
            number = number_of(shop, order, using=using, trusted=True)
        except ValueError:
            reason = BAD_NUMBER
            continue
        if number is not None:
            entries.append((shop.alias, number))
        elif shop.wants is None or shop.wants(order):
            reason = NO_NUMBER
    return entries, reason


def describe(
    selection: Selection, shops: Sequence[Shop], url_of: Callable[[Model], str]
) -> dict[str, object]:
    """What the page says of the selected orders, for its template."""
    named = selection.orders[:_NAMED]
    known = selection.latest_removals([entry for _order, entries in named for entry in entries])
    return {
        "count": len(selection.orders),
        "more": len(selection.orders) - len(named),
        "has_several_shops": len(shops) > 1,
        "named": [
            {
                "order": _name(order),
                "url": url_of(order),
                "removals": [
                    (alias, number, _describe_known(known.get((alias, number))))
                    for alias, number in entries
                ],
            }
            for order, entries in named
        ],
        "left_out": [
            (
                reason,
                len(orders),
                [_name(order) for order in orders[:_NAMED_LEFT_OUT]],
                len(orders) - _NAMED_LEFT_OUT,
            )
            for reason, orders in selection.left_out.items()
        ],
    }


def _name(order: Model) -> str:
    """What the shop calls the order; some shops return nothing for one that has no number."""
    return str(order).strip() or f"{order._meta.verbose_name} {order.pk}"


def _describe_known(row: RemovedOrder | None) -> str:
    """What the mirror knows of an order, in short."""
    if row is None:
        return ""
    when = time_from_now(row.finished_at or row.created_at)
    return format_html("{} {} {}", badge(row.state), when, received(row))
