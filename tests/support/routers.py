"""Where shops keep their orders and the mirror, and where they read."""

from komfortkasse_django.models import RemovedOrder
from tests.shop.models import Order


class Together:
    """Orders and the mirror are on the second database."""

    def db_for_write(self, model, **hints):
        return "other" if model in {Order, RemovedOrder} else None


class MirrorElsewhere:
    """The mirror is on the second database, wherever the orders are."""

    def db_for_write(self, model, **hints):
        return "other" if model is RemovedOrder else None

    db_for_read = db_for_write


class OrdersFromAReplica:
    """Orders are read from the second database, a replica that may be late."""

    def db_for_read(self, model, **hints):
        return "other" if model is Order else None

    def db_for_write(self, model, **hints):
        return "default"
