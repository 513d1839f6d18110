"""``settings.KOMFORTKASSE``, read into frozen ``Shop`` objects.

Reading never fails. If the setting is wrong, the system checks say so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Field, Model, Q
from django.utils.functional import cached_property
from django.utils.module_loading import import_string

DEFAULT_API_URL = "https://ssl.komfortkasse.eu/api/v2"
DEFAULT_DEADLINE = 10.0  # seconds


@dataclass(frozen=True, kw_only=True, eq=False)
class Shop:
    """One alias of ``KOMFORTKASSE``: a Komfortkasse shop, its key and its orders."""

    alias: str
    api_key: str | Callable[[], str] = field(default="", repr=False)
    order_model: str = ""
    order_number: str | Callable[[Any], Any] = "number"
    order_filter: str | Callable[[Any], bool] | None = None
    order_gone: Mapping[str, Any] | Q | None = None
    unknown_retries: Sequence[float] = (3600, 86400)
    enabled: bool = True
    api_url: str = DEFAULT_API_URL
    deadline: float = DEFAULT_DEADLINE
    request_budget: float = 3
    concurrency: int = 4
    task_backend: str = "default"
    task_queue: str = "default"
    extend_order_admin: bool = True

    # Not functools.cached_property: it has all attributes, so also the key, in a local variable,
    # which error reports show.
    @cached_property
    def model(self) -> type[Model]:
        """The shop's Order model. Raises an error if ``ORDER_MODEL`` does not name one."""
        return apps.get_model(self.order_model)

    @property
    def installed_model(self) -> type[Model] | None:
        """The shop's Order model, or None if ``ORDER_MODEL`` does not name one."""
        try:
            return self.model
        except (AttributeError, LookupError, TypeError, ValueError):
            return None

    def has_orders_of(self, model: type[Model]) -> bool:
        """Whether ``model`` is the shop's Order model, a proxy or a multi-table child of it."""
        return self.installed_model is not None and issubclass(model, concrete(self.model))

    @cached_property
    def number_field(self) -> "Field[Any, Any] | None":
        """The model field that holds the order number, or None if it is not in a field."""
        if not isinstance(self.order_number, str):
            return None
        if self.order_number == "pk":
            return self.model._meta.pk
        try:
            number_field = self.model._meta.get_field(self.order_number)
        except FieldDoesNotExist:
            return None
        if isinstance(number_field, Field) and number_field.column:
            return number_field
        return None

    @cached_property
    def has_unique_numbers(self) -> bool:
        """Whether the database itself refuses a second order with the same number."""
        if (number_field := self.number_field) is None:
            return False
        options = number_field.model._meta
        alone = {tuple(each.fields) for each in options.total_unique_constraints}
        alone |= {tuple(fields) for fields in options.unique_together}
        return number_field.unique or (number_field.name,) in alone

    @cached_property
    def read_number(self) -> Callable[[Any], Any]:
        """The function that reads an order's number from the order, unchanged.

        Raises ``ImportError`` if ``ORDER_NUMBER`` is a dotted path that cannot be imported.
        """
        number = self.order_number
        if callable(number):
            return number
        if "." in number:
            return _import(number)
        # The value that the field stores: not the object of a foreign key, not the "pk" of a child.
        name = self.number_field.attname if self.number_field else number
        return lambda order: getattr(order, name)

    @cached_property
    def wants(self) -> Callable[[Any], bool] | None:
        """``ORDER_FILTER`` as a function: does the order belong to this Komfortkasse shop?

        Raises ``ImportError`` if it is a dotted path that cannot be imported.
        """
        if isinstance(self.order_filter, str):
            return _import(self.order_filter)
        return self.order_filter

    @cached_property
    def gone(self) -> Q | None:
        """``ORDER_GONE`` as a condition that is true for an order that has ended, or None."""
        if isinstance(self.order_gone, Mapping) and self.order_gone:
            return Q(*self.order_gone.items())
        # Without any lookup it would be true for all orders: check E025 says so.
        return self.order_gone if isinstance(self.order_gone, Q) and self.order_gone else None


def concrete(model: type[Model]) -> type[Model]:
    """Return the model that ``model`` is a proxy of, or ``model`` itself."""
    return model._meta.concrete_model or model


def _import(path: str) -> Callable[[Any], Any]:
    function: Callable[[Any], Any] = import_string(path)
    return function


KEYS = {each.name.upper(): each.name for each in fields(Shop) if each.name != "alias"}
"""The keys that an alias may have, and the attribute of ``Shop`` for each."""

_last_read: tuple[object, Mapping[str, Shop]] = (None, {})


def shops() -> Mapping[str, Shop]:
    """Return every readable alias of the setting as it is now, also those that are not enabled."""
    global _last_read  # noqa: PLW0603
    setting = getattr(settings, "KOMFORTKASSE", None)
    # Identity is enough: tests that override the setting replace the dictionary.
    if _last_read[0] is not setting:
        aliases = setting if isinstance(setting, Mapping) else {}
        found = {
            alias: Shop(alias=alias, **{KEYS[key]: options[key] for key in options if key in KEYS})
            for alias, options in aliases.items()
            if isinstance(alias, str) and isinstance(options, Mapping)
        }
        _last_read = (setting, found)
    return _last_read[1]


def enabled_shops() -> list[Shop]:
    """Return the shops for which removals are recorded and sent."""
    return [shop for shop in shops().values() if shop.enabled]


def shops_named(alias: str | None) -> list[Shop]:
    """Return the shop of an alias; for None, all. Raises ``ValueError`` for an unknown alias."""
    if alias is None:
        return list(shops().values())
    if alias not in shops():
        known = ", ".join(map(repr, shops())) or "none"
        raise ValueError(f"KOMFORTKASSE has no shop {alias!r}; it has: {known}.")
    return [shops()[alias]]
