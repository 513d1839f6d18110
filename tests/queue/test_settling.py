"""Answers are settled together where they come together, and none waits for one that is slow."""

import threading
import time
from queue import SimpleQueue

import pytest

from komfortkasse_django.client import Client
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue import backlog, leases, pushing, settlement
from komfortkasse_django.queue.backlog import LEASE_MARGIN
from komfortkasse_django.queue.pushing import push
from tests.support.mirror import due, numbers

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def before(monkeypatch):
    """Let a function be called with each order number, in the thread that is about to send it."""

    def before(act):
        send = Client.remove_order

        def remove_order(client, number, **kwargs):
            act(number)
            return send(client, number, **kwargs)

        monkeypatch.setattr(Client, "remove_order", remove_order)

    return before


@pytest.fixture
def waits(monkeypatch):
    """The seconds that a run was ready to wait for answers, one after the other."""
    waits = []

    class Answers(SimpleQueue):
        def get(self, timeout=None):
            waits.append(timeout)
            return super().get(timeout=timeout)

    monkeypatch.setattr(pushing, "SimpleQueue", Answers)
    return waits


def test_a_slow_answer_keeps_no_other_waiting(komfortkasse, before, configure):
    configure(CONCURRENCY=2)
    is_settled, was_settled = threading.Event(), []
    due("slow", "fast")
    before(lambda number: was_settled.append(is_settled.wait(10)) if number == "slow" else None)

    result = push(on_settled=lambda rows: is_settled.set())

    assert was_settled == [True]
    assert result.states == {"removed": 2}


def test_an_answer_waits_a_moment_for_others(komfortkasse, configure, waits):
    configure(CONCURRENCY=4)
    due(*numbers(20))

    assert push().states == {"removed": 20}

    for_others = [seconds for seconds in waits if seconds is not None]
    assert for_others
    assert 0 < max(for_others) <= pushing._LINGER
    assert min(for_others) >= 0


def test_the_last_answer_waits_for_none(komfortkasse, waits):
    due("1001")

    assert push().states == {"removed": 1}

    assert set(waits) <= {0.0, None}


def test_waits_for_the_database_as_long_as_a_lease_allows(komfortkasse, configure, monkeypatch):
    """What was answered and what was not sent."""
    configure(CONCURRENCY=1)
    due("1001", "1002")
    patience = []
    settle = leases.settle

    def settle_and_tell(held, *, using, until):
        if held:
            patience.append(until - time.monotonic())
        return settle(held, using=using, until=until)

    monkeypatch.setattr(settlement, "settle", settle_and_tell)
    monkeypatch.setattr(backlog, "settle", settle_and_tell)

    push(should_stop=lambda: bool(komfortkasse.numbers))

    assert komfortkasse.numbers == ["1001"]
    assert RemovedOrder.objects.due().get().order_number == "1002"
    assert len(patience) == 2
    assert all(LEASE_MARGIN - 1 < seconds <= LEASE_MARGIN for seconds in patience)


def test_goes_on_after_an_answer_that_took_as_long_as_a_lease(
    komfortkasse, before, configure, monkeypatch
):
    """What was claimed with it is too late then, and is claimed again."""
    monkeypatch.setattr(backlog, "_LEASE_CALLS", 2)
    monkeypatch.setattr(pushing, "_CLAIMS_PER_CALL", 4)
    configure(CONCURRENCY=1, DEADLINE=0.2)
    due("1001", "1002", "1003", "1004")
    before(lambda number: time.sleep(0.4) if number == "1001" else None)
    claim, claimed = backlog.claim, []

    def claim_and_tell(*args, **kwargs):
        leases, more = claim(*args, **kwargs)
        claimed.append(len(leases))
        return leases, more

    monkeypatch.setattr(backlog, "claim", claim_and_tell)

    result = push()

    assert claimed[:2] == [4, 3]
    assert result.states == {"removed": 4}
    assert result.stopped == {}
    assert set(RemovedOrder.objects.values_list("attempts", flat=True)) == {1}
