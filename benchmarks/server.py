"""A Komfortkasse that answers after a fixed time, or never, or a byte at a time.

``python -m benchmarks.server BEHAVIOUR`` prints its API URL and serves until it is ended. It is its
own process, so that it does not use the time of the process that is measured.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_ANSWER = {
    "date": "25-04-2018",
    "customerEmail": "max@example.org",
    "type": "PREPAYMENT",
    "amount": 22.38,
    "currency": "EUR",
    "billing": {"firstName": "Max", "lastName": "Mustermann", "countryCode": "DE"},
    "referenceNumber": "K1234A",
    "paymentStatus": "DISAPPEARED",
}
_PAUSE = 0.05  # seconds between the bytes that drip


@contextmanager
def serving(behaviour: str) -> Iterator[str]:
    """Serve in a new process; the context is the API URL.

    ``behaviour`` is ``hang``, ``drip-headers``, ``drip-body`` or the seconds an answer takes.
    """
    command = [sys.executable, "-m", "benchmarks.server", behaviour]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip() if process.stdout else ""
        finally:
            process.terminate()


class _Connection(asyncio.Protocol):
    def __init__(self, behaviour: str) -> None:
        self._behaviour = behaviour
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        # The requests have no body.
        while b"\r\n\r\n" in self._received:
            request, _, self._received = self._received.partition(b"\r\n\r\n")
            number = request.split(b" ", 2)[1].rpartition(b"/")[2].decode()
            self._answer(*_answer(number))

    def _answer(self, headers: bytes, body: bytes) -> None:
        match self._behaviour:
            case "hang":
                pass
            case "drip-headers":
                self._drip(headers + body)
            case "drip-body":
                self._write(headers)
                self._drip(body)
            case "0":
                self._write(headers + body)
            case seconds:
                loop = asyncio.get_running_loop()
                loop.call_later(float(seconds), self._write, headers + body)

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)  # type: ignore[attr-defined]

    def _drip(self, data: bytes) -> None:
        if data and not self._transport.is_closing():
            self._write(data[:1])
            asyncio.get_running_loop().call_later(_PAUSE, self._drip, data[1:])


def _answer(number: str) -> tuple[bytes, bytes]:
    body = json.dumps({**_ANSWER, "number": number}).encode()
    headers = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return headers.encode(), body


async def _serve(behaviour: str) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(behaviour), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}/api/v2", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
