"""The task that pushes in the background. Imported only where a task backend runs it."""

import django

from komfortkasse_django import removals
from komfortkasse_django.conf import enabled_shops

if django.VERSION >= (6, 0):
    from django.tasks import task
else:
    from django_tasks import task  # type: ignore[no-redef,unused-ignore]

# A task is bound to some backend and queue from the start, and both have to exist.
_shop = next(iter(enabled_shops()))


@task(backend=_shop.task_backend, queue_name=_shop.task_queue)
def push_removed_orders(using: str, shop: str, ids: list[int]) -> None:
    """Push the rows ``ids`` of ``shop`` in the database ``using``, as far as they are still due."""
    removals.push(using=using, shop=shop, ids=ids)
