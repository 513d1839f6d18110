"""The API's answer to ``POST /order/remove/{orderNumber}`` as typed, frozen objects.

The classes follow the API's contract one to one, with names in snake_case: ``paymentStatus`` is
``payment_status``. Amounts are in units of ``currency``. ``Order.number`` always has a value. Every
other value is None if it is missing or malformed, even if the contract requires it, because the
number alone confirms a removal.
"""

import dataclasses
import datetime as dt
from decimal import Decimal

from django.db.models import TextChoices
from django.utils.translation import pgettext_lazy


class PaymentStatus(TextChoices):
    """``paymentStatus`` of an order."""

    UNPAID = "UNPAID", pgettext_lazy("komfortkasse", "Unpaid")
    PAID = "PAID", pgettext_lazy("komfortkasse", "Paid")
    PAID_PARTIAL = "PAID_PARTIAL", pgettext_lazy("komfortkasse", "Partially paid")
    CANCELLED = "CANCELLED", pgettext_lazy("komfortkasse", "Cancelled/overdue")
    REFUNDED = "REFUNDED", pgettext_lazy("komfortkasse", "Refunded")
    REFUNDED_PARTIAL = "REFUNDED_PARTIAL", pgettext_lazy("komfortkasse", "Partially refunded")
    LEGACY = "LEGACY", pgettext_lazy("komfortkasse", "Legacy order")
    DISAPPEARED = "DISAPPEARED", pgettext_lazy("komfortkasse", "Disappeared")
    COLLECTION = "COLLECTION", pgettext_lazy("komfortkasse", "Collection")


class OrderType(TextChoices):
    """``type`` of an order: how it is to be paid."""

    INVOICE = "INVOICE"
    PREPAYMENT = "PREPAYMENT"
    COD = "COD"
    OTHER = "OTHER"


class RefundStatus(TextChoices):
    """``status`` of a refund."""

    NEW = "NEW"
    BANKDETAILS_MISSING = "BANKDETAILS_MISSING"
    IN_PROCESS = "IN_PROCESS"
    PROCESSED = "PROCESSED"
    RETURNED = "RETURNED"
    ERROR = "ERROR"
    CANCELLED = "CANCELLED"
    LEGACY = "LEGACY"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Single item of an order."""

    number: str | None = None
    name: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Billing or shipping address."""

    country_code: str | None = None
    gender: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    company: str | None = None
    street: str | None = None
    post_code: str | None = None
    city: str | None = None
    phone: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BankAccount:
    """Bank account that should be paid to."""

    account_number: str | None = None
    bank_code: str | None = None
    iban: str | None = None
    bic: str | None = None
    bank_name: str | None = None
    remittee: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """Bank posting (payment) assigned to an order."""

    id: str | None = None
    amount: Decimal | None = None
    currency: str | None = None
    posting_date: dt.date | None = None
    valuation_date: dt.date | None = None
    originator: str | None = None
    reference: str | None = None
    text: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CollectionEvent:
    """Single event at the collection agency. The contract gives no format for ``timestamp``."""

    timestamp: str | None = None
    description: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PaymentReminder:
    """Single payment reminder that was sent."""

    date: dt.date | None = None
    dunning_level: int | None = None
    reminder_fee: Decimal | None = None
    email: bool | None = None
    letter: bool | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """Refund of an order. A status that the contract does not know stays a plain string."""

    external_reference: str | None = None
    amount: Decimal | None = None
    currency: str | None = None
    planned_date: dt.date | None = None
    id: str | None = None
    execution_date: dt.date | None = None
    reference_number: str | None = None
    status: RefundStatus | str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order at Komfortkasse. ``number`` is as Komfortkasse writes it, and always there.

    A type or status that the contract does not know stays a plain string.
    """

    number: str
    date: dt.date | None = None
    type: OrderType | str | None = None
    amount: Decimal | None = None
    currency: str | None = None
    billing: Address | None = None
    due_date: dt.date | None = None
    customer_email: str | None = None
    customer_number: str | None = None
    marketplace_number: str | None = None
    payment_method: str | None = None
    payment_method_description: str | None = None
    status_description: str | None = None
    exchange_rate: Decimal | None = None
    language: str | None = None
    item_numbers: tuple[str, ...] | None = None
    items: tuple[Item, ...] | None = None
    invoice_numbers: tuple[str, ...] | None = None
    shipping_numbers: tuple[str, ...] | None = None
    proforma_numbers: tuple[str, ...] | None = None
    shipping: Address | None = None
    initial_dunning_level: int | None = None
    stop_reminder: bool | None = None
    payment_status: PaymentStatus | str | None = None
    reference_number: str | None = None
    bank_account: BankAccount | None = None
    dunning_level: int | None = None
    amount_paid: Decimal | None = None
    postings: tuple[Posting, ...] | None = None
    collection_partner: str | None = None
    collection_file: str | None = None
    collection_status: str | None = None
    collection_history: tuple[CollectionEvent, ...] | None = None
    payment_reminders: tuple[PaymentReminder, ...] | None = None
    refunds: tuple[Refund, ...] | None = None
    has_bank_details_for_refund: bool | None = None
