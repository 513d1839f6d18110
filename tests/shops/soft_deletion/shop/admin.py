"""The admin of orders of several types, as django-polymorphic describes it."""

from django.contrib import admin
from polymorphic.admin import PolymorphicChildModelAdmin, PolymorphicParentModelAdmin

from shop.models import GiftOrder, Order


@admin.register(GiftOrder)
class GiftOrderAdmin(PolymorphicChildModelAdmin):
    base_model = Order


@admin.register(Order)
class OrderAdmin(PolymorphicParentModelAdmin):
    base_model = Order
    child_models = (GiftOrder, Order)
    polymorphic_list = True
