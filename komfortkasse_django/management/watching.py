"""What a command needs that runs until it is told to stop: signals, and a log worth reading."""

import logging
import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from queue import Empty, SimpleQueue
from threading import current_thread, main_thread

_TIME = "%Y-%m-%d %H:%M:%S"  # of the process: Django sets that to TIME_ZONE


class Stop:
    """The wish to stop, by SIGTERM or Ctrl-C. It kills nothing: calls in flight are finished."""

    def __init__(self) -> None:
        # Not an Event: one that a signal handler sets while the same thread waits for it can
        # deadlock.
        self._wishes: SimpleQueue[int] = SimpleQueue()

    def is_wanted(self) -> bool:
        """Whether a signal has come."""
        return not self._wishes.empty()

    def wait(self, seconds: float) -> None:
        """Wait, until a signal comes at most."""
        with suppress(Empty):
            self._wishes.put(self._wishes.get(timeout=seconds))

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT for the wish."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        # Not in the main thread, as in some tests, Python refuses handlers.
        before = (
            {
                number: signal.signal(number, lambda number, frame: self._wishes.put(number))
                for number in numbers
            }
            if current_thread() is main_thread()
            else {}
        )
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class News:
    """What was told of each shop. An outage is news once, until it is over."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def is_new(self, about: str, what: str) -> bool:
        """Whether this was not told yet; from now on it was."""
        count = len(self._told)
        self._told.add((about, what))
        return len(self._told) > count

    def forget_all_but(self, about: Collection[str]) -> None:
        """Whatever comes again of the others is new."""
        self._told = {each for each in self._told if each[0] in about}


def with_time(text: str) -> str:
    """``text`` with the time before it."""
    return f"{datetime.now():{_TIME}} {text}"  # noqa: DTZ005 - as logging has it


@contextmanager
def timed(logger: logging.Logger) -> Iterator[None]:
    """Write warnings and errors with their time where nobody has said how to write the log."""
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
