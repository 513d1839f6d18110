"""``settings.KOMFORTKASSE``, read into frozen ``Shop`` objects.

What is wrong in it is for the checks to say: reading never fails.
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


@dataclass(frozen=True, kw_only=True)
class Shop:
    """One alias of ``KOMFORTKASSE``: a Komfortkasse shop, its key and which orders are its own."""

    alias: str
    api_key: str | Callable[[], str] = field(default="", repr=False)
    order_model: str = ""
    order_number: str | Callable[[Any], Any] = "number"
    order_filter: str | Callable[[Any], bool] | None = None
    # Not hashed: a mapping has no hash.
    order_gone: Mapping[str, Any] | Q | None = field(default=None, hash=False)
    unknown_retries: Sequence[float] = (3600, 86400)
    enabled: bool = True
    api_url: str = DEFAULT_API_URL
    deadline: float = DEFAULT_DEADLINE
    request_budget: float = 3
    concurrency: int = 4
    task_backend: str = "default"
    task_queue: str = "default"
    extend_order_admin: bool = True

    # Not functools.cached_property: in its frame a variable holds all of the shop, so also the key,
    # and reports of errors show each frame's variables.
    @cached_property
    def model(self) -> type[Model]:
        """The shop's Order model. Raises where ``ORDER_MODEL`` names none."""
        return apps.get_model(self.order_model)

    @property
    def installed_model(self) -> type[Model] | None:
        """The shop's Order model, or None where ``ORDER_MODEL`` names none."""
        try:
            return self.model
        except (AttributeError, LookupError, TypeError, ValueError):
            return None

    def has_orders_of(self, model: type[Model]) -> bool:
        """Whether ``model`` is the shop's Order model, a proxy or a multi-table child of it."""
        return self.installed_model is not None and issubclass(model, concrete(self.model))

    @cached_property
    def number_field(self) -> "Field[Any, Any] | None":
        """The model field that holds the order number, where ``ORDER_NUMBER`` is one."""
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
    def read_number(self) -> Callable[[Any], Any]:
        """The function that takes an order's number, as it is, from the order.

        Raises ``ImportError`` where ``ORDER_NUMBER`` is a dotted path that leads nowhere.
        """
        number = self.order_number
        if callable(number):
            return number
        if "." in number:
            return _import(number)
        # What the field stores: not what a foreign key leads to, nor the "pk" of a child.
        name = self.number_field.attname if self.number_field else number
        return lambda order: getattr(order, name)

    @cached_property
    def wants(self) -> Callable[[Any], bool] | None:
        """``ORDER_FILTER`` as a function: does the order belong to this Komfortkasse shop?

        Raises ``ImportError`` where it is a dotted path that leads nowhere.
        """
        if isinstance(self.order_filter, str):
            return _import(self.order_filter)
        return self.order_filter

    @cached_property
    def gone(self) -> Q | None:
        """``ORDER_GONE`` as a condition that an order meets when it has ended, if there is one."""
        if isinstance(self.order_gone, Mapping) and self.order_gone:
            return Q(*self.order_gone.items())
        # Without any lookup it would be met by all orders: check E025 says so.
        return self.order_gone if isinstance(self.order_gone, Q) and self.order_gone else None


def concrete(model: type[Model]) -> type[Model]:
    """The model that ``model`` is a proxy of, or ``model`` itself."""
    return model._meta.concrete_model or model


def _import(path: str) -> Callable[[Any], Any]:
    function: Callable[[Any], Any] = import_string(path)
    return function


KEYS = {each.name.upper(): each.name for each in fields(Shop) if each.name != "alias"}
"""What may be written in an alias, and the ``Shop`` attribute it becomes."""

_last_read: tuple[object, Mapping[str, Shop]] = (None, {})


def shops() -> Mapping[str, Shop]:
    """Every readable alias of the setting as it is now, the switched-off ones included."""
    global _last_read  # noqa: PLW0603
    setting = getattr(settings, "KOMFORTKASSE", None)
    # By identity: tests that override the setting replace the dictionary.
    if _last_read[0] is not setting:
        _last_read = (setting, _read(setting))
    return _last_read[1]


def _read(setting: object) -> Mapping[str, Shop]:
    if not isinstance(setting, Mapping):
        return {}
    return {
        alias: Shop(
            alias=alias,
            **{KEYS[key]: value for key, value in options.items() if key in KEYS},
        )
        for alias, options in setting.items()
        if isinstance(alias, str) and isinstance(options, Mapping)
    }


def enabled_shops() -> list[Shop]:
    """The aliases for which removals are recorded and sent."""
    return [shop for shop in shops().values() if shop.enabled]


def shops_named(alias: str | None) -> list[Shop]:
    """The shop of an alias, or all of them. Raises ``ValueError`` for an alias that is none."""
    if alias is None:
        return list(shops().values())
    if alias not in shops():
        known = ", ".join(map(repr, shops())) or "none"
        raise ValueError(f"KOMFORTKASSE has no shop {alias!r}; it has: {known}.")
    return [shops()[alias]]
