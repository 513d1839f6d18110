"""From an order in the shop's admin to its removals, and from a removal to the order."""

import logging
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib.admin.sites import AdminSite
from django.contrib.admin.utils import quote
from django.db import router
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse

from komfortkasse_django.admin.confirmation import examine, known_removals, name_of, shops_of
from komfortkasse_django.admin.markup import exact_and_from_now, in_one_line
from komfortkasse_django.conf import Shop, concrete, shops
from komfortkasse_django.database import mirror_database
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.orders import distinct, for_write, keys_of

if TYPE_CHECKING:
    from django.contrib import admin

logger = logging.getLogger("komfortkasse_django")

_NAMED = 5  # orders with the same number that are linked


def order_links(
    row: RemovedOrder, request: HttpRequest, admin_site: AdminSite
) -> list[tuple[str, str]]:
    """Names and URLs of the orders in the shop that have the number of ``row``.

    Only orders that the user may see on this admin site. A number that is not in a field of the
    Order model cannot be looked up.
    """
    shop = shops().get(row.shop)
    if shop is None or shop.installed_model is None:
        return []
    try:
        return _order_links(row, shop, request, admin_site)
    except Exception:
        logger.exception("Order %s: it cannot be looked up in the shop", row)
        return []


def _order_links(
    row: RemovedOrder, shop: Shop, request: HttpRequest, admin_site: AdminSite
) -> list[tuple[str, str]]:
    models = filter(admin_site.is_registered, filter(shop.has_orders_of, apps.get_models()))
    key = concrete(shop.model)._meta.pk.name
    # The model itself comes first: its proxies and children only count if it shows no order.
    for model in sorted(models, key=lambda model: model is not shop.model):
        model_admin = admin_site.get_model_admin(model)
        rows = for_write(model_admin.get_queryset(request))
        # Not row._state.db, which may be a replica.
        is_its_mirror = mirror_database(rows.db) == router.db_for_write(RemovedOrder, instance=row)
        if not (is_its_mirror and model_admin.has_view_or_change_permission(request)):
            continue
        keys = keys_of(shop, row.order_number, using=rows.db)
        links = [
            (name_of(order), admin_url(model_admin, "change", order))
            for order in distinct(rows.filter(**{f"{key}__in": keys})[:_NAMED])
            if model_admin.has_view_or_change_permission(request, order)
        ]
        if links:
            return links
    return []


def note_on(
    order: Model, model_admin: "admin.ModelAdmin[Any]", request: HttpRequest, *, may_remove: bool
) -> dict[str, object]:
    """Return what the template needs to tell on the form of ``order`` what is known of its removal.

    Empty where nothing is known, or the user may neither remove orders nor see the mirror.
    """
    mirror_admin = _mirror_admin(request, model_admin.admin_site)
    its_shops = shops_of(model_admin.model)
    if not (its_shops and (may_remove or mirror_admin)):
        return {}
    # Read the order again: a form that is not valid may have changed this instance.
    rows = for_write(model_admin.get_queryset(request)).filter(pk=order.pk)
    try:
        selection = examine(rows, its_shops, using=rows.db, is_allowed=lambda order: True)
        known = known_removals(selection.entries, using=rows.db)
    except Exception:
        # The form is the shop's own, so it must not fail because of this.
        logger.exception("Order %s: its removals cannot be shown", order.pk)
        return {"komfortkasse_has_failed": True}
    if not known:
        return {}
    return {
        "komfortkasse_removals": [
            (row, in_one_line(row, exact_and_from_now), _url_of(row, mirror_admin, request))
            for its_removals in known.values()
            for row in its_removals
        ],
        "komfortkasse_has_several_shops": len(its_shops) > 1,
    }


def _mirror_admin(
    request: HttpRequest, admin_site: AdminSite
) -> "admin.ModelAdmin[RemovedOrder] | None":
    """Return the admin of the mirror on this site, if there is one that the user may see."""
    if not admin_site.is_registered(RemovedOrder):
        return None
    mirror_admin = admin_site.get_model_admin(RemovedOrder)
    return mirror_admin if mirror_admin.has_view_permission(request) else None


def _url_of(
    row: RemovedOrder, mirror_admin: "admin.ModelAdmin[RemovedOrder] | None", request: HttpRequest
) -> str:
    """Return the page of ``row``; empty if ``mirror_admin`` shows another database's mirror."""
    if mirror_admin is None or for_write(mirror_admin.get_queryset(request)).db != row._state.db:
        return ""
    return admin_url(mirror_admin, "change", row)


def admin_url(model_admin: "admin.ModelAdmin[Any]", view: str, thing: Model) -> str:
    """Return the URL of a view of ``thing`` on the site of ``model_admin``."""
    name = f"admin:{model_admin.opts.app_label}_{model_admin.opts.model_name}_{view}"
    return reverse(name, args=[quote(thing.pk)], current_app=model_admin.admin_site.name)
