"""Any number of processes push at once, and without faults each removal is sent exactly once."""

import json
import threading
from itertools import count

import pytest

from tests.support.mirror import due, numbers, states

WORKERS, CONCURRENCY = 4, 4
ROWS = 2000

pytestmark = pytest.mark.usefixtures("sqlite")


def test_each_removal_arrives_once(komfortkasse, push, environment):
    due(*numbers(ROWS))
    connected, are_all_here = count(1), threading.Event()

    def wait_for_all() -> None:
        # No answer before the last of them has come, each with CONCURRENCY connections at most.
        if next(connected) > (WORKERS - 1) * CONCURRENCY:
            are_all_here.set()
        are_all_here.wait(60)

    komfortkasse.on_connect = wait_for_all
    environment["OPTIONS"] = json.dumps({"DEADLINE": 60, "CONCURRENCY": CONCURRENCY})
    workers = [push() for _ in range(WORKERS)]

    for worker in workers:
        assert worker.ended() == 0, worker.log
    assert komfortkasse.counts == dict.fromkeys(numbers(ROWS), 1)
    assert states() == {"removed": ROWS}
    assert all("removed" in worker.log for worker in workers), "not all of them took part"
