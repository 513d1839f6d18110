"""What all commands share: they say in one line which table is missing, or the database."""

from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, OperationalError, connections, router
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from komfortkasse_django.database import DatabaseUnavailable
from komfortkasse_django.models import RemovedOrder


class MirrorCommand(BaseCommand):
    """A command that reads or writes the mirror."""

    def execute(self, *args: Any, **options: Any) -> str | None:  # noqa: ANN401 - as Django has it
        """Run the command. Raises ``CommandError`` without the tables or the database."""
        try:
            return super().execute(*args, **options)
        except (DatabaseError, DatabaseUnavailable) as error:
            if missing := missing_in(options.get("database")):
                raise CommandError(missing) from error
            if isinstance(error, OperationalError | DatabaseUnavailable):
                raise CommandError(_("The database cannot be used: %s") % error) from error
            raise


def missing_in(database: str | None) -> str:
    """Return which table or column is missing and what to do, or an empty string.

    ``database`` is an alias; None means what the database routers say.
    """
    try:
        using = database or router.db_for_write(RemovedOrder)
        missing = _missing(using)
    except Exception:  # noqa: BLE001 - such as a database that cannot be reached
        return ""
    migrate = "migrate" if using == DEFAULT_DB_ALIAS else f"migrate --database {using}"
    return missing and _(
        'Database "%(database)s" has no %(missing)s. Run "manage.py %(migrate)s".'
    ) % {"database": using, "missing": missing, "migrate": migrate}


def _missing(using: str) -> str:
    # Not from the error: each database has its own, and SQLite has no code for it.
    connection = connections[using]
    introspection = connection.introspection
    with connection.cursor() as cursor:
        tables = introspection.table_names(cursor)
        for model in apps.get_app_config("komfortkasse_django").get_models():
            table = model._meta.db_table
            if table not in tables:
                return pgettext("komfortkasse", "table %(table)s") % {"table": table}
            there = {each.name for each in introspection.get_table_description(cursor, table)}
            for field in model._meta.concrete_fields:
                if field.column not in there:
                    return pgettext("komfortkasse", "column %(column)s in table %(table)s") % {
                        "column": field.column,
                        "table": table,
                    }
    return ""
