"""SQLite refuses a write after a read if another process wrote in between: so write first."""

import copy
import sqlite3

import pytest
from django.db import OperationalError, connection, connections, models, router, transaction
from django.db.models.signals import pre_delete
from django.test.utils import CaptureQueriesContext, isolate_apps

from komfortkasse_django.database import write_first
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.removals import remove
from tests.shop.models import Event, GiftOrder, Line, Order, TicketOrder

pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite has one writer")


@pytest.fixture
def options():
    """Options of the database ``file``: SQLite's default mode."""
    return {"timeout": 0.1}


@pytest.fixture
def other_writer(tmp_path, django_db_blocker, options):
    """Another process, beside the database ``file``."""
    path = tmp_path / "mirror.sqlite3"
    connections.settings["file"] = copy.deepcopy(connection.settings_dict) | {
        "NAME": str(path),
        "OPTIONS": options,
    }
    with django_db_blocker.unblock():
        with connections["file"].schema_editor() as editor:
            for model in (RemovedOrder, Event, Order, Line, GiftOrder, TicketOrder):
                editor.create_model(model)
        other = sqlite3.connect(path, timeout=0.1)
        yield other
        other.close()
        connections["file"].close()
    del connections["file"], connections.settings["file"]


def insert(other: sqlite3.Connection) -> None:
    other.execute(
        f"INSERT INTO {RemovedOrder._meta.db_table} (shop, order_number, requested_via, created_at)"
        " VALUES ('default', '1001', 'code', '2026-01-01')"
    )
    other.commit()


def update() -> int:
    return RemovedOrder.objects.using("file").update(attempts=1)


def test_who_reads_first_is_refused_to_write(other_writer):
    """Why it is needed."""
    other_writer.execute("PRAGMA journal_mode=wal")

    with pytest.raises(OperationalError, match="locked"), transaction.atomic("file"):
        RemovedOrder.objects.using("file").count()
        insert(other_writer)
        update()


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_who_writes_first_may_read_and_write(other_writer, journal):
    other_writer.execute(f"PRAGMA journal_mode={journal}")
    insert(other_writer)

    with transaction.atomic("file"):
        write_first("file", RemovedOrder)
        assert RemovedOrder.objects.using("file").count() == 1
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            insert(other_writer)
        assert update() == 1

    assert RemovedOrder.objects.using("file").get().attempts == 1


@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize(
    "delete", [Order.delete, lambda order: Order.objects.using("file").delete()]
)
def test_a_deletion_is_not_refused(other_writer, configure, journal, delete):
    """The number is read again, and a filter may read more."""
    configure(ORDER_FILTER=lambda order: order.lines.count() == 0, REQUEST_BUDGET=0)
    other_writer.execute(f"PRAGMA journal_mode={journal}")
    order = Order.objects.using("file").create(number="1001")

    def write_meanwhile(**kwargs):
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            insert(other_writer)

    pre_delete.connect(write_meanwhile, sender=Order)
    try:
        delete(order)
    finally:
        pre_delete.disconnect(write_meanwhile, sender=Order)

    assert RemovedOrder.objects.using("file").get().order_number == "1001"


@pytest.mark.parametrize("what", [Order.objects.get, Order.objects.all])
def test_remove_is_not_refused(other_writer, configure, monkeypatch, what):
    """It reads the number again, and a queryset altogether."""
    configure(ORDER_FILTER=lambda order: order.lines.count() == 0, REQUEST_BUDGET=0)
    monkeypatch.setattr(router, "db_for_write", lambda model, **hints: "file")
    monkeypatch.setattr(router, "db_for_read", lambda model, **hints: "file")
    other_writer.execute("PRAGMA journal_mode=wal")
    Order.objects.using("file").create(number="1001")
    orders = what()

    with transaction.atomic("file"):
        with CaptureQueriesContext(connections["file"]) as queries:
            remove(orders)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            insert(other_writer)

    assert queries[0]["sql"].endswith("WHERE 0")
    assert RemovedOrder.objects.using("file").get().order_number == "1001"


@isolate_apps("tests.shop")
def test_a_model_with_a_composite_primary_key(other_writer):
    class TenantOrder(models.Model):
        pk = models.CompositePrimaryKey("tenant", "number")
        tenant = models.IntegerField()
        number = models.IntegerField()

        class Meta:
            app_label = "shop"

    with connections["file"].schema_editor() as editor:
        editor.create_model(TenantOrder)

    with transaction.atomic("file"):
        write_first("file", TenantOrder)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            insert(other_writer)


def test_no_mirror_is_needed_for_what_is_not_recorded(other_writer):
    """As where the mirror is elsewhere, or not migrated yet."""
    with connections["file"].schema_editor() as editor:
        editor.delete_model(RemovedOrder)

    Order.objects.using("file").create(number="").delete()

    assert not Order.objects.using("file").exists()


def test_a_signal_that_is_sent_outside_of_a_transaction_writes_nothing(other_writer):
    order = Order.objects.using("file").create(number="1001")

    with CaptureQueriesContext(connections["file"]) as queries:
        pre_delete.send(Order, instance=order, using="file", origin=order)

    assert not [query for query in queries if query["sql"].startswith("UPDATE")]


def statements_of_delete() -> list[str]:
    for number in range(3):
        Order.objects.using("file").create(number=number)
    with CaptureQueriesContext(connections["file"]) as queries:
        Order.objects.using("file").all().delete()
    return [query["sql"] for query in queries]


def test_it_costs_one_statement_per_deletion(other_writer, configure):
    configure(REQUEST_BUDGET=0)

    first = [sql for sql in statements_of_delete() if sql.startswith("UPDATE")]

    assert len(first) == 1
    assert first[0].endswith("WHERE 0")


@pytest.mark.parametrize(
    "options", [{"transaction_mode": "IMMEDIATE"}, {"transaction_mode": "EXCLUSIVE"}]
)
def test_it_costs_nothing_where_a_transaction_begins_as_the_writer(other_writer, configure):
    configure(REQUEST_BUDGET=0)

    assert not [sql for sql in statements_of_delete() if sql.startswith("UPDATE")]
