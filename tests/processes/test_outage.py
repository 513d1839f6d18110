"""An outage costs a handful of requests per run, and then the backlog drains in due order."""

from datetime import timedelta

from django.utils import timezone

from komfortkasse_django.models import RemovedOrder, ShopState
from tests.support.mirror import due, numbers, states

ROWS = 10_000


def calls_failed() -> int:
    state = ShopState.objects.first()
    return state.failures if state else 0


def test_outage_and_its_end(komfortkasse, push, environment):
    due(*numbers(ROWS))
    url, environment["API_URL"] = environment["API_URL"], "http://127.0.0.1:9/api/v2"

    hit = RemovedOrder.objects.filter(attempts__gt=0)
    # After three failures, and each of the four calls in flight may be one more, one call asks
    # whether only these orders fail. After a pause, one asks whether it is over.
    for least, most in ((4, 8), (0, 0), (1, 1), (0, 0), (1, 1)):
        before = calls_failed()
        if most == 1:
            ShopState.objects.update(paused_until=timezone.now())
        run = push()
        assert run.ended() == 1, run.log
        assert "is paused until" in run.log
        assert "no connection" in run.log
        assert least <= calls_failed() - before <= most
        assert ShopState.objects.get().is_paused()
    tried = set(hit.values_list("order_number", flat=True))
    assert 3 <= len(tried) <= 7
    waits = RemovedOrder.objects.filter(attempts=1).values_list("next_attempt_at", flat=True)
    assert len(set(waits)) == len(waits), "they would all come back in one moment"

    # Or they would be due before a busy machine is through with the others.
    hit.update(next_attempt_at=timezone.now() + timedelta(hours=1))
    environment["API_URL"] = url
    ShopState.objects.update(paused_until=timezone.now())
    run = push()
    assert run.ended(120) == 0, run.log

    left = [number for number in numbers(ROWS) if number not in tried]
    assert sorted(komfortkasse.numbers, key=int) == left
    displaced = sorted(
        abs(index - left.index(number)) for index, number in enumerate(komfortkasse.numbers[:2000])
    )
    # Except for a few calls that a busy machine has delayed.
    assert displaced[-10] < 128, "only what was claimed together may overtake each other"
    assert states() == {"removed": ROWS - len(tried), "pending": len(tried)}
