from django.apps import apps
from django.contrib import admin
from django.urls import include, path
from shop.views import delete_and_fail

urlpatterns = [
    path("i18n/", include("django.conf.urls.i18n")),
    path("admin/", admin.site.urls),
    path("delete-and-fail/<int:pk>/", delete_and_fail),
    path("", include(apps.get_app_config("oscar").urls[0])),
]
