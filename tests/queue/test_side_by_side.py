"""No shop waits for another one, however slow that is, and rows of one number are one removal."""

import json
import threading
import time
from collections import Counter

import pytest
from django.db import connection

from komfortkasse_django import orders
from komfortkasse_django.api.reading import read_order
from komfortkasse_django.client import Client
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue import pushing
from komfortkasse_django.queue.pushing import push
from komfortkasse_django.signals import order_removed, removal_failed
from tests.shop.models import Order
from tests.support.komfortkasse import error, order_json
from tests.support.loopback import Connection, Server, http_answer, number_in
from tests.support.loopback import order_json as body
from tests.support.mirror import Via, due, numbers, states

pytestmark = pytest.mark.django_db(transaction=True)


class TestShops:
    def test_a_slow_one_keeps_no_other_waiting(self, configure):
        """With real connections to a server that is slow for one of them."""
        heard: list[str] = []

        def serve(connection: Connection) -> None:
            while head := connection.read_request():
                number = number_in(head)
                heard.append(number)
                connection.wait(0.2 if number.startswith("slow") else 0)
                connection.send(http_answer(body(number=number)))

        with Server(serve) as server:
            configure(
                API_URL=server.url, aliases={"slow": {}, "fast": {}, "third": {"CONCURRENCY": 1}}
            )
            due(*(f"slow-{number}" for number in range(500)), shop="slow")
            due(*(f"fast-{number}" for number in range(300)), shop="fast")
            due("third", shop="third")

            push(should_stop=lambda: sum(number.startswith("fast") for number in heard) == 300)

        slow = [number for number in heard if number.startswith("slow")]
        assert 0 < len(slow) < 200
        before_third = heard[: heard.index("third")]
        assert sum(number.startswith("slow") for number in before_third) < 20
        assert not RemovedOrder.objects.pending().exclude(attempts=0)

    def test_one_that_has_nothing_to_send_keeps_no_other_waiting(self, configure, monkeypatch):
        """Thousands of numbers that are alive again are settled without a single call."""
        monkeypatch.setattr(pushing, "_CLAIMS_PER_CALL", 5)
        configure(aliases={"a": {}, "b": {"CONCURRENCY": 1}}, CONCURRENCY=1)
        due(*numbers(500), shop="a")
        Order.objects.bulk_create(Order(number=number) for number in numbers(500))
        due(*(f"b{number}" for number in range(20)), shop="b", via=Via.CODE)
        superseded_before = {}

        def remove_order(self, number, deadline):
            return read_order(json.dumps(order_json(number)))

        def count(rows):
            for row in rows:
                if row.shop == "b":
                    superseded_before[row.order_number] = len(settled)
                else:
                    settled.append(row)

        settled = []
        monkeypatch.setattr(Client, "remove_order", remove_order)

        assert push(on_settled=count).states == {"superseded": 500, "removed": 20}

        assert max(superseded_before.values()) < 400

    def test_one_whose_orders_cannot_be_looked_up_keeps_no_other_waiting(
        self, komfortkasse, configure, monkeypatch
    ):
        configure(aliases={"a": {}, "b": {}})
        due("a1", "a2", shop="a")
        due("b1", shop="b")
        alive = orders.alive

        def fail(shop, *args, **kwargs):
            if shop.alias == "a":
                raise ZeroDivisionError
            return alive(shop, *args, **kwargs)

        monkeypatch.setattr(orders, "alive", fail)

        result = push()

        assert komfortkasse.numbers == ["b1"]
        assert "2 of 2" in result.stopped["a"]

    @pytest.mark.parametrize("limit", [3, 10, 31])
    def test_share_a_limit(self, komfortkasse, configure, limit):
        configure(aliases={"a": {}, "b": {}, "c": {}})
        for alias in "abc":
            due(*(f"{alias}{number}" for number in range(100)), shop=alias)

        assert push(limit=limit).states == {"removed": limit}

        counts = Counter(number[0] for number in komfortkasse.numbers)
        assert max(counts.values()) - min(counts.values()) <= 2

    def test_leave_what_they_do_not_need_of_a_limit_to_others(self, komfortkasse, configure):
        configure(aliases={"a": {}, "b": {}})
        due("a1", shop="a")
        due(*(f"b{number}" for number in range(100)), shop="b")

        assert push(limit=50).states == {"removed": 50}

    def test_that_gave_rows_back_may_claim_as_many_again(self, komfortkasse, configure):
        """They do not count against the limit."""
        configure(CONCURRENCY=1)
        due(*numbers(20))
        for number in numbers(3):
            komfortkasse.answers[number] = error(500)

        assert push(limit=10).states == {"pending": 3, "removed": 7}


class TestOneNumber:
    @pytest.fixture
    def announced(self):
        heard = []

        def hear(signal, removed_order, **kwargs):
            heard.append((signal, removed_order.order_number))

        order_removed.connect(hear)
        removal_failed.connect(hear)
        yield heard
        order_removed.disconnect(hear)
        removal_failed.disconnect(hear)

    @pytest.mark.parametrize(
        ("answer", "state", "signal"),
        [
            (None, "removed", order_removed),
            (error(400, "Order is locked"), "failed", removal_failed),
            (error(404), "unknown", None),
            (error(500), "pending", None),
        ],
    )
    def test_is_sent_once(self, komfortkasse, announced, answer, state, signal):
        due("1001", "1002", "1001", "1001", via=Via.CODE)
        komfortkasse.answers["1001"] = answer

        result = push()

        assert sorted(komfortkasse.numbers) == ["1001", "1002"]
        assert result.total == 4
        rows = RemovedOrder.objects.filter(order_number="1001")
        assert [row.state for row in rows] == [state] * 3
        assert len({(row.last_error, row.amount, row.attempts) for row in rows}) == 1
        heard = [(signal, "1001")] if signal else []
        assert sorted(announced, key=str) == sorted([*heard, (order_removed, "1002")], key=str)

    def test_is_that_of_one_shop(self, komfortkasse, configure):
        configure(aliases={"a": {}, "b": {}})
        due("1001", shop="a")
        due("1001", shop="b")

        assert push().states == {"removed": 2}

        assert komfortkasse.numbers == ["1001", "1001"]

    def test_that_is_alive_is_sent_where_somebody_asked_for_it(self, komfortkasse):
        Order.objects.create(number="1001")
        due("1001", via=Via.DELETE)
        due("1001", via=Via.CODE)

        assert push().states == {"superseded": 1, "removed": 1}

        assert komfortkasse.numbers == ["1001"]

    def test_is_announced_where_only_one_row_is_still_held(
        self, komfortkasse, announced, monkeypatch
    ):
        first, _ = due("1001", "1001")
        store = pushing.Settlement.store

        def take_first(self, announcements):
            if announcements:
                RemovedOrder.objects.filter(pk=first.pk).retry()
            store(self, announcements)

        monkeypatch.setattr(pushing.Settlement, "store", take_first)

        assert push(limit=2).total == 1

        assert announced == [(order_removed, "1001")]
        assert states() == {"pending": 1, "removed": 1}


class TestTheEndOfAThread:
    @pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt, GeneratorExit])
    def test_loses_no_answer(self, configure, monkeypatch, end):
        """The process is to end, but what Komfortkasse said is stored before."""
        configure(CONCURRENCY=3)
        due(*numbers(50))
        are_sent = threading.Barrier(3, timeout=10)

        def remove_order(self, number, deadline):
            if number in numbers(3):
                are_sent.wait()
            if number == "1001":
                raise end
            time.sleep(0.05)
            return read_order(json.dumps(order_json(number)))

        monkeypatch.setattr(Client, "remove_order", remove_order)

        with pytest.raises(end):
            push()

        removed = RemovedOrder.objects.removed().values_list("order_number", flat=True)
        assert {"1000", "1002"} <= set(removed)
        assert len(removed) <= 4
        # Its own row comes back when the lease ends, the others are due at once.
        leased = RemovedOrder.objects.pending().exclude(attempts=0)
        assert leased.get().order_number == "1001"
        assert not connection.in_atomic_block
