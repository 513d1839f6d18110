"""What a shop may rely on: these names stay, even if modules move inside the package."""

import re
from importlib import import_module
from pathlib import Path

import pytest
from django.contrib import admin
from django.core.management import get_commands, load_command_class

from komfortkasse_django.conf import KEYS
from komfortkasse_django.models import RemovedOrder

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"


PUBLIC = [
    "admin.OrderAdminMixin",
    "admin.RemovedOrderAdmin",
    "client.Client",
    "client.Client.remove_order",
    "exceptions.AuthenticationFailed",
    "exceptions.ConnectionFailed",
    "exceptions.DeadlineExceeded",
    "exceptions.InvalidRequest",
    "exceptions.KomfortkasseError",
    "exceptions.OrderNotFound",
    "exceptions.ServiceUnavailable",
    "exceptions.UnexpectedAnswer",
    "models.RemovedOrder",
    "removals.remove",
    "schema.Address",
    "schema.BankAccount",
    "schema.CollectionEvent",
    "schema.Item",
    "schema.Order",
    "schema.OrderType",
    "schema.PaymentReminder",
    "schema.PaymentStatus",
    "schema.Posting",
    "schema.Refund",
    "schema.RefundStatus",
    "signals.order_removed",
    "signals.removal_failed",
]


@pytest.mark.parametrize("path", PUBLIC)
def test_can_be_imported(path):
    module, name, *attributes = path.split(".")
    found = getattr(import_module(f"komfortkasse_django.{module}"), name)

    for attribute in attributes:
        found = getattr(found, attribute)
    assert callable(found) or hasattr(found, "connect")


@pytest.mark.parametrize("path", PUBLIC)
def test_is_in_the_reference(path):
    module, name, *_ = path.split(".")
    page = (REFERENCE / "python.rst").read_text(encoding="utf-8")

    assert re.search(rf":: komfortkasse_django\.(?:{module}|{module}\.{name})$", page, re.MULTILINE)


def test_the_admin_classes_fit_the_shops_own():
    from komfortkasse_django.admin import OrderAdminMixin, RemovedOrderAdmin

    site = admin.AdminSite(name="own")
    site.register(RemovedOrder, RemovedOrderAdmin)

    class OrderAdmin(OrderAdminMixin, admin.ModelAdmin):
        pass

    assert site.is_registered(RemovedOrder)
    assert issubclass(OrderAdmin, admin.ModelAdmin)


@pytest.mark.parametrize(
    "key",
    [
        "API_KEY",
        "API_URL",
        "CONCURRENCY",
        "DEADLINE",
        "ENABLED",
        "EXTEND_ORDER_ADMIN",
        "ORDER_FILTER",
        "ORDER_GONE",
        "ORDER_MODEL",
        "ORDER_NUMBER",
        "REQUEST_BUDGET",
        "TASK_BACKEND",
        "TASK_QUEUE",
        "UNKNOWN_RETRIES",
    ],
)
def test_is_a_setting(key):
    assert key in KEYS


@pytest.mark.parametrize("name", ["ping", "prune", "reconcile", "push", "remove", "status"])
def test_is_a_command(name):
    command = f"komfortkasse_{name}"

    assert get_commands()[command] == "komfortkasse_django"
    assert load_command_class("komfortkasse_django", command).help


def test_checks_keep_their_ids():
    # test_readme.py compares these with the code.
    ids = re.findall(
        r"(?m)^``([EW]\d{3})``  ", (REFERENCE / "checks.rst").read_text(encoding="utf-8")
    )

    errors = [f"E{number:03}" for number in range(1, 22)]
    warnings = [f"W{number:03}" for number in range(1, 5)]
    assert {*errors, *warnings} <= set(ids)
    assert len(set(ids)) == len(ids)


def test_the_permission_keeps_its_name():
    assert RemovedOrder._meta.app_label == "komfortkasse_django"
    assert "remove_order" in dict(RemovedOrder._meta.permissions)


def test_the_mirror_keeps_its_words():
    fields = {field.name for field in RemovedOrder._meta.fields}

    assert fields >= {
        *("shop", "order_number", "state", "requested_via"),
        *("payment_status", "reference_number", "amount", "amount_paid", "currency"),
        *("attempts", "error_code", "last_error", "next_attempt_at", "created_at", "finished_at"),
    }
    assert {*RemovedOrder.State} == {"pending", "removed", "unknown", "superseded", "failed"}
    assert {*RemovedOrder.RequestedVia} >= {
        "delete",
        "gone",
        "code",
        "admin",
        "command",
        "reconcile",
    }


@pytest.mark.parametrize(
    "name", ["due", "overdue", "pending", "removed", "unknown", "superseded", "failed", "retry"]
)
def test_the_mirror_can_be_asked(name):
    assert callable(getattr(RemovedOrder.objects.all(), name))
