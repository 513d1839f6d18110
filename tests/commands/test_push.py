"""komfortkasse_push sends what is due, once or again and again."""

import io
import os
import signal
import sys
import threading
import time
from datetime import datetime, timedelta
from unittest import mock

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone, translation

from komfortkasse_django.client import Client
from komfortkasse_django.management import watching
from komfortkasse_django.management.commands import komfortkasse_push
from komfortkasse_django.models import RemovedOrder, ShopState
from komfortkasse_django.queue import pushing
from komfortkasse_django.queue.pushing import PushResult
from tests.support.commands import exit_code
from tests.support.komfortkasse import error
from tests.support.mirror import due, numbers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.signals]


class TestPush:
    def test_nothing_to_do(self, capsys):
        assert exit_code("komfortkasse_push") == 0
        assert capsys.readouterr().out == "nothing to do\n"

    def test_sends_what_is_due(self, komfortkasse, capsys):
        due("1001", "1002", "1003")
        komfortkasse.answers["1002"] = error(404)
        komfortkasse.answers["1003"] = error(500)

        assert exit_code("komfortkasse_push") == 0

        assert capsys.readouterr().out == (
            "1 removed, 1 unknown to Komfortkasse, 1 will be tried again in less than a minute:"
            " Komfortkasse is out of order or overloaded\n"
        )

    def test_says_why_something_is_tried_again_in_german(self, komfortkasse, capsys):
        due("1001")
        komfortkasse.answer = error(503)

        with translation.override("de"):
            call_command("komfortkasse_push")

        assert capsys.readouterr().out.splitlines()[0] == (
            "1 wird in weniger als einer Minute erneut versucht: Komfortkasse ist gestört oder"
            " überlastet"
        )

    def test_says_for_each_reason_how_many_are_tried_again(self, komfortkasse, configure, capsys):
        configure(aliases={"a": {"CONCURRENCY": 1}, "b": {}})
        due("1001", "1002", shop="a")
        due("1003", shop="b")
        komfortkasse.answer = error(503, **{"Retry-After": "600"})
        komfortkasse.answers["1003"] = 200, {}, "<title>Log in</title>"

        assert exit_code("komfortkasse_push") == 1

        assert sorted(capsys.readouterr().out.splitlines()[0].split(", ")) == [
            "1 will be tried again in 9 minutes: Komfortkasse is out of order or overloaded",
            "1 will be tried again in less than a minute: an unexpected answer",
        ]

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

    def test_wrong_key_leaves_all_due(self, komfortkasse, configure, capsys):
        configure(CONCURRENCY=1)
        due("1001", "1002", "1003")
        komfortkasse.answer = error(401, "API Key missing")

        with pytest.raises(
            CommandError, match="2 removals of shop default are still due: "
        ) as told:
            call_command("komfortkasse_push")

        assert "the shop default is paused until " in str(told.value)
        capsys.readouterr()
        with pytest.raises(CommandError, match="2 removals of shop default are still due"):
            call_command("komfortkasse_push")
        assert "nothing to do" not in capsys.readouterr().out
        assert str(told.value).endswith(": Komfortkasse does not accept the API key")

    def test_is_quiet_of_a_pause_when_asked(self, komfortkasse, capsys):
        """Or cron would send a mail each minute."""
        due("1001", "1002")
        ShopState.objects.create(
            shop="default",
            failures=3,
            paused_until=timezone.now() + timedelta(minutes=5),
            error_code="connection_failed",
        )

        with pytest.raises(SystemExit) as ended:
            call_command("komfortkasse_push", verbosity=0)

        assert ended.value.code == 1
        assert capsys.readouterr() == ("", "")
        due("1003", shop="gone")
        with pytest.raises(CommandError) as told:
            call_command("komfortkasse_push", verbosity=0)
        assert str(told.value).startswith("1 removal of shop gone is still due")
        assert "default" not in str(told.value)

    def test_limit_is_for_what_waits_longest(self, komfortkasse, configure):
        configure(aliases={"a": {}, "b": {}, "c": {}, "paused": {}})
        ShopState.objects.create(
            shop="paused", failures=3, paused_until=timezone.now() + timedelta(minutes=5)
        )
        for minutes, shop in enumerate(["a", "c", "b", "paused"]):
            due(shop, shop=shop)
            RemovedOrder.objects.filter(shop=shop).update(
                next_attempt_at=timezone.now() - timedelta(minutes=minutes + 1)
            )

        for shops in (["b"], ["b", "c"], ["b", "c", "a"]):
            exit_code("komfortkasse_push", "--limit", "1")
            assert komfortkasse.numbers == shops

    def test_says_that_a_shop_is_paused_though_nothing_is_due(self, two_shops, capsys):
        for shop in ("a", "b"):
            ShopState.objects.create(
                shop=shop,
                paused_until=timezone.now() + timedelta(minutes=5),
                error_code="connection_failed",
            )
        ShopState.objects.create(shop="over", paused_until=timezone.now())

        assert exit_code("komfortkasse_push", "--shop", "a") == 0

        [paused] = capsys.readouterr().out.splitlines()
        assert paused.startswith("The shop a is paused until ")
        assert paused.endswith(": no connection")
        assert exit_code("komfortkasse_push", "-v", "0") == 0
        assert capsys.readouterr().out == ""

    def test_does_not_wait_for_what_others_are_claiming(self, komfortkasse, monkeypatch):
        due("1001", "1002")
        monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("slept"))

        assert exit_code("komfortkasse_push", "--limit", "1") == 1

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
            (["--database", "x"], "--database: invalid choice: 'x' (choose from"),
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
        monkeypatch.setattr(watching, "current_thread", object)
        before = signal.getsignal(signal.SIGTERM)

        call_command("komfortkasse_push", stdout=io.StringIO())

        assert signal.getsignal(signal.SIGTERM) is before


class TestWatch:
    @pytest.fixture
    def rounds(self, monkeypatch):
        """Acts to do in place of a push, or before it, one a round; SIGTERM comes with the last."""
        acts = []
        real = pushing.push

        def push(**options):
            act = acts.pop(0)
            if not acts:
                os.kill(os.getpid(), signal.SIGTERM)
            return act() or real(**options)

        monkeypatch.setattr(pushing, "push", push)
        return acts

    def test_goes_on_until_it_is_told_to_stop(self, rounds, capsys):
        pushed = mock.Mock(return_value=PushResult())
        pushed.return_value.states["removed"] = 3
        rounds += [pushed, PushResult, pushed]

        call_command("komfortkasse_push", watch=0.01)

        lines = capsys.readouterr().out.splitlines()
        assert [line[20:] for line in lines] == ["3 removed", "3 removed"]
        times = [datetime.fromisoformat(line[:19]) for line in lines]
        assert all(abs(datetime.now() - time) < timedelta(minutes=1) for time in times)  # noqa: DTZ005

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

        def one_more(shop):
            due("1002", shop=shop)
            return PushResult()

        def all_sent():
            RemovedOrder.objects.update(state="removed", next_attempt_at=None)
            return PushResult()

        rounds += [PushResult, lambda: one_more("gone"), lambda: one_more("gone too"), PushResult]
        rounds += [all_sent, lambda: one_more("gone"), PushResult]

        call_command("komfortkasse_push", watch=0.01)

        told = [record.getMessage() for record in caplog.records]
        assert [text.partition(" still ")[0] for text in told] == [
            "1 removal of shop gone is",
            "1 removal of shop gone too is",
            "1 removal of shop gone is",
        ]

    def test_tells_of_an_outage_once(self, komfortkasse, rounds, capsys, caplog):
        """Each probe fails, more orders are deleted, and rows are due or wait for their turn."""
        now = timezone.now()

        def fail():
            ShopState.objects.update(paused_until=now)
            RemovedOrder.objects.pending().update(next_attempt_at=now)
            due("1001")

        def wait():
            RemovedOrder.objects.pending().update(next_attempt_at=now + timedelta(minutes=1))

        def recover():
            komfortkasse.answer = None
            fail()

        komfortkasse.answer = error(503)
        rounds += [fail, fail, wait, fail, wait, fail, recover, PushResult]

        call_command("komfortkasse_push", watch=0.01)

        told = [line[20:] for line in capsys.readouterr().out.splitlines()]
        assert len(told) == 2, told
        assert "will be tried again" in told[0]
        assert told[1].endswith(" removed")
        still_due = [text for text in caplog.messages if "still due" in text]
        assert len(still_due) == 1
        assert "is paused until" in still_due[0]

    def test_survives_errors_and_logs_each_once(self, rounds, caplog):
        def fail():
            raise ZeroDivisionError

        def fail_otherwise():
            raise OperationalError("no connection")

        rounds += [fail, fail, fail_otherwise, fail_otherwise, PushResult, fail, PushResult]

        call_command("komfortkasse_push", watch=0.01)

        assert {record.levelname for record in caplog.records} == {"ERROR"}
        assert [record.exc_info[0].__name__ for record in caplog.records] == [
            "ZeroDivisionError",
            "OperationalError",
            "ZeroDivisionError",
        ]

    @pytest.mark.parametrize("wrong", [{"API_KEY": "a b"}, {"CONCURRENCY": 0}])
    @pytest.mark.parametrize("count", [0, 3])
    def test_logs_once_why_a_shop_is_left_alone(
        self, komfortkasse, rounds, configure, caplog, wrong, count
    ):
        due(*numbers(count))
        configure(**wrong)

        def mend():
            configure(API_KEY="key", CONCURRENCY=1)

        def spoil():
            configure(**wrong)
            due(*numbers(count))

        rounds += [*[lambda: None] * 4, mend, spoil, PushResult]
        call_command("komfortkasse_push", watch=0.01)

        errors = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
        expected = 2 if count or "CONCURRENCY" in wrong else 0
        assert len(errors) == expected, errors
        assert all("its settings are wrong" in each for each in errors)

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
