from django.urls import path
from shop.views import delete

urlpatterns = [path("delete/<number>/", delete)]
