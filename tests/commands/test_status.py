"""komfortkasse_status: what monitoring is told."""

import json
from datetime import datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.utils import timezone, translation

from komfortkasse_django.management.commands import komfortkasse_status
from komfortkasse_django.models import RemovedOrder, ShopState
from komfortkasse_django.reports.wording import exact_time

pytestmark = pytest.mark.django_db


def row(state="pending", *, due=None, shop="default", finished=None, asked=None) -> RemovedOrder:
    """A row that became due ``due`` minutes ago, when it was asked for unless ``asked`` says else.

    It was finished ``finished`` minutes ago.
    """
    now = timezone.now()
    return RemovedOrder.objects.create(
        shop=shop,
        order_number="1001",
        requested_via="delete",
        state=state,
        created_at=now - timedelta(minutes=asked or max(due or 0, 0)),
        next_attempt_at=None if due is None else now - timedelta(minutes=due),
        finished_at=None if finished is None else now - timedelta(minutes=finished),
    )


def status(*arguments: str) -> tuple[int, str]:
    """The exit code and what was written."""
    out = StringIO()
    try:
        call_command("komfortkasse_status", *arguments, stdout=out)
    except SystemExit as error:
        return error.code, out.getvalue()
    return 0, out.getvalue()


def status_json(*arguments: str) -> tuple[int, dict]:
    code, written = status("--json", *arguments)
    return code, json.loads(written)


def test_of_nothing():
    code, told = status_json()

    assert code == 0
    assert told == {
        "ok": True,
        "problems": [],
        "waiting": 0,
        "due": 0,
        "overdue": 0,
        "to_do": 0,
        "refunds": {},
        "at_agency": 0,
        "alive_again": 0,
        "oldest_due_seconds": None,
        "last_removed_at": None,
        "failing_since": None,
        "error_code": None,
        "last_error": None,
        "shops": {
            "default": {"pending": 0, "removed": 0, "unknown": 0, "superseded": 0, "failed": 0}
        },
    }


def test_counts_by_shop_and_state(configure):
    configure(aliases={"a": {}, "b": {}})
    row("removed", shop="a", finished=1)
    row("removed", shop="a", finished=1)
    row("superseded", shop="a", finished=1)
    row("unknown", shop="gone", finished=1)

    _, told = status_json()

    nothing = dict.fromkeys(RemovedOrder.State.values, 0)
    assert told["shops"] == {
        "a": {**nothing, "removed": 2, "superseded": 1},
        "b": nothing,
        "gone": {**nothing, "unknown": 1},
    }


def test_due_is_no_problem():
    row(due=59)
    row(due=3)
    row(due=-3)

    code, told = status_json()

    assert (code, told["ok"], told["due"], told["overdue"]) == (0, True, 2, 0)
    assert 59 * 60 <= told["oldest_due_seconds"] < 60 * 60


@pytest.mark.parametrize(("arguments", "overdue"), [((), 1), (("--max-age", "20"), 2)])
def test_overdue(arguments, overdue):
    row(due=61)
    row(due=21)
    row(due=1)

    code, told = status_json(*arguments)

    assert (code, told["ok"], told["overdue"], told["due"]) == (1, False, overdue, 3)


def test_what_is_tried_again_and_again_is_overdue_without_being_due():
    """As with a wrong API key."""
    row(due=-59, asked=59)
    row(due=-59, asked=61)

    code, told = status_json()

    assert (code, told["overdue"], told["due"]) == (1, 1, 0)


def fail(shop: str, code: str, minutes: int = 9) -> ShopState:
    """The calls for a shop have failed for so long."""
    return ShopState.objects.create(
        shop=shop,
        failures=3,
        failing_since=timezone.now() - timedelta(minutes=minutes),
        error_code=code,
        last_error=f"Because of {code}",
    )


def test_a_dead_line():
    """Nothing is due or overdue, but all wait: the key is wrong."""
    row(due=-5)
    state = fail("default", "authentication_failed")

    code, told = status_json()

    since = state.failing_since.isoformat()
    assert (code, told["waiting"], told["due"], told["overdue"]) == (1, 1, 0, 0)
    assert told["problems"] == [
        {"problem": "authentication_failed", "shop": "default", "since": since, "count": 1}
    ]
    assert (told["failing_since"], told["error_code"]) == (since, "authentication_failed")
    assert told["last_error"] == "Because of authentication_failed"


def test_the_errors_are_those_of_the_worst_problem(configure):
    configure(aliases={"a": {}, "b": {}, "c": {}})
    fail("a", "connection_failed", minutes=50)
    fail("b", "deadline_exceeded", minutes=30)
    row(due=-5, shop="b", asked=90)

    assert status_json()[1]["error_code"] == "deadline_exceeded"
    RemovedOrder.objects.all().delete()
    assert status_json()[1]["error_code"] == "connection_failed"


def test_to_do():
    row("failed")
    row(due=-5)
    RemovedOrder.objects.filter(pk=row("removed", finished=5).pk).update(amount_paid=5)

    assert status_json()[1]["to_do"] == 2


def test_what_people_have_to_settle_is_named_and_is_no_problem():
    for amount, currency in (("5", "EUR"), ("7.5", "EUR"), ("1", "CHF")):
        key = row("removed", finished=5).pk
        RemovedOrder.objects.filter(pk=key).update(amount_paid=amount, currency=currency)
    key = row("removed", finished=5).pk
    RemovedOrder.objects.filter(pk=key).update(collection_partner="Inkasso Nord")
    RemovedOrder.objects.filter(pk=key).update(alive_again_at=timezone.now())

    code, told = status_json()

    assert code == 0
    assert told["refunds"] == {
        "CHF": {"count": 1, "amount": "1.00"},
        "EUR": {"count": 2, "amount": "12.50"},
    }
    assert (told["at_agency"], told["alive_again"], told["to_do"]) == (1, 1, 4)
    assert status()[1].splitlines()[-1] == (
        "To be settled in the admin: 3 refunds (1.00\xa0CHF, 12.50\xa0EUR), 1 order at a collection"
        " agency, 1 order is alive again"
    )


def test_failed():
    row("failed")

    code, told = status_json()

    assert (code, told["ok"], told["shops"]["default"]["failed"]) == (1, False, 1)


def test_finished_ones_are_neither_due_nor_a_problem():
    for state in ("removed", "unknown", "superseded"):
        row(state, finished=100_000)

    assert status_json()[0] == 0


def test_last_success_is_a_removal():
    row("removed", finished=50)
    last = row("removed", finished=5)
    row("unknown", finished=1)

    _, told = status_json()

    assert datetime.fromisoformat(told["last_removed_at"]) == last.finished_at


@pytest.mark.parametrize("shop", ["default", "off", "gone"])
def test_what_nobody_sends_becomes_overdue(configure, shop):
    """A pause, a shop that is switched off, and one that was taken out of the settings."""
    configure(aliases={"default": {}, "off": {"ENABLED": False}})
    ShopState.objects.create(shop="default", paused_until=timezone.now() + timedelta(minutes=30))
    row(due=61, shop=shop)

    code, told = status_json()

    assert (code, told["due"], told["overdue"]) == (1, 1, 1)


class TestText:
    def test_of_nothing(self):
        assert status() == (0, "OK: nothing is overdue, 0 wait, 0 are due\ndefault: no removals\n")

    def test_of_a_healthy_shop(self):
        row("removed", finished=5)
        row(due=3)

        code, written = status()

        assert code == 0
        assert written.splitlines() == [
            (
                "OK: nothing is overdue, 1 waits, 1 is due, the oldest became due 3 minutes ago,"
                " Komfortkasse last confirmed one 5 minutes ago"
            ),
            "default: 1 pending, 1 removed",
        ]

    def test_of_problems(self):
        row(due=130)
        first = row(due=140)
        failed = row("failed")

        code, written = status()

        assert code == 1
        assert written.splitlines() == [
            (
                f"PROBLEM: shop default, since {exact_time(first.created_at)}: 2 removals are"
                " overdue: nothing seems to send removals. Is komfortkasse_push running? It should"
                " be run every minute; 2 wait, 2 are due, the oldest became due 2 hours ago"
            ),
            (
                f"PROBLEM: shop default, since {exact_time(failed.created_at)}:"
                " 1 refused by Komfortkasse"
            ),
            "default: 2 pending, 1 failed",
        ]

    def test_of_a_wrong_key(self):
        for _ in range(51):
            row(due=-5)
        since = fail("default", "authentication_failed").failing_since

        code, written = status()

        assert code == 1
        assert written.splitlines()[0] == (
            f"PROBLEM: shop default, since {exact_time(since)}: Komfortkasse does not accept the"
            " API key; 51 wait, 0 are due"
        )

    def test_of_a_wrong_key_in_german(self):
        fail("default", "authentication_failed")

        with translation.override("de"):
            told = status()[1]

        assert told.startswith("PROBLEM: Shop default, seit ")
        assert "Komfortkasse nimmt den API-Key nicht an; 0 warten" in told

    def test_of_a_long_outage(self):
        row(due=-5, asked=120)
        fail("default", "connection_failed")

        assert ": 1 removal is overdue: no connection; 1 waits" in status()[1]

    def test_says_which_shops_are_left_alone(self, configure):
        configure(aliases={"busy": {}, "off": {"ENABLED": False}})
        until = timezone.now() + timedelta(minutes=30)
        ShopState.objects.create(shop="busy", paused_until=until)
        ShopState.objects.create(shop="off", paused_until=timezone.now())
        row(shop="gone", due=1)

        _, written = status()

        _, busy, off, gone = written.splitlines()
        assert busy.startswith("busy: no removals: the shop busy is paused until ")
        assert off == "off: no removals: the shop off is switched off in the settings"
        assert gone == "gone: 1 pending: the shop gone is not in the settings any more"

    def test_no_longer_says_so_after_the_pause(self):
        ShopState.objects.create(shop="default", paused_until=timezone.now())

        assert status()[1].endswith("default: no removals\n")

    def test_is_plain_text(self):
        row(due=130)

        with translation.override("de"):
            assert "\xa0" not in status()[1]


class TestCannotTell:
    @pytest.mark.parametrize("arguments", [(), ("--json",)])
    def test_without_a_database(self, monkeypatch, arguments):
        def fail(*args):
            raise DatabaseError("no such table")

        monkeypatch.setattr(komfortkasse_status, "read_status", fail)

        with pytest.raises(CommandError, match="cannot be read: no such table") as caught:
            call_command("komfortkasse_status", *arguments)

        assert caught.value.returncode == 2

    def test_without_the_table(self, transactional_db):
        with connection.schema_editor() as editor:
            editor.delete_model(RemovedOrder)
        try:
            with pytest.raises(CommandError) as caught:
                call_command("komfortkasse_status")
            assert caught.value.returncode == 2
        finally:
            with connection.schema_editor() as editor:
                editor.create_model(RemovedOrder)

    @pytest.mark.parametrize("age", ["0", "-1", "soon", "1.5"])
    def test_with_bad_arguments(self, age):
        with pytest.raises(CommandError, match=r"--max-age.*such as 100"):
            call_command("komfortkasse_status", f"--max-age={age}")

    def test_with_an_age_beyond_all_dates(self):
        with pytest.raises(CommandError) as caught:
            call_command("komfortkasse_status", "--max-age=999999999999999")

        assert caught.value.returncode == 2

    def test_is_not_mixed_up_with_broken_settings(self):
        assert not komfortkasse_status.Command.requires_system_checks


@pytest.mark.django_db(databases=["default", "other"])
def test_of_another_database():
    RemovedOrder.objects.using("other").create(
        shop="default", order_number="1001", requested_via="delete", state="failed"
    )

    assert status_json()[0] == 0
    assert status_json("--database", "other")[0] == 1
