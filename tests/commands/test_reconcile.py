"""komfortkasse_reconcile says what it finds, what that costs and what it did."""

import io
import sys

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils import translation

from komfortkasse_django import orders
from komfortkasse_django.models import RemovedOrder
from tests.shop.models import IntegerOrder, Order
from tests.support.routers import MirrorElsewhere

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _gone(configure):
    configure(ORDER_GONE={"cancelled": True})


def create(*numbers: str, cancelled: bool = True) -> None:
    Order.objects.bulk_create(Order(number=number, cancelled=cancelled) for number in numbers)


def removed(*numbers: str) -> None:
    RemovedOrder.objects.bulk_create(
        RemovedOrder(
            shop="default",
            order_number=number,
            state="removed",
            requested_via="delete",
            next_attempt_at=None,
        )
        for number in numbers
    )


def call(*arguments: str) -> str:
    out = io.StringIO()
    call_command("komfortkasse_reconcile", *arguments, stdout=out)
    return out.getvalue()


def recorded() -> list[tuple[str, str]]:
    rows = RemovedOrder.objects.filter(requested_via="reconcile").order_by("pk")
    return list(rows.values_list("shop", "order_number"))


class TestOutput:
    def test_says_what_is_missing_and_what_it_costs(self):
        create("1001", "1002")
        create("1003", cancelled=False)

        assert call() == (
            "Shop default: 3 in the shop, 2 of them gone\n"
            "Never recorded, one call to Komfortkasse for each: 2 (1001, 1002)\n"
            "Recorded: 2, to be sent by komfortkasse_push\n"
        )
        assert recorded() == [("default", "1001"), ("default", "1002")]
        assert call() == "Shop default: 3 in the shop, 2 of them gone\n"

    def test_says_what_it_costs_before_it_records(self, monkeypatch):
        create("1001")
        out = io.StringIO()
        record = RemovedOrder.objects.all().__class__.record

        def record_later(rows, *args, **kwargs):
            assert "one call to Komfortkasse for each: 1 (1001)" in out.getvalue()
            return record(rows, *args, **kwargs)

        monkeypatch.setattr(RemovedOrder.objects.all().__class__, "record", record_later)
        call_command("komfortkasse_reconcile", stdout=out)

        assert recorded() == [("default", "1001")]

    def test_names_the_first_of_many(self):
        create(*[str(number) for number in range(11)])
        removed(*[str(number) for number in range(20, 31)])
        create(*[str(number) for number in range(20, 31)], cancelled=False)

        out = call("--dry-run")

        assert "for each: 11 (0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 1 more)\n" in out
        assert "at Komfortkasse: 11 (20, 21, 22, 23, 24, 25, 26, 27, 28, 29 and 1 more)\n" in out

    def test_names_what_is_alive_again(self):
        create("1001", cancelled=False)
        removed("1001")

        assert call() == (
            "Shop default: 1 in the shop, 0 of them gone\n"
            "Alive again, but removed at Komfortkasse: 1 (1001)\n"
        )
        assert RemovedOrder.objects.get().alive_again_at is not None
        assert call() == "Shop default: 1 in the shop, 0 of them gone\n"

    def test_unmarks_what_is_not_any_more(self):
        create("1001", cancelled=False)
        removed("1001")
        call()
        Order.objects.update(number="1002")

        assert call() == "Shop default: 1 in the shop, 0 of them gone\n"
        assert RemovedOrder.objects.get().alive_again_at is None

    def test_dry_run_changes_nothing(self):
        create("1001")
        create("1002", cancelled=False)
        removed("1002")

        assert call("--dry-run").splitlines()[-1] == "Nothing was changed."
        assert RemovedOrder.objects.get().alive_again_at is None

    def test_is_silent_where_cron_would_send_mail(self):
        create("1001")

        assert call("-v", "0") == ""
        assert recorded() == [("default", "1001")]

    def test_in_german(self):
        create("1001")

        with translation.override("de"):
            out = call()

        assert out == (
            "Shop default: 1 im Shop, davon 1 beendet\n"
            "Nie vorgemerkt, je ein Aufruf bei Komfortkasse: 1 (1001)\n"
            "Vorgemerkt: 1, zu senden mit komfortkasse_push\n"
        )


class TestShops:
    def test_are_all_that_are_switched_on(self, configure):
        configure(aliases={"a": {}, "b": {}, "off": {"ENABLED": False}})
        create("1001")
        out = call()

        assert recorded() == [("a", "1001"), ("b", "1001")]
        assert "Shop off" not in out

    def test_may_be_one(self, configure):
        configure(aliases={"a": {}, "b": {}})
        create("1001")
        call("--shop", "b")

        assert recorded() == [("b", "1001")]

    def test_that_is_switched_off_is_a_mistake(self, configure):
        configure(aliases={"a": {}, "off": {"ENABLED": False}})
        create("1001")

        with pytest.raises(CommandError) as caught:
            call("--shop", "off")

        assert str(caught.value) == (
            "Shop off: nothing was recorded: the shop is switched off by ENABLED"
        )
        assert recorded() == []

    def test_one_that_fails_holds_up_no_other(self, configure):
        def fails(order):
            raise ZeroDivisionError("by the filter")

        configure(aliases={"bad": {"ORDER_FILTER": fails}, "good": {}})
        create("1001")

        with pytest.raises(CommandError) as caught:
            call()

        assert str(caught.value) == (
            "Shop bad: nothing was recorded: ZeroDivisionError: by the filter"
        )
        assert recorded() == [("good", "1001")]

    def test_without_its_orders_is_told(self, configure):
        removed("1001")

        with pytest.raises(CommandError, match='database "default" has no orders at all'):
            call()


class TestDatabase:
    @pytest.mark.django_db(databases=["default", "other"])
    def test_is_the_mirrors(self):
        Order.objects.using("other").create(number="2001", cancelled=True)
        create("1001")
        call("--database", "other")

        assert RemovedOrder.objects.using("other").get().order_number == "2001"
        assert recorded() == []

    @pytest.mark.django_db(databases=["default", "other"])
    def test_that_is_not_the_mirrors(self, settings):
        settings.DATABASE_ROUTERS = [MirrorElsewhere()]
        create("1001")

        with pytest.raises(CommandError, match='have their mirror in "other"'):
            call("--database", "default")
        assert recorded() == []

        call()
        assert RemovedOrder.objects.using("other").get().order_number == "1001"

    def test_without_the_table_of_the_orders(self, configure):
        configure(ORDER_MODEL="shop.IntegerOrder", ORDER_GONE={"number": 1})

        refused = pytest.raises(CommandError, match="nothing was recorded: OperationalError: no s")
        with refused, connection.execute_wrapper(without(IntegerOrder)):
            call()


def without(model):
    def refuse(execute, sql, *args):
        if f"FROM {connection.ops.quote_name(model._meta.db_table)}" in sql:
            raise OperationalError("no such table")
        return execute(sql, *args)

    return refuse


@pytest.mark.parametrize("verbosity", ["0", "1"])
def test_shows_a_bar_on_a_terminal(monkeypatch, verbosity):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(orders, "_CHUNK", 1)
    create("1001", "1002")
    call("--dry-run", "-v", verbosity)

    assert ("default" in terminal.getvalue()) == (verbosity == "1")
    assert ("0/2" in terminal.getvalue()) == (verbosity == "1")
