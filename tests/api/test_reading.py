import dataclasses
import datetime as dt
import json
import re
import time
import tracemalloc
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from komfortkasse_django.api import reading
from komfortkasse_django.api.reading import read_object, read_order
from komfortkasse_django.schema import (
    Address,
    BankAccount,
    CollectionEvent,
    Item,
    Order,
    OrderType,
    PaymentReminder,
    PaymentStatus,
    Posting,
    Refund,
    RefundStatus,
)
from tests.support.examples import examples

ADDRESS = {
    "gender": "male",
    "firstName": "Max",
    "lastName": "Mustermann",
    "company": "Mustermann GmbH",
    "street": "Bahnhofstr. 14",
    "postCode": "63073",
    "city": "Offenbach am Main",
    "countryCode": "DE",
    "phone": "+49 8033 603 9778",
}


REFUND = {
    "externalReference": "R1",
    "amount": 5,
    "currency": "EUR",
    "plannedDate": "01-05-2018",
    "id": "r-1",
    "executionDate": "2018-05-02",
    "referenceNumber": "KKBT1",
    "status": "PROCESSED",
}


REQUIRED = {
    "number": "1001",
    "date": "25-04-2018",
    "type": "INVOICE",
    "amount": 22.38,
    "currency": "EUR",
    "billing": ADDRESS,
}


COMPLETE = REQUIRED | {
    "dueDate": "09-05-2018",
    "customerEmail": "max@example.org",
    "customerNumber": "7890",
    "marketplaceNumber": "ebay-1",
    "paymentMethod": "banktransfer",
    "paymentMethodDescription": "Payment by Invoice",
    "statusDescription": "shipped",
    "exchangeRate": 1.25,
    "language": "de",
    "itemNumbers": ["1826353"],
    "items": [{"number": "1826353", "name": "T-Shirt"}, {"number": "7633"}],
    "invoiceNumbers": ["100072533"],
    "shippingNumbers": ["897126743438923093287376"],
    "proformaNumbers": ["P1", "P2"],
    "shipping": {"company": "Mustermann GmbH", "countryCode": "AT"},
    "initialDunningLevel": 0,
    "stopReminder": True,
    "paymentStatus": "PAID_PARTIAL",
    "referenceNumber": "K1234A",
    "bankAccount": {
        "accountNumber": "1",
        "bankCode": "2",
        "iban": "DE02",
        "bic": "B",
        "bankName": "Bank",
        "remittee": "Shop",
    },
    "dunningLevel": 2,
    "amountPaid": 10.1,
    "postings": [
        {
            "id": "p-1",
            "amount": 10.10,
            "currency": "EUR",
            "postingDate": "2018-04-26",
            "valuationDate": "27-04-2018",
            "originator": "Max Mustermann",
            "reference": "REF",
            "text": "K1234A",
        }
    ],
    "collectionPartner": "Partner",
    "collectionFile": "F1",
    "collectionStatus": "open",
    "collectionHistory": [{"timestamp": "2018-06-01T10:00:00Z", "description": "opened"}],
    "paymentReminders": [
        {
            "date": "20-05-2018",
            "dunningLevel": 1,
            "reminderFee": 2.5,
            "email": True,
            "letter": False,
        }
    ],
    "refunds": [REFUND],
    "hasBankDetailsForRefund": False,
}


def order(**changes):
    return read_order(json.dumps(REQUIRED | changes))


def order_with(name, raw):
    """Read an order in which an attribute has a value given as raw JSON."""
    rest = {key: value for key, value in REQUIRED.items() if key != name}
    return read_order(f'{{"{name}": {raw}, {json.dumps(rest)[1:]}')


def test_reads_every_attribute_of_the_contract():
    billing = Address(
        gender="male",
        first_name="Max",
        last_name="Mustermann",
        company="Mustermann GmbH",
        street="Bahnhofstr. 14",
        post_code="63073",
        city="Offenbach am Main",
        country_code="DE",
        phone="+49 8033 603 9778",
    )
    assert read_order(json.dumps(COMPLETE).encode()) == Order(
        number="1001",
        date=dt.date(2018, 4, 25),
        due_date=dt.date(2018, 5, 9),
        customer_email="max@example.org",
        customer_number="7890",
        type=OrderType.INVOICE,
        marketplace_number="ebay-1",
        payment_method="banktransfer",
        payment_method_description="Payment by Invoice",
        status_description="shipped",
        amount=Decimal("22.38"),
        currency="EUR",
        exchange_rate=Decimal("1.25"),
        language="de",
        item_numbers=("1826353",),
        items=(Item(number="1826353", name="T-Shirt"), Item(number="7633")),
        invoice_numbers=("100072533",),
        shipping_numbers=("897126743438923093287376",),
        proforma_numbers=("P1", "P2"),
        billing=billing,
        shipping=Address(company="Mustermann GmbH", country_code="AT"),
        initial_dunning_level=0,
        stop_reminder=True,
        payment_status=PaymentStatus.PAID_PARTIAL,
        reference_number="K1234A",
        bank_account=BankAccount(
            account_number="1",
            bank_code="2",
            iban="DE02",
            bic="B",
            bank_name="Bank",
            remittee="Shop",
        ),
        dunning_level=2,
        amount_paid=Decimal("10.1"),
        postings=(
            Posting(
                id="p-1",
                amount=Decimal("10.1"),
                currency="EUR",
                posting_date=dt.date(2018, 4, 26),
                valuation_date=dt.date(2018, 4, 27),
                originator="Max Mustermann",
                reference="REF",
                text="K1234A",
            ),
        ),
        collection_partner="Partner",
        collection_file="F1",
        collection_status="open",
        collection_history=(
            CollectionEvent(timestamp="2018-06-01T10:00:00Z", description="opened"),
        ),
        payment_reminders=(
            PaymentReminder(
                date=dt.date(2018, 5, 20),
                dunning_level=1,
                reminder_fee=Decimal("2.5"),
                email=True,
                letter=False,
            ),
        ),
        refunds=(
            Refund(
                external_reference="R1",
                amount=Decimal(5),
                currency="EUR",
                planned_date=dt.date(2018, 5, 1),
                id="r-1",
                execution_date=dt.date(2018, 5, 2),
                reference_number="KKBT1",
                status=RefundStatus.PROCESSED,
            ),
        ),
        has_bank_details_for_refund=False,
    )


def snake_case(name):
    return re.sub("([A-Z])", lambda match: "_" + match[0].lower(), name)


def test_the_complete_order_names_every_field():
    """The test above must have a value for each attribute."""
    for part, content in [
        (Order, COMPLETE),
        (Address, ADDRESS),
        (Refund, REFUND),
        (Posting, COMPLETE["postings"][0]),
        (BankAccount, COMPLETE["bankAccount"]),
        (PaymentReminder, COMPLETE["paymentReminders"][0]),
        (CollectionEvent, COMPLETE["collectionHistory"][0]),
        (Item, COMPLETE["items"][0]),
    ]:
        names = {field.name for field in dataclasses.fields(part)}
        assert names == {snake_case(name) for name in content}


@pytest.mark.parametrize("content", [{}, dict.fromkeys(COMPLETE)], ids=["missing", "null"])
def test_only_the_number_has_to_be_there(content):
    read = read_order(json.dumps(content | {"number": "1001"}))
    assert read == Order(number="1001")
    assert {getattr(read, each.name) for each in dataclasses.fields(Order)} == {"1001", None}


def test_parts_may_be_empty():
    parts = {
        name: [{}] if isinstance(value, list) and isinstance(value[0], dict) else {}
        for name, value in COMPLETE.items()
        if isinstance(value, dict) or (isinstance(value, list) and isinstance(value[0], dict))
    }
    assert order(**parts) == order(
        billing=dict.fromkeys(ADDRESS),
        shipping=dict.fromkeys(ADDRESS),
        bankAccount=dict.fromkeys(COMPLETE["bankAccount"]),
        refunds=[dict.fromkeys(REFUND)],
        items=[{"number": None, "name": None}],
        postings=[dict.fromkeys(COMPLETE["postings"][0])],
        collectionHistory=[{"timestamp": 1}],
        paymentReminders=[{"date": []}],
    )
    assert order(**parts).billing == Address()
    assert order(**parts).refunds == (Refund(),)


@pytest.mark.parametrize("value", ["missing", None, "", True, ["secret"], {"a": "secret"}, "a\0b"])
def test_a_number_must_be_there_and_sound(value):
    content = REQUIRED | {"number": value}
    if value == "missing":
        del content["number"]
    with pytest.raises(ValueError, match=r"^number is missing or malformed$") as caught:
        read_order(json.dumps(content))
    assert caught.value.__context__ is None


@pytest.mark.parametrize("raw", ["1001", "-7", "0", "1.50", "9" * 255])
def test_a_number_may_be_a_json_number(raw):
    assert order_with("number", raw).number == raw


def test_the_last_of_several_values_counts():
    text = b'{"amount": 1, "number": "1001", "amount": 2, "error": "a", "number": "1001"}'
    assert read_order(text).amount == 2
    assert read_object(b'{"error": "a", "error": "b"}') == {"error": "b"}


@pytest.mark.parametrize("number", [b'"1002"', b"1001", b"null"])
def test_two_numbers_are_none(number):
    for text in (b'{"number": "1001", "number": %b}', b'{"number": %b, "number": "1001"}'):
        with pytest.raises(ValueError, match="number is missing"):
            read_order(text.replace(b"%b", number))


def test_two_numbers_of_a_part_are_its_own_affair():
    read = read_order(b'{"number": "1001", "items": [{"number": "1", "number": "2"}]}')
    assert read.items == (Item(),)


def test_unknown_attributes_are_ignored():
    assert order(new={"a": [1]}) == order()


def test_lists():
    assert order(items=[{"name": "T-Shirt"}, "x", None]).items == (Item(name="T-Shirt"),)
    assert order(invoiceNumbers=["1", 2, None, "3"]).invoice_numbers == ("1", "3")
    assert order(invoiceNumbers=[]).invoice_numbers == ()
    assert order(invoiceNumbers="1").invoice_numbers is None


ODD = {
    "date": ["25.04.2018", "31-02-2018", None, 7.5, True, ["x"], {"a": "x"}],
    "type": [None, 7.5, True, ["x"], {"a": "x"}],
    "amount": ["22.38", None, True, ["x"], {"a": "x"}],
    "currency": [None, 7.5, True, ["x"], {"a": "x"}],
    "billing": [None, "DE", 7.5, True, ["x"]],
    "dueDate": [
        "2018-05-09T00:00",
        "31-02-2018",
        "00-00-0000",
        "",
        "09-05-20188",
        "09-05-2018\n",
        9,
        None,
        True,
        {},
        [],
    ],
    "customerEmail": [1, 1.5, True, [], {}, "\ud800", "a\0b"],
    "paymentStatus": [1, True, [], {}, "\0"],
    "amountPaid": ["10.1", True, [], {}, ""],
    "exchangeRate": ["1"],
    "dunningLevel": ["1", 1.5, True, [], {}],
    "stopReminder": ["true", 1, 0, [], {}],
    "bankAccount": ["DE02", [], 1],
    "postings": [{}, "x", 1],
}


@pytest.mark.parametrize(("name", "value"), [(name, odd) for name in ODD for odd in ODD[name]])
def test_odd_values_are_none(name, value):
    assert getattr(order(**{name: value}), snake_case(name)) is None


@pytest.mark.parametrize("text", ["03-05-2018", "2018-05-03"])
def test_dates_are_read_in_both_formats(text):
    """The contract gives one format for the dates of an order, and none for the others."""
    read = order(
        date=text,
        dueDate=text,
        postings=[{"postingDate": text, "valuationDate": text}],
        refunds=[REFUND | {"plannedDate": text, "executionDate": text}],
        paymentReminders=[{"date": text}],
    )
    (posting,), (refund,), (reminder,) = read.postings, read.refunds, read.payment_reminders
    assert {
        *(read.date, read.due_date, posting.posting_date, posting.valuation_date),
        *(refund.planned_date, refund.execution_date, reminder.date),
    } == {dt.date(2018, 5, 3)}


def test_values_outside_the_contract_stay_plain_strings():
    read = order(paymentStatus="NEW_ONE", type="BARTER", refunds=[REFUND | {"status": "PLANNED"}])
    for value, text in [
        (read.payment_status, "NEW_ONE"),
        (read.type, "BARTER"),
        (read.refunds[0].status, "PLANNED"),
    ]:
        assert type(value) is str
        assert value == text


@pytest.mark.parametrize(
    ("choices", "read"),
    [
        (PaymentStatus, lambda value: order(paymentStatus=value).payment_status),
        (OrderType, lambda value: order(type=value).type),
        (RefundStatus, lambda value: order(refunds=[REFUND | {"status": value}]).refunds[0].status),
    ],
)
def test_values_of_the_contract_become_members(choices, read):
    for member in choices:
        assert member.name == member.value
        assert read(member.value) is member


@pytest.mark.parametrize(
    ("raw", "value"),
    [("22.38", "22.38"), ("22", "22"), ("0", "0"), ("-1.50", "-1.50"), ("1e2", "100")],
)
def test_amounts_are_exact(raw, value):
    amount = order_with("amount", raw).amount
    assert type(amount) is Decimal
    assert amount == Decimal(value)


MONSTERS = [
    "NaN", "Infinity", "-Infinity", "1e999999", "-1e-999999", "1e99999999999999999999",
    "0e999999", "1" * 5000, "0." + "1" * 100_000, "1" * 500_000, "1e20",
]  # fmt: skip


@pytest.mark.parametrize("raw", MONSTERS, ids=lambda raw: raw[:12])
def test_monstrous_numbers_are_odd_and_cheap(raw, request):
    tracemalloc.start()
    request.addfinalizer(tracemalloc.stop)
    started = time.thread_time()
    assert order_with("amountPaid", raw).amount_paid is None
    assert order_with("dunningLevel", raw).dunning_level is None
    assert time.thread_time() - started < 1
    assert tracemalloc.get_traced_memory()[1] < 8 * 2**20


def test_integers():
    level = order_with("dunningLevel", "2.0").dunning_level
    assert level == 2
    assert type(level) is int


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b'"1001"',
        b"7",
        b"{",
        b'{"secret": }',
        b"<html>secret</html>",
        b"\xff\xfe\xfa",
        b"\x80secret",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        json.dumps(REQUIRED).encode() + b"secret",
    ],
    ids=lambda text: repr(text[:20]),
)
def test_what_is_no_json_object_is_a_neutral_value_error(text):
    for read in (read_order, read_object):
        with pytest.raises(ValueError, match=r"^not a JSON object$") as caught:
            read(text)
        assert type(caught.value) is ValueError
        assert caught.value.__context__ is None
        assert caught.value.__cause__ is None


def test_read_object():
    assert read_object(b'{"error": "Order not found", "n": [1.10, NaN]}') == {
        "error": "Order not found",
        "n": [reading.Number("1.10"), None],
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(sorted(COMPLETE | ADDRESS | REFUND)), inner, max_size=4)
    ),
    max_leaves=10,
)


@examples(150)
@given(st.dictionaries(st.sampled_from(sorted(COMPLETE.keys() - {"number"})), JSON))
def test_other_attributes_never_raise(content):
    assert order(**content).number == "1001"


@examples(100)
@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_all_that_is_no_order_is_a_value_error(text):
    with pytest.raises(ValueError):
        read_order(text)


def test_stays_within_its_limits():
    assert reading.MAX_DIGITS >= 15
    assert order_with("amount", "9" * 19).amount == Decimal("9" * 19)
