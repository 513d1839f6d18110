"""The manual's recipes for a shop of one's own, as they are written there."""

import re
import shlex
import socket

import pytest

from tests.recipes.project import ROOT
from tests.support.manual import recipe
from tests.support.running import starting, until

THREE_ORDERS = 'for number in "123": Order.objects.create(number=number)'


def test_install(project):
    project.run(THREE_ORDERS, 'Order.objects.get(number="2").delete()')

    project.assert_removed("2")
    assert "no issues" in project.sh("python manage.py check --fail-level WARNING")
    project.sh("python manage.py komfortkasse_push")


def test_payment_methods(project):
    project.add(recipe("Only some orders"))

    project.run(
        'for method in ["prepayment", "invoice", "card"]:',
        "    Order.objects.create(number=method, payment_method=method)",
        "Order.objects.all().delete()",
    )

    project.assert_removed("invoice", "prepayment")


def test_several_stores(project):
    project.add(recipe("Several stores"))

    project.run(
        'for store in ["berlin", "vienna", "paris"]:',
        '    Order.objects.create(number=f"{store}-1", store=store)',
        "Order.objects.all().delete()",
    )

    project.assert_removed("berlin-1", "vienna-1")
    told = [
        re.search(rb"POST .*/([^/]+) HTTP.*X-Komfortkasse-API-Key: (\S+)", head, re.DOTALL).groups()
        for head in project.server.requests
    ]
    assert sorted(told) == [(b"berlin-1", b"key-of-berlin"), (b"vienna-1", b"key-of-vienna")]


class TestGone:
    gone = recipe("Orders that end without being deleted", 0)
    remove = recipe("Remove an order with your own code", 0)

    def test_by_save(self, project):
        project.add(self.gone)

        project.run(
            THREE_ORDERS,
            'order = Order.objects.get(number="2")',
            'order.status = "paid"; order.save()',
            "assert not RemovedOrder.objects.exists()",
            'order.status = "cancelled"; order.save(update_fields=["number"])',
            "assert not RemovedOrder.objects.exists()",
            "order.save()",
            "order.save()",
        )

        project.assert_removed("2")
        assert "no issues" in project.sh("python manage.py check --fail-level WARNING")

    def test_by_the_three_lines_of_the_readme(self, project):
        project.add_settings(recipe("Install", 2).code)

        project.run(
            THREE_ORDERS,
            'order = Order.objects.get(number="2")',
            'order.status = "cancelled"; order.save()',
        )

        project.assert_removed("2")

    def test_by_save_that_fails(self, project):
        project.add(self.gone)

        written = project.run(
            THREE_ORDERS,
            'order = Order.objects.get(number="2")',
            'order.number, order.status = "3", "cancelled"',
            "try: order.save()",
            "except Exception as error: print(type(error).__name__)",
        )

        assert written == "IntegrityError\n"
        project.assert_removed()

    def test_by_the_form_in_the_admin(self, project):
        project.add(self.gone)
        project.write(
            "shop/admin.py",
            "from django.contrib import admin\nfrom shop.models import Order\n"
            "admin.site.register(Order)",
        )

        project.run(
            THREE_ORDERS,
            "from django.contrib.auth.models import User",
            "from django.test import Client",
            "client = Client()",
            'client.force_login(User.objects.create_superuser("staff"))',
            'order = Order.objects.get(number="2")',
            'url = f"/admin/shop/order/{order.pk}/change/"',
            'data = {"number": "2", "payment_method": "invoice", "store": "berlin"}',
            'answer = client.post(url, data | {"status": "cancelled"})',
            "assert answer.status_code == 302",
        )

        project.assert_removed("2")

    def test_by_code(self, project):
        project.run(
            THREE_ORDERS,
            'order = Order.objects.get(number="2")',
            self.remove.code,
            'assert Order.objects.filter(payment_method="card").get() == order',
        )

        project.assert_removed("2")


def test_another_number(project):
    project.run(
        THREE_ORDERS,
        'order = Order.objects.get(number="2")',
        recipe("Orders that get another number").code,
        'assert Order.objects.get(number="1001-B") == order',
    )

    project.assert_removed("2")


class TestAnonymisation:
    anonymise = recipe("Remove an order with your own code", 1)

    def test_reports_what_was(self, project):
        project.add(self.anonymise)
        project.add_settings(
            'KOMFORTKASSE["default"]["ORDER_FILTER"] = lambda order: bool(order.email)'
        )

        project.run(
            THREE_ORDERS,
            "from shop.privacy import anonymise",
            'Order.objects.update(name="Erika", email="erika@example.org")',
            'anonymise(Order.objects.get(number="2"))',
            'assert Order.objects.get(name="", email="").number == "2"',
        )

        project.assert_removed("2")

    def test_rolls_back(self, project):
        project.add(self.anonymise)

        project.run(
            THREE_ORDERS,
            "from shop.privacy import anonymise",
            "with transaction.atomic():",
            '    anonymise(Order.objects.get(number="2"))',
            "    transaction.set_rollback(True)",
        )

        project.assert_removed()


class TestSaleor:
    """Not Saleor itself, which is not on PyPI: an Order model with the fields that matter."""

    MODELS = """
import uuid

from django.db import models

class Order(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    number = models.IntegerField(unique=True)
    status = models.CharField(max_length=32, default="unfulfilled")
"""
    FOUR_ORDERS = """
from order.models import Order

for number in range(1, 5):
    Order.objects.create(number=number)
"""

    @pytest.fixture(autouse=True)
    def saleor(self, project):
        project.write("order/__init__.py", "")
        project.write("order/models.py", self.MODELS)
        project.add_settings('INSTALLED_APPS.append("order")')
        project.add(recipe("Saleor"))

    def test_cancelling(self, project):
        project.run(
            self.FOUR_ORDERS,
            "order = Order.objects.get(number=2)",
            'order.status = "canceled"; order.save(update_fields=["status"])',
            "order.save()",
        )

        project.assert_removed("2")
        assert "no issues" in project.sh("python manage.py check --fail-level WARNING")

    def test_expiring(self, project):
        project.run(self.FOUR_ORDERS, 'Order.objects.filter(number__gt=2).update(status="expired")')
        project.assert_removed()

        project.sh("python manage.py komfortkasse_reconcile")
        project.sh("python manage.py komfortkasse_push")

        project.assert_removed("3", "4")

    def test_drafts(self, project):
        project.run(
            self.FOUR_ORDERS,
            'Order.objects.filter(number=1).update(status="draft")',
            "Order.objects.filter(number__lt=3).delete()",
        )

        project.assert_removed("2")


class TestOrderAdmin:
    """An Order admin that is registered too late for the app."""

    PAGE = """
from django.contrib.auth.models import User
from django.test import Client

client = Client()
client.force_login(User.objects.create_superuser("staff"))
order = Order.objects.create(number="1")
answer = client.get(f"/admin/shop/order/{order.pk}/change/")
print("Remove from Komfortkasse" in answer.text)
"""

    @pytest.fixture(autouse=True)
    def late(self, project):
        project.add_settings('INSTALLED_APPS[0] = "django.contrib.admin.apps.SimpleAdminConfig"')

    def test_without_the_mixin(self, project):
        project.write(
            "shop/admin.py",
            "from django.contrib import admin\nfrom shop.models import Order\n"
            "admin.site.register(Order)",
        )

        assert "komfortkasse_django.W002" in project.sh("python manage.py check")
        assert project.run(self.PAGE) == "False\n"

    def test_with_the_mixin(self, project):
        project.add(recipe("The Order admin"))

        assert "no issues" in project.sh("python manage.py check")
        assert project.run(self.PAGE) == "True\n"


def test_admin_site_of_its_own(project):
    project.write(
        "urls.py",
        """
from django.contrib.admin import AdminSite
from django.urls import path
from komfortkasse_django.admin import RemovedOrderAdmin
from komfortkasse_django.models import RemovedOrder

site = AdminSite("staff")
site.register(RemovedOrder, RemovedOrderAdmin)
urlpatterns = [path("staff/", site.urls)]
""",
    )

    project.run(
        THREE_ORDERS,
        'Order.objects.get(number="2").delete()',
        "from django.contrib.auth.models import User",
        "from django.test import Client",
        "client = Client()",
        'client.force_login(User.objects.create_superuser("staff"))',
        'mirror = "/staff/komfortkasse_django/removedorder/"',
        "row = RemovedOrder.objects.get()",
        'for url in [mirror, f"{mirror}{row.pk}/change/"]:',
        "    answer = client.get(url)",
        "    assert answer.status_code == 200",
        '    assert "K1234A" in answer.text',
    )


class TestSQLite:
    """Another process writes between what this one reads and what it deletes."""

    SCRIPT = """
import sqlite3
from django.db import OperationalError

THREE_ORDERS
call_command("komfortkasse_push", verbosity=0)
database = sqlite3.connect("shop.sqlite3", timeout=0)
database.execute("PRAGMA journal_mode=WAL")
try:
    with transaction.atomic():
        order = Order.objects.get(number="2")
        try:
            database.execute("UPDATE shop_order SET status = 'paid'")
            database.commit()
        except sqlite3.OperationalError as error:
            print("the other:", error)
        order.delete()
except OperationalError as error:
    print("this one:", error)
database.close()
""".replace("THREE_ORDERS", THREE_ORDERS)

    def test_refuses_by_default(self, project):
        assert project.run(self.SCRIPT) == "this one: database is locked\n"
        project.assert_removed()

    def test_waits_with_the_option(self, project):
        project.add_settings(recipe("SQLite").code)

        assert project.run(self.SCRIPT) == "the other: database is locked\n"
        project.assert_removed("2")


class TestTheShopsTests:
    COMMIT = """
from django.test import TestCase
from shop.models import Order

class CommitTest(TestCase):
    def test_is_sent(self):
        with self.captureOnCommitCallbacks(execute=True):
            Order.objects.create(number="1001").delete()
"""

    def test_send_nothing(self, project):
        project.add(recipe("Your shop's tests"))

        assert "Ran 1 test" in project.sh("python manage.py test shop")
        assert project.komfortkasse.numbers == []

    @pytest.mark.parametrize(("budget", "numbers"), [("60", ["1001"]), ("0", [])])
    def test_send_where_they_play_the_commit(self, project, budget, numbers):
        project.write("shop/tests.py", self.COMMIT)
        project.environment["REQUEST_BUDGET"] = budget

        assert "Ran 1 test" in project.sh("python manage.py test shop")
        assert project.komfortkasse.numbers == numbers


class TestStaging:
    @pytest.fixture(autouse=True)
    def staging(self, project):
        project.run(THREE_ORDERS)
        project.environment["REQUEST_BUDGET"] = "0"
        project.run('Order.objects.get(number="1").delete()')
        staging = recipe("Staging and development")
        project.replace_settings(recipe("Install", 1).code, staging.code)

    def test_switched_off(self, project):
        del project.environment["KOMFORTKASSE_API_KEY"]

        project.run('Order.objects.get(number="2").delete()')
        pushed = project.start("python manage.py komfortkasse_push")

        assert pushed.returncode == 1
        assert "switched off" in pushed.stdout
        assert project.mirror() == [("1", "pending")]
        assert project.komfortkasse.numbers == []
        assert "no issues" in project.sh("python manage.py check")

    def test_switched_on(self, project):
        project.environment["KOMFORTKASSE_ENABLED"] = "yes"

        project.run('Order.objects.get(number="2").delete()')
        project.sh("python manage.py komfortkasse_push")

        project.assert_removed("1", "2")


def test_sandbox(project):
    install, setting, *commands = recipe("A sandbox for your own shop", 0).lines
    migrate, _createsuperuser, serve = (shlex.split(command)[1:] for command in commands)
    settings = recipe("A sandbox for your own shop", 1)
    assert setting == "export DEBUG=true"
    assert (ROOT / install.split()[-1]).exists()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    sandbox = {
        "PATH": project.environment["PATH"],
        "PYTHONPATH": str(ROOT),
        "DEBUG": "true",
        "SQLITE_PATH": str(project.path / "sandbox.sqlite3"),
    }
    project.replace_settings(recipe("Install", 1).code, settings.code)
    # The project replaces API_URL.
    project.environment["API_URL"] = settings.code.split('"API_URL": "')[1].split('"')[0]
    project.environment["API_URL"] = project.environment["API_URL"].replace(serve[-1], port)

    with starting(sandbox, project.path) as start:
        assert start(*migrate).ended() == 0
        start(*serve[:-1], "--noreload", port)
        until(lambda: _answers(int(port)))

        assert "is right" in project.sh("python manage.py komfortkasse_ping")
        project.run(THREE_ORDERS, 'Order.objects.get(number="2").delete()')

    assert project.mirror() == [("2", "unknown")]


def _answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True
