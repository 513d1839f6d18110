"""How many seconds of ``REQUEST_BUDGET`` are spent, in a web request or in a transaction.

A web request has one account from ``request_started`` on, however often it commits. Elsewhere each
transaction has one of its own, for as long as ``one_budget`` lasts.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from weakref import WeakKeyDictionary

from asgiref.sync import SyncToAsync


class _Account:
    """What one web request or, elsewhere, one transaction has spent."""

    seconds = 0.0


_account: ContextVar[_Account | None] = ContextVar("account", default=None)

# Under ASGI, what a receiver of request_started sets is lost before Django 6.1. The context in
# which Django runs the synchronous code of a request lives exactly as long as the request.
_accounts: WeakKeyDictionary[object, _Account] = WeakKeyDictionary()


def start_request(**kwargs: object) -> None:
    """Begin to count what a web request spends, however often it commits."""
    _account.set(_Account())


def finish_request(**kwargs: object) -> None:
    """Outside of web requests, every transaction has a budget of its own."""
    _account.set(None)


@contextmanager
def one_budget() -> Iterator[None]:
    """Count all that is spent in this context together. In a web request that is always so."""
    token = None if _current_account() else _account.set(_Account())
    try:
        yield
    finally:
        if token:
            _account.reset(token)


@contextmanager
def counted() -> Iterator[None]:
    """Count the seconds that this context takes."""
    account = _current_account() or _Account()
    started = time.monotonic()
    try:
        yield
    finally:
        account.seconds += time.monotonic() - started


def seconds_spent() -> float:
    """What has been spent so far."""
    account = _current_account()
    return account.seconds if account else 0.0


def _current_account() -> _Account | None:
    request = SyncToAsync.thread_sensitive_context.get(None)
    return _account.get() if request is None else _accounts.setdefault(request, _Account())
