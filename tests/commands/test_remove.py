"""komfortkasse_remove asks for removals by hand."""

import io
import os
import sys
from unittest import mock

import pytest
from django.core.management import call_command
from django.utils import translation

from komfortkasse_django.management.commands import komfortkasse_remove
from komfortkasse_django.models import RemovedOrder
from tests.shop.models import Order
from tests.support.commands import exit_code
from tests.support.komfortkasse import error

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stdin(monkeypatch):
    """Give the command standard input, as from a pipe."""

    def stdin(content: bytes, encoding: str = "utf-8") -> None:
        pipe = io.TextIOWrapper(io.BytesIO(content), encoding=encoding)
        monkeypatch.setattr(sys, "stdin", pipe)

    return stdin


@pytest.fixture
def terminal(monkeypatch):
    """Give the command a terminal on which somebody types."""

    def terminal(typed: str) -> None:
        keyboard = io.StringIO(typed)
        keyboard.isatty = lambda: True
        monkeypatch.setattr(sys, "stdin", keyboard)

    return terminal


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


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "numbers.txt cannot be read: No such file or directory"),
        (b"\xff\xfe\x00", "numbers.txt cannot be read as UTF-8 text: 'utf-8' codec"),
    ],
)
def test_from_a_file_that_cannot_be_read(tmp_path, capsys, content, told):
    path = tmp_path / "numbers.txt"
    if content:
        path.write_bytes(content)

    assert exit_code("komfortkasse_remove", "--from-file", str(path)) == 1
    assert told in capsys.readouterr().err


def test_all_or_none(capsys):
    assert exit_code("komfortkasse_remove", "1001", "9" * 256) == 1

    told = capsys.readouterr().err
    assert "Nothing was recorded" in told
    assert "at most 255" in told
    assert not RemovedOrder.objects.exists()


@pytest.mark.parametrize("arguments", [[], [""], ["1001", " "], ["--from-file", os.devnull]])
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

    assert exit_code("komfortkasse_remove", "1001", "--no-input") == 0
    assert komfortkasse.numbers == ["1001"]


def test_where_no_shop_is_configured(settings, capsys):
    settings.KOMFORTKASSE = {}

    assert exit_code("komfortkasse_remove", "1001", "--skip-checks") == 1
    assert "--shop with one of none at all" in capsys.readouterr().err


class TestStandardInput:
    @pytest.mark.parametrize("arguments", [["-"], ["--from-file", "-"]])
    def test_is_a_single_dash(self, komfortkasse, stdin, arguments):
        # Whatever the locale says of it, it is UTF-8.
        stdin("\ufeff1001\r\n1002\rÄ/4\n".encode(), encoding="ascii")

        assert exit_code("komfortkasse_remove", *arguments) == 0
        assert sorted(komfortkasse.numbers) == ["1001", "1002", "Ä/4"]

    @pytest.mark.parametrize("arguments", [["1001", "-"], ["-", "--from-file", os.devnull]])
    def test_beside_others_a_dash_is_refused(self, capsys, stdin, arguments):
        stdin(b"1002\n")

        assert exit_code("komfortkasse_remove", *arguments) == 1
        assert "Write - alone: it stands for standard input" in capsys.readouterr().err
        assert not RemovedOrder.objects.exists()

    def test_that_is_binary(self, capsys, stdin):
        stdin(b"1001\n\xff")

        assert exit_code("komfortkasse_remove", "-") == 1
        assert "- cannot be read as UTF-8 text" in capsys.readouterr().err
        assert not RemovedOrder.objects.exists()


class TestTables:
    """A file exported from a table is not taken for order numbers."""

    @pytest.mark.parametrize(
        "line", ["number;total", '"1001"', "'1001'", "1001\t22.38", "1001\t", "1001,22.38"]
    )
    def test_a_line_of_a_table_is_refused(self, tmp_path, capsys, line):
        path = tmp_path / "numbers.csv"
        path.write_text(f"1001\n\n{line}\n1002\n")

        assert exit_code("komfortkasse_remove", "--from-file", str(path)) == 1

        told = capsys.readouterr().err
        assert f"Nothing was recorded. Line 3 of {path}" in told
        assert repr(line) in told
        assert not RemovedOrder.objects.exists()

    def test_from_standard_input(self, capsys, stdin):
        stdin(b"1001;1002\n")

        assert exit_code("komfortkasse_remove", "-") == 1
        assert "Line 1 of standard input" in capsys.readouterr().err

    def test_a_heading_is_refused(self, tmp_path, capsys):
        path = tmp_path / "numbers.csv"
        path.write_text("Bestellnummer\n1001\n")

        assert exit_code("komfortkasse_remove", "--from-file", str(path)) == 1
        assert f"Line 1 of {path}" in capsys.readouterr().err
        assert not RemovedOrder.objects.exists()

    def test_numbers_without_digits_have_no_heading(self, komfortkasse, tmp_path):
        path = tmp_path / "numbers.txt"
        path.write_text("abc\ndef\n")

        assert exit_code("komfortkasse_remove", "--from-file", str(path)) == 0
        assert sorted(komfortkasse.numbers) == ["abc", "def"]

    def test_a_number_of_the_shop_may_look_like_that(self, komfortkasse, tmp_path):
        for number in ("abc", "A;1'\"", "A,2"):
            Order.objects.create(number=number)
        path = tmp_path / "numbers.txt"
        path.write_text("abc\n A;1'\" \nA,2\n1001\n")

        assert exit_code("komfortkasse_remove", "--no-input", "--from-file", str(path)) == 0
        assert sorted(komfortkasse.numbers) == ["1001", "A,2", "A;1'\"", "abc"]

    def test_a_part_of_a_line_is_not_enough(self, tmp_path, capsys):
        Order.objects.create(number="1001")
        path = tmp_path / "numbers.txt"
        path.write_text("1001;22.38\n")

        assert exit_code("komfortkasse_remove", "--no-input", "--from-file", str(path)) == 1
        assert "Line 1" in capsys.readouterr().err

    def test_an_argument_may_look_like_that(self, komfortkasse):
        assert exit_code("komfortkasse_remove", "A;1") == 0
        assert komfortkasse.numbers == ["A;1"]


class TestDryRun:
    def test_records_nothing(self, capsys):
        Order.objects.create(number="1002")

        assert exit_code("komfortkasse_remove", "1001", "1002", "--dry-run") == 0

        assert capsys.readouterr().out.splitlines() == [
            "Alive in the shop: 1002",
            "Would remove 2 orders from Komfortkasse.",
        ]
        assert not RemovedOrder.objects.exists()

    def test_finds_the_same_faults(self, capsys):
        assert exit_code("komfortkasse_remove", "1001", "9" * 256, "--dry-run") == 1
        assert "at most 255" in capsys.readouterr().err


class TestAliveInTheShop:
    @pytest.fixture(autouse=True)
    def orders(self):
        for number in range(1001, 1013):
            Order.objects.create(number=str(number))

    def test_is_named_and_asked_for(self, komfortkasse, capsys, terminal):
        terminal("yes\n")

        assert exit_code("komfortkasse_remove", "1001", "9999") == 0

        assert sorted(komfortkasse.numbers) == ["1001", "9999"]
        told = capsys.readouterr().out
        assert told.startswith("Alive in the shop: 1001\n")
        assert 'Komfortkasse will send no more reminders for them. To go on, type "yes": ' in told

    @pytest.mark.parametrize("typed", ["no\n", "\n", "", "1001\n"])
    def test_nothing_is_recorded_without_a_yes(self, capsys, terminal, typed):
        terminal(typed)

        assert exit_code("komfortkasse_remove", "1001", "9999") == 1
        assert "Nothing was recorded." in capsys.readouterr().err
        assert not RemovedOrder.objects.exists()

    def test_is_asked_for_in_german(self, komfortkasse, terminal):
        terminal("Ja\n")

        with translation.override("de"):
            call_command("komfortkasse_remove", "1001", stdout=io.StringIO())

        assert komfortkasse.numbers == ["1001"]

    def test_nothing_is_recorded_after_ctrl_c(self, capsys, terminal, monkeypatch):
        terminal("")
        monkeypatch.setattr("builtins.input", mock.Mock(side_effect=KeyboardInterrupt))

        assert exit_code("komfortkasse_remove", "1001") == 1
        assert "Nothing was recorded." in capsys.readouterr().err

    def test_is_refused_without_a_terminal(self, capsys):
        assert exit_code("komfortkasse_remove", "1001", "9999") == 1

        told = capsys.readouterr()
        assert told.out == "Alive in the shop: 1001\n"
        assert "Nothing was recorded. There is no terminal to ask on; --no-input" in told.err
        assert not RemovedOrder.objects.exists()

    def test_is_refused_without_any_standard_input(self, monkeypatch):
        monkeypatch.setattr(sys, "stdin", None)

        assert exit_code("komfortkasse_remove", "1001") == 1
        assert not RemovedOrder.objects.exists()

    def test_is_removed_without_asking(self, komfortkasse, capsys):
        assert exit_code("komfortkasse_remove", "1001", "--no-input") == 0
        assert komfortkasse.numbers == ["1001"]
        assert capsys.readouterr().out == "Alive in the shop: 1001\n1 removed\n"

    def test_what_is_not_in_the_shop_is_not_asked_for(self, komfortkasse):
        assert exit_code("komfortkasse_remove", "9999") == 0

    def test_only_some_are_named(self, komfortkasse, capsys):
        numbers = [str(number) for number in range(1001, 1013)]

        assert exit_code("komfortkasse_remove", *numbers, "--no-input") == 0

        first, _ = capsys.readouterr().out.splitlines()
        assert first == f"Alive in the shop: {', '.join(numbers[:10])} and 2 more"

    def test_is_looked_up_in_parts(self, terminal, capsys, monkeypatch):
        """Databases limit the number of parameters."""
        monkeypatch.setattr(komfortkasse_remove, "LOOKED_UP", 5)
        numbers = [str(number) for number in range(1000, 1013)]
        terminal("no\n")

        assert exit_code("komfortkasse_remove", *numbers) == 1
        assert "1010 and 2 more\n" in capsys.readouterr().out

    def test_that_cannot_be_told_is_refused(self, configure, capsys):
        def broken(order):
            raise ZeroDivisionError

        configure(ORDER_FILTER=broken)

        assert exit_code("komfortkasse_remove", "1001", "--no-input") == 1

        told = capsys.readouterr().err
        assert "Nothing was recorded. Which of the orders are alive in the shop is unknown" in told
        assert "ZeroDivisionError" in told
        assert not RemovedOrder.objects.exists()

    def test_of_a_shop_that_is_off_nothing_is_asked(self, two_shops, capsys):
        assert exit_code("komfortkasse_remove", "1001", "--shop", "off") == 1
        assert "switched off by ENABLED" in capsys.readouterr().err
