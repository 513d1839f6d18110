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
from komfortkasse_django.conf import concrete, enabled_shops

if TYPE_CHECKING:
    from django.contrib import admin


def attach() -> None:
    """Extend what is registered for orders, and for proxies of them, on every admin site.

    The ModelAdmin is registered again as a subclass with its own name and module.
    """
    for site, model in _registered():
        model_admin = site.get_model_admin(model)
        if not isinstance(model_admin, OrderAdminMixin):
            site.unregister(model)
            site.register(model, _extended(type(model_admin)))


def _registered() -> Iterator[tuple[AdminSite, type[Model]]]:
    """Each admin site and the models of orders that it has and that are to be extended."""
    orders = {
        concrete(shop.model)
        for shop in enabled_shops()
        if shop.extend_order_admin and shop.installed_model is not None
    }
    for site in list(all_sites):
        for model in apps.get_models():
            if concrete(model) in orders and site.is_registered(model):
                yield site, model


def _extended(model_admin: "type[admin.ModelAdmin[Any]]") -> "type[admin.ModelAdmin[Any]]":
    names = ("__module__", "__qualname__", "__doc__")
    attributes = {name: getattr(model_admin, name) for name in names}
    bases = (OrderAdminMixin, model_admin)
    return new_class(model_admin.__name__, bases, exec_body=lambda body: body.update(attributes))


def check_attached(**kwargs: object) -> list[CheckMessage]:
    """An Order admin that was registered too late for ``attach``."""
    # What the URLconf registers has to be there whenever this check runs, or it would depend on
    # the order of the checks. What is wrong with the URLconf is for Django's own check to say.
    with suppress(Exception):
        import_module(settings.ROOT_URLCONF)
    return [
        CheckWarning(
            f"{model._meta.label} is registered on the admin site {site.name!r} too late to get the"
            " action and the button that remove orders from Komfortkasse.",
            hint="List komfortkasse_django in INSTALLED_APPS after django.contrib.admin, or let"
            f" {type(site.get_model_admin(model)).__name__} inherit from"
            " komfortkasse_django.admin.OrderAdminMixin, or set EXTEND_ORDER_ADMIN to False.",
            obj=type(site.get_model_admin(model)),
            id="komfortkasse_django.W002",
        )
        for site, model in _registered()
        if not isinstance(site.get_model_admin(model), OrderAdminMixin)
    ]
