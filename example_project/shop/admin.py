from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from shop.models import ArchivedOrder, Campaign, Customer, Order, OrderLine


class OrderLineInline(admin.TabularInline):
    model = OrderLine
    extra = 0


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display = (
        "number",
        "customer",
        "campaign",
        "payment_method",
        "total",
        "created_at",
        "cancelled_at",
    )
    list_filter = ("payment_method", "campaign")
    search_fields = ("number", "customer__name")
    inlines = (OrderLineInline,)
    actions = ("cancel",)

    @admin.action(description=_("Cancel selected orders"), permissions=["change"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        for order in queryset.filter(cancelled_at=None):
            order.cancel()


@admin.register(ArchivedOrder)
class ArchivedOrderAdmin(admin.ModelAdmin):
    list_display = ("number", "customer", "total", "cancelled_at")


@admin.register(Customer)
class CustomerAdmin(admin.ModelAdmin):
    list_display = ("name", "email")


@admin.register(Campaign)
class CampaignAdmin(admin.ModelAdmin):
    pass
