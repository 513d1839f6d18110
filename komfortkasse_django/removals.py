"""Removals: asking for them, recording them, and pushing them to Komfortkasse."""

import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from django.db import connections, router, transaction
from django.db.models import Model, QuerySet

from komfortkasse_django import orders
from komfortkasse_django.conf import Shop, concrete, shops
from komfortkasse_django.leases import write_first
from komfortkasse_django.models import RemovedOrder, mirror_database

if TYPE_CHECKING:
    from komfortkasse_django.runs import PushResult

logger = logging.getLogger("komfortkasse_django")

RequestedVia = RemovedOrder.RequestedVia

Entry = tuple[str, str]
"""Alias and order number."""

# --- asking ---------------------------------------------------------------------------------------


def remove(
    what: Model | str | int | Iterable[Model | str | int],
    *,
    shop: str | None = None,
    requested_via: RequestedVia = RequestedVia.CODE,
) -> list[RemovedOrder]:
    """Ask for removal of an order, an order number, or several of them.

    For shops that cancel, anonymise or soft-delete instead of deleting: call it inside the
    transaction that does so. The rows are recorded in that transaction and pushed after it.

    An order is reported to every alias of ``KOMFORTKASSE`` that names its model and whose
    ``ORDER_FILTER`` accepts it; ``shop`` restricts that to one alias. A bare number needs ``shop``
    where there are several. An order that has no number records nothing, and neither does an alias
    that is not ``ENABLED``.

    Return the recorded rows. Raises ``TypeError`` for an object that is no order of any alias and
    ``ValueError`` for a number that cannot be one or an alias that does not exist.
    """
    wanted = _shops_named(shop)
    entries: dict[str, list[Entry]] = defaultdict(list)
    for item, trusted in _items(what):
        if isinstance(item, Model):
            # Not item._state.db, which may be a replica.
            using = router.db_for_write(type(item), instance=item)
            if using not in entries:
                write_first(using, concrete(type(item)))
            entries[using] += _entries_of(item, wanted, using=using, trusted=trusted)
        else:
            entries[router.db_for_write(RemovedOrder)] += _entry_of(item, wanted)
    rows: list[RemovedOrder] = []
    for using, entries_there in entries.items():
        keys = record(entries_there, requested_via=requested_via, using=using)
        # No keys: a router keeps the mirror elsewhere, and it is not written yet.
        rows += RemovedOrder.objects.using(using).in_bulk(keys).values()
    return rows


def _shops_named(alias: str | None) -> list[Shop]:
    if alias is None:
        return list(shops().values())
    if alias not in shops():
        known = ", ".join(map(repr, shops())) or "none"
        raise ValueError(f"KOMFORTKASSE has no shop {alias!r}; it has: {known}.")
    return [shops()[alias]]


def _items(what: object) -> Iterator[tuple[object, bool]]:
    """The single things of ``what``, and whether they come straight from the database."""
    # What was evaluated is in the shop's hands: asked again, it might not find what it changed.
    if isinstance(what, QuerySet) and what._result_cache is None:  # noqa: SLF001
        rows = orders.for_write(what)
        write_first(rows.db, concrete(rows.model))
        yield from ((item, True) for item in rows)
    elif isinstance(what, Iterable) and not isinstance(what, str | bytes | Model):
        yield from ((item, False) for item in what)
    else:
        yield what, False


def _entries_of(order: Model, wanted: list[Shop], *, using: str, trusted: bool) -> list[Entry]:
    theirs = [shop for shop in wanted if shop.has_orders_of(type(order))]
    if not theirs:
        known = ", ".join(f"{shop.order_model} ({shop.alias})" for shop in wanted) or "none"
        raise TypeError(
            f"{order._meta.label} is not an ORDER_MODEL of KOMFORTKASSE. Pass an order of one of"
            f" these models, or an order number: {known}."
        )
    entries = []
    for shop in theirs:
        if shop.enabled:
            # Where the row is gone already, the order in hand is the last that knows its number.
            last_word = trusted or not orders.exists(shop, order, using=using)
            number = orders.number_of(shop, order, using=using, trusted=last_word)
            if number is not None:
                entries.append((shop.alias, number))
    return entries


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


# --- recording ------------------------------------------------------------------------------------


def record(entries: Sequence[Entry], *, requested_via: RequestedVia, using: str) -> list[int]:
    """Record removals in the transaction open on ``using``.

    They are delivered when it commits. Return the primary keys of their rows. Where a router keeps
    the mirror on another database they are recorded on commit, too, and have no keys before.
    """
    target = mirror_database(using)
    if target == using:
        return _record(entries, requested_via, using)
    transaction.on_commit(lambda: _record_elsewhere(entries, requested_via, target), using=using)
    return []


def _record_elsewhere(entries: Sequence[Entry], requested_via: RequestedVia, using: str) -> None:
    try:
        # A savepoint where a transaction is open there: what fails must not break that one.
        with transaction.atomic(using):
            _record(entries, requested_via, using)
    except Exception:
        logger.exception(
            "These orders are deleted, but their removal could not be recorded in database %r."
            " Pass them to komfortkasse_remove: %s",
            using,
            ", ".join(f"{number} (shop {alias})" for alias, number in entries),
        )


def _record(entries: Sequence[Entry], requested_via: RequestedVia, using: str) -> list[int]:
    numbers: dict[str, list[str]] = defaultdict(list)
    for alias, number in entries:
        numbers[alias].append(number)
    mirror = RemovedOrder.objects.using(using)
    with transaction.atomic(using, savepoint=False):
        keys = {
            alias: mirror.record(alias, its_numbers, requested_via=requested_via)
            for alias, its_numbers in numbers.items()
        }
        deliver_on_commit(keys, using=using)
    return [key for its_keys in keys.values() for key in its_keys]


def deliver_on_commit(keys: Mapping[str, Iterable[int]], *, using: str) -> None:
    """Have rows, by their alias, sent soon after the transaction open on ``using`` commits."""
    delivery = _deliveries.setdefault(id(connections[using]), _Delivery(using))
    for alias, its_keys in keys.items():
        delivery.keys[alias] += its_keys
    transaction.on_commit(delivery.deliver, using=using, robust=True)


class _Delivery:
    """What one transaction has to deliver: once, however many deletions there were.

    It lives as long as the transaction may still commit: only the callbacks that Django keeps for
    that hold it. What a savepoint rolled back is still listed, but then there is no such row.
    """

    def __init__(self, using: str) -> None:
        self.using = using
        self.keys: dict[str, list[int]] = defaultdict(list)

    def deliver(self) -> None:
        # Late, because tasks imports this module.
        from komfortkasse_django import tasks

        _deliveries.pop(id(connections[self.using]), None)
        delivered, self.keys = self.keys, {}
        with tasks.one_budget():
            for alias, ids in delivered.items():
                try:
                    tasks.deliver(shops()[alias], ids, using=self.using)
                except Exception:
                    logger.exception(
                        "%d removals of shop %r were recorded but could not be delivered at once."
                        " They stay due: komfortkasse_push sends them.",
                        len(ids),
                        alias,
                    )


_deliveries: WeakValueDictionary[int, _Delivery] = WeakValueDictionary()

# --- pushing --------------------------------------------------------------------------------------

_ROUND = 500  # rows of one shop before the next shop has its turn

_pushing: ContextVar[bool] = ContextVar("pushing", default=False)


def push(
    *,
    using: str | None = None,
    shop: str | None = None,
    ids: Sequence[int] | None = None,
    limit: int | None = None,
    budget: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_settled: Callable[[Sequence[RemovedOrder]], None] = lambda rows: None,
) -> "PushResult":
    """Send what is due to Komfortkasse and store what it answers.

    ``using`` is the mirror's database, ``shop`` an alias; ``ids`` and ``limit`` restrict the rows,
    ``budget`` is how many seconds all of it may take. ``should_stop`` is asked before each call, in
    any thread; calls in flight are finished. ``on_settled`` is told each batch of rows that was
    written.

    Any number of pushes may run at once. Raises ``ValueError`` for an alias that does not exist and
    ``RuntimeError`` inside a transaction, also one that is managed by hand: HTTP has no place
    there.
    """
    # Late: what speaks HTTP and reads answers takes longer to import than the rest of the app.
    from komfortkasse_django.runs import PushResult, Run

    result = PushResult()
    ends_at = math.inf if budget is None else time.monotonic() + budget
    runs = [
        Run(
            each,
            using or router.db_for_write(RemovedOrder),
            result,
            ids=ids,
            ends_at=ends_at,
            should_stop=should_stop,
            on_settled=on_settled,
        )
        for each in _shops_named(shop)
        if each.enabled
    ]
    quota = _ROUND if len(runs) > 1 else math.inf
    token = _pushing.set(True)
    try:
        while runs and (left := math.inf if limit is None else limit - result.total) > 0:
            run = runs.pop(0)
            if run.drain(min(quota, left)):
                runs.append(run)
    finally:
        _pushing.reset(token)
    return result


def is_pushing() -> bool:
    """Whether a push is under way here, as when a receiver of ``order_removed`` deletes orders."""
    return _pushing.get()
