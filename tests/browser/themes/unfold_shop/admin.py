"""What a shop with django-unfold has: the manual's recipe, and an Order admin of Unfold's."""

from django.contrib import admin
from unfold.admin import ModelAdmin

from shop.admin import OrderAdmin as ExampleOrderAdmin
from shop.models import Order
from tests.support.manual import recipe

recipe("Themes of the admin").run(globals())

admin.site.unregister(Order)


@admin.register(Order)
class OrderAdmin(ExampleOrderAdmin, ModelAdmin):
    pass
