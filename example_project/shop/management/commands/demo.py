"""``manage.py demo``: shows and checks step by step what happens to deleted orders."""

import difflib
import socket
import textwrap
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from komfortkasse_django.models import RemovedOrder
from sandbox.models import Outage, SandboxOrder
from shop.models import ArchivedOrder, Campaign, Customer, Order, OrderLine

PREPAYMENT, INVOICE, PAYPAL = (
    Order.PaymentMethod.PREPAYMENT,
    Order.PaymentMethod.INVOICE,
    Order.PaymentMethod.PAYPAL,
)
REFUSED, BROKEN = SandboxOrder.Trouble.REFUSED, SandboxOrder.Trouble.BROKEN


@dataclass(frozen=True, kw_only=True)
class Placed:
    """An order of the demo: in the shop, and as Komfortkasse knows it."""

    number: str
    product: str
    total: str
    customer: str = "Max Mustermann"
    campaign: str | None = None
    payment_method: str = PREPAYMENT
    is_archived: bool = False
    paid: str = ""
    """What has been paid already; empty for nothing."""
    is_at_agency: bool = False
    trouble: str = ""
    """Why Komfortkasse does not remove it; empty if it does."""

    @property
    def reference(self) -> str:
        """The payment reference that Komfortkasse gave the order."""
        return f"K{self.number.rpartition('/')[2]}A"


ORDERS = (
    Placed(number="1001", product="Teapot", total="39.90"),
    Placed(number="1002", product="Six cups", total="54.00", paid="54.00"),
    Placed(number="1003", product="Sugar bowl", total="17.50"),
    Placed(number="1004", product="Milk jug", total="14.00", payment_method=INVOICE),
    Placed(number="1005", product="Tea strainer", total="9.80"),
    Placed(number="1006", product="Calendar", total="24.00", campaign="Calendar"),
    Placed(number="2026/1007", product="Two calendars", total="48.00", campaign="Calendar"),
    Placed(number="1008", product="Tablecloth", total="65.00", customer="Erika Mustermann"),
    Placed(number="1009", product="Tray", total="29.00", is_archived=True),
    Placed(number="1010", product="Tea towel", total="8.00", payment_method=PAYPAL),
    Placed(number="1011", product="Green tea", total="12.50"),
    Placed(number="1012", product="Black tea", total="11.50"),
    Placed(number="1013", product="Rooibos", total="10.50"),
    Placed(number="1014", product="Kettle", total="79.00"),
    Placed(number="1015", product="Tea caddy", total="22.00"),
    Placed(number="1016", product="Cake stand", total="45.00", paid="20.00"),
    Placed(number="1017", product="Samovar", total="119.00", is_at_agency=True),
    Placed(number="1018", product="Egg cups", total="16.00", trouble=REFUSED),
    Placed(number="1019", product="Honey", total="7.50"),
    Placed(number="1020", product="Coffee pot", total="34.00", trouble=BROKEN),
    Placed(number="1021", product="Trivet", total="13.00"),
)
NEVER_REGISTERED = {"1010", "1011"}
LEFT_IN_THE_SHOP = {"1012", "1014", "1015", "1016", "1019", "1021"}
LEFT_AT_KOMFORTKASSE = {"1012", "1015", "1016", "1018", "1019", "1020"}
EXPECTED_NOTES = {
    "1002": "needs a refund",
    "1017": "at a collection agency",
    "1021": "alive again",
}
EXPECTED_OTHERWISE = {
    "1011": ("unknown", "1", ""),
    "1018": ("failed", "1", "Komfortkasse rejects the request (HTTP 400: Order is locked)"),
    "1019": ("superseded", "2", ""),
    "1020": (
        "pending",
        "1",
        "overdue; Komfortkasse is temporarily unavailable (HTTP 500: Unexpected error)",
    ),
}
PATIENCE = 180  # seconds; a removal is tried again within a minute or two
"""Seconds to wait for ``komfortkasse_push --watch``."""

Row = tuple[str, ...]

HEADINGS: Row = (
    "order",
    "requested via",
    "state",
    "payment status",
    "reference",
    "amount",
    "paid",
    "attempts",
    "",
)


class NoDeletionAfterAllError(Exception):
    """Something in the shop fails after the order was deleted."""


class Command(BaseCommand):
    help = (
        "Place orders, delete them one by one, in bulk, by a cascade and during an outage, and"
        " check the mirror and the sandbox. Needs an empty shop, a running server, and"
        " komfortkasse_push --watch beside it. Exits with 1 if anything is not as expected."
    )

    def handle(self, **options: object) -> None:
        require_empty_shop()
        require_server(settings.KOMFORTKASSE["default"]["API_URL"])
        self.steps = 0
        for placed in ORDERS:
            place(placed)
        self.tell(
            f"{len(ORDERS)} orders are placed. Komfortkasse waits for the money of all but"
            f" {' and '.join(sorted(NEVER_REGISTERED))}."
        )
        self.delete_orders()
        self.survive_an_outage()
        self.cancel_an_order()
        self.leave_something_to_do()
        self.stdout.write("\nThe mirror:\n\n")
        for line in table([HEADINGS, *mirror()]):
            self.stdout.write(f"  {line}".rstrip())
        self.compare()

    def delete_orders(self) -> None:
        Order.objects.get(number="1001").delete()
        self.tell("Order 1001 is deleted.", "1001")
        Order.objects.get(number="1002").delete()
        self.tell("Order 1002 is deleted, but had been paid: the money has to go back.", "1002")
        bulk = ("1003", "1004", "1005")
        Order.objects.filter(number__in=bulk).delete()
        self.tell("Three orders are deleted at once.", *bulk)
        Campaign.objects.get(name="Calendar").delete()
        self.tell("A campaign is deleted, and its orders with it.", "1006", "2026/1007")
        Customer.objects.get(name="Erika Mustermann").delete()
        self.tell("A customer is deleted, and her order with her.", "1008")
        ArchivedOrder.objects.get(number="1009").delete()
        self.tell("An archived order is deleted, through its proxy model.", "1009")
        Order.objects.get(number="1010").delete()
        self.tell("Order 1010 is deleted. PayPal had paid it, so ORDER_FILTER left it out.", "1010")
        Order.objects.get(number="1011").delete()
        self.tell("Order 1011 is deleted. Komfortkasse never knew it.", "1011")
        with suppress(NoDeletionAfterAllError), transaction.atomic():
            Order.objects.get(number="1012").delete()
            raise NoDeletionAfterAllError
        self.tell("The deletion of order 1012 is rolled back, so it stays in both.", "1012")

    def survive_an_outage(self) -> None:
        Outage.objects.create(calls_left=2)
        for number in ("1013", "1019"):
            Order.objects.get(number=number).delete()
        self.tell("Two orders are deleted while Komfortkasse is out of order.", "1013", "1019")
        place_again("1019")
        RemovedOrder.objects.pending().update(next_attempt_at=timezone.now())
        self.wait_for("1013", RemovedOrder.State.REMOVED)
        self.wait_for("1019", RemovedOrder.State.SUPERSEDED)
        self.tell(
            "Meanwhile a new order got the number 1019, so that removal is superseded. Komfortkasse"
            " is back, and komfortkasse_push --watch has tried again. It would have waited for up"
            " to a minute, so the demo has set next_attempt_at to now.",
            "1013",
            "1019",
        )

    def cancel_an_order(self) -> None:
        Order.objects.get(number="1014").cancel()
        self.tell("Order 1014 is cancelled, not deleted. ORDER_GONE covers that.", "1014")

    def leave_something_to_do(self) -> None:
        Order.objects.get(number="1017").delete()
        self.tell(
            "Order 1017 is deleted, but a collection agency is at work: somebody has to call it"
            " off.",
            "1017",
        )
        Order.objects.get(number="1018").delete()
        self.tell("Order 1018 is deleted, but Komfortkasse refuses to remove it.", "1018")
        Order.objects.get(number="1020").delete()
        self.wait_for_outcome("1020")
        now = timezone.now()
        RemovedOrder.objects.filter(order_number="1020").update(
            created_at=now - timedelta(hours=2), next_attempt_at=now + timedelta(minutes=40)
        )
        self.tell(
            "Komfortkasse always fails for order 1020, so after an hour its removal is overdue. To"
            " show that now, the demo has set the times of this row back by two hours.",
            "1020",
        )
        Order.objects.get(number="1021").delete()
        self.wait_for("1021", RemovedOrder.State.REMOVED)
        place_again("1021")
        call_command("komfortkasse_reconcile", verbosity=0)
        self.tell(
            "Order 1021 was deleted by mistake and is in the shop again. Komfortkasse cannot know:"
            " komfortkasse_reconcile has found it.",
            "1021",
        )

    def tell(self, what: str, *numbers: str) -> None:
        """Print what was done, and what the mirror says about the orders now."""
        self.steps += 1
        self.stdout.write(textwrap.fill(f"{self.steps:2}. {what}", subsequent_indent="    "))
        for number in numbers:
            row = self.wait_for_outcome(number)
            answer = f"{row.state} {row.payment_status} {note(row)}" if row else "not in the mirror"
            self.stdout.write(f"      {number}: {' '.join(answer.split())}")

    def wait_for_outcome(self, number: str) -> RemovedOrder | None:
        """Return the row as soon as it was tried. komfortkasse_push --watch may be the first."""
        rows = RemovedOrder.objects.filter(order_number=number)
        if rows.exists():
            wait_until(rows.exclude(state=RemovedOrder.State.PENDING, last_error="").exists, number)
        return rows.first()

    def wait_for(self, number: str, state: str) -> None:
        wait_until(RemovedOrder.objects.filter(order_number=number, state=state).exists, number)

    def compare(self) -> None:
        """Compare with the expected rows. Raises ``CommandError`` if anything differs."""
        comparisons = (
            ("The mirror", expected_mirror(), mirror()),
            ("The shop", kept(LEFT_IN_THE_SHOP), kept(numbers(Order.objects.all()))),
            (
                "The sandbox",
                kept(LEFT_AT_KOMFORTKASSE),
                kept(numbers(SandboxOrder.objects.filter(removed_at=None))),
            ),
        )
        wrong = [
            "\n".join(difflib.unified_diff(lines(expected), lines(actual), what, what, lineterm=""))
            for what, expected, actual in comparisons
            if expected != actual
        ]
        if wrong:
            raise CommandError(
                "\n\n".join(["Not as expected (- is what should be there, + what is):", *wrong])
            )
        self.stdout.write(
            "\nAll rows are as expected, and so are the orders in the shop and at Komfortkasse."
        )


def require_empty_shop() -> None:
    """Raise ``CommandError`` if there are other orders."""
    if any(model.objects.exists() for model in (Order, SandboxOrder, RemovedOrder)):
        raise CommandError(
            "The demo needs an empty shop. Delete the SQLite file, run migrate and start again."
        )


def require_server(api_url: str) -> None:
    """Raise ``CommandError`` if the sandbox cannot be reached, or is not on this machine."""
    url = urlsplit(api_url)
    if url.hostname not in {"127.0.0.1", "localhost"}:
        raise CommandError(
            f"The demo plays with a sandbox on this machine only, but API_URL is {api_url}."
        )
    try:
        socket.create_connection((url.hostname, url.port or 80), timeout=5).close()
    except OSError as error:
        raise CommandError(
            f"Nothing answers at {api_url}. Run manage.py runserver at the same time."
        ) from error


def wait_until(is_so: Callable[[], bool], number: str) -> None:
    """Raise ``CommandError`` if it is not so in time."""
    for _ in range(PATIENCE * 10):
        if is_so():
            return
        time.sleep(0.1)
    raise CommandError(
        f"Nothing happens to the removal of order {number}. Run manage.py komfortkasse_push"
        " --watch 1 at the same time."
    )


def place_again(number: str) -> None:
    """Create an order that was deleted once more. Komfortkasse still has what it had."""
    place(next(placed for placed in ORDERS if placed.number == number))


def place(placed: Placed) -> None:
    """Create the order in the shop, and at Komfortkasse if it is known there."""
    customer, _ = Customer.objects.get_or_create(
        name=placed.customer,
        defaults={"email": f"{placed.customer.split()[0].lower()}@example.org"},
    )
    campaign = None
    if placed.campaign:
        campaign, _ = Campaign.objects.get_or_create(name=placed.campaign)
    order = Order.objects.create(
        number=placed.number,
        customer=customer,
        campaign=campaign,
        payment_method=placed.payment_method,
        total=Decimal(placed.total),
        cancelled_at=timezone.now() if placed.is_archived else None,
    )
    OrderLine.objects.create(order=order, product=placed.product, price=Decimal(placed.total))
    if placed.number not in NEVER_REGISTERED:
        known = {"attributes": attributes(placed, order), "trouble": placed.trouble}
        SandboxOrder.objects.get_or_create(number=placed.number, defaults=known)


def attributes(placed: Placed, order: Order) -> dict[str, object]:
    """Return Komfortkasse's data of the order, with the names of its API."""
    first_name, last_name = order.customer.name.split()
    known: dict[str, object] = {
        "date": order.created_at.strftime("%d-%m-%Y"),
        "customerEmail": order.customer.email,
        "type": placed.payment_method.upper(),
        "amount": float(placed.total),
        "currency": "EUR",
        "language": "de",
        "items": [{"number": "1", "name": placed.product}],
        "billing": {"firstName": first_name, "lastName": last_name, "countryCode": "DE"},
        "paymentStatus": "UNPAID",
        "referenceNumber": placed.reference,
        "paymentReminders": [{"date": order.created_at.strftime("%d-%m-%Y"), "dunningLevel": 1}],
    }
    if placed.paid:
        posting = {"id": placed.reference, "amount": float(placed.paid), "currency": "EUR"}
        known["paymentStatus"] = "PAID" if placed.paid == placed.total else "PAID_PARTIAL"
        known["amountPaid"] = float(placed.paid)
        known["postings"] = [posting]
    if placed.is_at_agency:
        known["paymentStatus"] = "COLLECTION"
        known["dunningLevel"] = 3
        known["collectionPartner"] = "Muster Inkasso GmbH"
        known["collectionFile"] = "MI-4711"
        known["collectionStatus"] = "Letter sent"
        known["collectionHistory"] = [{"description": "Handed over"}]
    return known


def mirror() -> list[Row]:
    """The mirror as it is, by order number."""
    return [
        (
            row.order_number,
            row.requested_via,
            row.state,
            row.payment_status,
            row.reference_number,
            "" if row.amount is None else str(row.amount),
            "" if row.amount_paid is None else str(row.amount_paid),
            str(row.attempts),
            note(row),
        )
        for row in RemovedOrder.objects.order_by("order_number", "pk")
    ]


def note(row: RemovedOrder) -> str:
    """What is left to do, or why the order is not removed."""
    notes = {
        "needs a refund": row.has_money,
        "at a collection agency": row.is_at_agency,
        "alive again": row.alive_again_at is not None,
        "overdue": RemovedOrder.objects.overdue().filter(pk=row.pk).exists(),
        row.last_error: True,
    }
    return "; ".join(text for text, is_so in notes.items() if text and is_so)


def expected_mirror() -> list[Row]:
    """The mirror as it should be, by order number."""
    rows: list[Row] = []
    for placed in ORDERS:
        number = placed.number
        if number in EXPECTED_OTHERWISE:
            state, attempts, text = EXPECTED_OTHERWISE[number]
            rows.append((number, "delete", state, "", "", "", "", attempts, text))
        elif number not in {"1010", "1012", "1015", "1016"}:
            via = "gone" if number == "1014" else "delete"
            attempts = "2" if number == "1013" else "1"
            text = EXPECTED_NOTES.get(number, "")
            known = ("DISAPPEARED", placed.reference, placed.total, placed.paid)
            rows.append((number, via, "removed", *known, attempts, text))
    return sorted(rows)


def numbers(orders: Iterable[Order | SandboxOrder]) -> set[str]:
    return {order.number for order in orders}


def kept(numbers: Iterable[str]) -> list[Row]:
    return [(number,) for number in sorted(numbers)]


def lines(rows: Iterable[Row]) -> list[str]:
    return [" | ".join(row) for row in rows]


def table(rows: Sequence[Row]) -> list[str]:
    """The rows as text, with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
