"""Any number of processes push at once, and without faults each removal is sent exactly once."""

import pytest

from tests.support.mirror import due, numbers, states

WORKERS = 4
ROWS = 2000

pytestmark = pytest.mark.usefixtures("sqlite")


def test_each_removal_arrives_once(komfortkasse, push):
    due(*numbers(ROWS))

    workers = [push() for _ in range(WORKERS)]

    for worker in workers:
        assert worker.ended() == 0, worker.log
    assert komfortkasse.counts == dict.fromkeys(numbers(ROWS), 1)
    assert states() == {"removed": ROWS}
    assert all("removed" in worker.log for worker in workers), "not all of them took part"
