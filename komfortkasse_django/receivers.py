"""From the end of an order, by ``delete()`` or by ``save()``, to the record of its removal.

``pre_delete`` reads, because in ``post_delete`` deferred fields and reverse relations are gone.
``post_delete`` writes, because only then the order is. Django sends every ``pre_delete`` of a
``delete()`` before the first of its rows is deleted, so that the first ``post_delete`` can write
them all at once.

``pre_save`` and ``post_save`` ask the database whether the order meets ``ORDER_GONE``. It is the
change that counts, not the state, or each later ``save()`` would ask for another removal.
"""

import threading
from collections import defaultdict
from typing import Any
from weakref import WeakKeyDictionary

from django.apps import apps
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save

from komfortkasse_django import orders, removals
from komfortkasse_django.conf import Shop, concrete, enabled_shops
from komfortkasse_django.database import write_first
from komfortkasse_django.models import RemovedOrder

RequestedVia = RemovedOrder.RequestedVia

# Order numbers by alias and primary key, because one row may be collected as two classes. No tuple
# is kept for each order: ten thousand would make Python collect garbage in all of its memory.
_Numbers = defaultdict[str, dict[Any, str]]

_Reads = dict[int, tuple[object, _Numbers]]  # by the id of an origin, which is kept beside

_deleted: dict[type[Model], list[Shop]] = {}
"""The shops that are told when an instance of a model is deleted."""
_saved: dict[type[Model], list[Shop]] = {}
"""The shops that are told when an instance of a model is saved, and is gone then."""

# What was read in a ``delete()`` that has not written yet, by the atomic block the ``delete()``
# opened and by its origin. When the block ends without a ``post_delete``, because another
# receiver objected or the database did, the block is freed and this is gone with it.
_read: WeakKeyDictionary[object, _Reads] = WeakKeyDictionary()

# The same where the shop's code sends the signals itself: by the state of the one instance.
_read_by_hand: WeakKeyDictionary[object, _Numbers] = WeakKeyDictionary()

# Of which shops the row was gone when a ``save()`` began. Of several, the innermost is the last: a
# receiver may save the instance again.
_gone_before: WeakKeyDictionary[object, list[set[str]]] = WeakKeyDictionary()


def connect() -> None:
    """Listen to the Order models of all enabled shops, their proxies and children."""
    for model in apps.get_models():
        _connect(model)


def _connect(model: type[Model]) -> None:
    shops = [shop for shop in enabled_shops() if shop.has_orders_of(model)]
    # Not to children: Django sends the signals of their parent, too.
    if deleted := [shop for shop in shops if concrete(model) is concrete(shop.model)]:
        _deleted[model] = deleted
        pre_delete.connect(read, sender=model)
        post_delete.connect(write, sender=model)
    # To children as well: Django sends no others.
    if saved := [shop for shop in shops if shop.gone is not None]:
        _saved[model] = saved
        pre_save.connect(look, sender=model)
        post_save.connect(compare, sender=model)


def connect_late(sender: type[Model], **kwargs: object) -> None:
    """Listen to a proxy or child of an Order model that is defined after start-up."""
    _connect(sender)


def reconnect(*, setting: str, **kwargs: object) -> None:
    """Follow a test that overrides the setting."""
    if setting == "KOMFORTKASSE":
        for model in _deleted:
            pre_delete.disconnect(read, sender=model)
            post_delete.disconnect(write, sender=model)
        for model in _saved:
            pre_save.disconnect(look, sender=model)
            post_save.disconnect(compare, sender=model)
        _deleted.clear()
        _saved.clear()
        connect()


# --- deleting -------------------------------------------------------------------------------------


def read(
    sender: type[Model],
    instance: Model,
    using: str | None,
    origin: object = None,
    **kwargs: object,
) -> None:
    """Keep the order's numbers until its deletion is certain."""
    using = using or router.db_for_write(sender, instance=instance)
    numbers = _numbers_to_keep(using, sender, instance, origin)
    trusted = _was_fetched(instance, origin)
    for shop in _deleted[sender]:
        number = orders.number_of(shop, instance, using=using, trusted=trusted)
        if number is None:
            numbers[shop.alias].pop(instance.pk, None)
        else:
            numbers[shop.alias][instance.pk] = number


def write(
    sender: type[Model],
    instance: Model,
    using: str | None,
    origin: object = None,
    **kwargs: object,
) -> None:
    """Record everything that was read in the ``delete()`` this belongs to."""
    if not (_read or _read_by_hand):
        return  # as for all orders of a ``delete()`` but the first, so it has to be quick
    using = using or router.db_for_write(sender, instance=instance)
    block = _block(using, origin)
    if block is None:
        numbers = _read_by_hand.pop(instance._state, _Numbers())
    else:
        reads = _read.get(block, {})
        _, numbers = reads.pop(id(origin), (None, _Numbers()))
        if not reads:
            _read.pop(block, None)
    if numbers:
        entries = ((alias, number) for alias in numbers for number in numbers[alias].values())
        # Without an origin the row may well stay, as it does where an order is only hidden.
        via = RequestedVia.CODE if origin is None else RequestedVia.DELETE
        removals.record(entries, requested_via=via, using=using)


def _was_fetched(order: Model, origin: object) -> bool:
    """Whether the deletion's collector read ``order`` from the database just now.

    It did not where ``delete()`` was called on the order itself, or on a multi-table child of it:
    Django builds the child's parent from what the child holds in memory.
    """
    if isinstance(origin, QuerySet):
        return not orders.hides_fields(origin)
    if not isinstance(origin, Model):
        return False
    model = concrete(type(order))
    is_part_of_origin = isinstance(origin, model) and (
        getattr(origin, model._meta.pk.attname) == order.pk
    )
    return not is_part_of_origin


def _numbers_to_keep(using: str, sender: type[Model], instance: Model, origin: object) -> _Numbers:
    block = _block(using, origin)
    if block is None:
        numbers = _read_by_hand[instance._state] = _Numbers(dict)
        write_first(using, concrete(sender))
        return numbers
    reads = _read.get(block)
    if reads is None:
        reads = _read[block] = {}
        write_first(using, concrete(sender))
    if id(origin) not in reads:
        reads[id(origin)] = origin, _Numbers(dict)
    return reads[id(origin)][1]


def _block(using: str, origin: object) -> object:
    """What lives exactly as long as the ``delete()`` that is running on this connection.

    None where the shop's code sends the signals: Django names an origin, in a transaction.
    """
    if origin is None:
        return None
    connection = _latest.connection
    if connection is None or connection.alias != using or not connection.atomic_blocks:
        connection = _latest.connection = connections[using]
    return connection.atomic_blocks[-1] if connection.atomic_blocks else None


class _Latest(threading.local):
    """The connection of this thread's last call: to look it up takes longer than all the rest."""

    connection: BaseDatabaseWrapper | None = None


_latest = _Latest()


# --- saving ---------------------------------------------------------------------------------------


def look(sender: type[Model], instance: Model, *, raw: bool, using: str, **kwargs: object) -> None:
    """Keep for which shops the order is gone already."""
    if not raw:
        write_first(using, concrete(sender))
        gone = {s.alias for s in _saved[sender] if orders.is_gone(s, instance, using=using)}
        _gone_before.setdefault(instance._state, []).append(gone)


def compare(
    sender: type[Model],
    instance: Model,
    *,
    created: bool,
    raw: bool,
    using: str,
    **kwargs: object,
) -> None:
    """Record the order's removal where this ``save()`` is its end."""
    if raw:
        return
    before = _gone_before.get(instance._state) or [set()]
    gone_before = before.pop()
    if created:  # it never was alive
        return
    entries = [
        (shop.alias, number)
        for shop in _saved[sender]
        if shop.alias not in gone_before
        and orders.is_gone(shop, instance, using=using)
        and (number := orders.number_of(shop, instance, using=using, trusted=False)) is not None
    ]
    removals.record(entries, requested_via=RequestedVia.GONE, using=using)
