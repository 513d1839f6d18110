"""Promise 2: a Komfortkasse that is down costs next to nothing, however many orders end."""

import json
import statistics
import threading
import time
from datetime import timedelta

import pytest
import requests
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from komfortkasse_django.api.reading import read_order
from komfortkasse_django.client import Client
from komfortkasse_django.exceptions import AuthenticationFailed
from komfortkasse_django.models import RemovedOrder, ShopState
from komfortkasse_django.queue import breaker
from komfortkasse_django.queue.breaker import Breaker
from komfortkasse_django.queue.pushing import push
from tests.shop.models import Order
from tests.support.komfortkasse import URL, error, order_json
from tests.support.mirror import due, numbers, states

pytestmark = pytest.mark.django_db(transaction=True)

FAILURES = {
    "out of order": error(500),
    "maintenance": error(503),
    "too many requests": error(429),
    "unreachable": requests.ConnectionError("refused"),
    "late": requests.Timeout("slow"),
    "wrong key": error(401, "API Key invalid"),
    "captive portal": (200, {}, "<html>Please log in to the Wi-Fi</html>"),
    "maintenance redirect": (302, {"Location": "https://elsewhere.test/"}, ""),
    "proxy": (404, {}, "<html>nginx</html>"),
    "framework": error(404, "Not Found"),
    "not allowed": error(405, "Method not allowed"),
    "another order": (200, {}, '{"number": "another"}'),
}


@pytest.fixture(params=FAILURES)
def failure(request, komfortkasse):
    """An error of each call, for any order."""
    komfortkasse.answer = FAILURES[request.param]
    return request.param


def state() -> ShopState:
    return ShopState.objects.get(shop="default")


def pause() -> float:
    """Seconds that the shop is paused from now on."""
    return (state().paused_until - timezone.now()).total_seconds()


def make_due() -> None:
    RemovedOrder.objects.pending().update(next_attempt_at=timezone.now())


class TestPause:
    def test_doubles_to_five_minutes(self, komfortkasse, failure, wait):
        due(*numbers(30))
        push()
        calls = len(komfortkasse.requests)
        assert 1 <= calls <= 3 + 4 + 1

        pauses = [pause()]
        for _ in range(7):
            wait(pauses[-1] - 1)
            push()
            assert len(komfortkasse.requests) == calls, "it was still paused"
            wait(1.1)
            push()
            assert len(komfortkasse.requests) == calls + 1, "one call probes"
            calls += 1
            pauses.append(pause())

        assert [round(seconds) for seconds in pauses] == [15, 30, 60, 120, 240, 300, 300, 300]

    @pytest.mark.parametrize("answer", [error(500), error(403), (200, {}, "<html>")])
    def test_ends_also_where_only_the_question_fails(self, komfortkasse, wait, answer):
        """A firewall may refuse a number that looks odd."""
        komfortkasse.question = answer
        komfortkasse.answer = error(503)
        due(*numbers(10))
        push()
        komfortkasse.answer = None

        pauses = 0
        while state().paused_until:
            pauses += 1
            assert pauses <= 2
            wait(pause() + 1)
            make_due()
            push()

        assert states() == {"removed": 10}

    def test_ends_with_a_question_where_orders_fail(self, komfortkasse, wait):
        due(*numbers(10))
        komfortkasse.answer = komfortkasse.question = error(503)
        push()
        komfortkasse.question = error(404)

        # It depends on the threads whether an order or the question is the first probe.
        pauses = 0
        while state().paused_until is not None:
            pauses += 1
            assert pauses <= 2
            wait(pause() + 1)
            push()

        assert len(komfortkasse.questions) == 2 + 1, "it asks whether these are the orders' own"
        assert not states()["removed"]

    def test_doubles_also_for_rows_that_were_all_tried_before(self, komfortkasse, failure, wait):
        due("1001", "1002", "1003")
        pauses = []
        push()
        for _ in range(6):
            pauses.append(round(pause()))
            wait(pauses[-1] + 1)
            make_due()
            push()

        assert pauses == [15, 30, 60, 120, 240, 300]

    def test_says_since_when_and_why(self, komfortkasse, failure, wait):
        due(*numbers(30))
        started = timezone.now()
        push()
        first = state()
        wait(16)

        push()

        assert started < first.failing_since < started + timedelta(seconds=15)
        assert state().failing_since == first.failing_since
        assert state().failures == len(komfortkasse.requests)
        row = RemovedOrder.objects.exclude(last_error="").first()
        assert (state().error_code, state().last_error) == (row.error_code, row.last_error)

    def test_is_told_by_the_push_that_begins_it(self, komfortkasse):
        due(*numbers(10))
        komfortkasse.answer = komfortkasse.question = error(503)

        assert "temporarily unavailable" in push().stopped["default"]

    def test_is_cleared_by_a_success(self, komfortkasse, failure, wait, caplog):
        due(*numbers(30))
        push()
        wait(16)
        tried = set(komfortkasse.numbers)
        komfortkasse.answer = None
        caplog.set_level("INFO")

        assert push().states == {"removed": 30 - len(tried)}

        assert {name: getattr(state(), name) for name in ("failures", "failing_since")} == {
            "failures": 0,
            "failing_since": None,
        }
        assert (state().paused_until, state().error_code, state().last_error) == (None, "", "")
        assert "Shop 'default': Komfortkasse answers again" in caplog.messages

        # It starts small the next time.
        komfortkasse.answer = error(503)
        due(*numbers(5))
        push()
        assert 14 < pause() <= 15

    @pytest.mark.parametrize("answer", [error(404), error(400, "Order is locked")])
    def test_is_not_for_what_komfortkasse_says_of_an_order(self, komfortkasse, answer):
        due(*numbers(30))
        komfortkasse.answer = answer

        push()

        assert len(komfortkasse.numbers) == 30
        assert not ShopState.objects.exists()

    def test_is_for_one_shop(self, komfortkasse, configure):
        configure(aliases={"a": {}, "b": {}})
        due(*(f"a{number}" for number in range(30)), shop="a")
        due(*(f"b{number}" for number in range(30)), shop="b")
        for number in range(30):
            komfortkasse.answers[f"a{number}"] = error(503)

        push()

        assert RemovedOrder.objects.removed().filter(shop="b").count() == 30
        assert ShopState.objects.get().shop == "a"

    def test_is_for_unforeseen_errors_too(self, monkeypatch):
        def remove_order(*args, **kwargs):
            raise ZeroDivisionError("by the client")

        monkeypatch.setattr(Client, "remove_order", remove_order)
        due(*numbers(100))

        assert push().total <= 3 + 4 + 1

        assert state().error_code == "unforeseen"
        assert state().last_error == "Unforeseen ZeroDivisionError: by the client"

    def test_is_for_a_wrong_key_after_one_call(self, komfortkasse, configure):
        configure(CONCURRENCY=1)
        due(*numbers(5))
        komfortkasse.answer = error(401, "API Key invalid")

        push()

        assert len(komfortkasse.numbers) == 1
        assert (state().error_code, round(pause())) == ("authentication_failed", 15)

    def test_that_was_asked_for_is_not_doubled(self, komfortkasse, wait):
        due(*numbers(30))
        komfortkasse.answer = error(503, "maintenance", **{"Retry-After": "200"})
        for _ in range(4):
            push()
            assert 199 < pause() <= 200
            wait(201)

    def test_beside_an_answer_that_came_later(self, configure, monkeypatch):
        """Retry-After is kept to, even if another call succeeded meanwhile."""
        configure(CONCURRENCY=2)
        due("1001", "1002")
        are_both_sent = threading.Barrier(2, timeout=10)

        def remove_order(self, number, deadline):
            are_both_sent.wait()
            if number == "1002":
                time.sleep(0.1)
                return read_order(json.dumps(order_json(number)))
            raise AuthenticationFailed("API Key invalid", status=401)

        monkeypatch.setattr(Client, "remove_order", remove_order)

        assert push().states == {"pending": 1, "removed": 1}

        assert pause() > 14
        assert state().error_code == "authentication_failed"
        assert state().failing_since is not None


class TestManyProcesses:
    """They only know of each other through the database."""

    def test_single_deletions_make_a_handful_of_calls(self, komfortkasse, failure):
        for number in numbers(20):
            Order.objects.create(number=number).delete()

        assert 1 <= len(komfortkasse.numbers) <= 3
        assert RemovedOrder.objects.pending().count() == 20

    def test_tasks_make_a_handful_of_calls(self, komfortkasse, failure):
        keys = [[row.pk for row in due(*numbers(10))] for _ in range(20)]

        for ids in keys:
            push(shop="default", ids=ids)

        assert 1 <= len(komfortkasse.requests) <= 3 + 4 + 1

    def test_failures_of_all_count_together(self, komfortkasse):
        """No process sees three failures itself."""
        komfortkasse.answer = error(503)
        for number in numbers(3):
            assert not ShopState.objects.exclude(paused_until=None)
            push(ids=[due(number)[0].pk])

        assert 14 < pause() <= 15
        push(ids=[due("1004")[0].pk])
        assert komfortkasse.numbers == numbers(3)

    def test_a_success_in_between_begins_anew(self, komfortkasse):
        komfortkasse.answers["1002"] = None
        for number in ("1000", "1001", "1002", "1003", "1004"):
            komfortkasse.answer = None if number == "1002" else error(503)
            push(ids=[due(number)[0].pk])

        assert state().failures == 2
        assert state().paused_until is None

    def test_a_failure_that_another_process_counts_meanwhile_is_not_lost(self):
        mine, others = (Breaker("default", "default", time.monotonic) for _ in range(2))
        mine.read()
        others.read()

        others.count(1, requests.ConnectionError("refused"))
        mine.count(2, requests.ConnectionError("refused"))

        assert state().failures == 3
        assert mine.needs_probe

    def test_failures_of_another_one_cost_no_answer_of_this_one(self, configure, monkeypatch):
        configure(CONCURRENCY=2)
        due(*numbers(200))
        calls = []

        def remove_order(self, number, deadline):
            calls.append(number)
            time.sleep(0.01)
            return read_order(json.dumps(order_json(number)))

        def fail_elsewhere(rows):
            if not ShopState.objects.exists():
                ShopState.objects.create(shop="default", failures=3)

        monkeypatch.setattr(Client, "remove_order", remove_order)

        push(on_settled=fail_elsewhere)

        assert sorted(calls) == numbers(200)
        assert states() == {"removed": 200}
        assert state().failures == 0

    def test_one_of_them_probes(self, komfortkasse, wait):
        due(*numbers(30))
        komfortkasse.answer = error(503)
        push()
        wait(16)
        breakers = [Breaker("default", "default", time.monotonic) for _ in range(5)]
        for each in breakers:
            each.read()

        assert [each.take_probe(20) for each in breakers] == [True, False, False, False, False]
        calls = len(komfortkasse.requests)
        push()
        assert len(komfortkasse.requests) == calls

        # It died: others take its place, no earlier than if the probe had failed.
        wait(31)
        push()
        assert len(komfortkasse.requests) == calls + 1

    def test_one_that_was_slower_leaves_it_to_the_other(self, komfortkasse, wait, monkeypatch):
        due(*numbers(30))
        komfortkasse.answer = error(503)
        push()
        calls = len(komfortkasse.requests)
        untried = RemovedOrder.objects.filter(attempts=0).count()
        wait(16)
        monkeypatch.setattr(Breaker, "take_probe", lambda self, seconds: False)

        result = push()

        assert result.total == 0
        assert "another process" in result.stopped["default"]
        assert len(komfortkasse.requests) == calls
        assert RemovedOrder.objects.filter(attempts=0).count() == untried

    @pytest.mark.parametrize("failures", [4, 5])
    def test_a_probe_that_was_not_made_is_left_to_others(self, komfortkasse, wait, failures):
        """Whether it is an order or the question."""
        due(*numbers(30))
        komfortkasse.answer = error(503)
        push()
        wait(16)
        ShopState.objects.update(failures=failures)
        calls = len(komfortkasse.requests)
        asked = 0
        while len(komfortkasse.requests) == calls:
            answers = [*[False] * asked, True]
            push(should_stop=lambda answers=answers: answers.pop(0) if len(answers) > 1 else True)
            if len(komfortkasse.requests) == calls:
                assert (pause() <= 0, state().failures) == (True, failures)
            asked += 1

        assert asked > 1
        assert 29 < pause() <= 30

    def test_a_process_with_wrong_settings_leaves_the_probe_to_others(
        self, komfortkasse, wait, configure
    ):
        due(*numbers(3))
        komfortkasse.answer = error(503)
        push()
        wait(16)
        make_due()
        komfortkasse.answer = None
        configure(API_URL="komfortkasse.test")

        assert "its settings are wrong" in push().stopped["default"]

        configure(API_URL=URL)
        assert push().states == {"removed": 3}

    @pytest.mark.parametrize("failures", [3, 4])
    def test_rows_that_are_alive_again_do_not_probe(self, komfortkasse, wait, failures):
        due("1000", "1001", "1002")
        komfortkasse.answer = error(503)
        push()
        ShopState.objects.update(failures=failures)
        due("1003", "alive")
        Order.objects.create(number="alive")
        wait(16)
        komfortkasse.answer = None

        push()

        assert "alive" not in komfortkasse.numbers
        assert RemovedOrder.objects.removed().get().order_number == "1003"
        assert RemovedOrder.objects.superseded().get().order_number == "alive"

    def test_rows_that_are_alive_again_are_no_probe_that_failed(self, komfortkasse, wait):
        """Another process ends the trouble meanwhile. Later failures lead to the question."""
        due(*numbers(4))
        komfortkasse.answer = error(503)
        push()
        ShopState.objects.update(failures=4)  # the next probe is an order
        wait(16)
        make_due()
        Order.objects.create(number="alive")
        due("alive")
        newest = RemovedOrder.objects.filter(order_number="alive")
        newest.update(next_attempt_at=timezone.now())
        questions = len(komfortkasse.questions)

        def end_the_trouble(rows):
            if any(row.order_number == "alive" for row in rows):
                ShopState.objects.update(failures=0, paused_until=None, failing_since=None)

        push(on_settled=end_the_trouble)

        assert RemovedOrder.objects.superseded().get().order_number == "alive"
        assert len(komfortkasse.questions) == questions + 1


class TestWebRequests:
    def test_three_wait_and_then_none(self, configure, monkeypatch):
        """With a service that accepts the connection and never answers."""
        configure(REQUEST_BUDGET=0.4)
        calls, waits = [], []

        def hang(self, number, *, deadline):
            calls.append(number)
            waits.append(deadline)
            time.sleep(deadline)
            raise breaker.ServiceUnavailable("The deadline passed")

        monkeypatch.setattr(Client, "remove_order", hang)
        seconds = []
        for number in numbers(12):
            order = Order.objects.create(number=number)
            started = time.monotonic()
            order.delete()
            seconds.append(time.monotonic() - started)

        assert calls == numbers(3)
        assert max(waits) <= 0.4
        assert min(seconds[:3]) > 0.3
        # None of the others waited. What they cost is for the benchmark: the machine may be busy.
        assert statistics.median(seconds[3:]) < 0.2

    def test_a_paused_shop_costs_one_query(self, komfortkasse):
        komfortkasse.answer = error(503)
        for number in numbers(3):
            Order.objects.create(number=number).delete()
        row = due("1004")[0]

        with CaptureQueriesContext(connection) as queries:
            push(ids=[row.pk], budget=3)

        assert len(queries) == 1

    def test_a_success_writes_nothing_where_there_is_no_trouble(self, komfortkasse):
        with CaptureQueriesContext(connection) as queries:
            due(*numbers(50))
            push()

        written = [each["sql"] for each in queries if "shopstate" in each["sql"]]
        assert written
        assert not [sql for sql in written if not sql.startswith("SELECT")]


def test_without_anything_to_send_is_not_probed(komfortkasse):
    ShopState.objects.create(shop="default", failures=3, failing_since=timezone.now())

    result = push()

    assert (result.total, result.stopped) == (0, {})
    assert komfortkasse.numbers == []
    assert state().failures == 3
