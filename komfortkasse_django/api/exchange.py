"""One HTTP exchange within hard limits of time and bytes.

``requests`` bounds single reads, so a server that drips one byte at a time
holds it for ever. Here one clock covers name resolution, connecting, TLS,
sending, headers and body together. (Through a SOCKS proxy only single reads
and the body's size are bounded.)

Importing ``requests`` takes 100 ms: import this module only to make a call.
"""

import dataclasses
import functools
import http.client
import io
import socket
import threading
import time
import zlib
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import closing
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import requests
import requests.adapters
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.util.connection import create_connection

from komfortkasse_django.exceptions import (
    ConnectionFailed,
    DeadlineExceeded,
    KomfortkasseError,
    UnexpectedAnswer,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# An answer with every list included takes some kilobytes.
MAX_BODY = 2**20
MAX_ANSWER = 2 * MAX_BODY
READ_SIZE = 2**16

# zlib tells the headers of gzip and deflate apart itself.
GZIP_OR_DEFLATE = zlib.MAX_WBITS | 32

# What requests, urllib3 and http.client raise for all that a network can do.
NETWORK_ERRORS = (
    requests.RequestException,
    HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What came back; ``body`` is an error where it could not be read to its end."""

    status: int
    location: str
    retry_after: str
    body: bytes | KomfortkasseError


class Session(requests.Session):
    """Sends POST requests that differ only in their URL, on reused connections.

    For one thread. Proxies and the CA bundle are taken from the environment once.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        super().__init__()
        self._attempt = Attempt()
        self._url = url
        self._headers = headers
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        for scheme in ("https://", "http://"):
            self.mount(scheme, Adapter(self._attempt))

    def post(self, url: str, *, seconds: float) -> Answer | KomfortkasseError:  # type: ignore[override]
        """Return the answer, or why there is none.

        Errors are returned, not raised: those of requests hold the request and
        with it the API key, so they must not become anybody's context.
        """
        ends = time.monotonic() + seconds
        answer = self._try(url, ends)
        if isinstance(answer, ConnectionFailed) and self._attempt.was_on_old_connection():
            answer = self._try(url, ends)
        return answer

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Know no redirect: to prepare for one, requests would read its body without limit."""

    @functools.cached_property
    def _template(self) -> requests.PreparedRequest:
        return requests.Request("POST", self._url, self._headers).prepare()

    @functools.cached_property
    def _settings(self) -> dict[str, Any]:
        return dict(
            self.merge_environment_settings(self._url, {}, stream=True, verify=None, cert=None)
        )

    def _try(self, url: str, ends: float) -> Answer | KomfortkasseError:
        self._attempt.start(ends)
        try:
            request = self._template.copy()
            # Preparing this URL would unquote "%2E", and urllib3 drop the segment then.
            request.url = url
            response = self.send(
                request,
                timeout=urllib3.Timeout(total=self._attempt.seconds_left()),  # type: ignore[arg-type]
                allow_redirects=False,
                **self._settings,
            )
        except NETWORK_ERRORS as error:
            self.close()
            return self._attempt.failure(error)
        with closing(response):
            return Answer(
                status=response.status_code,
                location=response.headers.get("Location", ""),
                retry_after=response.headers.get("Retry-After", ""),
                body=self._body(response),
            )

    def _body(self, response: requests.Response) -> bytes | KomfortkasseError:
        try:
            return read_body(response.raw, response.headers.get("Content-Encoding", ""))
        except (*NETWORK_ERRORS, zlib.error) as error:
            return self._attempt.failure(error, status=response.status_code)


class TooLargeError(http.client.HTTPException):
    """The answer exceeds a limit."""


def read_body(raw: urllib3.HTTPResponse, encoding: str) -> bytes:
    """Read and decompress a body, never holding more than ``MAX_BODY`` of it."""
    # An encoding that zlib does not know ends in its error.
    plain = encoding.lower() in {"", "identity"}
    decoder = None if plain else zlib.decompressobj(GZIP_OR_DEFLATE)
    body = bytearray()
    while chunk := raw.read(READ_SIZE, decode_content=False):
        body += decoder.decompress(chunk, MAX_BODY + 1 - len(body)) if decoder else chunk
        if len(body) > MAX_BODY:
            raise TooLargeError
    # urllib3 1.26 does not compare with Content-Length itself.
    if raw.length_remaining or (decoder and not decoder.eof):
        raise http.client.HTTPException("a body that is cut off")
    return bytes(body)


class Attempt:
    """What one request may still use, and how far it came."""

    def start(self, ends: float) -> None:
        """Begin another request that may take until ``ends`` on the monotonic clock."""
        self._ends = ends
        self.connected = False
        self.sent = False
        self.received = 0

    def seconds_left(self) -> float:
        """Return the time left; TimeoutError if there is none."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def limit(self, sock: socket.socket) -> None:
        """Let a socket's next call take no longer than the time left, 0 meaning not to block."""
        sock.settimeout(max(self._ends - time.monotonic(), 0.001))

    def count(self, size: int) -> None:
        """Count bytes of the answer; TooLargeError beyond ``MAX_ANSWER``."""
        self.received += size
        if self.received > MAX_ANSWER:
            raise TooLargeError

    def was_on_old_connection(self) -> bool:
        """Whether the request went out on a connection that had been used before."""
        return self.sent and not self.connected

    def failure(self, error: Exception, *, status: int | None = None) -> KomfortkasseError:
        """Say what an error of the network means, without holding on to it."""
        detail = f" (HTTP {status})" if status else ""
        if isinstance(error, requests.Timeout) or self._ends <= time.monotonic():
            return DeadlineExceeded(
                f"The deadline passed before the answer was complete{detail}", status=status
            )
        if status is None and not self.received:
            return ConnectionFailed(f"No connection to Komfortkasse{root_cause(error)}")
        if isinstance(error, TooLargeError) or self.received > MAX_ANSWER:
            return UnexpectedAnswer(f"The answer is too large{detail}", status=status)
        return UnexpectedAnswer(
            f"The answer is cut off or is not proper HTTP{detail}", status=status
        )


def root_cause(error: BaseException | None) -> str:
    """Return the operating system's words, never those of a library or server."""
    text = ""
    while error is not None:
        text = getattr(error, "strerror", None) or text
        error = error.__cause__ or error.__context__
    return f" ({text})" if text else ""


class Adapter(requests.adapters.HTTPAdapter):
    """Lets its connections keep to an attempt's limits."""

    def __init__(self, attempt: Attempt) -> None:
        self._pool_classes = {
            "http": functools.partial(_pool, HTTPConnectionPool, _HTTPConnection, attempt),
            "https": functools.partial(_pool, HTTPSConnectionPool, _HTTPSConnection, attempt),
        }
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as inherited
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pool_classes

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:  # noqa: ANN401 - as inherited
        manager = super().proxy_manager_for(proxy, **kwargs)
        # A SOCKS proxy needs connections of its own kind.
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pool_classes
        return manager


def _pool(
    pool_class: type[HTTPConnectionPool],
    connection_class: type["_HTTPConnection"],
    attempt: Attempt,
    *args: Any,  # noqa: ANN401
    **kwargs: Any,  # noqa: ANN401
) -> HTTPConnectionPool:
    pool = pool_class(*args, **kwargs)
    pool.ConnectionCls = functools.partial(connection_class, attempt)  # type: ignore[assignment]
    return pool


class _HTTPConnection(HTTPConnection):
    def __init__(self, attempt: Attempt, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self._attempt = attempt
        self.response_class = functools.partial(_Response, attempt)  # type: ignore[assignment]

    def request(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as inherited
        self._attempt.sent = True
        super().request(*args, **kwargs)

    def _new_conn(self) -> socket.socket:
        self._attempt.connected = True
        try:
            return self._connect_to_any(look_up(self.host, self.port, self._attempt))
        except (OSError, ValueError) as error:
            raise NewConnectionError(self, "no connection") from error

    def _connect_to_any(self, addresses: list[str]) -> socket.socket:
        failure = OSError()
        for position, address in enumerate(addresses):
            # One that swallows every packet must leave time for the next.
            share = self._attempt.seconds_left() / (len(addresses) - position)
            try:
                sock = create_connection(
                    (address, self.port), share, socket_options=self.socket_options
                )
            except OSError as error:
                failure = error
            else:
                # A TLS handshake may follow.
                self._attempt.limit(sock)
                return sock
        raise failure

    def _tunnel(self) -> None:
        try:
            super()._tunnel()
            self._attempt.limit(self.sock)
        finally:
            # What a proxy says is no answer of Komfortkasse.
            self._attempt.received = 0


class _HTTPSConnection(_HTTPConnection, HTTPSConnection):
    pass


def look_up(host: str, port: int, attempt: Attempt) -> list[str]:
    """Return the addresses of a host; OSError or ValueError if there are none.

    getaddrinfo() can hang for half a minute and cannot be interrupted, so a
    thread is left alone with it.
    """
    future: Future[list[str]] = Future()

    def resolve() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            future.set_result([str(address[0]) for *_, address in found])
        except (OSError, ValueError) as error:
            future.set_exception(error)

    threading.Thread(target=resolve, name="komfortkasse-dns", daemon=True).start()
    return future.result(attempt.seconds_left())


class _Response(http.client.HTTPResponse):
    def __init__(self, attempt: Attempt, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Wire(attempt, sock, self.fp.detach()))

    def begin(self) -> None:
        super().begin()
        # urllib3 would log the text of malformed headers, and so what a server echoes.
        self.msg.defects = []
        self.msg.set_payload("")


class _Wire(io.RawIOBase):
    """Reads from a socket, asking the attempt before and after each read."""

    def __init__(self, attempt: Attempt, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._attempt = attempt
        self._sock = sock
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        self._sock.settimeout(self._attempt.seconds_left())
        size = self._raw.readinto(buffer)
        self._attempt.count(size or 0)
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()
