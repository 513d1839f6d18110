"""The API's answer to ``POST /order/remove/{orderNumber}`` as typed, frozen objects.

Attributes are named as in the API's contract, in snake_case: ``paymentStatus``
is ``payment_status``. Amounts are in units of ``currency``. A value that is
missing or odd is None where the contract does not require the attribute.
"""

import contextlib
import dataclasses
import datetime as dt
import functools
import json
import re
from collections.abc import Callable
from decimal import Decimal
from types import NoneType
from typing import (
    Annotated,
    Any,
    NamedTuple,
    Self,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from django.db.models import TextChoices
from django.utils.translation import pgettext_lazy

# Digits before and after the decimal point of any number that is read: far more
# than money needs, and few enough for every later computation.
MAX_DIGITS = 20

# The contract says dd-MM-yyyy for an order's dates and nothing for the others.
DateOfUnstatedFormat = Annotated[dt.date, "dd-MM-yyyy or yyyy-MM-dd"]


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

    INVOICE = "INVOICE", pgettext_lazy("komfortkasse", "Invoice")
    PREPAYMENT = "PREPAYMENT", pgettext_lazy("komfortkasse", "Prepayment")
    COD = "COD", pgettext_lazy("komfortkasse", "Cash on delivery")
    OTHER = "OTHER", pgettext_lazy("komfortkasse", "Other payment type")


class RefundStatus(TextChoices):
    """``status`` of a refund."""

    NEW = "NEW", pgettext_lazy("komfortkasse", "New")
    BANKDETAILS_MISSING = (
        "BANKDETAILS_MISSING",
        pgettext_lazy("komfortkasse", "Bank details missing"),
    )
    IN_PROCESS = "IN_PROCESS", pgettext_lazy("komfortkasse", "In process")
    PROCESSED = "PROCESSED", pgettext_lazy("komfortkasse", "Processed")
    RETURNED = "RETURNED", pgettext_lazy("komfortkasse", "Returned")
    ERROR = "ERROR", pgettext_lazy("komfortkasse", "Error")
    CANCELLED = "CANCELLED", pgettext_lazy("komfortkasse", "Cancelled")
    LEGACY = "LEGACY", pgettext_lazy("komfortkasse", "Legacy refund")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Single item of an order."""

    number: str
    name: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Billing or shipping address; ValueError without both ``last_name`` and ``company``."""

    country_code: str
    gender: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    company: str | None = None
    street: str | None = None
    post_code: str | None = None
    city: str | None = None
    phone: str | None = None

    def __post_init__(self) -> None:
        if not (self.last_name or self.company):
            raise ValueError("lastName and company are both missing or malformed")


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
    posting_date: DateOfUnstatedFormat | None = None
    valuation_date: DateOfUnstatedFormat | None = None
    originator: str | None = None
    reference: str | None = None
    text: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CollectionEvent:
    """Single event at the collection agency; the contract states no format of ``timestamp``."""

    timestamp: str | None = None
    description: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PaymentReminder:
    """Single payment reminder that was sent."""

    date: DateOfUnstatedFormat | None = None
    dunning_level: int | None = None
    reminder_fee: Decimal | None = None
    email: bool | None = None
    letter: bool | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """Refund of an order; a status outside the contract stays a plain string."""

    external_reference: str
    amount: Decimal
    currency: str
    planned_date: DateOfUnstatedFormat
    id: str | None = None
    execution_date: DateOfUnstatedFormat | None = None
    reference_number: str | None = None
    status: RefundStatus | str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order at Komfortkasse; a type or status outside the contract stays a plain string."""

    number: str
    date: dt.date
    type: OrderType | str
    amount: Decimal
    currency: str
    billing: Address
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

    @classmethod
    def from_json(cls, text: bytes | str) -> Self:
        """Read the body of a 200.

        ValueError if it is not a JSON object or an attribute that the contract
        requires is missing or odd; the message names the attribute, never its value.
        """
        return _read_part(cls, read_object(text), "")


def read_object(text: bytes | str) -> dict[str, object]:
    """Read a JSON object whose numbers are Decimals, or None where they are odd.

    ValueError if it is anything else, names an attribute twice or nests too
    deeply; the error holds nothing of the text.
    """
    value: object = None
    # JSONDecodeError holds the whole body: it must not be the context of ours.
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(
            text,
            parse_int=_read_number,
            parse_float=_read_number,
            parse_constant=_read_constant,
            object_pairs_hook=_read_pairs,
        )
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - a matter of content
    return value


def _read_number(text: str) -> Decimal | None:
    """Neither expands an exponent nor converts digits that nobody needs."""
    if len(text) > 2 * MAX_DIGITS:
        return None
    number = None
    with contextlib.suppress(ArithmeticError):
        number = Decimal(text)
    if number is None or abs(number.adjusted()) >= MAX_DIGITS:
        return None
    return number


def _read_constant(_text: str) -> None:
    """NaN and Infinity are no JSON; json reads them all the same."""


def _read_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an attribute is named twice")
    return value


# A reader turns a JSON value into what the declared type wants, or raises
# ValueError with the attribute's name: _Reader(value, name).
_Reader = Callable[[object, str], object]
_Part = TypeVar("_Part")
_DD_MM_YYYY = re.compile(r"(?P<day>[0-9]{2})-(?P<month>[0-9]{2})-(?P<year>[0-9]{4})")
_YYYY_MM_DD = re.compile(r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})")
# JSON can escape what no database stores.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class _Attribute(NamedTuple):
    field: str
    name: str
    required: bool
    read: _Reader


def _odd(name: str) -> ValueError:
    return ValueError(f"{name} is missing or malformed")


def _read_text(value: object, name: str) -> str:
    if not isinstance(value, str) or _UNSTORABLE.search(value):
        raise _odd(name)
    return value


def _read_decimal(value: object, name: str) -> Decimal:
    if not isinstance(value, Decimal):
        raise _odd(name)
    return value


def _read_integer(value: object, name: str) -> int:
    if not isinstance(value, Decimal) or value != value.to_integral_value():
        raise _odd(name)
    return int(value)


def _read_boolean(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise _odd(name)
    return value


def _read_date(value: object, name: str, *, formats: tuple[re.Pattern[str], ...]) -> dt.date:
    text = _read_text(value, name)
    for match in filter(None, (pattern.fullmatch(text) for pattern in formats)):
        with contextlib.suppress(ValueError):
            return dt.date(int(match["year"]), int(match["month"]), int(match["day"]))
    raise _odd(name)


def _read_choice(choices: dict[str, TextChoices], value: object, name: str) -> str:
    text = _read_text(value, name)
    return choices.get(text, text)


def _read_array(read: _Reader, value: object, name: str) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise _odd(name)
    entries = []
    for entry in value:
        with contextlib.suppress(ValueError):
            entries.append(read(entry, name))
    return tuple(entries)


def _read_part(part: type[_Part], value: object, name: str) -> _Part:
    if not isinstance(value, dict):
        raise _odd(name)
    values: dict[str, object] = {}
    for attribute in _attributes(cast("type", part)):
        full_name = f"{name}.{attribute.name}" if name else attribute.name
        # In nearly every answer most attributes are missing: spare their exceptions.
        if attribute.name in value or attribute.required:
            try:
                values[attribute.field] = attribute.read(value.get(attribute.name), full_name)
            except ValueError:
                if attribute.required:
                    raise
    return part(**values)


@functools.cache
def _attributes(part: type) -> tuple[_Attribute, ...]:
    return tuple(
        _Attribute(
            field=field,
            name=_camel_case(field),
            required=NoneType not in get_args(hint),
            read=_reader(hint),
        )
        for field, hint in get_type_hints(part, include_extras=True).items()
    )


def _camel_case(field: str) -> str:
    first, *others = field.split("_")
    return first + "".join(word.capitalize() for word in others)


def _reader(hint: Any) -> _Reader:  # noqa: ANN401 - a type annotation has no type
    """Return the reader for a declared type, whether or not it allows None."""
    if get_origin(hint) is tuple:
        return functools.partial(_read_array, _reader(get_args(hint)[0]))
    if hint in _READERS:
        return _READERS[hint]
    if dataclasses.is_dataclass(hint):
        return functools.partial(_read_part, cast("type[object]", hint))
    # What is left is a union: an enumeration beside str, or something beside None.
    alternative = get_args(hint)[0]
    if isinstance(alternative, type) and issubclass(alternative, TextChoices):
        return functools.partial(_read_choice, {str(choice): choice for choice in alternative})
    return _reader(alternative)


_READERS: dict[Any, _Reader] = {
    str: _read_text,
    Decimal: _read_decimal,
    int: _read_integer,
    bool: _read_boolean,
    dt.date: functools.partial(_read_date, formats=(_DD_MM_YYYY,)),
    DateOfUnstatedFormat: functools.partial(_read_date, formats=(_DD_MM_YYYY, _YYYY_MM_DD)),
}
