"""How things stand, as the admin and the status command are told."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from komfortkasse_django.models import ALL_UNKNOWN, RemovedOrder, ShopState
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
    assert (status.overdue, status.refunds, status.pauses) == ({}, {}, {})
    assert (status.at_agency, status.alive_again, status.to_do) == (0, 0, 0)
    assert status.ok


def test_states_are_counted_in_all_shops():
    for shop in ("default", "default", "gone"):
        make("removed", shop=shop)

    status = read_status("default")

    assert (status.counts["default"]["removed"], status.counts["gone"]["removed"]) == (2, 1)
    assert status.in_state("removed") == 3
    assert status.in_state("failed") == 0


def test_overdue_is_pending_and_asked_for_long_ago():
    hour = ahead(minutes=-61)
    make(created_at=ahead(minutes=-59))
    make(created_at=hour, next_attempt_at=ahead(minutes=30))
    make(created_at=hour, shop="gone", next_attempt_at=ahead(minutes=-61))
    make("failed", created_at=ahead(days=-9))
    make("removed", created_at=ahead(days=-9))

    status = read_status("default")

    assert status.overdue == {
        "default": Overdue(count=1, since=hour, is_long_due=False),
        "gone": Overdue(count=1, since=hour, is_long_due=True),
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


def test_money_that_has_to_go_back_is_added_up_by_currency():
    for amount, currency in [("20", "EUR"), ("1500.5", "EUR"), ("5", "CHF"), ("0", "CHF")]:
        make("removed", amount_paid=amount, currency=currency)
    make("removed", amount_paid=7, currency="EUR", settled_at=timezone.now())
    make("removed", amount_paid=7, currency="EUR", payment_status="REFUNDED")
    make("removed", amount_paid=7, currency="USD", settled_at=timezone.now())
    make(
        "removed",
        amount_paid=7,
        currency="EUR",
        settled_at=ahead(minutes=-2),
        alive_again_at=ahead(minutes=-1),
    )

    assert read_status("default").refunds == {
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

    with django_assert_num_queries(6):
        read_status("default")


def problems(*, using="default"):
    return [(each.kind, each.shop, each.count) for each in read_status(using).problems]


class TestProblems:
    @pytest.fixture(autouse=True)
    def _shops(self, configure):
        configure(aliases={"a": {}, "b": {}, "off": {"ENABLED": False}})

    def fail(self, shop, code="authentication_failed", **attributes):
        ShopState.objects.create(
            shop=shop,
            failures=3,
            failing_since=ahead(minutes=-9),
            error_code=code,
            **attributes,
        )

    def unknown(self, shop, count=ALL_UNKNOWN, minutes=-5):
        for number in range(count):
            make("unknown", shop=shop, finished_at=ahead(minutes=minutes, seconds=-number))

    def test_a_wrong_key_is_one_at_once(self):
        make(shop="a")
        self.fail("a")

        [problem] = read_status("default").problems

        assert (problem.kind, problem.shop, problem.count) == ("authentication_failed", "a", 1)
        assert problem.since == ShopState.objects.get().failing_since

    @pytest.mark.parametrize(("shop", "code"), [("a", "connection_failed"), ("off", None)])
    def test_an_outage_and_a_shop_that_is_off_are_none(self, shop, code):
        make(shop=shop)
        self.fail(shop, code or "authentication_failed")

        assert read_status("default").ok

    def test_a_key_that_was_wrong_is_none(self):
        ShopState.objects.create(shop="a", failures=0, error_code="authentication_failed")

        assert read_status("default").ok

    def test_ten_unknown_in_a_row_are_one_at_once(self):
        make("removed", shop="a", finished_at=ahead(minutes=-20))
        make("unknown", shop="a", finished_at=ahead(minutes=-10))
        self.unknown("a", ALL_UNKNOWN - 1)
        make("removed", shop="b", finished_at=ahead(minutes=-1))

        [problem] = read_status("default").problems

        assert (problem.kind, problem.shop, problem.count) == ("all_unknown", "a", ALL_UNKNOWN)
        assert problem.since == RemovedOrder.objects.unknown().earliest("finished_at").finished_at

    @pytest.mark.parametrize("state", ["removed", "superseded"])
    def test_one_that_was_known_ends_the_row(self, state):
        self.unknown("a")
        make(state, shop="a", finished_at=ahead(minutes=-5, seconds=-3))

        assert read_status("default").ok

    def test_nine_unknown_are_none(self):
        self.unknown("a", ALL_UNKNOWN - 1)
        self.unknown("b", ALL_UNKNOWN - 1)

        assert read_status("default").ok

    @pytest.mark.parametrize("shop", ["gone", "off"])
    def test_unknown_orders_of_a_shop_that_is_not_asked_any_more_are_none(self, shop):
        self.unknown(shop)

        assert read_status("default").ok

    def test_an_alias_that_is_gone_is_one_while_removals_wait_for_it(self):
        first = ahead(minutes=-3)
        make(shop="gone", created_at=first)
        make(shop="gone")
        make("removed", shop="gone too")

        [problem] = read_status("default").problems

        assert (problem.kind, problem.shop, problem.count) == ("not_in_settings", "gone", 2)
        assert problem.since == first

    def test_the_worst_comes_first_and_each_row_counts_for_one(self):
        for shop in ("a", "b", "off", "gone"):
            make(shop=shop, created_at=ahead(hours=-2))
        make(shop="off", created_at=ahead(hours=-2))
        make("failed", shop="a")
        self.unknown("b")
        self.fail("a")

        assert problems() == [
            ("authentication_failed", "a", 1),
            ("all_unknown", "b", ALL_UNKNOWN),
            ("not_in_settings", "gone", 1),
            ("overdue", "off", 2),
            ("overdue", "b", 1),
            ("failed", "a", 1),
        ]


def test_what_is_to_do_is_counted_as_it_is_found():
    make("failed")
    make(created_at=ahead(minutes=-61))
    make()
    make("removed", amount_paid=5, payment_status="PAID")
    make("removed", amount_paid=5, payment_status="PAID", alive_again_at=ahead(minutes=-1))
    make("removed", amount_paid=5, payment_status="REFUNDED")
    make("removed", amount_paid=5, payment_status="PARTIALLY_REFUNDED")
    make("removed", amount_paid=0)
    make("removed", alive_again_at=ahead(minutes=-1))
    make("removed", alive_again_at=ahead(minutes=-1), settled_at=ahead())
    make("removed", collection_partner="Inkasso Nord")
    make("removed", collection_partner="Inkasso Nord", amount_paid=5, currency="CHF")
    make("removed", collection_partner="Inkasso Nord", settled_at=ahead())
    make("unknown")

    status = read_status("default")

    assert status.to_do == RemovedOrder.objects.to_do().count() == 8
    assert status.at_agency == RemovedOrder.objects.at_agency().count() == 2
    assert status.alive_again == RemovedOrder.objects.alive_again().count() == 2
    to_refund = RemovedOrder.objects.to_refund().count()
    assert sum(count for count, _amount in status.refunds.values()) == to_refund == 4
