from django.urls import path

from store.right import site

urlpatterns = [path("admin/", site.urls)]
