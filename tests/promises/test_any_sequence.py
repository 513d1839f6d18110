"""Deletions, rollbacks, crashes and answers in any order: is Komfortkasse told what it must be?

The machine does what shops, workers, staff and time do. After each step it compares the mirror and
what Komfortkasse heard with a model that knows only the promises.
"""

import copy
import io
import json
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from unittest import mock
from urllib.parse import unquote

import pytest
import requests
import responses
from django.core.management import call_command
from django.db import connection, transaction
from django.test import override_settings
from django.utils import timezone
from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from komfortkasse_django.models import RemovedOrder, ShopState
from komfortkasse_django.queue.calls import IMPOSSIBLE
from komfortkasse_django.queue.pushing import push
from komfortkasse_django.removals import remove
from tests.settings import KOMFORTKASSE
from tests.shop.models import Event, Order
from tests.support.examples import examples
from tests.support.komfortkasse import Komfortkasse, error, order_json

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LEASE = timedelta(seconds=60)
PAUSES = {"pause": timedelta(minutes=10), "long pause": timedelta(hours=5)}

FINAL = {"removed": "removed", "unknown": "unknown", "refused": "failed"}
"""What an answer makes of a row; any other is a failure, and leaves it as it is."""
ANSWERS = {
    "unknown": error(404),
    "refused": error(400, "Order is locked"),
    "wrong key": error(401, "API Key invalid"),
    "down": error(503, "Maintenance"),
    "pause": error(429, "Too many requests", **{"Retry-After": "600"}),
    "long pause": error(503, "Maintenance", **{"Retry-After": "18000"}),
    "late": requests.Timeout("slow"),
    "unreachable": requests.ConnectionError("refused"),
    "portal": (200, {}, "<html>Please log in to the Wi-Fi</html>"),
    "proxy": (404, {}, "<html>nginx</html>"),
    "mistaken": (200, {}, json.dumps(order_json("another"))),
    "redirect": (302, {"Location": "https://elsewhere.test/"}, ""),
}


class Killed(BaseException):
    """The process ends here."""


class RolledBack(Exception):  # noqa: N818
    """The shop rolls back."""


@dataclass(frozen=True)
class Weather:
    """What Komfortkasse answers, one call after the other, and when the process is killed."""

    answers: tuple[str, ...] = ("removed",)
    """Over and over again."""
    statement: int | None = None
    """Killed before this statement, of those that the step sends to the database."""
    call: int | None = None
    """Killed during this call, of those that Komfortkasse hears."""

    @property
    def is_deadly(self) -> bool:
        return self.statement is not None or self.call is not None


moods = st.sampled_from(["removed", *ANSWERS])
answers = st.lists(moods, min_size=1, max_size=5).map(tuple)
weathers = st.builds(
    Weather,
    answers=answers,
    call=st.sampled_from([*[None] * 18, 0, 1, 2]),
    statement=st.sampled_from([*[None] * 60, *range(25)]),
)


@dataclass
class Brakes:
    """How the calls of a push change a shop's breaker."""

    failures: int
    was_paused: bool
    pauses: tuple[timedelta, ...] = ()
    """For how long the shop may be paused now, if it is."""
    blames_orders: bool = False
    """Whether Komfortkasse was found to be well after three failures."""

    @classmethod
    def after(cls, before: ShopState, heard: list[tuple[str, str]], nows: list[datetime]):
        """No calls in a pause. After it, the first call finds out whether the trouble is over."""
        now = cls(before.failures, before.paused_until is not None)
        is_probe, in_a_row = now.was_paused, 0
        for number, mood in heard:
            is_question = number.startswith(IMPOSSIBLE)
            assert not now.pauses
            # After a pause an order and a question take turns.
            asks_after_failures = now.failures >= 3 and not now.blames_orders
            assert is_question == (now.failures % 2 == 1 if is_probe else asks_after_failures)
            if mood in FINAL:
                now.blames_orders = now.blames_orders or (is_question and not is_probe)
                now.failures = in_a_row = 0
            else:
                in_a_row += 1
                if is_question or not now.blames_orders:
                    now.failures += 1
                if is_question or is_probe or mood in {"wrong key", *PAUSES}:
                    now.failures = max(now.failures, in_a_row)
                    now.pauses = (timedelta(seconds=15),)
                    if is_probe:
                        now.pauses = tuple(grown(each - before.failing_since) for each in nows)
                if mood in PAUSES:
                    now.pauses = (min(PAUSES[mood], HOUR),)
            is_probe = False
        return now


def grown(lasted: timedelta) -> timedelta:
    """How long the next pause is, after trouble that has lasted for so long."""
    bounds = {0: 15, 15: 30, 45: 60, 105: 120, 225: 240, 465: 300}
    seconds = max(bounds[bound] for bound in bounds if timedelta(seconds=bound) <= lasted)
    return timedelta(seconds=seconds)


numbers = st.sampled_from(["1001", "1002", "1003", "Ä/2 %", " ", None])
which = st.integers(0, 20)
some = st.sets(which, min_size=1, max_size=4)

steps = st.deferred(
    lambda: st.lists(
        st.tuples(st.just("create"), numbers)
        | st.tuples(st.just("delete_one"), which)
        | st.tuples(st.just("delete_several"), some)
        | st.tuples(st.just("remove"), some)
        | st.tuples(st.just("savepoint"), steps, endings),
        max_size=4,
    )
)
endings = st.sampled_from(["commit", "rollback", "exception"])


@dataclass(frozen=True)
class Entry:
    """An order in the model."""

    number: str | None
    event: int
    replaces: int | None

    @property
    def has_number(self) -> bool:
        return self.number is not None and self.number.strip() != ""


class Listener(Komfortkasse):
    """Answers as the current outage says, and remembers what it answered."""

    def __init__(self, requests_mock: responses.RequestsMock) -> None:
        super().__init__(requests_mock)
        self.weather = Weather()
        self.heard: list[tuple[str, str]] = []

    def _call(self, request):
        position = len(self.heard)
        mood = self.weather.answers[position % len(self.weather.answers)]
        self.answer = ANSWERS.get(mood)
        try:
            return super()._call(request)
        finally:
            number = unquote(request.path_url.rpartition("/")[2])
            self.heard.append((number, mood))
            if position == self.weather.call:
                raise Killed


class Shop(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.orders: dict[int, Entry] = {}
        self.instances: dict[int, Order] = {}
        """Each order as it was when it was made, however stale it is."""
        self.asked: list[tuple[str, str]] = []
        """Order number and requested_via of what the step asks for."""
        self.is_unfinished = False
        """Whether something is left to be sent, or can be tried again."""
        self.budget = 0
        self.stack = ExitStack()
        requests_mock = responses.RequestsMock(assert_all_requests_are_fired=False)
        self.komfortkasse = Listener(self.stack.enter_context(requests_mock))
        self.stack.enter_context(mock.patch.object(timezone, "now", self.tick))
        Order.objects.update(replaces=None)
        for model in (RemovedOrder, ShopState, Order, Event):
            model.objects.all()._raw_delete("default")
        self.events = [Event.objects.create().pk for _ in range(2)]

    def teardown(self) -> None:
        self.stack.close()

    def tick(self) -> datetime:
        self.now += timedelta(microseconds=1)
        return self.now

    @initialize(
        budget=st.sampled_from([0, 60]),
        orders=st.lists(st.tuples(numbers, which, st.none() | which), min_size=4, max_size=12),
    )
    def open_the_shop(self, budget, orders) -> None:
        """With ``budget`` seconds to push at once; without, only komfortkasse_push does."""
        self.budget = budget
        default = {**KOMFORTKASSE["default"], "REQUEST_BUDGET": budget, "CONCURRENCY": 1}
        self.stack.enter_context(override_settings(KOMFORTKASSE={"default": default}))
        for order in orders:
            self.create(*order)

    # What the shop does: each of these changes the model, then the database.

    def create(self, number: str | None, event: int = 0, replaces: int | None = None) -> None:
        entry = Entry(number, self.events[event % 2], self.pick(replaces))
        order = Order.objects.create(
            number=entry.number, event_id=entry.event, replaces_id=entry.replaces
        )
        self.orders[order.pk] = entry
        self.instances[order.pk] = copy.copy(order)

    def pick(self, index: int | None) -> int | None:
        keys = sorted(self.orders)
        return keys[index % len(keys)] if keys and index is not None else None

    def pick_several(self, indexes: set[int]) -> list[int]:
        return sorted({key for index in indexes if (key := self.pick(index)) is not None})

    def expect_deletion(self, keys: list[int]) -> None:
        gone = set(keys)
        while more := {
            key for key, entry in self.orders.items() if entry.replaces in gone and key not in gone
        }:
            gone |= more
        for key in gone:
            entry = self.orders.pop(key)
            if entry.has_number:
                self.asked.append((entry.number, "delete"))

    def delete_one(self, index: int) -> None:
        key = self.pick(index)
        if key is not None:
            self.expect_deletion([key])
            copy.copy(self.instances[key]).delete()

    def delete_several(self, indexes: set[int]) -> None:
        keys = self.pick_several(indexes)
        self.expect_deletion(keys)
        Order.objects.filter(pk__in=keys).delete()

    def remove(self, indexes: set[int]) -> None:
        keys = self.pick_several(indexes)
        self.asked += [
            (self.orders[key].number, "code") for key in keys if self.orders[key].has_number
        ]
        remove([self.instances[key] for key in keys])

    def savepoint(self, steps, ending: str) -> None:
        orders, asked = dict(self.orders), list(self.asked)
        try:
            with transaction.atomic():
                for name, *arguments in steps:
                    getattr(self, name)(*arguments)
                if ending == "exception":
                    raise RolledBack  # noqa: TRY301
                transaction.set_rollback(ending == "rollback")
        except RolledBack:
            pass
        if ending != "commit":
            self.orders, self.asked = orders, asked

    # What is done and what becomes of it

    def do(self, name: str, *arguments, weather: Weather = Weather(), pushes: bool = False) -> None:
        """Take a step, and check what it did to the orders, the mirror and Komfortkasse."""
        before, orders = rows(), dict(self.orders)
        started = self.now
        brakes = ShopState.objects.first() or ShopState()
        self.asked = []
        is_killed = self.survive(name, arguments, weather)

        now_there = stored_orders()
        after = rows()
        new = {key: row for key, row in after.items() if key not in before}
        recorded = Counter((row.order_number, row.requested_via) for row in new.values())
        happened = (now_there, recorded) == (self.orders, Counter(self.asked))
        if not happened:
            assert is_killed
            assert (now_there, recorded) == (orders, Counter())
            self.orders, self.asked = orders, []
        self.is_unfinished = any(
            row.next_attempt_at or row.state == "failed" for row in after.values()
        )

        may_be_sent = set(before) if pushes else set(new) if self.budget else set()
        due = {
            key
            for key in may_be_sent
            if key in new or is_due(before[key], started)
            if not is_paused(brakes, started)
        }
        for key, row in before.items():
            if key not in due and key in after:
                assert contents(after[key]) == contents(row)
        self.check_answers(due, before, after, is_killed=is_killed)
        if not is_killed:
            self.check_brakes(brakes, started, [row for row in after.values() if row.pk in due])

    def survive(self, name: str, arguments, weather: Weather) -> bool:
        """Take the step; return whether the process was killed meanwhile."""
        self.komfortkasse.weather = weather
        self.komfortkasse.heard = []
        statements = 0

        def execute(call, *statement):
            nonlocal statements
            statements += 1
            if statements - 1 == weather.statement:
                raise Killed
            return call(*statement)

        try:
            with connection.execute_wrapper(execute):
                getattr(self, name)(*arguments)
        except Killed:
            assert weather.is_deadly
            event("killed")
            return True
        finally:
            assert not connection.in_atomic_block
        return False

    def check_answers(
        self,
        due: set[int],
        before: dict[int, RemovedOrder],
        after: dict[int, RemovedOrder],
        *,
        is_killed: bool,
    ) -> None:
        heard = [
            (number, mood)
            for number, mood in self.komfortkasse.heard
            if not number.startswith(IMPOSSIBLE)
        ]
        in_use = {entry.number for entry in self.orders.values()}
        tried: dict[int, tuple[str, str]] = {}
        """What each row that was sent was and has become."""
        for key in due:
            row = after[key]
            was = before[key].state if key in before else "pending"
            attempts = row.attempts - (before[key].attempts if key in before else 0)
            is_outdated = row.requested_via == "delete" and row.order_number in in_use
            assert attempts in {0, 1}
            event(row.state)
            # Never stuck.
            if row.state == "pending":
                assert row.next_attempt_at <= self.now + (HOUR if row.last_error else LEASE)
            elif row.state == "unknown":
                assert row.next_attempt_at is None or row.next_attempt_at <= self.now + DAY
            else:
                assert row.next_attempt_at is None
            if row.state == "superseded":
                assert is_outdated
                assert attempts
            elif not attempts:
                assert row.state == was
                assert is_due(row, self.now) or is_killed
            elif is_killed and row.state == was:
                pass  # its lease ends, or it was settled
            else:
                assert not is_outdated
                tried[key] = was, row.state

        # All rows of a number that are claimed together are sent once.
        called = Counter(number for number, _mood in heard)
        assert called <= Counter(after[key].order_number for key in due)
        for key, (was, state) in tried.items():
            moods = {mood for number, mood in heard if number == after[key].order_number}
            assert state in {meaning(mood, was) for mood in moods}
        for number, mood in [] if is_killed else heard:
            assert any(
                after[key].order_number == number and state == meaning(mood, was)
                for key, (was, state) in tried.items()
            )

    def check_brakes(self, before: ShopState, started: datetime, due: list[RemovedOrder]) -> None:
        """Was Komfortkasse left alone when it had to be, and only then?"""
        expected = Brakes.after(before, self.komfortkasse.heard, [started, self.now])
        now = ShopState.objects.first() or ShopState()
        waiting = [row for row in due if is_due(row, self.now)]
        assert now.failures == expected.failures
        assert (now.failing_since is None) == (now.failures == 0)
        assert (now.last_error == "") == (now.failures == 0)
        if now.failures >= 3 and self.komfortkasse.heard and not expected.pauses:
            # No row was left, so it was not asked whether only these fail.
            assert not waiting
            expected.pauses = (timedelta(seconds=15),)
        if expected.pauses:
            assert any(started < now.paused_until - pause <= self.now for pause in expected.pauses)
            event(f"paused for {expected.pauses[0]}")
        else:
            assert not waiting or is_paused(before, started)

    # The steps

    @rule(number=numbers, event=which, replaces=st.none() | which)
    def an_order_is_placed(self, number, event, replaces) -> None:
        self.do("create", number, event, replaces)

    @precondition(lambda self: self.orders)
    @rule(index=which, number=numbers)
    def an_order_gets_another_number(self, index, number) -> None:
        key = self.pick(index)
        Order.objects.filter(pk=key).update(number=number)
        self.orders[key] = Entry(number, self.orders[key].event, self.orders[key].replaces)

    @precondition(lambda self: self.orders)
    @rule(index=which, weather=weathers)
    def an_order_is_deleted(self, index, weather) -> None:
        self.do("delete_one", index, weather=weather)

    @precondition(lambda self: self.orders)
    @rule(indexes=some, weather=weathers)
    def orders_are_deleted(self, indexes, weather) -> None:
        self.do("delete_several", indexes, weather=weather)

    @precondition(lambda self: self.orders)
    @rule(index=which, weather=weathers)
    def what_orders_belong_to_is_deleted(self, index, weather) -> None:
        self.do("delete_event", index, weather=weather)
        missing = 2 - Event.objects.count()
        Event.objects.bulk_create(Event() for _ in range(missing))
        self.events = list(Event.objects.order_by("pk").values_list("pk", flat=True))

    def delete_event(self, index: int) -> None:
        event = self.orders[self.pick(index)].event
        self.expect_deletion([key for key, each in self.orders.items() if each.event == event])
        Event.objects.get(pk=event).delete()

    @precondition(lambda self: self.orders)
    @rule(indexes=some, weather=weathers)
    def orders_are_removed_by_the_shops_code(self, indexes, weather) -> None:
        self.do("remove", indexes, weather=weather)

    @rule(steps=steps, ending=endings, weather=weathers)
    def a_transaction(self, steps, ending, weather) -> None:
        self.do("savepoint", steps, ending, weather=weather)

    @precondition(lambda self: self.is_unfinished)
    @rule(weather=weathers)
    def what_is_due_is_pushed(self, weather) -> None:
        self.do("push", weather=weather, pushes=True)

    def push(self) -> None:
        push()

    @rule(seconds=st.sampled_from([70, 700, 7200, 2 * 86_400]))
    def time_passes(self, seconds) -> None:
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: self.is_unfinished)
    @rule(number=numbers)
    def staff_try_again(self, number) -> None:
        before = rows()
        RemovedOrder.objects.filter(order_number=number).retry()
        for key, row in rows().items():
            if row.order_number == number and before[key].state in RemovedOrder.RETRIABLE:
                assert row.state == "pending"
                assert is_due(row, self.now)
            else:
                assert contents(row) == contents(before[key])

    @rule()
    def what_was_finished_long_ago_is_pruned(self) -> None:
        before = rows()
        call_command("komfortkasse_prune", older_than=1, stdout=io.StringIO())
        old = self.now - timedelta(days=1)
        in_the_shop = {entry.number for entry in self.orders.values()}
        last = {
            max(key for key, each in before.items() if each.order_number == row.order_number)
            for row in before.values()
            if row.order_number in in_the_shop
        }
        kept = {
            key: contents(row)
            for key, row in before.items()
            if row.state in {"pending", "failed"}
            or row.next_attempt_at
            or row.finished_at >= old
            or key in last
        }
        assert {key: contents(row) for key, row in rows().items()} == kept

    @precondition(lambda self: self.is_unfinished)
    @rule()
    def in_the_end_everything_is_told(self) -> None:
        self.now += 2 * HOUR
        self.do("push", pushes=True)
        assert not RemovedOrder.objects.pending().exists()


def rows() -> dict[int, RemovedOrder]:
    return RemovedOrder.objects.in_bulk()


def contents(row: RemovedOrder) -> dict[str, object]:
    return {name: value for name, value in vars(row).items() if name != "_state"}


def is_due(row: RemovedOrder, now: datetime) -> bool:
    return row.next_attempt_at is not None and row.next_attempt_at <= now


def is_paused(shop: ShopState, now: datetime) -> bool:
    return shop.paused_until is not None and shop.paused_until > now


def meaning(mood: str, was: str) -> str:
    """How an answer changes a row. Asking again never makes an unknown row worse."""
    state = FINAL.get(mood, was)
    return was if (was, state) == ("unknown", "failed") else state


def stored_orders() -> dict[int, Entry]:
    return {
        order.pk: Entry(order.number, order.event_id, order.replaces_id)
        for order in Order.objects.all()
    }


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_komfortkasse_is_told_what_it_must_be():
    run_state_machine_as_test(Shop, settings=examples(120, stateful_step_count=20))
