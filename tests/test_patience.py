"""A run waits for a database that is locked or restarts, but not once it is told to end."""

import time
from unittest import mock

import pytest
from django.db import OperationalError, ProgrammingError

from komfortkasse_django import database, orders
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue import backlog, pushing
from komfortkasse_django.queue.breaker import Breaker
from komfortkasse_django.queue.pushing import push
from tests.support.komfortkasse import error
from tests.support.mirror import due, locked, numbers

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hinder(monkeypatch):
    """Let a function fail as if somebody else were writing; returns the times it was called."""

    def hinder(module, name, *, times):
        original, calls = getattr(module, name), []

        def hindered(*args, **kwargs):
            calls.append(kwargs)
            if len(calls) <= times:
                raise locked()
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, hindered)
        return calls

    return hinder


@pytest.mark.parametrize(("module", "name"), [(backlog, "claim"), (orders, "alive")])
def test_claims_and_looks_up_when_that_is_over(komfortkasse, hinder, module, name):
    due("1001")
    calls = hinder(module, name, times=2)

    assert push().states == {"removed": 1}

    assert len(calls) == 3


@pytest.mark.parametrize(("module", "name"), [(backlog, "claim"), (orders, "alive")])
def test_does_not_wait_once_it_is_told_to_end(komfortkasse, hinder, module, name):
    due("1001")
    calls = hinder(module, name, times=1000)

    assert push(should_stop=lambda: len(calls) == 2).total == 0

    assert len(calls) == 2
    assert komfortkasse.numbers == []
    assert RemovedOrder.objects.due().filter(attempts=0, last_error="").count() == 1


def test_tells_that_it_could_not_claim(hinder, monkeypatch):
    due("1001")
    monkeypatch.setattr(backlog, "LEASE_MARGIN", 0.1)
    hinder(backlog, "claim", times=1000)

    with pytest.raises(database.DatabaseUnavailable):
        push()


def test_settles_what_was_answered_beside_a_pause_that_cannot_be_written(
    komfortkasse, configure, monkeypatch
):
    configure(CONCURRENCY=1)
    monkeypatch.setattr(pushing, "_LINGER", 1.0)
    due("1001", "1002")
    komfortkasse.answers["1002"] = error(429, "slow down", **{"Retry-After": "60"})
    monkeypatch.setattr(Breaker, "count", mock.Mock(side_effect=ProgrammingError("no such table")))

    with pytest.raises(ProgrammingError):
        push()

    assert RemovedOrder.objects.removed().get().order_number == "1001"
    assert "slow down" in RemovedOrder.objects.pending().get().last_error


def test_settles_what_was_answered_meanwhile(komfortkasse, configure, monkeypatch):
    monkeypatch.setattr(pushing, "_CLAIMS_PER_CALL", 2)
    configure(CONCURRENCY=1)
    due("1001", "1002", "1003", "1004")
    claim, calls = backlog.claim, []

    def claim_once(*args, **kwargs):
        if calls:
            raise locked()
        calls.append(None)
        return claim(*args, **kwargs)

    monkeypatch.setattr(backlog, "claim", claim_once)

    result = push(should_stop=lambda: bool(calls) and len(komfortkasse.numbers) == 2)

    assert komfortkasse.numbers == ["1001", "1002"]
    assert result.states == {"removed": 2}


def test_a_wish_to_end_is_not_forgotten(komfortkasse):
    """Otherwise orders would be sent that were not looked up."""
    due(*numbers(20))
    asked = []

    def should_stop():
        asked.append(None)
        return len(asked) == 2

    assert push(should_stop=should_stop).total == 0

    assert komfortkasse.numbers == []
    assert RemovedOrder.objects.due().filter(attempts=0).count() == 20


def test_hides_no_other_error_when_it_is_told_to_end(monkeypatch):
    due("1001")
    asked = []

    def claim(*args, **kwargs):
        asked.append(None)
        raise ProgrammingError("no such table")

    monkeypatch.setattr(backlog, "claim", claim)

    with pytest.raises(ProgrammingError):
        push(should_stop=lambda: bool(asked))


def test_claims_all_that_it_was_given_however_many(komfortkasse, monkeypatch):
    """Databases limit the length of a list."""
    monkeypatch.setattr(backlog, "_MOST_IDS", 3)
    keys = [row.pk for row in due(*numbers(20))]

    assert push(ids=keys[:17]).states == {"removed": 17}

    assert sorted(komfortkasse.numbers) == numbers(17)


def test_claims_all_that_it_was_given(komfortkasse, configure, monkeypatch):
    monkeypatch.setattr(pushing, "_CLAIMS_PER_CALL", 1)
    configure(CONCURRENCY=1)
    keys = [row.pk for row in due("1001", "1002", "1003", "1004")]

    assert push(ids=keys[:3]).states == {"removed": 3}

    assert RemovedOrder.objects.due().get().order_number == "1004"


def test_a_connection_that_was_replaced_by_a_new_one_is_no_refusal(monkeypatch):
    """As Django's atomic() does where it finds one broken."""
    broken = object()
    replaced = mock.Mock(connection=broken)
    monkeypatch.setattr(database, "connections", {"default": replaced})

    def act():
        if replaced.connection is broken:
            replaced.connection = object()
            raise OperationalError("server closed the connection unexpectedly")
        return "done"

    until = time.monotonic() + 5
    assert database.patiently(act, using="default", until=until) == "done"
