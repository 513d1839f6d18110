import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from io import StringIO
from typing import Any
from unittest import mock

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import LiveServerTestCase, TransactionTestCase, override_settings
from django.urls import reverse

from komfortkasse_django.models import RemovedOrder
from sandbox.models import Outage, SandboxOrder
from shop.management.commands import demo
from shop.models import Customer, Order


def with_api_url(url: str) -> dict[str, Any]:
    # Enough for a busy machine.
    options = {**settings.KOMFORTKASSE["default"], "API_URL": url, "REQUEST_BUDGET": 60}
    return {"default": options}


class ShopTests(LiveServerTestCase):
    """The shop, whose Komfortkasse is the sandbox in it."""

    def setUp(self) -> None:
        override = override_settings(
            KOMFORTKASSE=with_api_url(f"{self.live_server_url}/sandbox/api/v2")
        )
        override.enable()
        self.addCleanup(override.disable)

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Run ``komfortkasse_push --watch`` meanwhile."""
        environment = {
            **os.environ,
            "SQLITE_PATH": str(connection.settings_dict["NAME"]),
            "KOMFORTKASSE_API_URL": settings.KOMFORTKASSE["default"]["API_URL"],
            "KOMFORTKASSE_API_KEY": settings.SANDBOX_API_KEY,
        }
        with subprocess.Popen(
            [sys.executable, "manage.py", "komfortkasse_push", "--watch=0.2", "--verbosity=0"],
            cwd=settings.BASE_DIR,
            env=environment,
        ) as watcher:
            try:
                yield
            finally:
                watcher.terminate()


class DemoTests(ShopTests):
    def setUp(self) -> None:
        super().setUp()
        self.output = StringIO()

    def fail_demo(self) -> str:
        try:
            call_command("demo", stdout=self.output)
        except CommandError as error:
            return str(error)
        raise AssertionError(self.output.getvalue())

    def test_everything_is_as_expected(self) -> None:
        with self.watch():
            call_command("demo", stdout=self.output, skip_checks=False)

        output = self.output.getvalue()
        assert "1002       delete         removed     DISAPPEARED     K1002A     54.00" in output
        assert "needs a refund" in output
        assert "1011       delete         unknown  " in output
        for left_to_do in ("at a collection agency", "alive again", "overdue", "rejects"):
            assert left_to_do in output
        assert "All rows are as expected" in output

    def test_a_wrong_row_is_shown(self) -> None:
        expected = [*demo.expected_mirror()[1:], ("9999", "delete")]
        with self.watch(), mock.patch.object(demo, "expected_mirror", return_value=expected):
            message = self.fail_demo()

        assert "+1001 | delete | removed" in message
        assert "-9999 | delete" in message

    def test_an_order_that_is_not_in_the_shop_is_shown(self) -> None:
        left = {"9999", *demo.LEFT_IN_THE_SHOP}
        with self.watch(), mock.patch.object(demo, "LEFT_IN_THE_SHOP", left):
            message = self.fail_demo()

        assert "--- The shop" in message
        assert "-9999" in message

    def test_an_order_that_komfortkasse_still_has_is_shown(self) -> None:
        with self.watch(), mock.patch.object(SandboxOrder, "as_json", remove_nothing):
            message = self.fail_demo()

        assert "--- The sandbox" in message
        assert "+1001" in message

    def test_needs_a_watcher(self) -> None:
        with mock.patch.object(demo, "PATIENCE", 1):
            message = self.fail_demo()

        assert "komfortkasse_push --watch" in message

    def test_needs_an_empty_shop(self) -> None:
        customer = Customer.objects.create(name="Max Mustermann")
        Order.objects.create(number="1", customer=customer, total=Decimal(1))

        with self.assertRaisesMessage(CommandError, "needs an empty shop"):
            call_command("demo", stdout=self.output)


def remove_nothing(order: SandboxOrder, included: object) -> dict[str, object]:
    """Answer as if the order were removed, but remove nothing."""
    SandboxOrder.objects.filter(pk=order.pk).update(removed_at=None)
    return {**order.attributes, "number": order.number, "paymentStatus": "DISAPPEARED"}


class TutorialTests(ShopTests):
    """What ``docs/tutorial.rst`` tells its readers to do after the demo."""

    def delete(self, thing: Order | Outage) -> None:
        """Delete it in the admin."""
        self.client.post(
            reverse(f"admin:{thing._meta.label_lower.replace('.', '_')}_delete", args=[thing.pk]),
            {"post": "yes"},
        )

    def test_leads_to_what_it_promises(self) -> None:
        self.client.force_login(User.objects.create_superuser("demo"))
        with self.watch():
            call_command("demo", stdout=StringIO())

        self.delete(Order.objects.get(number="1015"))

        removal = RemovedOrder.objects.get(order_number="1015")
        assert removal.state == "removed"
        assert SandboxOrder.objects.get(number="1015").removed_at

        self.client.post(reverse("admin:sandbox_outage_add"), {"calls_left": ""})
        self.delete(Order.objects.get(number="1016"))

        removal = RemovedOrder.objects.get(order_number="1016")
        assert removal.state == "pending"

        self.delete(Outage.objects.get(calls_left=None))
        self.client.post(
            reverse("admin:komfortkasse_django_removedorder_try_again", args=[removal.pk])
        )

        removal.refresh_from_db()
        assert removal.state == "removed"
        page = self.client.get(reverse("admin:komfortkasse_django_removedorder_changelist"))
        self.assertContains(page, "refund 20.00\N{NO-BREAK SPACE}EUR")


class DemoServerTests(TransactionTestCase):
    @override_settings(KOMFORTKASSE=with_api_url("https://ssl.komfortkasse.eu/api/v2"))
    def test_never_plays_with_the_real_komfortkasse(self) -> None:
        with self.assertRaisesMessage(CommandError, "sandbox on this machine only"):
            call_command("demo")
        assert not Order.objects.exists()

    @override_settings(KOMFORTKASSE=with_api_url("http://127.0.0.1:1/sandbox/api/v2"))
    def test_needs_a_server(self) -> None:
        with self.assertRaisesMessage(CommandError, "Nothing answers at"):
            call_command("demo")
        assert not Order.objects.exists()


class OrderAdminTests(ShopTests):
    def test_cancels_once_and_removes_at_komfortkasse(self) -> None:
        self.client.force_login(User.objects.create_superuser("staff"))
        customer = Customer.objects.create(name="Max Mustermann")
        order = Order.objects.create(
            number="1001", customer=customer, total=Decimal(1), payment_method="invoice"
        )
        selection = {"action": "cancel", "_selected_action": [order.pk]}
        for _ in range(2):
            self.client.post(reverse("admin:shop_order_changelist"), selection)

        order.refresh_from_db()
        assert order.cancelled_at is not None
        assert RemovedOrder.objects.get().state == "unknown"
