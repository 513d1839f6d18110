"""From the end of an order, by ``delete()`` or by ``save()``, to the record of its removal.

``pre_delete`` reads the number, because in ``post_delete`` deferred fields and reverse relations
are gone. ``post_delete`` records it, because only then the order is gone. Django sends every
``pre_delete`` of a ``delete()`` before it deletes the first row, so the first ``post_delete`` can
record all orders at once.

``pre_save`` and ``post_save`` ask the database whether the order meets ``ORDER_GONE``. Only the
change counts. Otherwise each later ``save()`` would ask for another removal.
"""

import threading
from collections import defaultdict
from typing import Any
from weakref import WeakKeyDictionary

from django.apps import apps
from django.db import connections, router
from django.db.models import Model, QuerySet
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save

from komfortkasse_django import orders, removals
from komfortkasse_django.conf import Shop, concrete, enabled_shops
from komfortkasse_django.database import write_first
from komfortkasse_django.models import RemovedOrder

RequestedVia = RemovedOrder.RequestedVia

# Order numbers by alias and primary key, because one row may be collected as two classes. No tuple
# for each order: with ten thousand of them, Python would search all of its memory for garbage.
_Numbers = defaultdict[str, dict[Any, str]]

_deleted: dict[type[Model], list[Shop]] = {}
"""The shops that are told when an instance of a model is deleted."""
_saved: dict[type[Model], list[Shop]] = {}
"""The shops that are told when an instance of a model is saved, and is gone then."""

# What ``pre_delete`` has read and ``post_delete`` has not recorded yet: by what lives as long as
# the ``delete()``, then by the id of the origin, which is kept beside the numbers. If no
# ``post_delete`` follows, for example because a receiver failed, it is freed with its key.
_read: WeakKeyDictionary[object, dict[int, tuple[object, _Numbers]]] = WeakKeyDictionary()

# The connection of each thread's last call: looking it up takes longer than all the rest.
_latest = threading.local()

# For which shops the row was gone when a ``save()`` began. A list, because a receiver may save the
# instance again: the last one belongs to the innermost ``save()``.
_gone_before: WeakKeyDictionary[object, list[set[str]]] = WeakKeyDictionary()


def connect() -> None:
    """Listen to the Order models of all enabled shops, their proxies and children."""
    for model in apps.get_models():
        connect_late(model)


def connect_late(sender: type[Model], **kwargs: object) -> None:
    """Listen to a model if it is an Order model, or a proxy or child that is defined later."""
    shops = [shop for shop in enabled_shops() if shop.has_orders_of(sender)]
    # Not to children: Django sends the signals of their parent, too.
    if deleted := [shop for shop in shops if concrete(sender) is concrete(shop.model)]:
        _deleted[sender] = deleted
        pre_delete.connect(read, sender=sender)
        post_delete.connect(write, sender=sender)
    # To children as well: Django sends no others.
    if saved := [shop for shop in shops if shop.gone is not None]:
        _saved[sender] = saved
        pre_save.connect(look, sender=sender)
        post_save.connect(compare, sender=sender)


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


def read(
    sender: type[Model], instance: Model, using: str | None, origin: object = None, **kwargs: object
) -> None:
    """Keep the order's numbers until it is deleted."""
    using = using or router.db_for_write(sender, instance=instance)
    scope, owner = _scope(using, instance, origin)
    reads = _read.get(scope)
    if reads is None:
        reads = _read[scope] = {}
        write_first(using, concrete(sender))
    if id(owner) not in reads:
        reads[id(owner)] = owner, _Numbers(dict)
    numbers = reads[id(owner)][1]
    trusted = _was_fetched(instance, origin)
    for shop in _deleted[sender]:
        number = orders.number_of(shop, instance, using=using, trusted=trusted)
        if number is None:
            numbers[shop.alias].pop(instance.pk, None)
        else:
            numbers[shop.alias][instance.pk] = number


def write(
    sender: type[Model], instance: Model, using: str | None, origin: object = None, **kwargs: object
) -> None:
    """Record everything that was read in the ``delete()`` that this belongs to."""
    if not _read:
        return  # the first order of a ``delete()`` has recorded all; this must be fast
    using = using or router.db_for_write(sender, instance=instance)
    scope, owner = _scope(using, instance, origin)
    reads = _read.get(scope, {})
    _, numbers = reads.pop(id(owner), (None, _Numbers()))
    if not reads:
        _read.pop(scope, None)
    if numbers:
        entries = ((alias, number) for alias in numbers for number in numbers[alias].values())
        # Without an origin the row may well stay, for example if an order is only hidden.
        via = RequestedVia.CODE if origin is None else RequestedVia.DELETE
        removals.record(entries, requested_via=via, using=using)


def _was_fetched(order: Model, origin: object) -> bool:
    """Whether Django has just read ``order`` from the database, to delete it.

    It has not if ``delete()`` was called on the order itself, or on a multi-table child of it:
    Django builds the child's parent from what the child holds in memory.
    """
    if isinstance(origin, QuerySet):
        # extra() can put something else in the place of a field.
        return not origin.query.extra
    if not isinstance(origin, Model):
        return False
    model = concrete(type(order))
    return not (isinstance(origin, model) and getattr(origin, model._meta.pk.attname) == order.pk)


def _scope(using: str, instance: Model, origin: object) -> tuple[object, object]:
    """Return what lives exactly as long as the ``delete()`` that is running, and the origin.

    That is the atomic block that Django opens for it. If the shop's code sends the signals itself,
    without an origin or a transaction, it is the state of the instance, and None as the origin.
    """
    connection = getattr(_latest, "connection", None)
    if connection is None or connection.alias != using or not connection.atomic_blocks:
        connection = _latest.connection = connections[using]
    if origin is None or not connection.atomic_blocks:
        return instance._state, None
    return connection.atomic_blocks[-1], origin


def look(sender: type[Model], instance: Model, *, raw: bool, using: str, **kwargs: object) -> None:
    """Keep for which shops the order is gone already."""
    if not raw:
        write_first(using, concrete(sender))
        gone = {s.alias for s in _saved[sender] if orders.is_gone(s, instance, using=using)}
        _gone_before.setdefault(instance._state, []).append(gone)


def compare(
    sender: type[Model], instance: Model, *, created: bool, raw: bool, using: str, **kwargs: object
) -> None:
    """Record the order's removal if this ``save()`` is its end."""
    if raw:
        return
    before = _gone_before.get(instance._state) or [set()]
    gone_before = before.pop()
    if created:  # it was never alive
        return
    entries = [
        (shop.alias, number)
        for shop in _saved[sender]
        if shop.alias not in gone_before
        and orders.is_gone(shop, instance, using=using)
        and (number := orders.number_of(shop, instance, using=using, trusted=False)) is not None
    ]
    removals.record(entries, requested_via=RequestedVia.GONE, using=using)
