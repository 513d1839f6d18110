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
    """A shop's access to Komfortkasse. Several threads may use it at once.

    ``api_key`` is the key of one Komfortkasse shop. ``deadline`` is how many
    seconds one call may take in total. Raises ``ValueError`` where one of them
    cannot be used, with what to write instead.

    Proxies and CA bundles are those of the environment (``HTTPS_PROXY``,
    ``REQUESTS_CA_BUNDLE``). ``.netrc`` is not used.
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
            # Reports of errors show each frame's variables.
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

        Lists that are not included are None in the answer. ``deadline`` is how
        many seconds this call may take, if that is less than the client's.
        Removing an order twice does no harm.

        Raises ``KomfortkasseError`` if Komfortkasse did not confirm the removal,
        ``ValueError`` or ``TypeError`` for a number or deadline that cannot be.
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
            # Reports of errors show each frame's variables and what hangs on them.
            del self
            raise result
        return result

    def _order_url(self, number: str, **flags: bool) -> str:
        if not isinstance(number, str):
            raise TypeError(f"an order number must be a str, not {type(number).__name__}")
        rules.check_number(number)
        segment = quote(number, safe="")
        # Dots alone would be taken for a step in the path.
        if segment in {".", ".."}:
            segment = segment.replace(".", "%2E")
        query = urlencode({name: "true" for name, value in flags.items() if value})
        return f"{self._url}/order/remove/{segment}" + (f"?{query}" if query else "")

    def _exchange(self, url: str, number: str, seconds: float) -> Order | KomfortkasseError:
        """Errors are returned, so that no frame in their traceback holds a request or a body."""
        try:
            session = self._session()
            answer = session.post(url, seconds=seconds)
        except Exception as error:  # noqa: BLE001 - raised again
            # Nobody foresaw it: a thread cannot be started, for example. Reports of errors show the
            # variables of each frame, and the frames that it came through hold the key.
            error.add_note("".join(traceback.format_tb(error.__traceback__)))
            raise error.with_traceback(None) from None
        if isinstance(answer, KomfortkasseError):
            return answer
        result = answers.meaning(answer, number, self._redact)
        if isinstance(result, UnexpectedAnswer):
            # More of the wrong answer may still wait on the connection.
            session.close()
        return result

    def _session(self) -> "Session":
        if not hasattr(self._local, "session"):
            # Late, because it imports requests, which takes 100 ms.
            from komfortkasse_django.api.exchange import Session

            self._local.session = Session(self._url, self._headers)
        session: Session = self._local.session
        return session
