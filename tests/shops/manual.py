"""What the settings of all shops take from the manual, and what they change of it."""

import os
from collections.abc import Mapping
from typing import Any


def at_loopback(komfortkasse: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The manual's ``KOMFORTKASSE``, with the address of the tests' Komfortkasse."""
    changes = {
        "API_URL": os.environ["KOMFORTKASSE_API_URL"],
        "REQUEST_BUDGET": 60,  # a busy machine must not change what the tests see
    }
    return {alias: {**options, **changes} for alias, options in komfortkasse.items()}
