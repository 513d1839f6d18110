"""Orders and mirror rows in any number, and the settings to measure them with."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.color import no_style
from django.db import connection, models
from django.test import override_settings
from django.utils import timezone

from benchmarks.shop.models import Bare, Line, Order
from komfortkasse_django.models import RemovedOrder, ShopState, get_field

_BATCH = 1000


def shop(**options: object) -> override_settings:
    """Change options of the one shop in ``KOMFORTKASSE``."""
    return override_settings(
        KOMFORTKASSE={"default": {**settings.KOMFORTKASSE["default"], **options}}
    )


def without_shop() -> override_settings:
    """Leave no receiver of the app connected."""
    return override_settings(KOMFORTKASSE={})


def empty_tables() -> None:
    """Truncate, where that is possible, so that dead rows of one round do not slow the next."""
    models = (Line, Order, Bare, RemovedOrder, ShopState)
    tables = [model._meta.db_table for model in models]
    connection.ops.execute_sql_flush(
        connection.ops.sql_flush(no_style(), tables, allow_cascade=False)
    )


def make_orders(count: int) -> None:
    """Insert orders numbered from 0."""
    for start in range(0, count, _BATCH):
        Order.objects.bulk_create(
            Order(number=str(number), customer="Max Mustermann", total=1)
            for number in range(start, min(start + _BATCH, count))
        )


def make_due(count: int) -> None:
    """Record removals of orders that are gone, numbered from 0."""
    RemovedOrder.objects.record(
        "default",
        [str(number) for number in range(count)],
        requested_via=RemovedOrder.RequestedVia.DELETE,
    )


def make_backing_off(count: int) -> None:
    """Record removals that were tried once and are not due yet."""
    RemovedOrder.objects.bulk_create(
        [
            RemovedOrder(
                shop="default",
                order_number=f"B{number}",
                requested_via=RemovedOrder.RequestedVia.DELETE,
                attempts=1,
                error_code="service_unavailable",
                last_error="Komfortkasse is temporarily unavailable (HTTP 503)",
                next_attempt_at=timezone.now() + timedelta(hours=1),
            )
            for number in range(count)
        ],
        batch_size=_BATCH,
    )


def make_finished(count: int) -> None:
    """Insert rows that are done until there are ``count``, as of a year of deletions.

    With one text per statement instead of parameters, because a million are inserted. What a row
    does not say is filled in by the database.
    """
    numbers = range(RemovedOrder.objects.filter(next_attempt_at=None).count(), count)
    now = timezone.now()
    days = [_literal("created_at", now - timedelta(days=day)) for day in range(365)]
    columns = ", ".join(map(connection.ops.quote_name, _finished_row(0, days)))
    head = f"INSERT INTO {RemovedOrder._meta.db_table} ({columns}) VALUES "
    for start in range(0, len(numbers), _BATCH):
        batch = (_finished_row(number, days) for number in numbers[start : start + _BATCH])
        with connection.cursor() as cursor:
            cursor.execute(head + ", ".join(f"({', '.join(row.values())})" for row in batch))
    analyze()


def _finished_row(number: int, days: Sequence[str]) -> dict[str, str]:
    return {
        "shop": "'default'",
        "order_number": f"'F{number}'",
        # One of ten was not known to Komfortkasse.
        "state": "'unknown'" if number % 10 == 7 else "'removed'",
        "requested_via": "'delete'",
        "payment_status": "'DISAPPEARED'",
        "reference_number": f"'K{number}'",
        "amount": "'22.38'",
        # One of a hundred was removed although money had arrived. Most of them are settled.
        "amount_paid": "'22.38'" if number % 100 == 0 else "'0.00'",
        "settled_at": "NULL" if number % 100 or number % 1000 == 0 else days[number % 365],
        "currency": "'EUR'",
        "attempts": "1",
        "error_code": "''",
        "last_error": "''",
        "created_at": days[number % 365],
        "next_attempt_at": "NULL",
        "finished_at": days[number % 365],
    }


def _literal(name: str, value: Any) -> str:  # noqa: ANN401
    return f"'{get_field(name).get_db_prep_save(value, connection)}'"


def analyze() -> None:
    """Let the planner know what is in the mirror, where a database does so by itself in time.

    SQLite does not, and few shops tell it to.
    """
    table = RemovedOrder._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"VACUUM ANALYZE {table}")
        elif connection.vendor == "mysql":
            cursor.execute(f"ANALYZE TABLE {table}")
            cursor.fetchall()


def indexes(model: type[models.Model]) -> dict[str, str]:
    """Return the columns of a model's indexes by their names."""
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, model._meta.db_table)
    return {
        name: ", ".join(constraint["columns"])
        for name, constraint in constraints.items()
        if constraint["index"] and not constraint["primary_key"]
    }


def explain(query: models.QuerySet[Any]) -> str:
    """Return how the database finds the rows of a query; of MySQL, the keys that it uses."""
    if connection.vendor != "mysql":
        return query.explain()
    # Its plan names as well the keys that it might have used.
    sql, parameters = query.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}", parameters)
        position = [column[0] for column in cursor.description].index("key")
        return " ".join(str(row[position]) for row in cursor.fetchall())
