import copy
import html
import json
import logging
import pickle
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from django.views.debug import ExceptionReporter
from hypothesis import given
from hypothesis import strategies as st

from komfortkasse_django.api import answers, connections
from komfortkasse_django.client import Client
from komfortkasse_django.exceptions import (
    AuthenticationFailed,
    InvalidRequest,
    OrderNotFound,
    ServiceUnavailable,
    UnexpectedAnswer,
)
from tests.support.calls import (
    KEY,
    ORDER_URL,
    assert_holds_no_key,
    client_of,
    error_json,
    failure,
    reachable,
)
from tests.support.examples import examples
from tests.support.loopback import ORDER, Server, always, http_answer, order_json

STATUSES_OF_TROUBLE = [408, 425, 429, 500, 501, 502, 503, 504, 520, 599]


OTHER_STATUSES_OF_CLIENT = sorted(set(range(400, 500)) - {400, 401, 403, 404, *STATUSES_OF_TROUBLE})


@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        (400, InvalidRequest),
        *((status, UnexpectedAnswer) for status in OTHER_STATUSES_OF_CLIENT),
        (401, AuthenticationFailed),
        (403, AuthenticationFailed),
        (404, OrderNotFound),
        *((status, ServiceUnavailable) for status in STATUSES_OF_TROUBLE),
        *((status, UnexpectedAnswer) for status in (201, 202, 206, 299, 300, 399, 600)),
    ],
)
def test_an_answer_with_the_error_of_the_contract(status, error_class, client, service):
    service.post(ORDER_URL, body=error_json(), status=status)
    error = failure(client)
    assert type(error) is error_class
    assert error.status == status
    assert f"HTTP {status}" in str(error)
    assert "Went wrong" in str(error)


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_can_have_no_body(status, client, service):
    service.post(ORDER_URL, status=status)
    error = failure(client)
    assert type(error) is UnexpectedAnswer
    assert error.status == status
    assert f"HTTP {status}" in str(error)


NO_ERRORS = [
    b"",
    b"<html>secret</html>",
    b'"error"',
    b"[]",
    b"{}",
    b'{"message": "secret"}',
    b'{"error": ""}',
    b'{"error": " \\n "}',
    b'{"error": null}',
    b'{"error": 7}',
    b'{"error": {"secret": 1}}',
    b'{"error": "secret"',
]


@pytest.mark.parametrize("body", NO_ERRORS)
@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        (200, UnexpectedAnswer),
        (201, UnexpectedAnswer),
        (301, UnexpectedAnswer),
        (400, UnexpectedAnswer),
        (404, UnexpectedAnswer),
        (410, UnexpectedAnswer),
        (401, AuthenticationFailed),
        (403, AuthenticationFailed),
        (429, ServiceUnavailable),
        (503, ServiceUnavailable),
    ],
)
def test_an_answer_without_the_error_of_the_contract(status, error_class, body, client, service):
    service.post(ORDER_URL, body=body, status=status, content_type="text/html")
    error = failure(client)
    assert type(error) is error_class
    assert error.status == status
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    "error",
    [
        "Not Found",
        "not found.",
        "NOT_FOUND",
        "not-found",
        "NotFound",
        "notFound",
        "404",
        "404 Not Found",
        "404: Not Found",
        "404 page not found",
        "Page not found",
        "HTTP 404",
        "HTTP/1.1 404 Not Found",
        "Error 404 (Not Found)!",
        "Status code: 404",
        "HTTP404Error",
        "NotFoundError",
        "NotFoundException",
        "Route not found",
        "Endpoint not found",
        "URL not found",
        "Path not found",
        "...",
    ],
)
def test_the_404_of_a_framework_is_no_answer_of_komfortkasse(error, client, service):
    body = {"timestamp": "2026-11-29", "status": 404, "error": error, "path": "/api/order/remove"}
    service.post(ORDER_URL, body=json.dumps(body), status=404)
    assert type(failure(client)) is UnexpectedAnswer


@pytest.mark.parametrize(
    "error",
    [
        "Order not found",
        "order_not_found",
        "OrderNotFound",
        "Resource not found",
        "Unknown order number: 404",
        "Order 404 not found",
        "Bestellung nicht gefunden",
        "No such order",
        "1001 not found",
        "注文が見つかりません",
    ],
)
def test_the_404_of_komfortkasse(error, client, service):
    service.post(ORDER_URL, body=error_json(error), status=404)
    assert type(failure(client)) is OrderNotFound


@pytest.mark.parametrize(
    "body",
    [
        order_json(number="1002"),
        order_json(number=None),
        order_json(number=""),
        order_json(number=10010),
        order_json(number=1001.5),
        order_json(number="10 01"),
        order_json(number="01001"),
        order_json(number=["1001"]),
        order_json(number={"number": "1001"}),
        order_json()[:-1],
        order_json() + b"x",
        b"[" + order_json() + b"]",
        b'{"order": ' + order_json() + b"}",
        order_json().replace(b"{", b'{"number": "1002",', 1),
        b"<html>Welcome to the hotel</html>",
        error_json(),
        b"[" * 100_000,
    ],
)
def test_a_200_that_does_not_confirm_the_removal(body, client, service):
    service.post(ORDER_URL, body=body)
    error = failure(client)
    assert type(error) is UnexpectedAnswer
    assert error.status == 200
    for personal in ("Mustermann", "1002", "K1234A", "hotel"):
        assert personal not in "".join(reachable(error))


def test_a_200_without_a_number_says_so(client, service):
    service.post(ORDER_URL, body=order_json(number=None))
    assert str(failure(client)).endswith("(HTTP 200): number is missing or malformed")


@pytest.mark.parametrize(
    "body",
    [
        b'{"number": "1001"}',
        b'\xef\xbb\xbf{"number": "1001"}',
        b'{"number": 1001}',
        order_json(number=" 1001\n"),
        order_json(date="2018-04-25", dueDate="soon"),
        order_json(billing=None),
        order_json(billing={"street": "Bahnhofstr. 14"}),
        order_json(amount="22.38", amountPaid="0"),
        order_json(amount=None, currency=None, type=None, date=None),
        order_json(items="none", refunds=[{}], postings={}),
        order_json(error="None"),
        order_json().replace(b"{", b'{"number": "1001", "amount": 1,', 1),
    ],
)
def test_only_the_number_confirms_the_removal(body, client, service):
    service.post(ORDER_URL, body=body)
    assert client.remove_order("1001").number.strip() == "1001"


@pytest.mark.parametrize(
    ("asked", "answered"),
    [("ab-1", "AB-1"), ("AB-1", "ab-1"), (" 1001", "1001"), ("1001", "1001 "), ("Ä1", "ä1")],
)
def test_case_and_surrounding_blanks_of_the_number_do_not_matter(asked, answered):
    with Server(always(http_answer(order_json(number=answered)))) as server:
        assert client_of(server).remove_order(asked).number == answered


def test_content_type_does_not_matter(client, service):
    service.post(ORDER_URL, body=order_json(), content_type="text/html")
    assert client.remove_order("1001").number == "1001"


@pytest.mark.parametrize(
    "location", [f"https://evil.test/secret{KEY}", "/secret", "", "https://[secret"]
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status, location, client, service):
    service.post(ORDER_URL, status=status, headers={"Location": location})
    error = failure(client)
    assert type(error) is UnexpectedAnswer
    assert error.status == status
    assert "was redirected" in str(error)
    assert "secret" not in str(error)
    assert len(service.calls) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("999999999", 999_999_999),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("1, 2", None),
        ("9" * 400, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 -99999999999999999999", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after(status, header, seconds, client, service):
    service.post(ORDER_URL, status=status, headers={"Retry-After": header})
    assert failure(client).retry_after == seconds


def test_retry_after_a_date(client, service):
    header = format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True)
    service.post(ORDER_URL, status=503, headers={"Retry-After": header})
    assert 295 < failure(client).retry_after <= 300


def test_no_retry_after(client, service):
    service.post(ORDER_URL, status=503)
    assert failure(client).retry_after is None


@examples(200)
@given(st.text(max_size=40) | st.dates().map(str) | st.integers().map(str))
def test_no_retry_after_is_trouble(header):
    seconds = answers._seconds(header)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Order\r\n\t not   found\u2028", "Order not found"),
        ("a\x1b[31mred\x00\u202eb\ud800", "a [31mred b"),
        ("x" * 501, "x" * 500),
        (f"Key {KEY} is unknown", "Key *** is unknown"),
        (f"{KEY.upper()}", "***"),
        ("Key Key-Of%2FThe%2BShop", "Key ***"),
        ("x" * 495 + KEY, "x" * 495 + "***"),
        ("Größe überschritten", "Größe überschritten"),
    ],
)
@pytest.mark.parametrize("status", [400, 401, 404, 503])
def test_the_servers_words_are_made_harmless(status, text, shown, client, service):
    service.post(ORDER_URL, body=error_json(text), status=status)
    assert str(failure(client)).endswith(f"(HTTP {status}: {shown})")


@pytest.mark.parametrize("place", ["read_object", "_harmless", "_error_text"])
def test_a_report_of_an_unforeseen_error_shows_no_key(place, client, service, monkeypatch):
    """A report shows the variables of each frame."""
    monkeypatch.setattr(answers, place, lambda *arguments: {}["unforeseen"])
    service.post(ORDER_URL, body=error_json("No"), status=400)

    with pytest.raises(KeyError) as caught:
        client.remove_order("1001")

    report = ExceptionReporter(None, caught.type, caught.value, caught.tb)
    for text in (report.get_traceback_html(), report.get_traceback_text()):
        assert "unforeseen" in text
        assert KEY not in html.unescape(text)


def test_a_report_of_an_unforeseen_error_on_the_way_shows_no_key(monkeypatch):
    """The frames of requests hold the request, and those of http.client hold its bytes."""

    def request(*arguments, **headers):
        try:
            return {}["unforeseen"]
        except KeyError as error:
            raise RuntimeError("can't start new thread") from error

    monkeypatch.setattr(connections._HTTPConnection, "request", request)

    with pytest.raises(RuntimeError) as caught:
        Client(api_key=KEY, api_url="http://localhost").remove_order("1001")

    report = ExceptionReporter(None, caught.type, caught.value, caught.tb)
    for text in (report.get_traceback_html(), report.get_traceback_text()):
        assert "can't start new thread" in html.unescape(text)
        assert KEY not in html.unescape(text)
    # The error still says where it happened.
    assert 'raise RuntimeError("can\'t start new thread") from error' in "".join(
        traceback.format_exception(caught.value)
    )


def test_only_the_error_of_a_body_is_repeated(client, service):
    body = json.dumps({"error": "No", "order": ORDER}).encode()
    for status in (400, 401, 404, 500):
        service.post(ORDER_URL, body=body, status=status)
        assert "Mustermann" not in "".join(reachable(failure(client)))


@pytest.mark.parametrize(
    "answer",
    [
        http_answer(error_json(KEY), status="400 Bad Request"),
        http_answer(error_json(KEY), status="401 Unauthorized"),
        http_answer(KEY.encode(), f"Location: https://{KEY[:6]}/{KEY}", status=f"302 {KEY}"),
        http_answer(KEY.encode(), f"Retry-After: {KEY}", f"Set-Cookie: {KEY}", status="503 No"),
        http_answer(KEY.encode(), f"{KEY} without colon", f"{KEY}: {KEY}"),
        http_answer(order_json(number=KEY), f"Content-Type: {KEY}"),
        f"HTTP/1.1 {KEY}\r\n\r\n".encode(),
        f"{KEY}\r\n\r\n".encode(),
        f"HTTP/1.1 200 OK\r\nContent-Length: {KEY}\r\n\r\n".encode(),
        f"HTTP/1.1 200 OK\r\nContent-Encoding: {KEY}\r\n\r\n".encode(),
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{KEY}\r\n".encode(),
        f"HTTP/1.1 200 OK\r\nContent-Length: 1, 2 {KEY}\r\n\r\n".encode(),
        b"",
    ],
)
def test_the_key_is_in_no_error_and_no_log(answer, caplog, capfd):
    caplog.set_level(logging.DEBUG)

    def script(connection):
        connection.read_request()
        connection.send(answer)

    with Server(script) as server:
        error = failure(Client(api_key=KEY, api_url=server.url))
    for duplicate in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert_holds_no_key(duplicate)
    assert KEY.encode() in server.requests[0]
    for text in (caplog.text, *capfd.readouterr()):
        assert KEY.lower() not in text.lower()


def test_a_malformed_header_is_no_reason_to_fail(caplog):
    """Proxies add strange headers. Only the answer counts."""
    answer = http_answer(order_json(), "no colon", status="200 OK")
    with Server(always(answer)) as server:
        assert Client(api_key=KEY, api_url=server.url).remove_order("1001").number == "1001"
    assert not caplog.records
