"""komfortkasse_prune deletes what is finished, and nothing else."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.signals import post_delete
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from komfortkasse_django.management.commands import komfortkasse_prune
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet
from tests.shop.models import IntegerOrder, Order

pytestmark = pytest.mark.django_db(transaction=True)

FINISHED = ("removed", "unknown", "superseded")


def rows(count: int, state: str = "removed", *, days: float = 31, using: str = "default") -> None:
    """Rows that were finished, or refused, or asked for, ``days`` ago."""
    then = timezone.now() - timedelta(days=days)
    RemovedOrder.objects.using(using).bulk_create(
        RemovedOrder(
            shop="default",
            order_number=str(number),
            requested_via="delete",
            state=state,
            created_at=then,
            next_attempt_at=then if state == "pending" else None,
            finished_at=then if state in FINISHED else None,
        )
        for number in range(count)
    )


def prune(*arguments: str) -> str:
    out = StringIO()
    call_command("komfortkasse_prune", "--older-than", "30", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize("state", FINISHED)
def test_deletes_what_was_finished_long_ago(state):
    rows(3, state)

    assert prune() == "Deleted 3 finished removals.\n"
    assert not RemovedOrder.objects.exists()


@pytest.mark.parametrize("state", ["pending", "failed"])
def test_never_deletes_what_is_not_finished(state):
    rows(3, state, days=10_000)
    # Whatever somebody wrote into it by hand.
    RemovedOrder.objects.update(finished_at=timezone.now() - timedelta(days=10_000))

    assert prune() == "Deleted 0 finished removals.\n"
    assert RemovedOrder.objects.count() == 3


@pytest.mark.parametrize(
    "left_to_do",
    [
        {"amount_paid": 5},
        {"collection_partner": "Inkasso Nord"},
        {"alive_again_at": timezone.now()},
    ],
)
def test_keeps_what_nobody_has_settled(left_to_do):
    rows(2)
    RemovedOrder.objects.filter(order_number="1").update(**left_to_do)

    assert prune() == "Deleted 1 finished removal.\n"
    RemovedOrder.objects.settle()
    assert prune() == "Deleted 1 finished removal.\n"


def test_keeps_what_was_finished_lately():
    rows(1, days=29.9)
    rows(1, days=30.1)

    assert prune() == "Deleted 1 finished removal.\n"
    assert RemovedOrder.objects.count() == 1


class TestOrderThatIsStillThere:
    """Without its last row, komfortkasse_reconcile would have it removed again."""

    @pytest.mark.parametrize("cancelled", [True, False])
    def test_keeps_its_last_row(self, configure, cancelled):
        configure(ORDER_GONE={"cancelled": True}, REQUEST_BUDGET=0)
        rows(3)
        rows(3)
        Order(number="1", cancelled=cancelled, hidden=True).save()

        assert prune("--dry-run") == "Would delete 5 finished removals.\n"
        assert prune() == "Deleted 5 finished removals.\n"
        assert RemovedOrder.objects.get().order_number == "1"

    def test_keeps_no_row_before_the_last(self):
        rows(1)
        rows(1, days=1)
        Order.objects.create(number="0")

        assert prune() == "Deleted 1 finished removal.\n"

    def test_is_of_the_same_shop(self, configure):
        configure(aliases={"default": {}, "other": {"ORDER_MODEL": "shop.IntegerOrder"}})
        rows(2)
        RemovedOrder.objects.filter(order_number="1").update(shop="other")
        Order.objects.create(number="1")
        IntegerOrder.objects.create(number=0)

        assert prune() == "Deleted 2 finished removals.\n"

    @pytest.mark.parametrize(
        ("gone", "deleted"), [({"cancelled": True}, "2 finished removals"), (None, "3 finished r")]
    )
    def test_may_be_any_where_numbers_cannot_be_looked_up(self, configure, gone, deleted):
        configure(ORDER_NUMBER="full_number", ORDER_GONE=gone)
        rows(1)
        rows(1)
        rows(1)

        assert f"Deleted {deleted}" in prune()

    @pytest.mark.parametrize("options", [{"ORDER_MODEL": "shop.Nothing"}, None])
    def test_is_none_of_a_shop_that_is_gone(self, settings, configure, options):
        if options:
            configure(**options)
        else:
            settings.KOMFORTKASSE = {}
        rows(1)
        out = StringIO()
        call_command("komfortkasse_prune", "--older-than=30", skip_checks=True, stdout=out)

        assert out.getvalue() == "Deleted 1 finished removal.\n"

    @pytest.mark.django_db(databases=["default", "other"], transaction=True)
    def test_is_looked_for_beside_its_mirror(self):
        rows(1, using="other")
        Order.objects.create(number="0")
        assert prune("--database", "other") == "Deleted 1 finished removal.\n"

        rows(1, using="other")
        Order.objects.using("other").create(number="0")
        assert prune("--database", "other") == "Deleted 0 finished removals.\n"


def test_is_silent_where_cron_would_send_mail():
    rows(1)

    assert prune("-v", "0") == ""
    assert not RemovedOrder.objects.exists()


def test_dry_run_says_so_and_deletes_nothing():
    rows(1)

    assert prune("--dry-run") == "Would delete 1 finished removal.\n"
    assert RemovedOrder.objects.count() == 1

    rows(2)
    assert prune("--dry-run") == "Would delete 3 finished removals.\n"


def test_in_chunks(monkeypatch):
    monkeypatch.setattr(komfortkasse_prune, "_CHUNK", 10)
    rows(5, "failed")
    rows(23)
    rows(12, days=1)
    rows(4)

    with CaptureQueriesContext(connection) as queries:
        assert prune() == "Deleted 27 finished removals.\n"

    deletes = [query["sql"] for query in queries if query["sql"].startswith("DELETE")]
    assert len(deletes) == 5
    # Each looks at no more than its chunk.
    assert all(sql.count(" > ") == sql.count(" <= ") == 1 for sql in deletes)
    assert RemovedOrder.objects.count() == 17


def test_leaves_the_database_to_others_in_between(monkeypatch):
    monkeypatch.setattr(komfortkasse_prune, "_CHUNK", 10)
    slept = []
    monkeypatch.setattr(komfortkasse_prune.time, "sleep", slept.append)
    rows(25)

    prune()

    assert len(slept) == 3
    assert all(seconds > 0 for seconds in slept)


def test_that_is_broken_off_tells_what_it_did(monkeypatch, capsys):
    monkeypatch.setattr(komfortkasse_prune, "_CHUNK", 10)
    rows(25)
    original, calls = RemovedOrderQuerySet.delete, []

    def delete(self):
        calls.append(self)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self)

    monkeypatch.setattr(RemovedOrderQuerySet, "delete", delete)
    out = StringIO()

    with pytest.raises(KeyboardInterrupt):
        call_command("komfortkasse_prune", "--older-than", "30", stdout=out)

    assert out.getvalue() == "Deleted 10 finished removals.\n"
    assert RemovedOrder.objects.count() == 15


def test_tells_receivers_of_the_shop():
    rows(2)
    heard = []

    def hear(instance, **kwargs):
        heard.append(instance)

    post_delete.connect(hear, sender=RemovedOrder)
    try:
        prune()
    finally:
        post_delete.disconnect(hear, sender=RemovedOrder)

    assert len(heard) == 2


@pytest.mark.parametrize("days", ["0", "-1", "month", "1.5"])
def test_refuses_bad_arguments(days):
    with pytest.raises(CommandError, match=r"--older-than.*such as 100"):
        call_command("komfortkasse_prune", f"--older-than={days}")


def test_refuses_days_beyond_all_dates():
    with pytest.raises(CommandError, match="no date is so long ago"):
        call_command("komfortkasse_prune", "--older-than=9999999")


def test_needs_to_be_told_what_is_old():
    with pytest.raises(CommandError, match="--older-than"):
        call_command("komfortkasse_prune")


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_in_another_database():
    rows(1)
    rows(2, using="other")

    assert prune("--database", "other") == "Deleted 2 finished removals.\n"
    assert RemovedOrder.objects.count() == 1
