"""How long a web request takes while Komfortkasse never finishes its answer."""

from collections.abc import Callable
from statistics import median

from django.core.handlers.wsgi import WSGIHandler
from django.test import RequestFactory

from benchmarks import rows
from benchmarks.measuring import cell, seconds, timed
from benchmarks.server import serving

TITLE = "Web request, seconds over its budget"

_BEHAVIOURS = {
    "no answer": "hang",
    "headers that drip": "drip-headers",
    "a body that drips": "drip-body",
}
_PATHS = {
    "1 order": ("/together/", 1),
    "100 orders together": ("/together/", 100),
    "10 orders one by one": ("/one-by-one/", 10),
}


def measure(*, quick: bool) -> dict[str, str]:
    budget = 0.1 if quick else 1.0
    cells = {}
    for title, behaviour in _BEHAVIOURS.items():
        with serving(behaviour) as url:
            for what, (path, count) in _PATHS.items():
                over, whole = _over_budget(budget, path, count, url, rounds=1 if quick else 3)
                cells[f"{what}, {title}"] = cell(over, at_most=0.3, beside=f"of {seconds(whole)}")
    return cells


def _over_budget(
    budget: float, path: str, count: int, url: str, *, rounds: int
) -> tuple[float, float]:
    """Return how much longer than its budget a request takes, and how long, in seconds.

    The time of the same deletion without sending is subtracted.
    """
    over, whole = [], []
    for _ in range(rounds):
        without = _request(path, count, url, budget=0)
        whole.append(_request(path, count, url, budget=budget))
        over.append(whole[-1] - without - budget)
    return median(over), median(whole)


def _request(path: str, count: int, url: str, *, budget: float) -> float:
    handler = WSGIHandler()
    environ = RequestFactory().post(path).environ
    rows.empty_tables()
    rows.make_orders(count)

    def answer() -> None:
        handler(environ, _start_response).close()

    with rows.shop(API_URL=url, REQUEST_BUDGET=budget):
        return timed(answer)


def _start_response(*arguments: object) -> Callable[[bytes], object]:
    return lambda data: None
