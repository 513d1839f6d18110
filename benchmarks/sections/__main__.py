"""``python -m benchmarks.sections NAME [--quick]``: measure one and print its cells as JSON.

The database is the one of DATABASE_URL, and all orders and mirror rows in it are lost.
"""

import json
import sys
import warnings
from importlib import import_module

import django

warnings.simplefilter("error")
django.setup()
section = import_module(f"benchmarks.sections.{sys.argv[1]}")
print(json.dumps(section.measure(quick="--quick" in sys.argv)))
