"""Memory is flat in the size of the backlog."""

import time
from pathlib import Path

import pytest

from tests.support.mirror import due, numbers

MIB = 1024  # KiB


def peak(push, rows: int) -> int:
    """The most memory that draining ``rows`` takes, in KiB."""
    due(*numbers(rows))
    worker = push()
    # Not the resource usage of a child that has ended: that counts its parent's memory, too.
    status = Path(f"/proc/{worker.pid}/status")
    seen = 0
    while worker.poll() is None:
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                seen = int(line.split()[1])
        time.sleep(0.02)
    assert worker.returncode == 0, worker.log
    return seen


@pytest.mark.independent
def test_of_a_drain_is_flat(komfortkasse, push):
    few = peak(push, 1_000)

    many = peak(push, 50_000)

    assert many - few <= 8 * MIB
