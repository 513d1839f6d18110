"""A run waits for a database that is locked or restarts, but not once it is told to end."""

import sqlite3

import pytest
from django.db import OperationalError

from komfortkasse_django import orders, runs
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.removals import push
from tests.mirror import due

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def locked(monkeypatch):
    """Let a function fail as if somebody else were writing; returns the times it was called."""

    def locked(module, name, *, times):
        original, calls = getattr(module, name), []

        def hindered(*args, **kwargs):
            calls.append(kwargs)
            if len(calls) <= times:
                cause = sqlite3.OperationalError("database is locked")
                cause.sqlite_errorcode = sqlite3.SQLITE_BUSY
                raise OperationalError("database is locked") from cause
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, hindered)
        return calls

    return locked


@pytest.mark.parametrize(("module", "name"), [(runs, "claim"), (orders, "in_use")])
def test_claims_and_looks_up_when_that_is_over(komfortkasse, locked, module, name):
    due("1001")
    calls = locked(module, name, times=2)

    assert push().states == {"removed": 1}

    assert len(calls) == 3


@pytest.mark.parametrize(("module", "name"), [(runs, "claim"), (orders, "in_use")])
def test_does_not_wait_once_it_is_told_to_end(komfortkasse, locked, module, name):
    due("1001")
    calls = locked(module, name, times=1000)

    with pytest.raises(OperationalError):
        push(should_stop=lambda: len(calls) == 2)

    assert len(calls) == 2
    assert komfortkasse.numbers == []


def test_claims_all_that_it_was_given(komfortkasse, configure, monkeypatch):
    monkeypatch.setattr(runs, "_CLAIMS_PER_CALL", 1)
    configure(CONCURRENCY=1)
    keys = [row.pk for row in due("1001", "1002", "1003", "1004")]

    assert push(ids=keys[:3]).states == {"removed": 3}

    assert RemovedOrder.objects.due().get().order_number == "1004"
