"""Correct HTTP, broken HTTP and no HTTP at all, on real sockets."""

import gzip
import time
import zlib

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from komfortkasse_django.api import rules
from komfortkasse_django.api.attempt import MAX_BODY
from komfortkasse_django.client import Client
from komfortkasse_django.exceptions import (
    AuthenticationFailed,
    ConnectionFailed,
    DeadlineExceeded,
    KomfortkasseError,
    ServiceUnavailable,
    UnexpectedAnswer,
)
from tests.support.calls import (
    ANSWER,
    CHUNKED,
    HEAD,
    KEY,
    ORDER_URL,
    URL,
    client_of,
    failure,
    first,
    parts,
    within,
)
from tests.support.examples import examples
from tests.support.loopback import Server, always, http_answer, once, order_json

DEADLINE = 0.3


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
        after_processing=(b"HTTP/1.1 102 Processing\r\n\r\n" * 3 + ANSWER,),
        after_early_hints=(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ANSWER,),
        after_switching=(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + ANSWER,),
        after_unknown=(b"HTTP/1.1 199 X\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + ANSWER,),
        after_many=(b"HTTP/1.1 102 Processing\r\n\r\n" * 500 + ANSWER,),
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


@pytest.mark.parametrize("size", [MAX_BODY, MAX_BODY + 1])
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
        if size > MAX_BODY:
            error = failure(client)
            assert type(error) is UnexpectedAnswer
            assert "too large" in str(error)
        else:
            client.remove_order("1001")


@pytest.mark.parametrize(
    ("error", "error_class"),
    [
        (requests.ConnectionError("secret"), ConnectionFailed),
        (requests.exceptions.SSLError("secret"), ConnectionFailed),
        (requests.exceptions.ProxyError("secret"), ConnectionFailed),
        (requests.exceptions.InvalidHeader(f"secret {KEY}"), ConnectionFailed),
        (OSError("secret"), ConnectionFailed),
        (requests.Timeout("secret"), DeadlineExceeded),
        (requests.ConnectTimeout("secret"), DeadlineExceeded),
        (requests.ReadTimeout("secret"), DeadlineExceeded),
    ],
)
def test_no_answer(error, error_class, client, service):
    service.post(ORDER_URL, body=error)
    error = failure(client)
    assert type(error) is error_class
    assert error.status is None
    assert "secret" not in str(error)
    assert len(service.calls) == 1


@pytest.mark.parametrize("host", ["*.test", ".test", "a" * 70 + ".test"])
def test_a_host_that_cannot_be(host):
    error = failure(Client(api_key=KEY, api_url=f"http://{host}/api"))
    assert type(error) is ConnectionFailed


def test_a_header_that_cannot_be_sent_is_an_error_without_it(monkeypatch):
    """If requests refused a key, its message would show the key."""
    monkeypatch.setattr(rules, "problem_of_key", lambda _key: "")
    error = failure(Client(api_key=f" {KEY}\n", api_url=URL))
    assert type(error) is ConnectionFailed


def test_other_errors_are_not_swallowed(client, service):
    """A task engine ends a task with an exception that can be raised anywhere."""

    class SoftTimeLimit(Exception):  # noqa: N818
        pass

    service.post(ORDER_URL, body=SoftTimeLimit())
    with pytest.raises(SoftTimeLimit):
        client.remove_order("1001")
