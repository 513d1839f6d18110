"""The example's pages: the admin, and the sandbox that plays Komfortkasse."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("sandbox/api/v2/", include("sandbox.urls")),
]
