"""Orders that Komfortkasse chokes on do not hold up the others."""

import json
import random

import pytest
import requests
from django.utils import timezone

from komfortkasse_django.exceptions import AuthenticationFailed
from komfortkasse_django.models import RemovedOrder, ShopState
from komfortkasse_django.queue.calls import Calls
from komfortkasse_django.queue.pushing import push
from tests.shop.models import Order
from tests.support.komfortkasse import error, order_json
from tests.support.mirror import due, numbers, states

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.independent]

BAD = [f"bad-{number}" for number in range(300)]
GOOD = [f"good-{number}" for number in range(50)]

POISON = {
    "out of order": error(500),
    "late": requests.Timeout("slow"),
    "another order": (200, {}, json.dumps(order_json("another"))),
}


@pytest.fixture(params=POISON)
def poison(request, komfortkasse):
    """Komfortkasse cannot answer for the bad ones."""
    komfortkasse.answers.update(dict.fromkeys(BAD, POISON[request.param]))
    return request.param


def good_ones_left() -> int:
    return RemovedOrder.objects.pending().filter(order_number__startswith="good").count()


@pytest.mark.parametrize("order", ["bad ones first", "good ones first"])
def test_of_one_deletion_hold_up_nothing(poison, order, wait):
    due(*(BAD + GOOD if order == "bad ones first" else GOOD + BAD))

    push()
    wait(60)
    push()

    assert good_ones_left() == 0


def test_that_were_all_tried_hold_up_nothing(poison, wait):
    due(*BAD)
    RemovedOrder.objects.update(attempts=5)
    due(*GOOD)

    push()

    assert good_ones_left() == 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("many", [300, 1000])
def test_among_the_others_hold_up_none_for_long(komfortkasse, wait, seed, many):
    """One run a minute, as by cron."""
    bad = [f"bad-{number}" for number in range(many)]
    kinds = list(POISON.values())
    for index, number in enumerate(bad):
        komfortkasse.answers[number] = kinds[index % len(kinds)]
    mixed = bad + GOOD
    random.Random(seed).shuffle(mixed)
    due(*mixed)

    minutes = 0
    while good_ones_left():
        minutes += 1
        push()
        wait(60)

    assert minutes <= many / 100
    assert len(komfortkasse.requests) < len(mixed) + 110 * minutes


@pytest.mark.parametrize("minutes", [1, 3, 13, 40])
def test_hold_up_a_new_order_for_a_minute_at_most(poison, komfortkasse, wait, minutes):
    """However long the bad ones have been there, and however many of them."""
    due(*BAD)
    for _ in range(minutes):
        push()
        wait(60)
    # Also one that comes right after the shop was paused again.
    push()
    Order.objects.create(number="good-1").delete()
    if good_ones_left():
        wait(60)
        push()

    assert good_ones_left() == 0


def test_hold_up_no_new_order_each_minute(poison, komfortkasse, wait):
    due(*BAD)
    for number in numbers(25):
        Order.objects.create(number=number).delete()
        wait(60)
        push()
        assert not RemovedOrder.objects.pending().filter(order_number=number)

    assert len(komfortkasse.requests) < 25 * 110


def test_are_tried_a_hundred_at_a_time(poison, komfortkasse, wait):
    """Komfortkasse may have other trouble than with them, although it answers."""
    due(*BAD)

    push()

    assert 100 <= len(komfortkasse.numbers) <= 3 + 100 + 2 * 4
    assert len(komfortkasse.questions) == 1
    state = ShopState.objects.get()
    assert 14 < (state.paused_until - timezone.now()).total_seconds() <= 15
    wait(20)
    push()
    assert len(komfortkasse.questions) == 3, "is the pause over, and is it the orders again?"


@pytest.mark.parametrize(
    "answer", [error(401, "API Key invalid"), error(429, **{"Retry-After": "60"})]
)
def test_do_not_hide_what_concerns_all(komfortkasse, answer):
    """Wherever it comes."""
    due(*BAD, *GOOD)
    komfortkasse.answers.update(dict.fromkeys(BAD, error(500)))
    komfortkasse.answers["good-30"] = answer

    push()

    assert ShopState.objects.get().is_paused()
    # How many were under way by then depends on the machine.
    assert 0 < good_ones_left() <= 35


def test_do_not_hide_it_if_another_call_is_answered_after_it(komfortkasse, monkeypatch):
    judge = Calls._judge

    def judge_beside_an_answer(calls, call):
        judge(calls, call)
        if isinstance(call.error, AuthenticationFailed):
            calls.failures = 0

    monkeypatch.setattr(Calls, "_judge", judge_beside_an_answer)
    due(*BAD, *GOOD)
    komfortkasse.answers.update(dict.fromkeys(BAD, error(500)))
    komfortkasse.answers["good-30"] = error(401, "API Key invalid")

    push()

    state = ShopState.objects.get()
    assert state.is_paused()
    assert state.error_code == "authentication_failed"
    assert state.failures % 2 == 1, "so that the next push asks first"


@pytest.mark.parametrize(
    "answer", [requests.ConnectionError("refused"), error(401, "API Key invalid"), error(500)]
)
def test_are_not_to_blame_for_what_concerns_all(komfortkasse, wait, answer):
    """Then new orders wait for the end of the pause, too."""
    komfortkasse.answer = answer
    due(*numbers(30))
    for _ in range(12):
        push()
        wait(60)
    ShopState.objects.update(paused_until=timezone.now())
    push()
    calls = len(komfortkasse.requests)
    assert calls < 3 + 4 + 12
    assert (ShopState.objects.get().paused_until - timezone.now()).total_seconds() > 299

    for second in range(100):
        wait(1)
        due(f"new-{second}")
        push()

    assert len(komfortkasse.requests) == calls


def test_are_still_tried(poison, komfortkasse, wait):
    due(*BAD[:20], *GOOD)
    for _ in range(60 * 3):
        push()
        wait(60)
    komfortkasse.answers.clear()
    for _ in range(65):
        push()
        wait(60)

    assert states() == {"removed": 70}


def test_are_postponed_alone(komfortkasse):
    """Those that were claimed with them are sent by the same push."""
    komfortkasse.answers.update(dict.fromkeys(BAD, error(500)))
    due(*BAD[:5], *GOOD)

    push(ids=list(RemovedOrder.objects.values_list("pk", flat=True)))

    assert good_ones_left() == 0
