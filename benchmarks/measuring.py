"""Repeats measurements, compares them, and writes the results as cells of a table."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping


class Times:
    """What each variant took in each round, in seconds."""

    def __init__(self, rounds: list[dict[str, float]]) -> None:
        self._rounds = rounds

    def median(self, variant: str) -> float:
        """Return the median of a variant's times, in seconds."""
        return statistics.median(times[variant] for times in self._rounds)

    def ratio(self, variant: str, reference: str) -> float:
        """Return the median of the ratios of the two in the same round.

        In the same round, because the speed of a machine changes over time.
        """
        return statistics.median(times[variant] / times[reference] for times in self._rounds)

    def difference(self, variant: str, reference: str) -> float:
        """Return the median of the differences of the two in the same round, in seconds."""
        return statistics.median(times[variant] - times[reference] for times in self._rounds)

    def cell(self, variant: str, reference: str, *, at_most: float | None = None) -> str:
        """Return a cell with the ratio of the two and the time of the variant."""
        beside = seconds(self.median(variant))
        return cell(self.ratio(variant, reference), at_most=at_most, beside=beside)

    def rate_cell(
        self, variant: str, reference: str, count: int, *, at_least: float | None = None
    ) -> str:
        """Return a cell with the ratio of their rates and the rate of the variant."""
        # A rate is the inverse of a time.
        ratio = self.ratio(reference, variant)
        return cell(ratio, at_least=at_least, beside=f"{count / self.median(variant):,.0f}/s")


def interleave(
    variants: Mapping[str, Callable[[], float]], *, rounds: int, warm_up: int = 1
) -> Times:
    """Run each variant once per round; each returns the seconds it took.

    Every other round goes backwards, so the order of the variants does not matter. Warm-up rounds
    do not count.
    """
    order = list(variants)
    measured = []
    for number in range(warm_up + rounds):
        times = {name: variants[name]() for name in order}
        order.reverse()
        if number >= warm_up:
            measured.append(times)
    return Times(measured)


def timed(act: Callable[[], object]) -> float:
    """Return the seconds that ``act`` takes, after collecting old garbage."""
    gc.collect()
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def cell(
    value: float,
    unit: str = "",
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    beside: str = "",
) -> str:
    """Return a figure with its target and a remark, in bold if it misses the target."""
    text = f"{_number(value)}{unit}"
    missed = (at_most is not None and value > at_most) or (
        at_least is not None and value < at_least
    )
    if missed:
        text = f"**{text}**"
    if at_most is not None:
        text += f" (≤ {at_most:g})"
    if at_least is not None:
        text += f" (≥ {at_least:g})"
    return f"{text}, {beside}" if beside else text


def seconds(value: float) -> str:
    """Return a time as text, in a suitable unit."""
    return f"{_number(value)} s" if value >= 1 else f"{_number(value * 1000)} ms"


def _number(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"
