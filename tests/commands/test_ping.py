"""Is the key right? And if not: what is wrong, and what to write instead."""

import pytest
import requests
from django.utils import translation

from komfortkasse_django.management.commands import komfortkasse_ping
from tests.support.commands import exit_code
from tests.support.komfortkasse import error

RIGHT_URL = 'API_URL as "https://ssl.komfortkasse.eu/api/v2"'


@pytest.fixture
def ping(capsys):
    """Run the command; return its exit code, and what it wrote to each of both."""

    def ping(*arguments):
        code = exit_code("komfortkasse_ping", *arguments)
        written = capsys.readouterr()
        assert "key-of" not in written.out + written.err
        return code, written.out, written.err

    return ping


def test_the_key_is_right(komfortkasse, ping):
    """It does not use the mirror's tables."""
    komfortkasse.answer = error(404)

    assert ping() == (0, "Shop default: the API key is right.\n", "")


def test_asks_for_another_number_each_time(komfortkasse, ping):
    komfortkasse.answer = error(404)
    for _ in range(2):
        ping()

    first, second = komfortkasse.questions
    assert first != second
    for number in (first, second):
        assert number.startswith("komfortkasse_django-ping-")
        assert len(number) > 50


@pytest.mark.parametrize(
    ("answer", "problem", "advice"),
    [
        (error(401, "No"), "does not accept the API key (HTTP 401: No).", "API_KEY"),
        (error(403, "No"), "does not accept the API key (HTTP 403: No).", "API_KEY"),
        (error(400, "No"), "rejects the request (HTTP 400: No).", "support"),
        (error(404, "Not Found"), "API gives (HTTP 404: Not Found).", RIGHT_URL),
        (error(405, "No"), "API gives (HTTP 405: No).", RIGHT_URL),
        ((200, {}, "<html>"), "does not confirm the removal", RIGHT_URL),
        ((302, {"Location": "https://login.test/"}, ""), "was redirected", RIGHT_URL),
        (error(503, "No"), "temporarily unavailable (HTTP 503: No).", "later"),
        (error(429, "No"), "temporarily unavailable (HTTP 429: No).", "later"),
        (requests.ConnectionError(), "No connection to Komfortkasse.", "proxy"),
        (requests.Timeout(), "The deadline passed", "DEADLINE"),
    ],
)
def test_says_what_is_wrong_and_what_to_write(komfortkasse, ping, answer, problem, advice):
    komfortkasse.answer = answer

    code, out, err = ping()

    assert (code, out) == (1, "")
    assert "Shop default: " in err
    assert problem in err
    assert advice in err.partition(problem)[2]


def test_nobody_confirms_an_order_that_cannot_exist(komfortkasse, ping, monkeypatch):
    monkeypatch.setattr(komfortkasse_ping, "IMPOSSIBLE", "this one knows each order, also ")

    code, out, err = ping()

    assert (code, out) == (1, "")
    assert "cannot exist" in err
    assert RIGHT_URL in err


def test_asks_for_every_shop_that_is_switched_on(configure, komfortkasse, ping):
    configure(
        aliases={
            "a": {},
            "b": {"API_KEY": "key-of-b"},
            "off": {"ENABLED": False},
        }
    )
    komfortkasse.answer = error(404)

    assert ping() == (0, "Shop a: the API key is right.\nShop b: the API key is right.\n", "")
    keys = [each.headers["X-Komfortkasse-API-Key"] for each in komfortkasse.requests]
    assert keys == ["key-of-the-tests", "key-of-b"]


def test_one_that_is_wrong_is_told_beside_one_that_is_right(configure, komfortkasse, ping):
    configure(aliases={"a": {}, "b": {"API_URL": "https://komfortkasse.test/other"}})
    komfortkasse.answer = error(404)

    code, out, err = ping()

    # The double knows no other path.
    assert (code, out) == (1, "Shop a: the API key is right.\n")
    assert "Shop b: No connection" in err


def test_a_shop_that_is_switched_off_can_be_tried(configure, komfortkasse, ping):
    configure(aliases={"off": {"ENABLED": False}})
    komfortkasse.answer = error(404)

    assert ping("--shop", "off") == (0, "Shop off: the API key is right.\n", "")
    code, _, err = ping()
    assert code == 1
    assert "--shop" in err
    assert len(komfortkasse.questions) == 1


def test_a_shop_that_is_switched_off_may_have_no_key(configure, komfortkasse, ping):
    configure(ENABLED=False, API_KEY="")

    code, _, err = ping("--shop", "default")

    assert code == 1
    assert "api_key must be the API key" in err
    assert komfortkasse.requests == []


def test_a_key_that_a_function_gives(configure, komfortkasse, ping):
    configure(API_KEY=lambda: "key-of-a-function")
    komfortkasse.answer = error(404)

    assert ping()[0] == 0
    [request] = komfortkasse.requests
    assert request.headers["X-Komfortkasse-API-Key"] == "key-of-a-function"


def test_a_function_that_gives_no_key(configure, komfortkasse, ping):
    def api_key():
        raise LookupError("no vault: key-of-a-function")

    configure(API_KEY=api_key)

    code, _, err = ping()

    assert code == 1
    assert "The function in API_KEY raised LookupError" in err
    assert komfortkasse.requests == []


def test_an_unknown_shop(ping):
    assert ping("--shop", "none")[0] == 2


def test_keeps_to_the_deadline_of_the_shop(configure, komfortkasse, ping):
    configure(DEADLINE=2)
    komfortkasse.answer = error(404)

    ping()

    [request] = komfortkasse.requests
    assert 1.5 < request.req_kwargs["timeout"].total <= 2


def test_speaks_german(komfortkasse, ping):
    komfortkasse.answer = error(404)

    with translation.override("de"):
        assert ping()[1] == "Shop default: Der API-Key stimmt.\n"
