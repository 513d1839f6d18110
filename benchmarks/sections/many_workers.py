"""How fast many workers are on one backlog, and whether each removal is sent once."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from django.db import connection
from django.db.models import Sum

from benchmarks import rows
from benchmarks.measuring import cell, timed
from benchmarks.server import serving
from komfortkasse_django.models import RemovedOrder

TITLE = "Many workers on one backlog"

_LATENCY, _CONCURRENCY = 0.2, 4


def measure(*, quick: bool) -> dict[str, str]:
    workers, each = (3, 40) if quick else (20, 400)
    speed = f"{workers} workers, answers after {_LATENCY * 1000:.0f} ms"
    if connection.vendor == "sqlite":  # it has one writer
        return {speed: "", "sent again": ""}
    count = workers * each
    rows.empty_tables()
    rows.make_due(count)
    with serving(str(_LATENCY)) as url, ExitStack() as stack:
        drains = [stack.enter_context(_ready_to_drain(url)) for _ in range(workers)]
        took = timed(lambda: _drain(drains))
    if RemovedOrder.objects.removed().count() != count:
        raise RuntimeError("not everything was removed")
    attempts = RemovedOrder.objects.aggregate(made=Sum("attempts"))["made"]
    possible = workers * _CONCURRENCY / _LATENCY
    return {
        speed: cell(count / took / possible, beside=f"{count / took:,.0f}/s"),
        "sent again": cell(attempts - count, at_most=0),
    }


@contextmanager
def _ready_to_drain(url: str) -> Iterator["subprocess.Popen[str]"]:
    """Start a worker that waits for a line; the context is its process."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.command", "--wait", "komfortkasse_push"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "API_URL": url},
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def _drain(processes: list["subprocess.Popen[str]"]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        if process.wait():
            raise RuntimeError("a worker failed")
