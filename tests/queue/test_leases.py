"""What the queue does when the database does not do what it is told."""

import sqlite3
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest
from django.db import (
    DataError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    connection,
    transaction,
)
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from komfortkasse_django import database
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue import leases
from tests.support.mirror import Via, due, locked
from tests.support.plans import plan

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def held():
    """Leases on two due rows, whose answer has come."""
    due("1001", "1002", via=Via.CODE)
    held, _ = leases.claim(RemovedOrder.objects.due(), at_most=10, seconds=60)
    for lease in held:
        lease.row.state = "removed"
        lease.row.reference_number = "K1234A"
        lease.row.last_error = "ä"
        lease.row.next_attempt_at = None
    return held


@pytest.fixture
def obstacles(monkeypatch):
    """Errors that writing raises, one after the other, before it succeeds."""
    errors = []
    write = leases._write

    def hindered(*args, **kwargs):
        if errors:
            raise errors.pop(0)
        return write(*args, **kwargs)

    monkeypatch.setattr(leases, "_write", hindered)
    monkeypatch.setattr(database, "FIRST_WAIT", 0.001)
    return errors


def states() -> list[str]:
    return list(RemovedOrder.objects.order_by("order_number").values_list("state", flat=True))


def test_a_worker_that_lost_its_lease_changes_nothing(held):
    lost, kept = held
    rows = RemovedOrder.objects.filter(pk=lost.row.pk)
    rows.update(next_attempt_at=timezone.now())
    [successors], _ = leases.claim(rows, at_most=1, seconds=60)
    before = rows.values().get()

    assert leases.settle(held, using="default") == [kept]

    assert rows.values().get() == before
    assert states() == ["pending", "removed"]
    assert leases.settle([successors], using="default") == [successors]


def test_a_case_that_was_settled_before_its_answer_came_is_open_again(held):
    first, _second = held
    RemovedOrder.objects.update(settled_at=timezone.now())
    first.row.amount_paid = Decimal(5)

    leases.settle(held, using="default")

    assert RemovedOrder.objects.unsettled().get() == first.row


def test_keeps_what_another_changed_where_the_answer_did_not(held):
    first, second = held
    second.row.reference_number = second.as_claimed["reference_number"]
    RemovedOrder.objects.filter(pk=second.row.pk).update(reference_number="by hand")

    assert leases.settle(held, using="default") == held

    first, second = RemovedOrder.objects.order_by("order_number")
    assert (first.state, first.reference_number) == ("removed", "K1234A")
    assert (second.state, second.reference_number) == ("removed", "by hand")


TEXTS = {
    "signs": "a\"b'c\\d%e%s{f}\n\r\t\u2028",
    "letters": "\U0001f4b6 \xe9 \u0416",
    "long": "\xe9" * 70_000,
    "null": "null",
    "array": "[1]",
    "number": "0012.50",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("count", [1, 2])
def test_stores_any_text_unchanged(held, text, count):
    for lease in held:
        lease.row.last_error = text
        lease.row.amount = Decimal("-1234567890123.45")
        lease.row.dunning_level = 2**31 - 1
        lease.row.finished_at = datetime(2026, 3, 29, 1, 30, 0, 1, UTC)

    assert leases.settle(held[:count], using="default") == held[:count]

    for row in RemovedOrder.objects.filter(state="removed"):
        assert row.last_error == text
        assert row.amount == Decimal("-1234567890123.45")
        assert row.dunning_level == 2**31 - 1
        assert row.finished_at == datetime(2026, 3, 29, 1, 30, 0, 1, UTC)
        assert row.amount_paid is None
    assert states().count("removed") == count


@pytest.mark.skipif(connection.vendor != "mysql", reason="only there a connection has a charset")
def test_leaves_a_text_blank_that_the_connection_cannot_carry(held):
    """As with ``"OPTIONS": {"charset": "utf8"}``, which has no characters of four bytes."""
    first, _second = held
    first.row.reference_number = "K\U0001f4b6"
    first.row.amount = Decimal("22.38")
    with connection.cursor() as cursor:
        cursor.execute("SET NAMES utf8mb3")
    try:
        assert leases.settle(held, using="default") == held
    finally:
        connection.close()

    first, second = RemovedOrder.objects.order_by("order_number")
    assert (first.state, first.reference_number, first.amount) == ("removed", "", Decimal("22.38"))
    assert (second.state, second.reference_number) == ("removed", "K1234A")


@pytest.mark.skipif(connection.vendor != "mysql", reason="others lock only what they change")
def test_finds_rows_by_their_keys_also_where_there_are_few(held):
    with CaptureQueriesContext(connection) as captured:
        leases.settle(held, using="default")

    (sql,) = [each["sql"] for each in captured if each["sql"].startswith("UPDATE")]
    first, second = plan(sql).splitlines()
    assert "written" in first
    assert "PRIMARY" in second


def test_sends_only_what_an_answer_changed_in_one_statement(held):
    with CaptureQueriesContext(connection) as captured:
        leases.settle(held, using="default")

    (sql,) = [each["sql"] for each in captured if each["sql"].startswith("UPDATE")]
    assert "reference_number" in sql
    assert not any(name in sql for name in ("collection", "dunning", "amount", "attempts"))


def test_a_claim_that_breaks_off_has_claimed_nothing(monkeypatch):
    due("1001", "1002")
    before = list(RemovedOrder.objects.values())

    def fail(*args):
        raise locked()

    monkeypatch.setattr(leases, "_find_others", fail)

    with pytest.raises(OperationalError):
        leases.claim(RemovedOrder.objects.due(), at_most=10, seconds=60)

    assert list(RemovedOrder.objects.values()) == before


def test_settling_waits_for_a_locked_database(held, obstacles):
    obstacles += [locked(), locked(), locked()]

    assert leases.settle(held, using="default", until=time.monotonic() + 5) == held

    assert states() == ["removed", "removed"]


def test_waiting_ends(held, obstacles):
    obstacles += [locked()] * 1000

    with pytest.raises(database.DatabaseUnavailable, match="locked"):
        leases.settle(held, using="default", until=time.monotonic() + 0.05)

    obstacles.clear()
    assert states() == ["pending", "pending"]


def test_the_pauses_grow_and_end_in_time(obstacles, monkeypatch):
    clock = SimpleNamespace(now=100.0, pauses=[])

    def sleep(seconds):
        clock.pauses.append(seconds)
        clock.now += seconds

    monkeypatch.setattr(database, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    monkeypatch.setattr(database, "FIRST_WAIT", 0.25)
    obstacles += [locked()] * 1000

    with pytest.raises(database.DatabaseUnavailable, match="locked"):
        database.patiently(leases._write, using="default", until=103.75)

    assert clock.pauses == [0.25, 0.5, 1.0, 1.0, 1.0]


def test_waiting_ends_when_it_is_told_to(held, obstacles):
    obstacles += [locked()] * 3
    answers = [False, True]

    with pytest.raises(database.DatabaseUnavailable, match="locked"):
        database.patiently(
            lambda: leases._write(held, leases._SETTLED, "default"),
            using="default",
            until=time.monotonic() + 60,
            should_stop=lambda: answers.pop(0),
        )

    assert answers == []
    assert len(obstacles) == 1


@pytest.mark.parametrize(
    ("arguments", "attributes"),
    [
        ((), {"sqlite_errorcode": sqlite3.SQLITE_BUSY_SNAPSHOT}),
        ((), {"sqlite_errorcode": sqlite3.SQLITE_LOCKED}),
        (("could not serialize",), {"sqlstate": "40001"}),
        (("deadlock detected",), {"sqlstate": "40P01"}),
        (("could not obtain lock",), {"pgcode": "55P03"}),
        ((1205, "Lock wait timeout exceeded"), {}),
        ((1213, "Deadlock found"), {}),
    ],
)
def test_drivers_tell_by_codes_what_passes(held, obstacles, arguments, attributes):
    error = OperationalError()
    error.__cause__ = Exception(*arguments)
    for name, code in attributes.items():
        setattr(error.__cause__, name, code)
    obstacles.append(error)

    # What does not pass would be raised.
    database.patiently(
        lambda: leases._write(held, leases._SETTLED, "default"),
        using="default",
        until=time.monotonic() + 5,
    )

    assert states() == ["removed", "removed"]


@pytest.mark.parametrize("cause", [None, Exception(), Exception("1205"), Exception(1045, "denied")])
def test_what_has_no_such_code_does_not_pass(held, obstacles, cause):
    obstacles.append(OperationalError())
    obstacles[0].__cause__ = cause

    with pytest.raises(OperationalError):
        database.patiently(leases._write, using="default", until=time.monotonic() + 5)


def test_a_transaction_is_no_place_to_claim_or_settle(held):
    with transaction.atomic():
        with pytest.raises(RuntimeError):
            leases.settle(held, using="default")
        with pytest.raises(RuntimeError):
            leases.claim(RemovedOrder.objects.due(), at_most=10, seconds=60)


def test_a_connection_that_broke_is_opened_again(held, obstacles, monkeypatch):
    closed = []
    monkeypatch.setattr(connection, "is_usable", lambda: False)
    monkeypatch.setattr(connection, "close", lambda: closed.append("closed"))
    obstacles.append(OperationalError("server closed the connection unexpectedly"))

    assert leases.settle(held, using="default", until=time.monotonic() + 5) == held

    assert closed == ["closed"]


@pytest.fixture
def refuse(monkeypatch):
    """Have the database refuse what order 1001 holds in some columns."""

    def refuse(*refused, error):
        write = leases._write
        row = RemovedOrder.objects.get(order_number="1001")

        def writing(some, names, using):
            for lease in some:
                if lease.row.pk == row.pk and any(
                    getattr(lease.row, name) not in {None, "", "\\xe4"}
                    for name in refused
                    if name in names
                ):
                    raise error
            return write(some, names, using)

        monkeypatch.setattr(leases, "_write", writing)

    return refuse


@pytest.mark.parametrize("refused", ["reference_number", "amount", "last_error"])
@pytest.mark.parametrize("error", [DataError("no"), UnicodeEncodeError("utf-8", "ä", 0, 1, "no")])
def test_only_what_the_database_refuses_is_left_blank(held, refuse, caplog, refused, error):
    answer = {
        "reference_number": "K1234A",
        "payment_status": "PAID",
        "currency": "EUR",
        "amount": Decimal("22.38"),
        "amount_paid": Decimal("10.00"),
        "last_error": "ä",
    }
    for lease in held:
        for name, value in answer.items():
            setattr(lease.row, name, value)
    refuse(refused, error=error)

    assert leases.settle(held, using="default") == held

    assert states() == ["removed", "removed"]
    first, second = RemovedOrder.objects.order_by("order_number").values(*answer)
    blank = {"reference_number": "", "amount": None, "last_error": "\\xe4"}
    assert first == {**answer, refused: blank[refused]}
    assert second == answer
    assert caplog.messages == ["Order 1001: the database refuses a part of the answer"]


@pytest.mark.parametrize(
    "error", [IntegrityError("no"), DataError("no"), UnicodeEncodeError("utf-8", "ä", 0, 1, "no")]
)
def test_a_row_that_cannot_be_stored_at_all_holds_up_no_other(held, refuse, caplog, error):
    refuse("state", "reference_number", error=error)

    assert leases.settle(held, using="default") == held[1:]

    assert states() == ["pending", "removed"]
    assert "Order 1001: the answer cannot be stored; it will be sent again" in caplog.text
    # Not for ever as soon as its lease ends.
    row = RemovedOrder.objects.pending().get()
    assert (row.error_code, row.attempts) == ("unforeseen", 1)
    assert row.last_error == f"The answer cannot be stored: {type(error).__name__}"
    assert timedelta(seconds=25) < row.next_attempt_at - timezone.now() <= timedelta(seconds=60)


@pytest.mark.parametrize("name", ["reference_number", "amount_paid"])
def test_a_constraint_of_the_shop_costs_no_part_of_an_answer(held, refuse, name):
    """An answer of Komfortkasse is not dropped without a word."""
    held[0].row.amount_paid = Decimal("10.00")
    refuse(name, error=IntegrityError("a CHECK of the shop's"))

    assert leases.settle(held, using="default") == held[1:]

    assert states() == ["pending", "removed"]


def test_a_row_that_refuses_every_change_is_due_when_its_lease_ends(held, refuse, caplog):
    refuse("state", "last_error", error=IntegrityError("no"))

    assert leases.settle(held, using="default") == held[1:]

    row = RemovedOrder.objects.pending().get()
    assert (row.last_error, row.next_attempt_at) == ("", held[0].stored)


def test_a_database_that_goes_down_while_that_is_said(held, obstacles):
    obstacles += [IntegrityError("no")] * 2 + [locked()] * 1000

    with pytest.raises(database.DatabaseUnavailable, match="locked"):
        leases.settle(held, using="default")


def test_a_database_that_fails_while_the_refused_part_is_looked_for(held, obstacles, caplog):
    obstacles += [DataError("no"), DataError("no"), ProgrammingError("no such table")]

    assert leases.settle(held, using="default") == held[1:]

    assert held[0].row.reference_number == "K1234A"
    assert states() == ["pending", "removed"]
    assert "it will be sent again" in caplog.text


def test_what_fails_only_at_first_is_stored_as_it_is(held, obstacles):
    obstacles += [DataError("no"), DataError("no")]

    assert leases.settle(held, using="default") == held

    assert {row.reference_number for row in RemovedOrder.objects.all()} == {"K1234A"}


@pytest.mark.parametrize("state", ["removed", "failed", "pending"])
def test_a_commit_whose_confirmation_was_lost_is_none_that_failed(held, monkeypatch, state):
    """The answer is stored, so it has to be announced."""
    for lease in held:
        lease.row.state = state
        lease.row.finished_at = timezone.now() if state == "removed" else None
        if state == "pending":
            lease.row.next_attempt_at = timezone.now() + timedelta(minutes=1)
    write, lost = transaction.Atomic.__exit__, []

    def lose(self, *args):
        write(self, *args)
        if not lost:
            lost.append(None)
            connection.close()
            raise OperationalError("server closed the connection unexpectedly")

    if connection.vendor == "sqlite":
        monkeypatch.setattr(connection, "close", lambda: None)  # it would be another database
        monkeypatch.setattr(database, "_will_pass", lambda *args: True)
    monkeypatch.setattr(transaction.Atomic, "__exit__", lose)

    assert leases.settle(held, using="default", until=time.monotonic() + 5) == held

    assert lost
    assert states() == [state, state]


@pytest.mark.parametrize("before", [1, 2])
def test_trouble_that_passes_is_not_taken_for_a_bad_answer(held, obstacles, before):
    obstacles += [DataError("no")] * before + [locked()]

    with pytest.raises(database.DatabaseUnavailable, match="locked"):
        leases.settle(held, using="default")


def test_settling_nothing_asks_nothing(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert leases.settle([], using="default") == []


@pytest.fixture
def as_on_mysql(monkeypatch):
    """As on MySQL; returns how often a claim waited for another."""
    waits = []
    monkeypatch.setattr(connection, "vendor", "mysql")
    monkeypatch.setattr(leases, "time", SimpleNamespace(sleep=waits.append))
    return waits


def test_mysql_locks_by_keys(as_on_mysql, held):
    RemovedOrder.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))

    first, more = leases.claim(RemovedOrder.objects.due(), at_most=1, seconds=60)
    second, no_more = leases.claim(RemovedOrder.objects.due(), at_most=10, seconds=60)

    assert [len(first), len(second)] == [1, 1]
    assert first[0].row.pk != second[0].row.pk
    assert (more, no_more) == (True, False)
    assert leases.claim(RemovedOrder.objects.due(), at_most=10, seconds=60) == ([], False)
    assert as_on_mysql == []


def test_mysql_rows_that_another_worker_has_are_not_the_end(as_on_mysql, held, monkeypatch):
    RemovedOrder.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    monkeypatch.setattr(leases, "_lease", lambda candidates, seconds: [])

    assert leases.claim(RemovedOrder.objects.due(), at_most=2, seconds=60) == ([], True)
    assert len(as_on_mysql) == 1


def test_sqlite_in_a_file_is_written_before_it_is_read(held, monkeypatch):
    if connection.vendor != "sqlite":
        pytest.skip("other databases lock rows")
    monkeypatch.setattr(connection, "is_in_memory_db", lambda: False)
    RemovedOrder.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))

    with CaptureQueriesContext(connection) as queries:
        found, _ = leases.claim(RemovedOrder.objects.due(), at_most=10, seconds=60)

    statements = [query["sql"].split()[0] for query in queries]
    assert len(found) == 2
    assert statements[:3] == ["BEGIN", "UPDATE", "SELECT"]
