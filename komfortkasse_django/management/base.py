"""What all commands share: they say in one line if the mirror's tables are not migrated."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, router
from django.db.migrations.executor import MigrationExecutor
from django.utils.translation import gettext as _

from komfortkasse_django.models import RemovedOrder


class MirrorCommand(BaseCommand):
    """A command that reads or writes the mirror."""

    def execute(self, *args: Any, **options: Any) -> str | None:  # noqa: ANN401 - as Django has it
        """Run the command. Raises ``CommandError`` if it needs ``migrate`` first."""
        try:
            return super().execute(*args, **options)
        except DatabaseError as error:
            if missing := missing_in(options.get("database")):
                raise CommandError(missing) from error
            raise


def missing_in(database: str | None) -> str:
    """Return that the tables are not as they should be and what to do, or an empty string.

    ``database`` is an alias; None means what the database routers say.
    """
    try:
        using = database or router.db_for_write(RemovedOrder)
        executor = MigrationExecutor(connections[using])
        newest = executor.loader.graph.leaf_nodes(RemovedOrder._meta.app_label)
        is_migrated = not executor.migration_plan(newest)
    except Exception:  # noqa: BLE001 - such as a database that cannot be reached
        return ""
    if is_migrated:
        return ""
    migrate = "migrate" if using == DEFAULT_DB_ALIAS else f"migrate --database {using}"
    return _(
        'In database "%(database)s" tables or columns of komfortkasse_django are missing. Run'
        ' "manage.py %(migrate)s".'
    ) % {"database": using, "migrate": migrate}
