"""One HTTP exchange within hard limits of time and bytes.

``requests`` only limits the time of a single read, so a server that sends one byte at a time can
block it for ever. Here one limit covers name lookup, connecting, TLS, sending, headers and body.
Through a SOCKS proxy, only the time of a single read and the size of the body are limited.

Importing ``requests`` takes 100 ms: import this module only to make a call.
"""

import functools
import http.client
import time
import zlib
from collections.abc import Mapping
from contextlib import closing
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any

import requests
import urllib3
from urllib3.exceptions import HTTPError

from komfortkasse_django.api.answers import Answer
from komfortkasse_django.api.attempt import MAX_BODY, TooLargeError, attempt
from komfortkasse_django.api.connections import Adapter
from komfortkasse_django.exceptions import ConnectionFailed, KomfortkasseError

READ_SIZE = 2**16

# Lets zlib detect gzip and deflate by their headers.
GZIP_OR_DEFLATE = zlib.MAX_WBITS | 32

# Everything that requests, urllib3 and http.client raise for problems of the network.
NETWORK_ERRORS = (
    requests.RequestException,
    HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)


class Session(requests.Session):
    """Sends POST requests that differ only in their URL, and keeps connections open.

    Only for one thread. It reads proxies and the CA bundle from the environment once.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        super().__init__()
        self._url = url
        self._headers = headers
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        for scheme in ("https://", "http://"):
            self.mount(scheme, Adapter())

    def post(self, url: str, *, seconds: float) -> Answer | KomfortkasseError:  # type: ignore[override]
        """Return the answer, or the error that explains why there is none.

        Errors are returned, not raised: an error of ``requests`` holds the request with the API
        key, so it must not become the context of another error.
        """
        ends = time.monotonic() + seconds
        answer = self._try(url, ends)
        # The server may have closed a connection that was kept open.
        is_kept = attempt.sent and not attempt.connected
        if isinstance(answer, ConnectionFailed) and is_kept:
            answer = self._try(url, ends)
        return answer

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Never follow a redirect. Before it follows one, requests reads the body without limit."""

    @functools.cached_property
    def _template(self) -> requests.PreparedRequest:
        return requests.Request("POST", self._url, self._headers).prepare()

    @functools.cached_property
    def _settings(self) -> dict[str, Any]:
        return dict(
            self.merge_environment_settings(self._url, {}, stream=True, verify=None, cert=None)
        )

    def _try(self, url: str, ends: float) -> Answer | KomfortkasseError:
        attempt.start(ends)
        try:
            request = self._template.copy()
            # Set directly: preparing it would unquote "%2E", and urllib3 would drop that segment.
            request.url = url
            response = self.send(
                request,
                timeout=urllib3.Timeout(total=attempt.seconds_left()),  # type: ignore[arg-type]
                allow_redirects=False,
                **self._settings,
            )
        except NETWORK_ERRORS as error:
            self.close()
            bundle = self._settings["verify"]
            # For this, requests raises the same error as for a network that is down.
            if url.startswith("https:") and isinstance(bundle, str) and not Path(bundle).exists():
                problem = f"the CA bundle {bundle} does not exist"
                return ConnectionFailed(f"No connection to Komfortkasse: {problem}")
            return attempt.failure(error)
        with closing(response):
            return Answer(
                status=response.status_code,
                retry_after=response.headers.get("Retry-After", ""),
                body=self._body(response),
            )

    def _body(self, response: requests.Response) -> bytes | KomfortkasseError:
        try:
            return read_body(response.raw, response.headers.get("Content-Encoding", ""))
        except (*NETWORK_ERRORS, zlib.error) as error:
            return attempt.failure(error, status=response.status_code)


def read_body(raw: urllib3.HTTPResponse, encoding: str) -> bytes:
    """Read and decompress a body, never holding more than ``MAX_BODY`` of it."""
    # For any other encoding zlib raises its error.
    plain = encoding.lower() in {"", "identity"}
    decoder = None if plain else zlib.decompressobj(GZIP_OR_DEFLATE)
    body = bytearray()
    while chunk := raw.read(READ_SIZE, decode_content=False):
        body += decoder.decompress(chunk, MAX_BODY + 1 - len(body)) if decoder else chunk
        if len(body) > MAX_BODY:
            raise TooLargeError
    # urllib3 1.26 does not check Content-Length.
    if raw.length_remaining or (decoder and not decoder.eof):
        raise http.client.HTTPException("a body that is cut off")
    return bytes(body)
