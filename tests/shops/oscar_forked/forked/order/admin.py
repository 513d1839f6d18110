from django.contrib import admin
from oscar.apps.order.admin import *  # noqa: F403
from oscar.apps.order.admin import OrderAdmin as StockOrderAdmin
from oscar.core.loading import get_model

Order = get_model("order", "Order")
admin.site.unregister(Order)


@admin.register(Order)
class OrderAdmin(StockOrderAdmin):
    actions = ("approve",)

    @admin.action(description="Approve")
    def approve(self, request, queryset):
        self.message_user(request, f"{queryset.count()} approved")
