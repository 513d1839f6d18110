"""The example's pages, and those that themes of the admin need."""

from django.apps import apps
from django.urls import include, path

from config.urls import urlpatterns as pages

# The page that changes the language, for django-admin-interface.
urlpatterns = [path("i18n/", include("django.conf.urls.i18n")), *pages]
if apps.is_installed("grappelli"):
    urlpatterns.append(path("grappelli/", include("grappelli.urls")))
