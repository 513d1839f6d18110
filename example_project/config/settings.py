"""Settings of the example shop. Settings of one machine are read from ``.env``."""

from pathlib import Path

import environ
from django.core.management.utils import get_random_secret_key
from django.utils.translation import gettext_lazy as _

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
if (BASE_DIR / ".env").exists():
    env.read_env(BASE_DIR / ".env")

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="") or get_random_secret_key()
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost"])

ROOT_URLCONF = "config.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BASE_DIR / env.str("SQLITE_PATH", default="example.sqlite3"),
        "OPTIONS": {
            # A transaction that has read cannot begin to write on SQLite once another connection
            # has written: "database is locked", at once, whatever the timeout. Deleting reads what
            # it will delete first, so take the write lock at the beginning and wait for it there.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,  # seconds
        },
        # Not in memory: the tests and the server that they start need separate connections.
        "TEST": {"NAME": BASE_DIR / "test.sqlite3"},
    },
}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "shop",
    "sandbox",
    # After the admin, because it extends the Order admin.
    "komfortkasse_django",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
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

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("de", _("German"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = "Europe/Berlin"

KOMFORTKASSE = {
    "default": {
        "API_KEY": env.str("KOMFORTKASSE_API_KEY", default="key-of-the-sandbox"),
        "API_URL": env.str("KOMFORTKASSE_API_URL", default="http://127.0.0.1:8000/sandbox/api/v2"),
        "ORDER_MODEL": "shop.Order",
        "ORDER_FILTER": "shop.komfortkasse.is_managed",
        "ORDER_GONE": {"cancelled_at__isnull": False},
        "REQUEST_BUDGET": env.float("KOMFORTKASSE_REQUEST_BUDGET", default=3),
    },
}

# The only key that the sandbox accepts.
SANDBOX_API_KEY = KOMFORTKASSE["default"]["API_KEY"]
