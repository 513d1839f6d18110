"""Settings of the test suite; DATABASE_URL and OTHER_DATABASE_URL choose the databases."""

import environ

env = environ.Env()

SECRET_KEY = "tests"
USE_TZ = True
ROOT_URLCONF = "tests.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASES = {
    "default": env.db("DATABASE_URL", default="sqlite://:memory:"),
    "other": env.db("OTHER_DATABASE_URL", default="sqlite://:memory:"),
}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "tests.shop",
    "komfortkasse_django",
]

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
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

STATIC_URL = "static/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

KOMFORTKASSE = {
    "default": {
        "API_KEY": "key-of-the-tests",
        "API_URL": "https://komfortkasse.test/api/v2",
        "ORDER_MODEL": "shop.Order",
    },
}

SHOP_SWAPPED_ORDER_MODEL = "shop.SwappedInOrder"

# In these tests several orders may have the same number.
SILENCED_SYSTEM_CHECKS = ["komfortkasse_django.W004"]
