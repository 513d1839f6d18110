"""What an answer means: a removed order, or an error. See ``docs/reference/answers.rst``."""

import dataclasses
import re
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote

from django.utils.http import parse_http_date_safe

from komfortkasse_django.api.reading import read_object, read_order
from komfortkasse_django.exceptions import (
    AuthenticationFailed,
    InvalidRequest,
    KomfortkasseError,
    OrderNotFound,
    ServiceUnavailable,
    UnexpectedAnswer,
)
from komfortkasse_django.schema import Order

MAX_ERROR_LENGTH = 500

# Words that HTTP and web frameworks use for a path that does not exist. None is about an order.
_NOT_FOUND = {
    *("404", "not", "found", "notfound", "http", "status", "code", "error", "exception"),
    *("page", "path", "route", "endpoint", "url", "uri"),
}

_Redact = Callable[[str, str], str]  # takes the replacement and the text


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``body`` is an error if it could not be read completely."""

    status: int
    retry_after: str
    body: bytes | KomfortkasseError


def meaning(answer: Answer, number: str, redact: _Redact) -> Order | KomfortkasseError:
    """Return the order that an answer confirms as removed, or the error that it means."""
    status = answer.status
    error = _error_text(answer.body, redact)
    kind: type[KomfortkasseError] = UnexpectedAnswer
    if status in {401, 403}:
        kind, text = AuthenticationFailed, "Komfortkasse does not accept the API key"
    elif status in {408, 425, 429} or 500 <= status <= 599:
        kind, text = ServiceUnavailable, "Komfortkasse is temporarily unavailable"
    elif 300 <= status <= 399:
        text = "The request was redirected, which is not followed"
    elif isinstance(answer.body, KomfortkasseError):
        return answer.body
    elif status == 200:
        return _confirmation(answer.body, number)
    elif status == 404 and not _is_reason_phrase(error):
        kind, text = OrderNotFound, "Komfortkasse has no such order"
    elif status == 400 and error:
        kind, text = InvalidRequest, "Komfortkasse rejects the request"
    else:
        text = "The answer is not one that Komfortkasse's API gives"
    detail = f"HTTP {status}" + (f": {error}" if error else "")
    return kind(f"{text} ({detail})", status=status, retry_after=_seconds(answer.retry_after))


def _is_reason_phrase(error: str) -> bool:
    """Whether the error of a 404 only says "Not Found", in any spelling."""
    text = re.sub(r"(?i)\bHTTP/[\d.]+", "", error)
    # NOT_FOUND, NotFound and HTTP404Error are several words each.
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+", text)
    return _NOT_FOUND.issuperset(map(str.casefold, words))


def _confirmation(body: bytes, number: str) -> Order | UnexpectedAnswer:
    """Return the order if it is the one that was asked for. Only its number decides."""
    problem = "it is about another order"
    try:
        order = read_order(body)
    except ValueError as error:
        problem = str(error)
    else:
        if order.number.strip().casefold() == number.strip().casefold():
            return order
    return UnexpectedAnswer(
        f"The answer does not confirm the removal (HTTP 200): {problem}", status=200
    )


def _error_text(body: bytes | KomfortkasseError, redact: _Redact) -> str:
    """Return the error text that the contract defines for 4xx, or an empty string."""
    content: dict[str, object] = {}
    if isinstance(body, bytes):
        with suppress(ValueError):
            content = read_object(body)
    error = content.get("error")
    return _harmless(error, redact)[:MAX_ERROR_LENGTH] if isinstance(error, str) else ""


def _harmless(text: str, redact: _Redact) -> str:
    """Return a server's text on one line, without control characters or the API key."""
    text = redact("***", text)
    # Replaced by a blank, not deleted: otherwise two parts of the key could become the whole key.
    text = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(text.split())


def redactor(api_key: str) -> _Redact:
    """Return a function that replaces the key in a text, and whose ``repr`` does not show it."""
    forms = "|".join(re.escape(form) for form in (api_key, quote(api_key, safe="")))
    return re.compile(forms, re.IGNORECASE).sub


def _seconds(retry_after: str) -> float | None:
    """Return ``Retry-After`` in seconds, or None. It may hold a date (RFC 9110, 10.2.3)."""
    text = retry_after.strip()
    if re.fullmatch("[0-9]{1,12}", text):
        return float(text)
    date = parse_http_date_safe(text)
    return None if date is None else max(0.0, date - time.time())
