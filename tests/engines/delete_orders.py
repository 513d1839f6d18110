"""What a web request of a shop does: delete every order at once."""

import django

django.setup()

from django.core.signals import request_finished, request_started  # noqa: E402

from tests.shop.models import Order  # noqa: E402

if __name__ == "__main__":
    request_started.send(sender=None)
    Order.objects.all().delete()
    request_finished.send(sender=None)
