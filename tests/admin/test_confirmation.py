"""The page that asks before orders are removed."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from komfortkasse_django.admin.confirmation import Selection
from komfortkasse_django.models import RemovedOrder
from tests.shop.admin import OrderAdmin
from tests.shop.models import Order
from tests.support.order_pages import confirm, select, text

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


def test_the_order_of_the_orders_does_not_matter():
    """A list may be sorted by what many orders have in common."""
    orders = [(Order(pk=pk), [("default", f"100{pk}")]) for pk in (1, 2)]

    fingerprints = {
        Selection("default", found).fingerprint for found in (orders, orders[::-1], orders[:1])
    }

    assert len(fingerprints) == 2


class TestLeftOut:
    def test_orders_without_number(self, clerk, komfortkasse):
        orders = [Order.objects.create(number=number) for number in ("1001", "", None, " ")]

        page = select(clerk, orders)

        assert "Shall Komfortkasse remove this order?" in text(page)
        assert "No order number (3)" in text(page)
        for order in (orders[1], orders[3]):
            assert f"order {order.pk}" in text(page)
        confirm(clerk, page)
        assert komfortkasse.numbers == ["1001"]
        assert LogEntry.objects.count() == 1

    def test_orders_that_the_filter_declines(self, clerk, komfortkasse, configure):
        configure(ORDER_FILTER=lambda order: order.payment == "prepayment")
        paid = Order.objects.create(number="1001", payment="card")
        numberless = Order.objects.create(number="")
        order = Order.objects.create(number="1002")

        page = select(clerk, [paid, numberless, order])

        assert re.search(r"Not handled by Komfortkasse \(1\)</bdi>:\s+<bdi>1001", text(page))
        assert "No order number (1)" in text(page)
        confirm(clerk, page)
        assert komfortkasse.numbers == ["1002"]

    def test_numbers_that_cannot_be_sent_do_not_stop_the_others(self, clerk, komfortkasse):
        orders = [Order.objects.create(number=number) for number in ("9" * 256, "1001")]

        page = select(clerk, orders)

        assert "An order number that cannot be sent to Komfortkasse (1)" in text(page)
        confirm(clerk, page)
        assert komfortkasse.numbers == ["1001"]

    def test_with_nothing_left_there_is_no_button(self, clerk):
        page = select(clerk, [Order.objects.create(number="")])

        assert "None of the selected orders can be removed" in text(page)
        assert 'type="submit" class="default"' not in text(page)
        assert confirm(clerk, page).status_code == 200
        assert not RemovedOrder.objects.exists()

    def test_many_are_not_all_named(self, clerk):
        Order.objects.bulk_create(Order(number="") for _ in range(30))

        page = select(clerk, [Order.objects.first()], across=True)

        assert "No order number (30)" in text(page)
        assert "…" in text(page)

    def test_orders_that_the_user_may_not_see(self, clerk, komfortkasse, monkeypatch):
        may_see = OrderAdmin.has_view_permission
        monkeypatch.setattr(
            OrderAdmin,
            "has_view_permission",
            lambda self, request, obj=None: (
                may_see(self, request, obj) and (obj is None or obj.number != "1002")
            ),
        )
        orders = [Order.objects.create(number=number) for number in ("1001", "1002")]

        page = select(clerk, orders)

        assert "You may not see it (1)" in text(page)
        confirm(clerk, page)
        assert komfortkasse.numbers == ["1001"]


class TestKnownSoFar:
    def test_shows_the_latest_removal_of_each(self, clerk, order):
        common = {"shop": "default", "requested_via": "delete", "next_attempt_at": None}
        RemovedOrder.objects.create(order_number="1001", state="failed", **common)
        RemovedOrder.objects.create(
            order_number="1001", state="removed", amount_paid=20, currency="EUR", **common
        )
        RemovedOrder.objects.create(order_number="1002", state="unknown", **common)

        page = text(select(clerk, [order]))

        assert "komfortkasse-removed" in page
        assert "just now" in page
        assert "refund 20.00\xa0EUR" in page
        assert "komfortkasse-failed" not in page
        assert "komfortkasse-unknown" not in page

    def test_what_came_later_does_not_hide_what_is_open(self, clerk, order, make):
        make(amount_paid=20, currency="EUR")
        make(amount_paid=20, currency="EUR", settled_at=timezone.now())
        make(state="superseded")

        page = text(select(clerk, [order]))

        assert page.count("komfortkasse-refund") == 1
        assert page.count("komfortkasse-removed") == 2
        assert "komfortkasse-superseded" in page

    def test_costs_one_query_for_all(self, clerk, django_assert_num_queries):
        orders = [Order.objects.create(number=str(number)) for number in range(20)]
        with django_assert_num_queries(8):
            select(clerk, orders[:2])
        with django_assert_num_queries(8):
            select(clerk, orders)

    def test_names_the_shops_where_there_are_several(self, clerk, order, configure, komfortkasse):
        configure(aliases={"berlin": {}, "vienna": {}})
        RemovedOrder.objects.create(
            shop="vienna", order_number="1001", state="unknown", requested_via="delete"
        )

        page = select(clerk, [order])

        rows = re.findall(
            r"<td><bdi>(berlin|vienna)</bdi></td>\s*<td>(.*?)</td>", text(page), re.DOTALL
        )
        assert [(alias, "unknown to" in known) for alias, known in rows] == [
            ("berlin", False),
            ("vienna", True),
        ]
        confirm(clerk, page)
        assert komfortkasse.numbers == ["1001", "1001"]
        assert LogEntry.objects.count() == 1


class TestWarnings:
    def warnings(self, page) -> list[str]:
        return re.findall(r'<p class="komfortkasse-problem"><bdi>(.*?)</bdi></p>', text(page))

    def test_of_an_order_that_was_removed_before(self, clerk, order, make):
        make()

        page = select(clerk, [order])

        assert self.warnings(page) == ["Komfortkasse has removed this order before."]
        assert "Remove 1 order" in text(page), "it can still be removed again"

    @pytest.mark.parametrize("state", ["pending", "failed", "unknown", "superseded"])
    def test_none_where_komfortkasse_has_not_removed_it(self, clerk, order, make, state):
        make(state=state)
        make(order_number="1002")
        make(shop="another")

        assert self.warnings(select(clerk, [order])) == []

    def test_of_money_and_of_an_agency(self, clerk, order, make):
        make(amount_paid=54, currency="EUR", collection_file="4711")
        make(state="unknown")

        assert self.warnings(select(clerk, [order])) == [
            "Komfortkasse has removed this order before.",
            "Money had arrived: refund 54.00\xa0EUR for order 1001.",
            "A collection agency is at work: have it called off for order 1001.",
        ]

    def test_none_of_what_is_settled(self, clerk, order, make):
        make(amount_paid=54, collection_file="4711", settled_at=timezone.now())

        assert len(self.warnings(select(clerk, [order]))) == 1

    def test_of_all_orders_not_only_of_those_that_are_named(self, clerk, make):
        orders = [Order.objects.create(number=str(number)) for number in range(1000, 1600)]
        for order in (orders[0], orders[-1]):
            make(order_number=order.number, amount_paid=1, currency="EUR")

        page = select(clerk, orders)

        assert self.warnings(page) == [
            "Komfortkasse has removed 2 of these orders before.",
            "Money had arrived: refund 2.00\xa0EUR for the orders 1599, 1000.",
        ]

    def test_are_translated(self, clerk, order, make):
        make(amount_paid=54, currency="EUR")
        clerk.defaults["HTTP_ACCEPT_LANGUAGE"] = "de"

        assert self.warnings(select(clerk, [order])) == [
            "Komfortkasse hat diese Bestellung schon einmal entfernt.",
            ("Es war schon Geld eingegangen: Erstatten Sie 54,00\xa0EUR für die Bestellung 1001."),
        ]
