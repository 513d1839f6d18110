"""A shop may tell Komfortkasse of an order later than it deletes it."""

from datetime import timedelta

import pytest
import requests
from django.core.management import call_command
from django.utils import timezone

from komfortkasse_django.models import RemovedOrder, ShopState
from komfortkasse_django.queue.pushing import push
from komfortkasse_django.signals import order_removed, removal_failed
from tests.shop.models import Order
from tests.support.komfortkasse import error
from tests.support.mirror import Via, due, numbers

pytestmark = pytest.mark.django_db(transaction=True)

HOUR, DAY = 3600, 86400


@pytest.fixture(autouse=True)
def _unknown(komfortkasse):
    komfortkasse.answer = error(404)


def row() -> RemovedOrder:
    return RemovedOrder.objects.get()


def seconds_left() -> float:
    return (row().next_attempt_at - timezone.now()).total_seconds()


def test_is_asked_for_again_after_an_hour_and_a_day_more(komfortkasse, wait):
    due("1001")
    push()
    assert HOUR - 10 < seconds_left() <= HOUR
    first = row().finished_at

    wait(HOUR - 10)
    push()
    assert len(komfortkasse.numbers) == 1
    wait(10)
    assert push().states == {"unknown": 1}
    assert DAY - 10 < seconds_left() <= DAY

    wait(DAY)
    push()
    assert len(komfortkasse.numbers) == 3
    assert (row().state, row().next_attempt_at, row().finished_at) == ("unknown", None, first)
    wait(30 * DAY)
    push()
    assert len(komfortkasse.numbers) == 3


@pytest.mark.parametrize(
    ("retries", "waits"), [((), []), ([60], [60]), ((0.5, 60, 600), [0.5, 60, 600])]
)
def test_as_often_as_the_setting_says(komfortkasse, configure, wait, retries, waits):
    configure(UNKNOWN_RETRIES=retries)
    due("1001")
    push()

    for seconds in waits:
        assert row().next_attempt_at is not None
        wait(seconds)
        push()

    assert row().next_attempt_at is None
    assert len(komfortkasse.numbers) == 1 + len(waits)


def test_in_the_end_also_where_no_worker_ran_for_long(komfortkasse, wait):
    due("1001")
    push()
    wait(10 * DAY)

    push()

    assert row().next_attempt_at is None
    assert len(komfortkasse.numbers) == 2


def test_is_removed_once_komfortkasse_knows_it(komfortkasse, wait):
    heard = []

    def hear(removed_order, **kwargs):
        heard.append(removed_order.state)

    order_removed.connect(hear)
    try:
        due("1001")
        push()
        assert heard == []
        komfortkasse.answer = None
        wait(HOUR)
        assert push().states == {"removed": 1}
    finally:
        order_removed.disconnect(hear)

    assert heard == ["removed"]
    assert (row().state, row().next_attempt_at, str(row().amount)) == ("removed", None, "22.38")
    assert timezone.now() - row().finished_at < timedelta(minutes=1)


@pytest.mark.parametrize(
    "answer",
    [
        error(500),
        error(401, "API Key invalid"),
        error(429, "slow down", **{"Retry-After": "60"}),
        requests.ConnectionError("refused"),
        (200, {}, "<html>portal</html>"),
    ],
)
def test_trouble_on_the_way_leaves_it_unknown(komfortkasse, wait, answer):
    due("1001")
    push()
    first = row().finished_at
    wait(HOUR)
    komfortkasse.answer = answer

    assert push().states == {"unknown": 1}

    assert (row().state, row().finished_at) == ("unknown", first)
    assert row().last_error
    assert 0 < seconds_left() <= HOUR
    assert not RemovedOrder.objects.finished()

    # The last of the retries is not lost to it.
    ShopState.objects.all().delete()
    wait(HOUR)
    komfortkasse.answer = None
    assert push().states == {"removed": 1}
    assert row().last_error == ""


def test_a_refusal_makes_it_no_worse(komfortkasse, wait):
    heard = []

    def hear(**kwargs):
        heard.append(kwargs)

    removal_failed.connect(hear)
    try:
        due("1001")
        push()
        komfortkasse.answer = error(400, "Order is locked")
        for seconds in (HOUR, DAY):
            wait(seconds)
            push()
    finally:
        removal_failed.disconnect(hear)

    assert (row().state, row().next_attempt_at, heard) == ("unknown", None, [])


def test_is_superseded_once_it_is_alive_again(komfortkasse, wait):
    due("1001")
    push()
    Order.objects.create(number="1001")
    wait(HOUR)

    assert push().states == {"superseded": 1}

    assert komfortkasse.numbers == ["1001"]


def test_is_not_superseded_where_somebody_asked(komfortkasse, wait):
    due("1001", via=Via.CODE)
    push()
    Order.objects.create(number="1001")
    wait(HOUR)

    assert push().states == {"unknown": 1}


def test_a_look_up_that_fails_leaves_it_unknown(komfortkasse, configure, wait):
    due("1001")
    push()
    configure(ORDER_FILTER=lambda order: order.no_such_attribute)
    Order.objects.create(number="1001")
    wait(HOUR)

    assert push().states == {"unknown": 1}

    assert (row().error_code, 0 < seconds_left() <= HOUR) == ("shop_code", True)


def test_is_neither_pending_nor_overdue_nor_finished(komfortkasse, wait):
    due("1001")
    push()
    wait(2 * HOUR)
    mirror = RemovedOrder.objects

    assert not mirror.pending()
    assert not mirror.overdue()
    assert not mirror.finished()
    assert mirror.unknown().get() == mirror.unfinished().get() == mirror.due().get()


def test_is_pruned_only_when_it_is_asked_for_no_more(komfortkasse, wait, capsys):
    due("1001")
    push()
    wait(HOUR)
    push()
    wait(DAY + 1)
    call_command("komfortkasse_prune", older_than=1)
    assert row().state == "unknown"

    push()
    call_command("komfortkasse_prune", older_than=1)

    assert not RemovedOrder.objects.exists()


def test_that_is_tried_again_by_a_person_begins_anew(komfortkasse, wait):
    due("1001")
    push()
    wait(30 * DAY)
    push()
    assert row().next_attempt_at is None

    assert RemovedOrder.objects.retry() == 1
    assert (row().state, row().finished_at) == ("pending", None)
    push()

    assert HOUR - 10 < seconds_left() <= HOUR
    assert timezone.now() - row().finished_at < timedelta(minutes=1)


class TestAllUnknown:
    def warnings(self, caplog):
        return [message for message in caplog.messages if "knew none of the last 10" in message]

    def test_is_logged_once(self, komfortkasse, caplog, wait):
        due(*numbers(9))
        push()
        assert not self.warnings(caplog)

        due("1009")
        push()
        assert len(self.warnings(caplog)) == 1

        due("1010", "1011")
        push()
        for seconds in (HOUR, DAY):
            wait(seconds)
            push()
        assert len(self.warnings(caplog)) == 1

    def test_is_logged_at_once_for_many(self, komfortkasse, caplog):
        due(*numbers(300))

        push()

        assert len(self.warnings(caplog)) == 1

    def test_is_not_where_one_is_known(self, komfortkasse, caplog):
        komfortkasse.answers["1004"] = None
        due(*numbers(11))

        push()

        komfortkasse.answer = None
        assert not self.warnings(caplog)
