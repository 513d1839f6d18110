"""Delivery after commit: by Django's Tasks framework, or in process where it runs tasks at once."""

import time
from collections.abc import Sequence
from contextvars import ContextVar
from importlib import import_module
from importlib.util import find_spec

from komfortkasse_django import removals
from komfortkasse_django.conf import Shop

_CHUNK = 100  # rows per task

# Seconds that the web request being answered has spent on pushing; None outside of requests.
_spent: ContextVar[float | None] = ContextVar("spent", default=None)


def deliver(shop: Shop, ids: Sequence[int], *, using: str) -> None:
    """Have the rows ``ids``, committed in the database ``using``, sent to Komfortkasse soon.

    A task carries row ids and is only a nudge: whatever becomes of it, the rows stay due until
    ``komfortkasse_push`` sends them. Raises what the task backend raises when it cannot be
    reached.
    """
    if _runs_at_once(shop):
        _push_within_budget(shop, ids, using)
        return
    # Late: a task is judged by the TASKS setting when it is defined.
    from komfortkasse_django.background import push_removed_orders

    task = push_removed_orders.using(backend=shop.task_backend, queue_name=shop.task_queue)
    for start in range(0, len(ids), _CHUNK):
        task.enqueue(using, shop.alias, list(ids[start : start + _CHUNK]))


def _runs_at_once(shop: Shop) -> bool:
    """Whether the shop has no task backend that works outside of this process."""
    for framework in ("django.tasks", "django_tasks"):  # Django 6.0, and its backport
        if find_spec(framework):
            backends = import_module(framework).task_backends
            immediate = import_module(f"{framework}.backends.immediate").ImmediateBackend
            return isinstance(backends[shop.task_backend], immediate)
    return True


def _push_within_budget(shop: Shop, ids: Sequence[int], using: str) -> None:
    """Push in this process; what ``REQUEST_BUDGET`` does not reach stays due."""
    spent = _spent.get()
    started = time.monotonic()
    budget = shop.request_budget - (spent or 0)
    if budget > 0:
        removals.push(using=using, shop=shop.alias, ids=ids, budget=budget)
    if spent is not None:
        _spent.set(spent + time.monotonic() - started)


def start_request(**kwargs: object) -> None:
    """Begin to count what a web request spends on pushing, however often it commits."""
    _spent.set(0.0)


def finish_request(**kwargs: object) -> None:
    """Outside of web requests, every transaction has a budget of its own."""
    _spent.set(None)
