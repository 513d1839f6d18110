"""Removing orders from Komfortkasse by hand, in the admin of the shop's own orders."""

import os
import re
import secrets
import subprocess
import sys
import textwrap
from html import unescape
from pathlib import Path

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.sites import all_sites
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from komfortkasse_django import order_admin
from komfortkasse_django.admin import OrderAdminMixin
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.selections import Selection
from tests.shop.admin import ArchivedOrderAdmin, OrderAdmin, staff_site
from tests.shop.models import ArchivedOrder, Customer, GiftOrder, IntegerOrder, Order
from tests.support.komfortkasse import error
from tests.support.routers import MirrorElsewhere, OrdersFromAReplica
from tests.support.staff import make_staff, message

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "admin:shop_order_changelist"
BUTTON = "Remove from Komfortkasse"
ACTION = "remove_from_komfortkasse"


@pytest.fixture
def staff() -> Client:
    """May see orders and remove them, and nothing else."""
    return make_staff("shop.view_order", "komfortkasse_django.remove_order")


@pytest.fixture
def order() -> Order:
    return Order.objects.create(number="1001")


def form_url(order: Order) -> str:
    return reverse("admin:shop_order_change", args=[order.pk])


def removal_url(order: Order) -> str:
    return reverse("admin:shop_order_remove_from_komfortkasse", args=[order.pk])


def fields_of(page: str) -> dict[str, list[str]]:
    """What the confirmation form would send."""
    found: dict[str, list[str]] = {}
    form = page[page.index('class="komfortkasse-confirmation"') :]
    for tag in re.findall(r"<input type=\"hidden\"[^>]*>", form):
        name, value = (
            re.search(f'{attribute}="([^"]*)"', tag)[1] for attribute in ("name", "value")
        )
        found.setdefault(unescape(name), []).append(unescape(value))
    return found


def select(client: Client, orders, *, url: str | None = None, across: bool = False):
    """Choose the action in the list, and return the confirmation page."""
    data = {
        "action": [ACTION],
        "_selected_action": [str(order.pk) for order in orders],
        "select_across": ["1" if across else "0"],
        "index": ["0"],
    }
    return client.post(url or reverse(LIST), data)


def confirm(client: Client, response, *, url: str | None = None):
    """Send the form of a confirmation page."""
    return client.post(url or response.request["PATH_INFO"], fields_of(text(response)))


def text(response) -> str:
    return response.content.decode()


class TestFromTheList:
    def test_is_confirmed_then_removed_and_logged(self, staff, komfortkasse):
        orders = [Order.objects.create(number=number) for number in ("1001", "1002", "1003")]

        page = select(staff, orders[:2])

        assert page.status_code == 200
        assert "these 2 orders" in text(page)
        assert "cannot be undone" in text(page)
        assert "1001" in text(page)
        assert "1002" in text(page)
        assert "1003" not in text(page)
        assert komfortkasse.numbers == []
        assert not RemovedOrder.objects.exists()

        done = confirm(staff, page)

        assert done.status_code == 302
        assert done.url == reverse(LIST)
        assert sorted(komfortkasse.numbers) == ["1001", "1002"]
        assert set(RemovedOrder.objects.values_list("order_number", "requested_via", "state")) == {
            ("1001", "admin", "removed"),
            ("1002", "admin", "removed"),
        }
        assert message(done) == ("success", "Komfortkasse: 2 removed.")
        assert Order.objects.count() == 3
        logged = LogEntry.objects.filter(action_flag=CHANGE)
        assert {(entry.object_id, entry.object_repr) for entry in logged} == {
            (str(order.pk), order.number) for order in orders[:2]
        }
        assert {entry.change_message for entry in logged} == {"Asked Komfortkasse to remove it."}
        assert {entry.get_edited_object() for entry in logged} == set(orders[:2])

    def test_keeps_the_filters(self, staff, order, komfortkasse):
        url = reverse(LIST) + "?payment=prepayment"

        done = confirm(staff, select(staff, [order], url=url), url=url)

        assert done.url == url
        assert komfortkasse.numbers == ["1001"]

    def test_all_pages_of_a_filter(self, staff, komfortkasse):
        Order.objects.bulk_create(Order(number=str(number)) for number in range(1000, 1150))
        Order.objects.create(number="card", payment="card")
        first = Order.objects.get(number="1000")
        url = reverse(LIST) + "?payment=prepayment"

        page = select(staff, [first], url=url, across=True)

        assert "these 150 orders" in text(page)
        assert text(page).count("/change/") == 100
        assert "and 50 more" in text(page)
        assert len(fields_of(text(page))["_selected_action"]) == 1
        done = confirm(staff, page, url=url)
        assert message(done) == ("success", "Komfortkasse: 150 removed.")
        assert sorted(komfortkasse.numbers) == [str(number) for number in range(1000, 1150)]
        assert LogEntry.objects.count() == 150

    def test_many_are_recorded_in_bulk_and_pushed_within_the_budget(
        self, staff, komfortkasse, configure, django_assert_max_num_queries
    ):
        configure(REQUEST_BUDGET=0)
        Order.objects.bulk_create(Order(number=str(number)) for number in range(2000))
        page = select(staff, [Order.objects.first()], across=True)

        with django_assert_max_num_queries(2000 // 60 + 2000 // 80 + 20):
            done = confirm(staff, page)

        assert message(done) == ("warning", "Komfortkasse: 2000 are still to be sent.")
        assert RemovedOrder.objects.due().count() == 2000
        assert LogEntry.objects.count() == 2000

    def test_orders_that_appear_after_the_confirmation_are_not_removed(self, staff, komfortkasse):
        first = Order.objects.create(number="1001")
        page = select(staff, [first], across=True)
        Order.objects.create(number="1002")

        again = confirm(staff, page)

        assert again.status_code == 200
        assert "have changed in the meantime" in text(again)
        assert "these 2 orders" in text(again)
        assert komfortkasse.numbers == []
        assert "have changed" not in text(page)
        confirm(staff, again)
        assert sorted(komfortkasse.numbers) == ["1001", "1002"]

    def test_a_number_that_changes_after_the_confirmation_is_not_removed(
        self, staff, order, komfortkasse
    ):
        page = select(staff, [order])
        Order.objects.filter(pk=order.pk).update(number="1002")

        assert "have changed in the meantime" in text(confirm(staff, page))
        assert komfortkasse.numbers == []

    @pytest.mark.parametrize("confirmed", ["", "yes", "0" * 64])
    def test_nothing_but_the_confirmation_removes(self, staff, order, komfortkasse, confirmed):
        page = select(staff, [order])
        data = {**fields_of(text(page)), "confirmed": confirmed}

        assert staff.post(reverse(LIST), data).status_code == 200
        assert not RemovedOrder.objects.exists()

    def test_orders_that_are_gone_meanwhile(self, staff, order, komfortkasse):
        page = select(staff, [order])
        Order.objects.filter(pk=order.pk)._raw_delete("default")

        again = confirm(staff, page)

        assert "None of the selected orders" in text(again)
        assert not RemovedOrder.objects.exists()


def test_the_order_of_the_orders_does_not_matter():
    """A list may be sorted by what many orders have in common."""
    orders = [(Order(pk=pk), [("default", f"100{pk}")]) for pk in (1, 2)]

    fingerprints = {
        Selection("default", found).fingerprint for found in (orders, orders[::-1], orders[:1])
    }

    assert len(fingerprints) == 2


class TestLeftOut:
    def test_orders_without_number(self, staff, komfortkasse):
        orders = [Order.objects.create(number=number) for number in ("1001", "", None, " ")]

        page = select(staff, orders)

        assert "Shall Komfortkasse remove this order?" in text(page)
        assert "No order number (3)" in text(page)
        for order in (orders[1], orders[3]):
            assert f"order {order.pk}" in text(page)
        confirm(staff, page)
        assert komfortkasse.numbers == ["1001"]
        assert LogEntry.objects.count() == 1

    def test_orders_that_the_filter_declines(self, staff, komfortkasse, configure):
        configure(ORDER_FILTER=lambda order: order.payment == "prepayment")
        paid = Order.objects.create(number="1001", payment="card")
        numberless = Order.objects.create(number="")
        order = Order.objects.create(number="1002")

        page = select(staff, [paid, numberless, order])

        assert re.search(r"Not handled by Komfortkasse \(1\):\s+1001", text(page))
        assert "No order number (1)" in text(page)
        confirm(staff, page)
        assert komfortkasse.numbers == ["1002"]

    def test_numbers_that_cannot_be_sent_do_not_stop_the_others(self, staff, komfortkasse):
        orders = [Order.objects.create(number=number) for number in ("9" * 256, "1001")]

        page = select(staff, orders)

        assert "An order number that cannot be sent to Komfortkasse (1)" in text(page)
        confirm(staff, page)
        assert komfortkasse.numbers == ["1001"]

    def test_with_nothing_left_there_is_no_button(self, staff):
        page = select(staff, [Order.objects.create(number="")])

        assert "None of the selected orders can be removed" in text(page)
        assert 'type="submit" class="default"' not in text(page)
        assert confirm(staff, page).status_code == 200
        assert not RemovedOrder.objects.exists()

    def test_many_are_not_all_named(self, staff):
        Order.objects.bulk_create(Order(number="") for _ in range(30))

        page = select(staff, [Order.objects.first()], across=True)

        assert "No order number (30)" in text(page)
        assert "…" in text(page)

    def test_orders_that_the_user_may_not_see(self, staff, komfortkasse, monkeypatch):
        may_see = OrderAdmin.has_view_permission
        monkeypatch.setattr(
            OrderAdmin,
            "has_view_permission",
            lambda self, request, obj=None: (
                may_see(self, request, obj) and (obj is None or obj.number != "1002")
            ),
        )
        orders = [Order.objects.create(number=number) for number in ("1001", "1002")]

        page = select(staff, orders)

        assert "You may not see it (1)" in text(page)
        confirm(staff, page)
        assert komfortkasse.numbers == ["1001"]


class TestKnownSoFar:
    def test_shows_the_latest_removal_of_each(self, staff, order):
        common = {"shop": "default", "requested_via": "delete", "next_attempt_at": None}
        RemovedOrder.objects.create(order_number="1001", state="failed", **common)
        RemovedOrder.objects.create(
            order_number="1001", state="removed", amount_paid=20, currency="EUR", **common
        )
        RemovedOrder.objects.create(order_number="1002", state="unknown", **common)

        page = text(select(staff, [order]))

        assert "komfortkasse-removed" in page
        assert "just now" in page
        assert "20.00\xa0EUR: refund needed" in page
        assert "komfortkasse-failed" not in page
        assert "komfortkasse-unknown" not in page

    def test_costs_one_query_for_all(self, staff, django_assert_num_queries):
        orders = [Order.objects.create(number=str(number)) for number in range(20)]
        with django_assert_num_queries(8):
            select(staff, orders[:2])
        with django_assert_num_queries(8):
            select(staff, orders)

    def test_names_the_shops_where_there_are_several(self, staff, order, configure, komfortkasse):
        configure(aliases={"berlin": {}, "vienna": {}})
        RemovedOrder.objects.create(
            shop="vienna", order_number="1001", state="unknown", requested_via="delete"
        )

        page = select(staff, [order])

        rows = re.findall(r"<td>(berlin|vienna)</td>\s*<td>(.*?)</td>", text(page), re.DOTALL)
        assert [(alias, "unknown to" in known) for alias, known in rows] == [
            ("berlin", False),
            ("vienna", True),
        ]
        confirm(staff, page)
        assert komfortkasse.numbers == ["1001", "1001"]
        assert LogEntry.objects.count() == 1


class TestFromTheForm:
    def test_button_leads_to_the_confirmation_that_removes(self, staff, order, komfortkasse):
        form = staff.get(form_url(order))
        assert f'href="{removal_url(order)}"' in text(form)
        assert BUTTON in text(form)

        page = staff.get(removal_url(order))

        assert "remove this order?" in text(page)
        assert komfortkasse.numbers == []
        done = confirm(staff, page)
        assert done.url == form_url(order)
        assert message(done) == ("success", "Komfortkasse: 1 removed.")
        assert komfortkasse.numbers == ["1001"]
        [entry] = LogEntry.objects.all()
        assert entry.get_edited_object() == order
        assert "Asked Komfortkasse to remove it." in text(
            staff.get(reverse("admin:shop_order_history", args=[order.pk]))
        )

    def test_what_was_not_shown_is_not_removed(self, staff, order, komfortkasse):
        page = staff.get(removal_url(order))
        Order.objects.filter(pk=order.pk).update(number="1002")

        assert "have changed" in text(confirm(staff, page))
        assert komfortkasse.numbers == []

    def test_of_an_order_that_does_not_exist(self, staff):
        for key in ("999999", "no-key"):
            url = reverse("admin:shop_order_remove_from_komfortkasse", args=[key])
            assert staff.get(url).status_code == 404

    def test_not_while_adding(self):
        staff = make_staff("shop.add_order", "shop.view_order", "komfortkasse_django.remove_order")

        assert BUTTON not in text(staff.get(reverse("admin:shop_order_add")))

    def test_after_an_invalid_form_the_button_is_still_there(self):
        staff = make_staff("shop.change_order", "komfortkasse_django.remove_order")
        order = Order.objects.create(number="1001")

        assert BUTTON in text(staff.post(form_url(order), {}))

    def test_leaves_alone_what_is_no_template(self, staff, order, monkeypatch):
        monkeypatch.setattr(
            admin.ModelAdmin, "render_change_form", lambda *args, **kwargs: HttpResponse("own")
        )

        assert text(staff.get(form_url(order))) == "own"


class TestOutcomes:
    @pytest.mark.parametrize(
        "case",
        [
            (error(404), "success", "1 unknown to Komfortkasse"),
            (error(400, "no"), "error", "1 refused by Komfortkasse"),
            (
                ConnectionError(),
                "warning",
                "1 will be tried again in less than a minute: no connection",
            ),
            (
                error(503),
                "warning",
                (
                    "1 will be tried again in less than a minute:"
                    " Komfortkasse is out of order or overloaded"
                ),
            ),
        ],
    )
    def test_are_told_in_plain_words(self, staff, order, komfortkasse, case):
        komfortkasse.answer, level, expected = case

        done = confirm(staff, staff.get(removal_url(order)))

        assert message(done) == (level, f"Komfortkasse: {expected}.")
        assert Order.objects.exists()

    def test_with_requests_that_are_transactions(self, staff, order, komfortkasse, monkeypatch):
        """What is told is known only after the view has ended."""
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)

        done = confirm(staff, staff.get(removal_url(order)))

        assert komfortkasse.numbers == ["1001"]
        assert message(done) == ("success", "Komfortkasse: 1 removed.")

    def test_what_cannot_be_logged_is_not_removed(self, staff, order, komfortkasse, monkeypatch):
        def broken(*args, **kwargs):
            raise RuntimeError

        page = staff.get(removal_url(order))
        monkeypatch.setattr(LogEntry.objects.__class__, "log_actions", broken)

        with pytest.raises(RuntimeError):
            confirm(staff, page)

        assert not RemovedOrder.objects.exists()
        assert komfortkasse.numbers == []

    def test_what_cannot_be_told_has_happened_all_the_same(
        self, staff, order, komfortkasse, monkeypatch, caplog
    ):
        monkeypatch.setattr(order_admin, "report", None)

        done = confirm(staff, staff.get(removal_url(order)))

        assert done.status_code == 302
        assert komfortkasse.numbers == ["1001"]
        assert "_remove.<locals>.tell" in caplog.text

    @pytest.mark.django_db(transaction=True, databases=["default", "other"])
    def test_with_a_mirror_elsewhere(self, staff, order, komfortkasse, settings):
        settings.DATABASE_ROUTERS = [MirrorElsewhere()]

        done = confirm(staff, staff.get(removal_url(order)))

        assert message(done) == ("success", "Komfortkasse: 1 removal is recorded.")
        assert RemovedOrder.objects.using("other").get().state == "removed"


class TestDatabases:
    pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

    def test_what_is_removed_is_read_where_it_is_written(
        self, staff, order, komfortkasse, settings
    ):
        Order(pk=order.pk, number="stale").save(using="other")
        settings.DATABASE_ROUTERS = [OrdersFromAReplica()]

        done = confirm(staff, staff.get(removal_url(order)))

        assert komfortkasse.numbers == ["1001"]
        assert message(done) == ("success", "Komfortkasse: 1 removed.")

    def test_orders_that_the_shop_keeps_elsewhere(self, staff, komfortkasse, monkeypatch):
        order = Order(number="1001")
        order.save(using="other")
        monkeypatch.setattr(
            OrderAdmin, "get_queryset", lambda self, request: Order.objects.using("other")
        )

        confirm(staff, staff.get(removal_url(order)))

        assert komfortkasse.numbers == ["1001"]
        assert RemovedOrder.objects.using("other").get().state == "removed"
        assert not RemovedOrder.objects.exists()


class TestPermissions:
    def test_anonymous_users_are_sent_to_the_login(self, client, order):
        for method in (client.get, client.post):
            for url in (removal_url(order), reverse(LIST)):
                response = method(url, {"action": ACTION, "_selected_action": order.pk})
                assert response.status_code == 302
                assert response.url.startswith("/admin/login/")
        assert not RemovedOrder.objects.exists()

    @pytest.mark.parametrize(
        "permissions",
        [
            ["shop.view_order", "shop.change_order", "shop.delete_order"],
            ["shop.view_order", "komfortkasse_django.delete_removedorder"],
        ],
    )
    def test_without_the_permission_nothing_is_shown_or_done(self, order, permissions):
        staff = make_staff(*permissions)

        assert BUTTON not in text(staff.get(form_url(order)))
        assert ACTION not in text(staff.get(reverse(LIST)))
        assert staff.get(removal_url(order)).status_code == 403
        assert staff.post(removal_url(order), {"confirmed": "x"}).status_code == 403
        data = {"action": ACTION, "_selected_action": order.pk, "confirmed": "x"}
        assert "None of the" not in text(staff.post(reverse(LIST), data, follow=True))
        assert not RemovedOrder.objects.exists()

    def test_without_a_permission_for_orders(self, order):
        staff = make_staff("komfortkasse_django.remove_order")

        assert staff.get(removal_url(order)).status_code == 403

    def test_the_shops_permission_to_delete_does_not_matter(self, staff, order):
        assert ACTION in text(staff.get(reverse(LIST)))
        assert staff.get(removal_url(order)).status_code == 200

    def test_a_form_of_another_website_does_nothing(self, order):
        staff = make_staff("shop.view_order", "komfortkasse_django.remove_order")
        page = staff.get(removal_url(order))
        strict = Client(enforce_csrf_checks=True)
        strict.cookies = staff.cookies

        for url in (removal_url(order), reverse(LIST)):
            data = {
                **fields_of(text(page)),
                "action": ACTION,
                "_selected_action": order.pk,
            } | {"csrfmiddlewaretoken": ""}
            assert strict.post(url, data).status_code == 403
        assert not RemovedOrder.objects.exists()

    def test_get_changes_nothing(self, staff, order):
        page = staff.get(removal_url(order))

        staff.get(removal_url(order), fields_of(text(page)))
        staff.get(reverse(LIST), {**fields_of(text(page)), "p": ["1"]})

        assert not RemovedOrder.objects.exists()


class TestSecurity:
    EVIL = "<script>alert(1)</script>"

    def test_everything_is_escaped(self, staff, komfortkasse):
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

        page = select(staff, [evil, long])
        done = confirm(staff, page)

        assert self.EVIL not in text(page)
        assert self.EVIL[:16] not in text(page)
        assert "&lt;script&gt;alert(1)" in text(page)
        assert self.EVIL not in text(staff.get(done.url))

    def test_the_api_key_is_not_on_an_error_page(self, order, configure, settings):
        def broken(order):
            raise RuntimeError("the shop's filter")

        # The page shows the source of what failed, so it must not be written here.
        key = secrets.token_hex()
        configure(ORDER_FILTER=broken, API_KEY=key)
        settings.DEBUG = True
        staff = make_staff("shop.view_order", "komfortkasse_django.remove_order")
        staff.raise_request_exception = False

        page = staff.get(removal_url(order))

        assert page.status_code == 500
        assert "the shop&#x27;s filter" in text(page)
        assert key not in text(page)


class TestAttachment:
    def test_the_class_is_the_shops_own_by_name(self):
        extended = type(admin.site.get_model_admin(Order))

        assert issubclass(extended, OrderAdminMixin)
        assert issubclass(extended, OrderAdmin)
        assert (
            extended.__name__,
            extended.__qualname__,
            extended.__module__,
            extended.__doc__,
        ) == (
            "OrderAdmin",
            "OrderAdmin",
            "tests.shop.admin",
            "The shop's docstring.",
        )

    def test_the_shops_own_things_survive(self, staff, order):
        form = text(staff.get(form_url(order)))
        assert "The shop's refund" in form
        assert "shop/orders.css" in form
        assert reverse("admin:shop_order_history", args=[order.pk]) in form
        assert "Archive selected orders" in text(staff.get(reverse(LIST)))
        assert text(staff.get(reverse("admin:shop_refunds"))) == "the shop's refunds"
        assert not admin.site.get_model_admin(Order).has_delete_permission(
            staff.get(reverse(LIST)).wsgi_request
        )

    def test_on_every_site(self, order, komfortkasse):
        staff = make_staff("shop.view_order", "komfortkasse_django.remove_order")
        form = text(staff.get(reverse("staff:shop_order_change", args=[order.pk])))
        url = reverse("staff:shop_order_remove_from_komfortkasse", args=[order.pk])

        assert f'href="{url}"' in form
        page = staff.get(url)
        assert 'href="/staff/' in text(page)
        assert 'href="/admin/' not in text(page)
        done = confirm(staff, page)
        assert done.url == reverse("staff:shop_order_change", args=[order.pk])
        assert type(staff_site.get_model_admin(Order)).__name__ == "StaffOrderAdmin"

    def test_proxies(self, komfortkasse):
        staff = make_staff("shop.view_archivedorder", "komfortkasse_django.remove_order")
        order = ArchivedOrder.objects.create(number="1001")
        url = reverse("admin:shop_archivedorder_remove_from_komfortkasse", args=[order.pk])

        assert isinstance(admin.site.get_model_admin(ArchivedOrder), ArchivedOrderAdmin)
        confirm(staff, staff.get(url))
        assert komfortkasse.numbers == ["1001"]
        [entry] = LogEntry.objects.all()
        assert entry.content_type.model == "archivedorder"

    def test_a_shop_that_wants_no_actions_gets_none(self):
        staff = make_staff("shop.view_archivedorder", "komfortkasse_django.remove_order")

        assert admin.site.get_model_admin(ArchivedOrder).actions is None
        assert ACTION not in text(staff.get(reverse("admin:shop_archivedorder_changelist")))

    def test_others_are_left_alone(self):
        for model, model_admin in admin.site._registry.items():
            assert isinstance(model_admin, OrderAdminMixin) == (model in {Order, ArchivedOrder})

    def test_twice_is_like_once(self):
        before = {site: dict(site._registry) for site in (admin.site, staff_site)}

        order_admin.attach()

        assert {site: dict(site._registry) for site in (admin.site, staff_site)} == before

    def test_not_where_the_admin_is_not_installed(self, monkeypatch):
        attached = []
        monkeypatch.setattr(order_admin, "attach", lambda: attached.append(True))
        config = apps.get_app_config("komfortkasse_django")

        config.ready()
        assert attached == [True]
        monkeypatch.setattr(apps, "is_installed", lambda name: False)
        config.ready()
        assert attached == [True]

    def test_passes_djangos_own_checks(self):
        assert [each for each in run_checks() if not each.is_silenced()] == []

    def test_switched_off_shops_show_nothing(self, staff, order, configure):
        configure(ENABLED=False)

        assert BUTTON not in text(staff.get(form_url(order)))
        assert ACTION not in text(staff.get(reverse(LIST)))
        assert staff.get(removal_url(order)).status_code == 403


@pytest.fixture
def site():
    """A site of its own, gone with the test."""
    site = admin.AdminSite("own")
    yield site
    all_sites.discard(site)


class TestWhatIsAttached:
    class PlainAdmin(admin.ModelAdmin):
        pass

    def is_extended(self, site, model) -> bool:
        return isinstance(site.get_model_admin(model), OrderAdminMixin)

    def test_only_where_it_is_registered(self, site):
        site.register(Customer, self.PlainAdmin)

        order_admin.attach()

        assert not site.is_registered(Order)
        assert not self.is_extended(site, Customer)

    def test_a_class_within_another_keeps_its_full_name(self, site):
        site.register(Order, self.PlainAdmin)

        order_admin.attach()

        assert self.is_extended(site, Order)
        extended = type(site.get_model_admin(Order))
        assert extended.__qualname__ == "TestWhatIsAttached.PlainAdmin"

    @pytest.mark.parametrize("option", ["EXTEND_ORDER_ADMIN", "ENABLED"])
    def test_not_where_it_is_switched_off(self, site, configure, option):
        configure(**{option: False})
        site.register(Order, self.PlainAdmin)

        order_admin.attach()

        assert not self.is_extended(site, Order)
        assert order_admin.check_attached() == []

    def test_not_for_a_model_that_does_not_exist(self, site, configure):
        configure(ORDER_MODEL="shop.Nothing")
        site.register(Order, self.PlainAdmin)

        order_admin.attach()

        assert not self.is_extended(site, Order)

    def test_not_what_has_the_mixin_already(self, site):
        class OwnAdmin(OrderAdminMixin, admin.ModelAdmin):
            pass

        site.register(Order, OwnAdmin)
        order_admin.attach()

        assert type(site.get_model_admin(Order)) is OwnAdmin
        assert site.get_model_admin(Order).actions == [ACTION]

    def test_the_mixin_serves_children_too(self, site, komfortkasse):
        class OwnAdmin(OrderAdminMixin, admin.ModelAdmin):
            pass

        site.register(GiftOrder, OwnAdmin)
        site.register(IntegerOrder, OwnAdmin)
        request = Client().get("/").wsgi_request
        request.user = User(is_superuser=True)

        may = {
            model: site.get_model_admin(model).has_remove_from_komfortkasse_permission(request)
            for model in (GiftOrder, IntegerOrder)
        }
        assert may == {GiftOrder: True, IntegerOrder: False}


class TestCheck:
    def test_says_what_was_registered_too_late(self, site):
        class LateAdmin(admin.ModelAdmin):
            pass

        site.register(Order, LateAdmin)

        [warning] = order_admin.check_attached()

        assert warning.id == "komfortkasse_django.W002"
        assert "shop.Order" in warning.msg
        assert "'own'" in warning.msg
        assert "after django.contrib.admin" in warning.hint
        assert "LateAdmin inherit from komfortkasse_django.admin.OrderAdminMixin" in warning.hint

    def test_survives_a_broken_urlconf(self, settings):
        settings.ROOT_URLCONF = "no.such.module"

        assert order_admin.check_attached() == []

    PROJECT = """
        import django
        from django.conf import settings

        settings.configure(
            INSTALLED_APPS=[
                "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.messages",
                "django.contrib.sessions", "tests.shop", *{apps},
            ],
            ROOT_URLCONF="own_urls",
            SECRET_KEY="tests",
            SHOP_SWAPPED_ORDER_MODEL="shop.SwappedInOrder",
            KOMFORTKASSE={{"default": {{"API_KEY": "key", "ORDER_MODEL": "shop.Order"}}}},
        )
        django.setup()
        from komfortkasse_django.order_admin import check_attached

        print(sorted(message.msg.split()[0] for message in check_attached()))
        if "komfortkasse_django.W002" in str(django.core.checks.run_checks()):
            print("registered")
    """

    @pytest.fixture
    def run(self, tmp_path):
        """Start a project with these apps, and return what the check says first of all."""

        def run(*apps: str) -> list[str]:
            (tmp_path / "own_urls.py").write_text(
                "from django.contrib import admin\n"
                "from django.urls import path\n"
                "admin.autodiscover()\n"
                "urlpatterns = [path('admin/', admin.site.urls)]\n"
            )
            done = subprocess.run(
                [sys.executable, "-c", textwrap.dedent(self.PROJECT).format(apps=apps)],
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), str(tmp_path)]),
                },
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout.splitlines()

        return run

    def test_is_silent_after_the_admin(self, run):
        assert run("django.contrib.admin", "komfortkasse_django") == ["[]"]

    @pytest.mark.parametrize(
        "apps",
        [
            ("komfortkasse_django", "django.contrib.admin"),
            ("django.contrib.admin.apps.SimpleAdminConfig", "komfortkasse_django"),
        ],
    )
    def test_warns_where_the_admin_is_discovered_later(self, run, apps):
        found = "['shop.ArchivedOrder', 'shop.Order', 'shop.Order']"

        assert run(*apps) == [found, "registered"]
