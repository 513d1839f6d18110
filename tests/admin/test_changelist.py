"""The head of the mirror's list, and its filters."""

import re
from html import unescape
from urllib.parse import parse_qsl

import pytest
from django.contrib.admin.views.main import ChangeList
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from komfortkasse_django.models import RemovedOrder, ShopState
from komfortkasse_django.reports.status import Status
from tests.support.mirror_pages import LIST, ahead, listed, text

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

NBSP = "\N{NO-BREAK SPACE}"


def problems(client: Client) -> list[str]:
    """What the head says is wrong, without tags."""
    page = text(client.get(reverse(LIST)))
    found = re.findall('<div class="komfortkasse-problem">(.*?)</div>', page)
    return [" ".join(re.sub("<[^>]*>", "", each).split()) for each in found]


class TestFilters:
    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({"to_do": "all"}, ["alive", "agency", "refund", "failed", "vain", "late"]),
            ({"to_do": "to_refund"}, ["refund"]),
            ({"to_do": "at_agency"}, ["agency"]),
            ({"to_do": "alive_again"}, ["alive"]),
            ({"to_do": "failed"}, ["failed"]),
            ({"to_do": "overdue"}, ["vain", "late"]),
            ({"to_do": "settled"}, ["settled"]),
            ({"state": "pending"}, ["vain", "soon", "late", "new"]),
            ({"state__exact": "failed"}, ["failed"]),
            ({"shop": "gone"}, ["failed"]),
            ({"to_do": "to_refund", "state__exact": "failed"}, []),
            (
                {},
                [
                    *("settled", "alive", "agency", "refunded", "refund", "failed", "vain"),
                    *("soon", "late", "new"),
                ],
            ),
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
        make(order_number="failed", state="failed", shop="gone", amount_paid=0)
        make(order_number="refund", payment_status="PAID", amount_paid=1)
        make(order_number="refunded", payment_status="REFUNDED", amount_paid=1)
        make(order_number="agency", collection_partner="Inkasso Nord")
        make(order_number="alive", alive_again_at=ahead(days=-1))
        make(order_number="settled", amount_paid=1, settled_at=ahead(days=-1))

        assert listed(staff, **query) == found

    @pytest.mark.parametrize(
        "parameter",
        [
            *("to_do", "shop", "state", "state__exact", "payment_status", "received", "q"),
            *("order_number__regex", "pk", "o", "attempts__in", "created_at__year"),
            *("shop__range", "p"),
        ],
    )
    @pytest.mark.parametrize("value", ["\0", "a\0b", "9" * 40, "[", ""])
    def test_survive_what_a_database_refuses(self, staff, make, parameter, value):
        make()

        page = staff.get(reverse(LIST), {parameter: value}, follow=True)

        assert page.status_code == 200
        assert "komfortkasse-overview" in text(page)

    def test_do_not_hide_trouble_that_has_another_cause(self, staff, monkeypatch):
        def fail(*args):
            raise OperationalError("the database is gone")

        monkeypatch.setattr(ChangeList, "get_results", fail)

        with pytest.raises(OperationalError, match="is gone"):
            staff.get(reverse(LIST), {"shop": "default"}, follow=True)

    def test_find_what_was_settled_last_week(self, staff, make):
        """With Django's own choices, as they are linked in the list."""
        for number, days in (("today", 0), ("lately", 5), ("long ago", 50)):
            make(order_number=number, amount_paid=5, settled_at=ahead(days=-days))
        make(order_number="not yet", amount_paid=5)

        page = staff.get(reverse(LIST)).content.decode()
        (query,) = re.findall(r'href="\?([^"]*)">Past 7 days', page)

        assert listed(staff, **dict(parse_qsl(unescape(query)))) == ["lately", "today"]

    def test_offer_all_there_is(self, staff):
        page = text(staff.get(reverse(LIST)))

        filters = page.partition('id="changelist-filter"')[2]
        for parameter, values in {
            "to_do": [
                *("all", "to_refund", "at_agency", "failed", "overdue", "alive_again", "settled"),
            ],
            "state__exact": RemovedOrder.State.values,
        }.items():
            assert re.findall(rf'href="\?{parameter}=(\w+)"', filters) == values

    def test_are_not_counted(self, staff):
        assert "Show counts" not in text(staff.get(reverse(LIST)))


class TestOverview:
    def test_leads_to_what_is_to_do_and_then_to_the_rest(self, staff, make):
        make(order_number="new", state="pending")
        make(order_number="late", state="pending", created_at=ahead(hours=-2))
        make(order_number="failed", state="failed")
        make(order_number="unknown", state="unknown")
        make(order_number="superseded", state="superseded")
        make(order_number="paid", amount_paid=20, currency="EUR")
        make(order_number="overpaid", amount_paid="1500.5", currency="EUR")
        make(order_number="swiss", amount_paid=5, currency="CHF")
        make(order_number="free", amount_paid=0, currency="EUR")
        make(order_number="refunded", amount_paid=7, payment_status="REFUNDED", currency="EUR")
        make(order_number="settled", amount_paid=7, settled_at=ahead(), currency="EUR")
        make(order_number="agency", collection_file="AZ 1", currency="EUR")
        make(order_number="alive", alive_again_at=ahead())

        page = text(staff.get(reverse(LIST)))

        overview = page.partition('class="komfortkasse-overview"')[2].partition("</section>")[0]
        links = [
            (re.sub("<[^>]*>", "", words), query.replace("&amp;", "&"))
            for query, words in re.findall(r'<a href="(\?[^"]*)">(.*?)</a>', overview)
        ]
        assert links == [
            ("7 to do", "?to_do=all"),
            (f"3 refunds (5.00{NBSP}CHF, 1,520.50{NBSP}EUR)", "?to_do=to_refund"),
            ("1 order at a collection agency", "?to_do=at_agency"),
            ("1 failed", "?to_do=failed"),
            ("1 overdue", "?to_do=overdue"),
            ("1 order is alive again", "?to_do=alive_again"),
            ("2 pending", "?state__exact=pending"),
            ("8 removed", "?state__exact=removed"),
            ("1 unknown to Komfortkasse", "?state__exact=unknown"),
            ("1 superseded", "?state__exact=superseded"),
        ]
        for words, query in links:
            rows = staff.get(reverse(LIST) + query).context["cl"].result_list
            assert len(rows) == int(words.split()[0]), query

    def test_of_an_empty_mirror(self, staff):
        page = text(staff.get(reverse(LIST)))

        assert "There is nothing to do." in page
        assert "komfortkasse-counts" not in page
        assert "komfortkasse-rest" not in page
        assert "komfortkasse-problem" not in page

    def test_large_numbers_are_grouped(self, staff, make, monkeypatch):
        make(state="failed")
        monkeypatch.setattr(Status, "in_state", lambda *args: 1234567)

        assert "1,234,567 failed" in text(staff.get(reverse(LIST)))

    def test_says_what_to_do_about_overdue_rows(self, staff, make):
        make(state="pending", created_at=ahead(hours=-2), next_attempt_at=ahead(hours=-2))

        [problem] = problems(staff)

        assert "1 removal is overdue: nothing seems to send removals." in problem
        assert problem.endswith(
            "For whoever looks after the website:"
            " Is komfortkasse_push running? It should be run every minute."
        )

    def test_says_why_rows_cannot_be_sent(self, staff, make, configure):
        configure(aliases={"off": {"ENABLED": False}})
        for shop in ("off", "gone", "gone"):
            make(shop=shop, state="pending", created_at=ahead(hours=-2))
        ShopState.objects.create(shop="default", paused_until=ahead(hours=-1))

        page = text(staff.get(reverse(LIST)))

        assert "1 removal is overdue: the shop off is switched off" in page
        assert re.search("Shop gone, since [^<>]+: the shop gone is not in the settings", page)

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
            ("authentication_failed", "until those who look after the website have corrected it"),
            ("authentication_failed", "website: Correct API_KEY, and test it"),
            ("service_unavailable", "should pass by itself."),
            ("of_another_version", "website: The log has the whole error."),
        ],
    )
    def test_says_what_to_do_about_a_pause(self, staff, code, says):
        ShopState.objects.create(
            shop="default", paused_until=ahead(minutes=5), failures=3, error_code=code
        )

        [problem] = problems(staff)
        assert says in problem

    def test_says_at_once_what_stops_all_removals(self, staff, make, configure):
        configure(aliases={"a": {}, "b": {}})
        ShopState.objects.create(
            shop="a",
            failures=1,
            failing_since=ahead(minutes=-1),
            error_code="authentication_failed",
            last_error="The answer was 401.",
        )
        for _ in range(10):
            make(shop="b", state="unknown", finished_at=ahead(minutes=-1))

        first, second = problems(staff)
        assert first.startswith("Shop a, since ")
        assert "does not accept the API key. The API key in the shop" in first
        assert "until those who look after the website have corrected it" in first
        assert "website: The answer was 401. Correct API_KEY" in first
        assert second.startswith("Shop b, since ")
        assert "Komfortkasse knew none of the last 10 orders." in second
        assert "website: Are ORDER_NUMBER, API_KEY and API_URL those of this shop?" in second

    def test_a_pause_that_is_over_is_none(self, staff):
        ShopState.objects.create(shop="default", paused_until=ahead(seconds=-1))

        assert "is paused until" not in text(staff.get(reverse(LIST)))
