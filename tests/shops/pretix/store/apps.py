from django.apps import AppConfig
from pretix.base.plugins import PLUGIN_LEVEL_ORGANIZER


class StoreConfig(AppConfig):
    name = "store"

    class PretixPluginMeta:
        name = "Komfortkasse"
        description = "Tells Komfortkasse which orders are cancelled."
        version = "1"
        level = PLUGIN_LEVEL_ORGANIZER

    def ready(self) -> None:
        from pretix.base.signals import order_canceled

        from store.komfortkasse import remove_cancelled

        order_canceled.connect(remove_cancelled)
