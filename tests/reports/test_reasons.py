"""Each error that is stored is explained: by its code, never by its words."""

import pytest
import requests

from komfortkasse_django import exceptions
from komfortkasse_django.exceptions import KomfortkasseError
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue.pushing import push
from komfortkasse_django.reports.reasons import REASONS, reason_of
from tests.shop.models import Order
from tests.support.komfortkasse import error
from tests.support.mirror import due

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    "case",
    [
        (error(401, "no"), "authentication_failed", "does not accept the API key"),
        (error(400, "no"), "invalid_request", "refused by Komfortkasse"),
        (error(503, "no"), "service_unavailable", "out of order or overloaded"),
        (ConnectionError("no"), "connection_failed", "no connection"),
        (requests.Timeout("no"), "deadline_exceeded", "took too long"),
        ((302, {"Location": "https://x.test/"}, ""), "unexpected_answer", "unexpected answer"),
        ((200, {}, "<html>"), "unexpected_answer", "unexpected answer"),
        ((404, {}, "<html>"), "unexpected_answer", "unexpected answer"),
        (RuntimeError("no"), "unforeseen", "unforeseen error"),
    ],
)
def test_what_the_worker_stores(komfortkasse, case):
    komfortkasse.answer, code, label = case
    due("1001")

    push()

    row = RemovedOrder.objects.get()
    assert row.error_code == code
    assert row.last_error
    assert label in str(reason_of(row.error_code).label)


def test_the_shops_own_code(komfortkasse, configure):
    def broken(order):
        raise RuntimeError

    Order.objects.create(number="1001")
    configure(ORDER_FILTER=broken)
    due("1001")

    push()

    assert RemovedOrder.objects.get().error_code == "shop_code"
    assert "shop's own code" in str(reason_of("shop_code").label)


def test_an_error_that_is_over_leaves_no_code(komfortkasse):
    [row] = due("1001")
    RemovedOrder.objects.update(error_code="unforeseen", last_error="Unexpected")

    push()

    row.refresh_from_db()
    assert (row.state, row.error_code, row.last_error) == ("removed", "", "")


def test_every_code_that_can_be_stored_has_a_reason():
    def codes(error_class):
        return {error_class.code}.union(*map(codes, error_class.__subclasses__()))

    never_stored = {KomfortkasseError.code, exceptions.OrderNotFound.code}
    ours = {exceptions.SHOP_CODE, exceptions.UNFORESEEN}
    assert REASONS.keys() == codes(KomfortkasseError) - never_stored | ours


def test_a_code_of_another_version_is_unforeseen():
    assert reason_of("of_tomorrow") == REASONS["unforeseen"]
