"""The page of one removal: what happened, and what happens next."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.utils import translation
from django.utils.formats import time_format

from komfortkasse_django.models import RemovedOrder, ShopState
from komfortkasse_django.reports.reasons import reason_of
from tests.support.mirror_pages import ahead, text, url

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

NBSP = "\N{NO-BREAK SPACE}"


def sections(client: Client, row: RemovedOrder) -> dict[str, dict[str, str]]:
    """The fields of the page, without tags, by heading and label."""
    page = text(client.get(url("change", row)))
    found = {}
    for fieldset in re.findall(r"<fieldset.*?</fieldset>", page):
        # Django 6.1 has fieldsets within fieldsets, none of them here.
        heading = re.search(r"<h2[^>]*>(.*?)</h2>", fieldset)[1].strip()
        labels = re.findall(r"<label[^>]*>(.*?):?</label>", fieldset)
        values = re.findall(r'<div class="readonly">(.*?)</div>', fieldset)
        found[heading] = {
            label.rstrip(":"): re.sub(r"<[^>]*>", "", value)
            for label, value in zip(labels, values, strict=True)
        }
    return found


def what_to_do(client: Client, row: RemovedOrder) -> str:
    """What the page says there is to do, without tags."""
    page = text(client.get(url("change", row)))
    found = page.partition("What to do</h2>")[2].partition("</section>")[0]
    return re.sub(" +", " ", re.sub("<[^>]*>", "", found)).strip()


def technical(client: Client, row: RemovedOrder) -> str:
    """The line for those who look after the website, without tags; empty if there is none."""
    page = text(client.get(url("change", row)))
    found = re.findall('<p class="komfortkasse-technical" dir="auto">(.*?)</p>', page)
    return re.sub("<[^>]*>", "", "".join(found))


class TestDetail:
    def test_of_a_removed_order(self, staff, make, settings):
        settings.TIME_ZONE = "UTC"
        row = make(
            payment_status="DISAPPEARED",
            reference_number="K1234A",
            amount=Decimal("22.38"),
            currency="EUR",
            attempts=2,
            created_at=datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
        )

        shown = sections(staff, row)

        assert list(shown) == ["What Komfortkasse says", "What happened"]
        assert shown["What happened"] == {
            "Order number": "1001",
            "Requested via": "deletion of the order",
            "Requested at": shown["What happened"]["Requested at"],
            "Attempts": "2",
        }
        assert shown["What happened"]["Requested at"].startswith("March 1, 2026, 12:30 p.m. (")
        assert shown["What Komfortkasse says"] == {
            "State": "removed",
            "Outcome": ("Komfortkasse has removed the order and sends no more reminders for it."),
            "Reference number": "K1234A",
            "Amount": f"22.38{NBSP}EUR",
            "Finished at": shown["What Komfortkasse says"]["Finished at"],
        }
        assert shown["What Komfortkasse says"]["Finished at"].endswith("(just now)")
        assert what_to_do(staff, row) == "Nothing is left to do."
        assert technical(staff, row) == ""

    @pytest.mark.parametrize(
        ("status", "shown"),
        [("PAID_PARTIAL", "Partially paid"), ("PLANNED", "PLANNED"), ("DISAPPEARED", None)],
    )
    def test_the_payment_status_is_shown_if_it_says_more(self, staff, make, status, shown):
        row = make(payment_status=status)

        assert sections(staff, row)["What Komfortkasse says"].get("Payment status") == shown

    @pytest.mark.parametrize(("paid", "shown"), [(0, f"0.00{NBSP}EUR"), (None, None)])
    def test_nothing_paid_is_not_the_same_as_nothing_said(self, staff, make, paid, shown):
        row = make(amount_paid=paid, currency="EUR")

        assert sections(staff, row)["What Komfortkasse says"].get("Amount paid") == shown
        assert what_to_do(staff, row) == "Nothing is left to do."

    def test_of_an_order_that_was_paid(self, staff, make):
        row = make(amount_paid=Decimal(20), currency="EUR")

        assert sections(staff, row)["What Komfortkasse says"]["Amount paid"] == f"20.00{NBSP}EUR"
        assert f"Refund 20.00{NBSP}EUR to the customer" in what_to_do(staff, row)
        assert "press “Settled”" in what_to_do(staff, row)

    def test_of_one_that_fails_again_and_again(self, staff, make):
        """The head of the list counts it as something to do, so its page says what."""
        row = make(
            state="pending",
            error_code="service_unavailable",
            created_at=ahead(hours=-2),
            next_attempt_at=ahead(minutes=9),
        )

        assert sections(staff, row)["What Komfortkasse says"]["State"] == "overdue"
        assert "please tell those who look after the website" in what_to_do(staff, row)

    def test_of_an_order_that_was_refunded(self, staff, make):
        row = make(amount_paid=20, payment_status="REFUNDED")

        assert what_to_do(staff, row) == "Nothing is left to do."

    def test_of_an_order_at_a_collection_agency(self, staff, make):
        row = make(
            payment_status="COLLECTION",
            collection_partner="Inkasso Nord",
            collection_file="AZ 7",
            collection_status="SUBMITTED",
            dunning_level=3,
        )

        says = sections(staff, row)["What Komfortkasse says"]
        assert says["Payment status"] == "Collection"
        assert says["Reminders sent"] == "3"
        assert says["Collection agency"] == "Inkasso Nord"
        assert says["File number at the agency"] == "AZ 7"
        assert says["Status at the agency"] == "SUBMITTED"
        to_do = what_to_do(staff, row)
        assert "Have it called off in Komfortkasse; that may cost money." in to_do
        assert "press “Settled”" in to_do

    def test_no_reminders_are_an_answer(self, staff, make):
        says = sections(staff, make(dunning_level=0))["What Komfortkasse says"]

        assert says["Reminders sent"] == "0"

    def test_of_an_order_that_is_alive_again(self, staff, make):
        row = make(alive_again_at=ahead(minutes=-5))

        to_do = what_to_do(staff, row)
        assert "The shop has an order with this number again" in to_do
        assert "send the order to Komfortkasse again" in to_do
        assert "press “Settled”" in to_do

    @pytest.mark.parametrize(
        ("state", "outcome", "next_step"),
        [
            ("unknown", "knows no order with this number", "Nothing is left to do."),
            ("superseded", "was not asked", "Nothing is left to do."),
            ("failed", "refuses to remove", "Nothing happens by itself."),
            ("pending", "has not been asked yet", "will be sent by itself, usually within a min"),
        ],
    )
    def test_of_other_outcomes(self, staff, make, state, outcome, next_step):
        row = make(state=state)

        says = sections(staff, row)["What Komfortkasse says"]
        assert outcome in says["Outcome"]
        assert "Amount" not in says
        assert next_step in what_to_do(staff, row)
        has_finished = state in {"unknown", "superseded"}
        assert ("Finished at" in says) == has_finished

    def test_of_one_that_is_tried_again(self, staff, make):
        row = make(
            state="pending",
            next_attempt_at=ahead(minutes=3, seconds=50),
            error_code="connection_failed",
            last_error="No connection to Komfortkasse: refused",
        )

        says = sections(staff, row)["What Komfortkasse says"]["Outcome"]
        assert says == "Komfortkasse has not confirmed the removal yet: no connection."
        to_do = what_to_do(staff, row)
        assert "tried again by itself in 3 minutes (" in to_do
        assert "could not be reached" in to_do
        assert technical(staff, row) == (
            "For whoever looks after the website:"
            " No connection to Komfortkasse: refused. Check the server&#x27;s network."
        )

    def test_of_one_that_was_refused(self, staff, make):
        row = make(
            state="failed",
            error_code="invalid_request",
            last_error="Komfortkasse rejects the request (HTTP 400: Order is locked)",
        )

        assert "The last line of this page has its own words." in what_to_do(staff, row)
        assert technical(staff, row).endswith("(HTTP 400: Order is locked)")

    @pytest.mark.parametrize("enabled", [True, False])
    def test_of_one_that_nobody_sends(self, staff, make, configure, enabled):
        configure(ENABLED=enabled)
        row = make(state="pending", created_at=ahead(hours=-3), next_attempt_at=ahead(minutes=-61))

        says = "It should have been sent long ago: please tell those who look after the website."
        assert (says in what_to_do(staff, row)) == enabled
        assert ("Is komfortkasse_push running?" in technical(staff, row)) == enabled

    def test_of_an_unknown_one_that_is_asked_for_again(self, staff, make):
        row = make(state="unknown", next_attempt_at=ahead(minutes=59, seconds=50))

        to_do = what_to_do(staff, row)
        assert to_do.startswith("Komfortkasse did not know the order yet.")
        assert "This is normal." in to_do
        assert "It will be tried again by itself in 59 minutes (" in to_do
        assert "Finished at" not in sections(staff, row)["What Komfortkasse says"]

    def test_of_an_unknown_one_that_cannot_be_asked_for_again(self, staff, make, configure):
        configure(ENABLED=False)
        row = make(state="unknown", next_attempt_at=ahead(minutes=59))

        assert "This is normal. It is not sent at the moment: the shop" in what_to_do(staff, row)

    def test_of_one_that_cannot_be_sent(self, staff, make, configure):
        configure(ENABLED=False)
        row = make(state="pending")

        assert "not sent at the moment: the shop default is switched off" in what_to_do(staff, row)

    def test_says_nothing_twice(self, staff, make):
        ShopState.objects.create(
            shop="default", paused_until=ahead(minutes=5), error_code="service_unavailable"
        )
        row = make(state="pending", error_code="service_unavailable", last_error="HTTP 503")

        assert what_to_do(staff, row).count("The trouble is at Komfortkasse") == 1

    @pytest.mark.parametrize(
        ("language", "code", "says"),
        [
            (
                "en",
                "authentication_failed",
                "until those who look after the website have corrected",
            ),
            ("en", "service_unavailable", "should pass by itself."),
            ("de", "authentication_failed", "Bis ihn die Betreuer der Website berichtigt haben"),
        ],
    )
    def test_of_a_shop_that_is_paused(self, staff, make, settings, language, code, says):
        settings.TIME_ZONE = "Europe/Berlin"
        until = ahead(minutes=5)
        ShopState.objects.create(shop="default", paused_until=until, failures=3, error_code=code)
        row = make(state="pending")

        page = text(staff.get(url("change", row), headers={"accept-language": language}))

        local = until.astimezone(ZoneInfo("Europe/Berlin"))
        with translation.override(language):
            at = time_format(local)
            label = reason_of(code).label
            assert (
                f"default {'is paused until' if language == 'en' else 'pausiert bis'} {at}" in page
            )
            assert f": {label}.</p>" in page
        assert says in page

    def test_names_the_shop_where_that_says_something(self, staff, make, configure):
        assert "Shop" not in sections(staff, make())["What happened"]
        assert sections(staff, make(shop="gone"))["What happened"]["Shop"] == "gone"
        configure(aliases={"default": {}, "vienna": {}})
        assert sections(staff, make())["What happened"]["Shop"] == "default"

    def test_of_nothing(self, staff, make):
        row = make()
        RemovedOrder.objects.all().delete()

        assert staff.get(url("change", row)).status_code == 302
