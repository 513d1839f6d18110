"""Gives the shop's own admin of orders an action and a button, without any code of the shop."""

from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from types import new_class
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.contrib.admin.sites import AdminSite, all_sites
from django.core.checks import CheckMessage
from django.core.checks import Warning as CheckWarning
from django.db.models import Model

from komfortkasse_django.admin.orders import OrderAdminMixin
from komfortkasse_django.conf import enabled_shops

if TYPE_CHECKING:
    from django.contrib import admin


_failures: dict[type, str] = {}
"""Why a ModelAdmin could not be extended, by its class."""


def attach() -> None:
    """Extend what is registered for orders, their proxies and children, on every admin site.

    The ModelAdmin is registered again as a subclass with its own name and module. One that cannot
    be extended stays as it is.
    """
    for site, model in _registered():
        model_admin = site.get_model_admin(model)
        if isinstance(model_admin, OrderAdminMixin):
            continue
        try:
            extended = _extended(type(model_admin))
            site.unregister(model)
            site.register(model, extended)
        except Exception as error:  # noqa: BLE001 - the shop's own code
            _failures[type(model_admin)] = f"{type(error).__name__}: {error}"
            site._registry[model] = model_admin  # noqa: SLF001 - registering it would make another


def _registered() -> Iterator[tuple[AdminSite, type[Model]]]:
    """Yield each admin site with each of its models whose admin has to be extended."""
    shops = [shop for shop in enabled_shops() if shop.extend_order_admin]
    for site in list(all_sites):
        for model in apps.get_models():
            if site.is_registered(model) and any(shop.has_orders_of(model) for shop in shops):
                yield site, model


def _extended(model_admin: "type[admin.ModelAdmin[Any]]") -> "type[admin.ModelAdmin[Any]]":
    names = ("__module__", "__qualname__", "__doc__")
    attributes = {name: getattr(model_admin, name) for name in names}
    bases = (OrderAdminMixin, model_admin)
    return new_class(model_admin.__name__, bases, exec_body=lambda body: body.update(attributes))


def check_attached(**kwargs: object) -> list[CheckMessage]:
    """An Order admin that ``attach`` could not extend, or that was registered too late for it."""
    # The URLconf may register admins. Load it first, because other checks may load it before or
    # after this one. Django's own check reports its errors.
    with suppress(Exception):
        import_module(settings.ROOT_URLCONF)
    return [
        _warning(site, model, type(model_admin))
        for site, model in _registered()
        if not isinstance(model_admin := site.get_model_admin(model), OrderAdminMixin)
    ]


def _warning(site: AdminSite, model: type[Model], model_admin: type) -> CheckMessage:
    name = model_admin.__name__
    if model_admin in _failures:
        reason = f"{name} cannot be extended ({_failures[model_admin]})"
        remedy = f"Let actions in {name} be a list or a tuple, not a property, and allow subclasses"
    else:
        reason = f"{name} is registered too late"
        remedy = (
            "List komfortkasse_django in INSTALLED_APPS after django.contrib.admin, or let"
            f" {name} inherit from komfortkasse_django.admin.OrderAdminMixin"
        )
    return CheckWarning(
        f"{model._meta.label} on the admin site {site.name!r} lacks the action and the button that"
        f" remove orders from Komfortkasse: {reason}.",
        hint=f"{remedy}, or set EXTEND_ORDER_ADMIN to False.",
        obj=model_admin,
        id="komfortkasse_django.W002",
    )
