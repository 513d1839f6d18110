"""What the shop's database says about an order: its number, and whether it is alive or gone."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.db import Error, models, router
from django.db.models import Model, QuerySet

from komfortkasse_django.api.rules import check_number
from komfortkasse_django.conf import Shop, concrete
from komfortkasse_django.database import mirror_database

_AT_ONCE = 500  # keys in one query
_CHUNK = 2000  # orders of a walk that are looked at together

# Django 6.1: a queryset can forbid its instances to load anything later.
_FETCH_RAISE = getattr(models, "FETCH_RAISE", object())


Found = tuple[Any, object, bool]
"""Of an order: primary key, number as the shop has it, and whether it meets ``ORDER_GONE``."""


def number_of(shop: Shop, order: Model, *, using: str, trusted: bool) -> str | None:
    """Return the number under which Komfortkasse knows ``order``, or None if it need not know it.

    ``trusted`` says that ``order`` was just read from the database ``using``. Otherwise it is read
    again: an instance in memory may be old, changed, half loaded or only a primary key. None means
    that there is no row or no number, or that ``ORDER_FILTER`` does not accept the order.

    Raises ``ValueError`` for an invalid number, and whatever the shop's own ``ORDER_NUMBER`` and
    ``ORDER_FILTER`` raise.
    """
    if trusted and _is_loaded(shop, order):
        return _number_in(shop, order)
    return next(iter(_stored(shop, [_key(shop, order)], using).values()), None)


def numbers_of(shop: Shop, orders: Sequence[Model], *, using: str) -> list[str | None]:
    """Return the number of each order, as ``number_of`` does, but with one query for many of them.

    If there is no row any more, the number is read from the instance.
    """
    keys = [_key(shop, order) for order in orders]
    stored: dict[object, str | None] = {}
    for start in range(0, len(keys), _AT_ONCE):
        stored |= _stored(shop, keys[start : start + _AT_ONCE], using)
    return [
        stored[key] if key in stored else _last_number(shop, order)
        for key, order in zip(keys, orders, strict=True)
    ]


def clean_number(value: object) -> str | None:
    """Return an order number as text, or None if it is empty. ``0`` is a number.

    Raises ``ValueError`` for what cannot be a number, or cannot be stored or sent.
    """
    number = value if isinstance(value, str) else _text(value)
    if not number.strip():
        return None
    check_number(number)
    return number


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode()
    kind = type(value)
    has_no_text = kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__
    if has_no_text or callable(value) or _is_unresolved(value):
        raise ValueError(f"The order number is a {kind.__name__}; pass text or a whole number.")
    return str(value)


def _stored(shop: Shop, keys: Sequence[object], using: str) -> dict[object, str | None]:
    """Return the numbers of those orders that the database has, by primary key."""
    rows = _rows(shop, using).filter(pk__in=[key for key in keys if key is not None])
    if shop.number_field is None or shop.wants is not None:
        return {row.pk: _number_in(shop, row) for row in rows}
    numbers = rows.values_list("pk", shop.number_field.attname)
    return {key: clean_number(number) for key, number in numbers}


def _number_in(shop: Shop, order: Model) -> str | None:
    if shop.wants is not None and not shop.wants(order):
        return None
    return clean_number(shop.read_number(order))


def _last_number(shop: Shop, order: Model) -> str | None:
    """Return the number of an order without a row; None if only the database could tell it."""
    field = shop.number_field
    needed = vars(order).values() if field is None else [vars(order).get(field.attname)]
    is_known = _is_loaded(shop, order) and not any(map(_is_unresolved, needed))
    return _number_in(shop, order) if is_known else None


def _key(shop: Shop, order: Model) -> object:
    """Return the order's primary key as the database returns it, or None if it has none yet."""
    # Not order.pk: a multi-table child may have another one than the order it is.
    field = concrete(shop.model)._meta.pk
    key = getattr(order, field.attname)
    return None if _is_unresolved(key) else _to_python(field, key)


def _is_unresolved(value: object) -> bool:
    """Whether it is an expression that the database has not evaluated, as with ``db_default``."""
    return hasattr(value, "resolve_expression")


def _is_loaded(shop: Shop, order: Model) -> bool:
    """Whether everything that is needed can be read from ``order``."""
    if shop.number_field is not None and shop.wants is None:
        return shop.number_field.attname in order.__dict__
    fetch_mode = getattr(order._state, "fetch_mode", None)
    return fetch_mode is not _FETCH_RAISE and not order.get_deferred_fields()


def alive(shop: Shop, numbers: Iterable[str], *, using: str) -> set[str]:
    """Return those of ``numbers`` that a living order of this shop in the database ``using`` has.

    An order is alive if it is in the table, the model's default manager shows it, ``ORDER_FILTER``
    accepts it and it does not meet ``ORDER_GONE``. A number that cannot be looked up is never
    alive: one from a property or a function, or from a field that refuses it, such as an encrypted
    field.
    """
    found = _find(shop, numbers, using) or {}
    keys = living(shop, found, using=using)
    return {number for key in keys if (number := clean_number(found[key]))}


def existing(shop: Shop, numbers: Iterable[str], *, using: str) -> set[str] | None:
    """Return those of ``numbers`` that any order has, or None if they cannot be looked up."""
    found = _find(shop, numbers, using)
    return None if found is None else {str(clean_number(value)) for value in found.values()}


def keys_of(shop: Shop, number: str, *, using: str) -> set[object]:
    """Primary keys of the shop's orders in the table with ``number``; none if none can be found."""
    return accepted(shop, _find(shop, [number], using) or {}, using=using)


def living(shop: Shop, keys: Iterable[object], *, using: str) -> set[object]:
    """Return the primary keys, out of ``keys``, of orders of this shop that are alive."""
    keys = set(keys)
    return accepted(shop, _shown(shop, keys - gone(shop, keys, using=using), using), using=using)


def gone(shop: Shop, keys: Iterable[object], *, using: str) -> set[object]:
    """Return the primary keys, out of ``keys``, of orders that meet ``ORDER_GONE``."""
    if shop.gone is None:
        return set()
    rows = _rows(shop, using).filter(pk__in=list(keys)).filter(shop.gone)
    return set(rows.values_list("pk", flat=True))


def is_gone(shop: Shop, order: Model, *, using: str) -> bool:
    """Whether the order's row meets ``ORDER_GONE``. False if there is no row."""
    key = _key(shop, order)
    return key is not None and bool(gone(shop, [key], using=using))


def accepted(shop: Shop, keys: Iterable[object], *, using: str) -> set[object]:
    """Return the primary keys, out of ``keys``, of orders that ``ORDER_FILTER`` accepts."""
    if shop.wants is None:
        return set(keys)
    return {row.pk for row in _rows(shop, using).filter(pk__in=list(keys)) if shop.wants(row)}


def walk(shop: Shop, *, using: str) -> Iterator[list[Found]]:
    """Yield all orders of the shop's model in the database ``using``, chunk by chunk.

    Raises whatever the shop's own ``ORDER_NUMBER`` raises.
    """
    rows = later = _rows(shop, using).order_by("pk")
    while chunk := _numbered(shop, later[:_CHUNK]):
        first, last = chunk[0][0], chunk[-1][0]
        keys = set()
        if shop.gone is not None:
            within = rows.filter(pk__gte=first, pk__lte=last).filter(shop.gone)
            keys = set(within.values_list("pk", flat=True))
        yield [(key, number, key in keys) for key, number in chunk]
        later = rows.filter(pk__gt=last)


def count(shop: Shop, *, using: str) -> int:
    """Return how many orders of the shop's model are in the database ``using``."""
    return _rows(shop, using).count()


def _numbered(shop: Shop, rows: QuerySet[Model]) -> list[tuple[Any, object]]:
    if shop.number_field is not None:
        return list(rows.values_list("pk", shop.number_field.attname))
    return [(row.pk, shop.read_number(row)) for row in rows]


def _find(shop: Shop, numbers: Iterable[str], using: str) -> dict[object, object] | None:
    """Return primary keys and numbers of the orders that have one of ``numbers``.

    None if they cannot be looked up.
    """
    field = shop.number_field
    if field is None:
        return None
    candidates = [value for number in numbers if (value := _to_python(field, number)) is not None]
    if not candidates:
        return {}
    try:
        orders = _rows(shop, using).filter(**{f"{field.name}__in": candidates})
        rows = orders.values_list("pk", field.attname)
        rows.query.get_compiler(using).as_sql()  # some fields refuse only here
    except Error:
        raise
    except Exception:  # noqa: BLE001 - the field's own code
        return None
    return dict(rows)


def _shown(shop: Shop, keys: Iterable[object], using: str) -> set[object]:
    """Return the keys that the model's default manager shows, or all if the manager fails."""
    try:
        shown = shop.model._default_manager.using(using)  # noqa: SLF001
        return set(shown.filter(pk__in=list(keys)).values_list("pk", flat=True))
    except Error:
        raise
    except Exception:  # noqa: BLE001 - for example a manager that needs a scope
        return set(keys)


def distinct(orders: Iterable[Model]) -> list[Model]:
    """Return each of ``orders`` once, even if a join has it several times."""
    return list(
        {
            id(order) if order.pk is None or _is_unresolved(order.pk) else order.pk: order
            for order in orders
        }.values()
    )


def for_write(queryset: QuerySet[Model]) -> QuerySet[Model]:
    """Return a copy that reads from the database that is written to: a replica may be behind."""
    rows = queryset.all()
    rows._for_write = True  # type: ignore[attr-defined]  # noqa: SLF001 - as delete() does
    return rows


def database_of(shop: Shop, *, mirror_at: str) -> str:
    """Return the database of the orders whose removals are recorded in ``mirror_at``."""
    # Never a replica: one that is behind still shows the order that was deleted.
    using = router.db_for_write(shop.model)
    return using if mirror_database(using) == mirror_at else mirror_at


def _rows(shop: Shop, using: str) -> QuerySet[Model]:
    # No manager at all: a shop's default or base manager may hide rows or need a scope.
    return QuerySet(shop.model, using=using)


def _to_python(field: "models.Field[Any, Any]", value: object) -> Any:  # noqa: ANN401
    try:
        return field.to_python(value)
    except Exception:  # noqa: BLE001 - the field's own code; Django's raises ValidationError
        return None
