"""The actions of the admin, on orders and on the mirror: record, log, deliver and tell."""

import json
import re
from typing import ClassVar

import pytest
from django.contrib.admin.models import CHANGE, LogEntry, LogEntryManager
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse

from komfortkasse_django.admin import actions
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet, ShopState
from tests.shop.models import Order
from tests.support.komfortkasse import Answer, error, order_json
from tests.support.mirror_pages import LIST, ahead, text, url
from tests.support.order_pages import confirm, fields_of, removal_url, select
from tests.support.routers import MirrorElsewhere
from tests.support.staff import message

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


class TestRemoveOrders:
    @pytest.mark.parametrize(
        "case",
        [
            (error(404), "success", "1 unknown to Komfortkasse"),
            (error(400, "no"), "error", "1 refused by Komfortkasse"),
            (
                ConnectionError(),
                "warning",
                "1 will be tried again in less than a minute: no connection",
            ),
            (
                error(503),
                "warning",
                (
                    "1 will be tried again in less than a minute:"
                    " Komfortkasse is out of order or overloaded"
                ),
            ),
        ],
    )
    def test_are_told_in_plain_words(self, clerk, order, komfortkasse, case):
        komfortkasse.answer, level, expected = case

        done = confirm(clerk, clerk.get(removal_url(order)))

        assert message(done) == (level, f"Komfortkasse: {expected}.")
        assert Order.objects.exists()

    def test_with_requests_that_are_transactions(self, clerk, order, komfortkasse, monkeypatch):
        """The message is only known after the view has ended."""
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)

        done = confirm(clerk, clerk.get(removal_url(order)))

        assert komfortkasse.numbers == ["1001"]
        assert message(done) == ("success", "Komfortkasse: 1 removed.")

    def test_what_cannot_be_logged_is_not_removed(self, clerk, order, komfortkasse, monkeypatch):
        def broken(*args, **kwargs):
            raise RuntimeError

        page = clerk.get(removal_url(order))
        monkeypatch.setattr(LogEntry.objects.__class__, "log_actions", broken)

        with pytest.raises(RuntimeError):
            confirm(clerk, page)

        assert not RemovedOrder.objects.exists()
        assert komfortkasse.numbers == []

    def test_what_cannot_be_told_has_happened_all_the_same(
        self, clerk, order, komfortkasse, monkeypatch, caplog
    ):
        monkeypatch.setattr(actions, "summarize", None)

        done = confirm(clerk, clerk.get(removal_url(order)))

        assert done.status_code == 302
        assert komfortkasse.numbers == ["1001"]
        assert "remove_orders.<locals>.tell" in caplog.text

    @pytest.mark.django_db(transaction=True, databases=["default", "other"])
    def test_with_a_mirror_elsewhere(self, clerk, order, komfortkasse, settings):
        settings.DATABASE_ROUTERS = [MirrorElsewhere()]

        done = confirm(clerk, clerk.get(removal_url(order)))

        assert message(done) == ("success", "Komfortkasse: 1 removed.")
        assert RemovedOrder.objects.using("other").get().state == "removed"

    def test_what_could_not_be_recorded_elsewhere_is_told(
        self, clerk, order, komfortkasse, settings, monkeypatch
    ):
        def broken(*args, **kwargs):
            raise DatabaseError

        settings.DATABASE_ROUTERS = [MirrorElsewhere()]
        RemovedOrder.objects.using("other").create(order_number="1001", shop="default")
        monkeypatch.setattr(RemovedOrderQuerySet, "record", broken)

        done = confirm(clerk, clerk.get(removal_url(order)))

        assert message(done) == (
            "error",
            "1 removal could not be recorded. Please tell the people who run the website.",
        )

    def test_two_orders_with_one_number_are_one_removal(self, clerk, order, komfortkasse):
        orders = [order, Order.objects.create(number="1001")]

        done = confirm(clerk, select(clerk, orders))

        assert komfortkasse.numbers == ["1001"]
        assert RemovedOrder.objects.count() == 1
        assert message(done) == ("success", "Komfortkasse: 1 removed.")
        assert LogEntry.objects.count() == 2


def answer(number: str, **attributes: object) -> Answer:
    return 200, {}, json.dumps(order_json(number, **attributes))


class TestWhatIsToBeSettled:
    """The message names what a person has to do: a sentence a kind, with up to five orders."""

    PAID: ClassVar = {"amountPaid": 54, "currency": "EUR", "paymentStatus": "PAID"}
    AGENCY: ClassVar = {"collectionPartner": "Inkasso Nord", "paymentStatus": "UNPAID"}

    def remove(self, clerk, komfortkasse, answers: dict[str, dict[str, object]]):
        komfortkasse.answers = {number: answer(number, **more) for number, more in answers.items()}
        orders = [Order.objects.create(number=number) for number in answers]
        return message(confirm(clerk, select(clerk, orders)))

    @pytest.mark.parametrize(
        ("more", "sentences"),
        [
            (PAID, " Money had arrived: refund 54.00\xa0EUR for order 1001."),
            (AGENCY, " A collection agency is at work: have it called off for order 1001."),
            (
                {**PAID, **AGENCY},
                (
                    " Money had arrived: refund 54.00\xa0EUR for order 1001."
                    " A collection agency is at work: have it called off for order 1001."
                ),
            ),
            ({**PAID, "paymentStatus": "REFUNDED"}, ""),
            ({"amountPaid": 0}, ""),
        ],
    )
    def test_of_one_order(self, clerk, komfortkasse, more, sentences):
        level, told = self.remove(clerk, komfortkasse, {"1001": more, "1002": {}})

        assert told == "Komfortkasse: 2 removed." + sentences
        assert level == ("warning" if sentences else "success")

    def test_of_several(self, clerk, komfortkasse):
        swiss = {**self.PAID, "amountPaid": 20, "currency": "CHF"}
        answers = {"1001": self.PAID, "1002": swiss, "1003": self.PAID, "1004": {}}

        _level, told = self.remove(clerk, komfortkasse, answers)

        for amount in ("108.00\xa0EUR", "20.00\xa0CHF"):
            assert amount in told
        assert "for the orders 1" in told
        for number in answers:
            assert (number in told) == (number != "1004")

    @pytest.mark.parametrize("count", [5, 6, 12])
    def test_names_up_to_five(self, clerk, komfortkasse, count):
        numbers = [str(number) for number in range(1000, 1000 + count)]

        _level, told = self.remove(clerk, komfortkasse, dict.fromkeys(numbers, self.AGENCY))

        assert len(re.findall(r"\b10\d\d\b", told)) == 5
        assert (f" and {count - 5} more." in told) == (count > 5)
        assert told.count(".") == 2

    def test_of_what_was_settled_before_nothing(self, clerk, komfortkasse, make):
        make(amount_paid=54, currency="EUR", settled_at=ahead())

        told = self.remove(clerk, komfortkasse, {"1001": self.PAID})

        assert told == ("success", "Komfortkasse: 1 removed.")

    def test_is_an_error_where_something_failed_too(self, clerk, komfortkasse):
        komfortkasse.answers = {"1001": answer("1001", **self.PAID), "1002": error(400, "no")}
        orders = [Order.objects.create(number=number) for number in ("1001", "1002")]

        level, told = message(confirm(clerk, select(clerk, orders)))

        assert level == "error"
        assert told.startswith("Komfortkasse: 1 removed, 1 refused by Komfortkasse. Money had")

    def test_after_trying_again(self, staff, make, komfortkasse):
        komfortkasse.answer = answer("1001", **self.PAID, collectionFile="4711")
        make(state="failed")
        make(state="pending")

        keys = [row.pk for row in RemovedOrder.objects.all()]
        done = staff.post(reverse(LIST), {"action": "try_again", "_selected_action": keys})

        assert message(done) == (
            "warning",
            (
                "Komfortkasse: 2 removed. Money had arrived: refund 54.00\xa0EUR for order 1001."
                " A collection agency is at work: have it called off for order 1001."
            ),
        )

    def test_is_translated(self, clerk, order, komfortkasse):
        komfortkasse.answer = answer("1001", **self.PAID, collectionFile="4711")
        clerk.defaults["HTTP_ACCEPT_LANGUAGE"] = "de"

        assert message(confirm(clerk, clerk.get(removal_url(order)))) == (
            "warning",
            (
                "Komfortkasse: 1 entfernt. Es war schon Geld eingegangen: Erstatten Sie"
                " 54,00\xa0EUR für die Bestellung 1001. Ein Inkassobüro ist beauftragt: Lassen Sie"
                " den Auftrag für die Bestellung 1001 zurückziehen."
            ),
        )

    def test_is_isolated_and_escaped(self, clerk, komfortkasse):
        evil = "<b>1001</b>"
        komfortkasse.answer = answer(evil, **self.PAID)
        order = Order.objects.create(number=evil)

        page = clerk.get(removal_url(order))
        html = text(clerk.post(removal_url(order), fields_of(text(page)), follow=True))

        assert "<bdi>Komfortkasse: 1 removed. Money" in html
        assert evil not in html


class TestTryAgain:
    def post(self, client: Client, *rows: RemovedOrder):
        keys = [row.pk for row in rows]
        return client.post(reverse(LIST), {"action": "try_again", "_selected_action": keys})

    def test_a_single_one_from_its_page(self, staff, make, komfortkasse):
        row = make(state="failed", last_error="Komfortkasse rejects the request (HTTP 400: no)")
        other = make(order_number="1002", state="failed", next_attempt_at=None)
        page = text(staff.get(url("change", row)))
        assert f'formaction="{url("try_again", row)}"' in page
        assert "csrfmiddlewaretoken" in page.partition('id="removedorder_form"')[2]

        done = staff.post(url("try_again", row))

        assert done.url == url("change", row)
        assert message(done) == ("success", "Komfortkasse: 1 removed.")
        other.refresh_from_db()
        assert (other.state, other.next_attempt_at) == ("failed", None)
        row.refresh_from_db()
        assert (row.state, row.last_error) == ("removed", "")
        [entry] = LogEntry.objects.all()
        assert entry.action_flag == CHANGE
        assert entry.get_edited_object() == row
        assert "Tried again to remove it." in text(staff.get(url("history", row)))

    def test_several_from_the_list_with_the_result_in_plain_words(self, staff, make, komfortkasse):
        komfortkasse.answers = {
            "1004": error(404),
            "1005": ConnectionError("down"),
            "1006": error(400, "no"),
        }
        rows = [
            make(order_number=str(number), state=state, next_attempt_at=ahead(hours=1))
            for number, state in [
                (1001, "pending"),
                (1002, "pending"),
                (1003, "failed"),
                (1004, "pending"),
                (1005, "pending"),
                (1006, "failed"),
            ]
        ]
        RemovedOrder.objects.filter(state="failed").update(next_attempt_at=None)

        done = self.post(staff, *rows)

        assert done.url == reverse(LIST)
        assert message(done) == (
            "error",
            (
                "Komfortkasse: 3 removed, 1 unknown to Komfortkasse, 1 refused by Komfortkasse,"
                " 1 will be tried again in less than a minute: no connection."
            ),
        )

    def test_each_shop_has_its_own_budget(self, staff, make, configure, komfortkasse):
        configure(aliases={"a": {}, "b": {"REQUEST_BUDGET": 0}})
        rows = [make(state="pending", shop=alias, order_number=alias) for alias in ("a", "b")]

        self.post(staff, *rows)

        assert komfortkasse.numbers == ["a"]
        assert RemovedOrder.objects.due().count() == 1

    def test_not_while_a_transaction_is_open_on_another_database(self, staff, make, komfortkasse):
        """As with ATOMIC_REQUESTS on two: it must not wait for Komfortkasse."""
        row = make(state="failed")

        with transaction.atomic("other"):
            done = self.post(staff, row)

        assert komfortkasse.numbers == []
        assert message(done) == ("warning", "Komfortkasse: 1 is still to be sent.")

    def test_finished_ones_are_left_alone(self, staff, make, komfortkasse):
        rows = [make(state=state) for state in ("removed", "superseded")]

        done = self.post(staff, *rows)

        assert message(done) == ("success", "Komfortkasse: nothing to do.")
        assert komfortkasse.numbers == []
        assert not LogEntry.objects.exists()
        for row in rows:
            assert "Try again" not in text(staff.get(url("change", row)))
            staff.post(url("try_again", row))
        assert komfortkasse.numbers == []

    @pytest.mark.parametrize("is_asked_for_again", [True, False])
    def test_an_unknown_one(self, staff, make, komfortkasse, is_asked_for_again):
        row = make(state="unknown", next_attempt_at=None, finished_at=ahead())
        if is_asked_for_again:
            row.next_attempt_at = ahead(hours=1)
            row.save()

        assert "Try again" in text(staff.get(url("change", row)))
        done = self.post(staff, row)

        assert message(done) == ("success", "Komfortkasse: 1 removed.")
        assert komfortkasse.numbers == [row.order_number]

    def test_only_the_selected_ones(self, staff, make, komfortkasse):
        row = make(order_number="1001", state="failed")
        make(order_number="1002", state="failed")
        make(order_number="1003", state="pending")

        self.post(staff, row)

        assert komfortkasse.numbers == ["1001"]

    def test_all_pages_of_a_filter(self, staff, make, komfortkasse):
        rows = [make(order_number=str(number), state="failed") for number in range(5)]
        make(order_number="pending", state="pending")

        staff.post(
            reverse(LIST) + "?state=failed",
            {"action": "try_again", "_selected_action": rows[0].pk, "select_across": "1"},
        )

        assert sorted(komfortkasse.numbers) == ["0", "1", "2", "3", "4"]

    def test_within_the_budget(self, staff, make, komfortkasse, configure):
        configure(REQUEST_BUDGET=0)
        rows = [make(state="failed"), make(state="failed")]

        done = self.post(staff, *rows)

        assert komfortkasse.numbers == []
        assert message(done) == ("warning", "Komfortkasse: 2 are still to be sent.")
        assert RemovedOrder.objects.due().count() == 2

    def test_keeps_to_the_pause_that_komfortkasse_asked_for(self, staff, make, komfortkasse):
        ShopState.objects.create(shop="default", paused_until=ahead(minutes=5))

        level, told = message(staff.post(url("try_again", make(state="failed"))))

        assert komfortkasse.numbers == []
        assert level == "warning"
        assert told.startswith(
            "Komfortkasse: 1 is still to be sent: the shop default is paused until"
        )

    def test_that_cannot_be_logged_is_not_tried(self, staff, make, komfortkasse, monkeypatch):
        row = make(state="failed", next_attempt_at=None)
        monkeypatch.setattr(LogEntryManager, "log_actions", lambda *args: {}["no log"])

        with pytest.raises(KeyError):
            staff.post(url("try_again", row))

        assert RemovedOrder.objects.failed().get() == row
        assert komfortkasse.numbers == []

    def test_of_a_shop_that_is_not_in_the_settings_any_more(self, staff, make, komfortkasse):
        done = self.post(staff, make(shop="gone", state="failed"), make(state="pending"))

        assert komfortkasse.numbers == ["1001"]
        assert message(done) == (
            "warning",
            (
                "Komfortkasse: 1 removed, 1 is still to be sent: the shop gone is not in the"
                " settings any more."
            ),
        )

    def test_several_that_wait(self, staff, make, komfortkasse):
        komfortkasse.answer = ConnectionError("down")
        rows = [make(order_number=str(number), state="pending") for number in range(2)]

        assert message(self.post(staff, *rows)) == (
            "warning",
            "Komfortkasse: 2 will be tried again, the first in less than a minute: no connection.",
        )

    def test_what_was_not_reached_is_told_apart(self, staff, make, configure):
        configure(REQUEST_BUDGET=0)
        row = make(state="failed", error_code="invalid_request")

        assert message(self.post(staff, row))[1] == "Komfortkasse: 1 is still to be sent."

    def test_what_cannot_be_told_has_happened_all_the_same(
        self, staff, make, komfortkasse, monkeypatch, caplog
    ):
        monkeypatch.setattr(actions, "summarize", None)

        done = staff.post(url("try_again", make(state="failed")))

        assert done.status_code == 302
        assert komfortkasse.numbers == ["1001"]
        assert "retry_removals.<locals>.tell" in caplog.text

    def test_with_requests_that_are_transactions(self, staff, make, komfortkasse, monkeypatch):
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)

        done = staff.post(url("try_again", make(state="failed")))

        assert message(done) == ("success", "Komfortkasse: 1 removed.")

    def test_of_nothing(self, staff, make):
        row = make()
        RemovedOrder.objects.all().delete()

        assert staff.post(url("try_again", row)).status_code == 404
