"""The admin of the shop's own orders: removing them by hand, and what is known of their removal."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.sites import AdminSite
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext_lazy as _

from komfortkasse_django.admin.actions import remove_orders
from komfortkasse_django.admin.confirmation import (
    describe,
    examine,
    page_context,
    same_action,
    shops_of,
)
from komfortkasse_django.admin.links import admin_url, note_on
from komfortkasse_django.orders import for_write

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Any]
else:
    _Base = object


class OrderAdminMixin(_Base):
    """Adds the action and the button with which staff remove orders from Komfortkasse.

    The form of an order also shows whether it was removed, and what is to be settled.

    List it first: ``class OrderAdmin(OrderAdminMixin, admin.ModelAdmin)``. You only need it if the
    app does not extend the ModelAdmin by itself: if ``EXTEND_ORDER_ADMIN`` is False, or if the
    ModelAdmin is registered too late. Users without the permission
    ``komfortkasse_django.remove_order`` see neither action nor button.
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
        again = same_action(request, "remove_from_komfortkasse")
        return self._confirm_and_remove(
            request, queryset, again=again, cancel_url=request.get_full_path()
        )

    # From the form

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "<path:object_id>/remove-from-komfortkasse/",
                self.admin_site.admin_view(self.remove_from_komfortkasse_view),
                name=f"{self.opts.app_label}_{self.opts.model_name}_remove_from_komfortkasse",
            ),
            *super().get_urls(),
        ]

    def remove_from_komfortkasse_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether to remove a single order; remove it by POST."""
        key = unquote(object_id)
        # Some databases refuse NUL characters with an error that Django does not expect.
        order = None if "\0" in key else self.get_object(request, key)
        if order is None:
            raise Http404
        if not self.has_remove_from_komfortkasse_permission(request, order):
            raise PermissionDenied
        form = admin_url(self, "change", order)
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
            and (context := self._komfortkasse_context(request, obj))
        ):
            # This template extends the one that the shop uses, whichever that is.
            base = response.resolve_template(response.template_name)
            response.template_name = "komfortkasse_django/order_change_form.html"
            response.context_data = {
                **(response.context_data or {}),
                **context,
                "komfortkasse_base": base,
            }
        return response

    def _komfortkasse_context(self, request: HttpRequest, order: Model) -> dict[str, object]:
        """Return what the template needs for the button and the note; empty if it shows neither."""
        context: dict[str, object] = {}
        if self.has_remove_from_komfortkasse_permission(request, order):
            context["komfortkasse_url"] = admin_url(self, "remove_from_komfortkasse", order)
        return {**context, **note_on(order, self, request, may_remove=bool(context))}

    # Both

    def _confirm_and_remove(
        self,
        request: HttpRequest,
        queryset: QuerySet[Model],
        *,
        again: list[tuple[str, str]],
        cancel_url: str,
    ) -> HttpResponse | None:
        """Remove the orders if the user has confirmed that, else ask. ``again`` is for the form."""
        orders = for_write(queryset)
        its_shops = shops_of(self.model)
        selection = examine(
            orders,
            its_shops,
            using=orders.db,
            is_allowed=lambda order: self.has_remove_from_komfortkasse_permission(request, order),
        )
        confirmed = request.POST.get("confirmed")
        if confirmed == selection.fingerprint and selection.orders:
            remove_orders(request, selection)
            return None
        return TemplateResponse(
            request,
            "komfortkasse_django/confirm_removal.html",
            {
                **page_context(self, request, _("Remove from Komfortkasse")),
                **describe(selection, its_shops, lambda order: admin_url(self, "change", order)),
                "has_changed": confirmed is not None,
                "fingerprint": selection.fingerprint,
                "again": again,
                "cancel_url": cancel_url,
            },
        )
