"""Who works in the shop, and what they find there."""

from datetime import timedelta
from decimal import Decimal

from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from komfortkasse_django.models import RemovedOrder
from sandbox.models import SandboxOrder
from shop.models import Customer, Order
from tests.support.staff import grant


def hire(*permissions: str) -> User:
    """Somebody with these permissions; with all of them if none is named."""
    user = User.objects.create_user("erika", is_staff=True, first_name="Erika")
    user.is_superuser = not permissions
    user.save()
    grant(user, *permissions)
    return user


def log_in(context, user: User, url: str) -> None:
    """Log in without the login page, which differs between the themes of the admin."""
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": url}])


def place(number: str, *, method: str = Order.PaymentMethod.PREPAYMENT, **known: object) -> Order:
    """Place an order that Komfortkasse knows, too."""
    customer, _ = Customer.objects.get_or_create(name="Max Mustermann", email="max@example.org")
    order = Order.objects.create(
        number=number, customer=customer, payment_method=method, total=Decimal("39.90")
    )
    attributes = {
        "date": "25-04-2026",
        "type": "PREPAYMENT",
        "amount": 39.9,
        "currency": "EUR",
        "billing": {"lastName": "Mustermann", "countryCode": "DE"},
        "referenceNumber": f"K{number}A",
        "paymentStatus": "UNPAID",
    }
    SandboxOrder.objects.create(number=number, attributes={**attributes, **known})
    return order


def remember() -> None:
    """Fill the mirror with a removal of each kind."""
    now = timezone.now()
    refused = {
        "error_code": "invalid_request",
        "last_error": "Komfortkasse rejects the request (HTTP 400: ...)",
    }
    timed_out = {
        "error_code": "connection_failed",
        "last_error": "No connection to Komfortkasse: timed out",
    }
    answered = {"currency": "EUR", "attempts": 1, "next_attempt_at": None}
    agency = {
        "payment_status": "COLLECTION",
        "amount": "129.00",
        "collection_partner": "Inkasso Nord",
        "collection_file": "AZ 7/2026",
        "collection_status": "SUBMITTED",
        "dunning_level": 3,
    }
    rows = [
        ("1001", "removed", 4000, {"payment_status": "DISAPPEARED", "amount": "39.90"}),
        ("1002", "removed", 1500, {"payment_status": "DISAPPEARED", "amount": "54.00"}),
        ("1003", "unknown", 300, {}),
        ("1004", "superseded", 240, {}),
        ("1005", "removed", 180, {"payment_status": "PAID_PARTIAL", "amount": "1217.50"}),
        ("1009", "removed", 170, agency),
        ("1010", "removed", 160, {"alive_again_at": now, "amount": "5.00"}),
        ("1011", "removed", 150, {"settled_at": now - timedelta(days=2), "amount_paid": "1.00"}),
        ("1012", "pending", 130, timed_out),
        ("1006", "failed", 55, refused),
        ("1007", "pending", 9, timed_out),
        ("1008", "pending", 1, {}),
    ]
    for number, state, minutes, attributes in rows:
        when = now - timedelta(minutes=minutes)
        row = RemovedOrder(
            shop="default",
            order_number=number,
            state=state,
            requested_via="admin" if number == "1005" else "delete",
            created_at=when,
            finished_at=None if state in {"pending", "failed"} else when,
            **{**answered, **attributes},
        )
        if state == "removed":
            row.reference_number = f"K{number}A"
        if number == "1002":
            row.amount_paid = Decimal("54.00")
        if number == "1005":
            row.amount_paid = Decimal("1000.00")
        if number in {"1007", "1012"}:
            row.attempts, row.next_attempt_at = 3, now + timedelta(minutes=3, seconds=30)
        if number == "1008":
            row.attempts, row.next_attempt_at = 0, now
        row.save()
