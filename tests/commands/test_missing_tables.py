"""Every command says in one line what to do if the mirror's tables are not migrated."""

import os
import signal
from contextlib import contextmanager
from unittest import mock

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, OperationalError, connections

from komfortkasse_django.database import DatabaseUnavailable
from komfortkasse_django.models import RemovedOrder, ShopState
from komfortkasse_django.queue import pushing
from tests.shop.models import Order
from tests.support.commands import exit_code
from tests.support.mirror import due

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.signals,
]

COMMANDS = {
    "push": (["komfortkasse_push"], 1),
    "remove": (["komfortkasse_remove", "1002"], 1),
    "status": (["komfortkasse_status"], 2),
    "status as JSON": (["komfortkasse_status", "--json"], 2),
    "reconcile": (["komfortkasse_reconcile", "-v", "0"], 1),
    "prune": (["komfortkasse_prune", "--older-than", "30", "-v", "0"], 1),
}
TABLE, STATES = RemovedOrder._meta.db_table, ShopState._meta.db_table


@contextmanager
def altered(there: str, back: str, *, using: str = "default"):
    """The database ``using`` after one ``ALTER TABLE``; the other one takes it back."""

    def alter(what: str) -> None:
        # A cursor each: a command closes the connection.
        with connections[using].cursor() as cursor:
            cursor.execute(f"ALTER TABLE {what}")

    alter(there)
    try:
        yield
    finally:
        alter(back)


def without_table(**options):
    return altered(f"{TABLE} RENAME TO elsewhere", f"elsewhere RENAME TO {TABLE}", **options)


def without_column(name: str):
    return altered(
        f"{TABLE} RENAME COLUMN {name} TO another", f"{TABLE} RENAME COLUMN another TO {name}"
    )


@pytest.mark.parametrize(("arguments", "code"), COMMANDS.values(), ids=COMMANDS)
def test_without_the_table(capsys, arguments, code):
    with without_table():
        assert exit_code(*arguments) == code

    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert f'"default" has no table {TABLE}. Run "manage.py migrate".' in told.err


@pytest.mark.parametrize(("arguments", "code"), COMMANDS.values(), ids=COMMANDS)
def test_without_any_table_at_the_first_connection(capsys, arguments, code):
    """A new process has no connection yet: what fails then may be taken for a lost one."""
    there, back = f"{STATES} RENAME TO states", f"states RENAME TO {STATES}"
    with altered(there, back), without_table():
        if connections["default"].settings_dict["NAME"] != ":memory:":
            connections["default"].close()

        assert exit_code(*arguments) == code

    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert '"default" has no table komfortkasse_django_' in told.err


@pytest.mark.parametrize(("arguments", "code"), COMMANDS.values(), ids=COMMANDS)
def test_without_a_column(capsys, arguments, code):
    """As after an upgrade without ``migrate``."""
    due("1001")
    Order.objects.create(number="1001")

    with without_column("state"):
        assert exit_code(*arguments) == code

    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert f'"default" has no column state in table {TABLE}. Run' in told.err


def test_without_a_column_nothing_is_recorded():
    with without_column("last_error"):
        assert exit_code("komfortkasse_remove", "1001") == 1

    assert not RemovedOrder.objects.exists()


def test_without_the_table_in_another_database(capsys):
    with without_table(using="other"):
        assert exit_code("komfortkasse_push", "--database", "other") == 1

    assert 'Run "manage.py migrate --database other".' in capsys.readouterr().err


def test_watch_says_so_once_and_goes_on(monkeypatch, caplog):
    real, rounds = pushing.push, []

    def push(**options):
        rounds.append(options)
        if len(rounds) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(**options)

    monkeypatch.setattr(pushing, "push", push)
    due("1001")

    with without_table():
        assert exit_code("komfortkasse_push", "--watch", "0.01") == 0

    [record] = caplog.records
    assert f'has no table {TABLE}. Run "manage.py migrate".' in record.getMessage()
    assert not record.exc_info
    assert len(rounds) == 3


def test_of_another_error_the_tables_are_not_blamed(monkeypatch):
    monkeypatch.setattr(pushing, "push", mock.Mock(side_effect=IntegrityError("not unique")))

    with pytest.raises(IntegrityError, match="not unique"):
        call_command("komfortkasse_push")


@pytest.mark.parametrize("kind", [DatabaseUnavailable, OperationalError])
def test_of_a_database_that_does_not_answer_one_line_tells(monkeypatch, capsys, kind):
    monkeypatch.setattr(pushing, "push", mock.Mock(side_effect=kind("server closed")))

    assert exit_code("komfortkasse_push") == 1

    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "CommandError: The database cannot be used: server closed\n"


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "push"])
def test_of_a_database_that_is_gone_one_line_tells(monkeypatch, capsys, name):
    gone = mock.Mock(side_effect=OperationalError("server gone"))
    arguments, code = COMMANDS[name]
    with monkeypatch.context() as patch:
        patch.setattr(connections["default"], "cursor", gone)
        assert exit_code(*arguments) == code

    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert "server gone" in told.err


def test_of_a_database_that_does_not_answer_the_tables_are_not_blamed(monkeypatch):
    gone = mock.Mock(side_effect=OperationalError("server gone"))
    monkeypatch.setattr(connections["default"], "cursor", gone)

    with pytest.raises(CommandError, match="read: server gone") as caught:
        call_command("komfortkasse_status")

    assert caught.value.returncode == 2
