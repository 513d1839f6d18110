"""Ticking off what there was to do, and taking that back."""

import pytest
from django.contrib.admin.models import CHANGE, LogEntry, LogEntryManager
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from komfortkasse_django.models import RemovedOrder
from tests.support.mirror_pages import LIST, ahead, listed, text, url
from tests.support.staff import make_staff, message

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

DEEDS = ("settle", "unsettle")


def post(client: Client, action: str, *rows: RemovedOrder, **data: str):
    keys = [row.pk for row in rows]
    return client.post(reverse(LIST), {"action": action, "_selected_action": keys, **data})


def settle(client: Client, *rows: RemovedOrder, **data: str):
    """Choose the action, and confirm what its page shows."""
    page = post(client, "settle", *rows, **data)
    return post(client, "settle", *rows, seen_at=page.context["seen_at"], **data)


def unsettled() -> list[str]:
    rows = RemovedOrder.objects.unsettled().order_by("pk")
    return [*rows.values_list("order_number", flat=True)]


class TestOnThePage:
    def test_settled_with_a_note(self, staff, make):
        User.objects.update(first_name="Erika", last_name="Muster")
        row, other = make(amount_paid=20), make(order_number="1002", amount_paid=5)
        page = text(staff.get(url("change", row)))
        assert f'formaction="{url("settle", row)}"' in page
        assert url("unsettle", row) not in page

        done = staff.post(url("settle", row), {"note": " bank transfer: 3 November "})

        assert done.url == url("change", row)
        assert message(done) == ("success", "Komfortkasse: 1 removal is settled.")
        assert unsettled() == [other.order_number]
        [entry] = LogEntry.objects.all()
        assert entry.action_flag == CHANGE
        assert entry.get_edited_object() == row
        assert "Settled: bank transfer: 3 November" in text(staff.get(url("history", row)))
        page = text(staff.get(url("change", row)))
        assert "Nothing is left to do." in page
        assert "(just now)</bdi>, <bdi>Erika Muster</bdi>: <bdi>bank transfer: 3 November" in page
        assert f'formaction="{url("unsettle", row)}"' in page
        assert url("settle", row) not in page

    def test_without_a_note(self, staff, make):
        row = make(collection_partner="Inkasso Nord")

        staff.post(url("settle", row), {"note": " \0 "})

        assert LogEntry.objects.get().change_message == "Settled"
        assert "<bdi>staff</bdi></p>" in text(staff.get(url("change", row)))

    def test_a_long_note_is_cut(self, staff, make):
        staff.post(url("settle", make(amount_paid=1)), {"note": "x" * 600})

        assert LogEntry.objects.get().change_message == f"Settled: {'x' * 500}"

    def test_taken_back(self, staff, make):
        row = make(amount_paid=20)
        staff.post(url("settle", row))

        page = staff.post(url("unsettle", row), follow=True)

        assert "Komfortkasse: 1 removal is to be settled again." in text(page)
        assert unsettled() == ["1001"]
        assert [entry.change_message for entry in LogEntry.objects.order_by("pk")] == [
            "Settled",
            "Not settled",
        ]
        page = text(staff.get(url("change", row)))
        assert "<strong>Settled</strong>" not in page
        assert url("settle", row) in page

    def test_what_the_shops_code_has_settled_has_no_name(self, staff, make):
        row = make(amount_paid=20)
        staff.post(url("try_again", make(state="failed")))
        RemovedOrder.objects.filter(pk=row.pk).update(settled_at=ahead(days=-1))

        page = text(staff.get(url("change", row)))
        assert "<strong>Settled</strong>: <bdi><time" in page
        assert "<bdi>staff</bdi>" not in page

    @pytest.mark.parametrize(
        "attributes",
        [
            {"amount_paid": 0},
            {"amount_paid": 5, "payment_status": "REFUNDED"},
            {"state": "failed"},
            {"state": "pending"},
            {"state": "unknown"},
        ],
    )
    def test_where_nothing_is_to_be_settled(self, staff, make, attributes):
        row = make(**attributes)
        for each in DEEDS:
            assert url(each, row) not in text(staff.get(url("change", row)))

            assert message(staff.post(url(each, row)))[0] == "warning"

        row.refresh_from_db()
        assert row.settled_at is None
        assert not LogEntry.objects.exists()

    def test_what_a_later_removal_has_taken_over(self, staff, make):
        earlier = make(amount_paid=5, settled_at=timezone.now(), finished_at=ahead(hours=-1))
        later = make(amount_paid=5)

        page = text(staff.get(url("change", earlier)))
        assert "This order was removed again later." in page
        assert f'href="{url("change", later)}"' in page
        assert "<strong>Settled</strong>" not in page
        for each in DEEDS:
            assert url(each, earlier) not in page
        assert message(staff.post(url("unsettle", earlier)))[0] == "warning"
        page = text(staff.get(url("change", later)))
        assert "removed again later" not in page
        assert url("settle", later) in page

    def test_an_earlier_removal_that_is_still_open_is_settled_there(self, staff, make):
        """A later answer without an amount does not say that the money went back."""
        earlier = make(amount_paid=5, finished_at=ahead(hours=-1))
        make()

        page = text(staff.get(url("change", earlier)))

        assert "removed again later" not in page
        assert url("settle", earlier) in page
        staff.post(url("settle", earlier))
        page = text(staff.get(url("change", earlier)))
        assert "removed again later" not in page
        assert url("unsettle", earlier) in page
        assert message(staff.post(url("unsettle", earlier)))[0] == "success"
        earlier.refresh_from_db()
        assert earlier.is_unsettled

    def test_what_a_later_answer_without_an_amount_did_not_take_over_stays_settled(
        self, staff, make
    ):
        earlier = make(amount_paid=5, finished_at=ahead(hours=-1), settled_at=ahead())
        make()

        page = text(staff.get(url("change", earlier)))

        assert "removed again later" not in page
        assert "<strong>Settled</strong>" in page
        assert url("unsettle", earlier) in page

    def test_who_settled_an_earlier_removal_is_named_at_the_later_one(self, staff, make):
        earlier = make(amount_paid=5, finished_at=ahead(hours=-1))
        staff.post(url("settle", earlier), {"note": "cash"})
        earlier.refresh_from_db()
        later = make(amount_paid=5, settled_at=earlier.settled_at)

        assert "<bdi>staff</bdi>: <bdi>cash</bdi>" in text(staff.get(url("change", later)))


class TestOnTheList:
    def test_names_what_will_be_settled(self, staff, make):
        rows = [make(order_number="A", amount_paid=20, currency="EUR"), make(order_number="B")]

        page = post(staff, "settle", *rows)

        assert page.status_code == 200
        assert page.context["count"] == 1
        assert "<bdi>A</bdi>: " in text(page)
        assert "refund 20.00\N{NO-BREAK SPACE}EUR" in text(page)
        assert "<bdi>B</bdi>: " not in text(page)
        assert unsettled() == ["A"]
        assert not LogEntry.objects.exists()

    def test_names_at_most_twenty(self, staff, make):
        rows = [make(order_number=f"No {number}", amount_paid=20) for number in range(23)]

        page = text(post(staff, "settle", *rows))

        assert page.count("<bdi>No ") == 20
        assert "and 3 more" in page

    def test_settles_many_with_one_note(self, staff, make):
        rows = [make(order_number="A", amount_paid=20), make(order_number="B", amount_paid=5)]
        make(order_number="C", amount_paid=5)

        done = settle(staff, *rows, note="bank transfer")

        assert done.url == reverse(LIST)
        assert message(done) == ("success", "Komfortkasse: 2 removals are settled.")
        assert unsettled() == ["C"]
        found = LogEntry.objects.values_list("object_repr", "change_message")
        assert set(found) == {("A", "Settled: bank transfer"), ("B", "Settled: bank transfer")}
        assert listed(staff, to_do="settled") == ["B", "A"]

    def test_all_pages_of_a_filter(self, staff, make):
        rows = [make(order_number=number, amount_paid=20) for number in "ABC"]
        make(order_number="agency", collection_partner="Inkasso Nord")
        data = {"action": "settle", "_selected_action": rows[0].pk, "select_across": "1"}
        address = reverse(LIST) + "?to_do=to_refund"

        page = staff.post(address, data)
        assert page.context["count"] == 3
        assert ("select_across", "1") in page.context["again"]
        staff.post(address, {**data, "seen_at": page.context["seen_at"]})

        assert unsettled() == ["agency"]

    def test_what_was_not_seen_stays_to_be_done(self, staff, make):
        row = make(order_number="A", amount_paid=20)
        seen_at = post(staff, "settle", row).context["seen_at"]
        late = make(order_number="B", amount_paid=20)
        alive = make(order_number="C", finished_at=ahead(hours=-1), alive_again_at=timezone.now())

        post(staff, "settle", row, late, alive, seen_at=seen_at)

        assert unsettled() == ["B", "C"]

    @pytest.mark.parametrize(
        "seen_at",
        [
            *("", "yesterday", "2026-01-01", "2026-01-01T00:00:00"),
            *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
        ],
    )
    def test_asks_again_if_it_is_not_said_what_was_seen(self, staff, make, seen_at):
        page = post(staff, "settle", make(amount_paid=20), seen_at=seen_at)

        assert page.status_code == 200
        assert unsettled() == ["1001"]

    def test_nothing_to_settle(self, staff, make):
        page = text(post(staff, "settle", make()))

        assert "Nothing is to be settled about the selected orders." in page
        assert 'type="submit" class="default"' not in page

    def test_takes_back(self, staff, make):
        rows = [make(order_number=number, amount_paid=20) for number in "AB"]
        settle(staff, *rows)

        page = staff.get(post(staff, "unsettle", *rows).url)

        assert "Komfortkasse: 2 removals are to be settled again." in text(page)
        assert unsettled() == ["A", "B"]

    def test_what_cannot_be_logged_is_not_settled(self, staff, make, monkeypatch):
        row = make(amount_paid=20)
        monkeypatch.setattr(LogEntryManager, "log_actions", lambda *args: {}["no log"])

        with pytest.raises(KeyError):
            staff.post(url("settle", row))

        assert unsettled() == ["1001"]


class TestPermissions:
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
    def test_it_needs_to_see_and_to_remove(self, make, permissions):
        staff = make_staff(*permissions)
        row = make(amount_paid=20)
        done = make(order_number="1002", amount_paid=20, settled_at=ahead())

        for each in DEEDS:
            assert url(each, row) not in text(staff.get(url("change", row)))
            assert f'value="{each}"' not in text(staff.get(reverse(LIST)))
            assert staff.post(url(each, row)).status_code == 403
            post(staff, each, row, done, seen_at=timezone.now().isoformat())

        assert unsettled() == ["1001"]
        assert RemovedOrder.objects.settled().get() == done
        assert not LogEntry.objects.exists()

    @pytest.mark.parametrize("deed", DEEDS)
    def test_get_changes_nothing(self, staff, make, deed):
        assert staff.get(url(deed, make(amount_paid=20))).status_code == 405
        assert unsettled() == ["1001"]

    @pytest.mark.parametrize("deed", DEEDS)
    def test_a_form_of_another_website_does_nothing(self, staff, make, deed):
        strict = Client(enforce_csrf_checks=True)
        strict.cookies = staff.cookies

        assert strict.post(url(deed, make(amount_paid=20))).status_code == 403
        assert unsettled() == ["1001"]


class TestDeletion:
    def test_spares_what_is_to_be_settled(self, make):
        cleaner = make_staff(
            "komfortkasse_django.view_removedorder", "komfortkasse_django.delete_removedorder"
        )
        row = make(amount_paid=20)

        assert url("delete", row) not in text(cleaner.get(url("change", row)))
        assert cleaner.post(url("delete", row), {"post": "yes"}).status_code == 403
        done = post(cleaner, "delete_selected", row, post="yes")

        assert message(done)[1].startswith("1 removal is left out, because it is not finished or n")
        assert RemovedOrder.objects.exists()
