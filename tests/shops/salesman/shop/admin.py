from django.conf import settings
from django.contrib import admin
from salesman.core.utils import get_salesman_model

if settings.ORDER_ADMIN == "own":
    admin.site.register(get_salesman_model("Order"))
