"""Delivery after commit: by Django's Tasks framework, or in this process where there is none.

What a transaction recorded is kept in one ``_Delivery`` until the transaction commits. Then each
shop's rows are handed to its task backend, or pushed here within ``REQUEST_BUDGET``. Delivery is
only a nudge: whatever becomes of it, the rows stay due until ``komfortkasse_push`` sends them.
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

    It lives as long as the transaction may still commit: only the callbacks that Django keeps for
    that hold it. What a savepoint rolled back is still listed, but then there is no such row.
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

    Raises what the task backend raises when it cannot be reached; for a minute after that this
    process puts nothing into that queue.
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
    """Enqueue tasks within ``REQUEST_BUDGET``, at least one; what it does not reach stays due."""
    # Late: a task is judged by the TASKS setting when it is defined.
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
    """Push in this process; what ``REQUEST_BUDGET`` does not reach stays due."""
    budget = shop.request_budget - seconds_spent()
    if budget <= 0 or _is_in_transaction():
        return
    # Late: it imports what speaks HTTP, which would slow down every start of Django.
    from komfortkasse_django.queue.pushing import is_pushing, push

    # A push that is under way sends them itself, or leaves them to the next.
    if not is_pushing():
        with counted():
            push(using=using, shop=shop.alias, ids=ids, budget=budget)


def _is_in_transaction() -> bool:
    """Whether a transaction is open on any database: it must not wait for Komfortkasse."""
    return any(
        _is_managed_by_hand(connection)
        # Those that Django's TestCase has around each test do not count, as for durable blocks.
        or any(
            not block._from_testcase  # type: ignore[attr-defined]  # noqa: SLF001
            for block in connection.atomic_blocks
        )
        for connection in connections.all(initialized_only=True)
    )


def _is_managed_by_hand(connection: BaseDatabaseWrapper) -> bool:
    """Whether the shop has switched autocommit off: then each statement opens a transaction."""
    is_open = connection.connection is not None
    return is_open and not connection.in_atomic_block and not connection.autocommit
