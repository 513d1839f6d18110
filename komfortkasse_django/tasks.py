"""The task that pushes in the background. Celery and others find it here, by its name.

The module can always be imported. Without a Tasks framework (Django 5.2 without django-tasks) or
without any enabled shop, it only defines a plain function.
"""

from importlib.util import find_spec

import django

from komfortkasse_django.conf import enabled_shops
from komfortkasse_django.queue.pushing import push


def push_removed_orders(using: str, shop: str, ids: list[int]) -> None:
    """Push the rows ``ids`` of ``shop`` in the database ``using``, as far as they are still due."""
    push(using=using, shop=shop, ids=ids)


if django.VERSION >= (6, 0) or find_spec("django_tasks"):
    if django.VERSION >= (6, 0):
        from django.tasks import task
    else:
        from django_tasks import task  # type: ignore[assignment,import-not-found,no-redef,unused-ignore]

    # A task is bound to a backend and queue that exist. Each delivery says which ones it uses.
    for _shop in enabled_shops()[:1]:
        push_removed_orders = task(  # type: ignore[assignment]
            backend=_shop.task_backend, queue_name=_shop.task_queue
        )(push_removed_orders)
