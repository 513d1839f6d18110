"""The same promises for each engine, with its own broker and its own worker."""

import os
import socket
import threading
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection

from komfortkasse_django.models import RemovedOrder
from tests.shop.models import Event, Line, Order
from tests.support.mirror import states
from tests.support.running import end, until

MANY = 10_000
SOME = 1_000
ORDERS_PER_TASK = 50  # at least: 200 tasks for 10,000 orders

NAME = "Erika Mustermann"
NUMBERS = [f"N-{index}-secret" for index in range(MANY)]


def place(count):
    """Orders with lines, all with names of customers."""
    event = Event.objects.create(name=NAME)
    orders = Order.objects.bulk_create(
        Order(number=number, event=event) for number in NUMBERS[:count]
    )
    Line.objects.bulk_create(Line(order=order, name=NAME) for order in orders)


def delete(finish, **extra):
    process = finish("tests.engines.delete_orders", **extra)
    assert not Order.objects.exists()
    return process


def assert_only_ids(payloads):
    """Nothing but where the row is: database, shop and primary key."""
    keys = []
    for payload in payloads:
        using, shop, ids = payload.arguments
        assert (using, shop) == ("default", "default")
        assert all(type(key) is int for key in ids)
        keys += ids
        for secret in ("N-", "secret", NAME, settings.KOMFORTKASSE["default"]["API_KEY"]):
            assert secret.encode() not in payload.raw
    assert sorted(keys) == sorted(RemovedOrder.objects.values_list("pk", flat=True))


@pytest.mark.parametrize("count", [1, MANY])
def test_each_removal_arrives_once(engine, start, finish, komfortkasse, count):
    place(count)

    deletion = delete(finish)

    assert deletion.log == ""
    assert komfortkasse.numbers == []
    assert states() == {"pending": count}
    payloads = engine.payloads()
    assert 0 < len(payloads) <= max(1, count // ORDERS_PER_TASK)
    assert_only_ids(payloads)

    worker = start(*engine.worker)

    until(lambda: states() == {"removed": count} or worker.poll() is not None, 200)
    assert states() == {"removed": count}, worker.log
    assert komfortkasse.counts == dict.fromkeys(NUMBERS[:count], 1)
    until(lambda: engine.payloads() == [])

    end(worker, 60)
    assert "Traceback" not in worker.log
    assert set(komfortkasse.counts.values()) == {1}


def test_broker_that_is_down_costs_the_shop_nothing(engine, finish, komfortkasse):
    place(2)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = urlsplit(os.environ.get(engine.broker) or os.environ["DATABASE_URL"])
        user = f"{url.netloc.rpartition('@')[0]}@" if "@" in url.netloc else ""
        down = url._replace(netloc=f"{user}127.0.0.1:{closed.getsockname()[1]}").geturl()

        deletion = delete(finish, **{engine.broker: down})

    assert "2 removals of shop 'default' were recorded but could not be delivered" in deletion.log
    assert "secret" not in deletion.log
    assert settings.KOMFORTKASSE["default"]["API_KEY"] not in deletion.log
    assert RemovedOrder.objects.due().count() == 2
    assert engine.payloads() == []
    finish("django", "komfortkasse_push")
    assert states() == {"removed": 2}
    assert komfortkasse.counts == dict.fromkeys(NUMBERS[:2], 1)


def test_killed_worker_loses_nothing(engine, start, finish, komfortkasse):
    place(SOME)
    delete(finish)
    in_flight = threading.Event()
    go_on = threading.Event()

    def stop_in_the_middle(number):
        if len(komfortkasse.numbers) >= SOME // 4 and not go_on.is_set():
            in_flight.set()
            go_on.wait(30)

    komfortkasse.on_request = stop_in_the_middle
    worker = start(*engine.worker)
    assert in_flight.wait(60), worker.log
    worker.kill_all()
    go_on.set()
    assert RemovedOrder.objects.pending().exists()

    watcher = start("django", "komfortkasse_push", "--watch", "0.5")

    until(lambda: states() == {"removed": SOME}, 120)
    end(watcher, 60)
    assert set(komfortkasse.counts) == set(NUMBERS[:SOME])

    # The tasks that were left find nothing to do.
    before = len(komfortkasse.numbers)
    worker = start(*engine.worker)
    until(lambda: engine.payloads() == [])
    end(worker, 60)
    assert len(komfortkasse.numbers) == before
    assert states() == {"removed": SOME}


def test_checks(finish, komfortkasse, start):
    finish("django", "check")

    for wrong, message in (("TASK_BACKEND", "E014"), ("TASK_QUEUE", "E015")):
        process = start("django", "check", **{wrong: "nowhere"})
        assert process.ended() == 1
        assert f"komfortkasse_django.{message}" in process.log


def test_runs_on_postgresql():
    assert connection.vendor == "postgresql"
