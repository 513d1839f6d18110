"""The mirror in the admin: to be read, never written."""

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest

from komfortkasse_django.models import RemovedOrder

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[RemovedOrder]
else:
    _ModelAdmin = admin.ModelAdmin


@admin.register(RemovedOrder)
class RemovedOrderAdmin(_ModelAdmin):
    list_display = (
        "order_number",
        "shop",
        "state",
        "payment_status",
        "reference_number",
        "amount",
        "amount_paid",
        "currency",
        "requested_via",
        "created_at",
        "next_attempt_at",
    )
    list_filter = ("state", "requested_via", "shop")
    search_fields = ("order_number__exact", "reference_number__exact")
    # Two exact numbers, looked up by their indexes; the primary key is the order of requests.
    ordering = ("-pk",)
    # Counting a million rows takes longer than showing a hundred.
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: RemovedOrder | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: RemovedOrder | None = None) -> bool:
        return False
