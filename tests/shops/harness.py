"""What the tests of all shops share, as a pytest plugin: a Komfortkasse and the mirror.

Komfortkasse listens on a real socket before Django reads the settings of the shop, which take its
address and the API keys from here: all the rest is as in a shop that pushing.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

import pytest

from tests.support.loopback import Connection, Server, http_answer, order_json

pytest.register_assert_rewrite("tests.shops.order_admin")


class Komfortkasse:
    """Answers after the contract and remembers what it was told.

    It knows every order that is not in ``unknown``, and is ``down`` when it is told to be.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.unknown: set[str] = set()
        self.down = False

    def reset(self) -> None:
        self.__init__()

    @property
    def numbers(self) -> list[str]:
        """The order numbers of all calls, sorted."""
        return sorted(number for _, number in self.calls)

    def serve(self, connection: Connection) -> None:
        while head := connection.read_request():
            connection.send(self._answer(head.decode("latin-1")))

    def _answer(self, head: str) -> bytes:
        called = re.match(r"POST /api/v2/order/remove/([^ ?/]+) HTTP/1.1\r\n", head)
        key = re.search(r"^X-Komfortkasse-API-Key: (.*?)\r$", head, re.MULTILINE | re.IGNORECASE)
        assert called, head
        assert key, head
        number = unquote(called[1])
        self.calls.append((key[1], number))
        if self.down:
            return http_answer(b"down", status="503 Service Unavailable")
        if number in self.unknown:
            error = json.dumps({"error": "Order not found"}).encode()
            return http_answer(error, "Content-Type: application/json", status="404 Not Found")
        return http_answer(order_json(number=number), "Content-Type: application/json")


_komfortkasse = Komfortkasse()
_server = Server(_komfortkasse.serve)
os.environ |= {
    "KOMFORTKASSE_API_URL": _server.url,
    # Under the names that the manual gives them.
    "KOMFORTKASSE_API_KEY": "key-of-the-shop",
    "KOMFORTKASSE_API_KEY_BERLIN": "key-of-berlin",
    "KOMFORTKASSE_API_KEY_VIENNA": "key-of-vienna",
}


def pytest_sessionstart() -> None:
    _server.__enter__()


def pytest_sessionfinish() -> None:
    _server.__exit__()


@pytest.fixture(scope="session")
def migrated(pytestconfig, django_test_environment: None, django_db_blocker) -> Iterator[None]:
    """The test database, made by the shop's own migrations; kept with ``--reuse-db``."""
    from django.test.utils import setup_databases, teardown_databases

    keep = pytestconfig.option.reuse_db
    with django_db_blocker.unblock():
        databases = setup_databases(verbosity=0, interactive=False, keepdb=keep)
    yield
    with django_db_blocker.unblock():
        teardown_databases(databases, verbosity=0, keepdb=keep)


KEPT = {"auth_permission", "django_content_type", "django_migrations", "django_site"}


@pytest.fixture
def database(migrated: None, django_db_blocker) -> Iterator[None]:
    """The database, to be committed to; emptied afterwards of all but what migrations leave.

    By hand, because the ``flush`` of a transactional test creates all the permissions of a shop
    anew, which takes longer than any test.
    """
    with django_db_blocker.unblock():
        from django.core.management.color import no_style
        from django.db import connection

        tables = set(connection.introspection.django_table_names(only_existing=True)) - KEPT
        yield
        connection.ops.execute_sql_flush(
            connection.ops.sql_flush(no_style(), tables, reset_sequences=True, allow_cascade=True)
        )


@pytest.fixture
def komfortkasse(database: None) -> Iterator[Komfortkasse]:
    """The Komfortkasse that the shop's settings name."""
    _komfortkasse.reset()
    yield _komfortkasse
    _komfortkasse.reset()


@pytest.fixture
def mirror(komfortkasse: Komfortkasse) -> Callable[[], list[tuple[str, str]]]:
    """Return what the mirror shows now: order numbers with states, sorted."""
    from komfortkasse_django.models import RemovedOrder

    def show() -> list[tuple[str, str]]:
        return sorted(RemovedOrder.objects.values_list("order_number", "state"))

    return show


@pytest.fixture
def told(komfortkasse: Komfortkasse, mirror: Callable) -> Callable[..., None]:
    """Assert that these orders, and no others, were removed: once each, confirmed and mirrored."""

    def told(*numbers: object, via: str = "delete", shop: str = "default") -> None:
        from komfortkasse_django.models import RemovedOrder

        expected = sorted(map(str, numbers))
        assert komfortkasse.numbers == expected
        assert mirror() == [(number, "removed") for number in expected]
        for row in RemovedOrder.objects.all():
            assert (row.shop, row.requested_via, row.attempts) == (shop, via, 1)
            assert (row.payment_status, row.reference_number) == ("DISAPPEARED", "K1234A")
            assert (str(row.amount), row.currency) == ("22.38", "EUR")
            assert row.finished_at
            assert row.next_attempt_at is None

    return told


@pytest.fixture
def retry_now(komfortkasse: Komfortkasse) -> Callable[[], None]:
    """Send what waits for its next attempt, without waiting for it."""

    def retry_now() -> None:
        from django.core.management import call_command
        from django.utils import timezone

        from komfortkasse_django.models import RemovedOrder

        RemovedOrder.objects.pending().update(next_attempt_at=timezone.now())
        call_command("komfortkasse_push", verbosity=0)

    return retry_now


@pytest.fixture
def reconcile(komfortkasse: Komfortkasse) -> Callable[[], None]:
    """Find orders that ended without a signal, and send their removals."""

    def reconcile() -> None:
        from django.core.management import call_command

        call_command("komfortkasse_reconcile", verbosity=0)
        assert komfortkasse.calls == []
        call_command("komfortkasse_push", verbosity=0)

    return reconcile


@pytest.fixture
def staff(client: Any, komfortkasse: Komfortkasse) -> Any:
    """A browser in which a member of the staff is logged in."""
    from django.contrib.auth import get_user_model

    client.force_login(get_user_model().objects.create_superuser("staff", "staff@example.org", "x"))
    return client
