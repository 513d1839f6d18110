"""``python -m benchmarks.drain``: push all that is due and print the peak of memory, in MiB.

``--wait`` says "ready" before, and waits for a line.
"""

import re
import resource
import sys
from pathlib import Path

import django


def _peak() -> float:
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    # Linux's ru_maxrss of a process starts with that of its parent.
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 2**10


if __name__ == "__main__":
    django.setup()
    from komfortkasse_django.queue import pushing

    if "--wait" in sys.argv:
        print("ready", flush=True)
        sys.stdin.readline()
    pushing.push()
    print(_peak())
