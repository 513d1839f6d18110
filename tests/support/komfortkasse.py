"""Komfortkasse at the HTTP boundary. It answers as the contract says."""

import json
import re
from urllib.parse import unquote

import responses
from requests import PreparedRequest

from komfortkasse_django.queue.calls import IMPOSSIBLE
from tests.support.loopback import ORDER

URL = "https://komfortkasse.test/api/v2"

Answer = tuple[int, dict[str, str], str | bytes]


def order_json(number: str, **attributes: object) -> dict[str, object]:
    """Komfortkasse's answer to a removal, with everything that the contract requires."""
    return {**ORDER, "number": number, **attributes}


class Komfortkasse:
    """Knows every order that has no other answer in ``answers``, and records all requests.

    ``questions`` are those for an order that cannot exist, ``numbers`` all others.
    """

    def __init__(self, mock: responses.RequestsMock) -> None:
        self.numbers: list[str] = []
        self.questions: list[str] = []
        self.requests: list[PreparedRequest] = []
        self.answers: dict[str, Answer | Exception] = {}
        self.answer: Answer | Exception | None = None
        self.question: Answer | Exception | None = None
        mock.add_callback(responses.POST, re.compile(re.escape(URL) + "/order/remove/"), self._call)

    def _call(self, request: PreparedRequest) -> Answer:
        number = unquote(request.path_url.removeprefix("/api/v2/order/remove/"))
        is_question = number.startswith(IMPOSSIBLE)
        (self.questions if is_question else self.numbers).append(number)
        self.requests.append(request)
        answer = self.answers.get(number, self.answer)
        if is_question:
            answer = self.question or answer or error(404)
        if isinstance(answer, Exception):
            raise answer
        return answer or (200, {}, json.dumps(order_json(number)))


def error(status: int, message: str = "Order not found", **headers: str) -> Answer:
    """An error as the contract describes it."""
    return status, headers, json.dumps({"error": message})
