"""What recording adds to deleting one order."""

from collections.abc import Callable
from typing import Any

from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from benchmarks import rows
from benchmarks.measuring import cell, interleave, timed
from benchmarks.sections.deleting_many import empty_receiver
from benchmarks.shop.models import Order

TITLE = "Deleting one order, delivery excluded"


def measure(*, quick: bool) -> dict[str, str]:
    rows.empty_tables()
    times = interleave(
        {
            "empty": lambda: _delete(empty_receiver),
            "ours": lambda: _delete(rows.shop),
            "empty, open": lambda: _delete_without_commit(empty_receiver),
            "ours, open": lambda: _delete_without_commit(rows.shop),
        },
        rounds=20 if quick else 150,
        warm_up=10,
    )
    before, after = _count_statements(empty_receiver), _count_statements(rows.shop)

    return {
        "with an empty receiver": times.cell("empty", "empty"),
        "with this app": times.cell("ours", "empty", at_most=3),
        "with an empty receiver, the commit excluded": times.cell("empty, open", "empty, open"),
        "with this app, the commit excluded": times.cell("ours, open", "empty, open", at_most=3),
        "statements more": cell(after - before, at_most=2, beside=f"{before} before"),
    }


def _delete(receivers: Callable[[], Any]) -> float:
    order = _new_order()
    with receivers():
        return timed(order.delete)


def _delete_without_commit(receivers: Callable[[], Any]) -> float:
    order = _new_order()
    with receivers(), transaction.atomic():
        return timed(order.delete)


def _count_statements(receivers: Callable[[], Any]) -> int:
    order = _new_order()
    with receivers(), CaptureQueriesContext(connection) as queries:
        order.delete()
    return len(queries)


def _new_order() -> Order:
    rows.make_orders(1)
    return Order.objects.get()
