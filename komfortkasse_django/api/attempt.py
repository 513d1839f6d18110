"""The limits of one request: time and bytes that it may still use."""

import http.client
import socket
import threading
import time

import requests

from komfortkasse_django.exceptions import (
    ConnectionFailed,
    DeadlineExceeded,
    KomfortkasseError,
    UnexpectedAnswer,
)

# Bytes. An answer with all its lists takes some kilobytes.
MAX_BODY = 2**20
MAX_ANSWER = 2 * MAX_BODY


class TooLargeError(http.client.HTTPException):
    """The answer exceeds a limit."""


class Attempt(threading.local):
    """What the request of this thread may still use, and what it has done so far.

    ``attempt`` starts again for each request. The connections ask it before each step on the
    network, and report each step.
    """

    def start(self, ends: float) -> None:
        """Begin another request that may take until ``ends`` on the monotonic clock."""
        self._ends = ends
        self.connected = False
        self.sent = False
        self.received = 0

    def seconds_left(self) -> float:
        """Return the seconds that are left. Raises ``TimeoutError`` if there are none."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def limit(self, sock: socket.socket) -> None:
        """Let the next call of a socket take no longer than the time that is left."""
        # Not 0: with 0 a socket does not wait at all.
        sock.settimeout(max(self._ends - time.monotonic(), 0.001))

    def count(self, size: int) -> None:
        """Count bytes of the answer. Raises ``TooLargeError`` above ``MAX_ANSWER``."""
        self.received += size
        if self.received > MAX_ANSWER:
            raise TooLargeError

    def failure(self, error: Exception, *, status: int | None = None) -> KomfortkasseError:
        """Return what an error of the network means, without a reference to that error."""
        detail = f" (HTTP {status})" if status else ""
        if isinstance(error, requests.Timeout) or self._ends <= time.monotonic():
            return DeadlineExceeded(
                f"The deadline passed before the answer was complete{detail}", status=status
            )
        if status is None and not self.received:
            return ConnectionFailed(f"No connection to Komfortkasse{root_cause(error)}")
        if isinstance(error, TooLargeError) or self.received > MAX_ANSWER:
            problem = "too large"
        else:
            problem = "cut off or is not proper HTTP"
        return UnexpectedAnswer(f"The answer is {problem}{detail}", status=status)


attempt = Attempt()


def root_cause(error: BaseException | None) -> str:
    """Return the message of the operating system, never one of a library or a server."""
    text = ""
    while error is not None:
        text = getattr(error, "strerror", None) or text
        error = error.__cause__ or error.__context__
    return f" ({text})" if text else ""
