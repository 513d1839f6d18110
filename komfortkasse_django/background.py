"""The task that pushes in the background. Imported only where a task backend runs it.

Celery workers have to be told to import it, by ``CELERY_IMPORTS``.
"""

import django

from komfortkasse_django import removals
from komfortkasse_django.conf import Shop, shops

if django.VERSION >= (6, 0):
    from django.tasks import task, task_backends
    from django.tasks.base import Task
else:
    from django_tasks import task, task_backends  # type: ignore[assignment,import-not-found,no-redef,unused-ignore]
    from django_tasks.base import Task  # type: ignore[assignment,import-not-found,no-redef,unused-ignore]


def _needs_own_task_class(shop: Shop) -> bool:
    return task_backends[shop.task_backend].task_class is not Task


# A task is bound to some backend and queue from the start, and both have to exist. Other backends
# run it as well, but one that has its own class of tasks, as one for Celery does to tell the
# worker of them, runs no others. Shops that are switched off count: a worker imports this anyway.
_shop = max(shops().values(), key=_needs_own_task_class)


@task(backend=_shop.task_backend, queue_name=_shop.task_queue)
def push_removed_orders(using: str, shop: str, ids: list[int]) -> None:
    """Push the rows ``ids`` of ``shop`` in the database ``using``, as far as they are still due."""
    removals.push(using=using, shop=shop, ids=ids)
