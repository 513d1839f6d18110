"""What web processes of a shop do: delete orders, one by one and several at once."""

import json
import sys

import django

django.setup()

from django.core.signals import request_finished, request_started  # noqa: E402
from django.db import transaction  # noqa: E402

from tests.shop.models import Order  # noqa: E402


def main(way: str, share: int, shares: int) -> list[str]:
    """Delete one of ``shares`` shares of the orders and return what went wrong."""
    errors = []
    keys = [key for key in Order.objects.values_list("pk", flat=True) if key % shares == share]
    step = 1 if way in {"single", "atomic"} else 5
    for start in range(0, len(keys), step):
        request_started.send(sender=None)
        try:
            if way == "single":
                Order.objects.get(pk=keys[start]).delete()
            elif way == "atomic":
                order = Order.objects.get(pk=keys[start])
                with transaction.atomic():
                    order.delete()
            else:
                Order.objects.filter(pk__in=keys[start : start + step]).delete()
        except Exception as error:  # noqa: BLE001
            errors.append(repr(error))
        request_finished.send(sender=None)
    return errors


if __name__ == "__main__":
    way, share, shares = sys.argv[1:]
    sys.stdout.write(json.dumps(main(way, int(share), int(shares))))
