"""``API_KEY`` as a function: in a database, rotated, one for each tenant."""

import traceback
from datetime import timedelta

import pytest
from django.utils import timezone

from komfortkasse_django.conf import shops
from komfortkasse_django.exceptions import AuthenticationFailed
from komfortkasse_django.models import RemovedOrder, ShopState
from komfortkasse_django.queue.calls import api_key_of
from komfortkasse_django.queue.pushing import push
from tests.shop.models import Order
from tests.support.mirror import due, numbers

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "planted-key"


@pytest.fixture
def keys(configure):
    """The keys that the function returns, or raises, one after the other."""
    keys: list[object] = []
    asked: list[None] = []

    def api_key():
        asked.append(None)
        key = keys[min(len(asked), len(keys)) - 1]
        if isinstance(key, BaseException):
            raise key
        return key

    configure(API_KEY=api_key)
    keys.append(KEY)
    return keys, asked


def headers(komfortkasse) -> list[str]:
    return [request.headers["X-Komfortkasse-API-Key"] for request in komfortkasse.requests]


def test_is_asked_once_a_push(komfortkasse, keys):
    keys, asked = keys
    keys[:] = ["first", "second"]
    due(*numbers(300))

    push()

    assert len(asked) == 1
    assert headers(komfortkasse) == ["first"] * 300

    due("1001")
    push()
    assert headers(komfortkasse)[300:] == ["second"]


def test_is_not_asked_where_nothing_is_to_be_sent(komfortkasse, keys):
    _keys, asked = keys

    push()
    due("1001")
    RemovedOrder.objects.update(state="failed", next_attempt_at=None)
    push()

    assert asked == []


def test_is_not_asked_by_a_deletion_in_a_pause(komfortkasse, keys, wait):
    _keys, asked = keys
    later = timezone.now() + timedelta(seconds=30)
    ShopState.objects.create(shop="default", failures=3, paused_until=later)

    Order.objects.create(number="1001").delete()

    assert asked == []


@pytest.mark.parametrize(
    "rubbish",
    [
        ZeroDivisionError(KEY),
        KeyError(KEY),
        None,
        "",
        0,
        KEY.encode(),
        f" {KEY}",
        f"{KEY}\n",
        f"{KEY}ä",
        [KEY],
        {"key": KEY},
    ],
)
def test_that_gives_none_pauses_the_shop(komfortkasse, keys, caplog, wait, rubbish):
    keys, asked = keys
    keys[:] = [rubbish]
    due(*numbers(20))

    result = push()

    assert komfortkasse.numbers == []
    assert "API_KEY" in result.stopped["default"]
    assert RemovedOrder.objects.pending().filter(attempts=0, last_error="").count() == 20
    state = ShopState.objects.get()
    assert (state.error_code, state.failures) == ("authentication_failed", 1)
    assert state.failing_since is not None
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "Shop 'default' is paused for 15 s: The function in API_KEY" in caplog.text
    everything = caplog.text + repr(vars(state)) + repr(result)
    assert KEY not in everything
    for record in caplog.records:
        assert not record.exc_info

    # The pauses grow, and it is asked once in each of them.
    pauses = []
    for _ in range(6):
        pauses.append(round((ShopState.objects.get().paused_until - state.failing_since).seconds))
        state.failing_since = ShopState.objects.get().paused_until
        wait(pauses[-1] + 2)
        push()
    assert len(asked) == 7
    keys[:] = [KEY]
    wait(300)
    assert push().states == {"removed": 20}


@pytest.mark.parametrize("rubbish", [ValueError(KEY), KEY.encode(), f"{KEY}ä"])
def test_is_in_no_report_of_an_error(keys, rubbish):
    """It shows the variables of each frame."""
    keys, _asked = keys
    keys[:] = [rubbish]

    with pytest.raises(AuthenticationFailed) as caught:
        api_key_of(shops()["default"])

    ours = [
        frame.f_locals
        for frame, _line in traceback.walk_tb(caught.tb)
        if frame.f_globals["__name__"].startswith("komfortkasse_django")
    ]
    assert ours
    assert KEY not in repr(ours)
    assert KEY not in str(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
