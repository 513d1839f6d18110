"""``python -m benchmarks.drain``: push everything that is due, and print the peak memory in MiB."""

import re
import resource
import sys
from pathlib import Path

import django


def _peak() -> float:
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    # Not ru_maxrss: on Linux it starts with the value of the parent process.
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 2**10


if __name__ == "__main__":
    django.setup()
    from komfortkasse_django.queue import pushing

    pushing.push()
    print(_peak())
