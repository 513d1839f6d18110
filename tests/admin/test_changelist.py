"""The head of the mirror's list, and its filters."""

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from komfortkasse_django.admin.removed_orders import BoundedPaginator
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet, ShopState
from komfortkasse_django.reports import status as overview
from komfortkasse_django.schema import PaymentStatus
from tests.support.mirror_pages import LIST, ahead, listed, text

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

NBSP = "\N{NO-BREAK SPACE}"


class TestFilters:
    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({"state": "pending"}, ["late", "soon", "new", "vain", "astray"]),
            ({"state": "overdue"}, ["late", "vain", "astray"]),
            ({"state": "removed"}, ["refund", "odd"]),
            ({"state": "failed"}, ["failed"]),
            ({"payment_status": "PAID"}, ["refund"]),
            ({"payment_status": "other"}, ["odd"]),
            ({"received": "yes"}, ["refund"]),
            ({"requested_via": "admin"}, ["odd"]),
            ({"shop": "gone"}, ["failed"]),
            ({"state": "removed", "payment_status": "PAID"}, ["refund"]),
            ({}, ["failed", "refund", "odd", "astray", "vain", "soon", "late", "new"]),
        ],
    )
    def test_find(self, staff, make, query, found):
        make(order_number="new", state="pending", next_attempt_at=ahead(minutes=9))
        make(order_number="late", state="pending", next_attempt_at=ahead(minutes=-61))
        make(order_number="soon", state="pending", next_attempt_at=ahead(minutes=-59))
        make(
            order_number="vain",
            state="pending",
            created_at=ahead(days=-1, minutes=-1),
            next_attempt_at=ahead(minutes=50),
        )
        make(order_number="astray", state="pending", next_attempt_at=ahead(days=1, minutes=1))
        make(order_number="odd", payment_status="PLANNED", requested_via="admin")
        make(order_number="refund", payment_status="PAID", amount_paid=1)
        make(order_number="failed", state="failed", shop="gone", amount_paid=0)

        assert listed(staff, **query) == found

    def test_offer_all_there_is(self, staff):
        filters = {
            spec.parameter_name: [value for value, _label in spec.lookup_choices]
            for spec in staff.get(reverse(LIST)).context["cl"].filter_specs
        }

        assert filters == {
            "state": ["pending", "overdue", "removed", "unknown", "superseded", "failed"],
            "payment_status": [*PaymentStatus.values, "other"],
            "received": ["yes"],
            "requested_via": RemovedOrder.RequestedVia.values,
        }

    def test_are_not_counted(self, staff):
        assert "Show counts" not in text(staff.get(reverse(LIST)))


class TestBounds:
    """A million rows are counted once, by the overview, and never for the list."""

    @pytest.fixture(autouse=True)
    def _few(self, monkeypatch, make):
        monkeypatch.setattr(BoundedPaginator, "MOST", 3)
        for number in ("1001", "1002", "1003"):
            make(order_number=number)

    def test_at_the_bound(self, staff):
        page = staff.get(reverse(LIST))

        assert "3 removed orders" in text(page)
        assert "Only the first" not in text(page)

    def test_beyond_the_bound(self, staff, make):
        make(order_number="1004")

        page = staff.get(reverse(LIST))

        assert page.context["cl"].paginator.count == 3
        assert "Only the first 3 are listed" in text(page)

    def test_counts_with_a_limit(self, staff):
        with CaptureQueriesContext(connection) as queries:
            staff.get(reverse(LIST))

        counts = [query["sql"] for query in queries if query["sql"].startswith("SELECT COUNT(*)")]
        _overview, length = counts
        assert "LIMIT 4" in length


class TestOverview:
    def counts(self, client: Client) -> dict[str, tuple[str, bool]]:
        found = client.get(reverse(LIST)).context["counts"]
        return {label: (number, is_bad) for number, label, _query, is_bad in found}

    def test_counts_and_leads_to_what_it_counts(self, staff, make):
        make(order_number="new", state="pending")
        make(order_number="late", state="pending", next_attempt_at=ahead(hours=-2))
        make(order_number="failed", state="failed")
        make(order_number="unknown", state="unknown")
        make(order_number="superseded", state="superseded")
        make(order_number="paid", amount_paid=20, currency="EUR")
        make(order_number="overpaid", amount_paid="1500.5", currency="EUR")
        make(order_number="swiss", amount_paid=5, currency="CHF")
        make(order_number="free", amount_paid=0, currency="EUR")

        page = staff.get(reverse(LIST))

        found = re.findall(
            r'<li( class="komfortkasse-bad")?><a href="(\?[^"]*)"><strong>(\d+)</strong> (.*?)</a>',
            text(page),
        )
        assert [(number, label, bool(bad)) for bad, _query, number, label in found] == [
            ("2", "pending", False),
            ("1", "overdue", True),
            ("1", "failed", True),
            ("1", "unknown to Komfortkasse", False),
            ("4", "removed", False),
            (
                "3",
                f"removed although money had arrived: 5.00{NBSP}CHF, 1,520.50{NBSP}EUR",
                True,
            ),
        ]
        for _bad, query, number, _label in found:
            rows = staff.get(reverse(LIST) + query).context["cl"].result_list
            assert len(rows) == int(number), query

    def test_of_an_empty_mirror(self, staff):
        assert self.counts(staff) == {
            "pending": ("0", False),
            "overdue": ("0", False),
            "failed": ("0", False),
            "unknown to Komfortkasse": ("0", False),
            "removed": ("0", False),
        }
        assert "komfortkasse-problem" not in text(staff.get(reverse(LIST)))

    def test_says_what_to_do_about_overdue_rows(self, staff, make):
        make(state="pending", next_attempt_at=ahead(hours=-2))

        page = text(staff.get(reverse(LIST)))

        assert "1 removal is overdue: is komfortkasse_push running?" in page

    def test_says_why_rows_cannot_be_sent(self, staff, make, configure):
        configure(aliases={"off": {"ENABLED": False}})
        for shop in ("off", "gone", "gone"):
            make(shop=shop, state="pending", next_attempt_at=ahead(hours=-2))
        ShopState.objects.create(shop="default", paused_until=ahead(hours=-1))

        page = text(staff.get(reverse(LIST)))

        assert "1 removal is overdue: the shop off is switched off" in page
        assert "2 removals are overdue: the shop gone is not in the settings any more" in page

    @pytest.mark.parametrize(
        "times",
        [
            {"created_at": ahead(days=-2), "next_attempt_at": ahead(minutes=50)},
            {"created_at": ahead(days=-2), "next_attempt_at": ahead(minutes=-5)},
            {"created_at": ahead(days=-2), "next_attempt_at": None},
            {"next_attempt_at": ahead(days=400)},
        ],
    )
    def test_leads_to_the_pages_that_say_why(self, staff, make, times):
        make(state="pending", **times)

        page = text(staff.get(reverse(LIST)))

        assert "1 removal is overdue: the page of each says why" in page
        assert "komfortkasse_push" not in page

    def test_says_that_komfortkasse_asked_for_a_pause(self, staff, make):
        ShopState.objects.create(shop="default", paused_until=ahead(minutes=10))

        assert "komfortkasse-problem" in text(staff.get(reverse(LIST)))
        assert "Komfortkasse asked for a pause (until" in text(staff.get(reverse(LIST)))
        make(state="pending", next_attempt_at=ahead(minutes=-90))

        page = text(staff.get(reverse(LIST)))
        assert "1 removal is overdue: Komfortkasse asked for a pause (until" in page
        assert page.count("asked for a pause") == 1

    def test_never_counts_less_than_nothing(self, staff, make, monkeypatch):
        """Rows may be deleted while they are counted."""
        make(state="unknown")
        monkeypatch.setattr(RemovedOrderQuerySet, "count", lambda self: 0)

        assert overview.overview("default").states["removed"] == 0

    @pytest.mark.parametrize("until", [{"seconds": -1}, {"hours": 3}])
    def test_a_pause_that_is_over_or_a_mistake_is_none(self, staff, until):
        ShopState.objects.create(shop="default", paused_until=ahead(**until))

        assert "asked for a pause" not in text(staff.get(reverse(LIST)))
