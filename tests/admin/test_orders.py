"""Removing orders from Komfortkasse by hand, in the admin of the shop's own orders."""

import pytest
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.sites import all_sites
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.urls import path, reverse

from komfortkasse_django.admin import OrderAdminMixin
from komfortkasse_django.models import RemovedOrder
from tests.shop.admin import OrderAdmin
from tests.shop.models import KeyedByTheDatabaseOrder, Order
from tests.support.order_pages import (
    ACTION,
    BUTTON,
    LIST,
    confirm,
    fields_of,
    form_url,
    removal_url,
    select,
    text,
)
from tests.support.routers import OrdersFromAReplica
from tests.support.staff import make_staff, message

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


class TestFromTheList:
    def test_is_confirmed_then_removed_and_logged(self, clerk, komfortkasse):
        orders = [Order.objects.create(number=number) for number in ("1001", "1002", "1003")]

        page = select(clerk, orders[:2])

        assert page.status_code == 200
        assert "these 2 orders" in text(page)
        assert "cannot be undone" in text(page)
        assert "1001" in text(page)
        assert "1002" in text(page)
        assert "1003" not in text(page)
        assert komfortkasse.numbers == []
        assert not RemovedOrder.objects.exists()

        done = confirm(clerk, page)

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

    def test_keeps_the_filters(self, clerk, order, komfortkasse):
        url = reverse(LIST) + "?payment=prepayment"

        done = confirm(clerk, select(clerk, [order], url=url), url=url)

        assert done.url == url
        assert komfortkasse.numbers == ["1001"]

    def test_an_order_that_a_join_doubles_is_removed_once(self, clerk, komfortkasse, monkeypatch):
        orders = [Order.objects.create(number=number) for number in ("1001", "1002")]
        for order in orders:
            order.lines.create(name="Shirt")
            order.lines.create(name="Shirt")
        monkeypatch.setattr(
            OrderAdmin, "get_queryset", lambda *args: Order.objects.filter(lines__name="Shirt")
        )

        done = confirm(clerk, select(clerk, orders))

        assert sorted(komfortkasse.numbers) == ["1001", "1002"]
        assert message(done) == ("success", "Komfortkasse: 2 removed.")
        assert RemovedOrder.objects.count() == LogEntry.objects.count() == 2

    def test_all_pages_of_a_filter(self, clerk, komfortkasse):
        Order.objects.bulk_create(Order(number=str(number)) for number in range(1000, 1150))
        Order.objects.create(number="card", payment="card")
        first = Order.objects.get(number="1000")
        url = reverse(LIST) + "?payment=prepayment"

        page = select(clerk, [first], url=url, across=True)

        assert "these 150 orders" in text(page)
        assert text(page).count("/change/") == 100
        assert "and 50 more" in text(page)
        assert len(fields_of(text(page))["_selected_action"]) == 1
        done = confirm(clerk, page, url=url)
        assert message(done) == ("success", "Komfortkasse: 150 removed.")
        assert sorted(komfortkasse.numbers) == [str(number) for number in range(1000, 1150)]
        assert LogEntry.objects.count() == 150

    def test_many_are_recorded_in_bulk_and_pushed_within_the_budget(
        self, clerk, komfortkasse, configure, django_assert_max_num_queries
    ):
        configure(REQUEST_BUDGET=0)
        Order.objects.bulk_create(Order(number=str(number)) for number in range(2000))
        page = select(clerk, [Order.objects.first()], across=True)

        with django_assert_max_num_queries(2000 // 60 + 2000 // 80 + 20):
            done = confirm(clerk, page)

        assert message(done) == ("warning", "Komfortkasse: 2000 are still to be sent.")
        assert RemovedOrder.objects.due().count() == 2000
        assert LogEntry.objects.count() == 2000

    def test_orders_that_appear_after_the_confirmation_are_not_removed(self, clerk, komfortkasse):
        first = Order.objects.create(number="1001")
        page = select(clerk, [first], across=True)
        Order.objects.create(number="1002")

        again = confirm(clerk, page)

        assert again.status_code == 200
        assert "have changed in the meantime" in text(again)
        assert "these 2 orders" in text(again)
        assert komfortkasse.numbers == []
        assert "have changed" not in text(page)
        confirm(clerk, again)
        assert sorted(komfortkasse.numbers) == ["1001", "1002"]

    def test_a_number_that_changes_after_the_confirmation_is_not_removed(
        self, clerk, order, komfortkasse
    ):
        page = select(clerk, [order])
        Order.objects.filter(pk=order.pk).update(number="1002")

        assert "have changed in the meantime" in text(confirm(clerk, page))
        assert komfortkasse.numbers == []

    @pytest.mark.parametrize("confirmed", ["", "yes", "0" * 64])
    def test_nothing_but_the_confirmation_removes(self, clerk, order, komfortkasse, confirmed):
        page = select(clerk, [order])
        data = {**fields_of(text(page)), "confirmed": confirmed}

        assert clerk.post(reverse(LIST), data).status_code == 200
        assert not RemovedOrder.objects.exists()

    def test_orders_that_are_gone_meanwhile(self, clerk, order, komfortkasse):
        page = select(clerk, [order])
        Order.objects.filter(pk=order.pk)._raw_delete("default")

        again = confirm(clerk, page)

        assert "None of the selected orders" in text(again)
        assert not RemovedOrder.objects.exists()


class TestFromTheForm:
    def test_button_leads_to_the_confirmation_that_removes(self, clerk, order, komfortkasse):
        form = clerk.get(form_url(order))
        assert f'href="{removal_url(order)}"' in text(form)
        assert BUTTON in text(form)

        page = clerk.get(removal_url(order))

        assert "remove this order?" in text(page)
        assert komfortkasse.numbers == []
        done = confirm(clerk, page)
        assert done.url == form_url(order)
        assert message(done) == ("success", "Komfortkasse: 1 removed.")
        assert komfortkasse.numbers == ["1001"]
        [entry] = LogEntry.objects.all()
        assert entry.get_edited_object() == order
        assert "Asked Komfortkasse to remove it." in text(
            clerk.get(reverse("admin:shop_order_history", args=[order.pk]))
        )

    def test_what_was_not_shown_is_not_removed(self, clerk, order, komfortkasse):
        page = clerk.get(removal_url(order))
        Order.objects.filter(pk=order.pk).update(number="1002")

        assert "have changed" in text(confirm(clerk, page))
        assert komfortkasse.numbers == []

    def test_of_an_order_that_does_not_exist(self, clerk):
        for key in ("999999", "no-key"):
            url = reverse("admin:shop_order_remove_from_komfortkasse", args=[key])
            assert clerk.get(url).status_code == 404

    @pytest.mark.parametrize("key", ["%00", "a%00b", "_00", "9" * 40, "[", "%F0%9F%98%80"])
    @pytest.mark.parametrize("model", [Order, KeyedByTheDatabaseOrder])
    def test_of_a_key_that_cannot_be_one(self, settings, configure, model, key):
        configure(ORDER_MODEL=model._meta.label)
        site = admin.AdminSite("own")
        site.register(model, type("OwnAdmin", (OrderAdminMixin, admin.ModelAdmin), {}))
        settings.ROOT_URLCONF = (path("own/", site.urls),)
        client = Client()
        client.force_login(User.objects.create_superuser("staff"))

        url = f"/own/shop/{model._meta.model_name}/{key}/remove-from-komfortkasse/"
        assert client.get(url).status_code == client.post(url).status_code == 404
        all_sites.discard(site)

    def test_not_while_adding(self):
        clerk = make_staff("shop.add_order", "shop.view_order", "komfortkasse_django.remove_order")

        assert BUTTON not in text(clerk.get(reverse("admin:shop_order_add")))

    def test_after_an_invalid_form_the_button_is_still_there(self):
        clerk = make_staff("shop.change_order", "komfortkasse_django.remove_order")
        order = Order.objects.create(number="1001")

        assert BUTTON in text(clerk.post(form_url(order), {}))

    def test_leaves_alone_what_is_no_template(self, clerk, order, monkeypatch):
        monkeypatch.setattr(
            admin.ModelAdmin, "render_change_form", lambda *args, **kwargs: HttpResponse("own")
        )

        assert text(clerk.get(form_url(order))) == "own"


class TestDatabases:
    pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

    def test_what_is_removed_is_read_where_it_is_written(
        self, clerk, order, komfortkasse, settings
    ):
        Order(pk=order.pk, number="stale").save(using="other")
        settings.DATABASE_ROUTERS = [OrdersFromAReplica()]

        done = confirm(clerk, clerk.get(removal_url(order)))

        assert komfortkasse.numbers == ["1001"]
        assert message(done) == ("success", "Komfortkasse: 1 removed.")

    def test_orders_that_the_shop_keeps_elsewhere(self, clerk, komfortkasse, monkeypatch):
        order = Order(number="1001")
        order.save(using="other")
        monkeypatch.setattr(
            OrderAdmin, "get_queryset", lambda self, request: Order.objects.using("other")
        )

        confirm(clerk, clerk.get(removal_url(order)))

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
        clerk = make_staff(*permissions)

        assert BUTTON not in text(clerk.get(form_url(order)))
        assert ACTION not in text(clerk.get(reverse(LIST)))
        assert clerk.get(removal_url(order)).status_code == 403
        assert clerk.post(removal_url(order), {"confirmed": "x"}).status_code == 403
        data = {"action": ACTION, "_selected_action": order.pk, "confirmed": "x"}
        assert "None of the" not in text(clerk.post(reverse(LIST), data, follow=True))
        assert not RemovedOrder.objects.exists()

    def test_without_a_permission_for_orders(self, order):
        clerk = make_staff("komfortkasse_django.remove_order")

        assert clerk.get(removal_url(order)).status_code == 403

    def test_the_shops_permission_to_delete_does_not_matter(self, clerk, order):
        assert ACTION in text(clerk.get(reverse(LIST)))
        assert clerk.get(removal_url(order)).status_code == 200

    def test_a_form_of_another_website_does_nothing(self, order):
        clerk = make_staff("shop.view_order", "komfortkasse_django.remove_order")
        page = clerk.get(removal_url(order))
        strict = Client(enforce_csrf_checks=True)
        strict.cookies = clerk.cookies

        for url in (removal_url(order), reverse(LIST)):
            data = {
                **fields_of(text(page)),
                "action": ACTION,
                "_selected_action": order.pk,
            } | {"csrfmiddlewaretoken": ""}
            assert strict.post(url, data).status_code == 403
        assert not RemovedOrder.objects.exists()

    def test_get_changes_nothing(self, clerk, order):
        page = clerk.get(removal_url(order))

        clerk.get(removal_url(order), fields_of(text(page)))
        clerk.get(reverse(LIST), {**fields_of(text(page)), "p": ["1"]})

        assert not RemovedOrder.objects.exists()
