"""The admin of the removed orders, and what the admin of the shop's own orders gets."""

from komfortkasse_django.admin.orders import OrderAdminMixin
from komfortkasse_django.admin.removed_orders import RemovedOrderAdmin

__all__ = ["OrderAdminMixin", "RemovedOrderAdmin"]
