"""Removals: asking for them and recording them."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from django.db import router, transaction
from django.db.models import Model, QuerySet

from komfortkasse_django import orders
from komfortkasse_django.conf import Shop, concrete, shops_named
from komfortkasse_django.database import mirror_database, write_first
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue.delivery import deliver_on_commit

logger = logging.getLogger("komfortkasse_django")

RequestedVia = RemovedOrder.RequestedVia

Entry = tuple[str, str]
"""Alias and order number."""


def remove(
    what: Model | str | int | Iterable[Model | str | int],
    *,
    shop: str | None = None,
    requested_via: RequestedVia = RequestedVia.CODE,
) -> list[RemovedOrder]:
    """Ask for the removal of an order, an order number, or several of them.

    Call it in the transaction in which the order ends. The rows are recorded in that transaction
    and sent after it.

    An order is reported to each alias of ``KOMFORTKASSE`` that names its model and whose
    ``ORDER_FILTER`` accepts it. ``shop`` is the only alias to report to. An order number needs it
    if there are several aliases. Nothing is recorded for an order without a number, or for an alias
    that is not ``ENABLED``.

    Return the recorded rows. Raises ``TypeError`` for an object that is not an order of any alias,
    and ``ValueError`` for an invalid number or an unknown alias.
    """
    wanted = shops_named(shop)
    entries: dict[str, list[Entry]] = defaultdict(list)
    orders_of: dict[tuple[str, type[Model]], list[Model]] = defaultdict(list)
    numbers: list[Entry] = []
    for item in _items(what):
        if isinstance(item, Model):
            # Not item._state.db, which may be a replica.
            using = router.db_for_write(type(item), instance=item)
            orders_of[using, type(item)].append(item)
        else:
            numbers += _entry_of(item, wanted)
    for (using, model), orders_there in orders_of.items():
        entries[using] += _entries_of(model, orders_there, wanted, using)
    entries[router.db_for_write(RemovedOrder)] += numbers
    rows: list[RemovedOrder] = []
    for using, entries_there in entries.items():
        keys = record(entries_there, requested_via=requested_via, using=using)
        # No keys: a router keeps the mirror elsewhere, and it is not written yet.
        rows += RemovedOrder.objects.using(using).in_bulk(keys).values()
    return rows


def _items(what: object) -> Iterable[object]:
    # A queryset that was evaluated is not asked again: it might not find what the shop has changed.
    if isinstance(what, QuerySet) and what._result_cache is None:  # noqa: SLF001
        rows = orders.for_write(what)
        write_first(rows.db, concrete(rows.model))
        return rows
    if isinstance(what, Iterable) and not isinstance(what, str | bytes | Model):
        return what
    return [what]


def _entries_of(
    model: type[Model], orders_there: list[Model], wanted: list[Shop], using: str
) -> list[Entry]:
    theirs = [shop for shop in wanted if shop.has_orders_of(model)]
    if not theirs:
        known = ", ".join(f"{shop.order_model} ({shop.alias})" for shop in wanted) or "none"
        raise TypeError(
            f"{model._meta.label} is not an ORDER_MODEL of KOMFORTKASSE. Pass an order of one of"
            f" these models, or an order number: {known}."
        )
    write_first(using, concrete(model))
    distinct = orders.distinct(orders_there)
    return [
        (shop.alias, number)
        for shop in theirs
        if shop.enabled
        for number in orders.numbers_of(shop, distinct, using=using)
        if number is not None
    ]


def _entry_of(number: object, wanted: list[Shop]) -> list[Entry]:
    if not isinstance(number, str | int) or isinstance(number, bool):
        raise TypeError(
            f"Pass orders or order numbers (text or whole numbers), not {type(number).__name__}."
        )
    cleaned = orders.clean_number(number)
    if cleaned is None:
        raise ValueError("The order number is empty; pass the number that Komfortkasse knows.")
    if len(wanted) != 1:
        known = ", ".join(repr(shop.alias) for shop in wanted) or "none is configured"
        raise ValueError(f"Say which shop the order number {number!r} belongs to: {known}.")
    return [(shop.alias, cleaned) for shop in wanted if shop.enabled]


def record(entries: Iterable[Entry], *, requested_via: RequestedVia, using: str) -> list[int]:
    """Record removals in the transaction that is open on ``using``. They are sent when it commits.

    Return the primary keys of their rows, or none if a router keeps the mirror on another database:
    then they are recorded on commit.
    """
    numbers: dict[str, list[str]] = defaultdict(list)
    for alias, number in entries:
        numbers[alias].append(number)
    if not numbers:
        return []
    target = mirror_database(using)
    if target == using:
        return _record(numbers, requested_via, using)
    transaction.on_commit(lambda: _record_elsewhere(numbers, requested_via, target), using=using)
    return []


def _record_elsewhere(
    numbers: Mapping[str, Sequence[str]], requested_via: RequestedVia, using: str
) -> None:
    try:
        # A savepoint if a transaction is open there: a failure must not break that one.
        with transaction.atomic(using):
            _record(numbers, requested_via, using)
    except Exception:
        logger.exception(
            "These orders are deleted, but their removal could not be recorded in database %r."
            " Pass them to komfortkasse_remove: %s",
            using,
            ", ".join(f"{number} (shop {alias})" for alias in numbers for number in numbers[alias]),
        )


def _record(
    numbers: Mapping[str, Sequence[str]], requested_via: RequestedVia, using: str
) -> list[int]:
    mirror = RemovedOrder.objects.using(using)
    with transaction.atomic(using, savepoint=False):
        keys = {
            alias: mirror.record(alias, its_numbers, requested_via=requested_via)
            for alias, its_numbers in numbers.items()
        }
        deliver_on_commit(keys, using=using)
    return [key for its_keys in keys.values() for key in its_keys]
