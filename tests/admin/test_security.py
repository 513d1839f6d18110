"""Text from outside never becomes markup, and nobody sees the API key."""

import re
import secrets

import pytest
from django.urls import reverse

from komfortkasse_django.conf import shops
from komfortkasse_django.models import RemovedOrder, ShopState
from tests.shop.models import Order
from tests.support.komfortkasse import error
from tests.support.mirror_pages import LIST, ahead, text, url
from tests.support.order_pages import confirm, removal_url, select
from tests.support.staff import make_staff

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


class TestOrderPages:
    EVIL = "<script>alert(1)</script>"

    def test_everything_is_escaped(self, clerk, komfortkasse):
        evil = Order.objects.create(number=self.EVIL)
        long = Order.objects.create(number=(self.EVIL * 20)[:300])
        RemovedOrder.objects.create(
            shop="default",
            order_number=self.EVIL,
            requested_via="code",
            state="removed",
            amount_paid=1,
            currency=self.EVIL[:16],
        )

        page = select(clerk, [evil, long])
        done = confirm(clerk, page)

        assert self.EVIL not in text(page)
        assert self.EVIL[:16] not in text(page)
        assert "&lt;script&gt;alert(1)" in text(page)
        assert self.EVIL not in text(clerk.get(done.url))

    def test_the_api_key_is_not_on_an_error_page(self, order, configure, settings):
        def broken(order):
            raise RuntimeError("the shop's filter")

        # The page shows the source of what failed, so it must not be written here.
        key = secrets.token_hex()
        configure(ORDER_FILTER=broken, API_KEY=key)
        settings.DEBUG = True
        clerk = make_staff("shop.view_order", "komfortkasse_django.remove_order")
        clerk.raise_request_exception = False

        page = clerk.get(removal_url(order))

        assert page.status_code == 500
        assert "the shop&#x27;s filter" in text(page)
        assert key not in text(page)


class TestMirrorPages:
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
                settled_at=None if state == "removed" else ahead(),
                collection_partner=self.EVIL,
                collection_file=self.EVIL,
                collection_status=self.EVIL,
                last_error=self.EVIL,
                error_code="unforeseen",
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
            staff.post(
                reverse(LIST),
                {"action": "settle", "_selected_action": [row.pk for row in rows]},
            ),
            *(staff.get(url("change", row)) for row in rows),
            *(staff.post(url("try_again", row), follow=True) for row in rows),
            *(staff.post(url("settle", row), {"note": self.EVIL}, follow=True) for row in rows),
        ]

        for page in pages:
            assert page.status_code == 200
            assert self.EVIL not in page.content.decode()
            assert "<b>" not in page.content.decode()
        assert "&lt;script&gt;" in pages[0].content.decode()

    @pytest.mark.parametrize(
        ("broken", "method", "page"),
        [
            ("komfortkasse_django.admin.removed_orders.counts_of", "get", "changelist"),
            ("komfortkasse_django.reports.reasons.shops", "get", "change"),
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
        row = make(state="pending", created_at=ahead(hours=-2))

        answer = getattr(staff, method)(reverse(LIST) if page == "changelist" else url(page, row))

        assert answer.status_code == 500
        assert "broken, with 1 shop in reach" in answer.content.decode()
        assert key not in answer.content.decode()

    def test_a_strict_content_security_policy_finds_nothing_inline(self, staff, make):
        ShopState.objects.create(shop="default", paused_until=ahead(minutes=5))
        failed = make(state="failed", error_code="unforeseen", last_error="x")
        paid = make(amount_paid=1, collection_partner="x", alive_again_at=ahead())

        for page in (
            staff.get(reverse(LIST)),
            staff.get(url("change", failed)),
            staff.get(url("change", paid)),
            staff.post(reverse(LIST), {"action": "settle", "_selected_action": paid.pk}),
        ):
            html = text(page)
            assert "style=" not in html
            assert "<style" not in html
            assert not re.search(r"<script(?![^>]*src=)", html)
            assert not re.search(r"\son\w+=", html)
            assert "komfortkasse_django/admin.css" in html
