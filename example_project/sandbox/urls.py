from django.urls import path

from sandbox.views import remove_order

app_name = "sandbox"

urlpatterns = [
    # <path:>, because a server decodes the slashes of an order number before Django sees them.
    path("order/remove/<path:number>", remove_order, name="remove_order"),
]
