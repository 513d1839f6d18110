"""The wheel does in an empty environment what the README says."""

import pytest
from docutils import nodes

from tests.package.conftest import ROOT, run
from tests.support.loopback import Komfortkasse, Server
from tests.support.manual import README, recipe, section

# As ``startproject`` lists them, after the admin.
APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "shop",
]

ORDER_MODEL = """\
from django.db import models


class Order(models.Model):
    number = models.CharField(max_length=32, unique=True)
"""

DELETE_AN_ORDER = """
from komfortkasse_django.models import RemovedOrder
from shop.models import Order

Order.objects.create(number="1001").delete()
row = RemovedOrder.objects.get()
print(row.order_number, row.state, row.payment_status)
"""

SEE_THE_ROW = """
from django.contrib.auth.models import User
from django.test import Client
from django.utils import translation

translation.activate("de")
client = Client(SERVER_NAME="localhost")
client.force_login(User.objects.create_superuser("staff"))
print(client.get("/admin/komfortkasse_django/removedorder/").content.decode())
"""


def commands() -> list[list[str]]:
    """Return the command of each step of the installation that begins with "Run"."""
    (steps,) = section("Install", README).findall(nodes.enumerated_list)
    return [step[0][1].astext().split() for step in steps if step.astext().startswith("Run ")]


@pytest.fixture
def komfortkasse():
    with Server(Komfortkasse().serve) as server:
        yield server


def test_follows_the_quick_start(python, tmp_path, komfortkasse):
    install, ping, migrate, push = commands()
    environment = {
        "KOMFORTKASSE_API_KEY": "key-of-the-quick-start",
        "PYTHONWARNINGS": "error",
        "no_proxy": "localhost",
    }

    def python_(*arguments: str) -> str:
        return run(python, *arguments, cwd=tmp_path, **environment)

    # The fixture did so, with the wheel.
    assert install == ["pip", "install", "komfortkasse_django"]
    # What every reader has: a project with an app of orders.
    python_("-m", "django", "startproject", "project", ".")
    python_("manage.py", "startapp", "shop")
    (tmp_path / "shop" / "models.py").write_text(ORDER_MODEL)

    settings = tmp_path / "project" / "settings.py"
    with settings.open("a") as file:
        file.write(recipe("Install", 0).with_apps(*APPS).code)
        file.write(recipe("Install", 1).code)
        # Not the real one.
        file.write(f'KOMFORTKASSE["default"]["API_URL"] = "{komfortkasse.url}"\n')
    python_("manage.py", "makemigrations", "shop")
    assert "no issues" in python_("manage.py", "check", "--fail-level", "WARNING")
    assert ping[0] == migrate[0] == push[0] == "python"
    assert python_(*ping[1:]) == "Shop default: the API key is right.\n"
    python_(*migrate[1:])

    deleted = python_("manage.py", "shell", "-v", "0", "-c", DELETE_AN_ORDER)
    python_(*push[1:])
    page = python_("manage.py", "shell", "-v", "0", "-c", SEE_THE_ROW)

    assert deleted == "1001 removed DISAPPEARED\n"
    (_, request) = komfortkasse.requests
    assert request.startswith(b"POST /api/v2/order/remove/1001 HTTP/1.1\r\n")
    assert b"X-Komfortkasse-API-Key: key-of-the-quick-start\r\n" in request
    assert all(text in page for text in ("1001", "entfernt", "22,38"))


def test_carries_the_example_project(python, tmp_path):
    example_project = ROOT / "example_project"
    requirements = example_project / "requirements.txt"
    run(python, "-m", "pip", "install", "--quiet", "--requirement", requirements, cwd=tmp_path)
    manage = (python, "-B", example_project / "manage.py")

    assert "no issues" in run(*manage, "check", "--fail-level", "WARNING", cwd=tmp_path)
    run(*manage, "test", "--noinput", "shop", "sandbox", cwd=tmp_path)
