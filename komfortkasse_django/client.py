"""The one call to Komfortkasse: ``POST /order/remove/{orderNumber}`` of its API v2."""

import email.utils
import math
import re
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from komfortkasse_django import __version__
from komfortkasse_django.conf import DEFAULT_API_URL, DEFAULT_DEADLINE, MAX_DEADLINE
from komfortkasse_django.exceptions import (
    AuthenticationFailed,
    InvalidRequest,
    KomfortkasseError,
    OrderNotFound,
    ServiceUnavailable,
    UnexpectedAnswer,
)
from komfortkasse_django.schema import Order, read_object

if TYPE_CHECKING:
    from komfortkasse_django.api.exchange import Answer, Session

_Redact = Callable[[str, str], str]  # of a replacement and the text

MAX_NUMBER_LENGTH = 255
MAX_ERROR_LENGTH = 500


class Client:
    """A shop's access to Komfortkasse; usable by several threads at once.

    ``api_key`` is the key of one Komfortkasse shop, ``deadline`` the seconds
    that one call may take, all in all. ValueError says which of them is
    unusable and what to write instead.

    Proxies and CA bundles of the environment (``HTTPS_PROXY``,
    ``REQUESTS_CA_BUNDLE``) are used, ``.netrc`` is not.
    """

    def __init__(
        self,
        *,
        api_key: str,
        api_url: str = DEFAULT_API_URL,
        deadline: float = DEFAULT_DEADLINE,
    ) -> None:
        problem = (
            _problem_of_key(api_key) or _problem_of_url(api_url) or _problem_of_deadline(deadline)
        )
        if problem:
            # Reports of errors show each frame's variables.
            del self, api_key
            raise ValueError(problem)
        self._headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"komfortkasse_django/{__version__}",
            "X-Komfortkasse-API-Key": api_key,
        }
        self._redact = _redactor(api_key)
        self._url = api_url.rstrip("/")
        self._deadline = deadline
        self._local = threading.local()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._url}>"

    def remove_order(
        self,
        number: str,
        *,
        include_postings: bool = False,
        include_collection_history: bool = False,
        include_payment_reminders: bool = False,
        include_refunds: bool = False,
        deadline: float | None = None,
    ) -> Order:
        """Mark an order as removed and return it as Komfortkasse knows it.

        The lists that are not included are None in the answer. ``deadline`` is
        the seconds for this call where they are fewer than the client's.
        KomfortkasseError if Komfortkasse did not confirm the removal; ValueError
        or TypeError if the number or deadline is unusable. Removing an order
        twice is harmless.
        """
        url = self._order_url(
            number,
            includePostings=include_postings,
            includeCollectionHistory=include_collection_history,
            includePaymentReminders=include_payment_reminders,
            includeRefunds=include_refunds,
        )
        seconds = self._deadline
        if deadline is not None:
            if problem := _problem_of_deadline(deadline):
                raise ValueError(problem)
            seconds = min(seconds, deadline)
        result = self._exchange(url, number, seconds)
        if isinstance(result, KomfortkasseError):
            # Reports of errors show each frame's variables and what hangs on them.
            del self
            raise result
        return result

    def _order_url(self, number: str, **flags: bool) -> str:
        # A segment of dots alone would be taken for a step in the path.
        segment = quote(_checked_number(number), safe="")
        if segment in {".", ".."}:
            segment = segment.replace(".", "%2E")
        query = urlencode({name: "true" for name, value in flags.items() if value})
        return f"{self._url}/order/remove/{segment}" + (f"?{query}" if query else "")

    def _exchange(self, url: str, number: str, seconds: float) -> Order | KomfortkasseError:
        """Return errors, so that no frame in their traceback holds a request or a body."""
        try:
            session = self._session()
            answer = session.post(url, seconds=seconds)
        except Exception as error:  # noqa: BLE001 - raised again
            # One that nobody foresaw, such as a thread that cannot be started. The frames that it
            # came through hold the key, and reports of errors show each frame's variables.
            error.add_note("".join(traceback.format_tb(error.__traceback__)))
            raise error.with_traceback(None) from None
        if isinstance(answer, KomfortkasseError):
            return answer
        result = _meaning(answer, number, self._redact)
        if isinstance(result, UnexpectedAnswer):
            # What broke the contract once may have left more on the connection.
            session.close()
        return result

    def _session(self) -> "Session":
        if not hasattr(self._local, "session"):
            # It imports requests, which takes 100 ms: not before a call is made.
            from komfortkasse_django.api.exchange import Session

            self._local.session = Session(self._url, self._headers)
        session: Session = self._local.session
        return session


def _meaning(answer: "Answer", number: str, redact: _Redact) -> Order | KomfortkasseError:
    """Return what an answer to the removal of an order means."""
    status = answer.status
    error = _error_text(answer.body, redact)
    detail = f"HTTP {status}" + (f": {error}" if error else "")
    if status in {401, 403}:
        return AuthenticationFailed(
            f"Komfortkasse does not accept the API key ({detail})", status=status
        )
    if status in {408, 425, 429} or 500 <= status <= 599:
        return ServiceUnavailable(
            f"Komfortkasse is temporarily unavailable ({detail})",
            status=status,
            retry_after=_seconds(answer.retry_after),
        )
    if 300 <= status <= 399:
        target = _origin(answer.location, redact)
        return UnexpectedAnswer(
            f"The request was redirected{target}, which is not followed ({detail})", status=status
        )
    if isinstance(answer.body, KomfortkasseError):
        return answer.body
    if status == 200:
        return _confirmation(answer.body, number)
    return _refusal(status, error, detail)


def _refusal(status: int, error: str, detail: str) -> KomfortkasseError:
    if error and status == 404:
        return OrderNotFound(f"Komfortkasse has no such order ({detail})", status=status)
    if error and 400 <= status <= 499:
        return InvalidRequest(f"Komfortkasse rejects the request ({detail})", status=status)
    return UnexpectedAnswer(
        f"The answer is none that Komfortkasse's API gives ({detail})", status=status
    )


def _confirmation(body: bytes, number: str) -> Order | UnexpectedAnswer:
    problem = "it is about another order"
    try:
        order = Order.from_json(body)
    except ValueError as error:
        problem = str(error)
    else:
        if order.number == number:
            return order
    return UnexpectedAnswer(
        f"The answer does not confirm the removal (HTTP 200): {problem}", status=200
    )


def _error_text(body: bytes | KomfortkasseError, redact: _Redact) -> str:
    """Return the error that the contract promises with 4xx, empty if there is none."""
    content: dict[str, object] = {}
    if isinstance(body, bytes):
        with suppress(ValueError):
            content = read_object(body)
    error = content.get("error")
    return _harmless(error, redact)[:MAX_ERROR_LENGTH] if isinstance(error, str) else ""


def _origin(location: str, redact: _Redact) -> str:
    """Return scheme and host of a redirect's target, for a sentence."""
    with suppress(ValueError):
        target = urlsplit(location)
        if target.scheme and target.hostname:
            return " to " + _harmless(f"{target.scheme}://{target.hostname}", redact)
    return ""


def _harmless(text: str, redact: _Redact) -> str:
    """Return a server's text on one line, without control characters or the API key."""
    text = redact("***", text)
    text = "".join(character if character.isprintable() else " " for character in text)
    # What is cleaned away may have kept the key's parts asunder.
    return redact("***", " ".join(text.split()))


def _redactor(api_key: str) -> _Redact:
    """Return what replaces the key in a text. Unlike the key, it may be seen in a traceback."""
    # A host name comes back in lower case, a path percent-encoded.
    forms = "|".join(re.escape(form) for form in (api_key, quote(api_key, safe="")))
    return re.compile(forms, re.IGNORECASE).sub


def _seconds(retry_after: str) -> float | None:
    """Read ``Retry-After``, seconds or a date (RFC 9110, 10.2.3); None if it is neither."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text)
        return seconds if math.isfinite(seconds) else None
    with suppress(ValueError, OverflowError):
        date = email.utils.parsedate_to_datetime(text)
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        return max(0.0, (date - datetime.now(UTC)).total_seconds())
    return None


def _problem_of_key(api_key: object) -> str:
    if not isinstance(api_key, str) or not api_key:
        return "api_key must be the shop's API key, as a non-empty str"
    if api_key != api_key.strip():
        return "api_key must be the API key without the whitespace around it"
    if not api_key.isprintable() or max(api_key) > "\xff":
        return "api_key must be the API key without control or non-Latin-1 characters"
    return ""


def _problem_of_url(api_url: object) -> str:
    with suppress(ValueError):
        if isinstance(api_url, str) and not re.search(r"[\s\x00-\x1f\x7f\\?#@]", api_url):
            parts = urlsplit(api_url)
            # Reading the port judges it.
            if parts.scheme in {"https", "http"} and parts.hostname and parts.port != 0:
                return ""
    return (
        f"api_url must be an http(s) URL without user, query and fragment, like {DEFAULT_API_URL}"
    )


def _problem_of_deadline(deadline: object) -> str:
    if isinstance(deadline, int | float) and 0 < deadline <= MAX_DEADLINE:
        return ""
    return f"deadline must be a number of seconds above 0, at most {MAX_DEADLINE:.0f}"


def _checked_number(number: str) -> str:
    if not isinstance(number, str):
        raise TypeError(f"an order number must be a str, not {type(number).__name__}")
    if not 0 < len(number) <= MAX_NUMBER_LENGTH:
        raise ValueError(f"an order number must have 1 to {MAX_NUMBER_LENGTH} characters")
    if re.search("[\ud800-\udfff]", number):
        raise ValueError("an order number must not hold lone surrogates")
    return number
