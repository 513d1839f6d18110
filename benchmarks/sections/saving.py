"""What ORDER_GONE adds to saving an order."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from benchmarks import rows
from benchmarks.measuring import cell, interleave, timed
from benchmarks.shop.models import Order

TITLE = "Saving an order, delivery excluded"

_SAVES = 20  # in one transaction: to commit takes mostly the disk's time


def measure(*, quick: bool) -> dict[str, str]:
    rows.empty_tables()
    rows.make_orders(1)
    order = Order.objects.get()
    variants: dict[str, Callable[[], AbstractContextManager[object]]] = {
        "no shop": rows.without_shop,
        "without": rows.shop,
        "with": lambda: rows.shop(ORDER_GONE={"total": 0}),
    }
    times = interleave(
        {name: lambda shop=shop: _save(order, shop) for name, shop in variants.items()},
        rounds=5 if quick else 100,
        warm_up=3,
    )
    statements = {name: _count_statements(order, shop) for name, shop in variants.items()}
    more = {name: count - statements["no shop"] for name, count in statements.items()}
    return {
        f"{_SAVES} saves without this app": times.cell("no shop", "no shop"),
        "with it, without ORDER_GONE": times.cell("without", "no shop", at_most=1.1),
        "with ORDER_GONE": times.cell("with", "no shop"),
        "statements more, without ORDER_GONE": cell(more["without"], at_most=0),
        "statements more, with ORDER_GONE": cell(more["with"], at_most=2),
    }


def _save(order: Order, shop: Callable[[], AbstractContextManager[object]]) -> float:
    def save() -> None:
        for _ in range(_SAVES):
            order.save()

    with shop(), transaction.atomic():
        return timed(save)


def _count_statements(order: Order, shop: Callable[[], AbstractContextManager[object]]) -> int:
    with shop(), CaptureQueriesContext(connection) as queries:
        order.save()
    return len(queries)
