"""Settings of a shop that checks its types."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from store.models import Order

SECRET_KEY = "store"
ROOT_URLCONF = "store.urls"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "store",
    "komfortkasse_django",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}


def is_paid_by_transfer(order: "Order") -> bool:
    return order.payment_method == "transfer"


KOMFORTKASSE: dict[str, dict[str, Any]] = {
    "default": {
        "API_KEY": "key",
        "ORDER_MODEL": "store.Order",
        "ORDER_FILTER": is_paid_by_transfer,
    },
}
