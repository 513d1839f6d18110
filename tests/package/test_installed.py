"""The wheel does in an empty environment what the README says."""

import pytest
from docutils import nodes
from docutils.core import publish_doctree

from tests.loopback import Connection, Server, http_answer, order_json
from tests.package.conftest import ROOT, run

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


def steps(title: str) -> list[nodes.list_item]:
    """The numbered steps of a section of the README."""
    text = (ROOT / "README.rst").read_text(encoding="utf-8")
    document = publish_doctree(text, settings_overrides={"halt_level": 2})
    (section,) = (
        each for each in document.findall(nodes.section) if each.next_node().astext() == title
    )
    (numbered,) = section.findall(nodes.enumerated_list)
    return list(numbered.children)


def code(step: nodes.list_item) -> str:
    (block,) = step.findall(nodes.literal_block)
    return block.astext()


def command(step: nodes.list_item) -> list[str]:
    return next(iter(step.findall(nodes.literal))).astext().split()


def confirm(connection: Connection) -> None:
    """Confirm every removal, as Komfortkasse does."""
    while head := connection.read_request():
        number = head.split(b" ")[1].rpartition(b"/")[2].decode()
        connection.send(http_answer(order_json(number=number)))


@pytest.fixture
def komfortkasse():
    with Server(confirm) as server:
        yield server


def test_follows_the_quick_start(python, tmp_path, komfortkasse):
    install, apps, setting, migrate, push = steps("Install")
    environment = {
        "KOMFORTKASSE_API_KEY": "key-of-the-quick-start",
        "PYTHONWARNINGS": "error",
        "no_proxy": "localhost",
    }

    def python_(*arguments: str) -> str:
        return run(python, *arguments, cwd=tmp_path, **environment)

    # The fixture did so, with the wheel.
    assert command(install) == ["pip", "install", "komfortkasse_django"]
    # What every reader has: a project with an app of orders.
    python_("-m", "django", "startproject", "project", ".")
    python_("manage.py", "startapp", "shop")
    (tmp_path / "shop" / "models.py").write_text(ORDER_MODEL)

    settings = tmp_path / "project" / "settings.py"
    with settings.open("a") as file:
        file.write(code(apps).replace("# ...", '*INSTALLED_APPS[1:],\n    "shop",') + "\n")
        file.write(code(setting) + "\n")
        # Not the real one.
        file.write(f'KOMFORTKASSE["default"]["API_URL"] = "{komfortkasse.url}"\n')
    python_("manage.py", "makemigrations", "shop")
    assert "no issues" in python_("manage.py", "check", "--fail-level", "WARNING")
    assert command(migrate)[0] == command(push)[0] == "python"
    python_(*command(migrate)[1:])

    deleted = python_("manage.py", "shell", "-v", "0", "-c", DELETE_AN_ORDER)
    python_(*command(push)[1:])
    page = python_("manage.py", "shell", "-v", "0", "-c", SEE_THE_ROW)

    assert deleted == "1001 removed DISAPPEARED\n"
    (request,) = komfortkasse.requests
    assert request.startswith(b"POST /api/v2/order/remove/1001 HTTP/1.1\r\n")
    assert b"X-Komfortkasse-API-Key: key-of-the-quick-start\r\n" in request
    assert all(text in page for text in ("1001", "entfernt", "Verschwunden"))


def test_carries_the_example_project(python, tmp_path):
    example_project = ROOT / "example_project"
    requirements = example_project / "requirements.txt"
    run(python, "-m", "pip", "install", "--quiet", "--requirement", requirements, cwd=tmp_path)
    manage = (python, "-B", example_project / "manage.py")

    assert "no issues" in run(*manage, "check", "--fail-level", "WARNING", cwd=tmp_path)
    run(*manage, "test", "--noinput", "shop", "sandbox", cwd=tmp_path)
