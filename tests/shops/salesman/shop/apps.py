from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self) -> None:
        from salesman.orders.signals import status_changed

        from shop.komfortkasse import remove_cancelled

        status_changed.connect(remove_cancelled)
