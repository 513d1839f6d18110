"""Promises 3 and 4: never given up on, and nothing counts as done unless Komfortkasse said so."""

import functools
import json
import logging
import threading
import time
from datetime import timedelta
from decimal import Decimal, Inexact, InvalidOperation, localcontext
from unittest import mock

import pytest
import requests
from django.db import OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from komfortkasse_django.api.reading import read_order
from komfortkasse_django.client import Client
from komfortkasse_django.exceptions import AuthenticationFailed, InvalidRequest, OrderNotFound
from komfortkasse_django.models import RemovedOrder, ShopState
from komfortkasse_django.queue import backlog, breaker, calls, leases, pushing, settlement
from komfortkasse_django.queue.pushing import push
from komfortkasse_django.removals import record
from komfortkasse_django.schema import Order as OrderJSON
from komfortkasse_django.signals import order_removed, removal_failed
from tests.shop.models import IntegerOrder, Order
from tests.support.komfortkasse import error, order_json
from tests.support.mirror import Via, due, numbers, states

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)


def row(number: str = "1001") -> RemovedOrder:
    return RemovedOrder.objects.get(order_number=number)


def untried() -> int:
    """How many rows wait for their first attempt, whether their shop is paused or not."""
    waiting = RemovedOrder.objects.pending().filter(next_attempt_at__lte=timezone.now())
    return waiting.filter(attempts=0).count()


def seconds_until(row: RemovedOrder) -> float:
    return (row.next_attempt_at - timezone.now()).total_seconds()


@pytest.fixture
def announced():
    """What the signals announced."""
    heard = []

    def hear(signal, sender, removed_order, order=None, error=None):
        assert sender is RemovedOrder
        stored = RemovedOrder.objects.get(pk=removed_order.pk)
        assert stored.state == removed_order.state
        heard.append((stored.state, order or error))

    order_removed.connect(hear)
    removal_failed.connect(hear)
    yield heard
    order_removed.disconnect(hear)
    removal_failed.disconnect(hear)


class TestOutcome:
    def test_removed(self, komfortkasse, announced):
        due("1001")
        komfortkasse.answer = (
            200,
            {},
            json.dumps(order_json("1001", amountPaid=10, paymentStatus="DISAPPEARED")),
        )

        result = push()

        assert result.states == {"removed": 1}
        assert result.stopped == {}
        stored = row()
        assert stored.state == "removed"
        assert stored.payment_status == "DISAPPEARED"
        assert stored.reference_number == "K1234A"
        assert (stored.amount, stored.amount_paid) == (Decimal("22.38"), Decimal("10.00"))
        assert stored.currency == "EUR"
        assert (stored.attempts, stored.last_error, stored.next_attempt_at) == (1, "", None)
        assert stored.finished_at is not None
        [(state, order)] = announced
        assert state == "removed"
        assert isinstance(order, OrderJSON)
        assert order.billing.last_name == "Mustermann"

    @pytest.mark.parametrize(
        ("attributes", "stored"),
        [
            ({"paymentStatus": "PLANNED"}, {"payment_status": "PLANNED"}),
            ({"paymentStatus": None}, {"payment_status": ""}),
            ({"paymentStatus": "X" * 64}, {"payment_status": "X" * 64}),
            ({"paymentStatus": "X" * 65}, {"payment_status": ""}),
            ({"referenceNumber": "K\0"}, {"reference_number": ""}),
            ({"referenceNumber": "\ud800"}, {"reference_number": ""}),
            ({"referenceNumber": ["K"]}, {"reference_number": ""}),
            ({"amount": 22.385}, {"amount": Decimal("22.38")}),
            ({"amount": 9999999999999.99}, {"amount": Decimal("9999999999999.99")}),
            ({"amount": 9999999999999.999}, {"amount": None}),
            ({"amount": 1e13}, {"amount": None}),
            ({"amount": 1e15}, {"amount": None}),
            ({"amountPaid": "much"}, {"amount_paid": None}),
            ({"amountPaid": -5}, {"amount_paid": Decimal("-5.00")}),
        ],
    )
    def test_removed_with_odd_values(self, komfortkasse, attributes, stored):
        due("1001")
        komfortkasse.answer = (200, {}, json.dumps(order_json("1001", **attributes)))

        push()

        assert row().state == "removed"
        assert {name: getattr(row(), name) for name in stored} == stored

    def test_removed_where_the_shop_computes_with_few_digits(self, komfortkasse):
        due("1001")

        with localcontext(prec=2, traps=[InvalidOperation, Inexact]):
            push()

        assert row().state == "removed"
        assert row().amount == Decimal("22.38")

    def test_unknown(self, komfortkasse, announced):
        due("1001")
        komfortkasse.answer = error(404)

        assert push().states == {"unknown": 1}

        assert (row().state, row().last_error) == ("unknown", "")
        assert row().finished_at is not None
        assert announced == []

    def test_failed(self, komfortkasse, announced, caplog):
        due("1001")
        komfortkasse.answer = error(400, "Order is locked")

        assert push().states == {"failed": 1}

        assert row().state == "failed"
        assert "Order is locked" in row().last_error
        assert (row().next_attempt_at, row().finished_at) == (None, None)
        [(state, reason)] = announced
        assert state == "failed"
        assert isinstance(reason, InvalidRequest)
        [record] = caplog.records
        assert record.levelname == "ERROR"
        assert "order 1001: " in record.getMessage()
        assert "Order is locked" in record.getMessage()

    @pytest.mark.parametrize("status", [401, 403])
    def test_wrong_key_stops_the_shop(self, komfortkasse, caplog, configure, status):
        configure(CONCURRENCY=1)
        due(*numbers(20))
        komfortkasse.answer = error(status, "API Key invalid")

        result = push()

        assert len(komfortkasse.numbers) == 1
        assert "API Key invalid" in result.stopped["default"]
        tried, *others = RemovedOrder.objects.order_by("next_attempt_at").reverse()
        assert (tried.state, tried.attempts) == ("pending", 1)
        assert "API Key invalid" in tried.last_error
        assert {(other.state, other.attempts, other.last_error) for other in others} == {
            ("pending", 0, "")
        }
        assert untried() == 19
        assert [record.levelname for record in caplog.records] == ["ERROR"]

    def test_wrong_key_is_logged_once_by_all_threads(self, configure, caplog, monkeypatch):
        configure(CONCURRENCY=2)
        due("1001", "1002")
        together = threading.Barrier(2, timeout=10)

        def remove_order(self, number, deadline):
            together.wait()
            raise AuthenticationFailed(f"for {number}", status=401)

        monkeypatch.setattr(Client, "remove_order", remove_order)

        assert push().states == {"pending": 2}
        assert [record.levelname for record in caplog.records] == ["ERROR"]

    @pytest.mark.parametrize(
        "answer",
        [
            error(408),
            error(425),
            error(429),
            error(500),
            error(503),
            requests.ConnectionError("refused"),
            requests.Timeout("slow"),
            (302, {"Location": "https://elsewhere.test/"}, ""),
            (200, {}, "<html>Please log in to the Wi-Fi</html>"),
            (200, {}, json.dumps(order_json("1002"))),
            (200, {}, "[]"),
            (200, {}, ""),
            (404, {}, "<html>nginx</html>"),
            (400, {}, "{}"),
        ],
    )
    def test_tried_again(self, komfortkasse, announced, answer):
        due("1001")
        komfortkasse.answer = answer

        assert push().states == {"pending": 1}

        assert row().state == "pending"
        assert row().last_error
        assert row().attempts == 1
        assert 29 < seconds_until(row()) <= 60
        assert announced == []

        komfortkasse.answer = None
        RemovedOrder.objects.update(next_attempt_at=timezone.now())
        assert push().states == {"removed": 1}
        assert (row().last_error, row().attempts) == ("", 2)

    def test_unforeseen_error_is_tried_again(self, komfortkasse, monkeypatch, caplog):
        due("1001", "1002")

        def remove_order(self, number, deadline):
            if number == "1001":
                raise ZeroDivisionError("by the \0 client")
            return read_order(json.dumps(order_json(number)))

        monkeypatch.setattr(Client, "remove_order", remove_order)

        assert push().states == {"pending": 1, "removed": 1}

        assert row().last_error == "Unforeseen ZeroDivisionError: by the ? client"
        assert "order 1001 " in caplog.text
        assert "ZeroDivisionError" in caplog.text


class TestSuperseded:
    def test_number_in_use_again(self, komfortkasse):
        due("1001", "1002")
        Order.objects.create(number="1001")

        assert push().states == {"superseded": 1, "removed": 1}

        assert komfortkasse.numbers == ["1002"]
        assert row().state == "superseded"
        assert row().finished_at is not None

    def test_looks_once_per_batch(self, komfortkasse):
        due(*numbers(5))

        with CaptureQueriesContext(connection) as queries:
            push()

        assert len([query for query in queries if "shop_order" in query["sql"]]) == 1

    @pytest.mark.parametrize("via", [Via.CODE, Via.ADMIN, Via.COMMAND])
    def test_not_where_a_person_or_the_shop_asked(self, komfortkasse, via):
        due("1001", via=via)
        Order.objects.create(number="1001")

        assert push().states == {"removed": 1}

    def test_not_by_an_order_that_the_shop_hides(self, komfortkasse):
        due("1001")
        Order(number="1001", hidden=True).save()

        assert push().states == {"removed": 1}

    def test_not_by_an_order_of_another_store(self, komfortkasse, configure):
        configure(ORDER_FILTER=lambda order: order.payment == "prepayment")
        due("1001", "1002")
        Order.objects.create(number="1001", payment="card")
        Order.objects.create(number="1002")

        assert push().states == {"superseded": 1, "removed": 1}
        assert komfortkasse.numbers == ["1001"]

    def test_only_where_the_number_is_a_field(self, komfortkasse, configure):
        configure(ORDER_NUMBER="full_number")
        due("EVENT-1001")
        Order.objects.create(number="1001")

        assert push().states == {"removed": 1}

    def test_with_numbers_that_the_field_cannot_be(self, komfortkasse, configure):
        configure(ORDER_MODEL="shop.IntegerOrder")
        due("1001", "A-1002", "01003")
        IntegerOrder.objects.create(number=1001)
        IntegerOrder.objects.create(number=1003)

        assert push().states == {"superseded": 1, "removed": 2}
        assert set(komfortkasse.numbers) == {"A-1002", "01003"}

    def test_filter_that_fails_postpones(self, komfortkasse, configure, caplog):
        configure(ORDER_FILTER=lambda order: order.no_such_attribute)
        due("1001")
        due("1002", via=Via.CODE)
        Order.objects.create(number="1001")

        assert push().states == {"pending": 1, "removed": 1}

        assert row().last_error == "The shop's own code failed: AttributeError"
        assert "no_such_attribute" in caplog.text

    def test_filter_that_fails_with_a_false_error_postpones(self, komfortkasse, configure):
        class FalseError(Exception):
            def __len__(self) -> int:
                return 0

        def order_filter(order):
            raise FalseError

        configure(ORDER_FILTER=order_filter)
        due("1001")
        Order.objects.create(number="1001")

        assert push().states == {"pending": 1}


class TestRetryAfter:
    @pytest.mark.parametrize("status", [429, 503])
    def test_silences_the_whole_shop(self, komfortkasse, configure, status):
        configure(CONCURRENCY=1)
        due("1001", "1002", "1003")
        komfortkasse.answer = error(status, "slow down", **{"Retry-After": "120"})

        result = push()

        assert komfortkasse.numbers == ["1001"]
        assert "default" in result.stopped
        assert 118 < seconds_until(row("1001")) <= 120
        assert "slow down" in row("1001").last_error
        assert row("1002").attempts == 0
        assert RemovedOrder.objects.due().count() == 0

        # Also what is recorded meanwhile, in whatever process.
        komfortkasse.answer = None
        Order.objects.create(number="1004").delete()
        push()
        assert komfortkasse.numbers == ["1001"]

        later = timezone.now() + timedelta(seconds=121)
        with mock.patch.object(timezone, "now", return_value=later):
            assert RemovedOrder.objects.due().count() == 4
        ShopState.objects.update(paused_until=timezone.now())
        RemovedOrder.objects.update(next_attempt_at=timezone.now())
        assert push().states == {"removed": 4}

    def test_leaves_other_shops_alone(self, komfortkasse, configure):
        configure(aliases={"a": {}, "b": {}})
        due("1001", shop="a")
        due("1002", shop="b")
        komfortkasse.answers["1001"] = error(429, "slow down", **{"Retry-After": "120"})

        result = push()

        assert result.states == {"pending": 1, "removed": 1}
        assert list(result.stopped) == ["a"]

    def test_is_capped_at_an_hour(self, komfortkasse):
        due("1001")
        komfortkasse.answer = error(503, "maintenance", **{"Retry-After": "86400"})

        push()

        assert 3590 < seconds_until(row()) <= 3600

    def test_of_nothing_backs_off_all_the_same(self, komfortkasse):
        due("1001")
        komfortkasse.answer = error(503, "maintenance", **{"Retry-After": "0"})

        push()

        assert 29 < seconds_until(row()) <= 60

    def test_again_moves_the_end(self, komfortkasse):
        ShopState.objects.create(shop="default", paused_until=timezone.now())
        due("1001")
        komfortkasse.answer = error(503, "maintenance", **{"Retry-After": "60"})

        push()

        assert ShopState.objects.get().paused_until > timezone.now() + timedelta(seconds=50)

    @pytest.mark.parametrize("meanwhile", ["locked", "told to another worker"])
    def test_is_kept_to_whatever_happens_meanwhile(self, komfortkasse, meanwhile):
        due("1001")
        komfortkasse.answer = error(503, "maintenance", **{"Retry-After": "60"})
        happened = []

        def happen(execute, sql, *others):
            result = execute(sql, *others)
            if sql.startswith("UPDATE") and "shopstate" in sql and not happened:
                happened.append(meanwhile)
                if meanwhile == "locked":
                    error = OperationalError()
                    error.__cause__ = Exception(1205, "Lock wait timeout exceeded")
                    raise error
                ShopState.objects.create(shop="default", paused_until=timezone.now() + HOUR)
            return result

        with connection.execute_wrapper(happen):
            assert push().states == {"pending": 1}

        assert happened == [meanwhile]
        least = timedelta(seconds=50) if meanwhile == "locked" else timedelta(minutes=59)
        assert ShopState.objects.get().paused_until > timezone.now() + least


class TestBackoff:
    def test_grows_to_an_hour_and_never_ends(self, komfortkasse):
        due("1001")
        komfortkasse.answer = error(500)
        longest = []
        for attempts in (0, 1, 2, 5, 6, 50, 100_000):
            RemovedOrder.objects.update(attempts=attempts, next_attempt_at=timezone.now())
            ShopState.objects.all().delete()
            push()
            longest.append(seconds_until(row()))
            assert row().state == "pending"

        bounds = [60, 120, 240, 1920, 3600, 3600, 3600]
        assert all(
            bound / 2 - 2 < seconds <= bound for seconds, bound in zip(longest, bounds, strict=True)
        )

    def test_has_jitter(self, komfortkasse, configure, monkeypatch):
        monkeypatch.setattr(calls, "STOP_AFTER", 1000)
        monkeypatch.setattr(breaker, "STOP_AFTER", 1000)
        due(*numbers(20))
        komfortkasse.answer = error(500)

        push()

        waits = {round(seconds_until(each)) for each in RemovedOrder.objects.all()}
        assert len(waits) > 5


class TestOutage:
    @pytest.mark.parametrize("answer", [error(500), requests.ConnectionError("refused")])
    def test_costs_a_handful_of_calls(self, komfortkasse, caplog, answer):
        due(*numbers(100))
        komfortkasse.answer = answer

        result = push()

        assert 3 <= len(komfortkasse.numbers) <= 3 + 4 * 2
        assert len(komfortkasse.questions) == 1
        assert RemovedOrder.objects.filter(attempts=0).count() == 100 - len(komfortkasse.numbers)
        assert result.states == {"pending": len(komfortkasse.numbers)}
        assert untried() == 100 - len(komfortkasse.numbers)
        assert [record.levelname for record in caplog.records] == ["WARNING"]

    def test_is_three_failures_one_after_the_other(self, komfortkasse, configure, caplog):
        configure(CONCURRENCY=1)
        due("1001", "1002", "1003", "1004", "1005", "1006")
        komfortkasse.answer = error(500, "Out of order")

        result = push()

        assert komfortkasse.numbers == ["1001", "1002", "1003"]
        assert len(komfortkasse.questions) == 1, "it might have been only these"
        assert list(result.stopped) == ["default"]
        assert "Out of order" in result.stopped["default"]
        [record] = caplog.records
        assert "'default' is paused for 15 s" in record.getMessage()
        assert "Out of order" in record.getMessage()

    def test_is_consecutive(self, komfortkasse, configure):
        configure(CONCURRENCY=1)
        recorded = numbers(20)
        due(*recorded)
        for number in recorded:
            if int(number) % 3:
                komfortkasse.answers[number] = error(500)

        result = push()

        assert komfortkasse.numbers == recorded
        assert result.stopped == {}
        assert not RemovedOrder.objects.filter(last_error__startswith="Unexpected")

    def test_ends_in_due_order(self, komfortkasse, configure):
        configure(CONCURRENCY=1)
        due("3", "1", "2")

        push()

        assert komfortkasse.numbers == ["3", "1", "2"]


class TestLease:
    def test_rows_of_a_living_worker_are_left_alone(self, komfortkasse):
        due("1001")
        [lease], _ = leases.claim(RemovedOrder.objects.due(), at_most=10, seconds=60)

        assert lease.row.attempts == 1
        assert push().total == 0

    def test_rows_of_a_dead_worker_become_due_again(self, komfortkasse):
        due("1001")
        leases.claim(RemovedOrder.objects.due(), at_most=10, seconds=0)

        assert push().states == {"removed": 1}
        assert row().attempts == 2

    def test_that_is_lost_changes_nothing(self, komfortkasse):
        due("1001", "1002")
        mine, _ = leases.claim(RemovedOrder.objects.due(), at_most=10, seconds=0)
        RemovedOrder.objects.filter(order_number="1001").update(
            state="unknown", next_attempt_at=None
        )
        for lease in mine:
            lease.row.state = "failed"
            lease.row.next_attempt_at = None

        held = leases.settle(mine, using="default")

        assert [lease.row.order_number for lease in held] == ["1002"]
        assert row("1001").state == "unknown"
        assert row("1002").state == "failed"

    def test_that_is_lost_while_sending_announces_nothing(
        self, komfortkasse, announced, monkeypatch
    ):
        due("1001")

        # Not during the call: in its thread SQLite's database in memory would be another one.
        def settle(held, **kwargs):
            RemovedOrder.objects.update(state="unknown", next_attempt_at=None)
            return leases.settle(held, **kwargs)

        monkeypatch.setattr(settlement, "settle", settle)
        result = push()

        assert result.total == 0
        assert row().state == "unknown"
        assert announced == []

    def test_outlasts_the_last_call_it_covers(self, komfortkasse, configure, monkeypatch):
        """A call only begins if the lease lasts longer than the call may take."""
        configure(DEADLINE=7)
        due("1001")
        leased, begun = [], []
        claim, start = leases.claim, calls.Calls.start

        def claiming(queryset, *, seconds, **kwargs):
            leased.append(time.monotonic() + seconds)
            time.sleep(0.01)  # which is not to be counted twice
            return claim(queryset, seconds=seconds, **kwargs)

        def starting(self, call):
            begun.append(call.send_by)
            start(self, call)

        monkeypatch.setattr(backlog, "claim", claiming)
        monkeypatch.setattr(calls.Calls, "start", starting)
        push()

        assert komfortkasse.numbers == ["1001"]
        assert begun[0] + 7 < leased[0]

    def test_is_taken_outside_of_transactions_only(self, komfortkasse):
        due("1001")

        with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
            push()

        assert komfortkasse.numbers == []

    def test_is_taken_of_no_more_rows_than_can_be_sent_in_its_time(self, configure, monkeypatch):
        configure(CONCURRENCY=1)
        due(*numbers(100))
        leased = []

        def take_long(self, number, *, deadline):
            time.sleep(0.01)
            raise OrderNotFound("Order not found")

        def count(rows):
            leased.append(RemovedOrder.objects.pending().filter(attempts=1).count())

        # Rows are claimed while others are in flight.
        monkeypatch.setattr(Client, "remove_order", take_long)
        monkeypatch.setattr(pushing, "_LINGER", 0.0)

        assert push(on_settled=count).states == {"unknown": 100}

        assert max(leased) == 32

    def test_is_given_back_when_its_time_is_short(self, komfortkasse, monkeypatch):
        due("1001")
        monkeypatch.setattr(backlog, "_LEASE_CALLS", 1)  # no time to wait for a thread
        monkeypatch.setattr(pushing.time, "monotonic", iter(range(1000)).__next__)
        answers = iter([False, False, True])

        result = push(should_stop=lambda: next(answers, True))

        assert komfortkasse.numbers == []
        assert result.total == 0
        assert row().attempts == 0
        assert row().next_attempt_at < timezone.now()


def fail(**kwargs):
    raise ZeroDivisionError


class TestWorker:
    def test_sends_outside_of_any_transaction_and_in_other_threads(self, komfortkasse, monkeypatch):
        due("1001")
        seen = []
        ours = connections["default"]  # another thread would get one of its own

        def remove_order(self, number, deadline):
            seen.append((threading.current_thread(), ours.in_atomic_block))
            return read_order(json.dumps(order_json(number)))

        monkeypatch.setattr(Client, "remove_order", remove_order)
        push()

        [(thread, is_in_transaction)] = seen
        assert thread is not threading.main_thread()
        assert not is_in_transaction

    @pytest.mark.parametrize("receiver", [fail, functools.partial(fail)])
    def test_survives_receivers_that_fail(self, komfortkasse, caplog, receiver):
        """Django cannot report one that has no name."""
        due("1001", "1002")
        order_removed.connect(receiver, weak=False)
        try:
            assert push().states == {"removed": 2}
        finally:
            order_removed.disconnect(receiver)

        assert caplog.text.count("raise ZeroDivisionError") == 2
        if receiver is not fail:
            assert "Order 1001: a receiver failed" in caplog.messages

    def test_stops_when_asked(self, komfortkasse, configure):
        configure(CONCURRENCY=1)
        due(*numbers(20))

        result = push(should_stop=lambda: len(komfortkasse.numbers) > 0)

        assert 1 <= result.total <= 8
        assert result.stopped == {}
        assert RemovedOrder.objects.due().count() == 20 - result.total

    def test_sends_no_more_after_an_error(self, configure, monkeypatch):
        configure(CONCURRENCY=1)
        due(*numbers(20))
        asked = []
        failed = threading.Event()

        def remove_order(self, number, deadline):
            asked.append(number)
            if len(asked) > 1:
                failed.wait(10)
                time.sleep(0.05)  # or all of them are through before the error is
            return read_order(json.dumps(order_json(number)))

        def fail_after_the_first(rows):
            if rows:
                failed.set()
                raise ZeroDivisionError

        monkeypatch.setattr(Client, "remove_order", remove_order)

        with pytest.raises(ZeroDivisionError):
            push(on_settled=fail_after_the_first)

        assert 0 < len(asked) < 20
        assert states()["removed"] == len(asked), "what was answered is stored all the same"
        assert RemovedOrder.objects.due().count() == 20 - len(asked), "the others are given back"

    @pytest.mark.parametrize("limit", [1, 5])
    def test_limit(self, komfortkasse, limit):
        due(*numbers(20))

        assert push(limit=limit).states == {"removed": limit}
        assert len(komfortkasse.numbers) == limit

    def test_tells_what_it_settled(self, komfortkasse):
        due("1001", "1002")
        settled = []

        push(on_settled=lambda rows: settled.extend(row.order_number for row in rows))

        assert sorted(settled) == ["1001", "1002"]

    def test_only_some_rows(self, komfortkasse):
        rows = due(*numbers(40))

        push(ids=[row.pk for row in rows[10:35]])

        assert sorted(komfortkasse.numbers) == numbers(40)[10:35]

    def test_only_one_shop(self, komfortkasse, configure):
        configure(aliases={"a": {}, "b": {}, "off": {"ENABLED": False}})
        due("1001", shop="a")
        due("1002", shop="b")
        due("1003", shop="off")
        due("1004", shop="gone")

        push(shop="b")
        assert komfortkasse.numbers == ["1002"]
        push()
        assert komfortkasse.numbers == ["1002", "1001"]
        with pytest.raises(ValueError, match="no shop 'gone'; it has: 'a', 'b', 'off'"):
            push(shop="gone")

    def test_serves_all_shops_side_by_side(self, configure, monkeypatch):
        configure(aliases={"a": {"CONCURRENCY": 2}, "b": {}})
        due(*(f"a{number}" for number in range(300)), shop="a")
        due("b", shop="b")
        asked, b_is_sent = [], threading.Event()

        def remove_order(self, number, deadline):
            asked.append(number)
            if number == "b":
                b_is_sent.set()
            elif not b_is_sent.wait(10):
                raise AssertionError("b waits for a")
            return read_order(json.dumps(order_json(number)))

        monkeypatch.setattr(Client, "remove_order", remove_order)

        assert push().states == {"removed": 301}
        assert asked.index("b") <= 2

    @pytest.mark.parametrize(
        "options", [{"API_KEY": ""}, {"DEADLINE": 0}, {"CONCURRENCY": 0}, {"API_KEY": "a\nb"}]
    )
    def test_leaves_a_misconfigured_shop_alone(self, komfortkasse, configure, caplog, options):
        configure(**options)
        due("1001")

        result = push()

        assert "settings" in result.stopped["default"]
        assert row().attempts == 0
        assert [record.levelno for record in caplog.records] == [logging.ERROR]

    @pytest.mark.django_db(transaction=True, databases=["default", "other"])
    def test_other_database(self, komfortkasse):
        record([("default", "2001")], requested_via=Via.CODE, using="other")
        RemovedOrder.objects.using("other").update(state="pending", next_attempt_at=timezone.now())
        komfortkasse.numbers.clear()

        assert push().total == 0
        assert push(using="other").states == {"removed": 1}
        assert komfortkasse.numbers == ["2001"]

    @pytest.mark.django_db(transaction=True, databases=["default", "other"])
    def test_other_database_has_orders_of_its_own(self, komfortkasse):
        Order.objects.create(number="2001")
        for number in ("2001", "2002"):
            Order(number=number).save(using="other")
        Order.objects.using("other").get(number="2001").delete()
        with transaction.atomic("other"):
            Order.objects.using("other").get(number="2002").delete()
            Order(number="2002").save(using="other")

        states = RemovedOrder.objects.using("other").order_by("order_number")
        assert list(states.values_list("state", flat=True)) == ["removed", "superseded"]

    def test_refuses_a_transaction_that_is_managed_by_hand(self, komfortkasse):
        due("1001")
        transaction.set_autocommit(False)
        try:
            with pytest.raises(RuntimeError, match="managed by hand"):
                push()
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)

        assert komfortkasse.numbers == []

    def test_without_a_budget_sends_nothing_however_coarse_the_clock(
        self, komfortkasse, monkeypatch
    ):
        """On Windows it stands still for milliseconds."""
        due("1001")
        monkeypatch.setattr(time, "monotonic", lambda: 1000.0)

        assert push(budget=0).total == 0
        assert RemovedOrder.objects.due().filter(attempts=0).count() == 1

    @pytest.mark.parametrize(
        ("budget", "seconds", "calls"), [(10, 2.95, 4), (10, 3, 3), (1.2, 0.7, 1)]
    )
    def test_begins_no_call_that_would_soon_be_cut_off(
        self, configure, monkeypatch, budget, seconds, calls
    ):
        """Not in the last second of the budget, or in the last half of a short one."""
        configure(CONCURRENCY=1)
        due(*numbers(6))
        passed = 0.0
        begun = []

        def take_long(self, number, *, deadline):
            nonlocal passed
            begun.append(number)
            passed += seconds
            raise OrderNotFound("Order not found")

        monkeypatch.setattr(time, "monotonic", lambda: 1000.0 + passed)
        monkeypatch.setattr(Client, "remove_order", take_long)

        push(budget=budget)

        assert len(begun) == calls

    def test_a_pause_of_an_hour_holds_also_where_the_clock_lags(self, komfortkasse):
        due("1001")
        later = timezone.now() + HOUR + timedelta(minutes=5)
        ShopState.objects.create(shop="default", paused_until=later)

        assert push().total == 0
