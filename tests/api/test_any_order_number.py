"""Any order number stays unchanged: in the database, in the URL, and on the pages of the admin."""

from html.parser import HTMLParser
from urllib.parse import unquote_to_bytes

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse
from django.utils.text import normalize_newlines
from hypothesis import example, given
from hypothesis import strategies as st

from komfortkasse_django.client import Client
from komfortkasse_django.exceptions import OrderNotFound
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue.pushing import push
from komfortkasse_django.removals import remove
from tests.shop.models import Order
from tests.support.examples import examples
from tests.support.loopback import Server, always, http_answer

pytestmark = pytest.mark.django_db(transaction=True)

PARTS = [*"/.%+?#&;=\\'\"<>éßİ😀 \n\r\t\x7f\u202e\ufeff_*-aA"]
PARTS += ["//", "..", "%2F", "%00", "<script>", "</td>", "{{", "{%", "e\u0301", "100%", "None"]

characters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
numbers = (
    st.lists(st.sampled_from(PARTS) | characters, min_size=1, max_size=12).map("".join)
    | st.text(characters, min_size=1, max_size=255)
    | st.integers(0, 10**20).map(str)
).filter(str.strip)


def as_it_is(test):
    """Try numbers that once made trouble, then any number."""
    for number in (".", "..", "a/b", "%2F", "a b ", " a", "<b>&amp;", "é😀", "x" * 255, "😀" * 255):
        test = example(number=number)(test)
    return given(number=numbers)(test)


@pytest.fixture(scope="module")
def server():
    """Answers every request with the contract's 404, and keeps the connection."""
    answer = http_answer(b'{"error": "Order not found"}', status="404 Not Found")
    with Server(always(answer)) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    return Client(api_key="key-of-the-tests", api_url=server.url)


@examples(200)
@as_it_is
def test_a_server_reads_it_from_one_segment_of_the_path(server, client, number):
    with pytest.raises(OrderNotFound):
        client.remove_order(number)

    method, target, version = server.requests.pop().split(b"\r\n")[0].split(b" ")
    assert (method, version) == (b"POST", b"HTTP/1.1")
    *path, segment = target.split(b"/")
    assert path == [b"", b"api", b"v2", b"order", b"remove"]
    # No other part of a URL, and no step to another folder.
    assert not set(b"?#;") & set(segment)
    assert segment not in {b".", b".."}
    assert unquote_to_bytes(segment).decode() == number


@examples(80)
@as_it_is
def test_it_is_recorded_told_and_recognised(komfortkasse, number):
    RemovedOrder.objects.all().delete()
    komfortkasse.numbers.clear()
    komfortkasse.answer = None

    Order.objects.create(number=number).delete()

    assert komfortkasse.numbers == [number]
    row = RemovedOrder.objects.get()
    assert (row.order_number, row.state) == (number, "removed")

    # Deleted again, and in use again before the removal could be sent.
    komfortkasse.answer = ConnectionError()
    order = Order.objects.create(number=number)
    order.delete()
    order.save()
    RemovedOrder.objects.retry()
    assert push().states == {"superseded": 1}

    # A removal by number is always sent.
    komfortkasse.answer = None
    [row] = remove(number)
    assert (row.order_number, row.state) == (number, "removed")
    assert komfortkasse.numbers == [number] * 3
    Order.objects.all()._raw_delete("default")


class Page(HTMLParser):
    """The text of a page, and its structure."""

    def __init__(self, response) -> None:
        super().__init__()
        assert response.status_code == 200
        self.text = ""
        self.structure: list[tuple[str, list[str]]] = []
        self.feed(response.content.decode())
        self.close()

    def handle_starttag(self, tag, attributes) -> None:
        if tag == "br":  # Django's replacement for a line break
            self.text += "\n"
            return
        self.structure.append((tag, [name for name, _ in attributes]))

    def handle_endtag(self, tag) -> None:
        self.structure.append((f"/{tag}", []))

    def handle_comment(self, data) -> None:
        self.structure.append(("comment", []))

    def handle_data(self, data) -> None:
        self.text += data


@pytest.fixture
def browser():
    browser = Browser()
    browser.force_login(User.objects.create_superuser("staff"))
    return browser


@pytest.fixture
def pages(browser, komfortkasse):
    """The pages of the admin that show an order number, each with a heading."""

    def pages(number: str) -> dict[str, Page]:
        order = Order.objects.create(number=number)
        [row] = remove(number)
        mirror = "admin:komfortkasse_django_removedorder"
        removal = reverse("admin:shop_order_remove_from_komfortkasse", args=[order.pk])
        found = {
            "list": browser.get(reverse(f"{mirror}_changelist")),
            "search": browser.get(reverse(f"{mirror}_changelist"), {"q": number}),
            "detail": browser.get(reverse(f"{mirror}_change", args=[row.pk])),
            "confirmation": browser.get(removal),
        }
        Order.objects.all()._raw_delete("default")
        RemovedOrder.objects.all().delete()
        return {name: Page(response) for name, response in found.items()}

    return pages


def test_the_admin_shows_and_finds_it_and_takes_nothing_in_it_for_markup(pages):
    harmless = pages("1001")

    @examples(25)
    @as_it_is
    def as_text(number):
        for name, page in pages(number).items():
            # Django 6.1 removes the spaces around it. No browser shows them.
            shown = normalize_newlines(number.strip())
            assert shown in normalize_newlines(page.text), name
            assert page.structure == harmless[name].structure, name

    as_text()
