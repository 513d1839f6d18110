"""``python -m benchmarks.sections NAME [--quick]``: measure a section, print its cells as JSON.

It uses the database of DATABASE_URL and deletes all orders and mirror rows there.
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
