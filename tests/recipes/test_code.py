"""The manual's recipes that need no settings."""

import json

import django
import pytest
import responses

from komfortkasse_django import signals
from komfortkasse_django.removals import remove
from tests.support.komfortkasse import error, order_json
from tests.support.manual import recipe

URL = "https://ssl.komfortkasse.eu/api/v2/order/remove/1001"


def test_client(capsys):
    answer = order_json("1001", postings=[{"amount": 20}, {"amount": 2.38}])
    with responses.RequestsMock() as mock:
        mock.post(
            URL,
            json=answer,
            match=[
                responses.matchers.query_param_matcher({"includePostings": "true"}),
                responses.matchers.header_matcher({"X-Komfortkasse-API-Key": "..."}),
            ],
        )

        recipe("Call Komfortkasse yourself").run({})

    assert capsys.readouterr().out == "DISAPPEARED 22.38 [Decimal('20'), Decimal('2.38')]\n"


class TestReactions:
    @pytest.fixture(autouse=True)
    def reactions(self, settings):
        settings.MANAGERS = ["staff@example.org"]
        if django.VERSION < (6, 0):
            settings.MANAGERS = [("Staff", "staff@example.org")]
        if django.VERSION >= (6, 1):  # it takes the place of EMAIL_BACKEND
            del settings.EMAIL_BACKEND
            locmem = "django.core.mail.backends.locmem.EmailBackend"
            settings.MAILERS = {"default": {"BACKEND": locmem}}
        names = recipe("React to an answer").run({})
        yield
        assert signals.order_removed.disconnect(names["ask_for_a_refund"])
        assert signals.removal_failed.disconnect(names["ask_for_help"])

    @pytest.mark.django_db(transaction=True)
    def test_money_that_had_arrived(self, komfortkasse, mailoutbox):
        paid = order_json("1002", amountPaid=10)
        komfortkasse.answers["1002"] = 200, {}, json.dumps(paid)

        remove(["1001", "1002"])

        (mail,) = mailoutbox
        assert mail.body == "Order 1002 is gone, but 10 EUR had arrived."

    @pytest.mark.django_db(transaction=True)
    def test_failure(self, komfortkasse, mailoutbox):
        komfortkasse.answers["1002"] = error(400, "Invalid request")

        remove(["1001", "1002"])

        (mail,) = mailoutbox
        assert mail.body.startswith("Order 1002: ")
        assert "Invalid request" in mail.body
