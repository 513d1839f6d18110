"""How many web requests wait for a Komfortkasse that is down, and how long the others take."""

import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from django.db import connection
from django.utils import timezone

from benchmarks import rows
from benchmarks.measuring import cell
from benchmarks.sections.slow_service import answer
from benchmarks.server import serving
from komfortkasse_django.models import ShopState

TITLE = "Web requests while Komfortkasse is down"

_BUDGET = 1.0
_MOST = 50  # milliseconds of a request that does not wait


def measure(*, quick: bool) -> dict[str, str]:
    count = 3 if quick else 30
    with serving("hang") as url, rows.shop(API_URL=url, REQUEST_BUDGET=_BUDGET):
        rows.empty_tables()
        first = [_delete_one() for _ in range(10)]
        waited = [seconds for seconds in first if seconds > _BUDGET / 2]
        paused = [_delete_one() for _ in range(count)]
        probe, beside = _after_the_pause(count)
    return {
        "of the first ten, how many wait": cell(len(waited), at_most=3),
        "seconds over its budget, of the longest": cell(max(waited) - _BUDGET, " s", at_most=0.3),
        "during the pause": _milliseconds(paused),
        "after the pause, the one that tries, seconds over its budget": cell(
            probe - _BUDGET, " s", at_most=0.3
        ),
        "the others meanwhile": _milliseconds(beside),
    }


def _after_the_pause(count: int) -> tuple[float, list[float]]:
    """Return how long the request takes that tries, and those that come while it does."""
    if not ShopState.objects.paused().update(paused_until=timezone.now()):
        raise RuntimeError("there was no pause")

    def probe() -> float:
        try:
            return _delete_one()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as executor:
        first = executor.submit(probe)
        while not ShopState.objects.paused().exists():  # until it has claimed the probe
            time.sleep(0.01)
        beside = []
        while len(beside) < count and not first.done():
            beside.append(_delete_one())
        return first.result(), beside


def _delete_one() -> float:
    rows.make_orders(1)
    return answer("/together/")


def _milliseconds(times: list[float]) -> str:
    longest = f"{max(times) * 1000:.0f} ms the longest of {len(times)}"
    return cell(median(times) * 1000, " ms", at_most=_MOST, beside=longest)
