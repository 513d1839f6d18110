"""komfortkasse_push sends what is due, once or again and again."""

import io
import os
import signal
import sys
import threading
import time
from unittest import mock

import pytest
from django.core.management import CommandError, call_command

from komfortkasse_django.client import Client
from komfortkasse_django.management.commands import komfortkasse_push
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue import pushing
from komfortkasse_django.queue.pushing import PushResult
from tests.support.commands import exit_code
from tests.support.komfortkasse import error
from tests.support.mirror import due

pytestmark = pytest.mark.django_db(transaction=True)


class TestPush:
    def test_nothing_to_do(self, capsys):
        assert exit_code("komfortkasse_push") == 0
        assert capsys.readouterr().out == "nothing to do\n"

    def test_sends_what_is_due(self, komfortkasse, capsys):
        due("1001", "1002", "1003")
        komfortkasse.answers["1002"] = error(404)
        komfortkasse.answers["1003"] = error(500)

        assert exit_code("komfortkasse_push") == 0

        words = capsys.readouterr().out.strip().split(", ")
        assert sorted(words) == ["1 removed", "1 unknown to Komfortkasse", "1 will be tried again"]

    def test_is_quiet_when_asked(self, komfortkasse, capsys):
        due("1001")

        assert exit_code("komfortkasse_push", "-v", "0") == 0
        assert capsys.readouterr().out == ""

    def test_limit_leaves_the_rest_due(self, komfortkasse, capsys):
        due("1001", "1002", "1003")

        assert exit_code("komfortkasse_push", "--limit", "2") == 1

        assert len(komfortkasse.numbers) == 2
        told = capsys.readouterr().err
        assert "1 removal of shop default is still due" in told
        assert "not reached" in told

    def test_wrong_key_leaves_all_due(self, komfortkasse, configure):
        configure(CONCURRENCY=1)
        due("1001", "1002", "1003")
        komfortkasse.answer = error(401, "API Key missing")

        with pytest.raises(CommandError, match=r"2 removals .* still due: .*API Key missing"):
            call_command("komfortkasse_push")

    def test_only_one_shop(self, komfortkasse, two_shops):
        due("1001", shop="a")
        due("1002", shop="b")

        assert exit_code("komfortkasse_push", "--shop", "b") == 0
        assert komfortkasse.numbers == ["1002"]

    def test_reports_shops_that_are_gone_or_off(self, komfortkasse, two_shops, capsys):
        due("1001", shop="gone")
        due("1002", shop="off")

        assert exit_code("komfortkasse_push") == 1

        told = capsys.readouterr().err
        assert "shop gone is still due: the shop gone is not in the settings any more" in told
        assert "shop off is still due: the shop off is switched off in the settings" in told

    @pytest.mark.django_db(transaction=True, databases=["default", "other"])
    def test_database(self, komfortkasse):
        RemovedOrder.objects.using("other").create(
            shop="default", order_number="2001", requested_via="code"
        )

        assert exit_code("komfortkasse_push") == 0
        assert komfortkasse.numbers == []
        assert exit_code("komfortkasse_push", "--database", "other") == 0
        assert komfortkasse.numbers == ["2001"]

    @pytest.mark.parametrize(
        ("arguments", "hint"),
        [
            (["--limit", "0"], "'0' is not a whole number above 0"),
            (["--limit", "-1"], "'-1' is not a whole number above 0"),
            (["--limit", "1.5"], "'1.5' is not a whole number above 0"),
            (["--limit", "9" * 5000], "is not a whole number above 0"),
            (["--watch", "86401"], "'86401' is not a number of seconds above 0 and at most 86400"),
            (["--watch", "nan"], "'nan' is not a number of seconds above 0"),
            (["--limit", "many"], "'many' is not a whole number above 0"),
            (["--watch", "0"], "'0' is not a number of seconds above 0"),
            (["--watch", "soon"], "'soon' is not a number of seconds above 0"),
            (["--watch", "inf"], "'inf' is not a number of seconds above 0"),
            (["--shop", "x"], "KOMFORTKASSE has no shop 'x', but default"),
            (["--database", "x"], "DATABASES has no 'x', but default, other"),
            (["1001"], "unrecognized arguments"),
        ],
    )
    def test_wrong_arguments(self, capsys, arguments, hint):
        assert exit_code("komfortkasse_push", *arguments) == 2
        assert hint in capsys.readouterr().err

    def test_no_shop_at_all(self, settings, capsys):
        settings.KOMFORTKASSE = {}

        assert exit_code("komfortkasse_push", "--shop", "x", "--skip-checks") == 2
        assert "but none at all" in capsys.readouterr().err

    @pytest.fixture
    def on_terminal(self, monkeypatch):
        """Push on a terminal, and return what it shows."""

        def push():
            terminal = io.StringIO()
            terminal.isatty = lambda: True
            monkeypatch.setattr(sys, "stderr", terminal)
            call_command("komfortkasse_push", stdout=io.StringIO())
            return terminal.getvalue()

        return push

    def test_shows_progress_on_a_terminal(self, komfortkasse, on_terminal):
        due("1001", "1002")

        shown = on_terminal()

        assert "0/2" in shown
        assert "\n" not in shown

    def test_shows_none_without_tqdm(self, komfortkasse, on_terminal, monkeypatch):
        due("1001")
        monkeypatch.setitem(sys.modules, "tqdm", None)

        assert on_terminal() == ""
        assert komfortkasse.numbers == ["1001"]

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_signal_ends_it_cleanly(self, komfortkasse, configure, number):
        configure(CONCURRENCY=1)
        due(*(str(each) for each in range(50)))
        before = signal.getsignal(number)
        real = pushing.push

        def push(**options):
            def settled(rows):
                os.kill(os.getpid(), number)

            return real(**{**options, "on_settled": settled})

        with mock.patch.object(pushing, "push", push), pytest.raises(CommandError, match="due"):
            call_command("komfortkasse_push", stdout=io.StringIO())

        assert len(komfortkasse.numbers) == RemovedOrder.objects.removed().count()
        assert signal.getsignal(number) is before

    def test_signal_during_a_call_lets_it_finish(self, komfortkasse, configure):
        configure(CONCURRENCY=1)
        due("1001", "1002", "1003")
        real = Client.remove_order

        def remove_order(self, number, **options):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)  # the signal is heard while the answer is still to come
            return real(self, number, **options)

        with mock.patch.object(Client, "remove_order", remove_order):
            assert exit_code("komfortkasse_push") == 1

        [number] = komfortkasse.numbers
        assert RemovedOrder.objects.get(order_number=number).state == "removed"
        others = RemovedOrder.objects.exclude(order_number=number)
        assert {(row.state, row.attempts) for row in others} == {("pending", 0)}
        assert RemovedOrder.objects.due().count() == 2

    def test_elsewhere_than_in_the_main_thread(self, monkeypatch):
        monkeypatch.setattr(komfortkasse_push, "current_thread", object)
        before = signal.getsignal(signal.SIGTERM)

        call_command("komfortkasse_push", stdout=io.StringIO())

        assert signal.getsignal(signal.SIGTERM) is before


class TestWatch:
    @pytest.fixture
    def rounds(self, monkeypatch):
        """Acts to do instead of pushing, one a round; SIGTERM follows the last."""
        acts = []

        def push(**options):
            act = acts.pop(0)
            if not acts:
                os.kill(os.getpid(), signal.SIGTERM)
            return act()

        monkeypatch.setattr(pushing, "push", push)
        return acts

    def test_goes_on_until_it_is_told_to_stop(self, rounds, capsys):
        pushed = mock.Mock(return_value=PushResult())
        pushed.return_value.states["removed"] = 3
        rounds += [pushed, PushResult, pushed]

        call_command("komfortkasse_push", watch=0.01)

        assert capsys.readouterr().out == "3 removed\n3 removed\n"

    def test_seconds_may_be_parts_of_one(self, rounds):
        rounds += [PushResult] * 3

        assert exit_code("komfortkasse_push", "--watch", "0.01") == 0
        assert rounds == []

    def test_is_quiet_when_asked(self, rounds, capsys):
        pushed = PushResult()
        pushed.states["removed"] = 3
        rounds += [lambda: pushed, PushResult]

        call_command("komfortkasse_push", watch=0.01, verbosity=0)

        assert capsys.readouterr().out == ""

    def test_reports_again_what_has_changed(self, rounds, caplog):
        due("1001", shop="gone")

        def one_more():
            due("1002", shop="gone")
            return PushResult()

        rounds += [PushResult, PushResult, one_more, PushResult]
        rounds += [PushResult]

        call_command("komfortkasse_push", watch=0.01)

        told = [record.getMessage() for record in caplog.records]
        assert [text[:10] for text in told] == ["1 removal ", "2 removals"]

    def test_survives_errors(self, rounds, caplog):
        def fail():
            raise ZeroDivisionError

        rounds += [fail, fail, PushResult]

        call_command("komfortkasse_push", watch=0.01)

        assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
        assert "ZeroDivisionError" in caplog.text

    def test_reports_what_stays_due_once(self, rounds, caplog):
        due("1001", shop="gone")
        rounds += [PushResult] * 4

        call_command("komfortkasse_push", watch=0.01)

        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "shop gone is still due" in caplog.text

    def test_closes_connections_that_are_too_old(self, rounds, monkeypatch):
        closed = mock.Mock()
        monkeypatch.setattr(komfortkasse_push, "close_old_connections", closed)
        rounds += [PushResult] * 3

        call_command("komfortkasse_push", watch=0.01)

        assert closed.call_count >= 3

    def test_does_not_spin(self, rounds):
        def first():
            threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGTERM]).start()
            return PushResult()

        rounds += [first, lambda: pytest.fail("began another round")]

        call_command("komfortkasse_push", watch=60)

        assert len(rounds) == 1
