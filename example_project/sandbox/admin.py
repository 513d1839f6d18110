from django.contrib import admin

from sandbox.models import Outage, SandboxOrder


@admin.register(SandboxOrder)
class SandboxOrderAdmin(admin.ModelAdmin):
    list_display = ("number", "removed_at", "trouble")
    search_fields = ("number",)


@admin.register(Outage)
class OutageAdmin(admin.ModelAdmin):
    list_display = ("__str__", "calls_left")
