"""Delivery after commit: by Django's Tasks framework, or in this process where there is none.

What a transaction recorded is kept in one ``_Delivery`` until the transaction commits. Then each
shop's rows are handed to its task backend, or pushed here within ``REQUEST_BUDGET``. Delivery is
only a hint: even if it fails, ``komfortkasse_push`` sends the rows later.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from komfortkasse_django.conf import Shop, shops
from komfortkasse_django.queue.budget import counted, one_budget, seconds_spent

logger = logging.getLogger("komfortkasse_django")

_CHUNK = 100  # rows per task
_BROKEN_FOR = 60.0  # seconds in which a queue that failed is not used: failing takes time too

# Monotonic times, by backend and queue. Django makes new backends where TASKS is overridden.
_broken_until: WeakKeyDictionary[object, dict[str, float]] = WeakKeyDictionary()


def deliver_on_commit(keys: Mapping[str, Iterable[int]], *, using: str) -> None:
    """Send rows soon after the transaction open on ``using`` commits; ``keys`` is by alias."""
    connection = connections[using]
    delivery = _deliveries.setdefault((id(connection), using), _Delivery(using))
    for alias, its_keys in keys.items():
        delivery.keys[alias] += its_keys
    transaction.on_commit(delivery.deliver, using=using, robust=True)


class _Delivery:
    """What one transaction has to deliver: once, however many deletions there were.

    Only Django's ``on_commit`` callbacks refer to it, so it is freed when the transaction is rolled
    back. If only a savepoint is rolled back, its keys stay in the list, but no such rows exist.
    """

    def __init__(self, using: str) -> None:
        self.using = using
        self.keys: dict[str, list[int]] = defaultdict(list)

    def deliver(self) -> None:
        _deliveries.pop((id(connections[self.using]), self.using), None)
        delivered, self.keys = self.keys, {}
        with one_budget():
            for alias, ids in delivered.items():
                try:
                    deliver(shops()[alias], ids, using=self.using)
                except Exception:
                    logger.exception(
                        "%d removals of shop %r were recorded but could not be delivered at once."
                        " They stay due: komfortkasse_push sends them.",
                        len(ids),
                        alias,
                    )


_deliveries: WeakValueDictionary[tuple[int, str], _Delivery] = WeakValueDictionary()


def deliver(shop: Shop, ids: Sequence[int], *, using: str) -> None:
    """Have the rows ``ids``, committed in the database ``using``, sent to Komfortkasse soon.

    Raises the error of a task backend that cannot be reached. For a minute after that this process
    puts nothing into that queue.
    """
    if _runs_at_once(shop):
        _push_within_budget(shop, ids, using)
    else:
        _enqueue(shop, ids, using)


def _runs_at_once(shop: Shop) -> bool:
    """Whether the shop has no task backend that works outside of this process."""
    for framework in ("django.tasks", "django_tasks"):  # Django 6.0, and its backport
        if find_spec(framework):
            backends = import_module(framework).task_backends
            immediate = import_module(f"{framework}.backends.immediate").ImmediateBackend
            return isinstance(backends[shop.task_backend], immediate)
    return True


def _enqueue(shop: Shop, ids: Sequence[int], using: str) -> None:
    """Enqueue at least one task, and others within ``REQUEST_BUDGET``. The rest stays due."""
    # Late, because defining a task reads the TASKS setting.
    from komfortkasse_django.tasks import push_removed_orders

    # Typed loosely: Django 5.2 has no tasks, and the backport's are other classes.
    task: Any = push_removed_orders
    task = task.using(backend=shop.task_backend, queue_name=shop.task_queue)
    broken_until = _broken_until.setdefault(task.get_backend(), {})
    if time.monotonic() < broken_until.get(shop.task_queue, 0.0):
        return
    with counted():
        ends_at = time.monotonic() + shop.request_budget - seconds_spent()
        try:
            for start in range(0, len(ids), _CHUNK):
                task.enqueue(using, shop.alias, list(ids[start : start + _CHUNK]))
                if time.monotonic() >= ends_at:
                    break
        except Exception:
            broken_until[shop.task_queue] = time.monotonic() + _BROKEN_FOR
            raise


def _push_within_budget(shop: Shop, ids: Sequence[int], using: str) -> None:
    """Push in this process within ``REQUEST_BUDGET``. The rest stays due."""
    budget = shop.request_budget - seconds_spent()
    if budget <= 0 or _is_in_transaction():
        return
    # Late, because it imports requests, which would slow down every start of Django.
    from komfortkasse_django.queue.pushing import is_pushing, push

    # If a push runs already, it or the next one sends the rows.
    if not is_pushing():
        with counted():
            push(using=using, shop=shop.alias, ids=ids, budget=budget)


def _is_in_transaction() -> bool:
    """Whether a transaction is open on any database. It must not wait for Komfortkasse."""
    return any(
        _is_managed_by_hand(connection)
        # Django's TestCase wraps each test in one. It does not count, as for durable blocks.
        or any(
            not block._from_testcase  # type: ignore[attr-defined]  # noqa: SLF001
            for block in connection.atomic_blocks
        )
        for connection in connections.all(initialized_only=True)
    )


def _is_managed_by_hand(connection: BaseDatabaseWrapper) -> bool:
    """Whether the shop has switched autocommit off. Then each statement opens a transaction."""
    is_open = connection.connection is not None
    return is_open and not connection.in_atomic_block and not connection.autocommit
