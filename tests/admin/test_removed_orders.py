"""The mirror in the admin: its list, its search, and who may do what."""

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from komfortkasse_django.admin import changelist
from komfortkasse_django.models import RemovedOrder
from tests.support.mirror_pages import LIST, ahead, cells, cells_of, listed, text, url
from tests.support.staff import make_staff, message

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

NBSP = "\N{NO-BREAK SPACE}"
DEEDS = ("try_again", "settle", "unsettle")


class TestList:
    def test_shows_what_was_answered(self, staff, make):
        make(
            payment_status="PAID_PARTIAL",
            reference_number="K1234A",
            amount=Decimal("1234.5"),
            amount_paid=Decimal(20),
            currency="EUR",
            created_at=ahead(minutes=-3),
        )

        assert cells(staff) == {
            "number": "1001 K1234A",
            "state_and_more": "removed Partially paid",
            "to_do": f"refund 20.00{NBSP}EUR",
            "amounts": f"1,234.50{NBSP}EUR paid: 20.00{NBSP}EUR",
            "requested": "3 minutes ago",
        }

    def test_has_nothing_where_nothing_is_to_be_said(self, staff, make):
        make(payment_status="DISAPPEARED")

        row = cells(staff)
        assert (row["number"], row["state_and_more"]) == ("1001", "removed")
        assert (row["to_do"], row["amounts"]) == ("", "")

    def test_shows_when_it_is_tried_again(self, staff, make):
        make(state="pending", next_attempt_at=ahead(minutes=3, seconds=30))

        assert cells(staff)["state_and_more"] == "pending again in 3 minutes"

    def test_what_is_overdue_has_a_badge_of_its_own(self, staff, make):
        make(state="pending", created_at=ahead(minutes=-61))

        assert cells(staff)["state_and_more"] == "overdue"
        assert "komfortkasse-overdue" in text(staff.get(reverse(LIST)))

    @pytest.mark.parametrize(
        ("attributes", "to_do"),
        [
            ({"amount_paid": 0}, ""),
            ({"amount_paid": -1}, ""),
            ({"amount_paid": 5}, "refund 5.00"),
            ({"amount_paid": 5, "payment_status": "REFUNDED"}, ""),
            ({"payment_status": "COLLECTION"}, "at a collection agency"),
            ({"collection_partner": "Inkasso Nord"}, "at a collection agency"),
            ({"alive_again_at": ahead(hours=-1)}, "alive again"),
            (
                {"amount_paid": 5, "collection_file": "AZ 1", "alive_again_at": ahead(hours=-1)},
                "refund 5.00 at a collection agency alive again",
            ),
            ({"amount_paid": 5, "settled_at": ahead(days=-2)}, "settled 2 days ago"),
            (
                {"amount_paid": 5, "settled_at": ahead(days=-2), "alive_again_at": ahead(days=-1)},
                "alive again",
            ),
            (
                {"amount_paid": 5, "settled_at": ahead(days=-1), "alive_again_at": ahead(days=-2)},
                "settled 1 day ago",
            ),
        ],
    )
    def test_shows_what_is_to_do(self, staff, make, attributes, to_do):
        make(**attributes)

        assert cells(staff)["to_do"] == to_do

    def test_what_a_later_removal_has_taken_over_is_not_settled(self, staff, make):
        make(amount_paid=5, settled_at=ahead(), finished_at=ahead(hours=-1))
        make(amount_paid=5)

        rows = staff.get(reverse(LIST)).context["cl"].result_list
        assert [row.is_taken_over for row in rows] == [False, True]
        assert "see the later removal" in text(staff.get(reverse(LIST)))

    @pytest.mark.parametrize(
        ("paid", "shown"), [(None, ""), (0, ""), (-1, f"paid: -1.00{NBSP}EUR")]
    )
    def test_nothing_paid_is_not_shown(self, staff, make, paid, shown):
        make(amount_paid=paid, currency="EUR")

        assert cells(staff)["amounts"] == shown

    def test_amount_without_currency(self, staff, make):
        make(amount=Decimal(5))

        assert cells(staff)["amounts"] == "5.00"

    def test_unknown_values_are_shown_as_they_come(self, staff, make):
        make(payment_status="PLANNED", state="odd")

        assert cells(staff)["state_and_more"] == "odd PLANNED"

    def test_the_shop_is_shown_only_where_there_are_several(self, staff, make, configure):
        make()
        assert "shop" not in cells(staff)
        assert "By shop" not in text(staff.get(reverse(LIST)))

        configure(aliases={"default": {}, "vienna": {}})
        assert cells(staff)["shop"] == "default"
        assert "By shop" in text(staff.get(reverse(LIST)))

    def test_can_be_sorted(self, staff, make):
        for number, reference in [("1002", "K1"), ("1001", "K2"), ("1001", "K1")]:
            make(order_number=number, reference_number=reference)
        first, second, third = RemovedOrder.objects.order_by("pk")

        def sorted_by(order: str) -> list[RemovedOrder]:
            return list(staff.get(reverse(LIST), {"o": order}).context["cl"].result_list)

        assert sorted_by("1") == [second, third, first]
        assert sorted_by("-1") == [first, third, second]
        assert sorted_by("5") == [first, second, third]
        assert sorted_by("-5") == [third, second, first]
        assert sorted_by("1.5") == [second, third, first]
        assert sorted_by("1.-5") == [third, second, first]

    def test_newest_first(self, staff, make):
        for number in ("1001", "1002", "1003"):
            make(order_number=number)

        assert listed(staff) == ["1003", "1002", "1001"]

    def test_exact_times_are_there_for_those_who_point_at_them(self, staff, make, settings):
        settings.TIME_ZONE = "UTC"
        make(created_at=datetime(2026, 3, 1, 12, 30, tzinfo=UTC))

        page = text(staff.get(reverse(LIST)))
        assert 'datetime="2026-03-01T12:30:00+00:00"' in page
        assert 'title="March 1, 2026, 12:30 p.m."' in page

    def test_exact_times_are_those_of_the_time_zone(self, staff, make):
        make(created_at=datetime(2026, 3, 1, 12, 30, tzinfo=UTC))

        with timezone.override("Europe/Berlin"):
            assert 'title="March 1, 2026, 1:30 p.m."' in text(staff.get(reverse(LIST)))

    def test_queries_do_not_grow_with_the_rows(self, staff, make):
        counts = []
        for _ in range(2):
            make(state="pending")
            make(state="failed")
            make(amount_paid=1)
            make(amount_paid=1, settled_at=ahead())
            with CaptureQueriesContext(connection) as queries:
                staff.get(reverse(LIST))
            counts.append(len(queries))
        assert counts[0] == counts[1]
        # Session, user, two for permissions, three for the page, six for the head.
        assert counts[0] <= 13


class TestSearch:
    @pytest.mark.parametrize(
        "term", ["A 1/7", " A 1/7 ", "1/7", "a 1", "7 A", "K1234A", "k1234a", "1234", " 34A"]
    )
    def test_finds_numbers_and_parts_of_them(self, staff, make, term):
        make(order_number="A 1/7", reference_number="K1234A")
        make(order_number="B 2/8", reference_number="K5678B")

        assert listed(staff, q=term) == ["A 1/7"]

    @pytest.mark.parametrize("term", ["%", "_", "A 9", "default", "delete"])
    def test_finds_nothing_else(self, staff, make, term):
        make(order_number="A 1/7", reference_number="K1234A")

        assert listed(staff, q=term) == []

    @pytest.mark.parametrize("most", [1000, 51])
    def test_goes_on_to_the_next_page(self, staff, make, monkeypatch, most):
        monkeypatch.setattr(changelist, "_MOST_FOUND", most)
        for number in range(1, 53):
            make(order_number=f"A {number:02}")
        make(order_number="B 1")

        assert listed(staff, q="A") == [f"A {number:02}" for number in range(52, 2, -1)]
        assert listed(staff, q="A", p="2") == ["A 02", "A 01"]

    def test_nothing_finds_everything(self, staff, make):
        make()

        assert listed(staff, q=" ") == ["1001"]

    def test_says_what_to_write(self, staff):
        assert "Search by order number or reference number." in text(staff.get(reverse(LIST)))


class TestPermissions:
    def test_anonymous_users_are_sent_to_the_login(self, client, make, komfortkasse):
        row = make(state="failed")
        for method in (client.get, client.post):
            for page in (reverse(LIST), *(url(each, row) for each in ("change", *DEEDS))):
                assert method(page).url.startswith("/admin/login/")
        assert komfortkasse.numbers == []

    @pytest.mark.parametrize(
        "permissions",
        [
            [
                "komfortkasse_django.view_removedorder",
                "komfortkasse_django.change_removedorder",
                "komfortkasse_django.delete_removedorder",
            ],
            ["komfortkasse_django.remove_order"],
        ],
    )
    def test_trying_again_needs_to_see_and_to_remove(self, make, komfortkasse, permissions):
        staff = make_staff(*permissions)
        row = make(state="failed")

        assert "Try again" not in text(staff.get(url("change", row)))
        assert "try_again" not in text(staff.get(reverse(LIST)))
        assert staff.post(url("try_again", row)).status_code == 403
        staff.post(reverse(LIST), {"action": "try_again", "_selected_action": row.pk})
        assert komfortkasse.numbers == []
        row.refresh_from_db()
        assert row.state == "failed"

    def test_get_changes_nothing(self, staff, make, komfortkasse):
        row = make(state="failed")

        assert staff.get(url("try_again", row)).status_code == 405
        User.objects.all().delete()
        reader = make_staff("komfortkasse_django.view_removedorder")
        assert reader.get(url("try_again", row)).status_code == 403
        staff.get(reverse(LIST), {"action": "try_again"})
        assert komfortkasse.numbers == []

    def test_a_form_of_another_website_does_nothing(self, staff, make, komfortkasse):
        row = make(state="failed")
        strict = Client(enforce_csrf_checks=True)
        strict.cookies = staff.cookies

        assert strict.post(url("try_again", row)).status_code == 403
        data = {"action": "try_again", "_selected_action": row.pk}
        assert strict.post(reverse(LIST), data).status_code == 403
        assert komfortkasse.numbers == []

    def test_nothing_can_be_added_or_changed(self, admin_client, make):
        row = make(state="failed")

        add = reverse("admin:komfortkasse_django_removedorder_add")
        assert admin_client.get(add).status_code == 403
        assert admin_client.post(url("change", row), {"state": "removed"}).status_code == 403
        assert '<input type="text"' not in text(admin_client.get(url("change", row)))

    def test_reading_needs_the_permission(self, make):
        staff = make_staff()

        assert staff.get(reverse(LIST)).status_code == 403
        assert staff.get(url("change", make())).status_code == 403


class TestDeletion:
    @pytest.fixture
    def cleaner(self) -> Client:
        return make_staff(
            "komfortkasse_django.view_removedorder", "komfortkasse_django.delete_removedorder"
        )

    @pytest.mark.parametrize("state", ["removed", "unknown", "superseded"])
    def test_of_finished_ones(self, cleaner, make, state):
        row = make(state=state)

        assert url("delete", row) in text(cleaner.get(url("change", row)))
        cleaner.post(url("delete", row), {"post": "yes"})

        assert not RemovedOrder.objects.exists()

    @pytest.mark.parametrize("state", ["pending", "failed", "unknown"])
    def test_never_of_others(self, cleaner, make, state):
        row = make(state=state, next_attempt_at=None if state == "failed" else ahead(hours=1))

        assert url("delete", row) not in text(cleaner.get(url("change", row)))
        assert cleaner.post(url("delete", row), {"post": "yes"}).status_code == 403
        done = cleaner.post(
            reverse(LIST),
            {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"},
        )
        assert message(done) == (
            "warning",
            "1 removal is left out, because it is not finished or not settled.",
        )
        assert RemovedOrder.objects.exists()

    def test_of_several_finished_ones(self, cleaner, make):
        rows = [make(), make()]
        data = {"action": "delete_selected", "_selected_action": [row.pk for row in rows]}

        assert "left out" not in text(cleaner.post(reverse(LIST), data))
        cleaner.post(reverse(LIST), {**data, "post": "yes"})

        assert not RemovedOrder.objects.exists()

    def test_of_several_leaves_out_the_others(self, cleaner, make):
        states = ("removed", "failed", "unknown", "pending")
        rows = [make(order_number=state, state=state) for state in states]
        data = {"action": "delete_selected", "_selected_action": [row.pk for row in rows]}

        page = cleaner.post(reverse(LIST), data)

        assert "2 removals are left out, because they are not finished or not settled" in text(page)
        assert re.findall(r"Removed order: <a [^>]*>(\w+)", text(page)) == ["unknown", "removed"]
        cleaner.post(reverse(LIST), {**data, "post": "yes"})
        assert set(RemovedOrder.objects.values_list("order_number", flat=True)) == {
            "failed",
            "pending",
        }

    def test_needs_djangos_permission(self, staff, make):
        row = make()

        assert staff.post(url("delete", row), {"post": "yes"}).status_code == 403
        assert "delete_selected" not in text(staff.get(reverse(LIST)))


class TestLanguages:
    def test_german(self, staff, make):
        make(
            state="pending",
            next_attempt_at=ahead(minutes=3, seconds=30),
            created_at=ahead(days=-3, seconds=-5),
            amount=Decimal("22.38"),
            currency="EUR",
        )

        page = staff.get(reverse(LIST), headers={"accept-language": "de"})

        row = cells_of(page)
        assert row["state_and_more"] == "überfällig erneut in 3 Minuten"
        assert row["requested"] == "vor 3 Tagen"
        assert row["amounts"] == f"22,38{NBSP}EUR"
