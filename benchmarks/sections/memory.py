"""Whether draining a large backlog takes more memory than draining a small one."""

import os
import subprocess
import sys

from benchmarks import rows
from benchmarks.measuring import cell
from benchmarks.server import serving

TITLE = "Memory"


def measure(*, quick: bool) -> dict[str, str]:
    small, large = (500, 2000) if quick else (1000, 50_000)
    with serving("0") as url:
        less, more = _peak(url, small), _peak(url, large)
    return {
        f"draining {large:,} removals instead of {small:,}": cell(
            more / less, beside=f"{less:.1f} MiB before"
        ),
        "MiB more": cell(more - less, " MiB", at_most=8),
    }


def _peak(url: str, count: int) -> float:
    """Return the peak memory, in MiB, of a new process that drains ``count`` removals."""
    rows.empty_tables()
    rows.make_due(count)
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.command", "komfortkasse_push"],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "API_URL": url},
    )
    return float(result.stdout)
