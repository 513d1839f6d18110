"""A server on a real loopback socket that follows the script of a test."""

import contextlib
import json
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from typing import Self
from urllib.parse import unquote

IMPOSSIBLE = "komfortkasse_django-ping-"
"""As in ``queue.calls``. Not imported, because ``tests/package`` has no Django."""

ORDER = {
    "number": "1001",
    "date": "25-04-2018",
    "type": "INVOICE",
    "amount": 22.38,
    "currency": "EUR",
    "billing": {"lastName": "Mustermann", "countryCode": "DE"},
    "paymentStatus": "DISAPPEARED",
    "referenceNumber": "K1234A",
}


def order_json(**changes: object) -> bytes:
    """Return the body that confirms the removal of order 1001, or a change of it."""
    return json.dumps(ORDER | changes).encode()


def http_answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return a whole answer with the right Content-Length."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


def number_in(request: bytes) -> str:
    """Return the order number in the head of a request."""
    path = request.split(b" ", 2)[1].decode().partition("?")[0]
    return unquote(path.rpartition("/")[2])


class Connection:
    """One accepted connection, for the script of a server. ``number`` starts at 1."""

    def __init__(self, server: "Server", sock: socket.socket, number: int) -> None:
        self.server = server
        self.sock = sock
        self.number = number

    def read_request(self) -> bytes:
        """Return the head of the next request, or nothing if the client has gone."""
        head = b""
        while b"\r\n\r\n" not in head:
            received = self.sock.recv(65536)
            if not received:
                return b""
            head += received
        self.server.requests.append(head)
        return head

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def drip(self, data: bytes, pause: float = 0.05) -> None:
        """Send single bytes, a pause after each."""
        for position in range(len(data)):
            self.send(data[position : position + 1])
            self.wait(pause)

    def wait(self, seconds: float) -> None:
        """Do nothing until the server ends."""
        if self.server.stopping.wait(seconds):
            raise ConnectionAbortedError

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()


class Server:
    """Runs ``script(connection)`` in a thread for each connection it accepts.

    ``requests`` are the heads of all requests, and ``connections`` counts the
    accepted connections. If a script raises an error other than a broken
    connection, it is raised again when the server ends.
    """

    def __init__(
        self, script: Callable[[Connection], object], *, tls: ssl.SSLContext | None = None
    ) -> None:
        self.script = script
        self.tls = tls
        self.requests: list[bytes] = []
        self.connections = 0
        self.stopping = threading.Event()
        self._errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}/api/v2"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        # Closing a listener does not wake a blocked accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()
        for sock in self._sockets:
            sock.close()
        if self._errors:
            raise self._errors[0]

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections += 1
                self._sockets.append(sock)
                self._start(self._serve, sock, self.connections)

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                # It replaces the other one, which is closed now.
                self._sockets.append(sock)
                sock.do_handshake()
            with sock:
                self.script(Connection(self, sock, number))
        except OSError:
            pass  # the client has gone, or the server ends
        except BaseException as error:  # noqa: BLE001 - raised where the server ends
            self._errors.append(error)


def always(data: bytes) -> Callable[[Connection], None]:
    """Return a script that gives the same answer to every request on a connection."""

    def script(connection: Connection) -> None:
        while connection.read_request():
            connection.send(data)

    return script


def once(data: bytes) -> Callable[[Connection], None]:
    """Return a script that answers one request, then closes the connection."""

    def script(connection: Connection) -> None:
        if connection.read_request():
            connection.send(data)

    return script


class Komfortkasse:
    """Knows every order and counts the requests. Calls the hooks with each order number.

    ``serve`` is the script of its server. It does not count questions for an order that cannot
    exist.
    """

    def __init__(self) -> None:
        self.numbers: list[str] = []
        self.on_connect: Callable[[], None] = lambda: None
        self.on_request: Callable[[str], bytes | None] = lambda number: None
        self.on_question: Callable[[str], bytes] = lambda number: http_answer(
            b'{"error": "Order not found"}', status="404 Not Found"
        )
        self.on_answered: Callable[[str], None] = lambda number: None

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.numbers)

    def serve(self, connection: Connection) -> None:
        self.on_connect()
        while head := connection.read_request():
            number = number_in(head)
            if number.startswith(IMPOSSIBLE):
                connection.send(self.on_question(number))
                continue
            self.numbers.append(number)
            answer = self.on_request(number) or http_answer(order_json(number=number))
            connection.send(answer)
            self.on_answered(number)
