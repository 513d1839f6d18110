from django.contrib import admin
from django.urls import path

from tests.shop.admin import staff_site

urlpatterns = [path("admin/", admin.site.urls), path("staff/", staff_site.urls)]
