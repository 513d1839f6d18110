"""What the manual says the app cannot notice, and what is to be done instead."""

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.state import ProjectState

from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.removals import remove
from tests.shop.models import Order
from tests.support.routers import MirrorElsewhere

pytestmark = pytest.mark.django_db(transaction=True)


def raw_delete(order):
    Order.objects.filter(pk=order.pk)._raw_delete("default")


def sql(order):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM shop_order WHERE id = %s", [order.pk])


def flush(order):
    call_command("flush", interactive=False, verbosity=0)


def model_of_a_migration(order):
    historical = ProjectState.from_apps(apps).apps.get_model("shop", "Order")
    historical.objects.filter(pk=order.pk).delete()


@pytest.mark.parametrize("delete", [raw_delete, sql, flush, model_of_a_migration])
def test_no_signal_tells_of(delete, komfortkasse):
    order = Order.objects.create(number="1001")

    delete(order)

    assert not Order.objects.exists()
    assert not RemovedOrder.objects.exists()
    remove(order)
    assert komfortkasse.numbers == ["1001"]


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_transaction_on_the_mirrors_database_may_still_roll_it_back(settings, komfortkasse):
    settings.DATABASE_ROUTERS = [MirrorElsewhere()]
    with transaction.atomic("other"):
        Order.objects.create(number="1001").delete()
        assert RemovedOrder.objects.using("other").pending().count() == 1
        transaction.set_rollback(True, using="other")

    assert not Order.objects.exists()
    assert not RemovedOrder.objects.using("other").exists()
    assert komfortkasse.numbers == []
