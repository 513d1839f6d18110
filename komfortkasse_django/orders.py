"""What the shop's database says of an order: its number, and whether it is alive or gone."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from django.db import Error, models, router
from django.db.models import Model, QuerySet

from komfortkasse_django.api.rules import check_number
from komfortkasse_django.conf import Shop, concrete
from komfortkasse_django.database import mirror_database

_AT_ONCE = 500  # keys in one query
_CHUNK = 2000  # orders of a walk that are looked at together

# Django 6.1: a queryset can forbid its instances to load anything later.
_FETCH_RAISE = getattr(models, "FETCH_RAISE", object())


class Found(NamedTuple):
    """An order that a walk came across."""

    key: Any
    number: object
    """As the field holds it or the function returns it."""
    is_gone: bool
    """Whether it meets ``ORDER_GONE``."""


def number_of(shop: Shop, order: Model, *, using: str, trusted: bool) -> str | None:
    """The number under which Komfortkasse knows ``order``, or None where it is not its business.

    ``trusted`` says that ``order`` was just read from the database ``using``; otherwise it is read
    again, because an instance in memory may be stale, edited, half loaded or only a primary key.
    None means that the row is gone, that ``ORDER_FILTER`` declines or that there is no number.

    Raises ``ValueError`` for a number that cannot be one, and whatever the shop's own
    ``ORDER_NUMBER`` and ``ORDER_FILTER`` raise.
    """
    if trusted and _tells_all(shop, order):
        return _number_in(shop, order)
    return next(iter(_stored(shop, [_key(shop, order)], using).values()), None)


def numbers_of(
    shop: Shop, orders: Sequence[Model], *, using: str, trusted: bool
) -> list[str | None]:
    """The number of each of ``orders``, as by ``number_of`` but in one query for many of them.

    Where the row is gone already, the order in hand is the last that knows its number.
    """
    read_again = [order for order in orders if not (trusted and _tells_all(shop, order))]
    stored: dict[object, str | None] = {}
    for start in range(0, len(read_again), _AT_ONCE):
        keys = [_key(shop, order) for order in read_again[start : start + _AT_ONCE]]
        stored |= _stored(shop, keys, using)
    return [
        stored[key] if (key := _key(shop, order)) in stored else _last_number(shop, order)
        for order in orders
    ]


def distinct(orders: Iterable[Model]) -> list[Model]:
    """Each of ``orders`` once, also where a join has it several times."""
    return list(
        {
            id(order) if order.pk is None or _is_unresolved(order.pk) else order.pk: order
            for order in orders
        }.values()
    )


def hides_fields(queryset: QuerySet[Model]) -> bool:
    """Whether its orders have something else in the place of a field, as by ``extra()``."""
    others: Mapping[str, object] = queryset.query.extra
    return bool(others) and not others.keys().isdisjoint(
        field.attname for field in queryset.model._meta.concrete_fields
    )


def for_write(queryset: QuerySet[Model]) -> QuerySet[Model]:
    """``queryset``, unread and read where its model is written: a replica may lag."""
    rows = queryset.all()
    rows._for_write = True  # type: ignore[attr-defined]  # noqa: SLF001 - as delete() does
    return rows


def clean_number(value: object) -> str | None:
    """An order number as text, or None where there is none. ``0`` is a number.

    Raises ``ValueError`` where no database or URL could hold it.
    """
    number = value if isinstance(value, str) else _text(value)
    if not number.strip():
        return None
    check_number(number)
    return number


def alive(shop: Shop, numbers: Iterable[str], *, using: str) -> set[str]:
    """Those of ``numbers`` that a living order of this shop in the database ``using`` has.

    Alive is what is in the table, is shown by the model's default manager, is accepted by
    ``ORDER_FILTER`` and does not meet ``ORDER_GONE``. A number that cannot be looked up is never
    alive: that of a property or a function, and that of a field that refuses it, as encrypted
    fields do.
    """
    found = _find(shop, numbers, using) or {}
    keys = living(shop, found, using=using)
    return {number for key in keys if (number := clean_number(found[key]))}


def existing(shop: Shop, numbers: Iterable[str], *, using: str) -> set[str] | None:
    """Those of ``numbers`` that any order in the table has, or None where none can be looked up."""
    found = _find(shop, numbers, using)
    return None if found is None else {str(clean_number(value)) for value in found.values()}


def living(shop: Shop, keys: Iterable[object], *, using: str) -> set[object]:
    """Those of the orders with these primary keys that are alive, and of this shop."""
    keys = set(keys)
    return accepted(shop, _shown(shop, keys - gone(shop, keys, using=using), using), using=using)


def gone(shop: Shop, keys: Iterable[object], *, using: str) -> set[object]:
    """Those of the orders with these primary keys that meet ``ORDER_GONE``."""
    if shop.gone is None:
        return set()
    rows = _rows(shop.model, using).filter(pk__in=list(keys)).filter(shop.gone)
    return set(rows.values_list("pk", flat=True))


def is_gone(shop: Shop, order: Model, *, using: str) -> bool:
    """Whether the row of ``order`` meets ``ORDER_GONE``. It does not where there is none."""
    key = _key(shop, order)
    return key is not None and bool(gone(shop, [key], using=using))


def accepted(shop: Shop, keys: Iterable[object], *, using: str) -> set[object]:
    """Those of the orders with these primary keys that ``ORDER_FILTER`` accepts."""
    if shop.wants is None:
        return set(keys)
    return {row.pk for row in _rows(shop.model, using).filter(pk__in=list(keys)) if shop.wants(row)}


def count(shop: Shop, *, using: str) -> int:
    """How many orders of the shop's model are in the database ``using``."""
    return _rows(shop.model, using).count()


def walk(shop: Shop, *, using: str) -> Iterator[list[Found]]:
    """All orders of the shop's model in the database ``using``, chunk by chunk.

    Raises whatever the shop's own ``ORDER_NUMBER`` raises.
    """
    rows = later = _rows(shop.model, using).order_by("pk")
    while chunk := _numbered(shop, later[:_CHUNK]):
        first, last = chunk[0][0], chunk[-1][0]
        keys = set()
        if shop.gone is not None:
            within = rows.filter(pk__gte=first, pk__lte=last).filter(shop.gone)
            keys = set(within.values_list("pk", flat=True))
        yield [Found(key, number, key in keys) for key, number in chunk]
        later = rows.filter(pk__gt=last)


def _numbered(shop: Shop, rows: QuerySet[Model]) -> list[tuple[Any, object]]:
    """Primary keys and numbers, as they are."""
    if shop.number_field is not None:
        return list(rows.values_list("pk", shop.number_field.attname))
    return [(row.pk, shop.read_number(row)) for row in rows]


def _find(shop: Shop, numbers: Iterable[str], using: str) -> dict[object, object] | None:
    """Primary keys and numbers of the orders that have one of ``numbers``.

    None where these cannot be looked up.
    """
    field = shop.number_field
    if field is None:
        return None
    candidates = [value for number in numbers if (value := _to_python(field, number)) is not None]
    if not candidates:
        return {}
    try:
        orders = _rows(shop.model, using).filter(**{f"{field.name}__in": candidates})
        rows = orders.values_list("pk", field.attname)
        rows.query.get_compiler(using).as_sql()  # some fields refuse only here
    except Error:
        raise
    except Exception:  # noqa: BLE001 - of the field's own code
        return None
    return dict(rows)


def check_condition(shop: Shop) -> None:
    """Raise what Django raises for an ``ORDER_GONE`` that the Order model cannot be asked for."""
    if shop.gone is not None:
        QuerySet(shop.model).filter(shop.gone)


def _shown(shop: Shop, keys: Iterable[object], using: str) -> set[object]:
    """Those of the orders that the model's default manager shows, all where it raises."""
    try:
        shown = shop.model._default_manager.using(using)  # noqa: SLF001
        return set(shown.filter(pk__in=list(keys)).values_list("pk", flat=True))
    except Error:
        raise
    except Exception:  # noqa: BLE001 - as a manager does that demands a scope
        return set(keys)


def database_of(shop: Shop, *, mirror_at: str) -> str:
    """The database of the orders whose removals are recorded in the database ``mirror_at``."""
    # Never a replica: one that lags still shows the order that was deleted.
    using = router.db_for_write(shop.model)
    return using if mirror_database(using) == mirror_at else mirror_at


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


def _to_python(field: "models.Field[Any, Any]", value: object) -> Any:  # noqa: ANN401
    try:
        return field.to_python(value)
    except Exception:  # noqa: BLE001 - of the field's own code; Django's raise ValidationError
        return None


def _rows(model: type[Model], using: str) -> QuerySet[Model]:
    # No manager at all: a shop's default or base manager may hide rows or demand a scope.
    return QuerySet(model, using=using)


def _stored(shop: Shop, keys: Sequence[object], using: str) -> dict[object, str | None]:
    """The numbers of those orders that the database holds, by primary key."""
    rows = _rows(shop.model, using).filter(pk__in=[key for key in keys if key is not None])
    if shop.number_field is None or shop.wants is not None:
        return {row.pk: _number_in(shop, row) for row in rows}
    numbers = rows.values_list("pk", shop.number_field.attname)
    return {key: clean_number(number) for key, number in numbers}


def _key(shop: Shop, order: Model) -> object:
    """The order's primary key as the database returns it, or None where it has none yet."""
    # Not order.pk: a multi-table child may have another one than the order it is.
    field = concrete(shop.model)._meta.pk
    key = getattr(order, field.attname)
    return None if _is_unresolved(key) else _to_python(field, key)


def _number_in(shop: Shop, order: Model) -> str | None:
    if shop.wants is not None and not shop.wants(order):
        return None
    return clean_number(shop.read_number(order))


def _last_number(shop: Shop, order: Model) -> str | None:
    """The number of an order without a row; None where only the database could have told it."""
    field = shop.number_field
    needed = vars(order).values() if field is None else [vars(order).get(field.attname)]
    is_told = _tells_all(shop, order) and not any(map(_is_unresolved, needed))
    return _number_in(shop, order) if is_told else None


def _is_unresolved(value: object) -> bool:
    """Whether it is an expression that the database has not evaluated, as with ``db_default``."""
    return hasattr(value, "resolve_expression")


def _tells_all(shop: Shop, order: Model) -> bool:
    """Whether everything that is needed can be read from ``order``."""
    if shop.number_field is not None and shop.wants is None:
        return shop.number_field.attname in order.__dict__
    fetch_mode = getattr(order._state, "fetch_mode", None)
    return fetch_mode is not _FETCH_RAISE and not order.get_deferred_fields()
