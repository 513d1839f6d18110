"""What a shop may get wrong: mypy fails where an error that is expected here is not reported."""

from typing import Any

from komfortkasse_django import schema
from komfortkasse_django.client import Client
from komfortkasse_django.exceptions import KomfortkasseError, OrderNotFound
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.removals import remove
from store.models import Order

remove(10.01)  # type: ignore[arg-type]
remove(None)  # type: ignore[arg-type]
remove(Order)  # type: ignore[arg-type]
remove("1001", "default")  # type: ignore[call-arg]
remove("1001", shop=1)  # type: ignore[arg-type]
remove("1001", requested_via="nobody")  # type: ignore[arg-type]

Client("key")  # type: ignore[call-arg]
Client(api_key=None)  # type: ignore[arg-type]
Client(api_key="key", deadline="10")  # type: ignore[arg-type]
Client(api_key="key").remove_order(1001)  # type: ignore[arg-type]
Client(api_key="key").remove_order("1001", include_everything=True)  # type: ignore[call-arg]


def read(order: schema.Order) -> None:
    status: int = order.payment_status  # type: ignore[assignment]
    paid = order.amount - order.amount_paid  # type: ignore[operator]
    order.amount_payed  # type: ignore[attr-defined]
    order.number = "1002"  # type: ignore[misc]
    for posting in order.postings:  # type: ignore[union-attr]
        print(posting.amount, status, paid)


def query(row: RemovedOrder) -> None:
    RemovedOrder.objects.late()  # type: ignore[attr-defined]
    RemovedOrder.objects.filter(order="1001")  # type: ignore[misc]
    RemovedOrder.State.LOST  # type: ignore[attr-defined]
    row.amount_paid + 1  # type: ignore[operator]
    number: int = row.order_number  # type: ignore[assignment]
    print(number)


def handle(error: KomfortkasseError, missing: OrderNotFound) -> Any:
    error.number  # type: ignore[attr-defined]
    missing.number  # type: ignore[attr-defined]
