"""Connections that keep to the limits of an attempt, from the name lookup to the last byte."""

import http.client
import io
import socket
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import requests.adapters
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError
from urllib3.util.connection import create_connection

from komfortkasse_django.api.attempt import attempt

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class Adapter(requests.adapters.HTTPAdapter):
    """Gives ``requests`` connections that keep to the limits of an attempt."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as inherited
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOL_CLASSES

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:  # noqa: ANN401 - as inherited
        manager = super().proxy_manager_for(proxy, **kwargs)
        # A SOCKS proxy needs connections of its own kind.
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOL_CLASSES
        return manager


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Wire(sock, self.fp.detach()))

    def _read_status(self) -> tuple[str, int, str]:
        # http.client only skips 100, and its newest versions only skip a few of these.
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status <= 199:
                return version, status, reason
            http.client.parse_headers(self.fp)

    def begin(self) -> None:
        super().begin()
        # Otherwise urllib3 logs malformed headers, and a server may repeat the API key in them.
        self.msg.defects = []
        self.msg.set_payload("")


class _HTTPConnection(HTTPConnection):
    response_class = _Response

    def request(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as inherited
        attempt.sent = True
        super().request(*args, **kwargs)

    def _new_conn(self) -> socket.socket:
        attempt.connected = True
        try:
            return self._connect_to_any(look_up(self.host, self.port))
        except (OSError, ValueError) as error:
            raise NewConnectionError(self, "no connection") from error

    def _connect_to_any(self, addresses: list[str]) -> socket.socket:
        failure = OSError()
        for position, address in enumerate(addresses):
            # Share the time: an address that never answers must leave some for the next one.
            share = attempt.seconds_left() / (len(addresses) - position)
            try:
                sock = create_connection(
                    (address, self.port), share, socket_options=self.socket_options
                )
            except OSError as error:
                failure = error
            else:
                # A TLS handshake may follow. It may only use the time that is left.
                attempt.limit(sock)
                return sock
        raise failure

    def _tunnel(self) -> None:
        try:
            super()._tunnel()
            attempt.limit(self.sock)
        finally:
            # The answer of a proxy is not an answer of Komfortkasse.
            attempt.received = 0


class _HTTPSConnection(_HTTPConnection, HTTPSConnection):
    pass


class _HTTPConnectionPool(HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSConnectionPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


_POOL_CLASSES = {"http": _HTTPConnectionPool, "https": _HTTPSConnectionPool}


def look_up(host: str, port: int) -> list[str]:
    """Return the addresses of a host. Raises ``OSError`` or ``ValueError`` if there are none.

    ``getaddrinfo()`` can hang for half a minute, and nothing can interrupt it. So
    it runs in a thread, and nobody waits for that thread after the deadline.
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


class _Wire(io.RawIOBase):
    """Reads from a socket. Asks the attempt before each read, and reports the bytes after it."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._sock = sock
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        self._sock.settimeout(attempt.seconds_left())
        size = self._raw.readinto(buffer)
        attempt.count(size or 0)
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()
