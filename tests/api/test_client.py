import subprocess
import sys
from decimal import Decimal

import pytest
import responses

from komfortkasse_django import __version__
from komfortkasse_django.client import Client
from komfortkasse_django.schema import PaymentStatus
from tests.support.calls import KEY, ORDER_URL, URL, assert_holds_no_key
from tests.support.loopback import Server, always, http_answer, order_json


def test_sends_what_the_contract_asks_for(client, service):
    service.post(ORDER_URL, body=order_json())
    client.remove_order("1001")
    (call,) = service.calls
    assert call.request.url == ORDER_URL
    assert call.request.body is None
    assert call.request.headers == {
        "X-Komfortkasse-API-Key": KEY,
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": f"komfortkasse_django/{__version__}",
        "Content-Length": "0",
    }


def test_returns_the_order(client, service):
    service.post(ORDER_URL, body=order_json(amountPaid=5.5))
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
def test_asks_for_each_list(flag, client, service):
    service.post(ORDER_URL, body=order_json())
    client.remove_order("1001", **{flag: True})
    client.remove_order("1001", **{flag: False})
    assert [call.request.url for call in service.calls] == [
        f"{ORDER_URL}?{FLAGS[flag]}=true",
        ORDER_URL,
    ]


def test_asks_for_all_lists(client, service):
    service.post(ORDER_URL, body=order_json())
    client.remove_order("1001", **dict.fromkeys(FLAGS, True))
    query = "&".join(f"{name}=true" for name in FLAGS.values())
    assert service.calls[0].request.url == f"{ORDER_URL}?{query}"


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


@pytest.mark.parametrize("number", ["", "9" * 256, "\ud800", "a\0b"])
def test_refuses_an_unusable_number(number, client):
    with pytest.raises(ValueError, match="order number"):
        client.remove_order(number)


@pytest.mark.parametrize("number", [1001, None, b"1001"])
def test_refuses_what_is_no_str(number, client):
    with pytest.raises(TypeError, match="must be a str"):
        client.remove_order(number)


@pytest.mark.parametrize(
    "key",
    [
        "",
        " secret",
        "secret\n",
        "sec\nret",
        "sec\x00ret",
        "secret€",
        "\tsecret",
        "sec\x7fret",
        "secret secret",
        "sécret",
        None,
        7,
        b"secret",
    ],
)
def test_an_unusable_key_is_not_shown(key):
    with pytest.raises(ValueError, match="api_key must be") as caught:
        Client(api_key=key)
    if key and isinstance(key, str):
        assert_holds_no_key(caught.value, key)
    assert "secret" not in str(caught.value)


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
        "https://kömfortkasse.test/api",
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


def test_a_slash_at_the_end_of_the_url_does_not_matter(service):
    service.post(ORDER_URL, body=order_json())
    Client(api_key=KEY, api_url=f"{URL}/").remove_order("1001")


@pytest.mark.parametrize(
    "deadline", [0, -1, float("nan"), float("inf"), 86_401, 10**400, True, "10", None]
)
def test_refuses_an_unusable_deadline(deadline, client):
    with pytest.raises(ValueError, match="deadline must be"):
        Client(api_key=KEY, deadline=deadline)
    if deadline is not None:
        with pytest.raises(ValueError, match="deadline must be"):
            client.remove_order("1001", deadline=deadline)


@pytest.mark.parametrize(
    ("own", "of_call", "used"), [(10, None, 10), (10, 3, 3), (3, 10, 3), (0.5, 0.25, 0.25)]
)
def test_the_shorter_deadline_counts(own, of_call, used, service):
    service.post(ORDER_URL, body=order_json())
    Client(api_key=KEY, api_url=URL, deadline=own).remove_order("1001", deadline=of_call)
    timeout = service.calls[0].request.req_kwargs["timeout"]
    assert used - 0.2 < timeout.total <= used


def test_repr_does_not_show_the_key(client):
    assert KEY not in repr(client)


def test_importing_the_client_does_not_import_requests():
    program = (
        "import sys, komfortkasse_django.client as c; c.Client(api_key='k');"
        "sys.exit('requests' in sys.modules or 'urllib3' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)


def test_an_error_of_the_number_holds_no_body(client):
    with pytest.raises(ValueError, match="number") as caught:
        client.remove_order("")
    assert caught.value.__context__ is None
