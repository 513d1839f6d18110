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


class TestDetail:
    def sections(self, client: Client, row: RemovedOrder) -> dict[str, dict[str, str]]:
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

        sections = self.sections(staff, row)

        assert list(sections) == ["What happened", "What Komfortkasse says", "What happens next"]
        assert sections["What happened"] == {
            "Order number": "1001",
            "Requested via": "deletion of the order",
            "Requested at": sections["What happened"]["Requested at"],
            "Attempts": "2",
        }
        assert sections["What happened"]["Requested at"].startswith("March 1, 2026, 12:30 p.m. (")
        assert sections["What Komfortkasse says"] == {
            "State": "removed",
            "Outcome": ("Komfortkasse has removed the order and sends no more reminders for it."),
            "Payment status": "Disappeared",
            "Reference number": "K1234A",
            "Amount": f"22.38{NBSP}EUR",
            "Amount paid": "-",
            "Finished at": sections["What Komfortkasse says"]["Finished at"],
        }
        assert sections["What Komfortkasse says"]["Finished at"].endswith("(just now)")
        assert sections["What happens next"] == {"Next step": "Nothing is left to do."}

    def test_of_an_order_that_was_paid(self, staff, make):
        row = make(amount_paid=Decimal(20), currency="EUR")

        sections = self.sections(staff, row)

        assert sections["What Komfortkasse says"]["Amount paid"] == f"20.00{NBSP}EUR: refund needed"
        assert f"refund 20.00{NBSP}EUR" in sections["What happens next"]["Next step"]

    def test_of_an_order_paid_by_nothing(self, staff, make):
        row = make(amount_paid=Decimal(0), currency="EUR")

        assert self.sections(staff, row)["What happens next"]["Next step"] == (
            "Nothing is left to do."
        )

    @pytest.mark.parametrize(
        ("state", "outcome", "next_step"),
        [
            ("unknown", "knows no order with this number", "Nothing is left to do"),
            ("superseded", "was not asked", "Nothing is left to do"),
            ("failed", "refuses to remove", "Nothing happens by itself"),
            ("pending", "has not been asked yet", "The next run of komfortkasse_push will send it"),
        ],
    )
    def test_of_other_outcomes(self, staff, make, state, outcome, next_step):
        sections = self.sections(staff, make(state=state))

        assert outcome in sections["What Komfortkasse says"]["Outcome"]
        assert "Amount" not in sections["What Komfortkasse says"]
        assert next_step in sections["What happens next"]["Next step"]
        has_finished = state in {"unknown", "superseded"}
        assert ("Finished at" in sections["What Komfortkasse says"]) == has_finished

    def test_of_one_that_is_tried_again(self, staff, make):
        row = make(
            state="pending",
            next_attempt_at=ahead(minutes=3, seconds=50),
            error_code="connection_failed",
            last_error="No connection to Komfortkasse: refused",
        )

        sections = self.sections(staff, row)

        says = sections["What Komfortkasse says"]["Outcome"]
        assert says == "Komfortkasse has not confirmed the removal yet: no connection."
        assert "tried again in 3 minutes (" in sections["What happens next"]["Next step"]
        assert sections["Last error"]["Last error"] == "No connection to Komfortkasse: refused"
        assert "could not be reached" in sections["Last error"]["Meaning"]

    def test_of_an_unknown_one_that_is_asked_for_again(self, staff, make):
        row = make(state="unknown", next_attempt_at=ahead(minutes=59, seconds=50))

        sections = self.sections(staff, row)

        next_step = sections["What happens next"]["Next step"]
        assert next_step.startswith("Komfortkasse did not know the order yet.")
        assert "That is no trouble." in next_step
        assert "It will be tried again in 59 minutes (" in next_step
        assert "Finished at" not in sections["What Komfortkasse says"]

    def test_of_an_unknown_one_that_cannot_be_asked_for_again(self, staff, make, configure):
        configure(ENABLED=False)
        row = make(state="unknown", next_attempt_at=ahead(minutes=59))

        next_step = self.sections(staff, row)["What happens next"]["Next step"]
        assert "That is no trouble. It is not sent at the moment: the shop" in next_step

    def test_of_one_that_cannot_be_sent(self, staff, make, configure):
        configure(ENABLED=False)
        row = make(state="pending")

        next_step = self.sections(staff, row)["What happens next"]["Next step"]
        assert "not sent at the moment: the shop default is switched off" in next_step

    @pytest.mark.parametrize(
        ("language", "code", "says"),
        [
            ("en", "authentication_failed", "until the people who run the website have corrected"),
            ("en", "service_unavailable", "should pass. There is nothing for you to do."),
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
            assert f": {label}. " in page
        assert says in page

    def test_names_the_shop_where_that_says_something(self, staff, make, configure):
        assert "Shop" not in self.sections(staff, make())["What happened"]
        assert self.sections(staff, make(shop="gone"))["What happened"]["Shop"] == "gone"
        configure(aliases={"default": {}, "vienna": {}})
        assert self.sections(staff, make())["What happened"]["Shop"] == "default"

    def test_of_nothing(self, staff, make):
        row = make()
        RemovedOrder.objects.all().delete()

        assert staff.get(url("change", row)).status_code == 302
