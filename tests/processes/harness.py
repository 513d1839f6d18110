"""A Komfortkasse that counts, processes, and rows for them."""

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote

from django.db import connection
from django.utils import timezone

from komfortkasse_django.models import RemovedOrder
from tests.loopback import Connection, http_answer, order_json

ROOT = Path(__file__).parents[2]


class Komfortkasse:
    """Knows every order and counts what arrives; the hooks are called with each order number."""

    def __init__(self) -> None:
        self.numbers: list[str] = []
        self.on_connect: Callable[[], None] = lambda: None
        self.on_request: Callable[[str], bytes | None] = lambda number: None
        self.on_answered: Callable[[str], None] = lambda number: None

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.numbers)

    def serve(self, connection: Connection) -> None:
        self.on_connect()
        while head := connection.read_request():
            path = head.split(b" ", 2)[1].decode()
            number = unquote(path.removeprefix("/api/v2/order/remove/"))
            self.numbers.append(number)
            answer = self.on_request(number) or http_answer(order_json(number=number))
            connection.send(answer)
            self.on_answered(number)


class Process(subprocess.Popen):
    """A running command; ``log`` is what it wrote."""

    def __init__(self, arguments: list[str], environment: dict[str, str], path: Path) -> None:
        self._path = path
        with path.open("wb") as file:
            super().__init__(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> str:
        return self._path.read_text()

    def ended(self, seconds: float = 60) -> int:
        """Wait for its end and return its exit code."""
        return self.wait(seconds)


def end(worker: Process, seconds: float = 10) -> None:
    """Ask for the worker's end."""
    assert worker.poll() is None, worker.log
    worker.send_signal(signal.SIGTERM)
    assert worker.ended(seconds) == 0, worker.log


def set_journal(mode: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA journal_mode={mode}")
        assert cursor.fetchone() == (mode,)


def record(numbers: list[str], *, shop: str = "default") -> None:
    """Rows that are due, one after the other, as if nobody had tried to deliver them."""
    start = timezone.now() - timedelta(minutes=5)
    RemovedOrder.objects.bulk_create(
        (
            RemovedOrder(
                shop=shop,
                order_number=number,
                requested_via=RemovedOrder.RequestedVia.DELETE,
                next_attempt_at=start + timedelta(microseconds=index),
            )
            for index, number in enumerate(numbers)
        ),
        batch_size=500,
    )


def numbers(count: int) -> list[str]:
    return [str(1000 + index) for index in range(count)]


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait for ``condition``."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.02)


def states() -> Counter[str]:
    return Counter(RemovedOrder.objects.values_list("state", flat=True))
