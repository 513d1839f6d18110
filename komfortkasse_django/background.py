"""The task that pushes in the background. Imported only where it is enqueued or run.

Celery workers have to be told to import it, by ``CELERY_IMPORTS``.
"""

import django

from komfortkasse_django import removals
from komfortkasse_django.conf import Shop, shops

if django.VERSION >= (6, 0):
    from django.tasks import task, task_backends
    from django.tasks.backends.immediate import ImmediateBackend
    from django.tasks.base import Task
else:
    from django_tasks import task, task_backends  # type: ignore[assignment,import-not-found,no-redef,unused-ignore]
    from django_tasks.backends.immediate import (  # type: ignore[assignment,import-not-found,no-redef,unused-ignore]
        ImmediateBackend,
    )
    from django_tasks.base import Task  # type: ignore[assignment,import-not-found,no-redef,unused-ignore]


def _fitness(shop: Shop) -> tuple[bool, bool]:
    """How well the shop's backend serves to define a task that others are to run as well."""
    backend = task_backends[shop.task_backend]
    return backend.task_class is not Task, not isinstance(backend, ImmediateBackend)


# A task is bound to some backend and queue from the start, and both have to exist. Other backends
# run it as well, but one that has its own class of tasks, as one for Celery does to tell the
# worker of them, runs no others; and nobody checks the queue of an immediate one, which is not
# used. Shops that are switched off count: a worker imports this anyway.
_shop = max(shops().values(), key=_fitness)


@task(backend=_shop.task_backend, queue_name=_shop.task_queue)
def push_removed_orders(using: str, shop: str, ids: list[int]) -> None:
    """Push the rows ``ids`` of ``shop`` in the database ``using``, as far as they are still due."""
    removals.push(using=using, shop=shop, ids=ids)
