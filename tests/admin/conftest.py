"""Who works in the admin, and what is there."""

import pytest
from django.test import Client
from django.utils import timezone, translation

from komfortkasse_django.models import RemovedOrder
from tests.shop.models import Order
from tests.support.staff import make_staff


@pytest.fixture(autouse=True)
def english():
    """A request leaves its language behind, in this thread."""
    with translation.override("en"):
        yield


@pytest.fixture
def staff() -> Client:
    """May read the mirror and try again."""
    return make_staff("komfortkasse_django.view_removedorder", "komfortkasse_django.remove_order")


@pytest.fixture
def clerk() -> Client:
    """May see orders and remove them, and nothing else."""
    return make_staff("shop.view_order", "komfortkasse_django.remove_order")


@pytest.fixture
def make():
    """Make a row, 1001 and removed unless told otherwise."""

    def make(**attributes: object) -> RemovedOrder:
        state = attributes.get("state", "removed")
        defaults: dict[str, object] = {
            "shop": "default",
            "order_number": "1001",
            "requested_via": "delete",
            "state": state,
            "next_attempt_at": timezone.now() if state == "pending" else None,
            "finished_at": None if state in {"pending", "failed"} else timezone.now(),
        }
        return RemovedOrder.objects.create(**{**defaults, **attributes})

    return make


@pytest.fixture
def order() -> Order:
    return Order.objects.create(number="1001")
