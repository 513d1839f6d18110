"""``python -m benchmarks``: measure on each database, each section in its own process."""

import argparse
import json
import os
import platform
import subprocess
import sys
import textwrap
import time
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from importlib import import_module

import django
from django.db import OperationalError

from benchmarks import databases
from benchmarks.sections import NAMES
from benchmarks.tables import table

# The start-up opens no database, so it is the same on all of them.
_WITHOUT_DATABASE = {"startup"}


def main() -> None:
    """Print a table for each section."""
    options = _options()
    django.setup()
    with ExitStack() as stack:
        urls = [stack.enter_context(database) for database in _databases()]
        for url in urls:
            _run(url, "django", "migrate", "--run-syncdb", "--verbosity=0")
        columns = dict(databases.describe(url) for url in urls)
        print(_machine(columns), flush=True)
        if options.quick:
            print("Measured too little for the figures to mean anything.\n")
        for name in options.sections or NAMES:
            used = urls[:1] if name in _WITHOUT_DATABASE else urls
            cells = [_measure(name, url, quick=options.quick) for url in used]
            print(_section(name, list(columns), cells), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmark",
        description="Print what the app costs, as tables of reStructuredText.",
        epilog="The servers are those of POSTGRES_URL and MARIADB_URL; an empty one is left out.",
    )
    parser.add_argument("--quick", action="store_true", help="see that it works, measure little")
    parser.add_argument("sections", metavar="SECTION", nargs="*", help=f"of: {', '.join(NAMES)}")
    options = parser.parse_args()
    if unknown := set(options.sections) - set(NAMES):
        parser.error(f"there is no section {', '.join(sorted(unknown))}")
    return options


def _databases() -> list[AbstractContextManager[str]]:
    found: list[AbstractContextManager[str]] = [databases.sqlite()]
    if "POSTGRES_URL" in os.environ or _is_there(databases.DEFAULT_POSTGRES_URL):
        urls = [os.environ.get("POSTGRES_URL", databases.DEFAULT_POSTGRES_URL)]
    else:
        urls = []
    urls.append(os.environ.get("MARIADB_URL", ""))
    return found + [databases.on_server(url) for url in urls if url]


def _is_there(url: str) -> bool:
    try:
        databases.describe(url)
    except OperationalError as error:
        print(f"PostgreSQL is left out: {error}", file=sys.stderr)
        return False
    return True


def _machine(columns: dict[str, str]) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {version}" for name, version in columns.items())
    text = (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} with Python {platform.python_version()},"
        f" Django {django.get_version()}, {versions}; {os.cpu_count()} cores,"
        f" {memory:.0f} GiB of memory."
    )
    return textwrap.fill(text, 100) + "\n"


def _measure(name: str, url: str, *, quick: bool) -> dict[str, str]:
    started = time.monotonic()
    output = _run(url, "benchmarks.sections", name, *(["--quick"] if quick else []))
    vendor = url.partition(":")[0]
    print(f"{time.monotonic() - started:4.0f} s  {name} ({vendor})", file=sys.stderr)
    cells: dict[str, str] = json.loads(output)
    return cells


def _run(url: str, module: str, *arguments: str) -> str:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
        "DATABASE_URL": url,
    }
    result = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        check=True,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    return result.stdout


def _section(name: str, columns: list[str], cells: list[dict[str, str]]) -> str:
    title = import_module(f"benchmarks.sections.{name}").TITLE
    header = [title, *columns] if len(cells) > 1 else [title, ""]
    return table(header, [[row, *(each[row] for each in cells)] for row in cells[0]]) + "\n"


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    main()
