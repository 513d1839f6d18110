"""Promise 6: no personal data is kept, and the API key appears nowhere."""

import json
import logging

import pytest
import requests
from django.apps import apps

from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue.pushing import push
from komfortkasse_django.signals import removal_failed
from tests.shop.models import Order
from tests.support.komfortkasse import error, order_json

KEY = "key-of-the-tests"
PERSON = {
    "customerEmail": "planted-email@example.org",
    "customerNumber": "planted-customer",
    "billing": {
        "firstName": "planted-first",
        "lastName": "planted-last",
        "street": "planted-street",
        "countryCode": "DE",
        "phone": "planted-phone",
    },
    "shipping": {"lastName": "planted-shipping", "countryCode": "DE"},
    "bankAccount": {"iban": "planted-iban", "remittee": "planted-remittee"},
    "postings": [{"originator": "planted-originator", "text": "planted-text"}],
    "paymentMethodDescription": "planted-method",
}

pytestmark = pytest.mark.django_db(transaction=True)


def everything_stored() -> str:
    """Every value in every table."""
    return repr(
        [
            row
            for model in apps.get_models(include_auto_created=True)
            if model._meta.managed and not model._meta.swapped
            for row in model._base_manager.values_list()
        ]
    )


ANSWERS = {
    "removed": (200, {}, json.dumps(order_json("1001", **PERSON))),
    "another order": (200, {}, json.dumps(order_json("1002", **PERSON))),
    "incomplete": (200, {}, json.dumps({**PERSON, "number": "1001"})),
    "cut off": (200, {}, json.dumps(order_json("1001", **PERSON))[:-5]),
    "unavailable": (503, {}, json.dumps(PERSON)),
    "a page": (404, {}, f"<html>{json.dumps(PERSON)} {KEY}</html>"),
    "the key in an error": error(400, f"Key {KEY} may not do that"),
    "the key refused": error(401, f"Key {KEY.upper()} is unknown"),
    "the key in a redirect": (302, {"Location": f"https://elsewhere.test/{KEY}?planted-url"}, ""),
    "the key in an exception": requests.ConnectionError(f"could not send {KEY}"),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_nothing_is_left(komfortkasse, caplog, answer):
    caplog.set_level(logging.DEBUG)
    failures = []

    def fail(removed_order, error, **kwargs):
        failures.append(repr(error) + str(error))

    removal_failed.connect(fail)
    komfortkasse.answer = answer
    try:
        Order.objects.create(number="1001").delete()
    finally:
        removal_failed.disconnect(fail)

    assert RemovedOrder.objects.get().attempts == 1
    for text in (everything_stored(), caplog.text, repr(failures)):
        assert "planted" not in text
        assert KEY not in text.lower()


def test_an_unusable_key_is_not_shown(configure, caplog):
    configure(API_KEY="planted\nkey")
    Order.objects.create(number="1001").delete()

    result = push()

    assert "api_key" in result.stopped["default"]
    assert "planted" not in caplog.text + repr(result) + everything_stored()


def test_only_these_columns_exist():
    """Another one needs a thought about personal data, and a word in the manual."""
    assert {field.name for field in RemovedOrder._meta.get_fields()} == {
        "id",
        "shop",
        "order_number",
        "state",
        "requested_via",
        "payment_status",
        "reference_number",
        "amount",
        "amount_paid",
        "currency",
        "attempts",
        "error_code",
        "last_error",
        "next_attempt_at",
        "created_at",
        "finished_at",
        "alive_again_at",
        "settled_at",
        "is_unsettled",
        "collection_partner",
        "collection_file",
        "collection_status",
        "dunning_level",
    }
