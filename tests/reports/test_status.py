"""How things stand, as the admin and the status command are told."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from komfortkasse_django.models import RemovedOrder, ShopState
from komfortkasse_django.reports.status import Overdue, read_status
from tests.support.mirror_pages import ahead

pytestmark = pytest.mark.django_db(databases=["default", "other"])


def make(state="pending", *, using="default", **attributes: object) -> None:
    RemovedOrder.objects.using(using).create(
        **{
            "shop": "default",
            "order_number": "1001",
            "requested_via": "delete",
            "state": state,
            "next_attempt_at": timezone.now() if state == "pending" else None,
            **attributes,
        }
    )


def test_an_empty_mirror(configure):
    configure(aliases={"a": {}, "b": {"ENABLED": False}})

    status = read_status("default")

    nothing = dict.fromkeys(RemovedOrder.State.values, 0)
    assert status.counts == {"a": nothing, "b": nothing}
    assert (status.due, status.oldest_due_at, status.last_removed_at) == (0, None, None)
    assert (status.overdue, status.received, status.pauses) == ({}, {}, {})
    assert status.ok


def test_states_are_counted_in_all_shops():
    for shop in ("default", "default", "gone"):
        make("removed", shop=shop)

    status = read_status("default")

    assert (status.counts["default"]["removed"], status.counts["gone"]["removed"]) == (2, 1)
    assert status.in_state("removed") == 3
    assert status.in_state("failed") == 0


def test_overdue_is_pending_and_asked_for_long_ago():
    make(created_at=ahead(minutes=-59))
    make(created_at=ahead(minutes=-61), next_attempt_at=ahead(minutes=30))
    make(created_at=ahead(minutes=-61), shop="gone", next_attempt_at=ahead(minutes=-61))
    make("failed", created_at=ahead(days=-9))
    make("removed", created_at=ahead(days=-9))

    status = read_status("default")

    assert status.overdue == {
        "default": Overdue(count=1, is_long_due=False),
        "gone": Overdue(count=1, is_long_due=True),
    }
    assert status.overdue_count == 2
    assert read_status("default", timedelta(minutes=62)).overdue == {}


@pytest.mark.parametrize(
    ("state", "minutes", "ok"),
    [("pending", 59, True), ("pending", 61, False), ("failed", 0, False), ("unknown", 99, True)],
)
def test_ok_is_nothing_overdue_and_nothing_failed(state, minutes, ok):
    make(state, created_at=ahead(minutes=-minutes))

    assert read_status("default").ok is ok


def test_money_that_had_arrived_is_added_up_by_currency():
    for amount, currency in [("20", "EUR"), ("1500.5", "EUR"), ("5", "CHF"), ("0", "CHF")]:
        make("removed", amount_paid=amount, currency=currency)

    assert read_status("default").received == {
        "CHF": (1, Decimal(5)),
        "EUR": (2, Decimal("1520.5")),
    }


def test_pauses_that_are_over_do_not_count():
    ShopState.objects.create(shop="default", paused_until=ahead(minutes=5))
    ShopState.objects.create(shop="over", paused_until=ahead(minutes=-5))

    assert read_status("default").pauses.keys() == {"default"}


def test_another_database():
    make("failed", using="other")

    assert read_status("default").ok
    assert not read_status("other").ok


def test_does_not_ask_more_often_where_there_is_more(django_assert_num_queries):
    for shop in ("a", "b", "c"):
        make(shop=shop, created_at=ahead(days=-1))
        make("removed", shop=shop, amount_paid=1, currency=shop)

    with django_assert_num_queries(5):
        read_status("default")
