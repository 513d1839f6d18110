"""A stock Salesman shop, configured as the recipe in the manual says."""

import os

DEBUG = False
SECRET_KEY = "tests"
ALLOWED_HOSTS = ["testserver"]
USE_TZ = True
ROOT_URLCONF = "urls"
STATIC_URL = "static/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
    "salesman.core",
    "salesman.basket",
    "salesman.checkout",
    "salesman.orders",
    "salesman.admin",
    "shop",
    "komfortkasse_django",
]

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
SALESMAN_PAYMENT_METHODS = ["shop.payment.Prepayment", "shop.payment.CreditCard"]
SALESMAN_ADMIN_REGISTER = os.environ.get("SALESMAN_ADMIN_REGISTER") != "no"

KOMFORTKASSE = {
    "default": {
        "API_KEY": "key-of-the-salesman-shop",
        "API_URL": os.environ["KOMFORTKASSE_API_URL"],
        "ORDER_MODEL": "salesmanorders.Order",
        "ORDER_NUMBER": "ref",
        "ORDER_FILTER": "shop.komfortkasse.is_paid_by_transfer",
        "REQUEST_BUDGET": 60,  # a busy machine must not change what the tests see
    },
}
