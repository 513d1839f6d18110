"""What can go wrong when an order is removed, each with a short code that never changes."""

from typing import ClassVar

SHOP_CODE = "shop_code"
"""Code of an error in the shop's own code, such as its ``ORDER_FILTER``."""

UNFORESEEN = "unforeseen"
"""Code of an error that nobody foresaw."""


class KomfortkasseError(Exception):
    """A removal that Komfortkasse did not confirm.

    ``str(error)`` is a sentence for people; it holds neither the API key nor,
    beyond the ``error`` text of the API's contract, anything of the answer.
    ``status`` is the HTTP status, None where there was none.
    ``code`` names the class in a way that can be stored; the mirror keeps it as ``error_code``.
    ``can_retry`` says whether trying again, unchanged and later, can help.
    """

    code: ClassVar[str] = "komfortkasse_error"
    can_retry: ClassVar[bool] = False

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


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
    """Temporary trouble: 408, 425, 429 or 5xx.

    ``retry_after`` is how long Komfortkasse asks to wait, in seconds and not
    capped; None where it does not say.
    """

    code = "service_unavailable"
    can_retry = True

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status=status)
        self.retry_after = retry_after


class ConnectionFailed(ServiceUnavailable):
    """No answer at all: unknown host, no connection, a reset, a TLS error."""

    code = "connection_failed"


class DeadlineExceeded(ServiceUnavailable):
    """The time allowed for the call ran out before the answer was complete."""

    code = "deadline_exceeded"


class UnexpectedAnswer(KomfortkasseError):  # noqa: N818
    """Something answered, but not as Komfortkasse's contract says.

    A redirect, a page of a proxy, another order's number, a 400 or 404 without
    the contract's error, any other 4xx, a body that is cut off, too large or not HTTP.
    """

    code = "unexpected_answer"
    can_retry = True
