"""Promise 4: a service that misbehaves in every way that we know confirms nothing by it.

Over real sockets, from the bytes that the service sends to what the mirror says.
"""

import gzip
import json
from datetime import timedelta

import pytest
from django.utils import timezone

from komfortkasse_django.models import RemovedOrder, ShopState
from komfortkasse_django.queue.pushing import push
from tests.support.loopback import ORDER, Connection, Server, http_answer, order_json
from tests.support.mirror import due

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

GOOD = order_json()
HTML = b"<!doctype html><title>Log in to the Wi-Fi</title>"
LATE = 0.6  # seconds that a call may take where the service is slow


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    return http_answer(body, *headers, status=status)


def said(status: str, text: object) -> bytes:
    return answer(status, json.dumps({"error": text}).encode())


def changed(**changes: object) -> bytes:
    return answer("200 OK", order_json(**changes))


def without(*names: str) -> bytes:
    return answer("200 OK", json.dumps({k: v for k, v in ORDER.items() if k not in names}).encode())


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + end


def interim(*statuses: str) -> bytes:
    return b"".join(f"HTTP/1.1 {status}\r\n\r\n".encode() for status in statuses)


ODD = [None, "", "x", "1,5", -1, 0, 1e300, True, [], {}, ["EUR"], {"a": 1}, "\x00", "ä" * 300]
FIELDS = ["date", "type", "amount", "amountPaid", "currency", "billing", "paymentStatus"]
FIELDS += ["referenceNumber", "postings", "dunningLevel", "collectionPartner"]

REMOVED = {
    "as in the contract": answer("200 OK", GOOD),
    "nothing but the number": answer("200 OK", b'{"number": "1001"}'),
    "a JSON number": answer("200 OK", b'{"number": 1001}'),
    "blanks around the number": changed(number=" 1001 "),
    "a BOM": answer("200 OK", b"\xef\xbb\xbf" + GOOD),
    "keys twice": answer("200 OK", b'{"amount": 1, "number": "1001", "amount": 2}'),
    "unknown attributes": changed(new={"a": [1, {"b": None}]}),
    "text/html": answer("200 OK", GOOD, "Content-Type: text/html"),
    "a charset that does not exist": answer("200 OK", GOOD, "Content-Type: a/b; charset=x"),
    "gzip": answer("200 OK", gzip.compress(GOOD), "Content-Encoding: gzip"),
    "chunks": chunked(GOOD[:5], GOOD[5:]),
    "a trailer": chunked(GOOD, end=b"0\r\nA: b\r\n\r\n"),
    "no length": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + GOOD,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n" + GOOD,
    "no reason": b"HTTP/1.1 200 \r\nContent-Length: %d\r\n\r\n" % len(GOOD) + GOOD,
    "early hints": interim("103 Early Hints") + answer("200 OK", GOOD),
    "processing, twice": interim("102 Processing", "102 Processing") + answer("200 OK", GOOD),
    "continue": interim("100 Continue") + answer("200 OK", GOOD),
    "cookies": answer("200 OK", GOOD, "Set-Cookie: a=b; Domain=else.test", "Set-Cookie: ="),
    "a Retry-After": answer("200 OK", GOOD, "Retry-After: 100"),
    "an error beside the order": changed(error="by the way"),
    **{f"without {name}": without(name) for name in ORDER if name != "number"},
    **{f"{name} is {odd!r:.20}": changed(**{name: odd}) for name in FIELDS for odd in ODD},
}
UNKNOWN = {
    "as in the contract": said("404 Not Found", "Order not found"),
    "in German": said("404 Not Found", "Bestellung nicht gefunden"),
    "with more": answer("404 X", b'{"error": "No such order", "status": 404, "path": "/a"}'),
    "as text/plain": answer("404 X", b'{"error": "No such order"}', "Content-Type: text/plain"),
}
FAILED = {
    "as in the contract": said("400 Bad Request", "Order is locked"),
    "in another language": said("400 Bad Request", "注文"),
}
WRONG_KEY = {
    "401": said("401 Unauthorized", "API Key invalid"),
    "401 of a proxy": answer("401 Unauthorized", HTML, 'WWW-Authenticate: Basic realm="a"'),
    "403": said("403 Forbidden", "No"),
    "403 of a firewall": answer("403 Forbidden", HTML),
}
TROUBLE = {
    **{str(code): said(f"{code} X", "Later") for code in (408, 425, 429, 500, 502, 503, 504, 599)},
    "500 of a framework": answer("500 X", HTML),
    "503 with an order": answer("503 X", GOOD),
    "an order and 500": answer("500 X", GOOD),
    "Retry-After in words": answer("503 X", b"", "Retry-After: soon"),
    "Retry-After below zero": answer("503 X", b"", "Retry-After: -5"),
    "Retry-After without end": answer("503 X", b"", "Retry-After: " + "9" * 300),
    "Retry-After in 1970": answer("429 X", b"", "Retry-After: Thu, 01 Jan 1970 00:00:00 GMT"),
}
UNEXPECTED = {
    "a captive portal": answer("200 OK", HTML),
    "nothing": answer("200 OK"),
    "another order": changed(number="1002"),
    "a longer number": changed(number="10010"),
    "no number": without("number"),
    "null for the number": changed(number=None),
    "true for the number": changed(number=True),
    "a list for the number": changed(number=["1001"]),
    "two numbers": answer("200 OK", b'{"number": "1001", "number": "1002"}'),
    "an error with 200": said("200 OK", "Order not found"),
    "a list of orders": answer("200 OK", b"[" + GOOD + b"]"),
    "a text": answer("200 OK", b'"1001"'),
    "null": answer("200 OK", b"null"),
    "XML": answer("200 OK", b"<order><number>1001</number></order>"),
    "half of it": answer("200 OK", GOOD[:-5]),
    "two orders": answer("200 OK", GOOD + GOOD),
    "JavaScript": answer("200 OK", b"callback(" + GOOD + b")"),
    "NaN all around": answer("200 OK", b"NaN"),
    "many brackets": answer("200 OK", b"[" * 100_000),
    "Latin-1": answer("200 OK", '{"number": "1001", "a": "ä"}'.encode("latin-1")),
    "gzip that is none": answer("200 OK", GOOD, "Content-Encoding: gzip"),
    "half of gzip": answer("200 OK", gzip.compress(GOOD)[:-9], "Content-Encoding: gzip"),
    "a bomb": answer("200 OK", gzip.compress(b" " * 30_000_000), "Content-Encoding: gzip"),
    "too much": answer("200 OK", b" " * 9_000_000 + GOOD),
    "201": answer("201 Created", GOOD),
    "202": answer("202 Accepted", GOOD),
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "206": answer("206 Partial Content", GOOD),
    **{
        f"{code} to a login page": answer(f"{code} X", b"", "Location: https://login.test/")
        for code in (301, 302, 303, 307, 308)
    },
    "302 to itself": answer("302 Found", b"", "Location: /api/v2/order/remove/1001"),
    "302 to nowhere": answer("302 Found"),
    "304": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "a framework's 404": answer("404 X", b'{"status": 404, "error": "Not Found", "path": "/a"}'),
    "a proxy's 404": answer("404 Not Found", HTML),
    "an empty 404": answer("404 Not Found"),
    "404 with a number for an error": said("404 Not Found", 5),
    "404 with a blank error": said("404 Not Found", " "),
    "400 of a proxy": answer("400 Bad Request", HTML),
    "400 with a list": said("400 Bad Request", ["No"]),
    **{str(code): said(f"{code} X", "No") for code in (402, 405, 406, 409, 410, 413, 418, 451)},
    "600": answer("600 X", GOOD),
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/9": b"HTTP/9.9 OK\r\n\r\n",
    "a status in words": b"HTTP/1.1 OK 200\r\n\r\n" + GOOD,
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\n" + GOOD,
    "a body that is cut off": b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + GOOD,
    "chunks that are cut off": chunked(GOOD[:9], end=b"zz\r\n"),
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 100_000,
}


def is_silent(connection: Connection) -> None:
    connection.wait(20)


def drips(connection: Connection) -> None:
    connection.drip(answer("200 OK", GOOD), pause=0.2)


def goes_on_for_ever(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.send(b"1\r\n \r\n")
        connection.wait(0.01)


def only_interim(connection: Connection) -> None:
    while True:
        connection.send(interim("102 Processing"))
        connection.wait(0.05)


def resets(connection: Connection) -> None:
    connection.reset()


def hangs_up(connection: Connection) -> None:
    """Without a word."""


SCRIPTS = {
    is_silent: "deadline_exceeded",
    drips: "deadline_exceeded",
    goes_on_for_ever: "deadline_exceeded",
    only_interim: "deadline_exceeded",
    resets: "connection_failed",
    hangs_up: "connection_failed",
}


@pytest.fixture
def sent(configure):
    """Send order 1001 to a service that runs a script after its request; return the row."""

    def sent(script, **options: object) -> RemovedOrder:
        def serve(connection: Connection) -> None:
            if connection.read_request():
                script(connection)

        due("1001")
        with Server(serve) as server:
            configure(API_URL=server.url, **options)
            push()
        row = RemovedOrder.objects.get()
        assert row.attempts == 1
        return row

    return sent


def cases(*tables):
    return [
        pytest.param(raw, code, id=f"{code}-{name}")
        for code, table in tables
        for name, raw in table.items()
    ]


@pytest.mark.parametrize("raw", [pytest.param(raw, id=name) for name, raw in REMOVED.items()])
def test_is_removed(sent, raw):
    row = sent(lambda connection: connection.send(raw))

    assert (row.state, row.last_error, row.next_attempt_at) == ("removed", "", None)
    assert not ShopState.objects.exists()


@pytest.mark.parametrize("raw", [pytest.param(raw, id=name) for name, raw in UNKNOWN.items()])
def test_is_unknown(sent, raw):
    row = sent(lambda connection: connection.send(raw))

    assert (row.state, row.last_error) == ("unknown", "")
    assert not ShopState.objects.exists()


@pytest.mark.parametrize("raw", [pytest.param(raw, id=name) for name, raw in FAILED.items()])
def test_is_refused(sent, raw):
    row = sent(lambda connection: connection.send(raw))

    assert (row.state, row.error_code, row.next_attempt_at) == ("failed", "invalid_request", None)
    assert not ShopState.objects.exists()


@pytest.mark.parametrize(
    ("raw", "code"),
    cases(
        ("authentication_failed", WRONG_KEY),
        ("service_unavailable", TROUBLE),
        ("unexpected_answer", UNEXPECTED),
    ),
)
def test_is_tried_again(sent, raw, code):
    row = sent(lambda connection: connection.send(raw))

    assert_waits(row, code)


@pytest.mark.parametrize(("script", "code"), SCRIPTS.items())
def test_is_tried_again_after_no_answer(sent, script, code):
    row = sent(script, DEADLINE=LATE)

    assert_waits(row, code)


def assert_waits(row: RemovedOrder, code: str) -> None:
    assert (row.state, row.error_code) == ("pending", code)
    assert row.last_error.isprintable()
    assert "<" not in row.last_error
    assert (row.payment_status, row.amount, row.finished_at) == ("", None, None)
    assert timedelta(0) < row.next_attempt_at - timezone.now() <= timedelta(hours=1)
    state = ShopState.objects.get()
    assert (state.failures, state.error_code) == (1, code)
    assert state.is_paused() >= (code == "authentication_failed")
