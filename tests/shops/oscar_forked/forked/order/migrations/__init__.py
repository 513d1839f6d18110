"""Oscar's own migrations, and those of the fork."""

from oscar.apps.order import migrations

__path__ = [*__path__, *migrations.__path__]
