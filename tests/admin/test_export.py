"""Removals as a CSV file."""

import csv
import tracemalloc
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone, translation

from komfortkasse_django.admin import export
from komfortkasse_django.models import RemovedOrder
from tests.support.mirror_pages import LIST, text
from tests.support.staff import make_staff

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


@pytest.fixture
def reader():
    return make_staff("komfortkasse_django.view_removedorder")


def download(client, *rows: RemovedOrder, query: str = "", language: str = "en", **data: str):
    keys = [row.pk for row in rows]
    return client.post(
        reverse(LIST) + query,
        {"action": "export", "_selected_action": keys, **data},
        headers={"accept-language": language},
    )


def table(response, delimiter: str = ",") -> list[dict[str, str]]:
    content = response.getvalue().decode()
    assert content.startswith("\N{BYTE ORDER MARK}")
    return list(csv.DictReader(StringIO(content[1:]), delimiter=delimiter))


def test_has_what_a_bookkeeper_needs(reader, make, settings):
    settings.TIME_ZONE = "Europe/Berlin"
    row = make(
        reference_number="K1001A",
        payment_status="PAID",
        amount=Decimal("1234.50"),
        amount_paid=Decimal("1234.50"),
        currency="EUR",
        created_at=datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
        finished_at=datetime(2026, 7, 1, 12, 31, tzinfo=UTC),
        settled_at=datetime(2026, 7, 2, 23, 59, tzinfo=UTC),
    )

    response = download(reader, row)

    assert response["Content-Type"] == "text/csv; charset=utf-8"
    name = f"komfortkasse-{timezone.localdate().isoformat()}.csv"
    assert response["Content-Disposition"] == f'attachment; filename="{name}"'
    assert table(response) == [
        {
            "Order number": "1001",
            "Shop": "default",
            "Reference number": "K1001A",
            "State": "removed",
            "Payment status": "Paid",
            "Amount": "1234.50",
            "Amount paid": "1234.50",
            "Currency": "EUR",
            "Requested at": "2026-03-01 13:30",
            "Finished at": "2026-07-01 14:31",
            "Settled at": "2026-07-03 01:59",
            "To do": "",
        }
    ]


def test_in_german(reader, make):
    row = make(amount=Decimal("1234.50"), amount_paid=Decimal(-1), currency="EUR", dunning_level=1)

    response = download(reader, row, language="de")
    with translation.override("en"):  # the file is sent when the view has ended
        [line] = table(response, delimiter=";")

    assert line["Bestellnummer"] == "1001"
    assert line["Status"] == "entfernt"
    assert (line["Betrag"], line["Bezahlter Betrag"]) == ("1234,50", "-1,00")


def test_says_what_is_to_do(reader, make):
    row = make(amount_paid=Decimal(5), currency="EUR", collection_partner="Inkasso Nord")

    [line] = table(download(reader, row))

    assert line["To do"] == "refund 5.00\N{NO-BREAK SPACE}EUR at a collection agency"
    assert line["Settled at"] == ""


@pytest.mark.parametrize(
    "begin", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"]
)
def test_no_text_is_a_formula(reader, make, begin):
    evil = f'{begin}HYPERLINK("https://evil.test";"1")'
    row = make(
        order_number=evil,
        shop=evil,
        state="odd",
        reference_number=evil,
        payment_status=evil,
        currency=evil[:16],
    )

    content = download(reader, row).getvalue().decode()[1:]

    [_headings, cells] = csv.reader(StringIO(content, newline=""))
    assert not [cell for cell in cells if cell.startswith(begin)]
    assert cells[0] == f"'{evil}"


def test_quotes_what_would_be_another_cell(reader, make):
    row = make(order_number='1,2;"3"\n4')

    [line] = table(download(reader, row))

    assert line["Order number"] == '1,2;"3"\n4'


def test_the_selected_ones_oldest_first(reader, make):
    rows = [make(order_number=number) for number in "ABC"]

    lines = table(download(reader, rows[2], rows[0]))

    assert [line["Order number"] for line in lines] == ["A", "C"]


@pytest.mark.parametrize("count", [0, 3, 4, 5])
def test_all_pages_of_a_filter(reader, make, monkeypatch, count):
    monkeypatch.setattr(export, "_CHUNK", 2)
    first = make(order_number="first", state="failed")
    for number in range(count):
        make(order_number=str(number), state="failed")
    make(order_number="other")

    response = download(reader, first, query="?state__exact=failed", select_across="1")

    lines = table(response)
    assert [line["Order number"] for line in lines] == ["first", *map(str, range(count))]


def test_has_few_rows_in_memory(reader, make):
    """Ten times as many rows take as much memory."""
    peaks = []
    first = make()
    for count in (1000, 10_000):
        RemovedOrder.objects.record("default", ["x" * 100] * count, requested_via="code")
        response = download(reader, first, select_across="1")
        tracemalloc.start()
        for _part in response.streaming_content:
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0]


def test_asks_the_database_once_a_thousand_rows(reader, make):
    first = make()
    RemovedOrder.objects.record("default", ["1"] * 1999, requested_via="code")
    response = download(reader, first, select_across="1")

    with CaptureQueriesContext(connection) as queries:
        assert len(table(response)) == 2000
    assert len(queries) == 3


def test_needs_only_to_see(make):
    staff = make_staff("komfortkasse_django.view_removedorder")

    assert 'value="export"' in text(staff.get(reverse(LIST)))


def test_needs_to_see(make):
    row = make()

    assert download(make_staff("komfortkasse_django.remove_order"), row).status_code == 403
