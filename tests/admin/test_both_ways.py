"""From an order to its removals and back: the note on the order's form, the link on a removal."""

import json
import re
from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.admin.sites import all_sites
from django.contrib.auth.models import User
from django.db import connection, connections
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse
from django.utils import timezone

from komfortkasse_django.admin import OrderAdminMixin, RemovedOrderAdmin
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue.pushing import push
from komfortkasse_django.removals import remove
from tests.shop.admin import OrderAdmin, staff_site
from tests.shop.models import ArchivedGiftOrder, ArchivedOrder, GiftOrder, Order, TicketOrder
from tests.support.komfortkasse import order_json
from tests.support.mirror_pages import url
from tests.support.order_pages import BUTTON, confirm, form_url, removal_url, text
from tests.support.routers import MirrorElsewhere, OrdersFromAReplica
from tests.support.staff import make_staff

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

VIEW, REMOVE = "komfortkasse_django.view_removedorder", "komfortkasse_django.remove_order"
MIRROR = RemovedOrder._meta.db_table


@pytest.fixture
def serve(settings):
    """Serve these models and their admins on another admin site at /own/, for one test only."""
    site = admin.AdminSite("own")

    def serve(registered: dict[type[Model], type[admin.ModelAdmin]]) -> None:
        for model, model_admin in registered.items():
            site.register(model, model_admin)
        settings.ROOT_URLCONF = (path("own/", site.urls), path("admin/", admin.site.urls))

    yield serve
    all_sites.discard(site)


class OwnAdmin(OrderAdminMixin, admin.ModelAdmin):
    pass


@pytest.fixture
def superuser() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("superuser"))
    return client


def note(response) -> list[str]:
    """Return the lines of the note on an order's form, without tags."""
    found = re.search(r'<section class="komfortkasse-note".*?</section>', text(response), re.DOTALL)
    items = re.findall(r"<li>(.*?)</li>", found[0], re.DOTALL) if found else []
    return [" ".join(re.sub(r"<[^>]*>", " ", item).split()) for item in items]


def ago(**delta: float):
    return timezone.now() - timedelta(**delta)


class TestNote:
    def test_says_that_it_was_removed_and_when(self, clerk, order, make):
        make(finished_at=ago(days=3))

        (line,) = note(clerk.get(form_url(order)))

        assert line.startswith("removed ")
        assert str(ago(days=3).year) in line
        assert "(3 days ago)" in line

    def test_there_is_none_for_an_order_that_was_never_removed(self, clerk, order, make):
        make(order_number="1002")
        make(shop="another")

        assert "komfortkasse-note" not in text(clerk.get(form_url(order)))

    @pytest.mark.parametrize(
        ("attributes", "expected"),
        [
            ({"amount_paid": 54, "currency": "EUR"}, "refund 54.00 EUR"),
            ({"collection_partner": "Inkasso Nord"}, "at a collection agency"),
            ({"alive_again_at": timezone.now()}, "alive again"),
            (
                {"amount_paid": 5, "currency": "EUR", "collection_file": "1"},
                "refund 5.00 EUR at a collection agency",
            ),
            ({"amount_paid": 54, "settled_at": timezone.now()}, "settled"),
            ({"amount_paid": 54, "payment_status": "REFUNDED"}, ""),
            ({"state": "failed"}, ""),
            ({"state": "pending"}, ""),
        ],
    )
    def test_says_what_is_open(self, clerk, order, make, attributes, expected):
        row = make(**attributes)

        (line,) = note(clerk.get(form_url(order)))

        assert line.startswith(row.state)
        assert line.partition("(just now)")[2].strip() == expected

    def test_says_what_is_overdue(self, clerk, order, make):
        make(state="pending", created_at=ago(hours=2))

        (line,) = note(clerk.get(form_url(order)))

        assert line.startswith("overdue ")
        assert line.endswith("(2 hours ago)")

    def test_the_last_one_does_not_hide_what_is_open(self, clerk, order, make):
        make(finished_at=ago(days=9))
        make(amount_paid=54, finished_at=ago(days=3))
        make(state="superseded")
        make(state="failed", created_at=ago(days=1))

        removed, failed = note(clerk.get(form_url(order)))

        assert "(3 days ago)" in removed
        assert "refund 54.00" in removed
        assert failed.startswith("failed")

    def test_nor_that_it_was_removed(self, clerk, order, make):
        make(finished_at=ago(days=9))
        make(finished_at=ago(days=3))
        make(state="unknown")

        removed, unknown = note(clerk.get(form_url(order)))

        assert "(3 days ago)" in removed
        assert unknown.startswith("unknown")

    def test_money_is_shown_once(self, order, komfortkasse):
        """Cancelled, then removed by hand, then once more: one case, on each page."""
        staff = make_staff("shop.view_order", VIEW, REMOVE)
        answer = order_json("1001", amountPaid=54, currency="EUR", paymentStatus="PAID")
        komfortkasse.answer = 200, {}, json.dumps(answer)
        remove(order)
        push()
        first = RemovedOrder.objects.get()
        assert text(staff.get(form_url(order))).count("komfortkasse-refund") == 1
        assert text(staff.get(removal_url(order))).count("komfortkasse-refund") == 1

        done = confirm(staff, staff.get(removal_url(order)))

        last = RemovedOrder.objects.latest("pk")
        assert last != first
        assert text(staff.get(done.url)).count("54.00") == 2, "one in the message, one in the note"
        page = text(staff.get(form_url(order)))
        assert page.count("komfortkasse-refund") == 1
        assert url("change", last) in page
        assert url("change", first) not in page
        assert text(staff.get(removal_url(order))).count("54.00") == 2, "and in the warning"

    def test_links_to_the_removal_for_those_who_may_see_it(self, clerk, order, make):
        row = make()
        assert url("change", row) not in text(clerk.get(form_url(order)))
        clerk.logout()
        clerk.force_login(User.objects.create_superuser("superuser"))

        page = text(clerk.get(form_url(order)))

        assert f'href="{url("change", row)}"' in page
        assert clerk.get(url("change", row)).status_code == 200

    def test_those_who_may_only_see_removals_get_it_without_the_button(self, order, make):
        row = make()
        staff = make_staff("shop.view_order", VIEW)

        page = staff.get(form_url(order))

        assert len(note(page)) == 1
        assert url("change", row) in text(page)
        assert BUTTON not in text(page)

    def test_others_get_nothing(self, order, make):
        make()
        staff = make_staff("shop.view_order", "shop.change_order", "shop.delete_order")

        assert "komfortkasse" not in text(staff.get(form_url(order))).lower()

    def test_names_the_shops_where_there_are_several(self, clerk, order, make, configure):
        configure(aliases={"berlin": {}, "vienna": {}})
        make(shop="vienna")
        make(shop="berlin", state="unknown")

        berlin, vienna = note(clerk.get(form_url(order)))

        assert berlin.startswith("berlin : unknown")
        assert vienna.startswith("vienna : removed")

    def test_of_a_shop_that_declines_the_order_it_says_nothing(self, clerk, order, make, configure):
        configure(aliases={"a": {}, "b": {"ORDER_FILTER": lambda order: False}})
        make(shop="a")
        make(shop="b")

        (line,) = note(clerk.get(form_url(order)))

        assert line.startswith("a :")

    @pytest.mark.parametrize("number", ["", None, "9" * 300])
    def test_an_order_that_komfortkasse_cannot_know(self, clerk, make, number):
        make(order_number="")
        order = Order.objects.create(number=number)

        page = clerk.get(form_url(order))

        assert page.status_code == 200
        assert note(page) == []

    def test_is_about_the_stored_order_and_not_about_what_was_typed(self, make):
        clerk = make_staff("shop.view_order", "shop.change_order", REMOVE)
        order = Order.objects.create(number="1001")
        make(order_number="1001")
        make(order_number="1002", state="failed")

        page = clerk.post(form_url(order), {"number": "1002"})

        assert page.context["errors"]
        (line,) = note(page)
        assert line.startswith("removed")

    def test_is_translated(self, clerk, order, make):
        make(amount_paid=54, currency="EUR", collection_file="4711", finished_at=ago(days=3))

        (line,) = note(clerk.get(form_url(order), headers={"Accept-Language": "de"}))

        assert line.startswith("entfernt ")
        assert "(vor 3 Tagen) 54,00 EUR erstatten beim Inkassobüro" in line

    def test_isolates_its_pieces_and_has_nothing_inline(self, clerk, order, make, configure):
        """An untranslated piece stays together on a page that is read from right to left."""
        configure(aliases={"a": {}, "b": {}})
        make(shop="a", amount_paid=54)

        html = text(clerk.get(form_url(order), headers={"Accept-Language": "ar"}))

        assert 'dir="rtl"' in html
        section = re.search(r'<section class="komfortkasse-note".*?</section>', html, re.DOTALL)[0]
        assert "<bdi>a</bdi>" in section
        assert '<bdi class="komfortkasse-badge komfortkasse-refund">' in section
        assert "style=" not in section
        assert "<script" not in section
        assert "komfortkasse_django/admin.css" in html

    def test_whatever_comes_from_outside_is_escaped(self, superuser, make, configure):
        evil = "<script>alert(1)</script>"
        configure(aliases={evil: {}, "b": {}})
        order = Order.objects.create(number=evil)
        make(shop=evil, order_number=evil, amount_paid=1, currency="<b>", collection_partner=evil)

        page = text(superuser.get(form_url(order)))

        assert evil not in page
        assert "<b>" not in page


class TestNoteInAdmins:
    """For any admin that the shop has."""

    @pytest.mark.parametrize("model", [GiftOrder, TicketOrder, ArchivedGiftOrder])
    def test_children_and_their_proxies(self, serve, superuser, make, model):
        serve({model: OwnAdmin})
        Order.objects.create(number="1000")  # so that keys of parents and children differ
        model.objects.create(number="1001")
        order = model.objects.get()
        make()

        (line,) = note(superuser.get(f"/own/shop/{model._meta.model_name}/{order.pk}/change/"))

        assert line.startswith("removed")

    def test_proxies(self, superuser, make):
        order = ArchivedOrder.objects.create(number="1001")
        make()

        page = superuser.get(reverse("admin:shop_archivedorder_change", args=[order.pk]))

        assert len(note(page)) == 1

    def test_a_site_without_the_mirror_has_no_link(self, superuser, order, make):
        make()

        page = superuser.get(reverse("staff:shop_order_change", args=[order.pk]))

        assert len(note(page)) == 1
        assert MIRROR.removeprefix("komfortkasse_django_") not in text(page)
        assert not staff_site.is_registered(RemovedOrder)

    def test_a_site_with_its_own_mirror_links_to_that(self, serve, superuser, order, make):
        serve({Order: OwnAdmin, RemovedOrder: RemovedOrderAdmin})
        row = make()

        page = text(superuser.get(f"/own/shop/order/{order.pk}/change/"))

        assert f'href="/own/komfortkasse_django/removedorder/{row.pk}/change/"' in page
        mirror = text(superuser.get(f"/own/komfortkasse_django/removedorder/{row.pk}/change/"))
        assert f'href="/own/shop/order/{order.pk}/change/"' in mirror

    def test_what_goes_wrong_here_does_not_break_the_form(
        self, superuser, order, make, configure, caplog
    ):
        def broken(order):
            raise RuntimeError("the shop's filter")

        make()
        configure(ORDER_FILTER=broken)

        page = superuser.get(form_url(order))

        assert page.status_code == 200
        assert "It cannot be shown whether Komfortkasse has removed this order." in text(page)
        assert BUTTON in text(page)
        (record,) = [each for each in caplog.records if each.name == "komfortkasse_django"]
        assert record.getMessage() == f"Order {order.pk}: its removals cannot be shown"
        assert "the shop's filter" in caplog.text


class TestCosts:
    def queries(self, client: Client, order: Order, page=form_url) -> list[str]:
        client.get(page(order))  # Django keeps content types
        with CaptureQueriesContext(connection) as context:
            assert client.get(page(order)).status_code == 200
        return [query["sql"] for query in context.captured_queries]

    def test_the_form_costs_two_queries_however_much_there_is(self, order, make, serve):
        serve({Order: OrderAdmin})
        staff = make_staff("shop.view_order", VIEW, REMOVE)
        plain = self.queries(staff, order, lambda order: f"/own/shop/order/{order.pk}/change/")
        assert len(self.queries(staff, order)) - len(plain) == 2
        for number in range(50):
            make(amount_paid=number, collection_partner="Inkasso Nord")
            make(order_number=str(number))

        page = self.queries(staff, order)

        assert len(page) - len(plain) == 2
        assert len([sql for sql in page if MIRROR in sql]) == 1

    def test_and_none_without_the_permissions(self, order, make, serve):
        serve({Order: OrderAdmin})
        staff = make_staff("shop.view_order")
        make()

        plain = self.queries(staff, order, lambda order: f"/own/shop/order/{order.pk}/change/")

        assert len(self.queries(staff, order)) == len(plain)


class TestDatabases:
    def test_the_mirror_on_another_database(self, order, settings, make, superuser):
        settings.DATABASE_ROUTERS = [MirrorElsewhere()]
        row = make(amount_paid=54)
        assert row._state.db == "other"

        page = superuser.get(form_url(order))

        (line,) = note(page)
        assert "refund 54.00" in line
        assert url("change", row) in text(page)
        assert form_url(order) in text(superuser.get(url("change", row)))
        assert "removed this order before" in text(superuser.get(removal_url(order)))

    def test_orders_of_another_database_are_not_mixed_up(self, superuser, make, order, monkeypatch):
        """Their mirror is there too, but the admin shows the one on the default database."""
        other = Order(pk=order.pk, number="1001")
        other.save(using="other")
        row = make(state="failed")
        RemovedOrder(pk=row.pk, shop="default", order_number="1001", state="unknown").save(
            using="other"
        )
        monkeypatch.setattr(
            OrderAdmin, "get_queryset", lambda self, request: Order.objects.using("other")
        )

        page = superuser.get(form_url(other))

        (line,) = note(page)
        assert line.startswith("unknown")
        assert url("change", row) not in text(page)
        assert form_url(order) not in text(superuser.get(url("change", row)))

    def test_replicas_are_not_asked(self, superuser, make, order, settings):
        row = make()
        Order(pk=order.pk, number="stale").save(using="other")
        settings.DATABASE_ROUTERS = [OrdersFromAReplica()]

        (line,) = note(superuser.get(form_url(order)))

        assert line.startswith("removed")
        with CaptureQueriesContext(connections["other"]) as context:
            assert form_url(order) in text(superuser.get(url("change", row)))
        assert context.captured_queries == []


class TestLink:
    def orders(self, client: Client, row: RemovedOrder) -> list[str]:
        """Return the links of a removal's page that lead into the shop."""
        page = client.get(url("change", row))
        assert page.status_code == 200
        return re.findall(r'tool" href="(/(?:admin|own)/shop/[^"]*/change/)"', text(page))

    def test_leads_to_the_order_in_the_shop(self, superuser, order, make):
        Order.objects.create(number="1002")

        row = make()

        assert self.orders(superuser, row) == [form_url(order)]
        assert "Order in the shop" in text(superuser.get(url("change", row)))

    def test_is_not_there_when_the_order_is_gone(self, superuser, order, make):
        order.delete()

        assert self.orders(superuser, make()) == []

    def test_is_there_for_orders_that_ended_but_stay(self, superuser, make, configure):
        configure(ORDER_GONE={"cancelled": True})
        order = Order.objects.create(number="1001", cancelled=True)

        assert self.orders(superuser, make(requested_via="gone")) == [form_url(order)]

    @pytest.mark.parametrize("permissions", [[VIEW], [VIEW, REMOVE, "shop.delete_order"]])
    def test_is_not_there_without_the_permission(self, order, make, permissions):
        assert self.orders(make_staff(*permissions), make()) == []

    def test_is_there_for_those_who_may_see_proxies_only(self, order, make):
        staff = make_staff(VIEW, "shop.view_archivedorder")

        page = reverse("admin:shop_archivedorder_change", args=[order.pk])

        assert self.orders(staff, make()) == [page]

    def test_only_to_orders_that_the_shops_admin_shows(self, superuser, order, make, monkeypatch):
        """Its queryset and its permissions may be those of one branch of the shop."""
        shown = Order.objects.create(number="1001", payment="invoice")
        monkeypatch.setattr(
            OrderAdmin, "get_queryset", lambda *args: Order.objects.filter(payment="invoice")
        )
        row = make()

        assert self.orders(superuser, row) == [form_url(shown)]
        monkeypatch.setattr(
            OrderAdmin, "has_view_permission", lambda self, request, obj=None: obj is None
        )
        monkeypatch.setattr(OrderAdmin, "has_change_permission", lambda *args: False)
        proxy = reverse("admin:shop_archivedorder_change", args=[order.pk])
        assert proxy in self.orders(superuser, row)
        assert form_url(shown) not in self.orders(superuser, row)

    def test_where_several_have_the_number_each_is_named(self, superuser, make, monkeypatch):
        monkeypatch.setattr(Order, "__str__", lambda self: f"{self.payment} <{self.number}>")
        orders = [Order.objects.create(number="1001", payment=name) for name in ("a", "b")]
        orders[0].lines.create(name="Shirt")
        orders[0].lines.create(name="Shirt")
        monkeypatch.setattr(
            OrderAdmin, "get_queryset", lambda *args: Order.objects.order_by("lines__name", "pk")
        )

        row = make()

        assert sorted(self.orders(superuser, row)) == sorted(map(form_url, orders))
        page = text(superuser.get(url("change", row)))
        assert "Order in the shop: <bdi>a &lt;1001&gt;</bdi>" in page
        assert "Order in the shop: <bdi>b &lt;1001&gt;</bdi>" in page

    def test_not_to_the_order_of_another_shop(self, superuser, make, configure):
        configure(
            aliases={
                name: {"ORDER_FILTER": lambda order, name=name: order.payment == name}
                for name in ("berlin", "vienna")
            }
        )
        berlin = Order.objects.create(number="1001", payment="berlin")
        vienna = Order.objects.create(number="1001", payment="vienna")

        assert self.orders(superuser, make(shop="berlin")) == [form_url(berlin)]
        assert self.orders(superuser, make(shop="vienna")) == [form_url(vienna)]

    @pytest.mark.parametrize(
        "number", ["full_number", lambda order: order.number, "tests.shop.models.Order.full_number"]
    )
    def test_not_for_numbers_that_cannot_be_looked_up(
        self, superuser, order, make, configure, number
    ):
        configure(ORDER_NUMBER=number)

        assert self.orders(superuser, make()) == []

    def test_not_where_the_orders_have_no_admin(self, serve, superuser, order, make):
        serve({RemovedOrder: RemovedOrderAdmin})
        row = make()

        page = superuser.get(f"/own/komfortkasse_django/removedorder/{row.pk}/change/")

        assert page.status_code == 200
        assert "/shop/order/" not in text(page)

    @pytest.mark.parametrize("model", [GiftOrder, TicketOrder])
    def test_to_a_child_where_only_children_have_an_admin(self, serve, superuser, make, model):
        serve({RemovedOrder: RemovedOrderAdmin, model: admin.ModelAdmin})
        Order.objects.create(number="1000")  # so that keys of parents and children differ
        model.objects.create(number="1001")
        row = make()

        page = superuser.get(f"/own/komfortkasse_django/removedorder/{row.pk}/change/")

        order = model.objects.get()
        assert f'href="/own/shop/{model._meta.model_name}/{order.pk}/change/"' in text(page)

    @pytest.mark.parametrize("options", [{"ORDER_MODEL": "no.Such"}, {"ENABLED": False}])
    def test_a_shop_that_is_off_or_wrong(self, superuser, order, make, configure, options):
        configure(**options)

        expected = [form_url(order)] if "ENABLED" in options else []
        assert self.orders(superuser, make()) == expected

    def test_a_shop_that_is_not_in_the_settings_any_more(self, superuser, order, make):
        assert self.orders(superuser, make(shop="gone")) == []

    def test_what_goes_wrong_here_does_not_break_the_page(
        self, superuser, order, make, configure, caplog
    ):
        def broken(order):
            raise RuntimeError("the shop's filter")

        configure(ORDER_FILTER=broken)

        assert self.orders(superuser, make()) == []
        assert "Order 1001: it cannot be looked up in the shop" in caplog.text
        assert "the shop's filter" in caplog.text
