"""Faults at the worst moment: what Komfortkasse said is stored, and no probe is kept."""

import logging
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from komfortkasse_django.database import DatabaseUnavailable
from komfortkasse_django.models import RemovedOrder, ShopState
from komfortkasse_django.queue import pushing
from komfortkasse_django.queue.breaker import Breaker
from komfortkasse_django.queue.pushing import push
from tests.support.komfortkasse import error
from tests.support.mirror import due, numbers

pytestmark = pytest.mark.django_db(transaction=True)

BAD = [f"bad-{number}" for number in range(12)]


def removed() -> set[str]:
    return set(RemovedOrder.objects.removed().values_list("order_number", flat=True))


def let_another_process_find_trouble(failures: int) -> None:
    """Its pause is over already, so the next call is a probe."""
    ShopState.objects.update_or_create(
        shop="default",
        defaults={
            "failures": failures,
            "failing_since": timezone.now(),
            "paused_until": timezone.now() - timedelta(seconds=1),
        },
    )


@pytest.fixture
def before_each_read(monkeypatch):
    """Call a function whenever a push reads the state of the shop."""

    def set_function(function):
        read = Breaker.read

        def call_and_read(breaker):
            function(breaker)
            read(breaker)

        monkeypatch.setattr(Breaker, "read", call_and_read)

    return set_function


def test_answers_beside_a_database_that_fails_are_stored(
    komfortkasse, configure, before_each_read, monkeypatch
):
    configure(CONCURRENCY=2)
    monkeypatch.setattr(pushing, "_LINGER", 0)
    due(*numbers(200))
    reads = []

    def fail_once(breaker):
        reads.append(breaker)
        if len(reads) == 2:
            time.sleep(0.3)  # more calls are answered meanwhile
            raise DatabaseUnavailable

    before_each_read(fail_once)

    with pytest.raises(DatabaseUnavailable):
        push()

    assert komfortkasse.numbers
    assert removed() == set(komfortkasse.numbers)


def test_answers_for_one_shop_are_stored_beside_an_error_of_another(
    komfortkasse, configure, monkeypatch
):
    configure(aliases={"a": {}, "b": {}})
    due("a1", shop="a")
    due("b1", shop="b")
    monkeypatch.setattr(pushing, "_LINGER", 0.5)  # both are answered by then

    def on_settled(rows):
        if any(row.shop == "a" for row in rows):
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        push(on_settled=on_settled)

    assert removed() == set(komfortkasse.numbers)


def test_a_wrong_key_is_an_error_also_where_orders_are_to_blame(komfortkasse, configure, caplog):
    configure(CONCURRENCY=1)
    due(*BAD[:3], "good")
    komfortkasse.answers.update(dict.fromkeys(BAD, error(500)), good=error(401, "key revoked"))

    push()

    assert len(komfortkasse.questions) == 1
    assert any(
        record.levelno == logging.ERROR and "key revoked" in record.getMessage()
        for record in caplog.records
    )


def test_a_probe_counts_also_where_orders_are_to_blame(komfortkasse, configure, before_each_read):
    configure(CONCURRENCY=1)
    due(*BAD)
    komfortkasse.answers.update(dict.fromkeys(BAD, error(500)))
    told = []

    def find_trouble_once(breaker):
        if komfortkasse.questions and not told:
            told.append(breaker)
            let_another_process_find_trouble(failures=4)

    before_each_read(find_trouble_once)

    push()

    state = ShopState.objects.get()
    assert (state.failures, state.error_code) == (5, "service_unavailable")
    assert state.is_paused()


def test_a_probe_that_was_not_made_after_a_failure_is_left_to_others(
    komfortkasse, configure, before_each_read, monkeypatch
):
    configure(CONCURRENCY=1)
    monkeypatch.setattr(pushing, "_CLAIMS_PER_CALL", 1)
    due("bad", "good")
    komfortkasse.answers["bad"] = error(500)
    probes = []

    def find_trouble(breaker):
        if breaker.state.failures == 1 and not probes:
            let_another_process_find_trouble(failures=4)

    def take_probe(breaker, seconds):
        probes.append(seconds)
        return take(breaker, seconds)

    take = Breaker.take_probe
    before_each_read(find_trouble)
    monkeypatch.setattr(Breaker, "take_probe", take_probe)

    push(should_stop=lambda: bool(probes))

    assert probes
    assert komfortkasse.numbers == ["bad"]
    assert not ShopState.objects.get().is_paused()
