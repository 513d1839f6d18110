"""What the app adds to the start of a process."""

import os
import subprocess
import sys
from functools import partial

from benchmarks.measuring import cell, interleave

TITLE = "Start-up"

_TIMED = (
    "import gc, time; gc.disable()"
    "; before = time.perf_counter(); {}; print(time.perf_counter() - before)"
)
_SETUP = _TIMED.format("import django; django.setup()")
_IMPORT = _TIMED.format("import requests")


def measure(*, quick: bool) -> dict[str, str]:
    times = interleave(
        {
            "without": partial(_run, _SETUP, WITH_KOMFORTKASSE="0"),
            "with": partial(_run, _SETUP, WITH_KOMFORTKASSE="1"),
            "requests": partial(_run, _IMPORT),
        },
        rounds=3 if quick else 21,
    )
    return {
        "django.setup() without this app": times.cell("without", "without"),
        "django.setup() with it": times.cell("with", "without"),
        "milliseconds more": cell(times.difference("with", "without") * 1000, " ms", at_most=20),
        "import requests, not imported until a call is made": times.cell("requests", "without"),
    }


def _run(code: str, **environment: str) -> float:
    result = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        stdout=subprocess.PIPE,
        # Compile it once, as pip does when it installs.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **environment},
    )
    return float(result.stdout)
