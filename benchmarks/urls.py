"""The pages of the shop: views that delete orders, the admin, and a bare admin to compare with."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import path

from benchmarks.shop.models import Order
from komfortkasse_django.models import RemovedOrder

bare_site = admin.AdminSite(name="bare")
bare_site.register(RemovedOrder)


def delete_together(request: HttpRequest) -> HttpResponse:
    """Delete all orders in one transaction."""
    Order.objects.all().delete()
    return HttpResponse(status=204)


def delete_one_by_one(request: HttpRequest) -> HttpResponse:
    """Delete all orders, each in its own transaction."""
    for order in Order.objects.all():
        order.delete()
    return HttpResponse(status=204)


urlpatterns = [
    path("together/", delete_together),
    path("one-by-one/", delete_one_by_one),
    path("admin/", admin.site.urls),
    path("bare/", bare_site.urls),
]
