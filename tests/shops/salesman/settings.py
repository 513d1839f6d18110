"""A stock Salesman shop, configured as the recipe in the manual says."""

import os

import environ

from tests.shops.manual import at_loopback
from tests.support.manual import recipe

DEBUG = False
SECRET_KEY = "tests"
ALLOWED_HOSTS = ["testserver"]
USE_TZ = True
ROOT_URLCONF = "urls"
STATIC_URL = "static/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}

_apps = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
]
_recipe = recipe("django-salesman").with_apps(*_apps)
_manual = _recipe.run({"env": environ.Env()}, "settings.py")
INSTALLED_APPS = _manual["INSTALLED_APPS"]
KOMFORTKASSE = at_loopback(_manual["KOMFORTKASSE"])

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
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

SALESMAN_PRODUCT_TYPES = {"shop.Product": "shop.serializers.ProductSerializer"}
SALESMAN_PAYMENT_METHODS = ["shop.payment.Prepayment", "shop.cards.CreditCard"]
# Whose Order admin there is: Salesman's, the shop's "own" or "none".
ORDER_ADMIN = os.environ.get("ORDER_ADMIN")
SALESMAN_ADMIN_REGISTER = ORDER_ADMIN is None
