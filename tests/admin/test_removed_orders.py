"""The mirror in the admin: staff read it, understand it and try again."""

import re
import secrets
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import requests
from django.contrib.admin.models import CHANGE, LogEntry, LogEntryManager
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone, translation

from komfortkasse_django.admin import actions as admin_messages
from komfortkasse_django.admin.removed_orders import BoundedPaginator
from komfortkasse_django.conf import shops
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet, RetryAfter
from komfortkasse_django.reports import status as overview
from komfortkasse_django.reports.wording import describe, summarize
from komfortkasse_django.schema import PaymentStatus
from tests.shop.models import Order
from tests.support.komfortkasse import error
from tests.support.staff import make_staff, message

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

LIST = "admin:komfortkasse_django_removedorder_changelist"
NBSP = "\N{NO-BREAK SPACE}"


@pytest.fixture
def staff() -> Client:
    """May read the mirror and try again."""
    return make_staff("komfortkasse_django.view_removedorder", "komfortkasse_django.remove_order")


@pytest.fixture
def make():
    """Make a row, 1001 and removed unless told otherwise."""

    def make(**attributes: object) -> RemovedOrder:
        state = attributes.get("state", "removed")
        defaults: dict[str, object] = {
            "shop": "default",
            "order_number": "1001",
            "requested_via": "delete",
            "state": state,
            "next_attempt_at": timezone.now() if state == "pending" else None,
            "finished_at": None if state in {"pending", "failed"} else timezone.now(),
        }
        return RemovedOrder.objects.create(**{**defaults, **attributes})

    return make


def url(view: str, row: RemovedOrder) -> str:
    return reverse(f"admin:komfortkasse_django_removedorder_{view}", args=[row.pk])


def text(response) -> str:
    return re.sub(r"[ \n]+", " ", response.content.decode())


def listed(client: Client, **query: str) -> list[str]:
    response = client.get(reverse(LIST), query)
    assert response.status_code == 200
    return [row.order_number for row in response.context["cl"].result_list]


def cells(client: Client, **query: str) -> dict[str, str]:
    """The first row of the list, by the name of its column, without tags."""
    page = text(client.get(reverse(LIST), query))
    found = re.findall(r'<t[dh] class="field-(\w+)[^>]*>(.*?)</t[dh]>', page)
    return {name: re.sub(r"<[^>]*>", "", cell).strip() for name, cell in found}


def ahead(**delta: float) -> datetime:
    return timezone.now() + timedelta(**delta)


class TestList:
    def test_shows_what_was_answered(self, staff, make):
        make(
            payment_status="PAID_PARTIAL",
            reference_number="K1234A",
            amount=Decimal("1234.5"),
            amount_paid=Decimal(20),
            currency="EUR",
            created_at=ahead(minutes=-3),
        )

        assert cells(staff) == {
            "order_number": "1001",
            "state_badge": "removed",
            "payment_status_label": "Partially paid",
            "reference_number": "K1234A",
            "amount_with_currency": f"1,234.50{NBSP}EUR",
            "received": f"20.00{NBSP}EUR: refund needed",
            "requested": "deletion of the order, 3 minutes ago",
            "next_attempt": "-",
        }

    def test_shows_when_it_is_tried_again(self, staff, make):
        make(state="pending", next_attempt_at=ahead(minutes=3, seconds=30))

        row = cells(staff)
        assert row["state_badge"] == "pending"
        assert row["next_attempt"] == "in 4 minutes"
        assert (row["amount_with_currency"], row["received"]) == ("-", "-")

    @pytest.mark.parametrize(
        ("paid", "shown"), [(None, "-"), (Decimal(0), f"0.00{NBSP}EUR"), (-1, f"-1.00{NBSP}EUR")]
    )
    def test_money_that_has_not_arrived_is_no_alarm(self, staff, make, paid, shown):
        make(amount_paid=paid, currency="EUR")

        assert cells(staff)["received"] == shown

    def test_amount_without_currency(self, staff, make):
        make(amount=Decimal(5))

        assert cells(staff)["amount_with_currency"] == "5.00"

    def test_unknown_values_are_shown_as_they_come(self, staff, make):
        make(payment_status="PLANNED", state="odd")

        assert cells(staff)["payment_status_label"] == "PLANNED"
        assert cells(staff)["state_badge"] == "odd"

    def test_the_shop_is_shown_only_where_there_are_several(self, staff, make, configure):
        make()
        assert "shop" not in cells(staff)
        assert "By shop" not in text(staff.get(reverse(LIST)))

        configure(aliases={"default": {}, "vienna": {}})
        assert cells(staff)["shop"] == "default"
        assert "By shop" in text(staff.get(reverse(LIST)))

    def test_can_be_sorted(self, staff, make):
        for number, reference in [("1002", "K1"), ("1001", "K2"), ("1001", "K1")]:
            make(order_number=number, reference_number=reference)
        first, second, third = RemovedOrder.objects.order_by("pk")

        def sorted_by(order: str) -> list[RemovedOrder]:
            return list(staff.get(reverse(LIST), {"o": order}).context["cl"].result_list)

        assert sorted_by("1") == [second, third, first]
        assert sorted_by("-1") == [first, third, second]
        assert sorted_by("4") == [first, third, second]
        assert sorted_by("-4") == [second, third, first]
        assert sorted_by("1.-4") == [second, third, first]
        assert sorted_by("8") == [first, second, third]

    def test_says_since_when_one_is_due(self, staff, make):
        make(state="pending", next_attempt_at=ahead(hours=-30))

        assert ">1 day ago</time>" in text(staff.get(reverse(LIST)))

    def test_newest_first(self, staff, make):
        for number in ("1001", "1002", "1003"):
            make(order_number=number)

        assert listed(staff) == ["1003", "1002", "1001"]

    def test_exact_times_are_there_for_those_who_point_at_them(self, staff, make, settings):
        settings.TIME_ZONE = "UTC"
        make(created_at=datetime(2026, 3, 1, 12, 30, tzinfo=UTC))

        page = text(staff.get(reverse(LIST)))
        assert 'datetime="2026-03-01T12:30:00+00:00"' in page
        assert 'title="March 1, 2026, 12:30 p.m."' in page

    def test_exact_times_are_those_of_the_time_zone(self, staff, make):
        make(created_at=datetime(2026, 3, 1, 12, 30, tzinfo=UTC))

        with timezone.override("Europe/Berlin"):
            assert 'title="March 1, 2026, 1:30 p.m."' in text(staff.get(reverse(LIST)))

    def test_only_what_an_index_sorts_can_be_sorted(self, staff, make, configure):
        configure(aliases={"default": {}, "vienna": {}})
        make()

        found = re.findall(r'class="sortable column-(\w+)', text(staff.get(reverse(LIST))))
        assert set(found) == {"order_number", "reference_number", "requested"}

    def test_queries_do_not_grow_with_the_rows(self, staff, make):
        counts = []
        for _ in range(2):
            make(state="pending")
            make(state="failed", amount_paid=1)
            with CaptureQueriesContext(connection) as queries:
                staff.get(reverse(LIST))
            counts.append(len(queries))
        assert counts[0] == counts[1]
        # Session, user, two for permissions, the page and its length, five for the overview.
        assert counts[0] <= 11


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


class TestSearch:
    @pytest.mark.parametrize(
        "term", ["A 1/7", " A 1/7 ", "K1234A", "k1234a", "a 1/7", "X-9", "x-9"]
    )
    def test_finds_whole_numbers(self, staff, make, term):
        make(order_number="A 1/7", reference_number="x-9" if "-" in term else "K1234A")
        make(order_number="A 1/77", reference_number="K12345")

        assert listed(staff, q=term) == ["A 1/7"]

    @pytest.mark.parametrize("number", ["  a1", "Ab1 "])
    def test_finds_them_as_they_are(self, staff, make, number):
        make(order_number=number)
        make(order_number="Ab1")

        assert number in listed(staff, q=number)
        assert "Ab1" in listed(staff, q="Ab1  ")

    @pytest.mark.parametrize("term", ["A", "1/7", "K1234", "%"])
    def test_finds_no_parts(self, staff, make, term):
        make(order_number="A 1/7", reference_number="K1234A")

        assert listed(staff, q=term) == []

    def test_nothing_finds_everything(self, staff, make):
        make()

        assert listed(staff, q=" ") == ["1001"]

    def test_says_what_to_write(self, staff):
        assert "whole order number or reference number" in text(staff.get(reverse(LIST)))


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
        RetryAfter.objects.create(shop="default", until=ahead(hours=-1))

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
        RetryAfter.objects.create(shop="default", until=ahead(minutes=10))

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
        RetryAfter.objects.create(shop="default", until=ahead(**until))

        assert "asked for a pause" not in text(staff.get(reverse(LIST)))


class TestDetail:
    def sections(self, client: Client, row: RemovedOrder) -> dict[str, dict[str, str]]:
        page = text(client.get(url("change", row)))
        found = {}
        for fieldset in re.findall(r"<fieldset.*?</fieldset>", page):
            # Django 6.1 has fieldsets within fieldsets, none of them here.
            heading = re.search(r"<h2[^>]*>(.*?)</h2>", fieldset)[1].strip()
            labels = re.findall(r"<label[^>]*>(.*?):?</label>", fieldset)
            values = re.findall(r'<div class="readonly">(.*?)</div>', fieldset)
            found[heading] = {
                label.rstrip(":"): re.sub(r"<[^>]*>", "", value)
                for label, value in zip(labels, values, strict=True)
            }
        return found

    def test_of_a_removed_order(self, staff, make, settings):
        settings.TIME_ZONE = "UTC"
        row = make(
            payment_status="DISAPPEARED",
            reference_number="K1234A",
            amount=Decimal("22.38"),
            currency="EUR",
            attempts=2,
            created_at=datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
        )

        sections = self.sections(staff, row)

        assert list(sections) == ["What happened", "What Komfortkasse says", "What happens next"]
        assert sections["What happened"] == {
            "Order number": "1001",
            "Requested via": "deletion of the order",
            "Requested at": sections["What happened"]["Requested at"],
            "Attempts": "2",
        }
        assert sections["What happened"]["Requested at"].startswith("March 1, 2026, 12:30 p.m. (")
        assert sections["What Komfortkasse says"] == {
            "State": "removed",
            "Outcome": ("Komfortkasse has removed the order and sends no more reminders for it."),
            "Payment status": "Disappeared",
            "Reference number": "K1234A",
            "Amount": f"22.38{NBSP}EUR",
            "Amount paid": "-",
            "Finished at": sections["What Komfortkasse says"]["Finished at"],
        }
        assert sections["What Komfortkasse says"]["Finished at"].endswith("(just now)")
        assert sections["What happens next"] == {"Next step": "Nothing is left to do."}

    def test_of_an_order_that_was_paid(self, staff, make):
        row = make(amount_paid=Decimal(20), currency="EUR")

        sections = self.sections(staff, row)

        assert sections["What Komfortkasse says"]["Amount paid"] == f"20.00{NBSP}EUR: refund needed"
        assert f"refund 20.00{NBSP}EUR" in sections["What happens next"]["Next step"]

    def test_of_an_order_paid_by_nothing(self, staff, make):
        row = make(amount_paid=Decimal(0), currency="EUR")

        assert self.sections(staff, row)["What happens next"]["Next step"] == (
            "Nothing is left to do."
        )

    @pytest.mark.parametrize(
        ("state", "outcome", "next_step"),
        [
            ("unknown", "knows no order with this number", "Nothing is left to do"),
            ("superseded", "was not asked", "Nothing is left to do"),
            ("failed", "refuses to remove", "Nothing happens by itself"),
            ("pending", "has not been asked yet", "next run of komfortkasse_push"),
        ],
    )
    def test_of_other_outcomes(self, staff, make, state, outcome, next_step):
        sections = self.sections(staff, make(state=state))

        assert outcome in sections["What Komfortkasse says"]["Outcome"]
        assert "Amount" not in sections["What Komfortkasse says"]
        assert next_step in sections["What happens next"]["Next step"]
        has_finished = state in {"unknown", "superseded"}
        assert ("Finished at" in sections["What Komfortkasse says"]) == has_finished

    def test_of_one_that_is_tried_again(self, staff, make):
        row = make(
            state="pending",
            next_attempt_at=ahead(minutes=3, seconds=50),
            last_error="No connection to Komfortkasse: refused",
        )

        sections = self.sections(staff, row)

        says = sections["What Komfortkasse says"]["Outcome"]
        assert says == "Komfortkasse has not confirmed the removal yet: no connection."
        assert "tried again in 4 minutes (" in sections["What happens next"]["Next step"]
        assert sections["Last error"]["Last error"] == "No connection to Komfortkasse: refused"
        assert "could not be reached" in sections["Last error"]["Meaning"]

    def test_of_one_that_a_wrong_clock_put_off(self, staff, make):
        row = make(state="pending", next_attempt_at=ahead(days=400))

        next_step = self.sections(staff, row)["What happens next"]["Next step"]
        assert next_step.startswith("It is put off until ")
        assert "a clock that must have been wrong. Try again now." in next_step

    def test_of_one_that_cannot_be_sent(self, staff, make, configure):
        configure(ENABLED=False)
        row = make(state="pending")

        next_step = self.sections(staff, row)["What happens next"]["Next step"]
        assert "not sent at the moment: the shop default is switched off" in next_step

    def test_of_a_shop_that_waits(self, staff, make):
        RetryAfter.objects.create(shop="default", until=ahead(minutes=5))
        row = make(state="pending")

        next_step = self.sections(staff, row)["What happens next"]["Next step"]
        assert "Komfortkasse asked for a pause (until" in next_step

    def test_names_the_shop_where_that_says_something(self, staff, make, configure):
        assert "Shop" not in self.sections(staff, make())["What happened"]
        assert self.sections(staff, make(shop="gone"))["What happened"]["Shop"] == "gone"
        configure(aliases={"default": {}, "vienna": {}})
        assert self.sections(staff, make())["What happened"]["Shop"] == "default"

    def test_of_nothing(self, staff, make):
        row = make()
        RemovedOrder.objects.all().delete()

        assert staff.get(url("change", row)).status_code == 302


class TestErrorsAreExplained:
    """Whatever the worker stores is recognised, in the words that it uses today."""

    @pytest.mark.parametrize(
        "case",
        [
            (error(401, "no"), "does not accept the API key", "API key in the shop"),
            (error(400, "no"), "refused by Komfortkasse", "has understood the request"),
            (error(503, "no"), "out of order or overloaded", "should pass"),
            (ConnectionError("no"), "no connection", "could not be reached"),
            (requests.Timeout("no"), "took too long", "DEADLINE"),
            ((302, {"Location": "https://x.test/"}, ""), "redirected", "another address"),
            ((200, {}, "<html>"), "an unexpected answer", "a proxy"),
            ((404, {}, "<html>"), "an unexpected answer", "a proxy"),
            (RuntimeError("no"), "an unforeseen error", "the whole error"),
        ],
    )
    def test(self, staff, make, komfortkasse, case):
        komfortkasse.answer, label, advice = case
        row = make(state="pending")

        done = staff.post(url("try_again", row))

        if label != "refused by Komfortkasse":
            assert label in message(done)[1]
        page = text(staff.get(url("change", row)))
        assert advice in page

    def test_the_shops_own_code(self, staff, make, komfortkasse, configure):
        def broken(order):
            raise RuntimeError

        Order.objects.create(number="1001")
        configure(ORDER_FILTER=broken)
        row = make(state="pending")

        done = staff.post(url("try_again", row))

        assert "the shop&#x27;s own code failed" in text(staff.get(url("change", row)))
        assert "the shop's own code failed" in message(done)[1]


class TestWords:
    def test_outcomes_come_in_one_order(self):
        rows = [
            RemovedOrder(shop="default", state=state, next_attempt_at=None)
            for state in ("failed", "removed", "unknown", "removed")
        ]

        assert describe(rows, {}) == (
            "2 removed, 1 unknown to Komfortkasse, 1 refused by Komfortkasse"
        )

    def test_numbers_in_use_are_counted(self):
        assert summarize({"superseded": 1}) == "1 not sent because its number is in use again"
        assert summarize({"superseded": 2}) == "2 not sent because their numbers are in use again"
        assert summarize({"failed": 1, "removed": 0}) == "1 refused by Komfortkasse"

    def test_the_first_next_attempt_counts(self):
        rows = [
            RemovedOrder(
                shop="default",
                state="pending",
                last_error="No connection to Komfortkasse",
                next_attempt_at=ahead(minutes=minutes, seconds=-5),
            )
            for minutes in (9, 2, 5)
        ]

        assert describe(rows, {}) == (
            "3 will be tried again, the first in 2 minutes: no connection"
        )


class TestTryAgain:
    def post(self, client: Client, *rows: RemovedOrder):
        keys = [row.pk for row in rows]
        return client.post(reverse(LIST), {"action": "try_again", "_selected_action": keys})

    def test_a_single_one_from_its_page(self, staff, make, komfortkasse):
        row = make(state="failed", last_error="Komfortkasse rejects the request (HTTP 400: no)")
        other = make(order_number="1002", state="failed", next_attempt_at=None)
        page = text(staff.get(url("change", row)))
        assert f'<form method="post" action="{url("try_again", row)}"' in page
        assert "csrfmiddlewaretoken" in page

        done = staff.post(url("try_again", row))

        assert done.url == url("change", row)
        assert message(done) == ("success", "Komfortkasse: 1 removed.")
        other.refresh_from_db()
        assert (other.state, other.next_attempt_at) == ("failed", None)
        row.refresh_from_db()
        assert (row.state, row.last_error) == ("removed", "")
        [entry] = LogEntry.objects.all()
        assert entry.action_flag == CHANGE
        assert entry.get_edited_object() == row
        assert "Tried again to remove it." in text(staff.get(url("history", row)))

    def test_several_from_the_list_with_the_result_in_plain_words(self, staff, make, komfortkasse):
        komfortkasse.answers = {
            "1004": error(404),
            "1005": ConnectionError("down"),
            "1006": error(400, "no"),
        }
        rows = [
            make(order_number=str(number), state=state, next_attempt_at=ahead(hours=1))
            for number, state in [
                (1001, "pending"),
                (1002, "pending"),
                (1003, "failed"),
                (1004, "pending"),
                (1005, "pending"),
                (1006, "failed"),
            ]
        ]
        RemovedOrder.objects.filter(state="failed").update(next_attempt_at=None)

        done = self.post(staff, *rows)

        assert done.url == reverse(LIST)
        assert message(done) == (
            "error",
            (
                "Komfortkasse: 3 removed, 1 unknown to Komfortkasse, 1 refused by Komfortkasse,"
                " 1 will be tried again in less than a minute: no connection."
            ),
        )

    def test_each_shop_has_its_own_budget(self, staff, make, configure, komfortkasse):
        configure(aliases={"a": {}, "b": {"REQUEST_BUDGET": 0}})
        rows = [make(state="pending", shop=alias, order_number=alias) for alias in ("a", "b")]

        self.post(staff, *rows)

        assert komfortkasse.numbers == ["a"]
        assert RemovedOrder.objects.due().count() == 1

    def test_not_while_a_transaction_is_open_on_another_database(self, staff, make, komfortkasse):
        """As with ATOMIC_REQUESTS on two: it must not wait for Komfortkasse."""
        row = make(state="failed")

        with transaction.atomic("other"):
            done = self.post(staff, row)

        assert komfortkasse.numbers == []
        assert message(done) == ("warning", "Komfortkasse: 1 is still to be sent.")

    @pytest.mark.parametrize("action", ["try_again", "delete_selected"])
    def test_all_of_more_than_are_counted_are_left_alone(
        self, staff, make, monkeypatch, komfortkasse, action
    ):
        monkeypatch.setattr(BoundedPaginator, "MOST", 3)
        rows = [make(state="failed", next_attempt_at=None) for _ in range(4)]
        data = {"action": action, "select_across": "1", "_selected_action": [rows[0].pk]}

        done = staff.post(reverse(LIST), data)

        assert message(done) == (
            "error",
            "There are more than 3 of them. Use the filters to select fewer.",
        )
        assert RemovedOrder.objects.failed().count() == 4
        rows[0].delete()
        staff.get(reverse(LIST))
        if action == "try_again":
            assert message(staff.post(reverse(LIST), data)) == (
                "success",
                "Komfortkasse: 3 removed.",
            )

    def test_finished_ones_are_left_alone(self, staff, make, komfortkasse):
        rows = [make(state=state) for state in ("removed", "unknown", "superseded")]

        done = self.post(staff, *rows)

        assert message(done) == ("success", "Komfortkasse: nothing to do.")
        assert komfortkasse.numbers == []
        assert not LogEntry.objects.exists()
        for row in rows:
            assert "Try again" not in text(staff.get(url("change", row)))
            staff.post(url("try_again", row))
        assert komfortkasse.numbers == []

    def test_only_the_selected_ones(self, staff, make, komfortkasse):
        row = make(order_number="1001", state="failed")
        make(order_number="1002", state="failed")
        make(order_number="1003", state="pending")

        self.post(staff, row)

        assert komfortkasse.numbers == ["1001"]

    def test_all_pages_of_a_filter(self, staff, make, komfortkasse):
        rows = [make(order_number=str(number), state="failed") for number in range(5)]
        make(order_number="pending", state="pending")

        staff.post(
            reverse(LIST) + "?state=failed",
            {"action": "try_again", "_selected_action": rows[0].pk, "select_across": "1"},
        )

        assert sorted(komfortkasse.numbers) == ["0", "1", "2", "3", "4"]

    def test_within_the_budget(self, staff, make, komfortkasse, configure):
        configure(REQUEST_BUDGET=0)
        rows = [make(state="failed"), make(state="failed")]

        done = self.post(staff, *rows)

        assert komfortkasse.numbers == []
        assert message(done) == ("warning", "Komfortkasse: 2 are still to be sent.")
        assert RemovedOrder.objects.due().count() == 2

    def test_keeps_to_the_pause_that_komfortkasse_asked_for(self, staff, make, komfortkasse):
        RetryAfter.objects.create(shop="default", until=ahead(minutes=5))

        level, told = message(staff.post(url("try_again", make(state="failed"))))

        assert komfortkasse.numbers == []
        assert level == "warning"
        assert told.startswith(
            "Komfortkasse: 1 is still to be sent: Komfortkasse asked for a pause"
        )

    def test_that_cannot_be_logged_is_not_tried(self, staff, make, komfortkasse, monkeypatch):
        row = make(state="failed", next_attempt_at=None)
        monkeypatch.setattr(LogEntryManager, "log_actions", lambda *args: {}["no log"])

        with pytest.raises(KeyError):
            staff.post(url("try_again", row))

        assert RemovedOrder.objects.failed().get() == row
        assert komfortkasse.numbers == []

    def test_of_a_shop_that_is_not_in_the_settings_any_more(self, staff, make, komfortkasse):
        done = self.post(staff, make(shop="gone", state="failed"), make(state="pending"))

        assert komfortkasse.numbers == ["1001"]
        assert message(done) == (
            "warning",
            (
                "Komfortkasse: 1 removed, 1 is still to be sent: the shop gone is not in the"
                " settings any more."
            ),
        )

    def test_several_that_wait(self, staff, make, komfortkasse):
        komfortkasse.answer = ConnectionError("down")
        rows = [make(order_number=str(number), state="pending") for number in range(2)]

        assert message(self.post(staff, *rows)) == (
            "warning",
            "Komfortkasse: 2 will be tried again, the first in less than a minute: no connection.",
        )

    def test_what_was_not_reached_is_told_apart(self, staff, make, configure):
        configure(REQUEST_BUDGET=0)
        row = make(state="failed", last_error="Komfortkasse rejects the request (HTTP 400: no)")

        assert message(self.post(staff, row))[1] == "Komfortkasse: 1 is still to be sent."

    def test_what_cannot_be_told_has_happened_all_the_same(
        self, staff, make, komfortkasse, monkeypatch, caplog
    ):
        monkeypatch.setattr("komfortkasse_django.admin.actions.describe", None)

        done = staff.post(url("try_again", make(state="failed")))

        assert done.status_code == 302
        assert komfortkasse.numbers == ["1001"]
        assert "_try_again.<locals>.tell" in caplog.text

    def test_with_requests_that_are_transactions(self, staff, make, komfortkasse, monkeypatch):
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)

        done = staff.post(url("try_again", make(state="failed")))

        assert message(done) == ("success", "Komfortkasse: 1 removed.")

    def test_a_large_selection_is_read_in_chunks(self, staff, make, configure, monkeypatch):
        monkeypatch.setattr(admin_messages, "_CHUNK", 2)
        configure(REQUEST_BUDGET=0)
        rows = [make(state="failed") for _ in range(5)]

        assert "5 are still to be sent" in message(self.post(staff, *rows))[1]

    def test_of_nothing(self, staff, make):
        row = make()
        RemovedOrder.objects.all().delete()

        assert staff.post(url("try_again", row)).status_code == 404


class TestPermissions:
    def test_anonymous_users_are_sent_to_the_login(self, client, make, komfortkasse):
        row = make(state="failed")
        for method in (client.get, client.post):
            for page in (reverse(LIST), url("change", row), url("try_again", row)):
                assert method(page).url.startswith("/admin/login/")
        assert komfortkasse.numbers == []

    @pytest.mark.parametrize(
        "permissions",
        [
            [
                "komfortkasse_django.view_removedorder",
                "komfortkasse_django.change_removedorder",
                "komfortkasse_django.delete_removedorder",
            ],
            ["komfortkasse_django.remove_order"],
        ],
    )
    def test_trying_again_needs_to_see_and_to_remove(self, make, komfortkasse, permissions):
        staff = make_staff(*permissions)
        row = make(state="failed")

        assert "Try again" not in text(staff.get(url("change", row)))
        assert "try_again" not in text(staff.get(reverse(LIST)))
        assert staff.post(url("try_again", row)).status_code == 403
        staff.post(reverse(LIST), {"action": "try_again", "_selected_action": row.pk})
        assert komfortkasse.numbers == []
        row.refresh_from_db()
        assert row.state == "failed"

    def test_get_changes_nothing(self, staff, make, komfortkasse):
        row = make(state="failed")

        assert staff.get(url("try_again", row)).status_code == 405
        User.objects.all().delete()
        reader = make_staff("komfortkasse_django.view_removedorder")
        assert reader.get(url("try_again", row)).status_code == 403
        staff.get(reverse(LIST), {"action": "try_again"})
        assert komfortkasse.numbers == []

    def test_a_form_of_another_website_does_nothing(self, staff, make, komfortkasse):
        row = make(state="failed")
        strict = Client(enforce_csrf_checks=True)
        strict.cookies = staff.cookies

        assert strict.post(url("try_again", row)).status_code == 403
        data = {"action": "try_again", "_selected_action": row.pk}
        assert strict.post(reverse(LIST), data).status_code == 403
        assert komfortkasse.numbers == []

    def test_nothing_can_be_added_or_changed(self, admin_client, make):
        row = make(state="failed")

        add = reverse("admin:komfortkasse_django_removedorder_add")
        assert admin_client.get(add).status_code == 403
        assert admin_client.post(url("change", row), {"state": "removed"}).status_code == 403
        assert '<input type="text"' not in text(admin_client.get(url("change", row)))

    def test_reading_needs_the_permission(self, make):
        staff = make_staff()

        assert staff.get(reverse(LIST)).status_code == 403
        assert staff.get(url("change", make())).status_code == 403


class TestDeletion:
    @pytest.fixture
    def cleaner(self) -> Client:
        return make_staff(
            "komfortkasse_django.view_removedorder", "komfortkasse_django.delete_removedorder"
        )

    @pytest.mark.parametrize("state", ["removed", "unknown", "superseded"])
    def test_of_finished_ones(self, cleaner, make, state):
        row = make(state=state)

        assert url("delete", row) in text(cleaner.get(url("change", row)))
        cleaner.post(url("delete", row), {"post": "yes"})

        assert not RemovedOrder.objects.exists()

    @pytest.mark.parametrize("state", ["pending", "failed"])
    def test_never_of_others(self, cleaner, make, state):
        row = make(state=state)

        assert url("delete", row) not in text(cleaner.get(url("change", row)))
        assert cleaner.post(url("delete", row), {"post": "yes"}).status_code == 403
        done = cleaner.post(
            reverse(LIST),
            {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"},
        )
        assert message(done) == (
            "warning",
            "1 removal is left out, because it is not finished.",
        )
        assert RemovedOrder.objects.exists()

    def test_of_several_finished_ones(self, cleaner, make):
        rows = [make(), make()]
        data = {"action": "delete_selected", "_selected_action": [row.pk for row in rows]}

        assert "left out" not in text(cleaner.post(reverse(LIST), data))
        cleaner.post(reverse(LIST), {**data, "post": "yes"})

        assert not RemovedOrder.objects.exists()

    def test_of_several_leaves_out_the_others(self, cleaner, make):
        states = ("removed", "failed", "unknown", "pending")
        rows = [make(order_number=state, state=state) for state in states]
        data = {"action": "delete_selected", "_selected_action": [row.pk for row in rows]}

        page = cleaner.post(reverse(LIST), data)

        assert "2 removals are left out, because they are not finished" in text(page)
        assert re.findall(r"Removed order: <a [^>]*>(\w+)", text(page)) == ["unknown", "removed"]
        cleaner.post(reverse(LIST), {**data, "post": "yes"})
        assert set(RemovedOrder.objects.values_list("order_number", flat=True)) == {
            "failed",
            "pending",
        }

    def test_needs_djangos_permission(self, staff, make):
        row = make()

        assert staff.post(url("delete", row), {"post": "yes"}).status_code == 403
        assert "delete_selected" not in text(staff.get(reverse(LIST)))


class TestSecurity:
    EVIL = "<script>alert(1)</script>"

    def test_whatever_comes_from_outside_is_escaped(self, make, komfortkasse, configure):
        staff = make_staff(
            "komfortkasse_django.view_removedorder",
            "komfortkasse_django.remove_order",
            "komfortkasse_django.delete_removedorder",
        )
        komfortkasse.answer = error(400, self.EVIL)
        for state in RemovedOrder.State.values:
            make(
                state=state,
                shop=self.EVIL,
                order_number=self.EVIL,
                payment_status=self.EVIL,
                reference_number=self.EVIL,
                amount=1,
                amount_paid=1,
                currency="<b>",
                last_error=self.EVIL,
                next_attempt_at=ahead(hours=-2) if state == "pending" else None,
            )
        rows = list(RemovedOrder.objects.all())
        make(state="failed", order_number="1001")

        pages = [
            staff.get(reverse(LIST)),
            staff.get(reverse(LIST), {"shop": self.EVIL, "q": self.EVIL}),
            staff.post(
                reverse(LIST),
                {
                    "action": "delete_selected",
                    "_selected_action": [row.pk for row in rows],
                },
            ),
            *(staff.get(url("change", row)) for row in rows),
            *(staff.post(url("try_again", row), follow=True) for row in rows),
        ]

        for page in pages:
            assert page.status_code == 200
            assert self.EVIL not in page.content.decode()
            assert "<b>" not in page.content.decode()
        assert "&lt;script&gt;" in pages[0].content.decode()

    @pytest.mark.parametrize(
        ("broken", "method", "page"),
        [
            ("komfortkasse_django.admin.removed_orders.obstacle", "get", "changelist"),
            ("komfortkasse_django.reports.wording.shops", "get", "change"),
            ("django.contrib.admin.models.LogEntry.objects.log_actions", "post", "try_again"),
        ],
    )
    def test_the_api_key_is_on_no_error_page(
        self, staff, make, configure, settings, monkeypatch, broken, method, page
    ):
        def fail(*args, **kwargs):
            configured = shops()
            raise RuntimeError(f"broken, with {len(configured)} shop in reach")

        # The page shows the source of what failed, so it must not be written here.
        key = secrets.token_hex()
        configure(API_KEY=key)
        settings.DEBUG = True
        monkeypatch.setattr(broken, fail)
        staff.raise_request_exception = False
        row = make(state="pending", next_attempt_at=ahead(hours=-2))

        answer = getattr(staff, method)(reverse(LIST) if page == "changelist" else url(page, row))

        assert answer.status_code == 500
        assert "broken, with 1 shop in reach" in answer.content.decode()
        assert key not in answer.content.decode()

    def test_a_strict_content_security_policy_finds_nothing_inline(self, staff, make):
        row = make(state="failed", last_error="x", amount_paid=1)

        for page in (staff.get(reverse(LIST)), staff.get(url("change", row))):
            html = text(page)
            assert "style=" not in html
            assert "<style" not in html
            assert not re.search(r"<script(?![^>]*src=)", html)
            assert not re.search(r"\son\w+=", html)
            assert "komfortkasse_django/admin.css" in html


class TestLanguages:
    def test_german(self, staff, make):
        make(
            state="pending",
            payment_status="CANCELLED",
            next_attempt_at=ahead(minutes=3, seconds=30),
            created_at=ahead(days=-3, seconds=-5),
            amount=Decimal("22.38"),
            currency="EUR",
        )

        # A request leaves its language behind, in this thread.
        with translation.override("en"):
            page = staff.get(reverse(LIST), headers={"accept-language": "de"})

        found = re.findall(r'<t[dh] class="field-(\w+)[^>]*>(.*?)</t[dh]>', text(page))
        row = {name: re.sub(r"<[^>]*>", "", cell) for name, cell in found}
        assert row["state_badge"] == "ausstehend"
        assert row["payment_status_label"] == "Storniert/überfällig"
        assert row["next_attempt"] == "in 4 Minuten"
        assert row["requested"] == "Löschung der Bestellung, vor 3 Tagen"
        assert row["amount_with_currency"] == f"22,38{NBSP}EUR"
