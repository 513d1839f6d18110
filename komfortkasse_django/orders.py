"""What the shop's database says of an order: its number, and whether a number is in use."""

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, router
from django.db.models import Model, QuerySet

from komfortkasse_django.api.rules import check_number
from komfortkasse_django.conf import Shop, concrete
from komfortkasse_django.database import mirror_database

# Django 6.1: a queryset can forbid its instances to load anything later.
_FETCH_RAISE = getattr(models, "FETCH_RAISE", object())


def number_of(shop: Shop, order: Model, *, using: str, trusted: bool) -> str | None:
    """The number under which Komfortkasse knows ``order``, or None where it is not its business.

    ``trusted`` says that ``order`` was just read from the database ``using``; otherwise it is read
    again, because an instance in memory may be stale, edited, half loaded or only a primary key.
    None means that the row is gone, that ``ORDER_FILTER`` declines or that there is no number.

    Raises ``ValueError`` for a number that cannot be one, and whatever the shop's own
    ``ORDER_NUMBER`` and ``ORDER_FILTER`` raise.
    """
    field = shop.number_field
    if field is not None and shop.wants is None:
        if trusted and field.attname in order.__dict__:
            return clean_number(getattr(order, field.attname))
        return clean_number(_row(shop, order, using).values_list(field.attname, flat=True).first())

    current = order if trusted and _is_complete(order) else _row(shop, order, using).first()
    if current is None or not (shop.wants is None or shop.wants(current)):
        return None
    return clean_number(shop.read_number(current))


def exists(shop: Shop, order: Model, *, using: str) -> bool:
    """Whether the database ``using`` holds a row of ``order``."""
    return _row(shop, order, using).exists()


def for_write(queryset: QuerySet[Model]) -> QuerySet[Model]:
    """``queryset``, unread and read where its model is written: a replica may lag."""
    rows = queryset.all()
    rows._for_write = True  # type: ignore[attr-defined]  # noqa: SLF001 - as delete() does
    return rows


def clean_number(value: object) -> str | None:
    """An order number as text, or None where there is none. ``0`` is a number.

    Raises ``ValueError`` where no database or URL could hold it.
    """
    number = "" if value is None else str(value)
    if not number.strip():
        return None
    check_number(number)
    return number


def in_use(shop: Shop, numbers: Iterable[str], *, using: str) -> set[str]:
    """Those of ``numbers`` that an order of this shop in the database ``using`` bears now.

    Only where ``ORDER_NUMBER`` is a model field: anything else cannot be looked up.
    """
    field = shop.number_field
    if field is None:
        return set()
    candidates = [value for number in numbers if (value := _to_python(field, number)) is not None]
    orders = _rows(shop.model, using).filter(**{f"{field.name}__in": candidates})
    if shop.wants is not None:
        return {str(getattr(order, field.attname)) for order in orders if shop.wants(order)}
    return {str(value) for value in orders.values_list(field.attname, flat=True)}


def database_of(shop: Shop, *, mirror_at: str) -> str:
    """The database of the orders whose removals are recorded in the database ``mirror_at``."""
    # Never a replica: one that lags still shows the order that was deleted.
    using = router.db_for_write(shop.model)
    return using if mirror_database(using) == mirror_at else mirror_at


def _to_python(field: "models.Field[Any, Any]", number: str) -> Any:  # noqa: ANN401
    try:
        return field.to_python(number)
    except ValidationError:
        return None


def _rows(model: type[Model], using: str) -> QuerySet[Model]:
    # No manager at all: a shop's default or base manager may hide rows or demand a scope.
    return QuerySet(model, using=using)


def _row(shop: Shop, order: Model, using: str) -> QuerySet[Model]:
    # Not order.pk: a multi-table child may have another one than the order it is.
    key = concrete(shop.model)._meta.pk
    return _rows(shop.model, using).filter(pk=getattr(order, key.attname))


def _is_complete(order: Model) -> bool:
    """Whether the shop's functions may read everything from ``order``."""
    fetch_mode = getattr(order._state, "fetch_mode", None)
    return fetch_mode is not _FETCH_RAISE and not order.get_deferred_fields()
