"""komfortkasse_remove asks for removals by hand."""

import io
import os
import sys

import pytest

from komfortkasse_django.models import RemovedOrder
from tests.shop.models import Order
from tests.support.commands import exit_code
from tests.support.komfortkasse import error

pytestmark = pytest.mark.django_db(transaction=True)


def test_numbers(komfortkasse, capsys):
    komfortkasse.answers["1002"] = error(404)

    assert exit_code("komfortkasse_remove", "1001", "1002", "1001") == 0

    assert sorted(komfortkasse.numbers) == ["1001", "1002"]
    assert {row.requested_via for row in RemovedOrder.objects.all()} == {"command"}
    words = capsys.readouterr().out.strip().split(", ")
    assert sorted(words) == ["1 removed", "1 unknown to Komfortkasse"]


def test_sends_more_than_the_budget_of_a_request(komfortkasse, configure):
    configure(REQUEST_BUDGET=0)

    assert exit_code("komfortkasse_remove", "1001") == 0
    assert komfortkasse.numbers == ["1001"]


def test_from_a_file(komfortkasse, tmp_path):
    path = tmp_path / "numbers.txt"
    path.write_bytes("\ufeff1001\r\n\r\n  1002 \n# 3\nÄ/4".encode())

    assert exit_code("komfortkasse_remove", "--from-file", str(path)) == 0
    assert sorted(komfortkasse.numbers) == ["# 3", "1001", "1002", "Ä/4"]


def test_from_standard_input(komfortkasse, monkeypatch):
    # Whatever the locale says of it, it is UTF-8.
    content = io.BytesIO("\ufeff1001\r\n1002\rÄ/4\n".encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(content, encoding="ascii"))

    assert exit_code("komfortkasse_remove", "--from-file", "-") == 0
    assert sorted(komfortkasse.numbers) == ["1001", "1002", "Ä/4"]


def test_from_standard_input_that_is_binary(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"1001\n\xff")))

    assert exit_code("komfortkasse_remove", "--from-file", "-") == 1
    assert "- cannot be read as UTF-8 text" in capsys.readouterr().err
    assert not RemovedOrder.objects.exists()


def test_from_a_file_beside_numbers(komfortkasse, tmp_path):
    path = tmp_path / "numbers.txt"
    path.write_text("1002\n1001\n1002\n")

    assert exit_code("komfortkasse_remove", "1001", "--from-file", str(path)) == 0
    assert sorted(komfortkasse.numbers) == ["1001", "1002"]


@pytest.mark.parametrize("content", ["1001\n" + "9" * 256, "1001\na\0b"])
def test_from_a_file_all_or_none(tmp_path, capsys, content):
    path = tmp_path / "numbers.txt"
    path.write_text(content)

    assert exit_code("komfortkasse_remove", "--from-file", str(path)) == 1
    assert "Nothing was recorded" in capsys.readouterr().err
    assert not RemovedOrder.objects.exists()


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_from_a_file_that_cannot_be_read(tmp_path, capsys, content):
    path = tmp_path / "numbers.txt"
    if content:
        path.write_bytes(content)

    assert exit_code("komfortkasse_remove", "--from-file", str(path)) == 1
    assert "cannot be read as UTF-8 text" in capsys.readouterr().err


def test_all_or_none(capsys):
    assert exit_code("komfortkasse_remove", "1001", "9" * 256) == 1

    told = capsys.readouterr().err
    assert "Nothing was recorded" in told
    assert "at most 255" in told
    assert not RemovedOrder.objects.exists()


@pytest.mark.parametrize("arguments", [[], ["--from-file", os.devnull]])
def test_without_a_number(capsys, arguments):
    assert exit_code("komfortkasse_remove", *arguments) == 1
    assert "No order number was given" in capsys.readouterr().err


def test_needs_a_shop_where_there_are_several(komfortkasse, two_shops, capsys):
    assert exit_code("komfortkasse_remove", "1001") == 1
    assert "--shop with one of a, b, off" in capsys.readouterr().err
    assert not RemovedOrder.objects.exists()
    assert exit_code("komfortkasse_remove", "1001", "--shop", "b") == 0
    assert RemovedOrder.objects.get().shop == "b"


def test_of_a_shop_that_is_off(two_shops, capsys):
    assert exit_code("komfortkasse_remove", "1001", "--shop", "off") == 1
    assert "switched off by ENABLED" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (error(400, "locked"), "refused some for good"),
        (error(503, "locked"), "komfortkasse_push sends what is left"),
    ],
)
def test_that_did_not_succeed(komfortkasse, capsys, answer, hint):
    komfortkasse.answer = answer

    assert exit_code("komfortkasse_remove", "1001") == 1

    told = capsys.readouterr()
    assert "1001: " in told.err
    assert "locked" in told.err
    assert "Not all of them are removed" in told.err
    assert hint in told.err
    assert RemovedOrder.objects.count() == 1


def test_is_never_superseded(komfortkasse):
    Order.objects.create(number="1001")

    assert exit_code("komfortkasse_remove", "1001") == 0
    assert komfortkasse.numbers == ["1001"]
