"""The admin of the shop's own orders: an action and a button to remove them from Komfortkasse."""

from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from types import new_class
from typing import TYPE_CHECKING, Any, cast

import django
from django.apps import apps
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.sites import AdminSite, all_sites
from django.contrib.admin.utils import quote, unquote
from django.core.checks import CheckMessage
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from komfortkasse_django import removals
from komfortkasse_django.admin import markup
from komfortkasse_django.admin.actions import report
from komfortkasse_django.admin.confirmation import Selection, examine, shops_of
from komfortkasse_django.conf import concrete, enabled_shops
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.orders import for_write

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Any]
else:
    _Base = object

_NAMED = 100  # orders that the confirmation page names; a page of the list has as many
_NAMED_LEFT_OUT = 20


class OrderAdminMixin(_Base):
    """Gives the ``ModelAdmin`` of orders what removes them from Komfortkasse by hand.

    List it first: ``class OrderAdmin(OrderAdminMixin, admin.ModelAdmin)``. It is for those who do
    not want the app to extend the ModelAdmin itself, which it does unless ``EXTEND_ORDER_ADMIN`` is
    False or the ModelAdmin is registered too late. Both show nothing to users who lack the
    permission ``komfortkasse_django.remove_order``.
    """

    def __init__(self, model: type[Model], admin_site: AdminSite) -> None:
        super().__init__(model, admin_site)
        # Not by get_actions(), whose signature differs between versions of Django. A shop that has
        # set None wants no actions at all.
        if self.actions is not None:
            self.actions = [*self.actions, "remove_from_komfortkasse"]

    def has_remove_from_komfortkasse_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        """Whether the user may remove orders, or this order, from Komfortkasse."""
        return (
            bool(shops_of(self.model))
            and request.user.has_perm("komfortkasse_django.remove_order")
            and self.has_view_or_change_permission(request, obj)
        )

    # From the list

    @admin.action(
        description=_("Remove selected %(verbose_name_plural)s from Komfortkasse"),
        permissions=["remove_from_komfortkasse"],
    )
    def remove_from_komfortkasse(
        self, request: HttpRequest, queryset: QuerySet[Model]
    ) -> HttpResponse | None:
        selected = request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)
        across = request.POST.get("select_across") == "1"
        # With all pages selected the query says which orders; one is sent along, as Django asks.
        again = [(helpers.ACTION_CHECKBOX_NAME, key) for key in selected[: 1 if across else None]]
        again += [("action", "remove_from_komfortkasse"), ("select_across", str(int(across)))]
        return self._confirm_and_remove(
            request, queryset, again=again, cancel_url=request.get_full_path()
        )

    # From the form

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "<path:object_id>/remove-from-komfortkasse/",
                self.admin_site.admin_view(self.remove_from_komfortkasse_view),
                name=self._url_name("remove_from_komfortkasse"),
            ),
            *super().get_urls(),
        ]

    def remove_from_komfortkasse_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether to remove a single order; remove it by POST."""
        order = self.get_object(request, unquote(object_id))
        if order is None:
            raise Http404
        if not self.has_remove_from_komfortkasse_permission(request, order):
            raise PermissionDenied
        form = self._url("change", quote(order.pk))
        queryset = self.get_queryset(request).filter(pk=order.pk)
        response = self._confirm_and_remove(request, queryset, again=[], cancel_url=form)
        return response or HttpResponseRedirect(form)

    def render_change_form(  # noqa: PLR0917 - as Django has it
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,  # noqa: FBT001, FBT002
        change: bool = False,  # noqa: FBT001, FBT002
        form_url: str = "",
        obj: Model | None = None,
    ) -> HttpResponse:
        response = super().render_change_form(request, context, add, change, form_url, obj)
        if (
            obj is not None
            and isinstance(response, TemplateResponse)
            and self.has_remove_from_komfortkasse_permission(request, obj)
        ):
            # The button goes into whatever template it is that the shop uses.
            base = response.resolve_template(response.template_name)
            response.template_name = "komfortkasse_django/order_change_form.html"
            response.context_data = {
                **(response.context_data or {}),
                "komfortkasse_base": base,
                "komfortkasse_url": self._url("remove_from_komfortkasse", quote(obj.pk)),
            }
        return response

    # Both

    def _url_name(self, view: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{view}"

    def _url(self, view: str, *args: str) -> str:
        name = f"admin:{self._url_name(view)}"
        return reverse(name, args=args, current_app=self.admin_site.name)

    def _confirm_and_remove(
        self,
        request: HttpRequest,
        queryset: QuerySet[Model],
        *,
        again: list[tuple[str, str]],
        cancel_url: str,
    ) -> HttpResponse | None:
        """Remove what was confirmed, or ask for it: ``again`` is what has to be sent for that."""
        orders = for_write(queryset)
        selection = examine(
            orders,
            shops_of(self.model),
            using=orders.db,
            is_allowed=lambda order: self.has_remove_from_komfortkasse_permission(request, order),
        )
        confirmed = request.POST.get("confirmed")
        if confirmed == selection.fingerprint and selection.orders:
            self._remove(request, selection)
            return None
        return TemplateResponse(
            request,
            "komfortkasse_django/confirm_removal.html",
            {
                **self.admin_site.each_context(request),
                **self._describe(selection),
                "title": _("Remove from Komfortkasse"),
                "opts": self.opts,
                "has_changed": confirmed is not None,
                "fingerprint": selection.fingerprint,
                "again": again,
                "cancel_url": cancel_url,
                "has_breadcrumb_list": django.VERSION >= (6, 1),
            },
        )

    def _describe(self, selection: Selection) -> dict[str, object]:
        """What the confirmation page says of the selected orders."""
        named = selection.orders[:_NAMED]
        known = selection.latest_removals([entry for _order, entries in named for entry in entries])
        return {
            "count": len(selection.orders),
            "more": len(selection.orders) - len(named),
            "has_several_shops": len(shops_of(self.model)) > 1,
            "named": [
                {
                    "order": _name(order),
                    "url": self._url("change", quote(order.pk)),
                    "removals": [
                        (alias, number, _describe_known(known.get((alias, number))))
                        for alias, number in entries
                    ],
                }
                for order, entries in named
            ],
            "left_out": [
                (
                    reason,
                    len(orders),
                    [_name(order) for order in orders[:_NAMED_LEFT_OUT]],
                    len(orders) - _NAMED_LEFT_OUT,
                )
                for reason, orders in selection.left_out.items()
            ],
        }

    def _remove(self, request: HttpRequest, selection: Selection) -> None:
        orders = [order for order, _entries in selection.orders]
        ids: list[int] = []

        def tell() -> None:
            if ids:
                report(request, ids, using=selection.using)
            else:  # a router keeps the mirror on another database
                text = ngettext(
                    "Komfortkasse: %(count)d removal is recorded.",
                    "Komfortkasse: %(count)d removals are recorded.",
                    len(selection.entries),
                )
                messages.success(request, text % {"count": len(selection.entries)})

        with transaction.atomic(selection.using):
            ids += removals.record(
                selection.entries,
                requested_via=RemovedOrder.RequestedVia.ADMIN,
                using=selection.using,
            )
            LogEntry.objects.log_actions(
                cast("int", request.user.pk),
                orders,
                CHANGE,
                gettext("Asked Komfortkasse to remove it."),
            )
            # After the delivery, which also waits for the commit.
            transaction.on_commit(tell, using=selection.using, robust=True)


def _name(order: Model) -> str:
    """What the shop calls the order, which may well be nothing where it has no number."""
    return str(order).strip() or f"{order._meta.verbose_name} {order.pk}"


def _describe_known(row: RemovedOrder | None) -> str:
    """What the mirror knows of an order, in short."""
    if row is None:
        return ""
    when = markup.time_ago(row.finished_at or row.created_at)
    return format_html("{} {} {}", markup.badge(row.state), when, markup.received(row))


# --- attaching ------------------------------------------------------------------------------------


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
