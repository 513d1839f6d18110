"""SQLite refuses to write in a transaction that has read beside another writer: so write first."""

import copy
import sqlite3

import pytest
from django.db import OperationalError, connection, connections, transaction

from komfortkasse_django.leases import write_first
from komfortkasse_django.models import RemovedOrder

pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite has one writer")


@pytest.fixture
def other_writer(tmp_path, django_db_blocker):
    """Another process, beside the database ``file``, which is in SQLite's default mode."""
    path = tmp_path / "mirror.sqlite3"
    connections.settings["file"] = copy.deepcopy(connection.settings_dict) | {
        "NAME": str(path),
        "OPTIONS": {"timeout": 0.1},
    }
    with django_db_blocker.unblock():
        with connections["file"].schema_editor() as editor:
            editor.create_model(RemovedOrder)
        other = sqlite3.connect(path, timeout=0.1)
        yield other
        other.close()
        connections["file"].close()
    del connections["file"], connections.settings["file"]


def insert(other: sqlite3.Connection) -> None:
    other.execute(
        f"INSERT INTO {RemovedOrder._meta.db_table} (shop, order_number, requested_via, created_at)"
        " VALUES ('default', '1001', 'code', '2026-01-01')"
    )
    other.commit()


def update() -> int:
    return RemovedOrder.objects.using("file").update(attempts=1)


def test_who_reads_first_is_refused_to_write(other_writer):
    """Why it is needed."""
    other_writer.execute("PRAGMA journal_mode=wal")

    with pytest.raises(OperationalError, match="locked"), transaction.atomic("file"):
        RemovedOrder.objects.using("file").count()
        insert(other_writer)
        update()


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_who_writes_first_may_read_and_write(other_writer, journal):
    other_writer.execute(f"PRAGMA journal_mode={journal}")
    insert(other_writer)

    with transaction.atomic("file"):
        write_first("file")
        assert RemovedOrder.objects.using("file").count() == 1
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            insert(other_writer)
        assert update() == 1

    assert RemovedOrder.objects.using("file").get().attempts == 1
