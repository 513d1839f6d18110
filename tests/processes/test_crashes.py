"""SIGKILL at any moment loses nothing, and sends again at most what was in flight."""

import json
import os
import random
import signal
import threading
import time

import pytest
from django.utils import timezone

from komfortkasse_django.models import RemovedOrder
from tests.support.loopback import http_answer, order_json
from tests.support.mirror import due, numbers, states
from tests.support.running import until

CONCURRENCY = 4
LATENCY = 0.05  # most of what a call takes, also on a busy machine
LEASE = 4 * 10 + 10  # seconds, as backlog.py takes them for this deadline


@pytest.fixture(autouse=True)
def _options(environment):
    environment["OPTIONS"] = json.dumps({"DEADLINE": 10, "CONCURRENCY": CONCURRENCY})


def drain(push):
    """Push what is left as soon as its leases end, which is soon."""
    left = RemovedOrder.objects.pending()
    latest = left.latest("next_attempt_at").next_attempt_at
    assert (latest - timezone.now()).total_seconds() <= LEASE
    left.update(next_attempt_at=timezone.now())  # as if that time had passed
    worker = push()
    assert worker.ended(120) == 0, worker.log


class Killer:
    """Kills the worker when the server has seen enough."""

    def __init__(self) -> None:
        self.worker = None
        self.after = 0
        self.lock = threading.Lock()

    def __call__(self, *args: object) -> None:
        with self.lock:
            self.after -= 1
            if self.after == 0:
                os.kill(self.worker.pid, signal.SIGKILL)


def test_killed_at_chosen_moments(komfortkasse, push):
    moments = [
        ("on_connect", 1),  # claimed, nothing sent
        ("on_request", 1),  # the first calls in flight
        ("on_request", 30),  # others in flight
        ("on_answered", 1),  # answered, nothing settled
        ("on_answered", 30),  # answered while others are settled
    ] * 2
    count = 60 * len(moments)
    due(*numbers(count))
    killer = Killer()
    may_be_sent_again = 0

    for moment, after in moments:
        setattr(komfortkasse, moment, killer)
        with killer.lock:
            killer.worker = push("--limit", "60")
            killer.after = after
        assert killer.worker.ended() == -signal.SIGKILL, killer.worker.log
        setattr(komfortkasse, moment, lambda *args: None)
        may_be_sent_again += after + CONCURRENCY
    drain(push)

    assert states() == {"removed": count}
    assert set(komfortkasse.numbers) == set(numbers(count))
    assert len(komfortkasse.numbers) - count <= may_be_sent_again


def test_killed_at_random_moments(komfortkasse, push):
    count, kills = 4000, 12  # more than the killed workers claim
    due(*numbers(count))
    komfortkasse.on_request = lambda number: time.sleep(LATENCY)

    for _ in range(kills):
        workers = [push(), push()]
        before = states()["removed"]
        until(lambda before=before: states()["removed"] > before)
        time.sleep(random.uniform(0, 0.1))
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.ended()
    komfortkasse.on_request = lambda number: None
    drain(push)

    assert states() == {"removed": count}
    assert set(komfortkasse.numbers) == set(numbers(count))
    again = len(komfortkasse.numbers) - count
    assert again <= kills * 2 * 3 * CONCURRENCY, "in flight, or answered and not settled yet"


def test_worker_that_lost_its_lease_changes_nothing(komfortkasse, push):
    due("1001")
    is_called, may_answer = threading.Event(), threading.Event()

    def hold(number: str) -> bytes:
        answer = http_answer(
            order_json(number=number, referenceNumber=f"K{len(komfortkasse.numbers)}")
        )
        if len(komfortkasse.numbers) == 1:
            is_called.set()
            may_answer.wait(60)
        return answer

    komfortkasse.on_request = hold
    sleeper = push()
    assert is_called.wait(60)
    sleeper.send_signal(signal.SIGSTOP)
    may_answer.set()
    [row] = RemovedOrder.objects.all()
    lease = (row.next_attempt_at - timezone.now()).total_seconds()
    assert 10 < lease <= LEASE
    RemovedOrder.objects.update(next_attempt_at=timezone.now())  # as if that time had passed

    successor = push()
    assert successor.ended() == 0, successor.log
    sleeper.send_signal(signal.SIGCONT)

    assert sleeper.ended() == 0, sleeper.log
    [row] = RemovedOrder.objects.all()
    assert (row.state, row.reference_number, row.attempts) == ("removed", "K2", 2)
    assert "nothing to do" in sleeper.log
