"""What can go wrong when an order is removed. Each kind has a short code that never changes."""

from typing import ClassVar

SHOP_CODE = "shop_code"
"""Code of an error in the shop's own code, such as its ``ORDER_FILTER``."""

UNFORESEEN = "unforeseen"
"""Code of an error that has no class here."""


class KomfortkasseError(Exception):
    """A removal that Komfortkasse did not confirm.

    ``str(error)`` is a sentence for people. It never contains the API key. It only contains one
    part of an answer's body: the ``error`` text that the API's contract defines.
    ``status`` is the HTTP status, or None if there was no answer.
    ``retry_after`` is how many seconds Komfortkasse asks to wait, or None if it does not say.
    ``code`` is a short name of the class; the mirror stores it as ``error_code``.
    ``can_retry`` says whether the same call can succeed later.
    """

    code: ClassVar[str] = "komfortkasse_error"
    can_retry: ClassVar[bool] = False

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class InvalidRequest(KomfortkasseError):  # noqa: N818 - the name says what happened
    """Komfortkasse rejects the request itself: 400 with its error."""

    code = "invalid_request"


class AuthenticationFailed(KomfortkasseError):  # noqa: N818
    """Komfortkasse does not accept the API key: 401 or 403."""

    code = "authentication_failed"


class OrderNotFound(KomfortkasseError):  # noqa: N818
    """Komfortkasse has no order with this number: 404 with its error."""

    code = "order_not_found"


class ServiceUnavailable(KomfortkasseError):  # noqa: N818
    """Temporary trouble: 408, 425, 429 or 5xx."""

    code = "service_unavailable"
    can_retry = True


class ConnectionFailed(ServiceUnavailable):
    """No answer at all: unknown host, no connection, a reset, a TLS error."""

    code = "connection_failed"


class DeadlineExceeded(ServiceUnavailable):
    """The time allowed for the call ran out before the answer was complete."""

    code = "deadline_exceeded"


class UnexpectedAnswer(KomfortkasseError):  # noqa: N818
    """An answer that does not follow Komfortkasse's contract.

    For example a redirect, a page of a proxy, another order's number, a 400 or 404 without the
    contract's error, any other 4xx, or a body that is cut off, too large or not HTTP.
    """

    code = "unexpected_answer"
    can_retry = True
