"""A router that keeps the tasks of django-tasks-db in a database of their own."""

from django.db.models import Model


class TaskRouter:
    def db_for_write(self, model: type[Model], **hints: object) -> str | None:
        return "tasks" if model._meta.app_label == "django_tasks_database" else None

    db_for_read = db_for_write
