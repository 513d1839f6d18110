"""Commands that run beside a test: started, waited for and ended."""

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
    """A running ``python ARGUMENTS`` with all that it starts; ``log`` is what they wrote."""

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
        """SIGKILL for it and all that it started."""
        os.killpg(self.pid, signal.SIGKILL)
        self.wait()


@contextmanager
def starting(environment: dict[str, str], folder: Path) -> Iterator[Callable[..., Process]]:
    """Start ``python ARGUMENTS``; what still runs at the end is killed."""
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
            sys.stdout.write(process.log)  # shown where the test failed


def end(process: Process, seconds: float = 10) -> None:
    """Ask for the end of what is still running, which has to be a good one."""
    assert process.poll() is None, process.log
    process.send_signal(signal.SIGTERM)
    assert process.ended(seconds) == 0, process.log


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait for ``condition``."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.02)
