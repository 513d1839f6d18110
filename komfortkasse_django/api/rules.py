"""What an API key, an API URL, a deadline and an order number must be.

The client refuses everything else, and the system checks report it earlier. The functions return
or raise sentences for people, which never show the key or the URL.
"""

import re
from contextlib import suppress
from typing import TypeGuard
from urllib.parse import urlsplit

from komfortkasse_django.conf import DEFAULT_API_URL

MAX_DEADLINE = 86_400.0  # seconds
MAX_NUMBER_LENGTH = 255

# PostgreSQL cannot store NUL, and no database can store half of a surrogate pair. JSON can contain
# both as escapes.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def problem_of_key(api_key: object) -> str:
    """Return why this cannot be an API key, or an empty string."""
    if not isinstance(api_key, str) or not re.fullmatch("[!-~]+", api_key):
        return "api_key must be the API key, in printable ASCII characters without spaces"
    return ""


def problem_of_url(api_url: object) -> str:
    """Return why the API's paths cannot be added to this, or an empty string."""
    with suppress(ValueError):
        if isinstance(api_url, str) and not re.search(r"[^!-~]|[\\?#@]", api_url):
            parts = urlsplit(api_url)
            # Reading an invalid port raises ValueError.
            if parts.scheme in {"https", "http"} and parts.hostname and parts.port != 0:
                return ""
    return (
        "api_url must be an http(s) URL in ASCII without user, query and fragment,"
        f" like {DEFAULT_API_URL}"
    )


def problem_of_deadline(deadline: object) -> str:
    """Return why this cannot be a deadline in seconds, or an empty string."""
    if is_seconds(deadline) and deadline > 0:
        return ""
    return f"deadline must be a number of seconds above 0, at most {MAX_DEADLINE:.0f}"


def is_seconds(value: object) -> TypeGuard[float]:
    """Whether this is a time in seconds, from 0 to a day."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= MAX_DEADLINE


def is_storable(text: str) -> bool:
    """Whether every supported database can store this text."""
    return not _UNSTORABLE.search(text)


def storable(text: str) -> str:
    """Return ``text`` with question marks for what not every supported database can store."""
    return _UNSTORABLE.sub("?", text)


def check_number(number: str) -> None:
    """Raise ``ValueError`` for an order number that cannot be stored or sent."""
    if not number:
        raise ValueError("The order number is empty.")
    if len(number) > MAX_NUMBER_LENGTH:
        raise ValueError(
            f"The order number {number[:32]!r}... has {len(number)} characters;"
            f" at most {MAX_NUMBER_LENGTH} can be sent to Komfortkasse."
        )
    if not is_storable(number):
        raise ValueError(
            f"The order number {number!r} contains a character that cannot be stored;"
            " write one without NUL characters and lone surrogates."
        )
