"""The one call to Komfortkasse: ``POST /order/remove/{orderNumber}`` of its API v2."""

import threading
import traceback
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from komfortkasse_django import __version__
from komfortkasse_django.api import answers, rules
from komfortkasse_django.conf import DEFAULT_API_URL, DEFAULT_DEADLINE
from komfortkasse_django.exceptions import KomfortkasseError, UnexpectedAnswer
from komfortkasse_django.schema import Order

if TYPE_CHECKING:
    from komfortkasse_django.api.exchange import Session


class Client:
    """Calls Komfortkasse for one shop. Several threads may use one client at the same time.

    ``api_key`` is the key of the shop at Komfortkasse. ``deadline`` is how many seconds one call
    may take in total. Raises ``ValueError`` if an argument cannot be used; the message says what to
    write instead.

    Proxies and CA bundles come from the environment (``HTTPS_PROXY``, ``REQUESTS_CA_BUNDLE``).
    ``.netrc`` is not read.
    """

    def __init__(
        self,
        *,
        api_key: str,
        api_url: str = DEFAULT_API_URL,
        deadline: float = DEFAULT_DEADLINE,
    ) -> None:
        problem = (
            rules.problem_of_key(api_key)
            or rules.problem_of_url(api_url)
            or rules.problem_of_deadline(deadline)
        )
        if problem:
            # Error reports show local variables.
            del self, api_key
            raise ValueError(problem)
        self._headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"komfortkasse_django/{__version__}",
            "X-Komfortkasse-API-Key": api_key,
        }
        self._redact = answers.redactor(api_key)
        self._url = api_url.rstrip("/")
        self._deadline = deadline
        self._local = threading.local()

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
        """Mark an order as removed and return what Komfortkasse knows about it.

        Lists that are not included are None in the result. ``deadline`` is how many seconds this
        call may take, but never more than the client's own deadline. Removing an order twice does
        no harm.

        Raises ``KomfortkasseError`` if Komfortkasse did not confirm the removal, and ``ValueError``
        or ``TypeError`` for an invalid number or deadline.
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
            if problem := rules.problem_of_deadline(deadline):
                raise ValueError(problem)
            seconds = min(seconds, deadline)
        result = self._exchange(url, number, seconds)
        if isinstance(result, KomfortkasseError):
            # Error reports show local variables and their attributes.
            del self
            raise result
        return result

    def _order_url(self, number: str, **flags: bool) -> str:
        if not isinstance(number, str):
            raise TypeError(f"an order number must be a str, not {type(number).__name__}")
        rules.check_number(number)
        segment = quote(number, safe="")
        # Dots alone would mean a folder of the path.
        if segment in {".", ".."}:
            segment = segment.replace(".", "%2E")
        query = urlencode({name: "true" for name, value in flags.items() if value})
        return f"{self._url}/order/remove/{segment}" + (f"?{query}" if query else "")

    def _exchange(self, url: str, number: str, seconds: float) -> Order | KomfortkasseError:
        """Return errors: the traceback of a raised one would show a request or a body."""
        try:
            session = self._session()
            answer = session.post(url, seconds=seconds)
        except Exception as error:  # noqa: BLE001 - raised again
            # An unforeseen error, such as a thread that cannot be started. Error reports show the
            # local variables of its traceback, and some of them hold the key.
            error.add_note("".join(traceback.format_tb(error.__traceback__)))
            raise error.with_traceback(None) from None
        if isinstance(answer, KomfortkasseError):
            return answer
        result = answers.meaning(answer, number, self._redact)
        if isinstance(result, UnexpectedAnswer):
            # The rest of the wrong answer may still arrive on the connection.
            session.close()
        return result

    def _session(self) -> "Session":
        if not hasattr(self._local, "session"):
            # Late, because it imports requests, which takes 100 ms.
            from komfortkasse_django.api.exchange import Session

            self._local.session = Session(self._url, self._headers)
        session: Session = self._local.session
        return session
