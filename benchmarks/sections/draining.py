"""How fast a backlog is sent, compared with a simple loop and with what the latency allows."""

import http.client
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import requests

from benchmarks import rows
from benchmarks.measuring import interleave, timed
from benchmarks.server import serving
from komfortkasse_django.queue import pushing

TITLE = "Draining a backlog"

_HEADERS = {"Accept": "application/json", "X-Komfortkasse-API-Key": "key-of-the-benchmarks"}

_AT_ONCE, _AFTER_50_MS = 0.7, 0.95


def measure(*, quick: bool) -> dict[str, str]:
    cells = _at_once(count=200 if quick else 2000, rounds=1 if quick else 5)
    for latency, concurrency, at_least, count in (
        (0.05, 4, _AFTER_50_MS, 40 if quick else 400),
        (0.02, 16, None, 160 if quick else 2400),
    ):
        cells |= _against_latency(latency, concurrency, at_least, count, rounds=1 if quick else 3)
    return cells


def _at_once(*, count: int, rounds: int) -> dict[str, str]:
    with serving("0") as url:
        times = interleave(
            {
                "requests": lambda: timed(lambda: _loop_with_requests(url, count)),
                "http.client": lambda: timed(lambda: _loop_with_http_client(url, count)),
                "four": lambda: _drain(url, count, concurrency=4),
                "one": lambda: _drain(url, count, concurrency=1),
            },
            rounds=rounds,
        )

    def compare(variant: str, at_least: float | None = None) -> str:
        return times.rate_cell(variant, "requests", count, at_least=at_least)

    return {
        "answers at once: a loop over requests.Session": compare("requests"),
        "answers at once: a loop over http.client": compare("http.client"),
        "answers at once, CONCURRENCY 4": compare("four", _AT_ONCE),
        "answers at once, CONCURRENCY 1": compare("one"),
    }


def _against_latency(
    latency: float, concurrency: int, at_least: float | None, count: int, *, rounds: int
) -> dict[str, str]:
    possible = count * latency / concurrency
    start = 32 * concurrency  # removals, until it runs evenly

    def steady(drain: Callable[[int], float]) -> float:
        return drain(start + count) - drain(start)

    with serving(str(latency)) as url:
        times = interleave(
            {
                "possible": lambda: possible,
                "requests": lambda: steady(
                    lambda count: timed(lambda: _pool_with_requests(url, count, concurrency))
                ),
                "ours": lambda: steady(lambda count: _drain(url, count, concurrency=concurrency)),
            },
            rounds=rounds,
            warm_up=0,
        )

    after = f"answers after {latency * 1000:.0f} ms"
    return {
        f"{after}: {concurrency} threads with a requests.Session": times.rate_cell(
            "requests", "possible", count
        ),
        f"{after}, CONCURRENCY {concurrency}": times.rate_cell(
            "ours", "possible", count, at_least=at_least
        ),
    }


def _drain(url: str, count: int, *, concurrency: int) -> float:
    rows.empty_tables()
    rows.make_due(count)
    results = []
    with rows.shop(API_URL=url, CONCURRENCY=concurrency):
        seconds = timed(lambda: results.append(pushing.push()))
    if results[0].states != {"removed": count}:
        raise RuntimeError(f"not everything was removed: {results[0]}")
    return seconds


def _loop_with_requests(url: str, count: int) -> None:
    with requests.Session() as session:
        for number in range(count):
            response = session.post(f"{url}/order/remove/{number}", headers=_HEADERS, timeout=10)
            response.json()


def _pool_with_requests(url: str, count: int, threads: int) -> None:
    local = threading.local()

    def start() -> None:
        local.session = requests.Session()

    def call(number: int) -> None:
        order = f"{url}/order/remove/{number}"
        local.session.post(order, headers=_HEADERS, timeout=10).json()

    with ThreadPoolExecutor(threads, initializer=start) as executor:
        for _ in executor.map(call, range(count)):
            pass


def _loop_with_http_client(url: str, count: int) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    for number in range(count):
        connection.request("POST", f"{parts.path}/order/remove/{number}", headers=_HEADERS)
        json.loads(connection.getresponse().read())
    connection.close()
