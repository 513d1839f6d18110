"""Calls of a client that must fail, and a search for secrets in their errors."""

import json
import os
import pickle
import time
import types
from pathlib import Path

import pytest

import komfortkasse_django
from komfortkasse_django.client import Client
from komfortkasse_django.exceptions import (
    KomfortkasseError,
)
from tests.support.loopback import always, http_answer, order_json

PACKAGE = f"{Path(komfortkasse_django.__file__).parent}{os.sep}"
KEY = "Key-Of/The+Shop"
URL = "https://komfortkasse.test/api/v2"
ORDER_URL = f"{URL}/order/remove/1001"
ANSWER = http_answer(order_json())
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def client_of(server, deadline=10.0):
    return Client(api_key=KEY, api_url=server.url, deadline=deadline)


def reachable(error):
    """Yield all texts that an exception leads to, also through the package's frames."""
    seen = set()
    stack = [error]
    while stack:
        value = stack.pop()
        if id(value) in seen or isinstance(value, (type, types.ModuleType, types.FunctionType)):
            continue
        seen.add(id(value))
        if isinstance(value, (str, bytes)):
            yield value if isinstance(value, str) else value.decode("latin-1")
        elif isinstance(value, dict):
            stack += [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple, set, frozenset)):
            stack += value
        elif isinstance(value, types.TracebackType):
            if value.tb_frame.f_code.co_filename.startswith(PACKAGE):
                stack.append(value.tb_frame.f_locals)
            stack.append(value.tb_next)
        else:
            yield repr(value)
            stack.append(getattr(value, "__dict__", None))
            stack += [getattr(value, slot, None) for slot in getattr(type(value), "__slots__", ())]
            if isinstance(value, BaseException):
                stack += [value.args, value.__cause__, value.__context__, value.__traceback__]


def assert_holds_no_key(error, key=KEY):
    for text in [*reachable(error), str(error), repr(error), pickle.dumps(error).decode("latin-1")]:
        assert key.lower() not in text.lower()


def failure(client, number="1001", **kwargs):
    """Return the error of a removal that must fail, after a search for secrets in it."""
    with pytest.raises(KomfortkasseError) as caught:
        client.remove_order(number, **kwargs)
    error = caught.value
    assert error.__context__ is None
    assert error.__cause__ is None
    assert_holds_no_key(error)
    return error


def error_json(error="Went wrong"):
    return json.dumps({"error": error}).encode()


def first(waste):
    """Return a script that wastes the first connection and answers well on the others."""

    def script(connection):
        if connection.number > 1:
            always(ANSWER)(connection)
        elif connection.read_request():
            waste(connection)

    return script


def within(seconds, started):
    # The promise is one second. The others are for a busy machine.
    assert time.monotonic() - started < seconds + 3


def parts(**texts):
    return [pytest.param(*value, id=name) for name, value in texts.items()]
