"""A shop of several tenants, configured as the recipe in the manual says."""

import environ

from tests.shops.manual import at_loopback
from tests.support.manual import recipe

env = environ.Env()

SECRET_KEY = "tests"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {**env.db("DATABASE_URL"), "ENGINE": "django_tenants.postgresql_backend"},
}
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
MIDDLEWARE = ["django_tenants.middleware.main.TenantMainMiddleware"]

TENANT_MODEL = "tenants.Tenant"
TENANT_DOMAIN_MODEL = "tenants.Domain"
SHARED_APPS = ["django_tenants", "tenants", "django.contrib.contenttypes", "django.contrib.auth"]
_manual = (
    recipe("django-tenants")
    .with_apps("django.contrib.contenttypes", "django.contrib.auth")
    .run({"env": env}, "settings.py")
)
TENANT_APPS = _manual["TENANT_APPS"]
KOMFORTKASSE = at_loopback(_manual["KOMFORTKASSE"])
INSTALLED_APPS = [*SHARED_APPS, *(app for app in TENANT_APPS if app not in SHARED_APPS)]
