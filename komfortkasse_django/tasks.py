"""Delivery after commit: by Django's Tasks framework, or in process where it runs tasks at once."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from importlib.util import find_spec
from weakref import WeakKeyDictionary

from asgiref.sync import SyncToAsync
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from komfortkasse_django import removals
from komfortkasse_django.conf import Shop

_CHUNK = 100  # rows per task
_PAUSE = 60.0  # seconds for which a backend is left alone that failed: failing may take some, too

# By backend, which Django makes anew where TASKS is overridden, and by queue: monotonic times.
_paused_until: WeakKeyDictionary[object, dict[str, float]] = WeakKeyDictionary()


class _Account:
    """What one web request or, elsewhere, one transaction has spent on pushing."""

    seconds = 0.0


_account: ContextVar[_Account | None] = ContextVar("account", default=None)

# Under ASGI, what a receiver of request_started sets is lost before Django 6.1. The context in
# which Django runs the synchronous code of a request lives exactly as long as the request.
_accounts: WeakKeyDictionary[object, _Account] = WeakKeyDictionary()


def deliver(shop: Shop, ids: Sequence[int], *, using: str) -> None:
    """Have the rows ``ids``, committed in the database ``using``, sent to Komfortkasse soon.

    A task carries row ids and is only a nudge: whatever becomes of it, the rows stay due until
    ``komfortkasse_push`` sends them. Raises what the task backend raises when it cannot be
    reached; for a minute after that this process enqueues nothing in that queue.
    """
    if _runs_at_once(shop):
        _push_within_budget(shop, ids, using)
        return
    # Late: a task is judged by the TASKS setting when it is defined.
    from komfortkasse_django.background import push_removed_orders

    task = push_removed_orders.using(backend=shop.task_backend, queue_name=shop.task_queue)
    pauses = _paused_until.setdefault(task.get_backend(), {})
    if time.monotonic() < pauses.get(shop.task_queue, 0.0):
        return
    try:
        for start in range(0, len(ids), _CHUNK):
            task.enqueue(using, shop.alias, list(ids[start : start + _CHUNK]))
    except Exception:
        pauses[shop.task_queue] = time.monotonic() + _PAUSE
        raise


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
    account = _current_account() or _Account()
    budget = shop.request_budget - account.seconds
    # A push that is under way sends them itself, or leaves them to the next.
    if budget <= 0 or removals.is_pushing() or _is_in_transaction():
        return
    started = time.monotonic()
    try:
        removals.push(using=using, shop=shop.alias, ids=ids, budget=budget)
    finally:
        account.seconds += time.monotonic() - started


def _current_account() -> _Account | None:
    request = SyncToAsync.thread_sensitive_context.get(None)
    return _account.get() if request is None else _accounts.setdefault(request, _Account())


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


@contextmanager
def one_budget() -> Iterator[None]:
    """Count together what is delivered in this context, as in a web request it is anyway."""
    token = None if _current_account() else _account.set(_Account())
    try:
        yield
    finally:
        if token:
            _account.reset(token)


def start_request(**kwargs: object) -> None:
    """Begin to count what a web request spends on pushing, however often it commits."""
    _account.set(_Account())


def finish_request(**kwargs: object) -> None:
    """Outside of web requests, every transaction has a budget of its own."""
    _account.set(None)
