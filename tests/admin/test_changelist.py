"""The head of the mirror's list, and its filters."""

import re

import pytest
from django.contrib.admin.views.main import ChangeList
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from komfortkasse_django.models import ShopState
from komfortkasse_django.schema import PaymentStatus
from tests.support.mirror_pages import LIST, ahead, listed, text

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

NBSP = "\N{NO-BREAK SPACE}"


class TestFilters:
    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({"state": "pending"}, ["vain", "soon", "late", "new"]),
            ({"state": "overdue"}, ["vain", "late"]),
            ({"state": "removed"}, ["refund", "odd"]),
            ({"state": "failed"}, ["failed"]),
            ({"payment_status": "PAID"}, ["refund"]),
            ({"payment_status": "other"}, ["odd"]),
            ({"received": "yes"}, ["refund"]),
            ({"shop": "gone"}, ["failed"]),
            ({"state": "removed", "payment_status": "PAID"}, ["refund"]),
            ({}, ["failed", "refund", "odd", "vain", "soon", "late", "new"]),
        ],
    )
    def test_find(self, staff, make, query, found):
        make(order_number="new", state="pending", next_attempt_at=ahead(minutes=9))
        make(order_number="late", state="pending", created_at=ahead(minutes=-61))
        make(order_number="soon", state="pending", created_at=ahead(minutes=-59))
        make(
            order_number="vain",
            state="pending",
            created_at=ahead(minutes=-61),
            next_attempt_at=ahead(minutes=50),
        )
        make(order_number="odd", payment_status="PLANNED", created_at=ahead(days=-1))
        make(order_number="refund", payment_status="PAID", amount_paid=1)
        make(order_number="failed", state="failed", shop="gone", amount_paid=0)

        assert listed(staff, **query) == found

    @pytest.mark.parametrize(
        "parameter",
        [
            *("shop", "state", "payment_status", "received", "q", "order_number__regex", "pk", "o"),
            *("attempts__in", "created_at__year", "shop__range", "p"),
        ],
    )
    @pytest.mark.parametrize("value", ["\0", "a\0b", "9" * 40, "[", ""])
    def test_survive_what_a_database_refuses(self, staff, make, parameter, value):
        make()

        page = staff.get(reverse(LIST), {parameter: value}, follow=True)

        assert page.status_code == 200
        assert "komfortkasse-counts" in text(page)

    def test_do_not_hide_trouble_that_has_another_cause(self, staff, monkeypatch):
        def fail(*args):
            raise OperationalError("the database is gone")

        monkeypatch.setattr(ChangeList, "get_results", fail)

        with pytest.raises(OperationalError, match="is gone"):
            staff.get(reverse(LIST), {"shop": "default"}, follow=True)

    def test_offer_all_there_is(self, staff):
        filters = {
            spec.parameter_name: [value for value, _label in spec.lookup_choices]
            for spec in staff.get(reverse(LIST)).context["cl"].filter_specs
        }

        assert filters == {
            "state": ["pending", "overdue", "removed", "unknown", "superseded", "failed"],
            "payment_status": [*PaymentStatus.values, "other"],
            "received": ["yes"],
        }

    def test_are_not_counted(self, staff):
        assert "Show counts" not in text(staff.get(reverse(LIST)))


class TestOverview:
    def counts(self, client: Client) -> dict[str, tuple[str, bool]]:
        found = client.get(reverse(LIST)).context["counts"]
        return {label: (number, is_bad) for number, label, _query, is_bad in found}

    def test_counts_and_leads_to_what_it_counts(self, staff, make):
        make(order_number="new", state="pending")
        make(order_number="late", state="pending", created_at=ahead(hours=-2))
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
        make(state="pending", created_at=ahead(hours=-2), next_attempt_at=ahead(hours=-2))

        page = text(staff.get(reverse(LIST)))

        assert "1 removal is overdue: is komfortkasse_push running?" in page

    def test_says_why_rows_cannot_be_sent(self, staff, make, configure):
        configure(aliases={"off": {"ENABLED": False}})
        for shop in ("off", "gone", "gone"):
            make(shop=shop, state="pending", created_at=ahead(hours=-2))
        ShopState.objects.create(shop="default", paused_until=ahead(hours=-1))

        page = text(staff.get(reverse(LIST)))

        assert "1 removal is overdue: the shop off is switched off" in page
        assert re.search("Shop gone, since [^:]+:[^:]+: the shop gone is not in the settings", page)

    @pytest.mark.parametrize(
        "times",
        [
            {"created_at": ahead(days=-2), "next_attempt_at": ahead(minutes=50)},
            {"created_at": ahead(days=-2), "next_attempt_at": ahead(minutes=-5)},
            {"created_at": ahead(days=-2), "next_attempt_at": None},
        ],
    )
    def test_leads_to_the_pages_that_say_why(self, staff, make, times):
        make(state="pending", **times)

        page = text(staff.get(reverse(LIST)))

        assert "1 removal is overdue: the page of each says why" in page
        assert "komfortkasse_push" not in page

    def test_says_which_shop_is_paused_and_why(self, staff, make):
        ShopState.objects.create(
            shop="default", paused_until=ahead(minutes=10), error_code="connection_failed"
        )

        assert "komfortkasse-problem" in text(staff.get(reverse(LIST)))
        assert "The shop default is paused until" in text(staff.get(reverse(LIST)))
        make(state="pending", created_at=ahead(minutes=-90))

        page = text(staff.get(reverse(LIST)))
        assert "1 removal is overdue: the shop default is paused until" in page
        assert page.count("is paused until") == 1
        assert ": no connection" in page

    @pytest.mark.parametrize(
        ("code", "says"),
        [
            ("authentication_failed", "until the people who run the website have corrected it"),
            ("service_unavailable", "should pass. There is nothing for you to do."),
            ("of_another_version", "find the whole error in its log"),
        ],
    )
    def test_says_what_to_do_about_a_pause(self, staff, code, says):
        ShopState.objects.create(
            shop="default", paused_until=ahead(minutes=5), failures=3, error_code=code
        )

        [problem] = re.findall(
            '<p class="komfortkasse-problem">(.*?)</p>', text(staff.get(reverse(LIST)))
        )
        assert says in problem

    def test_says_at_once_what_stops_all_removals(self, staff, make, configure):
        configure(aliases={"a": {}, "b": {}})
        ShopState.objects.create(
            shop="a",
            failures=1,
            failing_since=ahead(minutes=-1),
            error_code="authentication_failed",
        )
        for _ in range(10):
            make(shop="b", state="unknown", finished_at=ahead(minutes=-1))

        page = text(staff.get(reverse(LIST)))

        first, second = re.findall('<p class="komfortkasse-problem">(.*?)</p>', page)
        assert first.startswith("Shop a, since ")
        assert "does not accept the API key. The API key in the shop" in first
        assert "until the people who run the website have corrected it" in first
        assert second.startswith("Shop b, since ")
        assert "Komfortkasse knew none of the last 10 orders" in second

    def test_a_pause_that_is_over_is_none(self, staff):
        ShopState.objects.create(shop="default", paused_until=ahead(seconds=-1))

        assert "is paused until" not in text(staff.get(reverse(LIST)))
