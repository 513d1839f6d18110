"""For a command that runs until it is told to stop: signals, and a log without repetitions."""

import logging
import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from queue import Empty, SimpleQueue
from threading import current_thread, main_thread

_TIME = "%Y-%m-%d %H:%M:%S"  # of the process: Django sets that to TIME_ZONE


class Stop:
    """Whether to stop, after SIGTERM or Ctrl-C. It kills nothing: calls in flight are finished."""

    def __init__(self) -> None:
        # Not an Event: if a signal handler sets it while the same thread waits for it, the process
        # may hang for ever.
        self._signals: SimpleQueue[int] = SimpleQueue()

    def is_wanted(self) -> bool:
        """Whether a signal has come."""
        return not self._signals.empty()

    def wait(self, seconds: float) -> None:
        """Wait for so many seconds, or until a signal comes."""
        with suppress(Empty):
            self._signals.put(self._signals.get(timeout=seconds))

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch SIGTERM and SIGINT."""
        # Python only allows handlers in the main thread.
        numbers = (signal.SIGTERM, signal.SIGINT) if current_thread() is main_thread() else ()
        before = {
            number: signal.signal(number, lambda number, frame: self._signals.put(number))
            for number in numbers
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class News:
    """What was already reported about each shop, so that an outage is reported only once."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def is_new(self, about: str, what: str) -> bool:
        """Return whether this was not reported yet, and remember it as reported."""
        is_new = (about, what) not in self._told
        self._told.add((about, what))
        return is_new

    def forget_all_but(self, about: Collection[str]) -> None:
        """Forget what was reported about other shops: if it comes again, it is new."""
        self._told = {each for each in self._told if each[0] in about}


def with_time(text: str) -> str:
    """``text`` with the time before it."""
    return f"{datetime.now():{_TIME}} {text}"  # noqa: DTZ005 - as logging has it


@contextmanager
def timed(logger: logging.Logger) -> Iterator[None]:
    """Write warnings and errors with their time, unless the settings configure this log."""
    if logger.hasHandlers():
        yield
        return
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", _TIME))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
