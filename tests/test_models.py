"""The mirror's vocabulary, and its migrations."""

import pytest
from django.core.management import call_command
from django.db import connection

from komfortkasse_django.models import RemovedOrder, ShopState

pytestmark = pytest.mark.django_db


def test_a_word_for_each_state():
    mirror = RemovedOrder.objects
    for state in RemovedOrder.State:
        mirror.create(shop="default", order_number=state, requested_via="code", state=state)

    for state in RemovedOrder.State:
        rows = getattr(mirror, state)()
        assert [row.order_number for row in rows] == [state]
        assert rows.filter(shop="default").count() == 1


def test_a_number_may_be_removed_twice():
    for _ in range(2):
        RemovedOrder.objects.create(shop="default", order_number="1001", requested_via="delete")

    assert RemovedOrder.objects.due().count() == 2


def test_names():
    assert str(RemovedOrder(order_number="1001")) == "1001"
    assert str(ShopState(shop="default")) == "default"


def test_the_database_fills_in_what_recording_leaves_out():
    [key] = RemovedOrder.objects.record("default", ["1001"], requested_via="delete")

    recorded = RemovedOrder.objects.get(pk=key)
    assert recorded.next_attempt_at == recorded.created_at
    made = RemovedOrder(
        pk=key,
        shop="default",
        order_number="1001",
        requested_via="delete",
        next_attempt_at=recorded.next_attempt_at,
        created_at=recorded.created_at,
    )
    names = [field.attname for field in RemovedOrder._meta.concrete_fields]
    assert {name: getattr(recorded, name) for name in names} == {
        name: getattr(made, name) for name in names
    }


def test_no_migration_is_missing():
    call_command("makemigrations", "komfortkasse_django", check=True, dry_run=True)


def test_an_index_leaves_out_rows_without_a_value_where_the_database_can():
    (index,) = [each for each in RemovedOrder._meta.indexes if each.fields == ["next_attempt_at"]]

    sql = str(index.create_sql(RemovedOrder, connection.schema_editor()))

    column = connection.ops.quote_name("next_attempt_at")
    can = connection.features.supports_partial_indexes
    assert sql.endswith(f"({column}) WHERE {column} IS NOT NULL" if can else f"({column})")


def test_no_database_warns_of_the_models():
    """As Django does before each ``migrate``, for that database."""
    assert RemovedOrder.check(databases=["default"]) == []


def test_retry_makes_due_what_is_not_done():
    for state in RemovedOrder.State:
        RemovedOrder.objects.create(
            shop="default",
            order_number=state,
            requested_via="code",
            state=state,
            next_attempt_at=None,
        )

    assert RemovedOrder.objects.retry() == 3

    due = RemovedOrder.objects.due().order_by("order_number")
    assert [row.order_number for row in due] == ["failed", "pending", "unknown"]
    assert {row.state for row in due} == {"pending"}
