import copy
import html
import json
import logging
import pickle
import subprocess
import sys
import threading
import traceback
import types
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime

import pytest
import requests
import responses
from django.views.debug import ExceptionReporter
from hypothesis import given
from hypothesis import strategies as st

from komfortkasse_django import __version__
from komfortkasse_django import client as client_module
from komfortkasse_django.api import exchange
from komfortkasse_django.client import Client
from komfortkasse_django.exceptions import (
    AuthenticationFailed,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidRequest,
    KomfortkasseError,
    OrderNotFound,
    ServiceUnavailable,
    UnexpectedAnswer,
)
from komfortkasse_django.schema import PaymentStatus
from tests.support.examples import examples
from tests.support.loopback import ORDER, Server, always, http_answer, order_json

KEY = "Key-Of/The+Shop"
URL = "https://komfortkasse.test/api/v2"
ORDER_URL = f"{URL}/order/remove/1001"


@pytest.fixture
def client():
    return Client(api_key=KEY, api_url=URL)


@pytest.fixture
def komfortkasse():
    """Answer in Komfortkasse's place; any other request fails the test."""
    with responses.RequestsMock() as mock:
        yield mock


def reachable(error):
    """Yield all texts that hang on an exception, the package's frames included."""
    seen = set()
    stack = [error]
    while stack:
        value = stack.pop()
        if id(value) in seen or isinstance(value, (type, types.ModuleType, types.FunctionType)):
            continue
        seen.add(id(value))
        if isinstance(value, (str, bytes)):
            yield value if isinstance(value, str) else value.decode("latin-1")
        elif isinstance(value, dict):
            stack += [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple, set, frozenset)):
            stack += value
        elif isinstance(value, types.TracebackType):
            if "komfortkasse_django/" in value.tb_frame.f_code.co_filename:
                stack.append(value.tb_frame.f_locals)
            stack.append(value.tb_next)
        else:
            yield repr(value)
            stack.append(getattr(value, "__dict__", None))
            stack += [getattr(value, slot, None) for slot in getattr(type(value), "__slots__", ())]
            if isinstance(value, BaseException):
                stack += [value.args, value.__cause__, value.__context__, value.__traceback__]


def assert_holds_no_key(error, key=KEY):
    for text in [*reachable(error), str(error), repr(error), pickle.dumps(error).decode("latin-1")]:
        assert key.lower() not in text.lower()


def failure(client, number="1001", **kwargs):
    """Return the error of a removal that must fail, checked for what none may hold."""
    with pytest.raises(KomfortkasseError) as caught:
        client.remove_order(number, **kwargs)
    error = caught.value
    assert error.__context__ is None
    assert error.__cause__ is None
    assert_holds_no_key(error)
    return error


# The request


def test_sends_what_the_contract_asks_for(client, komfortkasse):
    komfortkasse.post(ORDER_URL, body=order_json())
    client.remove_order("1001")
    (call,) = komfortkasse.calls
    assert call.request.url == ORDER_URL
    assert call.request.body is None
    assert call.request.headers == {
        "X-Komfortkasse-API-Key": KEY,
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": f"komfortkasse_django/{__version__}",
        "Content-Length": "0",
    }


def test_returns_the_order(client, komfortkasse):
    komfortkasse.post(ORDER_URL, body=order_json(amountPaid=5.5))
    order = client.remove_order("1001")
    assert order.number == "1001"
    assert order.payment_status is PaymentStatus.DISAPPEARED
    assert order.amount == Decimal("22.38")
    assert order.amount_paid == Decimal("5.5")


FLAGS = {
    "include_postings": "includePostings",
    "include_collection_history": "includeCollectionHistory",
    "include_payment_reminders": "includePaymentReminders",
    "include_refunds": "includeRefunds",
}


@pytest.mark.parametrize("flag", FLAGS)
def test_asks_for_each_list(flag, client, komfortkasse):
    komfortkasse.post(ORDER_URL, body=order_json())
    client.remove_order("1001", **{flag: True})
    client.remove_order("1001", **{flag: False})
    assert [call.request.url for call in komfortkasse.calls] == [
        f"{ORDER_URL}?{FLAGS[flag]}=true",
        ORDER_URL,
    ]


def test_asks_for_all_lists(client, komfortkasse):
    komfortkasse.post(ORDER_URL, body=order_json())
    client.remove_order("1001", **dict.fromkeys(FLAGS, True))
    query = "&".join(f"{name}=true" for name in FLAGS.values())
    assert komfortkasse.calls[0].request.url == f"{ORDER_URL}?{query}"


SEGMENTS = [
    ("1001", "1001"),
    ("a/b", "a%2Fb"),
    ("a b+c", "a%20b%2Bc"),
    ("100%", "100%25"),
    ("%2E", "%252E"),
    ("?x=1#y", "%3Fx%3D1%23y"),
    ("Ä€", "%C3%84%E2%82%AC"),
    (".", "%2E"),
    ("..", "%2E%2E"),
    ("...", "..."),
    ("1.5", "1.5"),
    ("../x", "..%2Fx"),
    (" ", "%20"),
    ("\r\nX: y", "%0D%0AX%3A%20y"),
    ("0", "0"),
    ("9" * 255, "9" * 255),
]


@pytest.mark.parametrize(("number", "segment"), SEGMENTS)
def test_the_number_is_one_segment_of_the_path(number, segment):
    with Server(always(http_answer(order_json(number=number)))) as server:
        assert Client(api_key=KEY, api_url=server.url).remove_order(number).number == number
    (request,) = server.requests
    assert request.split(b"\r\n")[0].decode() == f"POST /api/v2/order/remove/{segment} HTTP/1.1"


@pytest.mark.parametrize("number", ["", "9" * 256, "\ud800"])
def test_refuses_an_unusable_number(number, client):
    with pytest.raises(ValueError, match="order number"):
        client.remove_order(number)


@pytest.mark.parametrize("number", [1001, None, b"1001"])
def test_refuses_what_is_no_str(number, client):
    with pytest.raises(TypeError, match="must be a str"):
        client.remove_order(number)


# The constructor


@pytest.mark.parametrize(
    "key",
    ["", " secret", "secret\n", "sec\nret", "sec\x00ret", "secret€", "\tsecret", "sec\x7fret"],
)
def test_an_unusable_key_is_not_shown(key):
    with pytest.raises(ValueError, match="api_key must be") as caught:
        Client(api_key=key)
    if key:
        assert_holds_no_key(caught.value, key)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", [None, 7, b"key"])
def test_a_key_is_a_str(key):
    with pytest.raises(ValueError, match="api_key must be"):
        Client(api_key=key)


def test_a_latin_1_key_is_sent():
    with Server(always(http_answer(order_json()))) as server:
        Client(api_key="schlüssel 1", api_url=server.url).remove_order("1001")
    assert b"X-Komfortkasse-API-Key: schl\xfcssel 1\r\n" in server.requests[0]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ssl.komfortkasse.eu/api/v2",
        "ftp://komfortkasse.test",
        "https://",
        "https:///api",
        "https://user:password@komfortkasse.test",
        "https://komfortkasse.test/api?x=1",
        "https://komfortkasse.test/api#x",
        "https://komfortkasse.test:0/api",
        "https://komfortkasse.test:99999/api",
        "https://komfortkasse.test:port/api",
        "https://[::1/api",
        "https://komfortkasse.test/a b",
        "https://komfortkasse.test/\n",
        "https://komfortkasse.test\\api",
        None,
        7,
    ],
)
def test_refuses_an_unusable_url(url):
    with pytest.raises(ValueError, match=r"api_url must be .* like https://ssl\.komfort") as caught:
        Client(api_key=KEY, api_url=url)
    assert "password" not in str(caught.value)


def test_default_url():
    with responses.RequestsMock() as mock:
        mock.post("https://ssl.komfortkasse.eu/api/v2/order/remove/1001", body=order_json())
        Client(api_key=KEY).remove_order("1001")


def test_a_slash_at_the_end_of_the_url_does_not_matter(komfortkasse):
    komfortkasse.post(ORDER_URL, body=order_json())
    Client(api_key=KEY, api_url=f"{URL}/").remove_order("1001")


@pytest.mark.parametrize("deadline", [0, -1, float("nan"), float("inf"), 86_401, "10", None])
def test_refuses_an_unusable_deadline(deadline, client):
    with pytest.raises(ValueError, match="deadline must be"):
        Client(api_key=KEY, deadline=deadline)
    if deadline is not None:
        with pytest.raises(ValueError, match="deadline must be"):
            client.remove_order("1001", deadline=deadline)


@pytest.mark.parametrize(
    ("own", "of_call", "used"), [(10, None, 10), (10, 3, 3), (3, 10, 3), (0.5, 0.25, 0.25)]
)
def test_the_shorter_deadline_counts(own, of_call, used, komfortkasse):
    komfortkasse.post(ORDER_URL, body=order_json())
    Client(api_key=KEY, api_url=URL, deadline=own).remove_order("1001", deadline=of_call)
    timeout = komfortkasse.calls[0].request.req_kwargs["timeout"]
    assert used - 0.2 < timeout.total <= used


def test_repr_shows_the_url_and_not_the_key(client):
    assert repr(client) == f"<Client {URL}>"


def test_importing_the_client_does_not_import_requests():
    program = (
        "import sys, komfortkasse_django.client as c; c.Client(api_key='k');"
        "sys.exit('requests' in sys.modules or 'urllib3' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)


# What an answer means


def error_json(error="Went wrong"):
    return json.dumps({"error": error}).encode()


STATUSES_OF_TROUBLE = [408, 425, 429, 500, 501, 502, 503, 504, 520, 599]
STATUSES_OF_CLIENT = sorted(set(range(400, 500)) - {401, 403, 404, *STATUSES_OF_TROUBLE})


@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        *((status, InvalidRequest) for status in STATUSES_OF_CLIENT),
        (401, AuthenticationFailed),
        (403, AuthenticationFailed),
        (404, OrderNotFound),
        *((status, ServiceUnavailable) for status in STATUSES_OF_TROUBLE),
        *((status, UnexpectedAnswer) for status in (201, 202, 206, 299, 300, 399, 600)),
    ],
)
def test_an_answer_with_the_error_of_the_contract(status, error_class, client, komfortkasse):
    komfortkasse.post(ORDER_URL, body=error_json(), status=status)
    error = failure(client)
    assert type(error) is error_class
    assert error.status == status
    assert f"HTTP {status}" in str(error)
    assert "Went wrong" in str(error)


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_can_have_no_body(status, client, komfortkasse):
    komfortkasse.post(ORDER_URL, status=status)
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
def test_an_answer_without_the_error_of_the_contract(
    status, error_class, body, client, komfortkasse
):
    komfortkasse.post(ORDER_URL, body=body, status=status, content_type="text/html")
    error = failure(client)
    assert type(error) is error_class
    assert error.status == status
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    "body",
    [
        order_json(number="1002"),
        order_json(number=1001),
        order_json(number=None),
        order_json(number="1001 "),
        order_json(number=["1001"]),
        order_json(date="25.04.2018"),
        order_json(billing=None),
        order_json()[:-1],
        order_json() + b"x",
        b"[" + order_json() + b"]",
        order_json().replace(b"{", b'{"number": "1001",', 1),
        b"<html>Welcome to the hotel</html>",
        error_json(),
        b"[" * 100_000,
    ],
)
def test_a_200_that_does_not_confirm_the_removal(body, client, komfortkasse):
    komfortkasse.post(ORDER_URL, body=body)
    error = failure(client)
    assert type(error) is UnexpectedAnswer
    assert error.status == 200
    for personal in ("Mustermann", "1002", "K1234A", "hotel"):
        assert personal not in "".join(reachable(error))


def test_a_200_names_the_attribute_that_is_missing(client, komfortkasse):
    komfortkasse.post(ORDER_URL, body=order_json(amount=None))
    assert "amount" in str(failure(client))


def test_content_type_does_not_matter(client, komfortkasse):
    komfortkasse.post(ORDER_URL, body=order_json(), content_type="text/html")
    assert client.remove_order("1001").number == "1001"


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://evil.test/path?q=1", " to https://evil.test"),
        ("http://EVIL.test:8080/secret", " to http://evil.test"),
        ("https://secret:secret@evil.test/", " to https://evil.test"),
        (f"https://{KEY[:6]}.evil.test/{KEY}", " to https://key-of.evil.test"),
        ("/secret", ""),
        ("//evil.test/secret", ""),
        ("", ""),
        ("https://[secret", ""),
        ("mailto:secret", ""),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status, location, shown, client, komfortkasse):
    komfortkasse.post(ORDER_URL, status=status, headers={"Location": location})
    error = failure(client)
    assert type(error) is UnexpectedAnswer
    assert error.status == status
    assert f"redirected{shown}, which" in str(error)
    assert "secret" not in str(error)
    assert len(komfortkasse.calls) == 1


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
        ("Wed, 21 Oct 2015 07:28:00", 0),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 -99999999999999999999", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after(status, header, seconds, client, komfortkasse):
    komfortkasse.post(ORDER_URL, status=status, headers={"Retry-After": header})
    assert failure(client).retry_after == seconds


def test_retry_after_a_date(client, komfortkasse):
    header = format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True)
    komfortkasse.post(ORDER_URL, status=503, headers={"Retry-After": header})
    assert 295 < failure(client).retry_after <= 300


def test_no_retry_after(client, komfortkasse):
    komfortkasse.post(ORDER_URL, status=503)
    assert failure(client).retry_after is None


@examples(200)
@given(st.text(max_size=40) | st.dates().map(str) | st.integers().map(str))
def test_no_retry_after_is_trouble(header):
    seconds = client_module._seconds(header)
    assert seconds is None or seconds >= 0


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
def test_no_answer(error, error_class, client, komfortkasse):
    komfortkasse.post(ORDER_URL, body=error)
    error = failure(client)
    assert type(error) is error_class
    assert error.status is None
    assert "secret" not in str(error)
    assert len(komfortkasse.calls) == 1


@pytest.mark.parametrize("host", ["*.test", ".test", "a" * 70 + ".test", "xn--\u2603.test"])
def test_a_host_that_cannot_be(host):
    error = failure(Client(api_key=KEY, api_url=f"http://{host}/api"))
    assert type(error) is ConnectionFailed


def test_a_header_that_cannot_be_sent_is_an_error_without_it(monkeypatch):
    """Were a key let through that requests refuses, its message would show it."""
    monkeypatch.setattr(client_module, "_problem_of_key", lambda _key: "")
    error = failure(Client(api_key=f" {KEY}\n", api_url=URL))
    assert type(error) is ConnectionFailed


def test_other_errors_are_not_swallowed(client, komfortkasse):
    """A task engine ends a task by raising in the middle of what it does."""

    class SoftTimeLimit(Exception):  # noqa: N818
        pass

    komfortkasse.post(ORDER_URL, body=SoftTimeLimit())
    with pytest.raises(SoftTimeLimit):
        client.remove_order("1001")


# What an error may say


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
def test_the_servers_words_are_made_harmless(status, text, shown, client, komfortkasse):
    komfortkasse.post(ORDER_URL, body=error_json(text), status=status)
    assert str(failure(client)).endswith(f"(HTTP {status}: {shown})")


def test_a_key_with_spaces_is_redacted_however_it_is_broken(komfortkasse):
    client = Client(api_key="two  words", api_url=URL)
    komfortkasse.post(ORDER_URL, body=error_json("two  words, two  words"), status=400)
    assert str(failure(client)).endswith(": ***, ***)")
    client = Client(api_key="two words", api_url=URL)
    komfortkasse.replace("POST", ORDER_URL, body=error_json("two\nwords"), status=400)
    assert str(failure(client)).endswith(": ***)")


@pytest.mark.parametrize("place", ["read_object", "_harmless", "_error_text", "_refusal"])
def test_a_report_of_an_unforeseen_error_shows_no_key(place, client, komfortkasse, monkeypatch):
    """It shows the variables of each frame."""
    monkeypatch.setattr(client_module, place, lambda *arguments: {}["unforeseen"])
    komfortkasse.post(ORDER_URL, body=error_json("No"), status=400)

    with pytest.raises(KeyError) as caught:
        client.remove_order("1001")

    report = ExceptionReporter(None, caught.type, caught.value, caught.tb)
    for text in (report.get_traceback_html(), report.get_traceback_text()):
        assert "unforeseen" in text
        assert KEY not in html.unescape(text)


def test_a_report_of_an_unforeseen_error_on_the_way_shows_no_key(monkeypatch):
    """The frames of requests hold the request, and those of http.client what is sent of it."""

    def request(*arguments, **headers):
        try:
            return {}["unforeseen"]
        except KeyError as error:
            raise RuntimeError("can't start new thread") from error

    monkeypatch.setattr(exchange._HTTPConnection, "request", request)

    with pytest.raises(RuntimeError) as caught:
        Client(api_key=KEY, api_url="http://localhost").remove_order("1001")

    report = ExceptionReporter(None, caught.type, caught.value, caught.tb)
    for text in (report.get_traceback_html(), report.get_traceback_text()):
        assert "can't start new thread" in html.unescape(text)
        assert KEY not in html.unescape(text)
    # Where it happened is told all the same.
    assert 'raise RuntimeError("can\'t start new thread") from error' in "".join(
        traceback.format_exception(caught.value)
    )


def test_only_the_error_of_a_body_is_repeated(client, komfortkasse):
    body = json.dumps({"error": "No", "order": ORDER}).encode()
    for status in (400, 401, 404, 500):
        komfortkasse.post(ORDER_URL, body=body, status=status)
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
    """Boxes in between add strange headers; the answer counts."""
    answer = http_answer(order_json(), "no colon", status="200 OK")
    with Server(always(answer)) as server:
        assert Client(api_key=KEY, api_url=server.url).remove_order("1001").number == "1001"
    assert not caplog.records


def test_an_error_of_the_number_holds_no_body(client):
    with pytest.raises(ValueError, match="number") as caught:
        client.remove_order("")
    assert caught.value.__context__ is None


# Connections


def test_a_thread_reuses_its_connection_and_shares_none():
    ready = threading.Barrier(3)
    with Server(always(http_answer(order_json()))) as server:
        client = Client(api_key=KEY, api_url=server.url)

        def work():
            client.remove_order("1001")
            ready.wait(5)
            for _ in range(4):
                client.remove_order("1001")

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(server.requests) == 15
        assert server.connections == 3


def test_errors_of_the_contract_keep_the_connection():
    def script(connection):
        for status in (400, 401, 404, 429, 503, 200):
            connection.read_request()
            body = order_json() if status == 200 else error_json()
            connection.send(http_answer(body, status=f"{status} X"))

    with Server(script) as server:
        client = Client(api_key=KEY, api_url=server.url)
        for status in (400, 401, 404, 429, 503):
            assert failure(client).status == status
        client.remove_order("1001")
        assert server.connections == 1


def test_two_clients_share_nothing():
    with Server(always(http_answer(order_json()))) as server:
        for key in ("first", "second"):
            Client(api_key=key, api_url=server.url).remove_order("1001")
    first, second = server.requests
    assert b": first\r\n" in first
    assert b": second\r\n" in second


def test_cookies_are_neither_kept_nor_sent():
    with Server(always(http_answer(order_json(), "Set-Cookie: a=b; Path=/"))) as server:
        client = Client(api_key=KEY, api_url=server.url)
        for _ in range(2):
            client.remove_order("1001")
        assert not client._local.session.cookies
    assert b"cookie" not in server.requests[1].lower()


def test_netrc_is_not_used(tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password something\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with Server(always(http_answer(order_json()))) as server:
        Client(api_key=KEY, api_url=server.url).remove_order("1001")
    assert b"authorization" not in server.requests[0].lower()


def test_the_proxy_of_the_environment_is_used(monkeypatch):
    with Server(always(http_answer(order_json()))) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:pass@localhost:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        client = Client(api_key=KEY, api_url="http://komfortkasse.test/api/v2")
        for _ in range(2):
            client.remove_order("1001")
        assert proxy.connections == 1
    assert proxy.requests[0].startswith(
        b"POST http://komfortkasse.test/api/v2/order/remove/1001 HTTP/1.1\r\n"
    )
    assert b"Proxy-Authorization: Basic " in proxy.requests[0]


def test_a_socks_proxy_is_left_to_urllib3(monkeypatch):
    """Our own connections would bypass it."""
    monkeypatch.setenv("ALL_PROXY", "socks5://localhost:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Server(always(http_answer(order_json()))) as server:
        assert type(failure(Client(api_key=KEY, api_url=server.url))) is ConnectionFailed
        assert server.connections == 0
