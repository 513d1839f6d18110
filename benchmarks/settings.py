"""Settings of the benchmarks. DATABASE_URL chooses the database."""

import environ

env = environ.Env()

SECRET_KEY = "benchmarks"
ALLOWED_HOSTS = ["testserver"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "benchmarks.urls"
STATIC_URL = "static/"

DATABASES = {"default": env.db("DATABASE_URL", default="sqlite://:memory:")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {"transaction_mode": "IMMEDIATE"}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "benchmarks.shop",
]
if env.bool("WITH_KOMFORTKASSE", default=True):
    INSTALLED_APPS.append("komfortkasse_django")

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

# Measure the calls, not the logging of failures.
LOGGING = {
    "version": 1,
    "handlers": {"null": {"class": "logging.NullHandler"}},
    "loggers": {"komfortkasse_django": {"handlers": ["null"], "propagate": False}},
}

KOMFORTKASSE = {
    "default": {
        "API_KEY": "key-of-the-benchmarks",
        "API_URL": env("API_URL", default="http://127.0.0.1:9/api/v2"),
        "ORDER_MODEL": "shop.Order",
        "ORDER_GONE": env.json("ORDER_GONE", default=None),
        "REQUEST_BUDGET": 0,
    },
}
