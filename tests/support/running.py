"""Processes that run at the same time as a test."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Process(subprocess.Popen):
    """A running ``python ARGUMENTS`` with all its child processes; ``log`` is their output."""

    def __init__(self, arguments: tuple[str, ...], environment: dict[str, str], path: Path) -> None:
        self._path = path
        with path.open("wb") as file:
            super().__init__(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self._path.read_text()

    def ended(self, seconds: float = 60) -> int:
        """Wait for its end and return its exit code."""
        return self.wait(seconds)

    def kill_all(self) -> None:
        """Kill it and all its child processes with SIGKILL."""
        os.killpg(self.pid, signal.SIGKILL)
        self.wait()


@contextmanager
def starting(environment: dict[str, str], folder: Path) -> Iterator[Callable[..., Process]]:
    """Start ``python ARGUMENTS``. At the end, kill it if it still runs."""
    started: list[Process] = []

    def start(*arguments: str, **extra: str) -> Process:
        path = folder / f"process-{len(started)}.log"
        process = Process(arguments, {**environment, **extra}, path)
        started.append(process)
        return process

    try:
        yield start
    finally:
        for process in started:
            if process.poll() is None:
                process.kill_all()
            sys.stdout.write(process.log)  # shown if the test failed


def end(process: Process, seconds: float = 60) -> None:
    """Ask a running process to end. It must end well."""
    assert process.poll() is None, process.log
    process.send_signal(signal.SIGTERM)
    assert process.ended(seconds) == 0, process.log


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for ``condition``, also on a busy machine."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.02)
