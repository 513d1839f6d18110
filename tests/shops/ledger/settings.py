"""A shop of django-ledger, configured as the recipe in the manual says."""

import environ

from tests.shops.manual import at_loopback
from tests.shops.small import *  # noqa: F403
from tests.shops.small import DJANGO_APPS
from tests.support.manual import recipe

INSTALLED_APPS = [*DJANGO_APPS, "django_ledger", "komfortkasse_django"]
_manual = recipe("django-ledger").run({"env": environ.Env()}, "settings.py")
KOMFORTKASSE = at_loopback(_manual["KOMFORTKASSE"])
