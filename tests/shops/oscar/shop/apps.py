from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self) -> None:
        from oscar.apps.order.signals import order_status_changed

        from shop.komfortkasse import remove_cancelled

        order_status_changed.connect(remove_cancelled)
