"""What recording adds to deleting many orders at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction
from django.db.models import Model
from django.db.models.signals import post_delete, pre_delete
from django.utils import timezone

from benchmarks import rows
from benchmarks.measuring import cell, interleave, timed
from benchmarks.shop.models import Bare, Order

TITLE = "Deleting many orders"

_AT_MOST = {"sqlite": 1.4, "postgresql": 1.5, "mysql": 1.5}
_ORDERS_PER_INSERT = 1000


def measure(*, quick: bool) -> dict[str, str]:
    count = 500 if quick else 10_000
    variants: dict[str, Callable[[], float]] = {
        # First, because the database tidies up after it for a while.
        "per row": lambda: _delete(count, _receiver_that_inserts),
        "none": lambda: _delete(count, rows.without_shop),
        "empty": lambda: _delete(count, empty_receiver),
        "ours": lambda: _delete(count, rows.shop),
        "bare": lambda: _delete(count, empty_receiver, and_then=lambda: bulk_create(count)),
    }
    times = interleave(variants, rounds=2 if quick else 9)
    inserts = _count_inserts(count, rows.shop)
    naive_inserts = _count_inserts(count, _receiver_that_inserts)

    return {
        f"{count:,} orders, without any receiver": times.cell("none", "empty"),
        "with an empty receiver": times.cell("empty", "empty"),
        "with this app": times.cell("ours", "empty", at_most=_AT_MOST[connection.vendor]),
        "with a receiver that inserts a row": times.cell("per row", "empty"),
        "with an empty receiver and one bulk_create()": times.cell("bare", "empty"),
        "with this app, over the line before": times.cell("ours", "bare", at_most=1),
        "INSERTs of this app": cell(inserts, at_most=-(-count // _ORDERS_PER_INSERT)),
        "INSERTs of the receiver that inserts a row": cell(naive_inserts),
    }


@contextmanager
def empty_receiver() -> Iterator[None]:
    with rows.without_shop(), _connected(lambda sender, **kwargs: None):
        yield


@contextmanager
def _receiver_that_inserts() -> Iterator[None]:
    def insert(sender: type[Model], instance: Order, **kwargs: object) -> None:
        _bare(instance.number).save(force_insert=True)

    with rows.without_shop(), _connected(insert, only_afterwards=True):
        yield


@contextmanager
def _connected(receiver: Callable[..., None], *, only_afterwards: bool = False) -> Iterator[None]:
    signals = [post_delete] if only_afterwards else [pre_delete, post_delete]
    for signal in signals:
        signal.connect(receiver, sender=Order)
    try:
        yield
    finally:
        for signal in signals:
            signal.disconnect(receiver, sender=Order)


def bulk_create(count: int) -> None:
    """Insert the smallest possible record for each order."""
    Bare.objects.bulk_create([_bare(str(number)) for number in range(count)], batch_size=1000)


def _bare(number: str) -> Bare:
    return Bare(
        shop="default",
        order_number=number,
        state="pending",
        requested_via="delete",
        next_attempt_at=timezone.now(),
    )


def _delete(
    count: int, receivers: Callable[[], Any], *, and_then: Callable[[], None] = lambda: None
) -> float:
    def delete() -> None:
        with transaction.atomic():
            Order.objects.all().delete()
            and_then()

    rows.empty_tables()
    rows.make_orders(count)
    with receivers():
        return timed(delete)


def _count_inserts(count: int, receivers: Callable[[], Any]) -> int:
    """Return how many INSERT statements the deletion of ``count`` orders sends."""
    statements: list[str] = []

    def note(execute: Callable[..., Any], sql: str, *arguments: object) -> Any:  # noqa: ANN401
        statements.append(sql)
        return execute(sql, *arguments)

    rows.empty_tables()
    rows.make_orders(count)
    with receivers(), connection.execute_wrapper(note):
        Order.objects.all().delete()
    return sum(sql.startswith("INSERT") for sql in statements)
