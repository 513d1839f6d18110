"""The tests' settings for processes of their own, which the environment completes."""

import functools
import json
import os

from komfortkasse_django.signals import order_removed
from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, KOMFORTKASSE

DATABASES["default"] = json.loads(os.environ["DATABASE"])
if mode := os.environ.get("TRANSACTION_MODE"):
    DATABASES["default"]["OPTIONS"] = {"transaction_mode": mode}
if "PERSISTENT" in os.environ:
    DATABASES["default"]["CONN_MAX_AGE"] = None

KOMFORTKASSE["default"] |= {
    "API_URL": os.environ["API_URL"],
    **json.loads(os.environ.get("OPTIONS", "{}")),
}


def fail(**kwargs: object) -> None:
    """A receiver of the shop that is broken."""
    raise ZeroDivisionError


match os.environ.get("RECEIVER"):
    case "function":
        order_removed.connect(fail)
    case "partial":
        order_removed.connect(functools.partial(fail), weak=False)

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    # Not for ours, which is still written.
    "loggers": {"django": {"handlers": ["stderr"]}},
}
