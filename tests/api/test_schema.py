import dataclasses
import datetime as dt
import pickle
from decimal import Decimal

import pytest

from komfortkasse_django.schema import (
    Address,
    Item,
    Order,
    OrderType,
    PaymentStatus,
    RefundStatus,
)


def test_is_frozen_small_and_picklable():
    read = Order(
        number="1001",
        date=dt.date(2018, 4, 25),
        type=OrderType.INVOICE,
        amount=Decimal("22.38"),
        currency="EUR",
        billing=Address(last_name="Mustermann", country_code="DE"),
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        read.number = "1"
    assert not hasattr(read, "__dict__")
    assert pickle.loads(pickle.dumps(read)) == read
    with pytest.raises(TypeError):
        Item("1")


def test_labels():
    assert PaymentStatus.labels == [
        "Unpaid",
        "Paid",
        "Partially paid",
        "Cancelled/overdue",
        "Refunded",
        "Partially refunded",
        "Legacy order",
        "Disappeared",
        "Collection",
    ]
    assert OrderType.values == ["INVOICE", "PREPAYMENT", "COD", "OTHER"]
    assert RefundStatus.values == [
        "NEW",
        "BANKDETAILS_MISSING",
        "IN_PROCESS",
        "PROCESSED",
        "RETURNED",
        "ERROR",
        "CANCELLED",
        "LEGACY",
    ]
