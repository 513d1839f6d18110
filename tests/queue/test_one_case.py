"""All removals of one order are one case: what a person has to do is shown once."""

import json
import threading
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.utils import timezone

from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue import leases
from komfortkasse_django.queue.outcomes import finish
from komfortkasse_django.queue.pushing import push
from komfortkasse_django.signals import order_removed
from tests.support.komfortkasse import order_json
from tests.support.mirror import due

pytestmark = pytest.mark.django_db(transaction=True)

AGENCY = {"collectionPartner": "Inkasso Nord", "collectionFile": "4711", "collectionStatus": "open"}


@pytest.fixture
def remove(komfortkasse):
    """Remove an order; Komfortkasse answers with these attributes. Return the new row."""

    def remove(number="1001", *, shop="default", **answer: object) -> RemovedOrder:
        komfortkasse.answer = 200, {}, json.dumps(order_json(number, **answer))
        (row,) = due(number, shop=shop)
        push()
        row.refresh_from_db()
        assert row.state == "removed"
        return row

    return remove


def to_do() -> list[int]:
    return list(RemovedOrder.objects.to_do().order_by("pk").values_list("pk", flat=True))


def settle(row: RemovedOrder) -> None:
    assert RemovedOrder.objects.filter(pk=row.pk).settle() == 1


def claim_all(rows: list[RemovedOrder]) -> list[leases.Lease]:
    due = RemovedOrder.objects.filter(pk__in=[row.pk for row in rows])
    return leases.claim(due, at_most=len(rows), seconds=60)[0]


def answer(lease: leases.Lease, *, amount_paid: int) -> None:
    """Komfortkasse has removed the order."""
    finish(lease.row, RemovedOrder.State.REMOVED)
    lease.row.amount_paid, lease.row.currency = Decimal(amount_paid), "EUR"


def store(lease: leases.Lease, *, amount_paid: int) -> None:
    """The same, and that is written."""
    answer(lease, amount_paid=amount_paid)
    assert leases.settle([lease], using="default") == [lease]


class TestWhatIsToDo:
    @pytest.mark.parametrize(
        ("answer", "kinds"),
        [
            ({"amountPaid": 5}, {"to_refund"}),
            ({"amountPaid": 5, "paymentStatus": "REFUNDED"}, set()),
            ({"amountPaid": 5, "paymentStatus": "REFUNDED_PARTIAL"}, {"to_refund"}),
            ({"amountPaid": 0}, set()),
            ({"amountPaid": -5}, set()),
            (AGENCY, {"at_agency"}),
            ({"collectionPartner": "Inkasso Nord"}, {"at_agency"}),
            ({"collectionFile": "4711"}, {"at_agency"}),
            ({"collectionStatus": "open"}, {"at_agency"}),
            ({"collectionPartner": ""}, set()),
            ({"paymentStatus": "COLLECTION"}, {"at_agency"}),
            ({"amountPaid": 5, **AGENCY}, {"to_refund", "at_agency"}),
        ],
    )
    def test_it_is_what_the_answer_says(self, remove, answer, kinds):
        row = remove(**answer)

        rows = RemovedOrder.objects
        found = {kind for kind in ("to_refund", "at_agency") if getattr(rows, kind)().exists()}
        assert found == kinds
        assert to_do() == ([row.pk] if kinds else [])
        assert rows.unsettled().count() == rows.unfinished().count() == bool(kinds)
        assert rows.finished().exists() is not bool(kinds)
        assert row.is_finished is not bool(kinds)
        assert row.has_money is ("to_refund" in kinds)
        assert row.is_at_agency is ("at_agency" in kinds)

    def test_all_that_an_agency_needs_is_stored(self, remove):
        row = remove(dunningLevel=3, **AGENCY)

        stored = row.collection_partner, row.collection_file, row.collection_status
        assert stored == ("Inkasso Nord", "4711", "open")
        assert row.dunning_level == 3

    @pytest.mark.parametrize("level", [-1, 2**31, 1.5, "2", None])
    def test_an_odd_number_of_reminders_is_left_out(self, remove, level):
        assert remove(dunningLevel=level).dunning_level is None

    def test_it_is_logged(self, remove, caplog):
        remove(amountPaid=5, **AGENCY)
        remove("1002")

        assert [record.getMessage() for record in caplog.records] == [
            (
                "Order 1001 was removed, but 5.00 EUR had been paid: refund it, and settle it in"
                " the admin"
            ),
            (
                "Order 1001 was removed, but a collection agency is at work: call it off, and"
                " settle it in the admin"
            ),
        ]

    def test_money_without_a_currency_is_logged(self, remove, caplog):
        remove(amountPaid=5, currency=None)

        [record] = caplog.records
        assert "but 5.00 had been paid" in record.getMessage()


class TestSettling:
    def test_it_is_nothing_to_do_any_more(self, remove):
        row = remove(amountPaid=5, **AGENCY)

        settle(row)

        row.refresh_from_db()
        assert to_do() == []
        assert row.is_finished
        assert timezone.now() - row.settled_at < timedelta(minutes=1)
        assert RemovedOrder.objects.settle() == 0, "there is nothing left to settle"

    def test_it_can_be_taken_back(self, remove):
        row = remove(amountPaid=5)
        settle(row)

        assert RemovedOrder.objects.unsettle() == 1

        assert to_do() == [row.pk]
        assert RemovedOrder.objects.unsettle() == 0

    def test_what_is_alive_again_after_that_is_a_new_case(self, remove):
        row = remove(amountPaid=5)
        settle(row)

        RemovedOrder.objects.update(alive_again_at=timezone.now())

        assert to_do() == [row.pk]
        assert list(RemovedOrder.objects.alive_again()) == [row]
        assert not RemovedOrder.objects.to_refund().exists()
        settle(row)
        assert to_do() == []


class TestOneCase:
    def test_a_later_removal_takes_it_over(self, remove):
        cancelled = remove(amountPaid=5)
        deleted = remove(amountPaid=5)

        assert to_do() == [deleted.pk]
        cancelled.refresh_from_db()
        assert cancelled.settled_at
        assert cancelled.is_finished

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ({"amountPaid": 5}, {"amountPaid": 5}),
            ({"amountPaid": 5}, {"amountPaid": 4}),
            (AGENCY, AGENCY),
            ({"amountPaid": 5, **AGENCY}, {"amountPaid": 5}),
        ],
    )
    def test_what_was_settled_stays_settled(self, remove, before, after):
        earlier = remove(**before)
        settle(earlier)
        earlier.refresh_from_db()

        later = remove(**after)

        assert to_do() == []
        assert later.settled_at == earlier.settled_at

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ({"amountPaid": 5}, {"amountPaid": "5.01"}),
            ({"amountPaid": 5}, {"amountPaid": 5, "currency": "CHF"}),
            ({"amountPaid": 5}, {"amountPaid": 5, **AGENCY}),
            (AGENCY, {"amountPaid": 5, **AGENCY}),
            (AGENCY, {**AGENCY, "collectionPartner": "Inkasso Süd"}),
            (AGENCY, {**AGENCY, "collectionFile": "4712"}),
        ],
    )
    def test_more_reopens_it(self, remove, before, after):
        settle(remove(**before))
        if "amountPaid" in after:
            after = {**after, "amountPaid": float(after["amountPaid"])}

        later = remove(**after)

        assert to_do() == [later.pk]

    @pytest.mark.parametrize("back", [{"amountPaid": 0}, {"paymentStatus": "REFUNDED"}])
    def test_money_that_came_after_a_refund_is_new(self, remove, back):
        settle(remove(amountPaid=5))
        remove(**{"amountPaid": 5, **back})

        last = remove(amountPaid=5)

        assert to_do() == [last.pk]

    def test_nothing_is_left_where_the_last_answer_says_so(self, remove):
        remove(amountPaid=5, **AGENCY)
        last = remove(amountPaid=0)

        assert to_do() == []
        assert last.settled_at is None

    def test_an_answer_without_an_amount_closes_no_refund(self, remove):
        first = remove(amountPaid=5)
        remove()

        assert to_do() == [first.pk]
        settle(first)
        assert RemovedOrder.objects.unsettle() == 1, "the later row has nothing to take back"
        assert to_do() == [first.pk]
        settle(first)
        assert remove(amountPaid=5).settled_at
        assert to_do() == []

    def test_only_the_last_can_be_taken_back(self, remove):
        remove(amountPaid=5)
        last = remove(amountPaid=5)
        settle(last)

        assert RemovedOrder.objects.unsettle() == 1

        assert to_do() == [last.pk]

    def test_what_is_alive_again_is_taken_over_as_well(self, remove):
        first = remove(amountPaid=0)
        RemovedOrder.objects.update(alive_again_at=timezone.now())
        assert to_do() == [first.pk]

        remove(amountPaid=0)

        assert to_do() == []

    @pytest.mark.parametrize("before", [{"amountPaid": 5}, AGENCY])
    def test_an_order_that_komfortkasse_does_not_know_takes_nothing_over(
        self, remove, komfortkasse, before
    ):
        first = remove(**before)
        komfortkasse.answer = 404, {}, '{"error": "Order not found"}'
        due("1001")
        push()

        assert to_do() == [first.pk]

    def test_each_shop_and_number_is_a_case_of_its_own(self, remove, configure):
        configure(aliases={"a": {}, "b": {}})
        rows = [
            remove(number, shop=shop, amountPaid=5)
            for shop, number in (("a", "1001"), ("b", "1001"), ("a", "1002"))
        ]

        assert to_do() == [row.pk for row in rows]

    def test_rows_that_are_sent_together(self, remove, komfortkasse):
        settle(remove(amountPaid=5))
        komfortkasse.answer = 200, {}, json.dumps(order_json("1001", amountPaid=6))
        *_, last = due("1001", "1001", "1001")

        push()

        assert to_do() == [last.pk]
        settle(last)
        assert RemovedOrder.objects.exclude(pk=last.pk).unsettle() == 0
        assert remove(amountPaid=6).settled_at
        assert to_do() == []

    @pytest.mark.parametrize("is_settled", [False, True])
    def test_a_row_that_was_recorded_and_removed_during_the_call(self, is_settled):
        (first,) = claim_all(due("1001"))
        (second,) = claim_all(due("1001"))
        store(second, amount_paid=5)
        if is_settled:
            settle(second.row)

        store(first, amount_paid=5)

        assert to_do() == ([] if is_settled else [first.row.pk])

    def test_of_each_number_that_is_stored_together(self, remove):
        settled, is_open = remove(amountPaid=5), remove("1002", amountPaid=5)
        other = remove("1003", amountPaid=5)
        settle(settled)
        again = claim_all(due("1001", "1002", "1003", "1004"))
        for lease in again:
            answer(lease, amount_paid=5)

        assert leases.settle(again, using="default") == again

        rows = RemovedOrder.objects.order_by("pk")
        assert [row.order_number for row in rows.settled()] == ["1001", "1002", "1003", "1001"]
        assert [row.order_number for row in rows.to_do()] == ["1002", "1003", "1004"]
        assert {is_open.pk, other.pk}.isdisjoint(to_do())

    def test_of_rows_before_and_during_the_call(self, remove):
        before = remove(amountPaid=5)
        (first,) = claim_all(due("1001"))
        (during,) = claim_all(due("1001"))
        answer(during, amount_paid=0)
        RemovedOrder.objects.filter(pk=during.row.pk).update(
            state="removed", next_attempt_at=None, finished_at=timezone.now()
        )

        store(first, amount_paid=5)

        assert to_do() == [first.row.pk]
        before.refresh_from_db()
        assert before.settled_at

    @pytest.mark.django_db(transaction=True, databases=["default", "other"])
    def test_in_another_database(self):
        rows = RemovedOrder.objects.using("other")
        held = []
        for _ in range(2):
            rows.record("default", ["1001"], requested_via="delete")
            (lease,), _more = leases.claim(rows.due(), at_most=1, seconds=60)
            answer(lease, amount_paid=5)
            held.append(lease)

        for lease in reversed(held):
            assert leases.settle([lease], using="other") == [lease]

        assert list(rows.to_do()) == [lease.row]
        assert rows.settled().count() == 1
        assert not RemovedOrder.objects.exists()

    def test_answers_that_are_stored_in_another_order_than_they_came(self, remove):
        first, second = claim_all(due("1001", "1001"))
        answer(first, amount_paid=5)
        store(second, amount_paid=5)
        assert leases.settle([first], using="default") == [first]
        assert to_do() == [first.row.pk]

        third = remove(amountPaid=5)

        assert to_do() == [third.pk], "nobody has settled it"

    @pytest.mark.parametrize("paid", [0, 5])
    def test_a_worker_whose_clock_is_late(self, remove, monkeypatch, paid):
        settle(remove(amountPaid=5))
        now = timezone.now
        with monkeypatch.context() as late:
            late.setattr(timezone, "now", lambda: now() - timedelta(hours=1))
            remove(amountPaid=paid)

        last = remove(amountPaid=5)

        assert to_do() == ([] if paid else [last.pk])

    def test_receivers_get_the_row_that_is_to_be_settled(self, komfortkasse):
        komfortkasse.answer = 200, {}, json.dumps(order_json("1001", amountPaid=5))
        *_, last = due("1001", "1001", "1001")
        heard = []

        def hear(removed_order, **kwargs):
            heard.append((removed_order.pk, removed_order.needs_refund))

        order_removed.connect(hear)
        try:
            push()
        finally:
            order_removed.disconnect(hear)

        assert heard == [(last.pk, True)]

    def test_only_the_latest_of_very_many_are_looked_at(self, remove, monkeypatch):
        for _ in range(4):
            last = remove(amountPaid=5)
        monkeypatch.setattr(leases, "_MOST_OTHERS", 2)
        due("1001", "1001")

        (first, _second), _ = leases.claim(RemovedOrder.objects.due(), at_most=2, seconds=60)

        assert first.others == [last.pk - 1, last.pk]

    def test_rows_that_are_sent_together_and_have_nothing_to_settle(self, komfortkasse):
        due("1001", "1001")

        push()

        assert not RemovedOrder.objects.exclude(settled_at=None).exists()


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has only one writer at a time")
def test_two_workers_that_settle_at_once_leave_one_case(monkeypatch):
    due("1001", "1001")
    rows = RemovedOrder.objects.order_by("pk")
    (first,), _ = leases.claim(rows.filter(pk=rows[0].pk), at_most=1, seconds=60)
    (second,), _ = leases.claim(rows.filter(pk=rows[1].pk), at_most=1, seconds=60)
    for lease in (first, second):
        answer(lease, amount_paid=5)
    wrote, may_commit = threading.Event(), threading.Event()
    write = leases._write

    def write_and_wait(*args):
        written = write(*args)
        if threading.current_thread() is worker:
            wrote.set()
            may_commit.wait(10)
        return written

    monkeypatch.setattr(leases, "_write", write_and_wait)

    def work():
        leases.settle([first], using="default")
        connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    assert wrote.wait(10)
    threading.Timer(0.5, may_commit.set).start()
    leases.settle([second], using="default")
    worker.join()

    assert RemovedOrder.objects.removed().count() == 2
    assert to_do() == [second.row.pk]
