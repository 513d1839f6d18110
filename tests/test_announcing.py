"""Whatever the shop's receivers do, the run goes on."""

import functools

import pytest

from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.removals import push
from komfortkasse_django.signals import order_removed

pytestmark = pytest.mark.django_db(transaction=True)


def fail(**kwargs):
    raise ZeroDivisionError


@pytest.mark.parametrize("receiver", [fail, functools.partial(fail)])
def test_a_receiver_that_fails_costs_nothing_but_itself(komfortkasse, caplog, receiver):
    """Django cannot report one that has no name."""
    for number in ("1001", "1002"):
        RemovedOrder.objects.create(shop="default", order_number=number, requested_via="code")
    order_removed.connect(receiver, weak=False)
    try:
        result = push()
    finally:
        order_removed.disconnect(receiver)

    assert result.states == {"removed": 2}
    assert caplog.text.count("Traceback") >= 2
    assert caplog.text.count("raise ZeroDivisionError") == 2
