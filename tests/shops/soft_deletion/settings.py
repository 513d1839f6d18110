"""A shop for each package that hides orders instead of deleting them, or mixes their types."""

import os

from django.db.models import options

from tests.shops.manual import at_loopback

# django-softdelete 0.11 has an option that Django 5.1 removed.
options.DEFAULT_NAMES += ("index_together",)

SECRET_KEY = "tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}

ROOT_URLCONF = "urls"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STATIC_URL = "static/"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "polymorphic",
    "safedelete",
    "softdelete",
    "shop",
    "komfortkasse_django",
]

_models = {
    "softdelete": "SoftOrder",
    "undeletable": "UndeletableOrder",
    "safedelete": "SafeOrder",
    "polymorphic": "Order",
}
KOMFORTKASSE = at_loopback(
    {
        alias: {"API_KEY": os.environ["KOMFORTKASSE_API_KEY"], "ORDER_MODEL": f"shop.{model}"}
        for alias, model in _models.items()
    }
)
KOMFORTKASSE["safedelete"]["ORDER_GONE"] = {"deleted__isnull": False}  # as the manual says

# Some tests give a number to two orders, as shops do that hide the first.
SILENCED_SYSTEM_CHECKS = ["komfortkasse_django.W004"]
