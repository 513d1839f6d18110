"""The shop's own order admin gets the action and the button."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.admin.sites import all_sites
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.test import Client
from django.urls import path, reverse

from komfortkasse_django.admin import OrderAdminMixin, attach
from tests.shop.admin import ArchivedOrderAdmin, OrderAdmin, staff_site
from tests.shop.models import (
    ArchivedGiftOrder,
    ArchivedOrder,
    Customer,
    GiftOrder,
    IntegerOrder,
    Order,
    TicketOrder,
)
from tests.support.order_pages import (
    ACTION,
    BUTTON,
    LIST,
    confirm,
    form_url,
    removal_url,
    select,
    text,
)
from tests.support.staff import make_staff

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


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

    def test_the_shops_own_things_survive(self, clerk, order):
        form = text(clerk.get(form_url(order)))
        assert "The shop's refund" in form
        assert "shop/orders.css" in form
        assert reverse("admin:shop_order_history", args=[order.pk]) in form
        assert "Archive selected orders" in text(clerk.get(reverse(LIST)))
        assert text(clerk.get(reverse("admin:shop_refunds"))) == "the shop's refunds"
        assert not admin.site.get_model_admin(Order).has_delete_permission(
            clerk.get(reverse(LIST)).wsgi_request
        )

    def test_on_every_site(self, order, komfortkasse):
        clerk = make_staff("shop.view_order", "komfortkasse_django.remove_order")
        form = text(clerk.get(reverse("staff:shop_order_change", args=[order.pk])))
        url = reverse("staff:shop_order_remove_from_komfortkasse", args=[order.pk])

        assert f'href="{url}"' in form
        page = clerk.get(url)
        assert 'href="/staff/' in text(page)
        assert 'href="/admin/' not in text(page)
        done = confirm(clerk, page)
        assert done.url == reverse("staff:shop_order_change", args=[order.pk])
        assert type(staff_site.get_model_admin(Order)).__name__ == "StaffOrderAdmin"

    def test_proxies(self, komfortkasse):
        clerk = make_staff("shop.view_archivedorder", "komfortkasse_django.remove_order")
        order = ArchivedOrder.objects.create(number="1001")
        url = reverse("admin:shop_archivedorder_remove_from_komfortkasse", args=[order.pk])

        assert isinstance(admin.site.get_model_admin(ArchivedOrder), ArchivedOrderAdmin)
        confirm(clerk, clerk.get(url))
        assert komfortkasse.numbers == ["1001"]
        [entry] = LogEntry.objects.all()
        assert entry.content_type.model == "archivedorder"

    def test_a_shop_that_wants_no_actions_gets_none(self):
        clerk = make_staff("shop.view_archivedorder", "komfortkasse_django.remove_order")

        assert admin.site.get_model_admin(ArchivedOrder).actions is None
        assert ACTION not in text(clerk.get(reverse("admin:shop_archivedorder_changelist")))

    def test_others_are_left_alone(self):
        for model, model_admin in admin.site._registry.items():
            assert isinstance(model_admin, OrderAdminMixin) == (model in {Order, ArchivedOrder})

    def test_twice_is_like_once(self):
        before = {site: dict(site._registry) for site in (admin.site, staff_site)}

        attach.attach()

        assert {site: dict(site._registry) for site in (admin.site, staff_site)} == before

    def test_not_where_the_admin_is_not_installed(self, monkeypatch):
        attached = []
        monkeypatch.setattr(attach, "attach", lambda: attached.append(True))
        config = apps.get_app_config("komfortkasse_django")

        config.ready()
        assert attached == [True]
        monkeypatch.setattr(apps, "is_installed", lambda name: False)
        config.ready()
        assert attached == [True]

    def test_passes_djangos_own_checks(self):
        assert [each for each in run_checks() if not each.is_silenced()] == []

    def test_switched_off_shops_show_nothing(self, clerk, order, configure):
        configure(ENABLED=False)

        assert BUTTON not in text(clerk.get(form_url(order)))
        assert ACTION not in text(clerk.get(reverse(LIST)))
        assert clerk.get(removal_url(order)).status_code == 403


@pytest.fixture
def site():
    """An admin site for one test only."""
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

        attach.attach()

        assert not site.is_registered(Order)
        assert not self.is_extended(site, Customer)

    def test_a_class_within_another_keeps_its_full_name(self, site):
        site.register(Order, self.PlainAdmin)

        attach.attach()

        assert self.is_extended(site, Order)
        extended = type(site.get_model_admin(Order))
        assert extended.__qualname__ == "TestWhatIsAttached.PlainAdmin"

    @pytest.mark.parametrize("option", ["EXTEND_ORDER_ADMIN", "ENABLED"])
    def test_not_where_it_is_switched_off(self, site, configure, option):
        configure(**{option: False})
        site.register(Order, self.PlainAdmin)

        attach.attach()

        assert not self.is_extended(site, Order)
        assert attach.check_attached() == []

    def test_not_for_a_model_that_does_not_exist(self, site, configure):
        configure(ORDER_MODEL="shop.Nothing")
        site.register(Order, self.PlainAdmin)

        attach.attach()

        assert not self.is_extended(site, Order)

    def test_not_what_has_the_mixin_already(self, site):
        class OwnAdmin(OrderAdminMixin, admin.ModelAdmin):
            pass

        site.register(Order, OwnAdmin)
        attach.attach()

        assert type(site.get_model_admin(Order)) is OwnAdmin
        assert site.get_model_admin(Order).actions == [ACTION]

    @pytest.mark.parametrize("model", [GiftOrder, TicketOrder, ArchivedGiftOrder])
    def test_children_and_their_proxies(self, site, settings, model, komfortkasse):
        site.register(model, self.PlainAdmin)
        attach.attach()
        settings.ROOT_URLCONF = (path("own/", site.urls),)
        Order.objects.create(number="1000")  # so that keys of parents and children differ
        for number in ("1001", "1002"):
            model.objects.create(number=number)
        first, second = model.objects.order_by("number")
        client = Client()
        client.force_login(User.objects.create_superuser("staff"))
        url = f"/own/shop/{model._meta.model_name}/"

        button = f"{url}{first.pk}/remove-from-komfortkasse/"
        assert f'href="{button}"' in text(client.get(f"{url}{first.pk}/change/"))
        confirm(client, client.get(button))
        assert komfortkasse.numbers == ["1001"]
        confirm(client, select(client, [second], url=url), url=url)
        assert komfortkasse.numbers == ["1001", "1002"]

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


class TestCannotBeExtended:
    """What the app cannot extend stays as it is, and the check says so."""

    class ComputedActions(admin.ModelAdmin):
        @property
        def actions(self):
            return ["delete_selected"]

    class FinalAdmin(admin.ModelAdmin):
        def __init_subclass__(cls):
            raise TypeError("no subclasses, please")

    class MadeOnceAdmin(admin.ModelAdmin):
        made = 0

        def __init__(self, *args):
            super().__init__(*args)
            TestCannotBeExtended.MadeOnceAdmin.made += 1
            if self.made > 1:
                raise RuntimeError("made twice")

    CASES = (
        (ComputedActions, "actions"),
        (FinalAdmin, "no subclasses, please"),
        (MadeOnceAdmin, "made twice"),
    )

    @pytest.mark.parametrize(("model_admin", "reason"), CASES)
    def test_stays_as_it_is(self, site, model_admin, reason):
        model_admin.made = 0
        site.register(Order, model_admin)
        before = site.get_model_admin(Order)
        site.register(Customer)

        attach.attach()

        assert site.get_model_admin(Order) is before
        [warning] = attach.check_attached()
        assert warning.id == "komfortkasse_django.W002"
        assert warning.obj is model_admin
        assert "shop.Order" in warning.msg
        assert "'own'" in warning.msg
        assert reason in warning.msg
        assert "too late" not in warning.msg
        assert "a list or a tuple, not a property" in warning.hint
        assert "EXTEND_ORDER_ADMIN" in warning.hint

    def test_holds_up_no_other(self, site):
        site.register(Order, self.ComputedActions)
        site.register(GiftOrder)

        attach.attach()

        assert isinstance(site.get_model_admin(GiftOrder), OrderAdminMixin)

    def test_a_site_that_registers_only_once(self):
        class OwnSite(admin.AdminSite):
            def register(self, model, admin_class=None, **options):
                if admin_class and issubclass(admin_class, OrderAdminMixin):
                    raise RuntimeError("closed")
                super().register(model, admin_class, **options)

        site = OwnSite("own")
        try:
            site.register(Order)
            before = site.get_model_admin(Order)

            attach.attach()

            assert site.get_model_admin(Order) is before
            assert "closed" in attach.check_attached()[0].msg
        finally:
            all_sites.discard(site)


class TestCheck:
    def test_says_what_was_registered_too_late(self, site):
        class LateAdmin(admin.ModelAdmin):
            pass

        site.register(Order, LateAdmin)

        [warning] = attach.check_attached()

        assert warning.id == "komfortkasse_django.W002"
        assert "shop.Order" in warning.msg
        assert "'own'" in warning.msg
        assert "after django.contrib.admin" in warning.hint
        assert "LateAdmin inherit from komfortkasse_django.admin.OrderAdminMixin" in warning.hint

    def test_survives_a_broken_urlconf(self, settings):
        settings.ROOT_URLCONF = "no.such.module"

        assert attach.check_attached() == []

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
        from komfortkasse_django.admin.attach import check_attached

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
