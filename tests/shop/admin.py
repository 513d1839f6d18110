"""The admin of a shop with its own ideas, before the app extends it."""

from typing import ClassVar

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.shop.models import ArchivedOrder, Order


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    """The shop's docstring."""

    list_display = ("number", "payment")
    list_filter = ("payment",)
    search_fields = ("number",)
    actions = ("archive",)
    change_form_template = "shop/order_form.html"

    class Media:
        css: ClassVar = {"all": ["shop/orders.css"]}

    @admin.action(description="Archive selected orders")
    def archive(self, request, queryset):
        queryset.update(cancelled=True)

    def get_urls(self):
        return [
            path("refunds/", self.admin_site.admin_view(self.refunds), name="shop_refunds"),
            *super().get_urls(),
        ]

    def refunds(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("the shop's refunds")

    def has_delete_permission(self, request, obj=None):
        return False


@admin.register(ArchivedOrder)
class ArchivedOrderAdmin(admin.ModelAdmin):
    actions = None


staff_site = admin.AdminSite("staff")


@admin.register(Order, site=staff_site)
class StaffOrderAdmin(admin.ModelAdmin):
    """Unchanged, but on another site."""
