"""What a server can do to a client, on real sockets: wasted time, wasted memory, broken HTTP."""

import gzip
import socket
import ssl
import threading
import time
import tracemalloc
import zlib
from itertools import repeat

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from komfortkasse_django.api import exchange
from komfortkasse_django.client import Client
from komfortkasse_django.exceptions import (
    AuthenticationFailed,
    ConnectionFailed,
    DeadlineExceeded,
    KomfortkasseError,
    ServiceUnavailable,
    UnexpectedAnswer,
)
from tests.support.examples import examples
from tests.support.loopback import Server, always, http_answer, once, order_json

KEY = "key-of-the-wire"
DEADLINE = 0.3
MIB = 2**20
ANSWER = http_answer(order_json())
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def trusted(authority, tmp_path, monkeypatch):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))


def client_of(server, deadline=10.0):
    return Client(api_key=KEY, api_url=server.url, deadline=deadline)


def failure(client, **kwargs):
    with pytest.raises(KomfortkasseError) as caught:
        client.remove_order("1001", **kwargs)
    return caught.value


def first(waste):
    """Return a script that wastes the first connection and answers properly on others."""

    def script(connection):
        if connection.number > 1:
            always(ANSWER)(connection)
        elif connection.read_request():
            waste(connection)

    return script


def within(seconds, started):
    # A second is the promise; the others are for a machine that runs ten more things.
    assert time.monotonic() - started < seconds + 3


# Time


def parts(**texts):
    return [pytest.param(*value, id=name) for name, value in texts.items()]


@pytest.mark.parametrize(
    ("at_once", "dripped"),
    parts(
        nothing=(b"", b""),
        status=(b"", b"HTTP/1.1 200 OKAY" + b"Y" * 99),
        header_name=(HEAD, b"X" * 99),
        header_lines=(HEAD, b"A:b\r\n" * 30),
        continues=(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 5),
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


@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        (200, DeadlineExceeded),
        (400, DeadlineExceeded),
        (404, DeadlineExceeded),
        (302, UnexpectedAnswer),
        (401, AuthenticationFailed),
        (403, AuthenticationFailed),
        (429, ServiceUnavailable),
        (503, ServiceUnavailable),
    ],
)
def test_a_status_that_says_all_needs_no_body(status, error_class):
    def waste(connection):
        head = f"HTTP/1.1 {status} X\r\nRetry-After: 7\r\nContent-Length: 99\r\n\r\n"
        connection.send(head.encode())
        connection.drip(b"x" * 99)

    with Server(first(waste)) as server:
        client = client_of(server)
        started = time.monotonic()
        error = failure(client, deadline=DEADLINE)
        within(DEADLINE, started)
        assert type(error) is error_class
        assert error.status == status
        if error_class is ServiceUnavailable:
            assert error.retry_after == 7
        client.remove_order("1001")


@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        (200, UnexpectedAnswer),
        (400, UnexpectedAnswer),
        (404, UnexpectedAnswer),
        (401, AuthenticationFailed),
        (503, ServiceUnavailable),
    ],
)
def test_a_body_that_is_cut_off(status, error_class):
    def waste(connection):
        connection.send(f"HTTP/1.1 {status} X\r\nContent-Length: 9999\r\n\r\n".encode())
        connection.send(b'{"error": "secret"}' + order_json())

    with Server(first(waste)) as server:
        client = client_of(server)
        error = failure(client)
        assert type(error) is error_class
        assert error.status == status
        assert "secret" not in str(error)
        client.remove_order("1001")


def test_no_time_left_is_a_timeout():
    """A socket would take 0 for "do not block"."""
    attempt = exchange.Attempt()
    attempt.start(time.monotonic())
    with pytest.raises(TimeoutError):
        attempt.seconds_left()


def test_closing_what_is_read_closes_it_all():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        raw = ours.makefile("rb", buffering=0)
        wire = exchange._Wire(exchange.Attempt(), ours, raw)
        wire.close()
        assert wire.closed
        assert raw.closed


def test_time_that_ran_out_before_sending():
    with Server(always(ANSWER)) as server:
        client = client_of(server)
        client.remove_order("1001")
        assert type(failure(client, deadline=1e-9)) is DeadlineExceeded
        client.remove_order("1001")


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("dripping", [False, True])
def test_a_tls_handshake_that_never_ends(dripping):
    def script(connection):
        if dripping:
            connection.drip(b"\x16\x03\x03\x40\x00" + b"\x02\x00\x3f\xf0" + b"\x03" * 99)
        connection.wait(30)

    with Server(script) as server:
        client = Client(
            api_key=KEY, api_url=server.url.replace("http:", "https:"), deadline=DEADLINE
        )
        started = time.monotonic()
        assert type(failure(client)) is DeadlineExceeded
        within(DEADLINE, started)


def slow_to_connect(seconds):
    def create_connection(address, timeout, **kwargs):
        time.sleep(seconds)
        return socket.create_connection(address, timeout)

    return create_connection


@pytest.mark.usefixtures("trusted")
def test_a_tls_handshake_has_what_connecting_left(monkeypatch):
    with Server(lambda connection: connection.wait(30)) as server:
        monkeypatch.setattr(exchange, "create_connection", slow_to_connect(1.5))
        url = server.url.replace("http:", "https:")
        client = Client(api_key=KEY, api_url=url, deadline=2)
        started = time.monotonic()
        assert type(failure(client)) is DeadlineExceeded
        assert time.monotonic() - started < 3.3


@pytest.mark.usefixtures("trusted")
def test_a_dripping_server_behind_tls(tls):
    with Server(first(lambda connection: connection.drip(ANSWER)), tls=tls) as server:
        client = client_of(server)
        started = time.monotonic()
        assert type(failure(client, deadline=DEADLINE)) is DeadlineExceeded
        within(DEADLINE, started)
        client.remove_order("1001")


def test_a_name_that_is_never_resolved(monkeypatch):
    done = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: [] * done.wait(30))
    started = time.monotonic()
    client = Client(api_key=KEY, api_url="http://komfortkasse.test/api", deadline=DEADLINE)
    assert type(failure(client)) is DeadlineExceeded
    within(DEADLINE, started)
    done.set()


def test_an_address_that_swallows_everything_leaves_time_for_the_next(monkeypatch):
    connect = exchange.create_connection
    tried = []

    def create_connection(address, timeout, **kwargs):
        tried.append((address[0], timeout))
        if address[0] != "127.0.0.1":
            time.sleep(timeout)
            raise TimeoutError
        return connect(address, timeout, **kwargs)

    with Server(always(ANSWER)) as server:
        monkeypatch.setattr(exchange, "create_connection", create_connection)
        monkeypatch.setattr(exchange, "look_up", lambda *_: ["192.0.2.1", "192.0.2.2", "127.0.0.1"])
        client_of(server, deadline=1.8).remove_order("1001")
    assert [address for address, _ in tried] == ["192.0.2.1", "192.0.2.2", "127.0.0.1"]
    assert tried[0][1] == pytest.approx(0.6, abs=0.3)
    assert tried[1][1] == pytest.approx(0.6, abs=0.3)


def test_no_address_answers_in_time(monkeypatch):
    def create_connection(_address, timeout, **_kwargs):
        time.sleep(timeout)
        raise TimeoutError

    monkeypatch.setattr(exchange, "create_connection", create_connection)
    monkeypatch.setattr(exchange, "look_up", lambda *_: ["192.0.2.1", "192.0.2.2"])
    started = time.monotonic()
    client = Client(api_key=KEY, api_url="http://komfortkasse.test/api", deadline=DEADLINE)
    assert type(failure(client)) is DeadlineExceeded
    within(DEADLINE, started)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_that_comes_too_late(scheme, monkeypatch):
    with Server(always(ANSWER)) as server:
        monkeypatch.setattr(exchange, "create_connection", slow_to_connect(0.2))
        url = server.url.replace("http:", f"{scheme}:")
        client = Client(api_key=KEY, api_url=url, deadline=0.1)
        assert type(failure(client)) is DeadlineExceeded


# Memory


def repeated(head, part, size):
    """Return a waste that sends a part again and again, up to a size in bytes."""

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
        client._session()  # its import is not what is measured
        tracemalloc.start()  # it slows everything down, so time is not measured here
        request.addfinalizer(tracemalloc.stop)
        error = failure(client)
        # Some MiB of headers, held as bytes, text and parsed.
        assert tracemalloc.get_traced_memory()[1] < 12 * MIB
        assert type(error) is UnexpectedAnswer
        assert client.remove_order("1001").number == "1001"
        assert server.connections == 2


@pytest.mark.parametrize("size", [exchange.MAX_BODY, exchange.MAX_BODY + 1])
@pytest.mark.parametrize("encoding", ["", "gzip", "chunked"])
def test_the_limit_of_a_body(size, encoding):
    body = order_json().ljust(size)
    if encoding == "chunked":
        answer = CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    elif encoding:
        answer = http_answer(gzip.compress(body), f"Content-Encoding: {encoding}")
    else:
        answer = http_answer(body)
    with Server(once(answer)) as server:
        client = client_of(server)
        if size > exchange.MAX_BODY:
            error = failure(client)
            assert type(error) is UnexpectedAnswer
            assert "too large" in str(error)
        else:
            client.remove_order("1001")


def test_too_large_headers_are_called_so():
    # Few and large, or a newer http.client takes offence at their number first.
    part = b"HTTP/1.1 100 Continue\r\nX-Padding: %b\r\n\r\n" % (b"x" * 60_000)
    with Server(first(repeated(b"", part, 8 * MIB))) as server:
        assert "too large" in str(failure(client_of(server)))


# HTTP


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZip", "deflate"])
def test_a_compressed_answer(encoding):
    compress = zlib.compress if encoding == "deflate" else gzip.compress
    body = compress(order_json())
    with Server(always(http_answer(body, f"Content-Encoding: {encoding}"))) as server:
        client = client_of(server)
        for _ in range(2):
            assert client.remove_order("1001").number == "1001"
        assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    parts(
        content_length=(ANSWER,),
        chunked=(CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(order_json()), order_json()),),
        until_close=(HEAD + b"\r\n" + order_json(),),
        http_1_0=(b"HTTP/1.0 200 OK\r\n\r\n" + order_json(),),
        after_continue=(b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n" + ANSWER,),
        identity=(http_answer(order_json(), "Content-Encoding: Identity"),),
        no_reason=(ANSWER.replace(b"200 OK", b"200"),),
        bare_newlines=(b"HTTP/1.1 200 OK\n\n" + order_json(),),
    ),
)
def test_proper_answers(answer):
    with Server(once(answer)) as server:
        client = client_of(server)
        assert client.remove_order("1001").number == "1001"


@pytest.mark.parametrize(
    "answer",
    parts(
        garbage=(b"garbage\r\n\r\n",),
        empty_line=(b"\r\n\r\n",),
        other_protocol=(b"SSH-2.0-OpenSSH_9.0\r\n",),
        http_2=(b"HTTP/2 200 OK\r\n\r\n",),
        odd_status=(b"HTTP/1.1 abc OK\r\n\r\n",),
        small_status=(b"HTTP/1.1 99 OK\r\n\r\n",),
        large_status=(b"HTTP/1.1 1000 OK\r\n\r\n",),
        informational=(b"HTTP/1.1 199 OK\r\n\r\n",),
        cut_off_status=(b"HTT",),
        cut_off_header=(HEAD + b"Content-Le",),
        cut_off_body=(ANSWER[:-1],),
        cut_off_without_length=(HEAD + b"\r\n" + order_json()[:-1],),
        hundred_headers=(HEAD + b"X: y\r\n" * 101 + b"\r\n" + order_json(),),
        long_header=(HEAD + b"X: " + b"y" * 70_000 + b"\r\n\r\n" + order_json(),),
        length_too_large=(ANSWER.replace(b"Length: ", b"Length: 1"),),
        length_too_small=(HEAD + b"Content-Length: 9\r\n\r\n" + order_json(),),
        lengths_differ=(ANSWER.replace(b"Content-L", b"Content-Length: 9\r\nContent-L"),),
        no_body=(http_answer(b""),),
        not_gzip=(http_answer(order_json(), "Content-Encoding: gzip"),),
        cut_off_gzip=(http_answer(gzip.compress(order_json())[:-9], "Content-Encoding: gzip"),),
        empty_gzip=(http_answer(b"", "Content-Encoding: gzip"),),
        unknown_encoding=(http_answer(order_json(), "Content-Encoding: br"),),
        bad_chunk_size=(CHUNKED + b"xyz\r\n" + order_json(),),
        very_negative_chunk=(CHUNKED + b"-5\r\n" + order_json(),),
        short_chunk=(CHUNKED + b"fff\r\n" + order_json(),),
        no_last_chunk=(CHUNKED + b"%x\r\n%b\r\n" % (len(order_json()), order_json()),),
        no_chunks=(CHUNKED,),
    ),
)
def test_broken_answers(answer):
    with Server(first(lambda connection: connection.send(answer))) as server:
        client = client_of(server)
        started = time.monotonic()
        error = failure(client)
        within(1, started)
        assert type(error) is UnexpectedAnswer
        assert client.remove_order("1001").number == "1001"
        assert server.connections == 2


def test_what_follows_an_answer_is_not_the_next_answer():
    other = http_answer(order_json(referenceNumber="not mine"))

    def script(connection):
        while connection.read_request():
            connection.send(ANSWER + other)

    with Server(script) as server:
        client = client_of(server)
        for _ in range(3):
            assert client.remove_order("1001").reference_number == "K1234A"


def test_after_an_unexpected_answer_the_connection_is_not_trusted():
    def script(connection):
        connection.read_request()
        connection.send(ANSWER.replace(b"1001", b"1002"))
        always(ANSWER)(connection)

    with Server(script) as server:
        client = client_of(server)
        for _ in range(2):
            assert type(failure(client)) is UnexpectedAnswer
        assert server.connections == 2


@examples(60)
@given(
    st.lists(
        st.sampled_from(
            [
                b"HTTP/1.1 200 OK",
                b"\r\n",
                b"\n",
                b":",
                b"Content-Length",
                b"Transfer-Encoding: chunked",
                b"Content-Encoding: gzip",
                b"Content-Type: multipart/x",
                b"Location: //[",
                b"Set-Cookie: a=\xff;",
                b"0",
                b"5",
                b"-1",
                b" ",
                b"\0",
                b"{}",
                order_json(),
            ]
        )
        | st.binary(max_size=5),
        max_size=12,
    )
)
def test_whatever_is_sent_ends_in_an_order_or_in_our_errors(pieces):
    def script(connection):
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\n" * (len(pieces) % 2) + b"".join(pieces))

    with Server(script) as server:
        try:
            assert client_of(server, deadline=5).remove_order("1001").number == "1001"
        except KomfortkasseError as error:
            assert error.__context__ is None  # noqa: PT017


# Connections


def test_a_connection_that_is_closed_without_an_answer():
    with Server(lambda connection: connection.read_request()) as server:
        error = failure(client_of(server))
        assert type(error) is ConnectionFailed
        assert error.status is None
        assert server.connections == 1


@pytest.mark.parametrize("reading", [False, True])
def test_a_connection_that_is_reset(reading):
    def script(connection):
        if reading:
            connection.read_request()
        connection.reset()

    with Server(script) as server:
        assert type(failure(client_of(server))) is ConnectionFailed
        assert server.connections == 1


def test_a_reset_in_the_middle_of_an_answer():
    def waste(connection):
        connection.send(ANSWER[:-5])
        connection.wait(0.1)
        connection.reset()

    with Server(first(waste)) as server:
        client = client_of(server)
        assert type(failure(client)) is UnexpectedAnswer
        client.remove_order("1001")


def test_a_port_on_which_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = failure(Client(api_key=KEY, api_url=f"http://127.0.0.1:{port}/api"))
    assert type(error) is ConnectionFailed
    assert str(error) == "No connection to Komfortkasse (Connection refused)"


def test_a_host_that_does_not_exist(monkeypatch):
    def getaddrinfo(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    error = failure(Client(api_key=KEY, api_url="http://komfortkasse.invalid/api"))
    assert type(error) is ConnectionFailed
    assert str(error) == "No connection to Komfortkasse (Name or service not known)"


def test_a_host_without_addresses(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: [])
    error = failure(Client(api_key=KEY, api_url="http://komfortkasse.invalid/api"))
    assert type(error) is ConnectionFailed
    assert str(error) == "No connection to Komfortkasse"


def kept_alive(last_words):
    """Return a script that answers once, then ends the first connection at the next request."""

    def script(connection):
        connection.read_request()
        connection.send(ANSWER)
        if connection.number > 1:
            always(ANSWER)(connection)
        elif connection.read_request():
            last_words(connection)

    return script


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_dead_connection_costs_a_second_try(end):
    with Server(kept_alive(lambda c: c.reset() if end == "reset" else None)) as server:
        client = client_of(server)
        for _ in range(3):
            assert client.remove_order("1001").number == "1001"
        assert server.connections == 2
        assert len(server.requests) == 4


def test_a_connection_closed_while_idle():
    closed = threading.Event()

    def script(connection):
        connection.read_request()
        connection.send(ANSWER)
        connection.sock.shutdown(socket.SHUT_RDWR)
        closed.set()

    with Server(script) as server:
        client = client_of(server)
        for _ in range(3):
            client.remove_order("1001")
            assert closed.wait(5)
            closed.clear()
        assert server.connections == 3


def test_only_one_second_try():
    def script(connection):
        connection.read_request()
        if connection.number == 1:
            connection.send(ANSWER)
            connection.read_request()

    with Server(script) as server:
        client = client_of(server)
        client.remove_order("1001")
        assert type(failure(client)) is ConnectionFailed
        assert server.connections == 2
        assert len(server.requests) == 3


def test_no_second_try_after_part_of_an_answer():
    with Server(kept_alive(lambda connection: connection.send(ANSWER[:9]))) as server:
        client = client_of(server)
        client.remove_order("1001")
        assert type(failure(client)) is UnexpectedAnswer
        assert len(server.requests) == 2


def test_no_second_try_and_no_second_deadline_for_a_silent_server():
    with Server(kept_alive(lambda connection: connection.wait(30))) as server:
        client = client_of(server)
        client.remove_order("1001")
        started = time.monotonic()
        assert type(failure(client, deadline=DEADLINE)) is DeadlineExceeded
        within(DEADLINE, started)
        assert len(server.requests) == 2
        client.remove_order("1001")


def test_the_second_try_has_what_is_left_of_the_deadline():
    def script(connection):
        connection.read_request()
        if connection.number == 1:
            connection.send(ANSWER)
            connection.read_request()
            connection.wait(1.5)
        else:
            connection.drip(ANSWER)

    with Server(script) as server:
        client = client_of(server)
        client.remove_order("1001")
        started = time.monotonic()
        assert type(failure(client, deadline=2)) is DeadlineExceeded
        assert time.monotonic() - started < 3.3
        assert server.connections == 2


# TLS and proxies


@pytest.mark.usefixtures("trusted")
def test_tls_connections_are_reused_and_renewed(tls):
    with Server(kept_alive(lambda _connection: None), tls=tls) as server:
        client = client_of(server)
        for _ in range(3):
            client.remove_order("1001")
        assert server.connections == 2


def test_an_untrusted_certificate(tls):
    with Server(always(ANSWER), tls=tls) as server:
        error = failure(client_of(server))
    assert type(error) is ConnectionFailed
    assert "certificate verify failed" in str(error)
    assert not server.requests


@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_another_host(tls):
    with Server(always(ANSWER), tls=tls) as server:
        url = server.url.replace("localhost", "127.0.0.1")
        assert type(failure(Client(api_key=KEY, api_url=url))) is ConnectionFailed
    assert not server.requests


def test_a_server_without_tls():
    with Server(lambda connection: connection.send(b"HTTP/1.1 400 Bad\r\n\r\n")) as server:
        url = server.url.replace("http:", "https:")
        assert type(failure(Client(api_key=KEY, api_url=url))) is ConnectionFailed


@pytest.fixture
def proxied(monkeypatch):
    """Return a function that starts a proxy with a script for its answer to CONNECT."""

    def start(script):
        proxy = Server(script)
        monkeypatch.setenv("HTTPS_PROXY", f"http://localhost:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        return proxy

    return start


def proxied_client(deadline=10.0):
    return Client(api_key=KEY, api_url="https://localhost/api/v2", deadline=deadline)


ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.mark.usefixtures("trusted")
def test_a_tunnel_through_a_proxy(tls, proxied):
    def script(connection):
        connection.read_request()
        connection.send(ESTABLISHED)
        with tls.wrap_socket(connection.sock, server_side=True) as connection.sock:
            for _ in range(2):
                connection.read_request()
                connection.send(ANSWER)

    with proxied(script) as proxy:
        client = proxied_client()
        for _ in range(2):
            assert client.remove_order("1001").number == "1001"
        assert proxy.connections == 1
    assert proxy.requests[0].startswith(b"CONNECT localhost:443 HTTP/1.")
    assert KEY.encode() not in proxy.requests[0]
    assert KEY.encode() in proxy.requests[1]


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 407 secret\r\n\r\n", b"secret\r\n\r\n", b"HTTP/", b""]
)
def test_a_proxy_that_refuses(answer, proxied):
    def script(connection):
        connection.read_request()
        connection.send(answer)

    with proxied(script):
        error = failure(proxied_client())
    assert type(error) is ConnectionFailed
    assert "secret" not in str(error)


def test_no_tls_behind_a_proxy(proxied):
    def script(connection):
        connection.read_request()
        connection.send(ESTABLISHED)
        connection.send(b"no TLS at all")

    with proxied(script):
        assert type(failure(proxied_client())) is ConnectionFailed


@pytest.mark.parametrize("pause", [0.05, 0])
def test_a_proxy_that_drips(pause, proxied):
    def script(connection):
        connection.read_request()
        # With no pause the handshake is what starts late.
        connection.wait(0.0 if pause else 1.5)
        connection.drip(ESTABLISHED, pause)
        connection.wait(30)

    with proxied(script):
        started = time.monotonic()
        assert type(failure(proxied_client(2))) is DeadlineExceeded
        assert time.monotonic() - started < 3.3


def test_a_socks_proxy_keeps_connections_of_its_own_kind(monkeypatch):
    """Ours would bypass it; PySocks, which it needs, need not be installed."""

    class SOCKSProxyManager:
        pool_classes_by_scheme = "its own"

        def __init__(self, *_args, **_kwargs):
            pass

    monkeypatch.setattr(exchange.requests.adapters, "SOCKSProxyManager", SOCKSProxyManager)
    adapter = exchange.Adapter(exchange.Attempt())
    for scheme in ("socks5", "SOCKS5h", "socks4"):
        manager = adapter.proxy_manager_for(f"{scheme}://localhost:1080")
        assert manager.pool_classes_by_scheme == "its own"
