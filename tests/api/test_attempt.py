"""What a server can waste: time and memory."""

import gzip
import time
import tracemalloc
import zlib
from itertools import repeat

import pytest

from komfortkasse_django.api.attempt import Attempt
from komfortkasse_django.exceptions import (
    DeadlineExceeded,
    UnexpectedAnswer,
)
from tests.support.calls import (
    ANSWER,
    CHUNKED,
    HEAD,
    client_of,
    failure,
    first,
    parts,
    within,
)
from tests.support.loopback import Server, always, http_answer, order_json

DEADLINE = 0.3
MIB = 2**20


@pytest.mark.parametrize(
    ("at_once", "dripped"),
    parts(
        nothing=(b"", b""),
        status=(b"", b"HTTP/1.1 200 OKAY" + b"Y" * 99),
        header_name=(HEAD, b"X" * 99),
        header_lines=(HEAD, b"A:b\r\n" * 30),
        continues=(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 5),
        hints=(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 5),
        nothing_after_interim=(b"HTTP/1.1 102 Processing\r\n\r\n", b""),
        nothing_after_switching=(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b""),
        body=(HEAD + b"Content-Length: 99\r\n\r\n", b"x" * 99),
        body_without_length=(HEAD + b"Connection: close\r\n\r\n", b"x" * 99),
        zeros_before_chunk_size=(CHUNKED, b"0" * 99),
        chunks=(CHUNKED, b"1\r\nx\r\n" * 30),
        chunk=(CHUNKED + b"63\r\n", b"x" * 99),
        trailer=(CHUNKED + b"0\r\n", b"A:b\r\n" * 30),
        compressed=(
            HEAD + b"Content-Encoding: gzip\r\nContent-Length: 999\r\n\r\n",
            gzip.compress(order_json()),
        ),
    ),
)
def test_a_dripping_server_costs_no_more_than_the_deadline(at_once, dripped):
    def waste(connection):
        connection.send(at_once)
        connection.drip(dripped)
        connection.wait(30)

    with Server(first(waste)) as server:
        client = client_of(server)
        started = time.monotonic()
        assert type(failure(client, deadline=DEADLINE)) is DeadlineExceeded
        assert time.monotonic() - started >= DEADLINE
        within(DEADLINE, started)
        assert client.remove_order("1001").number == "1001"


def test_no_time_left_is_a_timeout():
    """For a socket, 0 would mean "do not block"."""
    attempt = Attempt()
    attempt.start(time.monotonic())
    with pytest.raises(TimeoutError):
        attempt.seconds_left()


def test_time_that_ran_out_before_sending():
    with Server(always(ANSWER)) as server:
        client = client_of(server)
        client.remove_order("1001")
        assert type(failure(client, deadline=1e-9)) is DeadlineExceeded
        client.remove_order("1001")


def repeated(head, part, size):
    """Return a script that sends a part again and again, up to a size in bytes."""

    def waste(connection):
        connection.send(head)
        block = part * max(1, 65536 // len(part))
        for _ in repeat(None, size // len(block)):
            connection.send(block)

    return waste


def bomb(encoding, size=200 * MIB):
    compress = zlib.compressobj(9, wbits=31 if "gzip" in encoding else 15)
    block = b" " * MIB
    body = b"".join(compress.compress(block) for _ in range(size // MIB)) + compress.flush()
    return http_answer(body, f"Content-Encoding: {encoding}")


BOMBS = {encoding: bomb(encoding) for encoding in ("gzip", "x-gzip", "deflate", "GZIP")}


BOMBS["gzip, gzip"] = http_answer(gzip.compress(BOMBS["gzip"]), "Content-Encoding: gzip, gzip")


@pytest.mark.parametrize(
    "waste",
    [
        pytest.param(waste, id=name)
        for name, waste in {
            "status": repeated(b"", b"H", 8 * MIB),
            "status, 200": repeated(b"HTTP/1.1 200 ", b"O", 8 * MIB),
            "header": repeated(HEAD, b"X", 8 * MIB),
            "long headers": repeated(HEAD, b"X: " + b"y" * 60_000 + b"\r\n", 8 * MIB),
            "headers": repeated(HEAD, b"X: y\r\n", 8 * MIB),
            "continues": repeated(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 8 * MIB),
            "hints": repeated(b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 8 * MIB),
            "continues with headers": repeated(
                b"", b"HTTP/1.1 100 Continue\r\n" + b"A: b\r\n" * 99 + b"\r\n", 8 * MIB
            ),
            "body": repeated(HEAD + b"Connection: close\r\n\r\n", b"x", 200 * MIB),
            "200 MB": repeated(HEAD + b"Content-Length: 209715200\r\n\r\n", b"x", 200 * MIB),
            "chunks": repeated(CHUNKED, b"1\r\nx\r\n", 8 * MIB),
            "big chunks": repeated(CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n", 200 * MIB),
            "one chunk": repeated(CHUNKED + b"ffffffff\r\n", b"x", 200 * MIB),
            "chunk size": repeated(CHUNKED, b"0", 8 * MIB),
            "chunk extension": repeated(CHUNKED + b"1;", b"x", 8 * MIB),
            "negative chunk": repeated(CHUNKED + b"-1\r\n", b"x", 8 * MIB),
            "trailer": repeated(CHUNKED + b"0\r\n", b"X: y\r\n", 8 * MIB),
            "redirect": repeated(
                b"HTTP/1.1 302 X\r\nLocation: http://localhost/\r\n\r\n", b"x", 200 * MIB
            ),
            **{
                f"{name} bomb": lambda connection, data=data: connection.send(data)
                for name, data in BOMBS.items()
            },
            "redirect to a bomb": lambda connection: connection.send(
                BOMBS["gzip"].replace(b"200 OK", b"307 X\r\nLocation: http://localhost/")
            ),
        }.items()
    ],
)
def test_a_flooding_server_costs_little_memory(waste, request):
    with Server(first(waste)) as server:
        client = client_of(server, deadline=60)
        client._session()  # its import is not measured
        tracemalloc.start()  # tracing is slow, so this measures no time
        request.addfinalizer(tracemalloc.stop)
        error = failure(client)
        # Some MiB of headers: as bytes, as text and parsed.
        assert tracemalloc.get_traced_memory()[1] < 12 * MIB
        assert type(error) is UnexpectedAnswer
        assert client.remove_order("1001").number == "1001"
        assert server.connections == 2


def test_too_large_headers_are_called_so():
    # Few large ones: newer versions of http.client limit their number.
    part = b"HTTP/1.1 100 Continue\r\nX-Padding: %b\r\n\r\n" % (b"x" * 60_000)
    with Server(first(repeated(b"", part, 8 * MIB))) as server:
        assert "too large" in str(failure(client_of(server)))
