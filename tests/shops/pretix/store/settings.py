"""pretix, configured as the recipe in the manual says."""

import atexit
import os
import sys
import tempfile
from pathlib import Path

_data = tempfile.TemporaryDirectory()
atexit.register(_data.cleanup)
os.environ["DATA_DIR"] = _data.name
os.environ["PRETIX_CONFIG_FILE"] = os.devnull

from pretix.settings import *  # noqa: E402, F403
from pretix.settings import DATABASES, INSTALLED_APPS, STORAGES  # noqa: E402

DEBUG = False
SITE_URL = "http://testserver"
ALLOWED_HOSTS = ["testserver"]
# In a file, because pretix takes minutes to migrate: see --reuse-db.
DATABASES["default"]["TEST"]["NAME"] = str(Path(sys.prefix) / "pretix-test.sqlite3")
DATABASES["default"]["OPTIONS"] = {"init_command": "PRAGMA synchronous = OFF"}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
COMPRESS_ENABLED = COMPRESS_OFFLINE = False
COMPRESS_PRECOMPILERS = ()

INSTALLED_APPS = [*INSTALLED_APPS, "store", "komfortkasse_django"]

KOMFORTKASSE = {
    city: {
        "API_KEY": f"key-of-{city}",
        "API_URL": os.environ["KOMFORTKASSE_API_URL"],
        "ORDER_MODEL": "pretixbase.Order",
        "ORDER_NUMBER": "full_code",
        "ORDER_FILTER": f"store.komfortkasse.is_of_{city}",
        "REQUEST_BUDGET": 60,  # a busy machine must not change what the tests see
    }
    for city in ("berlin", "vienna")
}
