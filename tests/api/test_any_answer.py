"""Any answer: one that follows the contract is mirrored, and no other one breaks a push."""

import json
import zlib
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from hypothesis import event, example, given
from hypothesis import strategies as st

from komfortkasse_django.models import RemovedOrder, ShopState
from komfortkasse_django.queue.pushing import push
from komfortkasse_django.schema import OrderType, PaymentStatus, RefundStatus
from tests.support.examples import examples
from tests.support.komfortkasse import order_json

pytestmark = pytest.mark.django_db(transaction=True)

NUMBER = "1001"

# The type of each attribute in the contract.

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
word = text.map("x".__add__)
# "Format: 0.00", and no more digits than a double has.
amount = st.integers(-(10**14), 10**14).map(lambda cents: cents / 100)
count = st.integers(0, 1000)
date = st.dates().map(lambda day: f"{day:%d-%m}-{day.year:04}")
any_date = date | st.dates().map(str)
currency = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=3, max_size=3)


def part(required: dict[str, st.SearchStrategy], **optional: st.SearchStrategy):
    """An object with the required attributes and some optional ones."""
    return st.fixed_dictionaries(required, optional=optional)


optional_address = {
    "gender": st.sampled_from(["male", "female", "company", "unknown"]),
    "firstName": text,
    "street": text,
    "postCode": text,
    "city": text,
    "phone": text,
}
address = part({"lastName": word, "countryCode": text}, company=word, **optional_address) | part(
    {"company": word, "countryCode": text}, lastName=word, **optional_address
)

required = {
    "date": date,
    "type": st.sampled_from(OrderType.values),
    "amount": amount,
    "currency": currency,
    "billing": address,
    "number": st.just(NUMBER),
}
optional = {
    "dueDate": date,
    "customerEmail": text,
    "customerNumber": text,
    "marketplaceNumber": text,
    "paymentMethod": text,
    "paymentMethodDescription": text,
    "statusDescription": text,
    "exchangeRate": st.floats(0.01, 100),
    "language": text,
    "itemNumbers": st.lists(text, max_size=3),
    "items": st.lists(part({"number": text}, name=text), max_size=3),
    "invoiceNumbers": st.lists(text, max_size=3),
    "shippingNumbers": st.lists(text, max_size=3),
    "proformaNumbers": st.lists(text, max_size=3),
    "shipping": address,
    "initialDunningLevel": count,
    "stopReminder": st.booleans(),
    "paymentStatus": st.sampled_from(PaymentStatus.values),
    "referenceNumber": text,
    "bankAccount": part(
        {}, accountNumber=text, bankCode=text, iban=text, bic=text, bankName=text, remittee=text
    ),
    "dunningLevel": count,
    "amountPaid": amount,
    "postings": st.lists(
        part(
            {},
            id=text,
            amount=amount,
            currency=currency,
            postingDate=any_date,
            valuationDate=any_date,
            originator=text,
            reference=text,
            text=text,
        ),
        max_size=2,
    ),
    "collectionPartner": text,
    "collectionFile": text,
    "collectionStatus": text,
    "collectionHistory": st.lists(part({}, timestamp=text, description=text), max_size=2),
    "paymentReminders": st.lists(
        part(
            {},
            date=any_date,
            dunningLevel=count,
            reminderFee=amount,
            email=st.booleans(),
            letter=st.booleans(),
        ),
        max_size=2,
    ),
    "refunds": st.lists(
        part(
            {
                "externalReference": text,
                "amount": amount,
                "currency": currency,
                "plannedDate": any_date,
            },
            id=text,
            executionDate=any_date | st.none(),
            referenceNumber=text,
            status=st.sampled_from(RefundStatus.values),
        ),
        max_size=2,
    ),
    "hasBankDetailsForRefund": st.booleans(),
}
orders = part(required, **optional)
anything_else = [name for name in [*required, *optional] if name != "number"]
errors = part({"error": word})

# Values that are not in the contract.

any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=10,
)


@st.composite
def spoilt(draw, contents):
    """An answer that follows the contract, except for one or two attributes."""
    content = dict(draw(contents))
    for name in draw(st.lists(st.sampled_from([*content, *optional]), max_size=2)):
        if draw(st.booleans()):
            content[name] = draw(any_json)
        else:
            content.pop(name, None)
    return content


def bodies(contents):
    """JSON, with a right or wrong encoding."""
    body = st.builds(
        lambda content, ascii_only, indent: json.dumps(
            content, ensure_ascii=ascii_only, indent=indent
        ).encode(errors="surrogatepass"),
        contents,
        st.booleans(),
        st.sampled_from([None, 1]),
    )
    damaged = (
        st.builds(lambda body, end: body[:end], body, st.integers(0, 200))
        | body.map(zlib.compress)
        | body.map(lambda body: body.decode(errors="replace").encode("utf-16"))
        | st.binary(max_size=100)
    )
    return st.one_of(body, body, damaged)


header_text = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=20)
headers = st.dictionaries(
    st.sampled_from(
        ["Retry-After", "Location", "Content-Encoding", "Content-Type", "Set-Cookie", "X-Other"]
    ),
    st.sampled_from(["0", "120", "1e9", "-1", "gzip", "deflate", "br", "application/json"])
    | st.integers().map(str)
    | header_text,
    max_size=3,
)
answers = (
    st.tuples(st.just(200), headers, bodies(orders | spoilt(orders)))
    | st.tuples(st.just(404), headers, bodies(errors | spoilt(errors)))
    | st.tuples(st.integers(400, 599), headers, bodies(errors | spoilt(errors)))
    | st.tuples(
        st.sampled_from([200, 400, 404]) | st.integers(100, 999),
        headers,
        bodies(orders | errors | any_json),
    )
)


def push_one() -> RemovedOrder:
    """Push a single row, and return it as it is stored afterwards."""
    ShopState.objects.all().delete()
    RemovedOrder.objects.all().delete()
    RemovedOrder.objects.create(shop="default", order_number=NUMBER, requested_via="delete")

    result = push()

    row = RemovedOrder.objects.get()
    assert result.states == {row.state: 1}
    assert (row.order_number, row.attempts) == (NUMBER, 1)
    return row


@examples(80)
@given(content=orders, extra=st.dictionaries(st.text(max_size=10), any_json, max_size=2))
@example(content=order_json(NUMBER, referenceNumber=" K 1 "), extra={})
def test_what_the_contract_allows_is_mirrored(komfortkasse, content, extra):
    body = json.dumps({**extra, **content})
    komfortkasse.answer = (200, {"Content-Type": "application/json"}, body)

    row = push_one()

    def cents(name):
        return Decimal(repr(content[name])).quantize(Decimal("0.01")) if name in content else None

    assert row.state == "removed"
    assert row.payment_status == content.get("paymentStatus", "")
    assert row.reference_number == content.get("referenceNumber", "")
    assert row.currency == content["currency"]
    assert (row.amount, row.amount_paid) == (cents("amount"), cents("amountPaid"))
    assert (row.last_error, row.next_attempt_at) == ("", None)
    assert row.finished_at >= row.created_at


@examples(50)
@given(content=part({"number": st.just(NUMBER)}, **(dict.fromkeys(anything_else, any_json))))
@example(content={"number": 1001})
@example(content={"number": " 1001 "})
def test_what_is_odd_or_missing_is_left_blank(komfortkasse, content):
    """Only the number confirms a removal."""
    komfortkasse.answer = (200, {}, json.dumps(content))

    row = push_one()

    assert row.state == "removed"
    assert row.payment_status in ("", content.get("paymentStatus"))
    assert row.reference_number in ("", content.get("referenceNumber"))
    assert row.currency in ("", content.get("currency"))
    assert (row.amount is None) or isinstance(content["amount"], int | float)


def decompressed(body: bytes) -> bytes:
    try:
        return zlib.decompress(body)
    except zlib.error:
        return body


def meaning(status: int, body: bytes) -> str:
    """Return the state that an answer leads to, in the simplest possible way."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        return "pending"
    if status == 200:
        return "removed" if str(content.get("number")).strip() == NUMBER else "pending"
    error = content.get("error")
    if not isinstance(error, str) or not any(map(str.isprintable, error.replace(" ", ""))):
        return "pending"
    if status == 404:
        return "pending" if error.strip(" .").casefold() in {"not found", "404"} else "unknown"
    return "failed" if status == 400 else "pending"


@examples(150)
@given(answer=answers)
@example(answer=(200, {}, b'{"number": "1001", "number": "1001"}'))
@example(answer=(200, {}, json.dumps(order_json("1002")).encode()))
@example(answer=(200, {}, json.dumps(order_json("1001 ")).encode()))
@example(answer=(200, {}, b'{"number": 1001, "billing": null}'))
@example(answer=(200, {}, json.dumps(order_json(NUMBER, amount=9999999999999.999)).encode()))
@example(answer=(404, {}, b'{"error": " "}'))
@example(answer=(404, {}, b'{"status": 404, "error": "Not Found", "path": "/order/remove"}'))
@example(answer=(503, {"Retry-After": "18000"}, b""))
@example(answer=(503, {"Retry-After": "9" * 400}, b""))
@example(answer=(200, {}, b"[" * 100_000))
def test_no_other_breaks_a_push(komfortkasse, answer):
    status, headers, body = komfortkasse.answer = answer

    row = push_one()

    event(row.state)
    if "Content-Encoding" in headers:
        assert row.state in {meaning(status, body), meaning(status, decompressed(body)), "pending"}
    elif status == 200:
        assert row.state == meaning(status, body)
    else:
        assert row.state == meaning(status, body)
    mirrored = (row.payment_status, row.reference_number, row.currency, row.amount, row.amount_paid)
    if row.state != "removed":
        assert mirrored == ("", "", "", None, None)
    assert (row.finished_at is None) == (row.state in {"pending", "failed"})
    assert (row.last_error == "") == (row.state in {"removed", "unknown"})
    if row.state == "pending":
        assert timedelta(0) < row.next_attempt_at - timezone.now() <= timedelta(hours=1)
    elif row.state == "unknown":  # Komfortkasse may import the order later
        assert row.next_attempt_at - timezone.now() > timedelta(minutes=50)
    else:
        assert row.next_attempt_at is None
    for state in ShopState.objects.exclude(paused_until=None):
        assert state.paused_until - timezone.now() <= timedelta(hours=1)
