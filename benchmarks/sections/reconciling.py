"""How long it takes to look at all orders for those that ended without a signal, and how much."""

import json
import os
import subprocess
import sys
import time

from benchmarks import rows
from benchmarks.measuring import cell
from benchmarks.shop.models import Order
from komfortkasse_django.models import RemovedOrder

TITLE = "komfortkasse_reconcile"


def measure(*, quick: bool) -> dict[str, str]:
    count = 10_000 if quick else 1_000_000
    rows.empty_tables()
    rows.make_orders(count)
    gone = Order.objects.filter(number__endswith="00").update(total=0)
    found, finding = _reconcile()
    if RemovedOrder.objects.count() != gone:
        raise RuntimeError("not every order was found")
    nothing, looking = _reconcile()
    cells = {}
    for what, seconds, peak in (
        (f"{count:,} orders, {gone:,} ended", found, finding),
        ("the same again, nothing to do", nothing, looking),
    ):
        cells[what] = cell(seconds, " s", at_most=60)
        cells[f"{what}: memory"] = cell(peak, " MiB", at_most=200)
    return cells


def _reconcile() -> tuple[float, float]:
    """Return the seconds and the peak of memory, in MiB, of a process of its own."""
    started = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.command", "komfortkasse_reconcile"],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "ORDER_GONE": json.dumps({"total": 0})},
    )
    return time.monotonic() - started, float(result.stdout)
