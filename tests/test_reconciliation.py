"""Orders that ended without a signal are found, no matter what the shop did to them."""

import threading
from datetime import timedelta

import pytest
from django.db import OperationalError, connection, models
from django.db.models import Q
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from komfortkasse_django import orders, reconciliation
from komfortkasse_django.conf import shops
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue.pushing import push
from komfortkasse_django.reconciliation import NotReconcilableError, reconcile
from komfortkasse_django.removals import remove
from tests.settings import KOMFORTKASSE
from tests.shop.models import CompositeOrder, GiftOrder, Order, UUIDOrder, VisibleManager
from tests.support.examples import examples
from tests.support.routers import MirrorElsewhere

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _gone(configure):
    configure(ORDER_GONE={"cancelled": True}, REQUEST_BUDGET=0)


@pytest.fixture(params=[2000, 2])
def chunks(request, monkeypatch):
    """Large and small ones."""
    monkeypatch.setattr(orders, "_CHUNK", request.param)


def create(*numbers: str, cancelled: bool = True, **fields: object) -> None:
    Order.objects.bulk_create(
        Order(number=number, cancelled=cancelled, **fields) for number in numbers
    )


def row(number: str, state: str = "removed", via: str = "gone", **fields: object) -> RemovedOrder:
    return RemovedOrder.objects.create(
        shop="default",
        order_number=number,
        state=state,
        requested_via=via,
        next_attempt_at=None,
        **fields,
    )


def run(*, using: str = "default", shop: str = "default") -> reconciliation.Findings:
    """Reconcile, after a dry run that found the same and changed nothing."""
    before = list(RemovedOrder.objects.using(using).order_by("pk").values())
    found = reconcile(shops()[shop], using=using, dry_run=True)
    assert list(RemovedOrder.objects.using(using).order_by("pk").values()) == before
    done = reconcile(shops()[shop], using=using)
    assert done == found
    assert reconcile(shops()[shop], using=using, dry_run=True).is_all_done
    return done


def recorded() -> list[str]:
    rows = RemovedOrder.objects.due().filter(requested_via="reconcile")
    return list(rows.order_by("order_number").values_list("order_number", flat=True))


def marked() -> list[str]:
    rows = RemovedOrder.objects.exclude(alive_again_at=None).order_by("pk")
    return list(rows.values_list("order_number", flat=True))


@pytest.mark.usefixtures("chunks")
class TestMissing:
    def test_is_recorded(self):
        create("1001", "1002", "1003", "1004", "1005")
        create("2001", cancelled=False)

        found = run()

        assert recorded() == ["1001", "1002", "1003", "1004", "1005"]
        assert (found.orders, found.gone, found.missing.count) == (6, 5, 5)
        assert found.missing.first == recorded()

    def test_is_due_and_left_to_the_next_push(self):
        create("1001")
        run()

        assert RemovedOrder.objects.due().count() == 1

    @pytest.mark.parametrize("state", ["pending", "removed", "unknown", "failed"])
    @pytest.mark.parametrize("via", RemovedOrder.RequestedVia)
    def test_is_not_what_was_recorded(self, state, via):
        row("1001", state, via)
        create("1001")

        assert run().is_all_done

    def test_is_not_what_another_shop_recorded(self):
        row("1001").__class__.objects.update(shop="another")
        create("1001")
        run()

        assert recorded() == ["1001"]

    def test_is_what_was_superseded_and_is_gone_now(self):
        row("1001", "removed")
        row("1001", "superseded")
        create("1001")
        run()

        assert recorded() == ["1001"]

    def test_is_what_was_alive_again_and_is_gone_again(self):
        row("1001", alive_again_at=timezone.now())
        create("1001")
        run()

        assert recorded() == ["1001"]
        assert marked() == []

    def test_is_not_what_another_order_is_alive_for(self):
        create("1001")
        create("1001", cancelled=False)
        create("1002")
        row("1002", "superseded")
        create("1003", "1004")
        create("1002", cancelled=False)
        found = reconcile(shops()["default"], using="default", dry_run=True)

        assert found.missing.first[-2:] == ["1003", "1004"]
        assert "1002" not in found.missing.first

    def test_counts_each_number_once(self):
        create("1001", "1001", "1002", "1001")

        assert run().missing.count == 2
        assert recorded() == ["1001", "1002"]

    def test_needs_a_number(self):
        create("", " ", "9" * 256)
        Order.objects.create(number=None, cancelled=True)

        assert run().missing.count == 0

    def test_is_of_the_shop(self, configure):
        def accepts(order):
            asked.append(order.number)
            return order.payment == "prepayment"

        asked = []
        configure(ORDER_FILTER=accepts)
        create("1001", "1002")
        create("1003", payment="card")
        create("1004", cancelled=False)
        row("1002")
        run()

        assert recorded() == ["1001"]
        # Only of those that something would be done for.
        assert set(asked) == {"1001", "1003"}

    @pytest.mark.parametrize("number", ["full_number", lambda order: f"EVENT-{order.number}"])
    def test_with_a_number_by_a_function(self, configure, number):
        configure(ORDER_NUMBER=number)
        create("1001", "1002", "1003")
        row("EVENT-1002")
        run()

        assert recorded() == ["EVENT-1001", "EVENT-1003"]

    def test_of_a_number_by_a_function_that_was_alive_again(self, configure):
        configure(ORDER_NUMBER="full_number")
        row("EVENT-1001", alive_again_at=timezone.now())
        row("EVENT-1002", alive_again_at=timezone.now())
        create("1001", "1002")
        create("9", "1002", cancelled=False)
        run()

        assert recorded() == ["EVENT-1001"]
        assert marked() == ["EVENT-1002"]

    def test_by_any_condition(self, configure):
        configure(ORDER_GONE=Q(lines__name__contains="hirt") | Q(event__isnull=False))
        create("1001", "1002", "1003", cancelled=False)
        for name in ("T-Shirt", "Shirt"):
            Order.objects.get(number="1002").lines.create(name=name)
        found = run()

        assert recorded() == ["1002"]
        assert found.gone == 1

    @pytest.mark.parametrize("model", [UUIDOrder, GiftOrder, CompositeOrder])
    def test_in_any_model(self, configure, model):
        configure(
            ORDER_MODEL=model._meta.label,
            ORDER_GONE={"pk__isnull": False},
            ORDER_NUMBER="serial" if model is CompositeOrder else "number",
        )
        for index in range(5):
            if model is CompositeOrder:
                model.objects.create(year=2026 - index % 2, serial=index)
            elif model is GiftOrder:
                model.objects.create(number=index)
            else:
                model.objects.create()
        found = run()

        assert (found.orders, found.gone, len(recorded())) == (5, 5, 5)

    def test_without_a_condition_is_nothing(self, configure):
        configure(ORDER_GONE=None)
        create("1001")

        assert run().is_all_done


@pytest.mark.usefixtures("chunks")
class TestAliveAgain:
    @pytest.mark.parametrize("via", ["delete", "gone", "reconcile"])
    def test_is_marked_and_unmarked(self, via):
        create("1001", "1002", "1003", cancelled=False)
        row("1001", via=via)
        before = timezone.now()

        found = run()

        assert (found.alive_again.count, found.alive_again.first) == (1, ["1001"])
        since = RemovedOrder.objects.get().alive_again_at
        assert before < since <= timezone.now()

        run()
        assert RemovedOrder.objects.get().alive_again_at == since

        Order.objects.filter(number="1001").delete()
        RemovedOrder.objects.filter(state="pending").delete()
        assert run().not_alive == 1
        assert marked() == []

    def test_counts_each_number_once(self):
        create("1001", "1001", "1002", "1001", cancelled=False)
        row("1001")

        assert run().alive_again.count == 1

    @pytest.mark.parametrize("via", ["code", "admin", "command"])
    def test_is_not_what_was_asked_for_on_purpose(self, via):
        create("1001", cancelled=False)
        row("1001", via=via)

        assert run().is_all_done

    @pytest.mark.parametrize("state", ["pending", "unknown", "superseded", "failed"])
    def test_is_only_what_was_removed(self, state):
        create("1001", cancelled=False)
        row("1001")
        row("1001", state)

        assert run().is_all_done

    def test_is_told_by_the_last_row(self):
        create("1001", cancelled=False)
        row("1001", alive_again_at=timezone.now())
        last = row("1001")
        run()

        assert RemovedOrder.objects.exclude(alive_again_at=None).get() == last

    def test_is_not_what_the_shop_hides_or_the_filter_declines(self, configure):
        configure(ORDER_FILTER=lambda order: order.payment == "prepayment")
        for number in ("1001", "1002", "1003"):
            row(number)
        create("1001", cancelled=False, hidden=True)
        create("1002", cancelled=False, payment="card")
        create("1003", cancelled=False)
        run()

        assert marked() == ["1003"]

    def test_is_all_where_the_manager_demands_a_scope(self, monkeypatch):
        create("1001", cancelled=False)
        row("1001")

        def get_queryset(manager):
            raise LookupError("activate a scope")

        monkeypatch.setattr(VisibleManager, "get_queryset", get_queryset)
        run()

        assert marked() == ["1001"]

    def test_needs_no_condition(self, configure):
        configure(ORDER_GONE=None)
        create("1001")
        row("1001", via="delete")
        run()

        assert marked() == ["1001"]


class TestMisconfiguration:
    @pytest.mark.parametrize("fails_for", ["1001", "1005"])
    def test_of_the_filter_records_nothing(self, configure, monkeypatch, fails_for):
        """With a dry run first, as the command does it."""

        def accepts(order):
            if order.number == fails_for:
                raise ZeroDivisionError
            return True

        monkeypatch.setattr(orders, "_CHUNK", 2)
        configure(ORDER_FILTER=accepts)
        create("1001", "1002", "1003", "1004", "1005")

        with pytest.raises(ZeroDivisionError):
            run()
        assert recorded() == []

    def test_of_the_number_records_nothing(self, configure):
        configure(ORDER_NUMBER=lambda order: order.no_such_attribute)
        create("1001")

        with pytest.raises(AttributeError, match="no_such_attribute"):
            run()
        assert recorded() == []

    def test_without_any_order(self):
        """As if the settings name another database."""
        row("1001", alive_again_at=timezone.now())

        with pytest.raises(NotReconcilableError, match='"default" has no orders at all'):
            run()
        assert marked() == ["1001"]

    def test_of_a_new_shop_is_none(self):
        assert run().orders == 0

    @pytest.mark.django_db(databases=["default", "other"])
    def test_of_the_database(self, settings):
        settings.DATABASE_ROUTERS = [MirrorElsewhere()]
        create("1001")

        with pytest.raises(NotReconcilableError, match='have their mirror in "other", not in "def'):
            reconcile(shops()["default"], using="default")

        reconcile(shops()["default"], using="other")
        assert RemovedOrder.objects.using("other").get().order_number == "1001"

    @pytest.mark.django_db(databases=["default", "other"])
    def test_of_orders_in_several_databases_is_none(self):
        Order.objects.using("other").create(number="2001", cancelled=True)
        create("1001")
        run(using="other")

        assert RemovedOrder.objects.using("other").get().order_number == "2001"
        assert recorded() == []

    def test_of_a_database_that_is_down(self, monkeypatch):
        def fail(*args, **kwargs):
            raise OperationalError("server closed the connection")

        create("1001")
        monkeypatch.setattr(models.lookups.In, "as_sql", fail)

        with pytest.raises(OperationalError):
            run()


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer anyway")
@pytest.mark.django_db(transaction=True)
def test_two_at_once_wait_for_each_other():
    create("1001")
    shop = shops()["default"]
    other = threading.Thread(target=in_thread, args=(reconcile, shop))
    with reconciliation._alone("default", "default"):
        other.start()
        other.join(0.5)
        assert other.is_alive()
        RemovedOrder.objects.record("default", ["1001"], requested_via="reconcile")
    other.join(10)

    assert recorded() == ["1001"]


def in_thread(act, *args) -> None:
    act(*args, using="default")
    connection.close()


@pytest.mark.usefixtures("chunks")
def test_two_at_once_record_nothing_twice(monkeypatch):
    create("1001", "1002", "1003")
    shop = shops()["default"]
    alone = reconciliation._alone
    others = []

    def after_another(*args):
        if not others:
            others.append(None)
            reconcile(shop, using="default")
        return alone(*args)

    monkeypatch.setattr(reconciliation, "_alone", after_another)
    reconcile(shop, using="default")

    assert recorded() == ["1001", "1002", "1003"]


def test_in_constant_memory(monkeypatch):
    """A chunk costs as many queries as any other, however many there are."""
    monkeypatch.setattr(orders, "_CHUNK", 10)

    def statements(count: int) -> int:
        Order.objects.all().delete()
        create(*map(str, range(count)), cancelled=False)
        with CaptureQueriesContext(connection) as queries:
            reconcile(shops()["default"], using="default", dry_run=True)
        return len(queries)

    assert statements(110) - statements(100) == statements(60) - statements(50) == 3


class Reconciling(RuleBasedStateMachine):
    """After each reconciliation and push, Komfortkasse knows of all that is gone, and the mirror of
    all that is alive again."""

    numbers = st.sampled_from(["1001", "1002", "1003"])

    def __init__(self) -> None:
        super().__init__()
        models.QuerySet(Order).delete()
        RemovedOrder.objects.all().delete()
        self.ends = 0

    @rule(number=numbers, cancelled=st.booleans())
    def an_order_is_updated_or_created(self, number, cancelled) -> None:
        rows = Order.objects.filter(number=number)
        if not rows.update(cancelled=cancelled):
            Order.objects.bulk_create([Order(number=number, cancelled=cancelled)])

    @rule(number=numbers, cancelled=st.booleans())
    def an_order_is_saved(self, number, cancelled) -> None:
        for order in Order.objects.filter(number=number):
            order.cancelled = cancelled
            order.save()

    @rule(number=numbers, raw=st.booleans())
    def an_order_is_deleted(self, number, raw) -> None:
        rows = Order.objects.filter(number=number)
        if raw:
            rows._raw_delete("default")
        else:
            rows.delete()

    @rule(number=numbers)
    def an_order_is_removed_on_purpose(self, number) -> None:
        remove(Order.objects.filter(number=number))

    @rule(state=st.sampled_from(["removed", "unknown"]))
    def what_is_pending_is_answered(self, state) -> None:
        """As a push does, which sends nothing that is alive."""
        for each in RemovedOrder.objects.pending():
            alive = orders.alive(shops()["default"], [each.order_number], using="default")
            if alive and each.requested_via in RemovedOrder.SUPERSEDABLE:
                each.state = "superseded"
            else:
                each.state = state
            each.next_attempt_at = None
            each.save()

    @rule()
    def it_is_reconciled(self) -> None:
        if not Order.objects.exists():
            return
        run()
        last = {each.order_number: each for each in RemovedOrder.objects.order_by("pk")}
        for number, is_gone in Order.objects.values_list("number", "cancelled"):
            told = last.get(number)
            if is_gone:
                assert told
                assert told.state != "superseded"
                assert not told.alive_again_at
            elif told:
                is_wrong = told.state == "removed" and told.requested_via in told.SUPERSEDABLE
                assert bool(told.alive_again_at) == is_wrong
        alive = set(Order.objects.filter(cancelled=False).values_list("number", flat=True))
        assert set(marked()) <= alive

    @invariant()
    def nothing_is_marked_that_was_not_removed(self) -> None:
        rows = RemovedOrder.objects.exclude(alive_again_at=None)
        assert not rows.exclude(state="removed").exists()


@pytest.mark.slow
def test_any_sequence(settings):
    default = {**KOMFORTKASSE["default"], "REQUEST_BUDGET": 0, "ORDER_GONE": {"cancelled": True}}
    settings.KOMFORTKASSE = {"default": default}
    run_state_machine_as_test(Reconciling, settings=examples(50, stateful_step_count=20))


@pytest.mark.django_db(transaction=True)
def test_what_it_recorded_is_sent(komfortkasse):
    create("1001")
    row("1002", finished_at=timezone.now() - timedelta(days=1))
    create("1002", cancelled=False)
    run()

    assert push().states == {"removed": 1}
    assert komfortkasse.numbers == ["1001"]
