"""``python -m benchmarks.command [--wait] NAME``: run a command, print the peak of memory in MiB.

``--wait`` says "ready" before, and waits for a line.
"""

import io
import re
import resource
import sys
from pathlib import Path

import django
from django.core.management import call_command


def _peak() -> float:
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    # Linux's ru_maxrss of a process starts with that of its parent.
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 2**10


if __name__ == "__main__":
    *options, name = sys.argv[1:]
    django.setup()
    if options:
        print("ready", flush=True)
        sys.stdin.readline()
    call_command(name, stdout=io.StringIO())
    print(_peak())
