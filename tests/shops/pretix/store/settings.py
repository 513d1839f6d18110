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

import environ  # noqa: E402

from tests.shops.manual import at_loopback  # noqa: E402
from tests.support.manual import recipe  # noqa: E402

_manual = recipe("pretix").run({"env": environ.Env()}, "store/settings.py")
globals().update(_manual)
KOMFORTKASSE = at_loopback(_manual["KOMFORTKASSE"])

from pretix.settings import DATABASES, STORAGES  # noqa: E402

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
